"""Lists for buyers who choose: against exact oracles, their properties, the survey behind them, and bad input."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from simulator import Market
from simulator.agents import ModelBuyer
from simulator.agents.buyer import Surplus
from simulator.checks import check_behaviour
from simulator.pricing import Survey, find_arbitrage, maximize_menu_revenue, maximize_revenue, pricing_strategies
from simulator.pricing.menu import DISCOUNT, SOLVER_TOLERANCE, _Bundles, _Buyers, _climb, _solve
from simulator.pricing.survey import best_buys
from simulator.records import Menu

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=40)

#: Sums of the same terms in another order: at most 40 of them.
ROUNDING = 1e-13


def shop(worth, prices, weights=None):
    """What the shop takes, one buyer at a time: the largest worth less price, ties to the cheaper, exactly."""
    taken = []
    for j, row in enumerate(worth):
        offers = [(price - value, price) for value, price in zip(row, prices, strict=True) if value >= price]
        if offers:
            taken.append(min(offers)[1] * (1.0 if weights is None else weights[j]))
    return math.fsum(taken)


def covers(x):
    """Every bundle that covers a version, less the version: no list may price one below 0."""
    rows = []
    for k, needed in enumerate(x):
        most = [math.ceil(needed / size * (1 - 1e-12)) for size in x]
        bundles = np.array(list(itertools.product(*(range(n + 1) for n in most))))
        rows.append(bundles[bundles @ x >= needed * (1 - 1e-12)] - np.eye(len(x))[k])
    return np.concatenate(rows)


def supremum(x, worth, weights):
    """The best revenue with ties settled for the seller: a linear programme for every assignment of versions.

    If buyer j takes version c, then w_jc - p_c is at least 0 and at least w_jk - p_k for every other k.
    """
    n_versions = worth.shape[1]
    free = -covers(x)
    best = 0.0
    for assigned in itertools.product(range(-1, n_versions), repeat=len(worth)):
        paid, rows, limits = np.zeros(n_versions), [free], [np.zeros(len(free))]
        for row, choice, weight in zip(worth, assigned, weights, strict=True):
            if choice < 0:
                rows.append(-np.eye(n_versions))  # no version is worth its price
                limits.append(-row)
                continue
            paid[choice] += weight
            rows.append(np.eye(n_versions)[choice] - np.vstack([np.eye(n_versions), np.zeros(n_versions)]))
            limits.append(row[choice] - np.append(row, 0.0))
        found = linprog(-paid, A_ub=np.concatenate(rows), b_ub=np.concatenate(limits), bounds=(0, worth.max()))
        if found.success:
            best = max(best, -found.fun)
    return best


def random_market(rng, most_buyers, most_versions, least_versions=1):
    """Epsilons, worth and weights: whole numbers with ties, noise, or worth that rises with the version."""
    n_versions = int(rng.integers(least_versions, most_versions + 1))
    n_buyers = int(rng.integers(1, most_buyers + 1))
    epsilons = np.cumsum(rng.uniform(0.3, 2.0, n_versions)) if rng.random() < 0.5 else 2.0 ** np.arange(n_versions)
    kind = rng.integers(3)
    if kind == 0:
        worth = rng.integers(0, 12, (n_buyers, n_versions)).astype(float)
        worth[0, 0] += 1.0
    elif kind == 1:
        worth = np.sort(rng.lognormal(2.0, 1.0, (n_buyers, n_versions)), axis=1)
    else:
        taste = rng.uniform(0.0, epsilons[-1], (n_buyers, 1))
        worth = rng.lognormal(3.0, 0.7, (n_buyers, 1)) / (1 + np.exp(2 * (taste - epsilons)))
    weights = np.ones(n_buyers) if rng.random() < 0.5 else rng.uniform(0.5, 2.0, n_buyers)
    return epsilons, worth, weights


# --- against exact oracles --------------------------------------------------------------------------------


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_the_integer_programme_reaches_the_supremum(composition):
    """Against one linear programme an assignment; both solvers are correct to about 1e-6."""
    rng = np.random.default_rng([1, len(composition)])
    for _ in range(8):
        epsilons, worth, weights = random_market(rng, 4, 2, 2) if rng.random() < 0.6 else random_market(rng, 3, 3, 3)
        x = epsilons if composition == "additive" else epsilons**2
        best = supremum(x, worth, weights)
        result = maximize_menu_revenue(epsilons, worth, weights=weights, composition=composition, method="exact")
        shown = f"{epsilons.tolist()}, {worth.tolist()}, {weights.tolist()}: {result}, {best}"
        assert result.revenue == pytest.approx(best, rel=2 * SOLVER_TOLERANCE), shown
        assert result.bound >= best * (1 - SOLVER_TOLERANCE), shown
        assert result.optimal, shown
        # The programme alone, without the search: from a list that sells at most to those who pay most.
        buyers, dear = _Buyers(worth, weights), np.full(len(epsilons), worth.max())
        prices, bound = _solve(buyers, _Bundles(epsilons, composition), dear, math.inf, None)
        assert buyers.discounted(prices) == pytest.approx(best, rel=2 * SOLVER_TOLERANCE), shown
        assert bound == pytest.approx(best, rel=2 * SOLVER_TOLERANCE), shown


def test_the_search_against_the_integer_programme():
    """On small markets, where local optima lie far apart, it misses few; larger ones are smoother."""
    rng = np.random.default_rng(2)
    ratios = []
    for _ in range(30):
        epsilons, worth, weights = random_market(rng, 12, 4)
        exact = maximize_menu_revenue(epsilons, worth, weights=weights, method="exact")
        search = maximize_menu_revenue(epsilons, worth, weights=weights)
        assert exact.optimal
        assert search.revenue <= exact.bound * (1 + SOLVER_TOLERANCE)
        assert search.revenue <= exact.revenue * (1 + SOLVER_TOLERANCE)
        ratios.append(search.revenue / exact.revenue)
    assert np.mean(ratios) > 0.995
    assert np.mean(np.array(ratios) > 1 - 2 * SOLVER_TOLERANCE) > 0.9


def test_one_version_is_the_monopoly_price():
    rng = np.random.default_rng(3)
    for _ in range(50):
        values = rng.integers(0, 20, 15).astype(float)
        values[0] = 5.0
        weights = rng.uniform(0.5, 2.0, 15)
        result = maximize_menu_revenue([0.7], values[:, None], weights=weights)
        best = max(shop(values[:, None], [p], weights) for p in values if p > 0)
        assert result.revenue == pytest.approx(best, rel=ROUNDING)


def test_buyers_of_one_version_each_give_the_walk_through():
    """Who would pay for one version alone does not choose: answers 100 to 800 earn 1900, to the last cent."""
    worth = np.zeros((6, 3))
    worth[np.arange(6), [0, 0, 1, 1, 2, 2]] = [100, 400, 300, 700, 500, 800]
    result = maximize_menu_revenue([1, 2, 3], worth)
    assert result.revenue == 1900.0
    assert maximize_menu_revenue([1, 2, 3], worth, start=[400.0, 700.0, 800.0]).revenue == 1900.0


def test_the_best_step_of_a_shift_is_found():
    """Against the revenue at every break point, at the ends of the room and at steps in between."""
    rng = np.random.default_rng(4)
    moved = 0
    for _ in range(150):
        epsilons, worth, weights = random_market(rng, 10, 4)
        buyers, bundles = _Buyers(worth, weights), _Bundles(epsilons, "additive")
        prices = bundles.admit(rng.uniform(0.1, 1.0, len(epsilons)) * worth.max())
        first = int(rng.integers(len(epsilons)))
        block = slice(first, int(rng.integers(first + 1, len(epsilons) + 1)))
        direction = np.zeros(len(epsilons))
        direction[block] = 1.0
        low, high = bundles.room(prices, direction)
        step, promised = buyers.best_shift(prices, block, low, high)
        assert low <= step <= high
        if promised == 0.0:
            continue
        # With ties settled for the seller; nothing but ties changes within the discount.
        assert promised * (1 - DISCOUNT) == pytest.approx(buyers.discounted(prices + step * direction), rel=1e-12)
        surplus = worth - prices
        outside = np.maximum(np.delete(surplus, np.r_[block], axis=1).max(axis=1, initial=0.0), 0.0)
        steps = np.append((surplus[:, block] - outside[:, None]).ravel(), [low, high])
        steps = np.append(steps, rng.uniform(max(low, -worth.max()), min(high, worth.max()), 20))
        for other in steps[(steps >= low) & (steps <= high) & np.isfinite(steps)]:
            assert buyers.discounted(prices + other * direction) <= promised * (1 + 1e-12)
        moved += step != 0
    assert moved > 100


def test_a_climb_ends_where_no_shift_helps_and_never_below_its_start():
    """Not even where a bundle of several versions, unknown before, undercuts what was climbed to."""
    rng = np.random.default_rng(8)
    mixed = 0
    for _ in range(60):
        epsilons = np.cumsum(rng.uniform(0.3, 1.5, 4))
        worth = rng.integers(1, 12, (6, 4)) * rng.uniform(0.5, 1.0, 4) * epsilons
        buyers, bundles = _Buyers(worth, np.ones(6)), _Bundles(epsilons, "additive")
        known = len(bundles.rows)
        start = bundles.admit(rng.uniform(0.3, 1.0, 4) * epsilons * worth.max() / epsilons[-1])
        end = _climb(buyers, bundles, start)
        assert buyers.discounted(end) >= buyers.discounted(start)
        assert find_arbitrage(epsilons, end) is None
        for first, last in itertools.combinations(range(5), 2):
            direction = np.zeros(4)
            direction[first:last] = 1.0
            _, promised = buyers.best_shift(end, slice(first, last), *bundles.room(end, direction))
            # What counts as progress, and the discount.
            assert promised <= buyers.discounted(end) * (1 + 3 * DISCOUNT)
        mixed += len(bundles.rows) > known
    assert mixed > 10


# --- ties -------------------------------------------------------------------------------------------------


def test_ties_are_won_by_a_discount():
    """Prices (4, 8) leave the second buyer 2 either way, so that the shop sells it the cheaper version."""
    worth = np.array([[4.0, 5.0], [6.0, 10.0]])
    assert shop(worth, [4.0, 8.0]) == 8.0
    result = maximize_menu_revenue([1, 3], worth)
    assert result.prices == pytest.approx([4.0, 8.0], rel=2 * DISCOUNT)
    assert 12.0 * (1 - 2 * DISCOUNT) <= result.revenue < 12.0
    assert best_buys(worth, result.prices).tolist() == [0, 1]


def test_a_start_is_kept_where_it_earns_more_than_the_discount_leaves():
    """The supremum is 12, a list lowered to win its ties earns 12e-9 less, and this one 8e-10 less."""
    worth, start = np.array([[4.0, 5.0], [6.0, 10.0]]), [4.0, 8.0 * (1 - 1e-10)]
    result = maximize_menu_revenue([1, 3], worth, start=start)
    assert shop(worth, start) > 12.0 * (1 - DISCOUNT)
    assert result.revenue >= shop(worth, start)


def test_who_is_indifferent_to_buying_buys():
    """No tie between versions decides, so the list is exact."""
    result = maximize_menu_revenue([1, 2], [[3.0, 3.0], [0.1, 0.3]])
    assert result.revenue == 3.0
    assert 3.0 in result.prices


def test_a_version_that_sells_better_to_nobody_is_priced_out():
    """Whoever pays 10 for the high version would pay 9 for the low one: selling the latter would cost more."""
    worth = np.array([[9.0, 10.0]] * 5 + [[2.0, 2.0]])
    result = maximize_menu_revenue([1, 2], worth)
    assert result.revenue == pytest.approx(50.0, rel=2 * DISCOUNT)
    assert set(best_buys(worth, result.prices)) == {-1, 1}


# --- properties -------------------------------------------------------------------------------------------


@st.composite
def markets(draw):
    n_versions, n_buyers = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    gaps = draw(st.lists(st.sampled_from([0.1, 0.3, 0.5, 1.0, 1.7]), min_size=n_versions, max_size=n_versions))
    values = st.sampled_from([0.0, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 7.7])
    table = draw(st.lists(values, min_size=n_versions * n_buyers, max_size=n_versions * n_buyers))
    worth = np.array(table).reshape(n_buyers, n_versions)
    worth[0, 0] += 1.0
    targets = np.array(draw(st.lists(st.integers(0, n_versions - 1), min_size=n_buyers, max_size=n_buyers)))
    return np.cumsum(gaps), worth, targets, draw(st.sampled_from(["additive", "quadratic"]))


@PROPERTY
@given(markets())
def test_lists_are_admissible_and_never_worse_than_the_lists_they_start_from(market):
    epsilons, worth, targets, composition = market
    stated = worth[np.arange(len(worth)), targets]
    asked = stated > 0
    starts = [np.full(len(epsilons), worth.max())]
    if asked.any():
        starts.append(maximize_revenue(epsilons, targets[asked], stated[asked], composition=composition).prices)
    result = maximize_menu_revenue(epsilons, worth, composition=composition, start=starts)
    assert (np.isfinite(result.prices) & (result.prices > 0)).all()
    assert find_arbitrage(epsilons, result.prices, composition=composition) is None
    assert result.revenue == pytest.approx(shop(worth, result.prices), rel=ROUNDING)
    assert result.bound >= result.revenue
    assert result.bound <= worth.max(axis=1).sum() * (1 + ROUNDING)
    for start in starts:
        assert result.revenue >= shop(worth, start) * (1 - ROUNDING)
    # The best constant list is one of its own starts; a discount may be what it costs.
    constant = max(shop(worth, np.full(len(epsilons), p)) for p in np.unique(worth[worth > 0]))
    assert result.revenue >= constant * (1 - 2 * DISCOUNT)


@settings(PROPERTY, max_examples=20)
@given(markets(), st.integers(-20, 20))
def test_units_of_money_do_not_matter(market, power):
    """Powers of two, which floats scale exactly."""
    epsilons, worth, _, composition = market
    one = maximize_menu_revenue(epsilons, worth, composition=composition)
    other = maximize_menu_revenue(epsilons, worth * 2.0**power, composition=composition)
    assert other.prices.tolist() == (one.prices * 2.0**power).tolist()
    assert other.revenue == one.revenue * 2.0**power


def test_weights_stand_for_repeated_buyers():
    rng = np.random.default_rng(5)
    for _ in range(20):
        epsilons, worth, _ = random_market(rng, 8, 4)
        counts = rng.integers(1, 4, len(worth))
        weighted = maximize_menu_revenue(epsilons, worth, weights=counts)
        repeated = np.repeat(worth, counts, axis=0)
        assert weighted.revenue == pytest.approx(shop(repeated, weighted.prices), rel=ROUNDING)
        # The two may stop at different lists of the same height, within what counts as progress a step.
        assert maximize_menu_revenue(epsilons, repeated).revenue == pytest.approx(weighted.revenue, rel=1e-6)


def test_a_time_limit_leaves_a_list_and_a_bound():
    rng = np.random.default_rng(6)
    worth = np.sort(rng.lognormal(2.0, 1.0, (40, 5)), axis=1)
    search = maximize_menu_revenue([1, 2, 3, 4, 5], worth)
    result = maximize_menu_revenue([1, 2, 3, 4, 5], worth, method="exact", time_limit=0.05)
    assert search.revenue <= result.revenue <= result.bound <= search.bound
    assert not result.optimal
    assert not search.optimal


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"worth": [1.0, 2.0]}, "worth must be a table"),
        ({"worth": [[1.0, 2.0, 3.0]]}, "worth must have one column a version, 2, found 3"),
        ({"worth": [[1.0, -2.0]]}, "worth must lie between 0 and"),
        ({"worth": [[1.0, math.inf]]}, "worth must lie between 0 and"),
        ({"worth": [[0.0, 0.0]]}, "worth must be positive for some buyer"),
        ({"worth": np.empty((0, 2))}, "worth must be positive for some buyer"),
        ({"weights": [1.0]}, "weights must be 2 numbers|weights must lie"),
        ({"weights": [1.0, 0.0]}, "weights must be 2 numbers|weights must lie"),
        ({"start": [1.0, 2.0, 3.0]}, "start must be lists of 2"),
        ({"start": [1.0, 0.0]}, "start must be lists of 2 positive"),
        ({"method": "guess"}, "method must be one of search, exact, found 'guess'"),
        ({"time_limit": 0.0}, "time_limit must be a number of seconds > 0"),
        ({"composition": "cubic"}, "composition"),
        ({"epsilons": [2.0, 1.0]}, "epsilons"),
    ],
)
def test_bad_input_is_named(arguments, message):
    good = {"epsilons": [1.0, 2.0], "worth": [[1.0, 2.0], [2.0, 2.0]]}
    with pytest.raises(ValueError, match=message):
        maximize_menu_revenue(**{**good, **arguments})


# --- the survey behind it ---------------------------------------------------------------------------------


def test_a_survey_holds_what_every_version_is_worth():
    survey = Survey([0, 1], [0.0, 2.0], worth=[[0.0, 3.0], [1.0, 2.0]])
    assert survey.worth.tolist() == [[0.0, 3.0], [1.0, 2.0]]
    assert Survey([0], [1.0]).worth is None
    for arguments, message in (
        (([0], [0.0], None), "values must lie between 1e-100 and"),
        (([0], [-1.0], None, [[1.0]]), "values must lie between 0 and"),
        (([0], [1.0], None, [[1.0], [2.0]]), "one row an answer, 1, found 2"),
        (([0], [1.0], None, [[-1.0]]), "worth must lie between 0 and"),
    ):
        with pytest.raises(ValueError, match=message):
            Survey(*arguments)


def test_the_strategy_needs_the_whole_menu():
    strategy = pricing_strategies()["menu"]()
    with pytest.raises(ValueError, match=r"survey\.worth"):
        strategy.expected_revenue(Survey([0], [1.0]), np.array([1.0]))


#: Noise sensitivity so large that a version is worth a quarter, a half or nothing of the budget.
STEPS = {"coverage_sensitivity": 0.0, "noise_sensitivity": 1e6, "coverage_expected": 0.5}


def test_buyers_state_the_menu_only_where_it_is_asked_for(make_config, watch):
    """At epsilons 0.5, 1 and 2 a buyer who expects 1 values them at 0, 1/4 and 1/2 of its budget."""
    buyers = {**STEPS, "count": 3, "budget": [0.0, 8.0, 16.0], "epsilon_expected": 1.0, "behaviour": "surplus"}
    for pricing, expected in (("dpp_plus", None), ("menu", [[0.0, 2.0, 4.0], [0.0, 4.0, 8.0]])):
        market = Market(make_config(rounds=1, buyers=buyers, broker={"pricing": pricing}))
        surveys, asked = watch(market, "broker", "survey"), watch(market, "buyers", "answer_menu")
        market.run()
        assert len(asked) == (expected is not None)
        assert surveys[0].values.tolist() == [2.0, 4.0]
        assert (None if surveys[0].worth is None else surveys[0].worth.tolist()) == expected


class OtherWants(Surplus):
    """Names a version as its target that is worth nothing to it."""

    name = "other_wants"

    def target(self, menu: Menu) -> int:
        return 0


def own(cls):
    return f"{cls.__module__}:{cls.__name__}"


def test_a_buyer_counts_that_would_pay_for_any_version(make_config, watch):
    buyers = {**STEPS, "count": 2, "budget": [0.0, 8.0], "epsilon_expected": 1.0, "behaviour": own(OtherWants)}
    answers = {}
    for pricing in ("dpp_plus", "menu"):
        market = Market(
            make_config(rounds=1, owners={"base_price_pool": 0.0}, buyers=buyers, broker={"pricing": pricing})
        )
        surveys = watch(market, "broker", "survey")
        market.run()
        answers[pricing] = len(surveys[0])
        revenue = market.frame("rounds")["revenue"].tolist()
    assert answers == {"dpp_plus": 0, "menu": 1}
    assert revenue == [4.0]  # its best version at what it is worth


class Shader(Surplus):
    """Overrides the scalar answer for the menu alone: states half of the truth."""

    name = "shader"

    def answer_menu(self, menu: Menu) -> np.ndarray:
        return super().answer_menu(menu) / 2


class TwoFaced(Shader):
    """Its form at array speed says something else."""

    name = "two_faced"

    def answer_menu(self, menu: Menu) -> np.ndarray:
        return super().answer_menu(menu)

    @classmethod
    def answer_menu_all(cls, rows, menu):
        return rows.worth(menu)


class Negative(Surplus):
    """States a negative value."""

    name = "negative"

    def answer_menu(self, menu: Menu) -> np.ndarray:
        return -self.worth(menu)


class Short(Surplus):
    """States one value too few."""

    name = "short"

    def answer_menu(self, menu: Menu) -> np.ndarray:
        return self.worth(menu)[1:]


def test_an_own_answer_for_the_menu_reaches_the_survey(make_config, watch):
    stated = []
    for behaviour in ("surplus", own(Shader)):
        market = Market(make_config(buyers={"behaviour": behaviour}, broker={"pricing": "menu"}))
        surveys = watch(market, "broker", "survey")
        market.step()
        stated.append(surveys[0].worth)
    assert stated[1].tolist() == (stated[0] / 2).tolist()


def test_the_shared_check_compares_the_two_speeds():
    check_behaviour(Shader)
    with pytest.raises(AssertionError, match="answer_menu"):
        check_behaviour(TwoFaced)


@pytest.mark.parametrize(("cls", "message"), [(Negative, "not finite and >= 0"), (Short, "one a buyer and version")])
def test_bad_answers_for_the_menu_are_refused(make_config, cls: type[ModelBuyer], message):
    market = Market(make_config(buyers={"behaviour": own(cls)}, broker={"pricing": "menu"}))
    with pytest.raises(ValueError, match=message):
        market.step()
