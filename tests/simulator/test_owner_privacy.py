"""Owners as the unit of privacy: what all records of one of them can move, against exact densities and solutions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simulator.privacy import (
    GradientDescent,
    Perturbation,
    PrivateLogisticRegression,
    PrivateSVM,
    perturbation,
    plan_training,
    train,
)
from simulator.privacy.losses import HuberHinge, Logistic, Softmax
from simulator.privacy.objective import objective_noise, published_delta, released_delta, renyi_delta

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=60)
DELTA = 1e-5
RELATIONS = ("replace-one", "add-remove")
MARGINS = (Logistic(), HuberHinge())
MODELS = (PrivateLogisticRegression, PrivateSVM)
METHODS = ("objective", "output", "gradient")


# --- exact densities -------------------------------------------------------------------------------------

#: Signed records y x of one owner in one dimension: one, two that agree, that disagree, many.
SHARDS = ([1.0], [1.0, 0.2], [1.0, -1.0], [1.0, 1.0, 1.0, -0.5], [-1.0, -1.0])
CROWDS = ([], [[1.0]] * 8, [[-1.0]] * 8, [[0.5, -1.0]] * 8)


def log_density(owners, w, loss, noise, regularisation):
    """Log density at w of the minimum of the perturbed objective in which every owner weighs 1."""
    b, second = -regularisation * w, np.full(len(w), regularisation)
    for shard in owners:
        margins = w[:, None] * np.array(shard)
        b = b + loss.slope(margins) @ np.array(shard) / len(shard)
        second = second + loss.curvature(margins) @ np.array(shard) ** 2 / len(shard)
    return stats.norm.logpdf(b, scale=noise) + np.log(second)


@pytest.mark.parametrize("loss", MARGINS, ids=repr)
@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize(("noise", "regularisation"), [(20.0, 50.0), (4.0, 10.0), (2.0, 3.0)])
def test_no_exact_density_exceeds_the_bound(noise, regularisation, neighbours, loss):
    reach = (12 * noise + 20) / regularisation
    w = np.linspace(-reach, reach, 20_001)
    step = w[1] - w[0]
    epsilons = [f / noise for f in (0.3, 1.0, 3.0, 5.0, 7.0)]
    bounds = [published_delta(e, noise, regularisation, loss, neighbours, unit="owner") for e in epsilons]
    nearest = 0.0
    for crowd, shard in itertools.product(CROWDS, SHARDS):
        others = [[*crowd, other] for other in SHARDS if other != shard] if neighbours == "replace-one" else [crowd]
        p = log_density([*crowd, shard], w, loss, noise, regularisation)
        assert np.exp(p).sum() * step == pytest.approx(1.0, abs=1e-3)
        for other in others:
            q = log_density(other, w, loss, noise, regularisation)
            for e, bound in zip(epsilons, bounds, strict=True):
                for one, two in ((p, q), (q, p)):
                    found = (np.exp(one) * -np.expm1(np.minimum(e + two - one, 0.0))).sum() * step
                    # The quadrature's own error: 1e-3 of a delta, and 1e-12 where nothing is left.
                    assert found * (1 - 1e-3) - 1e-12 <= bound
                    nearest = max(nearest, found / bound if bound > 1e-12 else 0.0)
    # The bound is not empty: some pair comes within two orders of magnitude of it.
    assert nearest > 0.01


@pytest.mark.parametrize("loss", MARGINS, ids=repr)
@pytest.mark.parametrize("shard", [[(1.0, 0.0), (0.0, 1.0)], [(0.8, 0.6), (0.8, -0.6), (-0.6, 0.8)]])
def test_an_owner_of_records_in_several_directions(loss, shard):
    """Exact densities on a grid of two dimensions, where the shard's gradient turns as the weights move."""
    noise, regularisation = 2.0, 4.0
    reach = (7 * noise + 4) / regularisation
    axis = np.linspace(-reach, reach, 301)
    w = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)

    def log_density_2d(owners):
        b, hessian = -regularisation * w, np.tile([regularisation, regularisation, 0.0], (len(w), 1))
        for own in owners:
            v = np.array(own)
            margins = w @ v.T
            b = b + loss.slope(margins) @ v / len(v)
            squares = np.column_stack([v[:, 0] ** 2, v[:, 1] ** 2, v[:, 0] * v[:, 1]])
            hessian = hessian + loss.curvature(margins) @ squares / len(v)
        return stats.norm.logpdf(b, scale=noise).sum(axis=1) + np.log(
            hessian[:, 0] * hessian[:, 1] - hessian[:, 2] ** 2
        )

    common = [[(0.0, -1.0)], [(0.6, 0.8), (-1.0, 0.0)]]
    p = log_density_2d([*common, shard])
    cell = (axis[1] - axis[0]) ** 2
    assert np.exp(p).sum() * cell == pytest.approx(1.0, abs=1e-2)
    for neighbours, other in (("add-remove", common), ("replace-one", [*common, [(-1.0, 0.0), (0.0, -1.0)]])):
        q = log_density_2d(other)
        for e, (one, two) in itertools.product((0.5, 1.0, 2.0, 3.5), ((p, q), (q, p))):
            found = (np.exp(one) * -np.expm1(np.minimum(e + two - one, 0.0))).sum() * cell
            assert found * (1 - 2e-2) <= published_delta(e, noise, regularisation, loss, neighbours, unit="owner")


