"""Agents of the market: data owners, the broker and model buyers."""

from collections.abc import Mapping

from simulator.agents.broker import Broker
from simulator.agents.buyer import BUYERS, BuyerRows, ModelBuyer
from simulator.agents.curve import CURVES, ValuationCurve
from simulator.agents.owner import OWNERS, DataOwner
from simulator.agents.population import Column, Parameter, Population, Rows

__all__ = [
    "Broker",
    "BuyerRows",
    "Column",
    "DataOwner",
    "ModelBuyer",
    "Parameter",
    "Population",
    "Rows",
    "ValuationCurve",
    "buyer_behaviours",
    "owner_behaviours",
    "valuation_curves",
]


def owner_behaviours() -> Mapping[str, type[DataOwner]]:
    """The built-in behaviours of data owners, name -> class."""
    return OWNERS.classes()


def buyer_behaviours() -> Mapping[str, type[ModelBuyer]]:
    """The built-in behaviours of buyers, name -> class."""
    return BUYERS.classes()


def valuation_curves() -> Mapping[str, type[ValuationCurve]]:
    """The built-in valuation curves of buyers, name -> class."""
    return CURVES.classes()
