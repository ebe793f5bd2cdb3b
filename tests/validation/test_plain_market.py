"""Random markets, number by number against the same markets in plain loops."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plain_market import PlainMarket

from simulator import Market, MarketConfig
from simulator.agents.shading import SHARES
from simulator.pricing.strategy import PRICING, PricingContext, PricingStrategy

MakeConfig = Callable[..., MarketConfig]

SEEDS = range(48)
#: Sums in another order differ by rounding: by this share, or by this much where amounts cancel, in money.
ROUNDING = 1e-9
SURVEYING = ("dpp_plus", "dpp", "median", "menu", "perfect", "mbp", "uniform", "proportional", "monopoly")
#: Of which lists without repair are asked, where bundles pay.
RAW = ("median_each", "random")
LEARNING = ("ucb", "thompson", "exp3")
BUYERS = [f"{kind}{goal}" for kind in ("arbitrageur", "shading", "learning_shading") for goal in ("", "_surplus")]
BUYERS += ["target", "surplus"]
#: Brokers who pass on all that they take and have nothing to lose: rounding must not ruin them.
PENNILESS = {"capital": 0.0, "procurement": "greedy", "procurement_options": {}, "settlement": "uniform"}
PENNILESS |= {"behaviour": "fixed", "behaviour_options": {}, "commission": 0.0}
#: Brokers who all buy more than they can pay for.
OVERSPENT = {"capital": 1.0, "procurement": "all", "procurement_options": {}, "settlement": "guaranteed"}
#: Brokers whose small versions are cheap, as those who want them are poor, and buyers who take several of them.
UNREPAIRED = {"epsilons": [0.5, 1.0, 2.0], "pricing": "median_each", "pricing_options": {"raw": True}}
POOR = {"segment": "poor", "count": 8, "epsilon_expected": 0.4, "budget": {"dist": "uniform", "scale": 10.0}}
RICH = {"segment": "rich", "count": 8, "epsilon_expected": 2.0, "budget": 100.0}
FOLLOWER = f"{__name__}:Follower"


class Follower(PricingStrategy):
    """Asks less the more rivals it has and the more lists it has posted.

    One price for the whole list: a part of the smallest on its rivals' lists, or of the largest answer.
    """

    def __init__(self) -> None:
        self.lists = 0

    def prices(self, context: PricingContext) -> np.ndarray:
        """One price for all versions."""
        self.lists += 1
        posted = [price for rival in context.rivals for price in rival.prices[rival.on_sale & ~np.isnan(rival.prices)]]
        most = min(posted, default=context.survey.values.max())
        return np.full(context.n_versions, most / (1 + len(context.rivals)) * 0.9**self.lists)


def some(rng: Random, chance: float, **settings: Any) -> dict[str, Any]:
    """The settings or none; of a list of values one is drawn."""
    drawn = {name: rng.choice(found) if isinstance(found, list) else found for name, found in settings.items()}
    return drawn if rng.random() < chance else {}


def random_broker(rng: Random, single: bool) -> dict[str, Any]:
    """A broker of any kind that the plain market knows; one of several may undercut the others, and have a double."""
    pricing = rng.choice([*SURVEYING, *RAW, *LEARNING, FOLLOWER, FOLLOWER])
    broker = {
        "epsilons": rng.choice([[0.5, 1.0, 2.0], [1.0, 3.0], [1.0], [0.7, 1.4, 2.8, 5.0]]),
        "pricing": pricing,
        "procurement": rng.choice(["greedy", "greedy", "random", "all"]),
        "settlement": rng.choice(["neutral", "guaranteed", "uniform"]),
        "composition": rng.choice(["additive", "quadratic"]),
        **some(rng, 0.5, capital=[0.0, 0.0, 1.0, 5.0, 50.0]),
        **some(rng, 0.4, survey_share=[0.3, 0.7]),
    }
    if pricing in LEARNING:
        broker |= {"pricing_options": {"lowest": 0.5, "highest": 40.0}, "starting_budget": rng.choice([5.0, 20.0])}
    elif pricing in RAW:
        broker |= {"pricing_options": {"raw": True}}
    broker |= some(rng, 0.15, procurement="fair_query", settlement="promised")
    broker |= some(rng, 0.1, procurement="fixed_price", procurement_options={"price": 2.0}, settlement="promised")
    behaviour = rng.choice(["fixed", "fixed", "learning", "profit_maximizing"])
    if pricing == FOLLOWER:  # it would remember a plan
        behaviour = "profit_maximizing"
    if behaviour == "profit_maximizing" and pricing not in LEARNING:
        broker |= {"behaviour": behaviour, "behaviour_options": {"shares": 3}}
    elif behaviour == "learning":
        broker |= {"behaviour": behaviour, "behaviour_options": {"commissions": 3, "patience": 2}}
    else:
        broker |= {"commission": rng.choice([0.0, 0.1, 0.5])}
        broker |= some(rng, 0.4, manufacturing_budget=[4.0, 30.0, 100.0])
    if not single:
        broker |= {"undercut": rng.choice([0.0, 0.01, 0.2]), **some(rng, 0.1, count=2)}
    return broker


def random_owners(rng: Random, segment: str, single: bool) -> dict[str, Any]:
    """A segment of owners; with several brokers they may deal with one at a time."""
    count = rng.choice([1, 4, 9])
    return {
        "segment": segment,
        "count": count,
        "behaviour": rng.choice(["truthful", "cautious"]),
        **some(rng, 0.4, base_price=[{"dist": "uniform", "scale": 0.0001}, {"dist": "uniform", "scale": 3.0}, 0.0]),
        **some(rng, 0.3, privacy_budget=[4.0, 12.0, {"dist": "uniform", "loc": 2.0, "scale": 30.0}]),
        **some(rng, 0.3 if count > 1 else 0.0, leakage=[0.5, 1.0]),
        **some(rng, 0.3, participation=0.7),
        **some(rng, 0.0 if single else 0.6, homing="single", switching=[0.0, 0.5, 1.0]),
    }


def random_buyers(rng: Random, segment: str) -> dict[str, Any]:
    """A segment of buyers, who may have tastes, and come and go."""
    behaviour = rng.choice(BUYERS)
    return {
        "segment": segment,
        "count": rng.choice([1, 6, 15]),
        "behaviour": behaviour,
        **some(rng, 0.6, taste=[{"dist": "norm", "scale": 3.0}, {"dist": "uniform", "scale": 8.0}, 2.0]),
        **some(rng, 0.3, arrivals=2.0, stay=2.0),
        **some(rng, 0.0 if behaviour.startswith("learning") else 0.3, one_off=True),
    }


def random_config(make_config: MakeConfig, seed: int) -> MarketConfig:
    """A market with one broker, in a section of its own or as one of a list, or with several."""
    rng = Random(seed)
    brokers = rng.choice([0, 1, 2, 2, 2, 3])
    single = brokers == 0
    desks = [random_broker(rng, single) for _ in range(max(brokers, 1))]
    owners = [random_owners(rng, segment, single) for segment in "xyz"[: rng.choice([1, 2, 3])]]
    buyers = [random_buyers(rng, segment) for segment in "pqr"[: rng.choice([1, 2, 3])]]
    kind = rng.choice(["any", "any", "any", "any", "penniless", "overspent", "unrepaired", "perfect"])
    if kind == "penniless":
        desks = [{**desk, **PENNILESS} for desk in desks]
    elif kind == "perfect":  # all leave buyers nothing, who draw lots between them
        desks = [{**desk, "pricing": "perfect", "pricing_options": {}} for desk in desks]
    elif kind == "overspent":
        desks = [{**desk, **OVERSPENT} for desk in desks]
    elif kind == "unrepaired":
        desks = [{**desk, **UNREPAIRED} for desk in desks]
        buyers += [POOR, {**RICH, "behaviour": rng.choice(["arbitrageur", "arbitrageur_surplus"])}]
    rest: dict[str, Any] = {"rounds": rng.choice([3, 6, 12]), "owners": owners, "buyers": buyers}
    return make_config(broker=desks[0], **rest) if single else make_config(brokers=desks, **rest)


@cache
def simulated(make_config: MakeConfig, seed: int) -> Market:
    """The random market of a seed after its rounds."""
    market = Market(random_config(make_config, seed), seed)
    market.run()
    return market


@pytest.mark.parametrize("seed", SEEDS)
def test_random_markets_agree_with_plain_loops(make_config: MakeConfig, seed: int) -> None:
    market = simulated(make_config, seed)
    for table, rows in PlainMarket(market.config, seed).run().items():
        found, expected = market.frame(table), pd.DataFrame(rows)
        assert len(found) == len(expected), table
        for column in expected:
            assert_same(found, expected, column, f"{table}.{column}")


def assert_same(found: pd.DataFrame, expected: pd.DataFrame, column: Any, name: str) -> None:
    """Numbers agree up to rounding, all else exactly; the first row that does not is shown."""
    ours, theirs = found[column].to_numpy(), expected[column].to_numpy()
    if ours.dtype.kind == "f":
        same = np.isclose(ours, theirs.astype(float), rtol=ROUNDING, atol=ROUNDING, equal_nan=True)
    else:
        same = ours == theirs
    if not same.all():
        row = int(np.argmin(same))
        pytest.fail(f"{name} of round {found['round'][row]}, row {row}: {ours[row]} instead of {theirs[row]}")


def events(market: Market) -> dict[str, Any]:
    """What a comparison must not miss, and whether it happened in a market."""
    rounds, brokers, owners, sales = (market.frame(name) for name in ("rounds", "brokers", "owners", "sales"))
    desks = list(market.config.desks.values())
    strategies = [PRICING.resolve(desk.pricing) for desk in desks]
    plans = [
        (desk.behaviour == "profit_maximizing", strategy) for desk, strategy in zip(desks, strategies, strict=True)
    ]
    learners = any(segment.behaviour.startswith("learning") for segment in market.config.buyers)
    several, sold = len(desks) > 1, (rounds["sales"] > 0).any()
    selling = brokers.loc[brokers["sales"] > 0, "round"]
    return {
        "a broker in a section of its own": market.config.broker is not None,
        "several brokers that sell in a round": selling.duplicated().any(),
        "a bankruptcy": brokers["bankrupt"].any(),
        "several brokers, all bankrupt": several and (rounds["brokers_active"] == 0).any(),
        "owners that deal with one broker": (owners["home"] >= 0).any(),
        "owners that move to another broker": owners.groupby("owner")["home"].diff().abs().sum() > 0,
        "owners that stay out after a loss": (rounds["exits"] > rounds["owners_spent"].diff()).any(),
        "privacy budgets that bind": (rounds["owners_spent"] > 0).any(),
        "leakage": (rounds["leakage"] > 0).any(),
        "bundles": (sales["copies"] > 1).any() if sold else False,
        "bundles where there are rivals": several and (rounds["arbitrage_taken"] > 0).any(),
        "buyers that come and go": rounds["buyers_present"].diff().abs().sum() > 0,
        "personalised prices": sold and any(strategy.personalised for strategy in strategies),
        "lots between brokers": all(strategy.personalised for strategy in strategies) and selling.duplicated().any(),
        "strategies that learn": sold and any(not strategy.surveys for strategy in strategies),
        "strategies that ask for the menu": sold and any(strategy.surveys_menu for strategy in strategies),
        "strategies that look at rivals": several and Follower in strategies,
        "brokers that plan": sold and any(planned for planned, _ in plans),
        "brokers that learn": sold and any(desk.behaviour == "learning" for desk in desks),
        "plans that a strategy must not remember": any(planned and strategy is Follower for planned, strategy in plans),
        "buyers that have learnt": learners and len(rounds) > SHARES,
        "promised payments": sold and any(desk.settlement == "promised" for desk in desks),
        "lists of several kinds": (rounds["list_kind"] == "mixed").any(),
    }


def test_nothing_of_interest_is_missing_from_the_random_markets(make_config: MakeConfig) -> None:
    happened = pd.DataFrame([events(simulated(make_config, seed)) for seed in SEEDS])
    assert happened.any().all(), happened.sum()
