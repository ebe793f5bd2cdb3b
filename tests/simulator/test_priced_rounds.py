"""Pricing within a round: what owners ask, kinds of list in the tables, fallbacks, and answers out of range."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from simulator import Market, MarketConfig
from simulator.log import ROUND_METRICS
from simulator.pricing import PricingContext, PricingStrategy, Survey
from simulator.records import Offers
from simulator.valuation.estimator import Valuation

MakeConfig = Callable[..., MarketConfig]

#: Buyers whose worth is a quarter of their budget, whatever the coverage.
PLAIN = {"coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}


def market(make_config: MakeConfig, pricing: str, worth: list[float], wanted: list[float], **broker: Any) -> Market:
    """Two owners of values 3 and 1 who ask 6 and 2 whatever the version, epsilons 1 and 2."""
    return Market(
        make_config(
            rounds=2,
            owners={"count": 2, "value": [3.0, 1.0], "privacy_sensitivity": 0.0, "base_price_pool": 8.0},
            broker={"epsilons": [1.0, 2.0], "pricing": pricing, **broker},
            buyers={"count": len(worth), "budget": [4 * w for w in worth], "epsilon_expected": wanted, **PLAIN},
        )
    )


# --- what owners ask ----------------------------------------------------------------------------------------------


def test_owners_who_do_not_take_part_cannot_be_had(make_config: MakeConfig) -> None:
    broker = market(make_config, "cost_plus", [10.0], [1.0]).broker
    offers = Offers(np.array([True, False]), np.array([math.log(2.0), 0.0]))
    valuation = Valuation(np.array([3.0, 1.0]), np.zeros(2), 0, "values")
    asked = broker.asked(offers, valuation, np.array([6.0, 2.0]))
    assert asked[:, 0] == pytest.approx([12.0, 24.0], rel=1e-15)
    assert np.isinf(asked[:, 1]).all()
    purchases = broker.procure(valuation, np.ones(2), Survey([0, 1], [1.0, 1.0], [99.0, 99.0]), asked)
    assert purchases.bought.tolist() == [[True, False], [True, False]]


class _Listener(PricingStrategy):
    """Keeps what it is told."""

    name = "listener"

    def __init__(self) -> None:
        self.told: list[PricingContext] = []

    def prices(self, context: PricingContext) -> np.ndarray:
        self.told.append(context)
        return np.full(context.n_versions, 1.0)


def test_prices_and_purchases_see_the_same_compensation(
    make_config: MakeConfig, watch: Callable[..., list[Any]]
) -> None:
    config = make_config(
        rounds=4,
        owners={"behaviour": "cautious", "privacy_sensitivity": {"dist": "uniform", "scale": 2.0}},
        broker={"commission": 0.5, "manufacturing_budget": 100.0},
    )
    running = Market(config, 2)
    listener = _Listener()
    running.broker.strategy = listener
    offers, purchases = watch(running, "owners", "offer"), watch(running, "broker", "procure")
    valuations = watch(running, "broker", "value")
    running.run()
    for context, offered, valuation, bought in zip(listener.told, offers, valuations, purchases, strict=True):
        assert np.shares_memory(context.asked, bought.asked)
        worth_buying = offered.takes_part & (valuation.values > 0)
        assert np.isfinite(context.asked).tolist() == [worth_buying.tolist()] * 3
    taking_part = [offered.takes_part.sum() for offered in offers]
    assert min(taking_part) < 6
    assert listener.told[0].last_purchases is None
    assert [context.last_purchases for context in listener.told[1:]] == purchases[:-1]


def test_cost_plus_follows_what_was_bought(make_config: MakeConfig) -> None:
    """The first round counts both owners, the second the one that a budget of 6.5 buys."""
    running = market(
        make_config,
        "cost_plus",
        [10.0, 12.0, 20.0, 16.0],
        [1.0, 1.0, 1.0, 2.0],
        pricing_options={"markup": 0.5},
        manufacturing_budget=6.5,
    )
    running.run()
    prices = running.frame("versions").pivot_table(index="round", columns="version", values="price")
    # 12 over three buyers and 12 over one; the second is repaired to two copies of the first. Then 9 instead of 12.
    assert prices.to_numpy() == pytest.approx(np.array([[4.0, 8.0], [3.0, 6.0]]), rel=1e-14)
    assert running.frame("versions")["owners"].tolist() == [1, 1, 1, 1]
    assert running.frame("rounds")["list_kind"].tolist() == ["repaired", "repaired"]


# --- kinds of list ------------------------------------------------------------------------------------------------


def test_a_fallback_is_counted(make_config: MakeConfig) -> None:
    """The smaller version is wanted at 10, the larger at 5: no list of these answers rises."""
    running = market(make_config, "dpp", [10.0, 5.0], [1.0, 2.0])
    running.run()
    rounds = running.frame("rounds")
    assert rounds["list_kind"].tolist() == ["fallback", "fallback"]
    assert rounds["pricing_fallback"].tolist() == [1.0, 1.0]
    # 10 from one buyer is as much as 5 from two: the higher price.
    assert running.frame("versions")["price"].tolist() == [10.0] * 4


def test_a_list_of_answers_is_no_fallback(make_config: MakeConfig) -> None:
    running = market(make_config, "dpp", [5.0, 10.0], [1.0, 2.0])
    running.run()
    rounds = running.frame("rounds")
    assert rounds["list_kind"].tolist() == ["arbitrage-free", "arbitrage-free"]
    assert rounds["pricing_fallback"].tolist() == [0.0, 0.0]
    assert running.frame("versions")["price"].tolist() == [5.0, 10.0, 5.0, 10.0]


@pytest.mark.parametrize(("raw", "kind", "top"), [(False, "repaired", 10.0), (True, "raw", 40.0)])
def test_a_list_says_whether_it_was_repaired(make_config: MakeConfig, raw: bool, kind: str, top: float) -> None:
    running = market(make_config, "low_each", [5.0, 40.0], [1.0, 2.0], pricing_options={"raw": raw})
    running.step()
    assert running.frame("rounds")["list_kind"].item() == kind
    assert running.frame("versions")["price"].tolist() == [5.0, top]


def test_without_a_list_there_is_neither_kind_nor_fallback(make_config: MakeConfig) -> None:
    running = market(make_config, "dpp", [0.0, 0.0], [1.0, 2.0])
    running.run()
    rounds = running.frame("rounds")
    assert rounds["list_kind"].tolist() == ["none", "none"]
    assert rounds["pricing_fallback"].isna().all()


def test_a_list_that_stays_keeps_its_kind(make_config: MakeConfig) -> None:
    running = market(make_config, "dpp", [10.0, 5.0], [1.0, 2.0])
    running.step()
    running.buyers.columns["budget"][:] = 0.0
    running.step()
    rounds = running.frame("rounds")
    assert rounds["answers"].tolist() == [2, 0]
    assert rounds["list_kind"].tolist() == ["fallback", "fallback"]


def test_a_comparison_can_show_every_column_that_is_a_number(make_config: MakeConfig) -> None:
    running = market(make_config, "dpp", [10.0, 5.0], [1.0, 2.0])
    running.step()
    assert list(running.frame("rounds").columns) == ["round", *ROUND_METRICS, "list_kind"]


# --- answers out of range -----------------------------------------------------------------------------------------


def test_answers_too_large_are_refused_in_one_sentence(make_config: MakeConfig) -> None:
    running = market(make_config, "dpp_plus", [1e250, 5.0], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"^the buyers' answers cannot be surveyed: values must lie .* found 1e\+250$"):
        running.step()


def test_answers_too_small_are_dropped_like_zeros(make_config: MakeConfig) -> None:
    running = market(make_config, "dpp_plus", [1e-150, 5.0, 0.0, 1e-320], [1.0, 2.0, 1.0, 1.0])
    running.step()
    assert running.frame("rounds")["answers"].item() == 1
    assert running.frame("versions")["price"].tolist() == [5.0, 5.0]
