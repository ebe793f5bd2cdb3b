"""The library's experiments on buyers against what theory predicts of them.

Each scenario is run as it stands, but for its draws: the quantiles of a law stand in for a sample of it, so that
predictions for a continuum of buyers hold to a few parts in their number, and no luck is needed. Where draws are kept,
the tolerance is four standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scenarios.experiment import load, market_at
from simulator import Market, MarketConfig
from simulator.agents.turnover import draw_arrivals
from simulator.pricing.menu import DISCOUNT
from simulator.pricing.table import ListGrid, geometric_grid
from simulator.records import Menu
from simulator.streams import Streams


def quantiles(count: int) -> np.ndarray:
    """Evenly spread probabilities, each in the middle of its share."""
    return (np.arange(count) + 0.5) / count


def outcome(
    name: str, budgets: dict[str, np.ndarray] | None = None, seed: int = 1, replicate: int = 0, **settings: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of rounds and versions of a scenario of the library, at settings by dotted name, `__` for the dot.

    Budgets replace those of the segments of their names.
    """
    scenario = load(name).market_scenario()
    for segment in scenario["buyers"]:
        if budgets is not None and segment["segment"] in budgets:
            segment["budget"] = budgets[segment["segment"]].tolist()
            segment["count"] = len(segment["budget"])
    market = market_at(scenario, {key.replace("__", "."): value for key, value in settings.items()})
    run = Market(market, seed, replicate, tables=("rounds", "versions"))
    run.run()
    return run.frame("rounds"), run.frame("versions")


N = 2000
UNIFORM = {"readers": quantiles(N)}
EXPONENTIAL = {"readers": -np.log(1 - quantiles(N))}


# --- one version: Cournot's monopolist, and first-degree discrimination -------------------------------------------


@pytest.mark.parametrize(
    ("budgets", "price", "revenue", "surplus", "loss"),
    [(UNIFORM, 1 / 2, 1 / 4, 1 / 8, 1 / 8), (EXPONENTIAL, 1.0, 1 / math.e, 1 / math.e, 1 - 2 / math.e)],
    ids=["uniform", "exponential"],
)
def test_textbook_monopoly(
    budgets: dict[str, np.ndarray], price: float, revenue: float, surplus: float, loss: float
) -> None:
    """Prices that maximise p (1 - F(p)), as in Tirole (1988), section 1.1; within 4 buyers in 2000."""
    rounds, versions = outcome("textbook_monopoly", budgets, broker__pricing="dpp_plus")
    found = rounds.iloc[0][["revenue", "buyer_surplus", "deadweight_loss"]] / N
    assert found.tolist() == pytest.approx([revenue, surplus, loss], abs=4 / N)
    # Revenue is flat at its top, so the price is less exact: off by d it costs c d^2, which is below 1/N.
    assert versions["price"][0] == pytest.approx(price, abs=2 / math.sqrt(N))
    perfect, _ = outcome("textbook_monopoly", budgets, broker__pricing="perfect")
    row = perfect.iloc[0]
    assert row["revenue"] / N == pytest.approx(revenue + surplus + loss, abs=4 / N)
    assert abs(row["buyer_surplus"]) + abs(row["deadweight_loss"]) < 1e-9 * row["revenue"]


@pytest.mark.parametrize("dist", ["uniform", "expon"])
def test_textbook_monopoly_with_its_draws(dist: str) -> None:
    """Mean revenue over 8 replicates: four standard errors, and what the best price of a sample gains by chance.

    A sample's best price earns at most 2 c a^2 more than the law's, with the curvature c and the cube-root scale a of
    `test_closed_forms`.
    """
    revenue, spread, optimism = {
        "uniform": (1 / 4, 1 / 4, 2 * (1 / (4 * N)) ** (2 / 3)),
        "expon": (1 / math.e, math.sqrt((1 - 1 / math.e) / math.e), math.exp(-1) * (4 * math.e / N) ** (2 / 3)),
    }[dist]
    settings = {"broker__pricing": "dpp_plus", "buyers__readers__budget__dist": dist}
    earned = [outcome("textbook_monopoly", replicate=r, **settings)[0]["revenue"][0] / N for r in range(8)]
    assert np.mean(earned) == pytest.approx(revenue, abs=4 * spread / math.sqrt(8 * N) + optimism)


@pytest.mark.parametrize("pricing", ["dpp_plus", "uniform", "median", "low", "monopoly", "exact"])
@pytest.mark.parametrize("name", ["textbook_monopoly", "composition_rules"])
def test_no_list_earns_more_than_first_degree_discrimination(name: str, pricing: str) -> None:
    """On the same buyers, who buy their target or nothing, in every replicate."""
    for replicate in range(3):
        listed, perfect = (
            outcome(name, replicate=replicate, broker__pricing=p)[0]["revenue"][0] for p in (pricing, "perfect")
        )
        assert 0 < listed < perfect


