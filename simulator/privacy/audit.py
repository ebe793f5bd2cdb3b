"""Empirical audit of private classifiers: what repeated training on neighbouring data sets gives away."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta
from sklearn.base import clone

from simulator.privacy.accounting import check_budget
from simulator.privacy.classifier import PrivacyWarning, PrivateSVM

Pair = Literal["auto", "opposed", "neutral"]
Side = Literal["with", "without"]

#: Points of the claimed profile that are tested, as shares of epsilon.
SHARES = (0.125, 0.25, 0.375, 1.0)
#: Share of the fits on which the events are chosen.
CHOOSING = 1 / 3
#: Norm of an opposed block's records over that of the canary. Short records go on pulling where long ones, once they
#: are classified well, do not; and their curvature, which would hold the weights, is small.
BLOCK_LENGTH = 0.25
#: Angle between the canary and the block's direction. Sideways to it the block neither holds the weights nor adds
#: noise to what is observed, and along it the canary is taken for the block's class, at the loss's largest slope.
CANARY_ANGLE = math.radians(75.0)
#: Features beside a neutral block: a step of noisy gradients is scaled to a length, which hides less of many.
NEUTRAL_FEATURES = 32
#: Records of the blocks.
OPPOSED_BLOCK, NEUTRAL_BLOCK = 1000, 100
#: Length of a canary over the norm to which rows are clipped, so that a clip that is missing shows.
OVERLENGTH = 10.0


@dataclass(frozen=True)
class AuditPoint:
    """One inequality that the claim implies, and what was found.

    Attributes
    ----------
    epsilon, delta : float
        The point of the claimed profile: P(E) <= exp(epsilon) P'(E) + delta for every event E.
    likelier : {"with", "without"}
        The data set under which P is taken, the one with the canary or the one without it; P' is that of the other. If
        one canary replaces another, "with" is the second data set.
    event : str
        The event, as an inequality for a score of the canary.
    true_rate, false_rate : float
        Frequencies of the event under P and under P'.
    true_rate_low, false_rate_high : float
        Clopper-Pearson ends, which hold for all points of an audit together at its confidence.
    """

    epsilon: float
    delta: float
    likelier: Side
    event: str
    true_rate: float
    true_rate_low: float
    false_rate: float
    false_rate_high: float

    @property
    def excess(self) -> float:
        """Probability by which the inequality fails at least; not positive where it may hold."""
        return self.true_rate_low - math.exp(self.epsilon) * self.false_rate_high - self.delta

    def epsilon_lower(self, delta: float) -> float:
        """Lower bound on epsilon at another `delta` that follows from the event."""
        return float(_epsilon_lower(np.array(self.true_rate_low), np.array(self.false_rate_high), delta))


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes
    ----------
    epsilon, delta : float
        What the classifier claims.
    epsilon_lower : float
        Certified lower bound on epsilon at the claimed delta, >= 0.
    points : tuple of AuditPoint
        What was tested: the points of the profile, under both directions.
    fits : int
        Trainings on each of the two data sets.
    confidence : float
        Probability with which the bound holds, and no alarm is raised where the claim is true.
    method : str
        Training method as the classifier calls it, or its class.
    neighbours : str
        Whether the data sets differ in one record's content or in its presence.
    """

    epsilon: float
    delta: float
    epsilon_lower: float
    points: tuple[AuditPoint, ...]
    fits: int
    confidence: float
    method: str
    neighbours: str

    @property
    def worst(self) -> AuditPoint:
        """The point with the largest excess."""
        return max(self.points, key=lambda point: point.excess)

    @property
    def violated(self) -> bool:
        """Whether the claim is refuted."""
        return self.worst.excess > 0

    def __str__(self) -> str:
        claim = f"eps = {self.epsilon:g}, delta = {self.delta:g} ({self.neighbours})"
        basis = f"{self.fits} fits a side, confidence {self.confidence:g}"
        bound = f"eps is at least {self.epsilon_lower:.2f} at that delta"
        if not self.violated:
            return f"{self.method}: {claim} is not refuted; {bound} ({basis})."
        worst = self.worst
        other = "without" if worst.likelier == "with" else "with"
        return (
            f"{self.method}: {claim} is violated at eps' = {worst.epsilon:g}, where an event of probability >= "
            f"{worst.true_rate_low:.3f} {worst.likelier} the canary has <= {worst.false_rate_high:.3f} {other} it, "
            f"{worst.excess:.3f} more than the claimed delta' = {worst.delta:.2g} allows; {bound} ({basis})."
        )


