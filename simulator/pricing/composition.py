"""How versions add up: the size x that a bundle of versions sums over.

Under the `additive` rule a bundle is worth the sum of its epsilons (basic composition); under the
`quadratic` rule it is worth their root of squares (averaging independent Gaussian noise). Either way a
bundle covers a version when its sizes sum to the version's size.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from simulator.pricing.arguments import as_numbers

#: Smallest and largest epsilon, whose squares are ordinary floats, and the largest ratio of two: the copies of one
#: version that cover another, up to the ratio's square, must be countable.
SMALLEST_EPSILON, LARGEST_EPSILON, WIDEST = 1e-100, 1e100, 2e9

Composition = Literal["additive", "quadratic"]

#: Prices and sums of sizes closer than this, relatively, are equal: ten times 0.1 is less than 1 in floats.
TOLERANCE = 1e-12


def check_epsilons(epsilons: ArrayLike) -> np.ndarray:
    """Epsilons of a price list as an array, shape (l,).

    Raises
    ------
    ValueError
        If they are not a non-empty, strictly increasing sequence of positive finite numbers, or too small, too
        large or too far apart to reckon with.
    """
    eps = as_numbers("epsilons", epsilons)
    if eps.ndim != 1 or eps.size == 0:
        raise ValueError("epsilons must be a sequence of at least one number")
    if not np.isfinite(eps).all() or (eps <= 0).any():
        raise ValueError(f"epsilons must be positive and finite, found {eps.tolist()}")
    if (np.diff(eps) <= 0).any():
        raise ValueError(f"epsilons must be strictly increasing, found {eps.tolist()}")
    if eps[0] < SMALLEST_EPSILON or eps[-1] > LARGEST_EPSILON or eps[-1] > eps[0] * WIDEST:
        raise ValueError(
            f"epsilons must lie between {SMALLEST_EPSILON:g} and {LARGEST_EPSILON:g} and within a factor of {WIDEST:g} "
            f"of one another, found {eps[0]:g} to {eps[-1]:g}"
        )
    return eps


def sizes(epsilons: np.ndarray, composition: Composition) -> np.ndarray:
    """Size x of each version, shape (l,): eps, or eps squared.

    Raises
    ------
    ValueError
        If the composition rule is unknown.
    """
    if composition not in get_args(Composition):
        raise ValueError(f"composition must be one of {', '.join(get_args(Composition))}, found {composition!r}")
    return epsilons if composition == "additive" else epsilons**2


def copies_to_cover(size: float, needed: float) -> int:
    """How many copies of a version of this size cover what is needed, rounding errors forgiven."""
    return max(0, math.ceil(needed / size * (1 - TOLERANCE)))
