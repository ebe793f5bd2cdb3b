"""Agents of the market: data owners, brokers and model buyers."""

from collections.abc import Mapping

from simulator.agents.behaviour import BROKERS, BrokerBehaviour, Decision, Desk, Prospect
from simulator.agents.broker import Broker
from simulator.agents.buyer import BUYERS, BuyerRows, ModelBuyer
from simulator.agents.curve import CURVES, ValuationCurve
from simulator.agents.owner import OWNERS, DataOwner
from simulator.agents.population import Column, Parameter, Population, Rows

__all__ = [
    "Broker",
    "BrokerBehaviour",
    "BuyerRows",
    "Column",
    "DataOwner",
    "Decision",
    "Desk",
    "ModelBuyer",
    "Parameter",
    "Population",
    "Prospect",
    "Rows",
    "ValuationCurve",
    "broker_behaviours",
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


def broker_behaviours() -> Mapping[str, type[BrokerBehaviour]]:
    """The built-in behaviours of brokers, name -> class."""
    return BROKERS.classes()


def valuation_curves() -> Mapping[str, type[ValuationCurve]]:
    """The built-in valuation curves of buyers, name -> class."""
    return CURVES.classes()