# --- second-degree discrimination ---------------------------------------------------------------------------------

#: What the noisy and the clean version are worth to the types of `two_types`.
LOW, HIGH = (4.0, 4.8), (6.0, 10.0)


@pytest.mark.parametrize(
    ("high", "best"),
    [(5, "pooling"), (7, "pooling"), (8, "screening"), (30, "screening"), (59, "screening"), (61, "exclusion")],
)
def test_two_types(high: int, best: str) -> None:
    """Maskin and Riley (1984) with two types and two versions; thirty low types, exact up to the discount of ties.

    The low type pays its worth of the noisy version, and the high type's rent is what it would gain from that. Serving
    both in this way beats one version for all from a share of 1/5 high types on, and high types alone up to 2/3.
    """
    low, rent = 30, HIGH[0] - LOW[0]
    menus = {
        "screening": low * LOW[0] + high * (HIGH[1] - rent),
        "exclusion": high * HIGH[1],
        "pooling": (low + high) * LOW[1],
    }
    assert max(menus, key=lambda name: menus[name]) == best
    rounds, versions = outcome("two_types", broker__pricing="menu", buyers__high__count=high)
    row, prices = rounds.iloc[0], versions["price"].tolist()
    assert row["revenue"] == pytest.approx(menus[best], rel=2 * DISCOUNT)
    assert prices[1] == pytest.approx(
        {"screening": HIGH[1] - rent, "exclusion": HIGH[1], "pooling": LOW[1]}[best], rel=2 * DISCOUNT
    )
    if best == "screening":
        assert prices[0] == pytest.approx(LOW[0], rel=2 * DISCOUNT)
        assert row["buyer_surplus"] == pytest.approx(high * rent, rel=1e-6)
        # The low types' version is distorted, the high types' is not.
        assert row["deadweight_loss"] == pytest.approx(low * (LOW[1] - LOW[0]), rel=1e-6)
    bound, _ = outcome("two_types", broker__pricing="perfect", buyers__high__count=high)
    assert bound["revenue"][0] == pytest.approx(low * LOW[0] + high * HIGH[1], rel=1e-12)
    misled, _ = outcome("two_types", broker__pricing="dpp_plus", buyers__high__count=high)
    assert misled["revenue"][0] == pytest.approx((low + high) * LOW[0], rel=1e-12)


# --- arbitrage ----------------------------------------------------------------------------------------------------

M = 1000
PAIR = {"students": quantiles(M), "researchers": 8 * quantiles(M)}
FREE = {"prices": (5 / 6, 10 / 3), "revenue": 25 / 12}


@pytest.mark.parametrize("pricing", ["dpp_plus", "exact"])
def test_a_list_without_arbitrage_leaves_arbitrageurs_nothing(pricing: str) -> None:
    """Exactly nothing, and the best such list: p (1 - p) + 4p (1 - p/2) = 5p - 3p^2 is largest at 5/6."""
    rounds, versions = outcome("arbitrageurs", PAIR, broker__pricing=pricing)
    row = rounds.iloc[0]
    assert row["arbitrage_taken"] == row["arbitrage_available"] == 0.0
    assert row["revenue"] / M == pytest.approx(FREE["revenue"], abs=8 / M)
    assert versions["price"].tolist() == pytest.approx(FREE["prices"], abs=0.04)
    assert versions["price"][1] <= 4 * versions["price"][0] * (1 + 1e-12)


@pytest.mark.parametrize("pricing", ["monopoly", "median_each"])
def test_per_version_medians_leave_arbitrageurs_much(pricing: str) -> None:
    """At 1/2 and 4 three in four researchers buy four copies for 2 instead of 4: 3/2 a researcher is saved.

    Uniform worth has its median at the monopoly price. With buyers who know of no bundles the list earns more than any
    without arbitrage, with arbitrageurs less. Within 8 buyers in 1000 at prices up to 4.
    """
    rounds, _ = outcome("arbitrageurs", PAIR, broker__pricing=pricing)
    row = rounds.iloc[0]
    assert row["arbitrage_taken"] / M == pytest.approx(3 / 2, abs=32 / M)
    assert row["arbitrage_available"] == pytest.approx(2.0, abs=8 / M)
    assert row["revenue"] / M == pytest.approx(1 / 4 + 3 / 2, abs=32 / M)
    plain, _ = outcome("arbitrageurs", PAIR, broker__pricing=pricing, buyers__researchers__behaviour="target")
    assert plain["revenue"][0] / M == pytest.approx(1 / 4 + 2, abs=32 / M)
    assert plain["arbitrage_taken"][0] == 0.0
    assert row["revenue"] < FREE["revenue"] * M < plain["revenue"][0]


