"""Checks that every mechanism and behaviour must pass, for the built-in classes and for a user's own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pandas as pd

from simulator.agents.behaviour import BrokerBehaviour
from simulator.agents.buyer import ModelBuyer
from simulator.agents.curve import ValuationCurve
from simulator.agents.owner import DataOwner
from simulator.config import MarketConfig
from simulator.log import TABLES
from simulator.market import Market
from simulator.pricing.arbitrage import find_arbitrage
from simulator.pricing.strategy import PricingContext, PricingStrategy
from simulator.pricing.survey import Survey, read_only
from simulator.privacy.accounting import Neighbours
from simulator.privacy.audit import audit
from simulator.procurement.method import ProcurementMethod, Purchase, maximize_coverage
from simulator.records import Menu, Purchases, Receipts
from simulator.valuation.estimator import ValuationEstimator, shapley_values
from simulator.valuation.games import Game


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


def check_pricing_strategy(cls: type[PricingStrategy], *, seed: int = 0, cases: int = 50, rounds: int = 3) -> None:
    """Check a pricing strategy on random markets, in their first rounds and later, under both composition rules.

    Among the surveys are some with ties, with weights, with one answer, with versions that nobody asks for,
    with one version, and with values around 1e-6 and 1e6; among the owners some that do not take part. The
    strategy prices a few rounds of each market and learns from their sales. Its prices must be one positive,
    finite number a version (none where they are personalised), the same in the same circumstances, and
    without arbitrage where it claims so; what it is told it must not change. A strategy that surveys nobody
    gets no answers.

    Parameters
    ----------
    cls : type
        The strategy; it is made with its `example_options`.
    seed : int
        Seed of the random buyers.
    cases : int
        Number of markets.
    rounds : int
        Rounds of each; one is enough for a strategy that does not learn.

    Raises
    ------
    AssertionError
        If the strategy breaks a rule; the message shows the buyers.
    """
    check_described(cls)
    assert issubclass(cls, PricingStrategy), f"{cls.__name__} must be a subclass of PricingStrategy"
    rng = np.random.default_rng(seed)
    if cls.learn is PricingStrategy.learn:
        rounds = 1
    for case in range(cases):
        context = _random_context(rng, case)
        wanted = context.survey
        shown = f"{cls.__name__} on epsilons {context.epsilons.tolist()}, {context.composition}, {wanted}"
        try:
            strategy, twin = (cls(**cls.example_options) for _ in range(2))
        except Exception as error:
            raise AssertionError(
                f"{cls.__name__} must be usable without options, or with its `example_options`: {error}"
            ) from error
        for number in range(context.round, context.round + rounds):
            posted = []
            for made in (strategy, twin):
                now = replace(
                    context,
                    survey=wanted if cls.surveys else Survey([], []),
                    round=number,
                    rounds=context.round + rounds - 1,
                    rng=np.random.default_rng([case, number]),
                )
                try:
                    # A copy: a strategy may go on using its own array.
                    posted.append(np.array(made.prices(now), dtype=float))
                except Exception as error:
                    raise AssertionError(f"{shown}: {type(error).__name__}: {error}") from error
            prices, again = posted
            assert prices.shape == (context.n_versions,), f"{shown}: one price a version is needed, found {prices}"
            assert np.array_equal(prices, again, equal_nan=True), f"{shown}: prices differ at a second call"
            if cls.personalised:
                break
            assert (np.isfinite(prices) & (prices > 0)).all(), f"{shown}: prices must be positive, found {prices}"
            if cls.arbitrage_free:
                found = find_arbitrage(context.epsilons, prices, composition=context.composition)
                assert found is None, f"{shown}: {prices} admits {found}"
            paid = np.where(wanted.values >= prices[wanted.targets], prices[wanted.targets], 0.0)
            sales = Receipts(np.where(paid > 0, wanted.targets, -1), paid, np.ones(context.n_versions, dtype=bool))
            strategy.learn(sales)
            twin.learn(sales)
            context = replace(context, last_sales=sales)


def _random_context(rng: np.random.Generator, case: int) -> PricingContext:
    """A round to price; kinds of values, weights, rounds and rules take turns with the number of the case."""
    n_versions, owners = int(rng.integers(1, 7)), int(rng.integers(1, 6))
    epsilons = np.cumsum(rng.uniform(0.1, 2.0, n_versions))
    answers = int(rng.integers(1, 30)) if case % 5 else 1
    values = rng.integers(1, 10, answers).astype(float) if case % 2 else rng.lognormal(3.0, 1.0, answers)
    unit = (1.0, 1e-6, 1e6)[case % 3]
    wanted = rng.choice(n_versions, int(rng.integers(1, n_versions + 1)), replace=False)
    targets = rng.choice(wanted, answers)
    worth = values[:, None] * rng.choice([0.0, 0.5, 1.0, 1.5], (answers, n_versions))
    worth[np.arange(answers), targets] = values
    weights = rng.uniform(0.1, 5.0, answers) if case % 4 > 1 else None
    survey = Survey(targets, unit * values, weights, unit * worth)
    asked = unit * np.sort(rng.exponential(5.0, (n_versions, owners)), axis=0)
    purchases = sales = None
    if case % 11 < 6:  # a later round
        bought = rng.random(asked.shape) < 0.5
        purchases = Purchases(bought, asked, np.full(n_versions, 10.0 * unit), bought.mean(axis=1))
        versions = rng.integers(-1, n_versions, answers)
        sales = Receipts(versions, np.where(versions >= 0, survey.values, 0.0), np.ones(n_versions, dtype=bool))
    return PricingContext(
        survey=survey,
        epsilons=read_only(epsilons),
        composition="additive" if case % 7 < 4 else "quadratic",
        n_buyers=max(answers, round(survey.weights.sum())),
        round=1 if purchases is None else 2,
        rounds=2,
        last_purchases=purchases,
        last_sales=sales,
        rng=np.random.default_rng(case),
        asked=np.where(rng.random(owners) < (0.3 if case % 13 else 1.0), np.inf, asked),
    )


def check_procurement_method(cls: type[ProcurementMethod], *, seed: int = 0, cases: int = 50) -> None:
    """Check a procurement method on random offers, with free, priceless and worthless shards.

    It must not overspend, or promise more than the budget, unless it says so, whatever the size of the amounts and not
    by a rounding, buy nothing of no value, afford an exact fit, buy the same again from the same generator, and return
    a bound that no affordable set exceeds. A method that promises payments must promise each at least what it asks; it
    need not afford a fit of what is asked.

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
        bought, again = (_bought(name, shown, values, costs, budget, np.random.default_rng(case)) for _ in range(2))
        assert (values[bought.owners] > 0).all(), f"{shown} buys what is worth nothing"
        assert np.array_equal(bought.owners, again.owners), f"{shown} buys others at a second call"
        own = float(values[worth_buying][np.asarray(chosen, dtype=int)].sum())
        best = own if cls.overspends else max(own, maximize_coverage(values, costs, budget).value)
        assert best <= bound * (1 + 1e-9), f"{shown}: a set is worth {best}, more than its bound {bound}"
    for costs, budget in ((np.array([0.3]), 0.3), (np.array([0.2, 0.3, 0.1]), 0.6)):
        shown = f"{cls.__name__} on costs {costs.tolist()}, budget {budget}"
        exact_fit = _bought(name, shown, np.ones(len(costs)), costs, budget, rng)
        assert cls.promises or len(exact_fit.owners) == len(costs), f"{cls.__name__} must afford an exact fit"
    for costs in (np.array([0.2, 0.3, 0.1]), *(rng.uniform(0.1, 1.0, n) for n in range(2, 7))):
        budget = float(np.nextafter(math.fsum(costs), 0.0))
        shown = f"{cls.__name__} on costs {costs.tolist()}, budget {budget}, a hair below their sum"
        _bought(name, shown, np.ones(len(costs)), costs, budget, rng)


