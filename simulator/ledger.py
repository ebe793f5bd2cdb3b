"""The books of a market: money in, money out, privacy spent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.privacy.accounts import PrivacyAccounts
from simulator.records import Sales, Settlement
from simulator.trades import Trade

#: Payments and receipts may differ by this share of the revenue, which is rounding.
TOLERANCE = 1e-9


class MoneyError(RuntimeError):
    """Money was created or lost."""


class Ledger:
    """Accounts of all parties over the rounds of a market.

    Parameters
    ----------
    n_buyers : int
        Number of buyers.
    privacy : PrivacyAccounts
        What the owners' privacy has cost so far.
    n_brokers : int
        Number of brokers.

    Attributes
    ----------
    buyers : array of float, shape (m,)
        What each buyer has paid, in money.
    owners : array of float, shape (n,)
        What each owner has received, in money.
    brokers : array of float, shape (B,)
        What each broker has kept, in money.
    privacy : PrivacyAccounts
        What the releases have cost each owner's privacy.
    """

    def __init__(self, n_buyers: int, privacy: PrivacyAccounts, n_brokers: int = 1) -> None:
        self.buyers = np.zeros(n_buyers)
        self.owners = np.zeros(len(privacy.budgets))
        self.brokers = np.zeros(n_brokers)
        self.privacy = privacy

    def book(self, trades: Sequence[Trade]) -> None:
        """Enter one round of all brokers: money, and the releases that used the owners' shards.

        Raises
        ------
        MoneyError
            If an amount is not finite, an owner's payment is negative, or what buyers paid a broker is not what it paid
            owners and kept; nothing is entered then.
        """
        for trade in trades:
            _check(trade.sales, trade.settlement)
        for number, trade in enumerate(trades):
            rows = trade.sales.rows
            self.buyers[slice(None) if rows is None else rows] += trade.sales.paid
            self.owners += trade.settlement.payments.sum(axis=0)
            self.brokers[number] += trade.settlement.profit
        bought = np.concatenate([trade.purchases.bought for trade in trades])
        self.privacy.book(bought, np.concatenate([trade.versions.gaussian for trade in trades]))


def _check(sales: Sales, settlement: Settlement) -> None:
    """Refuse a round of one broker in which money is created or lost."""
    paid, received = float(sales.paid.sum()), float(settlement.payments.sum())
    if not np.isfinite([paid, received, settlement.profit]).all():
        raise MoneyError(f"buyers paid {paid}, owners received {received}, the broker kept {settlement.profit}")
    if (settlement.payments < 0).any():
        raise MoneyError(f"an owner was paid {settlement.payments.min()}, less than nothing")
    missing = paid - received - settlement.profit
    if abs(missing) > TOLERANCE * max(1.0, paid):
        raise MoneyError(
            f"buyers paid {paid}, but owners received {received} and the broker kept {settlement.profit}: "
            f"{missing:.3g} is missing"
        )
