"""The command that draws one figure of an experiment: plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.app import Baseline, Folder, app, check_figure, check_folder, open_results, save_figure
from analysis.figures import KINDS, draw

_KINDS = "\n\n".join(
    f"- `{name}`: {kind.summary}; takes {', '.join(f'--{flag}' for flag in kind.takes)}" for name, kind in KINDS.items()
)


@app.command(
    help=f"""Draw one figure of an experiment, fit for print and for colour-blind readers.

Kinds of figures:

{_KINDS}

Examples
--------
    dealer plot results/my heat-map --x buyers.hospitals.budget.s --y broker.pricing --metric welfare --out map.pdf

    dealer plot results/my lines --x buyers.hospitals.budget.s --by broker.pricing --out lines.png

    dealer plot results/learning_prices convergence --metric regret --out regret.svg
"""
)
def plot(
    results: Folder,
    kind: Annotated[str, typer.Argument(help="What to show, of the kinds above.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A .png, .pdf or .svg file.")],
    metric: Annotated[
        str | None, typer.Option(help="Column of the rounds table; by default the scenario's first.")
    ] = None,
    x: Annotated[str | None, typer.Option(help="Swept parameter along the x axis.")] = None,
    y: Annotated[str | None, typer.Option(help="Swept parameter along the y axis.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Swept list whose values are compared; by default the scenario's.")
    ] = None,
    panel: Annotated[str | None, typer.Option(help="Swept list whose values have a panel each.")] = None,
    baseline: Baseline = None,
) -> None:
    """Draw one figure of an experiment."""
    check_figure(out, "--out")
    check_folder(out)
    asked = {"metric": metric, "x": x, "y": y, "by": by, "panel": panel, "baseline": baseline}
    save_figure(draw(open_results(results), kind, asked), out, "--out")
    typer.echo(f"Figure: {out}")
