"""Owners who learn what to report from what it earns."""

from __future__ import annotations

import numpy as np

from simulator.agents.owner import Truthful
from simulator.agents.population import Column, Parameter, Rows

#: Factors that an owner chooses from.
FACTORS = 7


class Learning(Truthful):
    """Learns by what factor to change its privacy sensitivity in its report, from the surplus each has earned.

    It tries each of seven factors, evenly spaced, once in an order of its own. From then on it takes the one with the
    largest mean surplus so far (ties: the smallest), or, now and then, one at random.

    Attributes
    ----------
    lowest, highest : float
        Smallest and largest factor.
    exploration : float
        Chance that it takes one at random.
    factor : float
        Number of the factor that it takes.
    trials : array of float, shape (7,)
        How often it has taken each.
    mean_surplus : array of float, shape (7,)
        What each has earned beyond its true cost on average, in money; 0 if its shard was not used.
    """

    name = "learning"
    source = "Sutton and Barto (2018), section 2.2 (epsilon-greedy)"
    lowest = Parameter(0.5, low=0.0)
    highest = Parameter(2.0, low=0.0)
    exploration = Parameter(0.1, low=0.0, high=1.0)
    factor = Column(default=0.0)
    trials = Column(default=0.0, width=FACTORS)
    mean_surplus = Column(default=0.0, width=FACTORS)

    def offer(self) -> tuple[bool, float]:
        """The truth times the factor taken."""
        trials = self.trials.tolist()
        among = [k for k in range(FACTORS) if trials[k] == 0]
        if not among and self.uniform("exploration") < self.exploration:
            among = list(range(FACTORS))
        if among:
            self.factor = among[min(int(self.uniform("factor") * len(among)), len(among) - 1)]
        else:
            means = self.mean_surplus.tolist()
            self.factor = means.index(max(means))
        spread = (self.highest - self.lowest) / (FACTORS - 1)
        return self.willing, (self.lowest + spread * self.factor) * self.privacy_sensitivity

    @classmethod
    def offer_all(cls, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """The truth times the factors taken."""
        untried = rows.trials == 0
        begins = untried.any(axis=1)
        explores = begins | (rows.uniforms("exploration") < rows.exploration)
        among = np.where(begins[:, None], untried, True)
        size = among.sum(axis=1)
        position = np.minimum((rows.uniforms("factor") * size).astype(int), size - 1)
        drawn = (np.cumsum(among, axis=1) > position[:, None]).argmax(axis=1)
        rows.factor[:] = np.where(explores, drawn, rows.mean_surplus.argmax(axis=1))
        spread = (rows.highest - rows.lowest) / (FACTORS - 1)
        return rows.willing, (rows.lowest + spread * rows.factor) * rows.privacy_sensitivity

    def adapt(self, sold: bool, paid: float, cost: float) -> None:
        """Remember what the factor has earned, if it took part."""
        if self.took_part:
            k = int(self.factor)
            self.trials[k] += 1
            self.mean_surplus[k] += (paid - cost - self.mean_surplus[k]) / self.trials[k]

    @classmethod
    def adapt_all(cls, rows: Rows, sold: np.ndarray, paid: np.ndarray, cost: np.ndarray) -> None:
        """Remember what the factors have earned, of those that took part."""
        row = np.flatnonzero(rows.took_part)
        k = rows.factor[row].astype(int)
        rows.trials[row, k] += 1
        rows.mean_surplus[row, k] += ((paid - cost)[row] - rows.mean_surplus[row, k]) / rows.trials[row, k]
