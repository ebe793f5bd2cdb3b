"""Valuing data: games, and Shapley values exact and sampled."""

from collections.abc import Mapping

from simulator.valuation.cache import cached_valuation, clear_valuations
from simulator.valuation.estimator import VALUATION, Valuation, ValuationEstimator, shapley_values, update_values
from simulator.valuation.games import GAMES, AdditiveGame, Game, GramRidgeGame, RecordsGame
from simulator.valuation.logistic import LogisticGame
from simulator.valuation.neighbours import NearestNeighboursGame, knn_shapley
from simulator.valuation.refit import ScikitLearnGame

__all__ = [
    "AdditiveGame",
    "Game",
    "GramRidgeGame",
    "LogisticGame",
    "NearestNeighboursGame",
    "RecordsGame",
    "ScikitLearnGame",
    "Valuation",
    "ValuationEstimator",
    "cached_valuation",
    "clear_valuations",
    "knn_shapley",
    "shapley_values",
    "update_values",
    "valuation_estimators",
    "valuation_games",
]


def valuation_estimators() -> Mapping[str, type[ValuationEstimator]]:
    """The built-in valuation estimators, name -> class."""
    return VALUATION.classes()


def valuation_games() -> Mapping[str, type[RecordsGame]]:
    """The built-in games that value records, name -> class."""
    return GAMES.classes()
