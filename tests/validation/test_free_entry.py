"""Free entry with adaptive expectations: the equilibrium in closed form, and the cobweb's stability condition."""

import numpy as np
import pytest

from simulator import Market

#: Owners, their largest reservation surplus, base price, and the revenue that they share.
OWNERS, HIGHEST, COST, REVENUE = 200, 20.0, 4.0, 1600.0


def equilibrium(cost):
    """Surplus e at which it is worth staying for exactly those who share the revenue.

    With reservations uniform on [0, h], n e / h owners take part at an expectation of e, and each earns
    R h / (n e) - b. So e^2 + b e = R h / n.
    """
    return (-cost + np.sqrt(cost**2 + 4 * REVENUE * HIGHEST / OWNERS)) / 2


def entry(make_config, cost, weight, rounds=120):
    """Owners that differ in their reservations alone, and a revenue that does not depend on who takes part."""
    owners = {
        "count": OWNERS,
        "value": 1.0,
        "privacy_sensitivity": 0.0,
        "base_price": cost,
        "reservation_surplus": (HIGHEST * (np.arange(OWNERS) + 0.5) / OWNERS).tolist(),
        "expectation_weight": weight,
    }
    buyers = {"count": 16, "budget": REVENUE / 4, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    broker = {"epsilons": [1.0], "pricing": "uniform", "procurement": "all"}
    market = Market(make_config(rounds=rounds, owners=owners, broker=broker, buyers=buyers))
    market.run()
    frame = market.frame("owners")
    assert market.frame("rounds")["revenue"].to_numpy() == pytest.approx(REVENUE)
    return frame["takes_part"].to_numpy().reshape(rounds, -1), frame["expected_surplus"].to_numpy().reshape(rounds, -1)


@pytest.mark.parametrize(("cost", "weight"), [(COST, 0.5), (COST, 0.2), (0.5, 0.8), (6.0, 0.3)])
def test_the_market_settles_where_the_marginal_owner_is_indifferent(make_config, cost, weight):
    """Participation comes in whole owners, which is the tolerance."""
    takes_part, expected = entry(make_config, cost, weight)
    e = equilibrium(cost)
    last = takes_part[-20:].sum(axis=1)
    assert np.abs(last - OWNERS * e / HIGHEST).max() <= 1.5
    # Those with the smallest reservations stay.
    assert all(row[: row.sum()].all() for row in takes_part[-20:])
    # One owner more or less changes what each earns by (e + b) / N.
    assert expected[-20:] == pytest.approx(e, abs=2 * (e + cost) * HIGHEST / (OWNERS * e))


@pytest.mark.parametrize("cost", [0.5, COST, 6.0])
def test_expectations_that_follow_too_fast_go_round_in_circles(make_config, cost):
    """The cobweb is stable if and only if the weight of the last round is below 2 / (2 + b/e) (Nerlove 1958).

    What each earns is R h / (n e) - b at an expectation of e, with slope -(e + b)/e at the equilibrium.
    """
    e = equilibrium(cost)
    limit = 2 / (2 + cost / e)
    swings = []
    for weight in (0.8 * limit, min(1.0, 1.1 * limit)):
        takes_part, _ = entry(make_config, cost, weight)
        count = takes_part.sum(axis=1)
        swings.append(np.ptp(count[-20:]))
    assert swings[0] <= 4
    assert swings[1] > 20


def test_a_market_that_starts_too_full_dies_though_fewer_could_live(make_config):
    """Where all lose at first all leave, and nobody sees that those who share the revenue alone would gain.

    The condition is what makes owners leave: without a reservation they stay where each loses.
    """
    owners = {"count": OWNERS, "value": 1.0, "privacy_sensitivity": 0.0, "base_price": 2 * REVENUE / OWNERS}
    buyers = {"count": 16, "budget": REVENUE / 4, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    broker = {"epsilons": [1.0], "pricing": "uniform", "procurement": "all"}
    counts = []
    for more in ({}, {"reservation_surplus": 0.0}):
        market = Market(make_config(rounds=3, owners=owners | more, broker=broker, buyers=buyers))
        market.run()
        counts.append(market.frame("rounds")["owners_taking_part"].tolist())
    assert counts == [[OWNERS] * 3, [OWNERS, 0, 0]]
