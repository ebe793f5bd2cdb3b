"""Revenue maximisation against brute force, its bound and lift, the strategies built on it, and bad input."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.checks import check_pricing_strategy
from simulator.pricing import (
    Demand,
    PricingContext,
    PricingStrategy,
    Survey,
    find_arbitrage,
    greatest_feasible,
    maximize_revenue,
    pricing_strategies,
)
from simulator.pricing.programme import window_maxima

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=150)

#: Relative tolerance at which the optimiser compares prices and revenues (the model's own figure).
SAME = 1e-12
#: Revenues of two optimal lists: a few comparisons at `SAME`, one a version, may add up.
REVENUE = 1e-11
#: Feasibility of a returned list: the figure from which a saving counts as arbitrage.
FEASIBLE = 1e-9

EPSILON_GRIDS = {
    "even": np.arange(1.0, 7.0),
    "tenths": np.arange(1, 7) * 0.1,  # 3 * 0.1 is not 0.3
    "doubling": 2.0 ** np.arange(-1, 5),
    "decades": 10.0 ** np.arange(-2, 4),
    "near_equal": 1.0 + 1e-6 * np.arange(6),
    "equal_but_for_rounding": 1.0 + 1e-13 * np.arange(6),
    "pairs": np.array([1.0, 1.0 + 1e-9, 3.0, 3.0 + 1e-9, 7.0, 7.0 + 1e-9]),
    "thirds": np.array([1.0, 4.0 / 3.0, 5.0 / 3.0, 7.0 / 3.0, 3.0, 11.0 / 3.0]),
}


def size_of(epsilons, composition):
    return epsilons if composition == "additive" else epsilons * epsilons


def revenue_of(prices, targets, values, weights=None):
    """What a list earns, from scratch, prices and answers compared exactly."""
    weights = np.ones(len(values)) if weights is None else weights
    return math.fsum(
        weight * prices[target]
        for target, value, weight in zip(targets, values, weights, strict=True)
        if value >= prices[target]
    )


def is_feasible(x, prices, tolerance):
    """Whether prices rise and prices per size fall, along the last axis."""
    unit = prices / x
    rising = prices[..., 1:] >= prices[..., :-1] * (1 - tolerance)
    falling = unit[..., 1:] <= unit[..., :-1] * (1 + tolerance)
    return (rising & falling).all(axis=-1)


def brute_force(x, targets, values, weights=None):
    """All feasible lists of the complete price space, and their revenues.

    Candidates of version k by the definition: an answer for k or a dearer version as it is, an answer for a
    cheaper version scaled by the ratio of sizes.
    """
    weights = np.ones(len(values)) if weights is None else weights
    candidates = [np.unique(np.where(targets < k, values * x[k] / x[targets], values)) for k in range(len(x))]
    lists = np.stack(np.meshgrid(*candidates, indexing="ij"), axis=-1).reshape(-1, len(x))
    lists = lists[is_feasible(x, lists, SAME)]
    asked = lists[:, targets]
    return lists, (weights * asked * (values >= asked * (1 - SAME))).sum(axis=1)


def random_survey(rng, most_versions=4, most_answers=6):
    """Epsilons, targets, values, weights: with ties, gaps, repeated answers and versions nobody asks for."""
    n_versions = int(rng.integers(1, most_versions + 1))
    if rng.random() < 0.3:
        epsilons = np.cumsum(rng.uniform(0.05, 2.0, n_versions))
    else:
        grid = EPSILON_GRIDS[rng.choice(list(EPSILON_GRIDS))]
        epsilons = np.sort(rng.choice(grid, n_versions, replace=False))
    answers = int(rng.integers(1, most_answers + 1))
    asked_for = rng.choice(n_versions, int(rng.integers(1, n_versions + 1)), replace=False)
    targets = rng.choice(asked_for, answers)
    kind = rng.integers(4)
    if kind == 0:
        values = rng.integers(1, 5, answers).astype(float)
    elif kind == 1:
        values = rng.integers(1, 1000, answers).astype(float)
    elif kind == 2:
        values = rng.lognormal(3.0, 1.5, answers)
    else:
        values = rng.choice(rng.uniform(0.1, 10.0, 3), answers)
    weights = (None, rng.integers(1, 4, answers).astype(float), rng.uniform(0.1, 3.0, answers))[rng.integers(3)]
    return epsilons, targets, values, weights


# --- the optimum -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
@pytest.mark.parametrize("seed", range(5))
def test_equals_brute_force_over_the_complete_price_space(seed, composition):
    rng = np.random.default_rng([seed, len(composition)])
    for _ in range(1000):
        epsilons, targets, values, weights = random_survey(rng)
        x = size_of(epsilons, composition)
        result = maximize_revenue(epsilons, targets, values, weights=weights, composition=composition)
        _, revenues = brute_force(x, targets, values, weights)
        shown = f"{epsilons.tolist()}, {targets.tolist()}, {values.tolist()}, {weights}: {result}"
        assert result.revenue == pytest.approx(revenues.max(), rel=REVENUE), shown
        assert result.prices.shape == x.shape, shown
        assert (np.isfinite(result.prices) & (result.prices > 0)).all(), shown
        assert is_feasible(x, result.prices, FEASIBLE), shown
        # Only the order of summation may differ: at most 6 terms.
        assert result.revenue == pytest.approx(revenue_of(result.prices, targets, values, weights), rel=1e-14), shown


@pytest.mark.parametrize("seed", range(3))
def test_of_equal_lists_the_one_dearest_from_the_top_is_returned(seed):
    """The documented tie rule."""
    rng = np.random.default_rng([seed, 7])
    ties = 0
    for _ in range(400):
        epsilons, targets, values, weights = random_survey(rng)
        result = maximize_revenue(epsilons, targets, values, weights=weights)
        lists, revenues = brute_force(epsilons, targets, values, weights)
        best = lists[revenues >= revenues.max() * (1 - SAME)]
        for k in range(len(epsilons) - 1, -1, -1):
            best = best[best[:, k] >= best[:, k].max() * (1 - SAME)]
        ties += (revenues >= revenues.max() * (1 - SAME)).sum() > 1
        assert result.prices == pytest.approx(best[0], rel=FEASIBLE), f"{epsilons}, {targets}, {values}, {weights}"
    assert ties > 30  # the cases do put the rule to the test


def test_walk_through_of_the_paper():
    result = maximize_revenue([1, 2, 3], [0, 0, 1, 1, 2, 2], [100, 400, 300, 700, 500, 800])
    assert result.revenue == 1900.0
    assert result.prices.tolist() == [400.0, 700.0, 800.0]


def test_monopoly_prices_that_are_infeasible_are_not_returned():
    """Maximising each row alone, as the published demo does, posts (5, 3) here."""
    result = maximize_revenue([1, 2], [0, 1], [5, 3])
    assert is_feasible(np.array([1.0, 2.0]), result.prices, 0.0)
    # (5, 5) sells to the first alone, (3, 3) to both: 6 is the best of both.
    assert result.prices.tolist() == [3.0, 3.0]
    assert result.revenue == 6.0


def test_one_version_is_the_monopoly_price():
    values = np.array([1.0, 2.0, 3.0, 4.0, 10.0])
    # p * (answers >= p): 5, 8, 9, 8, 10.
    result = maximize_revenue([0.7], np.zeros(5, dtype=int), values)
    assert (result.prices.tolist(), result.revenue) == ([10.0], 10.0)
    assert result.optimal


def test_uniform_values_give_the_textbook_monopoly():
    """Values on a fine grid of (0, 1]: price 1/2 and revenue 1/4 a buyer, to the grid's step."""
    n = 1000
    result = maximize_revenue([1.0], np.zeros(n, dtype=int), np.arange(1, n + 1) / n)
    assert result.prices[0] == pytest.approx(0.5, abs=1.5 / n)
    assert result.revenue / n == pytest.approx(0.25, abs=1.5 / n)


