"""The game of the nearest neighbours, and the exact values of single records in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from simulator.valuation.arguments import as_classes, as_count
from simulator.valuation.estimator import Sampling, Valuation, ValuationEstimator
from simulator.valuation.games import Game, RecordsGame


class NearestNeighboursGame(RecordsGame):
    """Share of right labels among the k nearest records of the coalition, over the test records.

    The utility of k-nearest-neighbour classification as Jia et al. define it: the chance given to the right
    label. A coalition of fewer than k records is short of neighbours; each missing one counts as what nobody is
    worth, so that with an empty utility of 0 the game is that of Jia et al.

    Parameters
    ----------
    k : int
        Neighbours, >= 1.
    *data, n_classes, empty_utility
        As in `RecordsGame`.

    References
    ----------
    Jia et al. (2019).
    """

    name = "knn"
    source = "Jia et al. (2019)"
    batch = 16

    def __init__(self, *data: Any, n_classes: int, empty_utility: float | None = None, k: int = 5) -> None:
        self.k = as_count("k", k, 1)
        super().__init__(*data, n_classes=n_classes, empty_utility=empty_utility)

    def prepare(self) -> None:
        """Order the records by their distance from every test record."""
        self._order = nearest_first(self.features, self.test_features)  # (T, N)
        self._right = self.labels[self._order] == self.test_labels[:, None]
        self._owner = self.players[self._order]

    def score(self, masks: np.ndarray) -> np.ndarray:
        """Mean share of right neighbours of the test records, shape (b,)."""
        values = np.empty(len(masks))
        pending, width = np.arange(len(masks)), 4 * self.k
        # The nearest neighbours of most coalitions are among the first few records; only some need a longer look.
        while len(pending):
            held = masks[pending][:, self._owner[:, :width]]  # (b, T, width), nearest records first
            count = np.cumsum(held, axis=2, dtype=np.int32)
            right = (held & (count <= self.k) & self._right[:, :width]).sum(axis=(1, 2))
            found = np.minimum(count[:, :, -1], self.k)
            done = (found == self.k).all(axis=1) | (width >= len(self.labels))
            missing = self.k - found.mean(axis=1)
            values[pending[done]] = ((right / len(self.test_labels) + missing * self.empty_utility) / self.k)[done]
            pending, width = pending[~done], 2 * width
        return values

    def record_values(self) -> np.ndarray:
        """Exact Shapley values of the records, were each a player, shape (N,): theorem 1 of Jia et al. (2019).

        From the farthest record to the nearest: two neighbours in the order of a test record differ in value by
        what swapping them would change.
        """
        tests, n = self._order.shape
        if n == 0:
            return np.empty(0)
        gain = self._right - self.empty_utility  # over the neighbour that would be missing, in units of 1/k
        position = np.arange(1, n)
        farthest = gain[:, -1:] * min(self.k, n) / (n * self.k)
        steps = (gain[:, :-1] - gain[:, 1:]) * np.minimum(self.k, position) / (self.k * position)
        along = np.hstack([steps, farthest])[:, ::-1].cumsum(axis=1)[:, ::-1]
        return np.bincount(self._order.ravel(), along.ravel(), minlength=n) / tests


class NeighbourShapley(ValuationEstimator):
    """Exact values of single records in the game 'knn', summed over each player's records.

    Exact where every player holds one record. Values of single records do not add up to those of groups: with
    several records a player this is another division of the same total, without standard errors.
    """

    name = "knn"
    source = "Jia et al. (2019)"

    def estimate(
        self, game: Game, budget: int, tolerance: float, rng: np.random.Generator, start: Sampling | None = None
    ) -> Valuation:
        """Needs no evaluation of the utility."""
        if not hasattr(game, "record_values"):
            found = getattr(game, "name", type(game).__name__)
            raise ValueError(f"method 'knn' values the game 'knn' only, found the game {found!r}")
        values = np.bincount(game.players, game.record_values(), minlength=game.n_players)  # type: ignore[attr-defined]
        single = len(np.unique(game.players)) == len(game.players)  # type: ignore[attr-defined]
        return Valuation(values, np.zeros(game.n_players), 0, self.name, "exact" if single else "summed")


def knn_shapley(
    features: ArrayLike,
    labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    *,
    k: int = 5,
    empty_utility: float = 0.0,
) -> np.ndarray:
    """Exact Shapley values of single records for k-nearest-neighbour classification, in O(N log N) a test record.

    Parameters
    ----------
    features : array of float, shape (N, d)
        Training records; each is a player.
    labels : array, shape (N,)
        Class of each, numbers or text.
    test_features : array of float, shape (T, d)
        Test records, T >= 1.
    test_labels : array, shape (T,)
        Class of each.
    k : int
        Neighbours, >= 1.
    empty_utility : float
        What a missing neighbour counts, and so the utility of nobody.

    Returns
    -------
    array of float, shape (N,)
        Values, as shares of test records; their sum is U(N) - U(empty).

    Raises
    ------
    ValueError
        If arrays do not fit together, or k is out of range.

    References
    ----------
    Jia et al. (2019), theorem 1.

    Examples
    --------
    The nearer of two records is right, the other is wrong:

    >>> knn_shapley([[0.0], [5.0]], [1, 0], [[1.0]], [1], k=1).tolist()
    [1.0, 0.0]
    """
    known, asked = as_classes("labels", labels), as_classes("test_labels", test_labels)
    if known.size and asked.size and known.dtype.kind != asked.dtype.kind:
        raise ValueError(
            f"labels and test_labels must both be numbers or both be text, found {known[0]!s:.40} and {asked[0]!s:.40}"
        )
    # Of an empty one the type is unknown.
    classes, codes = np.unique(
        np.concatenate([part for part in (known, asked) if part.size] or [known]), return_inverse=True
    )
    train, test = codes[: len(known)], codes[len(known) :]
    n_records = np.shape(features)[0] if np.ndim(features) else 0
    game = NearestNeighboursGame(
        features,
        train,
        np.arange(n_records),
        n_records,
        test_features,
        test,
        n_classes=max(2, len(classes)),
        k=k,
        empty_utility=empty_utility,
    )
    return game.record_values()


def nearest_first(features: np.ndarray, test_features: np.ndarray) -> np.ndarray:
    """Training records by their distance from each test record, shape (T, N); the first of equals first."""
    order = np.empty((len(test_features), len(features)), dtype=np.intp)
    for row, record in enumerate(test_features):
        order[row] = np.argsort(((features - record) ** 2).sum(axis=1), kind="stable")
    return order
