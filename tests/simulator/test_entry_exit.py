"""Owners with a reservation surplus: what they expect, when they leave, and when they come back."""

import numpy as np
import pandas as pd
import pytest

from simulator import Market
from simulator.agents import owner_behaviours
from simulator.log import TABLES

#: Half of the owners have two rounds of privacy to sell.
RESTRICTED = {
    "count": 20,
    "participation": 0.8,
    "reservation_surplus": {"dist": "norm", "loc": 0.5, "scale": 1.0},
    "privacy_budget": [7.0] * 10 + [100.0] * 10,
}


def market_of(make_config, reservation, rounds=5, weight=0.5, **broker):
    """Owners who all take part at first, at a revenue that does not depend on who does."""
    owners = {"count": len(reservation), "value": 1.0, "privacy_sensitivity": 0.0, "base_price": 2.0}
    owners |= {"reservation_surplus": reservation, "expectation_weight": weight}
    buyers = {"count": 4, "budget": 40.0, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    broker = {"epsilons": [1.0], "pricing": "uniform", "procurement": "all", **broker}
    return Market(make_config(rounds=rounds, owners=owners, broker=broker, buyers=buyers))


def table(market, column):
    """A column of the owners' table, a row a round."""
    frame = market.frame("owners")
    return frame[column].to_numpy().reshape(market.round, -1)


def test_by_hand(make_config):
    """A revenue of 40, a cost of 2: four owners see a surplus of 8, three of 34/3, two of 18, one of 38."""
    market = market_of(make_config, [1.0, 7.0, 9.0, 10.0], rounds=4)
    market.run()
    assert table(market, "takes_part").tolist() == [
        [True, True, True, True],
        [True, True, False, False],  # all expect 8
        [True, True, True, True],  # those inside have seen 18, the others have heard of it: all expect 13
        [True, True, True, True],  # 10.5, after another 8
    ]
    expected = table(market, "expected_surplus")
    assert np.isnan(expected[0]).all()
    assert expected[1:].tolist() == [[8.0] * 4, [13.0] * 4, [10.5] * 4]
    rounds = market.frame("rounds")
    assert rounds["entries"].tolist() == [0, 0, 2, 0]
    assert rounds["exits"].tolist() == [0, 2, 0, 0]
    assert rounds["owners_taking_part"].tolist() == [4, 2, 4, 4]
    assert table(market, "reservation_surplus")[2].tolist() == [1.0, 7.0, 9.0, 10.0]


def test_whoever_is_not_bought_earns_nothing_and_hears_nothing_else(make_config):
    """Two of three are affordable. The third takes part and sees 0; those with a claim leave, and hear the mean."""
    market = market_of(
        make_config, [-1.0, 1.0, 1.0], rounds=3, weight=1.0, procurement="greedy", manufacturing_budget=4.0
    )
    market.run()
    # 40 over two owners: 18 each, and nothing for the third, who leaves, and hears of a mean of 18.
    assert table(market, "versions").tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 0]]
    assert table(market, "expected_surplus")[1].tolist() == [18.0, 18.0, 0.0]
    assert table(market, "takes_part")[1].tolist() == [True, True, False]
    assert table(market, "expected_surplus")[2].tolist() == [18.0, 18.0, 18.0]
    assert table(market, "takes_part")[2].tolist() == [True, True, True]


def test_where_all_have_left_there_is_nothing_to_see(make_config):
    market = market_of(make_config, [20.0, 20.0, 20.0, 20.0], rounds=4)
    market.run()
    assert table(market, "takes_part").sum(axis=1).tolist() == [4, 0, 0, 0]
    assert market.frame("rounds")["exits"].tolist() == [0, 4, 0, 0]
    assert table(market, "expected_surplus")[1:].tolist() == [[8.0] * 4] * 3


