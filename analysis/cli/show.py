"""What several commands show of a results folder: its report, and its comparison."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from scenarios.errors import InputError

if TYPE_CHECKING:
    from analysis.compare import Question
    from scenarios.store import Results


def show_report(results: Results, by: str | None, baseline: str | None, metrics: tuple[str, ...] = ()) -> None:
    """Write the report, and say where it is."""
    from analysis.compare import question
    from analysis.report import write_report

    levels, comparison = results.experiment.levels, results.experiment.comparison
    if by is None and comparison is None and levels:
        by = next(iter(levels))
    asked = question(results, by, baseline, metrics) if levels or by is not None or baseline is not None else None
    try:
        page = write_report(results, asked, metrics)
    except OSError as error:
        raise InputError(f"results: the report cannot be written: {error}") from None
    typer.echo(f"Report: {page}")


def print_comparison(results: Results, asked: Question, metrics: Iterable[str]) -> None:
    """The comparison's tables, one a metric, for the terminal."""
    from dataclasses import replace

    from analysis.compare import compare
    from analysis.tables import comparison_tables, render

    asked = replace(asked, metrics=tuple(metrics))
    rows = compare(results, asked)
    typer.echo("\n" + render(comparison_tables(rows, asked), rows, "text"))
