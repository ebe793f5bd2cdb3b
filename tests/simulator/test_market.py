"""The market: a round by hand, its phases one by one, common random numbers and reproducibility."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulator import Market, MarketConfig
from simulator.log import TABLES
from simulator.pricing import PricingContext, PricingStrategy, Survey, pricing_strategies
from simulator.procurement import procurement_methods
from simulator.records import Offers, PriceList, Purchases, Receipts, Sales, Settlement, Versions
from simulator.settlement import settlement_rules

MakeConfig = Callable[..., MarketConfig]
#: Columns of owners that are not drawn.
GIVEN = {f"owners.{name}" for name in ("base_price_pool", "fixed_base_price", "expectation_weight", "leakage")}
GIVEN |= {"owners.home", "owners.switching"}
Watch = Callable[..., list[Any]]

SOURCES = ("values", "breast_cancer", "iris")


def assert_same_tables(one: Market, other: Market) -> None:
    for table in TABLES:
        pd.testing.assert_frame_equal(one.frame(table), other.frame(table), check_exact=True)


# --- one round by hand --------------------------------------------------------------------------------------------


def by_hand(make_config: MakeConfig, settlement: str, commission: float = 0.25) -> Market:
    """Two owners of values 3 and 1, a pool of 8, epsilons 1 and 2, four buyers with worth budget / 4.

    Base prices are 6 and 2; owner 1 is sensitive (rho = ln 2), so version 1 costs 6 + 4 and version 2 costs 6 + 8.
    """
    return Market(
        make_config(
            rounds=1,
            owners={
                "count": 2,
                "value": [3.0, 1.0],
                "privacy_sensitivity": [0.0, math.log(2.0)],
                "base_price_pool": 8.0,
            },
            broker={"epsilons": [1.0, 2.0], "settlement": settlement, "commission": commission},
            buyers={
                "count": 4,
                "budget": [40.0, 48.0, 80.0, 64.0],
                "epsilon_expected": [1.0, 0.5, 2.0, 1.5],
                "coverage_sensitivity": 0.0,
                "noise_sensitivity": 0.0,
            },
        )
    )


def test_a_round_by_hand(make_config: MakeConfig) -> None:
    """Answers 10 and 12 for version 0, 20 and 16 for version 1.

    Prices (10, 16) sell to all: 20 + 32; no other list without arbitrage earns 52, since 20 at the top
    is the most that 10 below allows and loses a buyer. Budgets are three quarters: 15 and 24. Both owners are bought
    for version 0 (cost 10) and for version 1 (cost 14).
    """
    market = by_hand(make_config, "neutral")
    market.step()
    versions = market.frame("versions")
    assert versions["price"].tolist() == [10.0, 16.0]
    assert versions["budget"].tolist() == [15.0, 24.0]
    assert versions["cost"].to_numpy() == pytest.approx([10.0, 14.0], rel=1e-15)
    assert versions["coverage"].tolist() == [1.0, 1.0]
    assert versions["wanted"].tolist() == [2, 2]
    assert versions["sold"].tolist() == [2, 2]
    assert versions["revenue"].tolist() == [20.0, 32.0]
    owners = market.frame("owners")
    assert owners["asked"].to_numpy() == pytest.approx([12.0, 12.0], rel=1e-15)
    # 15 in the ratio 6 : 4, and 24 in the ratio 6 : 8.
    paid = [9.0 + 24 * 6 / 14, 6.0 + 24 * 8 / 14]
    assert owners["paid"].to_numpy() == pytest.approx(paid, rel=1e-14)
    assert owners["epsilon"].tolist() == [3.0, 3.0]
    expected = {
        "revenue": 52.0,
        "payouts": 39.0,
        "broker_profit": 13.0,
        "buyer_surplus": 0.0 + 2.0 + 4.0 + 0.0,
        "owner_surplus": 39.0 - 24.0,
        "welfare": 6.0 + 15.0 + 13.0,
        "first_best": 58.0 - 24.0,
        "efficiency": 1.0,
        "deadweight_loss": 0.0,
        "allocative_efficiency": 1.0,
        "monopoly_revenue": 52.0,
        "perfect_revenue": 58.0,
        "revenue_to_monopoly": 1.0,
        "revenue_to_perfect": 52 / 58,
        "sell_through": 1.0,
        "data_cost": 24.0,
        "gini_all": abs(paid[1] - paid[0]) / (2 * 39.0),
        "ir_violations": 0.0,
        "epsilon_mean": 3.0,
        "epsilon_total_max": 3.0,
        "arbitrage_available": 0.0,
    }
    found = market.frame("rounds").iloc[0]
    for column, amount in expected.items():
        assert found[column] == pytest.approx(amount, rel=1e-13, abs=1e-13), column


def test_a_guaranteed_round_by_hand(make_config: MakeConfig) -> None:
    """The owners get the 24 they ask, whatever the commission; the broker keeps 28."""
    market = by_hand(make_config, "guaranteed")
    market.step()
    found = market.frame("rounds").iloc[0]
    assert found["payouts"] == pytest.approx(24.0, rel=1e-14)
    assert found["broker_profit"] == pytest.approx(28.0, rel=1e-14)
    assert found["owner_surplus"] == pytest.approx(0.0, abs=1e-13)
    assert market.frame("owners")["paid"].to_numpy() == pytest.approx([12.0, 12.0], rel=1e-14)


# --- phases -------------------------------------------------------------------------------------------------------


def phases(market: Market) -> dict[str, Any]:
    """The phases of one round, called one by one as in a notebook."""
    broker, owners, buyers = market.broker, market.owners, market.buyers
    broker.round = market.round + 1
    offers = owners.offer()
    valuation = broker.value(offers)
    survey = broker.survey(buyers)
    asked = broker.asked(offers, valuation, owners.base_prices(valuation.values))
    prices = broker.price(survey, len(buyers), asked)
    purchases = broker.procure(valuation, prices, survey, asked)
    versions = broker.train(purchases)
    price_list = broker.release(versions, prices)
    sales = buyers.buy(price_list)
    settlement = broker.settle(sales, purchases)
    return locals()


@pytest.mark.parametrize("data", SOURCES)
def test_phases_can_be_called_alone(make_config: MakeConfig, data: str) -> None:
    """Each returns its record, with the shapes it states; together they are the round."""
    config = make_config(data=data, owners={"count": 5})
    alone = phases(Market(config))
    n, m, l = 5, 15, 3  # noqa: E741  # the theory's letters
    assert isinstance(alone["offers"], Offers)
    assert alone["offers"].takes_part.shape == alone["offers"].sensitivities.shape == (n,)
    assert alone["valuation"].values.shape == (n,)
    assert isinstance(alone["survey"], Survey)
    assert len(alone["survey"]) == m
    assert alone["prices"].shape == (l,)
    assert isinstance(alone["purchases"], Purchases)
    assert alone["purchases"].bought.shape == alone["purchases"].asked.shape == (l, n)
    assert alone["purchases"].costs.shape == alone["purchases"].coverage.shape == (l,)
    assert isinstance(alone["versions"], Versions)
    assert np.isfinite(alone["versions"].accuracy).all() == (data != "values")
    assert isinstance(alone["price_list"], PriceList)
    assert alone["price_list"].prices.tolist() == alone["prices"].tolist()
    assert isinstance(alone["sales"], Sales)
    assert alone["sales"].worth.shape == (m, l)
    assert isinstance(alone["settlement"], Settlement)
    assert alone["settlement"].payments.shape == (l, n)

    market = Market(config)
    market.step()
    versions, row = market.frame("versions"), market.frame("rounds").iloc[0]
    assert versions["price"].tolist() == alone["prices"].tolist()
    assert versions["coverage"].tolist() == alone["versions"].coverage.tolist()
    assert np.array_equal(versions["accuracy"], alone["versions"].accuracy, equal_nan=True)
    assert row["revenue"] == alone["sales"].paid.sum()
    assert row["broker_profit"] == alone["settlement"].profit


def test_a_phase_takes_what_the_user_made(make_config: MakeConfig) -> None:
    """A list of one's own, sold to the market's buyers and settled."""
    market = Market(make_config(buyers={"budget": 30.0, "coverage_expected": 0.5}))
    own = PriceList(
        epsilons=np.array([0.5, 1.0, 2.0]),
        coverage=np.ones(3),
        prices=np.array([1.0, 2.0, 3.0]),
        accuracy=np.full(3, np.nan),
        on_sale=np.array([True, True, False]),
    )
    sales = market.buyers.buy(own)
    assert set(sales.versions) == {-1, 0, 1}
    assert sales.paid.sum() == (sales.versions == 0).sum() + 2 * (sales.versions == 1).sum()
    bought = np.zeros((3, 6), dtype=bool)
    bought[:2, 0] = True
    settlement = market.broker.settle(sales, Purchases(bought, np.ones((3, 6)), np.zeros(3), np.ones(3)))
    assert settlement.payments[:, 0].tolist() == sales.revenue.tolist()
    # Nothing of this is logged.
    assert market.round == 0
    assert len(market.frame("rounds")) == 0


def test_a_survey_may_be_replaced(make_config: MakeConfig) -> None:
    """Answers of one's own, priced by the market's broker: the example of `maximize_revenue`."""
    market = Market(make_config(broker={"epsilons": [1.0, 2.0, 3.0]}))
    answers = Survey([0, 0, 1, 1, 2, 2], [100, 400, 300, 700, 500, 800])
    prices = market.broker.price(answers, 6)
    assert prices.tolist() == [400.0, 700.0, 800.0]
    assert market.broker.expected_revenue(answers, prices).tolist() == [400.0, 700.0, 800.0]
    # Without an answer the last prices stay, and let nothing be expected.
    nobody = Survey([], [])
    assert market.broker.price(nobody, 6).tolist() == prices.tolist()
    assert market.broker.expected_revenue(nobody, prices).tolist() == [0.0, 0.0, 0.0]


# --- rounds and tables --------------------------------------------------------------------------------------------


def test_run_steps_and_rounds(make_config: MakeConfig) -> None:
    market = Market(make_config(rounds=3))
    market.run()
    assert market.round == 3
    market.run(rounds=2)
    market.step()
    assert market.round == 6
    for table in TABLES:
        assert sorted(set(market.frame(table)["round"])) == [1, 2, 3, 4, 5, 6]
    stepped = Market(make_config(rounds=3))
    for _ in range(6):
        stepped.step()
    assert_same_tables(market, stepped)


def test_tables_are_ordered_by_their_keys(make_config: MakeConfig) -> None:
    market = Market(make_config(rounds=3))
    market.run()
    sizes = {
        "rounds": 3,
        "brokers": 3,
        "versions": 9,
        "owners": 18,
        "sales": int(market.frame("rounds")["sales"].sum()),
    }
    for table, keys in TABLES.items():
        frame = market.frame(table)
        assert len(frame) == sizes[table]
        assert list(frame.columns[: len(keys)]) == list(keys)
        assert not frame.duplicated(list(keys)).any()
        pd.testing.assert_frame_equal(frame, frame.sort_values(list(keys), ignore_index=True))


def test_a_frame_is_a_copy_of_the_log(make_config: MakeConfig) -> None:
    """What a user does to a frame leaves the market alone."""
    market = Market(make_config())
    market.run()
    for table in TABLES:
        before = market.frame(table)
        spoilt = market.frame(table)
        spoilt.iloc[:, 1] = 0
        pd.testing.assert_frame_equal(market.frame(table), before)


def test_columns_may_change_after_they_were_logged(make_config: MakeConfig) -> None:
    market = Market(make_config())
    market.step()
    before = market.frame("owners")
    market.owners.columns["privacy_sensitivity"][:] = 0.0
    market.step()
    pd.testing.assert_frame_equal(market.frame("owners").query("round == 1"), before)


def test_only_the_tables_asked_for_are_logged(make_config: MakeConfig) -> None:
    market, whole = Market(make_config(), tables=("rounds",)), Market(make_config())
    market.run()
    whole.run()
    pd.testing.assert_frame_equal(market.frame("rounds"), whole.frame("rounds"), check_exact=True)
    with pytest.raises(ValueError, match="does not log 'sales'; it logs rounds"):
        market.frame("sales")
    with pytest.raises(ValueError, match="found 'sale'; allowed are rounds, brokers, versions, owners, sales"):
        Market(make_config(), tables=("sale",))
    nothing = Market(make_config(), tables=())
    nothing.run()
    with pytest.raises(ValueError, match="it logs nothing"):
        nothing.frame("rounds")


class Inflation(PricingStrategy):
    """Raises its prices by half, in the array that it returned before."""

    name = "inflation"

    def __init__(self) -> None:
        self.posted: np.ndarray | None = None

    def prices(self, context: PricingContext) -> np.ndarray:
        if self.posted is None:
            self.posted = np.ones(context.n_versions)
        self.posted *= 1.5
        return self.posted


def test_posted_prices_are_logged_as_posted(make_config: MakeConfig) -> None:
    market = Market(make_config(rounds=3, broker={"pricing": f"{__name__}:Inflation"}))
    market.run()
    assert market.frame("versions").groupby("round")["price"].first().tolist() == [1.5, 2.25, 3.375]


def test_a_market_goes_on_after_a_round_that_failed(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook: a round fails, the cause is mended, and the next step is a round again."""
    market = Market(make_config(broker={"pricing": f"{__name__}:Wrong"}))
    monkeypatch.setattr(Wrong, "answer", [1.0, 1.0, 1.0])
    market.step()
    monkeypatch.setattr(Wrong, "answer", [1.0, np.nan, 1.0])
    for _ in range(2):
        with pytest.raises(ValueError, match="positive, finite prices"):
            market.step()
    monkeypatch.setattr(Wrong, "answer", [1.0, 1.0, 1.0])
    market.run(rounds=2)
    assert len(market.frame("rounds")) == 3


