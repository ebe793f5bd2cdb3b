"""Checks of what callers hand to games and estimators: messages name the argument, what was found, what is allowed."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from simulator.pricing.arguments import LARGEST, as_numbers


def as_count(name: str, given: Any, least: int) -> int:
    """A whole number as an int.

    Raises
    ------
    ValueError
        If it is no whole number, or below `least`.
    """
    if isinstance(given, (bool, np.bool_)) or not isinstance(given, Integral) or int(given) < least:
        raise ValueError(f"{name} must be a whole number >= {least}, found {given!r:.60}")
    return int(given)


def as_real(name: str, given: Any, allowed: str) -> float:
    """A real number as a float; `allowed` says which are, for the message.

    Raises
    ------
    ValueError
        If it is no number, or NaN.
    """
    if isinstance(given, (bool, np.bool_)) or not isinstance(given, Real) or np.isnan(float(given)):
        raise ValueError(f"{name} must be {allowed}, found {given!r:.60}")
    return float(given)


def as_positive(name: str, given: Any) -> float:
    """A positive, finite number as a float.

    Raises
    ------
    ValueError
        If it is not.
    """
    allowed = "a positive and finite number"
    number = as_real(name, given, allowed)
    if not 0 < number < np.inf:
        raise ValueError(f"{name} must be {allowed}, found {given!r}")
    return number


def as_floats(name: str, given: ArrayLike) -> np.ndarray:
    """Numbers, true and false among them, as an array of float; masked ones become NaN.

    Raises
    ------
    ValueError
        If it holds anything else, or is ragged.
    """
    if isinstance(given, np.ndarray) and not np.ma.isMaskedArray(given) and given.dtype.kind in "bO":
        for number in given.flat:
            if not isinstance(number, (Real, np.bool_)):
                raise ValueError(f"{name} must be numbers, found {type(number).__name__} ({number!s:.40})")
        return given.astype(float)
    return as_numbers(name, given)


def as_table(name: str, given: ArrayLike) -> np.ndarray:
    """Records of finite numbers as an array of float, shape (N, d).

    Raises
    ------
    ValueError
        If it is no table, or holds anything but numbers between -1e100 and 1e100, whose squares can be summed.
    """
    table = as_floats(name, given)
    if table.ndim != 2:
        raise ValueError(f"{name} must be a table of shape (records, features), found the shape {table.shape}")
    outside = ~(np.abs(table) <= LARGEST)
    if outside.any():
        what = "finite numbers" if not np.isfinite(table[outside][0]) else f"between -{LARGEST:g} and {LARGEST:g}"
        raise ValueError(f"{name} must be {what}, found {table[outside][0]:g}")
    return table


def as_indices(name: str, given: ArrayLike, limit: int) -> np.ndarray:
    """Whole numbers in 0..limit-1 as an array of int, of the shape given.

    Raises
    ------
    ValueError
        If it holds anything else.
    """
    numbers = as_floats(name, given)
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers))
    if not whole.all():
        raise ValueError(f"{name} must be whole numbers in 0..{limit - 1}, found {numbers[~whole].flat[0]:g}")
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < limit):
        raise ValueError(f"{name} must be in 0..{limit - 1}, found {numbers.min():g}..{numbers.max():g}")
    return numbers.astype(int)


def as_masks(given: ArrayLike, n_players: int, name: str = "masks") -> np.ndarray:
    """Coalitions as an array of bool, shape (b, n_players); zeros and ones of another type will do.

    Raises
    ------
    ValueError
        If it has another shape, or holds anything else.
    """
    try:
        found = np.asarray(given)
    except ValueError:
        raise ValueError(f"{name} must be a table of coalitions, found rows of different lengths") from None
    if found.ndim != 2 or found.shape[1] != n_players:
        raise ValueError(
            f"{name} must have shape (coalitions, {n_players}), a column a player, found the shape {found.shape}"
        )
    if found.dtype != bool:
        numbers = as_floats(name, found if found.dtype == object else given)
        other = (numbers != 0) & (numbers != 1)
        if other.any():
            raise ValueError(f"{name} must be true or false, found {numbers[other][0]:g}")
        found = numbers == 1
    return found


def as_classes(name: str, given: ArrayLike) -> np.ndarray:
    """Class labels, all numbers or all text, as an array of shape (N,).

    Raises
    ------
    ValueError
        If they are neither, or not in one row.
    """
    try:
        found = np.asanyarray(given)
    except ValueError:
        raise ValueError(f"{name} must be one class a record, found rows of different lengths") from None
    if found.ndim != 1:
        raise ValueError(f"{name} must be one class a record, found the shape {found.shape}")
    if found.dtype == object and all(isinstance(label, str) for label in found):
        found = found.astype(str)
    if found.size == 0 or found.dtype.kind in "US":
        return np.asarray(found)
    numbers = as_floats(name, found)
    if np.isnan(numbers).any():
        raise ValueError(f"{name} must name the class of every record, found nan")
    return numbers


def check_generator(rng: Any) -> None:
    """Check that a random stream is one, or None.

    Raises
    ------
    ValueError
        If it is not.
    """
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise ValueError(
            f"rng must be a numpy.random.Generator, as of numpy.random.default_rng(seed), found {rng!r:.60}"
        )
