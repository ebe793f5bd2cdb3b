"""Exact coverage maximisation: sets near the fractional solution, put together from two lists of halves."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from itertools import count
from numbers import Integral, Real
from typing import Any

import numpy as np

from simulator.procurement.method import (
    GAP,
    SLACK,
    ProcurementMethod,
    by_value_per_cost,
    fill_within,
    money_left,
    pay,
    total,
    two_sum,
)

#: Sums of values are trusted to this, relatively.
ROUNDING = 1e-14
GOLDEN = (math.sqrt(5) - 1) / 2
#: States that a search makes before branching is tried; doubled each time that it does not help.
FIRST_STATES = 1 << 13
#: Owners that a branch decides on at once.
DECIDED = 10
#: What it takes to part a branch and to begin the search of one, in states.
PARTS_STATES, SEARCH_STATES = 1 << 10, 1 << 11
#: Share of the gap between bound and best set that branching has to close.
HELPFUL = 0.1
#: The costs of real owners are recognised as multiples of an amount up to so many times it.
MOST_UNITS = 1 << 20


class Exact(ProcurementMethod):
    """The most valuable affordable set, with a certified bound.

    With the price lambda of the fractional problem, buying whoever has value > lambda cost is optimal but
    for its budget. To decide otherwise on an owner loses |value - lambda cost| of the bound, so owners are
    opened to decision in the order of that loss, in turn from those bought and the others, and only sets
    whose losses add up to less than the gap between the bound and the best set found are looked at. The
    owners opened go to two lists of states, each the decisions on its owners that no other of the list
    undercuts in cost and value; the best pair of states, one of each list, is found by one sorted look-up a
    state. The search ends when the loss of any owner left exceeds the gap.

    One price fits all only where no owner is dear beside what is left of the budget. Where the search does
    not end soon, the few owners that matter most are decided on in all ways; what is then left of the
    budget has a price of its own, a tighter bound and a search for each, the most promising first.

    Where the number of owners that fit is what binds (value = cost + a constant), the bound charges each
    owner a fee as well; where all costs are multiples of one amount, it counts on no other amounts. Owners
    whose losses all tie (one value per cost) leave nothing to certify but the bound itself; there the search
    takes the longest, up to a second, and a larger `gap` ends it sooner.

    Not every market can be certified in time. Where thousands of owners are of one size, or of two, and are
    worth a constant less than they cost or share no amount to count in, the bound exceeds any set by up to
    the value of an owner, and so may the gap that remains.

    Parameters
    ----------
    max_states : int
        States to make in all, >= 1: a limit on time (some 0.3 microseconds each) and memory (some 150 bytes
        each at most). Where they do not suffice, the bound says how far from optimal the set may be.
    gap : float
        The search ends when the bound is known to exceed the value of the set found by no more than this share
        of it, in [0, 1).
    """

    name = "exact"
    source = "Pisinger (1997), a minimal algorithm for the 0-1 knapsack problem; Horowitz and Sahni (1974)"

    def __init__(self, *, max_states: int = 2**22, gap: float = GAP) -> None:
        if not isinstance(max_states, Integral) or isinstance(max_states, bool) or max_states < 1:
            raise ValueError(f"max_states: found {max_states!r}; allowed is a whole number >= 1")
        if not isinstance(gap, Real) or isinstance(gap, bool) or not 0 <= gap < 1:
            raise ValueError(f"gap: found {gap!r}; allowed are shares >= 0 and < 1")
        self.max_states: int = int(max_states)
        self.gap: float = float(gap)

    def choose(
        self, values: np.ndarray, costs: np.ndarray, budget: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """The best set found and the bound on any."""
        if total(costs) <= budget:
            return np.arange(len(values)), total(values)
        free, asking = np.flatnonzero(costs == 0), np.flatnonzero(costs > 0)
        asking = asking[by_value_per_cost(values[asking], costs[asking])]  # orders of parts of it are quick to find
        tree = _Tree(values[asking], costs[asking], budget, self.gap)
        bound = tree.run(self.max_states)
        return np.concatenate([free, asking[tree.record.owners]]), total(values[free]) + bound


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


class _Record:
    """The best set found so far, in whatever branch."""

    def __init__(self, values: np.ndarray, gap: float) -> None:
        self.owners, self.value = np.empty(0, dtype=int), 0.0
        self.value_step, self.gap = _common_step(values), gap

    def offer(self, value: float, *parts: np.ndarray) -> None:
        """Take a set of that value if it is better."""
        if value > self.value:
            self.owners, self.value = np.concatenate(parts), value

    @property
    def next_value(self) -> float:
        """What a better set is worth at least, or a hair less; better by rounding alone is no better."""
        return self.value + max(self.value_step * (1 - 1e-6), ROUNDING * self.value)

    @property
    def enough(self) -> float:
        """A bound as low as this is as good as reached."""
        return self.value * (1 + self.gap)

    def attainable(self, bound: float) -> float:
        """What a set may be worth by a bound, and at least the best set found is."""
        step = self.value_step
        return max(self.value, math.floor(bound * (1 + ROUNDING) / step) * step if step else bound)


@dataclass(frozen=True)
class _Branch:
    """The sets that hold all of the owners bought, and of the others only such as are open."""

    bought: tuple[np.ndarray, ...]
    worth: float  # of those bought
    money: tuple[float, float]  # what they leave, as `money_left` says it
    open: np.ndarray  # increasing


@dataclass(frozen=True)
class _Parts:
    """A branch parted by all decisions on a few owners."""

    whole: _Branch  # what is left of it when these owners are neither bought nor open
    owners: np.ndarray
    values: np.ndarray
    costs: np.ndarray
    ways: np.ndarray  # of bool, whom each part buys
    bounds: np.ndarray

    def branch(self, way: int) -> _Branch | None:
        """A part as a branch, if it is affordable."""
        chosen = self.ways[way]
        money = pay(self.whole.money, self.costs[chosen])
        if money[0] + money[1] < 0:
            return None
        worth = self.whole.worth + total(self.values[chosen])
        return _Branch((*self.whole.bought, self.owners[chosen]), worth, money, self.whole.open)


class _Tree:
    """Branches that hold all sets better than the best one found, for offers in greedy order of which none is free."""

    def __init__(self, values: np.ndarray, costs: np.ndarray, budget: float, gap: float) -> None:
        step = _common_step(costs)
        if step:
            budget -= math.fmod(budget, step)  # no set costs an amount in between
        self.values, self.costs, self.unit = values, costs, 0.0 if step else _common_unit(costs)
        self.record = _Record(values, gap)
        self.whole = _Branch((), 0.0, money_left(budget, costs[:0]), np.arange(len(values)))

    def run(self, max_states: int) -> float:
        """Look for better sets; returns the bound on any."""
        number = count(0, -1)  # of branches with the same bound the one last looked at goes first
        queue: list[tuple[float, int, _Search | tuple[_Parts, int]]] = []
        search, bound, made = _Search(self.values, self.costs, self.whole, self.unit, self.record), math.inf, 0
        while True:
            bound = min(bound, search.run(max_states - made))
            made += search.made
            parts = None
            if max(self.record.enough, self.record.next_value) < bound and made < max_states:
                parts = search.parts(bound)
                made += PARTS_STATES
            if parts is not None:
                for way in np.flatnonzero(parts.bounds > self.record.next_value).tolist():
                    heapq.heappush(queue, (-float(parts.bounds[way]), next(number), (parts, way)))
            elif bound > self.record.next_value:
                heapq.heappush(queue, (-bound, next(number), search))
            while True:
                if not queue:
                    return self.record.value
                bound = -queue[0][0]
                if bound <= self.record.enough or made >= max_states:
                    return self.record.attainable(bound)
                _, _, node = heapq.heappop(queue)
                if isinstance(node, _Search):
                    search = node
                    break
                branch = node[0].branch(node[1])
                if branch is not None:
                    search = _Search(self.values, self.costs, branch, self.unit, self.record)
                    made += SEARCH_STATES + len(branch.open) // 2
                    break


class _Search:
    """The search of a branch outward from its greedy set."""

    def __init__(self, values: np.ndarray, costs: np.ndarray, branch: _Branch, unit: float, record: _Record) -> None:
        self.branch, self.record = branch, record
        self.owners = branch.open[costs[branch.open] <= branch.money[0]]
        self.values, self.costs = values[self.owners], costs[self.owners]
        start = fill_within(by_value_per_cost(self.values, self.costs), self.costs, branch.money)
        self.inside = np.zeros(len(self.owners), dtype=bool)
        self.inside[start] = True
        self.start_value = total(self.values[start])
        record.offer(branch.worth + self.start_value, *branch.bought, self.owners[start])
        self.left = pay(branch.money, self.costs[start])
        relaxed = _relax(self.values, self.costs, _reach(branch.money[0], unit))
        self.bounds = np.array([branch.worth + solution.bound for solution in relaxed])
        # Losses within rounding count as none.
        profit = np.array([solution.profit for solution in relaxed])
        profit[np.abs(profit) <= ROUNDING * record.value] = 0.0
        keeping = np.where(self.inside, -profit, profit)
        self.keeping, self.turning = np.maximum(keeping, 0.0), np.maximum(-keeping, 0.0)
        outside = ~self.inside
        reach = total(self.costs[self.inside]) * (1 + SLACK), total(self.values[outside]) + SLACK * record.value
        self.lists = (_States(len(relaxed), *reach), _States(len(relaxed), *reach))
        self.sides = [self._to_open(self.inside), self._to_open(outside)]
        self.made, self.limit, self.joined = 0, FIRST_STATES, 32

    @property
    def room(self) -> np.ndarray:
        """What a better set may lose of the bounds."""
        return self.bounds - self.record.next_value

    @property
    def needed(self) -> float:
        """What a better set adds to the value of the set at the start, at least."""
        return self.record.value - self.branch.worth - self.start_value

    def run(self, max_states: int) -> float:
        """Look for better sets, further at each call; returns the bound on any in the branch.

        `made` is then the number of states made in the call.
        """
        self.made, limit = 0, min(self.limit, max_states)
        self.limit *= 2
        while all(map(len, self.lists)):
            if sum(map(len, self.lists)) >= 2 * self.joined:
                self._join()
                self.joined = max(self.joined, sum(map(len, self.lists)))
            if self.bounds.min() <= self.record.enough:
                return float(self.bounds.min())
            # Where the next owner of a side loses too much, all the others of the side do.
            room = self.room
            self.sides = [side for side in self.sides if side and (self.turning[:, side[-1]] <= room).all()]
            if not self.sides:
                break
            if self.made >= limit:
                self._join()
                return max(float((self.bounds - self.turning[:, side[-1]]).min()) for side in self.sides)
            owner = self.sides[0].pop()
            self.sides.reverse()
            states = min(self.lists, key=len)
            sign = -1.0 if self.inside[owner] else 1.0
            loss = self.keeping[:, owner], self.turning[:, owner]
            states.decide(owner, sign * self.costs[owner], sign * self.values[owner], loss, room)
            states.prune(room, self.left[0], self.needed)
            self.made += len(states)
        self._join()
        return self.record.value

    def parts(self, bound: float) -> _Parts | None:
        """The branch parted by all decisions on the owners that matter most; None if that brings little.

        Owners matter that are dear and whose decision is not settled by their loss. No part is worth more than the
        `bound` on the whole.
        """
        room = self.room[:, None]
        share = (self.turning / room).max(axis=0)
        unsettled = np.flatnonzero(share <= 1)
        weight = self.costs[unsettled] * (1 - share[unsettled])
        decided = unsettled[np.argsort(-weight, kind="stable")[:DECIDED]]
        rest = np.setdiff1d(unsettled, decided, assume_unique=True)
        settled = np.flatnonzero(self.inside & (share > 1))
        taken = (*self.branch.bought, self.owners[settled])
        money = pay(self.branch.money, self.costs[settled])
        whole = _Branch(taken, self.branch.worth + total(self.values[settled]), money, self.owners[rest])

        # The fractional problem of all parts at once, with running sums that err by less than `slack`.
        slack = 1 + (len(rest) + 100) * 2.0**-52
        ways = (np.arange(1 << len(decided))[:, None] >> np.arange(len(decided))) & 1 == 1
        left = money[0] - ways @ self.costs[decided]
        ways, left = ways[left >= money[0] * (1 - slack)], left[left >= money[0] * (1 - slack)]
        left = np.maximum(left, 0.0) + money[0] * (slack - 1)
        fixed = whole.worth + ways @ self.values[decided]
        spent, bought = (np.append(0.0, np.cumsum(amounts[rest])) for amounts in (self.costs, self.values))
        bounds = np.minimum((fixed + np.interp(left * slack, spent, bought)) * slack, bound)
        parts = _Parts(whole, self.owners[decided], self.values[decided], self.costs[decided], ways, bounds)

        gap = bound - self.record.value
        in_reach = fixed + bought[np.searchsorted(spent, left, "right") - 1]
        best = int(np.argmax(in_reach))
        branch = parts.branch(best) if in_reach[best] > self.record.value else None
        if branch is not None:
            chosen = rest[fill_within(np.arange(len(rest)), self.costs[rest], branch.money)]
            self.record.offer(branch.worth + total(self.values[chosen]), *branch.bought, self.owners[chosen])
        return parts if bounds.max() - self.record.value <= (1 - HELPFUL) * gap else None

    def _to_open(self, side: np.ndarray) -> list[int]:
        """Owners of one side, in the set or outside, in the order in which they are opened, the first one last.

        By loss; where that ties first those whom it is a loss not to turn, then at all sorts of costs.
        """
        owners = np.flatnonzero((self.turning <= self.room[:, None]).all(axis=0) & side)
        without = (self.bounds[:, None] - self.turning[:, owners]).min(axis=0)
        kept = self.keeping[:, owners].max(axis=0)
        rank = np.argsort(np.argsort(self.costs[owners]))
        return owners[np.lexsort((rank * GOLDEN % 1.0, -kept, -without))][::-1].tolist()

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
            value = few.value[better] + many.value[partner[better]]
            better, value = better[value > self.needed], value[value > self.needed]
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
        self.record.offer(self.branch.worth + total(self.values[found]), *self.branch.bought, self.owners[found])
        for states in self.lists:
            states.prune(self.room, self.left[0], self.needed)


def _reach(money: float, unit: float) -> float:
    """How much of money can be spent where costs are multiples of a unit (0: of none)."""
    return min(money, math.floor(money / unit * (1 + ROUNDING)) * unit * (1 + ROUNDING)) if unit else money


def _common_step(amounts: np.ndarray) -> float:
    """The largest number that all amounts are multiples of, if they are whole numbers; else 0."""
    if (amounts != np.rint(amounts)).any() or amounts.max(initial=0.0) >= 2**53:
        return 0.0
    divisor: Any = np.gcd  # NumPy 2.5 declares no `reduce` without its optional arguments
    return float(divisor.reduce(amounts.astype(np.int64)))


def _common_unit(costs: np.ndarray) -> float:
    """An amount that all costs (> 0) are multiples of but for rounding, if none is a large multiple; else 0."""
    largest = unit = float(costs.max())
    while unit * MOST_UNITS > largest:
        unit = largest / round(largest / unit)
        off = np.abs(costs - np.rint(costs / unit) * unit) > ROUNDING / 2 * costs
        if not off.any():
            return unit
        # Euclid's algorithm, with remainders of the nearest multiple
        larger, smaller = unit, float(costs[np.argmax(off)])
        while smaller * MOST_UNITS > largest:
            larger, smaller = smaller, abs(larger - round(larger / smaller) * smaller)
        if larger > 0.75 * unit:
            break
        unit = larger
    return 0.0
