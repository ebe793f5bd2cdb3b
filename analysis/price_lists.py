"""A price list outside the market: made from the answers of a survey, or checked for arbitrage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.tables import amount
from simulator.pricing import Arbitrage, PricingContext, PricingStrategy, Survey, find_arbitrage, maximize_revenue
from simulator.pricing.arbitrage import SAVING_THRESHOLD, cheapest_cover
from simulator.pricing.composition import TOLERANCE, Composition, sizes
from simulator.pricing.revenue import relaxation_factor

#: What to know of a list that is not simply the strategy's own.
KINDS = {
    "repaired": "Repaired: each price is that of the cheapest bundle that covers it at the strategy's own prices.",
    "raw": "Raw: the strategy's own prices, not repaired.",
    "fallback": "Fallback: the strategy found no list of its own.",
}


@dataclass(frozen=True, eq=False)
class SurveyPricing:
    """A price list made from a survey, and what it is worth there.

    Attributes
    ----------
    strategy : str
        Pricing strategy.
    epsilons : array of float, shape (l,)
        Privacy levels of the versions.
    composition : {"additive", "quadratic"}
        What a bundle of versions is worth.
    list_kind : str
        What the list is: "arbitrage-free", "repaired", "raw", "fallback" or "personalised".
    prices : array of float, shape (l,)
        The price list, in money; NaN where prices are personalised.
    answers, sales : array of float, shape (l,)
        Buyers behind the answers for each version, and those of them who accept its price (NaN where prices
        are personalised).
    revenues : array of float, shape (l,)
        Revenue of each version on the answers, in money.
    revenue : float
        Their sum.
    bound : float
        No arbitrage-free list earns more on these answers.
    relaxation_factor : float
        The best arbitrage-free revenue is at most this factor times the optimum of the relaxed problem.
    optimal : bool
        Whether the list is arbitrage-free and its revenue equals the bound.
    arbitrage : Arbitrage or None
        The bundle with the largest saving, if there is one.
    monopoly_revenue : float
        What the versions would earn, each at its own best price, arbitrage ignored.
    perfect_revenue : float
        The sum of all answers.
    """

    strategy: str
    epsilons: np.ndarray
    composition: Composition
    list_kind: str
    prices: np.ndarray
    answers: np.ndarray
    sales: np.ndarray
    revenues: np.ndarray
    revenue: float
    bound: float
    relaxation_factor: float
    optimal: bool
    arbitrage: Arbitrage | None
    monopoly_revenue: float
    perfect_revenue: float


def price_survey(
    epsilons: np.ndarray, survey: Survey, strategy: PricingStrategy, *, name: str, composition: Composition = "additive"
) -> SurveyPricing:
    """Let a strategy price the versions from a survey alone, as in the first round of a market.

    A strategy that draws at random does so from seed 0.

    Parameters
    ----------
    epsilons : array of float, shape (l,)
        Privacy levels of the versions, strictly increasing, > 0.
    survey : Survey
        The answers, one or more.
    strategy : PricingStrategy
        The strategy.
    name : str
        Its name.
    composition : {"additive", "quadratic"}
        What a bundle of versions is worth.

    Raises
    ------
    ValueError
        If an argument is out of range, or the strategy cannot price this survey or returns prices that are
        not positive and finite.

    Examples
    --------
    >>> from simulator.pricing import pricing_strategies
    >>> survey = Survey([0, 0, 1, 1, 2, 2], [100, 400, 300, 700, 500, 800])
    >>> priced = price_survey(np.array([1, 2, 3]), survey, pricing_strategies()["median"](), name="median")
    >>> priced.prices.tolist(), priced.sales.tolist(), priced.revenue
    ([450.0, 450.0, 450.0], [0.0, 1.0, 2.0], 1350.0)
    """
    best = maximize_revenue(epsilons, survey.targets, survey.values, weights=survey.weights, composition=composition)
    prices, revenues = _priced_by(epsilons, survey, strategy, name, composition)
    n_versions = len(epsilons)
    sold = np.where(np.isnan(prices[survey.targets]), np.nan, survey.values >= prices[survey.targets])
    arbitrage = None if strategy.personalised else find_arbitrage(epsilons, prices, composition=composition)
    revenue = float(revenues.sum())
    return SurveyPricing(
        strategy=name,
        epsilons=epsilons,
        composition=composition,
        list_kind=strategy.list_kind,
        prices=prices,
        answers=np.bincount(survey.targets, weights=survey.weights, minlength=n_versions),
        sales=np.bincount(survey.targets, weights=survey.weights * sold, minlength=n_versions),
        revenues=revenues,
        revenue=revenue,
        bound=best.bound,
        relaxation_factor=relaxation_factor(sizes(epsilons, composition)),
        optimal=not strategy.personalised and arbitrage is None and revenue >= best.bound * (1 - TOLERANCE),
        arbitrage=arbitrage,
        monopoly_revenue=float(sum(survey.demand(k).monopoly()[1] for k in range(n_versions))),
        perfect_revenue=float((survey.weights * survey.values).sum()),
    )


def _priced_by(
    epsilons: np.ndarray, survey: Survey, strategy: PricingStrategy, name: str, composition: Composition
) -> tuple[np.ndarray, np.ndarray]:
    """A strategy's prices, checked as in the market, and its revenue by version."""
    context = PricingContext(
        survey=survey,
        epsilons=epsilons,
        composition=composition,
        n_buyers=max(1, round(survey.weights.sum())),
        round=1,
        rounds=1,
        last_purchases=None,
        last_sales=None,
        rng=np.random.default_rng(0),
    )
    try:
        if not strategy.surveys:
            raise ValueError("it learns from sales and asks nobody")
        prices = strategy.checked_prices(context)
        return prices, np.asarray(strategy.expected_revenue(survey, prices), dtype=float)
    except Exception as error:  # a user's strategy may fail in any way
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{name!r} cannot price a survey outside the market: {reason}") from error


