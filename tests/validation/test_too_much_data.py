"""Correlated data depress their price and are sold too much of (Acemoglu, Makhdoumi, Malekian and Ozdaglar 2022)."""

import numpy as np
import pytest

from simulator import Market

OWNERS, COST, BUDGET = 200, 5.0, 400.0


def market_of(make_config, leakage, budget=BUDGET, rounds=60):
    """Owners who differ in nothing, one version, and a budget of which each is paid what it asks."""
    owners = {"count": OWNERS, "value": 1.0, "privacy_sensitivity": 0.0, "base_price": COST, "leakage": leakage}
    broker = {"epsilons": [1.0], "pricing": "uniform", "manufacturing_budget": budget, "settlement": "guaranteed"}
    buyers = {"count": 4, "budget": 1000.0, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    market = Market(make_config(rounds=rounds, owners=owners, broker=broker, buyers=buyers))
    market.run()
    last = market.frame("owners").query(f"round == {rounds}")
    return last, market.frame("rounds").iloc[-1]


def sharing(leakage, budget=BUDGET):
    """Share of owners bought where those bought ask what they will turn out to have asked: x n c (1 - L x) = MB.

    The smaller root, which is reached from below, as sharing starts where nobody is exposed; all, if there is none.
    """
    wanted = budget / (OWNERS * COST)
    if leakage == 0:
        return min(1.0, wanted)
    discriminant = 1 - 4 * leakage * wanted
    return min(1.0, (1 - np.sqrt(discriminant)) / (2 * leakage)) if discriminant >= 0 else 1.0


@pytest.mark.parametrize("leakage", [0.0, 0.2, 0.4, 0.55])
def test_sharing_settles_where_the_budget_is_spent_at_the_price_that_sharing_makes(make_config, leakage):
    """Whole owners, and sellers and others who know slightly different exposures, are the tolerance."""
    last, _ = market_of(make_config, leakage)
    assert (last["versions"] > 0).mean() == pytest.approx(sharing(leakage), abs=0.02)
    price = last["paid"][last["versions"] > 0].mean()
    assert price == pytest.approx(COST * (1 - leakage * sharing(leakage)), rel=0.03)


def test_more_correlation_lowers_compensation_and_raises_sharing(make_config):
    """What the paper finds, in sign; from a leakage of n c / (4 MB) on everybody sells."""
    share, price, lost, surplus = [], [], [], []
    for leakage in (0.0, 0.15, 0.3, 0.45, 0.6, 0.9):
        last, rounds = market_of(make_config, leakage)
        share.append((last["versions"] > 0).mean())
        price.append(last["paid"].sum() / (last["versions"] > 0).sum())
        lost.append(rounds["leakage"])
        surplus.append(rounds["owner_surplus"])
    assert (np.diff(share[:5]) > 0).all()
    assert (np.diff(price) < 0).all()
    assert (np.diff(lost) > 0).all()
    assert share[0] == pytest.approx(BUDGET / (OWNERS * COST), abs=0.01)
    assert share[-1] == 1.0  # 0.9 is beyond 0.625
    # Too much data: each seller is paid for what its own sale costs it, and owners together lose all the same.
    assert surplus[0] == pytest.approx(0.0, abs=1e-9)
    assert (np.diff(surplus) < 0).all()
    assert surplus[-1] < -0.5 * OWNERS * COST


def test_who_does_not_sell_loses_most(make_config):
    """The externality: others give away what it keeps, and it is paid nothing."""
    last, _ = market_of(make_config, 0.4)
    sold = last["versions"] > 0
    assert 0.2 < sold.mean() < 0.9
    assert last["surplus"][sold].mean() > last["surplus"][~sold].mean()
    assert (last["surplus"][~sold] < -0.3 * 0.4 * COST).all()
