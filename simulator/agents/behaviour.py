"""What a broker's behaviour is: a class that chooses the commission and what to spend on data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator.records import Purchases
from simulator.registry import Described, Family


@dataclass(frozen=True, eq=False)
class Prospect:
    """A round as a broker expects it, had it given budgets to spend on data.

    Attributes
    ----------
    budgets : array of float, shape (l,)
        Money to spend on each version.
    purchases : Purchases
        What it buys.
    revenue : array of float, shape (l,)
        What its survey lets it expect of each version at the coverage bought, in money; 0 where nothing is bought.
    """

    budgets: np.ndarray
    purchases: Purchases
    revenue: np.ndarray

    @cached_property
    def cost(self) -> float:
        """What the owners behind the versions ask, or are promised, in money."""
        promised = self.purchases.promised
        return float(self.purchases.costs.sum() if promised is None else promised.sum())

    @cached_property
    def profit(self) -> float:
        """Revenue less cost, in money."""
        return float(self.revenue.sum()) - self.cost


@dataclass(frozen=True, eq=False)
class Desk:
    """What a broker knows when it chooses, before it prices and buys.

    Attributes
    ----------
    commission : float
        The commission of the scenario, a share of revenue.
    potential : callable
        Revenue to expect of each version at full coverage, shape (l,), in money; known to behaviours that plan.
    prospect : callable
        What to expect of given budgets, shape (l,); known to behaviours that plan.
    rng : numpy.random.Generator
        The behaviour's own stream of this round.
    """

    commission: float
    potential: Callable[[], np.ndarray]
    prospect: Callable[[np.ndarray], Prospect]
    rng: np.random.Generator


@dataclass(frozen=True, eq=False)
class Decision:
    """What a broker chooses for a round.

    Attributes
    ----------
    commission : float
        Share of revenue that it keeps, in [0, 1], where the settlement rule goes by a commission.
    plan : Prospect, optional
        Budgets and what they buy; without a plan budgets are what the scenario says, at this commission.
    """

    commission: float
    plan: Prospect | None = None


class BrokerBehaviour(Described):
    """A way to choose the commission and what to spend on data.

    A subclass sets `name`, describes itself in the first line of its docstring and implements `decide`, and `learn` if
    it goes by its profits. Options of a scenario arrive as keyword-only arguments of its constructor.
    """

    #: Whether it chooses the commission, so that the scenario may not.
    chooses_commission: bool = False
    #: Whether it chooses the budgets.
    chooses_budgets: bool = False
    #: Whether it asks the desk what to expect, for which its survey needs answers.
    plans: bool = False

    def decide(self, desk: Desk) -> Decision:
        """Choose for this round."""
        raise TypeError(f"{type(self).__name__} has no method 'decide'")

    def learn(self, profit: float) -> None:
        """Take in what the round left the broker, in money; by default nothing is learnt."""


class Fixed(BrokerBehaviour):
    """Keeps the scenario's commission, and spends what its budget rule says."""

    name = "fixed"
    source = "Liu et al. (2021)"

    def decide(self, desk: Desk) -> Decision:
        """The scenario's commission."""
        return Decision(desk.commission)


BROKERS = Family(BrokerBehaviour, "broker behaviour")
