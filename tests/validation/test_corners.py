"""The corners of the model: results are defined, finite and what the theory says, under every mechanism."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulator import Market, MarketConfig
from simulator.config import DataConfig
from simulator.datasets import load, split
from simulator.pricing import find_arbitrage, pricing_strategies
from simulator.privacy import PrivateLogisticRegression, PrivateSVM
from simulator.procurement import procurement_methods
from simulator.records import Purchases
from simulator.settlement import settlement_rules

MakeConfig = Callable[..., MarketConfig]

PRICINGS = sorted(pricing_strategies())
#: Those that price by what buyers answer.
ASKING = [name for name in PRICINGS if pricing_strategies()[name].surveys]
SETTLEMENTS = sorted(settlement_rules())
PROCUREMENTS = sorted(procurement_methods())
#: Which go together: promises are kept where they are made.
PAYING = [
    (p, s)
    for p, s in itertools.product(PROCUREMENTS, SETTLEMENTS)
    if procurement_methods()[p].promises == settlement_rules()[s].pays_promises
]

#: Every column that holds money; prices are checked apart, since there may be no list.
MONEY = {
    "rounds": [
        "expected_revenue",
        "revenue",
        "payouts",
        "broker_profit",
        "buyer_surplus",
        "owner_surplus",
        "welfare",
        "first_best",
        "deadweight_loss",
        "monopoly_revenue",
        "perfect_revenue",
        "hindsight_revenue",
        "regret",
        "data_cost",
        "arbitrage_available",
        "arbitrage_taken",
    ],
    "versions": ["budget", "cost", "expected_revenue", "revenue"],
    "owners": ["asked", "paid", "cost", "surplus"],
    "sales": ["price", "worth", "surplus"],
}
#: Ratios, and the amount whose absence leaves each undefined.
RATIOS = {
    "prediction_error": "expected_revenue",
    "efficiency": "first_best",
    "revenue_to_monopoly": "monopoly_revenue",
    "revenue_to_perfect": "perfect_revenue",
    "gini_paid": "payouts",
    "gini_all": "payouts",
}

EQUAL = {"value": 1.0, "privacy_sensitivity": 0.0}
#: Buyers to whom one shard in six is worth nothing, and all six nearly the whole budget.
DEMANDING = {"coverage_expected": 0.9, "coverage_sensitivity": 1e6}

CORNERS: dict[str, dict[str, Any]] = {
    "nobody takes part": {"owners": {"participation": 0.0}},
    "no positive value": {"owners": {"value": [-1.0, 0.0, -2.0, 0.0, -0.5, 0.0]}},
    "no budget for data": {"broker": {"manufacturing_budget": 0.0}},
    "no budget for one version": {"broker": {"manufacturing_budget": [0.0, 100.0, 100.0]}},
    "buyers without money": {"buyers": {"budget": 0.0}},
    "one buyer with money": {"buyers": {"budget": [0.0] * 14 + [40.0]}},
    "one version": {"broker": {"epsilons": [1.0]}},
    "one owner": {"owners": {"count": 1, "value": 1.0}},
    "one buyer": {"buyers": {"count": 1}},
    "one of each": {"owners": {"count": 1, "value": 1.0}, "broker": {"epsilons": [1.0]}, "buyers": {"count": 1}},
    "one buyer asked": {"broker": {"survey_share": 0.01}},
    "a third of the buyers asked": {"broker": {"survey_share": 1 / 3}},
    "commission 0": {"broker": {"commission": 0.0}},
    "commission 1": {"broker": {"commission": 1.0}},
    "commission 1, fixed budget": {"broker": {"commission": 1.0, "manufacturing_budget": 50.0}},
    "free data": {"owners": {"base_price_pool": 0.0}},
    "free data, commission 1": {"owners": {"base_price_pool": 0.0}, "broker": {"commission": 1.0}},
    "priceless data": {"owners": {"privacy_sensitivity": 1e6}},
    "priceless data, some of it worthless": {
        "owners": {"privacy_sensitivity": 1e6, "value": [1.0, 0.0, -1.0, 2.0, 0.5, -0.5]}
    },
    "priceless data without a price": {"owners": {"privacy_sensitivity": 1e6, "base_price_pool": 0.0}},
    "one sensitivity": {"owners": {"value": 1.0, "privacy_sensitivity": 0.5}},
    "no sale": {
        "owners": {**EQUAL, "base_price_pool": 20.0},
        "broker": {"manufacturing_budget": 5.0},
        "buyers": DEMANDING,
    },
    "all want the lowest version": {"buyers": {"epsilon_expected": 0.0}},
    "all want more than the top version": {"buyers": {"epsilon_expected": 99.0}},
    "equal answers": {"buyers": {"budget": 10.0, "epsilon_expected": 1.0, "coverage_expected": 0.5}},
}


def run(config: MarketConfig, seed: int = 5) -> Market:
    market = Market(config, seed)
    market.run()
    return market


def assert_defined(market: Market) -> dict[str, pd.DataFrame]:
    """No NaN or infinity where money is, NaN elsewhere only where the quantity is undefined; the tables."""
    tables = {name: market.frame(name) for name in ("rounds", "versions", "owners", "sales")}
    for name, columns in MONEY.items():
        amounts = tables[name][columns].to_numpy(dtype=float)
        assert np.isfinite(amounts).all(), f"{name}: {tables[name][columns]}"
    rounds, versions, owners = tables["rounds"], tables["versions"], tables["owners"]
    for ratio, whole in RATIOS.items():
        assert np.isnan(rounds[ratio]).tolist() == (rounds[whole] <= 0).tolist(), ratio
    # What all could have gained: the loss and what was gained after all.
    gained = rounds["buyer_surplus"] + rounds["revenue"]
    attainable = rounds["deadweight_loss"] + gained
    assert np.isnan(rounds["allocative_efficiency"]).tolist() == (attainable <= 0).tolist()
    numbers = rounds.select_dtypes("number").to_numpy(dtype=float)
    assert not np.isinf(numbers).any()
    assert versions["coverage"].between(0, 1).all()
    assert np.isfinite(owners[["value", "epsilon", "reported_sensitivity"]].to_numpy()).all()
    assert rounds["sell_through"].between(0, 1).all()
    assert rounds["ir_violations"].between(0, 1).all()
    missing = rounds["revenue"] - rounds["payouts"] - rounds["broker_profit"]
    assert (missing.abs() <= 1e-9 * np.maximum(1.0, rounds["revenue"])).all()
    # There is a list from the first round with an answer on, or from the first where none is needed; personal
    # prices are none.
    priced = np.isfinite(versions["price"]).groupby(versions["round"]).all()
    strategy = market.broker.strategy
    listed = ((rounds["answers"] > 0).cummax() | (not strategy.surveys)) & (not strategy.personalised)
    assert priced.tolist() == listed.tolist()
    assert (versions["price"].dropna() > 0).all()
    trained = versions["records"] > 0
    assert versions["accuracy"][trained].between(0, 1).all()
    return tables


def assert_idle(tables: dict[str, pd.DataFrame]) -> None:
    """Nothing is bought and nothing is sold."""
    rounds, versions, owners = tables["rounds"], tables["versions"], tables["owners"]
    assert len(tables["sales"]) == 0
    assert not versions["on_sale"].any()
    for column in MONEY["rounds"]:
        if column != "expected_revenue":
            assert (rounds[column] == 0).all(), column
    for column in ("versions_on_sale", "sales", "sell_through", "epsilon_max", "epsilon_total_max", "ir_violations"):
        assert (rounds[column] == 0).all(), column
    assert (versions[["coverage", "cost", "owners", "sold", "records"]] == 0).all(axis=None)
    assert (owners[["asked", "paid", "cost", "epsilon", "versions"]] == 0).all(axis=None)


@pytest.mark.parametrize("pricing", PRICINGS)
@pytest.mark.parametrize("corner", sorted(CORNERS))
def test_results_are_defined(make_config: MakeConfig, corner: str, pricing: str) -> None:
    """Every corner under every pricing strategy, settlement rule and purchase behaviour."""
    for settlement in SETTLEMENTS:
        procurement = "fair_query" if settlement_rules()[settlement].pays_promises else "greedy"
        for behaviour in ("target", "surplus"):
            sections = CORNERS[corner]
            broker = {**sections.get("broker", {}), "pricing": pricing, "settlement": settlement}
            broker["procurement"] = procurement
            buyers = {**sections.get("buyers", {}), "behaviour": behaviour}
            assert_defined(run(make_config(**{**sections, "broker": broker, "buyers": buyers})))


@pytest.mark.parametrize("procurement", PROCUREMENTS)
@pytest.mark.parametrize("corner", sorted(CORNERS))
def test_results_are_defined_under_every_procurement_method(
    make_config: MakeConfig, corner: str, procurement: str
) -> None:
    for composition in ("additive", "quadratic"):
        sections = CORNERS[corner]
        broker = {**sections.get("broker", {}), "procurement": procurement, "composition": composition}
        broker["settlement"] = next(s for p, s in reversed(PAYING) if p == procurement)
        assert_defined(run(make_config(**{**sections, "broker": broker})))


@pytest.mark.parametrize(("procurement", "settlement"), PAYING)
@pytest.mark.parametrize("corner", ["nobody takes part", "no positive value", "priceless data"])
def test_nothing_to_buy(make_config: MakeConfig, corner: str, procurement: str, settlement: str) -> None:
    """Without sellers, value or affordable data there is no market, even if the budget is ignored."""
    broker = {"procurement": procurement, "settlement": settlement, "manufacturing_budget": 1e6}
    tables = assert_defined(run(make_config(**{**CORNERS[corner], "broker": broker})))
    assert_idle(tables)
    assert (tables["rounds"]["owners_taking_part"] == (0 if corner == "nobody takes part" else 6)).all()
    # The survey is held and the list is posted all the same.
    assert (tables["rounds"]["answers"] == 15).all()
    assert np.isfinite(tables["versions"]["price"]).all()


def test_nobody_takes_part_in_a_market_of_records(make_config: MakeConfig) -> None:
    for source in ("breast_cancer", "iris"):
        tables = assert_defined(run(make_config(data=source, owners={"participation": 0.0})))
        assert_idle(tables)
        assert (tables["owners"]["value"] == 0).all()


@pytest.mark.parametrize("pricing", PRICINGS)
def test_no_budget_for_data(make_config: MakeConfig, pricing: str) -> None:
    assert_idle(assert_defined(run(make_config(broker={"pricing": pricing, "manufacturing_budget": 0.0}))))
    # Shards that cost nothing are bought with nothing.
    free = make_config(owners={"base_price_pool": 0.0}, broker={"pricing": pricing, "manufacturing_budget": 0.0})
    versions = assert_defined(run(free))["versions"]
    assert versions["on_sale"].all()
    assert (versions["coverage"] == 1.0).all()


@pytest.mark.parametrize("pricing", PRICINGS)
def test_a_withdrawn_version(make_config: MakeConfig, pricing: str) -> None:
    """Those who want it abstain; the others' list is posted, and stays free of arbitrage."""
    broker = {"pricing": pricing, "manufacturing_budget": [100.0, 0.0, 100.0]}
    market = run(make_config(broker=broker, buyers={"count": 40}))
    tables = assert_defined(market)
    versions = tables["versions"]
    assert versions["on_sale"].tolist() == [True, False, True] * 2
    withdrawn = versions[versions["version"] == 1]
    assert (withdrawn["wanted"] > 0).all()
    assert (withdrawn[["sold", "revenue", "coverage", "owners", "cost"]] == 0).all(axis=None)
    assert 1 not in set(tables["sales"]["target"])
    assert 1 not in set(tables["sales"]["version"])
    if pricing == "low":  # nearly everybody else buys
        assert len(tables["sales"]) > 0
    if market.broker.strategy.arbitrage_free:
        for _, rows in versions[versions["on_sale"]].groupby("round"):
            assert find_arbitrage(rows["epsilon"], rows["price"]) is None
        assert (tables["rounds"]["arbitrage_available"] == 0).all()