def audit(
    estimator: Any,
    *,
    fits: int = 1000,
    confidence: float = 0.95,
    pair: Pair | tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike] = "auto",
    block: int | None = None,
    n_classes: int = 2,
    shard: int | None = None,
    rng: np.random.Generator | None = None,
    progress: bool = True,
) -> Audit:
    """Try to refute a classifier's privacy by training it again and again on two neighbouring data sets.

    Every model scores the canary, the record in which the data sets differ: its label against each way to weigh the
    other classes. On a third of the fits events are chosen, that a score is at least or at most some threshold; on the
    rest it is tested that their probabilities are as close as claimed, at four points of the claimed profile and in
    both directions. The Clopper-Pearson ends share one minus the confidence equally.

    An audit can refute a claim but not prove one: that nothing is found says no more than that the noise is not far
    too small. It sees nothing of what fixed seeds, standardised features or the floating-point numbers give away.

    Parameters
    ----------
    estimator : classifier
        A classifier with scikit-learn's interface and the parameters `epsilon`, `delta`, `neighbours` and
        `random_state`, which must take a NumPy Generator: `PrivateLogisticRegression`, `PrivateSVM`, or a user's own.
        It is cloned, and neither trained nor changed itself. If a fit leaves an `accounting_` with a
        `profile(epsilon) -> delta`, that is what is tested; else epsilon and delta alone.
    fits : int
        Trainings on each of the two data sets, >= 30.
    confidence : float
        Confidence of the whole result, in (0, 1).
    pair : {"auto", "opposed", "neutral"} or tuple (X, y, X_other, y_other)
        The data sets. In "opposed", a block of records of one class pulls the weights to where the canary's loss is
        steepest; in "neutral" the block is of all classes and has no features; "auto" is "neutral" for `PrivateSVM`,
        whose loss is steep without help. Own data sets must be in the same order, and differ as `neighbours` says
        in one record.
    block : int, optional
        Records in the block of a built-in pair, >= 1, by default 1000 where it is opposed, else 100; ignored for an
        own pair.
    n_classes : int
        Classes of a built-in pair, >= 2; ignored where the estimator's `classes` are given, and for an own pair.
    shard : int, optional
        Audit owners as the unit: the canary of a built-in pair is the shard of one owner, of so many equal records,
        >= 1, and `fit` is told the owners as `groups`. By default records are the unit.
    rng : numpy.random.Generator, optional
        Source of the noise, from which every fit has a generator of its own. By default one from the operating system,
        so that a repeated audit is an independent one.
    progress : bool
        Show a bar on a terminal if it takes longer than a second.

    Returns
    -------
    Audit
        The certified lower bound, whether the claim is violated, and what was tested.

    Raises
    ------
    ValueError
        If an argument is out of range, the estimator lacks a parameter, or own data sets are no neighbours.

    References
    ----------
    Jagielski, Ullman and Oprea (2020); Nasr et al. (2021); Clopper and Pearson (1934).

    Examples
    --------
    >>> from simulator.privacy import PrivateSVM
    >>> found = audit(PrivateSVM(1.0, method="output"), fits=60, rng=np.random.default_rng(0))
    >>> found.violated, found.neighbours
    (False, 'replace-one')
    """
    sizes = (("fits", fits, 30), ("block", block, 1), ("n_classes", n_classes, 2), ("shard", shard, 1))
    for name, count, least in sizes:
        optional = name in ("block", "shard") and count is None
        whole = isinstance(count, int | np.integer) and not isinstance(count, bool) and count >= least
        if not whole and not optional:
            raise ValueError(f"{name} must be a whole number, at least {least}, found {count!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, found {confidence!r}")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy.random.Generator, found {rng!r}")
    model, claim = _checked(estimator)
    neighbours = _neighbours(pair, claim, block, n_classes, shard)
    rngs = (rng or np.random.default_rng()).spawn(2 * fits)
    with _bar(2 * fits, progress) as step, warnings.catch_warnings():
        # What is written into the built-in sets is no one's secret.
        warnings.simplefilter("ignore", PrivacyWarning)
        without, with_canary = (
            _scores(model, data, neighbours, own, step)
            for data, own in ((neighbours.one, rngs[:fits]), (neighbours.other, rngs[fits:]))
        )
    account = getattr(model, "accounting_", None)
    profile: Callable[[float], float] | None = getattr(account, "profile", None)
    epsilon, delta = claim["epsilon"], claim["delta"]
    curve = [(epsilon, delta)] if profile is None else [(s * epsilon, min(profile(s * epsilon), 1.0)) for s in SHARES]
    # Two ends a test, and a test a point and direction.
    level = (1.0 - confidence) / (4 * len(curve))
    directions: tuple[tuple[Side, np.ndarray, np.ndarray], ...] = (
        ("with", with_canary, without),
        ("without", without, with_canary),
    )
    points = tuple(
        _test(at, at_delta, likelier, ours, others, level)
        for likelier, ours, others in directions
        for at, at_delta in curve
    )
    return Audit(
        epsilon=epsilon,
        delta=delta,
        epsilon_lower=max(0.0, *(point.epsilon_lower(delta) for point in points)),
        points=points,
        fits=fits,
        confidence=confidence,
        method=getattr(account, "method", type(model).__name__),
        neighbours=claim["neighbours"],
    )


