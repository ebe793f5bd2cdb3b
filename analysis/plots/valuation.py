"""Figures of owners' values and of the surrogate's calibration."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.owner_values import OwnerValues
from analysis.plots.style import CURVE, GREY, PALETTE, WIDTH, line_style, new_figure, publication_style
from simulator.privacy.surrogate import AccuracyCurve

#: Up to this many owners, each is named.
MOST_NAMES = 60
#: Orders in which a calibration buys owners, in words.
ORDERS = {
    "best": "most valuable first",
    "worst": "least valuable first",
    "random": "at random",
    "any": "at random, of any value",
}


def owner_values(valued: OwnerValues) -> Figure:
    """Shapley values of owners, largest first, with 95% intervals; of many owners without their names."""
    n = len(valued.values)
    named = n <= MOST_NAMES
    with publication_style():
        figure = new_figure(WIDTH, 1.1 + 0.22 * n if named else 5.0)
        axes = figure.subplots()
        y = np.arange(n)[::-1]
        errors = np.array([valued.values - valued.low, valued.high - valued.values])
        axes.errorbar(
            valued.values,
            y,
            xerr=errors if errors.any() else None,
            fmt="o",
            color=PALETTE[0],
            ecolor=PALETTE[5],
            capsize=2 if named else 0,
            markersize=4 if named else 2.5,
        )
        axes.axvline(0, color=GREY, linewidth=0.8)
        if named:
            axes.set_yticks(y, [str(name)[:30] for name in valued.owners])
        else:
            axes.set_yticks([n - 1, 0], ["1", str(n)])
            axes.set_ylabel("rank of the owner")
        axes.set_ylim(-0.6, n - 0.4)
        axes.set_xlabel("Shapley value, in units of the utility")
        axes.set_title(f"Game {valued.game}, method {valued.method}, {valued.evaluations:,} evaluations")
        axes.grid(axis="x", color="#E5E5E5")
        axes.grid(axis="y", visible=False)
        return figure


def accuracy_curve(curve: AccuracyCurve, trials: pd.DataFrame) -> Figure:
    """The surrogate's curve over epsilon by size of the purchase, and the mean trainings behind it by their order."""
    shares = sorted(trials["share"].unique())
    orders = list(dict.fromkeys(trials["order"]))
    columns = min(4, len(shares))
    with publication_style():
        figure = new_figure(2.4 * columns, 2.3 * math.ceil(len(shares) / columns) + 0.5)
        panels = figure.subplots(math.ceil(len(shares) / columns), columns, sharex=True, sharey=True, squeeze=False)
        for axes in panels.flat[len(shares) :]:
            axes.remove()
        grid = np.geomspace(*curve.epsilon_range, CURVE)
        grid[[0, -1]] = curve.epsilon_range
        for axes, share in zip(panels.flat, shares, strict=False):
            bought = trials[trials["share"] == share]
            for position, order in enumerate(orders):
                means = bought[bought["order"] == order].groupby("epsilon")[["accuracy", "coverage", "records"]].mean()
                drawn = {**line_style(position), "linestyle": "none", "markersize": 3.0}
                axes.plot(means.index, 100 * means["accuracy"], label=ORDERS.get(order, order), **drawn)
                fitted = curve.predict(grid, means["coverage"].iloc[0], means["records"].iloc[0])
                axes.plot(grid, 100 * fitted, color=PALETTE[position], linewidth=1.2)
            axes.set_title(f"{bought['records'].mean():.0f} records")
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        figure.supxlabel("privacy level of the version (eps)")
        figure.supylabel("accuracy (%)")
        handles, labels = panels.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(orders))
        return figure
