"""Configuration of one market: data, owners, brokers, buyers, rounds.

Unknown keys are refused, and every message names the field, what was found and what is allowed.
"""

from simulator.config.broker import BrokerConfig, NamedBroker, TrainingConfig, ValuationConfig
from simulator.config.data import DATASETS, DataConfig
from simulator.config.market import IncentivesConfig, MarketConfig
from simulator.config.section import Count, Section
from simulator.config.segments import BuyerSegment, OwnerSegment

__all__ = [
    "DATASETS",
    "BrokerConfig",
    "BuyerSegment",
    "Count",
    "DataConfig",
    "IncentivesConfig",
    "MarketConfig",
    "NamedBroker",
    "OwnerSegment",
    "Section",
    "TrainingConfig",
    "ValuationConfig",
]
