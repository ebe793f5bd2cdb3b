"""Noisy gradient descent: a few full-batch gradients with Gaussian noise, under exact composition."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from simulator.privacy.accounting import Neighbours, moved_records
from simulator.privacy.gaussian import gaussian_mu
from simulator.privacy.losses import Loss, MarginLoss

#: Steps at most.
MAX_STEPS = 30


@dataclass(frozen=True)
class GradientDescent:
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
        """Weights released, shape (p, m).

        Steps go along the noisy gradient with a length of their own, so that neither the number of records nor the
        scale of their sum has to be known.

        Parameters
        ----------
        rows : array of float, shape (N, p)
            Records of L2 norm at most 1, the intercept's coordinate among them.
        targets : array of float, shape (N, m)
            Labels -1 or 1 of each of m models for a loss of the margin, else indicators of the m classes.
        loss : Loss
            The loss that the scales were computed for.
        rng : numpy.random.Generator
            Source of the noise.
        weights : array of float, shape (N,), optional
            Weight of each record's loss, > 0; by default 1.
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


def gradient_noise(
    epsilon: float, delta: float, loss: Loss, neighbours: Neighbours, *, n_models: int = 1
) -> GradientDescent:
    """Noise scale that makes the training (epsilon, delta)-private.

    The first gradient is taken at zero, where a record can do less than elsewhere. The number of steps is a rule in
    epsilon over the number of records that neighbours differ in: one where noise drowns what further steps add.

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
    n_models : int
        Number of models of a loss of the margin trained on the same records: one gradient, whose sensitivity is
        sqrt(n_models) times that of one.

    References
    ----------
    Bassily, Smith and Thakurta (2014); Dong, Roth and Su (2022), corollary 3.3.
    """
    moved = moved_records(neighbours)
    steps = min(max(1, round(24.0 * (epsilon / moved) ** 2 - 5.0)), MAX_STEPS)
    squares = loss.initial_gradient_norm**2 + (steps - 1) * loss.gradient_norm**2
    sensitivity = moved * math.sqrt(n_models * squares)
    # The difference of two classes' weights is as long as the weights of one model of two classes.
    radius = (2.0 if loss.initial_gradient_norm == loss.gradient_norm else 5.0) * math.sqrt(
        n_models * (loss.directions + 1) / 2
    )
    return GradientDescent(steps, sensitivity / gaussian_mu(epsilon, delta), radius)
