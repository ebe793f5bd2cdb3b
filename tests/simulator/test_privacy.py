"""The privacy of each mechanism's noise, against integrals of its privacy loss and exact densities."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from scipy.special import softmax

from simulator.privacy import Perturbation, epsilon_spent, plan_training
from simulator.privacy.accounting import implied_delta
from simulator.privacy.amp import amp_delta, amp_noise
from simulator.privacy.gaussian import classical_noise, gaussian_delta, gaussian_mu
from simulator.privacy.gradient import gradient_noise
from simulator.privacy.losses import HuberHinge, Logistic, Softmax
from simulator.privacy.objective import objective_noise, published_delta, released_delta, renyi_delta, tight_delta
from simulator.privacy.output import output_noise

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=60)

DELTA = 1e-5
RELATIONS = ("replace-one", "add-remove")
MARGINS = (Logistic(), HuberHinge())
LOSSES = (*MARGINS, Softmax(3), Softmax(10))


def hockey_stick_of_loss(epsilon, loss):
    """E[(1 - exp(eps - loss(Z)))+] for a standard normal Z, by the trapezoidal rule; `loss` takes an array."""
    z = np.linspace(-12.0, 40.0, 100_001)
    excess = -np.expm1(np.minimum(epsilon - loss(z), 0.0))
    return integrate.trapezoid(excess * stats.norm.pdf(z), z)


# --- the Gaussian mechanism ------------------------------------------------------------------------------


def hockey_stick(epsilon, noise):
    """Integral of (p - e^epsilon q)+ for Gaussians of this deviation, one apart, by quadrature."""
    p, q = stats.norm(1.0, noise), stats.norm(0.0, noise)

    def excess(x):
        return max(p.pdf(x) - math.exp(epsilon) * q.pdf(x), 0.0)

    # The densities cross once, where the log ratio (2x - 1) / (2 noise^2) is epsilon; both decay beyond.
    crossing = epsilon * noise**2 + 0.5
    return sum(
        integrate.quad(excess, low, high, epsabs=0.0, epsrel=1e-11, limit=500)[0]
        for low, high in (
            (crossing, crossing + noise),
            (crossing + noise, crossing + 5 * noise),
            (crossing + 5 * noise, crossing + 40 * noise),
        )
    )


@pytest.mark.parametrize("noise", [0.2, 0.7, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, 5.0, 12.0])
def test_delta_of_gaussian_noise_is_its_hockey_stick_divergence(epsilon, noise):
    exact = hockey_stick(epsilon, noise)
    # Digits are lost where two close probabilities are subtracted, here at most six of sixteen.
    assert gaussian_delta(epsilon, noise) == pytest.approx(exact, rel=1e-8, abs=1e-300)


@PROPERTY
@given(st.floats(0.0, 10.0), st.floats(0.1, 10.0))
def test_delta_falls_with_epsilon_and_with_noise(epsilon, noise):
    delta = gaussian_delta(epsilon, noise)
    assert 0.0 <= delta <= 1.0
    assert gaussian_delta(epsilon + 0.1, noise) <= delta
    assert gaussian_delta(epsilon, noise * 1.1) <= delta


def test_delta_at_zero_epsilon_is_the_total_variation():
    for noise in (0.3, 1.0, 7.0):
        assert gaussian_delta(0.0, noise) == pytest.approx(math.erf(0.5 / (math.sqrt(2) * noise)), rel=1e-12)


@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-2, 0.3, 0.9])
@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 1.0, 10.0, 60.0])
def test_the_noise_is_the_smallest_that_is_private(epsilon, delta):
    noise = 1.0 / gaussian_mu(epsilon, delta)
    assert gaussian_delta(epsilon, noise) <= delta
    # A thousandth less would not do, by the independent integral.
    assert hockey_stick(epsilon, 0.999 * noise) > delta


@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-2, 0.3])
def test_the_closed_form_is_used_exactly_where_it_is_private(delta):
    accepted = []
    for epsilon in np.linspace(0.5, 60.0, 24):
        noise = (1 + math.sqrt(2 * math.log(1 / delta))) / epsilon
        private = hockey_stick(epsilon, noise) <= delta
        accepted.append(private)
        if private:
            assert classical_noise(epsilon, delta) == pytest.approx(noise, rel=1e-14)
        else:
            with pytest.raises(ValueError, match=f"epsilon = {epsilon:.4g}"):
                classical_noise(epsilon, delta)
    # It holds for moderate epsilon, and fails beyond.
    assert accepted == sorted(accepted, reverse=True)
    assert accepted[0]
    assert not accepted[-1]


@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 1e-3), (2.0, 1e-5)])
def test_gaussian_losses_compose_by_the_root_of_squares(epsilon, delta):
    """Losses N(mu^2/2, mu^2) of two mechanisms, added by integrating over both."""
    mu = gaussian_mu(epsilon, delta)
    first, second = 0.6 * mu, 0.8 * mu
    z = np.linspace(-10.0, 10.0, 4001)
    one, other = (m**2 / 2 + m * z for m in (first, second))
    weight = stats.norm.pdf(z) * (z[1] - z[0])
    total = -np.expm1(np.minimum(epsilon - one[:, None] - other[None, :], 0.0))
    # The trapezoidal rule has an error of the step squared where the integrand has its corner.
    assert weight @ total @ weight == pytest.approx(delta, rel=1e-4)


@pytest.mark.parametrize("at", [0.0, 0.3, 1.0, 3.0])
def test_a_guarantee_implies_others(at):
    """No mechanism with the guarantee does worse; the Gaussian one is such a mechanism."""
    mu = gaussian_mu(1.0, 1e-3)
    assert gaussian_delta(at, 1 / mu) <= implied_delta(at, 1.0, 1e-3)
    # Randomised response reveals everything with probability delta and is the worst: equality.
    p = 1e-3 + 0.999 * math.e / (1 + math.e) * 1.0
    q = 0.999 / (1 + math.e)
    worst = 1e-3 + max(0.999 * math.e / (1 + math.e) - math.exp(at) * q, 0.0)
    assert p + q == pytest.approx(1.0, rel=1e-12)
    assert worst <= implied_delta(at, 1.0, 1e-3) + 1e-15


# --- losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [*MARGINS, HuberHinge(0.1), HuberHinge(1.0)], ids=repr)
def test_slopes_and_curvatures_of_losses(loss):
    m = np.linspace(-4.0, 4.0, 1601)
    h = 1e-5
    slope = -(loss.value(m + h) - loss.value(m - h)) / (2 * h)
    # Differences of losses up to 5 over steps of 1e-5 carry a rounding error of 1e-10, and at corners one of h.
    assert loss.slope(m) == pytest.approx(slope, abs=1e-8 + h * loss.smoothness)
    assert loss.slope(m).min() >= 0.0
    assert loss.slope(m).max() <= loss.gradient_norm
    # At the corners of the parabola the second derivative jumps.
    smooth = np.abs(np.abs(m - 1.0) - getattr(loss, "width", 9.0)) > 1e-3
    curvature = -(loss.slope(m + h) - loss.slope(m - h)) / (2 * h)
    assert loss.curvature(m)[smooth] == pytest.approx(curvature[smooth], abs=1e-7)
    assert loss.curvature(m).max() == pytest.approx(loss.smoothness, rel=1e-9)
    assert loss.initial_gradient_norm == pytest.approx(loss.slope(np.zeros(1))[0], rel=1e-12)


def test_the_rounded_hinge_is_the_hinge_outside_its_corner():
    loss = HuberHinge(0.5)
    m = np.array([-3.0, 0.5, 1.5, 4.0])
    assert loss.value(m).tolist() == [4.0, 0.5, 0.0, 0.0]
    assert loss.value(np.array([1.0]))[0] == pytest.approx(0.5 / 4)


@PROPERTY
@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_bounds_of_the_multinomial_loss(k, seed):
    rng = np.random.default_rng(seed)
    loss, regularisation = Softmax(k), 0.3 + rng.random()
    p = softmax(4 * rng.normal(size=k))
    gradient = p - np.eye(k)[0]
    assert np.linalg.norm(gradient) <= loss.gradient_norm
    assert np.linalg.norm(np.full(k, 1 / k) - np.eye(k)[0]) == pytest.approx(loss.initial_gradient_norm, rel=1e-12)
    # The gradient is in the hull of the vertices e_j - e_y, and of zero.
    assert gradient == pytest.approx((np.eye(k) - np.eye(k)[0]).T @ p, abs=1e-12)
    # One record's Hessian in d dimensions beside another positive one.
    d = 3
    x = rng.normal(size=d)
    x /= np.linalg.norm(x)
    a = rng.normal(size=(d * k, d * k))
    base = regularisation * np.eye(d * k) + a @ a.T * rng.random()
    with_record = base + np.kron(np.diag(p) - np.outer(p, p), np.outer(x, x))
    ratio = np.linalg.slogdet(with_record)[1] - np.linalg.slogdet(base)[1]
    assert -1e-9 <= ratio <= loss.determinant(regularisation) + 1e-9


@pytest.mark.parametrize("loss", MARGINS, ids=repr)
def test_determinant_of_a_loss_of_the_margin(loss):
    x = np.array([0.6, 0.8])
    base = 0.7 * np.eye(2)
    worst = np.linalg.slogdet(base + loss.smoothness * np.outer(x, x))[1] - np.linalg.slogdet(base)[1]
    assert loss.determinant(0.7) == pytest.approx(worst, rel=1e-12)


# --- approximate minima perturbation ---------------------------------------------------------------------


@pytest.mark.parametrize("loss", MARGINS, ids=repr)
@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize("n", [1, 455, 10**6])
@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5, 1.0, 3.0, 10.0])
def test_scales_by_the_published_formulas(epsilon, n, neighbours, loss):
    """Iyengar et al., algorithm 1 in sum form, with the factor 2 of the output noise."""
    noise = amp_noise(epsilon, DELTA, n, loss, neighbours)
    e2, d2 = epsilon / 100, DELTA / 100
    e1, d1 = epsilon - e2, DELTA - d2
    e3 = max(min(0.887 + 0.019 * epsilon**-0.373, 0.99) * e1, e1 - 0.999)
    assert 0 < e1 - e3 < 1
    replace = neighbours == "replace-one"
    sensitivity, r = (2.0, 2.0) if replace else (1.0, 1.0)
    beta = 0.25 if loss == Logistic() else 1 / (2 * 0.5)
    assert noise.regularisation == pytest.approx(r * beta / (e1 - e3), rel=1e-12)
    assert noise.objective_noise == pytest.approx(sensitivity * (1 + math.sqrt(2 * math.log(1 / d1))) / e3, rel=1e-12)
    if replace:  # gamma = 1/n^2 in mean form; n is public
        gamma = 1.0 / n**2
        assert noise.gradient_tolerance == pytest.approx(n * gamma, rel=1e-12)
    else:  # nothing may depend on n, which is private
        assert noise == amp_noise(epsilon, DELTA, n + 1, loss, neighbours)
        assert noise.gradient_tolerance > 0
    assert noise.output_noise == pytest.approx(
        2 * noise.gradient_tolerance / noise.regularisation * (1 + math.sqrt(2 * math.log(1 / d2))) / e2, rel=1e-12
    )


@pytest.mark.parametrize("loss", MARGINS, ids=repr)
@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_output_noise_of_amp_hides_what_the_solver_left_open(epsilon, neighbours, loss):
    """Two solutions, each within tolerance / Lambda of the exact one, on a hundredth of the budget."""
    noise = amp_noise(epsilon, DELTA, 40, loss, neighbours)
    apart = 2 * noise.gradient_tolerance / noise.regularisation
    assert hockey_stick(epsilon / 100, noise.output_noise / apart) <= DELTA / 100


def log_density(w, records, labels, loss, noise, regularisation):
    """Log density of the exact minimum w of the perturbed objective, in one dimension.

    The minimum is w exactly if the linear term is b = -(Lambda w + sum of the losses' gradients), a decreasing
    map of w, so the density is that of b times the second derivative of the objective.
    """
    margins = w[:, None] * (records * labels)[None, :]
    b = -(regularisation * w - loss.slope(margins) @ (records * labels))
    second = regularisation + loss.curvature(margins) @ records**2
    return stats.norm.logpdf(b, scale=noise) + np.log(second)


def exact_deltas(epsilons, one, other, loss, noise, regularisation):
    """Hockey-stick divergences of the exact minima's densities, both ways, by the trapezoidal rule."""
    # Where b is within 12 deviations; the densities are negligible elsewhere.
    reach = (12 * noise + 20) / regularisation
    w = np.linspace(-reach, reach, 20_001)
    step = w[1] - w[0]
    p, q = (log_density(w, *data, loss, noise, regularisation) for data in (one, other))
    # The hinge's density jumps where its curvature does, which costs a step of the grid.
    assert np.exp(p).sum() * step == pytest.approx(1.0, abs=1e-3)
    return [
        max((np.exp(a) * -np.expm1(np.minimum(e + b - a, 0.0))).sum() * step for a, b in ((p, q), (q, p)))
        for e in epsilons
    ]


def pairs(neighbours):
    """Neighbours with nothing else, ten alike, and a crowd on the other side."""
    none, ones = np.ones(0), np.ones(10)
    for crowd, labels in ((none, none), (ones, ones), (ones, -ones), (0.3 * ones, ones)):
        with_record = np.append(crowd, 1.0), np.append(labels, 1.0)
        if neighbours == "replace-one":
            yield with_record, (np.append(crowd, 1.0), np.append(labels, -1.0))
            yield with_record, (np.append(crowd, -1.0), np.append(labels, 1.0))
        else:
            yield with_record, (crowd, labels)


@pytest.mark.parametrize("loss", MARGINS, ids=repr)
@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize("epsilon", [0.2, 1.0, 4.0, 12.0])
def test_the_minimum_by_amp_is_private_by_its_exact_density(epsilon, neighbours, loss):
    """The (e1, d1) guarantee of the exact solution."""
    noise = amp_noise(epsilon, DELTA, 10, loss, neighbours)
    for one, other in pairs(neighbours):
        levels = [f * epsilon for f in (0.1, 0.25, 0.5, 0.8, 0.99)]
        found = exact_deltas(levels, one, other, loss, noise.objective_noise, noise.regularisation)
        assert found[-1] <= 0.99 * DELTA
        # What is released, with more noise, keeps the whole profile.
        for level, exact in zip(levels, found, strict=True):
            assert exact * (1 - 1e-3) <= amp_delta(level, epsilon, DELTA, noise, loss, neighbours)
    half, implied = 0.5 * epsilon, implied_delta(0.5 * epsilon, epsilon, DELTA)
    assert amp_delta(half, epsilon, DELTA, noise, loss, neighbours) < implied
    assert amp_delta(half, epsilon, DELTA, noise, loss, neighbours, n_models=3) == implied
    assert amp_delta(epsilon, epsilon, DELTA, noise, loss, neighbours) <= DELTA


# --- objective perturbation ------------------------------------------------------------------------------


@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize("loss", MARGINS, ids=repr)
@pytest.mark.parametrize(("noise", "regularisation"), [(40.0, 100.0), (8.0, 10.0), (3.0, 5.0), (1.0, 2.0)])
def test_the_published_bound_is_its_formula_at_the_best_order(noise, regularisation, loss, neighbours):
    mu = (2.0 if neighbours == "replace-one" else 1.0) / noise

    def epsilon(log_order):
        a = 1 + math.exp(log_order)
        return (
            -math.log(1 - loss.smoothness / regularisation)
            + mu**2 / 2
            + (a - 1) * mu**2 / 2
            + (math.log(2) + stats.norm.logcdf((a - 1) * mu)) / (a - 1)
            + math.log(1 - 1 / a)
            - (math.log(DELTA) + math.log(a)) / (a - 1)
        )

    best = optimize.minimize_scalar(epsilon, bounds=(-4.0, 12.0), method="bounded").fun
    # The orders tried are 3% apart, which the flat minimum hardly feels; never below the formula.
    assert renyi_delta(best, noise, regularisation, loss, neighbours) == pytest.approx(DELTA, rel=5e-3)
    assert renyi_delta(best, noise, regularisation, loss, neighbours) >= DELTA * (1 - 1e-6)


@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize("loss", MARGINS, ids=repr)
@pytest.mark.parametrize(("noise", "regularisation"), [(40.0, 100.0), (4.0, 10.0), (1.0, 2.0)])
def test_the_published_bound_of_one_model_is_the_expectation_of_its_loss(noise, regularisation, loss, neighbours):
    """E[(1 - exp(eps - loss))+] for the loss -ln(1 - beta/Lambda) + mu^2/2 + mu |Z|."""
    mu = (2.0 if neighbours == "replace-one" else 1.0) / noise
    determinant = -math.log(1 - loss.smoothness / regularisation)
    for f in (1.0, 3.0, 5.0):
        e = determinant + mu**2 / 2 + f * mu
        expected = hockey_stick_of_loss(e, lambda z: determinant + mu**2 / 2 + mu * np.abs(z))
        found = published_delta(e, noise, regularisation, loss, neighbours)
        assert found == pytest.approx(expected, rel=1e-3)
        # The other published bound is weaker there; below, it is all there is.
        assert found <= renyi_delta(e, noise, regularisation, loss, neighbours)
    assert published_delta(0.5 * determinant, noise, regularisation, loss, neighbours) > 0.0
    assert published_delta(9.0, noise, loss.smoothness, loss, neighbours) == 1.0
    several = published_delta(9.0, noise, regularisation, loss, neighbours, 3)
    assert several == renyi_delta(9.0, noise, regularisation, loss, neighbours, 3)


def test_divergences_of_several_models_add_up():
    """At each order: K models are one of K times the divergence, which a direct minimum confirms."""
    loss, noise, regularisation, a = Logistic(), 30.0, 20.0, 1.0 + np.geomspace(1e-1, 1e4, 20_000)
    mu = 1 / noise
    one = (
        -math.log(1 - 0.25 / regularisation)
        + mu**2 / 2
        + (math.log(2) + stats.norm.logcdf((a - 1) * mu)) / (a - 1)
        + (a - 1) * mu**2 / 2
    )
    for models in (1, 3, 10):
        epsilon = 0.15 + 0.08 * models
        direct = math.exp(((a - 1) * (models * one - epsilon + np.log1p(-1 / a)) - np.log(a)).min())
        assert 1e-30 < direct < 0.1
        found = renyi_delta(epsilon, noise, regularisation, loss, "add-remove", models)
        assert found == pytest.approx(direct, rel=1e-2, abs=0.0)


@pytest.mark.parametrize("loss", MARGINS, ids=repr)
@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize(("noise", "regularisation"), [(20.0, 50.0), (4.0, 10.0), (2.0, 3.0), (0.8, 1.5)])
def test_no_exact_density_exceeds_either_bound(noise, regularisation, neighbours, loss):
    """In one dimension, along the whole profile; and the tight bound is near to the worst of them."""
    epsilons = [f / noise for f in (0.3, 1.0, 3.0, 5.0, 7.0)]
    exact = np.max(
        [exact_deltas(epsilons, one, other, loss, noise, regularisation) for one, other in pairs(neighbours)], axis=0
    )
    for e, found in zip(epsilons, exact, strict=True):
        # The quadrature's own error: 1e-3 of a delta, and 1e-12 where nothing is left.
        allowed = found * (1 - 1e-3) - 1e-12
        assert tight_delta(e, noise, regularisation, loss, neighbours) >= allowed
        assert published_delta(e, noise, regularisation, loss, neighbours) >= allowed


@pytest.mark.parametrize(("noise", "regularisation"), [(4.0, 4.0), (2.0, 2.0)])
def test_the_tight_bound_is_attained(noise, regularisation):
    """Logistic, add or remove: where a crowd disagrees, the record's slope is near 1, which leaves a Gaussian."""
    crowd = np.ones(2000), -np.ones(2000)
    with_record = np.append(crowd[0], 1.0), np.append(crowd[1], 1.0)
    w = np.linspace(-12.0, 3.0, 2001)
    for f in (1.0, 3.0):
        bound = tight_delta(f / noise, noise, regularisation, Logistic(), "add-remove")
        p, q = (log_density(w, *d, Logistic(), noise, regularisation) for d in (with_record, crowd))
        found = (np.exp(p) * -np.expm1(np.minimum(f / noise + q - p, 0.0))).sum() * (w[1] - w[0])
        assert 0.8 * bound <= found <= bound


def worst_loss(z, mu, regularisation, loss):
    """h(z): the largest of D(s) + s^2 mu^2/2 + s mu z over slopes s in [0, 1], on a fine grid."""
    s = np.linspace(0.0, 1.0, 201)[:, None]
    if loss == Logistic():
        determinant = np.log1p(s * (1 - s) / regularisation)
    else:
        determinant = np.where(s > 0, np.log1p(1 / (2 * loss.width * regularisation)), 0.0)
    return (determinant + s**2 * mu**2 / 2 + s * mu * z[None, :]).max(axis=0)


@pytest.mark.parametrize("loss", MARGINS, ids=repr)
@pytest.mark.parametrize(("noise", "regularisation"), [(40.0, 100.0), (4.0, 10.0), (1.0, 0.2)])
def test_the_tight_bound_for_add_and_remove_is_the_expectation(noise, regularisation, loss):
    """E[(1 - exp(eps - h(Z)))+], integrated without the lemma that puts the maximum at a vertex."""
    mu = 1 / noise
    z = np.linspace(-9.0, 11.0, 5_001)
    worst = worst_loss(z, mu, regularisation, loss)
    density = stats.norm.pdf(z)
    for f in (0.2, 1.0, 2.0, 4.0):
        e = f / noise
        expected = integrate.trapezoid(-np.expm1(np.minimum(e - worst, 0.0)) * density, z)
        found = tight_delta(e, noise, regularisation, loss, "add-remove")
        # A grid of slopes can only miss the maximum; the trapezoidal rule is good to 1e-5 here.
        assert found >= expected * (1 - 1e-4)
        lemma = regularisation * (e + mu**2 / 2) >= 1.0 if loss == Logistic() else True
        if lemma and e >= loss.determinant(regularisation):
            assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("angle", np.linspace(0.0, math.pi, 13))
@pytest.mark.parametrize("t", [math.sqrt(3.0), 2.0, 3.0, 4.5])
def test_two_positive_parts_exceed_no_more_than_one(t, angle):
    """P(Z+ + Z'+ > 2t) <= P(Z > t) for every correlation from t = sqrt(3), by integration over Z."""

    def tail(z):
        need = 2 * t - max(z, 0.0)
        if need < 0:
            return stats.norm.pdf(z)
        spread = math.sin(angle)
        if spread < 1e-9:
            return stats.norm.pdf(z) * (math.copysign(1.0, math.cos(angle)) * z > need)
        return stats.norm.pdf(z) * stats.norm.sf((need - math.cos(angle) * z) / spread)

    corners = sorted({-12.0, -2 * t, 0.0, t, 2 * t, 14.0})
    found = sum(integrate.quad(tail, a, b, epsabs=1e-14, limit=200)[0] for a, b in itertools.pairwise(corners))
    assert found <= stats.norm.sf(t) * (1 + 1e-6)


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.2, math.pi / 2, 2.5, math.pi])
@pytest.mark.parametrize("loss", MARGINS, ids=repr)
def test_a_replaced_record_in_two_dimensions(loss, angle):
    """Exact densities on a grid, where the two records are not on one line."""
    noise, regularisation = 2.0, 4.0
    reach = (7 * noise + 4) / regularisation
    axis = np.linspace(-reach, reach, 301)
    w = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    common = np.array([[0.0, -1.0], [0.6, 0.8]])

    def log_density_2d(v):
        signed = np.vstack([common, v])
        margins = w @ signed.T
        b = loss.slope(margins) @ signed - regularisation * w
        c = loss.curvature(margins)
        h11, h22, h12 = (
            regularisation * (i == j) + c @ (signed[:, i] * signed[:, j]) for i, j in ((0, 0), (1, 1), (0, 1))
        )
        return stats.norm.logpdf(b, scale=noise).sum(axis=1) + np.log(h11 * h22 - h12**2)

    p, q = log_density_2d(np.array([1.0, 0.0])), log_density_2d(np.array([math.cos(angle), math.sin(angle)]))
    cell = (axis[1] - axis[0]) ** 2
    # The hinge's density jumps where its curvature does, which costs the sum an edge of cells.
    assert np.exp(p).sum() * cell == pytest.approx(1.0, abs=1e-2)
    for e in (0.5, 2.0, 3.5, 5.0):
        found = (np.exp(p) * -np.expm1(np.minimum(e + q - p, 0.0))).sum() * cell
        assert found * (1 - 2e-2) <= tight_delta(e, noise, regularisation, loss, "replace-one")
        assert found * (1 - 2e-2) <= published_delta(e, noise, regularisation, loss, "replace-one")


