"""What the owners of a file's records are worth to a model trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.tables import number
from scenarios.runner import one_thread
from simulator.datasets import Records, hold_out, make_shards
from simulator.streams import Streams
from simulator.valuation import shapley_values
from simulator.valuation.games import GAMES

#: Confidence level of the intervals.
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class OwnerValues:
    """Shapley values of owners, largest first.

    Attributes
    ----------
    owners : array of str, shape (n,)
        Their names.
    records : array of int, shape (n,)
        Training records of each; 0 where all are in the test set.
    values, stderr : array of float, shape (n,)
        Shapley values and their standard errors.
    low, high : array of float, shape (n,)
        Ends of 95% confidence intervals.
    evaluations : int
        Coalitions whose utility was asked for.
    method : str
        Name of the estimator.
    status : {"exact", "converged", "exhausted", "summed"}
        Why it ended.
    samples : int
        Independent samples behind the standard errors.
    freedom : array of float, shape (n,), or None
        Degrees of freedom of the standard errors; None where the values are exact.
    game : str
        Which utility.
    utility, empty_utility : float
        Utility of all owners' records, and of none; the values share out the difference.
    test_records, seed : int
        Records held out to measure the utility, and the seed by which they were drawn.
    """

    owners: np.ndarray
    records: np.ndarray
    values: np.ndarray
    stderr: np.ndarray
    low: np.ndarray
    high: np.ndarray
    evaluations: int
    method: str
    status: str
    samples: int
    freedom: np.ndarray | None
    game: str
    utility: float
    empty_utility: float
    test_records: int
    seed: int


def value_owners(
    features: np.ndarray,
    labels: np.ndarray,
    owners: np.ndarray,
    *,
    method: str = "auto",
    budget: int = 20_000,
    tolerance: float = 0.05,
    game: str = "ridge",
    game_options: Mapping[str, Any] | None = None,
    empty_utility: float | None = None,
    test_share: float = 0.2,
    seed: int = 0,
) -> OwnerValues:
    """Hold out test records at random, and value the owners of the others.

    Parameters
    ----------
    features : array of float, shape (N, d)
        Records, in any units; they are standardised.
    labels, owners : array, shape (N,)
        Class and owner of each record.
    method, budget, tolerance
        As in `shapley_values`.
    game, game_options
        Name of the game and its options.
    empty_utility : float, optional
        Utility of no records; by default that of the best constant prediction.
    test_share : float
        Share of the records to hold out, in (0, 1).
    seed : int
        Seed of the split and of the sampling, >= 0.

    Raises
    ------
    ValueError
        If there is one class only, no record is left for training or testing, or an argument is not allowed.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    names, holders = np.unique(owners, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"found the class {str(classes[0])!r} alone; at least two are needed")
    streams = Streams(seed)
    train, test = hold_out(len(codes), test_share, streams)
    if len(train) == 0:
        raise ValueError(
            f"no record is left to train on: found {len(codes)}, of which {len(test)} are held out to test"
        )
    train = np.sort(train)
    shards = make_shards(Records(features, codes, len(classes)), train, test, holders[train])
    made = GAMES.create(
        game,
        game_options or {},
        shards.features,
        shards.labels,
        shards.owners,
        len(names),
        shards.test_features,
        shards.test_labels,
        n_classes=len(classes),
        empty_utility=empty_utility,
    )
    rng = streams.generator("valuation")
    with one_thread():
        found = shapley_values(made, method=method, budget=budget, tolerance=tolerance, rng=rng)
        utility = float(made.utility(np.ones((1, len(names)), dtype=bool))[0])
    low, high = found.interval(LEVEL)
    rank = np.argsort(-found.values, kind="stable")
    return OwnerValues(
        owners=names[rank],
        records=np.bincount(shards.owners, minlength=len(names))[rank],
        values=found.values[rank],
        stderr=found.stderr[rank],
        low=low[rank],
        high=high[rank],
        evaluations=found.evaluations,
        method=found.method,
        status=found.status,
        samples=found.samples,
        freedom=None if found.freedom is None else found.freedom[rank],
        game=game,
        utility=utility,
        empty_utility=made.empty_utility,
        test_records=len(test),
        seed=seed,
    )


def value_table(valued: OwnerValues) -> pd.DataFrame:
    """A row an owner: records, value, and its interval where it is an estimate."""
    shown = {
        "owner": valued.owners,
        "records": valued.records,
        "value": [number(value) for value in valued.values],
    }
    if valued.status in ("converged", "exhausted"):
        ends = zip(valued.low, valued.high, strict=True)
        shown["95% interval"] = [f"[{number(low)}, {number(high)}]" for low, high in ends]
    return pd.DataFrame(shown)


def in_words(valued: OwnerValues) -> str:
    """What the values share out, how it was measured, and how far the estimate went."""
    ended = {
        "exact": "The values are exact.",
        "summed": "These are sums of the exact values of single records, not the Shapley values of the owners.",
        "converged": f"The tolerance was reached after {valued.samples} samples.",
        "exhausted": f"The budget was used up after {valued.samples} samples; a larger one gives smaller intervals.",
    }
    return (
        f"The values share out {number(valued.utility)} - {number(valued.empty_utility)}: the utility (game "
        f"{valued.game!r}) of all records and of none,\non {valued.test_records} records held out at random with the "
        f"seed {valued.seed}.\n{ended[valued.status]} (method {valued.method!r}, {valued.evaluations:,} evaluations)"
    )
