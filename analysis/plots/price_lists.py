"""Figures of price lists: a survey's price space, and what bundles undercut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.transforms import ScaledTranslation

from analysis.plots.style import CURVE, PALETTE, WIDE, WIDTH, epsilon_axis, money_axis, new_figure, publication_style
from analysis.price_lists import SurveyPricing, cheapest_covers
from analysis.tables import amount
from simulator.pricing import Demand, Survey, complete_price_space
from simulator.pricing.arbitrage import cheapest_cover
from simulator.pricing.composition import Composition, sizes

DARK = "#8F3B00"
#: Points of a curve, or steps of a step function, that a page resolves.
RESOLUTION = 400
#: More candidate prices than this make a picture neither clearer nor quicker.
MOST_MARKS = 6000
#: Up to this many answers, lines show where the candidates come from.
FEW = 30
#: Up to this many versions, each has a panel of its own.
MOST_PANELS = 6
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
    with publication_style():
        figure = new_figure(WIDTH, 4.1 + height)
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
    with publication_style():
        figure = new_figure(WIDTH, 3.8)
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
        epsilon_axis(axes, epsilons)
        money_axis(axes, "y", prices)
        axes.set_ylabel("price, cost (money)")
        axes.set_title(f"Price list and its cheapest covers ({composition} composition)")
        figure.legend(loc="outside lower left", ncols=3)
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
    epsilon_axis(axes, eps)
    money_axis(axes, "y", np.append(values, priced.prices))
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
    money_axis(grid[0, 0], "x", np.append(survey.values, priced.prices))
    if grid[0, 0].get_xscale() == "log":  # the curves begin further down, near zero
        grid[0, 0].set_xlim(left=survey.values.min() / 2)
    money_axis(grid[0, 0], "y", np.zeros(1))
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
    money_axis(axes, "y", np.zeros(1))
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