def test_versions_nobody_asked_for_get_a_feasible_price():
    result = maximize_revenue([1, 2, 4, 8], [1, 1], [6.0, 6.0])
    assert result.revenue == 12.0
    # The dearest list that sells version 1 at 6: version 0 may cost as much, above prices grow with epsilon.
    assert result.prices.tolist() == [6.0, 6.0, 12.0, 24.0]


def test_rounding_does_not_lose_the_marginal_buyer():
    """An answer of 3v for the version three times as large is served at 3 times the price of v."""
    lost = 0
    for v in np.arange(1, 400) / 10:
        result = maximize_revenue([0.1, 0.3], [0, 1], [v, 3 * v])
        lost += result.revenue < (v + 3 * v) * (1 - 1e-15)
        assert result.revenue == revenue_of(result.prices, [0, 1], [v, 3 * v])
    assert lost == 0


def test_weights_stand_for_repeated_answers():
    rng = np.random.default_rng(11)
    for _ in range(200):
        epsilons, targets, values, _ = random_survey(rng)
        counts = rng.integers(1, 5, len(values))
        weighted = maximize_revenue(epsilons, targets, values, weights=counts)
        repeated = maximize_revenue(epsilons, np.repeat(targets, counts), np.repeat(values, counts))
        assert weighted.revenue == pytest.approx(repeated.revenue, rel=1e-14)  # order of summation
        assert weighted.prices.tolist() == repeated.prices.tolist()


