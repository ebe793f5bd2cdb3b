"""Coarse to fine: bounds over ever narrower ranges of prices leave few answers for the exact programme.

A range of prices of one version earns at most its best price times the demand there. The programme over the
ranges of all versions, forwards and backwards, bounds every list that passes through a range; one that stays
below a list already found cannot hold an optimal price. Two steps share this: bins of the leading bits of the
float, counted in one pass over the answers, and then cells within the bins left, over the sorted answers there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator.pricing.programme import greatest_feasible, window_maxima
from simulator.pricing.survey import Demand, Survey

#: Bounds closer than this, relatively, are equal: far above the rounding of sums of revenues.
SLACK = 1e-9
#: Up to so many answers the exact programme needs no refinement, and up to so many left of more it takes over.
DIRECT, FEW = 8000, 4000
#: Bins over all versions, and how many of the mantissa's 52 bits a bin keeps at most.
BINS, BITS = 2**18, 10
#: Ranges a version starts with, at most; parts that a surviving range is split into.
FIRST, PARTS = 512, 16


@dataclass(frozen=True)
class Ranges:
    """Disjoint ranges [low, high) of prices of one version, in increasing order, shape (c,) each."""

    low: np.ndarray
    high: np.ndarray

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, chosen: np.ndarray) -> Ranges:
        return Ranges(self.low[chosen], self.high[chosen])

    def contains(self, prices: np.ndarray) -> np.ndarray:
        """Whether each price lies in one of the ranges, up to the slack, shape of `prices`."""
        position = np.searchsorted(self.low, prices * (1 + SLACK), "right") - 1
        return (position >= 0) & (prices * (1 - SLACK) < self.high[position])

    def split(self) -> Ranges:
        """The same prices in `PARTS` times as many ranges."""
        inner = self.low[:, None] + (self.high - self.low)[:, None] * (np.arange(PARTS) / PARTS)
        return Ranges(inner.ravel(), np.column_stack([inner[:, 1:], self.high]).ravel())


@dataclass(frozen=True)
class Contenders:
    """What is left of a survey for the exact programme.

    Attributes
    ----------
    answers : list of array of float
        For each version the answers that may be an optimal price, sorted and distinct.
    ranges : list of Ranges
        For each version the prices that may be optimal.
    demands : list of Demand
        Demand for each version, exact at those prices and at its monopoly price.
    """

    answers: list[np.ndarray]
    ranges: list[Ranges]
    demands: list[Demand]


def contenders(x: np.ndarray, survey: Survey) -> Contenders:
    """The answers and the prices that may be part of an optimal list of the relaxed problem.

    Parameters
    ----------
    x : array of float, shape (l,)
        Sizes of the versions.
    survey : Survey
        The answers.
    """
    bins = _Bins(x, survey)
    if np.count_nonzero(bins.mass) <= FEW:
        distinct = bins.distinct(survey)
        if distinct is not None:
            return distinct
    ranges, best, left = bins.refine(x)
    answers, earned, demands = bins.extract(survey, left)
    while True:
        bounds = [_earns_at_most(*of) for of in zip(ranges, answers, earned, demands, strict=True)]
        through, chain = _through(x, ranges, bounds)
        best = max(best, _earns_at_least(x, np.array([r.low[c] for r, c in zip(ranges, chain, strict=True)]), demands))
        ranges = [r[t >= best * (1 - SLACK)] for r, t in zip(ranges, through, strict=True)]
        inside = [r.contains(a) for a, r in zip(answers, ranges, strict=True)]
        answers = [a[i] for a, i in zip(answers, inside, strict=True)]
        earned = [e[i] for e, i in zip(earned, inside, strict=True)]
        finer = sum(len(r) for r in ranges) * PARTS <= BINS
        narrow = all((r.high <= r.low * (1 + 2 * SLACK)).all() for r in ranges)
        if sum(len(a) for a in answers) <= FEW or narrow or not finer:
            return Contenders(answers, ranges, demands)
        ranges = [r.split() for r in ranges]


class _Bins:
    """Demand on bins of prices, which hold the floats of the same leading bits.

    Parameters
    ----------
    x : array of float, shape (l,)
        Sizes of the versions.
    survey : Survey
        The answers.
    """

    def __init__(self, x: np.ndarray, survey: Survey) -> None:
        values = np.ascontiguousarray(survey.values)
        # An answer for the smallest version may set the price of the largest one.
        ends = np.array([values.min(), min(values.max() * (x[-1] / x[0]), np.finfo(float).max / 2)])
        first, last = ends.view(np.int64).tolist()
        shift = 52 - BITS
        while ((last >> shift) - (first >> shift) + 1) * len(x) > BINS:
            shift += 1
        base = first >> shift
        self.count = (last >> shift) - base + 1
        self.edges = (np.arange(base, base + self.count + 1) << shift).view(float)
        self.keys = values.view(np.int64) >> shift
        self.keys += survey.targets * self.count
        self.keys -= base
        weights = None if survey.common_weight else survey.weights
        mass = np.bincount(self.keys, weights, len(x) * self.count) * (survey.common_weight or 1.0)
        self.mass = mass.reshape(len(x), self.count)

    @cached_property
    def above(self) -> np.ndarray:
        """Buyers whose answers lie in each bin or above it, shape (l, bins)."""
        return np.flip(np.cumsum(np.flip(self.mass, axis=1), axis=1), axis=1)

    @cached_property
    def at_most(self) -> np.ndarray:
        """What a price in each bin earns at most, shape (l, bins), in money."""
        return self.edges[1:] * self.above

    def distinct(self, survey: Survey) -> Contenders | None:
        """Everything the survey says, by value, where all answers in a bin are the same; else None."""
        values = np.empty(self.mass.size)
        values[self.keys] = survey.values
        if not np.array_equal(values[self.keys], survey.values):
            return None
        answers = [v[m > 0] for v, m in zip(np.reshape(values, self.mass.shape), self.mass, strict=True)]
        demands = [Demand.of_sorted(a, m[m > 0]) for a, m in zip(answers, self.mass, strict=True)]
        return Contenders(answers, [Ranges(np.zeros(1), np.full(1, np.inf))] * len(answers), demands)

    def refine(self, x: np.ndarray) -> tuple[list[Ranges], float, np.ndarray]:
        """Bins that may hold an optimal price, the revenue found, and which answers are still needed.

        Returns
        -------
        ranges : list of Ranges
            Bins left, by version.
        best : float
            Revenue that some list is sure to earn.
        needed : array of bool, shape (l, bins)
            Bins whose answers may set an optimal price, or a version's monopoly price.
        """
        width = 1
        while self.count > FIRST * width:
            width *= PARTS
        padded = np.zeros((len(x), -(-self.count // width) * width))
        padded[:, : self.count] = self.at_most
        starts = [np.arange(0, self.count, width)] * len(x)
        best = 0.0
        while True:
            bounds = padded.reshape(len(x), -1, width).max(axis=2)
            ranges = [Ranges(self.edges[s], self.edges[np.minimum(s + width, self.count)]) for s in starts]
            through, chain = _through(x, ranges, [bounds[k, s // width] for k, s in enumerate(starts)])
            best = max(best, self._earns_at_least(x, [s[c] for s, c in zip(starts, chain, strict=True)], width))
            alive = [t >= best * (1 - SLACK) for t in through]
            starts = [s[a] for s, a in zip(starts, alive, strict=True)]
            if width == 1:
                break
            width //= PARTS
            starts = [(s[:, None] + np.arange(0, PARTS * width, width)).ravel() for s in starts]
            starts = [s[s < self.count] for s in starts]
        monopoly = (self.edges[:-1] * self.above).max(axis=1, keepdims=True)
        needed = (self.at_most >= monopoly * (1 - SLACK)) & (self.mass > 0)
        for k, s in enumerate(starts):
            needed[k, s] = True
        return [r[a] for r, a in zip(ranges, alive, strict=True)], best, needed

    def _earns_at_least(self, x: np.ndarray, starts: list[int], width: int) -> float:
        """Revenue of a feasible list below the best bin of each range that a chain passes through."""
        best = [start + int(np.argmax(self.at_most[k, start : start + width])) for k, start in enumerate(starts)]
        prices = greatest_feasible(x, self.edges[best])
        return float(prices @ self.above[np.arange(len(x)), best])

    def extract(self, survey: Survey, needed: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], list[Demand]]:
        """The answers in the bins `needed`, sorted and distinct, what each earns as a price, and the demands.

        The buyers in a stretch of other bins stand at its lower edge: demand outside the stretch is exact.
        """
        chosen = np.flatnonzero(needed.ravel()[self.keys])
        targets = survey.targets[chosen].astype(np.min_scalar_type(len(needed)))
        order = np.argsort(targets, kind="stable")
        ends = np.cumsum(np.bincount(targets, minlength=len(needed)))[:-1]
        values = np.split(survey.values[chosen][order], ends)
        weights: Sequence[np.ndarray | float]
        if survey.common_weight:
            weights = [survey.common_weight] * len(needed)
        else:
            weights = np.split(survey.weights[chosen][order], ends)
        answers, earned, demands = [], [], []
        for k, (own, heavy) in enumerate(zip(values, weights, strict=True)):
            distinct, mass = _distinct(own, heavy)
            stretch = np.flatnonzero(~needed[k] & np.append(True, needed[k, :-1]))
            edges = self.edges[stretch]
            lumps = np.add.reduceat(
                np.append(np.where(needed[k], 0.0, self.mass[k]), 0.0), np.append(stretch, self.count)
            )[:-1]
            beyond = np.append(np.cumsum(lumps[::-1])[::-1], 0.0)[np.searchsorted(edges, distinct)]
            places = np.searchsorted(distinct, edges)
            answers.append(distinct)
            earned.append(distinct * (np.cumsum(mass[::-1])[::-1] + beyond))
            demands.append(Demand.of_sorted(np.insert(distinct, places, edges), np.insert(mass, places, lumps)))
        return answers, earned, demands


def _distinct(values: np.ndarray, weights: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Sorted distinct values and the weight of each; a number stands for the weight of every value."""
    if isinstance(weights, float):
        distinct, counts = np.unique(values, return_counts=True)
        return distinct, counts * weights
    distinct, position = np.unique(values, return_inverse=True)
    return distinct, np.bincount(position, weights, len(distinct))


