"""The baselines of a comparison, against brute force, closed forms and worked examples, under both rules."""

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.checks import check_pricing_strategy
from simulator.pricing import PricingContext, PricingStrategy, Survey, find_arbitrage, pricing_strategies
from simulator.records import Purchases

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=100)
COMPOSITIONS = ("additive", "quadratic")
EACH = {
    "low_each": lambda values, weights: min(values),
    "median_each": lambda values, weights: middle_of(values, weights),
    "high_each": lambda values, weights: max(values),
}

#: Revenues and prices that are sums of a few products in another order.
ROUNDING = 1e-12


def middle_of(values, weights):
    """Halfway between the smallest and the largest value with at most half of the weight on either side."""
    half = math.fsum(weights) / 2 * (1 + ROUNDING)
    middles = [v for v in values if weights[values < v].sum() <= half and weights[values > v].sum() <= half]
    return (min(middles) + max(middles)) / 2


def context(survey, epsilons, composition="additive", **known):
    given_ = {
        "survey": survey,
        "epsilons": np.asarray(epsilons, dtype=float),
        "composition": composition,
        "n_buyers": len(survey),
        "round": 1,
        "rounds": 1,
        "last_purchases": None,
        "last_sales": None,
        "rng": np.random.default_rng(0),
    }
    return PricingContext(**given_ | known)


def make(name, **options):
    return pricing_strategies()[name](**options)


def price(name, ctx, **options):
    return make(name, **options).prices(ctx)


def revenue(prices, survey):
    """What a list earns on a survey, answer by answer, prices and answers compared exactly."""
    answers = zip(survey.targets.tolist(), survey.values.tolist(), survey.weights.tolist(), strict=True)
    return math.fsum(weight * prices[k] for k, value, weight in answers if value >= prices[k])


def sizes_of(epsilons, composition):
    return np.asarray(epsilons, dtype=float) ** (1 if composition == "additive" else 2)


def cheapest_cover(x, prices, needed):
    """Cost of the cheapest bundle that covers `needed`, by trying all; a version priced `inf` is not for sale."""
    sold = np.isfinite(prices)
    most = [range(math.ceil(needed / size) + 1) for size in x[sold]]
    bundles = np.array(list(itertools.product(*most)))
    return float((bundles @ prices[sold])[bundles @ x[sold] >= needed * (1 - ROUNDING)].min())


def greatest_below(x, caps):
    """The greatest arbitrage-free list nowhere above the caps, by trying all bundles."""
    return np.array([min(caps[k], cheapest_cover(x, caps, x[k])) for k in range(len(x))])


def feasible(x, prices):
    """Whether prices do not fall and prices per size do not rise: the relaxed constraints."""
    unit = prices / x
    rising = prices[1:] >= prices[:-1] * (1 - ROUNDING)
    return bool((rising & (unit[1:] <= unit[:-1] * (1 + ROUNDING))).all())


def random_survey(rng, versions=4, answers=9):
    """Epsilons in whole numbers and a survey with ties, weights, and versions nobody asks for."""
    n_versions = int(rng.integers(1, versions + 1))
    epsilons = np.sort(rng.choice(np.arange(1, 6), n_versions, replace=False)).astype(float)
    count = int(rng.integers(1, answers + 1))
    wanted = rng.choice(n_versions, int(rng.integers(1, n_versions + 1)), replace=False)
    values = rng.integers(1, 30, count).astype(float) if rng.random() < 0.5 else rng.lognormal(2.0, 1.0, count)
    weights = rng.uniform(0.5, 3.0, count) if rng.random() < 0.5 else None
    return epsilons, Survey(rng.choice(wanted, count), values, weights)


magnitudes = st.integers(-6, 6).flatmap(lambda e: st.floats(1.0, 9.99).map(lambda f: f * 10.0**e))


