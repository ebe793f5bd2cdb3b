"""Training by a perturbed objective: a convex problem with random linear term, solved to a tolerance.

Objective perturbation, approximate minima perturbation and output perturbation are this one algorithm with
different noise scales.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import softmax

from simulator.privacy.losses import Loss, MarginLoss
from simulator.privacy.noise import Noise

#: Newton steps at most; a dozen are usual.
MAX_STEPS = 200
#: Relative error of a sum of losses by rounding, with room.
ROUNDING = 1e-12
#: Curvature of the parabola that a search for the minimum starts with, at most.
CURVATURE = 0.5
#: Weights up to which the Hessian is formed and factorised.
MAX_DENSE = 500


@dataclass(frozen=True)
class Perturbation(Noise):
    """Noise and regularisation of one training.

    Attributes
    ----------
    regularisation : float
        Factor Lambda of the penalty Lambda/2 |w|^2 beside the summed loss.
    objective_noise : float
        Standard deviation of the linear term added to the objective.
    gradient_tolerance : float
        Norm of the summed objective's gradient at which training may stop.
    output_noise : float
        Standard deviation of the noise added to the solution.
    """

    regularisation: float
    objective_noise: float
    gradient_tolerance: float
    output_noise: float

    def fit(
        self,
        rows: np.ndarray,
        targets: np.ndarray,
        loss: Loss,
        rng: np.random.Generator,
        weights: np.ndarray | None = None,
    ) -> np.ndarray:
        """The minimum of the perturbed objective to the tolerance, with noise, shape (p, m)."""
        shape = rows.shape[1], targets.shape[1]
        linear = rng.normal(scale=self.objective_noise, size=shape)
        if weights is None:
            weights = np.ones(len(rows))
        if isinstance(loss, MarginLoss):
            problems: list[_Problem] = [
                _MarginProblem(rows, signs, weights, loss, self.regularisation, term)
                for signs, term in zip(targets.T, linear.T, strict=True)
            ]
            # Each model is a problem of its own, and all of them together must reach the tolerance.
            tolerance = self.gradient_tolerance / len(problems) ** 0.5
            starts = _starts(rows, targets, weights, loss, self.regularisation, linear)
            found = [_minimise(problem, w, tolerance) for problem, w in zip(problems, starts.T, strict=True)]
            solution = np.column_stack(found)
        else:
            joint = _SoftmaxProblem(rows, targets.T, weights, self.regularisation, linear.T)
            solution = _minimise(joint, np.zeros(joint.size), self.gradient_tolerance).reshape(linear.T.shape).T
        return solution + rng.normal(scale=self.output_noise, size=shape)

    def __str__(self) -> str:
        return (
            f"{self.objective_noise:.4g} on the objective's linear term, {self.output_noise:.4g} on the weights, "
            f"Lambda {self.regularisation:.4g}"
        )


class _Problem(ABC):
    """A strongly convex function of a vector of weights."""

    size: int

    @abstractmethod
    def value_and_gradient(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        """Value, and gradient of shape (size,)."""

    @abstractmethod
    def hessian_product(self, w: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """The Hessian at `w` as a map of vectors."""

    def newton_step(self, w: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """The Hessian's inverse applied to the gradient, by conjugate gradients."""
        operator: LinearOperator = LinearOperator((self.size, self.size), matvec=self.hessian_product(w), dtype=float)
        step, _ = cg(operator, gradient, rtol=min(0.1, float(np.linalg.norm(gradient)) ** 0.5), maxiter=self.size)
        return step


