"""Convex losses of linear classifiers, and how far one record can move what is computed from them.

Everything is stated for records of L2 norm at most 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.special import expit


class Loss(ABC):
    """What the accounting of privacy needs to know of a loss.

    Attributes
    ----------
    gradient_norm : float
        Largest norm of a record's gradient anywhere.
    initial_gradient_norm : float
        The same at weights of zero.
    directions : int
        Number of vertices, beside zero, of the polytope in which a record's gradient varies: 1 if it moves along one
        line.
    penalty : float
        Constant c of the regularisation c max(1/5, r m / eps) of `objective` for m models, where neighbours differ in r
        records; a rule without data.
    """

    gradient_norm: float
    initial_gradient_norm: float
    directions: int
    penalty: float

    @abstractmethod
    def determinant(self, regularisation: float) -> float:
        """Largest log ratio of the determinants of the objective's Hessians with and without a record."""


class MarginLoss(Loss):
    """Loss of the margin y w'x of a record with label y = -1 or 1, with slope in [-1, 0].

    Attributes
    ----------
    smoothness : float
        Largest second derivative.
    """

    gradient_norm = 1.0
    directions = 1
    smoothness: float

    def determinant(self, regularisation: float) -> float:
        """The matrix determinant lemma: a record adds curvature in one direction."""
        return math.log1p(self.smoothness / regularisation)

    @abstractmethod
    def value(self, margins: np.ndarray) -> np.ndarray:
        """Loss at each margin."""

    @abstractmethod
    def slope(self, margins: np.ndarray) -> np.ndarray:
        """Minus the derivative at each margin, in [0, 1]."""

    @abstractmethod
    def curvature(self, margins: np.ndarray) -> np.ndarray:
        """Second derivative at each margin."""


@dataclass(frozen=True)
class Logistic(MarginLoss):
    """Loss ln(1 + exp(-margin))."""

    smoothness = 0.25
    initial_gradient_norm = 0.5
    penalty = 5.0

    def value(self, margins: np.ndarray) -> np.ndarray:
        """Loss at each margin."""
        return np.logaddexp(0.0, -margins)

    def slope(self, margins: np.ndarray) -> np.ndarray:
        """Minus the derivative at each margin."""
        return expit(-margins)

    def curvature(self, margins: np.ndarray) -> np.ndarray:
        """Second derivative at each margin."""
        p = expit(margins)
        return p * (1.0 - p)


@dataclass(frozen=True)
class HuberHinge(MarginLoss):
    """Hinge (1 - margin)+ whose corner is a parabola over margins within `width` of 1."""

    width: float = 0.5
    initial_gradient_norm = 1.0
    penalty = 10.0

    @property
    def smoothness(self) -> float:  # type: ignore[override]
        """Second derivative of the parabola."""
        return 0.5 / self.width

    def value(self, margins: np.ndarray) -> np.ndarray:
        """Loss at each margin."""
        # The slope rises linearly over the parabola: its square is the loss there, up to the width.
        return np.maximum(1.0 - margins, 0.0) + self.width * (
            np.minimum(self.slope(margins), 1.0 - self.slope(margins)) ** 2
        )

    def slope(self, margins: np.ndarray) -> np.ndarray:
        """Minus the derivative at each margin."""
        return np.clip((1.0 + self.width - margins) * self.smoothness, 0.0, 1.0)

    def curvature(self, margins: np.ndarray) -> np.ndarray:
        """Second derivative at each margin."""
        return np.where(np.abs(margins - 1.0) < self.width, self.smoothness, 0.0)


@dataclass(frozen=True)
class Softmax(Loss):
    """Multinomial logistic loss of several classes, ln(sum of exp(scores)) less the score of the label."""

    n_classes: int
    # At a record x of class y the gradient is x (p - e_y)', where p are the probabilities.
    gradient_norm = math.sqrt(2.0)
    penalty = 5.0

    @property
    def initial_gradient_norm(self) -> float:  # type: ignore[override]
        """Norm of p - e_y where all probabilities are equal."""
        return math.sqrt(1.0 - 1.0 / self.n_classes)

    @property
    def directions(self) -> int:  # type: ignore[override]
        """The vertices e_j - e_y other than zero."""
        return self.n_classes - 1

    def determinant(self, regularisation: float) -> float:
        """Bound the trace, which is at least ln det(I + M): that of diag(p) - pp' is at most 1 - 1/K."""
        return (1.0 - 1.0 / self.n_classes) / regularisation
