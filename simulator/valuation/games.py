"""Games to value: players, and a utility of every coalition of them."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from simulator.registry import Described, Family
from simulator.valuation.arguments import as_count, as_floats, as_indices, as_masks, as_positive, as_real, as_table

#: Up to this many players the utilities of all coalitions may be kept in a table, 8 bytes each.
TABLE_PLAYERS = 16
#: Coalitions remembered where there are more players; some hundred bytes each.
REMEMBERED = 2**17
#: Scores are rounded to less than this share of what they may come to.
ROUNDED = 1e-12


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

    Raises
    ------
    ValueError
        If the values are not one finite number a player.
    """

    def __init__(self, values: ArrayLike) -> None:
        self.values = as_floats("values", values)
        if self.values.ndim != 1:
            raise ValueError(f"values must be one number a player, found the shape {self.values.shape}")
        if not np.isfinite(self.values).all():
            raise ValueError(f"values must be finite numbers, found {self.values[~np.isfinite(self.values)][0]}")

    @property
    def n_players(self) -> int:
        """Number of players."""
        return len(self.values)

    def utility(self, masks: np.ndarray) -> np.ndarray:
        """Sum of the members' values, shape (b,)."""
        return np.asarray(as_masks(masks, self.n_players) @ self.values)


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
        If arrays do not fit together, hold anything but numbers, or an index is out of range. `utility` raises it
        where masks are no coalitions of the players.
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
        self.n_players, self.n_classes = as_count("n_players", n_players, 0), as_count("n_classes", n_classes, 2)
        self.features, self.test_features = as_table("features", features), as_table("test_features", test_features)
        if self.test_features.shape[1] != self.features.shape[1]:
            raise ValueError(
                "features and test_features must be tables with the same columns, found shapes "
                f"{self.features.shape} and {self.test_features.shape}"
            )
        if len(self.test_features) == 0:
            raise ValueError("test_features must hold at least one record, found none")
        self.labels = _one_a_record("labels", labels, self.features, self.n_classes)
        self.players = _one_a_record("players", players, self.features, self.n_players)
        self.test_labels = _one_a_record("test_labels", test_labels, self.test_features, self.n_classes)
        if empty_utility is not None:
            allowed = "a finite number, or None"
            empty_utility = as_real("empty_utility", empty_utility, allowed)
            if not np.isfinite(empty_utility):
                raise ValueError(f"empty_utility must be {allowed}, found {empty_utility}")
        self._fixed_empty_utility = empty_utility
        self._memory: Memory | None = None
        self._registered = np.arange(self.n_players)
        self._start()

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
        masks = as_masks(masks, self.n_players)
        values = np.full(len(masks), self.empty_utility)
        rows = np.flatnonzero(masks @ self._records > 0)
        if self._memory is not None:
            keys = self._memory.keys(masks[rows], self._registered)
            values[rows] = self._memory.find(keys)
            new = np.isnan(values[rows])
            rows, keys = rows[new], keys[new]
        for start in range(0, len(rows), self.batch):
            part = rows[start : start + self.batch]
            values[part] = self.score(masks[part])
        if self._memory is not None:
            self._memory.keep(keys, values[rows])
        return values

    def remember(self) -> None:
        """Keep the utility of every coalition from now on, also for games restricted from this one.

        Up to 16 players all 2^n coalitions are kept, 8 bytes each; above, the first 131,072 that are asked for.
        Where participants change from one valuation to the next, the coalitions that both ask for are trained once.
        """
        self._memory = Memory(self.n_players)

    def restrict(self, players: np.ndarray) -> RecordsGame:
        """The same game among some of the players only.

        Parameters
        ----------
        players : array of int, shape (k,)
            Indices of the players that stay, each once.

        Raises
        ------
        ValueError
            If they are not.
        """
        if np.asarray(players).dtype == bool:
            raise ValueError("players must be indices of players, each once, found true or false")
        players = as_indices("players", players, self.n_players)
        if players.ndim != 1 or len(np.unique(players)) < len(players):
            raise ValueError(f"players must be indices of players, each once, found {players.tolist()!s:.60}")
        game = copy.copy(self)
        number = np.full(self.n_players, -1)
        number[players] = np.arange(len(players))
        stay = number[self.players] >= 0
        game.features, game.labels = self.features[stay], self.labels[stay]
        game.players = number[self.players[stay]]
        game.n_players = len(players)
        game._registered = self._registered[players]
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


def _one_a_record(name: str, given: ArrayLike, records: np.ndarray, limit: int) -> np.ndarray:
    indices = as_indices(name, given, limit)
    if indices.shape != (len(records),):
        raise ValueError(f"{name} must have shape ({len(records)},), one a record, found {indices.shape}")
    return indices


