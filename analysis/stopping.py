"""Adding replicates until an interval is narrow enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analysis.compare import ALL, METRICS, replicate_means, sample_at
from analysis.power import relative_half_width, replicates_needed
from scenarios.errors import RunError
from scenarios.store import Results

#: Replicates grow by at least this share at a time, since every look at the data costs some of the coverage.
LEAST_GROWTH = 0.1
#: And at most to this multiple, as a standard deviation from few replicates may be far off.
MOST_GROWTH = 2


@dataclass(frozen=True)
class StoppingRule:
    """When a study has enough replicates.

    Attributes
    ----------
    metric : str
        Column of the rounds table.
    width : float
        Largest half-width of the 95% t interval of its mean, as a share of the absolute mean, > 0; asked of every
        value of the compared list, else of the mean over all design points.
    minimum : int
        Replicates before which it never stops, >= 2.
    maximum : int
        Replicates after which it gives up, >= `minimum`.

    References
    ----------
    Chow, Y. S. and Robbins, H. (1965). On the asymptotic theory of fixed-width sequential confidence intervals for the
    mean. Annals of Mathematical Statistics 36(2), 457-462.
    """

    metric: str
    width: float
    minimum: int
    maximum: int


def samples(results: Results, metric: str) -> dict[str, np.ndarray]:
    """What the intervals are made of that the key table of a study shows.

    Returns
    -------
    dict of str to array of float
        A value a replicate, at each value of the compared list; under "" where no list is swept.
    """
    experiment = results.experiment
    by = experiment.comparison.by if experiment.comparison else next(iter(experiment.levels), None)
    means = replicate_means(results, by, (metric,))[metric]
    if by is None:
        return {"": sample_at(means, ALL)}
    return {str(value): sample_at(means, value) for value in results.plan.sort_values("point")[by].unique().tolist()}


def widest(found: Mapping[str, np.ndarray]) -> tuple[str, float]:
    """The value with the widest relative half-width, and that width; an unknown one counts as the widest."""
    widths = {value: relative_half_width(sample) for value, sample in found.items()}
    return max(widths.items(), key=lambda pair: math.inf if math.isnan(pair[1]) else pair[1])


def next_replicates(found: Mapping[str, np.ndarray], replicates: int, rule: StoppingRule) -> int:
    """How many replicates a study should have next; as many as it has where it is to stop.

    Parameters
    ----------
    found : mapping of str to array of float
        From `samples`.
    replicates : int
        Replicates now, failed ones included.
    rule : StoppingRule
        When to stop.

    Raises
    ------
    RunError
        If the metric is undefined in so many replicates that there is no interval.
    """
    if replicates < rule.minimum:
        return rule.minimum
    for value, sample in found.items():
        if len(sample) < 2:
            at = f" at {value}" if value else ""
            raise RunError(
                f"--until-ci: {rule.metric} is undefined in all but {len(sample)} of {replicates} replicates{at}, so "
                "it has no interval to narrow"
            )
    if widest(found)[1] <= rule.width or replicates >= rule.maximum:
        return replicates
    # Of replicates that failed or left the metric undefined there will be as large a share as before.
    needed = max(replicates_needed(sample, rule.width) * replicates / len(sample) for sample in found.values())
    least = replicates + max(1, math.ceil(LEAST_GROWTH * replicates))
    return min(max(math.ceil(needed), least), MOST_GROWTH * replicates, rule.maximum)


def stopped(found: Mapping[str, np.ndarray], replicates: int, rule: StoppingRule) -> dict[str, Any]:
    """What a results folder says of its stopping: the rule, the replicates it took, and the widest interval."""
    value, width = widest(found)
    return {**asdict(rule), "replicates": replicates, "widest": width, "at": value, "reached": width <= rule.width}


def in_words(done: dict[str, Any]) -> str:
    """How a study stopped, in a sentence.

    Parameters
    ----------
    done : dict
        From `stopped`.
    """
    label = METRICS.get(done["metric"], (done["metric"], ""))[0].lower()
    at = f" at {done['at']}" if done["at"] else ""
    wide = f"half the width of the 95% interval of {label} is {done['widest']:.2%} of its mean{at}"
    asked = f"{done['width']:.2%}"
    if done["reached"]:
        return f"Stopped by width after {done['replicates']} replicates: {wide}, {asked} or less was asked for."
    return f"Stopped at the maximum of {done['replicates']} replicates: {wide}, not the {asked} asked for."
