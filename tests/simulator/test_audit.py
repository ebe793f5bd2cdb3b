"""The audit of private classifiers: sound on mechanisms of known privacy, and sharp on noise that is too small."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from simulator.checks import check_private_classifier
from simulator.privacy import Guarantee, PrivateLogisticRegression, PrivateSVM, audit, plan_training
from simulator.privacy.audit import lower_end, upper_end
from simulator.privacy.gaussian import gaussian_delta

RELATIONS = ("replace-one", "add-remove")
METHODS = ("objective", "amp", "output", "gradient")


class GaussianSum(ClassifierMixin, BaseEstimator):
    """The sum of the clipped, signed records with Gaussian noise: a mechanism whose privacy is known exactly."""

    fitted = 0

    def __init__(self, epsilon=1.0, delta=0.05, neighbours="add-remove", data_norm=1.0, mu=0.5, random_state=None):
        self.epsilon = epsilon
        self.delta = delta
        self.neighbours = neighbours
        self.data_norm = data_norm
        self.mu = mu
        self.random_state = random_state

    def fit(self, X, y):
        type(self).fitted += 1
        moved = 2.0 if self.neighbours == "replace-one" else 1.0
        self.classes_ = np.unique(y)
        signs = np.where(y == self.classes_[-1], 1.0, -1.0)
        noise = self.random_state.normal(scale=moved / self.mu, size=X.shape[1])
        self.coef_ = signs @ self.clipped(X) + noise
        return self

    def clipped(self, X):
        return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), self.data_norm)

    def decision_function(self, X):
        return X @ self.coef_


class Profiled(GaussianSum):
    """The same with its whole profile."""

    def fit(self, X, y):
        super().fit(X, y)
        self.accounting_ = Guarantee(
            "sum",
            self.neighbours,
            "record",
            self.epsilon,
            self.delta,
            "",
            1,
            "",
            self.mu,
            lambda e: gaussian_delta(e, 1 / self.mu),
        )
        return self


class Unclipped(GaussianSum):
    def clipped(self, X):
        return X


def exact_epsilon(mu, delta):
    return optimize.brentq(lambda e: gaussian_delta(e, 1.0 / mu) - delta, 0.0, 50.0)


def noise_times(monkeypatch, factor):
    def plan(*args, **options):
        made = plan_training(*args, **options)
        scales = {name: factor * scale for name, scale in vars(made.noise).items() if name.endswith("_noise")}
        assert scales
        return replace(made, noise=replace(made.noise, **scales))

    monkeypatch.setattr("simulator.privacy.training.plan_training", plan)


# --- the statistics --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 667])
@pytest.mark.parametrize("level", [0.2, 0.003, 1e-6])
def test_ends_are_those_of_the_exact_binomial_test(n, level):
    for count in {0, 1, n // 3, n - 1, n}:
        exact = stats.binomtest(count, n).proportion_ci(1 - 2 * level, method="exact")
        assert lower_end(count, n, level) == pytest.approx(exact.low, rel=1e-8, abs=1e-12)
        assert upper_end(count, n, level) == pytest.approx(exact.high, rel=1e-8)


@pytest.mark.parametrize(
    ("mechanism", "relation", "ends"), [(GaussianSum, RELATIONS[0], 4), (Profiled, RELATIONS[1], 16)]
)
def test_ends_and_bound_hold_as_often_as_they_say(mechanism, relation, ends):
    """Against the exact probabilities of the events, and a claim that is true and exhausted, at 50% confidence."""
    epsilon, missed, broken, alarms = exact_epsilon(0.5, 0.05), [], 0, 0
    sideways = math.sin(math.radians(75.0))
    deviation = 4.0 if relation == "replace-one" else 2.0
    shift = {"with": sideways, "without": -sideways if relation == "replace-one" else 0.0}
    for seed in range(60):
        found = audit(
            mechanism(epsilon, 0.05, relation),
            fits=60,
            confidence=0.5,
            block=1,
            rng=np.random.default_rng(seed),
            progress=False,
        )
        broken += found.epsilon_lower > epsilon
        alarms += found.violated
        for p in found.points:
            _, sign, threshold = p.event.split()
            tail = stats.norm.sf if sign == ">=" else stats.norm.cdf
            with_it, without = (tail(float(threshold), shift[side], deviation) for side in ("with", "without"))
            true, false = (with_it, without) if p.likelier == "with" else (without, with_it)
            missed += [true < p.true_rate_low, false > p.false_rate_high]
    assert broken <= 30
    assert alarms <= 30
    # Each end may miss with a chance of half over the number of ends. Events of one audit are alike, so that its
    # ends count as four, for two data sets and two sides, where there are more.
    level, independent = 0.5 / ends, 4 * 60
    rate = np.mean(missed)
    assert stats.binomtest(round(rate * independent), independent, level, alternative="greater").pvalue > 1e-3
    # Counts are discrete, which leaves a part of it, but not most, unused.
    assert rate > level / 4


def test_the_bound_approaches_the_truth():
    """Thousands of fits certify most of epsilon, and nothing beyond it."""
    epsilon = exact_epsilon(1.0, 0.05)
    found = audit(Profiled(epsilon, 0.05, mu=1.0), fits=6000, block=1, rng=np.random.default_rng(0))
    assert 0.6 * epsilon < found.epsilon_lower <= epsilon
    assert not found.violated


def test_what_is_reported_is_what_was_counted():
    """Points against events recounted from the same fits, and the bound against its definition."""
    estimator, fits = Profiled(0.2, 0.05, mu=2.0), 300
    found = audit(estimator, fits=fits, block=1, rng=np.random.default_rng(5))
    assert (found.epsilon, found.delta, found.fits, found.confidence) == (0.2, 0.05, fits, 0.95)
    assert (found.method, found.neighbours) == ("sum", "add-remove")
    assert [p.likelier for p in found.points] == ["with"] * 4 + ["without"] * 4
    # The sum along the canary is the noise of each fit, and one more with the canary.
    across = [rng.normal(scale=0.5, size=2)[1] for rng in np.random.default_rng(5).spawn(2 * fits)]
    tested = {"without": np.array(across[fits // 3 : fits])}
    tested["with"] = np.array(across[fits + fits // 3 :]) + math.sin(math.radians(75.0))
    for p, share in zip(found.points, [0.125, 0.25, 0.375, 1.0] * 2, strict=True):
        assert p.epsilon == pytest.approx(share * 0.2)
        assert p.delta == pytest.approx(gaussian_delta(p.epsilon, 0.5))
        _, sign, threshold = p.event.split()
        other = "without" if p.likelier == "with" else "with"
        for data, rate in ((p.likelier, p.true_rate), (other, p.false_rate)):
            # The threshold is printed to six digits: a fit may stand on it.
            above = (tested[data] >= float(threshold)).mean()
            assert rate == pytest.approx(above if sign == ">=" else 1 - above, abs=1.5 / len(tested[data]))
        n, level = fits - fits // 3, 0.05 / 16
        assert p.true_rate_low == pytest.approx(stats.beta.ppf(level, round(n * p.true_rate), n - n * p.true_rate + 1))
        assert p.false_rate_high == pytest.approx(
            stats.beta.isf(level, round(n * p.false_rate) + 1, n - n * p.false_rate)
        )
        assert p.excess == pytest.approx(p.true_rate_low - math.exp(p.epsilon) * p.false_rate_high - p.delta)
    bounds = [math.log(max(p.true_rate_low - 0.05, 1e-300) / p.false_rate_high) for p in found.points]
    assert found.epsilon_lower == pytest.approx(max(bounds))
    assert found.violated == (max(p.excess for p in found.points) > 0)


# --- what it catches, and what it must not ---------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("method", METHODS)
def test_the_classifiers_raise_no_alarm(method, relation, epsilon):
    model = PrivateLogisticRegression if epsilon == 1.0 else PrivateSVM
    found = audit(model(epsilon, method=method, neighbours=relation), fits=60, rng=np.random.default_rng(0))
    assert not found.violated
    assert found.method == method
    assert 0.0 <= found.epsilon_lower <= epsilon


@pytest.mark.parametrize(("epsilon", "factor"), [(1.0, 0.25), (4.0, 0.5)])
@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("method", ["objective", "output", "gradient"])
def test_too_little_noise_is_caught(monkeypatch, method, relation, epsilon, factor):
    noise_times(monkeypatch, factor)
    # The benchmark has both models with all methods; the test those for which few fits are enough.
    model = PrivateLogisticRegression if method == "objective" and epsilon == 1.0 else PrivateSVM
    # The published bound, the default under replace-one, claims twice the delta of a Gaussian mechanism.
    hard = method == "objective" and epsilon == 4.0 and relation == "replace-one"
    fits, confidence = (1200, 0.8) if hard else (600 if method == "objective" else 400, 0.95)
    estimator = model(epsilon, method=method, neighbours=relation)
    found = audit(estimator, fits=fits, confidence=confidence, rng=np.random.default_rng(0))
    assert found.violated
    assert "violated" in str(found)


@pytest.mark.parametrize("relation", RELATIONS)
def test_minima_perturbation_is_caught_at_a_tenth(monkeypatch, relation):
    """Its scales have slack: a quarter is caught half of the time."""
    noise_times(monkeypatch, 0.1)
    found = audit(
        PrivateLogisticRegression(1.0, method="amp", neighbours=relation), fits=400, rng=np.random.default_rng(0)
    )
    assert found.violated


@pytest.mark.parametrize("model", [PrivateLogisticRegression, PrivateSVM])
def test_several_classes(monkeypatch, model):
    estimator = model(4.0, method="output", neighbours="add-remove", classes=["a", "b", "c"])
    assert not audit(estimator, fits=50, rng=np.random.default_rng(0)).violated
    noise_times(monkeypatch, 0.25)
    assert audit(estimator, fits=200, rng=np.random.default_rng(0)).violated


@pytest.mark.parametrize("relation", RELATIONS)
def test_a_missing_clip_is_caught(relation):
    """The canary is longer than the norm to which rows should be clipped."""
    claim = {"epsilon": exact_epsilon(0.5, 0.05), "neighbours": relation, "data_norm": 3.0}
    rng = np.random.default_rng(0)
    assert not audit(GaussianSum(mu=0.5 / 3.0, **claim), fits=300, block=1, rng=rng).violated
    assert audit(Unclipped(mu=0.5 / 3.0, **claim), fits=300, block=1, rng=rng).violated


def test_a_model_without_noise_is_caught():
    """At the claim's own point alone, where there is no profile."""
    found = audit(GaussianSum(0.5, 1e-5, mu=1e9), fits=100, block=1, rng=np.random.default_rng(0))
    assert found.violated
    assert len(found.points) == 2
    assert found.worst.epsilon == 0.5
    assert (found.worst.true_rate, found.worst.false_rate) == (1.0, 0.0)
    assert "violated at eps' = 0.5" in str(found)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("method", ["objective", "output", "gradient"])
