"""The programme on a grid of prices and the strategies that learn on it, against enumeration of all lists."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from scenarios.errors import InputError
from scenarios.experiment import load
from simulator import Market, MarketConfig
from simulator.checks import check_pricing_strategy
from simulator.pricing import (
    PricingContext,
    PricingStrategy,
    Survey,
    find_arbitrage,
    maximize_revenue,
    pricing_strategies,
)
from simulator.pricing.learning import default_grid_size
from simulator.pricing.strategy import PRICING
from simulator.pricing.table import ListGrid, geometric_grid
from simulator.records import Receipts

MakeConfig = Callable[..., MarketConfig]

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=60)

#: Feasibility is judged with the tolerance the programme states.
SAME = 1e-12
#: Sums of a few terms in another order.
SUM = 1e-12

LEARNERS = ["exp3", "thompson", "ucb"]
RANGE = {"lowest": 1.0, "highest": 16.0}
NOBODY = Survey([], [])


def all_lists(x: np.ndarray, lists: ListGrid) -> np.ndarray:
    """Cells of every list of the relaxed problem on the grid, straight from the two constraints."""
    found = []
    for cells in itertools.product(*(range(a, b) for a, b in itertools.pairwise(lists.bounds.tolist()))):
        p = lists.prices[list(cells)]
        rising = all(low <= high * (1 + SAME) for low, high in itertools.pairwise(p))
        flat = all(
            high / b <= low / a * (1 + SAME)
            for (low, high), (a, b) in zip(itertools.pairwise(p), itertools.pairwise(x), strict=True)
        )
        if rising and flat:
            found.append(cells)
    return np.array(found)


def context(
    epsilons: np.ndarray, number: int, *, rounds: int = 10, buyers: int = 50, rng: np.random.Generator | None = None
) -> PricingContext:
    rng = np.random.default_rng(number) if rng is None else rng
    return PricingContext(NOBODY, epsilons, "additive", buyers, number, rounds, None, None, rng)


def receipts(prices: np.ndarray, targets: np.ndarray, values: np.ndarray, on_sale: np.ndarray) -> Receipts:
    """What buyers of their targets leave behind."""
    buys = on_sale[targets] & (values >= prices[targets])
    return Receipts(np.where(buys, targets, -1), np.where(buys, prices[targets], 0.0), on_sale)


# --- the programme ------------------------------------------------------------------------------------------------


@st.composite
def grids(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of up to four versions, with ratios that are whole and that are not, and a grid of up to four prices."""
    x = sorted(draw(st.sets(st.sampled_from([0.5, 1.0, 1.3, 2.0, 3.0, 4.0]), min_size=1, max_size=4)))
    base = sorted(draw(st.sets(st.sampled_from([1.0, 2.0, 3.0, 3.9, 4.0, 8.0, 9.1]), min_size=1, max_size=4)))
    return np.array(x), np.array(base)


