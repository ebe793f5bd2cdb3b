"""Procurement at one price for all who are bought, whatever each asks: a truthful auction, and a posted price."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from simulator.procurement.method import ProcurementMethod


class FairQuery(ProcurementMethod):
    """The truthful auction: as many owners as the budget pays one price, the cheapest first (FairQuery).

    Shards count alike, whatever they are worth. With k owners the price is at most an equal part of the budget; k is
    the largest number of whom the dearest asks no more. They are paid that, or what the cheapest of the others asks if
    that is less, so that no owner's own report moves its price.
    """

    name = "fair_query"
    source = "Ghosh and Roth (2011), FairQuery"
    promises = True

    def choose(
        self, values: np.ndarray, costs: np.ndarray, budget: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """The cheapest owners (ties: the earlier)."""
        order = np.argsort(costs, kind="stable")
        parts = equal_parts(budget, np.arange(1, len(costs) + 1))
        return order[: np.count_nonzero(costs[order] <= parts)], math.inf

    def promise(self, costs: np.ndarray, budget: float, chosen: np.ndarray) -> np.ndarray:
        """An equal part of the budget, or what the cheapest of the others asks if that is less."""
        if len(chosen) == 0:
            return np.empty(0)
        part = float(equal_parts(budget, np.array([len(chosen)]))[0])
        return np.full(len(chosen), min(part, np.delete(costs, chosen).min(initial=math.inf)))


class FixedPrice(ProcurementMethod):
    """One price for all, taken or left: of those who ask no more, the most valuable while the budget lasts.

    Parameters
    ----------
    price : float, optional
        What is paid for a use, in money; by default the budget shared by all who are on offer. A scenario may give
        one a version.
    """

    name = "fixed_price"
    promises = True
    per_version = ("price",)

    def __init__(self, *, price: float | None = None) -> None:
        if price is not None and (
            isinstance(price, bool) or not isinstance(price, Real) or not 0 <= float(price) < math.inf
        ):
            raise ValueError(f"price must be a number >= 0, found {price!r}")
        self.price = None if price is None else float(price)

    def choose(
        self, values: np.ndarray, costs: np.ndarray, budget: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """Those who accept, by decreasing value (ties: the earlier)."""
        price = self._posted(costs, budget)
        accept = np.flatnonzero(costs <= price)
        affordable = np.count_nonzero(price * np.arange(1, len(accept) + 1) <= budget)
        return accept[np.argsort(-values[accept], kind="stable")[:affordable]], math.inf

    def promise(self, costs: np.ndarray, budget: float, chosen: np.ndarray) -> np.ndarray:
        """The price."""
        return np.full(len(chosen), self._posted(costs, budget))

    def _posted(self, costs: np.ndarray, budget: float) -> float:
        if self.price is not None:
            return self.price
        return float(equal_parts(budget, np.array([max(len(costs), 1)]))[0])


def equal_parts(budget: float, counts: np.ndarray) -> np.ndarray:
    """What each of so many gets of a budget, rounded down so that together they get no more, shape of `counts`."""
    parts = budget / counts
    return np.where(parts * counts > budget, np.nextafter(parts, 0.0), parts)
