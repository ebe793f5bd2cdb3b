"""Approximate minima perturbation: private convex training that need not be solved exactly."""

from __future__ import annotations

from simulator.privacy.accounting import Neighbours, implied_delta, moved_records
from simulator.privacy.gaussian import classical_noise
from simulator.privacy.losses import MarginLoss
from simulator.privacy.objective import released_delta
from simulator.privacy.perturbation import Perturbation

#: Share of epsilon and delta for the noise on the solution.
OUTPUT_SHARE = 0.01
#: Gradient norm (sum form) to reach where the number of records is not public.
FIXED_TOLERANCE = 1e-5


def amp_noise(
    epsilon: float, delta: float, n_records: int, loss: MarginLoss, neighbours: Neighbours = "replace-one"
) -> Perturbation:
    """Noise scales that make the training of one linear model (epsilon, delta)-private.

    The budget is split by a rule that does not look at the data: a hundredth for the noise on the solution,
    and of the rest the share min(0.887 + 0.019 eps^-0.373, 0.99) for the noise in the objective, but so much
    that less than 1 is left for the regularisation.

    Parameters
    ----------
    epsilon : float
        Privacy parameter, > 0.
    delta : float
        Privacy parameter, in (0, 1).
    n_records : int
        Number of training records, >= 1; read under replace-one only, where it is public.
    loss : MarginLoss
        Loss of the margin.
    neighbours : {"replace-one", "add-remove"}
        Whether neighbouring data sets differ in one record's content or in its presence.

    Raises
    ------
    ValueError
        If epsilon is so large that the noise scale does not hold.

    References
    ----------
    Iyengar, Near, Song, Thakkar, Thakurta and Wang (2019), algorithm 1; Liu et al. (2021), algorithm 2.
    """
    output_epsilon, output_delta = OUTPUT_SHARE * epsilon, OUTPUT_SHARE * delta
    objective_epsilon, objective_delta = epsilon - output_epsilon, delta - output_delta
    share = min(0.887 + 0.019 * epsilon**-0.373, 0.99)
    noise_epsilon = max(share * objective_epsilon, objective_epsilon - 0.999)
    # A record replaced moves the objective's gradient by two losses', one added or removed by one.
    moved = moved_records(neighbours)
    regularisation = moved * loss.smoothness / (objective_epsilon - noise_epsilon)
    objective_noise = moved * loss.gradient_norm * classical_noise(noise_epsilon, objective_delta)
    tolerance = 1.0 / n_records if neighbours == "replace-one" else FIXED_TOLERANCE
    # Two solutions within tolerance / Lambda of one exact optimum are within twice that of each other.
    output_noise = 2 * tolerance / regularisation * classical_noise(output_epsilon, output_delta)
    return Perturbation(regularisation, objective_noise, tolerance, output_noise)


def amp_delta(
    at: float,
    epsilon: float,
    delta: float,
    scales: Perturbation,
    loss: MarginLoss,
    neighbours: Neighbours,
    n_models: int = 1,
) -> float:
    """Delta at the privacy parameter `at`, >= 0: the better of what two theorems say of the same noise.

    One is that of minima perturbation itself, which says (epsilon, delta) and what that implies; the other is the
    published bound of objective perturbation, which this is but for the solver's tolerance. Several models, each on
    a part of the budget, have the first alone.

    Parameters
    ----------
    at : float
        Where delta is asked for, >= 0.
    epsilon, delta : float
        What all models together were made for.
    scales : Perturbation
        Their noise.
    loss : MarginLoss
        Loss of the margin.
    neighbours : {"replace-one", "add-remove"}
        Neighbour relation.
    n_models : int
        Number of models.
    """
    implied = implied_delta(at, epsilon, delta)
    if n_models > 1:
        return implied
    return min(implied, released_delta(at, scales, epsilon, loss, neighbours, 1, False, share=OUTPUT_SHARE))