# --- an own pricing strategy --------------------------------------------------------------------------------------


class Learner(PricingStrategy):
    """Posts one unit more than it sold last."""

    name = "learner"

    def __init__(self, *, start: float = 1.0) -> None:
        self.next = start

    def prices(self, context: PricingContext) -> np.ndarray:
        assert (context.last_sales is None) == (context.round == 1)
        assert (context.last_purchases is None) == (context.round == 1)
        assert context.n_buyers == 15
        return np.full(context.n_versions, self.next)

    def learn(self, sales: Receipts) -> None:
        self.next = 1.0 + sales.bought.sum()


class Careless(PricingStrategy):
    """Claims lists without arbitrage, and posts one with."""

    name = "careless"

    def prices(self, context: PricingContext) -> np.ndarray:
        return np.array([1.0, 5.0, 6.0])


class Wrong(PricingStrategy):
    """Returns what it was told to."""

    name = "wrong"
    answer: Any = None

    def prices(self, context: PricingContext) -> np.ndarray:
        return np.array(self.answer)


def test_an_own_strategy_learns(make_config: MakeConfig) -> None:
    broker = {"pricing": f"{__name__}:Learner", "pricing_options": {"start": 2.0}}
    market = Market(make_config(rounds=4, broker=broker))
    market.run()
    posted = market.frame("versions").groupby("round")["price"].first().tolist()
    assert posted == [2.0, *(1.0 + market.frame("rounds")["sales"][:3]).tolist()]


