"""The arbitrage check and the repair against independent oracles: dynamic programming, enumeration, a MILP."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, milp

from simulator.pricing import arbitrage, find_arbitrage, greatest_feasible, repair
from simulator.pricing.arbitrage import cheapest_cover

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=200)

#: Sizes, and so whether a bundle covers, are compared at this relative tolerance (the model's own figure).
SAME = 1e-12
#: From this share of the price a saving counts (the model's own figure).
SAVING = 1e-9


def cheapest_by_dynamic_programme(x, prices, needed):
    """Unbounded covering knapsack on whole sizes: cost[s] = min over versions of cost[s - x] + price."""
    cost = [0.0]
    for s in range(1, needed + 1):
        cost.append(min(cost[max(s - size, 0)] + price for size, price in zip(x, prices, strict=True)))
    return cost[needed]


def cheapest_by_enumeration(x, prices, needed):
    """All bundles that hold no more of a version than would do alone."""
    most = [math.ceil(needed / size * (1 - SAME)) for size in x]
    bundles = np.stack(np.meshgrid(*(np.arange(k + 1) for k in most), indexing="ij"), axis=-1).reshape(-1, len(x))
    return (bundles[bundles @ x >= needed * (1 - SAME)] @ prices).min()


def random_list(rng, x):
    """Prices of one of several kinds: unrelated to size, nearly proportional, nearly constant."""
    kind = rng.integers(4)
    if kind == 0:
        return rng.integers(1, 40, len(x)).astype(float)
    if kind == 1:
        return np.round(x * rng.uniform(1.0, 1.4, len(x)) * 10.0)
    if kind == 2:
        return np.sort(rng.integers(1, 60, len(x))).astype(float)
    return np.round(10.0 * np.sqrt(x) * rng.uniform(0.9, 1.1, len(x)))


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_agrees_with_a_dynamic_programme_on_whole_epsilons(composition):
    rng = np.random.default_rng(len(composition))
    found_some = found_none = 0
    for _ in range(400):
        epsilons = np.sort(rng.choice(np.arange(1, 15), int(rng.integers(1, 7)), replace=False))
        x = epsilons if composition == "additive" else epsilons**2
        prices = random_list(rng, x)
        # Whole prices and sizes: all sums are exact.
        cheapest = [cheapest_by_dynamic_programme(x.tolist(), prices.tolist(), size) for size in x.tolist()]
        savings = prices - cheapest
        found = find_arbitrage(epsilons, prices, composition=composition)
        shown = f"{epsilons.tolist()}, {prices.tolist()}: {found}, savings {savings}"
        assert repair(x.astype(float), prices).tolist() == cheapest, shown
        if savings.max() == 0:
            found_none += 1
            assert found is None, shown
            continue
        found_some += 1
        assert found.saving == savings.max(), shown
        assert found.version == savings.argmax(), shown  # ties: the lower version
        assert found.cost == cheapest[found.version], shown
        assert found.bundle @ x >= x[found.version], shown
        assert found.bundle @ prices == found.cost, shown
    assert min(found_some, found_none) > 20


def test_agrees_with_enumeration_on_real_epsilons():
    rng = np.random.default_rng(1)
    for _ in range(300):
        x = np.cumsum(rng.uniform(0.2, 1.0, int(rng.integers(1, 5))))
        prices = random_list(rng, x) * rng.uniform(0.5, 2.0)
        for size in x:
            cost, counts = cheapest_cover(x, prices, size)
            # The same bundle is summed in another order.
            assert cost == pytest.approx(cheapest_by_enumeration(x, prices, size), rel=SAME)
            assert counts @ x >= size * (1 - SAME)
            assert counts @ prices == pytest.approx(cost, rel=SAME)


def test_agrees_with_a_milp_on_longer_lists(capfd):
    rng = np.random.default_rng(2)
    compared = 0
    for _ in range(60):
        x = np.cumsum(rng.uniform(0.1, 1.0, 12))
        prices = np.sort(rng.lognormal(2.0, 0.7, 12))
        for version in (5, 11):
            solved = milp(
                prices,
                constraints=LinearConstraint(x[None, :], lb=x[version]),
                integrality=np.ones(12),
                options={"mip_rel_gap": 0.0, "time_limit": 10.0},
            )
            cost, counts = cheapest_cover(x, prices, x[version])
            assert counts @ x >= x[version] * (1 - SAME)
            bundle = np.round(solved.x)
            if solved.status == 0 and bundle @ x >= x[version]:  # it may cover a little less than asked
                compared += 1
                # HiGHS proves its optimum to an absolute 1e-6.
                assert cost == pytest.approx(bundle @ prices, abs=1e-6)
                assert cost <= bundle @ prices * (1 + SAME)
    assert compared > 100
    capfd.readouterr()  # the solver may write to the terminal


# --- nearly proportional lists -----------------------------------------------------------------------------

#: Relative accuracy of covers that are joined from halves (the model's own figure).
JOINED = 5e-10


@pytest.fixture(params=["complete", "partial"])
def halves_only(request, monkeypatch):
    """Every cover that one bound does not settle is joined from halves, of all sizes or of small ones only."""
    monkeypatch.setattr(arbitrage, "PLAIN_NODES", 1)
    if request.param == "partial":
        monkeypatch.setattr(arbitrage, "MOST_COMPLETE", 0)
        monkeypatch.setattr(arbitrage, "MOST_PARTIAL", 12)


@pytest.mark.usefixtures("halves_only")
@pytest.mark.parametrize("whole", [True, False])
def test_joining_halves_finds_the_cheapest_covers(whole):
    rng = np.random.default_rng(6)
    below = 0
    for _ in range(150):
        n_versions = int(rng.integers(2, 10 if whole else 5))
        if whole:
            x = np.sort(rng.choice(np.arange(1.0, 80.0), n_versions, replace=False))
        else:
            x = np.cumsum(rng.uniform(0.2, 1.0, n_versions))
        prices = (
            random_list(rng, x)
            if rng.random() < 0.5
            else x * (1 + 10.0 ** -rng.integers(1, 8) * rng.random(n_versions))
        )
        for size in x:
            cost, counts = cheapest_cover(x, prices, size)
            if whole:
                expected = cheapest_by_dynamic_programme(x.astype(int).tolist(), prices.tolist(), int(size))
            else:
                expected = cheapest_by_enumeration(x, prices, size)
            shown = f"{x.tolist()}, {prices.tolist()}, {size}: {cost}, {counts}"
            assert cost == pytest.approx(expected, rel=JOINED), shown
            assert counts @ x >= size * (1 - SAME), shown
            assert counts @ prices == pytest.approx(cost, rel=SAME), shown
        below += find_arbitrage(x, prices) is not None
    assert 20 < below < 150


@pytest.mark.parametrize("noise", [0.0, 1e-3, 1e-6, 1e-8, 1e-12])
@pytest.mark.parametrize("exponent", [1.0, 0.9, 0.99])
def test_forty_versions_nearly_proportional(noise, exponent):
    """Against the dynamic programme on whole sizes; the largest saving may be missed by what hardly counts."""
    rng = np.random.default_rng(7)
    for dear in (False, True):
        x = np.sort(rng.choice(np.arange(1, 300), 40, replace=False))
        prices = x**exponent * (1 + noise * rng.random(40))
        if dear:
            prices[rng.integers(20, 40)] *= 1.001
        cost = [0.0]
        for s in range(1, x[-1] + 1):
            cost.append((np.array(cost)[np.maximum(s - x, 0)] + prices).min())
        savings = prices - np.array(cost)[x]
        found = find_arbitrage(x, prices)
        if (savings <= SAVING * prices * (1 - 1e-3)).all():
            assert found is None
        else:
            assert found.saving == pytest.approx(savings.max(), abs=2 * JOINED * prices[-1])
            assert found.bundle @ x >= x[found.version]
            assert found.bundle @ prices == pytest.approx(prices[found.version] - found.saving, rel=SAME)
        repaired = repair(x.astype(float), prices)
        assert repaired == pytest.approx(np.array(cost)[x], rel=JOINED)
        assert find_arbitrage(x, repaired) is None


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_a_version_may_be_covered_by_a_million_copies(composition):
    epsilons = np.array([1e-3, 2.5, 1e3])
    x = epsilons if composition == "additive" else epsilons**2
    copies = round(x[2] / x[0])
    found = find_arbitrage(epsilons, [x[0], 1.1 * x[1], 1.01 * x[2]], composition=composition)
    assert found.version == 2
    assert found.bundle.tolist() == pytest.approx([copies, 0, 0], rel=SAME)  # one copy is within the tolerance
    assert find_arbitrage(epsilons, x, composition=composition) is None


@pytest.mark.parametrize(("step", "copies"), [(0.1, 10), (0.1, 3), (0.7, 3), (1 / 3, 3), (1e-3, 1000), (1.1, 7)])
def test_copies_cover_although_their_float_sum_is_too_small(step, copies):
    """Ten times 0.1 covers 1."""
    whole = round(step * copies, 12)
    found = find_arbitrage([step, whole], [1.0, copies + 0.5])
    assert found.bundle.tolist() == [copies, 0]
    assert found.cost == copies
    assert found.saving == 0.5


def test_a_mixture_covers_although_its_float_sum_is_too_small():
    # 0.1 + 0.7 is less than 0.8 in floats. Eight copies of the first cost 12, two of the second as much.
    assert 0.1 + 0.7 < 0.8
    found = find_arbitrage([0.1, 0.7, 0.8], [1.5, 6.0, 8.5])
    assert (found.version, found.bundle.tolist(), found.cost) == (2, [1, 1, 0], 7.5)


def test_a_saving_counts_from_a_billionth_of_the_price():
    assert find_arbitrage([1, 2], [1.0, 2.0 * (1 + 0.5 * SAVING)]) is None
    assert find_arbitrage([1, 2], [1.0, 2.0 * (1 + 2.0 * SAVING)]).version == 1
    # It is a share of the price, whatever the unit of money.
    assert find_arbitrage([1, 2], [1e9, 2e9 * (1 + 0.5 * SAVING)]) is None
    assert find_arbitrage([1, 2], [1e-9, 2e-9 * (1 + 2.0 * SAVING)]).version == 1


def test_bundles_of_several_versions_are_found():
    # 5 = 2 + 3 at 5.5; three of the first cost 6, two of the second 7.
    found = find_arbitrage([2, 3, 5], [2.0, 3.5, 5.8])
    assert (found.version, found.bundle.tolist(), found.cost) == (2, [1, 1, 0], 5.5)
    assert found.saving == pytest.approx(0.3, rel=SAME)


def test_a_larger_version_may_undercut_a_smaller_one():
    found = find_arbitrage([1, 2], [3.0, 2.0])
    assert (found.version, found.bundle.tolist(), found.saving) == (0, [0, 1], 1.0)


def test_the_quadratic_rule_adds_squares():
    assert find_arbitrage([1, 2], [1.0, 3.0]).bundle.tolist() == [2, 0]
    assert find_arbitrage([1, 2], [1.0, 3.0], composition="quadratic") is None
    assert find_arbitrage([1, 2], [1.0, 4.0], composition="quadratic") is None
    found = find_arbitrage([1, 2], [1.0, 4.5], composition="quadratic")
    assert (found.bundle.tolist(), found.saving) == ([4, 0], 0.5)
    # Two copies make the root of two.
    assert find_arbitrage([1, math.sqrt(2)], [1.0, 2.5], composition="quadratic").bundle.tolist() == [2, 0]


def test_free_versions():
    assert find_arbitrage([1, 2], [0.0, 0.0]) is None
    found = find_arbitrage([1, 2], [0.0, 1.0])
    assert (found.version, found.bundle.tolist(), found.cost) == (1, [2, 0], 0.0)


def test_one_version_admits_no_arbitrage():
    assert find_arbitrage([0.3], [7.0]) is None


prices_and_steps = st.lists(
    st.tuples(st.floats(0.05, 3.0), st.floats(1e-3, 1e3)),
    min_size=1,
    max_size=5,
)


@PROPERTY
@given(prices_and_steps)
def test_a_list_without_additive_arbitrage_has_no_quadratic_arbitrage(rows):
    x = np.cumsum([row[0] for row in rows])
    prices = repair(x, np.array([row[1] for row in rows]))
    assert find_arbitrage(x, prices) is None
    assert find_arbitrage(x, prices, composition="quadratic") is None


@PROPERTY
@given(prices_and_steps)
def test_relaxed_lists_are_arbitrage_free(rows):
    """Prices that rise while prices per size fall: the relaxation's promise."""
    x = np.cumsum([row[0] for row in rows])
    assert find_arbitrage(x, greatest_feasible(x, np.array([row[1] for row in rows]))) is None


