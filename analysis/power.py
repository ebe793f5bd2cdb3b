"""How many replicates a question needs, told from those at hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import integrate, special, stats

from analysis.compare import METRICS, Question, metric_label, replicate_means, sample_at
from analysis.intervals import CONFIDENCE, t_half_width, t_quantile
from analysis.tables import Table, number
from scenarios.errors import InputError
from scenarios.store import Results

#: Confidence of the upper bound of a standard deviation.
SIGMA_CONFIDENCE = 0.9
#: Replicates from which on they are not counted.
MOST = 10**7
#: Level of the tests.
LEVEL = 1 - CONFIDENCE
#: Columns that are numbers of replicates.
COUNTS = ("needed", "needed_upper", "detect", "detect_upper", "detect_holm", "detect_holm_upper")


def relative_half_width(sample: np.ndarray) -> float:
    """Half the width of a mean's 95% t interval, as a share of the absolute mean.

    This is what `--width`, and stopping at a width, are about.

    Parameters
    ----------
    sample : array of float, shape (n,)
        A value a replicate.

    Returns
    -------
    float
        NaN for fewer than two values; infinite for a mean of zero that is not certain.

    Examples
    --------
    >>> round(relative_half_width(np.array([9.0, 10.0, 11.0])), 4)
    0.2484
    """
    return _share(t_half_width(sample), abs(_mean(sample)))


def replicates_needed(sample: np.ndarray, width: float) -> int:
    """Replicates at which the relative half-width of the mean's 95% t interval is expected to be small enough.

    Parameters
    ----------
    sample : array of float, shape (n,)
        A value a replicate, at least two; its mean and standard deviation stand for the true ones.
    width : float
        Largest relative half-width, > 0.

    Returns
    -------
    int
        The smallest n >= 2 with t(n - 1) s / sqrt(n) <= width |mean|; `MOST` if that takes so many or more.

    Raises
    ------
    ValueError
        For fewer than two values.

    Examples
    --------
    >>> replicates_needed(np.array([9.0, 10.0, 11.0]), 0.05)
    18
    """
    if len(sample) < 2:
        raise ValueError(f"found {len(sample)} values; a standard deviation needs two")
    return _for_half_width(_deviation(sample), width * abs(float(np.mean(sample))))


def replicates_for_power(sigma: float, difference: float, power: float, level: float) -> int:
    """Replicates at which a paired t test finds a difference with some probability.

    Parameters
    ----------
    sigma : float
        Standard deviation of the differences between pairs, >= 0.
    difference : float
        Their true mean, not 0.
    power : float
        Probability of finding it, in (0, 1).
    level : float
        Level of the two-sided test.

    Returns
    -------
    int
        At least 2; `MOST` if it takes so many or more.

    Examples
    --------
    >>> replicates_for_power(1.0, 0.5, 0.8, 0.05)
    34
    """
    if sigma == 0:
        return 2
    return _smallest(lambda n: paired_power(abs(difference) / sigma, n, level) >= power)


def paired_power(effect: float, n: int, level: float) -> float:
    """Probability that a two-sided paired t test finds a difference.

    Parameters
    ----------
    effect : float
        Mean of the differences over their standard deviation.
    n : int
        Number of pairs, at least 2.
    level : float
        Level of the test.

    Returns
    -------
    float
        P(|T| > t) for T noncentral t with n - 1 degrees of freedom, by quadrature over the standard deviation found:
        the distribution function in SciPy that statsmodels' TTestPower rests on is NaN for some large effects.

    Examples
    --------
    >>> round(paired_power(0.5, 34, 0.05), 4)
    0.8078
    """
    df, shift = n - 1, effect * math.sqrt(n)
    critical = float(stats.t.isf(level / 2, df))
    log_scale = math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2)

    def found_at(u: float) -> float:
        """Density of the logarithm of the relative standard deviation, times the probability of finding it there."""
        spread = math.exp(u)
        density = math.exp(log_scale + df * (u - spread**2 / 2))
        return density * float(special.ndtr(shift - critical * spread) + special.ndtr(-shift - critical * spread))

    low, high = np.log(stats.chi2.ppf([1e-14, 1 - 1e-14], df) / df) / 2
    edge = min(max(math.log(max(shift, 1) / critical), low), high)  # about where finding turns into missing
    total = sum(integrate.quad(found_at, a, b, limit=200)[0] for a, b in ((low, edge), (edge, high)))
    return min(float(total), 1.0)


def sigma_bound(sample: np.ndarray) -> float:
    """Upper 90% bound of a standard deviation, exact for normal values.

    Parameters
    ----------
    sample : array of float, shape (n,)
        At least two values.
    """
    df = len(sample) - 1
    return float(_deviation(sample) * np.sqrt(df / stats.chi2.ppf(1 - SIGMA_CONFIDENCE, df)))


@dataclass(frozen=True)
class Goal:
    """What the replicates are to show.

    Attributes
    ----------
    width : float
        Half-width that 95% t intervals are to have, > 0.
    difference : float, optional
        A difference to the baseline that is to be found, > 0.
    power : float
        With what probability.
    absolute : bool
        Whether both are in the metric's unit; else they are shares of the absolute mean, for differences of the
        baseline's.
    """

    width: float
    difference: float | None = None
    power: float = 0.8
    absolute: bool = False


def power_analysis(results: Results, asked: Question, goal: Goal) -> pd.DataFrame:
    """Replicates that intervals of some width and tests of some power need, from those at hand as a pilot.

    The pilot's standard deviations are uncertain themselves: numbers ending in `_upper` are found with their upper 90%
    bounds (chi-square, exact for normal values). Differences are paired by replicate. Shares are of the absolute mean,
    for differences of the baseline's, since a difference may be near zero.

    Returns
    -------
    DataFrame
        One row a metric, value and kind, "mean" or "difference" (to the baseline): `metric`, `level`, `kind`,
        `replicates` (of the pilot), `estimate`, `sd`, `sd_upper`, `half_width` (of the t interval now),
        `relative_half_width`, `needed`, `needed_upper` (replicates for the width), and for differences the replicates
        that find `goal.difference` by a two-sided paired t test at 5%, `detect`, `detect_upper`, and at 5% over the
        number of comparisons, the strictest level of Holm's procedure, `detect_holm`, `detect_holm_upper`. Replicates
        stop at `MOST`; they are None where the pilot has no standard deviation or nothing is asked.

    Raises
    ------
    InputError
        If no value has two replicates.

    References
    ----------
    Hahn, G. J. and Meeker, W. Q. (1991). Statistical Intervals. Wiley, chapters 4 (bounds) and 8 (sample sizes).
    """
    rows = []
    for metric, means in replicate_means(results, asked.by or None, asked.metrics).items():
        base = _mean(sample_at(means, asked.baseline))
        for value in asked.levels:
            sample = sample_at(means, value)
            row = {"metric": metric, "level": value, "kind": "mean"}
            rows.append(row | _needs(sample, _mean(sample), goal, None))
            if value != asked.baseline:
                pairs = sample_at(means, value, asked.baseline)
                rows.append(row | {"kind": "difference"} | _needs(pairs, base, goal, len(asked.levels) - 1))
    if all(row["replicates"] < 2 for row in rows):
        raise InputError(
            f"results: found fewer than two replicates with {' or '.join(asked.metrics)}; their spread needs two"
        )
    # A column of whole numbers with gaps would become one of floats.
    counts = {name: pd.Series([row[name] for row in rows], dtype=object) for name in COUNTS}
    return pd.DataFrame(rows).assign(**counts)


def _needs(sample: np.ndarray, mean: float, goal: Goal, comparisons: int | None) -> dict[str, Any]:
    """Columns of one row; `mean` is what shares are of, `comparisons` the number of differences of its family."""
    half = t_half_width(sample)
    row: dict[str, Any] = {"replicates": len(sample), "estimate": _mean(sample)}
    row |= {"sd": math.nan, "sd_upper": math.nan, "half_width": half}
    row |= {"relative_half_width": _share(half, abs(mean)), **dict.fromkeys(COUNTS)}
    if len(sample) < 2:
        return row
    row |= {"sd": _deviation(sample), "sd_upper": sigma_bound(sample)}
    scale = 1.0 if goal.absolute else abs(mean)
    for suffix in ("", "_upper"):
        sigma = row[f"sd{suffix}"]
        row[f"needed{suffix}"] = _for_half_width(sigma, goal.width * scale)
        if goal.difference is not None and comparisons is not None:
            for name, level in (("detect", LEVEL), ("detect_holm", LEVEL / comparisons)):
                row[name + suffix] = replicates_for_power(sigma, goal.difference * scale, goal.power, level)
    return row


def power_tables(needs: pd.DataFrame, asked: Question, goal: Goal) -> list[Table]:
    """The tables of a power analysis: of each metric the means, and the differences to the baseline.

    Parameters
    ----------
    needs : DataFrame
        From `power_analysis`.
    asked : Question
        What was compared.
    goal : Goal
        What the replicates are to show.
    """
    tables = []
    for (metric, kind), rows in needs.groupby(["metric", "kind"], sort=False):
        heading = metric_label(str(metric))
        if kind == "difference":
            heading = f"{METRICS.get(str(metric), (str(metric), ''))[0]}, difference to {asked.baseline}"
        cells = {
            asked.label: rows["level"].astype(str),
            heading: rows["estimate"].map(number),
            "standard deviation": rows["sd"].map(number),
            "half-width now": [
                number(half) + (f" ({share:.1%})" if math.isfinite(share) else "")
                for half, share in zip(rows["half_width"], rows["relative_half_width"], strict=True)
            ],
            "replicates": rows["replicates"],
            f"needed for {_size(goal.width, goal)}": _counts(rows, "needed"),
        }
        if kind == "difference" and goal.difference is not None:
            cells[f"to find {_size(goal.difference, goal)}"] = _counts(rows, "detect")
            cells["with Holm"] = _counts(rows, "detect_holm")
        tables.append(Table(pd.DataFrame(cells), _notes(asked, goal)))
    return tables


def _notes(asked: Question, goal: Goal) -> tuple[str, ...]:
    of = "in the metric's unit" if goal.absolute else "as a share of the absolute mean"
    several = len(asked.levels) > 1
    notes = [
        f"Needed: replicates for 95% t intervals of half-width {_size(goal.width, goal)} or less, {of}"
        + (f" (for differences, of that of {asked.baseline})." if several and not goal.absolute else "."),
        "In parentheses: the same if standard deviations are at their upper 90% bounds. Differences are paired.",
    ]
    if goal.difference is not None and several:
        notes.append(
            f"To find a difference of {_size(goal.difference, goal)} with a probability of {goal.power:.0%} by a "
            "paired t test at 5%; with Holm: whatever the other comparisons of the metric with the baseline show."
        )
    return (*notes, "More replicates are added by: dealer run SCENARIO --set replicates=N")


def _size(value: float, goal: Goal) -> str:
    return f"{value:g}" if goal.absolute else f"{100 * value:g}%"


def _counts(rows: pd.DataFrame, name: str) -> list[str]:
    def shown(count: int | None) -> str:
        return "-" if count is None else f"{MOST:,} or more" if count >= MOST else f"{count:,}"

    pairs = zip(rows[name], rows[f"{name}_upper"], strict=True)
    return [shown(count) + (f" ({shown(upper)})" if upper is not None else "") for count, upper in pairs]


def _mean(sample: np.ndarray) -> float:
    return float(np.mean(sample)) if len(sample) else math.nan


def _deviation(sample: np.ndarray) -> float:
    """Standard deviation; equal values have none, whatever rounding makes of their mean."""
    return float(np.std(sample, ddof=1)) if np.ptp(sample) else 0.0


def _share(half: float, mean: float) -> float:
    if half == 0 or math.isnan(half):
        return half
    return half / mean if mean else math.inf


def _for_half_width(sigma: float, half: float) -> int:
    """Smallest number of replicates whose t interval is expected to be as narrow as `half` on either side."""
    return _smallest(lambda n: t_quantile(n) * sigma / math.sqrt(n) <= half)


def _smallest(enough: Callable[[int], bool]) -> int:
    """Smallest n from 2 to `MOST` that is enough, if all above it are as well."""
    low, high = 1, 2
    while high < MOST and not enough(high):
        low, high = high, min(2 * high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
