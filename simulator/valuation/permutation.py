"""Shapley values by sampling the orders in which players join."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.valuation.estimator import Sampling, SamplingEstimator
from simulator.valuation.games import Game


class PermutationSampling(SamplingEstimator):
    """Mean gain of each player over random orders of joining, with standard errors.

    Parameters
    ----------
    antithetic : bool
        Let every order be followed by its reverse; the mean of the two is one sample.
    truncation : float
        Stop following an order once its coalition's utility is this close to that of everybody, as a share of
        U(N) - U(empty); who has not joined by then gets an equal share of the rest. 0 follows every order to its
        end. The estimates are then biased, and the standard errors do not say by how much.
    """

    name = "permutation"
    source = "Castro, Gomez and Tejada (2009); truncation: Ghorbani and Zou (2019)"

    def __init__(self, *, antithetic: bool = False, truncation: float = 0.0) -> None:
        if not 0 <= truncation < 1:
            raise ValueError(f"truncation must be in [0, 1), found {truncation}")
        if not isinstance(antithetic, bool):
            raise TypeError(f"antithetic must be true or false, found {antithetic!r}")
        self.antithetic = antithetic
        self.truncation = truncation

    def cost(self, n: int) -> int:
        """An order's coalitions besides the empty and the grand one, twice for an order and its reverse."""
        return (n - 1) * (1 + self.antithetic)

    def batch_samples(self, n: int) -> int:
        """Truncated orders are followed side by side, one evaluation of each at a time."""
        return self.batch // 8 if self.truncation else super().batch_samples(n)

    def draw(self, game: Game, sampling: Sampling, count: int) -> Iterator[np.ndarray]:
        """Gains along random orders. Every order's gains sum to U(N) - U(empty)."""
        n = game.n_players
        orders = sampling.rng.permuted(np.tile(np.arange(n), (count, 1)), axis=1)
        if self.antithetic:
            orders = np.concatenate([orders, orders[:, ::-1]])
        follow = self._follow_truncated if self.truncation else _follow
        gains = np.empty((len(orders), n))
        np.put_along_axis(gains, orders, np.diff(follow(game, sampling, orders), axis=1), axis=1)
        yield from gains.reshape(1 + self.antithetic, count, n).mean(axis=0)

    def _follow_truncated(self, game: Game, sampling: Sampling, orders: np.ndarray) -> np.ndarray:
        """Utilities along the orders, on a straight line to the end from where they come close to it."""
        n = orders.shape[1]
        nobody, everybody = sampling.ends.tolist()
        utility = np.tile(np.linspace(nobody, everybody, n + 1), (len(orders), 1))
        masks = np.zeros(orders.shape, dtype=bool)
        going = np.arange(len(orders))
        for size in range(1, n):
            far = np.abs(everybody - utility[going, size - 1]) > self.truncation * abs(sampling.total)
            going = going[far]
            masks[going, orders[going, size - 1]] = True
            utility[going, size] = game.utility(masks[going])
            sampling.evaluations += len(going)
            utility[going, size:] = np.linspace(utility[going, size], everybody, n - size + 1, axis=1)
        return utility


def _follow(game: Game, sampling: Sampling, orders: np.ndarray) -> np.ndarray:
    """Utility of the first s players of every order, for s = 0..n, shape (orders, n + 1)."""
    count, n = orders.shape
    position = np.argsort(orders, axis=1)
    masks = position[:, None, :] < np.arange(1, n)[None, :, None]
    utility = np.empty((count, n + 1))
    utility[:, 0], utility[:, n] = sampling.ends
    utility[:, 1:n] = game.utility(masks.reshape(-1, n)).reshape(count, n - 1)
    sampling.evaluations += count * (n - 1)
    return utility
