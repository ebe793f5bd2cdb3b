"""Differentially private linear classifiers with scikit-learn's interface."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from simulator.privacy.accounting import Guarantee, Neighbours
from simulator.privacy.noise import Noise
from simulator.privacy.training import LARGEST, Accounting, Method, Model, train


class PrivacyWarning(UserWarning):
    """A choice that voids a guarantee, or leaves something out of it."""


class _PrivateClassifier(ClassifierMixin, BaseEstimator):
    """What the private linear classifiers share."""

    _model_name: ClassVar[Model]
    classes_: np.ndarray
    coef_: np.ndarray
    intercept_: np.ndarray
    noise_: Noise
    accounting_: Guarantee

    def __init__(
        self,
        epsilon: float = 1.0,
        delta: float = 1e-5,
        *,
        method: Method = "auto",
        accounting: Accounting = "auto",
        neighbours: Neighbours = "replace-one",
        data_norm: float = 1.0,
        fit_intercept: bool = True,
        classes: ArrayLike | None = None,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self.epsilon = epsilon
        self.delta = delta
        self.method = method
        self.accounting = accounting
        self.neighbours = neighbours
        self.data_norm = data_norm
        self.fit_intercept = fit_intercept
        self.classes = classes
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Train on records `X`, shape (N, d), and labels `y`, shape (N,).

        With `groups`, shape (N,), the owner of each record, the guarantee is per owner: it covers all records of any
        one of them. Each owner's records weigh as much as one record.

        Raises
        ------
        ValueError
            If a parameter is out of range, the method cannot serve epsilon and delta or owners as units, there is one
            class only, or `groups` does not name one owner a record.

        Warns
        -----
        PrivacyWarning
            If the noise comes from a fixed seed, or `X` looks as if it had been standardised by its own records.
        """
        records, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_ = np.unique(y) if self.classes is None else np.unique(self.classes)
        strange = np.setdiff1d(y, self.classes_)
        if len(strange):
            raise ValueError(f"y holds the label {strange.tolist()[0]!r}, which is not among classes")
        if len(self.classes_) < 2:
            raise ValueError(f"training needs at least two classes, found one class, {self.classes_.tolist()[0]!r}")
        if not isinstance(self.fit_intercept, bool | np.bool_):
            raise ValueError(f"fit_intercept must be true or false, found {self.fit_intercept!r}")
        if not (self.random_state is None or isinstance(self.random_state, np.random.Generator)):
            warnings.warn(
                f"the noise comes from the seed {self.random_state}: whoever knows it can subtract the noise",
                PrivacyWarning,
                stacklevel=2,
            )
        if _standardised_by_itself(records):
            warnings.warn(
                "X has a column of mean 0 and deviation 1, as after standardising by its own records, which the "
                "guarantee does not cover; scale by public constants (PublicScaler)",
                PrivacyWarning,
                stacklevel=2,
            )
        self._model = train(
            records,
            np.searchsorted(self.classes_, y),
            len(self.classes_),
            self.epsilon,
            self.delta,
            model=self._model_name,
            method=self.method,
            accounting=self.accounting,
            neighbours=self.neighbours,
            data_norm=self.data_norm,
            fit_intercept=self.fit_intercept,
            owners=None if groups is None else _owner_index(groups, len(records)),
            rng=np.random.default_rng(self.random_state),
        )
        self.coef_, self.intercept_ = self._model.coef, self._model.intercept
        self.noise_, self.accounting_ = self._model.plan.noise, self._model.plan.guarantee
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Score of each record: shape (N,) for two classes, else (N, K)."""
        check_is_fitted(self)
        scores = self._model.scores(validate_data(self, X, reset=False, dtype=np.float64))
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Label of each record, shape (N,)."""
        check_is_fitted(self)
        return self.classes_[self._model.predict(validate_data(self, X, reset=False, dtype=np.float64))]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Noise may outweigh a few records at the default epsilon.
        tags.classifier_tags.poor_score = True
        return tags


