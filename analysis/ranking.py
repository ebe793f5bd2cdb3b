"""Ranking the values of a swept parameter, with what the replicates say about the order."""

from __future__ import annotations

import itertools
import string

import numpy as np
import pandas as pd
from scipy import stats

from analysis.compare import Question, metric_label, replicate_means
from analysis.intervals import CONFIDENCE, MIN_BOOTSTRAP, RESAMPLES, holm, paired_p_value, t_half_width
from analysis.tables import Table, interval, p_value
from scenarios.errors import InputError
from scenarios.store import Results
from simulator.streams import Streams

#: Resamples that are ranked at a time.
BLOCK = 1000


def rank(results: Results, asked: Question, *, lower_is_better: bool = False) -> pd.DataFrame:
    """Values of a parameter from the best to the worst by the mean of a metric, and how sure that order is.

    The sample are the replicates in which the metric is known at every value: a replicate's values share owners,
    buyers and noise, so it is taken as a whole or not at all.

    - Two values are told apart if the paired t test of their difference has p < 0.05 after Holm's correction for
      all pairs of values. Values that share a letter are not told apart; values that share none are.
    - The bootstrap draws whole replicates with replacement and ranks the means of each draw. The rank interval
      holds the middle 95% of a value's ranks, from the better of tied ranks to the worse; the probability of being
      best is the share of draws in which it leads, ties shared. Where values are truly equal, the interval
      describes their order in these replicates and need not hold their common rank's whole range in 95% of studies.

    Parameters
    ----------
    results : Results
        An experiment.
    asked : Question
        The parameter and its values, and metrics of the rounds table. The baseline has no part in it.
    lower_is_better : bool
        Whether the smallest mean comes first.

    Returns
    -------
    DataFrame
        One row a metric and value, the best first: `metric`, `rank` (ties get the better rank), `level`, `replicates`,
        `mean`, `low`, `high` (t interval), `letters`, `p_best` (p-value of its difference to the first row, corrected
        for all pairs), `rank_low`, `rank_high` and `probability_best` (NaN with fewer than eight replicates).

    Raises
    ------
    InputError
        If fewer than two values, or fewer than two replicates, can be ranked.

    References
    ----------
    Piepho, H.-P. (2004). An algorithm for a letter-based representation of all-pairwise comparisons. Journal of
    Computational and Graphical Statistics 13(2). Hall, P. and Miller, H. (2009). Using the bootstrap to quantify the
    authority of an empirical ranking. The Annals of Statistics 37(6B). Holm, S. (1979), see `analysis.intervals.holm`.
    """
    means = replicate_means(results, asked.by, asked.metrics)
    streams = Streams(results.experiment.seed)
    return pd.concat(
        [
            _ranking(wide.reindex(columns=list(asked.levels)), asked, metric, streams, -1 if lower_is_better else 1)
            for metric, wide in means.items()
        ],
        ignore_index=True,
    )


def _ranking(wide: pd.DataFrame, asked: Question, metric: str, streams: Streams, sign: int) -> pd.DataFrame:
    """Rows of one metric; `wide` has a row a replicate and a column a value."""
    if len(asked.levels) < 2:
        raise InputError(f"--by: found {asked.by!r} with one value; allowed are parameters with several")
    unknown = [value for value in asked.levels if wide[value].isna().all()]
    if unknown:
        raise InputError(f"--metric: found {metric!r}, which no replicate has at {asked.by} = {unknown[0]}")
    whole = wide.dropna()
    if len(whole) < 2:
        raise InputError(
            f"--metric: found {metric!r} at all values of {asked.by} in {len(whole)} of {len(wide)} replicates; "
            "a ranking needs two"
        )
    order = np.argsort(-sign * whole.to_numpy().mean(axis=0), kind="stable")
    samples, levels = whole.to_numpy()[:, order], whole.columns[order]
    pairs = list(itertools.combinations(range(len(levels)), 2))
    p_values = holm(np.array([paired_p_value(samples[:, a] - samples[:, b]) for a, b in pairs]))
    different = [pair for pair, p in zip(pairs, p_values, strict=True) if p < 1 - CONFIDENCE]
    low, high, best = bootstrap_ranks(sign * samples, streams.generator("bootstrap", segment=f"ranks {metric}"))
    mean, half = samples.mean(axis=0), np.array([t_half_width(sample) for sample in samples.T])
    return pd.DataFrame(
        {
            "metric": metric,
            "rank": stats.rankdata(-sign * mean, method="min").astype(int),
            "level": levels,
            "replicates": len(samples),
            "mean": mean,
            "low": mean - half,
            "high": mean + half,
            "letters": letters(len(levels), different),
            "p_best": [np.nan, *p_values[: len(levels) - 1]],
            "rank_low": low,
            "rank_high": high,
            "probability_best": best,
        }
    )