def test_order_of_the_answers_does_not_matter():
    rng = np.random.default_rng(12)
    for _ in range(200):
        epsilons, targets, values, _ = random_survey(rng)
        order = rng.permutation(len(values))
        one = maximize_revenue(epsilons, targets, values)
        other = maximize_revenue(epsilons, targets[order], values[order])
        assert one.prices.tolist() == other.prices.tolist()


def test_survey_space_is_the_best_feasible_list_of_answers_alone():
    rng = np.random.default_rng(13)
    infeasible = 0
    for _ in range(600):
        epsilons, targets, values, weights = random_survey(rng)
        asked = np.unique(targets)
        lists = np.array(list(itertools.product(*(np.unique(values[targets == k]) for k in asked))))
        lists = lists[is_feasible(epsilons[asked], lists, SAME)]
        if len(lists) == 0:
            infeasible += 1
            with pytest.raises(ValueError, match="feasible"):
                maximize_revenue(epsilons, targets, values, weights=weights, space="survey")
            continue
        result = maximize_revenue(epsilons, targets, values, weights=weights, space="survey")
        position = np.searchsorted(asked, targets)
        best = max(revenue_of(prices, position, values, weights) for prices in lists)
        assert result.revenue == pytest.approx(best, rel=REVENUE)
        assert is_feasible(epsilons, result.prices, FEASIBLE)
    assert 0 < infeasible < 600


# --- bounds ----------------------------------------------------------------------------------------------


def covers(x, needed):
    """Every bundle of versions, none larger than it could usefully be, that covers `needed`: shape (b, l)."""
    most = [math.ceil(needed / size * (1 - SAME)) for size in x]
    bundles = np.stack(np.meshgrid(*(np.arange(most_k + 1) for most_k in most), indexing="ij"), axis=-1)
    bundles = bundles.reshape(-1, len(x))
    return bundles[bundles @ x >= needed * (1 - SAME)]


