"""Pricing of the versions: revenue maximisation, baselines, bounds and the arbitrage check."""

from collections.abc import Mapping

from simulator.pricing.arbitrage import Arbitrage, find_arbitrage, repair
from simulator.pricing.revenue import Pricing, greatest_feasible, maximize_revenue
from simulator.pricing.space import Candidates, complete_price_space
from simulator.pricing.strategy import PRICING, PricingContext, PricingStrategy
from simulator.pricing.survey import Demand, Survey
from simulator.records import PriceList

__all__ = [
    "Arbitrage",
    "Candidates",
    "Demand",
    "PriceList",
    "Pricing",
    "PricingContext",
    "PricingStrategy",
    "Survey",
    "complete_price_space",
    "find_arbitrage",
    "greatest_feasible",
    "maximize_revenue",
    "pricing_strategies",
    "repair",
]


def pricing_strategies() -> Mapping[str, type[PricingStrategy]]:
    """The built-in pricing strategies, name -> class."""
    return PRICING.classes()
