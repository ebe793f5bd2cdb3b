"""Price lists outside the market against the optimiser, brute force and lists worked by hand."""

import itertools
import math

import numpy as np
import pytest

from analysis.price_lists import bundle_in_words, cheapest_covers, in_words, price_survey, summary
from analysis.tables import amount, plain
from simulator.pricing import (
    PricingStrategy,
    Survey,
    find_arbitrage,
    maximize_revenue,
    pricing_strategies,
)

EPSILONS = np.array([1.0, 2.0, 3.0])
WALKTHROUGH = Survey([0, 0, 1, 1, 2, 2], [100, 400, 300, 700, 500, 800])


def priced_by(name, survey=WALKTHROUGH, epsilons=EPSILONS, composition="additive"):
    return price_survey(epsilons, survey, pricing_strategies()[name](), name=name, composition=composition)


def random_survey(seed, n_versions, answers):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, n_versions, answers)
    values = np.round(rng.lognormal(3 + 0.2 * targets, 0.5), 2)
    return Survey(targets, values, rng.integers(1, 5, answers))


# --- prices ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
@pytest.mark.parametrize("seed", range(5))
def test_a_survey_is_priced_as_the_optimiser_prices_it(seed, composition):
    survey, epsilons = random_survey(seed, 4, 30), np.array([0.5, 1.0, 1.7, 3.0])
    priced = priced_by("dpp_plus", survey, epsilons, composition)
    best = maximize_revenue(epsilons, survey.targets, survey.values, weights=survey.weights, composition=composition)
    assert priced.prices.tolist() == best.prices.tolist()
    # Sums of the same terms in another order: 30 of them at most.
    assert priced.revenue == pytest.approx(best.revenue, rel=1e-14)
    assert (priced.bound, priced.optimal) == (best.bound, best.optimal)
    assert priced.arbitrage is None
    for k in range(4):
        buyers = [(v, w) for t, v, w in zip(survey.targets, survey.values, survey.weights, strict=True) if t == k]
        sales = sum(w for v, w in buyers if v >= priced.prices[k])
        assert priced.answers[k] == sum(w for _, w in buyers)
        assert priced.sales[k] == sales
        assert priced.revenues[k] == pytest.approx(sales * priced.prices[k], rel=1e-14)
    assert priced.perfect_revenue == pytest.approx(survey.weights @ survey.values, rel=1e-14)
    assert priced.revenue <= priced.bound <= priced.monopoly_revenue <= priced.perfect_revenue


def test_the_monopoly_list_is_told_with_its_arbitrage():
    priced = priced_by("monopoly")
    # By hand: 400, 700 and twice 500; the third version is cheaper than the second.
    assert priced.prices.tolist() == [400.0, 700.0, 500.0]
    assert priced.revenue == priced.monopoly_revenue == 2100.0
    assert (priced.arbitrage.version, priced.arbitrage.bundle.tolist()) == (1, [0, 0, 1])
    assert not priced.optimal  # it earns the bound, but admits arbitrage
    text = summary(priced)
    assert "100.0% of monopoly revenue (2,100), 75.0% of perfect revenue (2,800)" in text
    assert "The list has arbitrage: 1 of eps 3 costs 500 and covers eps 2, priced 700: saves 200." in text
    assert "No arbitrage-free list earns more than 2,100" in text


def test_personalised_prices_are_no_list():
    priced = priced_by("perfect")
    assert np.isnan(priced.prices).all()
    assert np.isnan(priced.sales).all()
    assert priced.revenue == priced.perfect_revenue == 2800.0
    assert priced.arbitrage is None
    assert not priced.optimal
    assert "No list is posted" in summary(priced)


def test_an_optimal_list_is_said_to_be_one():
    priced = priced_by("dpp_plus", Survey([0, 1], [5.0, 8.0]), np.array([1.0, 2.0]))
    assert priced.optimal
    assert "No arbitrage-free list earns more on these answers." in summary(priced)


