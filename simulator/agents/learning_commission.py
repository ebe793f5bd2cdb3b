"""A broker that learns which commission serves it."""

from __future__ import annotations

import numpy as np

from simulator.agents.behaviour import BrokerBehaviour, Decision, Desk


class LearningCommission(BrokerBehaviour):
    """Learns from its profits what commission to take.

    It tries each of some commissions, evenly spaced from 0 to just below 1, in random order, and from then on takes
    the one with the largest mean profit so far (ties: the smallest), or, now and then, one at random. It keeps each
    for some rounds, since what it buys at one tells in what buyers answer in the next; all but the first of them count.

    Parameters
    ----------
    commissions : int
        How many commissions, >= 2.
    exploration : float
        Chance that it takes one at random, in [0, 1].
    patience : int
        For how many rounds it keeps one, >= 1.
    """

    name = "learning"
    source = "Sutton and Barto (2018), section 2.2 (epsilon-greedy)"
    chooses_commission = True

    def __init__(self, *, commissions: int = 10, exploration: float = 0.1, patience: int = 3) -> None:
        for option, found, least in (("commissions", commissions, 2), ("patience", patience, 1)):
            if isinstance(found, bool) or not isinstance(found, int) or found < least:
                raise ValueError(f"{option} must be a whole number >= {least}, found {found!r}")
        if isinstance(exploration, bool) or not isinstance(exploration, int | float) or not 0 <= exploration <= 1:
            raise ValueError(f"exploration must be a number from 0 to 1, found {exploration!r}")
        self.exploration, self.patience = float(exploration), patience
        self.commissions = np.arange(commissions) / commissions
        self.trials = np.zeros(commissions)
        self.mean_profit = np.zeros(commissions)
        self._current = 0
        self._earned: list[float] = []

    def decide(self, desk: Desk) -> Decision:
        """The commission it has, or another one after its rounds."""
        if not self._earned:
            self._current = self._choose(desk.rng)
        return Decision(float(self.commissions[self._current]))

    def learn(self, profit: float) -> None:
        """Take the profit into account, and the commission's once its rounds are over."""
        self._earned.append(profit)
        if len(self._earned) < self.patience:
            return
        k, earned = self._current, float(np.mean(self._earned[1:] or self._earned))
        self.trials[k] += 1
        self.mean_profit[k] += (earned - self.mean_profit[k]) / self.trials[k]
        self._earned = []

    def _choose(self, rng: np.random.Generator) -> int:
        untried = np.flatnonzero(self.trials == 0)
        if len(untried) > 0:
            return int(rng.choice(untried))
        if rng.random() < self.exploration:
            return int(rng.integers(len(self.commissions)))
        return int(np.argmax(self.mean_profit))
