"""Figures of a metric over two swept parameters or more: maps, and lines in panels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator

from analysis.cells import SIGNIFICANCE, Parameter, by_level, difference_cells, metric_cells, parameters, shown_level
from analysis.compare import METRICS, metric_label
from analysis.plots.style import (
    legend_beside,
    line_style,
    panel_title,
    panels,
    publication_style,
    thousands,
    turn_labels,
    values_axis,
)
from analysis.tables import number
from scenarios.store import Results

#: Colours of amounts, and of differences around 0: even in lightness, and told apart by colour-blind readers.
AMOUNTS, DIFFERENCES = "viridis", "PuOr_r"
#: What stands for a cell without a value, and how a difference is marked that is not significant.
EMPTY, HATCH, MARK = "#EEEEEE", "////", "#666666"
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
#: More points than this are drawn small, without intervals, and as an image in a vector file.
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
    title = f"{METRICS.get(metric, (metric, ''))[0]}, mean over {_replicates(cells)}"
    norm = Normalize(cells["mean"].min(), cells["mean"].max())
    with publication_style():
        return _maps(cells, panel, x, y, ScalarMappable(norm, AMOUNTS), title, metric_label(metric))


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
    label = METRICS.get(metric, (metric, ""))[0]
    title = f"{label}, difference to {by.label} = {shown_level(baseline)}, paired over {_replicates(cells)}"
    largest = cells["mean"].abs().max() or 1.0
    mappable = ScalarMappable(Normalize(-largest, largest), DIFFERENCES)
    with publication_style():
        return _maps(cells, panel, x, y, mappable, title, metric_label(metric))


def small_multiples(
    results: Results, metric: str, x: Parameter, by: Parameter | None = None, panel: Parameter | None = None
) -> Figure:
    """A metric against a numeric parameter with 95% intervals, by a second in colour and a third in panels.

    Values of a list are joined by lines; samples of a range are points.

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
        figure.supxlabel(x.label, fontsize=9)
        figure.supylabel(metric_label(metric), fontsize=9)
        if by is not None:
            legend_beside(figure, grid[0], by.label)
        return figure


def sampled_parameters(results: Results, metric: str, by: Parameter | None = None) -> Figure:
    """A metric against every parameter that is sampled from a range, a panel each, by another in colour.

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
        figure.supylabel(metric_label(metric), fontsize=9)
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
            yerr=None if many else errors,
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


def _maps(
    cells: pd.DataFrame,
    panel: Parameter | None,
    x: Parameter,
    y: Parameter,
    mappable: ScalarMappable,
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
    written: list[Annotation] = []
    for axes, (value, own) in zip(grid, maps, strict=True):
        axes.grid(visible=False)
        axes.set_title(panel_title(panel, value))
        marked = _insignificant(own)
        if pointwise:
            _points(axes, own["mean"], marked, x, y, mappable)
        else:
            written += _cells(axes, own["mean"], marked, x, y, mappable)
    figure.supxlabel(x.label, fontsize=9)
    figure.supylabel(y.label, fontsize=9)
    bar = figure.colorbar(mappable, ax=grid, label=unit, pad=0.02, ticks=MaxNLocator(6))
    bar.outline.set_visible(False)  # type: ignore[operator]
    thousands(bar.ax.yaxis)
    if _insignificant(cells).any():
        hollow = Line2D([], [], marker="o", linestyle="none", markerfacecolor="white", markeredgecolor=MARK)
        hatched = Patch(facecolor="white", edgecolor=MARK, hatch=HATCH, linewidth=0)
        label = f"no significant difference (Holm's p over {len(cells)} cells > {SIGNIFICANCE:g})"
        figure.legend([hollow if pointwise else hatched], [label], loc="outside lower left")
    if not x.is_range:
        turn_labels(figure, grid)
    _fit(figure, written, len(x.levels))
    return figure


def _insignificant(cells: pd.DataFrame) -> pd.Series:
    return cells["p_holm"] > SIGNIFICANCE if "p_holm" in cells else pd.Series(False, cells.index)


def _cells(
    axes: Axes, means: pd.Series, marked: pd.Series, x: Parameter, y: Parameter, mappable: ScalarMappable
) -> list[Annotation]:
    """A coloured cell for every pair of values; returns the numbers written into them."""
    order: dict[str, Any] = {"index": list(y.ordered), "columns": list(x.ordered)}
    values = means.unstack(x.name).reindex(**order).to_numpy(float)
    hatched = marked.unstack(x.name, fill_value=False).reindex(**order, fill_value=False).to_numpy(bool)
    axes.set_facecolor(EMPTY)
    axes.pcolormesh(
        np.ma.masked_invalid(values), norm=mappable.norm, cmap=mappable.cmap, edgecolors="white", linewidth=1
    )
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(x.ordered)) + 0.5, list(map(shown_level, x.ordered)))
    axes.set_yticks(np.arange(len(y.ordered)) + 0.5, list(map(shown_level, y.ordered)))
    written = []
    for (row, column), value in np.ndenumerate(values):
        colour = EMPTY if math.isnan(value) else mappable.to_rgba(value)
        box = None
        if hatched[row, column]:
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor="none", edgecolor=MARK, hatch=HATCH, linewidth=0))
            box = {"facecolor": colour, "linewidth": 0, "pad": 1}
        dark = not math.isnan(value) and np.dot(colour[:3], LUMINANCE) < DARK
        written.append(
            axes.annotate(
                number(value),
                (column + 0.5, row + 0.5),
                ha="center",
                va="center",
                color="white" if dark else "black",
                bbox=box,
            )
        )
    return written


def _points(
    axes: Axes, means: pd.Series, marked: pd.Series, x: Parameter, y: Parameter, mappable: ScalarMappable
) -> None:
    """A coloured point for every sample; those marked are hollow."""
    places = []
    for parameter, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        values = means.index.get_level_values(parameter.name)
        if parameter.is_range:
            axis.set_major_locator(MaxNLocator(6))
            thousands(axis)
        else:
            values = values.map(parameter.ordered.index)
            axis.set_ticks(np.arange(len(parameter.ordered)), list(map(shown_level, parameter.ordered)))
        places.append(values.to_numpy(float))
    colours = mappable.to_rgba(means)
    many = len(means) > MANY_POINTS
    look: dict[str, Any] = {"s": 6 if many else 28, "rasterized": many}
    for own, faces in ((marked, "none"), (~marked, colours[~marked])):
        if own.any():
            axes.scatter(*(at[own] for at in places), facecolors=faces, edgecolors=colours[own], linewidths=1, **look)


def _fit(figure: Figure, written: list[Annotation], columns: int) -> None:
    """Make the numbers in cells as large as the cells allow; where they allow none, leave them out."""
    if not written:
        return
    figure.draw_without_rendering()
    room = min(axes.get_window_extent().width for axes in figure.axes[:-1]) / columns
    for size in NUMBER_SIZES:
        for annotation in written:
            annotation.set_fontsize(size)
        if max(annotation.get_window_extent().width for annotation in written) < ROOM * room:
            return
    for annotation in written:
        annotation.remove()


def _replicates(cells: pd.DataFrame) -> str:
    """How many replicates are behind cells, in words."""
    low, high = int(cells["replicates"].min()), int(cells["replicates"].max())
    return f"{low}-{high} replicates" if low < high else f"{high} replicate{'s' * (high != 1)}"