def bootstrap_ranks(samples: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranks of means over resampled replicates; the largest mean has rank 1.

    Parameters
    ----------
    samples : array of float, shape (n, k)
        A row a replicate, a column a value of the parameter. Rows are drawn whole, so that pairing is kept.
    rng : Generator
        For the draws.

    Returns
    -------
    low, high : array of float, shape (k,)
        The middle 95% of each column's ranks.
    best : array of float, shape (k,)
        Shares of the draws in which the column leads. All NaN for fewer than eight replicates.

    References
    ----------
    Hall and Miller (2009), see `rank`.
    """
    n, k = samples.shape
    if n < MIN_BOOTSTRAP:
        return (np.full(k, np.nan),) * 3
    # Means that differ by rounding alone are tied.
    scale = np.abs(samples).max() or 1.0
    better, worse, best = [], [], np.zeros(k)
    for start in range(0, RESAMPLES, BLOCK):
        draws = rng.multinomial(n, np.full(n, 1 / n), size=min(BLOCK, RESAMPLES - start))
        means = np.round(draws @ samples / (n * scale), 12)
        own, others = means[:, :, None], means[:, None, :]
        better.append(1 + (others > own).sum(axis=2))  # ties have the better rank here...
        worse.append(k - (others < own).sum(axis=2))  # ...and the worse one here
        leads = better[-1] == 1
        best += (leads / leads.sum(axis=1, keepdims=True)).sum(axis=0)
    tail = (1 - CONFIDENCE) / 2
    low = np.quantile(np.concatenate(better), tail, axis=0, method="inverted_cdf")
    high = np.quantile(np.concatenate(worse), 1 - tail, axis=0, method="inverted_cdf")
    return low, high, best / RESAMPLES


def letters(count: int, different: list[tuple[int, int]]) -> list[str]:
    """Compact letter display: values share a letter exactly if they are not told apart.

    Parameters
    ----------
    count : int
        Number of values, the best first.
    different : list of (int, int)
        Pairs that are told apart.

    Returns
    -------
    list of str
        Letters of each value; "a" is of the best one's group.

    References
    ----------
    Piepho (2004), see `rank`: insert and absorb.

    Examples
    --------
    >>> letters(3, [(0, 2)])
    ['a', 'ab', 'b']
    """
    groups = [frozenset(range(count))]
    for pair in different:
        split = [group - {one} for group in groups if group.issuperset(pair) for one in pair]
        groups = [group for group in groups if not group.issuperset(pair)]
        for group in sorted(split, key=len, reverse=True):
            if not any(group <= other for other in groups):  # one that lies within another says nothing new
                groups.append(group)
    groups.sort(key=sorted)
    # Beyond the alphabet groups are numbered.
    names = [*string.ascii_lowercase[: len(groups)], *(f"({n})" for n in range(27, len(groups) + 1))]
    return ["".join(name for name, group in zip(names, groups, strict=True) if i in group) for i in range(count)]


def ranking_tables(ranking: pd.DataFrame, asked: Question, replicates: int) -> list[Table]:
    """The tables of a ranking, one a metric.

    Parameters
    ----------
    ranking : DataFrame
        From `rank`.
    asked : Question
        What was ranked.
    replicates : int
        Replicates that the experiment has.
    """
    tables = []
    for metric, rows in ranking.groupby("metric", sort=False):
        used = int(rows["replicates"].iloc[0])
        cells = pd.DataFrame(
            {
                asked.label: rows["level"].astype(str),
                "rank": rows["rank"],
                metric_label(str(metric)): list(map(interval, rows["mean"], rows["low"], rows["high"])),
                "group": rows["letters"],
                "p to first (Holm)": list(map(p_value, rows["p_best"])),
                "rank interval": [
                    "-" if np.isnan(low) else f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
                    for low, high in zip(rows["rank_low"], rows["rank_high"], strict=True)
                ],
                "P(best)": ["-" if np.isnan(p) else f"{p:.3f}" for p in rows["probability_best"]],
            }
        )
        left_out = replicates - used
        notes = (
            f"Over {used} replicates"
            + (f"; {left_out} are left out, in which a run is missing or the metric undefined." if left_out else ".")
            + " Mean over rounds and replicates [95% t interval].",
            "Values that share a letter are not told apart by paired t tests at 5%, corrected by Holm for all pairs.",
            f"Rank interval (95%) and P(best): bootstrap of whole replicates, {RESAMPLES} resamples."
            if used >= MIN_BOOTSTRAP
            else f"With fewer than {MIN_BOOTSTRAP} replicates ranks are not bootstrapped.",
        )
        tables.append(Table(cells, notes))
    return tables