class PrivateLogisticRegression(_PrivateClassifier):
    """Logistic regression whose released weights are (epsilon, delta)-differentially private.

    Rows are clipped to the L2 norm `data_norm` here and divided by it, in training and in prediction. The guarantee
    is per record, or per owner where `fit` is told the owners; an owner of r records whose guarantee is per record has
    that of group privacy (`accounting_.for_group(r)`).

    Parameters
    ----------
    epsilon : float
        Privacy parameter of the fit, > 0.
    delta : float
        Privacy parameter of the fit, in (0, 1).
    method : {"auto", "objective", "amp", "output", "gradient"}
        Training method: objective perturbation, approximate minima perturbation, noise on the solution, or noisy
        gradient descent, which `auto` stands for.
    accounting : {"auto", "redberg-wang", "tight"}
        Bound for `objective`: the published one or the one derived for this project; `auto` takes the published one
        for two classes under replace-one, else the tight one.
    neighbours : {"replace-one", "add-remove"}
        Whether neighbouring data sets differ in one record's content or in its presence. The number of records is
        public under the first only.
    data_norm : float
        Norm to which rows are clipped, > 0; public, not taken from the data.
    fit_intercept : bool
        Whether to train an intercept, as one more, regularised and noisy weight.
    classes : sequence, optional
        The possible labels, where they are public knowledge. By default those found in training, which
        reveals whether a label occurs.
    random_state : int, numpy.random.Generator or None
        Source of the noise. None takes it from the operating system: the only choice for a release. A seed makes a
        `PrivacyWarning`; a generator is the caller's responsibility.

    Attributes
    ----------
    classes_ : array, shape (K,)
        Labels.
    n_features_in_ : int
        Number of features.
    coef_ : array of float, shape (1, d) or (K, d)
        Weights of clipped and normalised features.
    intercept_ : array of float, shape (1,) or (K,)
        Intercepts.
    noise_ : Perturbation, GradientDescent or CountedDescent
        Noise scales of each model.
    accounting_ : Guarantee
        Method used, neighbour relation, epsilon, delta, composition, and mu of Gaussian privacy where there is one.

    References
    ----------
    Redberg, Koskela and Wang (2023); Iyengar et al. (2019); Balle and Wang (2018); Dong, Roth and Su (2022).

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[-1.0], [1.0]] * 500), np.array([0, 1] * 500)
    >>> model = PrivateLogisticRegression(1.0, method="objective", random_state=np.random.default_rng(0)).fit(X, y)
    >>> float(model.score(X, y))
    1.0
    >>> model.accounting_.method, model.accounting_.neighbours, model.accounting_.epsilon
    ('objective', 'replace-one', 1.0)
    """

    _model_name = "logistic"


class PrivateSVM(_PrivateClassifier):
    """Linear support vector machine whose released weights are (epsilon, delta)-differentially private.

    The hinge's corner is rounded over margins within 1/2 of 1. Its slope at a margin of 0 is twice that of the
    logistic loss, so that noise, which is in proportion to the largest slope, weighs half as much against a strong
    penalty. With more than two classes one model a class is trained against the rest. Parameters and attributes are
    those of `PrivateLogisticRegression`.

    References
    ----------
    Chaudhuri, Monteleoni and Sarwate (2011), section 3.4.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[-1.0], [1.0]] * 500), np.array([0, 1] * 500)
    >>> float(PrivateSVM(1.0, random_state=np.random.default_rng(0)).fit(X, y).score(X, y))
    1.0
    """

    _model_name = "svm"


def _owner_index(groups: ArrayLike, n_records: int) -> np.ndarray:
    """Owners numbered from 0, shape (N,)."""
    found = np.asarray(groups)
    if found.shape != (n_records,):
        raise ValueError(f"groups must name the owner of each of {n_records} records, found shape {found.shape}")
    try:
        owners, _ = pd.factorize(found)
    except TypeError:
        raise ValueError(f"groups must be names or numbers of owners, found {found[0]!r:.60}") from None
    if (owners < 0).any():
        raise ValueError("groups must name the owner of each record, found missing ones")
    return np.asarray(owners)


def _standardised_by_itself(records: np.ndarray) -> bool:
    """Whether a column has mean 0 and deviation 1 to rounding, which does not happen by chance.

    The deviation is that of the records, or the estimate of the population's from them. Columns of nothing but -1 and 1
    say nothing: they are a usual code of two categories.
    """
    n = len(records)
    records = np.clip(records, -LARGEST, LARGEST)
    telling = (records.std(axis=0) > 0) & (np.abs(records) != 1.0).any(axis=0)
    told = records[:, telling]
    centred = np.abs(told.mean(axis=0)) < 1e-9
    squares = (told**2).mean(axis=0)
    scaled = (np.abs(squares - 1.0) < 1e-9) | (np.abs(squares - (n - 1) / n) < 1e-9)
    return bool(n > 2 and (centred & scaled).any())
