"""Calibration of the surrogate for training: the real trainers on many purchases, and a curve fitted to them."""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from scenarios.errors import InputError, RunError
from scenarios.executors import WorkerDied, in_parallel, open_crew
from scenarios.experiment import market_at
from scenarios.runner import one_thread
from simulator import Market
from simulator.agents.owner import value_shares
from simulator.config import BrokerConfig, MarketConfig
from simulator.privacy.surrogate import AccuracyCurve, Calibration, CurveErrors
from simulator.records import Offers, Purchases
from simulator.streams import Streams

#: Privacy levels at which versions are trained, beside those of the scenario.
EPSILONS = (0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 1.5, 2.5, 4.0, 6.0, 10.0)
#: Sizes of the purchases as shares of the owners that can be bought; the smallest is one owner.
SHARES = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
#: Trainings of one purchase at one epsilon, which differ in their noise only.
REPEATS = 2
#: Parts into which the markets are divided for the errors; each is predicted by a curve fitted to the others.
FOLDS = 5
#: What tells one condition of the trainings from another within a market.
CONDITION = ["order", "share", "epsilon"]


def calibrate(
    market: MarketConfig,
    *,
    seed: int = 0,
    replicates: int = 20,
    epsilons: ArrayLike | None = None,
    workers: int = 1,
    import_path: Sequence[str] = (),
    progress: Callable[[], object] | None = None,
) -> tuple[AccuracyCurve, pd.DataFrame]:
    """Train the versions of many purchases with the market's own trainer, and fit a curve to their accuracy.

    Each replicate is a split of the data set into owners' shards and a test set, as in a run of the scenario. Of its
    owners, valued as the scenario says, sets of seven sizes are bought in four orders: most valuable first, least
    valuable first and at random among those of positive value, whom alone a broker buys, and at random among all.
    So coverage varies among purchases of equal size.

    Parameters
    ----------
    market : MarketConfig
        Its data, number of owners, epsilons, delta, valuation and training count; the rest does not.
    seed : int
        Seed of the splits, the purchases and the noise, >= 0.
    replicates : int
        Number of splits, >= 2.
    epsilons : array of float, optional
        Privacy levels of the versions, increasing; by default `EPSILONS` and the market's own.
    workers : int
        Worker processes; the curve does not depend on their number.
    import_path : sequence of str
        Folders where a user's own classes are found.
    progress : callable, optional
        Called after each replicate.

    Returns
    -------
    curve : AccuracyCurve
        With its calibration and errors.
    trials : DataFrame
        One row a training: `replicate`, `order`, `share`, `repeat`, `epsilon`, `coverage`, `records`, `accuracy`, and
        `predicted`, by a curve fitted without the replicate's part of the markets.

    Raises
    ------
    InputError
        If there is nothing to train, or too few replicates.
    RunError
        If a worker process dies.
    """
    broker = market.broker
    if broker is None:
        raise InputError("brokers: found several; allowed is one broker, whose training is calibrated")
    training = broker.training
    if training.method == "surrogate":
        raise InputError("broker.training.method: found 'surrogate'; allowed is the method to calibrate it by")
    if market.data.source == "values":
        raise InputError("data.source: found 'values'; a calibration trains, and needs records")
    if replicates < 2:
        raise InputError(f"replicates: found {replicates}; allowed is 2 or more, since errors are taken across markets")
    levels = np.union1d(EPSILONS, broker.epsilons) if epsilons is None else np.asarray(epsilons, dtype=float)
    lean = _lean(market, broker, levels)
    tasks = deque((replicate, (lean, seed, replicate, tuple(import_path))) for replicate in range(replicates))
    found: dict[int, tuple[pd.DataFrame, int]] = {}
    try:
        with open_crew(None, workers) as crew, closing(in_parallel(run_trials, tasks, crew)) as results:
            for (replicate, _), result in results:
                if isinstance(result, WorkerDied):
                    raise RunError(f"the worker process of split {replicate} died, also when it was alone")
                found[replicate] = result
                if progress is not None:
                    progress()
    except ValueError as error:
        raise InputError(f"the scenario cannot be calibrated: {error}") from error
    trials = pd.concat([found[replicate][0] for replicate in range(replicates)], ignore_index=True)
    n_classes = found[0][1]
    trials["predicted"] = _predictions(trials, n_classes)
    calibration = Calibration(
        data=market.data.identity(),
        training={"method": training.method, **training.settings()},
        delta=broker.delta,
        owners=market.n_owners,
        markets=replicates,
        trainings=len(trials),
        errors=curve_errors(trials),
    )
    return dataclasses.replace(_fit(trials, n_classes), calibration=calibration), trials


