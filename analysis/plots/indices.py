"""Figure of sensitivity indices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.cells import shown_level
from analysis.compare import METRICS, parameter_label
from analysis.figures import MOST_PANELS
from analysis.plots.style import GREY, label_panels, legend_beside, line_style, panels, publication_style, thousands
from analysis.sensitivity import sensitivity as analyse
from scenarios.errors import InputError
from scenarios.store import Results

#: Height of a parameter's row, in inches, and how far its two indices stand from its middle.
ROW, APART = 0.34, 0.14


def sensitivity(results: Results, metric: str) -> Figure:
    """Sensitivity of a metric to its parameters: Sobol indices with intervals, or Morris' mu* and sigma.

    Each combination of the values of lists has a panel.

    Parameters
    ----------
    results : Results
        An experiment with `sampling = "saltelli"` or `"morris"`.
    metric : str
        Column of the rounds table.

    Raises
    ------
    InputError
        If the indices cannot be computed (see `analysis.sensitivity.sensitivity`), or there are too many panels.
    """
    indices = analyse(results, (metric,))
    lists = list(results.experiment.levels)
    parts: list[tuple[Any, pd.DataFrame]] = list(indices.groupby(lists, sort=False)) if lists else [((), indices)]
    if len(parts) > MOST_PANELS:
        raise InputError(
            f"sweep: found {len(parts)} combinations of the values of lists, of which the figure has room for "
            f"{MOST_PANELS}"
        )
    shares = "S1" in indices
    rows = len(results.experiment.ranges)
    with publication_style():
        height = max(1.3, ROW * rows + 0.3) if shares else 2.4
        figure, grid = panels(len(parts), columns=2 if shares else 3, height=height, extra=0.6)
        for axes, (values, own) in zip(grid, parts, strict=True):
            (_shares if shares else _effects)(axes, own)
            named = zip(lists, values, strict=True)
            axes.set_title(", ".join(f"{parameter_label(name)} = {shown_level(value)}" for name, value in named))
        name, unit = METRICS.get(metric, (metric, ""))
        if shares:
            label_panels(figure, grid, f"share of the variance of {name.lower()}", "")
        else:
            label_panels(figure, grid, "", "standard deviation, sigma")
            figure.supxlabel(f"mean absolute effect on {name.lower()}, mu*{f' ({unit})' if unit else ''}", fontsize=9)
        legend_beside(figure, grid[0], "" if shares else "parameter")
        return figure


def _shares(axes: Axes, indices: pd.DataFrame) -> None:
    """First-order and total indices of every parameter, one above the other."""
    y = np.arange(len(indices))[::-1]
    kinds = {"S1": ("S1: alone", APART), "ST": ("ST: with its interactions", -APART)}
    for position, (name, (label, offset)) in enumerate(kinds.items()):
        error = _errors(indices, name)
        style = line_style(position) | {"linestyle": "none"}
        axes.errorbar(indices[name], y + offset, xerr=error, capsize=2, label=label, **style)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(y, [parameter_label(name) for name in indices["parameter"]])
    axes.set_ylim(-0.6, len(y) - 0.4)
    axes.grid(axis="x", color="#E5E5E5")
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _effects(axes: Axes, indices: pd.DataFrame) -> None:
    """Mean absolute effects with their intervals, and how much effects vary: above the line by more than their mean."""
    for position, (row, error) in enumerate(
        zip(indices.to_dict("records"), _errors(indices, "mu_star").T, strict=True)
    ):
        style: dict[str, Any] = line_style(position) | {"linestyle": "none", "markersize": 5.0}
        axes.errorbar(
            row["mu_star"],
            row["sigma"],
            xerr=error[:, None],
            capsize=2,
            label=parameter_label(row["parameter"]),
            **style,
        )
    axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle="--")
    axes.set(xlim=(0, None), ylim=(0, None))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        thousands(axis)


def _errors(indices: pd.DataFrame, name: str) -> np.ndarray:
    """Distances of an index to the ends of its interval, shape (2, n)."""
    return np.array([indices[name] - indices[f"{name}_low"], indices[f"{name}_high"] - indices[name]])
