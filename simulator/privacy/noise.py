"""What all private trainings share: a recipe, fixed before the records are read, that is followed with noise."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from simulator.privacy.losses import Loss


class Noise(ABC):
    """How one training is made private; its fields are its scales of noise and what belongs to them."""

    @abstractmethod
    def fit(
        self,
        rows: np.ndarray,
        targets: np.ndarray,
        loss: Loss,
        rng: np.random.Generator,
        weights: np.ndarray | None = None,
    ) -> np.ndarray:
        """Weights released, shape (p, m).

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
            Weight of each record's loss, > 0, those of a unit adding up to 1; by default 1.

        Raises
        ------
        RuntimeError
            If a solver does not reach the gradient norm that the guarantee asks for.
        """

    @abstractmethod
    def __str__(self) -> str:
        """What is noisy, and by how much, in words."""
