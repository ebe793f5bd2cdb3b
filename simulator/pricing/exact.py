"""Revenue maximisation without arbitrage, exactly: the unrelaxed problem, with proof."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog

from simulator.pricing.arguments import check_step_limit, check_time_limit
from simulator.pricing.composition import TOLERANCE, Composition, check_epsilons, sizes
from simulator.pricing.lifted import ascend
from simulator.pricing.revenue import Pricing, maximize_revenue, relaxation_factor
from simulator.pricing.strategy import PricingContext, PricingStrategy
from simulator.pricing.survey import Demand, Survey
from simulator.pricing.thresholds import Thresholds

#: Relative gap between revenue and bound at which a list is proven optimal.
GAP = 1e-9


def maximize_revenue_exact(
    epsilons: ArrayLike,
    targets: ArrayLike,
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    composition: Composition = "additive",
    time_limit: float | None = None,
    step_limit: int | None = None,
) -> Pricing:
    """Revenue-maximising price list among all arbitrage-free ones, with proof.

    Branch and bound on boxes of prices, best bound first. Within a box every version's revenue lies below the least
    concave function above it, and all bundles found to undercut a list so far are linear constraints: one
    small linear programme, whose multipliers give a bound that holds whatever the solver's rounding, and rule out
    prices at the ends of the box. The box is cut where the concave function is farthest from the revenue. Every
    solution is turned into a list by way of thresholds, so the best list is known early: the search starts from
    that of `lift_revenue`. Where all ratios of sizes are whole the relaxed optimum is exact and nothing is searched.

    The problem is coNP-hard in the number of versions. Thousands of answers for 3 to 5 versions, and hundreds for
    8, take well under a second.

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
    time_limit : float, optional
        Seconds after which the best list so far is returned, > 0; by default the search goes on until it is done.
    step_limit : int, optional
        Boxes after which the best list so far is returned, > 0: a limit that means the same on every machine. A
        thousand boxes take a second or two.

    Returns
    -------
    Pricing
        The list and its revenue. `optimal` says that no arbitrage-free list earns more by a relative 1e-9; if the
        time did not suffice it is False and `bound` is what is proven.

    Raises
    ------
    ValueError
        If an argument is out of range or of the wrong shape, or no answer is given.

    References
    ----------
    Liu et al. (2021), section 5.1 (the problem RM). Falk and Soland (1969), An algorithm for separable nonconvex
    programming problems (branch and bound with concave envelopes).

    Examples
    --------
    The relaxed problem earns 25: prices per size may not rise, so the second version costs at most 15.

    >>> best = maximize_revenue_exact([2, 3], targets=[0, 1], values=[10, 20])
    >>> best.prices.tolist(), best.revenue, best.optimal
    ([10.0, 20.0], 30.0, True)
    """
    deadline, most = time.monotonic() + check_time_limit(time_limit), check_step_limit(step_limit)
    x = sizes(check_epsilons(epsilons), composition)
    start = maximize_revenue(epsilons, targets, values, weights=weights, composition=composition, lift=True)
    if relaxation_factor(x) <= 1 + TOLERANCE or start.optimal:
        return Pricing(start.prices, start.revenue, start.revenue, True)
    thresholds = Thresholds(x, Survey(targets, values, weights))
    search = _Search(thresholds, *ascend(thresholds, start.prices))
    bound = search.run(deadline, most)
    prices, revenue = thresholds.lift(search.prices)
    bound = max(revenue, min(bound, start.bound))
    return Pricing(prices, revenue, bound, bool(revenue >= bound * (1 - GAP)))


class _Curve:
    """Revenue of one version as a function of its price: a straight line between two answers, a drop at each.

    Segment s holds the prices above `left[s]` up to `right[s]`.
    """

    def __init__(self, demand: Demand, top: float) -> None:
        answers = np.unique(demand.values)
        self.right = answers if len(answers) and answers[-1] >= top else np.append(answers, top)
        self.left = np.append(0.0, self.right[:-1])
        buyers = demand(self.right)
        self.at_left, self.at_right = self.left * buyers, self.right * buyers
        self._hulls: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def segment(self, price: float) -> int:
        """Segment that holds a price, rounding errors forgiven."""
        return min(int(np.searchsorted(self.right, price * (1 - TOLERANCE))), len(self.right) - 1)

    def revenue(self, price: float) -> float:
        """Revenue at a price."""
        s = self.segment(price)
        return float(self.at_right[s] * price / self.right[s])

    def hull(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Corners (prices, revenues) of the least concave function above the revenue on some segments."""
        if (first, last) not in self._hulls:
            prices = np.append(self.left[first], self.right[first : last + 1])
            revenues = np.append(self.at_left[first], self.at_right[first : last + 1])
            corners = _upper_hull(prices.tolist(), revenues.tolist())
            self._hulls[first, last] = prices[corners], revenues[corners]
        return self._hulls[first, last]

    def best(self, first: int, last: int, multiplier: float) -> np.ndarray:
        """Largest value of revenue less `multiplier` times price within each segment, shape (last - first + 1,)."""
        part = slice(first, last + 1)
        return np.maximum(
            self.at_left[part] - multiplier * self.left[part], self.at_right[part] - multiplier * self.right[part]
        )


