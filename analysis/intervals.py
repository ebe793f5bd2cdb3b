"""Intervals and tests of means over replicates, which are independent."""

from __future__ import annotations

import math
import warnings

import numpy as np
from scipy import special, stats

#: Coverage of the intervals.
CONFIDENCE = 0.95
#: Resamples of a bootstrap interval.
RESAMPLES = 9999
#: Replicates below which resampling them says little.
MIN_BOOTSTRAP = 8


def t_half_width(sample: np.ndarray) -> float:
    """Half the width of the t interval of a mean.

    Parameters
    ----------
    sample : array of float, shape (n,)
        Independent values.

    Returns
    -------
    float
        In the sample's unit; NaN for fewer than two values, 0 for equal ones.
    """
    if len(sample) < 2:
        return np.nan
    if np.ptp(sample) == 0:
        return 0.0
    return t_quantile(len(sample)) * _standard_error(sample)


def t_quantile(n: int) -> float:
    """Standard errors on either side of a mean of n values that its t interval holds."""
    return float(special.stdtrit(n - 1, 0.5 + CONFIDENCE / 2))


def _standard_error(sample: np.ndarray) -> float:
    return float(np.std(sample, ddof=1)) / math.sqrt(len(sample))


def estimate(sample: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float, float, float]:
    """Mean, t interval and bootstrap interval (BCa) of independent values.

    Parameters
    ----------
    sample : array of float, shape (n,)
        The values.
    rng : Generator
        For the bootstrap's resamples.

    Returns
    -------
    tuple of float
        Mean, ends of the t interval, ends of the bootstrap interval; NaN where there are too few values.

    References
    ----------
    Efron, B. (1987). Better bootstrap confidence intervals. Journal of the American Statistical Association 82(397).
    """
    if len(sample) == 0:
        return (np.nan,) * 5
    mean = float(sample.mean())
    if len(sample) == 1:
        return mean, np.nan, np.nan, np.nan, np.nan
    if np.ptp(sample) == 0:
        return (mean,) * 5
    half = t_half_width(sample)
    if len(sample) < MIN_BOOTSTRAP:
        return mean, mean - half, mean + half, np.nan, np.nan
    with warnings.catch_warnings():
        # Nearly constant samples have no BCa interval; it comes back as NaN.
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = stats.bootstrap(
            (sample,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="BCa", rng=rng
        ).confidence_interval
    return mean, mean - half, mean + half, float(interval.low), float(interval.high)


def paired_p_value(differences: np.ndarray) -> float:
    """p-value of the paired t test that differences are zero on average; NaN for fewer than two.

    Parameters
    ----------
    differences : array of float, shape (n,)
        A difference a replicate.
    """
    if len(differences) < 2:
        return np.nan
    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    t = abs(differences.mean()) / _standard_error(differences)
    return float(2 * special.stdtr(len(differences) - 1, -t))


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values corrected for being several, so that the risk of any false finding among them stays at its level.

    Parameters
    ----------
    p_values : array of float, shape (n,)
        p-values of one family of tests, of whatever dependence; NaN where a test could not be made.

    Returns
    -------
    array of float, shape (n,)
        Each is to be read against the level of the whole family; NaN stays, and counts as no test.

    References
    ----------
    Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6(2).

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    # statsmodels has this too, but takes a second to import and collects garbage at every call.
    corrected = np.full(len(p_values), np.nan)
    made = np.flatnonzero(~np.isnan(p_values))
    order = made[np.argsort(p_values[made], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected
