"""Valuation curves: the built-in ones against formulas worked anew, users' own, and what the shared check catches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from simulator import Market, MarketConfig
from simulator.agents import Parameter, ValuationCurve, valuation_curves
from simulator.agents.buyer import Target
from simulator.checks import check_valuation_curve
from simulator.records import Menu

MakeConfig = Callable[..., MarketConfig]


def own(cls: type) -> str:
    """How a configuration names a class of this file."""
    return f"{__name__}:{cls.__qualname__}"


def sigma(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z > -700 else 0.0


def tangent(z: float) -> float:
    """The line through (0, 1/2) with the sigmoid's slope there, 1/4, between 0 and 1."""
    return 0.0 if z < -2 else 1.0 if z > 2 else (z + 2) / 4


#: Worth of one version by the definition of each curve.
DEFINITIONS: dict[str, Callable[..., float]] = {
    "sigmoid": lambda v, theta, d, eta, g, cr, eps: v * sigma(d * (cr - theta)) * sigma(g * (eps - eta)),
    "linear": lambda v, theta, d, eta, g, cr, eps: v * tangent(d * (cr - theta)) * tangent(g * (eps - eta)),
    "threshold": lambda v, theta, d, eta, g, cr, eps: v if cr >= theta and eps >= eta else 0.0,
}
ATTRIBUTES = ("budget", "coverage_expected", "coverage_sensitivity", "epsilon_expected", "noise_sensitivity")


def test_every_curve_has_a_definition_here() -> None:
    assert set(DEFINITIONS) == set(valuation_curves())


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_a_curve_is_its_definition(make_config: MakeConfig, name: str) -> None:
    buyers = {
        "count": 200,
        "curve": name,
        "coverage_expected": {"dist": "uniform"},
        "coverage_sensitivity": {"dist": "expon", "scale": 5.0},
        "epsilon_expected": {"dist": "uniform", "scale": 9.0},
        "noise_sensitivity": {"dist": "expon", "scale": 1.0},
    }
    market = Market(make_config(buyers=buyers))
    columns = [market.buyers.columns[attribute].tolist() for attribute in ATTRIBUTES]
    menu = Menu(np.array([0.5, 1.0, 4.0, 8.0]), np.array([0.9, 1.0, 0.0, 0.4]))
    seen = set()
    for worth, buyer, own_columns in zip(
        market.buyers.worth(menu), market.buyers, zip(*columns, strict=True), strict=True
    ):
        levels = list(zip(menu.coverage.tolist(), menu.epsilons.tolist(), strict=True))
        expected = [DEFINITIONS[name](*own_columns, *level) for level in levels]
        assert worth == pytest.approx(expected, rel=1e-14, abs=0)
        assert buyer.worth(menu).tolist() == worth.tolist()
        seen |= {w / own_columns[0] for w in expected}
    assert min(seen) < 1e-3
    assert max(seen) > 0.9


@pytest.mark.parametrize("curve", ["sigmoid", "linear"])
def test_half_of_each_is_reached_at_what_is_expected(make_config: MakeConfig, curve: str) -> None:
    """And a quarter of the slope is that of d and g in between: the line is the sigmoid's tangent."""
    expects = {"coverage_expected": 0.5, "coverage_sensitivity": 4.0, "epsilon_expected": 2.0, "noise_sensitivity": 0.5}
    market = Market(make_config(buyers={"count": 1, "curve": curve, "budget": 16.0, **expects}))

    def worth(coverage: float, epsilon: float) -> float:
        return float(market.buyers.worth(Menu(np.array([epsilon]), np.array([coverage])))[0, 0])

    assert worth(0.5, 2.0) == 4.0
    step = 1e-6
    assert (worth(0.5 + step, 2.0) - worth(0.5, 2.0)) / step == pytest.approx(16 / 2 * 4.0 / 4, rel=1e-5)
    assert (worth(0.5, 2.0 + step) - worth(0.5, 2.0)) / step == pytest.approx(16 / 2 * 0.5 / 4, rel=1e-5)
    if curve == "linear":
        # From nothing at two over the sensitivity below, to all at two over it above.
        assert [worth(c, 6.0) for c in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.0, 4.0, 8.0, 12.0, 16.0]
        assert [worth(1.0, eps) for eps in (1.0, 2.0, 3.0, 6.0, 99.0)] == [6.0, 8.0, 10.0, 16.0, 16.0]