def test_a_strategy_starts_afresh_in_every_market(make_config: MakeConfig) -> None:
    config = make_config(rounds=3, broker={"pricing": f"{__name__}:Learner"})
    first, second = Market(config), Market(config)
    first.run()
    second.run()
    assert_same_tables(first, second)


def test_a_broken_claim_of_arbitrage_freeness_stops_the_market(make_config: MakeConfig) -> None:
    market = Market(make_config(broker={"pricing": f"{__name__}:Careless", "epsilons": [1.0, 2.0, 3.0]}))
    with pytest.raises(ValueError, match=r"claims arbitrage-free lists.*undercuts version 1 by 3"):
        market.step()
    quadratic = {"pricing": f"{__name__}:Careless", "epsilons": [1.0, 3.0, 4.0], "composition": "quadratic"}
    Market(make_config(broker=quadratic)).step()  # nine models at eps 1 cover eps 3, and cost 9


@pytest.mark.parametrize(
    "answer", [[1.0, 2.0], [1.0, 0.0, 1.0], [1.0, -1.0, 1.0], [1.0, np.nan, 1.0], [1.0, np.inf, 1.0], 1.0]
)
def test_prices_that_cannot_be_posted(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr(Wrong, "answer", answer)
    market = Market(make_config(broker={"pricing": f"{__name__}:Wrong"}))
    with pytest.raises(ValueError, match=f"'{__name__}:Wrong' returned"):
        market.step()


# --- common random numbers ----------------------------------------------------------------------------------------

MECHANISMS: list[dict[str, Any]] = [
    {},
    {"pricing": "low", "procurement": "random", "settlement": "guaranteed"},
    {"pricing": "perfect", "procurement": "all", "composition": "quadratic", "commission": 0.4},
    {"pricing": "linear", "epsilons": [0.3, 3.0], "manufacturing_budget": 40.0, "delta": 1e-6},
]


def columns(market: Market) -> dict[str, np.ndarray]:
    """Everything that was drawn for the two sides, or given."""
    states = {"sits_out", "expected_surplus", "took_part"}
    drawn = {f"owners.{name}": column for name, column in market.owners.columns.items() if name not in states}
    drawn |= {f"buyers.{name}": column for name, column in market.buyers.columns.items()}
    if market.broker.stock.values is not None:
        drawn["owners.value"] = market.broker.stock.values
    else:
        shards = market.broker.stock.shards
        drawn |= {"features": shards.features, "labels": shards.labels, "shards": shards.owners}
        drawn |= {"test_features": shards.test_features, "test_labels": shards.test_labels}
    return drawn


@pytest.mark.parametrize("data", SOURCES)
def test_mechanisms_meet_the_same_market(make_config: MakeConfig, data: str) -> None:
    """Owners, buyers and records are the same, bit by bit, before the first round and after the last."""
    spread = {"participation": 0.6, "count": 5}
    markets = [Market(make_config(data=data, owners=spread, broker=b), seed=9, replicate=2) for b in MECHANISMS]
    reference = columns(markets[0])
    for market in markets:
        market.run()
        drawn = columns(market)
        assert drawn.keys() == reference.keys()
        for name, column in drawn.items():
            assert np.array_equal(column, reference[name]), name


def test_mechanisms_ask_the_same_sample(make_config: MakeConfig, watch: Watch) -> None:
    """In every round; with worth that ignores coverage the answers themselves are the same."""
    seen = []
    for broker in MECHANISMS[:3]:
        config = make_config(
            rounds=4,
            broker={**broker, "survey_share": 0.4},
            buyers={"count": 40, "coverage_sensitivity": 0.0},
        )
        market = Market(config, seed=9)
        seen.append(watch(market, "broker", "survey"))
        market.run()
    for first, other in ((seen[0], seen[1]), (seen[0], seen[2])):
        for a, b in zip(first, other, strict=True):
            assert np.array_equal(a.targets, b.targets)
            assert np.array_equal(a.values, b.values)
    # Another sample in every round, of 16 buyers each.
    assert all(len(survey) == 16 for survey in seen[0])
    assert len({tuple(survey.values) for survey in seen[0]}) == 4


def test_mechanisms_meet_the_same_noise(make_config: MakeConfig) -> None:
    """Whoever buys the same shards for a version trains the same model, whatever the rest of the mechanism."""
    tables = []
    for broker in ({"pricing": "low"}, {"pricing": "dpp_plus", "settlement": "guaranteed", "commission": 0.2}):
        market = Market(make_config(data="iris", broker={"procurement": "all", **broker}), seed=4)
        market.run()
        tables.append(market.frame("versions"))
    assert tables[0]["accuracy"].tolist() == tables[1]["accuracy"].tolist()
    assert tables[0]["price"].tolist() != tables[1]["price"].tolist()
    # The noise is fresh in every round: the same shards need not give the same accuracy.
    first, second = (tables[0].query(f"round == {t}")["accuracy"].tolist() for t in (1, 2))
    assert first != second


def test_a_random_purchase_does_not_depend_on_the_other_versions(make_config: MakeConfig) -> None:
    """Each version draws from its own stream."""
    bought = []
    for top in (60.0, 0.0):
        config = make_config(
            rounds=1, broker={"procurement": "random", "manufacturing_budget": [15.0, 15.0, top]}, owners={"count": 12}
        )
        market = Market(config, seed=1)
        market.step()
        bought.append(market.broker.last_purchases.bought)
    assert np.array_equal(bought[0][:2], bought[1][:2])
    assert bought[0][2].any()
    assert not bought[1][2].any()
    assert not np.array_equal(bought[0][0], bought[0][1])


DISTRIBUTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "buyers.budget": ({"dist": "lognorm", "s": 0.5, "scale": 30.0}, {"dist": "lognorm", "s": 0.5, "scale": 60.0}),
    "buyers.coverage_expected": ({"dist": "uniform"}, {"dist": "uniform", "loc": 0.1}),
    "buyers.coverage_sensitivity": ({"dist": "expon"}, {"dist": "expon", "scale": 5.0}),
    "buyers.epsilon_expected": ({"dist": "norm"}, {"dist": "norm", "loc": 1.0}),
    "buyers.noise_sensitivity": ({"dist": "gamma", "a": 2.0}, {"dist": "gamma", "a": 3.0}),
    "owners.privacy_sensitivity": ({"dist": "uniform"}, {"dist": "uniform", "scale": 2.0}),
    "owners.value": ({"dist": "norm"}, {"dist": "norm", "loc": 2.0}),
    "owners.participation": ({"dist": "beta", "a": 2.0, "b": 2.0}, {"dist": "beta", "a": 4.0, "b": 2.0}),
}


