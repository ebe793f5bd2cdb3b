"""What a misreport gains: closed forms for two and three owners, and brute force over the phases of a market."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from simulator import Market, MarketConfig
from simulator.agents.owner import compensation
from simulator.incentives import TOLERANCE, Outlook
from simulator.log import TABLES


def settled(market):
    """Steps a market up to the settlement of its next round; what its broker did."""
    market.round += 1
    market.broker.round = market.round
    prepared = market._prepare(market._within_budgets(market.owners.offer()))[0]
    return market._settle(prepared, market.buyers.buy(prepared.price_list))


def outlook(market, trade):
    truth = market.owners.columns["privacy_sensitivity"]
    return Outlook([trade], truth, market.ledger.privacy, market.owners.exposure)


def tried(market, state, owner, report):
    """Surplus of an owner at another report, by calling the market's own phases."""
    reports = state.offers.sensitivities.copy()
    reports[owner] = report
    offers = replace(state.offers, sensitivities=reports)
    asked = market.broker.asked(offers, state.valuation, state.base_prices)
    purchases = market.broker.procure(state.valuation, state.prices, state.survey, asked, market.ledger.privacy)
    settlement = market.broker.settle(state.sales, purchases)
    costs = compensation(state.base_prices, market.owners.columns["privacy_sensitivity"], market.broker.epsilons)
    return float((settlement.payments - np.where(purchases.bought, costs, 0.0))[:, owner].sum())


