"""Figures: one function each, returning a matplotlib Figure."""

from analysis.plots.price_lists import arbitrage, survey_pricing
from analysis.plots.purchases import coverage_by_budget
from analysis.plots.studies import (
    coverage_and_accuracy,
    metric_by_level,
    money_flow,
    price_ladder,
    privacy_spent,
    welfare_split,
)
from analysis.plots.style import save
from analysis.plots.valuation import accuracy_curve, owner_values

__all__ = [
    "accuracy_curve",
    "arbitrage",
    "coverage_and_accuracy",
    "coverage_by_budget",
    "metric_by_level",
    "money_flow",
    "owner_values",
    "price_ladder",
    "privacy_spent",
    "save",
    "survey_pricing",
    "welfare_split",
]
