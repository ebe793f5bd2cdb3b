"""Figures that compare the values of one swept parameter."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.cells import Parameter, by_level, cell_means, level_means, shown_level
from analysis.compare import METRICS, Question, compare
from analysis.plots.style import (
    EPSILON,
    GREY,
    MOST_BANDS,
    PALETTE,
    WIDE,
    WIDTH,
    epsilon_axis,
    label_panels,
    legend_beside,
    line_style,
    new_figure,
    panel_title,
    panels,
    publication_style,
    thousands,
    values_axis,
    wrapped,
)
from scenarios.errors import InputError
from scenarios.store import Results

LOST = "#BBBBBB"
#: Accuracy is shown for versions on sale in at least this share of rounds.
MOSTLY = 0.5


def metric_by_level(results: Results, asked: Question, metric: str) -> Figure:
    """Mean of a metric at each value, and its paired difference to the baseline, with 95% t intervals."""
    rows = compare(results, Question(asked.by, asked.levels, asked.baseline, (metric,)))
    if rows["mean"].isna().all():
        raise InputError(f"--metric: found {metric!r}, which no complete replicate has at any value of {asked.by}")
    label, unit = METRICS.get(metric, (metric, ""))
    with publication_style():
        figure = new_figure(WIDTH, 1.2 + 0.32 * len(rows))
        means, differences = figure.subplots(1, 2, sharey=True)
        y = np.arange(len(rows))[::-1]
        for axes, name, title in (
            (means, "mean", f"{label}, mean"),
            (differences, "difference", f"Difference to {shown_level(asked.baseline)}, paired by replicate"),
        ):
            low, high = ("low", "high") if name == "mean" else ("difference_low", "difference_high")
            shown = rows[name].astype(float).to_numpy()
            errors = np.array([shown - rows[low].astype(float), rows[high].astype(float) - shown])
            axes.errorbar(shown, y, xerr=np.nan_to_num(errors), fmt="o", color=PALETTE[0], capsize=3, markersize=5)
            axes.set_title(title)
            axes.set_xlabel(unit)
            axes.grid(axis="x", color="#E5E5E5")
            axes.grid(axis="y", visible=False)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            thousands(axes.xaxis)
        differences.axvline(0, color=GREY, linewidth=0.8)
        baseline = y[rows["level"] == asked.baseline]
        differences.plot(np.zeros(len(baseline)), baseline, "o", color=GREY, markerfacecolor="white", markersize=6)
        means.set_yticks(y, [shown_level(value) for value in rows["level"]])
        means.set_ylim(-0.6, len(rows) - 0.4)
        means.set_ylabel(asked.label)
        return figure


def welfare_split(results: Results, by: Parameter | None = None) -> Figure:
    """Who gets the worth of the released versions: buyers, owners, broker, and what is lost unsold."""
    parts = {
        "buyer_surplus": ("Buyers' surplus", PALETTE[0]),
        "owner_surplus": ("Owners' surplus", PALETTE[2]),
        "broker_profit": ("Broker's profit", PALETTE[4]),
        "deadweight_loss": ("Lost: buyers not served, or not with their best version", LOST),
    }
    values, means = zip(*by_level(level_means(results, "rounds", list(parts), by), by), strict=True)
    with publication_style():
        figure = new_figure(WIDTH, 1.5 + 0.34 * len(means))
        axes = figure.subplots()
        y = np.arange(len(means))[::-1]
        right, left = np.zeros(len(means)), np.zeros(len(means))
        for name, (label, colour) in parts.items():
            width = np.array([own[name].sum() for own in means])
            start = np.where(width >= 0, right, left)
            axes.barh(y, width, left=start, color=colour, label=label, height=0.7)
            right, left = right + np.maximum(width, 0), left + np.minimum(width, 0)
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set_yticks(y if by else [], values if by else [])
        axes.set_ylabel(wrapped(by.label, figure.get_figheight() - 1.0) if by else "")
        axes.set_xlabel("money per round, mean over rounds and replicates")
        low, high = float(np.min(left)), float(np.max(right))  # bars end at the edge where the last part is nothing
        axes.set_xlim(low - 0.05 * (high - low) * (low < 0), high + 0.05 * (high - low))
        axes.grid(axis="x", color="#E5E5E5")
        axes.grid(axis="y", visible=False)
        thousands(axes.xaxis)
        figure.legend(loc="outside upper left", ncols=2)
        return figure


def price_ladder(results: Results, by: Parameter | None = None, panel: Parameter | None = None) -> Figure:
    """Posted prices by privacy level in the last round, mean over replicates with the middle 80%.

    More than eight lines have no bands.

    Parameters
    ----------
    results : Results
        The experiment, with the table of versions.
    by, panel : Parameter, optional
        Lists whose values have a colour each, and a panel each. Personalised prices have no ladder.
    """
    versions = results.table("versions")
    last = versions[versions["round"] == versions.groupby("run")["round"].transform("max")]
    keys = [p.name for p in (panel, by) if p is not None]
    posted = cell_means(results, last, ["price"], keys, ["epsilon"])
    with publication_style():
        figure, grid = panels(len(panel.levels) if panel else 1, height=2.9 if panel is None else 2.2)
        for axes, (shown, own) in zip(grid, by_level(posted, panel), strict=True):
            for position, (value, ladder) in enumerate(by_level(own, by)):
                prices = ladder["price"].groupby(level="epsilon")
                mean, style = prices.mean(), line_style(position)
                if mean.isna().all():
                    continue
                axes.plot(mean.index, mean, **style, label=value)
                if by is None or len(by.levels) <= MOST_BANDS:
                    band = prices.quantile(0.1), prices.quantile(0.9)
                    axes.fill_between(mean.index, *band, color=style["color"], alpha=0.12, linewidth=0)
            axes.set_title(panel_title(panel, shown))
            values_axis(axes, versions["epsilon"])
            if posted["price"].max() > WIDE * posted["price"].min():
                axes.set_yscale("log")
            thousands(axes.yaxis)
        label_panels(figure, grid, EPSILON, "posted price (money)")
        if by is not None and grid[0].lines:
            legend_beside(figure, grid[0], by.label)
        return figure


def coverage_and_accuracy(results: Results, by: Parameter | None = None) -> Figure:
    """Shapley coverage of the versions, and their accuracy if it is measured, mean over rounds and replicates."""
    means = level_means(results, "versions", ["coverage", "accuracy", "on_sale"], by, ["epsilon"])
    epsilons = means.index.get_level_values("epsilon")
    measured = bool(means["accuracy"].notna().any())  # not where data are known by their values alone
    with publication_style():
        figure, grid = panels(1 + measured, height=2.6, sharey=False)
        for position, (value, own) in enumerate(by_level(means, by)):
            grid[0].plot(own.index, own["coverage"], **line_style(position), label=value)
            if measured:
                # The few rounds of a version that is mostly withdrawn say little about its accuracy.
                accuracy = own["accuracy"].where(own["on_sale"] >= MOSTLY)
                grid[1].plot(own.index, accuracy, **line_style(position))
        titles = ("Shapley coverage (share of value)", "Test accuracy (share right)")
        for axes, title in zip(grid, titles, strict=False):
            axes.set_title(title)
            epsilon_axis(axes, epsilons)
        grid[0].set_ylim(-0.03, 1.03)
        if by is not None:
            legend_beside(figure, grid[0], by.label)
        return figure
