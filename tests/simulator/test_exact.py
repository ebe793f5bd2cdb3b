"""Exact revenue maximisation against two independent oracles, what theory says of it, limits and bad input."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from simulator.pricing import (
    PricingContext,
    Survey,
    find_arbitrage,
    lift_revenue,
    maximize_revenue,
    maximize_revenue_exact,
    pricing_strategies,
)
from simulator.pricing.exact import Exact, _Search
from simulator.pricing.revenue import relaxation_factor
from simulator.pricing.thresholds import Thresholds

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=50)

#: Sizes are compared at this relative tolerance (the model's own figure).
SAME = 1e-12
#: Relative gap at which a list counts as proven optimal (the optimiser's own figure).
PROVEN = 1e-9


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


def lists_by_thresholds(x, targets, values, weights):
    """The greatest lists under all combinations of thresholds, on whole sizes, and their revenues.

    Cheapest covers come from a dynamic programme over size. Some combination makes the best list: its own thresholds.
    """
    caps = [[*np.unique(values[targets == k]), 1e15] for k in range(len(x))]  # the last one sells nothing
    caps = np.array(list(itertools.product(*caps)))[:-1]
    cost = np.zeros((int(x[-1]) + 1, len(caps)))
    for size in range(1, len(cost)):
        cost[size] = np.min([cost[max(size - int(x[k]), 0)] + caps[:, k] for k in range(len(x))], axis=0)
    lists = cost[x.astype(int)].T
    asked = lists[:, targets]
    return lists, (weights * np.where(values >= asked, asked, 0.0)).sum(axis=1)


def best_by_thresholds(x, targets, values, weights):
    """Revenue of the best of these lists."""
    return lists_by_thresholds(x, targets, values, weights)[1].max()


def minimal_covers(x, k):
    """Every bundle that covers version k and would not without any one of its versions."""
    most = [math.ceil(x[k] / size * (1 - SAME)) for size in x]
    bundles = np.array(list(itertools.product(*(range(copies + 1) for copies in most))))
    total = bundles @ x
    smallest = np.where(bundles > 0, x, np.inf).min(axis=1)
    return bundles[(total >= x[k] * (1 - SAME)) & (total - smallest < x[k] * (1 - SAME))]


def no_cheaper_bundle(x):
    """Rows r with r @ prices <= 0: a version costs no more than each minimal bundle that covers it."""
    return np.vstack([np.eye(len(x))[k] - minimal_covers(x, k) for k in range(len(x))])


def rising_and_falling(x):
    """Rows r with r @ prices <= 0: prices do not fall, prices per size do not rise."""
    one, per_size = np.eye(len(x)), np.diag(1.0 / x)
    return np.vstack([one[:-1] - one[1:], per_size[1:] - per_size[:-1]])


def best_by_free_prices(rows, targets, values, weights):
    """A mixed-integer programme: prices are free but for the rows, one binary an answer says whether it is served.

    What an answer pays is no more than the price, and nothing unless the price is at most the answer.
    """
    versions, answers, top = rows.shape[1], len(values), values.max()
    asked, each = np.eye(versions)[targets], np.eye(answers)
    nothing = np.zeros((answers, answers))
    constraints = [
        LinearConstraint(np.hstack([rows, np.zeros((len(rows), 2 * answers))]), ub=0.0),
        LinearConstraint(np.hstack([-asked, nothing, each]), ub=0.0),
        LinearConstraint(np.hstack([np.zeros_like(asked), -each * values, each]), ub=0.0),
        LinearConstraint(np.hstack([asked, each * top, nothing]), ub=values + top),
    ]
    solved = milp(
        np.concatenate([np.zeros(versions + answers), -weights]),
        constraints=constraints,
        bounds=Bounds(0.0, np.concatenate([np.full(versions, top), np.ones(answers), values])),
        integrality=np.repeat([0, 1, 0], [versions, answers, answers]),
        options={"mip_rel_gap": 0.0},
    )
    assert solved.status == 0
    return -solved.fun


def random_case(rng, whole, most_versions=4, most_answers=8):
    """Epsilons, targets, values, weights: ties, gaps, versions nobody asks for."""
    n_versions = int(rng.integers(1, most_versions + 1))
    if whole:
        epsilons = np.sort(rng.choice(np.arange(1.0, 8.0), n_versions, replace=False))
    else:
        epsilons = np.cumsum(rng.uniform(0.3, 1.0, n_versions))
    answers = int(rng.integers(1, most_answers + 1))
    targets = rng.integers(0, n_versions, answers)
    values = (rng.integers(1, 30, answers).astype(float), rng.lognormal(3.0, 0.7, answers))[rng.integers(2)]
    values = values * (1.0, epsilons[targets])[rng.integers(2)]
    weights = (np.ones(answers), rng.integers(1, 4, answers).astype(float), rng.uniform(0.1, 3.0, answers))
    return epsilons, targets, values, weights[rng.integers(3)]


def check_result(result, epsilons, targets, values, weights, composition):
    """What holds of every proven list."""
    assert result.optimal
    assert result.revenue <= result.bound <= result.revenue * (1 + PROVEN)
    assert result.revenue == pytest.approx(revenue_of(result.prices, targets, values, weights), rel=1e-14)
    assert (np.isfinite(result.prices) & (result.prices > 0)).all()
    assert find_arbitrage(epsilons, result.prices, composition=composition) is None


# --- the optimum -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_equals_brute_force_over_all_thresholds(composition):
    rng = np.random.default_rng([1, len(composition)])
    gained = 0
    for _ in range(200):
        epsilons, targets, values, weights = random_case(rng, whole=True)
        x = size_of(epsilons, composition)
        result = maximize_revenue_exact(epsilons, targets, values, weights=weights, composition=composition)
        best = best_by_thresholds(x, targets, values, weights)
        shown = f"{epsilons.tolist()}, {targets.tolist()}, {values.tolist()}, {weights.tolist()}: {result}, {best}"
        assert result.revenue == pytest.approx(best, rel=PROVEN), shown
        check_result(result, epsilons, targets, values, weights, composition)
        relaxed = maximize_revenue(epsilons, targets, values, weights=weights, composition=composition)
        gained += result.revenue > relaxed.revenue * (1 + 1e-6)
    assert gained > 5  # the cases are not solved by the relaxation


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_equals_a_mixed_integer_programme_with_free_prices(composition, capfd):
    rng = np.random.default_rng([2, len(composition)])
    for _ in range(40):
        epsilons, targets, values, weights = random_case(rng, whole=False)
        x = size_of(epsilons, composition)
        result = maximize_revenue_exact(epsilons, targets, values, weights=weights, composition=composition)
        best = best_by_free_prices(no_cheaper_bundle(x), targets, values, weights)
        # HiGHS keeps constraints to an absolute 1e-6 of numbers up to some hundred, as many as there are answers.
        assert result.revenue == pytest.approx(best, rel=1e-5), f"{epsilons}, {targets}, {values}, {weights}"
        check_result(result, epsilons, targets, values, weights, composition)
        relaxed = maximize_revenue(epsilons, targets, values, weights=weights, composition=composition)
        best = best_by_free_prices(rising_and_falling(x), targets, values, weights)
        assert relaxed.revenue == pytest.approx(best, rel=1e-5), f"{epsilons}, {targets}, {values}, {weights}"
    capfd.readouterr()  # the oracle's solver may write to the terminal


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_no_box_loses_a_list_that_is_worth_more_than_the_best_known(composition):
    """Each step of the search: its bound holds for all lists in the box, and a part holds the best of them."""
    rng = np.random.default_rng([10, len(composition)])
    compared = 0
    while compared < 120:
        epsilons, targets, values, weights = random_case(rng, whole=True, most_versions=3)
        x = size_of(epsilons, composition)
        lists, revenues = lists_by_thresholds(x, targets, values, weights)
        thresholds = Thresholds(x, Survey(targets, values, weights))
        lists = np.minimum(lists, thresholds.top)
        search = _Search(thresholds, np.full(len(x), values.min()), 0.3 * revenues.max())
        tried = []
        search._try = tried.append  # the best known list stays this poor
        ends = [curve.right for curve in search._curves]
        segments = np.column_stack([np.searchsorted(right, p) for right, p in zip(ends, lists.T, strict=True)])
        first, last = np.sort([[rng.integers(len(right)) for right in ends] for _ in range(2)], axis=0)
        inside = ((segments >= first) & (segments <= last)).all(axis=1)
        best = np.argmax(np.where(inside, revenues, 0.0))
        if (first == last).all() or not inside[best] or revenues[best] <= search.revenue:
            continue
        compared += 1
        # The multipliers' bound is as low as the linear programme's own optimum.
        _, envelope, multipliers = search._relax(first.tolist(), last.tolist())
        dual = [c.best(a, b, m).max() for c, a, b, m in zip(search._curves, first, last, multipliers, strict=True)]
        assert sum(dual) == pytest.approx(envelope.sum(), rel=1e-7)  # the solver's tolerance
        bound, parts = search._split((tuple(first.tolist()), tuple(last.tolist())))
        # A list that earns as much may stand for the best one.
        good = segments[inside & (revenues >= revenues[best] * (1 - SAME))]
        if parts:
            assert bound >= revenues[best] * (1 - SAME)
            assert any(((good >= part[0]) & (good <= part[1])).all(axis=1).any() for part in parts)
        else:  # the box shrank to a single list
            single = [np.searchsorted(right, p * (1 - SAME)) for right, p in zip(ends, tried[-1], strict=True)]
            assert (good == single).all(axis=1).any()


def test_where_the_relaxation_stops_short():
    """Two copies at 10 cover the larger version, so 20 admits no arbitrage; the relaxed limit is 15."""
    assert maximize_revenue([2, 3], [0, 1], [10.0, 20.0]).revenue == 25.0
    result = maximize_revenue_exact([2, 3], [0, 1], [10.0, 20.0])
    assert (result.prices.tolist(), result.revenue, result.bound, result.optimal) == ([10.0, 20.0], 30.0, 30.0, True)


def test_versions_nobody_is_sold_get_the_greatest_price():
    result = maximize_revenue_exact([2, 3, 5], [1, 1], [6.0, 6.0])
    assert result.prices.tolist() == [6.0, 6.0, 12.0]


def test_the_marginal_buyer_of_a_sum_of_answers_is_kept():
    """0.1 + 0.2 is more than 0.3 in floats."""
    thresholds = Thresholds(np.array([1.0, 2.0, 3.0]), Survey([0, 1, 2], [0.1, 0.2, 0.3]))
    prices, revenue = thresholds.list_at(np.array([0.1, 0.2, np.inf]))
    assert (prices.tolist(), revenue) == ([0.1, 0.2, 0.3], pytest.approx(0.6, rel=1e-15))
    for low, high in itertools.combinations(np.arange(1, 12) / 10, 2):
        answers = [low, high, round(low + high, 1)]
        if high <= 2 * low:  # else two copies of the first version undercut the second
            result = maximize_revenue_exact([2, 3, 5], [0, 1, 2], answers)
            assert result.revenue == pytest.approx(sum(answers), rel=1e-14)
            assert result.prices == pytest.approx(answers, rel=1e-15)


def test_nothing_is_written_to_the_terminal(capfd):
    rng = np.random.default_rng(4)
    for seed in range(5):
        maximize_revenue_exact(np.sort(rng.uniform(1, 5, 5)), rng.integers(0, 5, 60), rng.lognormal(3, seed / 2, 60))
    assert capfd.readouterr() == ("", "")


def test_a_large_survey_is_solved():
    rng = np.random.default_rng(5)
    epsilons = np.sort(rng.uniform(1.0, 5.0, 5))
    targets = rng.integers(0, 5, 1000)
    values = rng.lognormal(3.0, 0.5, 1000) * epsilons[targets]
    # A fraction of a second is enough; a search with bounds that say little would not end in many.
    result = maximize_revenue_exact(epsilons, targets, values, time_limit=30.0)
    check_result(result, epsilons, targets, values, None, "additive")


# --- theory ----------------------------------------------------------------------------------------------


@st.composite
def surveys(draw, steps, most_versions=4, most_answers=12):
    """Epsilons from `steps`, and answers over a few orders of magnitude, many of them equal."""
    gaps = draw(st.lists(steps, min_size=1, max_size=most_versions))
    answers = draw(st.integers(1, most_answers))
    targets = draw(st.lists(st.integers(0, len(gaps) - 1), min_size=answers, max_size=answers))
    value = st.one_of(st.sampled_from([1.0, 2.0, 3.0, 5.0]), st.floats(0.01, 100.0))
    return gaps, np.array(targets), np.array(draw(st.lists(value, min_size=answers, max_size=answers)))


@PROPERTY
@given(surveys(st.floats(0.2, 2.0)), st.sampled_from(["additive", "quadratic"]))
def test_revenue_chain(survey, composition):
    """Relaxed, lifted, exact, monopoly; and the exact optimum within 1 + ln A of the relaxed one."""
    gaps, targets, values = survey
    epsilons = np.cumsum(gaps)
    relaxed = maximize_revenue(epsilons, targets, values, composition=composition)
    lifted = lift_revenue(epsilons, targets, values, composition=composition)
    exact = maximize_revenue_exact(epsilons, targets, values, composition=composition)
    assert relaxed.revenue <= lifted.revenue * (1 + 1e-11)
    assert lifted.revenue <= exact.revenue * (1 + 1e-11)
    answers = Survey(targets, values)
    monopoly = sum(answers.demand(k).monopoly()[1] for k in range(len(epsilons)))
    factor = relaxation_factor(size_of(epsilons, composition))
    assert exact.revenue <= min(monopoly, factor * relaxed.revenue) * (1 + PROVEN)


@PROPERTY
@given(surveys(st.sampled_from([2.0, 3.0, 5.0])))
def test_the_relaxation_is_exact_where_all_ratios_are_whole(survey):
    factors, targets, values = survey
    epsilons = 0.1 * np.cumprod(factors)
    result = maximize_revenue_exact(epsilons, targets, values)
    assert result.optimal
    best = best_by_thresholds(np.round(epsilons / epsilons[0]), targets, values, np.ones(len(values)))
    assert result.revenue == pytest.approx(best, rel=1e-11)
    assert maximize_revenue(epsilons, targets, values).revenue == pytest.approx(best, rel=1e-11)


@PROPERTY
@given(surveys(st.floats(0.2, 2.0)))
def test_the_quadratic_rule_earns_at_least_as_much(survey):
    gaps, targets, values = survey
    epsilons = np.cumsum(gaps)
    additive = maximize_revenue_exact(epsilons, targets, values)
    quadratic = maximize_revenue_exact(epsilons, targets, values, composition="quadratic")
    assert additive.revenue <= quadratic.revenue * (1 + PROVEN)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_units_do_not_matter(unit):
    rng = np.random.default_rng(6)
    for _ in range(15):
        epsilons, targets, values, weights = random_case(rng, whole=False, most_answers=30)
        result = maximize_revenue_exact(epsilons, targets, values, weights=weights)
        for scaled, of in [
            (maximize_revenue_exact(epsilons, targets, unit * values, weights=weights), unit),
            (maximize_revenue_exact(epsilons, targets, values, weights=unit * weights), unit),
            (maximize_revenue_exact(unit * epsilons, targets, values, weights=weights), 1.0),
        ]:
            assert scaled.optimal
            assert scaled.revenue == pytest.approx(of * result.revenue, rel=PROVEN)


def test_weights_stand_for_repeated_answers():
    rng = np.random.default_rng(7)
    for _ in range(25):
        epsilons, targets, values, _ = random_case(rng, whole=False)
        counts = rng.integers(1, 5, len(values))
        weighted = maximize_revenue_exact(epsilons, targets, values, weights=counts)
        repeated = maximize_revenue_exact(epsilons, np.repeat(targets, counts), np.repeat(values, counts))
        assert weighted.revenue == pytest.approx(repeated.revenue, rel=PROVEN)


# --- time limit ------------------------------------------------------------------------------------------


def test_out_of_time_the_best_list_and_a_valid_bound_are_returned():
    rng = np.random.default_rng(8)
    stopped = 0
    for _ in range(10):
        epsilons = np.sort(rng.uniform(1.0, 5.0, 5))
        targets = rng.integers(0, 5, 60)
        values = rng.lognormal(3.0, 0.5, 60) * epsilons[targets]
        limited = maximize_revenue_exact(epsilons, targets, values, time_limit=1e-9)
        exact = maximize_revenue_exact(epsilons, targets, values)
        lifted = lift_revenue(epsilons, targets, values)
        assert lifted.revenue * (1 - 1e-11) <= limited.revenue <= exact.revenue * (1 + PROVEN)
        assert exact.revenue <= limited.bound * (1 + PROVEN)
        assert find_arbitrage(epsilons, limited.prices) is None
        assert limited.optimal == (limited.revenue >= limited.bound * (1 - PROVEN))
        stopped += not limited.optimal
    assert stopped > 5


@pytest.mark.parametrize("limit", [0, -1.0, math.nan, True, "10"])
def test_a_bad_time_limit_is_refused_by_name(limit):
    with pytest.raises(ValueError, match="time_limit must be"):
        maximize_revenue_exact([1.0], [0], [1.0], time_limit=limit)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "10"])
def test_a_bad_step_limit_is_refused_by_name(limit):
    with pytest.raises(ValueError, match="step_limit must be"):
        maximize_revenue_exact([1.0], [0], [1.0], step_limit=limit)
    with pytest.raises(ValueError, match="step_limit must be"):
        Exact(step_limit=limit)


def test_more_steps_narrow_the_gap_until_nothing_is_left():
    """The bound falls, the revenue rises, and both are the same whenever the search stops at the same step."""
    rng = np.random.default_rng(10)
    epsilons = np.sort(rng.uniform(1.0, 2.0, 5))
    targets = rng.integers(0, 5, 80)
    values = rng.lognormal(3.0, 0.5, 80) * epsilons[targets]
    results = [maximize_revenue_exact(epsilons, targets, values, step_limit=steps) for steps in (1, 3, 10, 30, 100)]
    again = [maximize_revenue_exact(epsilons, targets, values, step_limit=steps) for steps in (1, 3, 10, 30, 100)]
    assert [(r.revenue, r.bound) for r in results] == [(r.revenue, r.bound) for r in again]
    bounds, revenues = [r.bound for r in results], [r.revenue for r in results]
    assert not results[0].optimal
    assert (np.diff(bounds) <= 1e-9 * bounds[0]).all()
    assert bounds[-1] < bounds[0]
    assert (np.diff(revenues) >= 0).all()
    assert max(revenues) <= min(bounds) * (1 + PROVEN)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"values": [1.0, -2.0]}, "values"),
        ({"targets": [0, 2]}, "targets"),
        ({"epsilons": [2.0, 1.0]}, "epsilons"),
        ({"weights": [1.0]}, "weights"),
        ({"composition": "cubic"}, "composition"),
    ],
)
@pytest.mark.parametrize("optimiser", [maximize_revenue_exact, lift_revenue])
def test_bad_input_is_refused_by_name(optimiser, change, named):
    with pytest.raises(ValueError, match=named):
        optimiser(**{"epsilons": [1.0, 2.0], "targets": [0, 1], "values": [1.0, 2.0], **change})


# --- strategy --------------------------------------------------------------------------------------------


def test_the_strategy_posts_the_exact_list_and_its_best_when_out_of_steps():
    rng = np.random.default_rng(9)
    epsilons = np.array([2.0, 3.0, 4.0, 5.0])
    targets = rng.integers(0, 4, 50)
    values = rng.lognormal(3.0, 0.3, 50) * epsilons[targets]
    survey = Survey(targets, values)
    context = PricingContext(survey, epsilons, "additive", 50, 1, 1, None, None, rng)
    exact = pricing_strategies()["exact"]
    assert survey.revenue(exact().prices(context)).sum() == pytest.approx(
        maximize_revenue_exact(epsilons, targets, values).revenue, rel=PROVEN
    )
    hurried = exact(step_limit=1).prices(context)
    assert find_arbitrage(epsilons, hurried) is None
    assert survey.revenue(hurried).sum() >= maximize_revenue(epsilons, targets, values).revenue * (1 - 1e-11)
