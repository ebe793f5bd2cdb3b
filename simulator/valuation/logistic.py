"""The logistic game: Newton's method on all coalitions of a batch at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp

from simulator.valuation.arguments import as_positive
from simulator.valuation.games import RecordsGame, with_intercept

#: Coefficients of one model, above which refitting one by one is faster.
MAX_COEFFICIENTS = 256
#: Newton steps; ten are usual.
STEPS = 50
#: Times a step is halved at most.
HALVINGS = 20
#: Largest entry of the gradient at which a fit is done, in units of one record.
GRADIENT = 1e-6
#: Larger features are put in units in which they are about 1, for Newton's steps not to be lost in rounding.
USUAL_FEATURE = 1e3
#: Least penalty, as a share of a feature's squares: less is lost to rounding, and with it the Hessian's inverse.
LEAST_PENALTY = 1e-13


class LogisticGame(RecordsGame):
    """Test accuracy of logistic regression, by Newton's method on all coalitions at once.

    Two classes have one vector of weights, more have one each (softmax). The intercept is penalised by a
    millionth of a record, so that a coalition that lacks a class has a finite model. No penalty is less than 1e-13 of
    its feature's sum of squares, so that columns that agree have a model too.

    Parameters
    ----------
    ridge : float
        Penalty on half the squared weights, in units of one record, > 0 (scikit-learn's 1 / C).
    *data, n_classes, empty_utility
        As in `RecordsGame`.
    """

    name = "logistic"
    batch = 64

    def __init__(self, *data: Any, n_classes: int, empty_utility: float | None = None, ridge: float = 1.0) -> None:
        self.ridge = as_positive("ridge", ridge)
        super().__init__(*data, n_classes=n_classes, empty_utility=empty_utility)
        coefficients = self._x.shape[1] * self._columns
        if coefficients > MAX_COEFFICIENTS:
            raise ValueError(
                f"the game 'logistic' takes models of at most {MAX_COEFFICIENTS} coefficients, found {coefficients}; "
                "use the game 'ridge' or 'sklearn'"
            )

    def prepare(self) -> None:
        """Outer products of all records, so that a batch's Hessians are one matrix product."""
        x = with_intercept(self.features)
        largest = np.abs(x).max(axis=0, initial=0.0)
        self._units = np.where(largest > USUAL_FEATURE, np.frexp(largest)[1], 0)  # powers of two, which round nothing
        self._x = np.ldexp(x, -self._units)
        self._columns = 1 if self.n_classes == 2 else self.n_classes
        classes = np.arange(self.n_classes)[-self._columns :]
        self._y = (self.labels == classes[:, None]).astype(float)  # (columns, N)
        penalty = np.array([*np.full(self.features.shape[1], self.ridge), 1e-6])
        penalty = np.ldexp(penalty, -2 * self._units)
        self._penalty = np.maximum(penalty, LEAST_PENALTY * (self._x**2).sum(axis=0))
        if self._x.shape[1] * self._columns <= MAX_COEFFICIENTS:
            self._outer = (self._x[:, :, None] * self._x[:, None, :]).reshape(len(self._x), self._x.shape[1] ** 2)
        self._test = with_intercept(self.test_features)

    def score(self, masks: np.ndarray) -> np.ndarray:
        """Test accuracy of each coalition's classifier, a share, shape (b,)."""
        weights = self.fit(masks[:, self.players].astype(float))
        scores = weights @ self._test.T
        predicted = scores[:, 0] > 0 if self._columns == 1 else scores.argmax(axis=1)
        return (predicted == self.test_labels).mean(axis=1)

    def fit(self, members: np.ndarray) -> np.ndarray:
        """Weights of each coalition's model, shape (b, columns, d + 1), for members of shape (b, N), 0 or 1."""
        fitted = np.zeros((len(members), self._columns, self._x.shape[1]))
        active, weights = np.arange(len(members)), fitted
        chance, loss = self._evaluate(members, weights)
        for _ in range(STEPS):
            gradient = (members[:, None] * (chance - self._y)) @ self._x + weights * self._penalty
            pending = np.abs(gradient).max(axis=(1, 2)) > GRADIENT
            if not pending.any():
                break
            active, members, weights, chance = active[pending], members[pending], weights[pending], chance[pending]
            step = np.linalg.solve(self._hessian(members, chance), gradient[pending].reshape(len(active), -1, 1))
            weights, chance, loss = self._descend(members, weights, step.reshape(weights.shape), loss[pending])
            fitted[active] = weights
        return np.ldexp(fitted, -self._units)

    def _descend(
        self, members: np.ndarray, weights: np.ndarray, step: np.ndarray, before: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Newton's step, halved for those coalitions whose loss it would raise: weights, chances and losses."""
        size = np.ones((len(members), 1, 1))
        for _ in range(HALVINGS):
            chance, loss = self._evaluate(members, weights - size * step)
            # Near the optimum the loss is flat to rounding.
            worse = loss > before + 1e-9 * np.abs(before)
            if not worse.any():
                break
            size[worse] /= 2
        return weights - size * step, chance, loss

    def _evaluate(self, members: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Chance of each column's class for every record, (b, columns, N), and the penalised loss, (b,)."""
        scores = weights @ self._x.T
        # Of two classes, the first one's score is fixed at 0.
        level = np.logaddexp(0.0, scores[:, 0]) if self._columns == 1 else logsumexp(scores, axis=1)
        records = level - (scores * self._y).sum(axis=1)
        loss = (members * records).sum(axis=1) + 0.5 * (weights**2 * self._penalty).sum(axis=(1, 2))
        return np.exp(scores - level[:, None]), loss

    def _hessian(self, members: np.ndarray, chance: np.ndarray) -> np.ndarray:
        b, columns, width = len(members), self._columns, self._x.shape[1]
        blocks = np.empty((b, columns, width, columns, width))
        for i in range(columns):
            for j in range(columns):
                weight = members * chance[:, i] * ((i == j) - chance[:, j])
                blocks[:, i, :, j] = (weight @ self._outer).reshape(b, width, width)
        return blocks.reshape(b, columns * width, columns * width) + np.diag(np.tile(self._penalty, columns))