@pytest.mark.parametrize("neighbours", RELATIONS)
def test_the_multinomial_bound_in_one_dimension_of_three_classes(neighbours):
    """Exact densities of three weights on a grid."""
    loss, noise, regularisation = Softmax(3), 2.0, 3.0
    reach = (8 * noise + 4) / regularisation
    axis = np.linspace(-reach, reach, 51)
    w = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)

    def log_density_3(records):
        b, hessian = -regularisation * w, regularisation * np.eye(3)[None] + np.zeros((len(w), 1, 1))
        for x, y in records:
            p = softmax(x * w, axis=1)
            b = b - x * (p - np.eye(3)[y])
            hessian = hessian + x**2 * (p[:, :, None] * np.eye(3) - p[:, :, None] * p[:, None, :])
        return stats.norm.logpdf(b, scale=noise).sum(axis=1) + np.linalg.slogdet(hessian)[1]

    common = [(1.0, 1), (-1.0, 2)]
    one = log_density_3([*common, (1.0, 0)])
    others = [[*common, (1.0, 1)], [*common, (-1.0, 0)]] if neighbours == "replace-one" else [common]
    cell = (axis[1] - axis[0]) ** 3
    assert np.exp(one).sum() * cell == pytest.approx(1.0, abs=1e-3)
    for other in map(log_density_3, others):
        for p, q in ((one, other), (other, one)):
            for e in (0.5, 1.0, 2.0, 5.0):
                found = (np.exp(p) * -np.expm1(np.minimum(e + q - p, 0.0))).sum() * cell
                assert found * (1 - 1e-2) <= tight_delta(e, noise, regularisation, loss, neighbours)