def best_arbitrage_free_revenue(x, targets, values, weights=None):
    """The true optimum, relaxed by nothing, by enumeration.

    For the optimal list let u_k be the smallest answer for k that it serves (none: no cap). The greatest
    arbitrage-free list under the caps u, the cheapest covers at prices u, sells to the same buyers at
    prices no lower: so it is enough to try every u.
    """
    none = 1e200
    caps = [[*np.unique(values[targets == k]), none] for k in range(len(x))]
    caps = np.array(list(itertools.product(*caps)))[:-1]  # the last one caps nothing
    lists = np.column_stack([(covers(x, x[k]) @ caps.T).min(axis=0) for k in range(len(x))])
    lists = np.minimum(lists, caps)
    asked = lists[:, targets]
    weights = np.ones(len(values)) if weights is None else weights
    return (weights * np.where(values >= asked, asked, 0.0)).sum(axis=1).max()


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_no_arbitrage_free_list_earns_more_than_the_bound(composition):
    rng = np.random.default_rng(len(composition))
    gained = tight = 0
    for _ in range(400):
        n_versions = int(rng.integers(1, 4))
        epsilons = np.cumsum(rng.uniform(0.3, 1.0, n_versions))
        answers = int(rng.integers(1, 7))
        targets = rng.integers(0, n_versions, answers)
        values = rng.integers(1, 30, answers).astype(float)
        x = size_of(epsilons, composition)
        true = best_arbitrage_free_revenue(x, targets, values)
        result = maximize_revenue(epsilons, targets, values, composition=composition)
        lifted = maximize_revenue(epsilons, targets, values, composition=composition, lift=True)
        assert result.revenue <= true * (1 + REVENUE)
        assert true <= result.bound * (1 + REVENUE)
        assert lifted.revenue <= true * (1 + REVENUE)
        assert true <= lifted.bound * (1 + REVENUE)
        for pricing in (result, lifted):
            if pricing.optimal:
                assert pricing.revenue == pytest.approx(true, rel=REVENUE)
        gained += true > result.revenue * (1 + 1e-6)
        tight += result.optimal
    # The relaxation does lose something here, and the bound does certify some lists.
    assert gained > 5
    assert tight > 5


# 1.1 * 7 / 1.1 is more than 7 in floats.
@pytest.mark.parametrize("epsilons", [[1.0, 2.0, 4.0], [0.1, 0.2, 0.6], [0.5, 1.5, 4.5], [1.1, 1.1 * 7]])
def test_relaxation_loses_nothing_where_ratios_are_whole(epsilons):
    rng = np.random.default_rng(len(epsilons))
    x = np.array(epsilons)
    for _ in range(100):
        targets = rng.integers(0, len(x), 6)
        values = rng.integers(1, 30, 6).astype(float)
        result = maximize_revenue(x, targets, values)
        assert result.revenue == pytest.approx(best_arbitrage_free_revenue(x, targets, values), rel=REVENUE)
        assert result.bound == pytest.approx(result.revenue, rel=SAME)
        assert result.optimal


def test_bound_is_the_smaller_of_monopoly_and_the_relaxation_factor():
    # Versions 2 and 3: two copies of the first cover the second, an overshoot of 2 / 1.5.
    result = maximize_revenue([2, 3], [0, 1, 1], [10.0, 20.0, 2.0])
    # Best relaxed list: 10 and 15, the cheap answer is not worth serving.
    assert result.revenue == 25.0
    assert result.bound == pytest.approx(min(10 + 20, 25 * (1 + math.log(4 / 3))), rel=1e-12)
    assert not result.optimal


# --- lift ------------------------------------------------------------------------------------------------


def test_lift_of_a_list_worked_by_hand():
    """Two copies at 10 cover the larger version, so 20 admits no arbitrage although 15 is the relaxed limit."""
    result = maximize_revenue([2, 3], [0, 1], [10.0, 20.0], lift=True)
    assert result.prices.tolist() == [10.0, 20.0]
    assert result.revenue == 30.0
    assert result.optimal


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_lift_sells_to_the_same_buyers_at_prices_no_lower(composition):
    rng = np.random.default_rng([1, len(composition)])
    raised = 0
    for _ in range(600):
        epsilons, targets, values, weights = random_survey(rng, most_versions=5, most_answers=12)
        flat = maximize_revenue(epsilons, targets, values, weights=weights, composition=composition)
        lifted = maximize_revenue(epsilons, targets, values, weights=weights, composition=composition, lift=True)
        # A lifted price is a sum of answers where the other is an answer scaled: equal ones differ by rounding.
        assert (lifted.prices >= flat.prices * (1 - REVENUE)).all()
        assert lifted.revenue >= flat.revenue * (1 - REVENUE)
        assert lifted.revenue == pytest.approx(revenue_of(lifted.prices, targets, values, weights), rel=1e-14)
        assert np.array_equal(values >= lifted.prices[targets], values >= flat.prices[targets])
        assert find_arbitrage(epsilons, lifted.prices, composition=composition) is None
        assert lifted.revenue <= lifted.bound * (1 + SAME)
        raised += lifted.revenue > flat.revenue * (1 + 1e-6)
    assert raised > 5


