"""Calibration of the surrogate: trainings of real purchases, out-of-sample errors, and the curves that are shipped."""

import dataclasses
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

from scenarios.calibration import FOLDS, REPEATS, SHARES, _predictions, calibrate, curve_errors, run_trials
from scenarios.errors import InputError, RunError
from scenarios.executors import WorkerDied
from scenarios.experiment import load
from simulator import Market, MarketConfig
from simulator.config import TrainingConfig
from simulator.privacy.surrogate import AccuracyCurve, shipped_curve

FEW = [0.5, 2.0, 8.0]


def demo(**settings):
    raw = load("demo", [f"{name}={value}" for name, value in settings.items()]).market_scenario()
    return MarketConfig.model_validate(raw)


@pytest.fixture(scope="module")
def small():
    """A calibration on iris by 12 owners."""
    market = demo(**{"data.source": "iris", "owners.patients.count": 12})
    return calibrate(market, seed=3, replicates=4, epsilons=FEW)


def test_coverage_varies_among_purchases_of_equal_size(small):
    _, trials = small
    conditions = trials.groupby(["order", "share"])[["coverage", "records"]].mean()
    for share in SHARES[1:-1]:
        best, worst = conditions.loc[("best", share)], conditions.loc[("worst", share)]
        assert best["coverage"] > worst["coverage"]
        assert best["records"] == worst["records"]
    everybody = trials[(trials["order"] == "any") & (trials["share"] == 1.0)]
    assert (everybody["records"] == 120).all()
    assert everybody["coverage"].to_numpy() == pytest.approx(np.ones(len(everybody)))
    counts = trials.groupby(["replicate", "order", "share", "epsilon"]).size()
    assert (counts == REPEATS).all()
    assert len(counts) == 4 * 4 * len(SHARES) * len(FEW)


def test_trials_are_the_market_s_own_trainings(small):
    """The same owners bought in a market of the scenario have the coverage and records of the trial."""
    _, trials = small
    market = Market(demo(**{"data.source": "iris", "owners.patients.count": 12}), seed=3, replicate=0)
    values = market.broker.value(market.owners.offer()).values
    first = trials[(trials["replicate"] == 0) & (trials["order"] == "best")]
    for share, rows in first.groupby("share"):
        owners = np.argsort(-values)[: max(1, round(share * (values > 0).sum()))]
        assert rows["coverage"].to_numpy() == pytest.approx(values[owners].sum() / values[values > 0].sum())
        assert (rows["records"] == market.broker.stock.sizes[owners].sum()).all()


def test_every_training_has_noise_of_its_own(small):
    _, trials = small
    noisy = trials[(trials["epsilon"] == 0.5) & (trials["share"] == 0.1)]
    pairs = noisy.groupby(["replicate", "order"])["accuracy"]
    assert (pairs.max() > pairs.min()).mean() > 0.5


def test_the_curve_does_not_depend_on_who_is_first(small, monkeypatch):
    """Worker processes end in any order; here the last replicate is the first to come."""
    curve, trials = small
    calls = []

    def backwards(function, tasks, crew):
        assert crew == 3
        for task in reversed(tasks):
            yield task, function(*task[1])

    monkeypatch.setattr("scenarios.calibration.open_crew", lambda _, workers: nullcontext(workers))
    monkeypatch.setattr("scenarios.calibration.in_parallel", backwards)
    market = demo(**{"data.source": "iris", "owners.patients.count": 12})
    again, other = calibrate(market, seed=3, replicates=4, epsilons=FEW, workers=3, progress=lambda: calls.append(1))
    pd.testing.assert_frame_equal(trials, other)
    assert again == curve
    assert len(calls) == 4


def test_a_worker_that_dies_is_told(monkeypatch):
    def dead(function, tasks, crew):
        yield tasks[1], WorkerDied()

    monkeypatch.setattr("scenarios.calibration.in_parallel", dead)
    with pytest.raises(RunError, match="the worker process of split 1 died"):
        calibrate(demo(), replicates=2)


def test_the_curve_says_what_it_was_calibrated_on(small):
    curve, trials = small
    found = curve.calibration
    assert found.data == {"source": "iris"}
    assert found.training == {"method": "auto"} | TrainingConfig().settings()
    assert (found.delta, found.owners, found.markets, found.trainings) == (1e-5, 12, 4, len(trials))
    assert curve.epsilon_range == (0.5, 8.0)
    assert curve.records_range == (10.0, 120.0)
    assert curve.chance == 1 / 3


def simulated(markets, *, seed=0):
    """Trainings whose truth is known: a curve, a misfit by condition, an effect of the market, and noise."""
    rng = np.random.default_rng(seed)
    rows = pd.MultiIndex.from_product(
        [range(markets), ["best", "worst"], [0.5, 1.0], FEW, range(REPEATS)],
        names=["replicate", "order", "share", "epsilon", "repeat"],
    ).to_frame(index=False)
    cells = rows.groupby(["order", "share", "epsilon"]).ngroup().to_numpy()
    misfit = rng.normal(0, 0.02, cells.max() + 1)
    at_market = rng.normal(0, 0.03, (markets, cells.max() + 1))
    rows["predicted"] = 0.7
    rows["accuracy"] = 0.7 + misfit[cells] + at_market[rows["replicate"], cells] + rng.normal(0, 0.05, len(rows))
    return rows, misfit


