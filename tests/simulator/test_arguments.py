"""What callers hand over: anything but numbers in range is refused in one sentence that names the argument."""

import dataclasses

import numpy as np
import pytest

from simulator.checks import check_pricing_strategy
from simulator.pricing import (
    PricingStrategy,
    Survey,
    find_arbitrage,
    lift_revenue,
    maximize_menu_revenue,
    maximize_revenue,
    maximize_revenue_exact,
)

ANSWERS = ([0, 1], [3.0, 5.0])


@pytest.mark.parametrize("optimise", [maximize_revenue, maximize_revenue_exact, lift_revenue])
@pytest.mark.parametrize(
    ("epsilons", "targets", "values", "says"),
    [
        ([1, 2], [0, 1], ["3", "5"], "values must be numbers, found str"),
        ([1, 2], [0, 1], [3.0, None], "values must be numbers, found"),
        ([1, 2], [0, 1], [3.0, 10**400], "values must be numbers, found"),
        ([1, 2], [0, 1], [3.0, 5j], "values must be numbers, found complex"),
        ([1, 2], [0, 1], [[3.0], [5.0, 1.0]], "values must be a table of numbers"),
        ([1, 2], [0, 1], np.ma.array([3.0, 5.0], mask=[False, True]), "values must lie between .* found nan"),
        ([1, 2], [0, 1], np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"), "values must be numbers"),
        (["a", "b"], *ANSWERS, "epsilons must be numbers, found str"),
        ([1e-300, 1.0], *ANSWERS, "epsilons must lie between"),
        ([1.0, 1e300], *ANSWERS, "epsilons must lie between"),
        ([1e-6, 1e4], *ANSWERS, "within a factor of 2e[+]09 of one another"),
    ],
)
def test_optimisers_name_what_they_cannot_use(optimise, epsilons, targets, values, says):
    with pytest.raises(ValueError, match=says):
        optimise(epsilons, targets, values)


def test_the_arbitrage_check_and_the_menu_name_it_too():
    with pytest.raises(ValueError, match="prices must be numbers, found str"):
        find_arbitrage([1, 2], ["1", "2"])
    with pytest.raises(ValueError, match="epsilons must lie between"):
        find_arbitrage([1e-20, 1], [1e-30, 2])
    with pytest.raises(ValueError, match="weights must lie between"):
        maximize_menu_revenue([1, 2], [[1.0, 2.0]], weights=[1e300])
    with pytest.raises(ValueError, match="start must be numbers"):
        maximize_menu_revenue([1, 2], [[1.0, 2.0]], start=["a", "b"])
    with pytest.raises(ValueError, match="time_limit must be a number of seconds"):
        maximize_menu_revenue([1, 2], [[1.0, 2.0]], time_limit="5")


@pytest.mark.parametrize("ratio", [1e9, 2e9])
@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_epsilons_as_far_apart_as_allowed_are_reckoned_with(ratio, composition):
    """A version is covered by a billion copies of another, or by a billion times a billion."""
    eps = [1.0, ratio]
    found = find_arbitrage(eps, [1.0, 3.0 * ratio**2], composition=composition)
    copies = ratio if composition == "additive" else ratio**2
    assert found.bundle.tolist() == [pytest.approx(copies, rel=1e-9), 0]
    for optimise in (maximize_revenue, maximize_revenue_exact, lift_revenue):
        assert optimise(eps, *ANSWERS, composition=composition).revenue == 8.0


def test_limits_of_numpy_are_numbers():
    result = maximize_revenue_exact([1, 2.5], *ANSWERS, time_limit=np.float32(3), step_limit=np.int64(5))
    assert result.revenue == 8.0


def test_what_strategies_are_told_cannot_be_changed_and_what_callers_hold_can():
    values = np.array([3.0, 5.0])
    survey = Survey(np.array([0, 1]), values)
    with pytest.raises(ValueError, match="read-only"):
        survey.values.sort()
    values[0] = 4.0  # the caller's own


class _Sorting(PricingStrategy):
    """Sorts the answers where they stand."""

    name = "sorting"

    def prices(self, context):
        context.survey.values.sort()
        return np.full(context.n_versions, context.survey.values[0])


class _Raising(PricingStrategy):
    """Divides by nothing."""

    name = "raising"

    def prices(self, context):
        return np.full(context.n_versions, 1 / 0)


class _Needy(PricingStrategy):
    """Needs an option and gives no example."""

    name = "needy"

    def __init__(self, *, level):
        self.level = level


class _Stranger:
    """Is no strategy."""

    name = "stranger"

    @classmethod
    def summary(cls):
        return "Is no strategy."


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (_Sorting, "read-only"),
        (_Raising, "ZeroDivisionError"),
        (_Needy, "example_options"),
        (_Stranger, "must be a subclass of PricingStrategy"),
    ],
)
def test_the_shared_check_says_what_a_strategy_does_wrong(cls, says):
    with pytest.raises(AssertionError, match=says):
        check_pricing_strategy(cls)


def test_no_field_of_a_survey_is_left_writable():
    survey = Survey([0], [1.0], [2.0], [[1.0]])
    arrays = [getattr(survey, field.name) for field in dataclasses.fields(survey)]
    assert not any(array.flags.writeable for array in arrays if isinstance(array, np.ndarray))
