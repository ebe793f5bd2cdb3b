"""Buyers of bundles against brute force over all bundles, and what their purchases do to the books and the tables."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import Market, MarketConfig, metrics
from simulator.agents.buyer import Target
from simulator.checks import check_behaviour
from simulator.log import TABLES
from simulator.pricing import find_arbitrage, pricing_strategies
from simulator.pricing.arbitrage import bargains, repair
from simulator.pricing.composition import Composition, sizes
from simulator.records import Bundles, PriceList, Sales

MakeConfig = Callable[..., MarketConfig]
PROPERTY = settings(derandomize=True, deadline=None, max_examples=100)
BOTH: tuple[Composition, ...] = ("additive", "quadratic")


def all_covers(x: np.ndarray, prices: np.ndarray, on_sale: np.ndarray, needed: float) -> tuple[float, list[int]]:
    """Cheapest of all bundles that cover `needed`, by trying every one of no more copies than could be of use."""
    most = [math.ceil(needed / size - 1e-9) if sold else 0 for size, sold in zip(x, on_sale, strict=True)]
    best: tuple[float, list[int]] = (math.inf, [])
    for counts in itertools.product(*(range(m + 1) for m in most)):
        if np.dot(counts, x) >= needed * (1 - 1e-12):
            best = min(best, (float(np.dot(counts, prices)), list(counts)))
    return best


def a_list(
    epsilons: list[float], prices: list[float], on_sale: list[bool] | None = None, composition: Composition = "additive"
) -> PriceList:
    size = len(epsilons)
    return PriceList(
        np.array(epsilons),
        np.ones(size),
        np.array(prices),
        np.full(size, np.nan),
        np.ones(size, dtype=bool) if on_sale is None else np.array(on_sale),
        composition=composition,
    )


lists = st.integers(1, 4).flatmap(
    lambda size: st.tuples(
        st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.5, 3.0]), min_size=size, max_size=size, unique=True).map(
            sorted
        ),
        st.lists(st.integers(1, 12).map(float), min_size=size, max_size=size),
        st.lists(st.booleans(), min_size=size, max_size=size),
    )
)


# --- the cheapest bundles of a list -------------------------------------------------------------------------------


@PROPERTY
@given(shown=lists, composition=st.sampled_from(BOTH))
def test_bargains_against_all_bundles(shown: tuple[Any, ...], composition: Composition) -> None:
    epsilons, prices, on_sale = map(np.array, shown)
    x = sizes(epsilons, composition)
    found = bargains(epsilons, prices, on_sale, composition)
    for k in range(len(epsilons)):
        if not on_sale[k]:
            assert not found.counts[k].any()
            assert found.costs[k] == math.inf
            continue
        cheapest, _ = all_covers(x, prices, on_sale, float(x[k]))
        assert found.costs[k] == pytest.approx(cheapest, rel=1e-9)
        # What it says it buys covers the version, is for sale, and costs that.
        assert found.counts[k] @ x >= x[k] * (1 - 1e-12)
        assert not found.counts[k][~on_sale].any()
        assert found.counts[k] @ prices == found.costs[k]
        assert found.saves[k] == (cheapest < prices[k])
        if not found.saves[k]:
            assert found.counts[k].tolist() == [int(h == k) for h in range(len(epsilons))]


@PROPERTY
@given(shown=lists, composition=st.sampled_from(BOTH))
def test_nothing_is_cheaper_on_a_list_without_arbitrage(shown: tuple[Any, ...], composition: Composition) -> None:
    """Whatever is withdrawn from it, and where prices are proportional to eps, so that every bundle is a near miss."""
    epsilons, prices, on_sale = map(np.array, shown)
    x = sizes(epsilons, composition)
    for free in (repair(x, prices), 0.1 * epsilons):
        assert find_arbitrage(epsilons, free, composition=composition) is None
        found = bargains(epsilons, free, on_sale, composition)
        assert not found.saves.any()
        assert found.costs[on_sale].tolist() == free[on_sale].tolist()


def test_a_list_knows_its_bargains_and_its_rule() -> None:
    """Three copies at eps 1 cover 3 in sums, nine in squares."""
    additive = a_list([1.0, 3.0], [2.0, 10.0])
    assert additive.bargains.counts.tolist() == [[1, 0], [3, 0]]
    assert additive.bargains is additive.bargains
    assert not a_list([1.0, 3.0], [2.0, 10.0], composition="quadratic").bargains.saves.any()
    assert a_list([1.0, 3.0], [1.0, 10.0], composition="quadratic").bargains.counts.tolist() == [[1, 0], [9, 0]]
    assert additive.bargains.costs.tolist() == [2.0, 6.0]


def test_a_saving_counts_from_a_billionth_of_the_price() -> None:
    """As in `find_arbitrage`; less than that is rounding, and the version itself is bought at its price."""
    for excess, saves in ((1e-10, False), (1e-8, True)):
        shown = a_list([1.0, 2.0], [1.0, 2.0 + 2.0 * excess])
        assert shown.bargains.saves.tolist() == [False, saves]
        assert (find_arbitrage([1.0, 2.0], shown.prices) is not None) == saves


def test_a_dearer_version_that_is_cheaper_is_a_bundle_too() -> None:
    assert a_list([1.0, 2.0], [5.0, 3.0]).bargains.counts.tolist() == [[0, 1], [0, 1]]
    assert not a_list([1.0, 2.0], [5.0, 3.0], [True, False]).bargains.saves.any()


# --- what arbitrageurs buy ----------------------------------------------------------------------------------------


def shoppers(make_config: MakeConfig, behaviour: str, count: int, seed: int, size: int) -> Market:
    buyers = {
        "count": count,
        "behaviour": behaviour,
        "budget": {"dist": "uniform", "scale": 60.0},
        "epsilon_expected": {"dist": "uniform", "scale": 3.5},
        "noise_sensitivity": 1.0,
    }
    broker = {"epsilons": [float(k + 1) for k in range(size)]}
    return Market(make_config(buyers=buyers, broker=broker), seed)


@settings(PROPERTY, max_examples=40)
@given(shown=lists, composition=st.sampled_from(BOTH), seed=st.integers(0, 20))
def test_purchases_against_all_bundles(
    make_config: MakeConfig, shown: tuple[Any, ...], composition: Composition, seed: int
) -> None:
    """Target: the cheapest of all bundles that cover it, if worth that. Surplus: the best of all, of any version."""
    price_list = a_list(*shown, composition=composition)
    prices, on_sale = price_list.prices, price_list.on_sale
    x = sizes(price_list.epsilons, composition)
    cheapest = [
        all_covers(x, prices, on_sale, size)[0] if sold else math.inf for size, sold in zip(x, on_sale, strict=True)
    ]
    for behaviour in ("arbitrageur", "arbitrageur_surplus"):
        market = shoppers(make_config, behaviour, 12, seed, len(x))
        sales = market.buyers.buy(price_list)
        market.buyers.vectorised = False
        again = market.buyers.buy(price_list)
        assert (again.versions.tolist(), again.paid.tolist()) == (sales.versions.tolist(), sales.paid.tolist())
        worth = sales.worth
        for j in range(12):
            wanted = range(len(x)) if behaviour.endswith("surplus") else [int(sales.targets[j])]
            gains = [(cheapest[k] - worth[j, k], cheapest[k], k) for k in wanted if worth[j, k] >= cheapest[k]]
            if not gains:
                assert (sales.versions[j], sales.paid[j], sales.copies[j]) == (-1, 0.0, 0)
                continue
            assert sales.versions[j] == min(gains)[2]
            assert sales.paid[j] == pytest.approx(min(gains)[1], rel=1e-9)
        if sales.bundles is not None:
            bundles = sales.bundles
            counts = bundles.counts
            assert (counts @ x >= x[sales.versions[bundles.buyers]] * (1 - 1e-12)).all()
            assert (counts @ prices == sales.paid[bundles.buyers]).all()
            assert (sales.paid[bundles.buyers] < prices[sales.versions[bundles.buyers]]).all()
        saved = np.where(sales.bought, prices[sales.versions] - sales.paid, 0.0)
        assert metrics.bundle_saving(sales, price_list) == pytest.approx(saved.sum(), rel=1e-12)


def test_an_example_by_hand(make_config: MakeConfig) -> None:
    """Versions 1, 2 and 3 for 2, 5 and 9: two low ones make the middle one for 4, three the top one for 6.

    Everybody values its target at 8, so the top one sells to arbitrageurs alone.
    """
    plain = {"budget": 32.0, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0, "count": 3}
    segments = [
        {**plain, "segment": name, "behaviour": name, "epsilon_expected": [1.0, 2.0, 3.0]}
        for name in ("target", "arbitrageur")
    ]
    market = Market(make_config(buyers=segments, broker={"epsilons": [1.0, 2.0, 3.0]}))
    shown = a_list([1.0, 2.0, 3.0], [2.0, 5.0, 9.0])
    sales = market.buyers.buy(shown)
    assert sales.versions.tolist() == [0, 1, -1, 0, 1, 2]
    assert sales.paid.tolist() == [2.0, 5.0, 0.0, 2.0, 4.0, 6.0]
    assert sales.copies.tolist() == [1, 1, 0, 1, 2, 3]
    assert sales.sold.tolist() == [2 + 2 + 3, 1, 0]
    assert sales.revenue.tolist() == [14.0, 5.0, 0.0]
    assert metrics.bundle_saving(sales, shown) == 1.0 + 3.0
    assert metrics.buyer_surplus(sales) == (8 - 2) + (8 - 5) + (8 - 2) + (8 - 4) + (8 - 6)
    # The best allocation gives everybody 8 of worth, and one of six has nothing.
    assert metrics.deadweight_loss([sales], [shown]) == 8.0
    assert sales.bundles is not None
    assert sales.bundles.buyers.tolist() == [4, 5]
    assert sales.bundles.counts.tolist() == [[2, 0, 0], [3, 0, 0]]


def test_the_shop_sees_copies_and_not_what_they_are_for() -> None:
    """A bundle of two middle ones that stands for the top version, one of a low and a middle one, a single, nothing."""
    bundles = Bundles(np.array([0, 2]), np.array([[0, 2, 0], [1, 1, 0]]), np.array([2.0, 3.0, 9.0]))
    on_sale = np.ones(3, dtype=bool)
    sales = Sales(
        np.array([2, 0, 2, -1]),
        np.array([6.0, 2.0, 5.0, 0.0]),
        on_sale,
        np.zeros(4, int),
        np.ones((4, 3)),
        bundles=bundles,
    )
    receipts = sales.receipts
    assert receipts.versions.tolist() == [1, 0, 1, -1]
    assert sales.versions.tolist() == [2, 0, 2, -1]
    for seen in (sales, receipts):
        assert seen.sold.tolist() == [2, 3, 0]
        assert seen.revenue.tolist() == [4.0, 9.0, 0.0]
        assert seen.bought.tolist() == [True, True, True, False]
    assert receipts.bundles is bundles


def test_a_withdrawn_version_is_not_covered(make_config: MakeConfig) -> None:
    market = shoppers(make_config, "arbitrageur", 30, 1, 3)
    shown = a_list([1.0, 2.0, 3.0], [0.1, 5.0, 9.0], [True, False, True])
    sales = market.buyers.buy(shown)
    assert (sales.targets == 1).any()
    assert not sales.bought[sales.targets == 1].any()
    assert sales.copies[(sales.targets == 2) & sales.bought].tolist() == [3] * int(
        (sales.bought & (sales.targets == 2)).sum()
    )


# --- in a market --------------------------------------------------------------------------------------------------

#: Who wants less noise pays much more: in squares, so that cheap versions add up to dear ones for less.
WANTED = [0.2 * (i + 1) for i in range(15)]
TASTES = {"count": 15, "epsilon_expected": WANTED, "budget": [(10 + i % 3) * eps**2 for i, eps in enumerate(WANTED)]}
MIXED = [
    {**TASTES, "segment": "honest", "behaviour": "target"},
    {**TASTES, "segment": "shrewd", "behaviour": "arbitrageur"},
    {**TASTES, "segment": "shrewder", "behaviour": "arbitrageur_surplus"},
]


def a_market(make_config: MakeConfig, seed: int = 0, buyers: Any = None, **broker: Any) -> Market:
    broker = {"manufacturing_budget": 30.0, "epsilons": [0.5, 1.0, 2.0, 3.0], "commission": 0.2, **broker}
    market = Market(make_config(rounds=3, buyers=buyers or MIXED, broker=broker), seed)
    market.run()
    return market


@pytest.mark.parametrize("composition", BOTH)
@pytest.mark.parametrize("pricing", [n for n, s in pricing_strategies().items() if s.arbitrage_free])
def test_lists_without_arbitrage_leave_exactly_nothing(
    make_config: MakeConfig, pricing: str, composition: Composition
) -> None:
    """All tables of all buyers are those of buyers who know of no bundles, bit by bit."""
    rule = {"arbitrageur": "target", "arbitrageur_surplus": "surplus"}
    plain = [{**s, "behaviour": rule.get(s["behaviour"], s["behaviour"])} for s in MIXED]
    shrewd, honest = (
        a_market(make_config, 1, buyers, pricing=pricing, composition=composition) for buyers in (MIXED, plain)
    )
    assert (shrewd.frame("rounds")["arbitrage_taken"] == 0.0).all()
    assert (shrewd.frame("sales")["copies"] == 1).all()
    for table in TABLES:
        pd.testing.assert_frame_equal(shrewd.frame(table), honest.frame(table), check_exact=True)


@pytest.mark.parametrize("settlement", ["neutral", "guaranteed"])
@pytest.mark.parametrize("seed", range(4))
def test_per_version_medians_leave_much_and_money_is_conserved(
    make_config: MakeConfig, watch: Callable[..., list[Any]], seed: int, settlement: str
) -> None:
    config = make_config(
        rounds=3,
        buyers=MIXED,
        broker={
            "manufacturing_budget": 30.0,
            "epsilons": [0.5, 1.0, 2.0, 3.0],
            "pricing": "median_each",
            "pricing_options": {"raw": True},
            "settlement": settlement,
        },
    )
    market = Market(config, seed)
    sales, settled = watch(market, "buyers", "buy"), watch(market, "broker", "settle")
    market.run()
    rounds, versions, table = (market.frame(name) for name in ("rounds", "versions", "sales"))
    assert (rounds["arbitrage_taken"] > 0).any()
    by_round = table.groupby("round")
    price = versions.set_index(["round", "version"])["price"]
    posted = price.reindex(pd.MultiIndex.from_frame(table[["round", "version"]])).to_numpy()
    saved = (posted - table["price"]).clip(lower=0).groupby(table["round"]).sum()
    assert saved.tolist() == pytest.approx(rounds["arbitrage_taken"].tolist(), rel=1e-9)
    assert (table["surplus"] >= 0).all()
    # Money: what buyers paid is what copies were sold for, and what owners and broker got.
    assert by_round["price"].sum().tolist() == pytest.approx(rounds["revenue"].tolist(), rel=1e-12)
    assert versions["revenue"].tolist() == pytest.approx((versions["price"] * versions["sold"]).tolist(), rel=1e-12)
    assert by_round["copies"].sum().tolist() == versions.groupby("round")["sold"].sum().tolist()
    assert by_round.size().tolist() == rounds["sales"].tolist()
    assert versions.groupby("round")["sold"].sum().sum() > rounds["sales"].sum()
    for t, (sold, settlement_) in enumerate(zip(sales, settled, strict=True)):
        got = settlement_.payments.sum() + settlement_.profit
        assert got == pytest.approx(rounds["revenue"][t], rel=1e-9)
        if settlement == "neutral":  # the owners behind each version share what its copies brought, bundled or not
            behind = settlement_.payments.sum(axis=1)
            assert behind == pytest.approx(sold.revenue * (behind > 0), rel=1e-9)
    assert market.ledger.buyers.sum() == pytest.approx(
        market.ledger.owners.sum() + market.ledger.brokers.sum(), rel=1e-9
    )
    np.testing.assert_allclose(
        rounds["first_best"] - rounds["welfare"], rounds["deadweight_loss"], rtol=1e-9, atol=1e-9
    )
    assert (rounds["deadweight_loss"] >= -1e-9).all()


def test_bundles_cost_owners_no_further_privacy(make_config: MakeConfig) -> None:
    """They hold copies of models released anyway: with fixed budgets, purchases and privacy are those without them."""
    lists = {"pricing": "median_each", "pricing_options": {"raw": True}}
    shrewd = a_market(make_config, 3, **lists)
    honest = a_market(make_config, 3, [{**s, "behaviour": "target"} for s in MIXED], **lists)
    assert (shrewd.frame("sales")["copies"] > 1).any()
    spent = [name for name in shrewd.frame("owners") if name.startswith(("epsilon", "delta"))]
    assert len(spent) >= 7
    pd.testing.assert_frame_equal(shrewd.frame("owners")[spent], honest.frame("owners")[spent], check_exact=True)


@pytest.mark.parametrize("seed", range(3))
def test_arbitrageurs_are_never_worse_off_at_a_given_list(make_config: MakeConfig, seed: int) -> None:
    """Whoever knows of bundles gains at least what it would without them, and all that is taken."""
    rng = np.random.default_rng(seed)
    for _ in range(20):
        shown = a_list([1.0, 2.0, 3.0], rng.uniform(1, 20, 3).tolist(), composition=BOTH[seed % 2])
        for shrewd, honest in (("arbitrageur", "target"), ("arbitrageur_surplus", "surplus")):
            knows, does_not = (shoppers(make_config, b, 30, seed, 3).buyers.buy(shown) for b in (shrewd, honest))
            assert (knows.surplus >= does_not.surplus - 1e-12).all()
            if shrewd == "arbitrageur":
                both = knows.bought & does_not.bought
                saved = shown.prices[knows.versions] - knows.paid
                np.testing.assert_allclose((knows.surplus - does_not.surplus)[both], saved[both], atol=1e-12)


class Collector(Target):
    """A user's own behaviour that buys bundles, one agent at a time: wants the top version if it is for sale."""

    name = "collector"
    buys_bundles = True

    def choose(self, price_list: PriceList) -> int | None:
        k = len(price_list.epsilons) - 1
        return k if self.worth(price_list)[k] >= price_list.bargains.costs[k] else None


def test_a_users_own_buyer_of_bundles(make_config: MakeConfig) -> None:
    name = f"{__name__}:{Collector.__qualname__}"
    market = Market(
        make_config(buyers={"count": 20, "behaviour": name, "budget": 40.0}, broker={"epsilons": [1.0, 2.0]})
    )
    sales = market.buyers.buy(a_list([1.0, 2.0], [1.0, 9.0]))
    assert sales.bundles is not None
    assert sales.bundles.counts.tolist() == [[2, 0]] * int(sales.bought.sum())
    check_behaviour(Collector)


def test_markets_without_arbitrageurs_look_for_no_bundles(make_config: MakeConfig, monkeypatch: Any) -> None:
    monkeypatch.setattr("simulator.pricing.arbitrage.bargains", None)
    market = a_market(make_config, 0, {"behaviour": "target"}, pricing="median_each", pricing_options={"raw": True})
    assert (market.frame("rounds")["sales"] > 0).any()
    with pytest.raises(TypeError):
        a_market(make_config)
