"""One private training: the choice of a method, its noise, and the released weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np

from simulator.privacy.accounting import Guarantee, Neighbours, Unit, check_budget, is_number
from simulator.privacy.amp import amp_delta, amp_noise
from simulator.privacy.gaussian import gaussian_delta, gaussian_mu
from simulator.privacy.gradient import gradient_noise
from simulator.privacy.losses import HuberHinge, Logistic, Loss, MarginLoss, Softmax
from simulator.privacy.noise import Noise
from simulator.privacy.objective import objective_noise, released_delta
from simulator.privacy.output import output_noise

Model = Literal["logistic", "svm"]
Method = Literal["auto", "objective", "amp", "output", "gradient"]
Accounting = Literal["auto", "redberg-wang", "tight"]
#: Larger features count as this large: their squares can be summed.
LARGEST = 1e150
#: What `auto` stands for: the most accurate method, or nearly so, at every epsilon and number of records in
#: docs/privacy.md. What it chooses by public quantities, or by a private count, is the number of its steps.
AUTO: Method = "gradient"
#: Methods that are Gaussian mechanisms.
GAUSSIAN = ("auto", "output", "gradient")

#: Weight of the intercept's coordinate beside features of norm at most 1. At 1 it would take half of the square
#: of every row's norm away from the features; at a quarter it takes a seventeenth.
INTERCEPT_WEIGHT = 0.25


@dataclass(frozen=True)
class Plan:
    """How one training is made private; known before any record is read.

    Attributes
    ----------
    guarantee : Guarantee
        What it guarantees.
    noise : Noise
        Its noise scales: a `Perturbation`, `GradientDescent` or `CountedDescent`.
    loss : Loss
        The loss that is minimised.
    """

    guarantee: Guarantee
    noise: Noise
    loss: Loss


@dataclass(frozen=True, eq=False)
class LinearModel:
    """Released weights of a linear classifier.

    Attributes
    ----------
    coef : array of float, shape (K, d), or (1, d) for two classes
        Weights of clipped and normalised features.
    intercept : array of float, shape (K,) or (1,)
        Intercepts.
    data_norm : float
        Norm to which rows are clipped, and by which they are divided.
    plan : Plan
        How it was trained.
    """

    coef: np.ndarray
    intercept: np.ndarray
    data_norm: float
    plan: Plan

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Score of each record for each row of weights, shape (N, K) or (N, 1)."""
        return clip_rows(features, self.data_norm) @ self.coef.T + self.intercept

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Class index of each record, shape (N,)."""
        scores = self.scores(features)
        return (scores[:, 0] > 0).astype(int) if scores.shape[1] == 1 else scores.argmax(axis=1)


def clip_rows(features: np.ndarray, data_norm: float) -> np.ndarray:
    """Rows scaled down to norm at most `data_norm`, then divided by it, shape (N, d)."""
    features = np.clip(features, -LARGEST, LARGEST)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), data_norm)


def plan_training(
    epsilon: float,
    delta: float,
    n_classes: int,
    n_units: int,
    n_features: int,
    *,
    model: Model = "logistic",
    method: Method = "auto",
    accounting: Accounting = "auto",
    neighbours: Neighbours = "replace-one",
    unit: Unit = "record",
) -> Plan:
    """Noise scales and guarantee of a training, without its data.

    Two classes take one model. More take, with the logistic loss, one multinomial model (`objective` by the tight
    bound, `output`, `gradient`), whose budget needs no splitting. Else one model a class is trained against the rest:
    by `output` and `gradient` as one Gaussian mechanism on all weights, by `objective` with the Renyi divergences
    added up, by `amp` each on an equal part of epsilon and delta.

    Parameters
    ----------
    epsilon : float
        Privacy parameter of the whole training, > 0.
    delta : float
        Privacy parameter of the whole training, in (0, 1).
    n_classes : int
        Number of possible classes, public, >= 2.
    n_units : int
        Number of training records, or of their owners where these are the unit, >= 1; read under replace-one only,
        where it is public.
    n_features : int
        Weights of one model, the intercept's among them, >= 1.
    model : {"logistic", "svm"}
        Logistic loss, or hinge with a rounded corner.
    method : {"auto", "objective", "amp", "output", "gradient"}
        Training method.
    accounting : {"auto", "redberg-wang", "tight"}
        Bound for `objective`: the published one, or the one derived for this project. `auto` takes the published one
        for two classes under replace-one, and wherever the tight one does not apply.
    neighbours : {"replace-one", "add-remove"}
        Neighbour relation.
    unit : {"record", "owner"}
        What neighbours differ in one of. An owner's records weigh 1 together, so that no owner moves a sum by more
        than a record would. `amp` and the tight bound are for records only.

    Raises
    ------
    ValueError
        If an argument is out of range, or the method cannot serve the privacy parameters or the unit.
    """
    check_budget(epsilon, delta, neighbours)
    for name, found, allowed in (
        ("model", model, Model),
        ("method", method, Method),
        ("accounting", accounting, Accounting),
        ("unit", unit, Unit),
    ):
        if found not in get_args(allowed):
            raise ValueError(f"{name} must be one of {', '.join(get_args(allowed))}, found {found!r}")
    for name, number in (("n_units", n_units), ("n_features", n_features)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, found {number!r}")
    if method == "auto":
        method = AUTO
    if unit == "owner" and (method == "amp" or (method == "objective" and accounting == "tight")):
        refused = "method 'amp'" if method == "amp" else "accounting 'tight'"
        raise ValueError(f"{refused} is for records as units, found unit 'owner'")
    margin: MarginLoss = Logistic() if model == "logistic" else HuberHinge()
    joint = model == "logistic" and n_classes > 2
    loss: Loss = Softmax(n_classes) if joint else margin
    models = 1 if joint or n_classes == 2 else n_classes
    mu: float | None = None
    noise: Noise
    profile: Callable[[float], float]
    composition = "none: one mechanism"
    if method == "objective":
        if accounting == "tight" and models > 1:
            raise ValueError("accounting 'tight' takes one model, found one for each of several classes")
        tight = accounting == "tight" or (
            accounting == "auto" and (joint or neighbours == "add-remove") and models == 1 and unit == "record"
        )
        if not tight and joint:
            loss, models = margin, n_classes
        if models > 1:
            composition = "Renyi divergences add up"
        noise = objective_noise(epsilon, delta, loss, neighbours, n_models=models, tight=tight, unit=unit)
        profile = partial(
            released_delta,
            scales=noise,
            budget=epsilon,
            loss=loss,
            neighbours=neighbours,
            n_models=models,
            tight=tight,
            unit=unit,
        )
        bound = "derived for this project" if tight else "Redberg, Koskela and Wang (2023)"
    elif method == "amp":
        loss, models = margin, 1 if n_classes == 2 else n_classes
        if models > 1:
            composition = "basic: epsilon and delta in equal parts"
        noise = amp_noise(epsilon / models, delta / models, n_units, margin, neighbours)
        profile = partial(
            amp_delta,
            epsilon=epsilon,
            delta=delta,
            scales=noise,
            loss=margin,
            neighbours=neighbours,
            n_models=models,
        )
        bound = "Iyengar et al. (2019)"
    else:
        mu = gaussian_mu(epsilon, delta)
        if method == "output":
            noise = output_noise(epsilon, delta, loss, neighbours, n_models=models)
        else:
            noise = gradient_noise(
                epsilon,
                delta,
                loss,
                neighbours,
                n_units=n_units,
                n_weights=n_features * (n_classes if joint else models),
                n_models=models,
            )
        profile = partial(gaussian_delta, noise=1.0 / mu)
        composition = "none: one Gaussian mechanism" if method == "output" else "Gaussian, exact"
        bound = "Balle and Wang (2018)" if method == "output" else "Dong, Roth and Su (2022)"
    guarantee = Guarantee(method, neighbours, unit, epsilon, delta, bound, models, composition, mu, profile)
    return Plan(guarantee, noise, loss)


def train(
    features: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    epsilon: float,
    delta: float,
    *,
    model: Model = "logistic",
    method: Method = "auto",
    accounting: Accounting = "auto",
    neighbours: Neighbours = "replace-one",
    data_norm: float = 1.0,
    fit_intercept: bool = True,
    owners: np.ndarray | None = None,
    rng: np.random.Generator,
) -> LinearModel:
    """Linear classifier, (epsilon, delta)-differentially private per record, or per owner.

    Rows are clipped to `data_norm` and divided by it; the intercept is one more, regularised coordinate of weight
    `INTERCEPT_WEIGHT`, and the row with it is scaled to norm at most 1.

    Parameters
    ----------
    features : array of float, shape (N, d)
        Records, N >= 1.
    labels : array of int, shape (N,)
        Class index of each, 0..n_classes-1; not all classes need occur.
    data_norm : float
        Norm to which rows are clipped, > 0; public, not taken from the data.
    fit_intercept : bool
        Whether to train an intercept.
    owners : array of int, shape (N,), optional
        Owner of each record, >= 0, where owners are to be the unit of the guarantee. Each record of an owner of r then
        has the weight 1/r.
    rng : numpy.random.Generator
        Source of the noise.
    n_classes, epsilon, delta, model, method, accounting, neighbours
        As for `plan_training`.

    Raises
    ------
    ValueError
        If an argument is out of range, or the method cannot serve the privacy parameters.
    """
    if not (is_number(data_norm) and math.isfinite(data_norm) and data_norm > 0):
        raise ValueError(f"data_norm must be positive and finite, found {data_norm!r}")
    plan = plan_training(
        epsilon,
        delta,
        n_classes,
        len(features) if owners is None else len(np.unique(owners)),
        features.shape[1] + fit_intercept,
        model=model,
        method=method,
        accounting=accounting,
        neighbours=neighbours,
        unit="record" if owners is None else "owner",
    )
    rows = clip_rows(features, data_norm)
    length = 1.0
    if fit_intercept:
        length = math.hypot(1.0, INTERCEPT_WEIGHT)
        rows = np.hstack([rows, np.full((len(rows), 1), INTERCEPT_WEIGHT)]) / length
    targets = (labels[:, None] == np.arange(n_classes)).astype(float)
    if n_classes == 2:
        targets = targets[:, 1:]
    if isinstance(plan.loss, MarginLoss):
        targets = 2.0 * targets - 1.0
    # The rows' scale moves into the weights.
    shares = None if owners is None else record_weights(owners)
    weights = plan.noise.fit(rows, targets, plan.loss, rng, shares).T / length
    if not fit_intercept:
        return LinearModel(weights, np.zeros(len(weights)), data_norm, plan)
    return LinearModel(weights[:, :-1], INTERCEPT_WEIGHT * weights[:, -1], data_norm, plan)


def record_weights(owners: np.ndarray) -> np.ndarray:
    """Weight of each record, shape (N,), such that every owner's records weigh 1 together."""
    return np.asarray(1.0 / np.bincount(owners)[owners])
