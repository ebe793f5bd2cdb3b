"""Lists on a grid of prices: the relaxed problem on a table that says what each price is worth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from simulator.pricing.composition import TOLERANCE


def geometric_grid(lowest: float, highest: float, count: int) -> np.ndarray:
    """`count` prices from `lowest` to `highest`, each the same multiple of the one before, shape (count,)."""
    grid = np.geomspace(lowest, highest, count)
    grid[[0, -1]] = lowest, highest  # which geomspace may miss by an ulp
    return grid


class ListGrid:
    """All lists of the relaxed problem whose prices lie on a grid.

    Prices of the grid alone would not do: where they are further apart than the sizes of two neighbouring
    versions, no price may rise from one to the other, and only constant lists are left. So a version's
    candidates are the grid's prices and, for every lower version, these prices times the ratio of the two
    sizes, up to the grid's highest: the complete price space of answers that lie on the grid. With prices
    of ratio r on the grid, every list of the relaxed problem inside the grid's range has one here that is
    nowhere above it and nowhere below 1/r of it. That one sells to the same buyers, so the best list here
    earns at least 1/r of the best in the range. Each candidate is part of some list.

    A *cell* is a version with one of its candidates. Tables have one entry a cell, shape (c,), by version
    and then by price. A list is given by its cells, shape (l,).

    Parameters
    ----------
    x : array of float, shape (l,)
        Sizes of the versions (see `simulator.pricing.composition`), strictly increasing, > 0.
    grid : array of float
        Prices, strictly increasing, > 0.

    Attributes
    ----------
    prices : array of float, shape (c,)
        Price of each cell, in money.
    bounds : array of int, shape (l + 1,)
        The cells of version k are those from `bounds[k]` up to `bounds[k + 1]`, the latter excluded.

    Examples
    --------
    >>> lists = ListGrid([1, 1.5], [4, 8])
    >>> lists.prices.tolist()
    [4.0, 8.0, 4.0, 6.0, 8.0]
    >>> lists.prices[lists.best([4, 0, 0, 6, 5])].tolist()
    [4.0, 6.0]
    """

    def __init__(self, x: ArrayLike, grid: ArrayLike) -> None:
        size, base = np.asarray(x, dtype=float), np.asarray(grid, dtype=float)
        if base.ndim != 1 or len(base) == 0 or not (np.isfinite(base) & (base > 0)).all() or (np.diff(base) <= 0).any():
            raise ValueError(f"grid must hold positive, strictly increasing prices, found {base.tolist()}")
        candidates = [_distinct(np.outer(size[k] / size[: k + 1], base), base[-1]) for k in range(len(size))]
        self.prices = np.concatenate(candidates)
        self.bounds = np.cumsum([0, *map(len, candidates)])
        # Whether price i of version k + 1 may stand above price j of version k.
        self._fits = [
            (low <= high[:, None] * (1 + TOLERANCE)) & (low >= high[:, None] * (below / above) * (1 - TOLERANCE))
            for low, high, below, above in zip(candidates, candidates[1:], size, size[1:], strict=False)
        ]

    def by_version(self, table: np.ndarray) -> list[np.ndarray]:
        """Views of a table's entries for each version."""
        return [table[first:last] for first, last in zip(self.bounds, self.bounds[1:], strict=False)]

    def best(self, revenue: ArrayLike) -> np.ndarray:
        """Cells of the list with the largest sum of a table, shape (l,).

        Parameters
        ----------
        revenue : array of float, shape (c,)
            What each cell is worth, >= 0.

        Returns
        -------
        array of int, shape (l,)
            Of several best lists, the one with the highest price for the top version, then for the one below
            it, and so on.
        """
        sums = self._sums(np.asarray(revenue, dtype=float), np.maximum)
        return self._down(sums, lambda reached: np.flatnonzero(reached >= reached.max() * (1 - TOLERANCE))[-1])

    def draw(self, log_weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Cells of a random list, shape (l,), drawn in proportion to the product of its cells' weights.

        Parameters
        ----------
        log_weights : array of float, shape (c,)
            Logarithms of the weights.
        rng : numpy.random.Generator
            Source of randomness.
        """
        # The largest of logarithms with Gumbel noise is drawn in proportion to the weights.
        sums = self._sums(log_weights, np.logaddexp)
        return self._down(sums, lambda reached: int(np.argmax(reached + rng.gumbel(size=len(reached)))))

    def shares(self, log_weights: np.ndarray) -> np.ndarray:
        """Probability that the list that `draw` returns holds a cell, shape (c,)."""
        parts, below = self.by_version(log_weights), self._sums(log_weights, np.logaddexp)
        above = [np.zeros(len(parts[-1]))]
        for part, fits in zip(parts[:0:-1], self._fits[::-1], strict=True):
            above.insert(0, logsumexp(np.where(fits, (part + above[0])[:, None], -np.inf), axis=0))
        through = np.concatenate(below) + np.concatenate(above)
        return np.exp(through - logsumexp(below[-1]))

    def log_count(self) -> float:
        """Logarithm of the number of lists."""
        return float(logsumexp(self._sums(np.zeros(len(self.prices)), np.logaddexp)[-1]))

    def covering(self) -> np.ndarray:
        """Lists that together hold every cell, each as many new ones as it can, shape (number of lists, l)."""
        left, lists = np.ones(len(self.prices)), []
        while left.any():
            lists.append(self.best(left))
            left[lists[-1]] = 0.0
        return np.array(lists)

    def _sums(self, table: np.ndarray, total: np.ufunc) -> list[np.ndarray]:
        """Total over all lists that end in a cell of their sums up to it, for the cells of each version.

        f_k(p) = table_k(p) + total { f_{k-1}(q) : p x_{k-1} / x_k <= q <= p }, with `maximum` or `logaddexp`.
        """
        first, *others = self.by_version(table)
        sums = [first]
        for part, fits in zip(others, self._fits, strict=True):
            sums.append(part + total.reduce(np.where(fits, sums[-1], -np.inf), axis=1))
        return sums

    def _down(self, sums: list[np.ndarray], choose: Callable[[np.ndarray], int]) -> np.ndarray:
        """Cells chosen from the top version down, each among those that fit the one above it."""
        cells = np.empty(len(sums), dtype=int)
        allowed = np.arange(len(sums[-1]))
        for k in range(len(sums) - 1, -1, -1):
            chosen = allowed[choose(sums[k][allowed])]
            cells[k] = self.bounds[k] + chosen
            if k > 0:
                allowed = np.flatnonzero(self._fits[k - 1][chosen])
        return cells


def _distinct(prices: np.ndarray, highest: float) -> np.ndarray:
    """Prices up to `highest` in order, those that only rounding separates once."""
    ordered = np.unique(prices[prices <= highest * (1 + TOLERANCE)])
    kept = np.append(np.diff(ordered) > TOLERANCE * ordered[:-1], True)
    return np.minimum(ordered[kept], highest)
