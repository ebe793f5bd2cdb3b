"""What an estimator of Shapley values is, and the function that runs one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from simulator.registry import Described, Family
from simulator.valuation.games import Game

#: Up to this many players the exact values take 2^n evaluations, half a second of them.
EXACT_PLAYERS = 16

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
    sampling : Sampling, optional
        Where the sampling stands, for `shapley_values(..., start=valuation)`.
    """

    values: np.ndarray
    stderr: np.ndarray
    evaluations: int
    method: str
    status: Status = "exact"
    samples: int = 0
    sampling: Sampling | None = field(default=None, repr=False)

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of each value's confidence interval, by Student's t, two arrays of shape (n,).

        Parameters
        ----------
        level : float
            Confidence level, in (0, 1).
        """
        from scipy.stats import t

        if not 0 < level < 1:
            raise ValueError(f"level must be in (0, 1), found {level}")
        reach = self.stderr * (t.ppf(0.5 + level / 2, self.samples - 1) if self.samples > 1 else 0.0)
        return self.values - reach, self.values + reach


@dataclass(eq=False)
class Sampling:
    """Where a sampling estimator stands: all it needs to go on as if it had never stopped.

    Attributes
    ----------
    estimator : ValuationEstimator
        Who samples, with its options.
    rng : numpy.random.Generator
        The stream, where the samples so far have left it.
    ends : array of float, shape (2,)
        Utility of nobody and of everybody.
    known : array of float, shape (n,)
        The part of the values that is known exactly.
    evaluations, samples : int
        Evaluations and samples so far.
    mean, squares : array of float, shape (n,)
        Mean of the samples, and their squared deviations from it, summed.
    learned : dict of array
        What an estimator carries from sample to sample.
    """

    estimator: ValuationEstimator
    rng: np.random.Generator
    ends: np.ndarray
    known: np.ndarray
    evaluations: int
    samples: int
    mean: np.ndarray
    squares: np.ndarray
    learned: dict[str, np.ndarray]

    @property
    def total(self) -> float:
        """What there is to divide: U(N) - U(empty)."""
        return float(self.ends[1] - self.ends[0])

    def add(self, sample: np.ndarray) -> None:
        """Take one sample of all values into mean and deviations; what it lacks to the total is shared equally."""
        sample = sample + (self.total - sample.sum()) / len(sample)
        self.samples += 1
        step = sample - self.mean
        self.mean = self.mean + step / self.samples
        self.squares = self.squares + step * (sample - self.mean)


class ValuationEstimator(Described):
    """A way to compute or estimate Shapley values.

    A subclass sets `name`, describes itself in the first line of its docstring and implements `estimate`.
    """

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
        return Sampling(self, rng, ends, np.zeros(n), 2, 0, np.zeros(n), np.zeros(n), {})

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
        return Valuation(now.mean, _stderr(now), now.evaluations, self.name, status, now.samples, copy.deepcopy(now))

    def _precise(self, now: Sampling, tolerance: float) -> bool:
        enough = now.samples >= self.min_samples
        return enough and bool(np.linalg.norm(_stderr(now)) <= tolerance * np.linalg.norm(now.mean))


def _stderr(now: Sampling) -> np.ndarray:
    return np.asarray(np.sqrt(now.squares / (now.samples - 1) / now.samples))


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
    if budget < 1:
        raise ValueError(f"budget must be at least 1 evaluation, found {budget}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be >= 0, found {tolerance}")
    if start is not None:
        _check_continuation(start, game, method, rng, options)
        if start.sampling is None:
            return start
    if game.n_players == 0:
        return Valuation(np.empty(0), np.empty(0), 0, method)
    if method == "auto":
        method = "exact" if game.n_players <= EXACT_PLAYERS else "svarm"
    estimator = VALUATION.create(method, options) if start is None else start.sampling.estimator  # type: ignore[union-attr]
    return _watched(estimator, game, budget, tolerance, rng or np.random.default_rng(0), start, progress)


def _check_continuation(
    start: Valuation, game: Game, method: str, rng: np.random.Generator | None, options: Mapping[str, Any]
) -> None:
    if len(start.values) != game.n_players:
        raise ValueError(
            f"start must be a valuation of this game, found {len(start.values)} values for {game.n_players} players"
        )
    if rng is not None or options or method not in ("auto", start.method):
        raise ValueError("start goes on by its own method, options and stream, so these cannot be given with it")
    if start.sampling is None and start.status != "exact":
        raise ValueError("start has no sampling to go on with; a kept valuation of `cached_valuation` has none")


def _watched(
    estimator: ValuationEstimator,
    game: Game,
    budget: int,
    tolerance: float,
    rng: np.random.Generator,
    start: Valuation | None,
    progress: bool,
) -> Valuation:
    sampling = None if start is None else start.sampling
    if not progress:
        return estimator.estimate(game, budget, tolerance, rng, sampling)
    from tqdm import tqdm

    total = 2**game.n_players if estimator.name == "exact" else budget
    done = 0 if start is None else start.evaluations
    # None: quiet where stderr is no terminal.
    with tqdm(total=total, initial=done, unit="coalition", desc=estimator.name, delay=1, disable=None) as bar:
        return estimator.estimate(_Watched(game, bar), budget, tolerance, rng, sampling)


class _Watched:
    """A game that moves a progress bar."""

    def __init__(self, game: Game, bar: Any) -> None:
        self._game, self._bar = game, bar

    def __getattr__(self, name: str) -> Any:
        return getattr(self._game, name)

    @property
    def n_players(self) -> int:
        return self._game.n_players

    def utility(self, masks: np.ndarray) -> np.ndarray:
        found = self._game.utility(masks)
        self._bar.update(len(masks))
        return found