def test_shards_of_owners(monkeypatch, method, relation):
    """The shard of an owner is as hard to see as a record; it shows where its records count one by one."""
    estimator = PrivateSVM(4.0, method=method, neighbours=relation)
    assert not audit(estimator, fits=150, shard=12, rng=np.random.default_rng(0)).violated
    monkeypatch.setattr("simulator.privacy.training.record_weights", lambda owners: np.ones(len(owners)))
    assert audit(estimator, fits=150, shard=12, rng=np.random.default_rng(0)).violated


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("swap", [False, True])
def test_own_data_sets(relation, swap):
    """The canary is found wherever it stands, and in whichever set."""
    X, y = np.array([[0.1, 0.0], [0.0, 1.0], [0.2, 0.0]]), np.array(["no", "yes", "no"])
    fewer = (np.delete(X, 1, axis=0), np.delete(y, 1))
    changed = (X * np.array([[1.0], [-1.0], [1.0]]), y)
    pair = (*(changed if relation == "replace-one" else fewer), X, y)
    estimator = GaussianSum(0.5, 1e-5, relation, mu=4.0)
    pair = pair[2:] + pair[:2] if swap else pair
    found = audit(estimator, pair=pair, fits=300, rng=np.random.default_rng(0))
    assert found.violated
    assert found.epsilon_lower > 2.0
    with pytest.raises(ValueError, match="differ"):
        audit(estimator, pair=(X, y, X, y))


