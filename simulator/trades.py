"""What one broker does in a round, as the market keeps it until the round is booked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.pricing.survey import Survey
from simulator.records import Offers, PriceList, Purchases, Sales, Settlement, Versions
from simulator.valuation.estimator import Valuation

if TYPE_CHECKING:
    from simulator.agents.broker import Broker


@dataclass(frozen=True, eq=False)
class Preparation:
    """A broker's round up to its list.

    Attributes
    ----------
    broker : Broker
        The broker.
    offers : Offers
        What the owners that deal with it report; the others do not take part.
    valuation : Valuation
        Values of all owners' shards.
    base_prices : array of float, shape (n,)
        Base price of each owner at these values, in money.
    exposure : array of float, shape (l, n), or None
        Share of its costs that each owner thought it bears through others anyway when it offered.
    survey : Survey
        The answers.
    prices : array of float, shape (l,), or None
        The list, if there is one.
    expected_revenue : array of float, shape (l,)
        What the survey lets expect of each version, scaled to the market's size, in money.
    purchases : Purchases
        What was bought.
    versions : Versions
        What was trained.
    price_list : PriceList
        What the shop shows.
    first_version : int
        Number of its first version among those of all brokers.
    """

    broker: Broker
    offers: Offers
    valuation: Valuation
    base_prices: np.ndarray
    exposure: np.ndarray | None
    survey: Survey
    prices: np.ndarray | None
    expected_revenue: np.ndarray
    purchases: Purchases
    versions: Versions
    price_list: PriceList
    first_version: int


@dataclass(frozen=True, eq=False)
class Trade(Preparation):
    """A broker's whole round.

    Attributes
    ----------
    sales : Sales
        What buyers bought of it.
    settlement : Settlement
        Who gets the money.
    costs : array of float, shape (l, n)
        What use of its shard costs each owner at its true sensitivity beyond what it bears anyway, 0 where it was not
        bought, in money.
    leakage : array of float, shape (n,)
        What each owner bears through others, whether it sells or not, in money.
    """

    sales: Sales
    settlement: Settlement
    costs: np.ndarray
    leakage: np.ndarray
