"""What a settlement rule is: a class that shares a round's revenue."""

from __future__ import annotations

import numpy as np

from simulator.records import Purchases, Settlement
from simulator.registry import Described, Family


class SettlementRule(Described):
    """A way to share the revenue of a round between owners and broker.

    A subclass sets `name`, describes itself in the first line of its docstring and implements `settle`.
    """

    #: Whether it pays what the procurement method has promised, and so goes with those that promise, and no others.
    pays_promises: bool = False

    def settle(self, revenue: np.ndarray, purchases: Purchases, values: np.ndarray, commission: float) -> Settlement:
        """Share what the buyers paid.

        Parameters
        ----------
        revenue : array of float, shape (l,)
            Revenue of each version, in money.
        purchases : Purchases
            Whose shards are behind each version, and what was asked for them.
        values : array of float, shape (n,)
            Shapley values.
        commission : float
            Share of revenue that the broker keeps.
        """
        raise TypeError(f"{type(self).__name__} has no method 'settle'")


SETTLEMENT = Family(SettlementRule, "settlement rule")