def run_trials(
    market: MarketConfig, seed: int, replicate: int, import_path: Sequence[str] = ()
) -> tuple[pd.DataFrame, int]:
    """The trainings of one split, by the broker of a market, and the number of classes.

    Parameters
    ----------
    market : MarketConfig
        A market whose versions are the levels to train at.
    seed, replicate : int
        Keys of the random streams.
    import_path : sequence of str
        Folders where a user's own classes are found.
    """
    sys.path.extend(entry for entry in import_path if entry not in sys.path)
    with one_thread():
        broker = Market(market, seed, replicate, tables=()).broker
        shards, n = broker.stock.shards, broker.stock.n_owners
        assert shards is not None
        values = broker.value(Offers(np.ones(n, dtype=bool), np.zeros(n))).values
        shares, levels = value_shares(values), len(broker.epsilons)
        rows = []
        for order, share, owners in _purchases(values, Streams(seed, replicate).generator("calibration")):
            bought = np.tile(np.isin(np.arange(n), owners), (levels, 1))
            coverage = np.minimum(bought @ shares, 1.0)
            purchases = Purchases(bought, np.zeros(bought.shape), np.zeros(levels), coverage)
            for repeat in range(REPEATS):
                broker.round += 1  # noise of its own
                versions = broker.train(purchases)
                rows.append(
                    pd.DataFrame(
                        {
                            "replicate": replicate,
                            "order": order,
                            "share": share,
                            "repeat": repeat,
                            "epsilon": broker.epsilons,
                            "coverage": coverage,
                            "records": versions.records,
                            "accuracy": versions.accuracy,
                        }
                    )
                )
    return pd.concat(rows, ignore_index=True), shards.n_classes


def curve_errors(trials: pd.DataFrame) -> CurveErrors:
    """How far trainings lie from what was predicted for them.

    Parameters
    ----------
    trials : DataFrame
        Columns as `calibrate` returns them.
    """
    difference = trials["accuracy"] - trials["predicted"]
    by_market = difference.groupby([trials[name] for name in ["replicate", *CONDITION]]).mean()
    across = by_market.groupby(CONDITION)
    mean, unsure = across.mean(), across.var(ddof=1) / across.count()
    noise = trials.groupby(["replicate", *CONDITION])["accuracy"].var(ddof=1).mean()
    return CurveErrors(
        rmse=float(np.sqrt((difference**2).mean())),
        noise=float(np.sqrt(noise)),
        largest=float(difference.abs().max()),
        misfit=float(np.sqrt(max(0.0, (mean**2 - unsure).mean()))),
        largest_misfit=float(mean.abs().max()),
    )


def _lean(market: MarketConfig, trained: BrokerConfig, epsilons: np.ndarray) -> MarketConfig:
    """A market of the same data and training, whose owners and buyers are of no account."""
    broker = trained.model_dump(mode="json", include={"delta", "valuation", "training"})
    raw = {
        "data": market.data.model_dump(mode="json"),
        "owners": [{"segment": "owners", "count": market.n_owners, "privacy_sensitivity": 0.0}],
        "broker": broker,
        "buyers": [{"segment": "buyers", "count": 1, "budget": 1.0, "epsilon_expected": 1.0}],
    }
    return market_at(raw, {"broker.epsilons": epsilons.tolist()})


def _purchases(values: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, float, np.ndarray]]:
    """Sets of owners to buy: the name of their order, the share of those in question, and who they are."""
    ranked = np.argsort(-values, kind="stable")
    ranked = ranked[values[ranked] > 0]
    orders = {
        "best": ranked,
        "worst": ranked[::-1],
        "random": rng.permutation(ranked),
        "any": rng.permutation(len(values)),
    }
    for order, owners in orders.items():
        for share in SHARES if len(owners) else ():
            yield order, share, owners[: max(1, round(share * len(owners)))]


def _predictions(trials: pd.DataFrame, n_classes: int) -> np.ndarray:
    """What curves fitted to other markets say of each training."""
    replicates = trials["replicate"].to_numpy()
    part = replicates % min(FOLDS, len(np.unique(replicates)))
    predicted = np.empty(len(trials))
    for fold in np.unique(part):
        left_out = part == fold
        # A purchase may be larger or smaller than all others; it then counts as the nearest of them.
        rows = trials[left_out]
        curve = _fit(trials[~left_out], n_classes)
        predicted[left_out] = curve.predict(rows["epsilon"], rows["coverage"], rows["records"])
    return predicted


def _fit(trials: pd.DataFrame, n_classes: int) -> AccuracyCurve:
    return AccuracyCurve.fit(
        trials["epsilon"], trials["coverage"], trials["records"], trials["accuracy"], n_classes=n_classes
    )
