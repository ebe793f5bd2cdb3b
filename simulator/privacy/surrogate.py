"""A surrogate for private training: accuracy as a fitted function of epsilon, coverage and records."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ConfigDict, TypeAdapter, ValidationError
from scipy.optimize import least_squares

#: Records in which the curve counts, so that its odds are those of a purchase of common size.
UNIT = 100.0
#: Largest exponent, and largest logarithm of odds, that a fit considers.
STEEPEST, LARGEST = 20.0, 12.0


@dataclass(frozen=True)
class CurveErrors:
    """How far single trainings, and their means, lie from a curve that was fitted to other markets; all are shares.

    Attributes
    ----------
    rmse : float
        Root mean square of the differences of single trainings.
    noise : float
        Standard deviation of trainings on the same records at the same epsilon: the part of `rmse` that no curve
        can avoid.
    largest : float
        Largest difference of a single training.
    misfit : float
        Root mean square of the differences that the mean over infinitely many markets would leave: what is wrong with
        the curve itself, estimated without bias.
    largest_misfit : float
        Largest difference of a mean over the calibration's markets, with what noise leaves in it.
    """

    rmse: float
    noise: float
    largest: float
    misfit: float
    largest_misfit: float


@dataclass(frozen=True)
class Calibration:
    """What a curve was calibrated on.

    Attributes
    ----------
    data : dict
        The data set: its source, and what else names it.
    training : dict
        How versions were trained: model, method, neighbours and what else `broker.training` says.
    delta : float
        Privacy parameter of the trainings.
    owners, markets, trainings : int
        Owners among which the records were split, markets (splits of the data set), and trainings in all.
    errors : CurveErrors
        Out-of-sample errors.
    """

    data: dict[str, Any]
    training: dict[str, Any]
    delta: float
    owners: int
    markets: int
    trainings: int
    errors: CurveErrors

    # Pydantic reads it when a file is loaded.
    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class AccuracyCurve:
    """Mean accuracy of a private model, smooth and never falling in epsilon, coverage and records.

    With s = records / 100, the share of test records classified right is

        chance + (ceiling - chance) / (1 + N + L),

        N = noise * epsilon^-noise_epsilon * s^-noise_records,
        L = learning * s^-learning_records * exp(-learning_coverage * coverage).

    N are the odds of losing to the noise of privacy what could be won over chance, and L those of not having learnt
    it from the records. Records and coverage beyond the calibrated range count as the nearest within it.

    Attributes
    ----------
    chance : float
        Accuracy of pure noise, one by the number of classes.
    ceiling : float
        What accuracy tends to without noise and with all there is to learn, in [chance, 1].
    noise, noise_epsilon, noise_records : float
        N for 100 records at epsilon 1, and its exponents; >= 0.
    learning, learning_records, learning_coverage : float
        L for 100 records of no coverage, its exponent, and its rate of decay; >= 0.
    epsilon_range, coverage_range, records_range : tuple of float
        Smallest and largest value that the curve was calibrated for.
    calibration : Calibration, optional
        What it was calibrated on, and its errors.

    Examples
    --------
    >>> curve = AccuracyCurve(0.5, 0.9, 1.0, 2.0, 1.0, 0.5, 0.5, 1.0, (0.1, 10.0), (0.0, 1.0), (10.0, 1000.0))
    >>> curve.predict([0.5, 1.0, 2.0], 1.0, 100).round(3).tolist()
    [0.577, 0.683, 0.779]
    """

    chance: float
    ceiling: float
    noise: float
    noise_epsilon: float
    noise_records: float
    learning: float
    learning_records: float
    learning_coverage: float
    epsilon_range: tuple[float, float]
    coverage_range: tuple[float, float]
    records_range: tuple[float, float]
    calibration: Calibration | None = None

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if not 0 < self.chance <= self.ceiling <= 1:
            raise ValueError(
                f"ceiling: found {self.ceiling!r} with chance {self.chance!r}; allowed are 0 < chance <= ceiling <= 1"
            )
        for name in PARAMETERS[1:]:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: found {value!r}; allowed are numbers >= 0")
        for name in ("epsilon_range", "coverage_range", "records_range"):
            low, high = getattr(self, name)
            positive = low >= 0 if name == "coverage_range" else low > 0
            if not (positive and low <= high < math.inf):
                raise ValueError(f"{name}: found {low!r} to {high!r}; allowed is a range of positive numbers")

    @property
    def method(self) -> str | None:
        """Training method that the curve was calibrated on, if it is known."""
        return None if self.calibration is None else self.calibration.training.get("method")

    def predict(self, epsilons: ArrayLike, coverage: ArrayLike, records: ArrayLike) -> np.ndarray:
        """Accuracy expected of each version, a share, of the shape that the arguments broadcast to.

        Parameters
        ----------
        epsilons : array of float
            Privacy levels, within the calibrated range.
        coverage : array of float
            Shapley coverage of the records, in [0, 1].
        records : array of float
            Numbers of training records, >= 1.

        Raises
        ------
        ValueError
            If an epsilon is outside of the calibrated range, or another argument is out of range.
        """
        epsilons, coverage, records = (np.asarray(x, dtype=float) for x in (epsilons, coverage, records))
        for name, values, (low, high) in (
            ("epsilon", epsilons, self.epsilon_range),
            ("coverage", coverage, (0.0, 1.0)),
            ("records", records, (1.0, math.inf)),
        ):
            wrong = ~((values >= low) & (values <= high))
            if wrong.any():
                where = "the curve was calibrated for" if name == "epsilon" else "allowed are"
                raise ValueError(f"{name}: found {values[wrong].flat[0]:g}; {where} {low:g} to {high:g}")
        parameters = np.array([getattr(self, name) for name in PARAMETERS])
        seen = np.clip(coverage, *self.coverage_range), np.clip(records, *self.records_range)
        return _accuracy(self.chance, parameters, epsilons, *seen)

    @classmethod
    def fit(
        cls, epsilons: ArrayLike, coverage: ArrayLike, records: ArrayLike, accuracy: ArrayLike, *, n_classes: int
    ) -> AccuracyCurve:
        """Least-squares fit to the accuracy of single trainings.

        Parameters
        ----------
        epsilons, coverage, records : array of float, shape (t,)
            Privacy level, Shapley coverage and number of records of each training.
        accuracy : array of float, shape (t,)
            Share of test records that it classified right.
        n_classes : int
            Number of classes, >= 2.

        Returns
        -------
        AccuracyCurve
            Its ranges are those of the arguments, and it has no `calibration`.

        Raises
        ------
        ValueError
            If there are fewer trainings than parameters, or a value is out of range.
        """
        columns = [np.asarray(x, dtype=float).ravel() for x in (epsilons, coverage, records, accuracy)]
        names = ("epsilons", "coverage", "records", "accuracy")
        if len({len(column) for column in columns}) > 1 or len(columns[0]) < len(PARAMETERS):
            found = ", ".join(f"{len(column)} {name}" for name, column in zip(names, columns, strict=True))
            raise ValueError(f"found {found}; a fit needs one of each for {len(PARAMETERS)} trainings or more")
        if n_classes < 2:
            raise ValueError(f"n_classes: found {n_classes!r}; allowed is 2 or more")
        for name, column, low, high in zip(names, columns, (1e-9, 0.0, 1.0, 0.0), (1e9, 1.0, 1e15, 1.0), strict=True):
            wrong = ~((column >= low) & (column <= high))
            if wrong.any():
                raise ValueError(f"{name}: found {column[wrong][0]:g}; allowed are {low:g} to {high:g}")
        eps, share, size, target = columns
        chance = 1.0 / n_classes
        # Odds are fitted by their logarithms; the others as they are.
        start = np.array([chance + 0.9 * (1 - chance), -1.0, 1.0, 1.0, -2.0, 0.5, 1.0])
        least, most = np.zeros(len(start)), np.full(len(start), STEEPEST)
        least[0], most[0] = chance, 1.0
        least[_ODDS], most[_ODDS] = -LARGEST, LARGEST

        def differences(x: np.ndarray) -> np.ndarray:
            return _accuracy(chance, _natural(x), eps, share, size) - target

        fitted = least_squares(differences, start, bounds=(least, most))
        values = dict(zip(PARAMETERS, _natural(fitted.x).tolist(), strict=True))
        ranges = [(float(x.min()), float(x.max())) for x in (eps, share, size)]
        return cls(chance, **values, epsilon_range=ranges[0], coverage_range=ranges[1], records_range=ranges[2])

    def save(self, path: Path) -> None:
        """Write the curve into a JSON file; loaded again, it is the same bit for bit.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> AccuracyCurve:
        """The curve of a JSON file.

        Raises
        ------
        ValueError
            If the file cannot be read, or holds no curve.
        """
        try:
            return _reader().validate_python(json.loads(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            message = first["msg"].removeprefix("Value error, ")
            raise ValueError(f"{str(path)!r} holds no curve: {place + ': ' if place else ''}{message}") from None
        except FileNotFoundError:
            raise ValueError(f"found {str(path)!r}, where there is no file") from None
        except OSError as error:
            raise ValueError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{str(path)!r} is not JSON: {error}") from None


#: The fitted parameters, in the order of the fit.
PARAMETERS = (
    "ceiling",
    "noise",
    "noise_epsilon",
    "noise_records",
    "learning",
    "learning_records",
    "learning_coverage",
)
_ODDS = [PARAMETERS.index("noise"), PARAMETERS.index("learning")]


def shipped_curves() -> dict[str, list[AccuracyCurve]]:
    """Curves that come with the package, by the name of their data set, one for each model and neighbour relation."""
    curves: dict[str, list[AccuracyCurve]] = {}
    for path in sorted(_folder().glob("*.json")):
        curves.setdefault(path.stem.split("-", 1)[0], []).append(AccuracyCurve.load(path))
    return curves


def shipped_curve(name: str, model: str, neighbours: str) -> AccuracyCurve:
    """The curve that comes with the package for a data set, a model and a neighbour relation.

    Raises
    ------
    ValueError
        If there is none.
    """
    path = _folder() / f"{name}-{model}-{neighbours}.json"
    if not path.exists():
        names = sorted({path.stem.split("-", 1)[0] for path in _folder().glob("*.json")})
        raise ValueError(
            f"found {name!r}; allowed are {', '.join(names)} and a file of `dealer calibrate`, whose name ends in .json"
        )
    return AccuracyCurve.load(path)


@cache
def _reader() -> TypeAdapter[AccuracyCurve]:
    """What checks the content of a file; it takes a while to make."""
    return TypeAdapter(AccuracyCurve)


def _folder() -> Path:
    return Path(str(resources.files("simulator") / "privacy" / "curves"))


def _natural(x: np.ndarray) -> np.ndarray:
    """Parameters of the curve from those of the fit."""
    natural = x.copy()
    natural[_ODDS] = np.exp(x[_ODDS])
    return natural


def _accuracy(
    chance: float, parameters: np.ndarray, epsilons: np.ndarray, coverage: np.ndarray, records: np.ndarray
) -> np.ndarray:
    ceiling, noise, noise_epsilon, noise_records, learning, learning_records, learning_coverage = parameters
    log_size = np.log(records / UNIT)
    lost = noise * np.exp(-noise_epsilon * np.log(epsilons) - noise_records * log_size)
    missed = learning * np.exp(-learning_records * log_size - learning_coverage * coverage)
    return np.asarray(chance + (ceiling - chance) / (1.0 + lost + missed))