@pytest.mark.parametrize("changed", sorted(DISTRIBUTIONS))
def test_one_parameter_moves_nothing_else(make_config: MakeConfig, changed: str) -> None:
    """Each attribute has its own stream, and moves monotonically with its own parameter."""

    def market(which: str | None) -> Market:
        sides: dict[str, dict[str, Any]] = {"owners": {"count": 30}, "buyers": {"count": 30}}
        for name, (before, after) in DISTRIBUTIONS.items():
            side, attribute = name.split(".")
            sides[side][attribute] = after if name == which else before
        return Market(make_config(**sides), seed=9)

    before, after = columns(market(None)), columns(market(changed))
    moved = "owners.willing" if changed == "owners.participation" else changed
    for name, column in before.items():
        if name != moved:
            assert np.array_equal(column, after[name]), name
    # Each of these changes raises every quantile.
    assert (after[moved] >= before[moved]).all()
    assert (after[moved] > before[moved]).any()
    if moved != "owners.willing":
        assert (after[moved] > before[moved]).all()


def test_a_new_segment_or_a_larger_one_moves_nothing_else(make_config: MakeConfig) -> None:
    small = Market(make_config(buyers=[{"segment": "a", "count": 10}]), seed=9)
    larger = Market(make_config(buyers=[{"segment": "a", "count": 20}]), seed=9)
    joined = Market(make_config(buyers=[{"segment": "b", "count": 7}, {"segment": "a", "count": 10}]), seed=9)
    for name, column in small.buyers.columns.items():
        assert np.array_equal(larger.buyers.columns[name][:10], column), name
        assert np.array_equal(joined.buyers.columns[name][7:], column), name
    # Two segments of one distribution are not each other's copies.
    assert not np.isin(joined.buyers.columns["budget"][:7], small.buyers.columns["budget"]).any()


