"""Sets of equal value have the same coverage, so that buyers who set a price also pay it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator import Market, MarketConfig


@pytest.mark.parametrize("seed", range(12))
def test_all_data_is_full_coverage(make_config: Callable[..., MarketConfig], seed: int) -> None:
    """Shares of the values may add up to 1 less a rounding error, at which nobody would buy at the surveyed worth."""
    owners = {"count": 30, "value": {"dist": "uniform"}, "privacy_sensitivity": 0.1, "base_price_pool": 0.0}
    buyers = {"count": 50, "budget": 10.0, "coverage_expected": 0.5, "epsilon_expected": 1.0}
    market = Market(make_config(rounds=1, owners=owners, broker={"epsilons": [1.0, 2.0]}, buyers=buyers), seed)
    market.run()
    assert market.frame("versions")["coverage"].tolist() == [1.0, 1.0]
    assert market.frame("rounds")["sales"].tolist() == [50]


@pytest.mark.parametrize("seed", range(3))
def test_random_sets_of_equal_value_sell_alike(make_config: Callable[..., MarketConfig], seed: int) -> None:
    owners = {"count": 60, "value": 1.0, "privacy_sensitivity": 0.0, "base_price_pool": 100.0}
    broker = {"epsilons": [1.0, 2.0], "procurement": "random", "manufacturing_budget": 50.0}
    buyers = {
        "count": 50,
        "budget": 10.0,
        "coverage_expected": 0.5,
        "coverage_sensitivity": 10.0,
        "epsilon_expected": 1.0,
    }
    market = Market(make_config(rounds=30, owners=owners, broker=broker, buyers=buyers), seed)
    market.run()
    assert (market.frame("rounds")["sales"][1:] == 50).all()
