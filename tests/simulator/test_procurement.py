"""Buying shards within a budget: the exact method against a MILP and brute force, guarantees, edge cases."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from simulator.checks import check_procurement_method
from simulator.procurement import ProcurementMethod, exact, maximize_coverage, procurement_methods
from simulator.procurement.grid import _cells
from simulator.procurement.method import _in_range, fill, value_per_cost

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=200)

#: The exact method certifies to this relative gap.
GAP = 1e-12
#: HiGHS allows a constraint to be broken by this, and lets values be above the optimum by as much.
MILP_TOLERANCE = 1e-6

METHODS = tuple(procurement_methods())
WITHIN_BUDGET = tuple(name for name, cls in procurement_methods().items() if not cls.overspends)
#: Those that spend what is asked, and no more.
PAY_WHAT_IS_ASKED = tuple(name for name, cls in procurement_methods().items() if not cls.promises)


def best_value(values, costs, budget):
    """Value of the best affordable set, by trying all of them; a set is affordable if its exact sum is."""
    n = len(values)
    sets = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    finite = np.where(np.isfinite(costs), costs, 1e300)
    spent, worth = sets @ finite, sets @ values
    # Sums of floats are off by less than this; sets that close to the budget are summed again exactly.
    slack = 1e-9 * max(budget, 1e-300)
    for k in np.argsort(-worth, kind="stable"):
        if spent[k] < budget - slack or (spent[k] <= budget + slack and math.fsum(finite[sets[k]]) <= budget):
            return math.fsum(values[sets[k]])
    raise AssertionError("the empty set is affordable")


#: Kinds of offers whose values per cost all tie or nearly so: large ones are left with a certified gap.
TIED = (2, 3)


def random_offers(rng, n, kind=None):
    """Values, costs and a budget of one of several kinds."""
    kind = rng.integers(7) if kind is None else kind
    values = rng.uniform(0.1, 1.0, n)
    if kind == 0:  # whole numbers, many ties
        values, costs = rng.integers(1, 10, n).astype(float), rng.integers(1, 10, n).astype(float)
    elif kind == 1:
        costs = rng.uniform(0.1, 1.0, n)
    elif kind == 2:  # strongly correlated: the hard kind
        costs = rng.integers(1, 100, n).astype(float)
        values = costs + 10.0
    elif kind == 3:  # one value per cost
        costs = 3.0 * values
    elif kind == 4:  # costs over 12 orders of magnitude
        costs = 10.0 ** rng.uniform(-6, 6, n)
    elif kind == 5:  # some free, some priceless, some worthless
        costs = rng.choice([0.0, 0.5, 1.0, np.inf], n) * rng.uniform(0.5, 1.5)
        values = rng.normal(0.3, 1.0, n)
    else:
        costs, values = rng.lognormal(0.0, 2.0, n), rng.lognormal(0.0, 2.0, n)
    total = costs[np.isfinite(costs)].sum()
    return values, costs, float(total * rng.uniform(0.05, 0.9))


# --- exact -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_exact_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    for _ in range(100):
        values, costs, budget = random_offers(rng, int(rng.integers(1, 12)))
        best = best_value(values, costs, budget)
        bought = maximize_coverage(values, costs, budget)
        shown = f"{values.tolist()}, {costs.tolist()}, {budget}: {bought}"
        assert bought.value == pytest.approx(best, rel=GAP, abs=0), shown
        assert bought.bound >= best * (1 - GAP), shown


def best_of_halves(values, costs, budget):
    """Value of the best affordable set of some 25 owners: all pairs of a set of one half and one of the other.

    Sums of costs are floats: right but for sets within rounding of the budget.
    """
    sums = []
    for half in (slice(None, len(values) // 2), slice(len(values) // 2, None)):
        sets = (np.arange(2 ** len(values[half]))[:, None] >> np.arange(len(values[half]))) & 1 == 1
        sums.append((sets @ costs[half], sets @ values[half]))
    (few, worth), (many, others) = sums
    order = np.argsort(many)
    partner = np.searchsorted(many[order], budget - few, "right") - 1
    best = np.maximum.accumulate(others[order])
    return (worth + best[partner])[partner >= 0].max(initial=0.0)


@pytest.mark.parametrize("first_states", [None, 1])
def test_exact_equals_an_exhaustive_search_on_25_owners(first_states, monkeypatch):
    """Also where the search branches as soon as it may, but for ties, of which that makes too many branches."""
    kinds = range(7)
    if first_states:
        monkeypatch.setattr(exact, "FIRST_STATES", first_states)
        kinds = [kind for kind in kinds if kind not in TIED]
    rng = np.random.default_rng(5)
    for kind in [*kinds] * 20:
        values, costs, budget = random_offers(rng, int(rng.integers(12, 26)), kind)
        bought = maximize_coverage(values, costs, budget)
        candidates = (values > 0) & (costs <= budget)
        # A set within rounding of the budget may be affordable or not.
        least, most = (best_of_halves(values[candidates], costs[candidates], budget * (1 + e)) for e in (-GAP, GAP))
        shown = f"{values.tolist()}, {costs.tolist()}, {budget}: {bought}"
        assert least * (1 - GAP) <= bought.value <= most * (1 + GAP), shown
        assert bought.value <= bought.bound <= bought.value * (1 + GAP) or kind in TIED, shown
        assert bought.bound >= least * (1 - GAP), shown


def best_of_whole_costs(values, costs, budget):
    """Value of the best affordable set by dynamic programming over the money spent, for whole costs."""
    best = np.zeros(math.floor(budget) + 1)
    for value, cost in zip(values.tolist(), costs.astype(int).tolist(), strict=True):
        if cost < len(best):
            best[cost:] = np.maximum(best[cost:], best[: len(best) - cost] + value)
    return best[-1]


def sixty_offers(rng, kind):
    """Up to 60 offers of a kind, and a budget, at times an exact fit."""
    n = int(rng.integers(1, 61))
    values = rng.uniform(0.1, 1.0, n)
    match kind:
        case "whole":
            values, costs = rng.integers(1, 100, n).astype(float), rng.integers(1, 100, n).astype(float)
        case "real":
            costs = rng.uniform(0.1, 1.0, n)
        case "one value per cost":
            costs = values = rng.integers(1, 1000, n).astype(float)
        case "strongly correlated":
            costs = rng.integers(1, 1000, n).astype(float)
            values = costs + 100.0
        case "tiny and huge":
            costs = 10.0 ** rng.uniform(-6, 6, n)
        case "sensitivities":
            costs = values * np.exp(2.0 * rng.uniform(0.1, 0.5, n))
        case "cents":
            costs = rng.integers(1, 5000, n) / 100
        case "records":
            costs = rng.geometric(0.02, n) * np.exp(2.0 * 0.35)
        case "a few dear ones":
            costs = values * np.exp(2.0 * rng.uniform(0.1, 0.5, n))
            dear = rng.integers(0, n, 3)
            costs[dear] = 0.5 * costs.sum() * rng.uniform(0.1, 1.0, 3)
            values[dear] = costs[dear] * rng.uniform(0.4, 0.8, 3)
        case "exponents":
            costs = values * np.exp(8.0 * rng.exponential(0.5, n))
    if rng.random() < 0.3:
        return values, costs, math.fsum(costs[rng.random(n) < 0.5])
    return values, costs, float(costs.sum() * rng.uniform(0.05, 0.95))


@pytest.mark.parametrize("kind", ["whole", "one value per cost", "strongly correlated"])
def test_exact_equals_dynamic_programming_on_60_owners_with_whole_costs(kind):
    rng = np.random.default_rng(len(kind))
    for _ in range(60):
        values, costs, budget = sixty_offers(rng, kind)
        bought = maximize_coverage(values, costs, budget)
        shown = f"{values.tolist()}, {costs.tolist()}, {budget}: {bought}"
        assert bought.value == best_of_whole_costs(values, costs, budget), shown
        assert bought.bound == bought.value, shown


@pytest.mark.parametrize("first_states", [None, 1])
@pytest.mark.parametrize(
    "kind", ["real", "tiny and huge", "sensitivities", "cents", "records", "a few dear ones", "exponents"]
)
def test_exact_equals_a_milp_on_60_owners(kind, first_states, capfd, monkeypatch):
    if first_states:
        monkeypatch.setattr(exact, "FIRST_STATES", first_states)
    rng = np.random.default_rng(len(kind))
    compared = 0
    for _ in range(20):
        values, costs, budget = sixty_offers(rng, kind)
        bought = maximize_coverage(values, costs, budget)
        shown = f"{values.tolist()}, {costs.tolist()}, {budget}: {bought}"
        assert math.fsum(costs[bought.owners]) <= budget, shown
        assert bought.bound <= bought.value * (1 + GAP), shown
        candidates = np.flatnonzero(costs <= budget)
        if len(candidates) == 0:
            continue
        unit = values[candidates].max()
        solved = milp(
            -values[candidates] / unit,
            constraints=LinearConstraint(costs[candidates][None, :] / budget, ub=1.0),
            bounds=Bounds(0, 1),
            integrality=np.ones(len(candidates)),
            options={"mip_rel_gap": 0.0, "time_limit": 0.2},
        )
        if solved.x is None:
            continue
        chosen = candidates[solved.x > 0.5]
        # A set of the solver's may overspend by its tolerance, and is then no rival.
        if math.fsum(costs[chosen]) <= budget:
            compared += 1
            assert bought.value >= math.fsum(values[chosen]) * (1 - GAP), shown
        if solved.status == 0:
            assert bought.value <= -solved.fun * unit * (1 + MILP_TOLERANCE), shown
    assert compared > 10
    capfd.readouterr()  # the solver may write to the terminal


@pytest.mark.parametrize("decided", [1, 2, 10])
def test_branches_lose_no_set(decided, monkeypatch):
    """The search parted as soon as it may be, by few owners at a time and so often, curtailed or not."""
    monkeypatch.setattr(exact, "FIRST_STATES", 1)
    monkeypatch.setattr(exact, "DECIDED", decided)
    parted = []
    part = exact._Search.parts

    def watched(search, bound):
        parted.append(part(search, bound))
        return parted[-1]

    monkeypatch.setattr(exact._Search, "parts", watched)
    rng = np.random.default_rng(decided)
    for case in range(200):
        n = int(rng.integers(4, 12))
        values = rng.gamma(2.0, 1.0, n) * 10.0 ** -rng.integers(0, 4, n)
        costs = values * np.exp(rng.uniform(0.0, 2.0, n))
        if case % 3 == 0:
            values, costs = 10.0 ** rng.uniform(-10, 10, (2, n))
        budget = math.fsum(costs[rng.random(n) < 0.5]) if case % 2 else math.fsum(costs) * 10 ** rng.uniform(-2, 0)
        if case % 4 == 1:  # a set that overspends by rounding alone
            budget = math.nextafter(budget, 0.0)
        max_states = int(rng.choice([1, 50, 500, 2**22]))
        best = best_value(values, costs, budget)
        bought = maximize_coverage(values, costs, budget, max_states=max_states)
        shown = f"{values.tolist()}, {costs.tolist()}, {budget}, {max_states}: {bought}, best {best}"
        assert bought.bound >= best * (1 - 1e-14), shown
        assert bought.value >= best * (1 - GAP) or max_states < 2**22, shown
    assert sum(parts is not None for parts in parted) > 40


def many_offers(kind, n):
    """Offers of a kind by many owners, and a budget for two fifths of the costs."""
    rng = np.random.default_rng(n)
    match kind:
        case "sensitivities":
            values = rng.gamma(2.0, 1.0, n)
            costs = values * np.exp(2.0 * rng.uniform(0.1, 0.5, n))
        case "uncorrelated":
            values, costs = rng.uniform(0.1, 1.0, (2, n))
        case "one value per cost":
            values = rng.gamma(2.0, 1.0, n)
            costs = 1.7 * values
        case "strongly correlated":
            costs = rng.uniform(0.1, 1.0, n)
            values = costs + 0.1
        case "whole":
            costs = 2.0 * rng.integers(1, 10**6, n)
            values = costs.copy()
        case "records":  # one sensitivity, and base prices by records
            values = rng.gamma(2.0, 1.0, n)
            costs = rng.geometric(0.02, n) * np.exp(2.0 * 0.35)
        case "three sensitivities":
            values = rng.gamma(2.0, 1.0, n)
            costs = values * np.exp(rng.choice([0.2, 0.4, 0.8], n))
        case "exponents":  # a few of the largest sensitivities ask for nearly all of the money
            values = rng.uniform(0.0, 1.0, n)
            costs = values * np.exp(8.0 * rng.exponential(0.5, n))
            return values, costs, 0.7 * math.fsum(costs)
        case "lognormal":
            values = rng.exponential(1.0, n)
            costs = values * np.exp(4.0 * rng.lognormal(-1.0, 0.7, n))
            return values, costs, 0.5 * math.fsum(costs)
        case "wide":
            values, costs = 10.0 ** rng.uniform(-10, 10, (2, n))
            return values, costs, 1e-4 * math.fsum(costs)
        case "one dear owner":
            values = rng.gamma(2.0, 1.0, n)
            costs = values * np.exp(2.0 * rng.uniform(0.1, 0.5, n))
            budget = 0.4 * math.fsum(costs)
            costs[0], values[0] = 0.9 * budget, 0.45 * budget
            return values, costs, budget
        case "five dear owners":
            values = rng.gamma(2.0, 1.0, n)
            costs = values * np.exp(2.0 * rng.uniform(0.1, 0.5, n))
            budget = 0.4 * math.fsum(costs)
            costs[:5] = budget * np.array([0.31, 0.42, 0.53, 0.64, 0.75])
            values[:5] = 0.55 * costs[:5] * rng.uniform(0.8, 1.2, 5)
            return values, costs, budget
        case "crumbs":  # one owner is worth all the others together a thousand times over, and takes all the money
            values, costs = rng.uniform(0.1, 1.0, (2, n)) * 1e-3 / n
            values[0], costs[0] = 1.0, 1.0 - 0.2 * math.fsum(costs)
            return values, costs, 1.0
    return values, costs, 0.4 * math.fsum(costs)


@pytest.mark.parametrize("n", [100, 1000, 10_000])
@pytest.mark.parametrize(
    "kind",
    [
        *("sensitivities", "uncorrelated", "one value per cost", "strongly correlated", "whole", "records"),
        "three sensitivities",
        *("exponents", "lognormal", "wide", "one dear owner", "five dear owners", "crumbs"),
    ],
)
def test_exact_certifies_its_optimum_among_many(kind, n):
    values, costs, budget = many_offers(kind, n)
    bought = maximize_coverage(values, costs, budget)
    assert math.fsum(costs[bought.owners]) <= budget
    # Where all losses tie the search may end at its limit of states, close to the gap at which it would stop.
    tied = kind in ("one value per cost", "strongly correlated", "three sensitivities")
    assert bought.bound <= bought.value * (1 + (10 * GAP if tied else GAP))


@pytest.mark.parametrize("kind", ["exponents", "one dear owner", "three sensitivities"])
def test_exact_certifies_its_optimum_among_a_hundred_thousand(kind):
    values, costs, budget = many_offers(kind, 100_000)
    bought = maximize_coverage(values, costs, budget)
    assert math.fsum(costs[bought.owners]) <= budget
    assert bought.bound <= bought.value * (1 + GAP)


def test_whom_greedy_bought_with_the_last_money_is_soon_given_up():
    """Where all others tie, the one owner of a worse value per cost costs more than the search can make good."""
    rng = np.random.default_rng(13)
    values = rng.gamma(2.0, 1.0, 10_000)
    costs = values * np.exp(rng.choice([0.2, 0.4, 0.8], 10_000))
    bought = maximize_coverage(values, costs, 0.4 * math.fsum(costs), max_states=2**19)
    assert bought.bound <= bought.value * (1 + GAP)


def test_a_search_may_end_at_a_gap():
    values, costs, budget = many_offers("one value per cost", 1000)
    best, found = (maximize_coverage(values, costs, budget, gap=gap) for gap in (GAP, 1e-6))
    assert best.bound <= best.value * (1 + GAP)
    assert best.value < found.bound <= found.value * (1 + 1e-6)
    assert found.value < best.value * (1 - 100 * GAP)  # it did end there


def test_the_bound_knows_what_multiples_of_an_amount_add_up_to():
    """Costs of 3 to 500 times 1.7, but for rounding, at a tenth of value each; a budget of so many times and a half."""
    rng = np.random.default_rng(15)
    costs = rng.integers(3, 500, 50) * 1.7
    units = int(rng.integers(1000, 3000))
    bought = maximize_coverage(costs / 10, costs, (units + 0.5) * 1.7, max_states=1)
    assert bought.bound == pytest.approx(units * 0.17, rel=GAP)
    # One cost that is none takes it back.
    costs[7] = 100.3 * 1.7
    assert maximize_coverage(costs / 10, costs, (units + 0.5) * 1.7, max_states=1).bound > (units + 0.2) * 0.17


@pytest.mark.parametrize(
    ("costs", "unit"),
    [
        ([3 * 0.7, 5 * 0.7, 11 * 0.7], 0.7),
        ([0.3, 0.1, 0.2], 0.1),
        ([2.5], 2.5),
        ([6.0, 10.0, 15.0], 1.0),
        ([1.0, math.sqrt(2.0)], 0.0),
        ([1.0, 1.0 + 1e-12], 0.0),
        ([1.0, 1e-9], 0.0),
    ],
)
def test_the_amount_that_costs_are_multiples_of(costs, unit):
    assert exact._common_unit(np.array(costs)) == pytest.approx(unit, rel=1e-14, abs=0)


def test_the_bound_knows_how_many_owners_fit():
    """With value = cost + 1, each owner that fits is worth 1 more than the money it takes."""
    rng = np.random.default_rng(12)
    for _ in range(50):
        costs = rng.uniform(0.1, 1.0, 30)
        budget = float(costs.sum() * rng.uniform(0.1, 0.9))
        fit = int((np.cumsum(np.sort(costs)) <= budget).sum())
        bought = maximize_coverage(costs + 1.0, costs, budget, max_states=1)
        assert bought.bound <= (budget + fit) * (1 + GAP)


def test_bounds_on_whole_numbers_are_whole():
    # Values and costs in threes: of 10.5 no more than 9 can be spent or gained.
    assert maximize_coverage([6.0, 6.0, 9.0], [6.0, 6.0, 9.0], 10.5, max_states=1).bound == 9.0
    # Of 8 only 6 can be, while the fractional bound is 8 whatever is known of the costs.
    assert maximize_coverage([6.0, 6.0, 9.0], [6.0, 6.0, 8.5], 8.0, max_states=1).bound == 6.0


def test_the_bound_knows_what_whole_costs_add_up_to():
    """Even costs at a tenth of value each, and an odd budget, of which one is never spent."""
    costs = 2.0 * np.random.default_rng(14).integers(1, 1000, 50)
    budget = 2.0 * (costs.sum() // 5) + 1.0
    bought = maximize_coverage(costs / 10, costs, budget, max_states=1)
    assert bought.bound == pytest.approx((budget - 1) / 10, rel=GAP)


def test_exact_certifies_its_optimum():
    rng = np.random.default_rng(6)
    for _ in range(100):
        values, costs = rng.uniform(0.1, 1.0, 60), rng.uniform(0.1, 1.0, 60)
        bought = maximize_coverage(values, costs, 10.0)
        assert bought.bound <= bought.value * (1 + GAP)


@pytest.mark.parametrize("max_states", [1, 2, 5, 50])
def test_bound_of_a_curtailed_search_still_holds(max_states):
    rng = np.random.default_rng(max_states)
    missed = 0
    for _ in range(150):
        values, costs, budget = random_offers(rng, int(rng.integers(5, 12)))
        best = best_value(values, costs, budget)
        bought = maximize_coverage(values, costs, budget, max_states=max_states)
        assert bought.cost <= budget
        assert bought.bound >= best * (1 - GAP), f"{values.tolist()}, {costs.tolist()}, {budget}: {bought}, {best}"
        assert bought.value <= best * (1 + GAP)
        missed += bought.value < best * (1 - GAP)
    # With a state or two the search is really curtailed.
    assert missed > 0 or max_states > 2


def test_exact_finds_sets_that_use_the_budget_up():
    """Costs in tenths whose exact sum is the budget, while running sums may be an ulp above it."""
    rng = np.random.default_rng(7)
    for _ in range(400):
        n = int(rng.integers(2, 8))
        costs, values = rng.integers(0, 10, n) / 10, rng.integers(1, 20, n).astype(float)
        budget = math.fsum(costs[rng.random(n) < 0.6])
        best = best_value(values, costs, budget)
        bought = maximize_coverage(values, costs, budget)
        shown = f"{values.tolist()}, {costs.tolist()}, {budget}: {bought}, best {best}"
        assert bought.value == best, shown  # whole values: sums are exact
        assert bought.bound >= best, shown


@pytest.mark.parametrize(
    ("values", "costs", "budget", "best"),
    [
        # The first and the last cost 1.7 in a running sum, but a little more exactly; the second costs 1.7.
        ([4.0, 5.0, 3.0], [1.3, 1.7, 0.4], 1.7, 5.0),
        ([3.0, 2.0, 5.0, 3.0], [0.8, 0.9, 1.2, 0.4], 1.2, 5.0),
        ([4.0, 3.0, 5.0, 3.0], [1.2, 0.1, 0.7, 1.1], 1.9, 9.0),
    ],
)
def test_a_set_that_overspends_by_rounding_does_not_hide_one_that_fits(values, costs, budget, best):
    assert best_value(np.array(values), np.array(costs), budget) == best
    bought = maximize_coverage(values, costs, budget)
    assert bought.value == best
    assert bought.bound >= best


def test_exact_tells_costs_apart_that_differ_by_little():
    """Costs that differ by some 1e-8 and add up without rounding, and budgets that some set fits exactly."""
    rng = np.random.default_rng(11)
    for _ in range(200):
        n = int(rng.integers(3, 9))
        costs, values = 1.0 + rng.integers(0, 8, n) * 2.0**-27, rng.integers(1, 20, n).astype(float)
        budget = costs[: rng.integers(1, n)].sum()
        bought = maximize_coverage(values, costs, budget)
        best = best_value(values, costs, budget)
        assert bought.value == best, f"{values.tolist()}, {(costs - 1).tolist()}, {budget}: {bought}, best {best}"


def test_crumbs_too_small_to_move_a_running_sum_are_counted():
    """Costs of some 1/2 and of some 2^-55: one of the latter is lost in rounding, a few are not."""
    rng = np.random.default_rng(13)
    for _ in range(400):
        n = int(rng.integers(4, 12))
        crumbs = rng.random(n) < 0.6
        costs = np.where(crumbs, rng.integers(1, 40, n) * 2.0**-59, rng.integers(1, 5, n) / 8)
        values = np.where(crumbs, rng.integers(1, 4, n), rng.integers(1, 40, n)).astype(float)
        budget = float(rng.integers(2, 7)) / 8 + float(rng.choice([0.0, 2.0**-53]))
        best = best_value(values, costs, budget)
        bought = maximize_coverage(values, costs, budget)
        shown = f"{values.tolist()}, {costs.tolist()}, {budget}: {bought}, best {best}"
        assert math.fsum(costs[bought.owners]) <= budget, shown
        assert bought.value == best, shown
        assert bought.bound >= best, shown


def test_exact_beats_greedy_where_greedy_errs():
    # Greedy takes the dense small one and then the large one no longer fits.
    values, costs, budget = [2.0, 10.0], [1.0, 10.0], 10.0
    assert maximize_coverage(values, costs, budget, method="greedy").owners.tolist() == [0]
    assert maximize_coverage(values, costs, budget, method="exact").owners.tolist() == [1]


# --- what holds for every method -------------------------------------------------------------------------

offers = st.lists(
    st.tuples(
        st.one_of(st.floats(-1.0, 1.0), st.integers(-3, 9).map(float)),
        st.one_of(
            st.sampled_from([0.0, math.inf, 1.0, 0.1]),
            st.integers(-12, 12).flatmap(lambda e: st.floats(1.0, 9.0).map(lambda f: f * 10.0**e)),
        ),
    ),
    max_size=9,
)
budgets = st.one_of(
    st.sampled_from([0.0, 0.1, 1.0, 1e-12, 1e12]),
    st.integers(-12, 12).flatmap(lambda e: st.floats(1.0, 9.0).map(lambda f: f * 10.0**e)),
)


@pytest.mark.parametrize("method", WITHIN_BUDGET)
def test_rules_of_every_method(method):
    @PROPERTY
    @given(offers, budgets, st.integers(0, 5))
    def holds(rows, budget, seed):
        values = np.array([row[0] for row in rows])
        costs = np.array([row[1] for row in rows])
        bought = maximize_coverage(values, costs, budget, method=method, rng=np.random.default_rng(seed))
        assert math.fsum(costs[bought.owners]) <= budget
        assert bought.cost == math.fsum(costs[bought.owners])
        assert bought.value == math.fsum(values[bought.owners])
        assert np.array_equal(bought.owners, np.unique(bought.owners))
        assert (values[bought.owners] > 0).all()
        assert np.isfinite(costs[bought.owners]).all()
        free = np.flatnonzero((costs == 0) & (values > 0))
        assert np.isin(free, bought.owners).all()
        best = best_value(values, costs, budget)
        assert bought.value <= best * (1 + GAP)
        assert bought.bound >= best * (1 - GAP)

    holds()


@pytest.mark.parametrize("method", WITHIN_BUDGET)
def test_nobody_overspends_and_free_shards_are_bought_where_sums_round(method):
    """Budgets an ulp below the exact sum of all costs."""
    rng = np.random.default_rng(8)
    rounded = 0
    for case in range(2000):
        n = int(rng.integers(3, 9))
        costs = np.append(rng.integers(1, 10, n) / 10 * rng.choice([1.0, 1 / 3, 1 / 7]), 0.0)
        budget = float(np.cumsum(costs)[-1])
        rounded += math.fsum(costs) > budget
        bought = maximize_coverage(np.ones(n + 1), costs, budget, method=method, rng=np.random.default_rng(case))
        shown = f"{costs.tolist()}, {budget}, seed {case}: {bought}"
        assert math.fsum(costs[bought.owners]) <= budget, shown
        assert n in bought.owners, f"the free shard is missing: {shown}"
    assert rounded > 100


@pytest.mark.parametrize("method", PAY_WHAT_IS_ASKED)
def test_an_exact_fit_is_affordable(method):
    assert maximize_coverage([1.0], [0.3], 0.3, method=method).owners.tolist() == [0]
    # The sum of these floats is the budget; the order in which they are added up must not matter.
    costs = [0.2, 0.3, 0.1]
    assert math.fsum(costs) == 0.6
    for seed in range(6):
        bought = maximize_coverage([1.0, 1.0, 1.0], costs, 0.6, method=method, rng=np.random.default_rng(seed))
        assert bought.owners.tolist() == [0, 1, 2]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_worth_nothing_or_priceless_is_never_bought(method):
    values, costs = [0.0, -1.0, 5.0, 1.0, 2.0], [0.0, 0.0, math.inf, 0.0, 1.0]
    bought = maximize_coverage(values, costs, 10.0, method=method)
    assert (bought.owners.tolist(), bought.value, bought.cost) == ([3, 4], 3.0, 1.0)


@pytest.mark.parametrize("method", WITHIN_BUDGET)
def test_without_money_only_what_is_free_is_bought(method):
    bought = maximize_coverage([1.0, 2.0, 3.0], [0.0, 1e-12, 0.0], 0.0, method=method)
    assert (bought.owners.tolist(), bought.value, bought.bound) == ([0, 2], 4.0, 4.0)


@pytest.mark.parametrize("method", METHODS)
def test_without_offers_nothing_is_bought(method):
    bought = maximize_coverage([], [], 1.0, method=method)
    assert (bought.owners.tolist(), bought.value, bought.cost, bought.bound) == ([], 0.0, 0.0, 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_budget_for_all_buys_all(method):
    rng = np.random.default_rng(9)
    values, costs = rng.uniform(0.1, 1.0, 30), rng.uniform(0.1, 1.0, 30)
    bought = maximize_coverage(values, costs, 100.0, method=method)
    assert bought.owners.tolist() == list(range(30))
    assert bought.bound == pytest.approx(values.sum(), rel=GAP)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("method", METHODS)
def test_every_method_passes_the_shared_check(method, seed):
    check_procurement_method(procurement_methods()[method], seed=seed)


# --- greedy, random, all ---------------------------------------------------------------------------------


@PROPERTY
@given(
    st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)), min_size=1, max_size=10),
    st.floats(0.05, 1.0),
)
def test_greedy_loses_at_most_the_largest_share_of_the_budget(rows, share):
    """At least (1 - zeta) of the optimum where no cost exceeds zeta times the budget."""
    values, costs = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    budget = max(costs.max(), share * costs.sum())
    zeta = costs.max() / budget
    bought = maximize_coverage(values, costs, budget, method="greedy")
    assert bought.value >= (1 - zeta) * best_value(values, costs, budget) * (1 - GAP)


@PROPERTY
@given(
    st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)), min_size=1, max_size=10),
    st.floats(0.05, 1.0),
    st.floats(0.2, 1.0),
)
def test_guess_greedy_loses_at_most_alpha(rows, share, alpha):
    values, costs = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    budget = share * costs.sum()
    bought = maximize_coverage(values, costs, budget, method="guess_greedy", alpha=alpha)
    assert bought.value >= (1 - alpha) * best_value(values, costs, budget) * (1 - GAP)


def greedily(seed, values, costs, budget):
    """Value of the greedy completion of a seed, summed exactly at each step; 0 if the seed is too dear."""
    bought = list(seed)
    if math.fsum(costs[bought]) > budget:
        return 0.0
    for owner in sorted(range(len(values)), key=lambda i: -values[i] / costs[i]):
        if owner not in seed and math.fsum(costs[[*bought, owner]]) <= budget:
            bought.append(owner)
    return math.fsum(values[bought])


def test_guess_greedy_keeps_what_it_has_where_rounding_decides_what_fits():
    """The budget is an ulp below 0.1 + 0.3: the completion of a seed may turn out worth less than thought."""
    bought = maximize_coverage(
        [0.1, 0.4, 0.2, 0.1], [0.4, 0.3, 0.4, 0.1], 0.39999999999999997, method="guess_greedy", alpha=0.3
    )
    assert bought.value == 0.4


@pytest.mark.parametrize("grid", [0, -1, 10**12, 2.5, True])
def test_a_grid_out_of_range_is_refused(grid):
    with pytest.raises(ValueError, match=r"grid: found .* allowed is a whole number of cells from 1 to 10,000,000"):
        maximize_coverage([1.0], [1.0], 1.0, method="ppdp", grid=grid)


@pytest.mark.parametrize("seed_size", [1, 2, 3])
def test_guess_greedy_is_the_best_completion_of_all_seeds(seed_size):
    rng = np.random.default_rng(seed_size)
    better = 0
    for case in range(80):
        n = int(rng.integers(2, 11))
        values, costs = rng.uniform(0.1, 1.0, n), rng.uniform(0.1, 1.0, n)
        if case % 2:  # sums that round, and exact fits
            values, costs = rng.integers(1, 20, n).astype(float), rng.integers(1, 20, n) / 10
        budget = math.fsum(costs[rng.random(n) < 0.5])
        seeds = [seed for k in range(seed_size + 1) for seed in itertools.combinations(range(n), k)]
        best = max(greedily(seed, values, costs, budget) for seed in seeds)
        bought = maximize_coverage(values, costs, budget, method="guess_greedy", alpha=1 / seed_size)
        assert bought.value == pytest.approx(best, rel=GAP, abs=0), f"{values}, {costs}, {budget}: {bought}"
        better += best > greedily((), values, costs, budget) * (1 + GAP)
    assert better > 5


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.34, 1 / 3, 0.25, 0.1])
def test_seeds_are_as_large_as_alpha_needs(alpha):
    size = procurement_methods()["guess_greedy"](alpha=alpha).seed_size
    assert 1 / size <= alpha * (1 + 1e-8)
    assert size == 1 or 1 / (size - 1) > alpha


@PROPERTY
@given(
    st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)), min_size=1, max_size=9),
    st.floats(0.05, 1.0),
    st.sampled_from([1, 2, 7, 20, 100]),
)
def test_the_cost_grid_loses_at_most_a_cell_an_owner(rows, share, grid):
    """It finds at least the best set of costs that are rounded up, and so at least any that leaves a cell an owner."""
    values, costs = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    budget = max(share * costs.sum(), costs.min())
    bought = maximize_coverage(values, costs, budget, method="ppdp", grid=grid)
    cells = [math.ceil(Fraction(cost) * grid / Fraction(budget)) for cost in costs.tolist()]
    sets = [list(s) for k in range(len(costs) + 1) for s in itertools.combinations(range(len(costs)), k)]
    on_grid = max(math.fsum(values[s]) for s in sets if sum(cells[i] for i in s) <= grid)
    with_room = max(math.fsum(values[s]) for s in sets if math.fsum(costs[s]) <= budget * (1 - len(s) / grid))
    assert bought.value >= max(on_grid, with_room) * (1 - GAP)


def test_the_cost_grid_rounds_up_exactly():
    # 0.7 is a hair less than 7/10 of 1, 0.3 of 0.9 a hair less than a third, 0.1 + 0.2 a hair more than 3/10.
    assert _cells(np.array([0.7, 0.1 + 0.2, 1.0, 1e-300]), 1.0, 10).tolist() == [7, 4, 10, 1]
    assert _cells(np.array([0.3]), 0.9, 3).tolist() == [1]


def test_greedy_goes_by_value_per_cost_and_skips_what_no_longer_fits():
    # Ratios 3, 2, 1.5, 1: the third does not fit after the first two, the fourth does.
    bought = maximize_coverage([6.0, 4.0, 4.5, 1.0], [2.0, 2.0, 3.0, 1.0], 5.0, method="greedy")
    assert bought.owners.tolist() == [0, 1, 3]
    # The fractional purchase: both whole, and a third of the third.
    assert bought.bound == pytest.approx(10.0 + 4.5 / 3.0, rel=GAP)


def test_random_follows_its_generator_and_leaves_no_money_that_would_do():
    rng = np.random.default_rng(10)
    values, costs = rng.uniform(0.1, 1.0, 20), rng.uniform(0.5, 1.0, 20)

    def sets(seed):
        return maximize_coverage(values, costs, 5.0, method="random", rng=np.random.default_rng(seed)).owners

    drawn = [sets(seed) for seed in range(30)]
    assert all(np.array_equal(sets(seed), drawn[seed]) for seed in range(30))
    assert len({tuple(owners.tolist()) for owners in drawn}) > 25
    # Every owner has a chance: of 30 draws of 6 or so in 20, nobody is left out (chance 20 * 0.7^30, 4e-4).
    assert set(np.concatenate(drawn).tolist()) == set(range(20))
    for owners in drawn:
        left = 5.0 - costs[owners].sum()
        assert np.delete(costs, owners).min() > left


def test_all_ignores_the_budget_and_says_so():
    bought = maximize_coverage([1.0, 2.0, -1.0], [10.0, 20.0, 0.0], 5.0, method="all")
    assert (bought.owners.tolist(), bought.cost) == ([0, 1], 30.0)
    assert procurement_methods()["all"].overspends
    assert not any(procurement_methods()[name].overspends for name in ("exact", "greedy", "random"))


# --- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "costs", "budget", "named"),
    [
        ([1.0, math.nan], [1.0, 1.0], 1.0, "values"),
        ([1.0, math.inf], [1.0, 1.0], 1.0, "values"),
        ([1.0], [1.0, 1.0], 1.0, "values and costs"),
        ([[1.0]], [[1.0]], 1.0, "values and costs"),
        (1.0, 1.0, 1.0, "values and costs"),
        ([1.0, 1.0], [1.0, -1.0], 1.0, "costs"),
        ([1.0, 1.0], [1.0, math.nan], 1.0, "costs"),
        ([1.0], [1.0], -1.0, "budget"),
        ([1.0], [1.0], math.nan, "budget"),
        ([1.0], [1.0], math.inf, "budget"),
    ],
)
def test_bad_input_is_refused_by_name(values, costs, budget, named):
    with pytest.raises(ValueError, match=named):
        maximize_coverage(values, costs, budget)


LIKE_NUMBERS = [
    (np.array([3, 2.0, np.int8(2)], dtype=object), "objects that are numbers"),
    (np.array([3, 2, 2], dtype=np.uint8), "small unsigned numbers"),
    (np.array([3, 2, 2], dtype=np.float16), "half precision"),
    ((3, Fraction(2), 2), "fractions"),
    (np.ma.array([3.0, 2.0, 2.0]), "nothing masked"),
]


@pytest.mark.parametrize("numbers", [row[0] for row in LIKE_NUMBERS], ids=[row[1] for row in LIKE_NUMBERS])
def test_numbers_of_all_kinds_will_do(numbers):
    for budget in (4, np.int64(4), np.float32(4), Fraction(4), np.longdouble(4)):
        bought = maximize_coverage(numbers, numbers, budget)
        assert (bought.owners.tolist(), bought.value, bought.cost) == ([1, 2], 4.0, 4.0)
    for method, options in (
        ("exact", {"max_states": np.int64(1000), "gap": np.float32(0.0)}),
        ("guess_greedy", {"alpha": np.float32(0.5)}),
        ("guess_greedy", {"alpha": 1e-320}),
        ("ppdp", {"grid": np.int16(4)}),
    ):
        assert maximize_coverage(numbers, numbers, 4, method=method, **options).value == 4.0


NO_NUMBERS = [
    ("12", "found str"),
    (["1", "2"], "found str"),
    (None, "found NoneType"),
    ([1.0, None], "found NoneType"),
    ([True, False], "found bool"),
    (np.array([1, True], dtype=object), "found bool"),
    ([1.0, 2j], "found complex"),
    ([1.0, 10**400], "found int"),
    ({1: 2.0}, "found dict"),
    (np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"), "found datetime64"),
    (np.array([1.0, np.timedelta64(1, "s")], dtype=object), "found timedelta64"),
    (np.ma.array([1.0, 2.0], mask=[False, True]), "found nan at position 1"),
    ([1.0, math.nan], "found nan at position 1"),
    ([-math.inf, 1.0], "found -inf at position 0"),
    ([[1.0], [2.0, 3.0]], "found rows of different lengths"),
    ([[1.0, 2.0]], "found shapes"),
    (5.0, "found shapes"),
]


@pytest.mark.parametrize(("given", "found"), NO_NUMBERS)
def test_what_is_no_list_of_numbers_is_refused_with_what_was_found(given, found):
    with pytest.raises(ValueError, match=f"values.* {found}"):
        maximize_coverage(given, [1.0, 2.0], 3.0)
    with pytest.raises(ValueError, match=f"costs.* {found}"):
        maximize_coverage([1.0, 2.0], given, 3.0)


@pytest.mark.parametrize(
    ("budget", "found"),
    [
        ("4", "a number, found str"),
        (None, "a number, found NoneType"),
        (True, "a number, found bool"),
        (np.bool_(True), "a number, found bool"),
        (4j, "a number, found complex"),
        ([4.0], "a number, found list"),
        (np.array([4.0]), "a number, found ndarray"),
        (np.ma.masked, "a number, found MaskedConstant"),
        (np.timedelta64(4, "s"), "a number, found timedelta64"),
        (math.nan, ">= 0 and finite, found nan"),
        (math.inf, ">= 0 and finite, found inf"),
        (np.float32(-1), ">= 0 and finite, found -1"),
        pytest.param(10**400, ">= 0 and finite, found 1000", id="huge"),
    ],
)
def test_what_is_no_budget_is_refused_with_what_was_found(budget, found):
    with pytest.raises(ValueError, match=f"budget must be {found}"):
        maximize_coverage([1.0, 2.0], [1.0, 2.0], budget)


def test_what_is_no_method_and_no_generator_is_refused():
    for method in (None, 5, ["exact"], b"exact"):
        with pytest.raises(ValueError, match="method must be the name of a procurement method, found"):
            maximize_coverage([1.0], [1.0], 1.0, method=method)
    for rng in (0, np.random.RandomState(0)):
        with pytest.raises(ValueError, match=r"rng must be a numpy\.random\.Generator or None, found"):
            maximize_coverage([1.0], [1.0], 1.0, rng=rng)


@pytest.mark.parametrize("method", METHODS)
def test_numbers_at_the_ends_of_the_range_of_floats_do_no_harm(method):
    for values, costs, budget, least in (
        ([1e100] * 5, [1e100] * 5, 1e100, 1e100),
        ([1e-320] * 5, [1e-320] * 5, 2e-320, 2e-320),
        ([1e100, 1e-320, 1.0], [1e-320, 1e100, 1.0], 1e100, 1e100),
        ([1.0, 2.0, 3.0], [5e-324, 1e-323, 1e-300], 1e-323, 1.0),
        ([5e-324] * 3, [1.0, 2.0, 3.0], 3.0, 5e-324),
        ([1.0, 1.0, 1.0], [1e300, 1e308, math.inf], 1.0, 0.0),
        ([1.0, 1.0, 1.0], [1e100, 1e100, 1e101], 1.7e308, 2.0),
    ):
        bought = maximize_coverage(values, costs, budget, method=method)
        assert bought.value >= least or method not in PAY_WHAT_IS_ASKED
        assert bought.cost <= budget or method == "all"
        assert bought.bound >= bought.value


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("worth", "price"),
    [(1e90, 1e-220), (1e100, 1e-208), (1e8, 1e-300), (1.0, 1e-306), (1.0, 1e-310), (1e-310, 1.0), (1e-310, 1e-310)],
)
def test_values_per_cost_beyond_the_range_of_floats_do_no_harm(method, worth, price):
    rng = np.random.default_rng(1)
    for case in range(40):
        values, costs = rng.uniform(0.1, 1.0, 8) * worth, rng.uniform(0.1, 1.0, 8) * price
        if case % 2:  # beside some of the usual size
            values = np.append(values, rng.uniform(0.1, 1.0, 3))
            costs = np.append(costs, rng.uniform(0.1, 1.0, 3) * rng.choice([price, 1.0]))
        budget = float(costs.sum() * rng.uniform(0.2, 0.8))
        bought = maximize_coverage(values, costs, budget, method=method)
        best = best_value(values, costs, budget)
        shown = f"{values.tolist()}, {costs.tolist()}, {budget}: {bought}, best {best}"
        assert bought.bound >= best * (1 - GAP), shown
        assert bought.cost <= budget or method == "all", shown
        if method == "exact":
            assert bought.value == pytest.approx(best, rel=GAP, abs=0), shown
            assert bought.bound <= best * (1 + 1e-9), shown


def test_offers_in_other_units_are_the_same_to_the_last_bit():
    """From subnormal amounts to the largest, at once and beside free ones."""
    values = np.array([1e100, 3e-150, 5e-324, 2.0])
    costs = np.array([5e-324, 1e-310, 1e100, 0.0])
    offers = _in_range(values, costs, 1e150)
    scaled, asked, money = offers.amounts
    shift = {Fraction(b) / Fraction(a) for a, b in zip(costs.tolist(), asked.tolist(), strict=True) if a}
    assert len(shift) == 1
    assert money >= sum(map(Fraction, asked.tolist()))
    assert np.isfinite(value_per_cost(scaled, asked)[:3]).all()
    assert [Fraction(x) * Fraction(2) ** offers.exponent for x in scaled[[0, 1, 3]].tolist()] == [
        Fraction(x) for x in values[[0, 1, 3]].tolist()
    ]
    usual = (np.array([1.0, 1e-100]), np.array([3.0, 0.0]), 2.0)
    assert _in_range(*usual).amounts == usual


def test_too_many_seeds_are_refused_before_any_is_tried():
    rng = np.random.default_rng(0)
    values, costs = rng.uniform(0.1, 1.0, (2, 60))
    says = r"alpha: found 0\.1, which with 60 owners .* more than 1,000,000,000 seeds; .* 'exact'"
    with pytest.raises(ValueError, match=says):
        maximize_coverage(values, costs, 10.0, method="guess_greedy", alpha=0.1)
    with pytest.raises(ValueError, match=r"alpha: found 1e-12, which with 60 owners"):
        maximize_coverage(values, costs, 10.0, method="guess_greedy", alpha=1e-12)
    # Nothing to guess where all can be bought.
    assert len(maximize_coverage(values, costs, 100.0, method="guess_greedy", alpha=0.1).owners) == 60


def test_a_grid_too_fine_for_so_many_owners_is_refused():
    values = costs = np.ones(1001)
    says = "grid: found 10,000,000 cells, which with 1,001 owners .*; allowed are 9,990,009 cells, or .* 'exact'"
    with pytest.raises(ValueError, match=says):
        maximize_coverage(values, costs, 500.0, method="ppdp", grid=10**7)


def test_unknown_methods_and_options_are_refused_by_name():
    with pytest.raises(ValueError, match="procurement method 'best'"):
        maximize_coverage([1.0], [1.0], 1.0, method="best")
    with pytest.raises(ValueError, match="no option 'depth'"):
        maximize_coverage([1.0], [1.0], 1.0, method="exact", depth=3)
    for max_states in (0, 1.5, True, "10", None):
        with pytest.raises(ValueError, match="max_states: found"):
            maximize_coverage([1.0], [1.0], 1.0, method="exact", max_states=max_states)
    for gap in (-1e-9, 1, math.nan, True, "small", 1j):
        with pytest.raises(ValueError, match="gap: found"):
            maximize_coverage([1.0], [1.0], 1.0, method="exact", gap=gap)
    for grid in (0, -1, 1.5, True, "10"):
        with pytest.raises(ValueError, match="grid: found"):
            maximize_coverage([1.0], [1.0], 1.0, method="ppdp", grid=grid)
    for alpha in (0, -0.5, 1.5, math.nan, True, "half"):
        with pytest.raises(ValueError, match="alpha: found"):
            maximize_coverage([1.0], [1.0], 1.0, method="guess_greedy", alpha=alpha)


# --- the shared check catches what it is for -------------------------------------------------------------


class Twice(ProcurementMethod):
    """Buys everybody twice."""

    name = "twice"

    def choose(self, values, costs, budget, rng):
        free = np.flatnonzero(costs == 0)
        return np.concatenate([free, free]), math.inf


class Stingy(ProcurementMethod):
    """Never spends all of its money."""

    name = "stingy"

    def choose(self, values, costs, budget, rng):
        return np.flatnonzero(costs < budget / (len(costs) + 1)), math.inf


class Spendthrift(ProcurementMethod):
    """Buys everybody."""

    name = "spendthrift"

    def choose(self, values, costs, budget, rng):
        return np.arange(len(values)), math.inf


class Rounder(ProcurementMethod):
    """Takes what costs a billionth more than is left."""

    name = "rounder"

    def choose(self, values, costs, budget, rng):
        chosen, left = [], budget
        for owner in np.argsort(costs, kind="stable").tolist():
            if costs[owner] <= left * (1 + 1e-9):
                chosen.append(owner)
                left -= costs[owner]
        return np.array(chosen, dtype=int), math.inf


class Fickle(ProcurementMethod):
    """Buys what comes to its mind."""

    name = "fickle"
    calls = 0

    def choose(self, values, costs, budget, rng):
        Fickle.calls += 1
        order = np.argsort((np.arange(len(values)) * 7 + Fickle.calls) % 11)
        return fill(order, costs, budget), math.inf


class Boaster(ProcurementMethod):
    """Says that nothing beats what it buys."""

    name = "boaster"

    def choose(self, values, costs, budget, rng):
        chosen = fill(np.arange(len(values)), costs, budget)
        return chosen, math.fsum(values[chosen])


class Nameless(ProcurementMethod):
    """Has no name."""


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Twice, "twice"),
        (Stingy, "exact fit"),
        (Nameless, "needs a name"),
        (Fickle, "second call"),
        (Boaster, "more than its bound"),
        (Spendthrift, "spent"),
        (Rounder, "a hair below their sum: .* spent"),
    ],
)
def test_the_shared_check_catches_broken_methods(cls, message):
    with pytest.raises(AssertionError, match=message):
        check_procurement_method(cls)


def test_a_method_that_overspends_unannounced_is_stopped():
    with pytest.raises(RuntimeError, match=r"Spendthrift.* spent 3\.0 of a budget of 2\.0"):
        maximize_coverage([1.0, 1.0], [1.0, 2.0], 2.0, method=f"{__name__}:Spendthrift")
    assert maximize_coverage([1.0, 1.0], [1.0, 1.0], 2.0, method=f"{__name__}:Spendthrift").cost == 2.0
