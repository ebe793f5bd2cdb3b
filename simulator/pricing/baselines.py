"""Baselines that every comparison needs."""

from __future__ import annotations

import numpy as np

from simulator.pricing.arguments import LARGEST, SMALLEST
from simulator.pricing.revenue import maximize_revenue
from simulator.pricing.strategy import PricingContext, PricingStrategy, Repaired
from simulator.pricing.survey import Demand, Survey


class ConstantList(PricingStrategy):
    """One price for the whole list, which no bundle undercuts. A subclass implements `price`."""

    def price(self, survey: Survey) -> float:
        """Price of every version, in money."""
        raise TypeError(f"{type(self).__name__} has no method 'price'")

    def prices(self, context: PricingContext) -> np.ndarray:
        """The same price for every version."""
        return np.full(context.n_versions, self.price(context.survey))


class Low(ConstantList):
    """One price for the whole list: the smallest answer."""

    name = "low"
    source = "Liu et al. (2021)"

    def price(self, survey: Survey) -> float:
        """The smallest answer."""
        return float(survey.values.min())


class Median(ConstantList):
    """One price for the whole list: the median answer."""

    name = "median"
    source = "Liu et al. (2021)"

    def price(self, survey: Survey) -> float:
        """The median answer."""
        return survey.median()


class High(ConstantList):
    """One price for the whole list: the largest answer."""

    name = "high"
    source = "Liu et al. (2021)"

    def price(self, survey: Survey) -> float:
        """The largest answer."""
        return float(survey.values.max())


class Uniform(ConstantList):
    """The single price for the whole list that earns the most on the survey."""

    name = "uniform"

    def price(self, survey: Survey) -> float:
        """The revenue-maximising single price."""
        return Demand(survey.values, survey.weights).monopoly()[0]


class Linear(Repaired):
    """The straight line in epsilon from the smallest answer to the largest, repaired."""

    name = "linear"
    source = "Liu et al. (2021)"

    def raw_prices(self, context: PricingContext) -> np.ndarray:
        """The line from (eps_1, smallest answer) to (eps_l, largest); the smallest answer for one version."""
        eps, values = context.epsilons, context.survey.values
        if len(eps) == 1:
            return np.array([values.min()])
        return np.interp(eps, [eps[0], eps[-1]], [values.min(), values.max()])


class EachVersion(Repaired):
    """A price for each version from the answers for it alone. A subclass implements `price`."""

    def price(self, answers: Survey) -> float:
        """Price of a version, in money, from the answers for it, at least one."""
        raise TypeError(f"{type(self).__name__} has no method 'price'")

    def raw_prices(self, context: PricingContext) -> np.ndarray:
        """The price of each version; none for versions nobody asked for."""
        prices = np.full(context.n_versions, np.inf)
        for k in np.unique(context.survey.targets):
            prices[k] = self.price(context.survey.of(k))
        return prices


class LowEach(EachVersion):
    """The smallest answer for each version, repaired."""

    name = "low_each"

    def price(self, answers: Survey) -> float:
        """The smallest answer."""
        return float(answers.values.min())


class MedianEach(EachVersion):
    """The median answer for each version, repaired."""

    name = "median_each"

    def price(self, answers: Survey) -> float:
        """The median answer."""
        return answers.median()


class HighEach(EachVersion):
    """The largest answer for each version, repaired."""

    name = "high_each"

    def price(self, answers: Survey) -> float:
        """The largest answer."""
        return float(answers.values.max())


class Proportional(PricingStrategy):
    """The line in epsilon through the origin that earns the most on the survey.

    Such a line is arbitrage-free under either composition rule: a bundle that covers a version has epsilons
    that add up to at least the version's, since a sum is never less than the root of the sum of squares.
    """

    name = "proportional"

    def prices(self, context: PricingContext) -> np.ndarray:
        """p_k = s eps_k, with the best s found exactly in O(m log m).

        An answer v for version k is served as long as s <= v / eps_k, and then pays eps_k for each unit of s:
        the best s is the monopoly price of that demand.
        """
        survey, eps = context.survey, context.epsilons
        wanted = eps[survey.targets]
        slope, _ = Demand(survey.values / wanted, survey.weights * wanted).monopoly()
        # Rounding in v / eps * eps may put a price an ulp above the answer it serves.
        return np.array([survey.demand(k).snap(slope * eps[k]) for k in range(len(eps))])


