"""Greedy procurement and the references beside it."""

from __future__ import annotations

import math

import numpy as np

from simulator.procurement.method import ProcurementMethod, by_value_per_cost_and_row, fill, total


class Greedy(ProcurementMethod):
    """Best value per cost first, skipping what no longer fits."""

    name = "greedy"
    source = "Liu et al. (2021)"

    def choose(
        self, values: np.ndarray, costs: np.ndarray, budget: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """At least (1 - zeta) of the optimum where no cost exceeds zeta times the budget (ties: the earlier)."""
        return fill(by_value_per_cost_and_row(values, costs), costs, budget), math.inf


class Random(ProcurementMethod):
    """Owners of positive value in random order, skipping what no longer fits."""

    name = "random"

    def choose(
        self, values: np.ndarray, costs: np.ndarray, budget: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """A random maximal affordable set."""
        return fill(rng.permutation(len(values)), costs, budget), math.inf


class All(ProcurementMethod):
    """Every owner of positive value, whatever the budget: a reference, not a mechanism."""

    name = "all"
    overspends = True

    def choose(
        self, values: np.ndarray, costs: np.ndarray, budget: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """All candidates."""
        return np.arange(len(values)), total(values)
