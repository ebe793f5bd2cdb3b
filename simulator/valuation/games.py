"""Games to value: players, and a utility of every coalition of them."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np

from simulator.registry import Described, Family


class Game(Protocol):
    """A cooperative game with a batched utility."""

    @property
    def n_players(self) -> int:
        """Number of players."""

    def utility(self, masks: np.ndarray) -> np.ndarray:
        """Utility of each coalition.

        Parameters
        ----------
        masks : array of bool, shape (b, n)
            One coalition a row.

        Returns
        -------
        array of float, shape (b,)
        """


class AdditiveGame:
    """A game in which a coalition is worth the sum of its members, so each member is its own Shapley value.

    Parameters
    ----------
    values : array of float, shape (n,)
        What each player is worth.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    @property
    def n_players(self) -> int:
        """Number of players."""
        return len(self.values)

    def utility(self, masks: np.ndarray) -> np.ndarray:
        """Sum of the members' values, shape (b,)."""
        return masks @ self.values


class RecordsGame(Described):
    """Players hold records; a coalition is worth the quality of the model trained on the union of its records.

    A subclass sets `name`, describes itself in the first line of its docstring, and implements `score` and, if
    it has something to prepare, `prepare`. Options of its own are keyword-only arguments of its constructor,
    which passes all others on.

    Parameters
    ----------
    features : array of float, shape (N, d)
        Training records.
    labels : array of int, shape (N,)
        Class index of each record, 0..n_classes-1.
    players : array of int, shape (N,)
        Which player holds each record, 0..n_players-1.
    n_players : int
        Number of players; a player without records changes nothing.
    test_features : array of float, shape (T, d)
        Test records, T >= 1.
    test_labels : array of int, shape (T,)
        Class index of each test record.
    n_classes : int
        Number of classes, >= 2. All of them count, also for a coalition that holds only some.
    empty_utility : float, optional
        Utility of the coalition without records; by default that of the best constant prediction on the test
        records.

    Raises
    ------
    ValueError
        If arrays do not fit together, or an index is out of range.
    """

    #: Coalitions scored in one call.
    batch = 256

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        players: np.ndarray,
        n_players: int,
        test_features: np.ndarray,
        test_labels: np.ndarray,
        *,
        n_classes: int,
        empty_utility: float | None = None,
    ) -> None:
        self.features, self.test_features = np.asarray(features, dtype=float), np.asarray(test_features, dtype=float)
        self.labels, self.test_labels = np.asarray(labels), np.asarray(test_labels)
        self.players = np.asarray(players)
        self.n_players, self.n_classes = n_players, n_classes
        self._check()
        self._fixed_empty_utility = empty_utility
        self._memory: np.ndarray | None = None
        self._bits = np.arange(n_players)
        self._start()

    def _check(self) -> None:
        if self.n_classes < 2:
            raise ValueError(f"n_classes must be at least 2, found {self.n_classes}")
        if self.features.ndim != 2 or self.test_features.shape[1:] != self.features.shape[1:]:
            raise ValueError(
                "features and test_features must be tables with the same columns, found shapes "
                f"{self.features.shape} and {self.test_features.shape}"
            )
        for name, table in (("features", self.features), ("test_features", self.test_features)):
            if not np.isfinite(table).all():
                raise ValueError(f"{name} must be finite numbers, found {table[~np.isfinite(table)][0]}")
        if len(self.test_features) == 0:
            raise ValueError("test_features must hold at least one record, found none")
        for name, array, length, limit in (
            ("labels", self.labels, len(self.features), self.n_classes),
            ("players", self.players, len(self.features), self.n_players),
            ("test_labels", self.test_labels, len(self.test_features), self.n_classes),
        ):
            if array.shape != (length,):
                raise ValueError(f"{name} must have shape ({length},), one a record, found {array.shape}")
            if len(array) and not (array.min() >= 0 and array.max() < limit):
                raise ValueError(f"{name} must be in 0..{limit - 1}, found {array.min()}..{array.max()}")

    def _start(self) -> None:
        self._records = np.bincount(self.players, minlength=self.n_players)
        self.prepare()
        fixed = self._fixed_empty_utility
        self.empty_utility = self.constant_utility() if fixed is None else float(fixed)

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Options a scenario may give, name -> default; classes and the empty coalition's worth are none."""
        return {name: default for name, default in super().options().items() if name not in _GIVEN}

    def prepare(self) -> None:
        """Compute what all coalitions share. Called again where players leave the game."""

    def score(self, masks: np.ndarray) -> np.ndarray:
        """Utility of coalitions that hold records, shape (b,), for masks of shape (b, n)."""
        raise TypeError(f"{type(self).__name__} has no method 'score'")

    def constant_utility(self) -> float:
        """Utility of the best constant prediction on the test records."""
        return float(np.max(np.bincount(self.test_labels)) / len(self.test_labels))

    def utility(self, masks: np.ndarray) -> np.ndarray:
        """Utility of each coalition, shape (b,)."""
        values = np.full(len(masks), self.empty_utility)
        open_ = masks @ self._records > 0
        if self._memory is not None:
            codes = masks @ (1 << self._bits)
            known = open_ & ~np.isnan(self._memory[codes])
            values[known] = self._memory[codes[known]]
            open_ &= ~known
        rows = np.flatnonzero(open_)
        for start in range(0, len(rows), self.batch):
            part = rows[start : start + self.batch]
            values[part] = self.score(masks[part])
        if self._memory is not None:
            self._memory[codes[rows]] = values[rows]
        return values

    def remember(self) -> None:
        """Keep the utility of every coalition from now on, also for games restricted from this one.

        Takes 8 bytes for each of 2^n coalitions. Where participants change from one valuation to the next, the
        coalitions that both have are trained once.
        """
        self._memory = np.full(2**self.n_players, np.nan)

    def restrict(self, players: np.ndarray) -> RecordsGame:
        """The same game among some of the players only.

        Parameters
        ----------
        players : array of int, shape (k,)
            Indices of the players that stay, each once.
        """
        game = copy.copy(self)
        number = np.full(self.n_players, -1)
        number[players] = np.arange(len(players))
        stay = number[self.players] >= 0
        game.features, game.labels = self.features[stay], self.labels[stay]
        game.players = number[self.players[stay]]
        game.n_players = len(players)
        game._bits = self._bits[players]
        game._start()
        return game

    def content(self) -> list[np.ndarray]:
        """Arrays that, with the class and its options, determine the utility, for a cache keyed by content."""
        sizes = np.array([self.n_players, self.n_classes])
        return [
            self.features,
            self.labels,
            self.players,
            sizes,
            self.test_features,
            self.test_labels,
            np.array([self.empty_utility]),
        ]