def _bought(
    method: str, shown: str, values: np.ndarray, costs: np.ndarray, budget: float, rng: np.random.Generator
) -> Purchase:
    """What a method buys; an AssertionError if it breaks a rule in doing so."""
    try:
        return maximize_coverage(values, costs, budget, method=method, rng=rng)
    except (ValueError, RuntimeError) as error:
        raise AssertionError(f"{shown}: {error}") from None


class _TableGame:
    """A game whose utilities stand in a table, by the number whose bits are the members; counts what it is asked."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = table
        self.n_players = len(table).bit_length() - 1
        self.asked = 0

    def utility(self, masks: np.ndarray) -> np.ndarray:
        self.asked += len(masks)
        return self.table[masks @ (1 << np.arange(self.n_players))]


def _coalitions(n: int) -> np.ndarray:
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1


def _random_game(rng: np.random.Generator, n: int) -> _TableGame:
    """Players 0 and 1 are interchangeable, and the last of three or more changes nothing."""
    masks = _coalitions(n)
    same = masks[:, :2].sum(axis=1)
    others = masks[:, 2 : n - 1] @ (1 << np.arange(max(n - 3, 0)))
    table = rng.normal(size=(3, 2 ** max(n - 3, 0))) + np.arange(3.0)[:, None]
    return _TableGame(table[same, others])


def check_valuation_estimator(
    cls: type[ValuationEstimator], *, games: Sequence[Game] | None = None, seed: int = 0
) -> None:
    """Check an estimator of Shapley values on small games, against their exact values.

    The values must be finite and share out U(N) - U(empty), be the same for the same random stream, and lie within
    five standard errors of the exact values; so must those of a player that changes nothing, and of two whose
    roles can be changed. Evaluations must be counted as they are, and must not exceed the budget.

    Parameters
    ----------
    cls : type
        A built-in estimator, or a user's own in an importable module; it must be usable without options.
    games : sequence of Game, optional
        Games of at most 12 players, where the estimator takes some only; by default random ones.
    seed : int
        Seed of the random games and of the sampling.

    Raises
    ------
    AssertionError
        If the estimator breaks a rule; the message shows the game.
    """
    check_described(cls)
    rng = np.random.default_rng(seed)
    name = f"{cls.__module__}:{cls.__qualname__}"
    for game in games if games is not None else [_random_game(rng, n) for n in (1, 2, 3, 5, 6, 7)]:
        n = game.n_players
        table = _TableGame(game.utility(_coalitions(n)))
        exact = shapley_values(table, method="exact", progress=False).values
        scale = max(1.0, float(np.abs(table.table).max()))
        shown = f"{cls.__name__} on a game of {n} players with utilities {table.table.tolist()[:8]}..."

        def found(budget: int, game: Game = game) -> Any:
            stream = np.random.default_rng(seed)
            return shapley_values(game, method=name, budget=budget, tolerance=0.0, rng=stream, progress=False)

        for budget in (300, 3000):
            if games is None:
                game.asked = 0  # type: ignore[attr-defined]  # one of the random games
            valuation = found(budget)
            if games is None:
                asked = game.asked  # type: ignore[attr-defined]
                assert valuation.evaluations == asked, f"{shown}: it reports {valuation.evaluations} of {asked}"
            assert valuation.evaluations <= budget, f"{shown}: {valuation.evaluations} evaluations exceed {budget}"
            values, stderr = valuation.values, valuation.stderr
            assert values.shape == stderr.shape == (n,), f"{shown}: one value a player is needed, found {values}"
            assert np.isfinite(values).all(), f"{shown}: values must be finite, found {values}"
            assert (stderr >= 0).all(), f"{shown}: standard errors must be >= 0, found {stderr}"
            lacking = table.table[-1] - table.table[0] - values.sum()
            assert abs(lacking) <= 1e-9 * scale * n, f"{shown}: the values' sum lacks {lacking} to U(N) - U(empty)"
            allowed = 5 * stderr + 1e-9 * scale
            assert (np.abs(values - exact) <= allowed).all(), f"{shown}: found {values} +- {stderr}, exact is {exact}"
        again = found(budget)
        assert np.array_equal(values, again.values), f"{shown}: another result at the same random stream"
        assert np.array_equal(stderr, again.stderr), f"{shown}: other standard errors at the same random stream"


def check_game(game: Game, *, seed: int = 0, coalitions: int = 40) -> None:
    """Check a game: its utility must be finite, repeatable, and the same in a batch as one by one.

    Nobody, everybody, and every player alone are among the coalitions asked for.

    Parameters
    ----------
    game : Game
        The game, with at least one player.
    seed : int
        Seed of the random coalitions.
    coalitions : int
        Their number.

    Raises
    ------
    AssertionError
        If the game breaks a rule.
    """
    n = game.n_players
    rng = np.random.default_rng(seed)
    share = rng.random((coalitions, 1))
    alone = np.eye(n, dtype=bool)
    masks = np.concatenate([np.zeros((1, n), bool), np.ones((1, n), bool), alone, rng.random((coalitions, n)) < share])
    asked = masks.copy()
    batch = np.asarray(game.utility(asked))
    assert np.array_equal(asked, masks), "the game changes the coalitions it is asked for"
    assert batch.shape == (len(masks),), f"one utility a coalition is needed, found shape {batch.shape}"
    assert np.isfinite(batch).all(), f"utilities must be finite, found {batch}"
    assert np.array_equal(batch, game.utility(masks)), "utilities differ at a second call"
    single = np.concatenate([game.utility(mask[None]) for mask in masks])
    assert np.allclose(single, batch, rtol=1e-9, atol=1e-12), "utilities differ between a batch and one by one"
    assert game.utility(masks[:0]).shape == (0,), "no coalitions must have no utilities"


def check_private_classifier(cls: type[Any], *, seed: int = 0, fits: int = 150) -> None:
    """Check a differentially private classifier for what such classes get wrong.

    Its noise must be that of the generator given as `random_state` and nothing else, and differ between generators;
    rows longer than `data_norm`, where there is such a parameter, must count as rows of that norm; epsilon and delta
    out of range must be refused by name; and a small `audit` at two epsilons, under both neighbour relations, must not
    refute what is claimed.

    Parameters
    ----------
    cls : type
        A classifier with scikit-learn's interface and the parameters `epsilon`, `delta`, `neighbours` and
        `random_state`; it must be usable without others.
    seed : int
        Seed of the noise.
    fits : int
        Trainings on each side of an audit, >= 30. More find smaller mistakes.

    Raises
    ------
    AssertionError
        If the classifier breaks a rule; the message names it.
    """
    name = cls.__name__
    labels = np.arange(40) % 2
    rows = np.where(labels[:, None] == 1, [0.8, 0.6], [-0.6, 0.8])
    options = set(cls().get_params(deep=False))

    def scores(rows: np.ndarray, stream: int) -> np.ndarray:
        model = cls(random_state=np.random.default_rng([seed, stream])).fit(rows, labels)
        return np.asarray((getattr(model, "decision_function", None) or model.predict_proba)(np.eye(2)))

    for parameter in ("epsilon", "delta"):
        for value in (0.0, -1.0, math.nan, math.inf):
            refusal = "nothing"
            try:
                cls(**{parameter: value}, random_state=np.random.default_rng(seed)).fit(rows, labels)
            except ValueError as error:
                refusal = str(error)
            wanted = f"{name} must refuse {parameter} = {value} with a ValueError that names it"
            assert parameter in refusal, f"{wanted}, found {refusal}"
    first = scores(rows, 0)
    assert np.array_equal(first, scores(rows, 0)), f"{name} gives other scores at the same random_state"
    assert not np.array_equal(first, scores(rows, 1)), f"{name} gives the same scores at another random_state"
    if "data_norm" in options:
        clipped = np.allclose(scores(7.0 * rows, 0), scores(90.0 * rows, 0), rtol=1e-6, atol=1e-9)
        assert clipped, f"{name} must clip rows to data_norm"
    for number, (epsilon, neighbours) in enumerate(itertools.product((1.0, 4.0), get_args(Neighbours))):
        rng = np.random.default_rng([seed, 2, number])
        # A true claim passes in 99 of 100 checks.
        found = audit(
            cls(epsilon=epsilon, neighbours=neighbours), fits=fits, confidence=0.9975, rng=rng, progress=False
        )
        assert not found.violated, str(found)


def check_behaviour(
    cls: type[DataOwner] | type[ModelBuyer],
    *,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    rounds: int = 4,
) -> None:
    """Check that a behaviour does the same one agent at a time and on columns.

    Two markets of random agents run side by side, one looping over agents, one at array speed; all their
    tables must be equal bit by bit, and so must what buyers state for the whole menu at the end. Buyers meet a list
    without arbitrage, and one that bundles undercut; some of them stay, others come and go.

    Parameters
    ----------
    cls : type
        A subclass of `DataOwner` or `ModelBuyer`, in an importable module.
    options : mapping of str to object, optional
        Its `behaviour_options`.
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
    _check_speeds(cls, options or {}, seed, rounds, {"pricing": "dpp_plus"})
    if issubclass(cls, ModelBuyer):
        _check_speeds(cls, options or {}, seed, rounds, {"pricing": "median_each", "pricing_options": {"raw": True}})