def cheapest_covers(
    epsilons: np.ndarray, prices: np.ndarray, *, composition: Composition = "additive"
) -> list[Arbitrage]:
    """Cheapest bundle that covers each version; where none undercuts it, that is one of the version itself."""
    x = sizes(epsilons, composition)
    covers = []
    for version, price in enumerate(prices):
        cost, bundle = cheapest_cover(x, prices, x[version])
        saving = float(price - cost)
        if saving <= SAVING_THRESHOLD * price:
            cost, bundle, saving = float(price), np.eye(len(x), dtype=int)[version], 0.0
        covers.append(Arbitrage(version, bundle, cost, saving))
    return covers


def bundle_in_words(bundle: np.ndarray, epsilons: np.ndarray) -> str:
    """What is in a bundle, such as "2 of eps 1 + 1 of eps 2"."""
    return " + ".join(f"{count} of eps {eps:g}" for count, eps in zip(bundle, epsilons, strict=True) if count)


def in_words(found: Arbitrage | None, epsilons: np.ndarray, prices: np.ndarray) -> str:
    """The result of an arbitrage check as a sentence."""
    if found is None:
        return "The list is arbitrage-free: no bundle covers a version for less than its price."
    costs = "cost" if found.bundle.sum() > 1 else "costs"
    covers = "cover" if found.bundle.sum() > 1 else "covers"
    return (
        f"The list has arbitrage: {bundle_in_words(found.bundle, epsilons)} {costs} {amount(found.cost)} and {covers} "
        f"eps {epsilons[found.version]:g}, priced {amount(prices[found.version])}: saves {amount(found.saving)}."
    )


def price_table(priced: SurveyPricing) -> pd.DataFrame:
    """A price list for the terminal, a row a version."""
    shown = {
        "epsilon": [f"{eps:g}" for eps in priced.epsilons],
        "answers": map(amount, priced.answers),
        "price": map(amount, priced.prices),
        "expected sales": map(amount, priced.sales),
        "revenue": map(amount, priced.revenues),
    }
    return pd.DataFrame({"version": range(len(priced.prices)), **shown})


def summary(priced: SurveyPricing) -> str:
    """What a list earns, how far that is from the bounds, and whether it can be undercut, in sentences."""
    lines = [
        f"Revenue of {priced.strategy}: {amount(priced.revenue)}, "
        f"{priced.revenue / priced.monopoly_revenue:.1%} of monopoly revenue ({amount(priced.monopoly_revenue)}), "
        f"{priced.revenue / priced.perfect_revenue:.1%} of perfect revenue ({amount(priced.perfect_revenue)})."
    ]
    if priced.optimal:
        lines.append("No arbitrage-free list earns more on these answers.")
    else:
        lines.append(
            f"No arbitrage-free list earns more than {amount(priced.bound)} on these answers; "
            f"the relaxed problem loses a factor of {priced.relaxation_factor:.4g} at most."
        )
    if np.isnan(priced.prices).all():
        lines.append("No list is posted: prices are personalised.")
    else:
        if priced.list_kind in KINDS:
            lines.append(KINDS[priced.list_kind])
        lines.append(in_words(priced.arbitrage, priced.epsilons, priced.prices))
    return "\n".join(lines)


def cover_table(covers: Sequence[Arbitrage], epsilons: np.ndarray, prices: np.ndarray) -> pd.DataFrame:
    """The cheapest cover of each version for the terminal, a row a version."""
    shown = {
        "epsilon": [f"{eps:g}" for eps in epsilons],
        "price": map(amount, prices),
        "cheapest cover": [bundle_in_words(cover.bundle, epsilons) for cover in covers],
        "its cost": [amount(cover.cost) for cover in covers],
        "saving": [amount(cover.saving) if cover.saving else "-" for cover in covers],
    }
    return pd.DataFrame({"version": range(len(prices)), **shown})
