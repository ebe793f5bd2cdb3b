"""The logistic game: Newton's method on all coalitions of a batch at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp, softmax

from simulator.valuation.games import RecordsGame, with_intercept

#: Coefficients of one model, above which refitting one by one is faster.
MAX_COEFFICIENTS = 256
#: Newton steps; ten are usual.
STEPS = 50
#: Largest entry of the gradient at which a fit is done, in units of one record.
GRADIENT = 1e-6


class LogisticGame(RecordsGame):
    """Test accuracy of logistic regression, by Newton's method on all coalitions at once.

    Two classes have one vector of weights, more have one each (softmax). The intercept is penalised by a
    millionth of a record, so that a coalition that lacks a class has a finite model.

    Parameters
    ----------
    ridge : float
        Penalty on half the squared weights, in units of one record, > 0 (scikit-learn's 1 / C).
    *data, n_classes, empty_utility
        As in `RecordsGame`.
    """

    name = "logistic"
    batch = 64

    def __init__(
        self, *data: Any, n_classes: int, empty_utility: float | None = None, ridge: float = 1.0
    ) -> None:
        if not 0 < ridge < np.inf:
            raise ValueError(f"ridge must be positive and finite, found {ridge}")
        self.ridge = ridge
        super().__init__(*data, n_classes=n_classes, empty_utility=empty_utility)
        coefficients = self._x.shape[1] * self._columns
        if coefficients > MAX_COEFFICIENTS:
            raise ValueError(
                f"the game 'logistic' takes models of at most {MAX_COEFFICIENTS} coefficients, found {coefficients}; "
                "use the game 'ridge' or 'sklearn'"
            )

    def prepare(self) -> None:
        """Outer products of all records, so that a batch's Hessians are one matrix product."""
        self._x = with_intercept(self.features)
        self._columns = 1 if self.n_classes == 2 else self.n_classes
        classes = np.arange(self.n_classes)[-self._columns :]
        self._y = (self.labels == classes[:, None]).astype(float)  # (columns, N)
        self._penalty = np.array([*np.full(self.features.shape[1], self.ridge), 1e-6])
        if self._x.shape[1] * self._columns <= MAX_COEFFICIENTS:
            self._outer = (self._x[:, :, None] * self._x[:, None, :]).reshape(len(self._x), -1)
        self._test = with_intercept(self.test_features)

    def score(self, masks: np.ndarray) -> np.ndarray:
        """Test accuracy of each coalition's classifier, a share, shape (b,)."""
        weights = self.fit(masks[:, self.players].astype(float))
        scores = weights @ self._test.T
        predicted = scores[:, 0] > 0 if self._columns == 1 else scores.argmax(axis=1)
        return (predicted == self.test_labels).mean(axis=1)

    def fit(self, members: np.ndarray) -> np.ndarray:
        """Weights of each coalition's model, shape (b, columns, d + 1), for members of shape (b, N), 0 or 1."""
        weights = np.zeros((len(members), self._columns, self._x.shape[1]))
        active = np.arange(len(members))
        for _ in range(STEPS):
            own, current = members[active], weights[active]
            chance = self._chances(current)
            gradient = (own[:, None] * (chance - self._y)) @ self._x + current * self._penalty
            todo = np.abs(gradient).max(axis=(1, 2)) > GRADIENT
            if not todo.any():
                break
            active, own, current = active[todo], own[todo], current[todo]
            step = np.linalg.solve(self._hessian(own, chance[todo]), gradient[todo].reshape(len(active), -1, 1))
            weights[active] = self._descend(own, current, step.reshape(current.shape))
        return weights

    def _scores(self, weights: np.ndarray) -> np.ndarray:
        scores = weights @ self._x.T
        return np.concatenate([np.zeros_like(scores), scores], axis=1) if self._columns == 1 else scores

    def _chances(self, weights: np.ndarray) -> np.ndarray:
        return np.asarray(softmax(self._scores(weights), axis=1))[:, -self._columns :]

    def _hessian(self, own: np.ndarray, chance: np.ndarray) -> np.ndarray:
        b, columns, width = len(own), self._columns, self._x.shape[1]
        blocks = np.empty((b, columns, width, columns, width))
        for i in range(columns):
            for j in range(columns):
                weight = own * chance[:, i] * ((i == j) - chance[:, j])
                blocks[:, i, :, j] = (weight @ self._outer).reshape(b, width, width)
        return blocks.reshape(b, columns * width, columns * width) + np.diag(np.tile(self._penalty, columns))

    def _loss(self, own: np.ndarray, weights: np.ndarray) -> np.ndarray:
        scores = self._scores(weights)
        right = (scores[:, -self._columns :] * self._y).sum(axis=1)
        records = (own * (np.asarray(logsumexp(scores, axis=1)) - right)).sum(axis=1)
        return records + 0.5 * (weights**2 * self._penalty).sum(axis=(1, 2))

    def _descend(self, own: np.ndarray, weights: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Newton's step, halved for those coalitions whose loss it would raise."""
        size = np.ones((len(own), 1, 1))
        before = self._loss(own, weights)
        for _ in range(20):
            # Near the optimum the loss is flat to rounding.
            worse = self._loss(own, weights - size * step) > before + 1e-9 * np.abs(before)
            if not worse.any():
                break
            size[worse] /= 2
        return weights - size * step