_GIVEN = ("n_classes", "empty_utility")
GAMES = Family(RecordsGame, "game")


def check_game_options(name: str, options: dict[str, Any]) -> None:
    """Make a game of two records, to see that the game and its options exist.

    Raises
    ------
    ValueError
        If they do not, or the game refuses an option's value.
    """
    records, two = np.array([[0.0], [1.0]]), np.array([0, 1])
    GAMES.create(name, options, records, two, two, 2, records, two, n_classes=2)


class GramRidgeGame(RecordsGame):
    """Test accuracy of a ridge classifier, from sums of the players' Gram matrices.

    The sufficient statistics of least squares, X'X and X'Y, add over players, so a coalition's classifier
    comes from sums of small matrices instead of a refit. Targets are +1 and -1, one column a class (one
    column in all for two classes); the class with the largest score is predicted. The intercept is not
    penalised.

    Parameters
    ----------
    ridge : float
        Penalty on squared weights, in units of one record, > 0.
    *data, n_classes, empty_utility
        As in `RecordsGame`.

    References
    ----------
    Liu et al. (2021), for the game.
    """

    name = "ridge"
    source = "Liu et al. (2021)"

    def __init__(self, *data: Any, n_classes: int, empty_utility: float | None = None, ridge: float = 1.0) -> None:
        if not 0 < ridge < np.inf:
            raise ValueError(f"ridge must be positive and finite, found {ridge}")
        self.ridge = ridge
        super().__init__(*data, n_classes=n_classes, empty_utility=empty_utility)

    def prepare(self) -> None:
        """Sum the outer products of every player's rows (x, 1, y), and lay out the penalty alike."""
        x = with_intercept(self.features)
        y = np.where(self.labels[:, None] == np.arange(self.n_classes), 1.0, -1.0)
        if self.n_classes == 2:
            y = y[:, 1:]
        rows = np.hstack([x, y])
        self._width, self._columns = x.shape[1], y.shape[1]
        self._products = np.zeros((self.n_players, rows.shape[1] ** 2))
        for player in range(self.n_players):
            own = rows[self.players == player]
            self._products[player] = (own.T @ own).ravel()
        # The targets' own block needs only to be large enough for a positive definite whole.
        penalty = [*np.full(self._width - 1, self.ridge), 1e-9, *np.ones(self._columns)]
        self._penalty = np.diag(penalty).ravel()
        self._test = with_intercept(self.test_features).T

    def score(self, masks: np.ndarray) -> np.ndarray:
        """Test accuracy of each coalition's classifier, a share, shape (b,)."""
        width, side = self._width, self._width + self._columns
        products = masks.astype(float) @ self._products
        products += self._penalty
        whole = products.reshape(-1, side, side)
        try:
            factor = np.linalg.cholesky(whole)
        except np.linalg.LinAlgError:  # columns that agree to rounding, at a tiny penalty
            weights = np.linalg.pinv(whole[:, :width, :width], hermitian=True) @ whole[:, :width, width:]
        else:
            weights = _back_substitute(factor[:, :width, :width], factor[:, width:, :width].transpose(0, 2, 1).copy())
        if self._columns == 1:
            predicted = weights[..., 0] @ self._test > 0
        else:
            predicted = (weights.transpose(0, 2, 1) @ self._test).argmax(axis=1)
        return (predicted == self.test_labels).mean(axis=1)


def _back_substitute(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve L' w = y in place for a stack of lower triangles (b, d, d) and right sides (b, d, columns).

    The factor of [[A, m], [m', c]] holds L^-1 m in its last rows, so this is all that is left of A w = m. Row by
    row over the whole stack takes half the time of a general solver.
    """
    for j in range(right.shape[1] - 1, -1, -1):
        right[:, j] /= lower[:, j, j, None]
        right[:, :j] -= lower[:, j, :j, None] * right[:, j, None]
    return right


def with_intercept(features: np.ndarray) -> np.ndarray:
    """Features with a last column of ones."""
    return np.hstack([features, np.ones((len(features), 1))])
