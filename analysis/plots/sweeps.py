"""Figures of a metric over two swept parameters or more: maps, and lines in panels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from analysis.cells import SIGNIFICANCE, Parameter, by_level, difference_cells, metric_cells, parameters, shown_level
from analysis.compare import METRICS, metric_label
from analysis.plots.style import (
    GREY,
    label_panels,
    legend_beside,
    line_style,
    panel_title,
    panels,
    publication_style,
    thousands,
    turn_labels,
    values_axis,
    wrapped,
)
from analysis.tables import number
from scenarios.store import Results

#: Colours of amounts, and of differences around 0: even in lightness, and told apart by colour-blind readers.
AMOUNTS, DIFFERENCES = "viridis", "PuOr_r"
#: What stands for a cell without a value, and how a difference is marked that is not significant.
EMPTY, HATCH = "#EEEEEE", "////"
#: Least height of a map, of a row of its cells, and of its title, in inches.
MAP, ROW, TITLE = 1.6, 0.34, 0.25
#: Maps of more columns than this stand two side by side, others three.
FEW_COLUMNS = 4
#: Sizes of the numbers in cells: the largest that fits is taken.
NUMBER_SIZES = (8.0, 7.0, 6.0)
#: Share of a cell's width that a number may take.
ROOM = 0.92
#: Relative luminance of red, green and blue, and below which white is easier to read than black.
LUMINANCE, DARK = (0.2126, 0.7152, 0.0722), 0.45
#: More points than this have no intervals, which would hide each other.
MOST_BARS = 100
#: More points than this are drawn small, and as an image in a vector file.
MANY_POINTS = 500


def heat_map(results: Results, metric: str, x: Parameter, y: Parameter, panel: Parameter | None = None) -> Figure:
    """A metric's mean over two swept parameters, by colour; samples of a range are points.

    Parameters
    ----------
    results : Results
        The experiment.
    metric : str
        Column of the rounds table.
    x, y : Parameter
        Swept parameters of the axes; numbers ascend, text keeps its order.
    panel : Parameter, optional
        A list whose values have a map each.
    """
    cells = metric_cells(results, metric, [p.name for p in (x, y, panel) if p is not None])
    name, unit = METRICS.get(metric, (metric, ""))
    title = f"{name}, mean over {_replicates(cells)}"
    norm = Normalize(cells["mean"].min(), cells["mean"].max())
    with publication_style():
        return _maps(cells, panel, x, y, norm, AMOUNTS, title, unit)


def difference_map(
    results: Results, metric: str, x: Parameter, y: Parameter, by: Parameter, baseline: str | float | int
) -> Figure:
    """A metric's paired difference to a baseline over two swept parameters, insignificant ones marked.

    Parameters
    ----------
    results : Results
        The experiment.
    metric : str
        Column of the rounds table.
    x, y : Parameter
        Swept parameters of the axes.
    by : Parameter
        The list whose values are compared, all else being equal: one of the axes, or another, whose values have a
        map each then.
    baseline : str or number
        The value of `by` that the others are compared with.
    """
    compared = Parameter(by.name, tuple(value for value in by.levels if value != baseline), by.together)
    x, y = (compared if parameter == by else parameter for parameter in (x, y))
    panel = None if compared in (x, y) else compared
    cells = difference_cells(results, metric, [p.name for p in (x, y, panel) if p is not None], by, baseline)
    name, unit = METRICS.get(metric, (metric, ""))
    title = f"{name}, difference to {by.label} = {shown_level(baseline)}, paired over {_replicates(cells)}"
    largest = cells["mean"].abs().max() or 1.0
    with publication_style():
        return _maps(cells, panel, x, y, Normalize(-largest, largest), DIFFERENCES, title, unit)


def small_multiples(
    results: Results, metric: str, x: Parameter, by: Parameter | None = None, panel: Parameter | None = None
) -> Figure:
    """A metric against a numeric parameter with 95% intervals, by a second in colour and a third in panels.

    Values of a list are joined by lines; samples of a range are points, more than a hundred of them without intervals.

    Parameters
    ----------
    results : Results
        The experiment.
    metric : str
        Column of the rounds table.
    x : Parameter
        A parameter of numbers.
    by, panel : Parameter, optional
        Lists whose values have a colour each, and a panel each.
    """
    cells = metric_cells(results, metric, [p.name for p in (panel, by, x) if p is not None])
    with publication_style():
        figure, grid = panels(len(panel.levels) if panel else 1)
        for axes, (value, own) in zip(grid, by_level(cells, panel), strict=True):
            _against(axes, own, x, by)
            axes.set_title(panel_title(panel, value))
        label_panels(figure, grid, x.label, metric_label(metric))
        if by is not None:
            legend_beside(figure, grid[0], by.label)
        return figure


def sampled_parameters(results: Results, metric: str, by: Parameter | None = None) -> Figure:
    """A metric against every parameter that is sampled from a range, a panel each, by another in colour.

    More than a hundred points have no intervals.

    Parameters
    ----------
    results : Results
        The experiment.
    metric : str
        Column of the rounds table.
    by : Parameter, optional
        A list whose values have a colour each.
    """
    ranges = [parameter for parameter in parameters(results.experiment).values() if parameter.is_range]
    with publication_style():
        figure, grid = panels(len(ranges), extra=0.4, sharex=False)
        for axes, x in zip(grid, ranges, strict=True):
            _against(axes, metric_cells(results, metric, [p.name for p in (by, x) if p is not None]), x, by)
            axes.set_xlabel(x.label)
        label_panels(figure, [], "", metric_label(metric))
        if by is not None:
            legend_beside(figure, grid[0], by.label)
        return figure


def _against(axes: Axes, cells: pd.DataFrame, x: Parameter, by: Parameter | None) -> None:
    """Means with their intervals against a parameter, in a colour a value of another."""
    many = len(cells) > MANY_POINTS
    for position, (value, own) in enumerate(by_level(cells, by)):
        style = line_style(position)
        if x.is_range:
            style |= {"linestyle": "none", "markersize": 1.5 if many else 3.0, "elinewidth": 0.5, "rasterized": many}
        errors = np.nan_to_num([own["mean"] - own["low"], own["high"] - own["mean"]])
        axes.errorbar(
            own.index.get_level_values(x.name),
            own["mean"],
            yerr=errors if not x.is_range or len(cells) <= MOST_BARS else None,
            capsize=0 if x.is_range else 2,
            label=value,
            **style,
        )
    if x.is_range:
        axes.xaxis.set_major_locator(MaxNLocator(5))
        thousands(axes.xaxis)
    else:
        values_axis(axes, np.array(x.levels, dtype=float))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    thousands(axes.yaxis)


@dataclass(frozen=True)
class _Number:
    """A number that belongs into a cell, and how it looks."""

    axes: Axes
    x: float
    y: float
    text: str
    look: dict[str, Any]


def _maps(
    cells: pd.DataFrame,
    panel: Parameter | None,
    x: Parameter,
    y: Parameter,
    norm: Normalize,
    colours: str,
    title: str,
    unit: str,
) -> Figure:
    """Maps side by side, with a title and a colour bar for all."""
    maps = by_level(cells, panel)
    pointwise = x.is_range or y.is_range
    height = max(MAP, ROW * len(y.levels)) + (TITLE if len(maps) > 1 else 0)
    figure, grid = panels(
        len(maps), columns=2 if pointwise or len(x.levels) > FEW_COLUMNS else 3, height=height, extra=0.9
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    written: list[_Number] = []
    for axes, (value, own) in zip(grid, maps, strict=True):
        axes.grid(visible=False)
        axes.set_title(panel_title(panel, value))
        marked = _insignificant(own)
        if pointwise:
            _points(axes, own["mean"], marked, x, y, norm, colours)
        else:
            written += _cells(axes, own["mean"], marked, x, y, norm, colours)
    label_panels(figure, grid, x.label, y.label)
    label = wrapped(unit, figure.get_figheight() - 0.9)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=grid, label=label, pad=0.02, ticks=MaxNLocator(6))
    bar.outline.set_visible(False)
    thousands(bar.ax.yaxis)
    if _insignificant(cells).any():
        crossed = Line2D([], [], color=GREY, marker="x", linestyle="none")
        hatched = Patch(facecolor="white", edgecolor=GREY, hatch=HATCH, linewidth=0)
        label = f"no significant difference (Holm's p over {len(cells)} cells > {SIGNIFICANCE:g})"
        figure.legend([crossed if pointwise else hatched], [label], loc="outside lower left")
    if not x.is_range:
        turn_labels(figure, grid)
    if written:
        _write(written, len(x.levels))
    return figure


def _insignificant(cells: pd.DataFrame) -> pd.Series:
    return cells["p_holm"] > SIGNIFICANCE if "p_holm" in cells else pd.Series(False, cells.index)


def _cells(
    axes: Axes, means: pd.Series, marked: pd.Series, x: Parameter, y: Parameter, norm: Normalize, colours: str
) -> list[_Number]:
    """A coloured cell for every pair of values; returns the numbers that belong into them."""
    columns, rows = x.ordered, _upwards(y)
    grid = pd.MultiIndex.from_product([columns, rows])
    values = means.reindex(grid).to_numpy(float).reshape(len(columns), -1).T
    hatched = marked.reindex(grid, fill_value=False).to_numpy(bool).reshape(len(columns), -1).T
    axes.set_facecolor(EMPTY)
    axes.pcolormesh(np.ma.masked_invalid(values), norm=norm, cmap=colours, edgecolors="white", linewidth=1)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(columns)) + 0.5, list(map(shown_level, columns)))
    axes.set_yticks(np.arange(len(rows)) + 0.5, list(map(shown_level, rows)))
    written = []
    for (row, column), value in np.ndenumerate(values):
        colour = EMPTY if math.isnan(value) else colormaps[colours](norm(value))
        if hatched[row, column]:
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor="none", edgecolor=GREY, hatch=HATCH, linewidth=0))
        dark = not math.isnan(value) and np.dot(colour[:3], LUMINANCE) < DARK
        look = {
            "color": "white" if dark else "black",
            "bbox": {"facecolor": colour, "linewidth": 0, "pad": 1} if hatched[row, column] else None,
        }
        written.append(_Number(axes, column + 0.5, row + 0.5, number(value), look))
    return written


def _points(
    axes: Axes, means: pd.Series, marked: pd.Series, x: Parameter, y: Parameter, norm: Normalize, colours: str
) -> None:
    """A coloured point for every sample, crossed out if it is marked."""
    places = []
    for parameter, axis, order in ((x, axes.xaxis, x.ordered), (y, axes.yaxis, _upwards(y))):
        values = means.index.get_level_values(parameter.name)
        if parameter.is_range:
            axis.set_major_locator(MaxNLocator(6))
            thousands(axis)
        else:
            values = values.map(order.index)
            axis.set_ticks(np.arange(len(order)), list(map(shown_level, order)))
        places.append(values.to_numpy(float))
    many = len(means) > MANY_POINTS
    size, edge = (6, 0.0) if many else (36, 0.5)
    face = colormaps[colours](norm(means.to_numpy(float)))
    axes.scatter(places[0], places[1], s=size, c=face, edgecolors=GREY, linewidths=edge, rasterized=many)
    crossed = marked.to_numpy(bool)
    axes.scatter(
        places[0][crossed], places[1][crossed], s=size / 2, c=GREY, marker="x", linewidths=0.8, rasterized=many
    )


def _upwards(y: Parameter) -> tuple[str | float | int, ...]:
    """Values from the bottom up: numbers ascend, text is read from the top."""
    return y.ordered if y.is_numeric else y.ordered[::-1]


def _write(written: list[_Number], columns: int) -> None:
    """Write numbers into cells, as large as the cells allow; where they allow none, leave them out."""
    room = min(own.axes.get_window_extent().width for own in written) / columns
    longest = max(written, key=lambda own: len(own.text))
    for size in NUMBER_SIZES:
        trial = longest.axes.text(0, 0, longest.text, fontsize=size)
        width = trial.get_window_extent().width
        trial.remove()
        if width < ROOM * room:
            for own in written:
                text = own.axes.text(own.x, own.y, own.text, fontsize=size, ha="center", va="center", **own.look)
                text.set_in_layout(False)  # within the cells it needs no room
            return


def _replicates(cells: pd.DataFrame) -> str:
    """How many replicates are behind cells, in words."""
    low, high = int(cells["replicates"].min()), int(cells["replicates"].max())
    return f"{low}-{high} replicates" if low < high else f"{high} replicate{'s' * (high != 1)}"