class Random(Repaired):
    """An answer drawn at random for each version, repaired."""

    name = "random"

    def raw_prices(self, context: PricingContext) -> np.ndarray:
        """One of the answers for each version, each as likely as its weight; none where nobody asked."""
        survey, prices = context.survey, np.full(context.n_versions, np.inf)
        # A draw for every version, asked for or not: what is drawn for one does not depend on the others.
        for k, draw in enumerate(context.rng.random(context.n_versions)):
            answers = np.flatnonzero(survey.targets == k)
            if len(answers):
                upto = np.cumsum(survey.weights[answers])
                prices[k] = survey.values[answers[np.searchsorted(upto / upto[-1], draw, "right")]]
        return prices


class CostPlus(Repaired):
    """The cost of each version's data and a mark-up on it, over the buyers expected, repaired.

    The cost of a version is what the owners bought for it last round ask now, as far as they take part; in
    the first round what all owners of positive value ask that do. The buyers expected are the survey's weight of
    answers for the version, whatever they state. Where either is zero, or the price above any answer that a
    survey may hold, the version has no price of its own; if no version has one, the list is that of `uniform`,
    and counts as a fallback.

    Parameters
    ----------
    markup : float
        Share of the cost that is added to it, >= 0.
    raw : bool
        Post the list as it is, not repaired.
    """

    name = "cost_plus"

    def __init__(self, *, markup: float = 0.2, raw: bool = False) -> None:
        super().__init__(raw=raw)
        if isinstance(markup, bool) or not isinstance(markup, (int, float)) or not 0 <= markup < np.inf:
            raise ValueError(f"markup must be a number >= 0, found {markup!r}")
        self.markup = markup

    def raw_prices(self, context: PricingContext) -> np.ndarray:
        """(1 + markup) times the cost of each version over its expected sales."""
        if context.asked is None:
            raise ValueError("asked must hold the compensation that owners ask, found None")
        # Owners of no positive value ask for nothing, and add nothing.
        bought = np.isfinite(context.asked) if context.last_purchases is None else context.last_purchases.bought
        asked = np.where(bought & np.isfinite(context.asked), context.asked, 0.0)
        sales = np.bincount(context.survey.targets, weights=context.survey.weights, minlength=context.n_versions)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            prices = (1 + self.markup) * asked.sum(axis=1) / sales
        prices = np.where((prices > 0) & (prices <= LARGEST), prices, np.inf)
        self.fell_back = not np.isfinite(prices).any()
        return Uniform().prices(context) if self.fell_back else prices


class ModelBased(PricingStrategy):
    """The best list of the relaxed problem if every buyer had the mean value of its version (MBP).

    The method takes one value and one demand for each version from market research. Here these are the mean
    of the answers for the version, by weight, and their weight in sum.
    """

    name = "mbp"
    source = "Chen, Koutris and Kumar (2019)"

    def prices(self, context: PricingContext) -> np.ndarray:
        """The optimal list on the table of one value and one weight a version that somebody asked for."""
        survey, size = context.survey, context.n_versions
        weights = np.bincount(survey.targets, weights=survey.weights, minlength=size)
        sums = np.bincount(survey.targets, weights=survey.weights * survey.values, minlength=size)
        wanted = np.flatnonzero(weights)
        # At the ends of the range a sum, or a mean by its rounding, may leave it.
        prices = maximize_revenue(
            context.epsilons,
            wanted,
            np.clip(sums[wanted] / weights[wanted], SMALLEST, LARGEST),
            weights=np.clip(weights[wanted], SMALLEST, LARGEST),
            composition=context.composition,
        ).prices
        # Rounding may put the mean of equal answers an ulp above them.
        return np.array([survey.demand(k).snap(price) for k, price in enumerate(prices)])