@st.composite
def contexts(draw, spread=magnitudes):
    """Rounds to price: prices over twelve orders of magnitude, epsilons near and far, owners absent, any past."""
    n_versions = draw(st.integers(1, 5))
    steps = draw(st.lists(st.sampled_from([0.1, 0.5, 1.0, 3.0]), min_size=n_versions, max_size=n_versions))
    answers = draw(st.integers(1, 10))

    def each(count, values):
        return draw(st.lists(values, min_size=count, max_size=count))

    owners = draw(st.integers(1, 4))
    asked = np.array([each(owners, st.one_of(spread, st.sampled_from([0.0, np.inf]))) for _ in range(n_versions)])
    purchases = None
    if draw(st.booleans()):
        bought = np.array([each(owners, st.booleans()) for _ in range(n_versions)])
        purchases = Purchases(bought, np.ones(bought.shape), np.ones(n_versions), np.ones(n_versions))
    return context(
        Survey(each(answers, st.integers(0, n_versions - 1)), each(answers, spread), each(answers, spread)),
        np.cumsum(steps),
        draw(st.sampled_from(COMPOSITIONS)),
        rng=np.random.default_rng(draw(st.integers(0, 99))),
        last_purchases=purchases,
        asked=asked,
    )


@PROPERTY
@given(ctx=contexts())
def test_every_list_is_arbitrage_free_by_default(ctx):
    for name in ("cost_plus", "dpp", "high_each", "low_each", "mbp", "median_each", "proportional", "random"):
        prices = price(name, ctx)
        assert (np.isfinite(prices) & (prices > 0)).all(), name
        assert find_arbitrage(ctx.epsilons, prices, composition=ctx.composition) is None, name


# --- per version -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("name", EACH)
def test_each_version_at_its_own_answer_raw_and_repaired(name, composition):
    """Raw: the statistic; repaired: the greatest arbitrage-free list below, by trying all bundles."""
    rng = np.random.default_rng(len(name) + len(composition))
    repaired = filled = 0
    for _ in range(150):
        epsilons, survey = random_survey(rng)
        ctx, x = context(survey, epsilons, composition), sizes_of(epsilons, composition)
        answers = [survey.of(k) for k in range(len(epsilons))]
        own = np.array([EACH[name](a.values, a.weights) if len(a) else np.inf for a in answers])
        raw, posted = price(name, ctx, raw=True), price(name, ctx)
        asked = np.isfinite(own)
        assert raw[asked].tolist() == own[asked].tolist()
        # A version nobody asked for costs what the cheapest bundle of the others costs: nothing dearer fits.
        assert raw[~asked] == pytest.approx([cheapest_cover(x, own, size) for size in x[~asked]], rel=ROUNDING)
        assert posted == pytest.approx(greatest_below(x, own), rel=ROUNDING)
        repaired += not np.array_equal(posted[asked], own[asked])
        filled += not asked.all()
    assert repaired > 20
    assert filled > 20


def test_each_version_worked_by_hand():
    ctx = context(Survey([0, 0, 0, 2, 2, 2], [4.0, 2.0, 5.0, 9.0, 30.0, 7.0]), [1, 2, 3])
    assert price("low_each", ctx, raw=True).tolist() == [2.0, 4.0, 7.0]
    assert price("median_each", ctx, raw=True).tolist() == [4.0, 8.0, 9.0]
    assert price("high_each", ctx, raw=True).tolist() == [5.0, 10.0, 30.0]
    # Three copies of the first version, at 6 and at 15; at 12 they cost more than 9.
    assert price("low_each", ctx).tolist() == [2.0, 4.0, 6.0]
    assert price("median_each", ctx).tolist() == [4.0, 8.0, 9.0]
    assert price("high_each", ctx).tolist() == [5.0, 10.0, 15.0]
    # In squares the sizes are 1, 4 and 9: nine copies are needed.
    assert price("high_each", replace(ctx, composition="quadratic")).tolist() == [5.0, 20.0, 30.0]


@pytest.mark.parametrize("name", ["median", "median_each"])
def test_a_weighted_median_is_that_of_repeated_answers(name):
    rng = np.random.default_rng(17)
    for _ in range(200):
        count = int(rng.integers(1, 8))
        targets, values = rng.integers(0, 2, count), rng.integers(1, 6, count).astype(float)
        times = rng.integers(1, 4, count)
        weighted = Survey(targets, values, times / 3.0)
        repeated = Survey(np.repeat(targets, times), np.repeat(values, times))
        expected = price(name, context(repeated, [1.0, 2.0]))
        assert price(name, context(weighted, [1.0, 2.0])) == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize("name", [*EACH, "random", "linear"])