def test_the_moment_of_a_mean_of_positive_parts_is_that_of_one_at_most():
    """The step of the proof that a shard's gradient may turn: for normal variables of any correlation."""
    rng = np.random.default_rng(0)
    for t, r in itertools.product((0.5, 2.0, 4.0), (1, 2, 5)):
        loadings = rng.normal(size=(r, 3))
        loadings /= np.linalg.norm(loadings, axis=1, keepdims=True)
        z = np.maximum(rng.normal(size=(200_000, 3)) @ loadings.T, 0.0).mean(axis=1)
        one = 0.5 + math.exp(t**2 / 2) * stats.norm.cdf(t)
        samples = np.exp(t * z)
        assert samples.mean() - 4 * samples.std() / math.sqrt(len(samples)) <= one


@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize("loss", MARGINS, ids=repr)
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_owners_take_the_bound_that_holds_for_them(epsilon, loss, neighbours):
    scales = objective_noise(epsilon, DELTA, loss, neighbours, tight=False, unit="owner")
    assert released_delta(epsilon, scales, epsilon, loss, neighbours, 1, False, "owner") <= DELTA * (1 + 1e-9)
    for e in (0.5 * epsilon, epsilon):
        args = e, scales.objective_noise, scales.regularisation, loss, neighbours
        assert published_delta(*args, unit="owner") == renyi_delta(*args)
    # Owners pay for it with more noise, but not with much.
    record = objective_noise(epsilon, DELTA, loss, neighbours, tight=False)
    assert 1.0 < scales.objective_noise / record.objective_noise < 1.25


@pytest.mark.parametrize("loss", [*MARGINS, Softmax(3)], ids=repr)
def test_newton_steps_are_taken_by_the_weighted_curvature(loss):
    """The Hessian's product is the derivative of the gradient, by differences."""
    rng = np.random.default_rng(1)
    rows, weights = rng.normal(size=(30, 4)) / 4, rng.uniform(0.1, 2.0, 30)
    if loss in MARGINS:
        signs = rng.choice([-1.0, 1.0], 30)
        problem = perturbation._MarginProblem(rows, signs, weights, loss, 0.7, rng.normal(size=4))
    else:
        targets = np.eye(3)[:, rng.integers(0, 3, 30)]
        problem = perturbation._SoftmaxProblem(rows, targets, weights, 0.7, rng.normal(size=(3, 4)))
    # The hinge's curvature jumps; at these weights no margin is near a jump.
    w, v, h = 0.5 * rng.normal(size=problem.size), rng.normal(size=problem.size), 1e-6
    ahead, behind = (problem.value_and_gradient(w + step * v)[1] for step in (h, -h))
    assert problem.hessian_product(w)(v) == pytest.approx((ahead - behind) / (2 * h), abs=1e-7)
    gradient = problem.value_and_gradient(w)[1]
    values = [problem.value_and_gradient(w + step * v)[0] for step in (h, -h)]
    assert gradient @ v == pytest.approx((values[0] - values[1]) / (2 * h), abs=1e-7)
    if loss in MARGINS:  # a dense step is exact
        assert problem.hessian_product(w)(problem.newton_step(w, gradient)) == pytest.approx(gradient, abs=1e-10)


