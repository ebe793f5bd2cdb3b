"""What all figures share: palette, line styles, axes, and how a figure is saved."""

from __future__ import annotations

import contextlib
import itertools
import math
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from analysis.cells import Parameter
from analysis.tables import number

#: Okabe and Ito's palette, which colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
GREY = "#666666"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Amounts of money that differ by more than this factor are shown on a logarithmic axis.
WIDE = 50
#: Room that a tick's label takes, as a share of the axis.
LABEL_WIDTH = 0.055
TINY = 1e-300
#: Characters of a name that a legend beside the figure has room for.
LONG_NAME = 18
#: Width of a letter, height of a line of a legend, and width of its key, in inches.
CHARACTER, LINE, KEY = 0.08, 0.19, 0.6
#: Share of a figure's height that a label along it may take.
UPRIGHT = 0.8
#: Room between two turned labels, in inches.
TURNED = 0.24
EPSILON = "privacy level (eps)"
#: Width of a figure that fills the text of a page, in inches.
WIDTH = 7.2
#: More lines than this have no bands around them, which would hide each other.
MOST_BANDS = 8
#: Points of a bent line.
CURVE = 40


@contextlib.contextmanager
def publication_style() -> Iterator[None]:
    """Matplotlib's settings for all figures, inside a with statement; the user's own are left alone."""
    settings: dict[str, Any] = {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": "#E5E5E5",
        "hatch.linewidth": 0.6,
        "legend.frameon": False,
        "figure.facecolor": "white",
        "svg.hashsalt": "dealer",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
    }
    with mpl.rc_context(settings):  # type: ignore[arg-type]
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches. Made without pyplot, it needs no display and is freed with its last reference."""
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, file: Path | BinaryIO, kind: str) -> None:
    """Write a figure as "png", "pdf" or "svg", the same bytes at every call."""
    metadata: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with publication_style():
        figure.savefig(file, format=kind, dpi=150, metadata=metadata.get(kind))


def line_style(position: int) -> dict[str, Any]:
    """Colour, marker and widths of the line at a position among several; of 64, no two look alike."""
    # When the colours begin again they meet other markers.
    return {
        "color": PALETTE[position % len(PALETTE)],
        "marker": MARKERS[(position + position // len(PALETTE)) % len(MARKERS)],
        "markersize": 4.0,
        "linewidth": 1.4,
    }


def panels(
    count: int,
    *,
    columns: int = 3,
    height: float = 2.1,
    extra: float = 0.7,
    sharex: bool = True,
    sharey: bool = True,
) -> tuple[Figure, list[Axes]]:
    """A figure of panels in rows, and their axes.

    Parameters
    ----------
    count : int
        How many panels.
    columns : int
        How many stand side by side, at most; four stand in two rows of two.
    height, extra : float
        Height of a row, and what is added to all rows for labels, in inches.
    sharex, sharey : bool
        Whether panels have the same axes.
    """
    columns = 2 if count == 4 and columns > 2 else min(columns, count)
    rows = math.ceil(count / columns)
    figure = new_figure(WIDTH, height * rows + extra)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    for axes in grid.flat[count:]:
        axes.remove()
    shown = list(grid.flat[:count])
    for axes in _lowest(shown):
        axes.tick_params(labelbottom=True)
    return figure, shown


def label_panels(figure: Figure, grid: list[Axes], x: str, y: str) -> None:
    """Label the x axes of the lowest panels, and the y axes of all together."""
    for axes in _lowest(grid):
        axes.set_xlabel(x)
    figure.supylabel(wrapped(y, UPRIGHT * figure.get_figheight()), fontsize=9)


def wrapped(text: str, inches: float) -> str:
    """A label in lines that fit into a length."""
    return textwrap.fill(text, max(int(inches / CHARACTER), 10))


def _lowest(grid: list[Axes]) -> list[Axes]:
    """The lowest panels of their columns."""
    columns = {}
    for axes in grid:
        spec = axes.get_subplotspec()
        columns[spec.colspan.start if spec else 0] = axes
    return list(columns.values())


def panel_title(panel: Parameter | None, value: str) -> str:
    """Title of the panel of a parameter's value."""
    return "" if panel is None else f"{panel.label} = {value}"


def legend_beside(figure: Figure, axes: Axes, title: str) -> None:
    """A legend of what one of the axes shows, right of all; above them where it would be too wide or too long."""
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, [*labels, title]))
    if longest > LONG_NAME or (len(labels) + 1) * LINE > figure.get_figheight():
        columns = max(1, int(figure.get_figwidth() / (KEY + CHARACTER * longest)))
        figure.set_figheight(figure.get_figheight() + LINE * math.ceil(len(labels) / columns))
        legend = figure.legend(handles, labels, loc="outside upper left", ncols=columns, title=title)
    else:
        legend = figure.legend(handles, labels, loc="outside right upper", title=title)
    legend.set_alignment("left")


def turn_labels(figure: Figure, grid: list[Axes]) -> None:
    """Lay a figure out, and turn the labels of its x axes if they would meet; of many, leave some out."""
    figure.draw_without_rendering()
    rows = [[label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()] for axes in grid]
    if not any(left.x1 + 4 > right.x0 for boxes in rows for left, right in itertools.pairwise(boxes)):
        return
    for axes in grid:
        labels = axes.get_xticklabels()
        every = math.ceil(len(labels) * TURNED * figure.dpi / axes.get_window_extent().width)
        axes.tick_params(axis="x", labelrotation=35)
        for position, label in enumerate(labels):
            label.set(ha="right", rotation_mode="anchor", visible=position % every == 0)
    figure.draw_without_rendering()


def values_axis(axes: Axes, values: ArrayLike) -> None:
    """A list of numbers on the x axis, on the scale that keeps the closest two further apart, labelled where it can."""
    shown = np.unique(values)
    places = {"linear": (shown - shown[0]) / max(shown[-1] - shown[0], TINY)}
    if shown[0] > 0:
        places["log"] = np.log(shown / shown[0]) / max(np.log(shown[-1] / shown[0]), TINY)
    scale = max(places, key=lambda scale: np.diff(places[scale]).min(initial=1.0))
    axes.set_xscale(scale)
    labels, last = [], -1.0
    for value, place in zip(shown, places[scale], strict=True):
        room = place - last >= LABEL_WIDTH
        labels.append(f"{value:g}" if room else "")
        last = place if room else last
    axes.set_xticks(shown, labels)
    axes.minorticks_off()


def epsilon_axis(axes: Axes, epsilons: ArrayLike) -> None:
    """Privacy levels of versions on the x axis."""
    values_axis(axes, epsilons)
    axes.set_xlabel(EPSILON)


def money_axis(axes: Axes, name: str, amounts: np.ndarray) -> None:
    """Amounts of money on the x or y axis, from 0, or on a logarithmic scale where all are positive and far apart."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    low, high = np.nanmin(amounts), np.nanmax(amounts)
    if low > 0 and high > WIDE * low:
        axes.set(**{f"{name}scale": "log"})
        # Labels stand side by side on the x axis, and need more room there.
        axis.set_major_locator(LogLocator(subs=(1, 3) if name == "x" else (1, 2, 5)))
        axis.set_minor_locator(NullLocator())
    else:
        axes.set(**{f"{name}lim": (0, None)})
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    thousands(axis)


def thousands(axis: Axis) -> None:
    """Number the ticks of an axis with thousands separated."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value) if abs(value) >= 1000 else f"{value:g}"))