class Memory:
    """Utilities of coalitions of registered players: a table of all where they are few, else of those asked for."""

    def __init__(self, n_players: int) -> None:
        self._n_players = n_players
        self._table = np.full(2**n_players, np.nan) if n_players <= TABLE_PLAYERS else None
        self._kept: dict[bytes, float] = {}

    def keys(self, masks: np.ndarray, registered: np.ndarray) -> np.ndarray:
        """What each coalition is kept by, shape (b,), for masks whose columns are these registered players."""
        if self._table is not None:
            return np.asarray(masks @ (1 << registered))
        whole = np.zeros((len(masks), self._n_players), dtype=bool)
        whole[:, registered] = masks
        packed = np.packbits(whole, axis=1)
        return packed.view(np.dtype((np.void, packed.shape[1])))[:, 0]

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Utilities, NaN of coalitions that are not kept, shape (b,)."""
        if self._table is not None:
            return self._table[keys]
        return np.array([self._kept.get(key, np.nan) for key in keys.tolist()], dtype=float)

    def keep(self, keys: np.ndarray, utilities: np.ndarray) -> None:
        """Remember utilities, while there is room."""
        if self._table is not None:
            self._table[keys] = utilities
        elif len(self._kept) < REMEMBERED:
            self._kept.update(zip(keys.tolist(), utilities.tolist(), strict=True))


_GIVEN = ("n_classes", "empty_utility")
GAMES = Family(RecordsGame, "game")


def check_game_options(name: str, options: dict[str, Any], *, n_features: int = 1, n_classes: int = 2) -> None:
    """Make a game of one record a class, to see that the game and its options exist and suit such data.

    Raises
    ------
    ValueError
        If they do not, or the game refuses an option's value or data of this size.
    """
    classes = np.arange(n_classes)
    records = np.eye(n_classes, n_features)
    GAMES.create(name, options, records, classes, classes, n_classes, records, classes, n_classes=n_classes)


class GramRidgeGame(RecordsGame):
    """Test accuracy of a ridge classifier, from sums of the players' Gram matrices.

    The sufficient statistics of least squares, X'X and X'Y, add over players, so a coalition's classifier
    comes from sums of small matrices instead of a refit. Targets are +1 and -1, one column a class (one
    column in all for two classes); the class with the largest score is predicted, of those that tie but for
    rounding the first. The intercept is not penalised.

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
        self.ridge = as_positive("ridge", ridge)
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
        # In units of training records, the largest entry of a test record. Divided by it, scores keep their signs, and
        # what rounding may add to them is bounded for all test records alike.
        self._squares = np.diag(self._products.sum(axis=0).reshape(rows.shape[1], -1))[: self._width]
        self._squares = self._squares / max(len(x), 1)
        test = with_intercept(self.test_features)
        size = np.sqrt(self._squares)
        units = np.divide(np.abs(test), size, out=np.zeros(test.shape), where=size > 0)
        self._test = (test / np.maximum(units.max(axis=1, keepdims=True), 1.0)).T

    def score(self, masks: np.ndarray) -> np.ndarray:
        """Test accuracy of each coalition's classifier, a share, shape (b,)."""
        width, side = self._width, self._width + self._columns
        products = masks.astype(float) @ self._products
        products += self._penalty
        whole = products.reshape(-1, side, side)
        # What rounding leaves of a tie differs by batch. By Cauchy and Schwarz a feature's product with the targets is
        # at most sqrt(squares * records): one that is small beside that is none.
        squares = np.diagonal(whole, axis1=1, axis2=2)[:, :width]
        records = squares[:, -1:]
        targets = whole[:, width:, :width]
        targets[np.abs(targets) <= ROUNDED * np.sqrt(squares * records)[:, None]] = 0.0
        try:
            weights = _solve(np.linalg.cholesky(whole), width)
        except np.linalg.LinAlgError:  # columns that agree to rounding, at a tiny penalty
            weights = np.concatenate([_solve_any(one, width) for one in whole])
        # So a weight is at most sqrt(records / squares) where one feature predicts alone. A score that is small beside
        # these is a tie, which goes to the first class.
        dust = ROUNDED * np.sqrt(records * (self._squares / squares)).sum(axis=1)
        if self._columns == 1:
            predicted = (weights[..., 0] @ self._test > dust[:, None]).astype(int)
        else:
            scores = weights.transpose(0, 2, 1) @ self._test
            predicted = (scores >= scores.max(axis=1, keepdims=True) - dust[:, None, None]).argmax(axis=1)
        return (predicted == self.test_labels).mean(axis=1)


def _solve(factor: np.ndarray, width: int) -> np.ndarray:
    """Weights from factors of the whole, shape (b, width, columns)."""
    return _back_substitute(factor[:, :width, :width], factor[:, width:, :width].transpose(0, 2, 1).copy())


def _solve_any(whole: np.ndarray, width: int) -> np.ndarray:
    """Weights of one coalition, by the pseudo-inverse where it has no factor, shape (1, width, columns)."""
    try:
        return _solve(np.linalg.cholesky(whole[None]), width)
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.pinv(whole[:width, :width], hermitian=True) @ whole[width:, :width].T)[None]


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