class _Data(NamedTuple):
    """A training set, with the owners of its records where these are the unit."""

    records: np.ndarray
    labels: np.ndarray
    owners: np.ndarray | None = None


class _Neighbours(NamedTuple):
    """Two training sets, and the scores by which their models are told apart.

    Each is a sum of `weights`, shape (number of scores, p, K), times the models' scores of the records `probes`,
    shape (p, d).
    """

    one: _Data
    other: _Data
    probes: np.ndarray
    weights: np.ndarray


def _checked(estimator: Any) -> tuple[Any, dict[str, Any]]:
    """A clone of the estimator, and its parameters."""
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise ValueError(f"estimator must be an instance with scikit-learn's interface, found {estimator!r}")
    claim = estimator.get_params(deep=False)
    lacking = [name for name in ("epsilon", "delta", "neighbours", "random_state") if name not in claim]
    if lacking:
        raise ValueError(f"{type(estimator).__name__} must have the parameters {', '.join(lacking)} to be audited")
    check_budget(claim["epsilon"], claim["delta"], claim["neighbours"])
    if not (hasattr(estimator, "decision_function") or hasattr(estimator, "predict_proba")):
        raise ValueError(f"{type(estimator).__name__} must have a decision_function or predict_proba to be audited")
    return clone(estimator), claim | {"steep": isinstance(estimator, PrivateSVM)}