@pytest.mark.parametrize("k", [3, 10])
@pytest.mark.parametrize(("noise", "regularisation"), [(20.0, 50.0), (3.0, 10.0)])
def test_the_multinomial_bound_covers_the_worst_of_all_vertices(noise, regularisation, k):
    """The loss d + mu^2/2 + max over j of (Z_j - Z_y) / noise, by its tail, for K independent normal Z."""
    loss, sigma = Softmax(k), math.sqrt(2.0) / noise
    z = np.linspace(-9.0, 9.0, 1801)
    for f in (1.0, 3.0, 4.0):
        rest = sigma**2 / 2 + f * sigma
        epsilon = rest + (1 - 1 / k) / regularisation
        t = np.linspace(f * sigma * noise, f * sigma * noise + 12.0, 1201)
        tail = integrate.trapezoid(stats.norm.pdf(z) * (1 - stats.norm.cdf(t[:, None] + z) ** (k - 1)), z, axis=1)
        expected = integrate.trapezoid(np.exp(f * sigma - t / noise) / noise * tail, t)
        found = tight_delta(epsilon, noise, regularisation, loss, "add-remove")
        # A union of K - 1 events, which at K = 10 and one deviation is twice as likely by the sum as by itself.
        assert expected * (1 - 1e-3) <= found <= 2.5 * expected
        # A replaced record has a vertex on either side.
        epsilon = (1 - 1 / k) / regularisation + 2 * sigma**2 + 2 * f * sigma
        both = tight_delta(epsilon, noise, regularisation, loss, "replace-one")
        if f >= math.sqrt(3.0):
            assert both == pytest.approx(
                (k - 1) ** 2 * hockey_stick(2 * sigma**2 + 2 * f * sigma, 1 / (2 * sigma)), rel=1e-6
            )
        assert both >= expected


