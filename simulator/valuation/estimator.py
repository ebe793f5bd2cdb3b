"""What an estimator of Shapley values is, and the function that runs one."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from simulator.registry import Described, Family
from simulator.valuation.arguments import as_count, as_floats, as_masks, as_real, check_generator
from simulator.valuation.games import Game, Memory

#: Up to this many players the exact values take 2^n evaluations, half a second of them.
EXACT_PLAYERS = 16
#: Up to this share of the players may leave for an update of their values to need half the evaluations of fresh ones.
UPDATE_SHARE = 0.05
#: Fourth powers of utilities up to this size can be summed.
LARGEST_UTILITY = 1e70
#: What the variance of an update may add to that of the valuation it starts from, as a share: an eighth more error.
UPDATE_VARIANCE = 0.25
#: Values among all players sum to U(N) - U(empty) but for this share of them.
EFFICIENCY = 1e-9
NOT_AMONG_ALL = (
    "before must be a valuation among all players of this game; an update cannot be updated again, start from the first"
)

Status = Literal["exact", "converged", "exhausted", "summed"]


@dataclass(frozen=True, eq=False)
class Valuation:
    """Shapley values of the players of a game.

    Attributes
    ----------
    values : array of float, shape (n,)
        Shapley values, in the unit of the game's utility.
    stderr : array of float, shape (n,)
        Standard errors of the values; zero where they are exact.
    evaluations : int
        Coalitions whose utility was asked for.
    method : str
        Name of the estimator.
    status : {"exact", "converged", "exhausted", "summed"}
        Why it ended: nothing was left to sample, the tolerance was reached, or the budget was; or these are sums of
        the exact values of records, which are not the Shapley values of players who hold several.
    samples : int
        Independent samples behind the standard errors; 0 for exact values.
    freedom : array of float, shape (n,), optional
        Degrees of freedom of the standard errors; by default one less than the samples.
    sampling : Sampling, optional
        Where the sampling stands, for `shapley_values(..., start=valuation)`.
    stream : str
        Digest of the random stream at its beginning, by which `update_values` knows it again; empty where nothing was
        sampled.
    updated : bool
        Whether these are values among some of the players only, from `update_values`.
    """

    values: np.ndarray
    stderr: np.ndarray
    evaluations: int
    method: str
    status: Status = "exact"
    samples: int = 0
    freedom: np.ndarray | None = None
    sampling: Sampling | None = field(default=None, repr=False)
    stream: str = field(default="", repr=False)
    updated: bool = False

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of each value's confidence interval, by Student's t, two arrays of shape (n,).

        Parameters
        ----------
        level : float
            Confidence level, in (0, 1).

        Raises
        ------
        ValueError
            If the level is out of range.
        """
        from scipy.stats import t

        if not 0 < as_real("level", level, "a number in (0, 1)") < 1:
            raise ValueError(f"level must be a number in (0, 1), found {level}")
        if self.samples < 2:
            return self.values.copy(), self.values.copy()
        reach = self.stderr * t.ppf(0.5 + level / 2, self.samples - 1 if self.freedom is None else self.freedom)
        return self.values - reach, self.values + reach