def test_attributes_are_drawn_apart(make_config: MakeConfig) -> None:
    """No two attributes of 200 agents are related, not even where two segments have one name.

    A correlation of independent ranks has the standard error 1 / sqrt(199) = 0.071; with 45 pairs, four of
    them are not reached by chance.
    """
    uniform = {"dist": "uniform"}
    names = {
        "owners": ("privacy_sensitivity", "value", "participation", "privacy_budget", "reservation_surplus"),
        "buyers": ("budget", "coverage_expected", "coverage_sensitivity", "epsilon_expected", "noise_sensitivity"),
    }
    sides = {side: {"segment": "same", "count": 200, **dict.fromkeys(names[side], uniform)} for side in names}
    drawn = columns(Market(make_config(**sides), seed=9))
    ranks = {name: column.argsort().argsort() for name, column in drawn.items() if name not in GIVEN}
    ranks["owners.willing"] = drawn["owners.willing"].astype(int)
    assert len(ranks) == 10
    correlations = np.corrcoef(list(ranks.values()))
    assert np.abs(correlations - np.eye(10)).max() < 4 / np.sqrt(199)


@pytest.mark.parametrize("data", SOURCES)
def test_a_replicate_changes_everything(make_config: MakeConfig, data: str, watch: Watch) -> None:
    config = make_config(
        data=data,
        owners={
            "count": 5,
            "privacy_budget": {"dist": "uniform", "loc": 5.0},
            "reservation_surplus": {"dist": "uniform"},
        },
        buyers={"coverage_sensitivity": {"dist": "expon"}, "noise_sensitivity": {"dist": "expon"}},
        broker={"survey_share": 0.5},
    )
    for other in (Market(config, 9, replicate=1), Market(config, 10)):
        first = Market(config, 9)
        answers = watch(first, "broker", "survey"), watch(other, "broker", "survey")
        first.step()
        other.step()
        one, two = columns(first), columns(other)
        constant = GIVEN | {"owners.willing", "shards"}
        for name, column in one.items():
            if name in constant:
                assert np.array_equal(column, two[name]), name
            elif column.dtype == float and name.startswith(("owners.", "buyers.")):
                assert (column != two[name]).all(), name
            else:  # records are dealt anew
                assert not np.array_equal(column, two[name]), name
        assert set(answers[0][0].values).isdisjoint(answers[1][0].values)