def _check_speeds(
    cls: type[DataOwner] | type[ModelBuyer],
    options: Mapping[str, Any],
    seed: int,
    rounds: int,
    pricing: Mapping[str, Any],
) -> None:
    """Run a behaviour one agent at a time and at array speed, under one pricing strategy, and compare."""
    tested = {"behaviour": f"{cls.__module__}:{cls.__qualname__}", "behaviour_options": options}
    buyers = {
        "segment": "buyers",
        "count": 40,
        "budget": {"dist": "lognorm", "s": 0.5, "scale": 10.0},
        "coverage_expected": {"dist": "uniform"},
        "epsilon_expected": {"dist": "uniform", "scale": 2.5},
        **(tested if issubclass(cls, ModelBuyer) else {"behaviour": "target"}),
    }
    come_and_go = {"segment": "passers_by", "count": 10, "arrivals": 6.0, "stay": 2.5, "drift": 0.1}
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
                **(tested if issubclass(cls, DataOwner) else {"behaviour": "truthful"}),
            }
        ],
        "broker": {"epsilons": [0.5, 1.0, 2.0], "manufacturing_budget": 80.0, "commission": 0.3, **pricing},
        "buyers": [buyers] if issubclass(cls, DataOwner) else [buyers, buyers | come_and_go],
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
    menu = Menu(fast.broker.epsilons, fast.broker.released_coverage)
    same = np.array_equal(slow.buyers.answer_menu(menu), fast.buyers.answer_menu(menu))
    assert same, f"{cls.__name__}: one agent at a time differs from all at once in answer_menu"