class Failing(PricingStrategy):
    """Fails or answers as it is told."""

    name = "failing"

    def __init__(self, outcome):
        self.outcome = outcome

    def prices(self, context):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_arbitrage_goes_by_the_composition():
    prices = [5.0, 12.0, 14.0]  # two of the first cover the second by the sum of epsilons, four by their squares
    own = Failing(prices)
    with pytest.raises(ValueError, match=r"claims arbitrage-free lists, but in .* undercuts version 1 by 2"):
        price_survey(EPSILONS, WALKTHROUGH, own, name="own")
    own.arbitrage_free = False
    found = price_survey(EPSILONS, WALKTHROUGH, own, name="own").arbitrage
    assert (found.version, found.bundle.tolist(), found.saving) == (1, [2, 0, 0], 2.0)
    assert price_survey(EPSILONS, WALKTHROUGH, own, name="own", composition="quadratic").arbitrage is None


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (
            ValueError("a market is needed"),
            "'mine:Failing' cannot price a survey outside the market: returned no list of prices: a market is needed",
        ),
        (AttributeError("no sales"), "outside the market: AttributeError: no sales"),
        ([1.0, 2.0], r"returned prices of shape \(2,\); allowed is one price a version"),
        ([1.0, 0.0, 2.0], "allowed are positive, finite prices"),
        ([1.0, np.nan, 2.0], "allowed are positive, finite prices"),
    ],
)
def test_a_strategy_that_cannot_price_a_survey_alone_is_refused(outcome, message):
    with pytest.raises(ValueError, match=message):
        price_survey(EPSILONS, WALKTHROUGH, Failing(outcome), name="mine:Failing")


# --- covers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_covers_are_the_cheapest_of_all_bundles(composition):
    rng = np.random.default_rng(4)
    undercut = 0
    for case in range(60):
        epsilons = np.sort(rng.choice([1.0, 1.5, 2.0, 2.5, 3.0, 4.0], 3, replace=False))
        prices = rng.integers(1, 12, 3).astype(float)
        if case % 2:  # a line from the origin, which no bundle undercuts, with one price off it
            prices = 2 * (epsilons if composition == "additive" else epsilons**2)
            prices[case // 2 % 3] -= rng.integers(2)
        x = epsilons if composition == "additive" else epsilons**2
        covers = cheapest_covers(epsilons, prices, composition=composition)
        for k, cover in enumerate(covers):
            counts = range(math.ceil(x[k] / x[0]) + 1)
            costs = [np.dot(b, prices) for b in itertools.product(counts, repeat=3) if np.dot(b, x) >= x[k] - 1e-9]
            assert (cover.version, cover.cost, cover.saving) == (k, min(costs), prices[k] - min(costs))
            assert cover.bundle @ prices == cover.cost
            assert cover.bundle @ x >= x[k] - 1e-9
        savings = [cover.saving for cover in covers]
        found = find_arbitrage(epsilons, prices, composition=composition)
        assert max(savings) == (0.0 if found is None else found.saving)
        undercut += found is not None
    assert 10 < undercut < 55  # the cases hold lists of both sorts


def test_arbitrage_in_words():
    epsilons, prices = np.array([1.0, 2.5, 4.5]), np.array([3.0, 6.3, 15.0])
    words = "The list has arbitrage: 2 of eps 1 + 1 of eps 2.5 cost 12.3 and cover eps 4.5, priced 15: saves 2.7."
    assert in_words(find_arbitrage(epsilons, prices), epsilons, prices) == words
    assert bundle_in_words(np.array([0, 3, 0]), epsilons) == "3 of eps 2.5"
    assert in_words(None, epsilons, prices).startswith("The list is arbitrage-free")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.3, "12.3"), (15.0, "15"), (14.999999999, "15"), (0.1 + 0.2, "0.3"), (1234567.891, "1,234,568"),
        (1200.0, "1,200"), (0.0, "0"), (1e-9, "1e-09"), (1e20, "1e+20"), (math.nan, "-"),
    ],
)  # fmt: skip
def test_amounts_keep_six_digits(value, text):
    assert amount(value) == text


def test_results_become_plain_json_types():
    result = plain(priced_by("monopoly"))
    assert result["prices"] == [400.0, 700.0, 500.0]
    assert result["arbitrage"] == {"version": 1, "bundle": [0, 0, 1], "cost": 500.0, "saving": 200.0}
    assert plain((np.nan, np.inf, np.int64(3), np.array([True]))) == [None, None, 3, [True]]
