"""Revenue beyond the relaxed problem: the relaxed optimum lifted, then improved threshold by threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from simulator.pricing.composition import TOLERANCE, Composition, check_epsilons, sizes
from simulator.pricing.revenue import Pricing, maximize_revenue
from simulator.pricing.strategy import PricingContext, PricingStrategy
from simulator.pricing.survey import Survey
from simulator.pricing.thresholds import Thresholds


def lift_revenue(
    epsilons: ArrayLike,
    targets: ArrayLike,
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    composition: Composition = "additive",
) -> Pricing:
    """Price list without arbitrage that earns at least as much as the relaxed optimum, nearly the most possible.

    The optimum of the relaxed problem is lifted to the greatest arbitrage-free list that sells to the same
    buyers. Then one version after another moves its threshold, the smallest answer it is sold at, to where the
    greatest list at these thresholds earns most, until no single move gains.

    Parameters
    ----------
    epsilons : array of float, shape (l,)
        Privacy levels of the versions, strictly increasing, > 0.
    targets : array of int, shape (m,)
        Index of the version each answer is for, 0..l-1.
    values : array of float, shape (m,)
        Stated willingness to pay, in money, > 0.
    weights : array of float, shape (m,), optional
        How many buyers an answer stands for, > 0; by default 1.
    composition : {"additive", "quadratic"}
        What a bundle of versions is worth.

    Returns
    -------
    Pricing
        The list and its revenue, never less than that of `maximize_revenue`; the bound is that of
        `maximize_revenue`.

    Raises
    ------
    ValueError
        If an argument is out of range or of the wrong shape, or no answer is given.

    Examples
    --------
    Two copies of the first version cover the second: 20 is no arbitrage, although the relaxed problem stops at 15.

    >>> lift_revenue([2, 3], targets=[0, 1], values=[10, 20]).prices.tolist()
    [10.0, 20.0]
    """
    x = sizes(check_epsilons(epsilons), composition)
    start = maximize_revenue(epsilons, targets, values, weights=weights, composition=composition, lift=True)
    thresholds = Thresholds(x, Survey(targets, values, weights))
    prices, revenue = ascend(thresholds, start.prices)
    bound = max(start.bound, revenue)
    return Pricing(prices, revenue, bound, bool(revenue >= bound * (1 - TOLERANCE)))


def ascend(thresholds: Thresholds, prices: np.ndarray) -> tuple[np.ndarray, float]:
    """Move one threshold at a time to where it earns most, from those of `prices`, until no move gains.

    What a move earns is told by the bundles met so far. Returns the list, shape (l,), and its revenue.
    """
    prices, revenue = thresholds.lift(prices)
    version, unchanged = 0, 0
    while unchanged < len(prices):
        moved = _best_move(thresholds, thresholds.served(prices), version, revenue)
        if moved is None:
            unchanged += 1
        else:
            prices, revenue = moved
            unchanged = 0
        version = (version + 1) % len(prices)
    return prices, revenue


def _best_move(
    thresholds: Thresholds, served: np.ndarray, version: int, revenue: float
) -> tuple[np.ndarray, float] | None:
    """The list with the threshold of one version moved to where it earns most, and its revenue; None if none gains."""
    pool, demands = thresholds.pool, thresholds.demands
    caps = np.minimum(served, thresholds.top)
    tried = np.append(np.unique(demands[version].values), thresholds.top)
    others = caps.copy()
    others[version] = 0.0
    while True:
        known = len(pool)
        earned = np.zeros(len(tried))
        for bundles, demand in zip(pool.bundles, demands, strict=True):
            # The cheapest known cover as a function of the threshold that moves: a minimum of straight lines.
            prices = np.min((bundles @ others)[:, None] + bundles[:, version, None] * tried, axis=0)
            earned += prices * demand(prices)
        pick = int(np.argmax(earned))
        if earned[pick] <= revenue * (1 + TOLERANCE):
            return None
        caps[version] = tried[pick]
        moved, gained = thresholds.lift(thresholds.list_at(caps)[0])
        if gained > revenue * (1 + TOLERANCE):
            return moved, gained
        if len(pool) == known:
            return None


class Lifted(PricingStrategy):
    """The relaxed optimum lifted, then improved version by version: nearly the best arbitrage-free list."""

    name = "lifted"

    def prices(self, context: PricingContext) -> np.ndarray:
        """The lifted list."""
        survey = context.survey
        return lift_revenue(
            context.epsilons, survey.targets, survey.values, weights=survey.weights, composition=context.composition
        ).prices
