"""Noisy gradient descent: a few full-batch gradients with Gaussian noise, under exact composition."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from simulator.privacy.accounting import Neighbours, moved_records
from simulator.privacy.gaussian import gaussian_mu
from simulator.privacy.losses import Loss, MarginLoss
from simulator.privacy.noise import Noise

#: Steps at most.
MAX_STEPS = 60
#: Signal over noise from which more than one step is taken, where the first is as noisy as the others.
SEVERAL_STEPS = 4.5
#: Share of the squared mu that a count of the units takes, where their number is private.
COUNT_SHARE = 0.01


@dataclass(frozen=True)
class GradientDescent(Noise):
    """Noise and steps of one training.

    Attributes
    ----------
    steps : int
        Number of gradients of the summed loss that are released.
    gradient_noise : float
        Standard deviation of the noise on each.
    radius : float
        Length of the first step; the t-th is 1 / sqrt(t) of it.
    """

    steps: int
    gradient_noise: float
    radius: float

    def fit(
        self,
        rows: np.ndarray,
        targets: np.ndarray,
        loss: Loss,
        rng: np.random.Generator,
        weights: np.ndarray | None = None,
    ) -> np.ndarray:
        """Weights after all steps, shape (p, m).

        Steps go along the noisy gradient with a length of their own, so that neither the number of records nor the
        scale of their sum has to be known.
        """
        solution = np.zeros((rows.shape[1], targets.shape[1]))
        for t in range(1, self.steps + 1):
            scores = rows @ solution
            if isinstance(loss, MarginLoss):
                residuals = -targets * loss.slope(targets * scores)
            else:
                residuals = softmax(scores, axis=1) - targets
            if weights is not None:
                residuals = weights[:, None] * residuals
            gradient = rows.T @ residuals + rng.normal(scale=self.gradient_noise, size=solution.shape)
            solution = solution - self.radius / math.sqrt(t) * gradient / np.linalg.norm(gradient)
        return solution

    def __str__(self) -> str:
        return f"{self.gradient_noise:.4g} on each of {self.steps} summed gradients"


@dataclass(frozen=True)
class CountedDescent(Noise):
    """Noise of one training whose number of steps goes by a noisy count of its units, which is part of the release.

    Attributes
    ----------
    count_noise : float
        Standard deviation of the noise on the count.
    relative_noise : float
        Deviation of the noise over the sensitivity of all gradients together, whatever the count: 1 / mu.
    n_models : int
        Number of models of a loss of the margin.
    n_weights : int
        Weights in all.
    """

    count_noise: float
    relative_noise: float
    n_models: int
    n_weights: int

    def fit(
        self,
        rows: np.ndarray,
        targets: np.ndarray,
        loss: Loss,
        rng: np.random.Generator,
        weights: np.ndarray | None = None,
    ) -> np.ndarray:
        """Count the units, and descend as their number says, shape (p, m)."""
        units = len(rows) if weights is None else round(float(weights.sum()))
        count = units + rng.normal(scale=self.count_noise)
        descent = _descent(count, 1.0 / self.relative_noise, loss, 1, self.n_models, self.n_weights)
        return descent.fit(rows, targets, loss, rng, weights)

    def __str__(self) -> str:
        noise = f"{self.relative_noise:.4g} times their sensitivity on gradients"
        return f"{self.count_noise:.4g} on a count of units, {noise}"


def gradient_noise(
    epsilon: float,
    delta: float,
    loss: Loss,
    neighbours: Neighbours,
    *,
    n_units: int,
    n_weights: int,
    n_models: int = 1,
) -> GradientDescent | CountedDescent:
    """Noise scale that makes the training (epsilon, delta)-private.

    The first gradient is taken at zero, where a record can do less than elsewhere. How many steps are worth their noise
    depends on the number of units. Under replace-one it is public; under add-remove a hundredth of the squared mu
    pays for a noisy count, after which the gradients have what is left whatever the count was.

    Parameters
    ----------
    epsilon : float
        Privacy parameter, > 0.
    delta : float
        Privacy parameter, in (0, 1).
    loss : Loss
        The loss.
    neighbours : {"replace-one", "add-remove"}
        Neighbour relation.
    n_units : int
        Number of records, or of owners where they are the unit; read under replace-one only.
    n_weights : int
        Weights in all, >= 1.
    n_models : int
        Number of models of a loss of the margin trained on the same records: one gradient, whose sensitivity is
        sqrt(n_models) times that of one.

    References
    ----------
    Bassily, Smith and Thakurta (2014); Dong, Roth and Su (2022), corollary 3.3, whose mechanisms may depend on what
    earlier ones released.
    """
    mu = gaussian_mu(epsilon, delta)
    if neighbours == "replace-one":
        return _descent(n_units, mu, loss, moved_records(neighbours), n_models, n_weights)
    shares = math.sqrt(COUNT_SHARE), math.sqrt(1.0 - COUNT_SHARE)
    return CountedDescent(1.0 / (mu * shares[0]), 1.0 / (mu * shares[1]), n_models, n_weights)


def _descent(count: float, mu: float, loss: Loss, moved: int, n_models: int, n_weights: int) -> GradientDescent:
    """Steps by a rule in the signal of `count` units over the noise of one gradient; all steps together have `mu`.

    A first step that takes less noise than the others is best left alone for longer.
    """
    signal = max(count, 0.0) * mu / (moved * loss.gradient_norm * math.sqrt(n_models * n_weights))
    advantage = loss.gradient_norm / loss.initial_gradient_norm
    several = signal >= SEVERAL_STEPS * advantage
    steps = min(max(1, round(signal / advantage)), MAX_STEPS) if several else 1
    squares = loss.initial_gradient_norm**2 + (steps - 1) * loss.gradient_norm**2
    # The difference of two classes' weights is as long as the weights of one model of two classes.
    radius = (2.0 if advantage == 1.0 else 5.0) * math.sqrt(n_models * (loss.directions + 1) / 2)
    return GradientDescent(steps, moved * math.sqrt(n_models * squares) / mu, radius)
