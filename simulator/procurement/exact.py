"""Exact coverage maximisation: sets near the fractional solution, put together from two lists of halves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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
)

#: Sums of values are trusted to this, relatively.
ROUNDING = 1e-14
GOLDEN = (math.sqrt(5) - 1) / 2


class Exact(ProcurementMethod):
    """The most valuable affordable set, with a certified bound.

    With the price lambda of the fractional problem, buying whoever has value > lambda cost is optimal but
    for its budget. To decide otherwise on an owner loses |value - lambda cost| of the bound, so owners are
    opened to decision in the order of that loss, and only sets whose losses add up to less than the gap
    between the bound and the best set found are looked at. The owners opened go in turn to two lists of
    states, each the decisions on its owners that no other of the list undercuts in cost and value; the best
    pair of states, one of each list, is found by one sorted look-up a state. The search ends when the next
    owner's loss exceeds the gap.

    Where the number of owners that fit is what binds (value = cost + a constant), the bound charges each
    owner a fee as well. Owners whose losses all tie (one value per cost) leave nothing to certify but the
    bound itself; there the search ends when the gap is below 1e-12 of the value.

    Parameters
    ----------
    max_states : int
        States to make in all, >= 1: a limit on time (some 0.3 microseconds each) and memory (some 60 bytes
        each). Where they do not suffice, the bound says how far from optimal the set may be.
    """

    name = "exact"
    source = "Pisinger (1997), a minimal algorithm for the 0-1 knapsack problem; Horowitz and Sahni (1974)"

    def __init__(self, *, max_states: int = 2**22) -> None:
        if not isinstance(max_states, int) or isinstance(max_states, bool) or max_states < 1:
            raise ValueError(f"max_states: found {max_states!r}; allowed is a whole number >= 1")
        self.max_states = max_states

    def choose(
        self, values: np.ndarray, costs: np.ndarray, budget: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """The best set found and the bound on any."""
        if total(costs) <= budget:
            return np.arange(len(values)), total(values)
        free, asking = np.flatnonzero(costs == 0), np.flatnonzero(costs > 0)
        search = _Search(values[asking], costs[asking], budget)
        bound = search.run(self.max_states)
        return np.concatenate([free, asking[search.best]]), total(values[free]) + bound


@dataclass(frozen=True)
class _Fractional:
    """Solution of the problem in which owners can be bought in part, at a fee each.

    Buying an owner whole adds `profit` to the bound's account, negative for whom it leaves out.
    """

    bound: float
    count: float
    profit: np.ndarray


def _fractional(values: np.ndarray, costs: np.ndarray, budget: float, fee: float, most: int) -> _Fractional:
    """The fractional problem with a fee an owner, and the fee times `most` given back.

    It bounds the value of every affordable set of at most `most` owners.
    """
    net = values - fee
    order = by_value_per_cost(net, costs)
    order = order[net[order] > 0]
    split = int(np.searchsorted(np.cumsum(costs[order]), budget, "right"))
    whole = order[:split]
    worth = total(net[whole]) + fee * most
    if split == len(order):
        return _Fractional(worth, split, net)
    last, left = order[split], max(budget - total(costs[whole]), 0.0)
    share = left / costs[last]
    with np.errstate(over="ignore"):  # nobody that dear is bought
        profit = net - net[last] * (costs / costs[last])
    return _Fractional(float(worth + net[last] * share), float(split + share), profit)


def _relax(values: np.ndarray, costs: np.ndarray, budget: float) -> list[_Fractional]:
    """The fractional problem without a fee, and with the best one where it would buy more owners than fit.

    The bound is convex and piecewise linear in the fee; the search for its minimum goes by the crossing of
    its tangents on either side.
    """
    most = int(np.searchsorted(np.cumsum(np.sort(costs)), budget * (1 + SLACK), "right"))
    free = best = low = _fractional(values, costs, budget, 0.0, most)
    if free.count <= most:
        return [free]
    low_fee, high_fee = 0.0, float(values.max())
    high = _fractional(values, costs, budget, high_fee, most)
    while True:
        fee = high.bound - low.bound + (high.count - most) * high_fee - (low.count - most) * low_fee
        fee /= high.count - low.count
        if not low_fee < fee < high_fee:
            break
        new = _fractional(values, costs, budget, fee, most)
        best = min(best, new, key=lambda solution: solution.bound)
        if new.bound <= (low.bound - (low.count - most) * (fee - low_fee)) * (1 + ROUNDING):
            break
        if new.count > most:
            low_fee, low = fee, new
        else:
            high_fee, high = fee, new
    return [free, best]


class _States:
    """Decisions on some owners: what each adds to the cost and value of the set at the start, and loses of the bounds.

    In order of cost, and of value too, since a state that costs no less and is worth no more than another
    is dropped.
    """

    def __init__(self, bounds: int, saving: float, gain: float) -> None:
        self.saving, self.gain = saving, gain  # what other owners could save in cost and gain in value
        self.cost, self.rest = np.zeros(1), np.zeros(1)  # rest: what rounding cuts off the cost
        self.value, self.loss = np.zeros(1), np.zeros((bounds, 1))
        self.history: list[tuple[int, np.ndarray, int]] = []  # owner, where each state comes from, of how many

    def __len__(self) -> int:
        return len(self.cost)

    def decide(
        self, owner: int, cost: float, value: float, loss: tuple[np.ndarray, np.ndarray], room: np.ndarray
    ) -> None:
        """Add the states in which the decision on an owner is turned round, which adds `cost` and `value`.

        `loss` is what keeping and what turning the decision loses of the bounds, `room` what may be lost.
        """
        self.saving, self.gain = self.saving + min(cost, 0.0), self.gain - max(value, 0.0)
        before = len(self)
        columns = []
        for turned in (0, 1):
            lost = self.loss + loss[turned][:, None]
            kept = np.flatnonzero((lost <= room[:, None]).all(axis=0))
            sums, errors = two_sum(self.cost[kept], turned * cost)
            sums, errors = two_sum(sums, self.rest[kept] + errors)
            columns.append((sums, errors, self.value[kept] + turned * value, lost[:, kept], kept + turned * before))
        self.cost, self.rest, self.value, self.loss, source = (
            np.concatenate(pair, axis=-1) for pair in zip(*columns, strict=True)
        )
        order = np.argsort(self.cost, kind="stable")  # two runs to merge
        if (np.diff(self.cost[order]) == 0).any():
            order = np.lexsort((-self.value, self.rest, self.cost))
        value_so_far = np.maximum.accumulate(self.value[order])
        order = order[np.append(True, self.value[order][1:] > value_so_far[:-1])[: len(order)]]
        self._keep(order)
        self.history.append((owner, source[order], before))

    def prune(self, room: np.ndarray, left: float, needed: float) -> None:
        """Drop states that lose more than `room`, or that no decision on other owners makes affordable and better.

        There is `left` to spend, and a better set adds more than `needed` to the value.
        """
        end = np.searchsorted(self.cost, left + self.saving, "right")
        start = np.searchsorted(self.value, needed - self.gain)
        kept = start + np.flatnonzero((self.loss[:, start:end] <= room[:, None]).all(axis=0))
        if self.history and len(kept) < len(self):
            self._keep(kept)
            owner, source, before = self.history[-1]
            self.history[-1] = owner, source[kept], before

    def turned(self, state: int) -> list[int]:
        """Owners that a state decides the other way."""
        owners = []
        for owner, source, before in reversed(self.history):
            turned, state = divmod(int(source[state]), before)
            if turned:
                owners.append(owner)
        return owners

    def _keep(self, kept: np.ndarray) -> None:
        self.cost, self.rest, self.value, self.loss = (
            column[..., kept] for column in (self.cost, self.rest, self.value, self.loss)
        )


class _Search:
    """The search outward from the greedy set, for offers of which none is free."""

    def __init__(self, values: np.ndarray, costs: np.ndarray, budget: float) -> None:
        step = _common_step(costs)
        if step:
            budget -= math.fmod(budget, step)  # no set costs an amount in between
        self.values, self.costs, self.value_step = values, costs, _common_step(values)
        self.best = fill(by_value_per_cost(values, costs), costs, budget)
        self.best_value = self.start_value = total(values[self.best])
        self.left = money_left(budget, costs[self.best])
        self.inside = np.zeros(len(values), dtype=bool)
        self.inside[self.best] = True
        relaxed = _relax(values, costs, budget)
        self.bounds = np.array([solution.bound for solution in relaxed])
        # Losses within rounding count as none.
        profit = np.array([solution.profit for solution in relaxed])
        profit[np.abs(profit) <= ROUNDING * self.best_value] = 0.0
        keeping = np.where(self.inside, -profit, profit)
        self.keeping, self.turning = np.maximum(keeping, 0.0), np.maximum(-keeping, 0.0)
        outside = ~self.inside
        reach = total(costs[self.inside]) * (1 + SLACK), total(values[outside]) + SLACK * self.best_value
        self.lists = (_States(len(relaxed), *reach), _States(len(relaxed), *reach))

    @property
    def room(self) -> np.ndarray:
        """What a better set may lose of the bounds."""
        least = max(self.value_step * (1 - 1e-6), ROUNDING * self.best_value)
        return self.bounds - self.best_value - least

    def run(self, max_states: int) -> float:
        """Look for better sets; returns the bound on any."""
        made, joined = 0, 32
        for owner in self._candidates():
            if sum(map(len, self.lists)) >= 2 * joined:
                self._join()
                joined = max(joined, sum(map(len, self.lists)))
            if self.bounds.min() <= self.best_value * (1 + GAP):
                return self._attainable(float(self.bounds.min()))
            if (self.turning[:, owner] > self.room).any() or not all(map(len, self.lists)):
                break
            if made >= max_states:
                self._join()
                return self._attainable(float((self.bounds - self.turning[:, owner]).min()))
            states = min(self.lists, key=len)
            sign = -1.0 if self.inside[owner] else 1.0
            loss = self.keeping[:, owner], self.turning[:, owner]
            states.decide(owner, sign * self.costs[owner], sign * self.values[owner], loss, self.room)
            self._prune(states)
            made += len(states)
        self._join()
        return self.best_value

    def _candidates(self) -> list[int]:
        """Owners in the order in which they are opened: by loss, those that tie at all sorts of costs."""
        owners = np.flatnonzero((self.turning <= self.room[:, None]).all(axis=0))
        without = (self.bounds[:, None] - self.turning[:, owners]).min(axis=0)
        rank = np.argsort(np.argsort(self.costs[owners]))
        return owners[np.lexsort((rank * GOLDEN % 1.0, -without))].tolist()

    def _join(self) -> None:
        """Find the best affordable pair of states, one of each list."""
        few, many = sorted(self.lists, key=len)
        if len(few) == 0:
            return
        left, rest = self.left
        sizes = abs(left) + np.abs(few.cost).max() + np.abs(many.cost).max()
        partner = np.searchsorted(many.cost, left - few.cost + 4e-16 * sizes, "right") - 1
        better = np.arange(len(few))
        while True:
            better = better[partner[better] >= 0]
            value = self.start_value + few.value[better] + many.value[partner[better]]
            better, value = better[value > self.best_value], value[value > self.best_value]
            if len(better) == 0:
                return
            other = partner[better]
            cost, error = two_sum(few.cost[better], many.cost[other])
            after, less = two_sum(left, -cost)
            fits = after + (rest + less - error - few.rest[better] - many.rest[other]) >= 0
            if fits.all():
                break
            partner[better[~fits]] -= 1
        first = int(better[np.argmax(value)])
        inside = self.inside.copy()
        inside[few.turned(first) + many.turned(int(partner[first]))] ^= True
        found = np.flatnonzero(inside)
        if total(self.values[found]) > self.best_value:
            self.best, self.best_value = found, total(self.values[found])
        for states in self.lists:
            self._prune(states)

    def _prune(self, states: _States) -> None:
        states.prune(self.room, self.left[0], self.best_value - self.start_value)

    def _attainable(self, bound: float) -> float:
        """What a set may be worth by a bound, and at least the best set found is."""
        step = self.value_step
        return max(self.best_value, math.floor(bound * (1 + ROUNDING) / step) * step if step else bound)


def _common_step(amounts: np.ndarray) -> float:
    """The largest number that all amounts are multiples of, if they are whole numbers; else 0."""
    if (amounts != np.rint(amounts)).any() or amounts.max(initial=0.0) >= 2**53:
        return 0.0
    divisor: Any = np.gcd  # NumPy 2.5 declares no `reduce` without its optional arguments
    return float(divisor.reduce(amounts.astype(np.int64)))
