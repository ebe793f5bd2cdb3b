"""Comparing the values of a swept parameter, paired over replicates."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.intervals import estimate, holm, paired_p_value
from scenarios.design import shown_levels
from scenarios.errors import InputError
from scenarios.experiment import DEFAULT_METRICS
from scenarios.store import Results
from simulator.log import ROUND_METRICS
from simulator.streams import Streams

#: The value that stands for all runs where nothing is compared.
ALL = "all runs"

#: Metrics as a reader knows them: name -> (label, unit).
METRICS = {
    "owners_taking_part": ("Owners taking part", "owners"),
    "answers": ("Answers to the survey", "answers per round"),
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
    "monopoly_revenue": ("Monopoly revenue", "money per round"),
    "perfect_revenue": ("Revenue of perfect discrimination", "money per round"),
    "hindsight_revenue": ("Revenue of the best list in hindsight", "money per round"),
    "regret": ("Regret against the best list in hindsight", "money per round"),
    "revenue_to_monopoly": ("Revenue over monopoly", "ratio"),
    "revenue_to_perfect": ("Revenue over perfect discrimination", "ratio"),
    "sales": ("Versions sold", "sales per round"),
    "buyers_present": ("Buyers in the market", "buyers"),
    "sell_through": ("Sell-through", "share of buyers present"),
    "versions_on_sale": ("Versions for sale", "versions"),
    "price_mean": ("Mean price", "money per copy"),
    "brokers_active": ("Brokers in business", "brokers"),
    "commission": ("Commission", "share of revenue"),
    "markup": ("Brokers' margin", "share of revenue"),
    "concentration": ("Concentration", "HHI, up to 1"),
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
    "entries": ("Owners entering", "owners per round"),
    "exits": ("Owners leaving", "owners per round"),
    "owners_spent": ("Owners out of privacy budget", "owners"),
    "arbitrage_available": ("Largest saving of a bundle", "money per copy"),
    "arbitrage_taken": ("Money saved by bundles", "money per round"),
    "leakage": ("Privacy lost through others", "money per round"),
    "misreport_gain_mean": ("Gain of the best misreport, mean", "money per round"),
    "misreport_gain_max": ("Gain of the best misreport, largest", "money per round"),
    "misreport_relative_mean": ("Gain of the best misreport, mean", "share of the owner's cost"),
    "misreport_relative_max": ("Gain of the best misreport, largest", "share of the owner's cost"),
    "misreport_gainers": ("Owners who gain by a misreport", "share of owners sampled"),
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
    together : tuple of str
        Lists that are zipped with the parameter, which change with it.
    """

    by: str
    levels: tuple[str | float | int, ...]
    baseline: str | float | int
    metrics: tuple[str, ...]
    together: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name of the parameter for a figure."""
        return parameter_label(self.by)


def parameter_label(name: str) -> str:
    """Name of a swept parameter for a figure: without the section, segments and distributions named."""
    return name.partition(".")[2].replace("_", " ").replace(".", " ") or name


def metric_label(metric: str) -> str:
    """Name of a metric for a figure, with its unit."""
    label, unit = METRICS.get(metric, (metric, ""))
    return f"{label} ({unit})" if unit else label


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
        elif len(experiment.levels) == 1:
            by = next(iter(experiment.levels))
        else:
            raise InputError(f"--by is missing; name one of the swept lists: {swept}")
    if by in experiment.sweep and by not in experiment.levels:
        raise InputError(f"--by: found {by!r}, which is a range; allowed are the swept lists: {swept}")
    if by not in experiment.levels:
        raise InputError(f"--by: found {by!r}; allowed are the swept lists: {swept}")
    # By the scenario, as the plan has values last that were added last.
    shown = shown_levels(experiment.levels[by])
    levels = tuple(dict.fromkeys(shown))  # a list that is zipped with others may hold a value twice
    if baseline is not None:
        position = _position(baseline, levels)
        if position is None:
            raise InputError(f"--baseline: found {baseline!r}; allowed are {', '.join(map(str, levels))}")
    elif scenario is not None and scenario.by == by:
        position = levels.index(shown[experiment.levels[by].index(scenario.baseline)])
    else:
        position = 0
    group = next((group for group in experiment.design.zip if by in group), ())
    together = tuple(name for name in group if name != by)
    return Question(by, levels, levels[position], check_metrics(results, metrics), together)


def zipped_note(name: str, together: Sequence[str]) -> str:
    """A sentence on lists that change with a parameter, and to which its differences may be due."""
    return f"{name} is zipped with {' and '.join(together)}: differences between its values may be due to either."


def check_metrics(results: Results, metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Metrics as asked for, else the scenario's.

    Raises
    ------
    InputError
        If one is not measured.
    """
    scenario = results.experiment.comparison
    chosen = metrics or (scenario.metrics if scenario is not None else DEFAULT_METRICS)
    for metric in chosen:
        if metric not in ROUND_METRICS:
            raise InputError(f"--metric: found {metric!r}; allowed are {', '.join(ROUND_METRICS)}")
    return tuple(dict.fromkeys(chosen))