# --- reproducibility ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", SOURCES)
@pytest.mark.parametrize("pricing", sorted(pricing_strategies()))
def test_the_same_run_twice(make_config: MakeConfig, data: str, pricing: str) -> None:
    """Equal tables, bit by bit, in one process."""
    config = make_config(
        data=data,
        owners={"count": 5, "participation": 0.8, "behaviour": "cautious"},
        broker={"pricing": pricing, "procurement": "random", "survey_share": 0.5},
    )
    first, second = Market(config, 3, 1), Market(config, 3, 1)
    first.run()
    second.run()
    assert_same_tables(first, second)


@pytest.mark.parametrize(
    ("procurement", "settlement"),
    [
        (p, s)
        for p, method in sorted(procurement_methods().items())
        for s, rule in sorted(settlement_rules().items())
        if method.promises == rule.pays_promises
    ],
)
def test_interleaved_markets_do_not_disturb_each_other(
    make_config: MakeConfig, procurement: str, settlement: str
) -> None:
    """Two markets stepped in turn are two markets run one after the other."""
    brokers = [{"procurement": procurement, "settlement": settlement}, {"procurement": "all"}]
    configs = [make_config(rounds=3, broker=broker) for broker in brokers]
    together, apart = [Market(c, 3) for c in configs], [Market(c, 3) for c in configs]
    for _ in range(3):
        for market in together:
            market.step()
    for market in apart:
        market.run()
    for one, other in zip(together, apart, strict=True):
        assert_same_tables(one, other)


@pytest.mark.parametrize("data", SOURCES)
def test_seeds_differ(make_config: MakeConfig, data: str) -> None:
    config = make_config(data=data, owners={"count": 5})
    revenues = []
    for seed, replicate in ((0, 0), (1, 0), (0, 1), (1, 1)):
        market = Market(config, seed, replicate)
        market.run()
        revenues.append(tuple(market.frame("rounds")["revenue"]))
    assert len(set(revenues)) == 4


def test_a_configuration_read_back_gives_the_same_market(make_config: MakeConfig) -> None:
    config = make_config(broker={"procurement": "random"})
    first, second = Market(config, 3), Market(MarketConfig.model_validate_json(config.model_dump_json()), 3)
    first.run()
    second.run()
    assert_same_tables(first, second)


@pytest.mark.parametrize("seed", [-1, 1.5, "1"])
def test_seeds_are_whole_numbers_from_zero(make_config: MakeConfig, seed: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        Market(make_config(), seed)
