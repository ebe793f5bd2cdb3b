"""What a release guarantees, and what owners spend whose records are used in several releases."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from simulator.pricing.composition import check_epsilons

Neighbours = Literal["replace-one", "add-remove"]


@dataclass(frozen=True)
class Guarantee:
    """Differential privacy of one training, per record.

    Attributes
    ----------
    method : str
        Training method that was used.
    neighbours : {"replace-one", "add-remove"}
        Whether neighbouring data sets differ in one record's content or in its presence.
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
    epsilon: float
    delta: float
    bound: str
    models: int
    composition: str
    mu: float | None
    profile: Callable[[float], float] = field(repr=False, compare=False)


def check_budget(epsilon: float, delta: float, neighbours: str) -> None:
    """Refuse privacy parameters that are out of range.

    Raises
    ------
    ValueError
        If epsilon is not positive and finite, delta not in (0, 1), or the relation is unknown.
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon must be positive and finite, found {epsilon!r}")
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, found {delta!r}")
    if neighbours not in get_args(Neighbours):
        raise ValueError(f"neighbours must be one of {', '.join(get_args(Neighbours))}, found {neighbours!r}")


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
        Sum of the epsilons of the releases that used the shard: the guarantee of each of its records. Delta
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
