"""What a release guarantees, and what owners spend whose records are used in several releases."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from simulator.pricing.composition import check_epsilons
from simulator.privacy.gaussian import gaussian_epsilon

Neighbours = Literal["replace-one", "add-remove"]
#: What neighbouring data sets differ in one of: a record, or an owner with all its records.
Unit = Literal["record", "owner"]


@dataclass(frozen=True)
class Guarantee:
    """Differential privacy of one training.

    Attributes
    ----------
    method : str
        Training method that was used.
    neighbours : {"replace-one", "add-remove"}
        Whether neighbouring data sets differ in one unit's content or in its presence.
    unit : {"record", "owner"}
        What they differ in one of: a record, or an owner with all its records.
    epsilon, delta : float
        Parameters of the whole training.
    bound : str
        The theorem that the noise scales rest on.
    models : int
        Models trained on the same records, among which the budget is shared.
    composition : str
        How the models' privacy losses add up.
    mu : float or None
        The training is mu-Gaussian private, exactly; None where the mechanism is not.
    profile : callable
        Delta guaranteed at another epsilon >= 0, from the same bound.
    """

    method: str
    neighbours: Neighbours
    unit: Unit
    epsilon: float
    delta: float
    bound: str
    models: int
    composition: str
    mu: float | None
    profile: Callable[[float], float] = field(repr=False, compare=False)

    def for_group(self, size: int) -> tuple[float, float]:
        """Epsilon and delta for `size` units together, say all records of one owner.

        Where the training is Gaussian it is so for groups, with `size` times the mu, and delta stays; else see
        `group_privacy`.

        Raises
        ------
        ValueError
            If the size is not a whole number >= 1.
        """
        if self.mu is None or size == 1:
            return group_privacy(self.epsilon, self.delta, size)
        check_group(size)
        return gaussian_epsilon(size * self.mu, self.delta), self.delta


def group_privacy(epsilon: float, delta: float, size: int) -> tuple[float, float]:
    """Guarantee for `size` units together of a mechanism that is (epsilon, delta)-private for one.

    From one of the group to the next the probabilities change by a factor e^eps and by delta, so in all by a factor
    e^(size eps) and by delta times the sum of e^(h eps) over h < size. A delta of 1 guarantees nothing.

    Parameters
    ----------
    epsilon : float
        Privacy parameter, > 0.
    delta : float
        Privacy parameter, in [0, 1].
    size : int
        Units in the group, >= 1.

    Raises
    ------
    ValueError
        If the size is not a whole number >= 1.

    References
    ----------
    Dwork and Roth (2014), theorem 2.2, and its form for delta > 0.

    Examples
    --------
    >>> epsilon, delta = group_privacy(1.0, 1e-5, 5)
    >>> epsilon, round(delta, 5)
    (5.0, 0.00086)
    """
    check_group(size)
    factors = math.exp(min((size - 1) * epsilon, 700.0))  # the largest term; far below its limit it makes delta 1
    total = -math.expm1(-size * epsilon) / -math.expm1(-epsilon) * factors
    return size * epsilon, min(delta * total, 1.0)


def check_group(size: int) -> None:
    """Refuse a number of units that is none.

    Raises
    ------
    ValueError
        If the size is not a whole number >= 1.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"size must be a whole number of units >= 1, found {size!r}")


def check_budget(epsilon: float, delta: float, neighbours: str) -> None:
    """Refuse privacy parameters that are out of range.

    Raises
    ------
    ValueError
        If epsilon is not positive and finite, delta not in (0, 1), or the relation is unknown.
    """
    if not (is_number(epsilon) and math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon must be positive and finite, found {epsilon!r}")
    if not (is_number(delta) and 0 < delta < 1):
        raise ValueError(f"delta must be between 0 and 1, found {delta!r}")
    if neighbours not in get_args(Neighbours):
        raise ValueError(f"neighbours must be one of {', '.join(get_args(Neighbours))}, found {neighbours!r}")


def is_number(value: object) -> bool:
    """Whether it is a real number, NumPy's among them, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def moved_records(neighbours: Neighbours) -> int:
    """Number of records in which neighbours' sums differ: one replaced is one less and one more."""
    return 2 if neighbours == "replace-one" else 1


def implied_delta(at: float, epsilon: float, delta: float) -> float:
    """Delta at the privacy parameter `at` that an (epsilon, delta) guarantee implies.

    A privacy loss l has 1 - exp(at - l) <= 1 - exp(at - eps) + exp(at - eps) (1 - exp(eps - l))+ for at < eps.

    Examples
    --------
    >>> implied_delta(2.0, 1.0, 1e-5)
    1e-05
    >>> round(implied_delta(0.0, 1.0, 0.0), 3)
    0.632
    """
    return delta if at >= epsilon else 1.0 - math.exp(at - epsilon) * (1.0 - delta)


def epsilon_spent(used: ArrayLike, epsilons: ArrayLike) -> np.ndarray:
    """Epsilon that the releases cost each owner, by basic composition.

    Parameters
    ----------
    used : array of bool or int, shape (l, n)
        Whether, or how often, each owner's shard was used in a version.
    epsilons : array of float, shape (l,)
        Privacy levels of the versions, strictly increasing, > 0.

    Returns
    -------
    array of float, shape (n,)
        Sum of the epsilons of the releases that used the shard: the guarantee of each of its units. Delta
        adds up alike, by the number of releases.

    Raises
    ------
    ValueError
        If the epsilons are not increasing and positive, or `used` has not one row a version.

    Examples
    --------
    >>> epsilon_spent([[True, False], [True, True]], [0.5, 1.0]).tolist()
    [1.5, 1.0]
    """
    eps = check_epsilons(epsilons)
    counts = np.asarray(used)
    if counts.ndim != 2 or len(counts) != len(eps):
        raise ValueError(f"used must have one row a version, shape ({len(eps)}, n), found shape {counts.shape}")
    return eps @ counts
