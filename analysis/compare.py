"""Comparing the values of a swept parameter, paired over replicates."""

from __future__ import annotations

import contextlib
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from scenarios.design import level
from scenarios.errors import InputError
from scenarios.experiment import DEFAULT_METRICS
from scenarios.store import Results
from simulator.log import ROUND_METRICS
from simulator.streams import Streams

#: Coverage of the intervals.
CONFIDENCE = 0.95
#: Resamples of a bootstrap interval.
RESAMPLES = 9999
#: Replicates below which resampling them says little.
MIN_BOOTSTRAP = 8

#: Metrics as a reader knows them: name -> (label, unit).
METRICS = {
    "revenue": ("Revenue", "money per round"),
    "expected_revenue": ("Revenue expected from the survey", "money per round"),
    "prediction_error": ("Revenue beyond the survey's prediction", "share of what was expected"),
    "payouts": ("Payouts to owners", "money per round"),
    "broker_profit": ("Broker's profit", "money per round"),
    "buyer_surplus": ("Buyers' surplus", "money per round"),
    "owner_surplus": ("Owners' surplus", "money per round"),
    "welfare": ("Welfare", "money per round"),
    "first_best": ("First-best welfare", "money per round"),
    "deadweight_loss": ("Deadweight loss", "money per round"),
    "efficiency": ("Efficiency", "share of first-best welfare"),
    "allocative_efficiency": ("Allocative efficiency", "share of attainable worth"),
    "hindsight_revenue": ("Revenue of the best list in hindsight", "money per round"),
    "regret": ("Regret against the best list in hindsight", "money per round"),
    "revenue_to_monopoly": ("Revenue over monopoly", "ratio"),
    "revenue_to_perfect": ("Revenue over perfect discrimination", "ratio"),
    "buyers_present": ("Buyers in the market", "buyers"),
    "sell_through": ("Sell-through", "share of buyers present"),
    "versions_on_sale": ("Versions for sale", "versions"),
    "data_cost": ("Compensation asked", "money per round"),
    "gini_paid": ("Gini of payouts, owners paid", "0 to 1"),
    "gini_all": ("Gini of payouts, all owners", "0 to 1"),
    "ir_violations": ("Owners paid less than asked", "share of owners bought"),
    "epsilon_mean": ("Privacy spent, mean", "eps per round"),
    "epsilon_max": ("Privacy spent, largest", "eps per round"),
    "epsilon_total_mean": ("Privacy spent so far, mean", "eps, summed"),
    "epsilon_total_max": ("Privacy spent so far, largest", "eps, summed"),
    "epsilon_composed_mean": ("Privacy spent so far, mean", "eps, composed exactly where Gaussian"),
    "epsilon_composed_max": ("Privacy spent so far, largest", "eps, composed exactly where Gaussian"),
    "owners_spent": ("Owners out of privacy budget", "owners"),
    "arbitrage_available": ("Largest saving of a bundle", "money per copy"),
    "arbitrage_taken": ("Money saved by bundles", "money per round"),
    "pricing_fallback": ("Lists fallen back on", "share of rounds"),
}


