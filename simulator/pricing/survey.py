"""What the broker knows of demand: survey answers, and the demand they imply."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from simulator.pricing.arguments import SMALLEST, as_numbers, extremes
from simulator.pricing.composition import TOLERANCE


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
    worth : array of float, shape (m, l), optional
        Stated willingness to pay for every version, in money, >= 0; None where only the target was asked for.
        With it `values` may be 0, for a buyer that would pay for another version than its target.

    Attributes
    ----------
    common_weight : float or None
        The weight of every answer, None if they differ.
    """

    targets: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    worth: np.ndarray | None
    common_weight: float | None = field(repr=False)

    def __init__(
        self,
        targets: ArrayLike,
        values: ArrayLike,
        weights: ArrayLike | None = None,
        worth: ArrayLike | None = None,
    ) -> None:
        v = as_numbers("values", values)
        w = np.broadcast_to(1.0, v.shape) if weights is None else as_numbers("weights", weights)
        t = np.asarray(targets)
        if not (v.ndim == 1 and t.shape == v.shape and w.shape == v.shape):
            raise ValueError(
                "targets, values and weights must be sequences of one length, "
                f"found shapes {t.shape}, {v.shape} and {w.shape}"
            )
        if len(v) and not np.issubdtype(t.dtype, np.integer):
            raise ValueError(f"targets must be whole numbers (version indices), found {t.dtype}")
        if worth is not None:
            worth = check_worth(worth)
            if len(worth) != len(v):
                raise ValueError(f"worth must have one row an answer, {len(v)}, found {len(worth)}")
        extremes("values", v, SMALLEST if worth is None else 0.0)
        lightest, heaviest = (1.0, 1.0) if weights is None else extremes("weights", w)
        fields = {"targets": t.astype(int, copy=False), "values": v, "weights": w, "worth": worth}
        for name, array in fields.items():
            # Read-only, for a strategy must not change what others see; a view, for the caller may change its own.
            object.__setattr__(self, name, None if array is None else read_only(array))
        object.__setattr__(self, "common_weight", lightest if lightest == heaviest else None)

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

    def median(self) -> float:
        """The answer in the middle, each counting by its weight; halfway between two where the middle lies there."""
        if self.common_weight:
            return float(np.median(self.values))
        order = np.argsort(self.values)
        upto = np.cumsum(self.weights[order])
        middle = np.searchsorted(upto, upto[-1] / 2 * np.array([1 - TOLERANCE, 1 + TOLERANCE]))
        return float(self.values[order][middle].mean())

    def of(self, version: int) -> Survey:
        """The answers for one version."""
        asked = self.targets == version
        worth = None if self.worth is None else self.worth[asked]
        return Survey(self.targets[asked], self.values[asked], self.weights[asked], worth)

    def demand(self, version: int) -> Demand:
        """Demand for one version as a function of its price."""
        asked = self.targets == version
        return Demand(self.values[asked], self.weights[asked])

    def next_answers(self, prices: np.ndarray) -> np.ndarray:
        """Smallest answer for each version that is at least its price, shape (l,); `inf` where there is none."""
        served = np.full(len(prices), np.inf)
        accepts = self.values >= prices[self.targets]
        np.minimum.at(served, self.targets[accepts], self.values[accepts])
        return served

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
        self._keep(values[order], weights[order])

    @classmethod
    def of_sorted(cls, values: np.ndarray, weights: np.ndarray) -> Demand:
        """The same of answers that are sorted already."""
        demand = cls.__new__(cls)
        demand._keep(values, weights)
        return demand

    def _keep(self, values: np.ndarray, weights: np.ndarray) -> None:
        self.values = values
        # Buyers at or above each answer, with a zero for prices above all of them.
        self._above = np.append(np.cumsum(weights[::-1])[::-1], 0.0)

    def __call__(self, prices: np.ndarray) -> np.ndarray:
        """Buyers whose answer is at least each price, up to rounding, shape of `prices`."""
        return self._above[np.searchsorted(self.values, prices * (1 - TOLERANCE))]

    def at(self, price: float) -> float:
        """Buyers whose answer is at least the price, compared exactly."""
        return float(self._above[np.searchsorted(self.values, price)])

    def next_answer(self, price: float) -> float:
        """Smallest answer that is at least the price, up to rounding; `inf` if there is none."""
        position = np.searchsorted(self.values, price * (1 - TOLERANCE))
        return float(self.values[position]) if position < len(self.values) else np.inf

    def snap(self, price: float) -> float:
        """`price`, lowered to the answer it serves if only rounding lies between."""
        return min(price, self.next_answer(price))

    def monopoly(self) -> tuple[float, float]:
        """Best price on this demand alone (ties: the higher) and its revenue; (inf, 0) without answers."""
        if len(self.values) == 0:
            return np.inf, 0.0
        revenue = self.values * self._above[:-1]
        best = np.flatnonzero(revenue >= revenue.max() * (1 - TOLERANCE))[-1]
        return float(self.values[best]), float(revenue[best])


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def check_worth(worth: ArrayLike) -> np.ndarray:
    """Willingness to pay for every version as an array, shape (m, l).

    Raises
    ------
    ValueError
        If it is not a table of numbers from 0 to 1e100.
    """
    w = as_numbers("worth", worth)
    if w.ndim != 2:
        raise ValueError(f"worth must be a table of one row a buyer and one column a version, found shape {w.shape}")
    extremes("worth", w, 0.0)
    return w


def best_buys(worth: np.ndarray, prices: np.ndarray, versions: np.ndarray | None = None) -> np.ndarray:
    """Version that leaves each buyer the most, shape (m,): the largest worth less price, -1 where that is negative.

    Among equals the cheaper, then the lower version. The comparison is exact: who is indifferent buys.

    Parameters
    ----------
    worth : array of float, shape (m, l)
        Willingness to pay of each buyer for each version, in money.
    prices : array of float, shape (l,)
        Prices, in money.
    versions : array of int, optional
        The versions for sale, in rising order; by default all.
    """
    if versions is None:
        versions = np.arange(len(prices))
    if len(versions) == 0:
        return np.full(len(worth), -1)
    cheapest_first = versions[np.argsort(prices[versions], kind="stable")]
    surplus = worth[:, cheapest_first] - prices[cheapest_first]
    best = surplus.argmax(axis=1)
    return np.where(surplus.max(axis=1) >= 0, cheapest_first[best], -1)
