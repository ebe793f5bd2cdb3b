"""Sensitivity correlated with value: what all the data cost, in closed form, and what a budget buys of it."""

import numpy as np
import pytest

from simulator import Market

SPREAD, MEAN, DEVIATION, EPSILON, POOL = 0.7, 1.5, 0.3, 2.0, 100.0


def market_of(make_config, correlation, count, **broker):
    """Values are lognormal, sensitivities normal, cut off at zero, five deviations below their mean."""
    owners = {
        "count": count,
        "value": {"dist": "lognorm", "s": SPREAD},
        "privacy_sensitivity": {"dist": "truncnorm", "a": -MEAN / DEVIATION, "b": 9, "loc": MEAN, "scale": DEVIATION},
        "base_price_pool": POOL,
        "correlation": correlation,
    }
    broker = {"epsilons": [EPSILON], "pricing": "uniform", **broker}
    market = Market(make_config(rounds=1, owners=owners, broker=broker, buyers={"count": 4}), seed=8)
    market.step()
    return market.frame("rounds").iloc[0], market.frame("versions").iloc[0]


def test_what_all_the_data_cost(make_config):
    """B E[SV exp(rho eps)] / E[SV], a moment of two normal variables: B exp(mu eps + (sigma eps)^2/2 + r s sigma eps).

    Value and cost of 20,000 owners have relative errors of about 1% and, since owners are the same, of 0.2% in the
    ratio of costs at two correlations that differ by 1, of which four times is allowed.
    """
    costs = {
        r: market_of(make_config, r, 20_000, procurement="all")[0]["data_cost"] for r in (-1.0, -0.5, 0.0, 0.5, 1.0)
    }
    alone = POOL * np.exp(MEAN * EPSILON + (DEVIATION * EPSILON) ** 2 / 2)
    assert costs[0.0] == pytest.approx(alone, rel=0.03)
    for correlation, cost in costs.items():
        predicted = np.exp(correlation * SPREAD * DEVIATION * EPSILON)
        assert cost / costs[0.0] == pytest.approx(predicted, rel=0.02)


def test_a_budget_covers_less_where_the_valuable_mind_more(make_config):
    """Shapley base prices: greedy buys those who mind least, and they own the less, the higher the correlation."""
    broker = {"manufacturing_budget": 600.0}
    coverage = [market_of(make_config, r, 2_000, **broker)[1]["coverage"] for r in (-0.9, -0.45, 0.0, 0.45, 0.9)]
    assert (np.diff(coverage) < -0.01).all()