def _neighbours(pair: Any, claim: dict[str, Any], block: int | None, n_classes: int, shard: int | None) -> _Neighbours:
    """The built-in pair of this name, or the caller's own."""
    replace = claim["neighbours"] == "replace-one"
    if not isinstance(pair, str):
        if shard is not None:
            raise ValueError(f"shard must not be given with own data sets, found {shard!r}")
        return _own_pair(pair, replace, claim.get("classes"))
    if pair not in get_args(Pair):
        raise ValueError(f"pair must be one of {', '.join(get_args(Pair))} or (X, y, X_other, y_other), found {pair!r}")
    opposed = pair == "opposed" or (pair == "auto" and not claim["steep"])
    classes = np.arange(n_classes) if claim.get("classes") is None else np.unique(claim["classes"])
    norm = claim.get("data_norm", 1.0 / OVERLENGTH)
    n_features = 2 if opposed else NEUTRAL_FEATURES
    along, across = np.eye(n_features)[:2]
    angle = CANARY_ANGLE if opposed else math.pi / 2
    size = block or (OPPOSED_BLOCK if opposed else NEUTRAL_BLOCK)
    # One record a class without features, so that all classes occur in either set; then the block.
    row = BLOCK_LENGTH * norm * along if opposed else 0.0 * along
    records = np.vstack([np.zeros((len(classes), n_features)), np.tile(row, (size, 1))])
    labels = np.concatenate([classes, np.resize(classes[:1] if opposed else classes, size)])
    ahead, sideways = OVERLENGTH * norm * math.cos(angle) * along, OVERLENGTH * norm * math.sin(angle) * across

    # Everybody else owns one record.
    owners = None if shard is None else np.arange(len(labels))

    def with_canary(canary: np.ndarray) -> _Data:
        copies = shard or 1
        return _Data(
            np.vstack([records, np.tile(canary, (copies, 1))]),
            np.append(labels, np.repeat(classes[1], copies)),
            None if owners is None else np.append(owners, np.full(copies, len(owners))),
        )

    one = with_canary(ahead - sideways) if replace else _Data(records, labels, owners)
    weights = _contrasts(1, len(classes))[:, None, :]
    return _Neighbours(one, with_canary(ahead + sideways), norm * across[None, :], weights)


def _contrasts(label: int, n_classes: int) -> np.ndarray:
    """Weights that give a label's score less another's, less the mean of all others', and less their sum, shape (3, K).

    They are the directions in which a record moves the multinomial loss where the other class is predicted and where
    none is, and one model a class.
    """
    others = np.arange(n_classes) != label
    first = np.arange(n_classes) == int(label == 0)
    contrasts = np.eye(n_classes)[label] - np.array([first, others / (n_classes - 1), others])
    # With two classes they are one.
    return contrasts[:1] if n_classes == 2 else contrasts


def _own_pair(pair: Any, replace: bool, classes: Any) -> _Neighbours:
    """The caller's data sets, with the scores of the record in which they differ."""
    if not isinstance(pair, tuple | list) or len(pair) != 4:
        raise ValueError("pair must be a name or (X, y, X_other, y_other)")
    one, other = (_Data(np.asarray(pair[i], dtype=float), np.asarray(pair[i + 1])) for i in (0, 2))
    for data in (one, other):
        if data.records.ndim != 2 or data.labels.shape != data.records.shape[:1]:
            raise ValueError(
                f"each X of pair must have shape (N, d) and its y shape (N,), found shapes {data.records.shape} and "
                f"{data.labels.shape}"
            )
    if one.records.shape[1] != other.records.shape[1]:
        raise ValueError(
            f"both X of pair must have as many columns, found {one.records.shape[1]} and {other.records.shape[1]}"
        )
    swapped = len(one.labels) > len(other.labels)
    if swapped:
        one, other = other, one
    n, more = len(one.labels), len(other.labels) - len(one.labels)
    same = (one.records == other.records[:n]).all(axis=1) & (one.labels == other.labels[:n])
    at = n if same.all() else int(np.argmin(same))
    kept = slice(at + 1, None) if replace else slice(at, None)
    rest = _Data(one.records[kept], one.labels[kept]), _Data(other.records[at + 1 :], other.labels[at + 1 :])
    if (
        more != (0 if replace else 1)
        or at == n + more
        or not (np.array_equal(rest[0].records, rest[1].records) and np.array_equal(rest[0].labels, rest[1].labels))
    ):
        wanted = "in the content of one record" if replace else "by one record more or less"
        raise ValueError(f"the data sets of pair must differ {wanted} and be in the same order otherwise")
    known = np.unique(np.concatenate([one.labels, other.labels]) if classes is None else classes)
    canaries = [(other, 1.0), (one, -1.0)][: 2 if replace else 1]
    probes = np.array([data.records[at] for data, _ in canaries])
    weights = [sign * _contrasts(int(np.searchsorted(known, data.labels[at])), len(known)) for data, sign in canaries]
    return _Neighbours(one, other, probes, np.stack(weights, axis=1))