def test_lift_is_the_greatest_arbitrage_free_list_that_sells_to_the_same_buyers():
    """Prices are the cheapest covers at the smallest answers served, by enumeration of the bundles."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        x = np.sort(rng.choice(np.arange(1, 9), 3, replace=False)).astype(float)
        targets, values = rng.integers(0, 3, 7), rng.integers(1, 40, 7).astype(float)
        flat = maximize_revenue(x, targets, values)
        served = values >= flat.prices[targets]
        caps = np.array([min(values[served & (targets == k)], default=1e200) for k in range(3)])
        expected = [min(caps[k], (covers(x, x[k]) @ caps).min()) for k in range(3)]
        lifted = maximize_revenue(x, targets, values, lift=True)
        # Whole numbers: sums are exact.
        assert lifted.prices.tolist() == expected


# --- properties on adversarial shapes --------------------------------------------------------------------

magnitudes = st.integers(-9, 9).flatmap(lambda e: st.floats(1.0, 9.99).map(lambda f: f * 10.0**e))


@st.composite
def extreme_surveys(draw, most_versions=4, most_answers=6):
    """Answers over 18 orders of magnitude, all equal, or few of many; one version or one answer among them."""
    n_versions = draw(st.integers(1, most_versions))
    steps = draw(st.lists(st.sampled_from([1e-6, 1e-3, 0.5, 1.0, 1e2]), min_size=n_versions, max_size=n_versions))
    epsilons = np.cumsum(steps)
    pool = draw(st.lists(magnitudes, min_size=1, max_size=3))
    answers = draw(st.integers(1, most_answers))
    targets = draw(st.lists(st.integers(0, n_versions - 1), min_size=answers, max_size=answers))
    values = draw(st.lists(st.one_of(st.sampled_from(pool), magnitudes), min_size=answers, max_size=answers))
    return epsilons, np.array(targets), np.array(values)


@PROPERTY
@given(extreme_surveys(), st.sampled_from(["additive", "quadratic"]))
def test_extreme_answers_are_priced_as_brute_force_prices_them(survey, composition):
    epsilons, targets, values = survey
    x = size_of(epsilons, composition)
    result = maximize_revenue(epsilons, targets, values, composition=composition)
    _, revenues = brute_force(x, targets, values)
    assert result.revenue == pytest.approx(revenues.max(), rel=REVENUE)
    assert result.revenue == pytest.approx(revenue_of(result.prices, targets, values), rel=1e-14)
    assert is_feasible(x, result.prices, FEASIBLE)


@PROPERTY
@given(extreme_surveys(most_versions=8, most_answers=40))
def test_unit_of_money_and_of_epsilon_do_not_matter(survey):
    epsilons, targets, values = survey
    result = maximize_revenue(epsilons, targets, values)
    # Powers of two: every product is exact.
    dearer = maximize_revenue(epsilons, targets, 4.0 * values)
    assert dearer.prices.tolist() == (4.0 * result.prices).tolist()
    assert dearer.revenue == 4.0 * result.revenue
    scaled = maximize_revenue(0.25 * epsilons, targets, values)
    assert scaled.prices.tolist() == result.prices.tolist()


@PROPERTY
@given(extreme_surveys(most_versions=6, most_answers=20))
def test_one_more_answer_never_lowers_revenue(survey):
    epsilons, targets, values = survey
    with_all = maximize_revenue(epsilons, targets, values).revenue
    if len(values) > 1:
        assert maximize_revenue(epsilons, targets[1:], values[1:]).revenue <= with_all * (1 + REVENUE)


@PROPERTY
@given(st.integers(1, 6), st.integers(1, 30), magnitudes)
def test_equal_answers_are_all_served(n_versions, answers, value):
    targets = np.arange(answers) % n_versions
    result = maximize_revenue(np.arange(1.0, n_versions + 1), targets, np.full(answers, value))
    # Everybody pays at most what it stated, and the constant list gets just that.
    assert result.revenue == pytest.approx(answers * value, rel=1e-14)


@PROPERTY
@given(extreme_surveys(most_answers=1), st.booleans())
def test_one_answer_is_charged_in_full(survey, lift):
    epsilons, targets, values = survey
    assert maximize_revenue(epsilons, targets, values, lift=lift).revenue == values[0]


@PROPERTY
@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(-np.inf), min_size=1, max_size=25),
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), max_size=25),
)
def test_window_maxima_equal_naive_maxima(values, ends):
    values = np.array(values)
    low = np.sort(np.minimum([end[0] for end in ends], len(values))).astype(int)
    high = np.maximum(np.sort(np.minimum([end[1] for end in ends], len(values))), low).astype(int)
    high = np.maximum.accumulate(high)
    expected = [max(values[a:b], default=-np.inf) for a, b in zip(low, high, strict=True)]
    assert window_maxima(values, low, high).tolist() == expected


def test_greatest_feasible_is_feasible_and_greatest():
    rng = np.random.default_rng(5)
    for _ in range(300):
        x = np.cumsum(rng.uniform(0.1, 1.0, 4))
        caps = np.where(rng.random(4) < 0.3, np.inf, rng.uniform(1.0, 10.0, 4))
        caps[rng.integers(4)] = 5.0
        greatest = greatest_feasible(x, caps)
        assert (greatest <= caps).all()
        assert is_feasible(x, greatest, SAME)
        # Any other feasible list below the caps, here a random one scaled until it touches them, lies below.
        slope = np.minimum.accumulate(rng.uniform(0.1, 1.0, 4))
        other = np.minimum(np.maximum.accumulate(slope * x), slope[0] * x)
        if is_feasible(x, other, 0.0):
            assert (other * (caps / other).min() <= greatest * (1 + SAME)).all()


# --- bad input -------------------------------------------------------------------------------------------

GOOD = {"epsilons": [1.0, 2.0], "targets": [0, 1], "values": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"values": [1.0, np.nan]}, "values"),
        ({"values": [1.0, np.inf]}, "values"),
        ({"values": [1.0, -2.0]}, "values"),
        ({"values": [1.0, 0.0]}, "values"),
        ({"values": [1.0]}, "values"),
        ({"values": [[1.0, 2.0]], "targets": [[0, 1]]}, "values"),
        ({"values": 5.0, "targets": 0}, "values"),
        ({"targets": [], "values": []}, "values"),
        ({"targets": [0]}, "targets"),
        ({"targets": [0, 2]}, "targets"),
        ({"targets": [-1, 0]}, "targets"),
        ({"targets": [0.0, 1.0]}, "targets"),
        ({"targets": [False, True]}, "targets"),
        ({"epsilons": [2.0, 1.0]}, "epsilons"),
        ({"epsilons": [1.0, 1.0]}, "epsilons"),
        ({"epsilons": [0.0, 1.0]}, "epsilons"),
        ({"epsilons": [-1.0, 1.0]}, "epsilons"),
        ({"epsilons": [1.0, np.inf]}, "epsilons"),
        ({"epsilons": [np.nan, 1.0]}, "epsilons"),
        ({"epsilons": []}, "epsilons"),
        ({"epsilons": [[1.0, 2.0]]}, "epsilons"),
        ({"weights": [1.0]}, "weights"),
        ({"weights": [1.0, 0.0]}, "weights"),
        ({"weights": [1.0, -1.0]}, "weights"),
        ({"weights": [1.0, np.nan]}, "weights"),
        ({"composition": "cubic"}, "composition"),
        ({"space": "all"}, "space"),
    ],
)
def test_bad_input_is_refused_by_name(change, named):
    with pytest.raises(ValueError, match=named):
        maximize_revenue(**{**GOOD, **change})


def test_input_arrays_are_left_as_they_were():
    epsilons, targets, values = np.array([1.0, 2.0]), np.array([1, 0]), np.array([5.0, 3.0])
    maximize_revenue(epsilons, targets, values, lift=True)
    assert (epsilons.tolist(), targets.tolist(), values.tolist()) == ([1.0, 2.0], [1, 0], [5.0, 3.0])


# --- survey and demand -----------------------------------------------------------------------------------


def test_demand_counts_answers_at_or_above_a_price():
    demand = Demand(np.array([3.0, 1.0, 3.0, 2.0]), np.array([1.0, 2.0, 0.5, 4.0]))
    assert demand(np.array([0.5, 1.0, 1.5, 2.0, 3.0, 3.1])).tolist() == [7.5, 7.5, 5.5, 5.5, 1.5, 0.0]
    # 1 * 7.5, 2 * 5.5, 3 * 1.5.
    assert demand.monopoly() == (2.0, 11.0)
    assert Demand(np.empty(0), np.empty(0)).monopoly() == (np.inf, 0.0)


def test_a_price_snaps_down_to_an_answer_that_only_rounding_separates():
    demand = Demand(np.array([1.0, 3.0]), np.ones(2))
    assert demand.snap(3.0 * (1 + 1e-15)) == 3.0
    assert demand.snap(3.0 * (1 + 1e-9)) == 3.0 * (1 + 1e-9)
    assert demand.snap(2.0) == 2.0


def test_survey_revenue_by_version():
    survey = Survey([0, 0, 2], [4.0, 5.0, 7.0], [1.0, 2.0, 3.0])
    assert survey.revenue(np.array([5.0, 1.0, 6.0])).tolist() == [10.0, 0.0, 18.0]
    assert survey.revenue(np.array([5.0, np.inf, np.inf])).tolist() == [10.0, 0.0, 0.0]


# --- strategies ------------------------------------------------------------------------------------------


def context(survey, epsilons, composition="additive"):
    return PricingContext(
        survey=survey,
        epsilons=np.asarray(epsilons, dtype=float),
        composition=composition,
        n_buyers=len(survey),
        round=1,
        rounds=1,
        last_purchases=None,
        last_sales=None,
        rng=np.random.default_rng(0),
    )


def expected(name, ctx, **options):
    """Prices of a strategy and the revenue it expects of the survey."""
    strategy = pricing_strategies()[name](**options)
    prices = strategy.prices(ctx)
    return prices, strategy.expected_revenue(ctx.survey, prices).sum()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", pricing_strategies())
def test_every_strategy_passes_the_shared_check(name, seed):
    check_pricing_strategy(pricing_strategies()[name], seed=seed)


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_revenue_chain_on_one_survey(composition):
    """Discrimination earns most, then monopoly, then the relaxed optimum, then any list feasible for it."""
    rng = np.random.default_rng(len(composition))
    compared = 0
    for _ in range(300):
        epsilons, targets, values, weights = random_survey(rng, most_versions=6, most_answers=20)
        ctx = context(Survey(targets, values, weights), epsilons, composition)
        x = size_of(epsilons, composition)
        _, perfect = expected("perfect", ctx)
        _, monopoly = expected("monopoly", ctx)
        prices, relaxed = expected("dpp_plus", ctx)
        assert perfect == pytest.approx((ctx.survey.weights * values).sum(), rel=1e-14)
        assert perfect >= monopoly * (1 - REVENUE)
        assert monopoly >= relaxed * (1 - REVENUE)
        assert find_arbitrage(epsilons, prices, composition=composition) is None
        for name in ("low", "median", "high", "linear", "uniform"):
            prices, revenue = expected(name, ctx)
            assert find_arbitrage(epsilons, prices, composition=composition) is None
            if is_feasible(x, prices, SAME):
                compared += 1
                assert revenue <= relaxed * (1 + REVENUE), name
        prices = greatest_feasible(x, rng.choice(values, len(x)))
        assert ctx.survey.revenue(prices).sum() <= relaxed * (1 + REVENUE)
    assert compared > 1000


def test_constant_baselines_post_the_answer_they_are_named_after():
    ctx = context(Survey([0, 1, 2, 2], [4.0, 2.0, 9.0, 6.0]), [1, 2, 3])
    assert expected("low", ctx)[0].tolist() == [2.0, 2.0, 2.0]
    assert expected("median", ctx)[0].tolist() == [5.0, 5.0, 5.0]
    assert expected("high", ctx)[0].tolist() == [9.0, 9.0, 9.0]
    # 2 * 4, 4 * 3, 6 * 2, 9 * 1: of the two best prices the higher.
    assert expected("uniform", ctx)[0].tolist() == [6.0, 6.0, 6.0]


def test_uniform_beats_every_other_constant_list():
    rng = np.random.default_rng(8)
    for _ in range(200):
        epsilons, targets, values, weights = random_survey(rng, most_answers=15)
        ctx = context(Survey(targets, values, weights), epsilons)
        best = max(revenue_of(np.full(len(epsilons), p), targets, values, weights) for p in values)
        assert expected("uniform", ctx)[1] == pytest.approx(best, rel=REVENUE)


def test_linear_is_the_line_repaired_unless_the_raw_list_is_asked_for():
    ctx = context(Survey([0, 1, 2], [1.0, 5.0, 9.0]), [1, 2, 3])
    raw = pricing_strategies()["linear"](raw=True)
    assert raw.prices(ctx).tolist() == [1.0, 5.0, 9.0]
    assert not raw.arbitrage_free
    # Two and three copies of the first version undercut the line.
    assert expected("linear", ctx)[0].tolist() == [1.0, 2.0, 3.0]
    assert expected("linear", context(Survey([0, 0], [3.0, 2.0]), [1.0]))[0].tolist() == [2.0]


def test_monopoly_is_the_best_price_of_each_version_alone():
    rng = np.random.default_rng(9)
    for _ in range(200):
        epsilons, targets, values, weights = random_survey(rng, most_answers=15)
        ctx = context(Survey(targets, values, weights), epsilons)
        best = sum(
            max(
                revenue_of(
                    [p], np.zeros(sum(targets == k), dtype=int), values[targets == k], ctx.survey.weights[targets == k]
                )
                for p in values[targets == k]
            )
            for k in np.unique(targets)
        )
        assert expected("monopoly", ctx)[1] == pytest.approx(best, rel=REVENUE)


class _Broken(PricingStrategy):
    """A strategy that breaks a rule."""

    name = "broken"


class _WrongShape(_Broken):
    """One price too many."""

    def prices(self, context):
        return np.ones(context.n_versions + 1)


class _NotPositive(_Broken):
    """Gives its models away."""

    def prices(self, context):
        return np.zeros(context.n_versions)


class _NotFinite(_Broken):
    """Has no price."""

    def prices(self, context):
        return np.full(context.n_versions, np.nan)


class _Convex(_Broken):
    """Twice the epsilon costs four times as much."""

    def prices(self, context):
        return context.epsilons**2


class _Restless(_Broken):
    """Draws from a generator that nobody seeded."""

    generator = np.random.default_rng(0)

    def prices(self, context):
        return np.full(context.n_versions, self.generator.random() + 1.0)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (_WrongShape, "one price a version"),
        (_NotPositive, "positive"),
        (_NotFinite, "positive"),
        (_Convex, "admits"),
        (_Restless, "second call"),
    ],
)
def test_the_shared_check_catches_broken_strategies(cls, message):
    with pytest.raises(AssertionError, match=message):
        check_pricing_strategy(cls)