def test_segments_hear_of_themselves_alone(make_config):
    """The first segment leaves for good, though the other one does well; the third has no condition."""
    cheap = {"count": 2, "value": 1.0, "privacy_sensitivity": 0.0, "base_price": 1.0}
    segments = [
        cheap | {"segment": "proud", "reservation_surplus": 100.0},
        cheap | {"segment": "cheap", "reservation_surplus": 0.0},
        cheap | {"segment": "free"},
    ]
    broker = {"epsilons": [1.0], "pricing": "uniform", "procurement": "all", "settlement": "neutral"}
    buyers = {"count": 4, "budget": 40.0, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    market = Market(make_config(rounds=4, owners=segments, broker=broker, buyers=buyers))
    market.run()
    assert table(market, "takes_part")[1:].tolist() == [[False, False, True, True, True, True]] * 3
    expected = table(market, "expected_surplus")
    # Once six have shared 40, then four: the proud have heard of no round since their first.
    assert expected[1:, :2] == pytest.approx(40 / 6 - 1)
    assert expected[3, 2:4] == pytest.approx((40 / 6 - 1) / 4 + (10 - 1) * 3 / 4)
    assert np.isnan(expected[:, 4:]).all()
    assert (table(market, "reservation_surplus")[:, 4:] == -np.inf).all()


def test_a_surplus_that_only_rounding_takes_from_zero_keeps_an_owner_in(make_config):
    """Revenue 10 for data that asks 10: pro rata, some are paid less by an ulp."""
    values = np.random.default_rng(134).uniform(0.5, 2.0, 4).tolist()
    owners = {"count": 4, "value": values, "privacy_sensitivity": 0.0, "base_price_pool": 10.0}
    config = make_config(
        rounds=3,
        owners=owners | {"reservation_surplus": 0.0},
        broker={"epsilons": [1.0]},
        buyers={"count": 1, "budget": 40.0, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0},
    )
    market = Market(config)
    market.run()
    assert (market.frame("owners")["surplus"] < 0).any()
    assert market.frame("rounds")["owners_taking_part"].tolist() == [4, 4, 4]
    # A reservation above 0 that is just reached is reached as well, rounding or not.
    edge = market_of(make_config, [34 / 3] * 3, rounds=3)
    edge.run()
    assert table(edge, "takes_part").all()


@pytest.mark.parametrize("behaviour", sorted(owner_behaviours()))
def test_both_speeds_agree_with_entry_and_exit(make_config, behaviour):
    """Owners who are not willing, run out of privacy, sit out or have a reservation, all at once."""
    config = make_config(
        rounds=8,
        owners=RESTRICTED | {"behaviour": behaviour},
        broker={"manufacturing_budget": 25.0, "commission": 0.2},
    )
    slow, fast = Market(config, 1), Market(config, 1)
    slow.owners.vectorised = False
    for market in (slow, fast):
        market.run()
    for name in TABLES:
        pd.testing.assert_frame_equal(slow.frame(name), fast.frame(name), check_exact=True)
    rounds = fast.frame("rounds")
    assert rounds["entries"].sum() > 0
    assert rounds["exits"].sum() > 0


def test_expectations_are_recomputed_from_the_tables(make_config):
    """Every round: who took part has its own surplus, who did not the segment's mean; the rest is smoothing."""
    config = make_config(rounds=8, owners=RESTRICTED | {"expectation_weight": 0.3})
    market = Market(config, 4)
    market.run()
    takes_part, surplus, found = (table(market, name) for name in ("takes_part", "surplus", "expected_surplus"))
    expected = np.full(20, np.nan)
    willing, reserved = market.owners.columns["willing"], market.owners.columns["reservation_surplus"]
    left = 0
    for number in range(market.round):
        np.testing.assert_allclose(found[number], expected, rtol=1e-12)
        able = table(market, "epsilon_total")[number - 1] + 0.5 <= market.owners.columns["privacy_budget"]
        would = willing & ~(expected < reserved)
        assert takes_part[number].tolist() == (would & (able if number else True)).tolist()
        left += (willing & ~would).sum()
        inside = takes_part[number]
        if inside.any():
            seen = np.where(inside, surplus[number], surplus[number][inside].mean())
            expected = np.where(np.isnan(expected), seen, 0.7 * expected + 0.3 * seen)
    assert left > 0


def test_a_reservation_nobody_minds_changes_nothing(make_config):
    plain, bound = (
        Market(make_config(rounds=3, owners={"count": 12, **more}), 2) for more in ({}, {"reservation_surplus": -1e9})
    )
    for market in (plain, bound):
        market.run()
    for name in TABLES:
        columns = plain.frame(name).columns.difference(["reservation_surplus", "expected_surplus"])
        assert plain.frame(name)[columns].equals(bound.frame(name)[columns])


@pytest.mark.parametrize("weight", [0.0, 1.5, -0.1])
def test_weights_of_a_round_are_positive_shares(make_config, weight):
    with pytest.raises(ValueError, match="expectation_weight"):
        make_config(owners={"expectation_weight": weight})
