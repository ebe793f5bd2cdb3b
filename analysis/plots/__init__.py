"""Figures: one function each, returning a matplotlib Figure."""

from analysis.plots.indices import sensitivity
from analysis.plots.inequality import lorenz
from analysis.plots.price_lists import arbitrage, survey_pricing
from analysis.plots.purchases import coverage_by_budget
from analysis.plots.rounds import convergence, money_flow, privacy_spent
from analysis.plots.studies import coverage_and_accuracy, metric_by_level, price_ladder, welfare_split
from analysis.plots.style import save
from analysis.plots.sweeps import difference_map, heat_map, sampled_parameters, small_multiples
from analysis.plots.valuation import accuracy_curve, owner_values

__all__ = [
    "accuracy_curve",
    "arbitrage",
    "convergence",
    "coverage_and_accuracy",
    "coverage_by_budget",
    "difference_map",
    "heat_map",
    "lorenz",
    "metric_by_level",
    "money_flow",
    "owner_values",
    "price_ladder",
    "privacy_spent",
    "sampled_parameters",
    "save",
    "sensitivity",
    "small_multiples",
    "survey_pricing",
    "welfare_split",
]