@PROPERTY
@given(grids(), st.integers(0, 10**6))
def test_the_best_list_is_the_best_of_all(made: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    x, base = made
    lists = ListGrid(x, base)
    rng = np.random.default_rng(seed)
    # Whole numbers make ties, of which the list with the highest prices from the top down is taken.
    table = rng.integers(0, 4, len(lists.prices)).astype(float)
    every = all_lists(x, lists)
    sums = table[every].sum(axis=1)
    best = max(every[sums == sums.max()].tolist(), key=lambda cells: cells[::-1])
    assert lists.best(table).tolist() == best
    table = rng.random(len(lists.prices))
    assert table[lists.best(table)].sum() == pytest.approx(table[every].sum(axis=1).max(), rel=SUM)


@PROPERTY
@given(grids(), st.integers(0, 10**6))
def test_probabilities_are_those_of_all_lists(made: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    x, base = made
    lists = ListGrid(x, base)
    every = all_lists(x, lists)
    assert math.exp(lists.log_count()) == pytest.approx(len(every), rel=1e-12)
    # Weights that differ by factors of up to e^20; the probabilities keep 1e-12 of 1.
    log_weights = np.random.default_rng(seed).uniform(-10.0, 10.0, len(lists.prices))
    weights = np.exp(log_weights[every].sum(axis=1))
    shares = np.zeros(len(lists.prices))
    for cells, weight in zip(every, weights / weights.sum(), strict=True):
        shares[cells] += weight
    np.testing.assert_allclose(lists.shares(log_weights), shares, rtol=1e-9, atol=1e-12)


def test_lists_are_drawn_by_their_weights() -> None:
    x = np.array([1.0, 1.5, 2.0])
    lists = ListGrid(x, [1.0, 2.0])
    every = all_lists(x, lists)
    log_weights = np.random.default_rng(1).uniform(-1.0, 1.0, len(lists.prices))
    weights = np.exp(log_weights[every].sum(axis=1))
    rng, draws = np.random.default_rng(2), 4000
    drawn = [tuple(lists.draw(log_weights, rng).tolist()) for _ in range(draws)]
    assert set(drawn) <= set(map(tuple, every.tolist()))
    expected = draws * weights / weights.sum()
    counts = np.array([drawn.count(tuple(cells)) for cells in every.tolist()])
    # Each count is binomial: five deviations are left once in a million times.
    assert (np.abs(counts - expected) <= 5 * np.sqrt(expected)).all()


@PROPERTY
@given(grids())
def test_the_covering_lists_hold_every_cell(made: tuple[np.ndarray, np.ndarray]) -> None:
    x, base = made
    lists = ListGrid(x, base)
    cover = lists.covering()
    assert set(cover.ravel().tolist()) == set(range(len(lists.prices)))
    assert set(map(tuple, cover.tolist())) <= set(map(tuple, all_lists(x, lists).tolist()))
    assert len(cover) >= np.diff(lists.bounds).max()
    if len(x) == 1:
        assert len(cover) == len(base)


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_every_list_on_a_grid_is_free_of_arbitrage(composition: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        epsilons = np.cumsum(rng.uniform(0.1, 2.0, rng.integers(1, 6)))
        lists = ListGrid(epsilons if composition == "additive" else epsilons**2, np.cumsum(rng.lognormal(0, 1, 5)))
        for cells in [*lists.covering(), *(lists.best(rng.random(len(lists.prices))) for _ in range(5))]:
            assert find_arbitrage(epsilons, lists.prices[cells], composition=composition) is None


@PROPERTY
@given(st.integers(0, 10**6))
def test_a_list_on_the_grid_lies_below_any_list_by_no_more_than_the_ratio(seed: int) -> None:
    """Below it, so that it sells to the same buyers: any list in the range is worth its grid's share."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.1, 2.0, 4))
    lowest, highest, count = 1.0, float(rng.uniform(1.5, 50.0)), int(rng.integers(2, 8))
    lists = ListGrid(x, geometric_grid(lowest, highest, count))
    ratio = (highest / lowest) ** (1 / (count - 1))
    # A random list of the relaxed problem inside the range, from the bottom up.
    prices = [rng.uniform(lowest, highest)]
    for low, high in itertools.pairwise(x):
        prices.append(rng.uniform(prices[-1], min(highest, prices[-1] * high / low)))
    wanted = rng.random(4)
    sells = [part <= price * (1 + SAME) for part, price in zip(lists.by_version(lists.prices), prices, strict=True)]
    table = np.concatenate(sells) * lists.prices * np.repeat(wanted, np.diff(lists.bounds))
    assert table[lists.best(table)].sum() >= wanted @ prices / ratio * (1 - 1e-9)


def test_a_fine_grid_earns_what_the_relaxed_optimum_earns() -> None:
    rng = np.random.default_rng(4)
    for composition in ("additive", "quadratic"):
        epsilons = np.array([0.5, 0.7, 1.0, 2.5])
        targets, values = rng.integers(0, 4, 60), rng.uniform(1.0, 9.0, 60)
        optimum = maximize_revenue(epsilons, targets, values, composition=composition).revenue
        lists = ListGrid(epsilons if composition == "additive" else epsilons**2, geometric_grid(1.0, 9.0, 60))
        demand = [
            [(values[targets == k] >= price).sum() for price in part]
            for k, part in enumerate(lists.by_version(lists.prices))
        ]
        table = lists.prices * np.concatenate(demand)
        best = table[lists.best(table)].sum()
        # The ratio of the grid is 9^(1/59).
        assert optimum / 9 ** (1 / 59) <= best <= optimum * (1 + SUM)


def test_prices_that_only_rounding_separates_are_one() -> None:
    # 3 * 0.1 and 0.1 * 3 in floats: the grid's 0.3 and the first price at three times the size.
    lists = ListGrid([0.1, 0.3], [0.1, 0.1 * 3])
    assert len(lists.prices) == 4
    assert lists.prices == pytest.approx([0.1, 0.3, 0.1, 0.3])


def test_a_geometric_grid_keeps_its_ends() -> None:
    for lowest, highest in ((0.1, 0.7), (1 / 3, 1e6), (1e-9, 3.3)):
        grid = geometric_grid(lowest, highest, 7)
        assert (grid[0], grid[-1]) == (lowest, highest)
        assert grid[1:] / grid[:-1] == pytest.approx(np.full(6, (highest / lowest) ** (1 / 6)))


@pytest.mark.parametrize("grid", [[], [0.0, 1.0], [2.0, 1.0], [1.0, 1.0], [1.0, np.inf], [[1.0]]])
def test_a_grid_holds_rising_positive_prices(grid: list[Any]) -> None:
    with pytest.raises(ValueError, match="strictly increasing prices"):
        ListGrid([1.0], grid)


# --- the grid and the options -------------------------------------------------------------------------------------


def test_all_learners_are_tested() -> None:
    assert sorted(name for name, cls in pricing_strategies().items() if not cls.surveys) == LEARNERS


def test_the_grid_grows_with_the_fourth_root_of_the_rounds() -> None:
    assert [default_grid_size(rounds) for rounds in (1, 2, 3, 1000, 5000)] == [5] * 5
    # (T / ln T)^(1/4) is 6.37 at 16,000 rounds and 16.4 at a million.
    assert [default_grid_size(rounds) for rounds in (16_000, 10**6)] == [7, 17]


@pytest.mark.parametrize("name", LEARNERS)
def test_prices_lie_on_the_grid_of_the_range(name: str) -> None:
    for options, grid in ((RANGE, [1.0, 2.0, 4.0, 8.0, 16.0]), (RANGE | {"grid_size": 2}, [1.0, 16.0])):
        strategy = pricing_strategies()[name](**options)
        posted = set()
        for number in range(1, 30):
            prices = strategy.prices(context(np.array([1.0]), number, rounds=30, buyers=1000))
            assert min(abs(price - prices[0]) for price in grid) <= 1e-14 * prices[0]
            posted.add(prices[0])
            values = np.random.default_rng(number).uniform(0, 16, 1000)
            strategy.learn(receipts(prices, np.zeros(1000, dtype=int), values, np.ones(1, dtype=bool)))
        assert len(posted) > 1


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "needs the option 'lowest'; found no options"),
        ({"lowest": 1.0}, "needs the option 'highest'; found lowest"),
        ({"lowest": "1", "highest": 2.0}, "lowest must be a number, found '1'"),
        ({"lowest": 1.0, "highest": True}, "highest must be a number, found True"),
        ({"lowest": 0, "highest": 2}, "0 < lowest < highest, found lowest = 0, highest = 2"),
        ({"lowest": 2.0, "highest": 2.0}, "0 < lowest < highest"),
        ({"lowest": 3.0, "highest": 2.0}, "0 < lowest < highest"),
        ({"lowest": 1.0, "highest": math.inf}, "0 < lowest < highest"),
        ({"lowest": math.nan, "highest": 1.0}, "0 < lowest < highest"),
        ({**RANGE, "grid_size": 1}, "grid_size must be a whole number >= 2, found 1"),
        ({**RANGE, "grid_size": 5.0}, "grid_size must be a whole number >= 2, found 5.0"),
        ({**RANGE, "prices": 5}, "no option 'prices'; it takes lowest, highest, grid_size"),
    ],
)
def test_options_that_are_refused(name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PRICING.create(name, options)


# --- the definitions ----------------------------------------------------------------------------------------------

EPSILONS = np.array([1.0, 1.5, 4.0])


def play(name: str, rounds: int, seed: int, reference: Callable[..., Any]) -> None:
    """Run a learner on random buyers, with a version withdrawn now and then, beside its definition."""
    strategy = pricing_strategies()[name](lowest=1.0, highest=16.0, grid_size=3)
    rng = np.random.default_rng(seed)
    history: list[tuple[np.ndarray, Receipts]] = []
    for number in range(1, rounds + 1):
        buyers = int(rng.integers(5, 60))
        now = context(EPSILONS, number, rounds=rounds, buyers=buyers)
        prices = strategy.prices(now)
        reference(strategy, prices, history, number, rounds)
        targets, values = rng.integers(0, 3, buyers), rng.uniform(0.0, 16.0, buyers)
        sales = receipts(prices, targets, values, rng.random(3) < 0.8)
        strategy.learn(sales)
        history.append((prices, sales))


def statistics(history: list[tuple[np.ndarray, Receipts]], k: int, price: float) -> tuple[int, int]:
    """Buyers who saw a version for sale at a price, and how many of them bought it."""
    shown = [sales for prices, sales in history if prices[k] == price and sales.on_sale[k]]
    return sum(len(sales.versions) for sales in shown), sum(int((sales.versions == k).sum()) for sales in shown)


@pytest.mark.parametrize("seed", range(3))
def test_ucb_posts_the_best_list_for_its_bounds(seed: int) -> None:
    """For sqrt(2 ln t / N) around the share sold, at most 1, and never above the bound at a lower price."""

    def reference(strategy: Any, prices: np.ndarray, history: list[Any], number: int, rounds: int) -> None:
        lists = strategy._lists
        index = []
        for k, part in enumerate(lists.by_version(lists.prices)):
            bound = 1.0
            for price in part:
                seen, sold = statistics(history, k, price)
                if seen:
                    bound = min(bound, sold / seen + math.sqrt(2 * math.log(number) / seen))
                index.append(price * bound)
        every = all_lists(EPSILONS, lists)
        sums = np.array(index)[every].sum(axis=1)
        best = [cells for cells, total in zip(every.tolist(), sums, strict=True) if total >= sums.max() * (1 - 1e-12)]
        assert prices.tolist() == lists.prices[max(best, key=lambda cells: cells[::-1])].tolist()

    play("ucb", 60, seed, reference)


@pytest.mark.parametrize("seed", range(3))
def test_thompson_posts_the_best_list_for_a_draw_of_its_beliefs(seed: int) -> None:
    """Beliefs are Beta(1 + sold, 1 + not sold), drawn once a cell from the round's own stream."""

    def reference(strategy: Any, prices: np.ndarray, history: list[Any], number: int, rounds: int) -> None:
        lists = strategy._lists
        counts = np.array(
            [statistics(history, k, p) for k, part in enumerate(lists.by_version(lists.prices)) for p in part]
        )
        seen, sold = counts.T
        demand = np.random.default_rng(number).beta(1 + sold, 1 + seen - sold)
        every = all_lists(EPSILONS, lists)
        best = every[(lists.prices * demand)[every].sum(axis=1).argmax()]
        assert prices.tolist() == lists.prices[best].tolist()

    play("thompson", 60, seed, reference)


@pytest.mark.parametrize("seed", range(3))
def test_exp3_weighs_lists_by_their_estimated_revenue(seed: int) -> None:
    """The probabilities of prices follow from the weights of all lists: exp(rate * sum of r / q), and exploration."""

    def reference(strategy: Any, prices: np.ndarray, history: list[Any], number: int, rounds: int) -> None:
        lists = strategy._lists
        every, cover = all_lists(EPSILONS, lists), lists.covering()
        explore = min(1.0, math.sqrt(len(cover) * math.log(len(every)) / ((math.e - 1) * rounds)))
        gains, start = np.zeros(len(lists.prices)), lists.bounds[:-1]
        for shares_then, (then, sales) in [*zip(kept, history, strict=True)]:
            for k, price in enumerate(then):
                cell = start[k] + int(np.flatnonzero(lists.by_version(lists.prices)[k] == price)[0])
                gains[cell] += sales.paid[sales.versions == k].sum() / (16.0 * len(sales.paid)) / shares_then[cell]
        weights = np.exp(explore / len(cover) * gains[every].sum(axis=1))
        shares = np.zeros(len(gains))
        for cells, weight in zip(every, weights / weights.sum(), strict=True):
            shares[cells] += (1 - explore) * weight
        for cells in cover:
            shares[cells] += explore / len(cover)
        kept.append(shares)
        np.testing.assert_allclose(strategy._shares, shares, rtol=1e-9)

    kept: list[np.ndarray] = []
    play("exp3", 60, seed, reference)


def test_exp3_posts_prices_as_often_as_it_says() -> None:
    """The probability by which a revenue is divided is that of the price: 4,000 draws of the same round."""
    strategy = pricing_strategies()["exp3"](lowest=1.0, highest=16.0, grid_size=3)
    rng = np.random.default_rng(5)
    strategy.prices(context(EPSILONS, 1, rounds=300))
    strategy._log_weights = rng.uniform(0.0, 2.0, len(strategy._log_weights))
    assert 0.1 < strategy._explore < 0.9
    draws = 4000
    counts = np.zeros(len(strategy._log_weights))
    for _ in range(draws):
        strategy.prices(context(EPSILONS, 2, rounds=300, rng=rng))
        counts[strategy._posted] += 1
    expected = draws * strategy._shares
    # Binomial: five deviations are left once in a million times.
    assert (np.abs(counts - expected) <= 5 * np.sqrt(expected)).all()


def test_ucb_by_hand() -> None:
    """Grid 1, 2, 4, 8, 16 and a hundred buyers: from the top down while a bound of 1 promises more."""
    strategy = pricing_strategies()["ucb"](**RANGE)
    sold = {16.0: 0, 8.0: 50, 4.0: 60}
    posted = []
    for number in range(1, 6):
        price = strategy.prices(context(np.array([1.0]), number))[0]
        posted.append(round(price, 12))
        versions = np.where(np.arange(100) < sold[posted[-1]], 0, -1)
        strategy.learn(Receipts(versions, np.where(versions == 0, price, 0.0), np.ones(1, dtype=bool)))
    # 16 sells to nobody, which bounds its worth by 16 sqrt(2 ln 2 / 100) = 1.9 < 8. Half buy at 8: worth at least
    # 4 with its radius on top, so that 4 itself, worth at most 4, is never tried.
    assert posted == [16.0, 8.0, 8.0, 8.0, 8.0]


@pytest.mark.parametrize("name", ["thompson", "ucb"])
def test_a_withdrawn_version_teaches_nothing(name: str) -> None:
    strategy = pricing_strategies()[name](**RANGE)
    epsilons = np.array([1.0, 2.0])
    strategy.prices(context(epsilons, 1))
    strategy.learn(Receipts(np.full(50, -1), np.zeros(50), np.array([False, True])))
    seen = [part.sum() for part in strategy._lists.by_version(strategy._seen)]
    assert seen == [0.0, 50.0]


@pytest.mark.parametrize("name", LEARNERS)
def test_state_belongs_to_one_market(name: str) -> None:
    """A strategy of one market knows nothing of another's sales."""
    first, second = (pricing_strategies()[name](**RANGE) for _ in range(2))
    before = second.prices(context(EPSILONS, 1))
    for number in range(1, 5):
        prices = first.prices(context(EPSILONS, number))
        first.learn(receipts(prices, np.zeros(50, dtype=int), np.full(50, 3.0), np.ones(3, dtype=bool)))
    assert second.prices(context(EPSILONS, 1)).tolist() == before.tolist()


# --- the market without a survey ----------------------------------------------------------------------------------


def test_nobody_is_asked(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    market = Market(make_config(broker={"pricing": "ucb"}, rounds=3))

    def asked(*args: Any) -> None:
        raise AssertionError("a buyer was asked")

    monkeypatch.setattr(market.buyers, "answer", asked)
    market.run()
    rounds = market.frame("rounds")
    assert rounds["answers"].tolist() == [0, 0, 0]
    assert np.isfinite(market.frame("versions")["price"]).all()


class Watcher(PricingStrategy):
    """Posts given prices without a survey, and keeps what it was told."""

    name = "watcher"
    surveys = False

    def __init__(self, *, lists: list[list[float]]) -> None:
        self.lists = lists
        self.told: list[PricingContext] = []

    def prices(self, context: PricingContext) -> np.ndarray:
        self.told.append(context)
        return np.array(self.lists[context.round - 1])


def watched_market(make_config: MakeConfig, lists: list[list[float]], **broker: Any) -> Market:
    """Six buyers at 10 money for either of two versions, one owner who asks 1 for each use of its shard."""
    return Market(
        make_config(
            rounds=len(lists),
            owners={"count": 1, "value": 1.0, "base_price_pool": 1.0, "privacy_sensitivity": 0.0},
            buyers={
                "count": 6,
                "budget": 40.0,
                "coverage_sensitivity": 0.0,
                "noise_sensitivity": 0.0,
                "epsilon_expected": [1.0, 1.0, 2.0, 2.0, 2.0, 2.0],
            },
            broker={
                "epsilons": [1.0, 2.0],
                "pricing": f"{__name__}:Watcher",
                "pricing_options": {"lists": lists},
                "starting_budget": 7.0,
                "commission": 0.5,
                **broker,
            },
        )
    )


def test_budgets_are_last_rounds_revenue_by_hand(make_config: MakeConfig) -> None:
    """Half of what a version earned, and the starting budget where it earned nothing."""
    market = watched_market(make_config, [[5.0, 8.0], [6.0, 11.0], [5.0, 8.0], [5.0, 8.0]])
    market.run()
    versions = market.frame("versions")
    assert versions["revenue"].to_numpy().reshape(4, 2).tolist() == [[10, 32], [12, 0], [10, 32], [10, 32]]
    assert versions["expected_revenue"].to_numpy().reshape(4, 2).tolist() == [[0, 0], [10, 32], [12, 0], [10, 32]]
    assert versions["budget"].to_numpy().reshape(4, 2).tolist() == [[7, 7], [5, 16], [6, 7], [5, 16]]
    assert versions["on_sale"].all()
    told = market.broker.strategy.told
    assert [(len(c.survey), c.round, c.rounds, c.n_buyers) for c in told] == [(0, t, 4, 6) for t in (1, 2, 3, 4)]


def test_fixed_budgets_need_no_start(make_config: MakeConfig) -> None:
    market = watched_market(make_config, [[5.0, 8.0]] * 2, manufacturing_budget=3.0, starting_budget=None)
    market.run()
    assert (market.frame("versions")["budget"] == 3.0).all()
    assert market.frame("rounds")["expected_revenue"].tolist() == [0.0, 42.0]


def test_a_start_that_buys_nothing_sells_nothing(make_config: MakeConfig) -> None:
    market = watched_market(make_config, [[5.0, 8.0]] * 2, starting_budget=0.5)
    market.run()
    assert not market.frame("versions")["on_sale"].any()
    assert market.broker.last_sales.on_sale.tolist() == [False, False]
    assert (market.frame("rounds")["revenue"] == 0).all()


@pytest.mark.parametrize("name", LEARNERS)
def test_budgets_from_revenue_need_a_start(make_config: MakeConfig, name: str) -> None:
    with pytest.raises(
        ValidationError, match=f"starting_budget is missing; the pricing strategy '{name}' surveys nobody"
    ):
        make_config(broker={"pricing": name, "starting_budget": None})
    with pytest.raises(ValidationError, match="starting_budget"):
        make_config(broker={"pricing": name, "starting_budget": -1.0})
    # A strategy with a survey may be compared with one without.
    assert make_config(broker={"pricing": "median", "starting_budget": 5.0}).broker.starting_budget == 5.0


@pytest.mark.parametrize("name", LEARNERS)
def test_a_scenario_is_told_what_is_missing(name: str) -> None:
    given = [f"broker.pricing={name}"]
    with pytest.raises(InputError, match=f"'{name}' needs the option 'lowest'"):
        load("demo", given)
    given.append("broker.pricing_options={lowest = 5, highest = 300}")
    with pytest.raises(InputError, match="starting_budget is missing"):
        load("demo", given)
    given.append("broker.starting_budget=100")
    assert load("demo", given).broker.pricing_options == {"lowest": 5, "highest": 300}


@pytest.mark.parametrize("pricing", LEARNERS)
@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_every_list_posted_in_a_market_is_free_of_arbitrage(
    make_config: MakeConfig, pricing: str, composition: str
) -> None:
    """And the broker, who checks it, does not stop the run."""
    market = Market(
        make_config(
            rounds=30,
            owners={"base_price_pool": 30.0},
            broker={"pricing": pricing, "composition": composition, "epsilons": [0.5, 0.8, 2.0], "commission": 0.4},
            buyers={"behaviour": "surplus"},
        )
    )
    market.run()
    assert (market.frame("rounds")["arbitrage_available"] == 0).all()
    assert market.frame("rounds")["sales"].sum() > 0


# --- the shared check ---------------------------------------------------------------------------------------------


class GreedyAtLast(PricingStrategy):
    """Charges four times as much for twice the epsilon once it has sold something."""

    name = "greedy_at_last"

    def __init__(self) -> None:
        self.power = 0

    def prices(self, context: PricingContext) -> np.ndarray:
        return (0.1 * context.epsilons) ** self.power

    def learn(self, sales: Receipts) -> None:
        self.power = 2 if sales.bought.any() else 0


class SharedMemory(PricingStrategy):
    """Learns for all markets at once."""

    name = "shared_memory"
    sold: list[int] = []

    def prices(self, context: PricingContext) -> np.ndarray:
        self.sold.append(0)
        return np.full(context.n_versions, 1.0 + len(self.sold))


class NeedsAnswers(PricingStrategy):
    """Says that it surveys nobody, and prices by the answers."""

    name = "needs_answers"
    surveys = False

    def prices(self, context: PricingContext) -> np.ndarray:
        return np.full(context.n_versions, context.survey.values.max(initial=0.0))


@pytest.mark.parametrize(
    ("cls", "message"), [(GreedyAtLast, "admits"), (SharedMemory, "second call"), (NeedsAnswers, "positive")]
)
def test_the_shared_check_catches_what_learning_breaks(cls: type[PricingStrategy], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_pricing_strategy(cls)