@dataclass(frozen=True)
class Question:
    """What is compared with what.

    Attributes
    ----------
    by : str
        Swept parameter.
    levels : tuple
        Its values, in the order of the sweep.
    baseline : str or number
        The value that the others are compared with.
    metrics : tuple of str
        Columns of the rounds table.
    """

    by: str
    levels: tuple[str | float | int, ...]
    baseline: str | float | int
    metrics: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name of the parameter for a figure: without the section, segments and distributions named."""
        return self.by.partition(".")[2].replace("_", " ").replace(".", " ") or self.by


def question(
    results: Results, by: str | None = None, baseline: str | None = None, metrics: tuple[str, ...] = ()
) -> Question:
    """What to compare: as asked, else as the scenario says, else the only swept parameter and its first value.

    Raises
    ------
    InputError
        If a parameter was not swept, the baseline is none of its values, or a metric is not measured.
    """
    experiment = results.experiment
    scenario = experiment.comparison
    swept = ", ".join(experiment.levels) or "none"
    if by is None:
        if scenario is not None:
            by = scenario.by
        elif len(experiment.sweep) == 1:
            by = next(iter(experiment.sweep))
        else:
            raise InputError(f"--by is missing; name one of the swept parameters: {swept}")
    if by not in experiment.levels:
        raise InputError(f"--by: found {by!r}; allowed are the swept parameters: {swept}")
    levels = tuple(dict.fromkeys(results.plan.sort_values("point")[by].tolist()))
    swept_values = [level(value) for value in experiment.levels[by]]
    if baseline is not None:
        position = _position(baseline, levels)
        if position is None:
            raise InputError(f"--baseline: found {baseline!r}; allowed are {', '.join(map(str, levels))}")
    elif scenario is not None and scenario.by == by:
        position = swept_values.index(level(scenario.baseline))
    else:
        position = 0
    chosen = metrics or (scenario.metrics if scenario is not None else DEFAULT_METRICS)
    for metric in chosen:
        if metric not in ROUND_METRICS:
            raise InputError(f"--metric: found {metric!r}; allowed are {', '.join(ROUND_METRICS)}")
    return Question(by, levels, levels[position], tuple(chosen))


def compare(results: Results, asked: Question) -> pd.DataFrame:
    """Mean of each metric at each value of a parameter, and the paired difference to the baseline.

    A run's metric is its mean over rounds (rounds where it is undefined left out). Runs of one replicate
    that differ in other swept parameters are averaged first, so that replicates, which are independent, are
    the sample; a replicate in which one of those runs is missing or undefined is left out. Differences are
    taken run by run within a replicate, where everything but the parameter is the same, owners, buyers and
    noise included.

    Returns
    -------
    DataFrame
        One row a metric and value: `metric`, `level`, `lists` (what kinds of price list were posted, with their
        shares of the rounds if there are several), `replicates`, `mean`, `low`, `high` (t interval),
        `boot_low`, `boot_high` (bootstrap, BCa), and for the differences to the baseline `pairs`,
        `difference`, `difference_low`, `difference_high`, `difference_boot_low`, `difference_boot_high` and
        `p_value` (paired t test). Intervals are of 95%, and NaN where there are fewer than two
        replicates, the bootstrap's fewer than eight.
    """
    by, baseline, metrics = asked.by, asked.baseline, asked.metrics
    rounds = results.table("rounds")
    others = [key for key in results.experiment.levels if key != by]
    cells = math.prod(len(results.experiment.levels[key]) for key in others)
    runs = rounds.groupby(["replicate", *others, by], sort=False)[list(metrics)].mean()
    streams = Streams(results.experiment.seed)
    lists = {value: _lists(rounds.loc[rounds[by] == value, "list_kind"]) for value in asked.levels}
    rows = []
    for metric in metrics:
        wide = runs[metric].unstack(by)  # noqa: PD010  # pivot_table would average and drop
        for value in asked.levels:
            rng = streams.generator("bootstrap", segment=f"{metric} {value}")
            sample = _by_replicate(wide[value], cells) if value in wide else np.empty(0)
            compared = value != baseline and value in wide and baseline in wide
            pairs = _by_replicate(wide[value] - wide[baseline], cells) if compared else np.empty(0)
            row: dict[str, Any] = {"metric": metric, "level": value, "lists": lists[value], "replicates": len(sample)}
            row |= dict(zip(("mean", "low", "high", "boot_low", "boot_high"), _estimate(sample, rng), strict=True))
            row["pairs"] = len(pairs)
            names = ("", "_low", "_high", "_boot_low", "_boot_high")
            row |= {f"difference{n}": x for n, x in zip(names, _estimate(pairs, rng), strict=True)}
            rows.append(row | {"p_value": _p_value(pairs)})
    return pd.DataFrame(rows)


def _lists(kinds: pd.Series) -> str:
    """Kinds of price list, the most frequent first, with their shares if there are several."""
    shares = kinds.value_counts(normalize=True)
    if len(shares) < 2:
        return str(shares.index[0]) if len(shares) else "-"
    return ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items())


def _position(text: str, levels: tuple[str | float | int, ...]) -> int | None:
    """Place of the level that a text names, numbers by their value."""
    for position, value in enumerate(levels):
        with contextlib.suppress(ValueError):
            if str(value) == text or (not isinstance(value, str) and float(text) == value):
                return position
    return None


def _by_replicate(values: pd.Series, cells: int) -> np.ndarray:
    """Means over the other swept parameters, of the replicates in which none of their `cells` is missing."""
    replicates = values.dropna().groupby(level="replicate")
    return replicates.mean()[replicates.size() == cells].to_numpy()


def _estimate(sample: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float, float, float]:
    """Mean, t interval and bootstrap interval of independent values."""
    if len(sample) == 0:
        return (np.nan,) * 5
    mean = float(sample.mean())
    if len(sample) == 1:
        return mean, np.nan, np.nan, np.nan, np.nan
    if np.ptp(sample) == 0:
        return (mean,) * 5
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(sample) - 1) * stats.sem(sample))
    if len(sample) < MIN_BOOTSTRAP:
        return mean, mean - half, mean + half, np.nan, np.nan
    with warnings.catch_warnings():
        # Nearly constant samples have no BCa interval; it comes back as NaN.
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = stats.bootstrap(
            (sample,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="BCa", rng=rng
        ).confidence_interval
    return mean, mean - half, mean + half, float(interval.low), float(interval.high)


def _p_value(differences: np.ndarray) -> float:
    if len(differences) < 2:
        return np.nan
    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    t = differences.mean() / stats.sem(differences)
    return float(2 * stats.t.sf(abs(t), len(differences) - 1))