def test_a_threshold_is_the_limit_of_the_other_two(make_config: MakeConfig) -> None:
    """As sensitivities grow, all curves agree but where a version is just as expected."""
    menu = Menu(np.array([0.5, 1.0, 2.0]), np.array([0.9, 0.5, 0.2]))
    found = {}
    for curve in valuation_curves():
        sharp = {"coverage_sensitivity": 1e9, "noise_sensitivity": 1e9}
        found[curve] = Market(make_config(buyers={"count": 300, "curve": curve, **sharp})).buyers.worth(menu)
    assert 0 < (found["threshold"] > 0).mean() < 1
    np.testing.assert_array_equal(found["linear"], found["threshold"])
    np.testing.assert_allclose(found["sigmoid"], found["threshold"], rtol=1e-12)


@pytest.mark.parametrize("short", [0.0, 1e-12, 1e-6])
def test_full_coverage_reaches_a_threshold_of_one_in_spite_of_rounding(make_config: MakeConfig, short: float) -> None:
    buyers = {"count": 1, "curve": "threshold", "budget": 3.0, "coverage_expected": 1.0, "epsilon_expected": 1.0}
    market = Market(make_config(buyers=buyers))
    menu = Menu(np.array([np.nextafter(1.0, 0.0), 1.0]), np.array([1.0, 1.0 - short]))
    assert market.buyers.worth(menu).tolist() == [[0.0, 0.0 if short == 1e-6 else 3.0]]


def test_a_market_of_thresholds(make_config: MakeConfig) -> None:
    """Two buyers want eps 1 for 10, one wants eps 2 for 18 and full coverage: prices are what they would pay.

    Data is free, so coverage is 1, and the third buyer's demand is served as well.
    """
    segments = [
        {"segment": "low", "count": 2, "budget": 10.0, "epsilon_expected": 1.0, "coverage_expected": 0.5},
        {"segment": "high", "count": 1, "budget": 18.0, "epsilon_expected": 1.5, "coverage_expected": 1.0},
        {"segment": "dreamers", "count": 1, "budget": 99.0, "epsilon_expected": 3.0, "coverage_expected": 1.0},
    ]
    market = Market(
        make_config(
            rounds=1,
            owners={"base_price_pool": 0.0, "value": 1.0},
            broker={"epsilons": [1.0, 2.0]},
            buyers=[{**s, "curve": "threshold"} for s in segments],
        )
    )
    market.run()
    assert market.frame("versions")["price"].tolist() == [10.0, 18.0]
    row = market.frame("rounds").iloc[0]
    # Nobody serves the one whose noise no version is low enough for: it answers nothing, and is no loss.
    assert (row["answers"], row["sales"], row["revenue"], row["deadweight_loss"]) == (3, 3, 38.0, 0.0)


def test_segments_of_several_curves(make_config: MakeConfig) -> None:
    segments = [{"segment": name, "curve": name} for name in sorted(DEFINITIONS)]
    market = Market(make_config(buyers=segments))
    menu = Menu(np.array([0.5, 1.0, 2.0]), np.array([0.9, 0.5, 0.2]))
    together = market.buyers.worth(menu)
    for rows, segment in zip(market.buyers.segments, segments, strict=True):
        assert rows.curve is valuation_curves()[segment["curve"]]
        alone = Market(make_config(buyers=segment)).buyers.worth(menu)
        assert together[rows.start : rows.stop].tolist() == alone.tolist()
    market.run()
    assert (market.frame("rounds")["sales"] > 0).any()


# --- users' own ---------------------------------------------------------------------------------------------------


class Power(ValuationCurve):
    """A power of coverage, for who wants as much as the version offers."""

    name = "power"
    exponent = Parameter(2.0, low=0.0)

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        if buyer.exponent == 0.0:
            return np.full(len(menu.epsilons), buyer.budget)
        return buyer.budget * np.array([c**buyer.exponent for c in menu.coverage.tolist()])


class Root(Power):
    """The same at array speed, and with another default."""

    name = "root"
    exponent = Parameter(0.5, low=0.0, high=1.0)
    broadcasts = True

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        return buyer.budget * np.sqrt(menu.coverage) ** (2 * buyer.exponent) + 0.0 * menu.epsilons


class Exponential(Target):
    """A behaviour with a parameter of the curve's name, in another segment."""

    name = "exponential"
    exponent = Parameter(7.0)


