"""What releases cost the owners over the life of a market, and who can still afford one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from simulator.privacy.accounting import group_privacy
from simulator.privacy.gaussian import gaussian_epsilon, gaussian_mu

#: How uses are counted against a budget.
Composition = Literal["basic", "gaussian"]
#: Sums of epsilons count as equal within this, relatively: ten times 0.1 fits a budget of 1.
TOLERANCE = 1e-12


class Affordable(Protocol):
    """What a buyer of data may know of privacy budgets: which uses they allow."""

    def affordable(self, version: int, used: np.ndarray | None = None) -> np.ndarray:
        """Whether each owner's budget allows one more use of its shard in a version, shape (n,) of bool.

        Parameters
        ----------
        version : int
            Index of the version on the buyer's own list.
        used : array of bool, shape (l, n), optional
            Uses of the round so far.
        """


class PrivacyAccounts:
    """Privacy spent by each owner, per unit of the guarantee, and budgets that cap it.

    A use is one release of a version that the owner's shard went into. Uses are all that has to be kept: a version has
    one epsilon, and all have one delta. Releases by a Gaussian mechanism are kept apart, since they compose exactly.

    Parameters
    ----------
    epsilons : array of float, shape (l,)
        Privacy levels of the versions, > 0, of one broker after the other.
    delta : float
        The other privacy parameter of each release, in (0, 1).
    budgets : array of float, shape (n,)
        Epsilon that each owner may spend in all, > 0; `inf` for no limit.
    units : array of int, shape (n,), optional
        Units of the guarantee in each owner's shard: its records, or 1 where owners are the unit. Not known where
        there are no records.
    composition : {"basic", "gaussian"}
        How uses are counted against the budgets: epsilons add up, or those of Gaussian mechanisms compose exactly at
        the releases' own delta, for which all releases must be Gaussian.

    Attributes
    ----------
    gaussian, other : array of int, shape (l, n)
        Uses of each owner's shard in each version, in releases by a Gaussian mechanism and in others.

    References
    ----------
    Dwork and Roth (2014), theorem 3.16; Dong, Roth and Su (2022), corollary 3.3; Smith and Thakurta (2022), for budgets
    that decide, as they are spent, who goes on.

    Examples
    --------
    >>> accounts = PrivacyAccounts([0.5, 1.0], 1e-5, np.array([1.0, np.inf]))
    >>> accounts.book(np.array([[True, True], [False, True]]), np.array([True, True]))
    >>> accounts.epsilon.tolist(), accounts.delta_spent.tolist()
    ([0.5, 1.5], [1e-05, 2e-05])
    >>> accounts.affordable(0).tolist(), accounts.affordable(1).tolist()
    ([True, True], [False, True])
    """

    def __init__(
        self,
        epsilons: ArrayLike,
        delta: float,
        budgets: np.ndarray,
        units: np.ndarray | None = None,
        composition: Composition = "basic",
    ) -> None:
        self.epsilons, self.delta, self.budgets, self.units = np.asarray(epsilons, dtype=float), delta, budgets, units
        self.gaussian = np.zeros((len(self.epsilons), len(budgets)), dtype=int)
        self.other = np.zeros_like(self.gaussian)
        self._capped = bool(np.isfinite(budgets).any())
        if composition == "gaussian":
            self._costs, self._limits = _squares(self.epsilons, delta), _squares(budgets, delta)
        else:
            self._costs, self._limits = self.epsilons, budgets

    def affordable(self, version: int, used: np.ndarray | None = None) -> np.ndarray:
        """Whether each owner's budget allows one more use of its shard in a version, shape (n,) of bool.

        Parameters
        ----------
        version : int
            Index of the version.
        used : array of bool, shape (l, n), optional
            Uses that are not booked yet.
        """
        if not self._capped:
            return np.ones(len(self.budgets), dtype=bool)
        uses = self.gaussian + self.other
        spent = self._costs @ (uses if used is None else uses + used)
        return np.asarray(spent + self._costs[version] <= self._limits * (1 + TOLERANCE))

    def part(self, first: int, others: np.ndarray) -> Affordable:
        """The accounts as one broker sees them, whose list begins at a version; where nothing is capped, as they are.

        Parameters
        ----------
        first : int
            Index of its first version.
        others : array of bool, shape (l, n)
            Uses by other brokers that are not booked yet.
        """
        return _Part(self, first, others) if self._capped else self

    def book(self, used: np.ndarray, gaussian: np.ndarray) -> None:
        """Enter the releases of one round.

        Parameters
        ----------
        used : array of bool, shape (l, n)
            Whether each owner's shard went into each version.
        gaussian : array of bool, shape (l,)
            Whether the version was trained by a Gaussian mechanism.
        """
        self.gaussian += used & gaussian[:, None]
        self.other += used & ~gaussian[:, None]

    @property
    def spent(self) -> np.ndarray:
        """Whether an owner's budget allows no use any more, shape (n,) of bool."""
        return ~self.affordable(int(np.argmin(self._costs)))

    @property
    def epsilon(self) -> np.ndarray:
        """Epsilon spent so far by basic composition, shape (n,), per unit."""
        return self.epsilons @ (self.gaussian + self.other)

    @property
    def delta_spent(self) -> np.ndarray:
        """Delta that goes with `epsilon`, shape (n,)."""
        return self.delta * (self.gaussian + self.other).sum(axis=0)

    def composed(self) -> tuple[np.ndarray, np.ndarray]:
        """Epsilon and delta spent so far where Gaussian mechanisms compose exactly, two arrays of shape (n,), per unit.

        The Gaussian releases of an owner are one Gaussian mechanism, taken at the delta of a single release; others
        add up. For an owner all of whose releases were Gaussian nothing smaller holds at that delta.
        """
        return self._composed(np.ones(len(self.budgets), dtype=int))

    def shard(self) -> tuple[np.ndarray, np.ndarray]:
        """The same for each owner's shard as a whole, by group privacy; infinite and 1 where nothing is guaranteed.

        NaN where the number of an owner's records is not known.
        """
        if self.units is None:
            unknown = np.full(len(self.budgets), np.nan)
            return unknown, unknown
        return self._composed(self.units)

    def _composed(self, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        squares = _squares(self.epsilons, self.delta)
        # Owners with the same uses and as many records have spent the same; there are few such cases.
        cases, owner_case = np.unique(np.vstack([sizes, self.gaussian, self.other]), axis=1, return_inverse=True)
        found = [
            self._compose(size, math.sqrt(squares @ uses[: len(squares)]), uses[len(squares) :])
            for size, *uses in cases.T.tolist()
        ]
        epsilon, delta = np.array(found).reshape(-1, 2).T
        return epsilon[owner_case.ravel()], delta[owner_case.ravel()]

    def _compose(self, size: int, mu: float, other: list[int]) -> tuple[float, float]:
        epsilon = delta = 0.0
        if mu > 0:
            epsilon, delta = gaussian_epsilon(size * mu, self.delta), self.delta
        for level, uses in zip(self.epsilons.tolist(), other, strict=True):
            if uses:
                group = group_privacy(level, self.delta, size)
                epsilon, delta = epsilon + uses * group[0], delta + uses * group[1]
        return (epsilon, delta) if delta < 1 else (math.inf, 1.0)


@dataclass(frozen=True, eq=False)
class _Part:
    """Accounts as one of several brokers sees them."""

    accounts: PrivacyAccounts
    first: int
    others: np.ndarray

    def affordable(self, version: int, used: np.ndarray | None = None) -> np.ndarray:
        """Whether each owner's budget allows one more use in a version of the broker's list, shape (n,) of bool."""
        uses = self.others.copy()
        if used is not None:
            uses[self.first : self.first + len(used)] = used
        return self.accounts.affordable(self.first + version, uses)


def _squares(epsilons: np.ndarray, delta: float) -> np.ndarray:
    """Squares of the mu that each epsilon at `delta` is worth, which add up over Gaussian mechanisms."""
    return np.array([gaussian_mu(e, delta) ** 2 if e < math.inf else math.inf for e in epsilons.tolist()])