def compare(results: Results, asked: Question) -> pd.DataFrame:
    """Mean of each metric at each value of a parameter, and the paired difference to the baseline.

    Differences are taken run by run within a replicate, where everything but the parameter is the same, owners,
    buyers and noise included (see `replicate_means`).

    Returns
    -------
    DataFrame
        One row a metric and value: `metric`, `level`, `lists` (what kinds of price list were posted, with their
        shares of the rounds if there are several), `replicates`, `mean`, `low`, `high` (t interval),
        `boot_low`, `boot_high` (bootstrap, BCa), and for the differences to the baseline `pairs`,
        `difference`, `difference_low`, `difference_high`, `difference_boot_low`, `difference_boot_high`,
        `p_value` (paired t test) and `p_holm` (the same, corrected by Holm's procedure for the comparisons of
        this metric with the baseline). Intervals are of 95%, and NaN where there are fewer than two
        replicates, the bootstrap's fewer than eight.
    """
    rounds = results.table("rounds")
    streams = Streams(results.experiment.seed)
    lists = {value: _lists(rounds.loc[rounds[asked.by] == value, "list_kind"]) for value in asked.levels}
    means = replicate_means(results, asked.by, asked.metrics)
    rows = []
    for metric, wide in means.items():
        of_metric = []
        for value in asked.levels:
            rng = streams.generator("bootstrap", segment=f"{metric} {value}")
            sample = sample_at(wide, value)
            pairs = np.empty(0) if value == asked.baseline else sample_at(wide, value, asked.baseline)
            row: dict[str, Any] = {"metric": metric, "level": value, "lists": lists[value], "replicates": len(sample)}
            row |= dict(zip(("mean", "low", "high", "boot_low", "boot_high"), estimate(sample, rng), strict=True))
            row["pairs"] = len(pairs)
            names = ("", "_low", "_high", "_boot_low", "_boot_high")
            row |= {f"difference{n}": x for n, x in zip(names, estimate(pairs, rng), strict=True)}
            of_metric.append(row | {"p_value": paired_p_value(pairs)})
        corrected = holm(np.array([row["p_value"] for row in of_metric]))
        rows += [row | {"p_holm": p} for row, p in zip(of_metric, corrected.tolist(), strict=True)]
    return pd.DataFrame(rows)


def run_means(results: Results, metrics: tuple[str, ...]) -> pd.DataFrame:
    """Metrics of the runs done: means over rounds, of the rounds where they are defined.

    Returns
    -------
    DataFrame
        Columns `run`, `point`, `replicate`, the swept parameters and the metrics; one row a run.
    """
    rounds = results.table("rounds")
    keys = ["run", "point", "replicate", *results.experiment.sweep]
    return rounds.groupby(keys, sort=False)[list(metrics)].mean().reset_index()


def replicate_means(results: Results, by: str | None, metrics: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Each metric's mean in every replicate at each value of a parameter; without one, over `ALL` runs.

    Runs of one replicate that differ in other swept parameters, lists or ranges, are averaged, so that replicates,
    which are independent, are the sample. Every value meets the same other parameters (but for lists zipped with this
    one), so differences of these means are the means of the differences between paired runs.

    Returns
    -------
    dict of str to DataFrame
        For each metric a row a replicate, a column a value of the parameter; NaN where one of the runs that would
        be averaged is missing or undefined. Values that have no finished run are left out.
    """
    plan, done = results.plan, run_means(results, metrics)
    if by is None:
        by, plan, done = "runs", plan.assign(runs=ALL), done.assign(runs=ALL)
    planned = plan.groupby(["replicate", by], sort=False).size()
    runs = done.groupby(["replicate", by], sort=False)
    found = {}
    for metric in metrics:
        defined = runs[metric].count()
        found[metric] = runs[metric].mean().where(defined == planned[defined.index]).unstack(by)  # noqa: PD010
    return found


def sample_at(means: pd.DataFrame, value: Any, baseline: Any = None) -> np.ndarray:
    """Replicates' means at a value, or their differences to those at the baseline; undefined ones left out."""
    if value not in means or (baseline is not None and baseline not in means):
        return np.empty(0)
    column = means[value] if baseline is None else means[value] - means[baseline]
    return column.dropna().to_numpy()


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
