"""Checks that every mechanism and behaviour must pass, for the built-in classes and for a user's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from simulator.agents.buyer import ModelBuyer
from simulator.agents.owner import DataOwner
from simulator.config import MarketConfig
from simulator.log import TABLES
from simulator.market import Market
from simulator.pricing.arbitrage import find_arbitrage
from simulator.pricing.strategy import PricingContext, PricingStrategy
from simulator.pricing.survey import Survey
from simulator.procurement.method import ProcurementMethod, maximize_coverage


def check_described(cls: type[Any]) -> None:
    """Check that a class has a name and says in one line what it is.

    Raises
    ------
    AssertionError
        If it does not.
    """
    assert isinstance(getattr(cls, "name", None), str), f"{cls.__name__} needs a name"
    assert cls.__doc__, f"{cls.__name__} needs a docstring"
    assert cls.summary().endswith("."), f"the first line of {cls.__name__}'s docstring must be one sentence"


def check_pricing_strategy(cls: type[PricingStrategy], *, seed: int = 0, cases: int = 50) -> None:
    """Check a pricing strategy on random surveys, with ties and with versions that nobody asks for.

    Its prices must be one positive, finite number a version (none where they are personalised), the same at
    the same context, and without arbitrage where it claims so.

    Parameters
    ----------
    cls : type
        The strategy, which must be usable without options.
    seed : int
        Seed of the random surveys.
    cases : int
        Number of surveys.

    Raises
    ------
    AssertionError
        If the strategy breaks a rule; the message shows the survey.
    """
    check_described(cls)
    rng = np.random.default_rng(seed)
    for case in range(cases):
        n_versions = int(rng.integers(1, 7))
        epsilons = np.cumsum(rng.uniform(0.1, 2.0, n_versions))
        answers = int(rng.integers(1, 30))
        values = rng.integers(1, 10, answers).astype(float) if case % 2 else rng.lognormal(3.0, 1.0, answers)
        survey = Survey(rng.integers(0, n_versions, answers), values)
        context = PricingContext(survey, epsilons, "additive", answers, 1, None, None, np.random.default_rng(case))
        again = PricingContext(survey, epsilons, "additive", answers, 1, None, None, np.random.default_rng(case))
        prices = np.asarray(cls().prices(context), dtype=float)
        shown = f"{cls.__name__} on epsilons {epsilons.tolist()}, {survey}"
        assert prices.shape == (n_versions,), f"{shown}: one price a version is needed, found {prices}"
        assert np.array_equal(prices, cls().prices(again), equal_nan=True), f"{shown}: prices differ at a second call"
        if cls.personalised:
            continue
        assert (np.isfinite(prices) & (prices > 0)).all(), f"{shown}: prices must be positive, found {prices}"
        if cls.arbitrage_free:
            found = find_arbitrage(epsilons, prices)
            assert found is None, f"{shown}: {prices} admits {found}"


def check_procurement_method(cls: type[ProcurementMethod], *, seed: int = 0, cases: int = 50) -> None:
    """Check a procurement method on random offers, with free, priceless and worthless shards.

    It must not overspend unless it says so, whatever the size of the amounts, buy nothing of no value, afford an
    exact fit, buy the same again from the same generator, and return a bound that no affordable set exceeds.

    Parameters
    ----------
    cls : type
        A built-in method, or a user's own in an importable module; it must be usable without options.
    seed : int
        Seed of the random offers.
    cases : int
        Number of offers.

    Raises
    ------
    AssertionError
        If the method breaks a rule; the message shows the offers.
    """
    check_described(cls)
    rng = np.random.default_rng(seed)
    name = f"{cls.__module__}:{cls.__qualname__}"
    for case in range(cases):
        owners = int(rng.integers(0, 20))
        values = rng.normal(0.5, 1.0, owners)
        unit = (1.0, 1e-12, 1e12)[case % 3]
        costs = rng.choice([0.0, 1.0, 2.0, np.inf], owners) * rng.uniform(0.5, 1.5, owners) * unit
        budget = float(rng.uniform(0, 10)) * unit
        shown = f"{cls.__name__} on values {values.tolist()}, costs {costs.tolist()}, budget {budget}"
        worth_buying = np.flatnonzero((values > 0) & np.isfinite(costs) & ((costs <= budget) | cls.overspends))
        chosen, bound = cls().choose(values[worth_buying], costs[worth_buying], budget, rng)
        try:
            bought, again = (
                maximize_coverage(values, costs, budget, method=name, rng=np.random.default_rng(case)) for _ in range(2)
            )
        except (ValueError, RuntimeError) as error:
            raise AssertionError(f"{shown}: {error}") from None
        assert (values[bought.owners] > 0).all(), f"{shown} buys what is worth nothing"
        assert np.array_equal(bought.owners, again.owners), f"{shown} buys others at a second call"
        own = float(values[worth_buying][np.asarray(chosen, dtype=int)].sum())
        best = own if cls.overspends else max(own, maximize_coverage(values, costs, budget).value)
        assert best <= bound * (1 + 1e-9), f"{shown}: a set is worth {best}, more than its bound {bound}"
    for costs, budget in ((np.array([0.3]), 0.3), (np.array([0.2, 0.3, 0.1]), 0.6)):
        exact_fit = maximize_coverage(np.ones(len(costs)), costs, budget, method=name, rng=rng)
        assert len(exact_fit.owners) == len(costs), f"{cls.__name__} must afford an exact fit"


def check_behaviour(cls: type[DataOwner] | type[ModelBuyer], *, seed: int = 0, rounds: int = 4) -> None:
    """Check that a behaviour does the same one agent at a time and on columns.

    Two markets of random agents run side by side, one looping over agents, one at array speed; all their
    tables must be equal bit by bit.

    Parameters
    ----------
    cls : type
        A subclass of `DataOwner` or `ModelBuyer`, in an importable module.
    seed : int
        Seed of the markets.
    rounds : int
        Rounds to run.

    Raises
    ------
    AssertionError
        If the tables differ.
    """
    check_described(cls)
    name = f"{cls.__module__}:{cls.__qualname__}"
    # A budget below what is asked makes sellers lose now and then, so that owners have to adapt.
    market = {
        "rounds": rounds,
        "data": {"source": "values"},
        "owners": [
            {
                "segment": "owners",
                "count": 25,
                "value": {"dist": "norm", "loc": 1.0},
                "privacy_sensitivity": {"dist": "uniform", "scale": 1.0},
                "base_price_pool": 60.0,
                "participation": 0.8,
                "behaviour": name if issubclass(cls, DataOwner) else "truthful",
            }
        ],
        "broker": {"epsilons": [0.5, 1.0, 2.0], "manufacturing_budget": 80.0, "commission": 0.3},
        "buyers": [
            {
                "segment": "buyers",
                "count": 40,
                "budget": {"dist": "lognorm", "s": 0.5, "scale": 10.0},
                "coverage_expected": {"dist": "uniform"},
                "epsilon_expected": {"dist": "uniform", "scale": 2.5},
                "behaviour": name if issubclass(cls, ModelBuyer) else "target",
            }
        ],
    }
    slow, fast = (Market(MarketConfig.model_validate(market), seed) for _ in range(2))
    slow.owners.vectorised = slow.buyers.vectorised = False
    slow.run()
    fast.run()
    for table in TABLES:
        try:
            pd.testing.assert_frame_equal(slow.frame(table), fast.frame(table), check_exact=True)
        except AssertionError as error:
            raise AssertionError(
                f"{cls.__name__}: one agent at a time differs from all at once in {table}: {error}"
            ) from None
