"""Dealer's settlement, equal parts, and those under which the owners are paid whatever the revenue."""

from __future__ import annotations

import numpy as np

from simulator.records import Purchases, Settlement
from simulator.settlement.rule import SettlementRule


class Neutral(SettlementRule):
    """Revenue less commission goes to the owners behind each version, in proportion to what they asked."""

    name = "neutral"
    source = "Liu et al. (2021)"

    def settle(self, revenue: np.ndarray, purchases: Purchases, values: np.ndarray, commission: float) -> Settlement:
        """In proportion to value where nobody asked anything, else equally; no owners, no payment."""
        bought = purchases.bought
        payments = np.zeros(bought.shape)
        kept = 0.0
        for k, earned in enumerate(revenue):
            if not bought[k].any():
                kept += earned
                continue
            kept += commission * earned
            keys = (purchases.asked[k], np.maximum(values, 0.0), np.ones(len(values)))
            key = next(key for key in (np.where(bought[k], key, 0.0) for key in keys) if key.sum() > 0)
            payments[k] = (1 - commission) * earned * (key / key.sum())
        return Settlement(payments, float(kept))


class Guaranteed(SettlementRule):
    """Every owner is paid what it asked; the broker keeps the rest or bears the loss."""

    name = "guaranteed"

    def settle(self, revenue: np.ndarray, purchases: Purchases, values: np.ndarray, commission: float) -> Settlement:
        """The commission plays no part: the broker's share is what the promises leave."""
        payments = np.where(purchases.bought, purchases.asked, 0.0)
        return Settlement(payments, float(revenue.sum() - payments.sum()))


class Uniform(SettlementRule):
    """Revenue less commission goes to the owners behind each version, in equal parts."""

    name = "uniform"

    def settle(self, revenue: np.ndarray, purchases: Purchases, values: np.ndarray, commission: float) -> Settlement:
        """Neither what was asked nor what a shard is worth counts; no owners, no payment."""
        owners = purchases.bought.sum(axis=1)
        each = np.divide((1 - commission) * revenue, owners, out=np.zeros(len(revenue)), where=owners > 0)
        payments = np.where(purchases.bought, each[:, None], 0.0)
        return Settlement(payments, float(revenue.sum() - payments.sum()))


class Promised(SettlementRule):
    """Every owner is paid what the procurement promised it; the broker keeps the rest or bears the loss."""

    name = "promised"
    pays_promises = True

    def settle(self, revenue: np.ndarray, purchases: Purchases, values: np.ndarray, commission: float) -> Settlement:
        """The commission plays no part: the broker's share is what the promises leave."""
        if purchases.promised is None:
            raise ValueError("the settlement rule 'promised' needs purchases with promises, found none")
        payments = np.where(purchases.bought, purchases.promised, 0.0)
        return Settlement(payments, float(revenue.sum() - payments.sum()))