def _scores(
    model: Any, data: _Data, neighbours: _Neighbours, rngs: list[np.random.Generator], step: Callable[[], Any]
) -> np.ndarray:
    """The canary's scores by a model trained with each of the generators, shape (number of scores, fits)."""
    found = np.empty((len(neighbours.weights), len(rngs)))
    score = model.decision_function if hasattr(model, "decision_function") else model.predict_proba
    for i, rng in enumerate(rngs):
        model.random_state = rng
        model.fit(*(data[:2] if data.owners is None else data))
        scores = np.asarray(score(neighbours.probes))
        if scores.ndim == 1:  # of the second of two classes
            scores = 0.5 * scores[:, None] * np.array([-1.0, 1.0])
        found[:, i] = (neighbours.weights * scores).sum(axis=(1, 2))
        step()
    if not np.isfinite(found).all():
        raise ValueError(f"{type(model).__name__} must give finite scores, found {found[~np.isfinite(found)][0]}")
    return found


def _test(
    epsilon: float,
    delta: float,
    likelier: Side,
    ours: np.ndarray,
    others: np.ndarray,
    level: float,
) -> AuditPoint:
    """Choose an event on the first fits, and count it on the others."""
    chosen = round(ours.shape[1] * CHOOSING)
    n = ours.shape[1] - chosen
    candidates = (
        (*_event(delta, one[:chosen], other[:chosen], n, level), i)
        for i, (one, other) in enumerate(zip(ours, others, strict=True))
    )
    _, threshold, above, which = max(candidates)
    true, false = (
        int((s[which, chosen:] >= threshold if above else s[which, chosen:] <= threshold).sum()) for s in (ours, others)
    )
    return AuditPoint(
        epsilon,
        delta,
        likelier,
        f"score {'>=' if above else '<='} {threshold:.6g}",
        true / n,
        float(lower_end(true, n, level)),
        false / n,
        float(upper_end(false, n, level)),
    )


def _event(delta: float, ours: np.ndarray, others: np.ndarray, n: int, level: float) -> tuple[float, float, bool]:
    """Threshold that promises the largest lower bound of epsilon on `n` fits: the bound, it, and whether above it."""
    thresholds = np.unique(np.concatenate([ours, others]))
    likely, unlikely = (
        np.concatenate(
            [
                len(s) - np.searchsorted(np.sort(s), thresholds, side="left"),
                np.searchsorted(np.sort(s), thresholds, side="right"),
            ]
        )
        for s in (ours, others)
    )
    # Half a count more keeps what was never seen from counting as impossible.
    p, q = ((count + 0.5) / (len(ours) + 1.0) for count in (likely, unlikely))
    bound = _epsilon_lower(lower_end(n * p, n, level), upper_end(n * q, n, level), delta)
    best = int(np.argmax(bound))
    return float(bound[best]), float(thresholds[best % len(thresholds)]), best < len(thresholds)


def lower_end(count: ArrayLike, n: int, level: float) -> np.ndarray:
    """Clopper-Pearson lower end of a probability, with `count` of `n`; it fails with a chance of at most `level`."""
    k = np.asarray(count, dtype=float)
    return np.where(k > 0, beta.ppf(level, np.maximum(k, 1e-9), n - k + 1.0), 0.0)


def upper_end(count: ArrayLike, n: int, level: float) -> np.ndarray:
    """Clopper-Pearson upper end of a probability, with `count` of `n`; it fails with a chance of at most `level`."""
    return 1.0 - lower_end(n - np.asarray(count, dtype=float), n, level)


def _epsilon_lower(low: np.ndarray, high: np.ndarray, delta: float) -> np.ndarray:
    """Smallest epsilon at which low <= exp(epsilon) high + delta."""
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(low - delta, 0.0)) - np.log(high)


@contextmanager
def _bar(total: int, progress: bool) -> Iterator[Callable[[], Any]]:
    """A function to be called after each fit, which moves a bar."""
    if not progress:
        yield lambda: None
        return
    from tqdm import tqdm

    # None: quiet where stderr is no terminal.
    with tqdm(total=total, unit="fit", desc="audit", delay=1, disable=None) as bar:
        yield bar.update
