"""Buyers who look at bundles: several cheap copies may do for a dear version."""

from __future__ import annotations

import numpy as np

from simulator.agents.buyer import BuyerRows, Surplus, Target
from simulator.pricing.survey import best_buys
from simulator.records import PriceList


class Arbitrageur(Target):
    """Gets its target version by the cheapest bundle that covers it, if the version is worth that."""

    name = "arbitrageur"
    source = "Liu et al. (2021)"
    buys_bundles = True

    def choose(self, price_list: PriceList) -> int | None:
        """The target version or nothing."""
        k = self.target(price_list)
        return k if self.worth(price_list)[k] >= price_list.bargains.costs[k] else None

    @classmethod
    def choose_all(cls, rows: BuyerRows, price_list: PriceList) -> np.ndarray:
        """The target version or nothing, of all."""
        targets = rows.targets(price_list)
        worth = rows.worth(price_list)[np.arange(len(rows)), targets]
        return np.where(worth >= price_list.bargains.costs[targets], targets, -1)


class ArbitrageurSurplus(Surplus):
    """Gets the version that leaves it most, each by the cheapest bundle that covers it."""

    name = "arbitrageur_surplus"
    buys_bundles = True

    def choose(self, price_list: PriceList) -> int | None:
        """The best buy; among equals the cheaper, then the lower version."""
        worth, costs = self.worth(price_list), price_list.bargains.costs
        offers = [(costs[k] - worth[k], costs[k], k) for k in range(len(costs)) if worth[k] >= costs[k]]
        return min(offers)[2] if offers else None

    @classmethod
    def choose_all(cls, rows: BuyerRows, price_list: PriceList) -> np.ndarray:
        """The best buy of all."""
        return best_buys(rows.worth(price_list), price_list.bargains.costs, np.flatnonzero(price_list.on_sale))
