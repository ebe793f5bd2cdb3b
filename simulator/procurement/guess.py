"""Procurement by enumeration: the best greedy completion of a small seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, combinations, islice
from numbers import Real

import numpy as np

from simulator.procurement.method import (
    GAP,
    SLACK,
    ProcurementMethod,
    by_value_per_cost,
    fill,
    money_left,
    total,
    two_sum,
    value_per_cost,
)

#: Seeds completed at a time.
BATCH = 1 << 14
#: Seeds to complete, at most: five minutes of them.
MOST_SEEDS = 10**9


class GuessGreedy(ProcurementMethod):
    """The best of the greedy completions of all seeds of at most h = ceil(1 / alpha) owners.

    It is worth at least (1 - alpha) of the optimum: of the seed that holds the h most valuable owners of an
    optimal set, the completion loses no more than the worth of one owner further down. Seeds whose fractional
    completion is worth no more than the best set found are not completed.

    There are about n^h / h! seeds of n owners, at some 0.3 microseconds each: 0.2 s for 1,000 owners and
    alpha = 0.5; 3 s for 400 and most of a minute for 1,000 owners and alpha = 0.34.

    Parameters
    ----------
    alpha : float
        Share of the optimum that may be lost, in (0, 1]. Where it needs more than a billion seeds, `choose` raises
        ValueError.
    """

    name = "guess_greedy"
    source = "Liu et al. (2021); Sahni (1975)"

    def __init__(self, *, alpha: float = 0.5) -> None:
        if not (isinstance(alpha, Real) and not isinstance(alpha, bool) and 0 < alpha <= 1):
            raise ValueError(f"alpha: found {alpha!r}; allowed are shares > 0 and <= 1")
        self.alpha: float = float(alpha)
        self.seed_size: int = math.ceil(1 / max(self.alpha, SLACK) - SLACK)

    def choose(
        self, values: np.ndarray, costs: np.ndarray, budget: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """The best completion."""
        order = by_value_per_cost(values, costs)
        best = fill(order, costs, budget)
        if len(best) == len(order):
            return best, math.inf
        asking = order[costs[order] > 0]  # whoever is free is in every completion
        self._check_seeds(len(asking))
        completions = _Completions(values[asking], costs[asking], budget)
        for size in range(1, min(self.seed_size, len(asking)) + 1):
            for seeds in _batches(len(asking), size):
                seed = completions.best(seeds, total(values[best[costs[best] > 0]]))
                if seed is not None:
                    first = asking[seed]
                    found = fill(np.append(first, order[~np.isin(order, first)]), costs, budget)
                    # Within an ulp of the budget the two may judge differently what still fits.
                    best = max(best, found, key=lambda owners: total(values[owners]))
        return best, math.inf

    def _check_seeds(self, n: int) -> None:
        seeds = 0
        for size in range(1, min(self.seed_size, n) + 1):
            seeds += math.comb(n, size)
            if seeds > MOST_SEEDS:
                raise ValueError(
                    f"alpha: found {self.alpha:g}, which with {n:,} owners to choose from takes more than "
                    f"{MOST_SEEDS:,} seeds; allowed is a larger alpha, or the procurement method 'exact'"
                )


def _batches(n: int, size: int) -> Iterator[np.ndarray]:
    """All sets of `size` of n owners, in arrays of shape (at most BATCH, size)."""
    seeds = combinations(range(n), size)
    while len(batch := np.fromiter(chain.from_iterable(islice(seeds, BATCH)), dtype=int)):
        yield batch.reshape(-1, size)


class _Completions:
    """Greedy completions of many seeds at once, for owners in greedy order of whom none is free."""

    def __init__(self, values: np.ndarray, costs: np.ndarray, budget: float) -> None:
        self.values, self.costs, self.budget = values, costs, budget
        self.left, self.rest = money_left(budget, costs[:0])
        self.worth = np.append(0.0, np.cumsum(values))  # of the first k owners
        self.spent, self.cut = np.zeros(len(costs) + 1), np.zeros(len(costs) + 1)  # and their cost, with its error
        for k, cost in enumerate(costs.tolist()):
            self.spent[k + 1], error = two_sum(self.spent[k], cost)
            self.cut[k + 1] = self.cut[k] + error
        self.per_cost = np.append(np.minimum(value_per_cost(values, costs), np.finfo(float).max), 0.0)
        self.cheapest = np.minimum.accumulate(costs[::-1])[::-1]  # of the owners from k on

    def best(self, seeds: np.ndarray, least: float) -> np.ndarray | None:
        """The seed whose completion is worth most, if that is more than `least`."""
        left, rest = np.full(len(seeds), self.left), np.full(len(seeds), self.rest)
        for owner in seeds.T:
            left, rest = _pay(left, rest, self.costs[owner])
        affordable = left + rest >= 0
        seeds, left, rest = seeds[affordable], left[affordable], rest[affordable]

        # The first `start` owners all in one go, as far as a running sum is safely within what is left. If one of them,
        # or the next, is of the seed, the completion is that of the seed without it.
        start = np.maximum(np.searchsorted(self.spent, left - SLACK * self.budget, "right") - 1, 0)
        fresh = (seeds > start[:, None]).all(axis=1)
        seeds, start, left, rest = (column[fresh] for column in (seeds, start, left, rest))
        value = self.worth[start] + self.values[seeds].sum(axis=1)
        left, rest = _pay(left, rest - self.cut[start], self.spent[start])

        with np.errstate(over="ignore"):
            hopeful = value + left * self.per_cost[start] > least * (1 + GAP)
        seeds, start, value, left, rest = (column[hopeful] for column in (seeds, start, value, left, rest))
        for owner in range(start.min(initial=len(self.costs)), len(self.costs)):
            cost = self.costs[owner]
            near = np.flatnonzero((left >= cost) & (start <= owner))
            if len(near) == 0:
                if left.max() < self.cheapest[owner]:
                    break
                continue
            near = near[(seeds[near] != owner).all(axis=1)]
            after, error = _pay(left[near], rest[near], cost)
            fits = after + error >= 0
            near = near[fits]
            left[near], rest[near] = after[fits], error[fits]
            value[near] += self.values[owner]
        if len(value) == 0 or value.max() <= least * (1 + GAP):
            return None
        return seeds[np.argmax(value)]


def _pay(left: np.ndarray, rest: np.ndarray, cost: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """What a payment leaves of the money `left` + `rest`, the latter what a float cuts off."""
    after, error = two_sum(left, -cost)
    return two_sum(after, rest + error)