@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 1.0, 10.0, 100.0])
def test_objective_noise_spends_the_budget_and_no_more(epsilon, loss, neighbours):
    for tight, models in [(True, 1)] + ([(False, 1), (False, 10)] if loss in MARGINS else []):
        scales = objective_noise(epsilon, DELTA, loss, neighbours, n_models=models, tight=tight)
        delta = released_delta(epsilon, scales, epsilon, loss, neighbours, models, tight)
        assert delta <= DELTA * (1 + 1e-9)
        less = Perturbation(scales.regularisation, 0.99 * scales.objective_noise, *vars_of(scales)[2:])
        assert released_delta(epsilon, less, epsilon, loss, neighbours, models, tight) > DELTA
        # The solver's tolerance is hidden by noise of its own, which costs little.
        exact = gaussian_delta(1e-3 * epsilon, scales.output_noise / (2e-5 / scales.regularisation))
        assert exact <= 1e-3 * DELTA * (1 + 1e-6)
        assert scales.output_noise * scales.regularisation < 0.03 * scales.objective_noise


def vars_of(scales):
    return scales.regularisation, scales.objective_noise, scales.gradient_tolerance, scales.output_noise


def test_one_record_more_is_cheaper_to_hide_than_one_replaced():
    for tight in (True, False):
        added, replaced = (
            objective_noise(1.0, DELTA, Logistic(), relation, tight=tight).objective_noise
            for relation in ("add-remove", "replace-one")
        )
        assert 1.9 < replaced / added < 2.2


