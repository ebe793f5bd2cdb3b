"""Several brokers in one market: who deals with whom, who buys where, what is chosen, kept and lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from simulator import Market, MarketConfig
from simulator.agents import BrokerBehaviour, Decision, Desk, broker_behaviours
from simulator.agents.buyer import Target
from simulator.agents.learning_commission import LearningCommission
from simulator.agents.population import Column
from simulator.checks import check_broker_behaviour
from simulator.log import ROUND_METRICS, TABLES
from simulator.pricing.baselines import Median
from simulator.pricing.strategy import PricingContext
from simulator.privacy.accounts import PrivacyAccounts
from simulator.records import Menu, PriceList

MakeConfig = Callable[..., MarketConfig]


def rivals(make_config: MakeConfig, *brokers: dict[str, Any], **sections: Any) -> MarketConfig:
    """The small market of `make_config`, with these brokers instead of one; shared keys are under `broker`."""
    return make_config(brokers=list(brokers), **sections)


def run(config: MarketConfig, seed: int = 0) -> Market:
    market = Market(config, seed)
    market.run()
    return market


MIXED = {
    "buyers": [
        {"segment": "t", "taste": {"dist": "norm", "scale": 3.0}},
        {"segment": "s", "behaviour": "surplus", "taste": {"dist": "uniform", "scale": 5.0}},
        {"segment": "a", "behaviour": "arbitrageur_surplus"},
        {"segment": "l", "behaviour": "learning_shading", "arrivals": 3.0, "stay": 2.0},
        {"segment": "o", "one_off": True},
    ],
    "owners": [
        {"segment": "m", "behaviour": "learning", "reservation_surplus": -1.0},
        {"segment": "c", "behaviour": "cautious", "homing": "single", "switching": 0.5, "leakage": 0.5},
        {"segment": "b", "count": 3, "behaviour": "best_response", "homing": "single", "privacy_budget": 8.0},
    ],
}
THREE: tuple[dict[str, Any], ...] = (
    {"commission": 0.1, "survey_share": 0.7, "pricing": "menu"},
    {"epsilons": [1.0, 3.0], "settlement": "guaranteed", "capital": 6.0, "pricing": "median_each"},
    {"behaviour": "profit_maximizing", "behaviour_options": {"shares": 4}, "composition": "quadratic"},
)


# --- whole markets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_books_and_identities(make_config: MakeConfig, seed: int) -> None:
    """Money is conserved at every broker, nobody buys twice, and the tables tell one story."""
    market = run(rivals(make_config, *THREE, rounds=5, **MIXED), seed)
    rounds, brokers, versions, owners, sales = (market.frame(table) for table in TABLES)
    kept = brokers.groupby("broker")["profit"].sum()
    assert market.ledger.brokers == pytest.approx(kept.to_numpy(), rel=1e-12)
    assert market.ledger.buyers.sum() == pytest.approx(market.ledger.owners.sum() + kept.sum(), rel=1e-9)
    assert brokers["revenue"].to_numpy() == pytest.approx((brokers["payouts"] + brokers["profit"]).to_numpy(), rel=1e-9)
    assert not sales.duplicated(["round", "buyer"]).any()
    seller = versions.groupby("version")["broker"].first()
    for version in ("version", "target"):
        assert (seller[sales[version]].to_numpy() == sales["broker"].to_numpy()).all()
    by_name = sales.groupby(["round", "broker"])["price"].sum()
    shown = brokers.set_index(["round", "name"])["revenue"]
    assert by_name.to_numpy() == pytest.approx(shown[by_name.index].to_numpy(), rel=1e-12)
    by_version = versions.groupby(["round", "broker"])["revenue"].sum()
    assert by_version.to_numpy() == pytest.approx(shown[by_version.index].to_numpy(), rel=1e-12)
    for table, name, total in (
        (brokers, "revenue", "revenue"),
        (brokers, "payouts", "payouts"),
        (brokers, "profit", "broker_profit"),
        (brokers, "sales", "sales"),
        (brokers, "data_cost", "data_cost"),
        (brokers, "active", "brokers_active"),
        (owners, "paid", "payouts"),
        (owners, "surplus", "owner_surplus"),
        (sales, "surplus", "buyer_surplus"),
        (versions, "expected_revenue", "expected_revenue"),
    ):
        summed = table.groupby("round")[name].sum().reindex(rounds["round"], fill_value=0.0)
        assert summed.to_numpy() == pytest.approx(rounds[total].to_numpy(), rel=1e-9, abs=1e-9), (name, total)
    worth = sales.groupby("round")["worth"].sum().reindex(rounds["round"], fill_value=0.0).to_numpy()
    lost = owners.groupby("round")[["cost", "leakage"]].sum().sum(axis=1).to_numpy()
    assert rounds["welfare"].to_numpy() == pytest.approx(worth - lost, rel=1e-9, abs=1e-9)
    missed = (rounds["first_best"] - rounds["welfare"]).to_numpy()
    assert missed == pytest.approx(rounds["deadweight_loss"].to_numpy(), rel=1e-9, abs=1e-9)
    assert (rounds["deadweight_loss"] > -1e-9).all()
    shares = brokers.assign(square=brokers["share"] ** 2).groupby("round")["square"].sum(min_count=1)
    assert shares.to_numpy() == pytest.approx(rounds["concentration"].to_numpy(), nan_ok=True)
    assert rounds[["monopoly_revenue", "hindsight_revenue", "regret"]].isna().all(axis=None)


def test_the_same_seed_gives_the_same_tables(make_config: MakeConfig) -> None:
    one, two = (run(rivals(make_config, *THREE, rounds=3, **MIXED), 3) for _ in range(2))
    other = run(rivals(make_config, *THREE, rounds=3, **MIXED), 4)
    for table in TABLES:
        pd.testing.assert_frame_equal(one.frame(table), two.frame(table), check_exact=True)
    assert not one.frame("rounds").equals(other.frame("rounds"))


@pytest.mark.parametrize("seed", range(3))
def test_both_speeds(make_config: MakeConfig, seed: int) -> None:
    """All behaviours at once, with tastes, homing, a bankruptcy and a plan."""
    slow, fast = (Market(rivals(make_config, *THREE, rounds=4, **MIXED), seed) for _ in range(2))
    slow.owners.vectorised = slow.buyers.vectorised = False
    slow.run()
    fast.run()
    for table in TABLES:
        pd.testing.assert_frame_equal(slow.frame(table), fast.frame(table), check_exact=True)


def test_one_named_broker_is_the_broker(make_config: MakeConfig) -> None:
    """Where its own streams do not matter, its name is all that differs."""
    sections: dict[str, Any] = {"rounds": 3, "owners": {"behaviour": "learning"}, "buyers": {"behaviour": "surplus"}}
    alone, named = run(make_config(**sections), 1), run(rivals(make_config, {}, **sections), 1)
    for table in TABLES:
        one, two = (market.frame(table).drop(columns=["name", "broker"], errors="ignore") for market in (alone, named))
        pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert set(named.frame("versions")["broker"]) == {"b0"}
    assert set(alone.frame("sales")["broker"]) == {"broker"}


def test_who_else_there_is_moves_no_draw(make_config: MakeConfig) -> None:
    """Tastes and samples belong to a broker's name."""
    buyers = {"taste": {"dist": "norm"}}
    two = Market(rivals(make_config, {}, {}, buyers=buyers, broker={"survey_share": 0.5}))
    five = Market(rivals(make_config, {}, {}, {}, {}, {}, buyers=buyers, broker={"survey_share": 0.5}))
    for name in ("b0", "b1"):
        assert np.array_equal(two.buyers.columns[f"taste.{name}"], five.buyers.columns[f"taste.{name}"])
    assert not np.array_equal(two.buyers.columns["taste.b0"], two.buyers.columns["taste.b1"])
    first = [market.brokers[1].survey(market.buyers).values.tolist() for market in (two, five)]
    assert first[0] == first[1] != two.brokers[0].survey(two.buyers).values.tolist()


