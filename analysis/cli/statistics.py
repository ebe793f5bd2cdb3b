"""Commands that say what an experiment's replicates allow to conclude: rank, regress, sensitivity, power."""

from __future__ import annotations

from typing import Annotated

import typer

from analysis.cli.app import By, Folder, Json, Metrics, app, open_results
from analysis.cli.output import Caption, Format, Label, Out, Output, Style


@app.command()
def rank(
    results: Folder,
    by: By = None,
    metric: Metrics = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="Whether the smallest mean comes first.")
    ] = False,
    format_: Format = Style.text,
    out: Out = None,
    caption: Caption = None,
    label: Label = None,
    json_: Json = False,
) -> None:
    """Rank the values of a swept parameter, and say how sure the order is.

    Values that share a letter are not told apart by paired t tests, corrected by Holm for all pairs. Rank intervals
    and the probability of being best come from a bootstrap of whole replicates.

    Examples
    --------
        dealer rank results/demo --metric revenue

        dealer rank results/demo --metric deadweight_loss --lower-is-better --format latex --out ranks.tex
    """
    output = Output(format_, json_, out, caption, label)
    from analysis.compare import question
    from analysis.ranking import rank, ranking_tables

    opened = open_results(results)
    asked = question(opened, by, None, tuple(metric or ()))
    rows = rank(opened, asked, lower_is_better=lower_is_better)
    tables = ranking_tables(rows, asked, opened.experiment.replicates)
    output.write(tables, rows, {"by": asked.by, "lower_is_better": lower_is_better})
