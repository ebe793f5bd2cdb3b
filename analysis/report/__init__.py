"""The report of an experiment: figures and tables on disk, and one page that holds everything."""

from analysis.report.page import write_report

__all__ = ["write_report"]
