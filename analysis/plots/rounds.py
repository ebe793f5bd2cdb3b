"""Figures of what happens round by round."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.cells import Parameter, by_level, level_means, metric_cells
from analysis.compare import metric_label
from analysis.plots.style import (
    GREY,
    MOST_BANDS,
    label_panels,
    legend_beside,
    line_style,
    panel_title,
    panels,
    publication_style,
    thousands,
)
from scenarios.store import Results

#: Lines of more rounds than this have no marks.
MANY_ROUNDS = 25
SMALL = 2.5


def convergence(results: Results, metric: str, by: Parameter | None = None, panel: Parameter | None = None) -> Figure:
    """A metric round by round, mean and 95% interval over replicates: whether learning has settled.

    Intervals hold round by round, not for all rounds together; more than eight lines have none.

    Parameters
    ----------
    results : Results
        The experiment.
    metric : str
        Column of the rounds table.
    by, panel : Parameter, optional
        Lists whose values have a colour each, and a panel each.
    """
    cells = metric_cells(results, metric, [p.name for p in (panel, by) if p is not None], ["round"])
    with publication_style():
        figure, grid = panels(len(panel.levels) if panel else 1)
        for axes, (shown, own) in zip(grid, by_level(cells, panel), strict=True):
            for position, (value, line) in enumerate(by_level(own, by)):
                style = _style(position, len(line))
                axes.plot(line.index, line["mean"], **style, label=value)
                if by is None or len(by.levels) <= MOST_BANDS:
                    band = line["low"], line["high"]
                    axes.fill_between(line.index, *band, color=style["color"], alpha=0.18, linewidth=0)
            axes.set_title(panel_title(panel, shown))
            _rounds_axis(axes, own.index.get_level_values("round"))
            axes.yaxis.set_major_locator(MaxNLocator(5))
            thousands(axes.yaxis)
        label_panels(figure, grid, "round", metric_label(metric))
        if by is not None:
            legend_beside(figure, grid[0], by.label)
        return figure


def money_flow(results: Results, by: Parameter | None = None) -> Figure:
    """What buyers pay, owners receive and the broker keeps, round by round, mean over replicates."""
    flows = {"revenue": "buyers pay", "payouts": "owners receive", "broker_profit": "broker keeps"}
    means = by_level(level_means(results, "rounds", list(flows), by, ["round"]), by)
    with publication_style():
        figure, grid = panels(len(means), height=1.75, extra=0.6)
        for axes, (value, flow) in zip(grid, means, strict=True):
            for position, (name, label) in enumerate(flows.items()):
                axes.plot(flow.index, flow[name], **_style(position, len(flow)), label=label)
            axes.set_title(panel_title(by, value))
            _rounds_axis(axes, flow.index)
            thousands(axes.yaxis)
        label_panels(figure, grid, "round", "money")
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
        return figure


def privacy_spent(results: Results, by: Parameter | None = None) -> Figure:
    """Privacy spent so far, round by round: sums of epsilons, and exact composition; mean over replicates.

    Where privacy budgets drive owners out, a third panel counts them.
    """
    titles = {"mean": "Mean owner", "max": "Owner with most"}
    columns = [f"epsilon_{kind}_{name}" for kind in ("composed", "total") for name in titles]
    means = level_means(results, "rounds", [*columns, "owners_spent"], by, ["round"])
    left = bool((means["owners_spent"] > 0).any())
    with publication_style():
        figure, grid = panels(2 + left, height=2.6, sharey=False)
        for position, (value, own) in enumerate(by_level(means, by)):
            style = _style(position, len(own))
            for axes, name in zip(grid, titles, strict=False):
                axes.plot(own.index, own[f"epsilon_composed_{name}"], **style, label=value or None)
                axes.plot(own.index, own[f"epsilon_total_{name}"], **style | {"marker": "", "linestyle": ":"})
            if left:
                grid[2].plot(own.index, own["owners_spent"], **style)
        for axes, title in zip(grid, [*titles.values(), "Owners out of budget"], strict=False):
            axes.set_title(title)
            axes.set_ylim(bottom=0)
            _rounds_axis(axes, means.index.get_level_values("round"))
            thousands(axes.yaxis)
        label_panels(figure, grid, "round", "epsilon spent so far")
        for label, dashes in (("composed exactly", "-"), ("added up", ":")):
            grid[0].plot([], [], color=GREY, linestyle=dashes, label=label)
        legend_beside(figure, grid[0], by.label if by else "")
        return figure


def _style(position: int, rounds: int) -> dict[str, Any]:
    """Look of a line, with small marks where these do not run together."""
    return line_style(position) | ({"markersize": SMALL} if rounds <= MANY_ROUNDS else {"marker": ""})


def _rounds_axis(axes: Axes, rounds: pd.Index) -> None:
    """Whole numbers along the x axis."""
    if rounds.min() == rounds.max():
        axes.set_xticks(rounds[:1].to_numpy())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
