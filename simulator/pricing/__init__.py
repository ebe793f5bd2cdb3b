"""Pricing of the versions: revenue maximisation, baselines, bounds and the arbitrage check."""

from collections.abc import Mapping

from simulator.pricing.arbitrage import Arbitrage, find_arbitrage, repair
from simulator.pricing.exact import maximize_revenue_exact
from simulator.pricing.lifted import lift_revenue
from simulator.pricing.revenue import Pricing, greatest_feasible, maximize_revenue
from simulator.pricing.strategy import PRICING, PricingContext, PricingStrategy
from simulator.pricing.survey import Demand, Survey
from simulator.records import PriceList

__all__ = [
    "Arbitrage",
    "Demand",
    "PriceList",
    "Pricing",
    "PricingContext",
    "PricingStrategy",
    "Survey",
    "find_arbitrage",
    "greatest_feasible",
    "lift_revenue",
    "maximize_revenue",
    "maximize_revenue_exact",
    "pricing_strategies",
    "repair",
]


def pricing_strategies() -> Mapping[str, type[PricingStrategy]]:
    """The built-in pricing strategies, name -> class."""
    return PRICING.classes()