# --- how it is used --------------------------------------------------------------------------------------


def test_it_trains_as_often_as_asked_and_leaves_the_estimator_alone():
    estimator = GaussianSum(1.0, random_state=3)
    before = GaussianSum.fitted
    audit(estimator, fits=40, block=1)
    assert GaussianSum.fitted - before == 80
    assert estimator.random_state == 3
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)


def test_one_generator_gives_one_result():
    estimator = PrivateSVM(1.0, method="output")
    one, two, other = (audit(estimator, fits=40, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == two
    assert one != other
    # By default the noise is the operating system's.
    assert audit(estimator, fits=40) != audit(estimator, fits=40)


def test_the_summary_is_one_sentence():
    found = audit(PrivateSVM(1.0, method="output"), fits=40, rng=np.random.default_rng(1))
    assert str(found) == (
        f"output: eps = 1, delta = 1e-05 (replace-one) is not refuted; eps is at least {found.epsilon_lower:.2f} at "
        "that delta (40 fits a side, confidence 0.95)."
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"fits": 29}, "fits must be a whole number, at least 30, found 29"),
        ({"fits": 100.5}, "fits"),
        ({"block": 0}, "block"),
        ({"n_classes": 1}, "n_classes"),
        ({"shard": 0}, "shard"),
        ({"shard": 2, "pair": ([[1.0], [2.0]], [0, 1], [[1.0]], [0])}, "shard must not be given with own data sets"),
        ({"confidence": 1.0}, "confidence must be between 0 and 1, found 1.0"),
        ({"confidence": math.nan}, "confidence"),
        ({"rng": 3}, "rng must be a numpy.random.Generator, found 3"),
        ({"pair": "far"}, "pair must be one of auto, opposed, neutral or .*, found 'far'"),
        ({"pair": ([[1.0]], [0])}, "pair"),
        ({"pair": ([1.0], [0], [[1.0]], [0])}, r"shape \(N, d\)"),
        ({"pair": ([[1.0]], [0], [[1.0, 2.0]], [0])}, "columns, found 1 and 2"),
        ({"pair": ([[1.0], [2.0]], [0, 1], [[2.0], [3.0]], [0, 1])}, "differ in the content of one record"),
        ({"pair": ([[1.0], [2.0]], [0, 1], [[1.0]], [0])}, "differ in the content of one record"),
        ({"estimator": PrivateSVM}, "estimator must be an instance"),
        ({"estimator": PrivateSVM(0.0)}, "epsilon must be positive"),
        ({"estimator": BaseEstimator()}, "BaseEstimator must have the parameters epsilon, delta, neighbours"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, named):
    with pytest.raises(ValueError, match=named):
        audit(**({"estimator": PrivateSVM(1.0)} | options))


@pytest.mark.parametrize("cls", [PrivateLogisticRegression, PrivateSVM])
def test_the_classifiers_pass_the_shared_check(cls):
    check_private_classifier(cls, fits=60)


class Careless(PrivateSVM):
    """Clips nothing: the norm given is not used."""

    def fit(self, X, y):
        norm, self.data_norm = self.data_norm, 1e6
        try:
            return super().fit(X, y)
        finally:
            self.data_norm = norm


class Credulous(GaussianSum):
    """Takes any epsilon."""


class Seeded(PrivateSVM):
    """Has one noise for everybody."""

    def fit(self, X, y):
        given, self.random_state = self.random_state, np.random.default_rng(0)
        try:
            return super().fit(X, y)
        finally:
            self.random_state = given


@pytest.mark.parametrize(
    ("cls", "named"), [(Careless, "clip"), (Credulous, "epsilon = 0"), (Seeded, "random_state"), (Unclipped, "clip")]
)
def test_the_shared_check_finds_what_such_classes_get_wrong(cls, named):
    with pytest.raises(AssertionError, match=named):
        check_private_classifier(cls)