# --- output perturbation and noisy gradients -------------------------------------------------------------


@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_output_noise_hides_how_far_the_solution_can_move(epsilon, loss, neighbours):
    scales = output_noise(epsilon, DELTA, loss, neighbours)
    change = 2 if neighbours == "replace-one" else 1
    norm = 1.0 if loss in MARGINS else math.sqrt(2)
    moved = (change * norm + 2 * scales.gradient_tolerance) / scales.regularisation
    assert scales.objective_noise == 0.0
    assert hockey_stick(epsilon, scales.output_noise / moved) <= DELTA * (1 + 1e-9)
    assert hockey_stick(epsilon, 0.999 * scales.output_noise / moved) > DELTA
    # Five models move together by the root of five.
    if loss in MARGINS:
        five = output_noise(epsilon, DELTA, loss, neighbours, n_models=5)
        assert five.output_noise == pytest.approx(math.sqrt(5) * scales.output_noise, rel=1e-4)


class Scales:
    """A generator of given numbers in units of the deviation that remembers the deviations asked for."""

    def __init__(self, first=0.0):
        self.first, self.asked = first, []

    def normal(self, scale, size=None):
        self.asked.append(scale)
        return self.first * scale if size is None else np.full(size, 0.1 * scale)


@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("n", [1, 300, 20_000])
def test_noise_of_gradients_hides_all_that_is_released(n, epsilon, loss, neighbours):
    """The steps' losses are normal with mean mu_t^2/2 and variance mu_t^2, so their sum is: integrated directly.

    The noise is what a training of n records asks its generator for. Under add-remove it starts with that of a count,
    whatever comes out of it.
    """
    models = 2 if loss == HuberHinge() else 1
    columns = loss.n_classes if loss not in MARGINS else models
    scales = gradient_noise(epsilon, DELTA, loss, neighbours, n_units=n, n_weights=columns, n_models=models)
    change = 2 if neighbours == "replace-one" else 1
    first = {0: 0.5, 1: 1.0, 2: math.sqrt(2 / 3), 3: math.sqrt(0.9)}[LOSSES.index(loss)]
    later = 1.0 if loss in MARGINS else math.sqrt(2)
    steps = set()
    for count in (0.0, -3.0, 3.0):
        noise = Scales(count)
        scales.fit(np.ones((n, 1)), np.ones((n, columns)), loss, noise)
        squares = []
        if neighbours == "add-remove":
            squares.append((1 / noise.asked.pop(0)) ** 2)
        squares.append(models * (change * first / noise.asked[0]) ** 2)
        squares += [models * (change * later / scale) ** 2 for scale in noise.asked[1:]]
        steps.add(len(noise.asked))
        mean, deviation = sum(squares) / 2, math.sqrt(sum(squares))
        found = hockey_stick_of_loss(epsilon, lambda z, m=mean, d=deviation: m + d * z)
        assert found == pytest.approx(DELTA, rel=1e-3)
    assert max(steps) <= 60
    if neighbours == "replace-one":  # the count is public, and no noise moves it
        assert len(steps) == 1
    elif (n, epsilon) == (300, 1.0):
        assert len(steps) > 1


