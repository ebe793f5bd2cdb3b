"""Output perturbation: Gaussian noise on the solution of a regularised problem."""

from __future__ import annotations

import math

from simulator.privacy.accounting import Neighbours, moved_records
from simulator.privacy.gaussian import gaussian_mu
from simulator.privacy.losses import Loss
from simulator.privacy.perturbation import Perturbation

#: Gradient norm (sum form) at which the solver may stop.
TOLERANCE = 1e-5
#: Constant c of the regularisation c / eps; a rule without data.
OUTPUT_PENALTY = 30.0


def output_noise(
    epsilon: float, delta: float, loss: Loss, neighbours: Neighbours, *, n_models: int = 1
) -> Perturbation:
    """Noise scale that makes the training (epsilon, delta)-private.

    The objective is Lambda-strongly convex, so its solution moves by at most 1 / Lambda times what a record can do
    to the gradient; two inexact solutions are further apart by twice tolerance / Lambda.

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
        Number of models of a loss of the margin trained on the same records: one vector of weights, whose
        sensitivity is sqrt(n_models) times that of one.

    References
    ----------
    Chaudhuri, Monteleoni and Sarwate (2011), section 3.1; Balle and Wang (2018).
    """
    regularisation = OUTPUT_PENALTY / epsilon
    moved = moved_records(neighbours) * math.sqrt(n_models) * loss.gradient_norm
    sensitivity = (moved + 2.0 * TOLERANCE) / regularisation
    return Perturbation(regularisation, 0.0, TOLERANCE, sensitivity / gaussian_mu(epsilon, delta))