def test_one_answer_prices_the_whole_list(name):
    """Smaller versions cost as much, larger ones the copies that cover them."""
    ctx = context(Survey([1], [6.0]), [1, 2, 4, 7])
    expected = [6.0] * 4 if name == "linear" else [6.0, 6.0, 12.0, 24.0]
    assert price(name, ctx).tolist() == expected


# --- proportional ----------------------------------------------------------------------------------------


def test_proportional_is_the_best_line_through_the_origin():
    """Every line that touches an answer is tried; some optimal line does, since all others can be raised to it."""
    rng = np.random.default_rng(1)
    for _ in range(300):
        epsilons, survey = random_survey(rng, answers=20)
        prices = price("proportional", context(survey, epsilons))
        slopes = survey.values / epsilons[survey.targets]
        # Just below each touching line, where rounding cannot lose the answer that it touches.
        best = max(revenue(s * (1 - 1e-14) * epsilons, survey) for s in slopes)
        assert revenue(prices, survey) == pytest.approx(best, rel=1e-11)
        assert prices / prices[0] == pytest.approx(epsilons / epsilons[0], rel=1e-11)
        for s in rng.uniform(0, slopes.max(), 5):
            assert revenue(s * epsilons, survey) <= revenue(prices, survey) * (1 + 1e-11)


def test_proportional_is_the_same_under_both_rules():
    rng = np.random.default_rng(2)
    for _ in range(50):
        epsilons, survey = random_survey(rng)
        additive, quadratic = (price("proportional", context(survey, epsilons, c)) for c in COMPOSITIONS)
        assert additive.tolist() == quadratic.tolist()


def test_proportional_on_uniform_values_is_half_the_top_of_each():
    """Worth uniform on (0, eps_k] at each version: slope 1/2, a quarter of the top from each buyer."""
    n, epsilons = 1000, np.array([1.0, 2.5, 6.0])
    grid = np.arange(1, n + 1) / n
    survey = Survey(np.repeat([0, 1, 2], n), np.concatenate([eps * grid for eps in epsilons]))
    prices = price("proportional", context(survey, epsilons))
    # Half of the grid and one step more earn the same; of equals the higher slope is taken.
    assert prices == pytest.approx(epsilons / 2, rel=2.1 / n)
    assert revenue(prices, survey) / n == pytest.approx(epsilons.sum() / 4, rel=2.1 / n)


def test_rounding_on_the_line_does_not_lose_the_marginal_buyer():
    for eps in np.arange(1, 300) / 10:
        survey = Survey([0, 1], [0.7 * eps, 0.7 * (eps + 0.3)])
        prices = price("proportional", context(survey, [eps, eps + 0.3]))
        assert (survey.values >= prices).all()
        assert prices == pytest.approx(survey.values, rel=ROUNDING)


@PROPERTY
@given(
    st.lists(st.floats(0.01, 100.0), min_size=1, max_size=6, unique=True).map(sorted),
    st.floats(0.01, 100.0),
    st.lists(st.integers(0, 5), min_size=6, max_size=6),
)
def test_why_a_line_in_epsilon_is_arbitrage_free_under_both_rules(epsilons, slope, counts):
    """A bundle that covers a version, in sums or in sums of squares, has epsilons that add up to the version's.

    For in squares sum n eps^2 <= (sum n eps)^2: what covers in squares covers in sums. And on a line a
    bundle costs its sum of epsilons.
    """
    eps, counts = np.array(epsilons), np.array(counts[: len(epsilons)])
    for k, composition in itertools.product(range(len(eps)), COMPOSITIONS):
        x = sizes_of(eps, composition)
        if counts @ x >= x[k]:
            assert counts @ (slope * eps) >= slope * eps[k] * (1 - ROUNDING)
    for composition in COMPOSITIONS:
        assert find_arbitrage(eps, slope * eps, composition=composition) is None
        assert feasible(sizes_of(eps, composition), slope * eps)