class _MarginProblem(_Problem):
    def __init__(
        self,
        rows: np.ndarray,
        signs: np.ndarray,
        weights: np.ndarray,
        loss: MarginLoss,
        regularisation: float,
        linear: np.ndarray,
    ) -> None:
        self.rows, self.signs, self.weights, self.loss = rows, signs, weights, loss
        self.regularisation, self.linear = regularisation, linear
        self.weighted_signs = weights * signs
        self.size = rows.shape[1]

    def value_and_gradient(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        margins = self.signs * (self.rows @ w)
        value = self.weights @ self.loss.value(margins) + 0.5 * self.regularisation * (w @ w) + self.linear @ w
        pull = (self.weighted_signs * self.loss.slope(margins)) @ self.rows
        return float(value), self.regularisation * w + self.linear - pull

    def _curvature(self, w: np.ndarray) -> np.ndarray:
        return self.weights * self.loss.curvature(self.signs * (self.rows @ w))

    def hessian_product(self, w: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        curvature = self._curvature(w)
        return lambda v: (curvature * (self.rows @ v)) @ self.rows + self.regularisation * v

    def newton_step(self, w: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        if self.size > MAX_DENSE:
            return super().newton_step(w, gradient)
        curvature = self._curvature(w)
        curved = slice(None) if curvature.all() else curvature > 0  # the hinge is flat but for a band of margins
        weighted = self.rows[curved] * np.sqrt(curvature[curved])[:, None]
        hessian = weighted.T @ weighted
        hessian.flat[:: self.size + 1] += self.regularisation
        return cho_solve(cho_factor(hessian, check_finite=False), gradient, check_finite=False)


class _SoftmaxProblem(_Problem):
    # Weights are kept as K rows here: sums over classes then add whole vectors of records.
    def __init__(
        self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, regularisation: float, linear: np.ndarray
    ) -> None:
        self.rows, self.targets, self.weights = rows, targets * weights, weights
        self.regularisation, self.linear = regularisation, linear
        self.size = linear.size

    def _scores(self, w: np.ndarray) -> np.ndarray:
        return w.reshape(self.linear.shape) @ self.rows.T

    def value_and_gradient(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        scores = self._scores(w)
        highest = scores.max(axis=0)
        p = np.exp(scores - highest)
        total = p.sum(axis=0)
        value = self.weights @ (np.log(total) + highest) - (scores * self.targets).sum()
        value += 0.5 * self.regularisation * (w @ w) + self.linear.ravel() @ w
        gradient = (p * (self.weights / total) - self.targets) @ self.rows + self.linear
        return float(value), gradient.ravel() + self.regularisation * w

    def hessian_product(self, w: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        p = softmax(self._scores(w), axis=0)
        weighted = p * self.weights

        def product(v: np.ndarray) -> np.ndarray:
            scores = weighted * self._scores(v)
            return ((scores - p * scores.sum(axis=0)) @ self.rows).ravel() + self.regularisation * v

        return product


def _starts(
    rows: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    loss: MarginLoss,
    regularisation: float,
    linear: np.ndarray,
) -> np.ndarray:
    """Weights to start from, shape (p, m): as if the loss were a parabola at 0.

    All models have one Hessian then. For the logistic loss this is Newton's first step; the hinge, which is flat at 0,
    has a parabola of its own.
    """
    if rows.shape[1] > MAX_DENSE:
        return np.zeros(linear.shape)
    hessian = min(loss.smoothness, CURVATURE) * (rows.T @ (weights[:, None] * rows))
    hessian.flat[:: rows.shape[1] + 1] += regularisation
    pull = float(loss.slope(np.zeros(1))[0]) * (rows.T @ (weights[:, None] * targets)) - linear
    return np.asarray(cho_solve(cho_factor(hessian, check_finite=False), pull, check_finite=False))


def _minimise(problem: _Problem, w: np.ndarray, tolerance: float) -> np.ndarray:
    """Weights at which the norm of the gradient is at most `tolerance`, by Newton's method from `w`."""
    value, gradient = problem.value_and_gradient(w)
    for _ in range(MAX_STEPS):
        norm = float(np.linalg.norm(gradient))
        if norm <= tolerance:
            return w
        step = problem.newton_step(w, gradient)
        slope = float(step @ gradient)
        length = 1.0
        while True:
            trial = w - length * step
            new_value, new_gradient = problem.value_and_gradient(trial)
            if new_value <= value - 1e-4 * length * slope:
                break
            # Near the optimum the value no longer resolves progress that the gradient still shows.
            if new_value <= value + ROUNDING * abs(value) and np.linalg.norm(new_gradient) <= (1 - length / 4) * norm:
                break
            length /= 2
            if length < 1e-12:
                raise RuntimeError(_stopped(norm, tolerance))
        w, value, gradient = trial, new_value, new_gradient
    raise RuntimeError(_stopped(float(np.linalg.norm(gradient)), tolerance))


def _stopped(reached: float, tolerance: float) -> str:
    return (
        f"training stopped at gradient norm {reached:.3g} above {tolerance:.3g}, "
        "where the privacy guarantee does not hold; nothing is released"
    )