def test_brokers_that_are_alike_count_as_many(make_config: MakeConfig) -> None:
    config = rivals(make_config, {"name": "x", "count": 3}, {"name": "y"})
    assert list(config.desks) == ["x", "x-2", "x-3", "y"]
    market = run(config)
    assert [broker.name for broker in market.brokers] == list(config.desks)
    assert [broker.unique_id for broker in market.brokers] == list(range(22, 26))
    assert market.broker is market.brokers[0]
    assert sorted(agent.unique_id for agent in market.agents) == list(range(1, 26))
    assert market.frame("versions").query("round == 1")["version"].tolist() == list(range(12))
    assert MarketConfig.model_validate(config.model_dump()) == config
    assert MarketConfig.model_validate_json(config.model_dump_json()) == config


# --- buyers -----------------------------------------------------------------------------------------------------------


def a_list(broker: str, prices: list[float]) -> PriceList:
    on_sale = np.isfinite(prices)
    shown = np.where(on_sale, prices, 1.0)
    return PriceList(np.array([1.0, 2.0]), np.ones(2), shown, np.full(2, np.nan), on_sale, broker=broker)


@pytest.mark.parametrize("behaviour", ["target", "surplus"])
def test_each_buys_where_it_gains_most(make_config: MakeConfig, behaviour: str) -> None:
    """Against a loop over buyers, brokers and versions."""
    buyers = {"count": 200, "behaviour": behaviour, "taste": {"dist": "norm", "scale": 8.0}}
    market = Market(rivals(make_config, {}, {}, {}, broker={"epsilons": [1.0, 2.0]}, buyers=buyers), 5)
    market.round = 1
    lists = [a_list("b0", [5.0, 9.0]), a_list("b1", [7.0, 8.0]), a_list("b2", [4.0, np.inf])]
    sales = market.buyers.shop(lists)
    bought_nothing = 0
    for row, buyer in enumerate(market.buyers):
        gains = []
        for place, shown in enumerate(lists):
            worth = buyer.worth(shown)
            wanted = range(2) if behaviour == "surplus" else [buyer.target(shown)]
            for k in wanted:
                if shown.on_sale[k] and worth[k] >= shown.prices[k]:
                    gains.append((float(worth[k] - shown.prices[k]), place, k))
        found = [(place, int(own.versions[row])) for place, own in enumerate(sales) if own.bought[row]]
        if not gains:
            assert found == []
            bought_nothing += 1
            continue
        gain, place, k = max(gains)
        assert found == [(place, k)]
        assert sales[place].surplus[row] == gain
        assert sales[place].paid[row] == lists[place].prices[k]
    assert 0 < bought_nothing < 150
    assert all(own.bought.any() for own in sales)


def test_equals_share_by_lot(make_config: MakeConfig) -> None:
    """Three like lists: a third each, within four standard errors, and others in the next round."""
    market = Market(rivals(make_config, {}, {}, {}, broker={"epsilons": [1.0, 2.0]}, buyers={"count": 3000}), 5)
    market.round = 1
    lists = [a_list(f"b{number}", [0.1, 0.2]) for number in range(3)]
    first = [own.bought for own in market.buyers.shop(lists)]
    assert np.sum(first, axis=0).tolist() == [1] * 3000
    spread = 4 * np.sqrt(3000 * 2 / 9)
    assert all(abs(own.sum() - 1000) < spread for own in first)
    assert all(
        np.array_equal(*pair) for pair in zip(first, [own.bought for own in market.buyers.shop(lists)], strict=True)
    )
    market.round = 2
    assert not np.array_equal(first[0], market.buyers.shop(lists)[0].bought)


