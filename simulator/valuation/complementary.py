"""Shapley values from complementary contributions: a coalition against everybody else."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from simulator.valuation.estimator import Sampling, SamplingEstimator
from simulator.valuation.games import Game


class ComplementaryContributions(SamplingEstimator):
    """Mean of U(S) - U(N - S) by size of S, the extreme sizes exactly, with standard errors.

    SV_i = 1/n sum over s = 1..n of E[ U(S) - U(N - S) : i in S, |S| = s ].

    Sizes 1, n-1 and n are averaged over all coalitions. The others are sampled in passes, each one sample. A pass
    cuts one random order per size a = 2..n/2 into blocks of a players; each block serves its members at size a
    and everybody else at size n - a.
    """

    name = "complementary"
    source = "Zhang, Sun, Liu, Xiong, Pei and Ren (2023)"

    def cost(self, n: int) -> int:
        """Every block and its complement."""
        return 2 * len(blocks_of_a_pass(n)[0])

    def begin(self, game: Game, rng: np.random.Generator) -> Sampling:
        """Evaluate the extreme sizes."""
        sampling = super().begin(game, rng)
        n = game.n_players
        known = np.full(n, sampling.total)  # size n
        if n > 1:
            single = np.eye(n, dtype=bool)
            alone = game.utility(single) - game.utility(~single)
            sampling.evaluations += 2 * n
            known = known + alone  # size 1
            if n > 2:
                known = known - (alone.sum() - alone) / (n - 1)  # size n - 1
        sampling.known = known / n
        return sampling

    def draw(self, game: Game, sampling: Sampling, count: int) -> Iterator[np.ndarray]:
        """Passes of blocks, evaluated together."""
        n = game.n_players
        blocks, _ = blocks_of_a_pass(n)
        passes = np.array([_one_pass(n, sampling.rng) for _ in range(count)])
        masks = passes.reshape(-1, n)
        contributions = (game.utility(masks) - game.utility(~masks)).reshape(count, len(blocks))
        for masks, contribution in zip(passes, contributions, strict=True):
            sampling.evaluations += 2 * len(blocks)
            yield sampling.known + self.sampled(sampling, masks, contribution) / n

    def sampled(self, sampling: Sampling, masks: np.ndarray, contribution: np.ndarray) -> np.ndarray:
        """Sum over the sampled sizes of a pass's mean contributions, shape (n,).

        Parameters
        ----------
        sampling : Sampling
            Where the sampling stands.
        masks : array of bool, shape (blocks, n)
            The blocks.
        contribution : array of float, shape (blocks,)
            U(S) - U(N - S) of each.
        """
        return mean_effects(masks, contribution).sum(axis=0)


@lru_cache(maxsize=8)
def blocks_of_a_pass(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Size of each block of a pass, shape (blocks,), and where each size 2, 3, .. n/2 begins."""
    sizes = np.arange(2, n // 2 + 1)
    # Half the players against the other half: one block says it for both.
    rows = np.where(2 * sizes == n, 1, -(-n // sizes))
    return np.repeat(sizes, rows), np.concatenate([[0], np.cumsum(rows)[:-1]]).astype(int)


def _one_pass(n: int, rng: np.random.Generator) -> np.ndarray:
    """The blocks of one pass, shape (blocks, n)."""
    blocks, first = blocks_of_a_pass(n)
    masks = np.zeros((len(blocks), n), dtype=bool)
    for start, end in zip(first, [*first[1:], len(blocks)], strict=True):
        rows, size = end - start, blocks[start]
        # The last block is filled up from the beginning of the order.
        members = np.resize(rng.permutation(n), rows * size).reshape(rows, size)
        masks[np.arange(start, end)[:, None], members] = True
    return masks


def mean_effects(masks: np.ndarray, contribution: np.ndarray) -> np.ndarray:
    """Mean contribution of the blocks that hold a player less that of the others, by size, shape (sizes, n).

    At half the players there is one block: it counts for its members, and against everybody else.
    """
    n = masks.shape[1]
    blocks, first = blocks_of_a_pass(n)
    inside = np.add.reduceat(np.where(masks, contribution[:, None], 0.0), first)
    members = np.add.reduceat(masks, first, dtype=int)
    total = np.add.reduceat(contribution, first)[:, None]
    rows = np.diff(first, append=len(blocks))[:, None]
    if 2 * blocks[-1] < n:
        return inside / members - (total - inside) / (rows - members)
    effects = np.empty(inside.shape)
    effects[:-1] = inside[:-1] / members[:-1] - (total - inside)[:-1] / (rows - members)[:-1]
    effects[-1] = 2 * inside[-1] - total[-1]
    return effects
