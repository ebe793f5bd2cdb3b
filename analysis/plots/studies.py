"""Figures that compare the values of one swept parameter."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.compare import METRICS, Question, compare
from analysis.plots.style import PALETTE, WIDE, epsilon_axis, line_style, new_figure, publication_style, thousands
from scenarios.store import Results

LOST = "#BBBBBB"
#: Accuracy is shown for versions on sale in at least this share of rounds.
MOSTLY = 0.5


def metric_by_level(results: Results, asked: Question, metric: str) -> Figure:
    """Mean of a metric at each value, and its paired difference to the baseline, with 95% t intervals."""
    rows = compare(results, Question(asked.by, asked.levels, asked.baseline, (metric,)))
    label, unit = METRICS.get(metric, (metric, ""))
    with publication_style():
        figure = new_figure(7.2, 1.2 + 0.32 * len(rows))
        means, differences = figure.subplots(1, 2, sharey=True)
        y = np.arange(len(rows))[::-1]
        for axes, name, title in (
            (means, "mean", f"{label}, mean"),
            (differences, "difference", f"Difference to {asked.baseline}, paired by replicate"),
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
        differences.axvline(0, color="#666666", linewidth=0.8)
        baseline = y[rows["level"] == asked.baseline]
        differences.plot(np.zeros(len(baseline)), baseline, "o", color="#666666", markerfacecolor="white", markersize=6)
        means.set_yticks(y, [str(value) for value in rows["level"]])
        means.set_ylim(-0.6, len(rows) - 0.4)
        means.set_ylabel(asked.label)
        return figure


def welfare_split(results: Results, asked: Question) -> Figure:
    """Who gets the worth of the released versions: buyers, owners, broker, and what is lost unsold."""
    parts = {
        "buyer_surplus": ("Buyers' surplus", PALETTE[0]),
        "owner_surplus": ("Owners' surplus", PALETTE[2]),
        "broker_profit": ("Broker's profit", PALETTE[4]),
        "deadweight_loss": ("Lost: buyers not served, or not with their best version", LOST),
    }
    means = _means(results, asked, "rounds", list(parts), [])
    with publication_style():
        figure = new_figure(7.2, 1.5 + 0.34 * len(means))
        axes = figure.subplots()
        y = np.arange(len(means))[::-1]
        right, left = np.zeros(len(means)), np.zeros(len(means))
        for name, (label, colour) in parts.items():
            width = means[name].to_numpy()
            start = np.where(width >= 0, right, left)
            axes.barh(y, width, left=start, color=colour, label=label, height=0.7)
            right, left = right + np.maximum(width, 0), left + np.minimum(width, 0)
        axes.axvline(0, color="#666666", linewidth=0.8)
        axes.set_yticks(y, [str(value) for value in means.index])
        axes.set_ylabel(asked.label)
        axes.set_xlabel("money per round, mean over rounds and replicates")
        axes.grid(axis="x", color="#E5E5E5")
        axes.grid(axis="y", visible=False)
        thousands(axes.xaxis)
        figure.legend(loc="outside upper left", ncols=2)
        return figure


def price_ladder(results: Results, asked: Question) -> Figure:
    """Posted prices by privacy level in the last round, mean over replicates with the middle 80%."""
    versions = _last_round(results.table("versions"))
    posted = _replicates(versions, asked, ["price"], ["epsilon"])["price"]
    with publication_style():
        figure = new_figure(7.2, 3.6)
        axes = figure.subplots()
        for number_, value in enumerate(asked.levels):
            prices = posted[posted.index.get_level_values(asked.by) == value].groupby("epsilon")
            mean = prices.mean()
            if mean.isna().all():  # personalised prices have no ladder
                continue
            axes.plot(mean.index, mean, **line_style(number_), label=str(value))
            low, high = prices.quantile(0.1), prices.quantile(0.9)
            axes.fill_between(mean.index, low, high, color=line_style(number_)["color"], alpha=0.12, linewidth=0)
        epsilon_axis(axes, versions["epsilon"])
        if posted.max() > WIDE * posted.min():
            axes.set_yscale("log")
        axes.set_ylabel("posted price (money)")
        thousands(axes.yaxis)
        if axes.lines:
            figure.legend(loc="outside right upper", title=asked.label)
        return figure


def coverage_and_accuracy(results: Results, asked: Question) -> Figure:
    """Shapley coverage and measured accuracy of the versions, mean over rounds and replicates."""
    versions = results.table("versions")
    with publication_style():
        figure = new_figure(7.2, 3.3)
        means = _means(results, asked, "versions", ["coverage", "accuracy", "on_sale"], ["epsilon"])
        panels = (("coverage", "Shapley coverage (share of value)"), ("accuracy", "Test accuracy (share right)"))
        for axes, (name, label) in zip(figure.subplots(1, 2), panels, strict=True):
            for number_, value in enumerate(asked.levels):
                own = means[means.index.get_level_values(asked.by) == value].droplevel(asked.by)
                # The few rounds of a version that is mostly withdrawn say little about its accuracy.
                mean = own[name].where((name == "coverage") | (own["on_sale"] >= MOSTLY))
                axes.plot(mean.index, mean, **line_style(number_), label=str(value) if name == "coverage" else None)
            axes.set_title(label)
            epsilon_axis(axes, versions["epsilon"])
            if name == "coverage":
                axes.set_ylim(-0.03, 1.03)
        figure.legend(loc="outside right upper", title=asked.label)
        return figure


def money_flow(results: Results, asked: Question) -> Figure:
    """What buyers pay, owners receive and the broker keeps, round by round, mean over replicates."""
    flows = {"revenue": "buyers pay", "payouts": "owners receive", "broker_profit": "broker keeps"}
    means = _means(results, asked, "rounds", list(flows), ["round"])
    columns = min(3, len(asked.levels))
    lines = -(-len(asked.levels) // columns)
    with publication_style():
        figure = new_figure(7.2, 0.6 + 1.75 * lines)
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, value in zip(grid.flat, asked.levels, strict=False):
            flow = means.loc[value]
            for number_, (name, label) in enumerate(flows.items()):
                style = line_style(number_) | {"markersize": 2.5}
                axes.plot(flow.index, flow[name], **style, label=label if value == asked.levels[0] else None)
            axes.set_title(str(value))
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            thousands(axes.yaxis)
        for axes in grid.flat[len(asked.levels) :]:
            axes.set_axis_off()
        figure.supxlabel("round", fontsize=9)
        figure.supylabel("money", fontsize=9)
        figure.legend(loc="outside upper left", ncols=3)
        return figure


def privacy_spent(results: Results, asked: Question) -> Figure:
    """Privacy spent so far, round by round: sums of epsilons, and exact composition; mean over replicates.

    Where privacy budgets drive owners out, a third panel counts them.
    """
    panels = {"mean": "Mean over owners", "max": "Owner who spent most"}
    columns = [f"epsilon_{kind}_{name}" for kind in ("composed", "total") for name in panels]
    means = _means(results, asked, "rounds", [*columns, "owners_spent"], ["round"])
    left = bool((means["owners_spent"] > 0).any())
    with publication_style():
        figure = new_figure(7.2, 3.3)
        grid = figure.subplots(1, 2 + left, squeeze=False)[0]
        for axes, (name, title) in zip(grid, panels.items(), strict=False):
            for number_, value in enumerate(asked.levels):
                style = line_style(number_) | {"markersize": 2.5}
                own = means.loc[value]
                axes.plot(
                    own.index, own[f"epsilon_composed_{name}"], **style, label=str(value) if name == "mean" else None
                )
                axes.plot(own.index, own[f"epsilon_total_{name}"], **style | {"marker": "", "linestyle": ":"})
            axes.set_title(title)
            axes.set_ylim(bottom=0)
        grid[0].set_ylabel("epsilon spent so far")
        if left:
            for number_, value in enumerate(asked.levels):
                own = means.loc[value]
                grid[2].plot(own.index, own["owners_spent"], **line_style(number_) | {"markersize": 2.5})
            grid[2].set_title("Owners out of budget")
            grid[2].set_ylim(bottom=0)
        for axes in grid:
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            thousands(axes.yaxis)
        figure.supxlabel("round", fontsize=9)
        legend = figure.legend(loc="outside right upper", title=asked.label)
        legend.set_alignment("left")
        return figure


def _means(results: Results, asked: Question, table: str, columns: list[str], keys: list[str]) -> pd.DataFrame:
    """Means over replicates by the compared parameter and `keys`, each run and each replicate counting alike."""
    rows = _replicates(results.table(table), asked, columns, keys)
    return rows.groupby([asked.by, *keys]).mean().reindex(asked.levels, level=0)


def _replicates(table: pd.DataFrame, asked: Question, columns: list[str], keys: list[str]) -> pd.DataFrame:
    """Means within replicates: over the rounds of a run, then over runs that differ in other swept parameters."""
    runs = table.groupby(["run", "replicate", asked.by, *keys])[columns].mean()
    return runs.groupby(["replicate", asked.by, *keys]).mean()


def _last_round(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["round"] == table.groupby("run")["round"].transform("max")]