# --- what one owner can move -----------------------------------------------------------------------------


def market(rng, owners, classes=2, d=4):
    """Owners' records, one a row, with owners of very different sizes."""
    sizes = rng.integers(1, 12, owners)
    who = np.repeat(np.arange(owners), sizes)
    features = rng.normal(size=(len(who), d)) * rng.choice([0.1, 1.0, 30.0], size=(len(who), 1))
    return features, rng.integers(0, classes, len(who)), who


class Silent:
    """A generator of no noise."""

    def normal(self, scale, size):
        return np.zeros(size)


@PROPERTY
@given(
    st.sampled_from(["logistic", "svm"]), st.sampled_from(RELATIONS), st.sampled_from([2, 3]), st.integers(0, 2**32 - 1)
)
def test_no_owner_moves_the_solution_further_than_its_noise_assumes(model, neighbours, classes, seed):
    """Output perturbation, exactly solved: what the sensitivity is claimed to be."""
    rng = np.random.default_rng(seed)
    features, labels, who = market(rng, 6, classes)
    if neighbours == "replace-one":  # owner 0 turned round
        other = features * np.where(who == 0, -1.0, 1.0)[:, None], (labels + (who == 0)) % classes, who
    else:
        kept = who > 0
        other = features[kept], labels[kept], who[kept]
    options = {"model": model, "method": "output", "neighbours": neighbours, "rng": Silent()}
    options["fit_intercept"] = False  # the weights are then those of the clipped rows
    one, two = (train(x, y, classes, 1.0, DELTA, owners=o, **options) for x, y, o in ((features, labels, who), other))
    scales, loss = one.plan.noise, one.plan.loss
    models = classes if classes > 2 and not isinstance(loss, Softmax) else 1
    moved = (2 if neighbours == "replace-one" else 1) * loss.gradient_norm * math.sqrt(models)
    allowed = (moved + 2 * scales.gradient_tolerance) / scales.regularisation
    assert np.linalg.norm(one.coef - two.coef) <= allowed * (1 + 1e-9)


def gradients(monkeypatch, features, labels, who, classes, model, weights):
    """The exact gradient at given weights of the sum that noisy gradients are taken of."""
    seen = []

    def spy(self, rows, targets, loss, rng, shares):
        scores = rows @ weights[: rows.shape[1], : targets.shape[1]]
        if isinstance(loss, Softmax):
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            residuals = p / p.sum(axis=1, keepdims=True) - targets
        else:
            residuals = -targets * loss.slope(targets * scores)
        seen.append((rows.T @ (shares[:, None] * residuals), loss))
        return np.zeros((rows.shape[1], targets.shape[1]))

    monkeypatch.setattr(GradientDescent, "fit", spy)
    train(features, labels, classes, 1.0, DELTA, model=model, method="gradient", owners=who, rng=None)
    return seen[0]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("model", ["logistic", "svm"])
def test_no_owner_moves_a_gradient_further_than_its_noise_assumes(monkeypatch, model, classes, seed):
    rng = np.random.default_rng(seed)
    features, labels, who = market(rng, 6, classes)
    for scale in (0.0, 1.0, 50.0):
        weights = scale * rng.normal(size=(5, classes))
        whole, loss = gradients(monkeypatch, features, labels, who, classes, model, weights)
        kept = who != 2
        rest, _ = gradients(monkeypatch, features[kept], labels[kept], who[kept], classes, model, weights)
        models = classes if classes > 2 and not isinstance(loss, Softmax) else 1
        norm = loss.initial_gradient_norm if scale == 0 else loss.gradient_norm
        assert np.linalg.norm(whole - rest) <= norm * math.sqrt(models) * (1 + 1e-9)