def check_broker_behaviour(
    cls: type[BrokerBehaviour], *, options: Mapping[str, Any] | None = None, seed: int = 0, rounds: int = 4
) -> None:
    """Check a broker's behaviour in a small market with a rival, run twice: the same seed must give the same tables.

    Parameters
    ----------
    cls : type
        A built-in behaviour, or a user's own in an importable module.
    options : mapping of str to object, optional
        Its `behaviour_options`.
    seed : int
        Seed of the market.
    rounds : int
        How many rounds are run.

    Raises
    ------
    AssertionError
        If the tables differ, or the behaviour fails in the market, with its error as cause.
    """
    check_described(cls)
    desk = {"epsilons": [0.5, 1.0, 2.0], "survey_share": 0.5}
    tested = {"behaviour": f"{cls.__module__}:{cls.__qualname__}", "behaviour_options": dict(options or {})}
    owner = {
        "segment": "owners",
        "count": 20,
        "value": {"dist": "norm", "loc": 1.0},
        "privacy_sensitivity": {"dist": "uniform"},
    }
    buyer = {
        "segment": "buyers",
        "count": 40,
        "budget": {"dist": "lognorm", "s": 0.5, "scale": 40.0},
        "coverage_expected": {"dist": "uniform"},
        "epsilon_expected": {"dist": "uniform", "scale": 2.5},
        "behaviour": "surplus",
    }
    raw = {
        "rounds": rounds,
        "data": {"source": "values"},
        "owners": [owner],
        "brokers": [{"name": "tested", **desk, **tested}, {"name": "rival", **desk}],
        "buyers": [buyer],
    }
    markets = [Market(MarketConfig.model_validate(raw), seed) for _ in range(2)]
    for market in markets:
        try:
            market.run()
        except Exception as error:
            raise AssertionError(f"{cls.__name__} fails in a market: {type(error).__name__}: {error}") from error
    for table in TABLES:
        one, two = (market.frame(table) for market in markets)
        assert one.equals(two), f"{cls.__name__}: the same seed gives other {table} at a second run"


