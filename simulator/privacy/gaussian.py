"""The analytic Gaussian mechanism: the exact privacy of Gaussian noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtri


def gaussian_delta(epsilon: float, noise: float) -> float:
    """Smallest delta at which Gaussian noise is (epsilon, delta)-private.

    Parameters
    ----------
    epsilon : float
        Privacy parameter, >= 0.
    noise : float
        Standard deviation of the noise over the L2 sensitivity, > 0: 1/mu of Gaussian differential privacy.

    References
    ----------
    Balle and Wang (2018), theorem 8.

    Examples
    --------
    >>> 1e-6 < gaussian_delta(1.0, 4.0) < 1e-5
    True
    """
    first = log_ndtr(0.5 / noise - epsilon * noise)
    second = epsilon + log_ndtr(-0.5 / noise - epsilon * noise)
    return float(-math.exp(first) * math.expm1(second - first)) if first > second else 0.0


def smallest_noise(delta_of: Callable[[float], float], delta: float) -> float:
    """Smallest noise at which a decreasing `delta_of` noise is at most `delta`, never on its wrong side.

    Parameters
    ----------
    delta_of : callable
        Delta at a noise scale; falls from 1 to 0.
    delta : float
        Delta to reach, in (0, 1).
    """
    low = high = 0.0  # logarithms of the noise
    while delta_of(math.exp(low)) <= delta:
        low -= 1.0
    while delta_of(math.exp(high)) > delta:
        high += 1.0
    root = brentq(lambda log: delta_of(math.exp(log)) - delta, low, high, xtol=1e-12, rtol=1e-14)
    while delta_of(math.exp(root)) > delta:
        root += 1e-12
    return math.exp(root)


@lru_cache(maxsize=1024)
def gaussian_mu(epsilon: float, delta: float) -> float:
    """Largest mu at which mu-Gaussian privacy implies (epsilon, delta)-privacy.

    Noise of deviation sensitivity / mu has it; mechanisms of mu_1, mu_2, ... run on the same records have the
    root of the sum of their squares, exactly.

    Parameters
    ----------
    epsilon : float
        Privacy parameter, > 0.
    delta : float
        Privacy parameter, in (0, 1).

    References
    ----------
    Balle and Wang (2018), theorem 8; Dong, Roth and Su (2022), corollaries 2.13 and 3.3.

    Examples
    --------
    >>> round(gaussian_mu(1.0, 1e-5), 3)
    0.268
    """
    return 1.0 / smallest_noise(lambda noise: gaussian_delta(epsilon, noise), delta)


@lru_cache(maxsize=4096)
def gaussian_epsilon(mu: float, delta: float) -> float:
    """Smallest epsilon at which mu-Gaussian privacy implies (epsilon, delta)-privacy, >= 0.

    Parameters
    ----------
    mu : float
        Parameter of Gaussian privacy, > 0.
    delta : float
        Privacy parameter, in (0, 1).

    References
    ----------
    Balle and Wang (2018), theorem 8; Dong, Roth and Su (2022), corollary 2.13.

    Examples
    --------
    >>> round(gaussian_epsilon(gaussian_mu(1.0, 1e-5), 1e-5), 9)
    1.0
    """

    def excess(epsilon: float) -> float:
        return gaussian_delta(epsilon, 1.0 / mu) - delta

    if excess(0.0) <= 0:
        return 0.0
    # A privacy loss N(mu^2/2, mu^2) exceeds this with probability delta, which is more than its hockey stick.
    most = mu**2 / 2 - mu * float(ndtri(delta))
    root = float(brentq(excess, 0.0, most, xtol=1e-13, rtol=1e-14))
    while excess(root) > 0:
        root = max(root * (1 + 1e-13), root + 1e-14)
    return root


def classical_noise(epsilon: float, delta: float) -> float:
    """Noise over sensitivity by the closed form (1 + sqrt(2 ln 1/delta)) / epsilon.

    Raises
    ------
    ValueError
        If the closed form does not hold at this epsilon and delta: it is sufficient for moderate epsilon
        only, so each use is checked against the exact privacy of the mechanism.
    """
    noise = (1.0 + math.sqrt(2.0 * math.log(1.0 / delta))) / epsilon
    if gaussian_delta(epsilon, noise) > delta:
        raise ValueError(
            f"the Gaussian noise scale of method 'amp' does not give epsilon = {epsilon:.4g} at "
            f"delta = {delta:.4g}; choose a smaller epsilon"
        )
    return noise
