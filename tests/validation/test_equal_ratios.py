"""One sensitivity for all and base prices by Shapley value: shards cost the same per value, and all ratios tie."""

import itertools

import numpy as np
import pytest

from simulator import Market
from simulator.procurement import maximize_coverage

VALUES = np.random.default_rng(0).lognormal(0.0, 0.7, 10)
EPSILONS, POOL, BUDGET = [0.5, 1.0, 2.0, 4.0], 100.0, 60.0


def bought_by(make_config, watch, method, sensitivity, *, values=VALUES, money=1.0):
    """What is bought for each version, and its coverage, with all amounts of money multiplied."""
    owners = {"count": len(values), "value": values.tolist(), "privacy_sensitivity": sensitivity}
    broker = {"epsilons": EPSILONS, "pricing": "uniform", "procurement": method, "manufacturing_budget": BUDGET * money}
    market = Market(make_config(rounds=1, owners=owners | {"base_price_pool": POOL * money}, broker=broker))
    purchases = watch(market, "broker", "procure")
    market.step()
    return purchases[0]


def by_row(values, price):
    """Shards at the same price per value, taken as they come and skipped if they no longer fit."""
    taken, left = [], BUDGET
    for row, cost in enumerate(values / values.sum() * price):
        if cost <= left:
            taken.append(row)
            left -= cost
    return taken


@pytest.mark.parametrize("sensitivity", [0.0, 0.1, 0.2, 0.3])
def test_greedy_takes_ties_by_row_whatever_rounding_says(make_config, watch, sensitivity):
    """Ratios that only differ in the last places are none: units of money and of value do not matter."""
    found = bought_by(make_config, watch, "greedy", sensitivity)
    for k, epsilon in enumerate(EPSILONS):
        assert np.flatnonzero(found.bought[k]).tolist() == by_row(VALUES, POOL * np.exp(sensitivity * epsilon))
    for values, money in ((VALUES, 3.0), (7.0 * VALUES, 1.0), (VALUES / 7.0, 1 / 3)):
        again = bought_by(make_config, watch, "greedy", sensitivity, values=values, money=money)
        assert again.bought.tolist() == found.bought.tolist()


def test_a_ratio_that_is_better_by_more_than_rounding_comes_first():
    costs = np.array([1.0, 1.0, 1.0])
    for values, first in (([1.0, 1.0 + 1e-15, 1.0], 0), ([1.0, 1.0 + 1e-12, 1.0], 1), ([1.0, 1.0, 1.0 + 1e-12], 2)):
        assert maximize_coverage(values, costs, 1.0, method="greedy").owners.tolist() == [first]


@pytest.mark.parametrize("method", ["greedy", "exact", "ppdp"])
def test_coverage_is_what_was_spent_of_what_all_the_data_cost(make_config, watch, method):
    """A subset-sum problem: no purchase covers more than its share of the cost, and the exact one spends most."""
    sensitivity = 0.2
    found = bought_by(make_config, watch, method, sensitivity)
    shares = VALUES / VALUES.sum()
    sums = np.array([sum(some) for r in range(11) for some in itertools.combinations(shares.tolist(), r)])
    for k, epsilon in enumerate(EPSILONS):
        price = POOL * np.exp(sensitivity * epsilon)
        assert found.coverage[k] == pytest.approx(found.costs[k] / price, rel=1e-12)
        best = sums[sums * price <= BUDGET].max()
        assert found.coverage[k] <= best * (1 + 1e-12)
        if method == "exact":
            assert found.coverage[k] == pytest.approx(best, rel=1e-12)
        else:  # what greedy leaves is less than the cheapest shard that it left out costs
            left_out = ~found.bought[k]
            assert found.costs[k] + price * shares[left_out].min() > BUDGET
