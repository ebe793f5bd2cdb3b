"""Checks of what callers hand over: every message names the argument, what was found and what is allowed."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

#: Money and weights outside this range are refused: their products and sums would leave the range of floats.
SMALLEST, LARGEST = 1e-100, 1e100


def as_numbers(name: str, given: ArrayLike) -> np.ndarray:
    """`given` as an array of floats, a view of it where it is one already; masked numbers become NaN.

    Raises
    ------
    ValueError
        If it holds anything but numbers, or is ragged.
    """
    try:
        found: np.ndarray = np.asanyarray(given)
    except ValueError:
        raise ValueError(f"{name} must be a table of numbers, found rows of different lengths") from None
    if isinstance(found, np.ma.MaskedArray):
        found = np.ma.filled(found.astype(float), np.nan)
    if found.dtype == object:
        found = _as_floats(found)
    if found.size and found.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be numbers, found {type(found.flat[0]).__name__} ({found.flat[0]!s:.40})")
    return np.asarray(found, dtype=float)


def _as_floats(objects: np.ndarray) -> np.ndarray:
    """An array of Python's numbers as floats; of anything else, what is none."""
    numbers = []
    for thing in objects.flat:
        try:
            if isinstance(thing, bool) or not isinstance(thing, Real):
                raise TypeError
            numbers.append(float(thing))
        except (OverflowError, TypeError):
            wrong = np.empty(1, dtype=object)
            wrong[0] = thing
            return wrong
    return np.array(numbers, dtype=float).reshape(objects.shape)


def extremes(name: str, numbers: np.ndarray, lowest: float = SMALLEST) -> tuple[float, float]:
    """Smallest and largest of numbers that must lie in range; as NaN would be either, no copy is needed to check.

    Raises
    ------
    ValueError
        If a number is below `lowest`, above 1e100 or NaN.
    """
    if numbers.size == 0:
        return 1.0, 1.0
    smallest, largest = float(numbers.min()), float(numbers.max())
    if not (smallest >= lowest and largest <= LARGEST):
        outside = numbers[~((numbers >= lowest) & (numbers <= LARGEST))]
        raise ValueError(f"{name} must lie between {lowest:g} and {LARGEST:g}, found {outside[0]:g}")
    return smallest, largest


def check_time_limit(seconds: Any) -> float:
    """Seconds as a number, infinitely many for None.

    Raises
    ------
    ValueError
        If they are not a positive number.
    """
    if seconds is None:
        return np.inf
    if isinstance(seconds, bool) or not isinstance(seconds, Real) or not float(seconds) > 0:
        raise ValueError(f"time_limit must be a number of seconds > 0 or None, found {seconds!r}")
    return float(seconds)


def check_step_limit(steps: Any) -> float:
    """Steps as a number, infinitely many for None.

    Raises
    ------
    ValueError
        If they are not a whole number > 0.
    """
    if steps is None:
        return np.inf
    if isinstance(steps, bool) or not isinstance(steps, Integral) or int(steps) < 1:
        raise ValueError(f"step_limit must be a whole number > 0 or None, found {steps!r}")
    return float(steps)