def test_the_quadratic_rule_keeps_at_least_the_revenue_of_the_additive_one() -> None:
    """25/12 and 9/4 a pair in the limit; on every sample no less, since it allows every list of the other."""
    for rule, revenue in (("additive", FREE["revenue"]), ("quadratic", 9 / 4)):
        rounds, _ = outcome("composition_rules", PAIR, broker__composition=rule)
        assert rounds["revenue"][0] / M == pytest.approx(revenue, abs=8 / M)
    for pricing in ("dpp_plus", "exact"):
        for replicate in range(4):
            additive, quadratic = (
                outcome("composition_rules", replicate=replicate, broker__composition=c, broker__pricing=pricing)[0]
                for c in ("additive", "quadratic")
            )
            assert quadratic["revenue"][0] > additive["revenue"][0]
    # Under the quadratic rule sixteen copies are needed, and monopoly prices are out of arbitrageurs' reach.
    rounds, _ = outcome("arbitrageurs", PAIR, broker__pricing="monopoly", broker__composition="quadratic")
    assert rounds["arbitrage_taken"][0] == 0.0
    assert rounds["revenue"][0] / M == pytest.approx(9 / 4, abs=32 / M)


# --- shading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", load("survey_shading").levels["buyers.readers.behaviour_options.factor"])
def test_shading_lowers_prices(share: float) -> None:
    """The list is the honest one times the share; revenue s/2 (1 - s/2), surplus (1 - s/2)^2 / 2, loss s^2 / 8."""
    rounds, versions = outcome("survey_shading", UNIFORM, buyers__readers__behaviour_options__factor=share)
    _, honest = outcome("survey_shading", UNIFORM, buyers__readers__behaviour="target", **NO_OPTIONS)
    assert versions["price"][0] == pytest.approx(share * honest["price"][0], rel=1e-12)
    row = rounds.iloc[0]
    expected = {
        "revenue": share / 2 * (1 - share / 2),
        "buyer_surplus": (1 - share / 2) ** 2 / 2,
        "deadweight_loss": share**2 / 8,
        "expected_revenue": share / 4,
    }
    for name, value in expected.items():
        assert row[name] / N == pytest.approx(value, abs=4 / N), name
    assert row["prediction_error"] == pytest.approx(1 - share, abs=16 / N)


NO_OPTIONS: dict[str, Any] = {"buyers__readers__behaviour_options": {}}


def test_alone_a_learner_states_the_least() -> None:
    """Six first trials at 3/4 of the worth on average, then 1/2, or any share when exploring, one round in ten.

    Revenue over monopoly is, alone, the share that is stated. Its deviation in a round is at most sqrt(0.1) * 0.31,
    and four standard errors of 6 runs are allowed.
    """
    ratios = [outcome("learning_to_shade", replicate=r)[0]["revenue_to_monopoly"].mean() for r in range(6)]
    predicted = (6 * 0.75 + 94 * (0.9 * 0.5 + 0.1 * 0.75)) / 100
    assert np.mean(ratios) == pytest.approx(predicted, abs=4 * math.sqrt(0.1) * 0.31 / math.sqrt(6 * 100))


def test_shares_drawn_by_chance() -> None:
    """Stated worth is below p for a share of mean(p/s): revenue p - p^2 mean(1/s) is largest at p = 1 / (2 mean(1/s)).

    What it takes is p (1 - p), 0.92 of the monopoly's 1/4, give or take what sampling shares does to the price.
    """
    price = 1 / (2 * np.mean(1 / np.linspace(0.5, 1.0, 6)))
    settings = {"buyers__readers__behaviour_options__exploration": 1.0, "rounds": 25}
    rounds, versions = outcome("learning_to_shade", UNIFORM, **settings)
    assert versions["price"].mean() == pytest.approx(price, abs=0.02)
    assert rounds["revenue_to_monopoly"].mean() == pytest.approx(4 * price * (1 - price), abs=0.02)
    assert round(4 * price * (1 - price), 2) == 0.92


# --- who comes, who goes ------------------------------------------------------------------------------------------


def test_a_durable_good_is_sold_down_the_demand_curve() -> None:
    """Myopic buyers who buy once: prices halve, the seller takes 1/3 a buyer in all and buyers 1/6 (Bulow 1982).

    In round t those left are uniform below 2^(1-t), and half of them buy at 2^(-t). Eight rounds lack 4^-8 of it all.
    Each price is off by some buyers' steps; the tolerances are 4 and 10 buyers in 2000.
    """
    rounds, versions = outcome("durable_good", UNIFORM, buyers__readers__one_off=True)
    t = np.arange(1, 9)
    assert versions["price"].to_numpy() == pytest.approx(0.5**t, abs=2e-3)
    assert rounds["buyers_present"].to_numpy() / N == pytest.approx(2.0 ** (1 - t), abs=5e-3)
    assert rounds["revenue"].to_numpy() / N == pytest.approx(0.25**t, abs=5e-3)
    assert rounds["revenue"].sum() / N == pytest.approx((1 - 4.0**-8) / 3, abs=5e-3)
    assert rounds["buyer_surplus"].sum() / N == pytest.approx((1 - 4.0**-8) / 6, abs=5e-3)
    again, _ = outcome("durable_good", UNIFORM, buyers__readers__one_off=False)
    assert (again["buyers_present"] == N).all()
    assert again["revenue"].to_numpy() / N == pytest.approx(0.25, abs=4 / N)


