"""Dealer's own pricing: revenue-maximising arbitrage-free lists."""

from __future__ import annotations

import numpy as np

from simulator.pricing.baselines import Uniform
from simulator.pricing.programme import InfeasibleError
from simulator.pricing.revenue import maximize_revenue
from simulator.pricing.strategy import PricingContext, PricingStrategy


class DppPlus(PricingStrategy):
    """The revenue-maximising list of the relaxed problem (DPP+)."""

    name = "dpp_plus"
    source = "Liu et al. (2021), section 5.1"

    def prices(self, context: PricingContext) -> np.ndarray:
        """The optimal list over the complete price space."""
        survey = context.survey
        return maximize_revenue(
            context.epsilons, survey.targets, survey.values, weights=survey.weights, composition=context.composition
        ).prices


class Dpp(PricingStrategy):
    """The best list of the relaxed problem made of the answers' own prices (DPP), `uniform` where none is feasible.

    The answers for the several versions are seldom in proportions that the relaxed problem allows. A round in which
    the list of `uniform` is posted instead counts as a fallback.
    """

    name = "dpp"
    source = "Liu et al. (2021)"

    def prices(self, context: PricingContext) -> np.ndarray:
        """The optimal list of answers, each for the version it was given for.

        Versions nobody asked for get the greatest price that fits.
        """
        survey = context.survey
        try:
            best = maximize_revenue(
                context.epsilons,
                survey.targets,
                survey.values,
                weights=survey.weights,
                space="survey",
                composition=context.composition,
            )
        except InfeasibleError:
            self.fell_back = True
            return Uniform().prices(context)
        self.fell_back = False
        return best.prices