def test_bundles_are_bought_of_one_broker(make_config: MakeConfig) -> None:
    """At 1 and 9 two copies of the first version are 2; the other broker asks 3 for the second."""
    buyers = {"count": 5, "behaviour": "arbitrageur", "epsilon_expected": 2.0, "coverage_sensitivity": 0.0}
    buyers |= {"noise_sensitivity": 0.0, "budget": [8.0, 12.0, 16.0, 40.0, 4.0]}
    market = Market(rivals(make_config, {}, {}, broker={"epsilons": [1.0, 2.0]}, buyers=buyers))
    market.round = 1
    cheap, dear = market.buyers.shop([a_list("b0", [1.0, 9.0]), a_list("b1", [9.0, 3.0])])
    assert cheap.paid.tolist() == [2.0, 2.0, 2.0, 2.0, 0.0]  # worth a quarter of the budget: 2, 3, 4, 10, 1
    assert cheap.copies.tolist() == [2, 2, 2, 2, 0]
    assert not dear.bought.any()
    dearer, other = market.buyers.shop([a_list("b0", [1.6, 9.0]), a_list("b1", [9.0, 3.0])])
    assert dearer.bundles is None
    assert other.paid.tolist() == [0.0, 3.0, 3.0, 3.0, 0.0]


def test_tastes_by_hand(make_config: MakeConfig) -> None:
    """What a version is worth never falls below nothing, and a list of numbers is the same at all brokers."""
    buyers = {"count": 3, "taste": [1.0, 0.0, -100.0], "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    buyers |= {"budget": 8.0}
    market = Market(rivals(make_config, {}, {}, buyers=buyers))
    for name in ("b0", "b1"):
        menu = Menu(np.array([0.5, 1.0, 2.0]), np.ones(3), broker=name)
        assert market.buyers.worth(menu).tolist() == [[3.0] * 3, [2.0] * 3, [0.0] * 3]
        assert [agent.worth(menu).tolist() for agent in market.buyers] == market.buyers.worth(menu).tolist()


def test_answers_count_what_rivals_offer(make_config: MakeConfig) -> None:
    """Worth 10 at both: a rival at 4 leaves 6, so that 4 is stated, and a tenth less by who undercuts."""
    buyers = {"count": 1, "budget": 40.0, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    buyers |= {"epsilon_expected": 1.0}
    for undercut, stated in ((0.0, 4.0), (0.1, 3.6)):
        market = Market(
            rivals(make_config, {"undercut": undercut}, {}, {}, broker={"epsilons": [1.0, 2.0]}, buyers=buyers)
        )
        market.round = 1
        broker = market.brokers[0]
        assert broker.survey(market.buyers).values.tolist() == [10.0]
        gains = market.buyers.gains([None, a_list("b1", [4.0, 8.0]), a_list("b2", [6.0, 1.0])])
        assert gains.tolist() == [[-np.inf, 6.0, 4.0]]  # a buyer of its target: of the second list the first version
        assert broker.survey(market.buyers, gains.max(axis=1)).values.tolist() == pytest.approx([stated])
        nowhere = market.buyers.gains([a_list("b1", [11.0, 8.0])])[:, 0]
        assert broker.survey(market.buyers, nowhere).values.tolist() == [10.0]
        indifferent = market.buyers.gains([a_list("b1", [10.0, 8.0])])[:, 0]
        assert broker.survey(market.buyers, indifferent).values.tolist() == pytest.approx([10.0 * (1 - undercut)])


def test_answers_for_the_whole_menu_count_rivals_too(make_config: MakeConfig) -> None:
    """Worth 10 either way: a rival that leaves 6 takes that off both, and undercutting 5% of the rest."""
    buyers = {"count": 1, "budget": 40.0, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0, "taste": 0.0}
    shared = {"epsilons": [1.0, 2.0], "pricing": "menu"}
    market = Market(rivals(make_config, {"undercut": 0.05}, {}, broker=shared, buyers=buyers))
    survey = market.brokers[0].survey(market.buyers, np.array([6.0]))
    assert survey.worth is not None
    assert survey.worth.tolist() == [pytest.approx([3.8, 3.8])]


def test_what_rivals_posted_is_known_to_the_strategy(make_config: MakeConfig) -> None:
    market = Market(rivals(make_config, {}, {}, rounds=2))
    seen: list[tuple[PriceList, ...]] = []
    strategy = market.brokers[1].strategy
    strategy.prices, prices = (lambda context: (seen.append(context.rivals), prices(context))[1]), strategy.prices  # type: ignore[method-assign]
    market.run()
    first = market.frame("versions").query("round == 1 and broker == 'b0'")["price"].to_numpy()
    assert seen[0] == ()
    assert [shown.prices.tolist() for shown in seen[1]] == [first.tolist()]


def test_like_brokers_ask_others_and_draw_for_themselves(make_config: MakeConfig) -> None:
    """Samples and random purchases are a broker's own."""
    shared = {"survey_share": 0.5, "procurement": "random", "manufacturing_budget": 10.0}
    market = run(rivals(make_config, {}, {}, broker=shared, owners={"count": 30, "value": 1.0}, rounds=1))
    one, two = (broker.survey(market.buyers).values.tolist() for broker in market.brokers)
    assert one != two
    purchases = [broker.last_purchases for broker in market.brokers]
    assert purchases[0] is not None
    assert purchases[1] is not None
    assert not np.array_equal(purchases[0].bought, purchases[1].bought)


class Noting(Target):
    """Adds up what it is told."""

    name = "noting"
    total_paid = Column(default=0.0)
    total_gained = Column(default=0.0)

    def adapt(self, version: int | None, paid: float) -> None:
        self.total_paid += paid
        self.total_gained += self.gained


def test_buyers_are_told_what_they_bought_wherever_it_was(make_config: MakeConfig) -> None:
    buyers = {"behaviour": f"{__name__}:Noting", "taste": {"dist": "uniform", "scale": 5.0}}
    market = run(rivals(make_config, {}, {}, {}, buyers=buyers, rounds=4))
    sales = market.frame("sales")
    assert set(sales["broker"]) == {"b0", "b1", "b2"}
    told = sales.groupby("buyer")[["price", "surplus"]].sum().reindex(range(15), fill_value=0.0)
    assert market.buyers.columns["total_paid"] == pytest.approx(told["price"].to_numpy())
    assert market.buyers.columns["total_gained"] == pytest.approx(told["surplus"].to_numpy())


# --- owners -----------------------------------------------------------------------------------------------------------


def test_owners_deal_with_one_or_with_all(make_config: MakeConfig) -> None:
    owners = [{"segment": "one", "count": 40, "homing": "single", "switching": 0.0}, {"segment": "all", "count": 10}]
    market = run(rivals(make_config, {}, {}, {}, owners=owners, rounds=3, broker={"procurement": "all"}), 2)
    homes = market.frame("owners").query("round == 3")["home"].to_numpy()
    assert set(homes[:40]) == {0, 1, 2}
    assert (homes[40:] == -1).all()
    values = market.frame("owners").query("round == 3")["value"].to_numpy()
    for number, broker in enumerate(market.brokers):
        assert broker.last_purchases is not None
        assert (broker.last_purchases.sold == ((homes == number) | (homes < 0)) & (values > 0)).all()
        # Coverage counts all registered owners, whoever deals with the broker.
        share = np.maximum(values, 0)[(homes == number) | (homes < 0)].sum() / np.maximum(values, 0).sum()
        assert broker.last_purchases.coverage == pytest.approx(np.full(3, share))


def test_where_owners_move(make_config: MakeConfig) -> None:
    """Three brokers, of whom the segment knows two; the better one by the mean of those who deal with it."""
    owners = {"segment": "one", "count": 6, "homing": "single", "switching": 1.0}
    market = Market(rivals(make_config, {}, {}, {}, owners=owners))
    market.round = 1

    def moved(homes: list[int], surplus: list[float], open_: tuple[bool, ...] = (True, True, True)) -> list[int]:
        home = market.owners.columns["home"]
        home[:] = homes
        dealing = np.array([home == number for number in range(3)])
        market.owners.move(dealing, np.where(dealing, surplus, 0.0), np.array(open_))
        return home.tolist()

    assert moved([0, 0, 0, 1, 1, 1], [3, 0, 0, 2, 2, -2]) == [0] * 6  # means 1 and 2/3
    assert moved([0, 0, 0, 1, 1, 1], [3, 0, 0, 2, 2, 2]) == [1] * 6
    assert moved([0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]) == [0, 0, 0, 1, 1, 1]  # nobody moves for nothing
    assert moved([2, 2, 2, 1, 1, 1], [-1, -1, -1, -2, -2, -2]) == [2] * 6  # nobody hears of the first
    assert moved([2, 2, 2, 2, 2, 2], [9, 9, 9, 9, 9, 9]) == [2] * 6
    market.owners.columns["switching"][:] = 0.0
    assert moved([0, 0, 0, 1, 1, 1], [9, 9, 9, 0, 0, 0]) == [0, 0, 0, 1, 1, 1]
    assert moved([0, 0, 0, 1, 1, 1], [9, 9, 9, 0, 0, 0], (False, True, True)) == [1] * 6


@pytest.mark.parametrize("others", [0, 2])
def test_who_moves_between_equals_draws_lots(make_config: MakeConfig, others: int) -> None:
    """Half to each of two, within four standard errors: where both pay nothing, and where nobody knows either."""
    owners = {"segment": "one", "count": 1000, "homing": "single", "switching": 0.0}
    market = Market(rivals(make_config, {}, {}, {}, owners=owners))
    market.round = 1
    home = market.owners.columns["home"]
    home[:] = 2
    home[:others] = np.arange(others)
    dealing = np.array([home == number for number in range(3)])
    market.owners.move(dealing, np.zeros((3, 1000)), np.array([True, True, False]))
    assert home[:others].tolist() == list(range(others))
    assert abs((home == 0).sum() - 500) < 4 * np.sqrt(1000 / 4)
    assert (home == 0).sum() + (home == 1).sum() == 1000
    market.owners.move(dealing, np.zeros((3, 1000)), np.zeros(3, dtype=bool))  # nowhere to go
    assert (home == 0).sum() + (home == 1).sum() == 1000


def test_privacy_budgets_hold_over_all_brokers(make_config: MakeConfig) -> None:
    """A budget of 4 is never exceeded, and brokers get what is left in an order that changes from round to round."""
    owners = {"count": 30, "privacy_budget": 4.0, "value": 1.0, "base_price": 0.01, "base_price_pool": 0.0}
    markets = [
        run(rivals(make_config, {}, {}, {}, owners=owners, rounds=4, broker={"epsilons": [1.5, 2.0]}), seed)
        for seed in range(6)
    ]
    first_come = set()
    for market in markets:
        spent = market.frame("owners")["epsilon_total"]
        assert spent.max() <= 4.0 * (1 + 1e-12)
        assert spent.max() == 3.5
        uses = market.ledger.privacy.gaussian + market.ledger.privacy.other
        assert (market.ledger.privacy.epsilons @ uses).tolist() == market.frame("owners").query("round == 4")[
            "epsilon_total"
        ].tolist()
        bought = market.frame("brokers").query("round == 1").set_index("name")["owners_bought"]
        first_come.add(bought.idxmax())
        assert sorted(bought) == [0, 0, 30]
    assert len(first_come) > 1


def test_a_lie_is_judged_at_all_brokers(make_config: MakeConfig) -> None:
    """The search's gain against a grid of reports, each tried by running the round's phases of both brokers anew."""
    owners = {"count": 5, "value": 1.0, "base_price": {"dist": "uniform", "loc": 1.0, "scale": 3.0}}
    brokers = ({"manufacturing_budget": 8.0}, {"manufacturing_budget": 5.0, "settlement": "guaranteed"})
    config = rivals(make_config, *brokers, owners=owners, broker={"epsilons": [0.5, 1.0]}, rounds=1)
    raw = config.model_dump() | {"incentives": {"owners": 5}}
    market = run(MarketConfig.model_validate(raw), 3)
    table = market.frame("owners")

    def tried(owner: int, report: float) -> float:
        other = Market(config, 3)
        offer = other.owners.offer
        reported = other.owners.columns["privacy_sensitivity"].copy()
        reported[owner] = report
        honest = offer()
        other.owners.offer = lambda: type(honest)(honest.takes_part, reported)  # type: ignore[method-assign]
        sales = [trade.revenue for trade in revenues]
        other.buyers.shop = lambda lists: [Fixed(revenue) for revenue in sales]  # type: ignore[method-assign]
        other.round = 1
        for broker in other.brokers:
            broker.round = 1
        prepared = other._prepare(other.owners.offer())
        made = 0.0
        for number, part in prepared.items():
            settled = part.broker.share(sales[number], part.purchases, part.valuation)
            costs, _ = other._true_costs(part)
            made += float((settled.payments - costs)[:, owner].sum())
        return made

    class Fixed:
        def __init__(self, revenue: np.ndarray) -> None:
            self.revenue = revenue

    revenues = [Fixed(part["revenue"].to_numpy()) for _, part in market.frame("versions").groupby("broker")]
    gains = []
    for owner, (truth, surplus, gain, best) in enumerate(
        table[["privacy_sensitivity", "surplus", "misreport_gain", "best_report"]].to_numpy().tolist()
    ):
        assert tried(owner, truth) == pytest.approx(surplus, rel=1e-9)
        assert tried(owner, best) - surplus == pytest.approx(gain, rel=1e-9, abs=1e-9)
        grid = max(tried(owner, report) for report in np.linspace(0.0, 4.0, 60))
        assert gain >= grid - surplus - 2e-3 * table["cost"].max()
        gains.append(gain)
    assert max(gains) > 0


def test_a_broker_sees_the_accounts_from_its_own_first_version() -> None:
    """Of versions of 0.5 and 1 at one broker and 3 at the other, which asks for budgets of 2, 3.5 and 4."""
    accounts = PrivacyAccounts([0.5, 1.0, 3.0], 1e-5, np.array([2.0, 3.5, 4.0]))
    others = np.zeros((3, 3), dtype=bool)
    assert accounts.part(2, others).affordable(0).tolist() == [False, True, True]
    others[1] = True
    assert accounts.part(2, others).affordable(0).tolist() == [False, False, True]
    assert accounts.part(0, np.zeros((3, 3), dtype=bool)).affordable(1, others[:2]).tolist() == [True] * 3


@pytest.mark.parametrize("seed", range(3))
def test_the_truth_again_is_the_round_again(make_config: MakeConfig, seed: int) -> None:
    """Where privacy budgets bind, what a report would have earned depends on who bought first."""
    owners = {"count": 12, "privacy_budget": 4.0, "value": 1.0, "base_price": {"dist": "uniform", "scale": 3.0}}
    brokers = ({"manufacturing_budget": 8.0}, {"manufacturing_budget": 5.0, "settlement": "guaranteed"}, {})
    config = rivals(make_config, *brokers, owners=owners, rounds=3, broker={"epsilons": [1.0, 1.5]})
    market, again = Market(config, seed), []
    truths = market.owners.columns["privacy_sensitivity"]
    market.owners.reconsider = lambda outlook: again.append(  # type: ignore[method-assign]
        [outlook.surplus(owner, truth) for owner, truth in enumerate(truths.tolist())]
    )
    market.run()
    table = market.frame("owners")
    assert np.concatenate(again) == pytest.approx(table["surplus"].to_numpy(), rel=1e-9, abs=1e-12)
    assert table["epsilon_total"].max() > 2.5


def test_owners_look_at_what_is_left_after_costs(make_config: MakeConfig) -> None:
    owners = {"homing": "single", "switching": 0.0}
    market = Market(rivals(make_config, {}, {"settlement": "guaranteed"}, owners=owners, rounds=3), 2)
    seen: list[tuple[np.ndarray, ...]] = []
    market.owners.move = lambda *arguments: seen.append(arguments)  # type: ignore[method-assign]
    market.run()
    table = market.frame("owners")
    for dealing, surplus, open_ in seen:
        assert (surplus[~dealing] == 0).all()
        assert surplus[1] == pytest.approx(np.zeros(6), abs=1e-12)  # a guarantee of what a truthful owner asks
        assert open_.all()
    assert np.concatenate([surplus.sum(axis=0) for _, surplus, _ in seen]) == pytest.approx(
        (table["paid"] - table["cost"]).to_numpy(), abs=1e-12
    )


# --- bankruptcy -------------------------------------------------------------------------------------------------------


def losing(make_config: MakeConfig, capital: float | None, **more: Any) -> MarketConfig:
    """A broker that owes 6 a round and takes 4: one owner that asks 6, one buyer that pays 4."""
    owners = {"count": 1, "value": 1.0, "privacy_sensitivity": 0.0, "base_price": 6.0}
    buyers = {"count": 1, "budget": 16.0, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    broker = {"epsilons": [1.0], "settlement": "guaranteed", "manufacturing_budget": 6.0, "capital": capital, **more}
    return make_config(rounds=5, owners=owners, buyers=buyers, broker=broker)


@pytest.mark.parametrize("capital", [0.0, 1.0, 2.0, 5.0, None])
def test_a_loss_of_two_a_round(make_config: MakeConfig, capital: float | None) -> None:
    market = run(losing(make_config, capital))
    rounds, brokers = market.frame("rounds"), market.frame("brokers")
    left, paid, active, alive = (np.inf if capital is None else capital), [], [], True
    capitals = []
    for _ in range(5):
        active.append(int(alive))
        due = 6.0 if alive else 0.0
        has = (4.0 if alive else 0.0) + left
        paid.append(min(due, has) if alive else 0.0)
        if alive:
            alive = has >= due
            left = max(has - due, 0.0)
        capitals.append(left)
    assert rounds["payouts"].tolist() == pytest.approx(paid)
    assert brokers["capital"].tolist() == pytest.approx(capitals)
    assert rounds["brokers_active"].tolist() == active
    assert rounds["revenue"].tolist() == [4.0 * open_ for open_ in active]
    assert brokers["bankrupt"].sum() == (capital is not None)
    assert (rounds["revenue"] - rounds["payouts"] - rounds["broker_profit"]).abs().max() < 1e-12
    if capital is not None:
        assert market.broker.bankrupt
        assert rounds["broker_profit"].sum() == pytest.approx(-capital)
        assert brokers["capital"].iloc[-1] == 0.0
        assert rounds["list_kind"].iloc[-1] == "none"
        broken = rounds["brokers_active"].sum() - 1
        assert rounds["ir_violations"].tolist() == [float(number == broken) for number in range(5)]


def test_all_claims_get_the_same_share(make_config: MakeConfig) -> None:
    owners = {"count": 3, "value": 1.0, "privacy_sensitivity": 0.0, "base_price": [1.0, 2.0, 7.0]}
    buyers = {"count": 1, "budget": 16.0, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    broker = {"epsilons": [1.0], "settlement": "guaranteed", "manufacturing_budget": 10.0, "capital": 1.0}
    market = run(make_config(rounds=2, owners=owners, buyers=buyers, broker=broker))
    assert market.frame("owners")["paid"].tolist() == pytest.approx([0.5, 1.0, 3.5, 0.0, 0.0, 0.0])


def test_who_is_left_takes_over(make_config: MakeConfig) -> None:
    """Owners of a bankrupt broker go to the other one, and so do the buyers."""
    owners = {"count": 20, "value": 1.0, "privacy_sensitivity": 0.0, "base_price": 1.0, "homing": "single"}
    owners["switching"] = 0.0
    buyers = {"count": 30, "budget": 1.0, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    brokers = ({"settlement": "guaranteed", "manufacturing_budget": 50.0, "capital": 1.0}, {})
    market = run(rivals(make_config, *brokers, owners=owners, buyers=buyers, rounds=3, broker={"epsilons": [1.0]}), 1)
    table = market.frame("brokers").set_index(["round", "name"])
    assert table.loc[(1, "b0"), "owners_dealing"] > 0
    assert table.loc[(1, "b0"), "bankrupt"]
    assert table["owners_dealing"].loc[[2, 3]].tolist() == [0, 20, 0, 20]
    assert table["active"].loc[[2, 3]].tolist() == [False, True, False, True]
    assert table.loc[(2, "b0"), "sales"] == 0
    assert table.loc[(2, "b1"), "sales"] > 0


@pytest.mark.parametrize("seed", range(8))
def test_rounding_ruins_nobody(make_config: MakeConfig, seed: int) -> None:
    """Equal parts of all revenue may sum up to a little more than it."""
    market = run(make_config(owners={"count": 7}, broker={"settlement": "uniform", "capital": 0.0}), seed)
    assert not market.broker.bankrupt
    assert market.frame("brokers")["capital"].between(0.0, 1e-9).all()


def test_a_bankrupt_learner_expects_nothing(make_config: MakeConfig) -> None:
    """It goes by last round's sales, but there are no more."""
    config = losing(make_config, 1.0, pricing="ucb", pricing_options={"lowest": 3.9, "highest": 4.0})
    rounds = run(config).frame("rounds")
    assert rounds["brokers_active"].tolist() == [1, 0, 0, 0, 0]
    assert rounds["revenue"].iloc[0] > 0
    assert rounds["expected_revenue"].iloc[1:].eq(0).all()
    assert rounds["prediction_error"].iloc[1:].isna().all()


def test_nobody_is_left(make_config: MakeConfig) -> None:
    """Two brokers that lose: no list, no sale, no release, and no end of the market."""
    raw = losing(make_config, 0.0).model_dump(mode="json")
    desk = raw.pop("broker")
    raw["brokers"] = [desk | {"name": "a"}, desk | {"name": "b", "capital": 3.0}]
    raw["owners"][0] |= {"homing": "single", "count": 4, "privacy_budget": {"dist": "uniform", "loc": 50.0}}
    market = run(MarketConfig.model_validate(raw | {"rounds": 4, "incentives": {"owners": 2}}), 1)
    rounds, brokers, owners = (market.frame(table) for table in ("rounds", "brokers", "owners"))
    assert rounds["brokers_active"].iloc[-1] == 0
    after = rounds.query("brokers_active == 0")
    zero = ["answers", "expected_revenue", "revenue", "payouts", "broker_profit", "sales", "data_cost", "epsilon_max"]
    assert after[[*zero, "welfare", "versions_on_sale", "misreport_gain_max"]].eq(0).all(axis=None)
    assert after[["commission", "concentration", "markup", "price_mean", "pricing_fallback"]].isna().all(axis=None)
    assert after["list_kind"].eq("none").all()
    assert brokers["profit"].groupby(brokers["name"]).sum().tolist() == pytest.approx([0.0, -3.0])
    assert owners.groupby("round")["epsilon_total"].sum().tail(len(after) + 1).diff().iloc[1:].eq(0).all()


def test_who_is_gone_is_no_rival(make_config: MakeConfig) -> None:
    """What the other broker asks after a bankruptcy is what it would ask alone."""
    owners = {"count": 20, "value": 1.0, "privacy_sensitivity": 0.0, "base_price": 20.0}
    brokers = ({"settlement": "guaranteed", "manufacturing_budget": 500.0, "capital": 1.0}, {"undercut": 0.5})
    market = Market(rivals(make_config, *brokers, owners=owners, rounds=3, broker={"manufacturing_budget": 50.0}), 1)
    seen: list[int] = []
    strategy = market.brokers[1].strategy
    strategy.prices, prices = (lambda context: (seen.append(len(context.rivals)), prices(context))[1]), strategy.prices  # type: ignore[method-assign]
    market.run()
    shown = market.frame("versions").query("broker == 'b1'").groupby("round")["price"].apply(list)
    assert market.brokers[0].bankrupt
    assert seen == [0, 0, 0]
    assert shown[2] == shown[3]
    assert market.frame("rounds")["list_kind"].tolist() == ["arbitrage-free"] * 3


# --- behaviours of brokers --------------------------------------------------------------------------------------------


class FirstOnly(BrokerBehaviour):
    """Spends on the first version alone."""

    name = "first_only"
    chooses_commission = chooses_budgets = plans = True

    def decide(self, desk: Desk) -> Decision:
        plan = desk.prospect(np.array([30.0, 0.0, 0.0]))
        return Decision(max(0.0, plan.profit / plan.revenue.sum()), plan)


@pytest.mark.parametrize("behaviour", ["profit_maximizing", f"{__name__}:FirstOnly"])
@pytest.mark.parametrize("privacy_budget", [None, 5.0])
def test_what_is_planned_is_what_happens(make_config: MakeConfig, behaviour: str, privacy_budget: float | None) -> None:
    """Purchases, coverage and expected revenue of the plan are those of the round."""
    config = make_config(
        rounds=3,
        broker={"behaviour": behaviour, "procurement": "random"},
        owners={"count": 30, "privacy_budget": privacy_budget},
    )
    market = Market(config, 2)
    for _ in range(3):
        market.step()
        plan, found = market.broker._plan, market.frame("versions").tail(3)
        assert plan is not None
        assert found["budget"].tolist() == plan.budgets.tolist()
        assert found["cost"].tolist() == plan.purchases.costs.tolist()
        assert found["coverage"].tolist() == plan.purchases.coverage.tolist()
        on_sale = found["on_sale"].to_numpy()
        assert (found["expected_revenue"].to_numpy() * on_sale).tolist() == plan.revenue.tolist()
        revenue = plan.revenue.sum()
        assert market.broker.commission == pytest.approx(
            max(0.0, 1 - found["cost"].sum() / revenue) if revenue else 0.0
        )


def test_no_budget_tried_promises_more(make_config: MakeConfig) -> None:
    """A finer grid of common shares finds nothing beyond the plan but what its grid lets expect."""
    config = make_config(
        broker={"behaviour": "profit_maximizing", "behaviour_options": {"shares": 8}}, owners={"count": 40}
    )
    market = Market(config, 4)
    desks: list[Desk] = []

    class Watched(type(market.broker.behaviour)):  # type: ignore[misc]
        def decide(self, desk: Desk) -> Decision:
            decision = super().decide(desk)
            most = desk.potential()
            coarse = max(desk.prospect(most * share).profit for share in np.linspace(0, 1, 9))
            fine = max(desk.prospect(most * share).profit for share in np.linspace(0, 1, 120))
            assert coarse <= decision.plan.profit
            assert decision.plan.profit >= fine - 0.05 * abs(fine)
            desks.append(desk)
            return decision

    market.broker.behaviour = Watched(shares=8)
    market.run()
    assert len(desks) == 2


class Raising(Median):
    """Asks more at each call."""

    name = "raising"
    calls = 0

    def prices(self, context: PricingContext) -> np.ndarray:
        self.calls += 1
        return np.full(context.n_versions, float(self.calls))


def test_a_plan_leaves_no_trace_in_the_strategy(make_config: MakeConfig) -> None:
    """A strategy that counts its lists has made one a round, and each plan was made with the price of its round."""
    market = run(make_config(broker={"behaviour": "profit_maximizing", "pricing": f"{__name__}:Raising"}, rounds=3))
    assert market.broker.strategy.calls == 3  # type: ignore[attr-defined]
    assert market.frame("versions").groupby("round")["price"].unique().tolist() == [[1.0], [2.0], [3.0]]


def test_a_loss_is_not_planned(make_config: MakeConfig) -> None:
    """Where data cost more than models are worth, nothing is bought, and nothing sold."""
    owners = {"base_price": 1e6, "value": 1.0}
    market = run(make_config(owners=owners, broker={"behaviour": "profit_maximizing", "settlement": "guaranteed"}))
    assert market.frame("rounds")[["revenue", "payouts", "data_cost", "commission"]].eq(0.0).all(axis=None)


def test_each_commission_is_tried_and_the_best_is_kept() -> None:
    """A bandit by hand: profits c (1 - c), one odd first round in each stint."""
    learner = LearningCommission(commissions=5, exploration=0.0, patience=3)
    rng = np.random.default_rng(0)
    taken = []
    for _ in range(60):
        commission = learner.decide(Desk(0.0, lambda: np.ones(1), lambda budgets: None, rng)).commission  # type: ignore[arg-type,return-value]
        taken.append(commission)
        learner.learn(commission * (1 - commission) if len(taken) % 3 != 1 else 100.0)
    stints = np.array(taken).reshape(-1, 3)
    assert (stints == stints[:, :1]).all()
    assert sorted(stints[:5, 0]) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    assert set(stints[5:, 0]) == {0.4}  # of .4 and .6, which earn the same, the smaller
    assert learner.mean_profit == pytest.approx([0.0, 0.16, 0.24, 0.24, 0.16])
    assert learner.trials.tolist() == [1, 1, 16, 1, 1]


def test_a_learner_explores() -> None:
    learner = LearningCommission(commissions=4, exploration=1.0, patience=1)
    rng = np.random.default_rng(1)
    for _ in range(400):
        learner.decide(Desk(0.0, lambda: np.ones(1), lambda budgets: None, rng))  # type: ignore[arg-type,return-value]
        learner.learn(1.0)
    assert (np.abs(learner.trials - 100) < 4 * np.sqrt(400 * 3 / 16)).all()


@pytest.mark.parametrize("name", sorted(broker_behaviours()))
def test_built_in_behaviours_pass_the_check(name: str) -> None:
    check_broker_behaviour(broker_behaviours()[name])


class Unsteady(BrokerBehaviour):
    """Chooses by a count that it shares with all others of its class."""

    name = "unsteady"
    taken: list[float] = []

    def decide(self, desk: Desk) -> Decision:
        self.taken.append(0.0)
        return Decision(min(0.01 * len(self.taken), 1.0))


def test_the_check_sees_what_is_wrong() -> None:
    with pytest.raises(AssertionError, match="Unsteady: the same seed gives other"):
        check_broker_behaviour(Unsteady)
    with pytest.raises(AssertionError, match=r"Greedy fails in a market: ValueError: .* chose the commission 1\.5"):
        check_broker_behaviour(Greedy)


class Greedy(BrokerBehaviour):
    """Wants more than there is."""

    name = "greedy"

    def decide(self, desk: Desk) -> Decision:
        return Decision(1.5)


def test_an_impossible_commission_is_refused(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match=r"chose the commission 1\.5; allowed are shares from 0 to 1"):
        run(make_config(broker={"behaviour": f"{__name__}:Greedy"}))


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("brokers", "sections", "message"),
    [
        (({"name": "a"}, {"name": "a"}), {}, "brokers: found the name 'a' twice"),
        (({"name": "a", "count": 2}, {"name": "a-2"}), {}, "brokers: found the name 'a-2' twice"),
        (({"name": "a b"}, {}), {}, "String should match pattern"),
        (({}, {"delta": 1e-6}), {}, "brokers.b1.delta: found 1e-06 where brokers.b0 has 1e-05; allowed is the same"),
        (
            ({}, {"training": {"unit": "owner"}}),
            {},
            "brokers.b1.training.unit: found 'owner' where brokers.b0 has 'record'",
        ),
        (({}, {"privacy_accounting": "gaussian"}), {}, "brokers.b1.privacy_accounting: found 'gaussian'"),
        (({}, {"undercut": 1.0}), {}, "less than 1"),
        (({}, {"capital": -1.0}), {}, "greater than or equal to 0"),
        (({}, {"count": 0}), {}, "greater than or equal to 1"),
        (({}, {"behaviour": "magic"}), {}, "brokers.b1.behaviour: found the unknown broker behaviour 'magic'"),
        (
            ({}, {"behaviour_options": {"x": 1}}),
            {},
            "brokers.b1.behaviour: the broker behaviour 'fixed' has no option 'x'",
        ),
        (
            ({}, {"behaviour": "profit_maximizing", "behaviour_options": {"shares": 1}}),
            {},
            "shares must be a whole number >= 2, found 1",
        ),
        (
            ({}, {"behaviour": "learning", "behaviour_options": {"exploration": 2}}),
            {},
            "exploration must be a number from 0 to 1, found 2",
        ),
        (
            ({}, {"behaviour": "learning", "behaviour_options": {"patience": 0}}),
            {},
            "patience must be a whole number >= 1",
        ),
        (
            ({}, {"behaviour": "profit_maximizing", "commission": 0.1}),
            {},
            "brokers.b1.commission: found 0.1 with the broker behaviour 'profit_maximizing', which chooses it itself",
        ),
        (
            ({}, {"behaviour": "profit_maximizing", "manufacturing_budget": 5.0}),
            {},
            "brokers.b1.manufacturing_budget: found 5.0 with the broker behaviour 'profit_maximizing'",
        ),
        (
            (
                {},
                {
                    "behaviour": "profit_maximizing",
                    "pricing": "ucb",
                    "pricing_options": {"lowest": 1.0, "highest": 2.0},
                    "starting_budget": 1.0,
                },
            ),
            {},
            "brokers.b1.behaviour: found 'profit_maximizing' with the pricing strategy 'ucb', which surveys nobody",
        ),
        (({}, {"pricing": "magic"}), {}, "brokers.b1.pricing: found the unknown pricing strategy 'magic'"),
        (({}, {"settlement": "promised"}), {}, "brokers.b1.settlement: found 'promised' with the procurement method"),
        (({}, {}), {"owners": {"homing": "double"}}, "'multi' or 'single'"),
        (({}, {}), {"owners": {"switching": 2.0}}, "less than or equal to 1"),
    ],
)
def test_refused(make_config: MakeConfig, brokers: Any, sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        rivals(make_config, *brokers, **sections)
    assert message in str(caught.value)


def test_one_or_several(make_config: MakeConfig) -> None:
    raw = make_config().model_dump()
    with pytest.raises(ValidationError, match=r"brokers: found x beside a section broker; allowed is one broker"):
        MarketConfig.model_validate(raw | {"brokers": [{"name": "x"}]})
    assert MarketConfig.model_validate(raw | {"brokers": []}).broker is not None
    with pytest.raises(ValidationError, match=r"owners\.owners\.homing: found 'single' where there is one broker"):
        make_config(owners={"homing": "single"})
    alone = rivals(make_config, {}, owners={"homing": "single"})
    assert run(alone).frame("owners")["home"].eq(0).all()


# --- rounds that do not count -----------------------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=8)
@given(warm_up=st.integers(0, 3))
def test_rounds_of_the_warm_up_are_run_and_not_logged(make_config: MakeConfig, warm_up: int) -> None:
    whole = run(make_config(rounds=4, owners={"behaviour": "learning"}))
    market = run(MarketConfig.model_validate(whole.config.model_dump() | {"warm_up": warm_up}))
    for table in TABLES:
        later = whole.frame(table).query(f"round > {warm_up}").reset_index(drop=True)
        pd.testing.assert_frame_equal(market.frame(table), later, check_exact=True)
    assert market.ledger.brokers == whole.ledger.brokers


def test_something_must_be_logged(make_config: MakeConfig) -> None:
    raw = make_config(rounds=4).model_dump()
    with pytest.raises(ValidationError, match="warm_up: found 4 of rounds = 4; allowed are numbers below"):
        MarketConfig.model_validate(raw | {"warm_up": 4})


def test_new_metrics_are_known() -> None:
    assert {"price_mean", "brokers_active", "commission", "markup", "concentration"} <= set(ROUND_METRICS)