def test_more_records_are_worth_more_steps():
    """From one where noise drowns what further ones add; the weights of several classes bring noise of their own."""

    def steps(n, epsilon=1.0, loss=Logistic(), **sizes):  # noqa: B008
        options = {"n_weights": 31, **sizes}
        return gradient_noise(epsilon, DELTA, loss, "replace-one", n_units=n, **options).steps

    counts = [steps(n) for n in (1, 10, 100, 300, 1000, 3000, 10**6)]
    assert counts == sorted(counts)
    assert (counts[0], counts[2], counts[-1]) == (1, 1, 60)
    # A first step of half the noise is left alone up to a signal of nine times the noise.
    signal = gaussian_mu(1.0, DELTA) / (2 * math.sqrt(31))
    assert [steps(round(x / signal)) for x in (8.9, 9.2, 20.0)] == [1, 5, 10]
    assert [steps(round(x / signal), loss=HuberHinge()) for x in (4.4, 4.7, 20.0)] == [1, 5, 20]
    assert steps(455, 0.1) == 1 < steps(455, 2.0) < steps(455, 10.0)
    assert steps(1000, n_weights=310) < steps(1000)
    assert steps(1000, loss=HuberHinge(), n_models=10, n_weights=310) < steps(1000, loss=HuberHinge(), n_weights=31)