@PROPERTY
@given(prices_and_steps, st.lists(st.floats(0.1, 1.0), min_size=5, max_size=5))
def test_repair_is_the_greatest_arbitrage_free_list_below(rows, slopes):
    x, given_prices = np.cumsum([row[0] for row in rows]), np.array([row[1] for row in rows])
    repaired = repair(x, given_prices)
    assert (repaired <= given_prices).all()
    assert find_arbitrage(x, repaired) is None
    # Repairing twice changes nothing, but for the order of sums.
    assert repair(x, repaired) == pytest.approx(repaired, rel=SAME)
    # Any other arbitrage-free list below the prices lies below the repaired one.
    other = repair(x, np.array(slopes[: len(x)]) * given_prices)
    assert (other <= repaired * (1 + SAME)).all()
    assert (greatest_feasible(x, given_prices) <= repaired * (1 + SAME)).all()


def test_repair_takes_no_bound_for_a_version_without_a_price():
    assert repair(np.array([1.0, 2.0, 3.0]), np.array([2.0, np.inf, 5.0])).tolist() == [2.0, 4.0, 5.0]
    assert repair(np.array([1.0, 2.0, 3.0]), np.array([np.inf, np.inf, 5.0])).tolist() == [5.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("epsilons", "prices", "named"),
    [
        ([1.0, 2.0], [1.0], "prices"),
        ([1.0, 2.0], [[1.0, 2.0]], "prices"),
        ([1.0, 2.0], [1.0, -2.0], "prices"),
        ([1.0, 2.0], [1.0, np.nan], "prices"),
        ([1.0, 2.0], [1.0, np.inf], "prices"),
        ([2.0, 1.0], [1.0, 2.0], "epsilons"),
        ([1.0, 1.0], [1.0, 2.0], "epsilons"),
        ([0.0, 1.0], [1.0, 2.0], "epsilons"),
        ([1.0, np.nan], [1.0, 2.0], "epsilons"),
        ([], [], "epsilons"),
    ],
)
def test_bad_input_is_refused_by_name(epsilons, prices, named):
    with pytest.raises(ValueError, match=named):
        find_arbitrage(epsilons, prices)


def test_an_unknown_composition_rule_is_refused_by_name():
    with pytest.raises(ValueError, match="composition"):
        find_arbitrage([1.0], [1.0], composition="cubic")