def _upper_hull(x: Sequence[float], y: Sequence[float]) -> list[int]:
    """Positions of the corners of the upper hull of points sorted by x."""
    hull: list[int] = []
    for i in range(len(x)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (y[b] - y[a]) * (x[i] - x[a]) > (y[i] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(i)
    return hull


#: A box of price lists: first and last segment of each version.
_Box = tuple[tuple[int, ...], tuple[int, ...]]


class _Search:
    """Branch and bound over boxes of price lists, from a first list and its revenue."""

    def __init__(self, thresholds: Thresholds, prices: np.ndarray, revenue: float) -> None:
        self.thresholds, self.prices, self.revenue = thresholds, prices, revenue
        self._curves = [_Curve(demand, thresholds.top) for demand in thresholds.demands]

    def run(self, deadline: float, most: float) -> float:
        """Search until the best list is proven, time is up or so many boxes are done; no list earns more than this."""
        box: _Box = (tuple(0 for _ in self._curves), tuple(len(curve.right) - 1 for curve in self._curves))
        order = itertools.count()
        boxes = [(-np.inf, next(order), box)]
        while boxes and -boxes[0][0] > self.revenue * (1 + GAP):
            if most <= 0 or time.monotonic() > deadline:
                return -boxes[0][0]
            most -= 1
            bound, parts = self._split(heapq.heappop(boxes)[2])
            for part in parts:
                heapq.heappush(boxes, (-bound, next(order), part))
        return self.revenue

    def _split(self, box: _Box) -> tuple[float, list[_Box]]:
        """Bound on the revenue of the lists in a box, and the parts in which a better list may still be."""
        first, last = map(list, box)
        while True:
            # No list in the box is above the greatest one under its upper ends.
            ends = np.array([curve.right[s] for curve, s in zip(self._curves, last, strict=True)])
            greatest = self.thresholds.pool.prices(ends)
            last = [curve.segment(price) for curve, price in zip(self._curves, greatest, strict=True)]
            if any(a > b for a, b in zip(first, last, strict=True)):
                return -np.inf, []
            if first == last:
                self._try(greatest)
                return -np.inf, []
            size = sum(last) - sum(first)
            prices, envelope, multipliers = self._relax(first, last)
            values = [
                curve.best(*ends) for curve, *ends in zip(self._curves, first, last, multipliers.tolist(), strict=True)
            ]
            bound = sum(float(value.max()) for value in values)
            known = len(self.thresholds.pool)
            if bound > self.revenue * (1 + GAP):
                self._try(prices)
                self.thresholds.pool.repair(prices)
            if bound <= self.revenue * (1 + GAP):
                return bound, []
            for k, value in enumerate(values):
                kept = np.flatnonzero(bound - value.max() + value > self.revenue * (1 + GAP))
                first[k], last[k] = first[k] + int(kept[0]), first[k] + int(kept[-1])
            # As long as the box shrinks much or bundles are new, the same programme again gains more than a cut.
            if len(self.thresholds.pool) == known and sum(last) - sum(first) > 0.7 * size:
                break
        gaps = [
            above - curve.revenue(price) if a < b else -np.inf
            for curve, price, above, a, b in zip(self._curves, prices, envelope, first, last, strict=True)
        ]
        k = int(np.argmax(gaps))
        curve = self._curves[k]
        cut = min(max(curve.segment(prices[k]), first[k]), last[k])
        if cut == last[k] or (cut > first[k] and prices[k] - curve.left[cut] < curve.right[cut] - prices[k]):
            cut -= 1
        below, above = list(last), list(first)
        below[k], above[k] = cut, cut + 1
        return bound, [(tuple(first), tuple(below)), (tuple(above), tuple(last))]

    def _relax(self, first: list[int], last: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Prices that maximise the concave functions under the known bundles, those functions there, multipliers.

        Shapes (l,). The multiplier of a version is what a unit of its price costs in terms of the bundles' bounds.
        """
        pool, curves = self.thresholds.pool, self._curves
        hulls = [curve.hull(a, b) for curve, a, b in zip(curves, first, last, strict=True)]
        version = np.repeat(np.arange(len(curves)), [len(hull[0]) for hull in hulls])
        price, revenue = (np.concatenate(part) for part in zip(*hulls, strict=True))
        # Bundles as rows: price of the version less cost of the bundle, scaled since counts may be large.
        one = np.eye(len(curves))
        rows = np.concatenate([one[k] - bundles[1:] for k, bundles in enumerate(pool.bundles)])
        rows /= np.abs(rows).max(axis=1, keepdims=True)
        # Money in units of the largest answer, revenue in units of the best known: tolerances are absolute.
        solved = linprog(
            -revenue / self.revenue,
            A_ub=rows[:, version] * (price / self.thresholds.top),
            b_ub=np.zeros(len(rows)),
            A_eq=one[:, version],
            b_eq=np.ones(len(curves)),
            method="highs",
        )
        if solved.status != 0:  # numerical trouble: any multipliers give a bound
            ends = np.array([curve.right[s] for curve, s in zip(curves, last, strict=True)])
            return ends, np.full(len(curves), np.inf), np.zeros(len(curves))
        weight = solved.x
        scale = self.revenue / self.thresholds.top
        return (
            np.bincount(version, weight * price, minlength=len(curves)),
            np.bincount(version, weight * revenue, minlength=len(curves)),
            scale * (np.maximum(-solved.ineqlin.marginals, 0.0) @ rows),
        )

    def _try(self, prices: np.ndarray) -> None:
        """Keep the greatest list that serves whom `prices` serve if it earns more than the best so far."""
        caps = np.array([curve.right[curve.segment(price)] for curve, price in zip(self._curves, prices, strict=True)])
        found, revenue = self.thresholds.list_at(caps)
        if revenue > self.revenue:
            self.prices, self.revenue = found, revenue


class Exact(PricingStrategy):
    """The revenue-maximising list among all arbitrage-free ones, with proof.

    Parameters
    ----------
    step_limit : int or None
        Boxes that the search for a list may take, after which the best one found is posted; None for as many as
        it takes. A limit in seconds would make results depend on the machine.
    """

    name = "exact"
    source = "Liu et al. (2021), problem RM; solved here by branch and bound"

    def __init__(self, *, step_limit: int | None = 10_000) -> None:
        check_step_limit(step_limit)
        self.step_limit = step_limit

    def prices(self, context: PricingContext) -> np.ndarray:
        """The best list."""
        survey = context.survey
        return maximize_revenue_exact(
            context.epsilons,
            survey.targets,
            survey.values,
            weights=survey.weights,
            composition=context.composition,
            step_limit=self.step_limit,
        ).prices