def test_buyers_of_a_withdrawn_version_may_take_another_one_if_they_compare(make_config: MakeConfig) -> None:
    config = make_config(
        rounds=1,
        broker={"pricing": "low", "manufacturing_budget": [100.0, 0.0, 100.0]},
        buyers={"count": 40, "behaviour": "surplus"},
    )
    sales = assert_defined(run(config))["sales"]
    assert (sales["version"][sales["target"] == 1] != 1).all()
    assert (sales["target"] == 1).any()


def test_the_coverage_of_a_withdrawn_version_is_judged_as_last_released(make_config: MakeConfig) -> None:
    """A version withdrawn from the first round on is judged at coverage 1, however often it fails."""
    config = make_config(broker={"manufacturing_budget": [100.0, 0.0, 100.0]})
    market = run(config)
    released = market.broker.released_coverage
    logged = market.frame("versions").query("round == 2")["coverage"].to_numpy()
    assert released[1] == 1.0
    assert released[[0, 2]].tolist() == logged[[0, 2]].tolist()


@pytest.mark.parametrize("pricing", ASKING)
def test_a_survey_of_zeros(make_config: MakeConfig, pricing: str) -> None:
    """In the first round there is no list and nothing is sold; later the last prices stay."""
    market = Market(make_config(broker={"pricing": pricing, "manufacturing_budget": 100.0}), seed=5)
    budget = market.buyers.columns["budget"].copy()
    market.buyers.columns["budget"][:] = 0.0
    market.step()
    assert_idle(assert_defined(market))
    assert np.isnan(market.frame("versions")["price"]).all()
    assert market.frame("rounds")[["answers", "expected_revenue"]].to_numpy().tolist() == [[0, 0.0]]

    market.buyers.columns["budget"][:] = budget
    market.step()
    market.buyers.columns["budget"][:] = 0.0
    market.step()
    tables = assert_defined(market)
    assert tables["rounds"]["answers"].tolist() == [0, 15, 0]
    prices = tables["versions"]["price"].to_numpy().reshape(3, 3)
    assert np.array_equal(prices[1], prices[2], equal_nan=True)
    assert np.isnan(prices[1]).all() == market.broker.strategy.personalised
    # The list stands and data is bought with the fixed budget, but nobody has money.
    assert tables["versions"].query("round == 3")["on_sale"].all()
    assert tables["rounds"]["sales"][2] == 0
    assert tables["rounds"]["revenue"][2] == 0.0