def check_valuation_curve(
    cls: type[ValuationCurve], *, options: Mapping[str, Any] | None = None, seed: int = 0, cases: int = 20
) -> None:
    """Check a valuation curve on random buyers and menus.

    Among the buyers are some without a budget, and some that mind nothing or little. One by one and all at once they
    must find the same worth, bit by bit: one number a version, from 0 to the buyer's budget, that does not fall where
    coverage or epsilon rises.

    Parameters
    ----------
    cls : type
        A built-in curve, or a user's own in an importable module.
    options : mapping of str to object, optional
        Its `curve_options`.
    seed : int
        Seed of the random buyers and menus.
    cases : int
        Number of menus.

    Raises
    ------
    AssertionError
        If the curve breaks a rule; the message shows the menu.
    """
    check_described(cls)
    rng = np.random.default_rng(seed)
    buyer = {
        "curve": f"{cls.__module__}:{cls.__qualname__}",
        "curve_options": options or {},
        "budget": {"dist": "lognorm", "s": 1.0, "scale": 50.0},
        "coverage_expected": {"dist": "uniform", "loc": -0.1, "scale": 1.2},
        "coverage_sensitivity": {"dist": "expon", "scale": 10.0},
        "epsilon_expected": {"dist": "uniform", "loc": -1.0, "scale": 10.0},
        "noise_sensitivity": {"dist": "expon", "scale": 2.0},
    }
    plain: tuple[dict[str, float], ...] = (
        {"budget": 0.0},
        {"coverage_sensitivity": 0.0, "noise_sensitivity": 0.0},
        {"noise_sensitivity": 1e6},
        {},
    )
    segments = [{**buyer, **own, "segment": f"s{i}", "count": 10} for i, own in enumerate(plain)]
    owner = {"segment": "owners", "count": 1, "value": 1.0, "privacy_sensitivity": 0.0}
    market = Market(
        MarketConfig.model_validate({"data": {"source": "values"}, "owners": [owner], "buyers": segments}), seed
    )
    budgets = market.buyers.columns["budget"][:, None]
    for case in range(cases):
        size = 1 + (case + 1) % 6
        coverage = np.sort(rng.choice([0.0, 0.5, 1.0, *rng.random(3)], size))
        menu = Menu(np.cumsum(rng.uniform(0.1, 3.0, size)), coverage[:: 1 if case % 3 else -1])
        shown = f"{cls.__name__} on epsilons {menu.epsilons.tolist()} with coverage {menu.coverage.tolist()}"
        worth = market.buyers.worth(menu)
        assert np.shape(worth) == (len(budgets), size), f"{shown}: one number a version is needed, found {worth}"
        for agent, row in zip(market.buyers, worth, strict=True):
            alone = np.asarray(agent.worth(menu))
            assert np.array_equal(alone, row), f"{shown}: alone a buyer finds {alone}, among others {row}"
        assert np.isfinite(worth).all(), f"{shown}: worth must be finite, found {worth}"
        within = (worth >= 0) & (worth <= budgets * (1 + 1e-12))
        assert within.all(), f"{shown}: worth must lie between 0 and the budget, found {worth[~within]}"
        better = Menu(menu.epsilons, menu.coverage + (1.0 - menu.coverage) * rng.random(size))
        risen = market.buyers.worth(better)
        assert (risen >= worth * (1 - 1e-12)).all(), f"{shown}: worth falls where coverage rises"
        level = market.buyers.worth(Menu(menu.epsilons, np.full(size, menu.coverage[0])))
        falls = level[:, 1:] < level[:, :-1] * (1 - 1e-12)
        assert not falls.any(), f"{shown}: worth falls where epsilon rises, at equal coverage"
