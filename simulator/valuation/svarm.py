"""Shapley values from stratified means of paired coalitions, relieved of their linear part."""

from __future__ import annotations

import numpy as np

from simulator.valuation.complementary import ComplementaryContributions, blocks_of_a_pass, mean_effects
from simulator.valuation.estimator import Sampling
from simulator.valuation.games import Game


class StratifiedSVARM(ComplementaryContributions):
    """Means of U(S) by player, size and membership, from coalitions in pairs, with a linear control variate.

    Stratified SVARM averages U(S) separately over the coalitions with and without a player, by size, and updates
    every player from every coalition. With coalitions drawn in pairs S, N - S its strata are those of
    complementary contributions, and so are its samples here. What differs: a linear game is taken out of the
    utility first. Its players are worth what they were worth in the samples so far, times a factor that falls
    with the coalition's size, c_0 + c_1 2/|S|, fitted by least squares to earlier samples. The linear part's own
    means are known, and are put back exactly. As it comes from earlier samples only, no sample is biased by it.
    It is fitted anew whenever the number of samples is a power of two.
    """

    name = "svarm"
    source = "Kolpaczki, Bengs, Muschalik and Hullermeier (2024)"

    def begin(self, game: Game, rng: np.random.Generator) -> Sampling:
        """Evaluate the extreme sizes; there is no linear part yet."""
        sampling = super().begin(game, rng)
        sampling.learned = {
            "slopes": np.zeros(game.n_players),
            "factors": np.zeros(2),
            "squares": np.zeros((2, 2)),
            "products": np.zeros(2),
        }
        return sampling

    def sampled(self, sampling: Sampling, masks: np.ndarray, contribution: np.ndarray) -> np.ndarray:
        """Sum over the sampled sizes of the mean contributions of a pass, shape (n,)."""
        n = masks.shape[1]
        blocks, first = blocks_of_a_pass(n)
        learned = sampling.learned
        if sampling.samples and sampling.samples & (sampling.samples - 1) == 0:
            _fit(sampling)
        slopes = learned["slopes"]
        basis = np.stack([np.ones(len(blocks)), 2.0 / blocks], axis=1)
        # In a random coalition of any size the slopes, which sum to zero, have the mean zero.
        linear = (masks @ slopes)[:, None] * basis
        rest = mean_effects(masks, contribution - linear @ learned["factors"]).sum(axis=0)
        # Members less others: slope * n / (n - 1), and half that where one block serves both.
        weight = np.where(2 * blocks[first] == n, 0.5, 1.0) @ basis[first]
        learned["squares"] = learned["squares"] + _within(linear, first).T @ _within(linear, first)
        learned["products"] = (
            learned["products"] + _within(linear, first).T @ _within(contribution[:, None], first)[:, 0]
        )
        return rest + slopes * (n / (n - 1)) * (weight @ learned["factors"])


def _fit(sampling: Sampling) -> None:
    """The linear part by the samples so far."""
    learned = sampling.learned
    learned["factors"] = np.linalg.lstsq(learned["squares"], learned["products"], rcond=1e-10)[0]
    learned["slopes"] = sampling.mean - sampling.mean.mean()


def _within(columns: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Columns less their means within each size."""
    rows = np.diff(first, append=len(columns))
    return columns - np.repeat(np.add.reduceat(columns, first) / rows[:, None], rows, axis=0)