def one_version(make_config, asked, budget, revenue, **broker):
    """Owners of equal value that ask these amounts at the truth, one version at eps = 1, and a given revenue."""
    owners = {
        "count": len(asked),
        "value": 1.0,
        "base_price": 1.0,
        "privacy_sensitivity": np.log(asked).tolist(),
    }
    buyers = {"count": 1, "budget": 4.0 * revenue, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    broker = {"epsilons": [1.0], "pricing": "uniform", "manufacturing_budget": budget, **broker}
    market = Market(make_config(owners=owners, broker=broker, buyers=buyers))
    state = settled(market)
    assert state.sales.revenue.tolist() == [pytest.approx(revenue)]
    return market, state


def found(market, state, owner):
    """The best misreport of an owner, as its gain and the amount that it then asks."""
    best = outlook(market, state).best_report(owner)
    assert best.report == pytest.approx(market.owners.columns["privacy_sensitivity"][owner]) or best.gain > 0
    return best.gain, float(np.exp(best.report))


# --- closed forms ----------------------------------------------------------------------------------------


def close(value, cost):
    """The supremum is approached from below, up to the tolerance."""
    return pytest.approx(value, abs=TOLERANCE * cost)


@pytest.mark.parametrize("owner", [0, 1])
def test_pro_rata_two_owners_and_money_for_more(make_config, owner):
    """An owner may ask all that the other leaves of the budget: its share of the revenue rises to 1 - A / MB."""
    asked, budget, revenue = [2.0, 3.0], 12.0, 20.0
    gain, asks = found(*one_version(make_config, asked, budget, revenue), owner)
    own, other = asked[owner], asked[1 - owner]
    assert asks == pytest.approx(budget - other, rel=1e-3)
    assert gain == close(revenue * ((budget - other) / budget - own / (own + other)), own)


def test_paid_what_it_asks_two_owners_and_money_for_more(make_config):
    gain, asks = found(*one_version(make_config, [2.0, 3.0], 12.0, 20.0, settlement="guaranteed"), 0)
    assert asks == pytest.approx(9.0, rel=1e-3)
    assert gain == close(9.0 - 2.0, 2.0)


def test_a_rival_bounds_what_can_be_asked(make_config):
    """Two of three are bought. The cheapest may ask up to what its rival asks, not all that is left of the budget."""
    asked, budget, revenue = [2.0, 4.0, 5.0], 10.0, 16.0
    gain, asks = found(*one_version(make_config, asked, budget, revenue), 0)
    assert asks == pytest.approx(5.0, rel=1e-3)
    assert gain == close(16.0 * (5 / 9 - 2 / 6), 2.0)
    # The second may ask as much; the third asks 1 less, so that there is money for all, at a share of 4 / 10.
    gain, asks = found(*one_version(make_config, asked, budget, revenue), 1)
    assert asks == pytest.approx(5.0, rel=1e-3)
    assert gain == close(16.0 * (5 / 7 - 4 / 6), 4.0)
    gain, asks = found(*one_version(make_config, asked, budget, revenue), 2)
    assert asks == pytest.approx(4.0, rel=1e-3)
    assert gain == close(16.0 * 4 / 10 - 5.0, 5.0)
    # It sells nothing at the truth: the share is of what it costs to sell.
    market, state = one_version(make_config, asked, budget, revenue)
    assert outlook(market, state).best_report(2).relative == pytest.approx(1.4 / 5.0, rel=1e-3)
    assert outlook(market, state).best_report(0).relative == pytest.approx(16.0 * (5 / 9 - 2 / 6) / 2.0, rel=1e-3)


def test_understating_pays_where_the_revenue_is_worth_more_than_was_asked(make_config):
    """Money for one of two: the dearer asks less than the other, is bought alone and gets all of the revenue."""
    gain, asks = found(*one_version(make_config, [4.0, 6.0], 6.5, 11.0), 1)
    assert asks < 4.0
    assert gain == close(11.0 - 6.0, 6.0)
    # With a revenue below its cost, there is nothing to gain.
    market, state = one_version(make_config, [4.0, 6.0], 6.5, 5.0)
    assert found(market, state, 1) == (0.0, pytest.approx(6.0))


def test_equal_parts_are_larger_where_others_are_pushed_out(make_config):
    """There is money for all three. Who asks from 2.05 to 2.15 leaves too little for the third; who asks more is out.

    The window is narrower than the steps that the search starts from, and all three, or the two others, beside it.
    """
    gain, asks = found(*one_version(make_config, [2.0, 2.1, 2.15], 6.3, 12.0, settlement="uniform"), 0)
    assert 2.05 < asks <= 2.15
    assert gain == pytest.approx(12 / 2 - 12 / 3)


def test_staying_out_is_a_report_too(make_config):
    """A revenue of 1 for two owners whose costs are 2 and 3: the only way not to lose is to ask too much."""
    market, state = one_version(make_config, [2.0, 3.0], 5.0, 1.0)
    for owner, (own, other) in enumerate([(2.0, 3.0), (3.0, 2.0)]):
        gain, asks = found(market, state, owner)
        assert asks > 5.0 - other
        assert gain == pytest.approx(own - own / 5.0, rel=1e-12)


def test_what_cannot_be_changed_gains_nothing(make_config):
    """A single owner gets all of the revenue anyway; nobody asks anything; nobody wants the shard; no list."""
    market, state = one_version(make_config, [2.0], 2.0, 5.0)
    assert found(market, state, 0) == (0.0, pytest.approx(2.0))
    for owners, broker in (
        ({"base_price": 0.0}, {}),
        ({"value": -1.0}, {}),
        ({}, {"manufacturing_budget": 0.0}),
    ):
        market = Market(make_config(owners={"count": 3, "value": 1.0, **owners}, broker=broker))
        state = settled(market)
        assert [outlook(market, state).best_report(owner).gain for owner in range(3)] == [0.0] * 3
    market = Market(make_config(buyers={"budget": 0.0}))
    state = settled(market)
    assert state.prices is None
    assert outlook(market, state).best_report(0).gain == 0.0


# --- brute force -----------------------------------------------------------------------------------------

BRUTE = [
    {},
    {"settlement": "guaranteed", "manufacturing_budget": 30.0},
    {"manufacturing_budget": [20.0, 30.0, 15.0]},
    {"procurement": "exact", "manufacturing_budget": 25.0},
    {"procurement": "ppdp", "procurement_options": {"grid": 50}, "manufacturing_budget": 25.0},
    {"procurement": "random", "manufacturing_budget": 40.0},
    {"procurement": "all"},
]


@pytest.mark.parametrize("case", range(len(BRUTE)))
def test_no_report_of_a_fine_grid_gains_more(make_config, case):
    """By the phases of the market, on a fine grid of reports: nothing is gained beyond the tolerance.

    That the gain is reached, its own report shows. Twice the tolerance, for what comes and goes between the reports
    that the search starts from.
    """
    owners = {
        "count": 8,
        "value": {"dist": "uniform", "loc": 0.5},
        "base_price": {"dist": "uniform", "loc": 1.0, "scale": 2.0},
    }
    market = Market(make_config(rounds=1, owners=owners, broker=BRUTE[case]), seed=case)
    market.step()
    state = settled(market)
    look = outlook(market, state)
    gains = []
    for owner in (0, 3, 6):
        best = look.best_report(owner)
        truth = float(market.owners.columns["privacy_sensitivity"][owner])
        honest = tried(market, state, owner, truth)
        assert look.surplus(owner, truth) == honest
        assert look.surplus(owner, best.report) == tried(market, state, owner, best.report)
        assert best.gain == tried(market, state, owner, best.report) - honest
        asks = compensation(state.base_prices, np.zeros(8), market.broker.epsilons)[:, owner]  # at a report of 0
        most = (np.log(np.maximum(state.purchases.budgets / asks, 1.0)) / market.broker.epsilons).max()
        reports = np.linspace(0.0, most, 60 if "exact" in str(BRUTE[case]) else 200)
        grid = [tried(market, state, owner, report) for report in reports]
        assert max(grid) - honest <= best.gain + 2 * TOLERANCE * max(best.cost, 1.0)
        gains.append(best.gain)
    assert max(gains) > 0


def test_a_window_between_the_reports_that_the_search_starts_from(make_config):
    """The second owner gains in a narrow range only, in which it sells one version and not yet another at a loss."""
    owners = {"count": 3, "value": 1.0, "base_price": [2.6, 2.5, 0.5], "privacy_sensitivity": [0.3, 0.8, 1.3]}
    buyers = {"count": 3, "budget": [40.0, 80.0, 160.0], "epsilon_expected": [0.5, 1.5, 2.5]}
    buyers |= {"coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    broker = {"epsilons": [1.0, 2.0, 4.0], "pricing": "median", "manufacturing_budget": [7.0, 8.0, 15.0]}
    market = Market(make_config(owners=owners, broker=broker, buyers=buyers))
    state = settled(market)
    look = outlook(market, state)
    honest = look.surplus(1, 0.8)
    start = [look.surplus(1, report) - honest for report in look._grid(1)]
    best = look.best_report(1)
    grid = [tried(market, state, 1, report) - honest for report in np.linspace(0.30, 0.32, 200)]
    assert max(start) <= 0
    assert max(grid) > 2.0
    assert best.gain >= max(grid) - TOLERANCE * best.cost


def test_privacy_budgets_bind_in_what_is_tried(make_config):
    """Whoever is bought for the first version has no privacy left to sell in the second, at any report."""
    owners = {"count": 2, "value": 1.0, "base_price": 1.0, "privacy_sensitivity": [1.0, 0.5], "privacy_budget": 2.0}
    broker = {"epsilons": [1.0, 2.0], "pricing": "uniform", "manufacturing_budget": [6.0, 15.0]}
    market = Market(make_config(owners=owners, broker=broker | {"settlement": "guaranteed"}))
    state = settled(market)
    assert state.purchases.bought.tolist() == [[True, True], [False, False]]
    # The other asks e^0.5 for the first version; for the second there is never money where it is not bought first.
    assert found(market, state, 0)[0] == close(6.0 - np.e**0.5 - np.e, np.e)
    market = Market(make_config(owners=owners | {"privacy_budget": 3.0}, broker=broker | {"settlement": "guaranteed"}))
    state = settled(market)
    assert state.purchases.bought.all()
    asks = np.sqrt(15.0 - np.e)
    assert found(market, state, 0)[0] == close(asks + asks**2 - np.e - np.e**2, np.e + np.e**2)


def test_reports_are_sensitivities(make_config):
    market = Market(make_config())
    look = outlook(market, settled(market))
    for report in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="report must be finite and >= 0"):
            look.surplus(0, report)


# --- in a market -----------------------------------------------------------------------------------------

GAINS = ["misreport_gain_mean", "misreport_gain_max", "misreport_relative_mean", "misreport_relative_max"]


def sampled(make_config, size, seed=3, **broker):
    owners = {"count": 12, "participation": 0.8, "behaviour": "cautious"}
    config = make_config(rounds=3, owners=owners, broker={"manufacturing_budget": 30.0, "commission": 0.2, **broker})
    market = Market(
        config.model_copy(update={"incentives": config.incentives.model_copy(update={"owners": size})}), seed
    )
    market.run()
    return market


def test_nothing_is_measured_by_default_and_measuring_changes_nothing(make_config):
    off, on = sampled(make_config, 0), sampled(make_config, 5)
    measured = [*GAINS, "misreport_gainers", "misreport_gain", "best_report"]
    assert off.frame("rounds")[[*GAINS, "misreport_gainers"]].isna().all(axis=None)
    assert on.frame("rounds")[[*GAINS, "misreport_gainers"]].notna().all(axis=None)
    for name in TABLES:
        pd.testing.assert_frame_equal(
            off.frame(name).drop(columns=measured, errors="ignore"),
            on.frame(name).drop(columns=measured, errors="ignore"),
            check_exact=True,
        )


def test_the_round_metrics_are_those_of_the_owners_sampled(make_config):
    market = sampled(make_config, 5)
    for (_, owners), (_, row) in zip(
        market.frame("owners").groupby("round"), market.frame("rounds").iterrows(), strict=True
    ):
        sample = owners.dropna(subset="misreport_gain")
        assert len(sample) == min(5, owners["takes_part"].sum())
        assert sample["takes_part"].all()
        gains = sample["misreport_gain"]
        assert row["misreport_gain_mean"] == pytest.approx(gains.mean())
        assert row["misreport_gain_max"] == gains.max()
        assert row["misreport_gainers"] == (gains > 0).mean()
        # Reports differ from the truth exactly where something is gained.
        assert ((sample["best_report"] != sample["privacy_sensitivity"]) == (gains > 0)).all()
        # Costs are at the best report where that is more, so shares are at most those of the costs borne.
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(gains > 0, gains / sample["cost"], 0.0)
        assert row["misreport_relative_mean"] <= shares.mean() + 1e-12
        assert row["misreport_relative_max"] <= shares.max() + 1e-12
        assert (row["misreport_relative_max"] > 0) == (gains > 0).any()


def test_a_sample_larger_than_the_market_is_all_that_take_part(make_config):
    market = sampled(make_config, 99)
    owners = market.frame("owners")
    assert (owners["misreport_gain"].notna() == owners["takes_part"]).all()


def test_designs_share_their_sample(make_config):
    """Each owner has a number of its own: whoever is sampled among more is sampled among fewer, if it is there."""

    def asked(**owners):
        raw = make_config(rounds=4, owners={"count": 30, **owners}).model_dump() | {"incentives": {"owners": 8}}
        market = Market(MarketConfig.model_validate(raw), 3)
        market.run()
        frame = market.frame("owners")
        shape = (4, 30)
        return frame["misreport_gain"].notna().to_numpy().reshape(shape), frame["takes_part"].to_numpy().reshape(shape)

    all_of_them, _ = asked()
    some, there = asked(participation=0.6)
    assert (some | ~all_of_them | ~there).all()
    assert (all_of_them.sum(axis=1) == 8).all()
    assert len({tuple(row) for row in all_of_them.tolist()}) == 4  # others in every round


@pytest.mark.parametrize("size", [-1, 1.5, "all"])
def test_sample_sizes_are_whole_numbers_from_zero(make_config, size):
    raw = make_config().model_dump() | {"incentives": {"owners": size}}
    with pytest.raises(ValueError, match=r"incentives\.owners"):
        type(make_config()).model_validate(raw)
