"""Privacy lost through others: who is exposed to whom, what is asked then, and what it costs whom."""

import numpy as np
import pytest
from pydantic import ValidationError

from simulator import Market, MarketConfig
from simulator.agents.owner import marginal
from simulator.log import TABLES

CHEAP = {"value": 1.0, "privacy_sensitivity": 0.0}


def table(market, column):
    """A column of the owners' table, a row a round."""
    return market.frame("owners")[column].to_numpy().reshape(market.round, -1)


def test_exposure_by_hand(make_config):
    """The share of the others of one's own segment, times its leakage; nobody is exposed to itself."""
    segments = [
        {"segment": "a", "count": 3, "leakage": 0.6},
        {"segment": "b", "count": 2},
        {"segment": "c", "count": 2, "leakage": 1.0},
    ]
    owners = Market(make_config(owners=segments)).owners
    bought = np.array([[1, 1, 0, 1, 0, 1, 0], [0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0]], dtype=bool)
    assert owners.exposure(bought) == pytest.approx(
        np.array([[0.3, 0.3, 0.6, 0, 0, 0, 1.0], [0, 0, 0, 0, 0, 1.0, 1.0], [0.6, 0.6, 0.6, 0, 0, 0, 0]])
    )
    assert Market(make_config()).owners.exposure(np.ones((3, 6), dtype=bool)) is None


def test_marginal_costs():
    costs = np.array([2.0, np.inf, 0.0])
    assert marginal(costs, None) is costs
    assert marginal(costs, np.array([0.25, 1.0, 1.0])).tolist() == [1.5, np.inf, 0.0]


def test_two_rounds_by_hand(make_config):
    """Three owners at 6 each and a budget for two. What two sold in the first round each asks less of in the second."""
    owners = CHEAP | {"count": 3, "base_price": 6.0, "leakage": 0.5}
    broker = {"epsilons": [1.0], "pricing": "uniform", "manufacturing_budget": 12.0, "settlement": "guaranteed"}
    market = Market(make_config(rounds=2, owners=owners, broker=broker, buyers={"coverage_sensitivity": 0.0}))
    market.run()
    # Round 1: two sell at 6. A seller is exposed to one of two others, so that its own sale costs 6 (1 - 0.25) and
    # 1.5 is lost anyway; who does not sell loses 3.
    assert table(market, "asked")[0].tolist() == [6.0, 6.0, 0.0]
    assert table(market, "cost")[0].tolist() == [4.5, 4.5, 0.0]
    assert table(market, "leakage")[0].tolist() == [1.5, 1.5, 3.0]
    assert table(market, "surplus")[0].tolist() == [0.0, 0.0, -3.0]
    # Round 2: sellers ask 4.5 and the other 3, so that all three are bought: each then is exposed to both others.
    assert table(market, "asked")[1].tolist() == [4.5, 4.5, 3.0]
    assert table(market, "cost")[1].tolist() == [3.0] * 3
    assert table(market, "leakage")[1].tolist() == [3.0] * 3
    assert table(market, "surplus")[1].tolist() == [-1.5, -1.5, -3.0]
    rounds = market.frame("rounds")
    assert rounds["leakage"].tolist() == [6.0, 9.0]
    assert rounds["owner_surplus"].tolist() == pytest.approx([-3.0, -6.0])
    worth = rounds["buyer_surplus"] + rounds["revenue"]
    assert rounds["welfare"].to_numpy() == pytest.approx((worth - [15.0, 18.0]).to_numpy())
    assert (rounds["first_best"] - rounds["welfare"]).to_numpy() == pytest.approx(rounds["deadweight_loss"].to_numpy())


def test_owners_decide_by_what_their_own_sale_costs(make_config):
    """A loss through others is no reason to stay out: it comes either way."""
    owners = CHEAP | {"count": 4, "base_price": 6.0, "leakage": 1.0, "reservation_surplus": 0.0}
    broker = {"epsilons": [1.0], "pricing": "uniform", "manufacturing_budget": 100.0, "settlement": "guaranteed"}
    market = Market(make_config(rounds=4, owners=owners, broker=broker))
    market.run()
    assert (market.frame("owners")["surplus"] < 0).sum() > 0
    assert (table(market, "takes_part")).all()


def test_no_leakage_is_as_none_of_it_was_there(make_config):
    owners = {"count": 12, "participation": 0.8, "behaviour": "learning"}
    plain, tiny = (Market(make_config(rounds=3, owners=owners | more), 2) for more in ({}, {"leakage": 0.0}))
    for market in (plain, tiny):
        market.run()
    for name in TABLES:
        assert plain.frame(name).equals(tiny.frame(name))
    assert (plain.frame("owners")["leakage"] == 0).all()


