"""Settlement rules: who is paid what, and that no money is made or lost."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.records import Purchases
from simulator.settlement import settlement_rules

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=200)

#: Money may be lost to rounding, by this share of the revenue.
CONSERVED = 1e-9


def purchases(bought, asked):
    bought, asked = np.array(bought, dtype=bool), np.array(asked, dtype=float)
    return Purchases(bought, asked, np.zeros(len(bought)), np.zeros(len(bought)))


def settle(rule, revenue, bought, asked, values, commission=0.0, promised=None):
    made = replace(purchases(bought, asked), promised=None if promised is None else np.array(promised, dtype=float))
    return settlement_rules()[rule]().settle(
        np.array(revenue, dtype=float), made, np.array(values, dtype=float), commission
    )


def test_neutral_pays_in_proportion_to_what_was_asked():
    settled = settle("neutral", [100.0], [[True, True, False]], [[1.0, 3.0, 50.0]], [1.0, 1.0, 1.0])
    assert settled.payments.tolist() == [[25.0, 75.0, 0.0]]
    assert settled.profit == 0.0


def test_neutral_keeps_its_commission_of_each_version():
    settled = settle(
        "neutral", [100.0, 40.0], [[True, True], [False, True]], [[1.0, 3.0], [1.0, 5.0]], [1.0, 1.0], commission=0.25
    )
    assert settled.payments == pytest.approx(np.array([[18.75, 56.25], [0.0, 30.0]]), rel=1e-15)
    assert settled.profit == pytest.approx(35.0, rel=1e-15)


def test_neutral_pays_by_value_where_nobody_asked_anything():
    settled = settle("neutral", [12.0], [[True, True, True, False]], [[0.0, 0.0, 0.0, 9.0]], [1.0, 2.0, -5.0, 7.0])
    assert settled.payments.tolist() == [[4.0, 8.0, 0.0, 0.0]]


def test_neutral_pays_equally_where_nobody_asked_and_nobody_is_worth_anything():
    settled = settle("neutral", [12.0], [[True, False, True]], [[0.0, 0.0, 0.0]], [-1.0, 5.0, 0.0])
    assert settled.payments.tolist() == [[6.0, 0.0, 6.0]]


def test_neutral_keeps_the_money_of_a_version_without_owners():
    settled = settle(
        "neutral", [10.0, 20.0], [[False, False], [True, False]], [[1.0, 1.0], [1.0, 1.0]], [1.0, 1.0], commission=0.5
    )
    assert settled.payments.tolist() == [[0.0, 0.0], [10.0, 0.0]]
    assert settled.profit == 10.0 + 10.0


@pytest.mark.parametrize(("revenue", "profit"), [(100.0, 96.0), (1.0, -3.0)])
def test_guaranteed_pays_what_was_asked_and_the_broker_bears_the_rest(revenue, profit):
    settled = settle(
        "guaranteed", [revenue], [[True, True, False]], [[1.0, 3.0, 50.0]], [1.0, 1.0, 1.0], commission=0.9
    )
    assert settled.payments.tolist() == [[1.0, 3.0, 0.0]]
    assert settled.profit == profit


def test_uniform_pays_equal_parts_of_what_the_commission_leaves():
    settled = settle(
        "uniform",
        [90.0, 40.0, 7.0],
        [[True, True, True], [False, True, False], [False] * 3],
        np.ones((3, 3)),
        [1] * 3,
        0.2,
    )
    assert settled.payments == pytest.approx(np.array([[24.0, 24.0, 24.0], [0.0, 32.0, 0.0], [0.0, 0.0, 0.0]]))
    assert settled.profit == pytest.approx(18.0 + 8.0 + 7.0)


@pytest.mark.parametrize(("revenue", "profit"), [(100.0, 89.0), (1.0, -10.0)])
def test_promised_pays_what_was_promised_and_the_broker_bears_the_rest(revenue, profit):
    settled = settle("promised", [revenue], [[True, True, False]], [[1.0, 3.0, 50.0]], [1] * 3, 0.9, [[5.0, 6.0, 99.0]])
    assert settled.payments.tolist() == [[5.0, 6.0, 0.0]]
    assert settled.profit == profit


def test_promised_needs_promises():
    with pytest.raises(ValueError, match="needs purchases with promises, found none"):
        settle("promised", [1.0], [[True]], [[1.0]], [1.0])


@PROPERTY
@given(
    st.integers(0, 10**6),
    st.sampled_from(sorted(settlement_rules())),
    st.sampled_from([0.0, 0.1, 1 / 3, 1.0]),
    st.sampled_from([1e-6, 1.0, 1e9]),
    st.booleans(),
)
def test_money_is_conserved_and_goes_to_owners_behind_the_version(seed, rule, commission, unit, free):
    rng = np.random.default_rng(seed)
    versions, owners = int(rng.integers(1, 5)), int(rng.integers(1, 8))
    revenue = unit * rng.uniform(0.0, 1.0, versions) * (rng.random(versions) < 0.8)
    bought = rng.random((versions, owners)) < rng.random()
    asked = np.zeros(bought.shape) if free else rng.lognormal(0.0, 3.0, bought.shape)
    promised = asked * rng.uniform(1.0, 3.0, asked.shape)
    settled = settle(rule, revenue, bought, asked, rng.normal(size=owners), commission, promised)
    money = settled.payments.sum() + settled.profit
    assert money == pytest.approx(revenue.sum(), abs=CONSERVED * max(1.0, revenue.sum(), promised.sum()))
    assert settled.payments.shape == bought.shape
    assert (settled.payments >= 0).all()
    assert (settled.payments[~bought] == 0).all()
    if rule in ("neutral", "uniform"):
        assert settled.profit >= commission * revenue.sum() * (1 - 1e-12)
        # All that is not kept goes to the version's own owners.
        per_version = np.where(bought.any(axis=1), (1 - commission) * revenue, 0.0)
        assert settled.payments.sum(axis=1) == pytest.approx(per_version, rel=1e-12)