def test_a_budget_from_revenue_is_zero_when_nobody_answers(make_config: MakeConfig) -> None:
    market = Market(make_config(), seed=5)
    market.step()
    market.buyers.columns["budget"][:] = 0.0
    market.step()
    last = assert_defined(market)["versions"].query("round == 2")
    assert (last[["budget", "expected_revenue", "cost", "owners"]] == 0).all(axis=None)
    assert last["price"].tolist() == market.frame("versions").query("round == 1")["price"].tolist()


@pytest.mark.parametrize("settlement", [s for p, s in PAYING if p == "greedy"])
@pytest.mark.parametrize("pricing", [name for name in ASKING if name != "perfect"])
def test_no_sale(make_config: MakeConfig, pricing: str, settlement: str) -> None:
    """Data is bought for buyers who then find it too little: the neutral broker pays nothing, the other one loses."""
    sections = CORNERS["no sale"]
    broker = {**sections["broker"], "pricing": pricing, "settlement": settlement}
    tables = assert_defined(run(make_config(**{**sections, "broker": broker})))
    rounds, versions, owners = tables["rounds"], tables["versions"], tables["owners"]
    assert versions["on_sale"].all()
    assert (versions["owners"] == 1).all()
    assert len(tables["sales"]) == 0
    # One shard of six at 20/6, for each of three versions.
    assert rounds["data_cost"].to_numpy() == pytest.approx([10.0, 10.0], rel=1e-12)
    paid = 10.0 if settlement == "guaranteed" else 0.0
    assert rounds["payouts"].to_numpy() == pytest.approx([paid, paid], rel=1e-12)
    assert rounds["broker_profit"].to_numpy() == pytest.approx([-paid, -paid], rel=1e-12)
    assert rounds["welfare"].to_numpy() == pytest.approx([-10.0, -10.0], rel=1e-12)
    assert (rounds["ir_violations"] == (0.0 if settlement == "guaranteed" else 1.0)).all()
    assert owners["epsilon"].sum() == pytest.approx(2 * 3.5)
    # At this coverage the survey of the second round is one of zeros, so the prices of the first stay.
    assert rounds["answers"].tolist() == [15, 0]
    prices = versions["price"].to_numpy().reshape(2, 3)
    assert prices[0].tolist() == prices[1].tolist()


