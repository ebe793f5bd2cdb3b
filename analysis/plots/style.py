"""What all figures share: palette, line styles, axes, and how a figure is saved."""

from __future__ import annotations

import contextlib
import itertools
import math
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
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Amounts of money that differ by more than this factor are shown on a logarithmic axis.
WIDE = 50
#: Room that a tick's label takes, as a share of the axis.
LABEL_WIDTH = 0.055
TINY = 1e-300
#: Characters of a name that a legend beside the figure has room for.
LONG_NAME = 18
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
    count: int, *, columns: int = 3, width: float = 7.2, height: float = 2.1, extra: float = 0.7, **share: bool
) -> tuple[Figure, list[Axes]]:
    """A figure of panels in rows, and their axes.

    Parameters
    ----------
    count : int
        How many panels.
    columns : int
        How many stand side by side, at most; four stand in two rows of two.
    width, height, extra : float
        Width of the figure, height of a row, and what is added to the rows' height for labels, in inches.
    **share : bool
        Whether panels have the same axes: `sharex`, `sharey`; both by default.
    """
    columns = 2 if count == 4 and columns > 2 else min(columns, count)
    rows = math.ceil(count / columns)
    figure = new_figure(width, height * rows + extra)
    grid = figure.subplots(rows, columns, squeeze=False, **({"sharex": True, "sharey": True} | share))
    for axes in grid.flat[count:]:
        axes.remove()
    for axes in grid.flat[max(count - columns, 0) : count]:  # the lowest of their columns
        axes.tick_params(labelbottom=True)
    return figure, list(grid.flat[:count])


def panel_title(panel: Parameter | None, value: str) -> str:
    """Title of the panel of a parameter's value."""
    return "" if panel is None else f"{panel.label} = {value}"


def legend_beside(figure: Figure, axes: Axes, title: str) -> None:
    """A legend of what one of the axes shows, right of all: below them where it would be wider or longer than they."""
    handles, labels = axes.get_legend_handles_labels()
    longest = max((len(text) for text in [*labels, title]), default=0)
    if longest > LONG_NAME or len(labels) * 0.21 > figure.get_figheight() - 0.5:
        columns = max(1, min(len(labels), int(figure.get_figwidth() / (0.5 + 0.075 * longest))))
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=title)
    else:
        legend = figure.legend(handles, labels, loc="outside right upper", title=title)
    legend.set_alignment("left")


def turn_labels(figure: Figure, grid: list[Axes]) -> None:
    """Turn the labels of x axes where they would run into each other."""
    figure.draw_without_rendering()
    for axes in grid:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        if any(left.x1 + 4 > right.x0 for left, right in itertools.pairwise(boxes)):
            for turned in grid:
                turned.tick_params(axis="x", labelrotation=35)
                for label in turned.get_xticklabels():
                    label.set(ha="right", rotation_mode="anchor")
            return


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
    """The versions' epsilons on the x axis."""
    values_axis(axes, epsilons)
    axes.set_xlabel("privacy level of the version (eps)")


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
