"""Figures: one function each, returning a matplotlib Figure."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike

from analysis.compare import METRICS, Question, compare
from analysis.owner_values import OwnerValues
from analysis.price_lists import SurveyPricing, cheapest_covers
from analysis.purchases import coverage
from analysis.tables import amount, number
from scenarios.store import Results
from simulator.pricing import Demand, Survey, complete_price_space
from simulator.pricing.arbitrage import cheapest_cover
from simulator.pricing.composition import Composition, sizes
from simulator.privacy.surrogate import AccuracyCurve
from simulator.procurement import maximize_coverage, procurement_methods
from simulator.procurement.method import GAP, PROCUREMENT, total

#: Okabe and Ito's palette, which colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LOST = "#BBBBBB"
#: Accuracy is shown for versions on sale in at least this share of rounds.
MOSTLY = 0.5
#: Amounts of money that differ by more than this factor are shown on a logarithmic axis.
WIDE = 50
#: Points of a bent line.
CURVE = 40
#: Points of a curve, or steps of a step function, that a page resolves.
RESOLUTION = 400
#: More candidate prices than this make a picture neither clearer nor quicker.
MOST_MARKS = 6000
#: Up to this many answers, lines show where the candidates come from.
FEW = 30
#: Up to this many versions, each has a panel of its own.
MOST_PANELS = 6
#: Up to this many owners, each is named.
MOST_NAMES = 60
#: Candidate prices by kind: label, colour, mark, and a shift off the version's epsilon in points.
CANDIDATES = {
    "SU": ("SU: answers", PALETTE[0], "o", 0.0),
    "MC": ("MC: taken from dearer versions", PALETTE[4], "<", -5.0),
    "SC": ("SC: scaled from cheaper versions", PALETTE[2], "^", 5.0),
}
MONOPOLY: dict[str, Any] = {
    "color": PALETTE[3],
    "marker": "D",
    "markersize": 8,
    "markerfacecolor": "none",
    "markeredgewidth": 1.3,
    "linestyle": "none",
    "zorder": 4,
}
DARK = "#8F3B00"
#: Orders in which a calibration buys owners, in words.
ORDERS = {
    "best": "most valuable first",
    "worst": "least valuable first",
    "random": "at random",
    "any": "at random, of any value",
}
#: Budgets at which procurement is shown, of offers by up to MANY owners; a third of that of more.
POINTS, MANY = 60, 1000
#: Methods of procurement that are left out where there are more owners than this.
SLOW = {"guess_greedy": 300, "ppdp": 5000}
#: Room that a tick's label takes, as a share of the axis.
LABEL_WIDTH = 0.055
TINY = 1e-300


@contextlib.contextmanager
def _style() -> Iterator[None]:
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


def _figure(width: float, height: float) -> Figure:
    # Figures made without pyplot need no display and are freed with their last reference.
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, file: Path | BinaryIO, kind: str) -> None:
    """Write a figure as "png", "pdf" or "svg", the same bytes at every call."""
    metadata: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with _style():
        figure.savefig(file, format=kind, dpi=150, metadata=metadata.get(kind))


def metric_by_level(results: Results, asked: Question, metric: str) -> Figure:
    """Mean of a metric at each value, and its paired difference to the baseline, with 95% t intervals."""
    rows = compare(results, Question(asked.by, asked.levels, asked.baseline, (metric,)))
    label, unit = METRICS.get(metric, (metric, ""))
    with _style():
        figure = _figure(7.2, 1.2 + 0.32 * len(rows))
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
            _thousands(axes.xaxis)
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
    with _style():
        figure = _figure(7.2, 1.5 + 0.34 * len(means))
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
        _thousands(axes.xaxis)
        figure.legend(loc="outside upper left", ncols=2)
        return figure


def price_ladder(results: Results, asked: Question) -> Figure:
    """Posted prices by privacy level in the last round, mean over replicates with the middle 80%."""
    versions = _last_round(results.table("versions"))
    posted = _replicates(versions, asked, ["price"], ["epsilon"])["price"]
    with _style():
        figure = _figure(7.2, 3.6)
        axes = figure.subplots()
        for number_, value in enumerate(asked.levels):
            prices = posted[posted.index.get_level_values(asked.by) == value].groupby("epsilon")
            mean = prices.mean()
            if mean.isna().all():  # personalised prices have no ladder
                continue
            axes.plot(mean.index, mean, **_line(number_), label=str(value))
            low, high = prices.quantile(0.1), prices.quantile(0.9)
            axes.fill_between(mean.index, low, high, color=_line(number_)["color"], alpha=0.12, linewidth=0)
        _epsilon_axis(axes, versions["epsilon"])
        if posted.max() > 50 * posted.min():
            axes.set_yscale("log")
        axes.set_ylabel("posted price (money)")
        _thousands(axes.yaxis)
        if axes.lines:
            figure.legend(loc="outside right upper", title=asked.label)
        return figure


def coverage_and_accuracy(results: Results, asked: Question) -> Figure:
    """Shapley coverage and measured accuracy of the versions, mean over rounds and replicates."""
    versions = results.table("versions")
    with _style():
        figure = _figure(7.2, 3.3)
        means = _means(results, asked, "versions", ["coverage", "accuracy", "on_sale"], ["epsilon"])
        panels = (("coverage", "Shapley coverage (share of value)"), ("accuracy", "Test accuracy (share right)"))
        for axes, (name, label) in zip(figure.subplots(1, 2), panels, strict=True):
            for number_, value in enumerate(asked.levels):
                own = means[means.index.get_level_values(asked.by) == value].droplevel(asked.by)
                # The few rounds of a version that is mostly withdrawn say little about its accuracy.
                mean = own[name].where((name == "coverage") | (own["on_sale"] >= MOSTLY))
                axes.plot(mean.index, mean, **_line(number_), label=str(value) if name == "coverage" else None)
            axes.set_title(label)
            _epsilon_axis(axes, versions["epsilon"])
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
    with _style():
        figure = _figure(7.2, 0.6 + 1.75 * lines)
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, value in zip(grid.flat, asked.levels, strict=False):
            flow = means.loc[value]
            for number_, (name, label) in enumerate(flows.items()):
                style = _line(number_) | {"markersize": 2.5}
                axes.plot(flow.index, flow[name], **style, label=label if value == asked.levels[0] else None)
            axes.set_title(str(value))
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            _thousands(axes.yaxis)
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
    with _style():
        figure = _figure(7.2, 3.3)
        grid = figure.subplots(1, 2 + left, squeeze=False)[0]
        for axes, (name, title) in zip(grid, panels.items(), strict=False):
            for number_, value in enumerate(asked.levels):
                style = _line(number_) | {"markersize": 2.5}
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
                grid[2].plot(own.index, own["owners_spent"], **_line(number_) | {"markersize": 2.5})
            grid[2].set_title("Owners out of budget")
            grid[2].set_ylim(bottom=0)
        for axes in grid:
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            _thousands(axes.yaxis)
        figure.supxlabel("round", fontsize=9)
        legend = figure.legend(loc="outside right upper", title=asked.label)
        legend.set_alignment("left")
        return figure


def survey_pricing(priced: SurveyPricing, survey: Survey) -> Figure:
    """The complete price space of a survey with the list chosen in it, and the revenue around that list.

    Below the space stands the revenue of each version against its price, or, of more than six versions, the
    revenue of the whole list against its level. Where candidates are too many to draw, every so many of a
    version's answers are shown, by value, and the figure says so.
    """
    n_versions = len(priced.epsilons)
    columns = 2 if n_versions == 4 else min(3, n_versions)
    lines = -(-n_versions // columns)
    each = n_versions <= MOST_PANELS
    height = 0.8 + 1.5 * lines if each else 2.4
    with _style():
        figure = _figure(7.2, 4.1 + height)
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(4.1, height))[:, 0]
        _price_space(above, priced, survey)
        if each:
            _revenue_by_version(below, priced, survey, lines, columns)
        else:
            _revenue_by_level(below, priced, survey)
        return figure


def arbitrage(epsilons: np.ndarray, prices: np.ndarray, *, composition: Composition = "additive") -> Figure:
    """A price list and the cheapest cover of every privacy level; undercut versions with what is saved."""
    covers = cheapest_covers(epsilons, prices, composition=composition)
    undercut = np.array([cover.saving > 0 for cover in covers])
    edges, steps = _cover_steps(epsilons, prices, composition)
    with _style():
        figure = _figure(7.2, 3.8)
        axes = figure.subplots()
        axes.margins(y=0.1)
        label = "cheapest bundle that covers eps"
        axes.stairs(steps, edges, baseline=None, color=PALETTE[0], linewidth=1.4, label=label)
        axes.plot(epsilons[~undercut], prices[~undercut], "o", color="black", markersize=5, label="price")
        if undercut.any():
            costs = [cover.cost for cover in covers if cover.saving]
            axes.vlines(epsilons[undercut], costs, prices[undercut], color=PALETTE[1], linewidth=1.4)
            label = "undercut price, and the saving"
            axes.plot(epsilons[undercut], prices[undercut], "X", color=PALETTE[1], markersize=7, label=label)
        for version in np.flatnonzero(undercut):
            axes.annotate(
                f"\u2212{amount(float(f'{covers[version].saving:.4g}'))}",
                (epsilons[version], prices[version]),
                (0, 6),
                textcoords="offset points",
                ha="center",
                color=DARK,
                fontsize=8,
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
            )
        _epsilon_axis(axes, epsilons)
        _money_axis(axes, "y", prices)
        axes.set_ylabel("price, cost (money)")
        axes.set_title(f"Price list and its cheapest covers ({composition} composition)")
        figure.legend(loc="outside lower left", ncols=3)
        return figure


def coverage_by_budget(
    values: np.ndarray, costs: np.ndarray, budget: float, method: str, options: Mapping[str, Any]
) -> Figure:
    """Coverage that every procurement method buys at rising budgets, and what each falls short of the bound.

    Parameters
    ----------
    values : array of float, shape (n,)
        Shapley values of the owners' shards.
    costs : array of float, shape (n,)
        What each asks, in money.
    budget : float
        The budget asked about.
    method : str
        The method asked about.
    options : mapping of str to object
        Its options; other methods have their defaults.
    """
    top = max(total(costs[values > 0]), budget)
    budgets = np.unique(np.append(np.linspace(0, top, POINTS if len(values) <= MANY else POINTS // 3), budget))
    methods = {name: cls for name, cls in procurement_methods().items() if len(values) <= SLOW.get(name, len(values))}
    methods[method] = PROCUREMENT.resolve(method)
    left_out = [name for name in procurement_methods() if name not in methods]
    bought = {
        name: [
            maximize_coverage(values, costs, float(money), method=name, **(options if name == method else {}))
            for money in budgets
        ]
        for name in methods
    }
    within = [name for name in bought if not methods[name].overspends]
    bounds = np.min([[purchase.bound for purchase in bought[name]] for name in within], axis=0)
    with _style():
        figure = _figure(7.2, 5.4)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for number_, name in enumerate(bought):
            worth = np.array([purchase.value for purchase in bought[name]])
            shares = np.array([coverage(value, values) for value in worth])
            # The exact method, which the others touch most of the time, shows at their edges.
            style = _line(number_) | ({"linewidth": 4, "alpha": 0.5, "zorder": 1} if name == "exact" else {})
            if name in within:
                above.plot(budgets, shares, label=name, **style | {"marker": ""})
                short = np.divide(bounds - worth, bounds, out=np.zeros_like(worth), where=bounds > 0)
                below.plot(budgets, np.where(short > GAP, short, np.nan), **style | {"linewidth": 0.6})
            else:
                above.plot(budgets, shares, label=f"{name} (overspends)", **style | {"marker": "", "linestyle": ":"})
            if name == method:
                above.plot(budget, shares[budgets == budget], "o", color="black", markersize=6, zorder=4)
        for axes in (above, below):
            axes.axvline(budget, color="#666666", linewidth=0.8, label=f"the budget, and {method}'s purchase")
        above.set_ylim(-0.03, 1.03)
        above.set_ylabel("coverage")
        above.set_title("Coverage by budget" + (f" (without {', '.join(left_out)}: too slow here)" if left_out else ""))
        if any(np.isfinite(line.get_ydata()).any() for line in below.get_lines()[: len(within)]):
            below.set_yscale("log")
        else:  # nothing falls short: an empty panel
            below.set_yticks([])
        below.set_ylabel("share of bound")
        below.set_title("Shortfall from what no affordable set exceeds (none: not shown)")
        below.set_xlabel("budget (money)")
        _thousands(below.xaxis)
        figure.legend(*above.get_legend_handles_labels(), loc="outside lower left", ncols=3)
        return figure


def _price_space(figure: SubFigure, priced: SurveyPricing, survey: Survey) -> None:
    eps = priced.epsilons
    targets, values, weights, note = _drawn_answers(survey, len(eps))
    space = complete_price_space(eps, targets, values, composition=priced.composition)
    # A price above all answers sells nothing, and scaled prices far above would squeeze the rest.
    top = max(values.max(), np.nanmax(priced.prices, initial=0.0))
    few = len(values) <= FEW
    axes = figure.subplots()
    if few:
        _rays(axes, priced, targets, values, top)
    for kind, (label, colour, mark, offset) in CANDIDATES.items():
        at, prices, area = eps[targets], values, 8 + 32 * weights / weights.max()
        if kind != "SU":
            own = [candidates.prices[candidates.kinds == kind] for candidates in space]
            at, prices, area = np.repeat(eps, [len(part) for part in own]), np.concatenate(own), np.array(20.0)
        if len(prices) == 0:
            continue
        shown = prices <= top
        aside = ScaledTranslation(0 if few else offset / 72, 0, figure.dpi_scale_trans)
        axes.scatter(
            at[shown],
            prices[shown],
            s=np.broadcast_to(area if few else area / 2, prices.shape)[shown],
            color=colour,
            marker=mark,
            label=label if shown.all() else f"{label} (up to the top answer)",
            alpha=0.9 if few else 0.45,
            linewidths=0,
            transform=axes.transData + aside,
            zorder=2.5,
        )
    best = np.array([survey.demand(k).monopoly()[0] for k in range(len(eps))])
    axes.plot(eps, np.where(np.isfinite(best), best, np.nan), label="monopoly price", **MONOPOLY)
    if np.isfinite(priced.prices).any():
        axes.plot(eps, priced.prices, "_-k", markersize=14, mew=2.2, lw=1, zorder=3, label=f"list of {priced.strategy}")
    _epsilon_axis(axes, eps)
    _money_axis(axes, "y", np.append(values, priced.prices))
    # Shifted marks do not count when axes are scaled to what is on them.
    axes.set_ylim(
        0 if axes.get_yscale() == "linear" else np.nanmin(np.append(values, priced.prices)) / 1.15, top * 1.08
    )
    axes.set_ylabel("price (money)")
    axes.set_title(f"Complete price space ({priced.composition} composition){note}")
    figure.legend(loc="outside lower left", ncols=2)


def _rays(axes: Axes, priced: SurveyPricing, targets: np.ndarray, values: np.ndarray, top: float) -> None:
    """Through each answer its constant price down to the lowest version, and its price per size up to the highest."""
    eps = priced.epsilons
    style: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.6, "zorder": 1}
    for target, value in zip(targets, values, strict=True):
        axes.plot([eps[0], eps[target]], [value, value], color=CANDIDATES["MC"][1], **style)
        ray = np.geomspace(eps[target], eps[-1], RESOLUTION)
        price = value * sizes(ray, priced.composition) / sizes(eps[target], priced.composition)
        axes.plot(ray[price <= top], price[price <= top], color=CANDIDATES["SC"][1], **style)


def _drawn_answers(survey: Survey, n_versions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Targets, values and weights of distinct answers; of too many, each version's at even ranks, and a note."""
    answers = pd.DataFrame({"target": survey.targets, "value": survey.values, "weight": survey.weights})
    distinct = answers.groupby(["target", "value"], as_index=False)["weight"].sum()
    every = -(-len(distinct) * n_versions // MOST_MARKS)
    kept = distinct
    if every > 1:
        highest = distinct["target"].diff(-1) != 0
        kept = distinct[(distinct.groupby("target").cumcount() % every == 0) | highest]
    note = "" if len(kept) == len(distinct) else f"; {len(kept):,} of {len(distinct):,} distinct answers drawn"
    return kept["target"].to_numpy(), kept["value"].to_numpy(), kept["weight"].to_numpy(), note


def _revenue_by_version(figure: SubFigure, priced: SurveyPricing, survey: Survey, lines: int, columns: int) -> None:
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for k, (eps, axes) in enumerate(zip(priced.epsilons, grid.flat, strict=False)):
        demand = survey.demand(k)
        axes.margins(y=0.12)
        if len(demand.values):
            axes.plot(*_revenue_curve(demand), color=PALETTE[0], linewidth=1)
            axes.plot(*demand.monopoly(), **MONOPOLY)
        if np.isfinite(priced.prices[k]):
            axes.axvline(priced.prices[k], color="black", linewidth=0.8)
            axes.plot(priced.prices[k], priced.revenues[k], "ok", markersize=4)
        axes.tick_params(labelbottom=k + columns >= len(priced.epsilons))
        axes.set_title(f"eps {eps:g}" if len(demand.values) else f"eps {eps:g}: nobody asked", fontsize=9)
    _money_axis(grid[0, 0], "x", np.append(survey.values, priced.prices))
    if grid[0, 0].get_xscale() == "log":  # the curves begin further down, near zero
        grid[0, 0].set_xlim(left=survey.values.min() / 2)
    _money_axis(grid[0, 0], "y", np.zeros(1))
    for axes in grid.flat[len(priced.epsilons) :]:
        axes.set_axis_off()
    line = " (line: that of the list)" if np.isfinite(priced.prices).any() else ""
    figure.suptitle(f"Revenue of each version by its price{line}", x=0.01, ha="left", fontsize=10)
    figure.supxlabel("price of the version (money)", fontsize=9)
    figure.supylabel("revenue (money)", fontsize=9)


def _revenue_curve(demand: Demand) -> tuple[np.ndarray, np.ndarray]:
    """Prices and revenue of a version: up to each answer, where that buyer is lost; of many answers the peaks."""
    answers = np.unique(demand.values)
    if len(answers) > RESOLUTION:
        answers = answers[np.linspace(0, len(answers) - 1, RESOLUTION).astype(int)]
        return answers, answers * demand(answers)
    prices = np.repeat(answers, 2)
    sold = np.repeat(np.append(demand(answers), 0.0), 2)[1:-1]
    # Proportional to the price, which a logarithmic axis bends.
    start = np.geomspace(answers[0] / WIDE, answers[0], CURVE, endpoint=False)
    return np.append(start, prices), np.append(start * sold[0], prices * sold)


def _revenue_by_level(figure: SubFigure, priced: SurveyPricing, survey: Survey) -> None:
    axes = figure.subplots()
    if np.isfinite(priced.prices).all():
        levels = np.unique(np.append(np.geomspace(0.25, 4, RESOLUTION), 1.0))
        revenue = [survey.revenue(level * priced.prices).sum() for level in levels]
        axes.plot(levels, revenue, color=PALETTE[0], linewidth=1.2)
        axes.plot(1, priced.revenue, "ok", markersize=5)
    axes.set_xscale("log")
    axes.set_xticks([0.25, 0.5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
    axes.minorticks_off()
    _money_axis(axes, "y", np.zeros(1))
    axes.set_xlabel("all prices, as a multiple of the list's")
    axes.set_ylabel("revenue (money)")
    axes.set_title("Revenue of the list, raised or lowered as a whole")


def _cover_steps(epsilons: np.ndarray, prices: np.ndarray, composition: Composition) -> tuple[np.ndarray, np.ndarray]:
    """Cost of covering each privacy level up to the highest version: edges of its steps in eps, and the costs.

    The cheapest bundle for a size is so up to its own size. Steps closer than the page resolves are left out.
    """
    x = sizes(epsilons, composition)
    edges, costs = [0.0], []
    just = 1e-9 * x[-1]  # more than the rounding of sums of sizes
    while edges[-1] < x[-1] - just:
        cost, bundle = cheapest_cover(x, prices, edges[-1] + just)
        edges.append(min(max(float(bundle @ x), edges[-1] + x[-1] / RESOLUTION), x[-1]))
        costs.append(cost)
    return (np.array(edges) if composition == "additive" else np.sqrt(edges)), np.array(costs)


def owner_values(valued: OwnerValues) -> Figure:
    """Shapley values of owners, largest first, with 95% intervals; of many owners without their names."""
    n = len(valued.values)
    named = n <= MOST_NAMES
    with _style():
        figure = _figure(7.2, 1.1 + 0.22 * n if named else 5.0)
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
        axes.axvline(0, color="#666666", linewidth=0.8)
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
    with _style():
        figure = _figure(2.4 * columns, 2.3 * math.ceil(len(shares) / columns) + 0.5)
        panels = figure.subplots(math.ceil(len(shares) / columns), columns, sharex=True, sharey=True, squeeze=False)
        for axes in panels.flat[len(shares) :]:
            axes.remove()
        grid = np.geomspace(*curve.epsilon_range, CURVE)
        grid[[0, -1]] = curve.epsilon_range
        for axes, share in zip(panels.flat, shares, strict=False):
            bought = trials[trials["share"] == share]
            for position, order in enumerate(orders):
                means = bought[bought["order"] == order].groupby("epsilon")[["accuracy", "coverage", "records"]].mean()
                drawn = {**_line(position), "linestyle": "none", "markersize": 3.0}
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


def _line(position: int) -> dict[str, Any]:
    # When the colours begin again they meet other markers.
    return {
        "color": PALETTE[position % len(PALETTE)],
        "marker": MARKERS[(position + position // len(PALETTE)) % len(MARKERS)],
        "markersize": 4.0,
        "linewidth": 1.4,
    }


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


def _epsilon_axis(axes: Axes, epsilons: ArrayLike) -> None:
    """The versions' epsilons on the scale that keeps the closest two further apart, labelled where there is room."""
    shown = np.unique(epsilons)
    places = {scale: (x - x[0]) / max(x[-1] - x[0], TINY) for scale, x in (("linear", shown), ("log", np.log(shown)))}
    scale = max(places, key=lambda scale: np.diff(places[scale]).min(initial=1.0))
    axes.set_xscale(scale)
    labels, last = [], -1.0
    for eps, place in zip(shown, places[scale], strict=True):
        room = place - last >= LABEL_WIDTH
        labels.append(f"{eps:g}" if room else "")
        last = place if room else last
    axes.set_xticks(shown, labels)
    axes.minorticks_off()
    axes.set_xlabel("privacy level of the version (eps)")


def _money_axis(axes: Axes, name: str, amounts: np.ndarray) -> None:
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
    _thousands(axis)


def _thousands(axis: Axis) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value) if abs(value) >= 1000 else f"{value:g}"))