@pytest.mark.parametrize("pricing", PRICINGS)
def test_commission_of_zero_and_one(make_config: MakeConfig, pricing: str) -> None:
    """All revenue to the owners, or all to the broker; a budget left over from a commission of 1 buys nothing."""
    fixed = {"pricing": pricing, "manufacturing_budget": 100.0}
    none = assert_defined(run(make_config(broker={**fixed, "commission": 0.0})))["rounds"]
    whole = assert_defined(run(make_config(broker={**fixed, "commission": 1.0})))["rounds"]
    assert none["payouts"].to_numpy() == pytest.approx(none["revenue"].to_numpy(), rel=1e-12)
    assert (none["broker_profit"].abs() <= 1e-12 * none["revenue"]).all()
    assert (whole["payouts"] == 0).all()
    assert whole["broker_profit"].to_numpy() == pytest.approx(whole["revenue"].to_numpy(), rel=1e-12)
    assert none["revenue"].tolist() == whole["revenue"].tolist()
    assert (whole["revenue"] > 0).any() == (none["revenue"] > 0).any()
    if pricing in ASKING:  # else the first round has a budget of its own
        assert_idle(assert_defined(run(make_config(broker={"pricing": pricing, "commission": 1.0}))))


def test_free_data_under_a_commission_of_one(make_config: MakeConfig) -> None:
    """Free shards are bought with no money; the owners are paid nothing and lose nothing."""
    rounds = assert_defined(run(make_config(**CORNERS["free data, commission 1"])))["rounds"]
    assert (rounds["versions_on_sale"] == 3).all()
    assert (rounds["revenue"] > 0).all()
    assert (rounds[["payouts", "owner_surplus", "data_cost", "ir_violations"]] == 0).all(axis=None)


