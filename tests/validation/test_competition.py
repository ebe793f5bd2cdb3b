"""Several brokers, and one that looks to its profit, against what theory predicts of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scenarios.experiment import load, market_at
from simulator import Market, MarketConfig

MakeConfig = Callable[..., MarketConfig]


def outcome(name: str, replicate: int = 0, **settings: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of rounds and brokers of a scenario of the library, at settings by dotted name, `__` for the dot."""
    scenario = load(name)
    values = {key.replace("__", "."): value for key, value in settings.items()}
    market = Market(
        market_at(scenario.market_scenario(), values), scenario.seed, replicate, tables=("rounds", "brokers")
    )
    market.run()
    return market.frame("rounds"), market.frame("brokers")


# --- tastes that differ (Perloff and Salop 1985) -------------------------------------------------------------------

READERS = 20_000
COST = 400.0  # of data, for each broker and round


def salop(brokers: int, dist: str, **taste: float) -> pd.Series:
    """Means over the rounds that count of markets in which brokers differ by taste alone."""
    rounds, _ = outcome(
        "competition",
        brokers__dealer__count=brokers,
        brokers__dealer__manufacturing_budget=COST,
        owners__owners__base_price=COST / 10,
        buyers__readers__count=READERS,
        buyers__readers__taste={"dist": dist, **taste},
    )
    return rounds.mean(numeric_only=True)


@pytest.fixture(scope="module")
def uniform() -> dict[int, pd.Series]:
    return {brokers: salop(brokers, "uniform") for brokers in (1, 2, 3, 5, 6, 7, 8, 10)}


def test_a_single_broker_takes_all_that_is_common_to_all(uniform: dict[int, pd.Series]) -> None:
    """Worth is 2 and a taste: 1 - (p - 2) of the buyers pay p > 2, which earns less than 2 does."""
    assert uniform[1]["price_mean"] == pytest.approx(2.0, abs=0.001)
    assert uniform[1]["concentration"] == 1.0


@pytest.mark.parametrize("brokers", [2, 3, 5, 6, 7, 8, 10])
def test_markups_vanish_as_brokers_multiply(uniform: dict[int, pd.Series], brokers: int) -> None:
    """Copies cost nothing, so the price is the markup: 1/n for uniform tastes, up to the sampling of tastes.

    The empirical optimum of a sample of N buyers strays by the order of N^(-1/3) from that of a continuum, and brokers
    stray apart; over rounds and brokers less than a tenth is left. Buyers keep 2 + n/(n + 1) - 1/n.
    """
    found = uniform[brokers]
    assert found["price_mean"] == pytest.approx(1 / brokers, rel=0.1)
    assert found["concentration"] == pytest.approx(1 / brokers, rel=0.02)
    kept = found["buyer_surplus"] / READERS
    assert kept == pytest.approx(2 + brokers / (brokers + 1) - 1 / brokers, rel=0.01)
    assert found["broker_profit"] == pytest.approx(READERS / brokers - brokers * COST, abs=0.1 * READERS / brokers)
    assert found["sell_through"] == 1.0


def test_free_entry_brings_in_one_too_many(uniform: dict[int, pd.Series]) -> None:
    """Profits are positive up to sqrt(N / F) = 7.07 brokers; welfare, N n/(n + 1) - n F, largest at 6 (Salop 1979)."""
    profits = {brokers: found["broker_profit"] for brokers, found in uniform.items()}
    assert all((profit > 0) == (brokers <= 7) for brokers, profit in profits.items())
    assert max(uniform, key=lambda brokers: uniform[brokers]["welfare"]) == 6


@pytest.mark.parametrize("brokers", [2, 5])
def test_markups_stay_where_tastes_have_a_heavy_tail(brokers: int) -> None:
    """For exponential tastes the markup is their mean, however many brokers there are (Gabaix et al. 2016)."""
    assert salop(brokers, "expon", scale=0.8)["price_mean"] == pytest.approx(0.8, rel=0.1)


def test_markups_go_with_the_spread_of_tastes() -> None:
    assert salop(3, "uniform", scale=1.5)["price_mean"] == pytest.approx(0.5, rel=0.1)


# --- no differences (Bertrand 1883) --------------------------------------------------------------------------------


def alike(make_config: MakeConfig, brokers: int, undercut: float) -> pd.DataFrame:
    """Brokers that differ in nothing, data for nothing, and buyers whose best single price is 10."""
    shared = {"epsilons": [1.0], "undercut": undercut}
    market = Market(
        make_config(
            rounds=12,
            owners={"base_price": 0.0, "value": 1.0},
            brokers=[shared for _ in range(brokers)],
            buyers={
                "count": 400,
                "budget": (4.0 * 20.0 * (np.arange(400) + 0.5) / 400).tolist(),
                "coverage_sensitivity": 0.0,
                "noise_sensitivity": 0.0,
            },
        )
    )
    market.run()
    return market.frame("rounds")


