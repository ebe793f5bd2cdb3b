"""Exact arbitrage check: the cheapest bundle that covers each version of a price list."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from simulator.pricing.arguments import as_numbers
from simulator.pricing.composition import TOLERANCE, Composition, check_epsilons, copies_to_cover, sizes

#: A saving counts as arbitrage from this share of the price.
SAVING_THRESHOLD = 1e-9
#: Nodes of the plain search for one cover; beyond, two halves are joined.
PLAIN_NODES = 4000
#: Relative gap at which the search that joins halves stops: half of what counts as a saving.
HALVES_TOLERANCE = 5e-10
#: Most bundles in a table of halves that covers every version, and in one that covers small sizes only.
MOST_COMPLETE, MOST_PARTIAL = 2_000_000, 200_000
#: Steps in which the largest half of which not too many bundles fit is looked for.
HALVINGS = 8


@dataclass(frozen=True)
class Arbitrage:
    """A bundle that undercuts a version.

    Attributes
    ----------
    version : int
        Index of the version that is undercut.
    bundle : array of int, shape (l,)
        How many of each version the bundle holds.
    cost : float
        Price of the bundle, in money.
    saving : float
        Price of the version less the cost of the bundle, in money.
    """

    version: int
    bundle: np.ndarray
    cost: float
    saving: float


class Covers:
    """Cheapest covers at one list of prices: unbounded covering knapsacks that share their preparation.

    A version at least as large as what is still needed can only finish a bundle, so what is needed costs at
    least the cheapest of those or its size times the lowest unit price among the smaller ones. A depth-first
    branch and bound in order of unit price proves most lists arbitrage-free at once. Where all unit prices
    lie close together the bound says little and finding a bundle that hardly overshoots is a subset-sum problem;
    once the plain search has visited 4000 nodes it starts again, solving whatever is small enough by joining two
    halves from a table of all small bundles: the square of the table's size in bundles, for one pass over it.

    Covers are the cheapest to a relative 1e-12, or 5e-10 where halves were joined: half of the saving that counts.
    The worst case stays exponential. All covers of 40 versions take a few milliseconds, and tenths of a second
    where prices are proportional to size up to 1e-3 or less; but where prices are proportional up to 1e-6, or but for
    a few versions, and squares of epsilons spread widely, one list in fifty took many seconds.

    Parameters
    ----------
    x : array of float, shape (l,)
        Sizes of the versions, > 0, strictly increasing.
    prices : array of float, shape (l,)
        Prices, >= 0; a version priced `inf` is not for sale.
    """

    def __init__(self, x: np.ndarray, prices: np.ndarray) -> None:
        self._all = len(x)
        useful = _useful(x.tolist(), prices.tolist())
        self._by_size = useful
        self._by_unit = sorted(useful, key=lambda item: item.unit)

    def lower_bound(self, needed: float) -> float:
        """No bundle that covers `needed` costs less, `inf` if nothing is for sale."""
        bound = math.inf
        for item in self._by_size:
            if _finishes(item.size, needed):
                return min(bound, item.price)
            bound = min(bound, item.unit * needed)
        return bound

    def cheapest(self, needed: float, limit: float = math.inf) -> tuple[float, np.ndarray]:
        """Cheapest cover of `needed` that costs less than `limit`.

        Returns
        -------
        cost : float
            Cost of the cover, `limit` if there is none.
        counts : array of int, shape (l,)
            How many of each version it holds.
        """
        items = [item for item in self._by_unit if not _finishes(item.size, needed)]
        finish = [item for item in self._by_size if _finishes(item.size, needed)][:1]
        best = _Best(limit, {})
        # Copies of a single version are a good first incumbent: in a list without arbitrage one of them is best.
        for item in [*items, *finish]:
            copies = copies_to_cover(item.size, needed)
            best.offer(copies * item.price, {}, item.version, copies)
        if not self._descend(items, needed, best, PLAIN_NODES, TOLERANCE, None):
            self._descend(items, needed, best, math.inf, HALVES_TOLERANCE, self._halves)
        counts = np.zeros(self._all, dtype=int)
        for version, copies in best.counts.items():
            counts[version] = copies
        return best.cost, counts

    @cached_property
    def _halves(self) -> _Halves:
        return _Halves(self._by_size)

    @staticmethod
    def _descend(
        items: Sequence[_Item], needed: float, best: _Best, nodes: float, tolerance: float, halves: _Halves | None
    ) -> bool:
        """Search all bundles of `items`, sorted by unit price, for one below `best`; whether the nodes sufficed."""
        slack = needed * TOLERANCE
        worth = 1.0 - tolerance
        seen: dict[tuple[int, int], float] = {}
        counts: dict[int, int] = {}

        def visit(i: int, open_size: float, cost: float) -> bool:
            nonlocal nodes
            nodes -= 1
            if nodes < 0:
                return False
            # Sums of sizes often coincide, as on a grid of epsilons. Equal ones need one visit, at the lowest cost.
            table = halves if halves is not None and open_size <= halves.reach else None
            state = (i if table is None else len(items), round(open_size / slack))
            if seen.get(state, math.inf) <= cost:
                return True
            seen[state] = cost
            if table is not None:  # it solves for the rest, whatever that is made of
                table.join(open_size, slack, cost, best, counts)
                return True
            while i < len(items) and items[i].size >= open_size - slack:
                best.offer(cost + items[i].price, counts, items[i].version, 1)
                i += 1
            if i == len(items) or cost + open_size * items[i].unit >= best.cost * worth:
                return True
            item = items[i]
            most = math.ceil((open_size - slack) / item.size) - 1  # copies that leave something open
            best.offer(cost + (most + 1) * item.price, counts, item.version, most + 1)
            if i + 1 == len(items):
                return True
            if halves is not None:  # no more copies than bring the rest within reach
                most = min(most, math.ceil((open_size - halves.reach) / item.size))
            for copies in range(most, -1, -1):
                rest, paid = open_size - copies * item.size, cost + copies * item.price
                # Fewer copies leave more to the dearer units behind, so the bound only grows from here on. It does
                # not hold for what is joined, which may take more copies of this version.
                joined = halves is not None and rest <= halves.reach
                if not joined and paid + rest * items[i + 1].unit >= best.cost * worth:
                    return True
                counts[item.version] = copies
                done = visit(i + 1, rest, paid)
                del counts[item.version]
                if not done:
                    return False
            return True

        return visit(0, needed, 0.0)


class _Item(NamedTuple):
    """A version that a cheapest cover may need."""

    version: int
    size: float
    price: float
    unit: float


def _finishes(size: float, needed: float) -> bool:
    return size >= needed * (1 - TOLERANCE)


def _useful(x: Sequence[float], prices: Sequence[float]) -> list[_Item]:
    """Versions for sale, by size, that neither a larger version nor copies of one smaller version undercut."""
    cheapest_above = math.inf
    on_offer = []
    for version in range(len(x) - 1, -1, -1):
        if prices[version] < cheapest_above:
            cheapest_above = prices[version]
            on_offer.append(_Item(version, x[version], prices[version], prices[version] / x[version]))
    useful: list[_Item] = []
    for item in reversed(on_offer):
        if all(copies_to_cover(other.size, item.size) * other.price > item.price for other in useful):
            useful.append(item)
    return useful


@dataclass
class _Best:
    """The cheapest cover found so far: its cost and how many of each version it holds."""

    cost: float
    counts: dict[int, int]

    def offer(self, cost: float, counts: dict[int, int], version: int, copies: int) -> None:
        """Take the bundle `counts` with `copies` more of one version if that is cheaper."""
        if cost < self.cost:
            self.cost, self.counts = cost, counts | {version: counts.get(version, 0) + copies}


class _Halves:
    """All small bundles, to be joined in pairs.

    The table holds every bundle that is no larger than a half once its smallest version is taken out once. Put
    the versions of a bundle that covers at most `reach`, twice the half, in order of size, largest first: those up
    to the one that crosses the half are in the table, and so are the others, unless one could be left out. So
    the cheapest pair of the table is the cheapest cover.
    """

    def __init__(self, items: Sequence[_Item]) -> None:
        self._items = items
        half, table = items[-1].size / 2, _small_bundles(items, items[-1].size / 2, MOST_COMPLETE)
        if table is None:
            too_many, half = half, items[0].size / 4  # where the table holds single versions alone
            table = _small_bundles(items, half, math.inf)
            for _ in range(HALVINGS):
                between = math.sqrt(half * too_many)
                larger = _small_bundles(items, between, MOST_PARTIAL)
                if larger is None:
                    too_many = between
                else:
                    half, table = between, larger
        assert table is not None  # without a limit there always is one
        self.reach = 2 * half
        self._table = table
        self._entry = _cheaper_than_all_larger(table.size, table.cost)
        self._size, self._cost = table.size[self._entry], table.cost[self._entry]

    def join(self, needed: float, slack: float, paid: float, best: _Best, counts: dict[int, int]) -> None:
        """Offer `counts` and the cheapest pair that covers `needed`, at most `reach`."""
        # The larger bundle of a pair covers half of what is needed. Of those that cover all, the first is cheapest.
        first, last = np.searchsorted(self._size, [needed / 2 - slack, needed - slack])
        larger = self._size[first : last + 1]
        smaller = np.searchsorted(self._size, needed - slack - larger)
        pairs = self._cost[first : last + 1] + self._cost[smaller]
        pick = int(np.argmin(pairs))
        if paid + pairs[pick] < best.cost:
            best.cost, best.counts = float(paid + pairs[pick]), dict(counts)
            for entry in (self._entry[first + pick], self._entry[smaller[pick]]):
                while entry > 0:
                    version = self._items[self._table.added[entry]].version
                    best.counts[version] = best.counts.get(version, 0) + int(self._table.copies[entry])
                    entry = self._table.parent[entry]


class _Table(NamedTuple):
    """Bundles as columns, each one copies of one version added to an entry before it; the first is empty."""

    size: np.ndarray
    cost: np.ndarray
    parent: np.ndarray
    added: np.ndarray
    copies: np.ndarray


def _small_bundles(items: Sequence[_Item], half: float, most: float) -> _Table | None:
    """All bundles no larger than `half` once their smallest version is taken out; None if more than `most`."""
    none = np.zeros(1, dtype=np.int64)
    layers = [_Table(np.zeros(1), np.zeros(1), none, none, none)]
    entries = thinned = 1
    # The entries that smaller versions may still be added to.
    entry, size, cost = none, np.zeros(1), np.zeros(1)
    for i in range(len(items) - 1, -1, -1):
        more = np.floor((half - size) / items[i].size * (1 + TOLERANCE)) + 1
        if entries + more.sum() > most:
            return None
        more = more.astype(np.int64)
        row = np.repeat(np.arange(len(more)), more)
        copies = np.arange(1, len(row) + 1) - np.repeat(np.cumsum(more) - more, more)
        new_size, new_cost = size[row] + copies * items[i].size, cost[row] + copies * items[i].price
        layers.append(_Table(new_size, new_cost, entry[row], np.full(len(row), i), copies))
        within = np.flatnonzero(new_size <= half * (1 + TOLERANCE))
        entry = np.append(entry, entries + within)
        size, cost = np.append(size, new_size[within]), np.append(cost, new_cost[within])
        entries += len(row)
        if len(size) > 2 * thinned:  # sorting at every version would take most of the time
            keep = _cheaper_than_all_larger(size, cost)
            entry, size, cost = entry[keep], size[keep], cost[keep]
            thinned = len(keep)
    return _Table(*(np.concatenate(column) for column in zip(*layers, strict=True)))


def _cheaper_than_all_larger(size: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Positions, by size, of the bundles that no bundle at least as large undercuts."""
    order = np.lexsort((-cost, size))
    by_size = cost[order]
    cheapest_above = np.append(np.minimum.accumulate(by_size[::-1])[::-1][1:], np.inf)
    return order[by_size < cheapest_above]