def test_an_own_curve_with_parameters(make_config: MakeConfig) -> None:
    segments = [
        {"segment": "default", "curve": own(Power), "count": 2},
        {"segment": "given", "curve": own(Power), "count": 3, "curve_options": {"exponent": [0.0, 1.0, 3.0]}},
        {"segment": "root", "curve": own(Root), "count": 2},
        {"segment": "drawn", "curve": own(Power), "count": 4, "curve_options": {"exponent": {"dist": "expon"}}},
        {"segment": "other", "behaviour": own(Exponential), "count": 2},
        {"segment": "plain", "count": 2},
    ]
    market = Market(make_config(buyers=segments), seed=1)
    menu = Menu(np.array([0.5, 1.0, 2.0]), np.array([1.0, 0.25, 0.0]))
    share = market.buyers.worth(menu) / market.buyers.columns["budget"][:, None]
    expected = {0: 1 / 16, 1: 1 / 16, 2: 1.0, 3: 0.25, 4: 1 / 64, 5: 0.5, 6: 0.5}
    assert {row: share[row, 1] for row in expected} == pytest.approx(expected, rel=1e-14)
    drawn = [buyer.exponent for buyer in market.buyers][7:11]
    assert len(set(drawn)) == 4
    assert share[7:11, 1] == pytest.approx(0.25 ** np.array(drawn), rel=1e-14)
    # A behaviour's parameter of the same name is another one.
    assert [market.buyers[row].exponent for row in (11, 12)] == [7.0, 7.0]
    with pytest.raises(AttributeError, match="'Target' object has no attribute 'slope'"):
        _ = market.buyers[13].slope
    market.run()


@pytest.mark.parametrize("curve", [*valuation_curves().values(), Power, Root])
@pytest.mark.parametrize("seed", range(3))
def test_curves_pass_the_check(curve: type[ValuationCurve], seed: int) -> None:
    check_valuation_curve(curve, seed=seed)


def test_options_are_checked_as_well() -> None:
    check_valuation_curve(Power, options={"exponent": {"dist": "uniform", "scale": 3.0}})


class Falling(ValuationCurve):
    """Pays for noise."""

    name = "falling"

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        return buyer.budget / (1.0 + menu.epsilons)


class Shy(ValuationCurve):
    """Wants to know little."""

    name = "shy"

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        return buyer.budget * (1.0 - menu.coverage)


class Spendthrift(ValuationCurve):
    """Pays more than its budget."""

    name = "spendthrift"

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        return 1.001 * buyer.budget * np.ones(len(menu.epsilons))


class Debtor(ValuationCurve):
    """Would have to be paid."""

    name = "debtor"

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        return -buyer.budget * np.ones(len(menu.epsilons))


class Endless(ValuationCurve):
    """Pays anything."""

    name = "endless"

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        return np.full(len(menu.epsilons), np.inf)


class Single(ValuationCurve):
    """Has one price for everything."""

    name = "single"
    broadcasts = True

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        return buyer.budget


class Crowd(ValuationCurve):
    """Pays as much as the richest."""

    name = "crowd"
    broadcasts = True

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        return np.minimum(buyer.budget, np.median(buyer.budget) * menu.coverage + 0.0 * menu.epsilons)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (Falling, "worth falls where epsilon rises"),
        (Shy, "worth falls where coverage rises"),
        (Spendthrift, "must lie between 0 and the budget"),
        (Debtor, "must lie between 0 and the budget"),
        (Endless, "must be finite"),
        (Single, "one number a version is needed"),
        (Crowd, "alone a buyer finds"),
    ],
)
def test_a_curve_that_breaks_a_rule_is_caught(curve: type[ValuationCurve], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_valuation_curve(curve)


class Jealous(ValuationCurve):
    """Has a parameter called like an attribute of every buyer."""

    name = "jealous"
    budget = Parameter(1.0)


def test_a_curve_without_a_formula_says_so(make_config: MakeConfig) -> None:
    class Empty(ValuationCurve):
        """Nothing."""

    with pytest.raises(TypeError, match="needs the method 'worth'"):
        Empty.worth(None, Menu(np.ones(1), np.ones(1)))


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        ({"curve": "lienar"}, "unknown valuation curve 'lienar' (did you mean 'linear'?)"),
        ({"curve": "target"}, "unknown valuation curve 'target'"),
        ({"curve": "simulator.agents.buyer:Target"}, "not a subclass of ValuationCurve"),
        ({"curve_options": {"slope": 1.0}}, "curve_options: the valuation curve 'sigmoid' has no option 'slope'"),
        ({"curve": own(Root), "curve_options": {"exponent": 2.0}}, "exponent: found 2; allowed are values from 0 to 1"),
        ({"curve": own(Power), "curve_options": {"exponent": [1.0]}}, "curve_options.exponent: found a list of 1"),
        ({"curve": own(Jealous)}, "has a parameter 'budget', a name that the buyer behaviour 'target' uses already"),
        (
            {"curve": own(Power), "behaviour": own(Exponential)},
            f"has a parameter 'exponent', a name that the buyer behaviour '{own(Exponential)}' uses already",
        ),
    ],
)
def test_curves_that_are_refused(make_config: MakeConfig, segment: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_config(buyers=segment)
    assert message in str(caught.value)
