"""Commands that read a results folder: compare, report, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.app import (
    Baseline,
    By,
    Folder,
    Json,
    Metrics,
    app,
    open_results,
    split_names,
)
from analysis.cli.output import Caption, Format, Label, Out, Output, Style
from analysis.cli.show import show_report
from scenarios.errors import InputError


@app.command("compare")
def compare_(
    results: Folder,
    by: By = None,
    baseline: Baseline = None,
    metric: Metrics = None,
    format_: Format = Style.text,
    out: Out = None,
    caption: Caption = None,
    label: Label = None,
    json_: Json = False,
) -> None:
    """Compare the values of a swept parameter, paired over replicates.

    Means and differences come with 95% t intervals, differences with a bootstrap interval (BCa) as well, and with
    the p-value of the paired t test, corrected by Holm for the comparisons of one metric with the baseline.

    Examples
    --------
        dealer compare results/demo --by broker.pricing --baseline median --metric revenue

        dealer compare results/demo --metric revenue --format latex --caption "Revenue by strategy" --out revenue.tex
    """
    output = Output(format_, json_, out, caption, label)
    from analysis.compare import compare, question
    from analysis.tables import comparison_tables

    opened = open_results(results)
    asked = question(opened, by, baseline, tuple(metric or ()))
    rows = compare(opened, asked)
    tables = comparison_tables(rows, asked, brief=format_ is Style.latex)
    output.write(tables, rows, {"by": asked.by, "baseline": asked.baseline})


@app.command()
def report(results: Folder, by: By = None, baseline: Baseline = None, metric: Metrics = None) -> None:
    """Write figures, tables and report.html of a results folder again.

    The page compares the values of one swept list; where none is swept it sums up the metrics.

    Example: dealer report results/demo --by broker.pricing --baseline median --metric revenue --metric welfare
    """
    show_report(open_results(results), by, baseline, tuple(metric or ()))


@app.command()
def export(
    results: Folder,
    tables: Annotated[
        str | None, typer.Option(metavar="TABLE,...", help="Tables to write; by default the plan and all there are.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv/--parquet", help="A CSV file, or a Parquet file, a table.")] = True,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the files; by default RESULTS/csv or RESULTS/parquet."),
    ] = None,
) -> None:
    """Write each table of an experiment into one file, the swept parameters beside every row.

    Numbers are written so that they read back as the same floats. Runs that are not done yet are left out.

    Examples
    --------
        dealer export results/demo

        dealer export results/demo --tables rounds --parquet --out tables
    """
    opened = open_results(results)
    from scenarios.store import write_parquet

    kept = ("plan", *opened.experiment.tables)
    wanted = kept if tables is None else split_names("--tables", tables)
    strange = [name for name in wanted if name not in kept]
    if strange:
        raise InputError(f"--tables: found {strange[0]!r}; allowed are {', '.join(kept)}")
    kind = "csv" if csv else "parquet"
    folder = out or opened.folder / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in wanted:
            table = opened.plan if name == "plan" else opened.table(name)
            file = folder / f"{name}.{kind}"
            if csv:
                table.to_csv(file, index=False)
            else:
                write_parquet(table, file)
            typer.echo(f"{file}: {len(table):,} rows")
    except OSError as error:
        raise InputError(f"--out: {str(folder)!r} cannot be written: {error.strerror or error}") from None