def test_a_list_steeper_than_a_line_shows_that_the_rules_differ():
    """eps^1.5 rises faster than the sum of copies, but more slowly than their sum of squares."""
    eps = np.array([1.0, 2.0, 3.0, 4.0])
    assert find_arbitrage(eps, eps**1.5) is not None
    assert find_arbitrage(eps, eps**1.5, composition="quadratic") is None
    assert find_arbitrage(eps, eps**2.5, composition="quadratic") is not None


# --- dpp -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_dpp_is_the_best_feasible_list_of_answers_or_says_that_it_fell_back(composition):
    rng = np.random.default_rng(len(composition))
    strategy = make("dpp")  # one for all rounds, as in a market
    fallbacks = 0
    for _ in range(300):
        epsilons, survey = random_survey(rng, answers=7)
        ctx, x = context(survey, epsilons, composition), sizes_of(epsilons, composition)
        prices = strategy.prices(ctx)
        asked = np.unique(survey.targets)
        lists = itertools.product(*(np.unique(survey.values[survey.targets == k]) for k in asked))
        lists = [np.array(own) for own in lists if feasible(x[asked], np.array(own))]
        assert strategy.fell_back == (not lists)
        assert strategy.list_kind == ("arbitrage-free" if lists else "fallback")
        fallbacks += strategy.fell_back
        if not lists:
            assert prices.tolist() == price("uniform", ctx).tolist()
            continue
        whole = np.zeros(len(epsilons))
        earned = []
        for own in lists:
            whole[asked] = own
            earned.append(revenue(whole, survey))
        assert revenue(prices, survey) == pytest.approx(max(earned), rel=1e-11)
        assert feasible(x, prices)
        # The others cannot be raised: each touches a constraint that an asked version sets.
        for k in set(range(len(epsilons))) - set(asked.tolist()):
            dearer = prices.copy()
            dearer[k] *= 1 + 1e-9
            others = np.append(asked, k)
            assert not feasible(x[np.sort(others)], dearer[np.sort(others)])
    assert 20 < fallbacks < 280


def test_dpp_fills_the_versions_nobody_asked_for():
    ctx = context(Survey([1, 1, 3], [6.0, 5.0, 9.0]), [1, 2, 3, 4])
    # 6 + 9 against twice 5 + 9: the second; between 5 and 9 the line through the origin is lower than 9.
    assert price("dpp", ctx).tolist() == [5.0, 5.0, 7.5, 9.0]


# --- random ----------------------------------------------------------------------------------------------


def test_random_draws_answers_by_their_weight():
    """Over 4000 draws each share lies within 4.5 standard errors (one chance in 10^5)."""
    survey = Survey([0, 0, 0, 1], [3.0, 1.0, 2.0, 8.0], [1.0, 2.0, 5.0, 1.0])
    rng, draws = np.random.default_rng(5), 4000
    ctx = context(survey, [1.0, 2.0], rng=rng)
    lists = np.array([price("random", ctx, raw=True) for _ in range(draws)])
    assert set(lists[:, 1]) == {8.0}
    for answer, share in ((3.0, 1 / 8), (1.0, 2 / 8), (2.0, 5 / 8)):
        found = (lists[:, 0] == answer).mean()
        assert abs(found - share) < 4.5 * math.sqrt(share * (1 - share) / draws)


def test_random_lists_are_repaired_draws():
    rng = np.random.default_rng(6)
    changed = 0
    for seed in range(100):
        epsilons, survey = random_survey(rng)
        ctx = context(survey, epsilons, rng=np.random.default_rng(seed))
        raw = price("random", ctx, raw=True)
        posted = price("random", replace(ctx, rng=np.random.default_rng(seed)))
        for k in np.unique(survey.targets):
            assert raw[k] in survey.values[survey.targets == k]
        assert posted == pytest.approx(greatest_below(epsilons, raw), rel=ROUNDING)
        changed += not np.allclose(posted, raw)
    assert changed > 20


