"""Buyers who come and go, and whose budgets drift: laws in closed form, and markets of those present alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import stats

from simulator import Market, MarketConfig
from simulator.agents import BuyerRows, Column, ModelBuyer, buyer_behaviours
from simulator.agents.buyer import Target
from simulator.agents.turnover import NEVER, draw_arrivals, draw_times
from simulator.checks import check_behaviour
from simulator.log import TABLES
from simulator.pricing import PricingContext
from simulator.pricing.baselines import Median
from simulator.records import Menu
from simulator.streams import Streams

MakeConfig = Callable[..., MarketConfig]

FREE_DATA = {"count": 1, "value": 1.0, "privacy_sensitivity": 0.0, "base_price_pool": 0.0}
ATTRIBUTES = ("budget", "coverage_expected", "coverage_sensitivity", "epsilon_expected", "noise_sensitivity")
#: A statistic with this chance under the law, or less, is taken for a mistake. Seeds are fixed.
RARE = 1e-4


def run(config: MarketConfig, seed: int = 0, rounds: int | None = None) -> Market:
    market = Market(config, seed)
    market.run(rounds)
    return market


# --- arrivals and stays -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.3, 3.7, 80.0])
def test_arrivals_are_poisson(rate: float) -> None:
    counts = np.array(draw_arrivals(rate, 2000, Streams(1), "s"))
    law = stats.poisson(rate)
    # Cells of at least five expected counts, the outer ones with their tails.
    edges = [k for k in range(int(law.ppf(1e-9)), int(law.ppf(1 - 1e-9))) if 0.01 < law.cdf(k) < 0.99]
    cells = np.diff([0.0, *law.cdf(edges), 1.0])
    found = np.diff([0, *[(counts <= k).sum() for k in edges], len(counts)])
    assert (2000 * cells >= 5).all()
    assert stats.chisquare(found, 2000 * cells).pvalue > RARE
    # Rounds are independent: neighbours are not correlated.
    assert abs(np.corrcoef(counts[1:], counts[:-1])[0, 1]) < 4 / math.sqrt(2000)


def test_a_larger_rate_has_the_arrivals_of_a_smaller_one_and_more() -> None:
    rates = (0.0, 0.5, 2.0, 2.1, 30.0, 500.0)
    found = np.array([draw_arrivals(rate, 50, Streams(4), "s") or (0,) * 50 for rate in rates])
    assert (np.diff(found, axis=0) >= 0).all()
    # What is added is Poisson of the difference.
    added = found[4] - found[3]
    assert added.mean() == pytest.approx(27.9, abs=4 * math.sqrt(27.9 / 50))
    assert added.var() == pytest.approx(27.9, abs=4 * 27.9 * math.sqrt(2.1 / 50))
    assert draw_arrivals(0.0, 50, Streams(4), "s") == ()


@pytest.mark.parametrize("stay", [1.0, 1.5, 6.0, 1e9])
def test_stays_are_geometric(stay: float) -> None:
    arrived, left = draw_times(2000, (1000, 3000), stay, Streams(2), "s")
    assert arrived.tolist() == [1] * 3000 + [2] * 3000
    stayed = left - arrived
    assert stayed.min() >= 1
    if stay == 1.0:
        assert (stayed == 1).all()
        return
    assert stayed.mean() == pytest.approx(stay, abs=4 * math.sqrt(stay * (stay - 1) / 6000))
    if stay < 10:
        law = stats.geom(1 / stay)
        edges = [k for k in range(1, 40) if 6000 * law.sf(k) > 10]
        cells = np.diff([0.0, *law.cdf(edges), 1.0])
        found = np.diff([0, *[(stayed <= k).sum() for k in edges], 6000])
        assert stats.chisquare(found, 6000 * cells).pvalue > RARE


def test_nobody_leaves_earlier_where_the_mean_stay_is_longer() -> None:
    left = [draw_times(100, (20, 30), stay, Streams(3), "s")[1] for stay in (1.0, 1.2, 4.0, 50.0, None)]
    assert (np.diff(left, axis=0) >= 0).all()
    assert (left[-1] == NEVER).all()


def test_the_population_of_an_infinite_server_queue() -> None:
    """In round t the mean is count q^(t-1) + rate stay (1 - q^t) with q = 1 - 1/stay: rate times stay in the long run.

    Where nobody was there at first it is a Poisson number.
    """
    rate, stay, rounds, runs = 12.0, 3.0, 20, 200
    q, t = 1 - 1 / stay, np.arange(1, rounds + 1)
    for count in (0, 30):
        present = np.zeros((runs, rounds))
        for seed in range(runs):
            arrivals = draw_arrivals(rate, rounds, Streams(seed), "s")
            arrived, left = draw_times(count, arrivals, stay, Streams(seed), "s")
            present[seed] = ((arrived <= t[:, None]) & (t[:, None] < left)).sum(axis=1)
        mean = count * q ** (t - 1) + rate * stay * (1 - q**t)
        variance = count * q ** (t - 1) * (1 - q ** (t - 1)) + rate * stay * (1 - q**t)
        assert np.abs(present.mean(axis=0) - mean).max() < 4.5 * math.sqrt(variance.max() / runs)
        # The variance of a sample variance is about 2 variance^2 / runs (+ the mean / runs, Poisson's fourth moment).
        spread = present.var(axis=0, ddof=1)
        assert np.abs(spread - variance).max() < 4.5 * math.sqrt((2 * variance.max() ** 2 + variance.max()) / runs)
        assert mean[-1] == pytest.approx(rate * stay, rel=1e-3)


# --- who is there -------------------------------------------------------------------------------------------------

PASSERS_BY = {"segment": "passers_by", "count": 6, "arrivals": 4.0, "stay": 3.0}


def there(market: Market, now: int) -> np.ndarray:
    """Rows of those present, by the definition."""
    columns = market.buyers.columns
    return np.flatnonzero((columns["arrived"] <= now) & (columns["left"] > now))


@pytest.mark.parametrize("behaviour", ["target", "surplus", "shading", "arbitrageur"])
@pytest.mark.parametrize("pricing", ["dpp_plus", "menu", "perfect", "median_each"])
def test_a_round_is_one_of_those_present_alone(make_config: MakeConfig, pricing: str, behaviour: str) -> None:
    """Data is free and nobody learns, so a round hangs on its buyers alone: a market of them has the same tables."""
    options = {"raw": True} if pricing == "median_each" else {}
    broker = {"epsilons": [0.5, 1.0, 2.0], "pricing": pricing, "pricing_options": options}
    segments = [
        {"segment": "stayers", "count": 5, "behaviour": behaviour},
        {**PASSERS_BY, "behaviour": behaviour, "drift": 0.1},
    ]
    config = make_config(rounds=6, owners=FREE_DATA, broker=broker, buyers=segments)
    market = Market(config, seed=5)
    for now in range(1, 7):
        market.step()
        rows = np.append(np.arange(5), [row for row in there(market, now) if row >= 5])
        assert market.buyers.n_present == len(rows)
        attributes = {name: market.buyers.columns[name][rows].tolist() for name in ATTRIBUTES}
        alone = run(
            make_config(
                rounds=1,
                owners=FREE_DATA,
                broker=broker,
                buyers={"count": len(rows), "behaviour": behaviour, **attributes},
            )
        )
        ours, theirs = (m.frame("rounds").iloc[-1].drop("round") for m in (market, alone))
        cumulated = [name for name in ours.index if name.startswith(("epsilon", "owners_spent"))]
        pd.testing.assert_series_equal(ours.drop(cumulated), theirs.drop(cumulated), check_names=False)
        assert ours["buyers_present"] == len(rows)
        mine = market.frame("sales").query(f"round == {now}").reset_index(drop=True)
        assert mine["buyer"].tolist() == rows[alone.frame("sales")["buyer"]].tolist()
        same = ["target", "version", "price", "worth", "surplus", "copies"]
        pd.testing.assert_frame_equal(mine[same], alone.frame("sales")[same])
    assert len({len(there(market, now)) for now in range(1, 7)}) > 2
    sold = market.frame("sales").groupby("buyer")["price"].sum()
    ledger = market.ledger.buyers
    assert ledger[sold.index] == pytest.approx(sold.to_numpy(), rel=1e-12)
    assert ledger.sum() == pytest.approx(market.frame("rounds")["revenue"].sum(), rel=1e-12)
    assert set(market.frame("sales")["segment"]) == {"stayers", "passers_by"}


def test_the_survey_stands_for_those_present(make_config: MakeConfig, watch: Callable[..., list[Any]]) -> None:
    config = make_config(rounds=8, owners=FREE_DATA, broker={"survey_share": 0.5}, buyers=PASSERS_BY)
    market = Market(config, seed=2)
    surveys = watch(market, "broker", "survey")
    market.run()
    present = market.frame("rounds")["buyers_present"].tolist()
    assert present == [len(there(market, now)) for now in range(1, 9)]
    for survey, n in zip(surveys, present, strict=True):
        size = max(1, round(0.5 * n))
        assert len(survey) == size
        assert survey.weights.tolist() == [n / size] * size


class Curious(Median):
    """Remembers how large the market was said to be."""

    name = "curious"

    def prices(self, context: PricingContext) -> np.ndarray:
        self.told = [*getattr(self, "told", []), context.n_buyers]
        return super().prices(context)


def test_strategies_are_told_how_many_are_present(make_config: MakeConfig) -> None:
    broker = {"pricing": f"{__name__}:Curious", "survey_share": 0.5}
    market = run(make_config(rounds=5, owners=FREE_DATA, broker=broker, buyers=PASSERS_BY), seed=2)
    assert market.broker.strategy.told == market.frame("rounds")["buyers_present"].tolist()


def test_learners_see_those_present(make_config: MakeConfig) -> None:
    broker = {"pricing": "thompson", "epsilons": [1.0]}
    market = run(make_config(rounds=8, owners=FREE_DATA, broker=broker, buyers=PASSERS_BY), seed=2)
    assert market.broker.strategy._seen.sum() == market.frame("rounds")["buyers_present"].sum()
    assert market.broker.strategy._sold.sum() == market.frame("rounds")["sales"].sum()


@pytest.mark.parametrize("pricing", ["dpp_plus", "menu", "ucb", "thompson", "exp3", "perfect"])
def test_rounds_without_buyers(make_config: MakeConfig, pricing: str) -> None:
    """One in five rounds has an arrival, and nobody stays: shares are undefined in the others, money is 0."""
    lonely = {"count": 0, "arrivals": 0.2, "stay": 1.0}
    market = run(make_config(rounds=30, owners=FREE_DATA, broker={"pricing": pricing}, buyers=lonely), seed=1)
    rounds = market.frame("rounds")
    empty = rounds["buyers_present"] == 0
    assert 10 < empty.sum() < 30
    assert rounds["sell_through"].isna().tolist() == empty.tolist()
    assert (rounds.loc[empty, ["revenue", "sales", "first_best", "deadweight_loss", "answers"]] == 0).all(axis=None)
    assert rounds["buyers_present"].sum() == len(market.buyers)
    assert np.isfinite(rounds["revenue"]).all()
    prices = market.frame("versions").pivot_table(index="round", columns="version", values="price")
    if pricing in ("dpp_plus", "menu"):  # the last list stays
        stays = prices.diff().abs().max(axis=1) == 0
        assert stays[[t for t in prices.index[1:] if empty[t - 1]]].all()


def test_a_market_in_which_nobody_ever_arrives(make_config: MakeConfig) -> None:
    market = run(make_config(rounds=2, owners=FREE_DATA, buyers={"count": 0, "arrivals": 1e-9}))
    assert len(market.buyers) == 0
    assert (market.frame("rounds")["buyers_present"] == 0).all()


def test_who_buys_once_leaves_after_it(make_config: MakeConfig) -> None:
    """The price is what those who are left make it; nobody is asked or sold to again."""
    buyers = {"count": 40, "one_off": True, "arrivals": 5.0, "budget": {"dist": "uniform", "scale": 40.0}}
    market = run(make_config(rounds=12, owners=FREE_DATA, broker={"epsilons": [1.0]}, buyers=buyers), seed=3)
    sales, rounds = market.frame("sales"), market.frame("rounds")
    assert sales["buyer"].is_unique
    arrived = market.buyers.columns["arrived"]
    gone = np.cumsum([0, *rounds["sales"]])[:-1]
    assert rounds["buyers_present"].tolist() == [(arrived <= t).sum() - gone[t - 1] for t in range(1, 13)]
    assert np.flatnonzero(market.buyers.columns["served"]).tolist() == sorted(sales["buyer"])
    # Without arrivals, the best are served first and the price falls: the durable-goods monopolist's skimming.
    market = run(
        make_config(rounds=5, owners=FREE_DATA, broker={"epsilons": [1.0]}, buyers={**buyers, "arrivals": 0.0})
    )
    prices = market.frame("versions")["price"].to_numpy()
    assert (np.diff(prices) < 0).all()
    assert (
        market.frame("sales")["worth"].is_monotonic_decreasing
        or (
            market.frame("sales").groupby("round")["worth"].min().shift()
            >= market.frame("sales").groupby("round")["worth"].max()
        )[1:].all()
    )


def test_perfect_discrimination_serves_everybody_once(make_config: MakeConfig) -> None:
    buyers = {"count": 9, "one_off": True}
    market = run(make_config(rounds=3, owners=FREE_DATA, broker={"pricing": "perfect"}, buyers=buyers))
    assert market.frame("rounds")["sales"].tolist() == [9, 0, 0]
    assert market.frame("rounds")["buyers_present"].tolist() == [9, 0, 0]


# --- both speeds, and who is away does not learn ------------------------------------------------------------------


class Diary(ModelBuyer):
    """Counts the rounds in which it was there, by one hook each, and buys its target if it likes its number."""

    name = "diary"
    asked, shopped, learnt = (Column(default=0.0) for _ in range(3))

    def answer(self, menu: Menu) -> tuple[int, float]:
        self.asked += 1
        return super().answer(menu)

    @classmethod
    def answer_all(cls, rows: BuyerRows, menu: Menu) -> tuple[np.ndarray, np.ndarray]:
        rows.asked[:] += 1
        return super().answer_all(rows, menu)

    def choose(self, price_list: Any) -> int | None:
        self.shopped += 1
        k = self.target(price_list)
        buys = (
            price_list.on_sale[k] and self.uniform("mood") < 0.7 and self.worth(price_list)[k] >= price_list.prices[k]
        )
        return k if buys else None

    @classmethod
    def choose_all(cls, rows: BuyerRows, price_list: Any) -> np.ndarray:
        rows.shopped[:] += 1
        chosen = Target.choose_all.__func__(cls, rows, price_list)  # type: ignore[attr-defined]
        return np.where(rows.uniforms("mood") < 0.7, chosen, -1)

    def adapt(self, version: int | None, paid: float) -> None:
        self.learnt += 1

    @classmethod
    def adapt_all(cls, rows: BuyerRows, versions: np.ndarray, paid: np.ndarray) -> None:
        rows.learnt[:] += 1


@pytest.mark.parametrize("vectorised", [True, False])
@pytest.mark.parametrize("one_off", [True, False])
def test_hooks_are_called_for_those_present(make_config: MakeConfig, vectorised: bool, one_off: bool) -> None:
    diary = {"behaviour": f"{__name__}:Diary", "one_off": one_off}
    market = Market(make_config(rounds=7, owners=FREE_DATA, buyers=[diary | PASSERS_BY, {"count": 3}]), seed=6)
    market.buyers.vectorised = vectorised
    market.run()
    columns = market.buyers.columns
    arrived, left = (columns[name][:-3] for name in ("arrived", "left"))
    bought = np.full(len(arrived), 99)
    sales = market.frame("sales").query("segment == 'passers_by'")
    if one_off:
        bought[sales["buyer"]] = sales["round"]
    stayed = np.clip(np.minimum(np.minimum(left - 1, 7), bought) - arrived + 1, 0, None)
    for name in ("asked", "shopped", "learnt"):
        assert columns[name][:-3].tolist() == stayed.tolist(), name
    assert 0 < len(sales) < stayed.sum()


@pytest.mark.parametrize("name", sorted(buyer_behaviours()))
def test_one_off_buyers_at_both_speeds(make_config: MakeConfig, name: str) -> None:
    if buyer_behaviours()[name].learns:
        return
    buyers = [{**PASSERS_BY, "one_off": True, "behaviour": name}, {"count": 5, "behaviour": name}]
    broker = {"pricing": "median_each", "pricing_options": {"raw": True}, "manufacturing_budget": 40.0}
    slow, fast = (Market(make_config(rounds=5, broker=broker, buyers=buyers), seed=7) for _ in range(2))
    slow.buyers.vectorised = False
    slow.run()
    fast.run()
    for table in TABLES:
        pd.testing.assert_frame_equal(slow.frame(table), fast.frame(table), check_exact=True)


def test_diaries_at_both_speeds() -> None:
    check_behaviour(Diary)


def test_learning_shaders_learn_while_they_are_there(make_config: MakeConfig) -> None:
    buyers = {**PASSERS_BY, "behaviour": "learning_shading", "stay": 4.0}
    market = run(make_config(rounds=10, owners=FREE_DATA, broker={"epsilons": [1.0]}, buyers=buyers), seed=1)
    columns = market.buyers.columns
    stayed = np.minimum(columns["left"], 11) - columns["arrived"]
    tried = np.isfinite(columns["expected"]).sum(axis=1)
    assert (tried >= 1).all()
    assert (tried <= np.minimum(stayed, 6)).all()
    assert set(tried[stayed == 1]) == {1}
    assert tried.max() >= 4


# --- common random numbers ----------------------------------------------------------------------------------------


def people(market: Market) -> set[tuple[float, ...]]:
    """When each buyer comes and goes, and what it is like."""
    return set(zip(*(market.buyers.columns[name].tolist() for name in ("arrived", "left", *ATTRIBUTES)), strict=True))


def test_more_arrivals_add_people_and_change_nobody(make_config: MakeConfig) -> None:
    sparse, dense = (
        Market(make_config(rounds=9, buyers={**PASSERS_BY, "arrivals": rate}), seed=4) for rate in (2.0, 7.0)
    )
    assert people(sparse) < people(dense)
    assert len(people(sparse)) == len(sparse.buyers)
    # And so are the random numbers of their own, of those who are there.
    for market in (sparse, dense):
        market.round = 5
    numbers = [
        dict(
            zip(
                zip(
                    m.buyers.columns["arrived"][m.buyers.present],
                    m.buyers.columns["budget"][m.buyers.present],
                    strict=True,
                ),
                m.buyers.uniforms("mood"),
                strict=True,
            )
        )
        for m in (sparse, dense)
    ]
    assert 0 < len(numbers[0]) < len(numbers[1])
    assert numbers[0].items() <= numbers[1].items()
    assert len(set(numbers[1].values())) == len(dense.buyers.present)


def test_who_is_there_at_the_opening_is_who_would_be_there_without_arrivals(make_config: MakeConfig) -> None:
    closed = Market(make_config(buyers={"count": 6}), seed=4)
    opened = Market(make_config(buyers={"count": 6, "arrivals": 3.0}), seed=4)
    for name in ATTRIBUTES:
        assert opened.buyers.columns[name][:6].tolist() == closed.buyers.columns[name].tolist()
    for market in (closed, opened):
        market.round = 2
    first, second = (market.buyers.segments[0].uniforms("mood") for market in (closed, opened))
    assert second[:6].tolist() == first.tolist()


def test_longer_runs_begin_like_shorter_ones(make_config: MakeConfig) -> None:
    short, long = (
        run(make_config(rounds=n, buyers={**PASSERS_BY, "drift": 0.02, "volatility": 0.3}), seed=4) for n in (4, 9)
    )
    for table in TABLES:
        ours, theirs = short.frame(table), long.frame(table).query("round <= 4").reset_index(drop=True)
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_mechanisms_meet_the_same_people_at_the_same_times(make_config: MakeConfig) -> None:
    markets = [
        run(make_config(rounds=6, broker={"pricing": p}, buyers=PASSERS_BY), seed=4) for p in ("median", "dpp_plus")
    ]
    assert people(markets[0]) == people(markets[1])
    present = [market.frame("rounds")["buyers_present"].tolist() for market in markets]
    assert present[0] == present[1]
    again = run(make_config(rounds=6, broker={"pricing": "median"}, buyers=PASSERS_BY), seed=4)
    for table in TABLES:
        pd.testing.assert_frame_equal(again.frame(table), markets[0].frame(table), check_exact=True)
    other = Market(make_config(rounds=6, buyers=PASSERS_BY), seed=4, replicate=1)
    assert not people(other) & people(markets[0])


def test_segments_come_and_go_apart(make_config: MakeConfig) -> None:
    """Two segments of the same settings share no numbers: neither arrivals, nor stays, nor attributes."""
    assert draw_arrivals(4.0, 40, Streams(4), "a") != draw_arrivals(4.0, 40, Streams(4), "b")
    left = [draw_times(100, (100,), 5.0, Streams(4), name)[1].tolist() for name in "ab"]
    assert left[0][:100] != left[1][:100]
    assert left[0][100:] != left[1][100:]
    alike = [{**PASSERS_BY, "segment": name} for name in "ab"]
    market = Market(make_config(rounds=9, buyers=alike), seed=4)
    market.round = 3
    first, second = market.buyers.segments
    assert not set(first.budget) & set(second.budget)
    assert not set(first.uniforms("mood")) & set(second.uniforms("mood"))


@pytest.mark.parametrize(
    "change",
    [
        {"count": 30},
        {"arrivals": 9.0},
        {"arrivals": 0.0},
        {"stay": 1.5},
        {"one_off": True},
        {"behaviour": "arbitrageur"},
        {"behaviour": "learning_shading"},
        {"curve": "threshold"},
        {"drift": 0.3},
        {"volatility": 0.0},
        {"budget": 3.0},
    ],
    ids=str,
)
def test_what_one_segment_is_like_moves_no_other(make_config: MakeConfig, change: dict[str, Any]) -> None:
    """Who the others are, when they come and go, how their budgets drift, and all random numbers of their own."""
    found = []
    for settings in ({}, change):
        one = {**PASSERS_BY, "segment": "one", "volatility": 0.2, **settings}
        other = {**PASSERS_BY, "segment": "other", "volatility": 0.2, "behaviour": "learning_shading"}
        market = run(make_config(rounds=5, owners=FREE_DATA, buyers=[one, other]), seed=4)
        rows = market.buyers.segments[1]
        columns = [getattr(rows, name).tolist() for name in ("arrived", "left", *ATTRIBUTES)]
        present = rows.left > 5
        found.append([*columns, *(rows.uniforms(role)[present].tolist() for role in ("explore", "share", "mood"))])
    assert found[0] == found[1]


# --- drift --------------------------------------------------------------------------------------------------------


def test_budgets_grow_at_their_rate(make_config: MakeConfig) -> None:
    """Worth and prices are proportional to budgets, so revenue grows at the rate: exactly, since data is free."""
    for drift in (0.05, -0.2):
        market = Market(make_config(rounds=8, owners=FREE_DATA, buyers={"drift": drift}))
        start = market.buyers.columns["budget"].copy()
        market.run()
        assert market.buyers.columns["budget"] == pytest.approx(start * (1 + drift) ** 7, rel=1e-13)
        rounds = market.frame("rounds")
        growth = (1 + drift) ** np.arange(8.0)
        for name in ("revenue", "buyer_surplus", "first_best", "hindsight_revenue"):
            assert rounds[name].to_numpy() == pytest.approx(rounds[name][0] * growth, rel=1e-9), name


def test_each_segment_drifts_by_itself_and_newcomers_with_it(make_config: MakeConfig) -> None:
    plain = {"count": 3, "budget": 10.0}
    segments = [
        {**plain, "segment": "grows", "drift": 0.5, "arrivals": 2.0},
        {**plain, "segment": "stays"},
        {**plain, "segment": "wanders", "volatility": 0.4},
        {**plain, "segment": "wanders_too", "volatility": 0.4},
    ]
    market = run(make_config(rounds=4, owners=FREE_DATA, buyers=segments))
    grows, stays, wanders, too = (market.buyers.columns["budget"][r.start : r.stop] for r in market.buyers.segments)
    assert grows == pytest.approx(10 * 1.5**3, rel=1e-14)
    assert (stays == 10.0).all()
    # A shock is the segment's, not the buyer's.
    assert len(set(wanders)) == len(set(too)) == 1
    assert wanders[0] != too[0]
    assert wanders[0] != 10.0


def test_a_random_walk_keeps_the_mean_and_has_its_variance(make_config: MakeConfig) -> None:
    """log growth is normal with mean log(1 + drift) - volatility^2 / 2, so that budgets grow by drift on average."""
    drift, volatility, rounds = 0.02, 0.3, 1500
    buyers = {"count": 1, "budget": 1.0, "drift": drift, "volatility": volatility}
    market = Market(make_config(rounds=rounds, buyers=buyers), seed=9)
    logs = []
    for now in range(1, rounds + 1):
        market.round = now
        before = market.buyers.columns["budget"][0]
        market.buyers.drift()
        logs.append(math.log(market.buyers.columns["budget"][0] / before))
        market.buyers.columns["budget"][0] = 1.0
    assert logs[0] == 0.0
    steps = np.array(logs[1:])
    mean = math.log(1 + drift) - volatility**2 / 2
    assert stats.kstest((steps - mean) / volatility, "norm").pvalue > RARE
    assert np.exp(steps).mean() == pytest.approx(1 + drift, abs=4 * volatility / math.sqrt(rounds))
    assert abs(np.corrcoef(steps[1:], steps[:-1])[0, 1]) < 4 / math.sqrt(rounds)


# --- the end, and what is refused ---------------------------------------------------------------------------------


def test_arrivals_are_drawn_for_the_rounds_of_the_market(make_config: MakeConfig) -> None:
    market = run(make_config(rounds=3, buyers=PASSERS_BY))
    before = market.frame("rounds")
    with pytest.raises(ValueError, match="found round 4 of a market in which buyers arrive; allowed are the 3 rounds"):
        market.step()
    with pytest.raises(ValueError, match="found round 4"):
        market.run(1)
    assert market.round == 3
    pd.testing.assert_frame_equal(market.frame("rounds"), before)
    # Without arrivals a market goes on, those who stayed among them.
    leaving = run(make_config(rounds=3, buyers={"count": 50, "stay": 4.0, "drift": 0.1, "one_off": True}), rounds=9)
    assert (leaving.frame("rounds")["buyers_present"].diff()[1:] <= 0).all()


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        ({"count": 0}, "count: found 0 in a segment without arrivals; allowed are numbers >= 1"),
        ({"count": -1, "arrivals": 2.0}, "greater than or equal to 0"),
        ({"arrivals": -0.1}, "greater than or equal to 0"),
        ({"arrivals": float("inf")}, "less than or equal to 1000000"),
        ({"stay": 0.5}, "greater than or equal to 1"),
        ({"drift": -1.0}, "greater than -1"),
        ({"volatility": -0.1}, "greater than or equal to 0"),
        ({"one_off": "yes"}, "valid boolean"),
        ({"arrivals": 1.0, "budget": [1.0] * 15}, "budget: found a list in a segment with arrivals"),
        (
            {"arrivals": 1.0, "behaviour": "shading", "behaviour_options": {"factor": [0.5] * 15}},
            "behaviour_options.factor: found a list in a segment with arrivals",
        ),
        (
            {"one_off": True, "behaviour": "learning_shading"},
            "behaviour: found 'learning_shading' with one_off = true; a buyer that learns must be there",
        ),
        ({"stay": 1, "behaviour": "learning_shading_surplus"}, "found 'learning_shading_surplus' with stay = 1"),
    ],
)
def test_what_is_refused(make_config: MakeConfig, segment: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_config(buyers=segment)
    assert message in str(caught.value)