@pytest.mark.parametrize("brokers", [2, 4])
def test_brokers_who_differ_in_nothing_go_down_step_by_step(make_config: MakeConfig, brokers: int) -> None:
    """From the monopoly's price each round by the step, towards what a copy costs: nothing. Two are enough.

    A price is an answer, of which neighbours are 0.05 apart.
    """
    rounds = alike(make_config, brokers, 0.1)
    steps = np.arange(12)
    assert rounds["price_mean"].to_numpy() == pytest.approx(10.025 * 0.9**steps, rel=0.01)
    # Who would pay the price buys: all above it.
    assert rounds["sell_through"].to_numpy() == pytest.approx(1 - 10.025 * 0.9**steps / 20, abs=0.003)
    assert (np.abs(rounds["concentration"] - 1 / brokers) < 0.05).all()
    assert rounds["welfare"].is_monotonic_increasing


def test_a_single_broker_stays_at_the_price_of_a_monopoly(make_config: MakeConfig) -> None:
    assert alike(make_config, 1, 0.1)["price_mean"].to_numpy() == pytest.approx(np.full(12, 10.025))


# --- a broker that looks to its profit -----------------------------------------------------------------------------

OWNERS, BUYERS = 200, 400
#: Base prices (2 i - 1) / 200: buying the share x of the data, the cheapest first, costs 200 x^2.
BASE_PRICES = ((np.arange(OWNERS) + 0.5) * 2.0 / OWNERS).tolist()
#: Half of budgets on [0, 1.6], times coverage x: the best price is 0.4 x, and earns 400 x 0.4 x / 2 = 80 x.
BUDGETS = ((np.arange(BUYERS) + 0.5) * 1.6 / BUYERS).tolist()
A, K = 80.0, 200.0


def planning(**settings: Any) -> pd.DataFrame:
    scenario = load("profit_maximizing").market_scenario()
    scenario["owners"][0]["base_price"], scenario["buyers"][0]["budget"] = BASE_PRICES, BUDGETS
    values = {key.replace("__", "."): value for key, value in settings.items()}
    market = Market(market_at(scenario, values), 1, tables=("rounds", "brokers"))
    market.run()
    return market.frame("brokers")


@pytest.mark.parametrize("settlement", ["neutral", "guaranteed"])
def test_the_commission_of_a_profit_maximising_broker(settlement: str) -> None:
    """Revenue A x less cost K x^2 is largest at x = A / 2K; cost is half of revenue, so the commission is a half.

    In general 1 - a / b for revenue of order a and cost of order b in coverage. Whole owners are 1/200 of coverage.
    """
    found = planning(broker__behaviour="profit_maximizing", broker__settlement=settlement, rounds=6, warm_up=1)
    assert found["coverage_mean"].to_numpy() == pytest.approx(np.full(5, A / (2 * K)), abs=0.011)
    assert found["commission"].to_numpy() == pytest.approx(np.full(5, 0.5), abs=0.03)
    assert found["profit"].to_numpy() == pytest.approx(np.full(5, A**2 / (4 * K)), rel=0.02)


@pytest.mark.parametrize("commission", [0.0, 0.2, 0.4, 0.6, 0.8])
def test_what_given_commissions_earn(commission: float) -> None:
    """Budgets (1 - c) A x buy x = (1 - c) A / K; of A x the broker keeps c, c (1 - c) A^2 / K."""
    found = planning(broker__commission=commission, rounds=30, warm_up=29)
    assert found["coverage_mean"].item() == pytest.approx((1 - commission) * A / K, abs=0.011)
    assert found["profit"].item() == pytest.approx(commission * (1 - commission) * A**2 / K, abs=0.3)


def test_a_learner_finds_the_same_commission() -> None:
    """Of 0, 0.1, ..., 0.9 it takes 0.5, or one beside it, which earns 4% less, once it has tried all.

    It tries each but once, in the wake of another, so that the best need not look best.
    """
    found = planning(broker__behaviour="learning", broker__behaviour_options={"patience": 6}, rounds=150, warm_up=90)
    assert abs(found["commission"].median() - 0.5) < 0.11


# --- homing --------------------------------------------------------------------------------------------------------


def test_single_homing_tips_the_market_to_either_side() -> None:
    """Owners who deal with both leave the market to the broker of the lower commission; others to whoever is ahead."""
    shares: dict[str, list[float]] = {"multi": [], "single": []}
    for homing, found in shares.items():
        for replicate in range(8):
            _, brokers = outcome("homing", replicate, owners__owners__homing=homing, rounds=25, warm_up=15)
            mean = brokers.groupby("name")["revenue"].sum()
            found.append(float(mean["dear"] / mean.sum()))
    assert max(shares["multi"]) < 0.35
    assert max(shares["single"]) > 0.7
    assert min(shares["single"]) < 0.3
