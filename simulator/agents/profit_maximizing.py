"""A broker that plans: it spends on data what leaves it most."""

from __future__ import annotations

import numpy as np

from simulator.agents.behaviour import BrokerBehaviour, Decision, Desk, Prospect


class ProfitMaximizing(BrokerBehaviour):
    """Spends on data what promises the largest profit, and keeps as commission what owners do not ask for.

    Each round it looks what budgets would buy, surveys buyers at that coverage, prices the list and takes what is left
    of the revenue after costs. It tries shares of the revenue to expect at full coverage, the same for all versions,
    then for one version after another those about the best.

    Parameters
    ----------
    shares : int
        How many shares it tries at each look, >= 2. The second looks tell shares apart that differ by 2 / shares^2.

    Notes
    -----
    Where buyers would pay in proportion to coverage^a, and data cost in proportion to coverage^b with b > a, it spends
    the share a / b of its revenue, and keeps 1 - a / b.
    """

    name = "profit_maximizing"
    chooses_commission = chooses_budgets = plans = True

    def __init__(self, *, shares: int = 10) -> None:
        if isinstance(shares, bool) or not isinstance(shares, int) or shares < 2:
            raise ValueError(f"shares must be a whole number >= 2, found {shares!r}")
        self.shares = shares

    def decide(self, desk: Desk) -> Decision:
        """The plan of the largest profit, the cheapest of equals, and the commission that pays owners what they ask."""
        most = desk.potential()
        common = [desk.prospect(most * share) for share in np.linspace(0.0, 1.0, self.shares + 1)]
        best = max(common, key=_profit)
        step = 1.0 / self.shares
        for k in np.flatnonzero(most > 0).tolist():
            share = best.budgets[k] / most[k]
            low, high = max(share - step, 0.0), min(share + step, 1.0)
            own = [best]
            for other in np.linspace(low, high, self.shares + 1):
                budgets = best.budgets.copy()
                budgets[k] = other * most[k]
                own.append(desk.prospect(budgets))
            best = max(own, key=_profit)
        revenue = float(best.revenue.sum())
        return Decision(max(0.0, best.profit / revenue) if revenue > 0 else 0.0, best)


def _profit(plan: Prospect) -> float:
    return plan.profit
