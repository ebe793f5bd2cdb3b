"""What is measured, against closed forms and examples worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import metrics
from simulator.records import PriceList, Sales

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=100)

amounts = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=20).filter(lambda a: sum(a) > 1e-3).map(np.array)


def a_list(prices, on_sale=None, personalised=False):
    prices = np.array(prices, dtype=float)
    count = len(prices)
    return PriceList(
        epsilons=np.arange(1.0, count + 1),
        coverage=np.ones(count),
        prices=prices,
        accuracy=np.full(count, np.nan),
        on_sale=np.ones(count, dtype=bool) if on_sale is None else np.array(on_sale),
        personalised=personalised,
    )


def some_sales(versions, paid, targets, worth):
    worth = np.array(worth, dtype=float)
    on_sale = np.ones(worth.shape[1], dtype=bool)
    return Sales(np.array(versions), np.array(paid, dtype=float), on_sale, np.array(targets), worth)


# --- Gini ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_gini_of_equal_amounts_and_of_one_owner_of_everything(n):
    assert metrics.gini(np.full(n, 3.0)) == pytest.approx(0.0, abs=1e-14)
    assert metrics.gini(np.append(np.zeros(n - 1), 5.0)) == pytest.approx((n - 1) / n, abs=1e-14)


def test_gini_of_one_to_n():
    # (n - 1) / (3 n)
    for n in (2, 3, 50):
        assert metrics.gini(np.arange(1.0, n + 1)) == pytest.approx((n - 1) / (3 * n), rel=1e-12)


@PROPERTY
@given(amounts)
def test_gini_is_half_the_relative_mean_difference(a):
    differences = np.abs(a[:, None] - a[None, :]).sum()
    # Sums of up to 400 terms of size 1e6, relative to the total.
    expected = differences / (2 * len(a) * a.sum())
    assert metrics.gini(a) == pytest.approx(expected, abs=1e-12)
    assert metrics.gini(3.0 * a[::-1]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("nothing", [[], [0.0], [0.0, 0.0]])
def test_gini_of_nothing_is_undefined(nothing):
    assert math.isnan(metrics.gini(np.array(nothing)))


# --- surplus and welfare ---------------------------------------------------------------------------------


def uniform_market(price):
    """A thousand buyers of one version whose worth is spread evenly over (0, 1)."""
    worth = ((np.arange(1000) + 0.5) / 1000)[:, None]
    buys = worth[:, 0] >= price
    return some_sales(np.where(buys, 0, -1), np.where(buys, price, 0.0), np.zeros(1000, dtype=int), worth)


def test_textbook_monopoly():
    """Uniform values: price 1/2 earns 1/4 a buyer, leaves 1/8 to buyers, and loses 1/8."""
    sales, prices = uniform_market(0.5), a_list([0.5])
    # Midpoints integrate a line exactly; rounding remains.
    assert sales.revenue.sum() / 1000 == pytest.approx(1 / 4, abs=1e-12)
    assert metrics.buyer_surplus(sales) / 1000 == pytest.approx(1 / 8, abs=1e-12)
    assert metrics.deadweight_loss([sales], [prices]) / 1000 == pytest.approx(1 / 8, abs=1e-12)
    assert metrics.first_best([sales], [prices], 0.0) / 1000 == pytest.approx(1 / 2, abs=1e-12)
    assert metrics.hindsight_perfect([sales], [prices]) / 1000 == pytest.approx(1 / 2, abs=1e-12)
    # The best price on the grid of midpoints is within a step of 1/2, where revenue is flat.
    assert metrics.hindsight_monopoly(sales, prices) / 1000 == pytest.approx(1 / 4, abs=1e-3)


#: Three buyers, two versions at 4 and 7. The first buys what it wants; the second buys nothing, although
#: either is worth something to it; the third wants the first version and buys the other.
WORTH = [[5.0, 6.0], [3.0, 6.5], [4.5, 9.0]]
HAND = some_sales([0, -1, 1], [4.0, 0.0, 7.0], [0, 1, 0], WORTH)


def test_example_by_hand():
    prices = a_list([4.0, 7.0])
    assert HAND.bought.tolist() == [True, False, True]
    assert HAND.worth_bought.tolist() == [5.0, 0.0, 9.0]
    assert HAND.sold.tolist() == [1, 1]
    assert HAND.revenue.tolist() == [4.0, 7.0]
    assert HAND.receipts.sold.tolist() == [1, 1]
    assert HAND.receipts.revenue.tolist() == [4.0, 7.0]
    assert metrics.buyer_surplus(HAND) == 1.0 + 2.0
    assert metrics.best_worth([HAND], [prices]).tolist() == [6.0, 6.5, 9.0]
    assert metrics.deadweight_loss([HAND], [prices]) == 21.5 - 14.0
    assert metrics.first_best([HAND], [prices], 2.5) == 19.0
    assert metrics.hindsight_perfect([HAND], [prices]) == 5.0 + 6.5 + 4.5
    # 4.5 to both who want the first version, 6.5 to the one who wants the second.
    assert metrics.hindsight_monopoly(HAND, prices) == 2 * 4.5 + 6.5


def test_a_withdrawn_version_counts_for_nothing():
    sales = some_sales([0, -1, 0], [4.0, 0.0, 4.0], [0, 1, 0], WORTH)
    prices = a_list([4.0, np.nan], on_sale=[True, False])
    assert metrics.best_worth([sales], [prices]).tolist() == [5.0, 3.0, 4.5]
    assert metrics.deadweight_loss([sales], [prices]) == 3.0
    assert metrics.hindsight_perfect([sales], [prices]) == 9.5
    assert metrics.hindsight_monopoly(sales, prices) == 9.0


def test_nothing_for_sale():
    sales = some_sales([-1, -1, -1], [0.0, 0.0, 0.0], [0, 1, 0], WORTH)
    prices = a_list([np.nan, np.nan], on_sale=[False, False])
    assert metrics.buyer_surplus(sales) == 0.0
    assert metrics.deadweight_loss([sales], [prices]) == 0.0
    assert metrics.first_best([sales], [prices], 0.0) == 0.0
    assert metrics.hindsight_monopoly(sales, prices) == 0.0
    assert metrics.hindsight_perfect([sales], [prices]) == 0.0
    assert metrics.bundle_saving(sales, prices) == 0.0


def test_a_version_worth_less_than_nothing_is_left_alone():
    sales = some_sales([-1], [0.0], [0], [[-1.0, -2.0]])
    assert metrics.best_worth([sales], [a_list([1.0, 1.0])]).tolist() == [0.0]
    assert metrics.deadweight_loss([sales], [a_list([1.0, 1.0])]) == 0.0


@PROPERTY
@given(st.integers(0, 10**6))
def test_worth_is_revenue_and_surplus_and_what_is_lost(seed):
    """Accounting identities on random sales at posted prices."""
    rng = np.random.default_rng(seed)
    worth = rng.uniform(0.0, 10.0, (15, 3))
    prices = a_list(rng.uniform(1.0, 9.0, 3))
    versions = rng.integers(-1, 3, 15)
    paid = np.where(versions >= 0, prices.prices[versions], 0.0)
    sales = some_sales(versions, paid, rng.integers(0, 3, 15), worth)
    lost = metrics.deadweight_loss([sales], [prices])
    assert lost >= 0
    total = sales.revenue.sum() + metrics.buyer_surplus(sales) + lost
    assert total == pytest.approx(metrics.first_best([sales], [prices], 0.0), rel=1e-12)
    assert metrics.bundle_saving(sales, prices) == 0.0
    assert metrics.hindsight_perfect([sales], [prices]) >= metrics.hindsight_monopoly(sales, prices) * (1 - 1e-12)


# --- regret ----------------------------------------------------------------------------------------------


def best_fixed_revenue(rounds, ratio):
    """Most that a list (p, q) with p <= q <= ratio p earns in all rounds: a worth sets each price, or its cap."""
    wanted = [
        (target, worth[target])
        for sales, prices in rounds
        for target, worth in zip(sales.targets.tolist(), sales.worth.tolist(), strict=True)
        if prices.on_sale[target] and worth[target] > 0
    ]
    levels = [value for _, value in wanted]
    levels += [value * ratio for value in levels]
    earned = [0.0]
    for p in levels:
        for q in levels:
            if p <= q <= ratio * p * (1 + 1e-12):
                earned.append(sum((p, q)[target] for target, value in wanted if value >= (p, q)[target] * (1 - 1e-12)))
    return max(earned)


def test_regret_by_hand():
    prices = a_list([4.0, 7.0])
    # 4.5 to both who want the first version and 6.5, less than twice that, to the one who wants the second.
    assert metrics.hindsight_revenue([HAND], [prices], "additive") == 2 * 4.5 + 6.5
    assert metrics.regret([HAND], [prices], "additive") == 15.5 - 11.0
    # A second round without the second version and with nothing sold: its two buyers of the first count again.
    idle, first_only = some_sales([-1, -1, -1], [0.0] * 3, [0, 1, 0], WORTH), a_list([4.0, 7.0], on_sale=[True, False])
    assert metrics.hindsight_revenue([idle], [first_only], "additive") == 9.0
    assert metrics.regret([HAND, idle], [prices, first_only], "additive") == 15.5 + 9.0 - 11.0


def test_a_bundle_bounds_the_best_list_in_hindsight():
    """One buyer at 1 for eps 1 and one at 4 for eps 2: 1 + 2, or 4 + nothing, or with squares 1 + 4."""
    sales, prices = some_sales([-1, -1], [0.0, 0.0], [0, 1], [[1.0, 1.0], [4.0, 4.0]]), a_list([9.0, 9.0])
    assert metrics.hindsight_revenue([sales], [prices], "additive") == 4.0
    assert metrics.hindsight_revenue([sales], [prices], "quadratic") == 5.0


def test_no_regret_where_nobody_could_have_bought():
    sales = some_sales([-1, -1], [0.0, 0.0], [0, 1], [[0.0, 3.0], [3.0, 3.0]])
    for on_sale in ([False, False], [True, False]):
        assert metrics.hindsight_revenue([sales], [a_list([1.0, 1.0], on_sale=on_sale)], "additive") == 0.0
    assert metrics.hindsight_revenue([], [], "additive") == 0.0


@PROPERTY
@given(st.integers(0, 10**6))
def test_a_fixed_list_for_all_rounds_earns_no_more_than_one_for_each(seed):
    rng = np.random.default_rng(seed)
    rounds = []
    for _ in range(3):
        worth = rng.choice([0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 7.0], (4, 2))
        prices = a_list(rng.uniform(1.0, 9.0, 2), on_sale=rng.random(2) < 0.8)
        rounds.append((some_sales([-1] * 4, [0.0] * 4, rng.integers(0, 2, 4), worth), prices))
    sales, lists = zip(*rounds, strict=True)
    for composition, ratio in (("additive", 2.0), ("quadratic", 4.0)):
        found = metrics.hindsight_revenue(sales, lists, composition)
        assert found == pytest.approx(best_fixed_revenue(rounds, ratio), rel=1e-12)
        each = [metrics.hindsight_revenue([s], [p], composition) for s, p in rounds]
        assert found <= sum(each) * (1 + 1e-12)


# --- ratios, violations, savings -------------------------------------------------------------------------


def test_a_ratio_to_nothing_is_undefined():
    assert metrics.ratio(3.0, 4.0) == 0.75
    assert math.isnan(metrics.ratio(3.0, 0.0))
    assert math.isnan(metrics.ratio(3.0, -1.0))


def test_violations_are_counted_among_those_whose_shard_was_used():
    asked, paid = np.array([1.0, 2.0, 0.0, 5.0]), np.array([1.0, 1.0, 0.0, 0.0])
    assert metrics.violations(asked, paid, np.array([True, True, True, False])) == pytest.approx(1 / 3)
    assert metrics.violations(asked, paid, np.zeros(4, dtype=bool)) == 0.0
    # An ulp is rounding, a millionth is not.
    everybody = np.array([True, True])
    assert metrics.violations(np.array([0.3, 0.3]), np.array([0.1 + 0.1 + 0.1, 0.3 - 1e-16]), everybody) == 0.0
    assert metrics.violations(np.array([0.3, 0.3]), np.array([0.3, 0.3 * (1 - 1e-6)]), everybody) == 0.5


def test_savings_by_bundles_are_posted_prices_less_what_was_paid():
    sales = some_sales([0, -1, 1], [4.0, 0.0, 6.0], [0, 1, 1], WORTH)
    assert metrics.bundle_saving(sales, a_list([4.0, 7.5])) == 1.5
    assert metrics.bundle_saving(sales, a_list([np.nan, np.nan], personalised=True)) == 0.0
