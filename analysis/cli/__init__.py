"""The `dealer` command."""

# Commands are in the help in the order of these imports.
from analysis.cli import experiments, results, figures, statistics, library, mechanisms, models  # isort: skip
from analysis.cli.app import app

__all__ = ["app", "experiments", "figures", "library", "main", "mechanisms", "models", "results", "statistics"]


def main() -> None:
    """Entry point of the `dealer` command."""
    app()