def cheapest_cover(x: np.ndarray, prices: np.ndarray, needed: float) -> tuple[float, np.ndarray]:
    """Cheapest multiset of versions whose sizes sum to at least `needed`: see `Covers`.

    Parameters
    ----------
    x : array of float, shape (l,)
        Sizes of the versions, > 0, strictly increasing.
    prices : array of float, shape (l,)
        Prices, >= 0; a version priced `inf` is not for sale.
    needed : float
        Size to cover, > 0.

    Returns
    -------
    cost : float
        Cost of the cover, `inf` if nothing is for sale.
    counts : array of int, shape (l,)
        How many of each version it holds.
    """
    return Covers(x, prices).cheapest(needed)


def repair(x: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """Greatest arbitrage-free list that is nowhere above `prices`, shape (l,).

    Each price becomes the cost of the cheapest cover of its version at the given prices, where `inf` means
    that the version sets no bound. The costs are subadditive and non-decreasing by construction, and every
    arbitrage-free list below `prices` lies below them.

    Parameters
    ----------
    x : array of float, shape (l,)
        Sizes of the versions (see `simulator.pricing.composition`).
    prices : array of float, shape (l,)
        Prices or upper bounds on prices, at least one of them finite.
    """
    covers = Covers(x, prices)
    return np.array([covers.cheapest(size, price)[0] for size, price in zip(x.tolist(), prices.tolist(), strict=True)])


def find_arbitrage(
    epsilons: ArrayLike, prices: ArrayLike, *, composition: Composition = "additive"
) -> Arbitrage | None:
    """The largest saving that a bundle of versions offers over buying a version itself.

    Parameters
    ----------
    epsilons : array of float, shape (l,)
        Privacy levels of the versions, strictly increasing, > 0.
    prices : array of float, shape (l,)
        Posted prices, in money, >= 0.
    composition : {"additive", "quadratic"}
        What a bundle is worth: the sum of epsilons, or the root of the sum of their squares.

    Returns
    -------
    Arbitrage or None
        The bundle with the largest saving (ties: the lower version); None if the list is arbitrage-free,
        that is if no bundle saves more than 1e-9 of a price.

    Raises
    ------
    ValueError
        If the epsilons are not increasing and positive, or the prices are not >= 0 and of the same length.

    References
    ----------
    Liu et al. (2021), definition of arbitrage-freeness.

    Examples
    --------
    >>> found = find_arbitrage([1, 2], [1.0, 5.0])
    >>> found.version, found.bundle.tolist(), found.saving
    (1, [2, 0], 3.0)
    >>> find_arbitrage([1, 2], [1.0, 2.0]) is None
    True
    """
    eps = check_epsilons(epsilons)
    p = as_numbers("prices", prices)
    if p.shape != eps.shape:
        raise ValueError(f"prices must hold one price a version, shape {eps.shape}, found shape {p.shape}")
    if not np.isfinite(p).all() or (p < 0).any():
        raise ValueError(f"prices must be finite and >= 0, found {p.tolist()}")
    x = sizes(eps, composition)
    covers = Covers(x, p)
    most = np.array([price - covers.lower_bound(size) for size, price in zip(x.tolist(), p.tolist(), strict=True)])
    found: Arbitrage | None = None
    # Versions that could save most come first: what they do save rules out most of the others unseen.
    for version in np.argsort(-most, kind="stable").tolist():
        price = float(p[version])
        least = SAVING_THRESHOLD * price if found is None else max(SAVING_THRESHOLD * price, found.saving)
        if most[version] < least or price == 0.0:
            continue
        cost, bundle = covers.cheapest(float(x[version]), (price - least) * (1 + 2 * TOLERANCE))
        saving = price - cost
        if saving <= SAVING_THRESHOLD * price or not bundle.any():
            continue
        if found is None or (saving, -version) > (found.saving, -found.version):
            found = Arbitrage(version, bundle, cost, saving)
    return found


class Bargains(NamedTuple):
    """How to get each version of a list for the least money.

    Attributes
    ----------
    counts : array of int, shape (l, l)
        How many copies of each version (columns) the cheapest bundle holds that covers a version (rows): one of the
        version itself unless a bundle saves more than 1e-9 of its price, none for a version that is not for sale.
    costs : array of float, shape (l,)
        Price of the bundle, in money; `inf` for a version that is not for sale.
    saves : array of bool, shape (l,)
        Whether a bundle is cheaper than the version.
    """

    counts: np.ndarray
    costs: np.ndarray
    saves: np.ndarray


def bargains(epsilons: np.ndarray, prices: np.ndarray, on_sale: np.ndarray, composition: Composition) -> Bargains:
    """The cheapest bundle of versions for sale that covers each of them.

    Parameters
    ----------
    epsilons : array of float, shape (l,)
        Privacy levels of the versions, strictly increasing, > 0.
    prices : array of float, shape (l,)
        Posted prices, in money, > 0.
    on_sale : array of bool, shape (l,)
        Which versions are for sale.
    composition : {"additive", "quadratic"}
        What a bundle is worth.

    Examples
    --------
    >>> found = bargains(np.array([1.0, 2.0]), np.array([1.0, 5.0]), np.array([True, True]), "additive")
    >>> found.counts.tolist(), found.costs.tolist()
    ([[1, 0], [2, 0]], [1.0, 2.0])
    """
    x = sizes(epsilons, composition)
    covers = Covers(x, np.where(on_sale, prices, np.inf))
    counts = np.diag(on_sale.astype(int))
    saves = np.zeros(len(x), dtype=bool)
    for version in np.flatnonzero(on_sale).tolist():
        price = float(prices[version])
        least = price * (1 - SAVING_THRESHOLD)
        cost, bundle = covers.cheapest(float(x[version]), least)
        if cost < least:
            counts[version], saves[version] = bundle, True
    costs = np.where(on_sale, counts @ np.where(on_sale, prices, 0.0), np.inf)
    return Bargains(counts, costs, saves)
