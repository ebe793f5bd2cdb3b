"""What the broker knows of demand: survey answers, and the demand they imply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from simulator.pricing.composition import TOLERANCE

#: Answers and weights outside this range are refused: their products and sums would leave the range of floats.
SMALLEST, LARGEST = 1e-100, 1e100


@dataclass(frozen=True)
class Survey:
    """Answers of surveyed buyers: the version each one wants and what it would pay for it.

    Parameters
    ----------
    targets : array of int, shape (m,)
        Index of the version each answer is for, 0..l-1.
    values : array of float, shape (m,)
        Stated willingness to pay, in money, from 1e-100 to 1e100.
    weights : array of float, shape (m,), optional
        How many buyers an answer stands for, in the same range; by default 1.
    """

    targets: np.ndarray
    values: np.ndarray
    weights: np.ndarray

    def __init__(self, targets: ArrayLike, values: ArrayLike, weights: ArrayLike | None = None) -> None:
        v = np.asarray(values, dtype=float)
        w = np.ones(v.shape) if weights is None else np.asarray(weights, dtype=float)
        t = np.asarray(targets)
        if not (v.ndim == 1 and t.shape == v.shape and w.shape == v.shape):
            raise ValueError(
                "targets, values and weights must be sequences of one length, "
                f"found shapes {t.shape}, {v.shape} and {w.shape}"
            )
        if len(v) and not np.issubdtype(t.dtype, np.integer):
            raise ValueError(f"targets must be whole numbers (version indices), found {t.dtype}")
        for name, numbers in (("values", v), ("weights", w)):
            outside = numbers[~((numbers >= SMALLEST) & (numbers <= LARGEST))]
            if len(outside):
                raise ValueError(f"{name} must lie between {SMALLEST:g} and {LARGEST:g}, found {outside[0]:g}")
        object.__setattr__(self, "targets", t.astype(int))
        object.__setattr__(self, "values", v)
        object.__setattr__(self, "weights", w)

    def __len__(self) -> int:
        return len(self.values)

    def check_versions(self, n_versions: int) -> None:
        """Raise ValueError unless there are answers and each is for one of `n_versions` versions."""
        if len(self) == 0:
            raise ValueError("values must hold at least one answer, found none")
        if self.targets.min() < 0 or self.targets.max() >= n_versions:
            raise ValueError(
                f"targets must be version indices from 0 to {n_versions - 1}, "
                f"found {self.targets.min()} to {self.targets.max()}"
            )

    def demand(self, version: int) -> Demand:
        """Demand for one version as a function of its price."""
        asked = self.targets == version
        return Demand(self.values[asked], self.weights[asked])

    def revenue(self, prices: np.ndarray) -> np.ndarray:
        """Money each version earns at `prices` if everybody buys as stated, shape (l,).

        Prices and answers are compared exactly; a version priced `inf` earns nothing.
        """
        sold = self.weights * (self.values >= prices[self.targets])
        counts = np.bincount(self.targets, weights=sold, minlength=len(prices))
        return np.where(counts > 0, prices, 0.0) * counts


class Demand:
    """Demand for one version: how many buyers accept a price.

    Parameters
    ----------
    values : array of float, shape (m,)
        Answers for this version.
    weights : array of float, shape (m,)
        Buyers behind each answer.
    """

    def __init__(self, values: np.ndarray, weights: np.ndarray) -> None:
        order = np.argsort(values, kind="stable")
        self.values = values[order]
        # Buyers at or above each answer, with a zero for prices above all of them.
        self._above = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)

    def __call__(self, prices: np.ndarray) -> np.ndarray:
        """Buyers whose answer is at least each price, up to rounding, shape of `prices`."""
        return self._above[np.searchsorted(self.values, prices * (1 - TOLERANCE))]

    def snap(self, price: float) -> float:
        """`price`, lowered to the answer it serves if only rounding lies between."""
        position = np.searchsorted(self.values, price * (1 - TOLERANCE))
        return min(price, float(self.values[position])) if position < len(self.values) else price

    def monopoly(self) -> tuple[float, float]:
        """Best price on this demand alone (ties: the higher) and its revenue; (inf, 0) without answers."""
        if len(self.values) == 0:
            return np.inf, 0.0
        revenue = self.values * self(self.values)
        best = np.flatnonzero(revenue >= revenue.max() * (1 - TOLERANCE))[-1]
        return float(self.values[best]), float(revenue[best])