# --- plans -----------------------------------------------------------------------------------------------

METHODS = ("objective", "amp", "output", "gradient")


@pytest.mark.parametrize("neighbours", RELATIONS)
@pytest.mark.parametrize("model", ["logistic", "svm"])
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_a_plan_keeps_its_account(method, classes, model, neighbours):
    plan = plan_training(1.0, DELTA, classes, 300, 4, model=model, method=method, neighbours=neighbours)
    account = plan.guarantee
    assert account.method == method or (method == "auto" and account.method in METHODS)
    assert (account.neighbours, account.epsilon, account.delta) == (neighbours, 1.0, DELTA)
    assert account.profile(1.0) <= DELTA * (1 + 1e-9)
    profile = [account.profile(e) for e in (0.0, 0.1, 0.5, 1.0, 1.5)]
    assert profile == sorted(profile, reverse=True)
    assert 0.0 <= profile[-1] <= profile[0] <= 1.0
    if account.method in ("output", "gradient"):
        assert account.mu == gaussian_mu(1.0, DELTA)
    else:
        assert account.mu is None
    one_model = classes == 2 or (model == "logistic" and account.method != "amp")
    assert account.models == (1 if one_model else classes)


def test_several_models_share_the_budget():
    """Basic composition for minima perturbation; the published bound adds divergences, which costs less."""
    for neighbours in RELATIONS:
        plan = plan_training(3.0, DELTA, 3, 50, 4, method="amp", neighbours=neighbours)
        assert plan.noise == amp_noise(1.0, DELTA / 3, 50, Logistic(), neighbours)
    rest = plan_training(3.0, DELTA, 10, 50, 4, method="objective", accounting="redberg-wang")
    assert rest.guarantee.models == 10
    assert rest.noise == objective_noise(3.0, DELTA, Logistic(), "replace-one", n_models=10, tight=False)
    basic = objective_noise(0.3, DELTA / 10, Logistic(), "replace-one", tight=False)
    assert rest.noise.objective_noise < 0.7 * basic.objective_noise
    # One multinomial model needs less noise still.
    joint = plan_training(3.0, DELTA, 10, 50, 4, method="objective")
    assert joint.loss == Softmax(10)
    assert joint.noise.objective_noise < 0.6 * rest.noise.objective_noise