def _through(
    x: np.ndarray, ranges: Sequence[Ranges], bounds: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[int]]:
    """Bound on the revenue of every list through each range, and the ranges of the best chain.

    Parameters
    ----------
    bounds : sequence of array of float
        What each range of each version earns at most.
    """
    forwards, backwards = [bounds[0]], [bounds[-1]]
    windows = []
    for k in range(1, len(x)):
        here, below = ranges[k], ranges[k - 1]
        low = np.searchsorted(below.high, here.low * (x[k - 1] / x[k]) * (1 - SLACK), "right")
        high = np.searchsorted(below.low, here.high * (1 + SLACK), "left")
        windows.append((low, high))
        forwards.append(bounds[k] + window_maxima(forwards[-1], low, high))
    for k in range(len(x) - 2, -1, -1):
        here, above = ranges[k], ranges[k + 1]
        low = np.searchsorted(above.high, here.low * (1 - SLACK), "right")
        high = np.searchsorted(above.low, here.high * (x[k + 1] / x[k]) * (1 + SLACK), "left")
        backwards.append(bounds[k] + window_maxima(backwards[-1], low, high))
    through = [f + b - own for f, b, own in zip(forwards, backwards[::-1], bounds, strict=True)]

    chain = [int(np.argmax(forwards[-1]))]
    for k in range(len(x) - 1, 0, -1):
        low, high = windows[k - 1][0][chain[-1]], windows[k - 1][1][chain[-1]]
        chain.append(int(low + np.argmax(forwards[k - 1][low:high])))
    return through, chain[::-1]


def _earns_at_most(ranges: Ranges, answers: np.ndarray, earned: np.ndarray, demand: Demand) -> np.ndarray:
    """What a price in each range earns at most, shape (c,).

    A price earns no more than the next answer above it, which lies in the range or serves those above the range.
    """
    first = np.searchsorted(answers, ranges.low * (1 - SLACK))
    last = np.searchsorted(answers, ranges.high)
    peaks = np.maximum.reduceat(np.append(earned, 0.0), np.column_stack([first, last]).ravel())[::2]
    return np.maximum(np.where(first < last, peaks, 0.0), ranges.high * demand(ranges.high))


def _earns_at_least(x: np.ndarray, caps: np.ndarray, demands: Sequence[Demand]) -> float:
    """Revenue of a feasible list not above `caps`, raised as far as it sells to the same buyers."""
    prices = greatest_feasible(x, caps)
    served = np.array([demand.next_answer(price) for demand, price in zip(demands, prices, strict=True)])
    if np.isfinite(served).any():
        prices = greatest_feasible(x, served)
    return float(sum(price * demand(price) for demand, price in zip(demands, prices, strict=True)))
