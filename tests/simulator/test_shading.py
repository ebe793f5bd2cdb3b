"""Buyers who understate: what they answer, what the list makes of it, and how they learn what to answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import Market, MarketConfig
from simulator.agents import buyer_behaviours
from simulator.agents.shading import SHARES, LearningShading, _choose
from simulator.checks import check_behaviour
from simulator.pricing import pricing_strategies
from simulator.records import Menu, PriceList
from simulator.streams import Streams

MakeConfig = Callable[..., MarketConfig]

FREE_DATA = {"count": 1, "value": 1.0, "privacy_sensitivity": 0.0, "base_price_pool": 0.0}
#: Worth a quarter of the budget to whoever wants it, whatever its coverage.
INDIFFERENT = {"coverage_sensitivity": 0.0, "noise_sensitivity": 0.0, "epsilon_expected": 1.0}
SHADERS = ("shading", "shading_surplus", "learning_shading", "learning_shading_surplus")
#: Strategies that ask one answer a buyer, and post a list.
ASKING = [n for n, s in pricing_strategies().items() if s.surveys and not s.personalised and n != "cost_plus"]


def one_version(
    make_config: MakeConfig, pricing: str = "dpp_plus", rounds: int = 1, epsilons: Any = (1.0,), **buyers: Any
) -> MarketConfig:
    broker = {"epsilons": list(epsilons), "pricing": pricing}
    return make_config(rounds=rounds, owners=FREE_DATA, broker=broker, buyers={**INDIFFERENT, **buyers})


def run(config: MarketConfig, seed: int = 0) -> Market:
    market = Market(config, seed)
    market.run()
    return market


# --- what is stated -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", SHADERS)
def test_answers_are_shares_of_the_truth_and_purchases_are_not(make_config: MakeConfig, behaviour: str) -> None:
    """A shader answers as an honest buyer does, but for the amount, and buys what an honest one would at any list."""
    menu = Menu(np.array([0.5, 1.0, 2.0]), np.array([0.4, 1.0, 0.7]))
    rule = "surplus" if behaviour.endswith("surplus") else "target"
    shader, honest = (Market(make_config(buyers={"count": 40, "behaviour": b}), seed=3) for b in (behaviour, rule))
    shader.round = 1
    targets, values = shader.buyers.answer(menu)
    true_targets, true_values = honest.buyers.answer(menu)
    assert targets.tolist() == true_targets.tolist()
    shares = values / true_values
    if behaviour.startswith("learning"):
        assert set((shares * 10).round(9)) <= {5.0, 6.0, 7.0, 8.0, 9.0, 10.0}
        assert len(set(shares.round(9))) == SHARES
    else:
        assert shares == pytest.approx(0.8, rel=1e-15)
    np.testing.assert_allclose(shader.buyers.answer_menu(menu), shares[:, None] * honest.buyers.worth(menu), rtol=1e-15)
    # The same list makes them buy the same.
    prices, unknown = np.array([1.0, 2.0, 3.0]), np.full(3, np.nan)
    shown = PriceList(menu.epsilons, menu.coverage, prices, unknown, np.array([True, True, False]))
    bought = [market.buyers.buy(shown) for market in (shader, honest)]
    assert bought[0].versions.tolist() == bought[1].versions.tolist()
    assert 0 < bought[0].bought.sum() < 40


@settings(derandomize=True, deadline=None, max_examples=20)
@given(
    factors=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5),
    expected=st.lists(st.floats(-1.0, 10.0), min_size=1, max_size=5),
)
def test_no_answer_exceeds_the_truth(make_config: MakeConfig, factors: list[float], expected: list[float]) -> None:
    menu = Menu(np.array([0.5, 1.0, 2.0]), np.array([0.4, 1.0, 0.7]))
    options = {"behaviour": "shading", "behaviour_options": {"factor": factors}, "count": len(factors)}
    market = Market(make_config(buyers={**options, "epsilon_expected": float(np.clip(expected[0], 0, 9))}))
    worth = market.buyers.worth(menu)
    targets, values = market.buyers.answer(menu)
    assert (values <= worth[np.arange(len(worth)), targets]).all()
    assert (market.buyers.answer_menu(menu) <= worth).all()


# --- what the list makes of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("pricing", ASKING)
def test_identical_buyers_get_the_price_they_state(make_config: MakeConfig, pricing: str, count: int) -> None:
    """Worth 10, stated 7.5: every strategy that goes by answers posts 7.5, all buy, and each keeps 2.5."""
    shades = {"behaviour": "shading", "behaviour_options": {"factor": 0.75}}
    market = run(one_version(make_config, pricing, budget=40.0, count=count, **shades))
    assert market.frame("versions")["price"].tolist() == pytest.approx([7.5], rel=2e-9)
    if pricing != "menu":  # which lowers its list by a hair where ties decide
        assert market.frame("versions")["price"].tolist() == [7.5]
    row = market.frame("rounds").iloc[0]
    assert row["sales"] == count
    assert row["buyer_surplus"] == pytest.approx(2.5 * count, rel=1e-8)
    assert row["prediction_error"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("factor", [0.5, 0.25])
def test_shading_scales_the_list_and_sells_to_more(make_config: MakeConfig, factor: float) -> None:
    """All state half: half the honest list, exactly, and whoever would pay half of a price now buys.

    Worth is (i + 1/2) / n, so everything can be counted. Powers of two scale without rounding.
    """
    n = 1000
    worth = (np.arange(n) + 0.5) / n
    budgets = (4 * worth).tolist()
    honest = run(one_version(make_config, count=n, budget=budgets, behaviour="target"))
    shades = {"behaviour": "shading", "behaviour_options": {"factor": factor}}
    shaded = run(one_version(make_config, count=n, budget=budgets, **shades))
    price, lower = (market.frame("versions")["price"][0] for market in (honest, shaded))
    assert price == pytest.approx(1 / 2, abs=1 / n)
    assert lower == factor * price
    row = shaded.frame("rounds").iloc[0]
    buyers = int((worth >= lower).sum())
    assert row["sales"] == buyers
    assert row["revenue"] == pytest.approx(lower * buyers, rel=1e-12)
    assert row["expected_revenue"] == pytest.approx(factor * honest.frame("rounds")["revenue"][0], rel=1e-12)
    # In the limit the price is f/2, revenue f/2 (1 - f/2), and the survey lets expect f/4: off by 1 - f.
    assert row["revenue"] / n == pytest.approx(factor / 2 * (1 - factor / 2), abs=1 / n)
    assert row["prediction_error"] == pytest.approx(1 - factor, abs=4 / n)
    assert row["revenue"] < honest.frame("rounds")["revenue"][0]


def test_the_mixed_share_of_shaders_by_segment(make_config: MakeConfig) -> None:
    """Two honest buyers at 10 and one shader who states 6 of 12: the price is 10, and shading was for nothing.

    With one honest buyer at 10, and two shaders who state 6, it is 6: the honest one profits from the others.
    """
    for honest, shading, price, surplus in ((2, 1, 10.0, [0.0, 2.0]), (1, 2, 6.0, [4.0, 12.0])):
        segments = [
            {"segment": "honest", "count": honest, "budget": 40.0, **INDIFFERENT},
            {
                "segment": "shaders",
                "count": shading,
                "budget": 48.0,
                "behaviour": "shading",
                "behaviour_options": {"factor": 0.5},
                **INDIFFERENT,
            },
        ]
        market = run(make_config(rounds=1, owners=FREE_DATA, broker={"epsilons": [1.0]}, buyers=segments))
        assert market.frame("versions")["price"].tolist() == [price]
        assert market.frame("sales").groupby("segment")["surplus"].sum().tolist() == surplus


def test_who_states_nothing_does_not_answer(make_config: MakeConfig) -> None:
    shades = {"behaviour": "shading", "behaviour_options": {"factor": [0.0, 0.5]}, "count": 2, "budget": 40.0}
    market = run(one_version(make_config, **shades))
    row = market.frame("rounds").iloc[0]
    assert (row["answers"], row["sales"], row["revenue"]) == (1, 2, 10.0)


def test_the_menu_is_shaded_where_it_is_asked_for(make_config: MakeConfig) -> None:
    """`menu` would post 4 and 8 to honest buyers (see `maximize_menu_revenue`); half of that to those who halve."""
    segments = [
        {"segment": "low", "budget": 20.0, "curve": "linear", "epsilon_expected": 1.0, "noise_sensitivity": 0.0},
    ]
    prices = {}
    for behaviour in ("surplus", "shading_surplus"):
        options = {"behaviour_options": {"factor": 0.5}} if behaviour == "shading_surplus" else {}
        buyers = [{**s, "behaviour": behaviour, "coverage_sensitivity": 0.0, "count": 3, **options} for s in segments]
        config = make_config(
            rounds=1, owners=FREE_DATA, broker={"epsilons": [1.0, 3.0], "pricing": "menu"}, buyers=buyers
        )
        prices[behaviour] = run(config).frame("versions")["price"].to_numpy()
    assert prices["surplus"][0] == pytest.approx(5.0, rel=1e-8)
    assert prices["shading_surplus"] == pytest.approx(0.5 * prices["surplus"], rel=1e-8)


def test_personal_prices_go_by_the_truth(make_config: MakeConfig) -> None:
    """`perfect` is a bound, and knows: nothing is left to shaders under it."""
    found = [run(one_version(make_config, "perfect", count=9, behaviour=b)) for b in ("target", "shading")]
    revenue = [market.frame("rounds")["revenue"][0] for market in found]
    assert revenue[0] == revenue[1] > 0


# --- learning -----------------------------------------------------------------------------------------------------


def test_the_choice_of_a_share() -> None:
    """The best; among equals, and when exploring, by the draw."""
    one = np.array([0.0, 3.0, 1.0, 3.0, -math.inf, 3.0])
    assert [int(_choose(one, 0.1, 0.5, draw)) for draw in (0.0, 0.33, 0.34, 0.66, 0.67, 1.0)] == [1, 1, 3, 3, 5, 5]
    assert [int(_choose(one, 0.1, 0.05, (i + 0.5) / 6)) for i in range(6)] == [0, 1, 2, 3, 4, 5]
    untried = np.full(6, math.inf)
    untried[2] = 9.0
    assert {int(_choose(untried, 0.0, 0.5, draw)) for draw in np.linspace(0, 1, 50)} == {0, 1, 3, 4, 5}
    many = np.stack([one, untried, one])
    together = _choose(many, np.full(3, 0.1), np.array([0.5, 0.5, 0.05]), np.array([0.34, 0.99, 0.99]))
    assert together.tolist() == [3, 5, 5]


class Bandit:
    """The same learner written anew, from its description: one buyer, plain Python."""

    def __init__(self, lowest: float, exploration: float, weight: float) -> None:
        self.shares = [lowest + (1 - lowest) * k / 5 for k in range(6)]
        self.exploration, self.weight = exploration, weight
        self.mean: dict[int, float] = {}

    def choose(self, explore: float, draw: float) -> int:
        if explore < self.exploration:
            return min(int(6 * draw), 5)
        new = [k for k in range(6) if k not in self.mean]
        best = new or [k for k in range(6) if self.mean[k] == max(self.mean.values())]
        return best[min(int(draw * len(best)), len(best) - 1)]

    def learn(self, k: int, gain: float) -> None:
        self.mean[k] = gain if k not in self.mean else (1 - self.weight) * self.mean[k] + self.weight * gain


@pytest.mark.parametrize("lowest", [0.5, 0.1])
def test_learners_against_the_same_learner_written_anew(
    make_config: MakeConfig, watch: Callable[..., list[Any]], lowest: float
) -> None:
    options = {"lowest": lowest, "exploration": 0.3, "weight": 0.25}
    buyers = {"count": 5, "behaviour": "learning_shading", "behaviour_options": options}
    market = Market(make_config(rounds=40, owners={"count": 4}, buyers=buyers), seed=8)
    surveys, sales = watch(market, "buyers", "answer"), watch(market, "buyers", "buy")
    lists = watch(market, "broker", "release")
    market.run()
    streams = Streams(8)
    bandits = [Bandit(**options) for _ in range(5)]
    coverage = np.ones(3)
    for t, ((targets, values), sold, shown) in enumerate(zip(surveys, sales, lists, strict=True), start=1):
        explore, draw = (
            streams.generator(f"BuyerPopulation.{role}", round=t, segment="buyers").random(5)
            for role in ("explore", "share")
        )
        worth = market.buyers.worth(Menu(market.broker.epsilons, coverage))[np.arange(5), targets]
        chosen = [b.choose(e, u) for b, e, u in zip(bandits, explore.tolist(), draw.tolist(), strict=True)]
        shares = [b.shares[k] for b, k in zip(bandits, chosen, strict=True)]
        assert values == pytest.approx(worth * shares, rel=1e-12)
        for bandit, k, gain in zip(bandits, chosen, sold.surplus.tolist(), strict=True):
            bandit.learn(k, gain)
        coverage = np.where(shown.on_sale, shown.coverage, coverage)
    for buyer, bandit in zip(market.buyers, bandits, strict=True):
        means = [bandit.mean.get(k, math.inf) for k in range(6)]
        assert buyer.expected.tolist() == pytest.approx(means, rel=1e-9)


def test_a_single_buyer_learns_to_state_the_least(make_config: MakeConfig) -> None:
    """It pays what it states, so the smallest share leaves it most: it finds that after trying each share once.

    From then on it states another one only when exploring, and then another one in 5 of 6 cases.
    """
    rounds, exploration = 160, 0.2
    options = {"lowest": 0.4, "exploration": exploration, "weight": 0.5}
    market = run(
        one_version(
            make_config,
            rounds=rounds,
            budget=40.0,
            count=1,
            behaviour="learning_shading",
            behaviour_options=options,
        )
    )
    prices = market.frame("versions")["price"].to_numpy()
    shares = np.array([0.4, 0.52, 0.64, 0.76, 0.88, 1.0])
    assert set(prices.round(9)) == set((10 * shares).round(9))
    # Exploring may have come in between, but every share was tried before any was preferred.
    buyer = market.buyers[0]
    assert buyer.expected == pytest.approx(10 * (1 - shares), abs=1e-12)
    settled = prices[50:]
    # Four standard errors of a share of n independent rounds.
    other, n = exploration * 5 / 6, len(settled)
    assert (settled > 4.0 + 1e-9).mean() == pytest.approx(other, abs=4 * math.sqrt(other * (1 - other) / n))


def test_one_among_many_has_little_to_gain(make_config: MakeConfig) -> None:
    """With 400 buyers no answer moves the price by much: mean shares stay near the middle, and revenue high.

    Alone a buyer ends at the smallest share (above). What all expect of their shares differs by what others' draws
    do to the price, not by their own.
    """
    found = {}
    for count in (1, 400):
        buyers = {"count": count, "behaviour": "learning_shading", "budget": {"dist": "uniform", "scale": 40.0}}
        market = run(one_version(make_config, rounds=50, **buyers), seed=2)
        menu = Menu(np.array([1.0]), np.ones(1))
        market.round = 51
        _, values = market.buyers.answer(menu)
        found[count] = float((values / market.buyers.worth(menu)[:, 0]).mean())
    assert found[1] == 0.5
    assert found[400] > 0.6


@pytest.mark.parametrize("behaviour", ["learning_shading", "learning_shading_surplus"])
def test_both_speeds_over_many_rounds(behaviour: str) -> None:
    check_behaviour(buyer_behaviours()[behaviour], seed=9, rounds=12)


def test_options_of_each_member() -> None:
    options = {"lowest": {"dist": "uniform"}, "exploration": {"dist": "uniform"}, "weight": {"dist": "uniform"}}
    check_behaviour(LearningShading, options=options, rounds=10)


class Absent(LearningShading):
    """Draws another share at array speed."""

    name = "absent"

    @classmethod
    def chosen_all(cls, rows: Any) -> np.ndarray:
        return np.roll(super().chosen_all(rows), 1)


def test_two_speeds_that_differ_are_caught() -> None:
    with pytest.raises(AssertionError, match="differs from all at once"):
        check_behaviour(Absent, rounds=12)