@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_copies_of_a_record_in_one_hand_count_once(model, method, neighbours):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    copies = np.repeat(np.arange(40), rng.integers(1, 6, 40))

    def fitted(records, labels, owners):
        options = {"method": method, "neighbours": neighbours, "random_state": np.random.default_rng(0)}
        return model(5.0, **options).fit(records, labels, owners)

    once, often = fitted(X, y, np.arange(40)), fitted(X[copies], y[copies], copies)
    # Both solve to a gradient norm of 1e-5 at a penalty above 5.
    assert often.coef_ == pytest.approx(once.coef_, abs=1e-5)
    assert often.noise_ == once.noise_
    assert often.accounting_.unit == "owner"


@pytest.mark.parametrize("method", ["output", "gradient"])
@pytest.mark.parametrize("model", MODELS)
def test_owners_of_one_record_each_are_records(model, method):
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 3
    by_owner, by_record = (
        model(1.0, method=method, random_state=np.random.default_rng(0)).fit(X, y, groups)
        for groups in (rng.permutation(60), None)
    )
    assert by_owner.coef_ == pytest.approx(by_record.coef_, rel=1e-9)
    assert by_owner.noise_ == by_record.noise_
    assert (by_owner.accounting_.unit, by_record.accounting_.unit) == ("owner", "record")


# --- interface -------------------------------------------------------------------------------------------


def test_every_owner_weighs_one(monkeypatch):
    seen = []

    def spy(self, rows, targets, loss, rng, weights):
        seen.append(weights)
        return np.zeros((rows.shape[1], 1))

    monkeypatch.setattr(Perturbation, "fit", spy)
    X, y = np.ones((6, 2)), [0, 1, 0, 1, 0, 1]
    PrivateLogisticRegression(method="output").fit(X, y, groups=["a", "b", "a", "c", "a", "b"])
    assert seen[0].tolist() == pytest.approx([1 / 3, 1 / 2, 1 / 3, 1.0, 1 / 3, 1 / 2])
    PrivateLogisticRegression(method="output").fit(X, y)
    assert seen[1] is None


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([1, 2, 3], "groups must name the owner of each of 4 records, found shape"),
        ([1.0, 2.0, math.nan, 1.0], "groups must name the owner of each record, found missing ones"),
        (["a", "b", None, "a"], "found missing ones"),
        (np.ones((4, 2)), r"found shape \(4, 2\)"),
    ],
)
def test_groups_that_name_no_owners(groups, said):
    with pytest.raises(ValueError, match=said):
        PrivateSVM().fit(np.ones((4, 2)), [0, 1, 0, 1], groups)


def test_what_is_for_records_only_is_refused_by_name():
    with pytest.raises(ValueError, match="method 'amp' is for records as units, found unit 'owner'"):
        plan_training(1.0, DELTA, 2, 10, 4, method="amp", unit="owner")
    with pytest.raises(ValueError, match="accounting 'tight' is for records as units"):
        plan_training(1.0, DELTA, 2, 10, 4, method="objective", accounting="tight", unit="owner")
    with pytest.raises(ValueError, match="unit must be one of record, owner, found 'shard'"):
        plan_training(1.0, DELTA, 2, 10, 4, unit="shard")


@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("model", ["logistic", "svm"])
@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_a_plan_for_owners_keeps_its_account(method, model, classes, neighbours):
    account = plan_training(1.0, DELTA, classes, 50, 4, model=model, method=method, neighbours=neighbours, unit="owner")
    assert account.guarantee.unit == "owner"
    assert account.guarantee.profile(1.0) <= DELTA * (1 + 1e-9)
    if account.guarantee.method == "objective":
        assert "Redberg" in account.guarantee.bound


def test_the_market_trains_for_owners(make_config, monkeypatch):
    """Each version's records come with their owners."""
    from simulator import Market
    from simulator.agents import broker

    seen = []

    def spy(features, *args, owners, **options):
        seen.append((len(features), owners))
        return train(features, *args, owners=owners, **options)

    monkeypatch.setattr(broker, "train", spy)
    for unit in ("record", "owner"):
        market = Market(make_config(data="iris", broker={"training": {"unit": unit}, "manufacturing_budget": 1e6}))
        market.step()
        bought = market.broker.last_purchases.bought
        for (records, owners), own in zip(seen, bought[bought.any(axis=1)], strict=True):
            if unit == "record":
                assert owners is None
            else:
                assert len(owners) == records
                assert set(owners) == set(np.flatnonzero(own))
        seen.clear()
