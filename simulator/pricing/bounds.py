"""Upper bounds on what a price list can earn."""

from __future__ import annotations

import numpy as np

from simulator.pricing.composition import sizes
from simulator.pricing.programme import greatest_feasible
from simulator.pricing.strategy import PricingContext, PricingStrategy
from simulator.pricing.survey import Survey


class Monopoly(PricingStrategy):
    """Each version at its own revenue-maximising price, arbitrage ignored: a bound on posted prices."""

    name = "monopoly"
    arbitrage_free = False

    def prices(self, context: PricingContext) -> np.ndarray:
        """Monopoly price by version; one nobody asked for gets the greatest price that fits the others."""
        own = np.array([context.survey.demand(k).monopoly()[0] for k in range(context.n_versions)])
        filled = greatest_feasible(sizes(context.epsilons, context.composition), own)
        return np.where(np.isfinite(own), own, filled)


class Perfect(PricingStrategy):
    """Each buyer pays its willingness to pay for its target version: first-degree discrimination, a bound."""

    name = "perfect"
    arbitrage_free = False
    personalised = True

    def prices(self, context: PricingContext) -> np.ndarray:
        """No list is posted: the price of every version is undefined (NaN)."""
        return np.full(context.n_versions, np.nan)

    def expected_revenue(self, survey: Survey, prices: np.ndarray) -> np.ndarray:
        """The sum of the answers for each version."""
        return np.bincount(survey.targets, weights=survey.weights * survey.values, minlength=len(prices))
