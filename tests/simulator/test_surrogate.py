"""The surrogate for training: the curve, its file, what a scenario may ask of it, and the market that uses it."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.experiment import load
from simulator import Market, MarketConfig
from simulator.privacy import surrogate
from simulator.privacy.surrogate import (
    PARAMETERS,
    AccuracyCurve,
    Calibration,
    CurveErrors,
    shipped_curve,
    shipped_curves,
)

ERRORS = CurveErrors(0.05, 0.04, 0.2, 0.01, 0.03)
TRUE = AccuracyCurve(0.5, 0.93, 0.4, 1.3, 1.1, 0.3, 0.6, 1.5, (0.1, 10.0), (0.0, 1.0), (10.0, 1000.0))
SHIPPED = [curve for curves in shipped_curves().values() for curve in curves]

positive = st.floats(0.0, 8.0)
ranges = st.tuples(st.floats(1e-3, 0.5), st.floats(1.0, 50.0))


@st.composite
def curves(draw):
    chance = draw(st.floats(0.05, 0.5))
    return AccuracyCurve(
        chance,
        draw(st.floats(chance, 1.0)),
        *(draw(positive) for _ in PARAMETERS[1:]),
        epsilon_range=draw(ranges),
        coverage_range=(0.0, draw(st.floats(0.1, 1.0))),
        records_range=(draw(st.floats(1.0, 20.0)), draw(st.floats(50.0, 1e5))),
    )


def conditions(count, seed):
    rng = np.random.default_rng(seed)
    return 10 ** rng.uniform(-1, 1, count), rng.random(count), 10 ** rng.uniform(1, 3, count)


def test_the_curve_is_the_documented_formula():
    epsilon, coverage, records = 0.7, 0.4, 250
    lost = 0.4 * epsilon**-1.3 * 2.5**-1.1
    missed = 0.3 * 2.5**-0.6 * math.exp(-1.5 * coverage)
    assert float(TRUE.predict(epsilon, coverage, records)) == pytest.approx(0.5 + 0.43 / (1 + lost + missed), rel=1e-14)


@given(curve=curves(), data=st.data())
def test_accuracy_is_bounded_and_falls_in_nothing(curve, data):
    def pair(low, high):
        return sorted(data.draw(st.tuples(st.floats(low, high), st.floats(low, high))))

    eps, cover, size = pair(*curve.epsilon_range), pair(0.0, 1.0), pair(1.0, 1e6)
    points = curve.predict(*np.meshgrid(eps, cover, size, indexing="ij"))
    rounding = 1e-13  # of powers and their product, a few units in the last place of numbers below 1
    assert (points >= curve.chance).all()
    assert (points <= curve.ceiling + rounding).all()
    for axis in range(3):
        assert (np.diff(points, axis=axis) >= -rounding).all()


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("curve", [TRUE, *SHIPPED])
def test_more_of_anything_helps_within_the_calibrated_range(curve, axis):
    ends = [list(ends) for ends in (curve.epsilon_range, curve.coverage_range, curve.records_range)]
    middle = [float(np.sqrt(low * high)) if low > 0 else high / 2 for low, high in ends]
    low, high = curve.predict(*(ends[i] if i == axis else [middle[i]] * 2 for i in range(3)))
    assert high > low


def test_parameters_are_recovered_from_noisy_trainings():
    """Each lies within 4.5 standard errors, by the linearised model at the truth: 1 in 20,000 for all seven."""
    count, deviation = 3000, 0.015  # accuracy stays below 1
    at = conditions(count, 0)
    truth = np.array([getattr(TRUE, name) for name in PARAMETERS])
    columns = []
    for name, value in zip(PARAMETERS, truth, strict=True):
        step = 1e-6 * value
        up, down = (dataclasses.replace(TRUE, **{name: value + sign * step}).predict(*at) for sign in (1, -1))
        columns.append((up - down) / (2 * step))
    jacobian = np.column_stack(columns)
    errors = deviation * np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))
    misses = []
    for draw in range(3):
        noise = np.random.default_rng(draw).normal(0, deviation, count)
        accuracy = TRUE.predict(*at) + noise
        fitted = AccuracyCurve.fit(*at, accuracy, n_classes=2)
        misses.append((np.array([getattr(fitted, name) for name in PARAMETERS]) - truth) / errors)
        # The sum of squares is that of a chi-square variable with one degree a training less the parameters.
        squares = ((fitted.predict(*at) - accuracy) ** 2).sum() / deviation**2
        assert abs(squares - (count - len(PARAMETERS))) < 4.5 * math.sqrt(2 * count)
    assert np.abs(misses).max() < 4.5


def test_a_curve_without_noise_is_fitted_exactly():
    at = conditions(200, 1)
    fitted = AccuracyCurve.fit(*at, TRUE.predict(*at), n_classes=2)
    assert np.abs(fitted.predict(*at) - TRUE.predict(*at)).max() < 1e-6
    assert fitted.epsilon_range == (at[0].min(), at[0].max())
    assert fitted.records_range == (at[2].min(), at[2].max())


def test_sizes_beyond_the_calibrated_range_count_as_the_nearest():
    curve = dataclasses.replace(TRUE, coverage_range=(0.2, 0.9))
    assert curve.predict(1.0, 0.05, 2000) == curve.predict(1.0, 0.2, 1000)
    assert curve.predict(1.0, 1.0, 3) == curve.predict(1.0, 0.9, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.05, 0.5, 100), "epsilon: found 0.05; the curve was calibrated for 0.1 to 10"),
        (([1.0, 11.0], 0.5, 100), "epsilon: found 11; the curve was calibrated for 0.1 to 10"),
        ((1.0, 1.5, 100), "coverage: found 1.5; allowed are 0 to 1"),
        ((1.0, math.nan, 100), "coverage: found nan"),
        ((1.0, 0.5, 0), "records: found 0; allowed are 1 to inf"),
    ],
)
def test_what_no_version_has_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TRUE.predict(*arguments)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_classes": 1}, "n_classes: found 1"),
        ({"accuracy": np.full(20, 1.2)}, "accuracy: found 1.2; allowed are 0 to 1"),
        ({"epsilons": np.zeros(20)}, "epsilons: found 0"),
        ({"coverage": np.full(20, np.nan)}, "coverage: found nan"),
        ({"records": np.zeros(20)}, "records: found 0"),
        ({"records": np.ones(19)}, "found 20 epsilons, 20 coverage, 19 records, 20 accuracy; a fit needs one of each"),
    ],
)
def test_trainings_that_cannot_be_fitted_are_refused(changed, message):
    epsilons, coverage, records = conditions(20, 2)
    arguments = {"epsilons": epsilons, "coverage": coverage, "records": records, "accuracy": np.full(20, 0.8)}
    with pytest.raises(ValueError, match=message):
        AccuracyCurve.fit(**{**arguments, "n_classes": 2, **changed})


def test_six_trainings_are_too_few_for_seven_parameters():
    with pytest.raises(ValueError, match="for 7 trainings or more"):
        AccuracyCurve.fit(*conditions(6, 0), np.full(6, 0.8), n_classes=2)


@settings(max_examples=40)
@given(curve=curves(), errors=st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_a_file_holds_the_curve_bit_for_bit(tmp_path_factory, curve, errors):
    calibration = Calibration({"source": "x"}, {"model": "svm", "data_norm": 0.1}, 1e-5, 3, 4, 5, CurveErrors(*errors))
    curve = dataclasses.replace(curve, calibration=calibration)
    path = tmp_path_factory.mktemp("curve") / "curve.json"
    curve.save(path)
    again = AccuracyCurve.load(path)
    assert again == curve
    at = (np.geomspace(*curve.epsilon_range, 5)[1:-1], 0.3, 77.0)
    assert again.predict(*at).tobytes() == curve.predict(*at).tobytes()


def test_a_file_that_is_no_curve_is_refused(tmp_path):
    path, good = tmp_path / "curve.json", json.loads(json.dumps(dataclasses.asdict(TRUE)))
    for text, message in (
        ("{", "is not JSON"),
        ("[]", "holds no curve"),
        (json.dumps({**good, "ceiling": 1.5}), "ceiling: found 1.5 with chance 0.5"),
        (json.dumps({**good, "noise": -1}), "noise: found -1"),
        (json.dumps({**good, "learning": math.nan}), "learning: found nan"),
        (json.dumps({**good, "epsilon_range": [2, 1]}), "epsilon_range: found 2.0 to 1.0"),
        (json.dumps({**good, "noise": "much"}), "noise: Input should be a valid number"),
        (json.dumps({**good, "slope": 1}), "slope: Unexpected keyword argument"),
        (json.dumps({name: value for name, value in good.items() if name != "noise"}), "noise: Field required"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            AccuracyCurve.load(path)
    with pytest.raises(ValueError, match="where there is no file"):
        AccuracyCurve.load(tmp_path / "none.json")


def test_every_built_in_data_set_comes_with_its_curves(tmp_path):
    assert sorted(shipped_curves()) == ["breast_cancer", "digits", "iris", "synthetic"]
    for name, shipped in shipped_curves().items():
        by_setting = {(c.calibration.training["model"], c.calibration.training["neighbours"]): c for c in shipped}
        assert len(by_setting) == 4
        for (model, neighbours), curve in by_setting.items():
            assert shipped_curve(name, model, neighbours) == curve
            assert curve.calibration.data["source"] == name
            assert curve.calibration.training["method"] == "auto"
            assert 0 < curve.calibration.errors.noise < curve.calibration.errors.rmse < curve.calibration.errors.largest
            assert curve.calibration.errors.misfit < curve.calibration.errors.largest_misfit
            curve.save(tmp_path / "curve.json")
            file = surrogate._folder() / f"{name}-{model}-{neighbours}.json"
            assert (tmp_path / "curve.json").read_bytes() == file.read_bytes()


def surrogate_market(make_config, data="breast_cancer", training=(), broker=(), **sections):
    training = {"method": "surrogate", **dict(training)}
    return make_config(data=data, broker={"training": training, **dict(broker)}, **sections)


@pytest.fixture
def curve_file(tmp_path):
    """Writes a curve calibrated as told, by default on breast cancer, and returns its path."""

    def write(data=None, delta=1e-5, **training):
        trained = {"method": "auto", "model": "logistic", "neighbours": "replace-one", "data_norm": 1.0, **training}
        calibration = Calibration(data or {"source": "breast_cancer"}, trained, delta, 6, 2, 100, ERRORS)
        dataclasses.replace(TRUE, calibration=calibration).save(tmp_path / "own.json")
        return str(tmp_path / "own.json")

    return write


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"training": {"method": "auto", "curve": "iris"}}, "curve: found 'iris' with method = 'auto'"),
        (
            {"training": {"method": "auto", "records_per_owner": 3}},
            "records_per_owner: found 3 with method = 'auto'",
        ),
        ({"training": {"curve": "mnist"}}, "broker.training.curve: found 'mnist'; allowed are breast_cancer, digits"),
        ({"training": {"curve": "none.json"}}, "broker.training.curve: found 'none.json', where there is no file"),
        (
            {"training": {"curve": "digits"}},
            "data: found 'source = breast_cancer'; the accuracy curve was calibrated for 'source = digits'",
        ),
        (
            {"data": "openml:kr-vs-kp"},
            "curve is missing; .* has no curve of its own for source = openml",
        ),
        (
            {"data": {"source": "synthetic", "records": 500}},
            "no curve of its own for source = synthetic, records = 50",
        ),
        ({"data": "values"}, "curve is missing; .* source = values, so it needs the file of one .* or the name of one"),
        ({"data": "values", "training": {"curve": "iris"}}, "broker.training.records_per_owner is missing"),
        (
            {"training": {"records_per_owner": 5}},
            "records_per_owner: found 5; allowed with data.source = 'values'",
        ),
        (
            {"data": "values", "training": {"curve": "iris", "records_per_owner": 21}},
            "records_per_owner: found 21, which makes 126 records in all; .* calibrated for up to 120",
        ),
        ({"broker": {"delta": 1e-6}}, "broker.delta: found 1e-06; the accuracy curve was calibrated for 1e-05"),
        ({"broker": {"epsilons": [0.05, 1.0]}}, "broker.epsilons: found 0.05; .* calibrated for 0.1 to 10"),
        ({"broker": {"epsilons": [1.0, 20.0]}}, "broker.epsilons: found 20; .* calibrated for 0.1 to 10"),
        ({"training": {"data_norm": 2.0}}, "broker.training.data_norm: found 2.0; .* calibrated for 1.0"),
    ],
)
def test_contradictions_are_refused_by_name(make_config, sections, message):
    with pytest.raises(ValueError, match=message):
        surrogate_market(make_config, **sections)


def test_a_file_for_another_training_is_refused(make_config, curve_file):
    for calibrated, message in (
        ({"model": "svm"}, "broker.training.model: found 'logistic'; the accuracy curve .* for 'svm'"),
        ({"neighbours": "add-remove"}, "broker.training.neighbours: found 'replace-one'; .* for 'add-remove'"),
        ({"delta": 1e-3}, "broker.delta: found 1e-05; .* for 0.001"),
        ({"data": {"source": "b.csv", "label": "y"}}, "data: found .* for 'source = b.csv, label = y'"),
    ):
        with pytest.raises(ValueError, match=message):
            surrogate_market(make_config, training={"curve": curve_file(**calibrated)})
    surrogate_market(make_config, training={"curve": curve_file()})


def test_a_setting_that_an_older_file_does_not_name_had_its_default(make_config, curve_file):
    path = curve_file()
    raw = json.loads(Path(path).read_text())
    del raw["calibration"]["training"]["data_norm"]
    Path(path).write_text(json.dumps(raw))
    surrogate_market(make_config, training={"curve": path})
    with pytest.raises(ValueError, match=r"data_norm: found 2.0; the accuracy curve was calibrated for 1.0"):
        surrogate_market(make_config, training={"curve": path, "data_norm": 2.0})


BUSY = {
    "rounds": 3,
    "owners": {"count": 20, "participation": 0.8},
    "buyers": [{"segment": "a", "behaviour": "surplus", "count": 20}, {"segment": "b", "count": 20}],
}


@pytest.mark.parametrize("broker", [{"survey_share": 0.5, "procurement": "random"}, {"pricing": "thompson"}])
def test_nothing_but_accuracy_changes(make_config, broker):
    """The streams are keyed by their roles: what training does not draw, nobody else draws."""
    real = Market(make_config(data="breast_cancer", broker=broker, **BUSY), seed=5)
    quick = Market(surrogate_market(make_config, broker=broker, **BUSY), seed=5)
    real.run()
    quick.run()
    for table in ("rounds", "versions", "owners", "sales"):
        one, other = real.frame(table), quick.frame(table)
        assert list(one.columns) == list(other.columns)
        assert one.dtypes.equals(other.dtypes)
        changed = [name for name in one.columns if not one[name].equals(other[name])]
        assert changed == (["accuracy"] if table == "versions" else []), table


@pytest.mark.parametrize("data", ["breast_cancer", "values"])
def test_accuracy_is_the_curve_at_what_was_bought(make_config, watch, monkeypatch, data):
    def no_training(*arguments, **options):
        raise AssertionError("the surrogate trains nothing")

    monkeypatch.setattr("simulator.agents.broker.train", no_training)
    training = {"curve": "breast_cancer", "records_per_owner": 7} if data == "values" else {}
    market = Market(surrogate_market(make_config, data, training), seed=3)
    bought = watch(market, "broker", "procure")
    market.run()
    versions = market.frame("versions")
    purchased = np.concatenate([purchases.bought for purchases in bought])
    sizes = np.full(6, 7) if data == "values" else np.bincount(market.broker.stock.shards.owners)
    assert versions["records"].tolist() == [int(sizes[row].sum()) for row in purchased]
    curve = shipped_curve("breast_cancer", "logistic", "replace-one")
    found = versions["records"] > 0
    assert found.any()
    expected = curve.predict(*(versions.loc[found, name] for name in ("epsilon", "coverage", "records")))
    assert versions.loc[found, "accuracy"].tolist() == expected.tolist()
    assert versions.loc[~found, "accuracy"].isna().all()


def test_versions_without_data_have_no_accuracy(make_config):
    market = Market(surrogate_market(make_config, broker={"manufacturing_budget": 0.0}))
    market.run()
    assert market.frame("versions")["accuracy"].isna().all()
    assert (market.frame("versions")["records"] == 0).all()


@pytest.mark.parametrize(("model", "neighbours"), [("logistic", "replace-one"), ("svm", "add-remove")])
def test_the_market_with_a_surrogate_agrees_with_the_real_one(model, neighbours):
    """On splits that the curve was not calibrated on, mean accuracy differs by no more than the curve's stated misfit.

    To it comes what chance leaves in the mean of the replicates: 4 standard errors, of differences paired by
    replicate. A single version is held to the largest misfit.
    """
    replicates, raw = 8, load("demo").market_scenario()
    differences = []
    for replicate in range(replicates):
        found = {}
        for method in ("auto", "surrogate"):
            raw["broker"]["training"] = {"method": method, "model": model, "neighbours": neighbours}
            market = Market(MarketConfig.model_validate(raw), seed=77, replicate=replicate)
            market.run(rounds=2)
            found[method] = market.frame("versions").groupby("epsilon")["accuracy"].mean()
        differences.append(found["auto"] - found["surrogate"])
    by_version = np.array(differences)
    errors = shipped_curve("breast_cancer", model, neighbours).calibration.errors
    for misses, allowed in (
        (by_version.mean(axis=1, keepdims=True), errors.misfit),
        (by_version, errors.largest_misfit),
    ):
        chance = 4 * misses.std(axis=0, ddof=1) / math.sqrt(replicates)
        assert (np.abs(misses.mean(axis=0)) <= allowed + chance).all()


def test_with_owners_as_units_their_number_is_that_of_the_calibration(make_config, curve_file):
    """How much noise weighs depends on the number of owners, which the curve knows through the records alone."""
    path = curve_file(unit="owner")
    for count in (6, 20):
        sections = {"training": {"curve": path, "unit": "owner"}, "owners": {"count": count}}
        if count == json.loads(Path(path).read_text())["calibration"]["owners"]:
            surrogate_market(make_config, **sections)
        else:
            with pytest.raises(ValueError, match=f"owners: found {count} with broker.training.unit = 'owner'"):
                surrogate_market(make_config, **sections)
    with pytest.raises(ValueError, match=r"broker\.training\.unit: found 'record'; the accuracy curve"):
        surrogate_market(make_config, training={"curve": path})


def test_a_curve_that_does_not_tell_its_training_is_none_for_gaussian_accounting(make_config, curve_file):
    path = curve_file()
    raw = json.loads(Path(path).read_text())
    broker = {"privacy_accounting": "gaussian"}
    surrogate_market(make_config, training={"curve": path}, broker=broker)
    Path(path).write_text(json.dumps(raw | {"calibration": None}))
    with pytest.raises(ValueError, match="an accuracy curve that does not tell its training method"):
        surrogate_market(make_config, training={"curve": path}, broker=broker)
