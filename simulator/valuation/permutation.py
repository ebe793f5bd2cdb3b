"""Shapley values by sampling the orders in which players join."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.valuation.arguments import as_real
from simulator.valuation.estimator import Sampling, SamplingEstimator
from simulator.valuation.games import Game

#: Share of the truncated orders that are followed to their end, to take out the bias.
FOLLOWED = 1 / 8


class PermutationSampling(SamplingEstimator):
    """Mean gain of each player over random orders of joining, with standard errors.

    A player's gain is large where it comes first, which is seldom: with fewer orders than about four times the
    players, some come first never or too often, and their own variance misleads. That is why standard errors draw
    the players' variances together (`Sampling.stderr`).

    Parameters
    ----------
    antithetic : bool
        Let every order be followed by its reverse; the mean of the two is one sample.
    truncation : float
        Stop following an order once its coalition's utility is this close to that of everybody, as a share of
        U(N) - U(empty); who has not joined by then gets an equal share of the rest. That alone would bias the
        values, so one order in eight, drawn at random, is followed to its end all the same, and what it shows beyond
        the equal shares counts eight times: estimates stay unbiased, and intervals cover. 0 follows every order to
        its end.
    """

    name = "permutation"
    source = "Castro, Gomez and Tejada (2009); truncation: Ghorbani and Zou (2019)"

    def __init__(self, *, antithetic: bool = False, truncation: float = 0.0) -> None:
        self.truncation = as_real("truncation", truncation, "a number in [0, 1)")
        if not 0 <= self.truncation < 1:
            raise ValueError(f"truncation must be a number in [0, 1), found {truncation}")
        if not isinstance(antithetic, (bool, np.bool_)):
            raise TypeError(f"antithetic must be true or false, found {antithetic!r}")
        self.antithetic = bool(antithetic)

    def cost(self, n: int) -> int:
        """An order's coalitions besides the empty and the grand one, twice for an order and its reverse."""
        return (n - 1) * (1 + self.antithetic)

    def batch_samples(self, n: int) -> int:
        """Truncated orders are followed side by side, one evaluation of each at a time."""
        return self.batch // 8 if self.truncation else super().batch_samples(n)

    def draw(self, game: Game, sampling: Sampling, count: int) -> Iterator[np.ndarray]:
        """Gains along random orders. Every order's gains sum to U(N) - U(empty)."""
        n = game.n_players
        if self.truncation:
            # One after the other, so that the stream does not depend on how many are drawn together.
            drawn = [(sampling.rng.permutation(n), sampling.rng.random()) for _ in range(count)]
            orders = np.array([order for order, _ in drawn])
            to_the_end = np.array([chance < FOLLOWED for _, chance in drawn])
        else:
            orders = sampling.rng.permuted(np.tile(np.arange(n), (count, 1)), axis=1)
            to_the_end = np.ones(count, dtype=bool)
        if self.antithetic:
            orders, to_the_end = np.concatenate([orders, orders[:, ::-1]]), np.tile(to_the_end, 2)
        utility = np.empty((len(orders), n + 1))
        utility[to_the_end] = _follow(game, sampling, orders[to_the_end])
        if self.truncation:
            utility[~to_the_end] = self._follow_truncated(game, sampling, orders[~to_the_end])
            cut = self._cut(utility[to_the_end], sampling)
            utility[to_the_end] = cut + (utility[to_the_end] - cut) / FOLLOWED
        gains = np.empty((len(orders), n))
        np.put_along_axis(gains, orders, np.diff(utility, axis=1), axis=1)
        yield from gains.reshape(1 + self.antithetic, count, n).mean(axis=0)

    def _follow_truncated(self, game: Game, sampling: Sampling, orders: np.ndarray) -> np.ndarray:
        """Utilities along the orders, on a straight line to the end from where they come close to it."""
        n = orders.shape[1]
        nobody, everybody = sampling.ends.tolist()
        utility = np.full((len(orders), n + 1), everybody)
        utility[:, 0] = nobody
        masks = np.zeros(orders.shape, dtype=bool)
        going = np.arange(len(orders))
        for size in range(1, n):
            going = going[self._far(utility[going, size - 1], sampling)]
            masks[going, orders[going, size - 1]] = True
            utility[going, size] = game.utility(masks[going])
            sampling.evaluations += len(going)
        return self._cut(utility, sampling)

    def _far(self, utility: np.ndarray, sampling: Sampling) -> np.ndarray:
        return np.abs(sampling.ends[1] - utility) > self.truncation * abs(sampling.total)

    def _cut(self, utility: np.ndarray, sampling: Sampling) -> np.ndarray:
        """Utilities along orders, shape (orders, n + 1), on a straight line from the first that is close to the end."""
        n = utility.shape[1] - 1
        first = np.argmin(self._far(utility, sampling), axis=1)
        start = utility[np.arange(len(utility)), first]
        # With nothing to divide even nobody is close to the end; the last is close in any case.
        share = (np.arange(n + 1) - first[:, None]) / np.maximum(n - first, 1)[:, None]
        line = start[:, None] + share * (utility[:, -1] - start)[:, None]
        return np.where(share > 0, line, utility)


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