def test_what_is_drawn_for_a_version_does_not_depend_on_the_answers_for_others():
    answers = np.arange(1.0, 21.0)
    alone = Survey(np.full(20, 2), answers)
    among = Survey(np.concatenate([np.zeros(7, dtype=int), np.full(20, 2)]), np.concatenate([np.ones(7), answers]))
    for seed in range(20):
        drawn = [
            price("random", context(s, [1, 2, 3], rng=np.random.default_rng(seed)), raw=True)[2] for s in (alone, among)
        ]
        assert drawn[0] == drawn[1]


# --- cost plus -------------------------------------------------------------------------------------------


def bought(*rows):
    mask = np.array(rows, dtype=bool)
    return Purchases(mask, np.full(mask.shape, 99.0), np.zeros(len(mask)), np.zeros(len(mask)))


ASKED = np.array([[3.0, 5.0, np.inf], [4.0, 10.0, np.inf]])


def test_cost_plus_in_the_first_round_counts_all_who_take_part():
    # Cost 8 over 2 buyers and 14 over weight 4, each with a fifth on top.
    ctx = context(Survey([0, 0, 1], [1.0, 2.0, 3.0], [1.0, 1.0, 4.0]), [1, 2], asked=ASKED)
    assert price("cost_plus", ctx, raw=True) == pytest.approx([1.2 * 8 / 2, 1.2 * 14 / 4], rel=1e-15)
    assert price("cost_plus", ctx, raw=True, markup=0.0) == pytest.approx([4.0, 3.5], rel=1e-15)
    assert price("cost_plus", ctx) == pytest.approx([1.2 * 3.5, 1.2 * 3.5], rel=1e-15)
    assert price("cost_plus", ctx, markup=1) == pytest.approx([7.0, 7.0], rel=1e-15)


def test_cost_plus_later_counts_last_rounds_owners_who_still_take_part_at_what_they_ask_now():
    ctx = context(Survey([0, 1], [1.0, 3.0]), [1, 2], asked=ASKED, round=2)
    both = replace(ctx, last_purchases=bought([1, 0, 1], [0, 1, 0]))
    assert price("cost_plus", both, raw=True, markup=0) == pytest.approx([3.0, 10.0])
    # Two copies of the first version cover the second.
    assert price("cost_plus", both, markup=0) == pytest.approx([3.0, 6.0])


def test_cost_plus_without_cost_or_buyers_takes_the_greatest_price_that_fits():
    ctx = context(Survey([0, 1], [1.0, 3.0]), [1, 2], asked=ASKED, round=2)
    only_first = replace(ctx, last_purchases=bought([1, 0, 0], [0, 0, 1]))
    for raw in (False, True):
        assert price("cost_plus", only_first, raw=raw, markup=0) == pytest.approx([3.0, 6.0])
    nobody_asks = replace(ctx, survey=Survey([1, 1], [1.0, 3.0]))
    for raw in (False, True):
        assert price("cost_plus", nobody_asks, raw=raw, markup=0) == pytest.approx([7.0, 7.0])


def test_cost_plus_takes_a_cost_beyond_any_answer_for_none():
    """Sums and prices that leave the range of floats warn of nothing, and leave the other versions their prices."""
    ctx = context(Survey([0, 1], [1.0, 3.0]), [0.1, 2], asked=np.array([[4.0, 3.0], [1.5e308, 1.5e308]]))
    for raw in (False, True):
        assert price("cost_plus", ctx, raw=raw, markup=0) == pytest.approx([7.0, 140.0])
    dear = replace(ctx, asked=np.array([[1.5e308, 0.0], [4.0, 3.0]]))
    for raw in (False, True):
        assert price("cost_plus", dear, raw=raw, markup=0) == pytest.approx([7.0, 7.0])


def test_cost_plus_falls_back_where_no_version_has_a_price_and_comes_back():
    strategy = make("cost_plus", markup=0)
    survey = Survey([0, 0, 1], [4.0, 4.0, 9.0])
    with_costs = context(survey, [1, 2], asked=ASKED)
    assert strategy.list_kind == "repaired"
    for without in (
        replace(with_costs, asked=np.zeros((2, 3))),
        replace(with_costs, asked=np.full((2, 3), np.inf)),
        replace(with_costs, last_purchases=bought([0, 0, 0], [0, 0, 0])),
        replace(with_costs, last_purchases=bought([0, 0, 1], [0, 0, 1])),
    ):
        # Three times 4 is more than 9.
        assert strategy.prices(without).tolist() == [4.0, 4.0]
        assert strategy.fell_back
        assert strategy.list_kind == "fallback"
        # 8 over two buyers, 14 over one: two copies of the first cost 8.
        assert strategy.prices(with_costs).tolist() == [4.0, 8.0]
        assert not strategy.fell_back
        assert strategy.list_kind == "repaired"