def test_guaranteed_settlement_ignores_the_commission(make_config: MakeConfig) -> None:
    for commission in (0.0, 1.0):
        broker = {"settlement": "guaranteed", "commission": commission, "manufacturing_budget": 60.0}
        rounds = assert_defined(run(make_config(broker=broker)))["rounds"]
        assert rounds["payouts"].to_numpy() == pytest.approx(rounds["data_cost"].to_numpy(), rel=1e-12)
        assert (rounds["ir_violations"] == 0).all()


@pytest.mark.parametrize("pricing", [name for name in ASKING if name not in ("perfect", "cost_plus")])
def test_one_of_each(make_config: MakeConfig, pricing: str) -> None:
    """One owner, one version, one buyer: the buyer pays all it is worth, and the owner gets it.

    Under `cost_plus` it would pay the cost of 2 and the mark-up on it.
    """
    config = make_config(
        owners={"count": 1, "value": 1.0, "base_price_pool": 2.0, "privacy_sensitivity": 0.0},
        broker={"epsilons": [1.0], "pricing": pricing},
        buyers={"count": 1, "budget": 40.0, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0},
    )
    tables = assert_defined(run(config))
    assert tables["versions"]["price"].tolist() == [10.0, 10.0]
    assert tables["rounds"]["revenue"].tolist() == [10.0, 10.0]
    assert tables["owners"][["paid", "cost", "surplus"]].to_numpy().tolist() == [[10.0, 2.0, 8.0]] * 2
    assert tables["rounds"]["welfare"].tolist() == [8.0, 8.0]
    assert tables["rounds"]["efficiency"].tolist() == [1.0, 1.0]
    assert (tables["rounds"][["gini_paid", "gini_all", "deadweight_loss", "ir_violations"]] == 0).all(axis=None)


def test_one_buyer_asked_stands_for_all(make_config: MakeConfig) -> None:
    rounds = assert_defined(run(make_config(**CORNERS["one buyer asked"])))
    assert (rounds["rounds"]["answers"] == 1).all()
    # One answer, fully served, scaled to the market's fifteen buyers.
    versions = rounds["versions"].query("round == 1")
    asked = versions[versions["expected_revenue"] > 0]
    assert len(asked) == 1
    assert asked["expected_revenue"].item() == pytest.approx(15 * asked["price"].item(), rel=1e-12)


def test_owners_never_valued_count_nothing_in_coverage(make_config: MakeConfig) -> None:
    """Coverage is over all registered owners at their last value, which is zero before the first."""
    config = make_config(
        owners={"count": 4, "value": [1.0, 2.0, 5.0, 8.0], "participation": [1.0, 1.0, 0.0, 0.0]},
        broker={"manufacturing_budget": 1e6, "epsilons": [1.0]},
    )
    market = Market(config)
    market.step()
    assert market.frame("owners")["value"].tolist() == [1.0, 2.0, 0.0, 0.0]
    assert market.frame("versions")["coverage"].tolist() == [1.0]
    # Owner 2 leaves, owner 3 comes: 2 keeps its value, and is covered no more.
    market.owners.columns["willing"][:] = [True, False, True, False]
    market.step()
    second = market.frame("owners").query("round == 2")
    assert second["value"].tolist() == [1.0, 2.0, 5.0, 0.0]
    assert second["versions"].tolist() == [1, 0, 1, 0]
    assert market.frame("versions")["coverage"][1] == pytest.approx(6 / 8, rel=1e-12)
    # All leave: nobody is valued again, and nothing is covered.
    market.owners.columns["willing"][:] = False
    market.step()
    third = market.frame("owners").query("round == 3")
    assert third["value"].tolist() == [1.0, 2.0, 5.0, 0.0]
    assert market.frame("versions")["coverage"][2] == 0.0
    assert_defined(market)


