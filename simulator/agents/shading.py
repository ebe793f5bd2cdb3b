"""Buyers who understate in the survey: answers shape the list, so a buyer may gain from a lower one."""

from __future__ import annotations

import math

import numpy as np

from simulator.agents.buyer import BuyerRows, ModelBuyer, Surplus, Target
from simulator.agents.population import Column, Parameter
from simulator.records import Menu

#: Shares of the truth that a learner chooses from: this many, evenly spaced up to the whole truth.
SHARES = 6


class Shader(ModelBuyer):
    """A buyer that states a share of what versions are worth to it; what it buys is left to another class."""

    def stated_share(self) -> float:
        """Share of the truth that it states this round, in [0, 1]."""
        raise TypeError(f"{type(self).__name__} has no method 'stated_share'")

    @classmethod
    def stated_shares(cls, rows: BuyerRows) -> np.ndarray:
        """`stated_share` of all rows, shape (m,)."""
        raise TypeError(f"{cls.__name__} has no method 'stated_shares'")

    def answer(self, menu: Menu) -> tuple[int, float]:
        """The target, and a share of its worth."""
        target, value = super().answer(menu)
        return target, self.stated_share() * value

    @classmethod
    def answer_all(cls, rows: BuyerRows, menu: Menu) -> tuple[np.ndarray, np.ndarray]:
        """The targets, and shares of their worth."""
        targets, values = super().answer_all(rows, menu)
        return targets, cls.stated_shares(rows) * values

    def answer_menu(self, menu: Menu) -> np.ndarray:
        """A share of the worth of every version."""
        return self.stated_share() * super().answer_menu(menu)

    @classmethod
    def answer_menu_all(cls, rows: BuyerRows, menu: Menu) -> np.ndarray:
        """Shares of the worth of every version, of all."""
        return cls.stated_shares(rows)[:, None] * super().answer_menu_all(rows, menu)


class FixedShader(Shader):
    """A shader whose share stays.

    Attributes
    ----------
    factor : float
        Share of the truth that it states.
    """

    factor = Parameter(0.8, low=0.0, high=1.0)

    def stated_share(self) -> float:
        """The factor."""
        return self.factor

    @classmethod
    def stated_shares(cls, rows: BuyerRows) -> np.ndarray:
        """The factors."""
        return rows.factor


class LearningShader(Shader):
    """A shader that learns which share serves it, from the surplus that each left it with.

    It is an epsilon-greedy bandit: now and then it tries any of six shares, else it states the one that it expects
    most of, at first those that it has not tried, in random order. What it expects of a share is an average of the
    surpluses that it had with it, the newer the weightier.

    Attributes
    ----------
    lowest : float
        The smallest share; the others are evenly spaced between it and 1.
    exploration : float
        Probability of trying any share.
    weight : float
        Weight of the newest surplus in the average.
    expected : array of float, shape (6,)
        Surplus expected of each share, in money, the smallest share first; `inf` before it was tried.

    References
    ----------
    Sutton and Barto (2018), sections 2.2 and 2.5.
    """

    learns = True
    lowest = Parameter(0.5, low=0.0, high=1.0)
    exploration = Parameter(0.1, low=0.0, high=1.0)
    weight = Parameter(0.2, low=0.0, high=1.0)
    expected = Column(math.inf, width=SHARES)

    def chosen(self) -> int:
        """Which of the shares it states this round."""
        draws = self.uniform("explore"), self.uniform("share")
        return int(_choose(self.expected, self.exploration, *draws))

    @classmethod
    def chosen_all(cls, rows: BuyerRows) -> np.ndarray:
        """`chosen` of all rows, shape (m,) of int."""
        return _choose(rows.expected, rows.exploration, rows.uniforms("explore"), rows.uniforms("share"))

    def stated_share(self) -> float:
        """The share chosen."""
        return self.lowest + (1.0 - self.lowest) * (self.chosen() / (SHARES - 1))

    @classmethod
    def stated_shares(cls, rows: BuyerRows) -> np.ndarray:
        """The shares chosen."""
        return rows.lowest + (1.0 - rows.lowest) * (cls.chosen_all(rows) / (SHARES - 1))

    def adapt(self, version: int | None, paid: float) -> None:
        """Take this round's surplus into account of the share that was stated."""
        share, before = self.chosen(), self.expected
        tried = math.isfinite(before[share])
        before[share] = before[share] + self.weight * (self.gained - before[share]) if tried else self.gained

    @classmethod
    def adapt_all(cls, rows: BuyerRows, versions: np.ndarray, paid: np.ndarray) -> None:
        """Take this round's surpluses into account of the shares that were stated."""
        everybody, shares = np.arange(len(rows)), cls.chosen_all(rows)
        before = rows.expected[everybody, shares]
        tried = np.isfinite(before)
        known = np.where(tried, before, 0.0)
        rows.expected[everybody, shares] = np.where(tried, known + rows.weight * (rows.gained - known), rows.gained)


def _choose(
    expected: np.ndarray, exploration: float | np.ndarray, explore: float | np.ndarray, draw: float | np.ndarray
) -> np.ndarray:
    """Which share is stated: one of those of which most is expected, or when exploring any, by the draw.

    Parameters
    ----------
    expected : array of float, shape (..., 6)
        Surplus expected of each share.
    exploration : float or array, shape (...)
        Probability of exploring.
    explore, draw : float or array, shape (...)
        Uniform random numbers.
    """
    explores = np.asarray(explore < exploration)[..., None]
    admitted = (expected == expected.max(axis=-1, keepdims=True)) | explores
    count = admitted.sum(axis=-1)
    pick = np.minimum((draw * count).astype(int), count - 1)
    return (admitted.cumsum(axis=-1) > pick[..., None]).argmax(axis=-1)


class Shading(FixedShader, Target):
    """States a share of the truth in the survey; buys its target version if that is worth its price."""

    name = "shading"


class ShadingSurplus(FixedShader, Surplus):
    """States a share of the truth in the survey; buys the version with the largest surplus."""

    name = "shading_surplus"


class LearningShading(LearningShader, Target):
    """Learns which share of the truth to state, from its surplus; buys its target if that is worth its price."""

    name = "learning_shading"
    source = "Sutton and Barto (2018)"


class LearningShadingSurplus(LearningShader, Surplus):
    """Learns which share of the truth to state, from its surplus; buys the version with the largest surplus."""

    name = "learning_shading_surplus"
    source = "Sutton and Barto (2018)"