def test_the_default_bound_is_the_published_one_where_there_is_one():
    def bound(**options):
        return plan_training(1.0, DELTA, 2, 50, 4, method="objective", **options).guarantee.bound

    assert "Redberg" in bound()
    assert "derived" in bound(neighbours="add-remove")
    assert "derived" in bound(accounting="tight")
    assert "Redberg" in bound(neighbours="add-remove", accounting="redberg-wang")


def test_nothing_depends_on_a_number_of_records_that_is_not_public():
    for method in ("auto", *METHODS):
        for epsilon in (0.1, 0.5, 1.0, 5.0):
            few, many = (
                plan_training(epsilon, DELTA, 2, n, 4, method=method, neighbours="add-remove") for n in (10, 10**6)
            )
            assert few == many


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"epsilon": math.nan}, "epsilon"),
        ({"epsilon": math.inf}, "epsilon"),
        ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"delta": math.nan}, "delta"),
        ({"neighbours": "add"}, "neighbours"),
        ({"n_units": 0}, "n_units"),
        ({"n_units": -5}, "n_units"),
        ({"n_features": 0}, "n_features"),
        ({"model": "tree"}, "model must be one of logistic, svm, found 'tree'"),
        ({"method": "magic"}, "method must be one of auto, objective, amp, output, gradient, found 'magic'"),
        ({"accounting": "loose"}, "accounting"),
        ({"epsilon": 50.0, "method": "amp"}, "method 'amp'.*epsilon"),
        ({"n_classes": 3, "model": "svm", "accounting": "tight", "method": "objective"}, "accounting 'tight'"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(options, named):
    with pytest.raises(ValueError, match=named):
        plan_training(**({"epsilon": 1.0, "delta": DELTA, "n_classes": 2, "n_units": 10, "n_features": 4} | options))


# --- what owners spend -----------------------------------------------------------------------------------


def test_epsilons_add_up_over_releases():
    spent = epsilon_spent([[True, False, True], [True, False, False], [False, False, True]], [0.5, 1.0, 4.0])
    assert spent.tolist() == [1.5, 0.0, 4.5]
    # Used more than once, it costs as often.
    assert epsilon_spent([[2, 0], [1, 3]], [0.5, 1.0]).tolist() == [2.0, 3.0]
    assert epsilon_spent(np.zeros((2, 0)), [0.5, 1.0]).tolist() == []


@pytest.mark.parametrize(
    ("used", "epsilons", "named"),
    [
        ([[True]], [1.0, 2.0], "used"),
        ([True, False], [1.0, 2.0], "used"),
        ([[True], [True]], [2.0, 1.0], "epsilons"),
        ([[True], [True]], [0.0, 1.0], "epsilons"),
    ],
)
def test_uses_that_fit_no_list_are_refused_by_name(used, epsilons, named):
    with pytest.raises(ValueError, match=named):
        epsilon_spent(used, epsilons)