def test_cost_plus_covers_its_costs_if_everybody_expected_buys():
    rng = np.random.default_rng(3)
    for _ in range(100):
        epsilons, survey = random_survey(rng)
        asked = rng.exponential(5.0, (len(epsilons), 4))
        prices = price("cost_plus", context(survey, epsilons, asked=asked), raw=True, markup=0.5)
        for k in np.unique(survey.targets):
            buyers = survey.weights[survey.targets == k].sum()
            assert prices[k] * buyers == pytest.approx(1.5 * asked[k].sum(), rel=ROUNDING)


def test_cost_plus_needs_to_know_what_owners_ask():
    with pytest.raises(ValueError, match="asked must hold the compensation that owners ask, found None"):
        price("cost_plus", context(Survey([0], [1.0]), [1.0]))


@pytest.mark.parametrize("markup", [-0.1, np.nan, np.inf, "much", True, None])
def test_cost_plus_refuses_a_markup_that_is_none(markup):
    with pytest.raises(ValueError, match="markup must be a number >= 0, found"):
        make("cost_plus", markup=markup)


# --- mbp -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_mbp_is_the_best_relaxed_list_on_the_table_of_means(composition):
    """All feasible lists of the complete price space of the table are tried."""
    rng = np.random.default_rng(len(composition))
    for _ in range(300):
        epsilons, survey = random_survey(rng, answers=12)
        x = sizes_of(epsilons, composition)
        asked = np.unique(survey.targets)
        here = [survey.targets == k for k in asked]
        means = np.array([np.average(survey.values[h], weights=survey.weights[h]) for h in here])
        table = Survey(asked, means, [survey.weights[h].sum() for h in here])
        candidates = [np.where(asked < k, means * x[k] / x[asked], means) for k in range(len(x))]
        lists = [np.array(prices) for prices in itertools.product(*candidates) if feasible(x, np.array(prices))]
        # Rounding may put a candidate an ulp above the mean that it serves.
        best = max(revenue(prices * (1 - 1e-14), table) for prices in lists)
        prices = price("mbp", context(survey, epsilons, composition))
        assert revenue(prices * (1 - 1e-14), table) == pytest.approx(best, rel=1e-11)
        assert feasible(x, prices)


def test_mbp_on_uniform_values_charges_the_mean():
    n = 1000
    survey = Survey(np.zeros(n, dtype=int), np.arange(1, n + 1) / n)
    assert price("mbp", context(survey, [1.0]))[0] == pytest.approx(0.5, abs=1 / n)


def test_mbp_is_dealers_list_where_each_version_has_one_answer():
    rng = np.random.default_rng(4)
    for _ in range(100):
        n_versions = int(rng.integers(1, 6))
        survey = Survey(np.arange(n_versions), rng.lognormal(2, 1, n_versions), rng.uniform(0.5, 2, n_versions))
        ctx = context(survey, np.cumsum(rng.uniform(0.2, 2.0, n_versions)))
        assert price("mbp", ctx) == pytest.approx(price("dpp_plus", ctx), rel=1e-11)


def test_mbp_serves_equal_answers_whatever_their_mean_rounds_to():
    """The mean of three times 0.1 is more than 0.1 in floats."""
    assert (0.1 + 0.1 + 0.1) / 3 > 0.1
    for value, count in itertools.product(np.arange(1, 40) / 10, range(1, 12)):
        survey = Survey([0] * count, [value] * count)
        prices = price("mbp", context(survey, [1.0]))
        assert revenue(prices, survey) == pytest.approx(count * value, rel=ROUNDING)


# --- what a list is --------------------------------------------------------------------------------------