@dataclass(eq=False)
class Moments:
    """Moments of samples of players' values.

    Attributes
    ----------
    samples : int
        Samples so far.
    mean, squares, cubes, fourths : array of float, shape (n,)
        Their mean, and the second to fourth powers of their deviations from it, summed.
    """

    samples: int
    mean: np.ndarray
    squares: np.ndarray
    cubes: np.ndarray
    fourths: np.ndarray

    def take(self, sample: np.ndarray) -> None:
        """Take one more sample."""
        self.samples += 1
        m = self.samples
        step = sample - self.mean
        part = step / m
        square = step * part * (m - 1)
        self.mean = self.mean + part
        self.fourths = (
            self.fourths + square * part**2 * (m * m - 3 * m + 3) + 6 * part**2 * self.squares - 4 * part * self.cubes
        )
        self.cubes = self.cubes + square * part * (m - 2) - 3 * part * self.squares
        self.squares = self.squares + square

    def stderr(self) -> tuple[np.ndarray, np.ndarray]:
        """Standard errors of the means, and their degrees of freedom, both of shape (n,).

        Variances of the players' samples are drawn towards their mean over the players, the more, the less can be
        told from the samples whether they differ: where few samples are at hand, a player that by chance met none
        of the rare large gains shows too little variance. With v_i the sample variances, T their variance over
        the players, and V the mean sampling variance of a v_i, the share w = 1 - V / T of their differences is
        kept (0 if negative; the best linear predictor of the players' true variances, as in Efron and Morris
        1975). Their mean is kept in any case, and w tends to 1 with the number of samples. V is estimated by second
        and fourth moments, without bias, and is at least that of normal samples. Degrees of freedom are
        Satterthwaite's (1946).
        """
        m, n = self.samples, len(self.mean)
        variance = self.squares / (m - 1)
        power = float(np.mean(variance**2))
        if n == 1 or power == 0:
            return np.sqrt(variance / m), np.full(n, m - 1.0)
        noise = power * 2 / (m + 1)  # of normal samples
        if m > 3:
            second, fourth = self.squares / m, self.fourths / m
            true = m * ((m * m - 3 * m + 3) * second**2 - (m - 1) * fourth) / ((m - 1) * (m - 2) * (m - 3))
            noise = min(max(noise, power - float(true.mean())), power)
        spread = float(variance.var(ddof=1))
        kept = max(0.0, 1 - noise / spread) if spread > 0 else 0.0
        drawn = kept * variance + (1 - kept) * variance.mean()
        # The players' samples sum to a constant, so n of them tell as much as n - 1.
        error = noise * (kept + (1 - kept) / (n - 1))
        freedom = max(1.0, 2 * (float(np.mean(drawn**2)) - error) / error)
        return np.sqrt(drawn / m), np.full(n, freedom)


def _moments(n_players: int) -> Moments:
    return Moments(0, *np.zeros((4, n_players)))


@dataclass(eq=False)
class Sampling(Moments):
    """Where a sampling estimator stands: all it needs to go on as if it had never stopped.

    Attributes
    ----------
    samples, mean, squares, cubes, fourths
        Moments of the samples so far.
    estimator : ValuationEstimator
        Who samples, with its options.
    rng : numpy.random.Generator
        The stream, where the samples so far have left it.
    ends : array of float, shape (2,)
        Utility of nobody and of everybody.
    known : array of float, shape (n,)
        The part of the values that is known exactly.
    evaluations : int
        Evaluations so far.
    learned : dict of array
        What an estimator carries from sample to sample.
    first : numpy.random.Generator
        The stream at its beginning.
    """

    estimator: ValuationEstimator
    rng: np.random.Generator
    ends: np.ndarray
    known: np.ndarray
    evaluations: int
    learned: dict[str, np.ndarray]
    first: np.random.Generator

    @property
    def total(self) -> float:
        """What there is to divide: U(N) - U(empty)."""
        return float(self.ends[1] - self.ends[0])

    def add(self, sample: np.ndarray) -> np.ndarray:
        """Take one sample of all values; what it lacks to the total is shared equally.

        Returns it with its share.
        """
        sample = sample + (self.total - sample.sum()) / len(sample)
        self.take(sample)
        return sample


class ValuationEstimator(Described):
    """A way to compute or estimate Shapley values.

    A subclass sets `name`, describes itself in the first line of its docstring and implements `estimate`, and
    `update` where values among fewer players cost less with those among more at hand.

    Attributes
    ----------
    max_players : int, optional
        How many players it can value.
    """

    max_players: int | None = None

    def estimate(
        self, game: Game, budget: int, tolerance: float, rng: np.random.Generator, start: Sampling | None = None
    ) -> Valuation:
        """Value every player of the game.

        Parameters
        ----------
        game : Game
            The game, with at least one player.
        budget : int
            Evaluations not to exceed, but for what a first estimate needs.
        tolerance : float
            Relative L2 error at which to stop: the norm of the standard errors over that of the values.
        rng : numpy.random.Generator
            For estimators that sample.
        start : Sampling, optional
            Where an earlier estimate has stopped.
        """
        raise TypeError(f"{type(self).__name__} has no method 'estimate'")

    def update(
        self, game: Game, stay: np.ndarray, before: Valuation, budget: int, tolerance: float, rng: np.random.Generator
    ) -> Valuation | None:
        """Value the players that stay when others leave; None where there is nothing to gain by `before`.

        Parameters
        ----------
        game : Game
            The game among all players.
        stay : array of bool, shape (n,)
            Who stays, at least one.
        before : Valuation
            Their values among all players, by this estimator and a stream that began like `rng`.
        budget : int
            Evaluations not to exceed, but for what a first estimate needs.
        tolerance : float
            Relative L2 error at which to stop.
        rng : numpy.random.Generator
            For estimators that sample.

        Returns
        -------
        Valuation or None
            Values of all players, 0 of those that left.
        """
        return None


