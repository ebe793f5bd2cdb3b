"""The relaxed problem's dynamic programme on given candidate prices, and its greatest feasible list."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.pricing.composition import TOLERANCE
from simulator.pricing.survey import Demand


class InfeasibleError(ValueError):
    """No list of the given prices is feasible for the relaxed problem."""


def greatest_feasible(x: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Greatest list of the relaxed problem that is nowhere above `caps`, shape (l,).

    p_k = min( min_{k' >= k} u_k', min_{k' <= k} u_k' x_k / x_k' ); a cap of `inf` is none, and at least one
    must be finite.
    """
    from_above = np.minimum.accumulate(caps[::-1])[::-1]
    return np.minimum(from_above, np.minimum.accumulate(caps / x) * x)


def complete_space(x: np.ndarray, answers: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Candidate prices of each version, sorted: the answers for it, for dearer versions, and for cheaper ones.

    An answer v for version j is a candidate v itself at j and below (a constant stretch), and v x_k / x_j
    at every k above (a stretch of constant price per size).

    Parameters
    ----------
    x : array of float, shape (l,)
        Sizes of the versions.
    answers : sequence of array of float
        The answers for each version.
    """
    space = []
    for k in range(len(x)):
        scaled = [answers[j] * (x[k] / x[j]) for j in range(k)]
        space.append(np.unique(np.concatenate([*scaled, *answers[k:]])))
    return space


def best_list(x: np.ndarray, space: Sequence[np.ndarray], demands: Sequence[Demand]) -> np.ndarray:
    """Best list of the relaxed problem with every price among its candidates.

    f_k(p) = p D_k(p) + max { f_{k-1}(q) : p x_{k-1} / x_k <= q <= p }, forwards over the versions, then the
    prices backwards from the top version.
    """
    best: list[np.ndarray] = []
    windows: list[tuple[np.ndarray, np.ndarray]] = []
    for k, prices in enumerate(space):
        earned = prices * demands[k](prices)
        if k > 0:
            below = space[k - 1]
            low = np.searchsorted(below, prices * (x[k - 1] / x[k]) * (1 - TOLERANCE), "left")
            high = np.searchsorted(below, prices * (1 + TOLERANCE), "right")
            earned += window_maxima(best[-1], low, high)
            windows.append((low, high))
        best.append(earned)
    if best[-1].max() == -np.inf:
        raise InfeasibleError("no list of the answers' own prices is feasible; use space='complete'")

    prices = np.empty(len(space))
    first, last = 0, len(space[-1])
    for k in range(len(space) - 1, -1, -1):
        reachable = best[k][first:last]
        # The highest price among equals; sums of different terms are equal up to rounding.
        pick = first + np.flatnonzero(reachable >= reachable.max() * (1 - TOLERANCE))[-1]
        prices[k] = space[k][pick]
        if k > 0:
            first, last = windows[k - 1][0][pick], windows[k - 1][1][pick]
    return prices


def window_maxima(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Maximum of values[low[i]:high[i]] for every i, -inf for empty windows, shape of `low`.

    A window is two overlapping stretches of the same power of two, whose maxima come by doubling: memory linear in the
    values, time linear in them times the logarithm of the longest window.
    """
    maxima = np.full(len(low), -np.inf)
    # The exponent of the longest stretch that fits; -1 for an empty window.
    exponents = np.frexp(np.maximum(high - low, 0))[1] - 1
    asked = np.bincount(exponents + 1)[1:]
    for exponent, count in enumerate(asked):
        if count:
            here = np.flatnonzero(exponents == exponent)
            maxima[here] = np.maximum(values[low[here]], values[high[here] - 2**exponent])
        values = np.maximum(values[: -(2**exponent)], values[2**exponent :])
    return maxima
