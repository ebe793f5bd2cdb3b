"""Lifted lists: never below the relaxed optimum, no single threshold to improve, close to the exact optimum."""

import itertools
import math

import numpy as np
import pytest

from simulator.pricing import (
    PricingContext,
    Survey,
    find_arbitrage,
    lift_revenue,
    maximize_revenue,
    maximize_revenue_exact,
    pricing_strategies,
)
from simulator.pricing.thresholds import CoverPool

#: Sizes are compared at this relative tolerance (the model's own figure).
SAME = 1e-12
#: Revenues may differ by the order of sums and by a few comparisons at `SAME`.
REVENUE = 1e-11


def size_of(epsilons, composition):
    return epsilons if composition == "additive" else epsilons * epsilons


def repaired(x, caps):
    """Cheapest covers at prices `caps` by enumerating all bundles, shape (l,)."""
    prices = []
    for size in x:
        most = [math.ceil(size / other * (1 - SAME)) for other in x]
        bundles = np.array(list(itertools.product(*(range(copies + 1) for copies in most))))
        prices.append((bundles[bundles @ x >= size * (1 - SAME)] @ caps).min())
    return np.array(prices)


def revenue_of(prices, targets, values):
    """Revenue with the marginal buyer kept where only rounding lies between."""
    asked = prices[targets]
    return np.where(values >= asked * (1 - SAME), np.minimum(asked, values), 0.0)[values >= asked * (1 - SAME)].sum()


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_never_below_the_relaxed_optimum_and_never_with_arbitrage(composition):
    rng = np.random.default_rng([1, len(composition)])
    raised = 0
    for _ in range(150):
        n_versions, answers = int(rng.integers(1, 8)), int(rng.integers(1, 60))
        epsilons = np.cumsum(rng.uniform(0.01, 1.0, n_versions))
        targets = rng.integers(0, n_versions, answers)
        values = (rng.integers(1, 9, answers).astype(float), rng.lognormal(3.0, 1.0, answers))[rng.integers(2)]
        weights = rng.uniform(0.1, 3.0, answers)
        relaxed = maximize_revenue(epsilons, targets, values, weights=weights, composition=composition)
        lifted = lift_revenue(epsilons, targets, values, weights=weights, composition=composition)
        assert lifted.revenue >= relaxed.revenue * (1 - REVENUE)
        assert lifted.revenue <= lifted.bound
        assert find_arbitrage(epsilons, lifted.prices, composition=composition) is None
        assert (np.isfinite(lifted.prices) & (lifted.prices > 0)).all()
        sold = values >= lifted.prices[targets]
        assert lifted.revenue == pytest.approx((weights * lifted.prices[targets])[sold].sum(), rel=1e-13)
        raised += lifted.revenue > relaxed.revenue * (1 + 1e-6)
    assert raised > 20


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_no_single_threshold_improves_it(composition):
    """Every move of one threshold to another answer, or to none, by enumeration of the bundles."""
    rng = np.random.default_rng([2, len(composition)])
    for _ in range(40):
        epsilons = np.sort(rng.choice(np.arange(2.0, 9.0), 4, replace=False))
        x = size_of(epsilons, composition)
        targets = rng.integers(0, 4, 12)
        values = rng.lognormal(2.0, 0.3, 12) * x[targets]
        lifted = lift_revenue(epsilons, targets, values, composition=composition)
        none = 1e6
        served = values >= lifted.prices[targets]
        caps = np.array([min(values[served & (targets == k)], default=none) for k in range(4)])
        for k in range(4):
            for answer in [*values[targets == k], none]:
                moved = caps.copy()
                moved[k] = answer
                if moved.min() < none:
                    assert revenue_of(repaired(x, moved), targets, values) <= lifted.revenue * (1 + REVENUE)


FAMILIES = {
    "whole": lambda rng: np.arange(1.0, 6.0),
    "random": lambda rng: np.sort(rng.uniform(0.1, 10.0, 5)),
    "narrow": lambda rng: np.sort(rng.uniform(1.0, 1.4, 5)),
    "eight": lambda rng: np.sort(rng.uniform(0.1, 10.0, 8)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_it_earns_nearly_all_there_is(family):
    """On average at least 99.4% of the exact optimum, and more than the relaxed one."""
    rng = np.random.default_rng(3)
    shares, relaxed = [], []
    for _ in range(12):
        epsilons = FAMILIES[family](rng)
        targets = rng.integers(0, len(epsilons), 60 if family == "eight" else 50)
        values = rng.lognormal(3.0, 0.5, len(targets))
        exact = maximize_revenue_exact(epsilons, targets, values)
        assert exact.optimal
        shares.append(lift_revenue(epsilons, targets, values).revenue / exact.revenue)
        relaxed.append(maximize_revenue(epsilons, targets, values).revenue / exact.revenue)
    assert np.mean(shares) >= 0.994
    assert max(shares) <= 1 + REVENUE
    assert np.mean(relaxed) < np.mean(shares)


def test_versions_nobody_is_sold_get_the_greatest_price():
    assert lift_revenue([2, 3, 5], [1, 1], [6.0, 6.0]).prices.tolist() == [6.0, 6.0, 12.0]


def test_many_answers():
    rng = np.random.default_rng(4)
    epsilons = np.array([1.0, 1.5, 2.2, 3.1, 4.7])
    targets = rng.integers(0, 5, 10_000)
    values = rng.lognormal(3.0, 0.5, 10_000) * epsilons[targets]
    lifted = lift_revenue(epsilons, targets, values)
    assert lifted.revenue > maximize_revenue(epsilons, targets, values).revenue
    assert find_arbitrage(epsilons, lifted.prices) is None


def test_the_pool_of_covers_learns_until_it_repairs():
    """Its quick prices are never below the repaired ones, and equal them where it has been asked before."""
    rng = np.random.default_rng(5)
    learnt = 0
    for _ in range(100):
        x = np.cumsum(rng.uniform(0.3, 1.0, 4))
        pool = CoverPool(x)
        before = len(pool)
        for caps in rng.lognormal(1.0, 0.7, (3, 4)) * x**0.9:
            quick, true = pool.prices(caps), pool.repair(caps)
            assert true == pytest.approx(repaired(x, caps), rel=SAME)
            assert (quick >= true * (1 - SAME)).all()
            assert pool.prices(caps) == pytest.approx(true, rel=SAME)
        learnt += len(pool) > before
    assert learnt > 20


def test_the_strategy_posts_the_lifted_list():
    rng = np.random.default_rng(6)
    survey = Survey(rng.integers(0, 3, 20), rng.lognormal(3.0, 0.5, 20))
    context = PricingContext(survey, np.array([2.0, 3.0, 5.0]), "quadratic", 20, 1, 1, None, None, rng)
    expected = lift_revenue([2.0, 3.0, 5.0], survey.targets, survey.values, composition="quadratic")
    assert pricing_strategies()["lifted"]().prices(context).tolist() == expected.prices.tolist()