def test_what_a_misreport_gains_counts_leakage(make_config):
    """Brute force: whoever is bought instead leaks too, so a report changes what is lost through others."""
    owners = {"count": 5, "base_price": {"dist": "uniform", "loc": 1, "scale": 3}, "value": 1.0, "leakage": 0.7}
    broker = {"epsilons": [0.5, 1.0], "manufacturing_budget": 8.0, "pricing": "uniform"}
    raw = make_config(rounds=2, owners=owners, broker=broker).model_dump() | {"incentives": {"owners": 5}}
    market = Market(MarketConfig.model_validate(raw), 3)
    seen = []
    reconsider = market.owners.reconsider
    market.owners.reconsider = lambda outlook: (seen.append(outlook), reconsider(outlook))
    market.run()
    outlook, last = seen[-1], market.frame("owners").query("round == 2")
    for owner, (truth, surplus, gain, best) in enumerate(
        last[["privacy_sensitivity", "surplus", "misreport_gain", "best_report"]].to_numpy()
    ):
        assert outlook.surplus(owner, truth) == pytest.approx(surplus, rel=1e-12)
        assert outlook.surplus(owner, best) - outlook.surplus(owner, truth) == pytest.approx(gain, rel=1e-9, abs=1e-12)
    assert last["misreport_gain"].max() > 0


def test_who_is_exposed_may_report_more(make_config):
    """Three who ask a tenth of 2 each, since they know that all sell: each may ask what the others leave of 30."""
    owners = {"count": 3, "value": 1.0, "privacy_sensitivity": np.log(2.0), "base_price": 1.0, "leakage": 0.9}
    broker = {"epsilons": [1.0], "pricing": "uniform", "manufacturing_budget": 30.0, "settlement": "guaranteed"}
    raw = make_config(rounds=2, owners=owners, broker=broker).model_dump() | {"incentives": {"owners": 3}}
    market = Market(MarketConfig.model_validate(raw))
    market.run()
    assert table(market, "asked")[1] == pytest.approx(0.2)
    # Costs stay what they are; the gain is what it is paid more.
    assert table(market, "misreport_gain")[1] == pytest.approx(30 - 0.4 - 0.2, rel=1e-3)
    assert np.exp(table(market, "best_report")[1]) * 0.1 == pytest.approx(30 - 0.4, rel=1e-3)


@pytest.mark.parametrize(
    ("asked", "broker", "relative"),
    [
        # All sell, so that a sale adds nothing to what is lost anyway: the cheapest gains 12 (7 / 12 - 3 / 8) of 3.
        ([3.0, 5.0], {"manufacturing_budget": 12.0}, 12 * (7 / 12 - 3 / 8) / 3),
        # Three on offer are offered 8 / 3 each, and nobody sells, where two sell at 4 if the third asks too much.
        (
            [3.0, 3.0, 10.0],
            {"manufacturing_budget": 8.0, "procurement": "fixed_price", "settlement": "promised"},
            10 / 10,
        ),
    ],
)
def test_gains_are_shares_of_what_is_lost_in_any_case_too(make_config, asked, broker, relative):
    """Where a sale costs nothing more, or who gains does not sell, there is no share of nothing."""
    owners = {"count": len(asked), "value": 1.0, "base_price": 1.0, "leakage": 1.0}
    owners["privacy_sensitivity"] = np.log(asked).tolist()
    buyers = {"count": 1, "budget": 48.0, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    broker = {"epsilons": [1.0], "pricing": "uniform", **broker}
    raw = make_config(rounds=1, owners=owners, broker=broker, buyers=buyers).model_dump()
    market = Market(MarketConfig.model_validate(raw | {"incentives": {"owners": len(asked)}}))
    market.run()
    assert market.frame("rounds")["misreport_relative_max"].tolist() == [pytest.approx(relative, rel=1e-2)]


@pytest.mark.parametrize(
    ("owners", "message"),
    [
        ({"leakage": 1.2}, "less than or equal to 1"),
        ({"leakage": -0.1}, "greater than or equal to 0"),
        ({"leakage": 0.5, "count": 1}, "leakage: found 0.5 for a single owner; allowed with count > 1 only"),
    ],
)
def test_leakage_out_of_range_is_refused(make_config, owners, message):
    with pytest.raises(ValidationError) as caught:
        make_config(owners=owners)
    assert message in str(caught.value)
