"""Objective perturbation: Gaussian noise in the objective's linear term, by two accountings.

Let the released weights be w. The linear term that explains them on the data set D is b = -grad J_D(w), a one-to-one
map, so the density of w is the normal density of b times the determinant of the Hessian. The privacy loss of w
between neighbours has three parts: a ratio of determinants, at most `Loss.determinant`; half the square of the step
between the two explaining terms, over the noise's variance; and the product of that step with b, which is normal. The
two bounds differ in how they treat the last part.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.special import log_ndtr

from simulator.privacy.accounting import Neighbours, Unit, implied_delta, moved_records
from simulator.privacy.gaussian import gaussian_delta, gaussian_mu, smallest_noise
from simulator.privacy.losses import Logistic, Loss, MarginLoss
from simulator.privacy.perturbation import Perturbation

#: Gradient norm (sum form) at which the solver may stop.
TOLERANCE = 1e-5
#: Share of epsilon and delta for the output noise that hides what the solver left open.
OUTPUT_SHARE = 1e-3
#: Orders among which the bound by Renyi divergences takes the best; each of them is valid.
ORDERS = 1.0 + np.geomspace(1e-2, 1e6, 600)


def renyi_delta(
    epsilon: float,
    noise: float,
    regularisation: float,
    loss: MarginLoss,
    neighbours: Neighbours,
    n_models: int = 1,
) -> float:
    """Delta of objective perturbation by the bound of Redberg, Koskela and Wang.

    It holds for owners as for records, if an owner's records weigh 1 together: their gradients' product with the noise
    is then at most the mean of positive parts of normal variables, and the exponential moment of a mean is at most the
    mean of the moments. The determinant's part holds for their Hessian, whose trace is at most the loss's smoothness.

    Parameters
    ----------
    epsilon : float
        Privacy parameter, >= 0.
    noise : float
        Standard deviation of the linear term, > 0.
    regularisation : float
        Factor Lambda of the penalty; the bound says nothing up to the loss's smoothness.
    loss : MarginLoss
        Loss of the margin.
    neighbours : {"replace-one", "add-remove"}
        Neighbour relation; a replacement doubles the sensitivity (by the Cauchy-Schwarz inequality) and has the same
        ratio of determinants, since both Hessians contain Lambda times the identity.
    n_models : int
        Number of models trained alike on the same records; their Renyi divergences add up.

    References
    ----------
    Redberg, Koskela and Wang (2023), theorem on the Renyi differential privacy of objective perturbation.
    """
    mu = moved_records(neighbours) * loss.gradient_norm / noise
    a = ORDERS
    if regularisation <= loss.smoothness:
        return 1.0
    determinant = -math.log1p(-loss.smoothness / regularisation)
    # The loss is at most determinant + mu^2/2 + |N(0, mu^2)|; the last term's exponential moments are closed.
    moment = (a - 1) * mu**2 / 2 + (math.log(2.0) + log_ndtr((a - 1) * mu)) / (a - 1)
    divergence = n_models * (determinant + mu**2 / 2 + moment)
    exponent = (a - 1) * (divergence - epsilon + np.log1p(-1 / a)) - np.log(a)
    return float(math.exp(min(np.min(exponent), 0.0)))


def published_delta(
    epsilon: float,
    noise: float,
    regularisation: float,
    loss: MarginLoss,
    neighbours: Neighbours,
    n_models: int = 1,
    unit: Unit = "record",
) -> float:
    """Delta of objective perturbation by the better of the two bounds of Redberg, Koskela and Wang.

    For one model the privacy loss itself, at most determinant + mu^2/2 + |N(0, mu^2)|, gives
    2 * gaussian_delta(eps - determinant, 1 / mu) where eps exceeds the first two terms. That holds under replace-one
    with twice the mu as well: the two records' contributions are positive parts of two normal variables, and their
    sum exceeds 2 t only if one of them exceeds t. Several models, and owners as units, take `renyi_delta`, whose
    parameters these are.
    """
    renyi = renyi_delta(epsilon, noise, regularisation, loss, neighbours, n_models)
    mu = moved_records(neighbours) * loss.gradient_norm / noise
    if n_models > 1 or unit == "owner" or regularisation <= loss.smoothness:
        return renyi
    rest = epsilon + math.log1p(-loss.smoothness / regularisation)
    return min(renyi, 2.0 * gaussian_delta(rest, 1.0 / mu)) if rest >= mu**2 / 2 else renyi


def tight_delta(epsilon: float, noise: float, regularisation: float, loss: Loss, neighbours: Neighbours) -> float:
    """Delta of objective perturbation by the bound derived for this project.

    A record's gradient is a point of a polytope with the vertex 0: [0, 1] times one direction for a loss of the
    margin, the vertices e_j - e_y for the multinomial loss. The privacy loss is convex in that point but for the
    determinant, so it is largest at a vertex, where it is that of a Gaussian mechanism. Hence, with the determinant's
    part d, m vertices beside 0, and mu = (gradient norm) / noise:

    - add or remove: delta <= m * gaussian_delta(eps - d, 1 / mu) for eps >= d. For the logistic loss the determinant's
      part vanishes at the vertices, and d = 0 will do if 1 / Lambda <= eps + mu^2 / 2.
    - replace: delta <= m^2 * gaussian_delta(eps - d, 1 / (2 mu)) for eps >= d + 2 mu^2 + sqrt(12) mu. The two
      records' contributions are positive parts of two normal variables of any correlation, whose sum exceeds 2 t
      with at most the probability that one of them exceeds t, for every t >= sqrt(3).

    Where epsilon is smaller, what the smallest admissible epsilon implies is returned.

    Parameters
    ----------
    epsilon : float
        Privacy parameter, >= 0.
    noise : float
        Standard deviation of the linear term, > 0.
    regularisation : float
        Factor Lambda of the penalty, > 0.
    loss : Loss
        The loss.
    neighbours : {"replace-one", "add-remove"}
        Neighbour relation.
    """
    moved = moved_records(neighbours)
    mu = moved * loss.gradient_norm / noise
    determinant = loss.determinant(regularisation)
    if neighbours == "add-remove":
        if isinstance(loss, Logistic) and regularisation * (epsilon + mu**2 / 2) >= 1.0:
            determinant = 0.0
        smallest = determinant
    else:
        smallest = determinant + mu**2 / 2 + math.sqrt(3.0) * mu
    if epsilon < smallest:
        return implied_delta(
            epsilon, smallest, min(1.0, loss.directions**moved * gaussian_delta(smallest - determinant, 1.0 / mu))
        )
    return min(1.0, loss.directions**moved * gaussian_delta(epsilon - determinant, 1.0 / mu))


def objective_delta(
    epsilon: float,
    noise: float,
    regularisation: float,
    loss: Loss,
    neighbours: Neighbours,
    n_models: int,
    tight: bool,
    unit: Unit = "record",
) -> float:
    """Delta of the exact solution by one of the two bounds; see `tight_delta` and `published_delta`."""
    if tight:
        return tight_delta(epsilon, noise, regularisation, loss, neighbours)
    assert isinstance(loss, MarginLoss)
    return published_delta(epsilon, noise, regularisation, loss, neighbours, n_models, unit)


def released_delta(
    epsilon: float,
    scales: Perturbation,
    budget: float,
    loss: Loss,
    neighbours: Neighbours,
    n_models: int,
    tight: bool,
    unit: Unit = "record",
    share: float = OUTPUT_SHARE,
) -> float:
    """Delta of what is released, output noise included, for `scales` made for the epsilon `budget`.

    A `share` of the budget pays for the output noise.
    """
    spent = share * budget
    if epsilon <= spent:
        return 1.0
    sensitivity = 2.0 * scales.gradient_tolerance / scales.regularisation
    return min(
        1.0,
        objective_delta(
            epsilon - spent, scales.objective_noise, scales.regularisation, loss, neighbours, n_models, tight, unit
        )
        + gaussian_delta(spent, scales.output_noise / sensitivity),
    )


@lru_cache(maxsize=1024)
def objective_noise(
    epsilon: float,
    delta: float,
    loss: Loss,
    neighbours: Neighbours,
    *,
    n_models: int = 1,
    tight: bool,
    unit: Unit = "record",
) -> Perturbation:
    """Noise scales that make the training (epsilon, delta)-private.

    The regularisation, in proportion to the noise, does not look at the data. A thousandth of epsilon and delta pays
    for output noise that hides how far the solver stopped from the optimum, far below the noise in the objective.

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
        Number of models trained alike on the same records.
    tight : bool
        Whether to use `tight_delta`, which takes one model and records as units, instead of `published_delta`.
    unit : {"record", "owner"}
        What neighbours differ in one of.
    """
    regularisation = loss.penalty * max(0.2, moved_records(neighbours) * n_models / epsilon)
    output_epsilon, output_delta = OUTPUT_SHARE * epsilon, OUTPUT_SHARE * delta

    def delta_of(noise: float) -> float:
        return objective_delta(epsilon - output_epsilon, noise, regularisation, loss, neighbours, n_models, tight, unit)

    noise = smallest_noise(delta_of, delta - output_delta)
    output_noise = 2.0 * TOLERANCE / regularisation / gaussian_mu(output_epsilon, output_delta)
    return Perturbation(regularisation, noise, TOLERANCE, output_noise)