def test_owners_who_come_back_to_a_market_of_records_are_valued_again(make_config: MakeConfig) -> None:
    """With the same set taking part the values are those of that set, whatever happened in between."""
    market = Market(make_config(data="breast_cancer", owners={"count": 5}))
    everybody = np.ones(5, dtype=bool)
    for willing in (everybody, np.array([True, True, True, False, False]), everybody):
        market.owners.columns["willing"][:] = willing
        market.step()
    values = market.frame("owners")["value"].to_numpy().reshape(3, 5)
    assert values[0].tolist() == values[2].tolist()
    assert values[1, 3:].tolist() == values[0, 3:].tolist()
    assert (values[1, :3] != values[0, :3]).any()
    assert_defined(market)


@pytest.mark.parametrize("pricing", PRICINGS)
def test_shards_of_one_class(make_config: MakeConfig, pricing: str) -> None:
    """Shards of one record each, and purchases of one shard: training and valuation see one class."""
    config = make_config(
        data={"source": "synthetic", "records": 25, "features": 3, "classes": 5},
        owners={"count": 20, "base_price_pool": 20.0},
        broker={
            "pricing": pricing,
            "epsilons": [0.5, 2.0],
            "manufacturing_budget": [4.0, 1000.0],
            "valuation": {"budget": 300},
        },
    )
    versions = assert_defined(run(config))["versions"]
    assert (versions["records"] == versions["owners"]).all()
    assert versions["on_sale"].any()
    assert np.isfinite(versions["accuracy"][versions["on_sale"]]).all()


@pytest.mark.parametrize(("source", "n_records", "n_classes"), [("breast_cancer", 455, 2), ("iris", 120, 3)])
@pytest.mark.parametrize(
    "training", [{}, {"method": "objective", "model": "svm", "neighbours": "add-remove", "data_norm": 2.0}], ids=str
)
def test_a_purchase_of_one_class(
    make_config: MakeConfig, source: str, n_records: int, n_classes: int, training: dict[str, Any]
) -> None:
    """Several classes in the data set, one in what is bought: the model is trained, and knows all classes.

    It is the public estimator with the classes of the data set and the noise of the run's stream.
    """
    broker = {"epsilons": [1.0, 10.0], "training": training}
    market = Market(make_config(data=source, owners={"count": n_records}, broker=broker))
    shards = market.broker.stock.shards
    for label in range(n_classes):
        bought = np.zeros((2, n_records), dtype=bool)
        bought[1, shards.owners] = used = shards.labels == label  # every owner holds one record
        assert used.sum() > 30
        nothing = np.zeros((2, n_records))
        versions = market.broker.train(Purchases(bought, nothing, np.zeros(2), np.zeros(2)))
        assert versions.available.tolist() == [False, True]
        assert versions.records.tolist() == [0, used.sum()]
        noise = market.streams.generator("training", round=0, segment="1")
        estimator = PrivateSVM if training.get("model") == "svm" else PrivateLogisticRegression
        options = {name: option for name, option in training.items() if name != "model"}
        model = estimator(10.0, classes=np.arange(n_classes), random_state=noise, **options)
        model.fit(shards.features[used], shards.labels[used])
        assert np.isnan(versions.accuracy[0])
        assert versions.accuracy[1] == model.score(shards.test_features, shards.test_labels)


def test_a_class_that_no_owner_holds(make_config: MakeConfig, tmp_path: Path) -> None:
    """The classes are those of the data set, also where the training records lack one."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.normal(size=(30, 3)), columns=["a", "b", "c"])
    table["y"] = ["x"] * 15 + ["y"] * 14 + ["rare"]
    path = tmp_path / "records.csv"
    table.to_csv(path, index=False)
    data = {"source": str(path), "label": "y"}
    config = make_config(data=data, owners={"count": 6}, broker={"manufacturing_budget": 1000.0})
    missing = 0
    for seed in range(8):
        market = run(config, seed)
        shards = split(load(DataConfig(**data)), 6, market.streams)
        missing += len(np.unique(shards.labels)) < shards.n_classes == 3
        assert_defined(market)
    assert missing > 0  # else the test would say nothing


def test_too_many_owners_for_the_records_is_an_error(make_config: MakeConfig) -> None:
    config = make_config(data={"source": "synthetic", "records": 10}, owners={"count": 9})
    with pytest.raises(ValueError, match="found 9 owners for 8 training records"):
        Market(config)
