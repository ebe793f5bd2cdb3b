"""Pseudo-polynomial procurement: a dynamic programme over a grid of costs."""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Integral

import numpy as np

from simulator.procurement.method import SLACK, ProcurementMethod, by_value_per_cost, fill, total

#: A finer grid would take more memory than it is worth.
MOST_CELLS = 10_000_000
#: Owners times cells, a bit of memory each: 1.25 GB.
MOST_DECISIONS = 10**10


class CostGrid(ProcurementMethod):
    """Dynamic programme over a grid of costs, each rounded up; what that leaves is spent greedily.

    Rounding up never overspends. It makes s owners dearer by less than s cells: the set is worth at least as
    much as any of s owners that costs no more than (1 - s / grid) of the budget. Time and memory grow with
    owners times cells: 10,000 owners on 10,000 cells take some 0.2 s and 13 MB.

    Parameters
    ----------
    grid : int
        Cells that the budget is divided into, from 1 to ten million, and to ten billion over the number of owners,
        where `choose` raises ValueError.
    """

    name = "ppdp"
    source = "Liu et al. (2021)"

    def __init__(self, *, grid: int = 10_000) -> None:
        if not isinstance(grid, Integral) or isinstance(grid, bool) or not 1 <= grid <= MOST_CELLS:
            raise ValueError(f"grid: found {grid!r}; allowed is a whole number of cells from 1 to {MOST_CELLS:,}")
        self.grid: int = int(grid)

    def choose(
        self, values: np.ndarray, costs: np.ndarray, budget: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """The best set on the grid, and whoever else can be afforded."""
        greedy = by_value_per_cost(values, costs)
        if total(costs) <= budget:
            return greedy, math.inf
        if len(costs) * self.grid > MOST_DECISIONS:
            raise ValueError(
                f"grid: found {self.grid:,} cells, which with {len(costs):,} owners to choose from takes too much "
                f"memory; allowed are {MOST_DECISIONS // len(costs):,} cells, or the procurement method 'exact'"
            )
        cells = _cells(costs, budget, self.grid)
        best = np.zeros(self.grid + 1)  # value bought by the money spent, in cells
        taken = []  # by owner and money spent without it, in bits
        for value, width in zip(values.tolist(), cells.tolist(), strict=True):
            with_it = best[: len(best) - width] + value
            taken.append(np.packbits(with_it > best[width:]))
            np.maximum(best[width:], with_it, out=best[width:])
        chosen, money = [], self.grid
        for owner in range(len(values) - 1, -1, -1):
            before = money - int(cells[owner])
            if before >= 0 and taken[owner][before // 8] << before % 8 & 128:
                chosen.append(owner)
                money = before
        others = np.setdiff1d(greedy, chosen, assume_unique=True)
        return fill(np.concatenate([np.array(chosen, dtype=int), others]), costs, budget), math.inf


def _cells(costs: np.ndarray, budget: float, grid: int) -> np.ndarray:
    """Costs in cells of the budget, rounded up, shape (c,)."""
    cells = costs / budget * grid
    # Floats err by a few units in the last place: what is that close to a whole number is divided exactly.
    close = np.flatnonzero(np.abs(cells - np.rint(cells)) <= SLACK)
    cells = np.ceil(cells).astype(int)
    cells[close] = [math.ceil(Fraction(cost) * grid / Fraction(budget)) for cost in costs[close].tolist()]
    return cells
