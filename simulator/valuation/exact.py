"""Exact Shapley values by enumeration of all coalitions."""

from __future__ import annotations

import numpy as np
from scipy.special import binom

from simulator.valuation.estimator import Sampling, Valuation, ValuationEstimator
from simulator.valuation.games import Game

#: Coalitions evaluated in one call.
BATCH = 2048
#: 2^n utilities are held in memory at once.
MAX_PLAYERS = 22


class ExactShapley(ValuationEstimator):
    """Exact values by enumerating all coalitions."""

    name = "exact"
    source = "Shapley (1953)"
    max_players = MAX_PLAYERS

    def estimate(
        self, game: Game, budget: int, tolerance: float, rng: np.random.Generator, start: Sampling | None = None
    ) -> Valuation:
        """SV_i = 1/n sum over S without i of [U(S + i) - U(S)] / C(n-1, |S|)."""
        n = game.n_players
        if n > MAX_PLAYERS:
            raise ValueError(f"method 'exact' takes at most {MAX_PLAYERS} players, found {n}; use a sampling method")
        codes = np.arange(2**n)
        masks = (codes[:, None] >> np.arange(n)) & 1 == 1
        utility = np.concatenate([game.utility(masks[i : i + BATCH]) for i in range(0, len(masks), BATCH)])
        size = masks.sum(axis=1)
        weight = 1.0 / (n * np.asarray(binom(n - 1, np.arange(n)), dtype=float))
        values = np.empty(n)
        for player in range(n):
            without = codes[~masks[:, player]]
            gain = utility[without | (1 << player)] - utility[without]
            values[player] = gain @ weight[size[without]]
        return Valuation(values, np.zeros(n), len(codes), self.name)