@pytest.mark.parametrize("stay", load("passing_trade").levels["buyers.visitors.stay"])
def test_as_many_are_there_as_the_queue_predicts(stay: float) -> None:
    """Mean over 30 rounds of 40 s (1 - q^t), q = 1 - 1/s, of 4 replicates; demand is that of those present.

    The sum over rounds of those present counts each arrival once for every round of its stay, which has a variance of
    s (s - 1), so its variance is below 30 * 40 * (s^2 + s (s - 1)).
    """
    t, q = np.arange(1, 31), 1 - 1 / stay
    tables = [outcome("passing_trade", replicate=r, buyers__visitors__stay=stay)[0] for r in range(4)]
    present = np.array([table["buyers_present"] for table in tables])
    error = math.sqrt(30 * 40 * (stay**2 + stay * (stay - 1))) / 30 / math.sqrt(4)
    assert present.mean() == pytest.approx((40 * stay * (1 - q**t)).mean(), abs=4 * error)
    sold = np.array([table["sales"] for table in tables])
    # A sample's best price lies about the median, where half of those present buy.
    assert sold.sum() / present.sum() == pytest.approx(0.5, abs=0.05)
    arrivals = [sum(draw_arrivals(40.0, 30, Streams(1, r), "visitors")) for r in range(6)]
    assert np.mean(arrivals) == pytest.approx(1200, abs=4 * math.sqrt(1200 / 6))


def test_demand_that_grows_takes_prices_with_it(make_config: Callable[..., MarketConfig]) -> None:
    """With every budget 5% larger each round, so are the list, revenue and surplus of a seller who asks: exactly."""
    scenario = load("textbook_monopoly").market_scenario() | {"rounds": 6}
    scenario["buyers"][0]["drift"] = 0.05
    market = Market(MarketConfig.model_validate(scenario), 1)
    market.run()
    growth = 1.05 ** np.arange(6.0)
    for name in ("revenue", "buyer_surplus", "deadweight_loss"):
        values = market.frame("rounds")[name].to_numpy()
        assert values == pytest.approx(values[0] * growth, rel=1e-9), name
    assert market.frame("versions")["price"].to_numpy() == pytest.approx(
        market.frame("versions")["price"][0] * growth, rel=1e-12
    )


# --- prices learnt from sales -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pricing", "rounds", "loss"), [("thompson", 200, 0.02), ("ucb", 300, 0.15)], ids=["thompson", "ucb"]
)
def test_learnt_prices_approach_the_informed_list(pricing: str, rounds: int, loss: float) -> None:
    """In the last fifty rounds they lose at most `loss` of the best list on the learner's grid, twice that at first.

    The same buyers come every round and coverage is fixed, so it is known what every list earns. With prices of ratio r
    the best list on the grid keeps 1/r of the best of all, which `dpp_plus` posts from the second round on. After fifty
    rounds, each with 300 buyers, Thompson sampling knows the share that buys at a price to half a point (the standard
    error is at most 1/2 over the root of 15,000), 2% of the half that buy and pay. UCB1 adds sqrt(2 ln 300 / 15,000), 3
    points, for each of five versions.
    """
    informed = Market(market_at(load("learning_prices").market_scenario(), {"rounds": 2}), 1)
    informed.run()
    menu = Menu(informed.broker.epsilons, informed.broker.released_coverage)
    targets, worth = informed.buyers.answer(menu)
    lists = ListGrid(menu.epsilons, geometric_grid(5, 200, 5))
    parts = enumerate(lists.by_version(lists.prices))
    revenue = np.concatenate([p * (worth[targets == k] >= p[:, None]).sum(axis=1) for k, p in parts])
    best, known = revenue[lists.best(revenue)].sum(), informed.frame("rounds")["revenue"][1]
    assert known / (200 / 5) ** (1 / 4) <= best <= known
    settings = {"broker.pricing": pricing, "rounds": rounds}
    market = Market(market_at(load("learning_prices").market_scenario(), settings), 1, tables=("versions",))
    market.run()
    earned = market.frame("versions").groupby("round")["revenue"].sum().to_numpy()
    assert earned.max() <= best * (1 + 1e-9)
    assert earned[-50:].mean() >= (1 - loss) * best
    assert earned[:50].mean() < (1 - 2 * loss) * best