class SamplingEstimator(ValuationEstimator):
    """Averages independent samples of all values.

    A subclass implements `cost` and `draw`, and `begin` where part of the values is known exactly. Samples are drawn in
    batches that start at multiples of the batch's size, and the tolerance is looked at between them: so a run that
    is cut by its budget and continued meets the same samples and stops where an uncut one does.
    """

    #: Evaluations in one call of the utility, at least one sample.
    batch = 1024
    #: Samples before the standard errors may stop the sampling.
    min_samples = 8

    def cost(self, n: int) -> int:
        """Evaluations of one sample at most; 0 where the values are known without sampling."""
        raise TypeError(f"{type(self).__name__} has no method 'cost'")

    def batch_samples(self, n: int) -> int:
        """Samples drawn together."""
        return max(1, self.batch // self.cost(n))

    def begin(self, game: Game, rng: np.random.Generator) -> Sampling:
        """Evaluate what every sample shares."""
        n = game.n_players
        ends = game.utility(np.array([np.zeros(n, dtype=bool), np.ones(n, dtype=bool)]))
        mean, squares, cubes, fourths, known = np.zeros((5, n))
        return Sampling(0, mean, squares, cubes, fourths, self, rng, ends, known, 2, {}, copy.deepcopy(rng))

    def draw(self, game: Game, sampling: Sampling, count: int) -> Iterator[np.ndarray]:
        """Samples of all values, each of shape (n,); counts its evaluations in `sampling`."""
        raise TypeError(f"{type(self).__name__} has no method 'draw'")

    def estimate(
        self, game: Game, budget: int, tolerance: float, rng: np.random.Generator, start: Sampling | None = None
    ) -> Valuation:
        """Sample until the tolerance or the budget is reached, at least two samples."""
        now = copy.deepcopy(start) if start is not None else self.begin(game, rng)
        cost = self.cost(game.n_players)
        if cost == 0:
            values = now.known + (now.total - now.known.sum()) / len(now.known)
            return Valuation(values, np.zeros(len(values)), now.evaluations, self.name)
        batch = self.batch_samples(game.n_players)
        while not (now.samples % batch == 0 and self._precise(now, tolerance)):
            room = max(2 - now.samples, (budget - now.evaluations) // cost)
            count = min(batch - now.samples % batch, room)
            if count <= 0:
                break
            for sample in self.draw(game, now, count):
                now.add(sample)
        status: Status = "converged" if self._precise(now, tolerance) else "exhausted"
        stderr, freedom = now.stderr()
        return Valuation(now.mean, stderr, now.evaluations, self.name, status, now.samples, freedom, copy.deepcopy(now))

    def update(
        self, game: Game, stay: np.ndarray, before: Valuation, budget: int, tolerance: float, rng: np.random.Generator
    ) -> Valuation | None:
        """Add to the values before what the players' leaving changed, estimated from the same coalitions.

        Whoever left is a null player of the game U(S and stay), so the values change by those of the game
        D(S) = U(S and stay) - U(S). Its samples are drawn from the coalitions, or orders, of the samples before:
        only those that hold somebody who left are new, and have to be evaluated once more without. With a_i and d_i
        the standard errors of the values before, from m samples, and of the changes, from k <= m, and r the
        correlation of a sample before with its change, the variance of their sum is
        a_i^2 + d_i^2 + 2 r a_i d_i sqrt(k / m). One r serves all players, estimated from the k pairs. Samples are added
        until the tolerance is reached, or the variance exceeds that before by a quarter at most, or the budget is
        used up.
        """
        cost = self.cost(game.n_players)
        if cost == 0 or self.cost(int(stay.sum())) == 0 or before.samples < 2:
            return None
        kept = _Remembered(game)
        change = _Change(kept, stay)
        old, new = self.begin(kept, copy.deepcopy(rng)), self.begin(change, copy.deepcopy(rng))
        scale = np.abs(old.ends).max() + np.abs(before.values).sum()
        if abs(before.values.sum() - old.total) > EFFICIENCY * scale:
            raise ValueError(NOT_AMONG_ALL)
        pairs = _Pairs(before, stay)
        while not pairs.close(tolerance, min(self.min_samples, before.samples)):
            room = max(2 - new.samples, (budget - change.evaluations) // cost)
            count = min(self.batch_samples(game.n_players), before.samples - new.samples, room)
            if count <= 0:
                break
            for sample, difference in zip(self.draw(kept, old, count), self.draw(change, new, count), strict=True):
                pairs.add(old.add(sample), new.add(difference))
        return pairs.valuation(tolerance, change.evaluations)

    def _precise(self, now: Sampling, tolerance: float) -> bool:
        enough = now.samples >= self.min_samples
        return enough and bool(np.linalg.norm(now.stderr()[0]) <= tolerance * np.linalg.norm(now.mean))


class _Remembered:
    """A game that remembers what it was asked."""

    def __init__(self, game: Game) -> None:
        self._game = game
        self.n_players = game.n_players
        self._memory = Memory(game.n_players)

    def utility(self, masks: np.ndarray) -> np.ndarray:
        keys = self._memory.keys(masks, np.arange(self.n_players))
        values = self._memory.find(keys)
        new = np.isnan(values)
        values[new] = self._game.utility(masks[new])
        self._memory.keep(keys[new], values[new])
        return values


class _Change:
    """What a coalition's utility loses with those who left: U(S and stay) - U(S)."""

    def __init__(self, game: Game, stay: np.ndarray) -> None:
        self._game, self._stay = game, stay
        self.n_players = game.n_players
        self.evaluations = 0

    def utility(self, masks: np.ndarray) -> np.ndarray:
        change = np.zeros(len(masks))
        rows = np.flatnonzero((masks & ~self._stay).any(axis=1))
        self.evaluations += len(rows)
        change[rows] = self._game.utility(masks[rows] & self._stay) - self._game.utility(masks[rows])
        return change


class _Pairs:
    """Samples of the values before, and of their changes, of those who stay.

    What those who left come to in a sample, known to be nothing in all, is shared equally.
    """

    def __init__(self, before: Valuation, stay: np.ndarray) -> None:
        self._before, self._stay = before, stay
        self._old, self._change = (_moments(int(stay.sum())) for _ in range(2))
        self._products = np.zeros(stay.sum())

    def add(self, old: np.ndarray, change: np.ndarray) -> None:
        """Take a sample of all players' values and one of their changes, from the same coalitions."""
        deviation = self._shared(old) - self._old.mean
        self._old.take(self._shared(old))
        self._change.take(self._shared(change))
        self._products = self._products + deviation * (self._shared(change) - self._change.mean)

    def close(self, tolerance: float, least: int) -> bool:
        """Whether the tolerance is reached, or the variance exceeds that before by a quarter at most."""
        if self._change.samples < max(2, least):
            return False
        found = self.valuation(tolerance, 0)
        allowed = (1 + UPDATE_VARIANCE) * np.sum(self._before.stderr[self._stay] ** 2)
        return found.status == "converged" or bool(np.sum(found.stderr**2) <= allowed)

    def valuation(self, tolerance: float, evaluations: int) -> Valuation:
        """Values before plus the mean changes, with their standard errors."""
        before, change = self._before, self._change
        some, freedom = change.stderr()
        first, second = before.stderr[self._stay] ** 2, some**2
        spread = np.sqrt(self._old.squares * change.squares)
        correlation = self._products.sum() / spread.sum() if spread.any() else 0.0
        both = 2 * correlation * np.sqrt(first * second * change.samples / before.samples)
        variance = np.maximum(first + second + both, 0.0)
        free = before.samples - 1.0 if before.freedom is None else before.freedom[self._stay]
        uncertain = first**2 / free + second**2 / freedom
        freedom = np.divide(variance**2, uncertain, out=np.full(len(variance), np.inf), where=uncertain > 0)
        values, stderr = np.zeros((2, len(self._stay)))
        values[self._stay] = self._shared(before.values) + change.mean
        stderr[self._stay] = np.sqrt(variance)
        everybody = np.ones(len(values))
        everybody[self._stay] = np.maximum(freedom, 1.0)
        converged = np.linalg.norm(stderr) <= tolerance * np.linalg.norm(values)
        status: Status = "converged" if converged else "exhausted"
        return Valuation(values, stderr, evaluations, before.method, status, change.samples, everybody, updated=True)

    def _shared(self, sample: np.ndarray) -> np.ndarray:
        return np.asarray(sample[self._stay] + sample[~self._stay].sum() / self._stay.sum())


VALUATION = Family(ValuationEstimator, "valuation method")


def shapley_values(
    game: Game,
    *,
    method: str = "auto",
    budget: int = 20_000,
    tolerance: float = 0.05,
    rng: np.random.Generator | None = None,
    start: Valuation | None = None,
    progress: bool = True,
    **options: Any,
) -> Valuation:
    """Shapley value of every player of a game.

    Parameters
    ----------
    game : Game
        Anything with `n_players` and a batched `utility(masks)`.
    method : str
        Name of an estimator (see `valuation_estimators`), or "auto": exact up to 16 players, else sampled.
    budget : int
        Evaluations of the utility that sampling may use, >= 1, those behind `start` included. The exact method
        needs 2^n whatever the budget.
    tolerance : float
        Relative L2 error at which sampling stops before its budget, >= 0.
    rng : numpy.random.Generator, optional
        For estimators that sample; by default a generator with the seed 0.
    start : Valuation, optional
        An earlier valuation of the same game to continue, by its method and with its stream. With more budget or a
        smaller tolerance the result is that of one longer run, bit by bit where the game's utility does not
        depend on how coalitions are batched.
    progress : bool
        Show a bar on a terminal if it takes longer than a second.
    **options
        Options of the estimator.

    Returns
    -------
    Valuation
        Values, standard errors, evaluations used, the estimator's name and why it ended.

    Raises
    ------
    ValueError
        If an argument is out of range, the game is too large for the exact method, or `start` cannot be
        continued as asked.

    References
    ----------
    Shapley (1953); Liu et al. (2021).

    Examples
    --------
    >>> from simulator.valuation import AdditiveGame
    >>> shapley_values(AdditiveGame(np.array([1.0, 2.0]))).values.tolist()
    [1.0, 2.0]
    >>> game = AdditiveGame(np.arange(20.0))
    >>> rough = shapley_values(game, method="permutation", antithetic=True, budget=100)
    >>> shapley_values(game, start=rough, budget=1000).evaluations > rough.evaluations
    True
    """
    n_players = _check_game(game)
    budget, tolerance = _check_limits(budget, tolerance)
    check_generator(rng)
    _check_method(method)
    if not (start is None or isinstance(start, Valuation)):
        raise ValueError(f"start must be an earlier valuation, found {start!r:.60}")
    if start is not None:
        _check_continuation(start, game, method, rng, options)
        if start.sampling is None:
            return start
    if n_players == 0:
        return Valuation(np.empty(0), np.empty(0), 0, method)
    if method == "auto":
        method = "exact" if n_players <= EXACT_PLAYERS else "svarm"
    estimator = VALUATION.create(method, options) if start is None else start.sampling.estimator  # type: ignore[union-attr]
    stream = rng or np.random.default_rng(0)
    sampling = None if start is None else start.sampling
    began = _digest(stream) if start is None else start.stream
    total = 2**n_players if estimator.name == "exact" else budget
    with _watched(
        game, n_players, estimator.name, total, 0 if start is None else start.evaluations, progress
    ) as watched:
        found = estimator.estimate(watched, budget, tolerance, stream, sampling)
    return replace(found, stream=began) if found.samples else found


def update_values(
    before: Valuation,
    game: Game,
    stay: ArrayLike,
    *,
    method: str | None = None,
    budget: int = 20_000,
    tolerance: float = 0.05,
    rng: np.random.Generator | None = None,
    progress: bool = True,
    **options: Any,
) -> Valuation:
    """Shapley values among some of a game's players, from those among all.

    Where the estimator samples, only the change is estimated, from coalitions that were sampled before: see
    `SamplingEstimator.update`. It takes fewer evaluations the fewer leave. Else the values are estimated afresh, by
    the same method.

    Parameters
    ----------
    before : Valuation
        Values among all players, by `shapley_values`; an update cannot be updated again.
    game : Game
        The game among all players.
    stay : array of bool, shape (n,)
        Who stays.
    method : str, optional
        The estimator behind `before`, where it is one of your own ("module:Class").
    budget, tolerance, progress, **options
        As in `shapley_values`; options are those of `before`.
    rng : numpy.random.Generator, optional
        A stream like that which `before` was estimated by, from its beginning; by default that stream itself, or a
        generator with the seed 0 where `before` was kept by `cached_valuation`, without it.

    Returns
    -------
    Valuation
        Values of all players, 0 of those that left. Its evaluations are those of coalitions that somebody left; those
        sampled before are evaluated again where the game does not remember them.

    Raises
    ------
    ValueError
        If an argument is out of range, `before` is no valuation among all players of this game, or was estimated by
        another stream.

    Examples
    --------
    >>> from simulator.valuation import AdditiveGame
    >>> game = AdditiveGame(np.arange(20.0))
    >>> before = shapley_values(game, budget=1000)
    >>> updated = update_values(before, game, np.arange(20) != 3)
    >>> updated.values[3], updated.evaluations < before.evaluations
    (np.float64(0.0), True)
    """
    n_players = _check_game(game)
    budget, tolerance = _check_limits(budget, tolerance)
    check_generator(rng)
    if not isinstance(before, Valuation):
        raise ValueError(f"before must be an earlier valuation, found {before!r:.60}")
    if len(before.values) != n_players:
        raise ValueError(
            f"before must be a valuation of this game, found {len(before.values)} values for {n_players} players"
        )
    if before.updated:
        raise ValueError(NOT_AMONG_ALL)
    if np.shape(stay) != (n_players,):
        raise ValueError(f"stay must have shape ({n_players},), one a player, found {np.shape(stay)}")
    who = as_masks(np.asanyarray(stay)[None], n_players, "stay")[0]
    if who.all():
        return before
    method = before.method if method is None else method
    _check_method(method)
    estimator = VALUATION.create(method, options)
    if estimator.name != before.method:
        raise ValueError(f"method must be that of before, {before.method!r}, found {method!r}")
    stream = _stream_behind(before, rng)
    if who.any():
        with _watched(game, n_players, estimator.name, budget, 0, progress) as watched:
            found = estimator.update(watched, who, before, budget, tolerance, stream)
        if found is not None:
            return found
    players = np.flatnonzero(who)
    among = game.restrict(players) if hasattr(game, "restrict") else _Among(game, players)
    fresh = shapley_values(
        among, method=method, budget=budget, tolerance=tolerance, rng=stream, progress=progress, **options
    )
    values, stderr = np.zeros((2, n_players))
    values[who], stderr[who] = fresh.values, fresh.stderr
    freedom = None if fresh.freedom is None else np.full(n_players, fresh.freedom[0])
    return replace(fresh, values=values, stderr=stderr, freedom=freedom, sampling=None, updated=True)


def _stream_behind(before: Valuation, rng: np.random.Generator | None) -> np.random.Generator:
    """The stream by which values were estimated, from its beginning; by any other, standard errors would be wrong."""
    if rng is None and before.sampling is not None:
        return copy.deepcopy(before.sampling.first)
    stream = rng or np.random.default_rng(0)
    if before.stream and _digest(stream) != before.stream:
        found = "none, which is one with the seed 0" if rng is None else "another, or one that was drawn from since"
        raise ValueError(
            f"rng must be a generator like that which before was estimated by, at its start, found {found}"
        )
    return stream


def _digest(stream: np.random.Generator) -> str:
    """What tells one state of a random stream from any other."""
    state = json.dumps(stream.bit_generator.state, default=lambda array: array.tolist(), sort_keys=True)
    return hashlib.blake2b(state.encode(), digest_size=16).hexdigest()


class _Among:
    """A game among some of its players."""

    def __init__(self, game: Game, players: np.ndarray) -> None:
        self._game, self._players = game, players
        self.n_players, self.name = len(players), _name(game)

    def utility(self, masks: np.ndarray) -> np.ndarray:
        whole = np.zeros((len(masks), self._game.n_players), dtype=bool)
        whole[:, self._players] = masks
        return self._game.utility(whole)


def _check_game(game: Game) -> int:
    if isinstance(game, type):
        raise ValueError(f"game must be a game, found the class {game.__name__}")
    if not (hasattr(game, "n_players") and callable(getattr(game, "utility", None))):
        raise ValueError(f"game must have n_players and a method utility(masks), found {game!r:.60}")
    return as_count("game.n_players", game.n_players, 0)


def _name(game: Game) -> str:
    """What a message calls a game: its name, or that of its class."""
    return str(getattr(game, "name", type(game).__name__))


def _check_method(method: str) -> None:
    if not isinstance(method, str):
        raise ValueError(f"method must be the name of a valuation method, found {method!r:.60}")


def _check_limits(budget: int, tolerance: float) -> tuple[int, float]:
    number = as_real("tolerance", tolerance, "a number >= 0")
    if number < 0:
        raise ValueError(f"tolerance must be a number >= 0, found {tolerance}")
    return as_count("budget", budget, 1), number


def _check_continuation(
    start: Valuation, game: Game, method: str, rng: np.random.Generator | None, options: Mapping[str, Any]
) -> None:
    if len(start.values) != game.n_players:
        raise ValueError(
            f"start must be a valuation of this game, found {len(start.values)} values for {game.n_players} players"
        )
    if rng is not None or options or method not in ("auto", start.method):
        raise ValueError("start goes on by its own method, options and stream, so these cannot be given with it")
    if start.updated:
        raise ValueError("start must be a valuation among all players of this game, found an update")
    if start.sampling is None and start.status != "exact":
        raise ValueError("start has no sampling to go on with; a kept valuation of `cached_valuation` has none")


@contextmanager
def _watched(game: Game, n_players: int, method: str, total: int, done: int, progress: bool) -> Iterator[_Watched]:
    if not progress:
        yield _Watched(game, n_players, None)
        return
    from tqdm import tqdm

    # None: quiet where stderr is no terminal.
    with tqdm(total=total, initial=done, unit="coalition", desc=method, delay=1, disable=None) as bar:
        yield _Watched(game, n_players, bar)


class _Watched:
    """A game whose answers are checked, and move a progress bar."""

    def __init__(self, game: Game, n_players: int, bar: Any) -> None:
        self._game, self._bar = game, bar
        self.n_players, self.name = n_players, _name(game)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._game, name)

    def utility(self, masks: np.ndarray) -> np.ndarray:
        asked = self._game.utility(masks)
        says = "the game's utility must return one finite number a coalition"
        try:
            found = as_floats("utilities", asked)
        except ValueError as error:
            raise ValueError(f"{says}: {error}") from None
        if found.shape != (len(masks),):
            raise ValueError(f"{says}, found the shape {found.shape} for {len(masks)} coalitions")
        outside = np.flatnonzero(~(np.abs(found) <= LARGEST_UTILITY))
        if len(outside):
            members = np.flatnonzero(masks[outside[0]]).tolist()
            limits = f"between -{LARGEST_UTILITY:g} and {LARGEST_UTILITY:g}"
            raise ValueError(f"{says}, {limits}, found {found[outside[0]]:g} for the coalition {members!s:.60}")
        if self._bar is not None:
            self._bar.update(len(masks))
        return found
