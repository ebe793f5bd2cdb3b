"""Coarse to fine: whatever it leaves out, the list and its revenue are those of the programme on all answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.pricing import Survey, maximize_revenue, refine, revenue
from simulator.pricing.refine import Ranges, contenders

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=150)

#: Sums of up to ten products in another order.
ROUNDING = 1e-13

FAMILIES = {
    "uniform": lambda rng, m: 1.0 - rng.random(m),
    "lognormal": lambda rng, m: rng.lognormal(4.0, 1.0, m),
    "heavy tail": lambda rng, m: 1.0 + rng.pareto(1.0, m),
    "sigmoid": lambda rng, m: 100.0 / (1.0 + np.exp(-10.0 * (rng.random(m) - 0.5))),
    "ten values": lambda rng, m: rng.integers(1, 11, m).astype(float),
    "cents": lambda rng, m: np.round(rng.lognormal(4.0, 1.0, m), 2) + 0.99,
    "one value": lambda rng, m: np.full(m, 7.0),
    "flat revenue": lambda rng, m: 1e4 / rng.permutation(np.arange(1.0, m + 1.0)),
    "wide": lambda rng, m: np.exp(rng.uniform(-60.0, 60.0, m)),
    "an ulp apart": lambda rng, m: 1.0 + rng.integers(0, 4, m) * np.finfo(float).eps,
}
EPSILONS = {
    "one": [2.0],
    "even": np.arange(1.0, 6.0),
    "near": np.linspace(1.0, 1.4, 8),
    "doubling": 2.0 ** np.arange(8),
}


@pytest.fixture
def refined(monkeypatch):
    """Refine however few the answers are."""

    def always(*arguments, **options):
        with monkeypatch.context() as patch:
            patch.setattr(refine, "FEW", 0)
            patch.setattr(revenue, "DIRECT", 0)
            return maximize_revenue(*arguments, **options)

    return always


@pytest.fixture
def direct(monkeypatch):
    """Never refine."""

    def never(*arguments, **options):
        with monkeypatch.context() as patch:
            patch.setattr(revenue, "DIRECT", np.inf)
            return maximize_revenue(*arguments, **options)

    return never


def assert_same(one, other, shown):
    assert one.revenue == pytest.approx(other.revenue, rel=ROUNDING), shown
    # Of equal lists the same one; a price may be reached by several answers, up to the tolerance of prices.
    assert one.prices == pytest.approx(other.prices, rel=1e-11), shown
    assert one.bound == pytest.approx(other.bound, rel=ROUNDING), shown


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
@pytest.mark.parametrize("grid", EPSILONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_large_surveys_are_priced_as_by_the_programme_on_all_answers(family, grid, composition, refined, direct):
    epsilons = np.asarray(EPSILONS[grid])
    rng = np.random.default_rng(len(family) * 31 + len(grid))
    for weighted in (False, True):
        targets = rng.integers(0, len(epsilons), 1500)
        # Some want only what is dear, so that constraints between versions bind.
        values = FAMILIES[family](rng, 1500) * epsilons[targets] ** rng.uniform(-0.5, 1.5)
        weights = rng.uniform(0.5, 2.0, 1500) if weighted else None
        survey = (epsilons, targets, values)
        options = {"weights": weights, "composition": composition}
        assert_same(refined(*survey, **options), direct(*survey, **options), f"{family}, {grid}, {weighted}")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_repeated_answers_count_as_often_as_they_are_given(family, weighted, direct):
    """Above the limit, many answers of few values are counted by value; values close together are not merged."""
    rng = np.random.default_rng(9)
    epsilons, m = np.arange(1.0, 4.0), refine.DIRECT + 1000
    survey = (epsilons, rng.integers(0, 3, m), FAMILIES[family](rng, m))
    weights = rng.uniform(0.5, 2.0, m) if weighted else None
    assert_same(maximize_revenue(*survey, weights=weights), direct(*survey, weights=weights), family)


@PROPERTY
@given(st.data())
def test_small_surveys_as_well(data):
    n_versions = data.draw(st.integers(1, 4))
    steps = data.draw(st.lists(st.sampled_from([1e-8, 0.1, 1.0, 3.0]), min_size=n_versions, max_size=n_versions))
    answers = data.draw(
        st.lists(
            st.tuples(st.integers(0, n_versions - 1), st.sampled_from([1e-9, 0.1, 1.0, 2.0, 3.0, 5.0, 1e9])),
            min_size=1,
            max_size=12,
        )
    )
    targets, values = (np.array(column) for column in zip(*answers, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        whole = maximize_revenue(np.cumsum(steps), targets, values)
        patch.setattr(refine, "FEW", 0)
        patch.setattr(revenue, "DIRECT", 0)
        assert_same(maximize_revenue(np.cumsum(steps), targets, values), whole, answers)


@pytest.mark.parametrize("family", ["uniform", "lognormal", "heavy tail", "sigmoid", "cents"])
def test_few_answers_are_left_of_many(family):
    """The point of it: the exact programme sees about as many answers however many were given."""
    rng = np.random.default_rng(3)
    m = 200_000
    survey = Survey(rng.integers(0, 5, m), FAMILIES[family](rng, m))
    left = contenders(np.arange(1.0, 6.0), survey)
    assert sum(len(answers) for answers in left.answers) <= refine.FEW


@pytest.mark.parametrize("weighted", [False, True])
def test_demand_is_exact_where_prices_are_left(weighted):
    rng = np.random.default_rng(4)
    m = 20_000
    weights = rng.integers(1, 4, m).astype(float) if weighted else None  # whole numbers: sums are exact
    survey = Survey(rng.integers(0, 3, m), rng.lognormal(2.0, 1.0, m), weights)
    left = contenders(np.array([1.0, 2.0, 3.0]), survey)
    for k, (ranges, demand) in enumerate(zip(left.ranges, left.demands, strict=True)):
        own = survey.demand(k)
        for low, high in zip(ranges.low, ranges.high, strict=True):
            prices = np.linspace(low, high, 50, endpoint=False)
            assert np.array_equal(demand(prices), own(prices))
        assert demand.monopoly() == own.monopoly()


def test_ranges_split_without_gap_or_overlap():
    ranges = Ranges(np.array([1.0, 5.0]), np.array([2.0, 9.0]))
    parts = ranges.split()
    assert len(parts) == 2 * refine.PARTS
    assert np.array_equal(parts.low[1 : refine.PARTS], parts.high[: refine.PARTS - 1])
    assert (parts.low[0], parts.high[refine.PARTS - 1]) == (1.0, 2.0)
    assert (parts.low[refine.PARTS], parts.high[-1]) == (5.0, 9.0)
    assert ranges.contains(np.array([0.9, 1.0, 1.9, 3.0, 5.0, 9.5])).tolist() == [False, True, True, False, True, False]