def test_errors_are_told_apart():
    """Bias, noise and the rest are found as they were put in, within 4 standard errors of normal theory."""
    markets = 400
    rows, misfit = simulated(markets)
    errors = curve_errors(rows)
    pairs, cells = len(rows) / REPEATS, len(misfit)
    assert errors.noise**2 == pytest.approx(0.05**2, rel=4 * np.sqrt(2 / pairs))
    unsure = np.sqrt((0.03**2 + 0.05**2 / REPEATS) / markets)
    assert abs(errors.misfit**2 - (misfit**2).mean()) < 4 * 2 * unsure * np.sqrt((misfit**2).mean() / cells)
    assert abs(errors.largest_misfit - np.abs(misfit).max()) < 4.5 * unsure
    whole = (misfit**2).mean() + 0.03**2 + 0.05**2
    assert errors.rmse**2 == pytest.approx(whole, rel=4 * np.sqrt(2 / pairs))
    assert errors.largest == pytest.approx((rows["accuracy"] - rows["predicted"]).abs().max(), rel=1e-15)


def test_the_misfit_is_not_what_few_markets_leave_to_chance():
    """With no misfit put in, its square is 0 on average, though means over 4 markets are off by two points."""
    squares = []
    for seed in range(20):
        rows, misfit = simulated(4, seed=seed)
        rows["accuracy"] -= misfit[rows.groupby(["order", "share", "epsilon"]).ngroup()]
        squares.append(curve_errors(rows).misfit ** 2)
    # Negative estimates are cut off at 0, so half of the spread of a normal variable remains.
    expected = (0.03**2 + 0.05**2 / REPEATS) / 4
    assert np.mean(squares) < 0.6 * expected
    assert np.mean(np.array(squares) == 0.0) > 0.2


def test_no_market_is_predicted_by_its_own_trainings(small):
    _, trials = small
    altered = trials.copy()
    altered.loc[altered["replicate"] == 1, "accuracy"] = 0.5
    mine = (trials["replicate"] % min(FOLDS, 4) == 1).to_numpy()
    predicted = _predictions(altered, 3)
    assert predicted[mine].tolist() == trials.loc[mine, "predicted"].tolist()
    assert np.abs(predicted[~mine] - trials.loc[~mine, "predicted"]).max() > 0.01


@pytest.mark.parametrize(("data", "model", "neighbours"), [("iris", "svm", "add-remove")])
def test_a_shipped_curve_is_found_again_on_other_splits(data, model, neighbours):
    """Its mean trainings on new splits lie from it as it says: by its misfit, and what chance leaves."""
    settings = {"data.source": data, "broker.training.model": model, "broker.training.neighbours": neighbours}
    shipped = shipped_curve(data, model, neighbours)
    curve, trials = calibrate(demo(**settings), seed=99, replicates=6, epsilons=[0.5, 1.0, 2.0, 4.0, 8.0])
    trials["predicted"] = shipped.predict(trials["epsilon"], trials["coverage"], trials["records"])
    stated, found = shipped.calibration.errors, curve_errors(trials)
    # These epsilons are the better half of the shipped grid, so single errors are no larger than stated.
    assert found.rmse < stated.rmse
    assert found.noise < stated.noise
    # Splits move all trainings of a market together; 4 standard errors of the means over 6 markets.
    by_market = (trials["accuracy"] - trials["predicted"]).groupby(trials["replicate"]).mean()
    assert abs(by_market.mean()) < stated.misfit + 4 * by_market.std(ddof=1) / np.sqrt(6)
    # The two curves differ by no more than both are wrong.
    at = trials["epsilon"], trials["coverage"], np.clip(trials["records"], *curve.records_range)
    between = np.sqrt(((curve.predict(*at) - shipped.predict(*at)) ** 2).mean())
    assert between < stated.misfit + curve.calibration.errors.misfit + 4 * by_market.std(ddof=1) / np.sqrt(6)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"broker.training.method": "surrogate"}, {}, "broker.training.method: found 'surrogate'"),
        ({}, {"replicates": 1}, "replicates: found 1; allowed is 2 or more"),
        ({}, {"epsilons": [2.0, 1.0]}, "broker.epsilons: "),
        ({"broker.training.method": "amp"}, {"epsilons": [1.0, 40.0]}, "broker.epsilons: found 40"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(settings, options, message):
    with pytest.raises(InputError, match=message):
        calibrate(demo(**settings), **options)


def test_values_alone_cannot_be_calibrated(make_config):
    with pytest.raises(InputError, match=r"data\.source: found 'values'; a calibration trains"):
        calibrate(make_config())


def test_owners_of_no_value_are_bought_at_random_only(make_config, monkeypatch):
    from simulator.agents.broker import Broker
    from simulator.valuation import Valuation

    worthless = Valuation(np.full(6, -1.0), np.zeros(6), 0, "none")
    monkeypatch.setattr(Broker, "value", lambda self, offers: worthless)
    trials, n_classes = run_trials(make_config(data="iris"), 0, 0)
    assert n_classes == 3
    assert set(trials["order"]) == {"any"}
    assert (trials["coverage"] == 0).all()


def test_the_errors_in_the_documentation_are_those_of_the_curves():
    from pathlib import Path

    from analysis.curves import error_table
    from analysis.tables import text_table
    from simulator.privacy.surrogate import shipped_curves

    curves = [curve for shipped in shipped_curves().values() for curve in shipped]
    text = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
    assert text_table(error_table(curves)) in text, "run `make curves` and copy what `dealer list` says"
    bare = dataclasses.replace(curves[0], calibration=None)
    assert isinstance(bare, AccuracyCurve)
    assert error_table([bare]).empty