KINDS = {
    "raw": {"monopoly"},
    "personalised": {"perfect"},
    "repaired": {"linear", "low_each", "median_each", "high_each", "random", "cost_plus"},
    "arbitrage-free": {"low", "median", "high", "uniform", "proportional", "dpp_plus", "dpp", "mbp"},
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in KINDS.items() for name in sorted(names)])
def test_every_list_says_what_it_is(kind, name):
    ctx = context(Survey([0, 1], [3.0, 4.0]), [1.0, 2.0], asked=np.ones((2, 2)))
    strategy = make(name)
    strategy.prices(ctx)
    assert strategy.list_kind == kind
    if kind == "repaired":
        strategy = make(name, raw=True)
        strategy.prices(ctx)
        assert strategy.list_kind == "raw"
        assert not strategy.arbitrage_free


# --- extreme answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["values", "weights"])
@pytest.mark.parametrize("found", [1e-101, 1e101, 1e300, 1e-300, 0.0, -1.0, np.nan, np.inf])
def test_answers_that_floats_cannot_add_up_are_refused_in_one_sentence(name, found):
    survey = {"targets": [0, 0], "values": [1.0, 1.0], "weights": [1.0, 1.0]} | {name: [1.0, found]}
    message = f"{name} must lie between 1e-100 and 1e+100, found {found:g}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Survey(**survey)


@pytest.mark.parametrize("name", sorted(set().union(*KINDS.values())))
@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("edge", [1e-100, 1e100])
def test_answers_at_the_edge_of_the_range_are_priced(name, composition, edge):
    """Warnings are errors: nothing overflows on the way."""
    inwards = 10.0 if edge < 1 else 0.1
    values = edge * np.array([1.0, 1.0, 1.0, inwards, inwards])
    for weight in (1e-100, 1.0, 1e100):
        survey = Survey([0, 0, 0, 1, 2], values, np.full(5, weight))
        ctx = context(survey, [0.1, 1.0, 7.0], composition, asked=np.full((3, 2), edge))
        strategy = make(name)
        prices = strategy.prices(ctx)
        assert np.isfinite(strategy.expected_revenue(survey, prices)).all()
        assert strategy.personalised or (np.isfinite(prices) & (prices > 0)).all()
        if strategy.arbitrage_free:
            assert find_arbitrage(ctx.epsilons, prices, composition=composition) is None


# --- the shared check ------------------------------------------------------------------------------------


class _Broken(PricingStrategy):
    """A strategy that breaks a rule somewhere."""

    name = "broken"
    exotic = staticmethod(lambda context: False)

    def prices(self, context):
        good = np.full(context.n_versions, context.survey.values.min())
        return good if not self.exotic(context) else good * context.epsilons**3 if context.n_versions > 1 else good * 0


EXOTIC = {
    "quadratic": lambda c: c.composition == "quadratic",
    "additive": lambda c: c.composition == "additive",
    "weights": lambda c: len(np.unique(c.survey.weights)) > 1,
    "gaps": lambda c: len(np.unique(c.survey.targets)) < c.n_versions,
    "one answer": lambda c: len(c.survey) == 1,
    "one version": lambda c: c.n_versions == 1,
    "tiny": lambda c: c.survey.values.max() < 1e-3,
    "huge": lambda c: c.survey.values.min() > 1e4,
    "a first round": lambda c: c.round == 1 and c.last_purchases is None and c.last_sales is None,
    "a later round": lambda c: c.round > 1 and c.last_purchases is not None and c.last_sales is not None,
    "owners who stay out": lambda c: np.isinf(c.asked).any(),
    "nobody who takes part": lambda c: np.isinf(c.asked).all(),
}


@pytest.mark.parametrize("exotic", EXOTIC)
def test_the_shared_check_meets_every_kind_of_round(exotic, monkeypatch):
    monkeypatch.setattr(_Broken, "exotic", staticmethod(EXOTIC[exotic]))
    with pytest.raises(AssertionError, match=r"admits|positive"):
        check_pricing_strategy(_Broken)


def test_the_shared_check_passes_what_breaks_no_rule():
    check_pricing_strategy(_Broken)
