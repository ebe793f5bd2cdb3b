"""The game of any scikit-learn classifier: one refit a coalition."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.valuation.arguments import as_real
from simulator.valuation.games import RecordsGame

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin


class ScikitLearnGame(RecordsGame):
    """Test score of any scikit-learn classifier, refitted for every coalition.

    A coalition of one class predicts that class. A coalition that lacks a class gives it no chance. Where the
    classifier has a random state, it is fixed, since a game has one utility a coalition.

    Parameters
    ----------
    classifier : str or classifier
        "module:Class", or in Python a scikit-learn classifier.
    classifier_options : mapping
        Arguments of the class, where it is named.
    scoring : str or callable
        Name of a scikit-learn scorer, or `scorer(classifier, features, labels)`; larger is better.
    *data, n_classes, empty_utility
        As in `RecordsGame`.

    Raises
    ------
    ValueError
        If the classifier or the scorer is unknown. `utility` raises it if the classifier cannot be trained on a
        coalition that holds more than one class.
    """

    name = "sklearn"
    source = "Pedregosa et al. (2011)"

    def __init__(
        self,
        *data: Any,
        n_classes: int,
        empty_utility: float | None = None,
        classifier: str | ClassifierMixin = "sklearn.linear_model:LogisticRegression",
        classifier_options: Mapping[str, Any] = {},  # read only
        scoring: str | Callable[[Any, np.ndarray, np.ndarray], float] = "accuracy",
    ) -> None:
        from sklearn.metrics import get_scorer

        if not isinstance(classifier_options, Mapping):
            raise ValueError(f"classifier_options must be a mapping, found {classifier_options!r:.60}")
        if not (callable(scoring) or isinstance(scoring, str)):
            raise ValueError(f"scoring must be the name of a scikit-learn scorer or a function, found {scoring!r:.60}")
        made = _named(classifier, classifier_options) if isinstance(classifier, str) else _copied(classifier)
        if classifier_options and not isinstance(classifier, str):
            raise ValueError(
                "classifier_options belong to a classifier named 'module:Class'; set those of an object on it"
            )
        unset = [key for key, value in made.get_params().items() if key.endswith("random_state") and value is None]
        self.classifier = made.set_params(**dict.fromkeys(unset, 0))
        self._scoring = scoring
        self._scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
        super().__init__(*data, n_classes=n_classes, empty_utility=empty_utility)

    def constant_utility(self) -> float:
        """Score of the test records' most frequent class, with their shares as chances."""
        from sklearn.dummy import DummyClassifier

        # Some features, as scikit-learn asks for, though the model does not look at them.
        model = DummyClassifier(strategy="prior").fit(np.zeros((len(self.test_labels), 1)), self.test_labels)
        try:
            return self._measured(model)
        except Exception as error:  # a user's scorer may fail in any way
            raise ValueError(
                f"scoring: {self._scoring!r} cannot score the test records, of {self.n_classes} classes: "
                f"{_first_line(error)}"
            ) from error

    def score(self, masks: np.ndarray) -> np.ndarray:
        """Test score of the classifier refitted on each coalition's records, shape (b,)."""
        return np.array([self._refitted(mask[self.players]) for mask in masks])

    def _refitted(self, used: np.ndarray) -> float:
        from sklearn.base import clone
        from sklearn.dummy import DummyClassifier

        features, labels = self.features[used], self.labels[used]
        one_class = (labels == labels[0]).all()
        model = DummyClassifier(strategy="prior") if one_class else clone(self.classifier)
        try:
            return self._measured(model.fit(features, labels))
        except Exception as error:  # a user's classifier or scorer may fail in any way
            raise ValueError(
                f"the classifier {type(model).__name__} cannot be trained and scored on a coalition of "
                f"{len(labels)} records: {_first_line(error)}"
            ) from error

    def _measured(self, model: Any) -> float:
        if len(model.classes_) < self.n_classes:
            model = _with_all_classes(model, self.n_classes)
        found = self._scorer(model, self.test_features, self.test_labels)
        return as_real("scoring", found, "a function that returns a number")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _named(path: str, options: Mapping[str, Any]) -> Any:
    from sklearn.base import is_classifier

    module, _, name = path.partition(":")
    try:
        classifier = getattr(importlib.import_module(module), name)(**options)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"classifier: {path!r} with options {dict(options)} cannot be made: {error}") from error
    if not is_classifier(classifier):
        raise ValueError(f"classifier: found {path!r}; allowed is a scikit-learn classifier as 'module:Class'")
    return classifier


def _copied(classifier: Any) -> Any:
    from sklearn.base import clone, is_classifier

    if isinstance(classifier, type) or not hasattr(classifier, "get_params") or not is_classifier(classifier):
        raise ValueError(
            f"classifier: found {classifier!r:.60}; allowed is a scikit-learn classifier, or its 'module:Class'"
        )
    return clone(classifier)


def _with_all_classes(model: Any, n_classes: int) -> Any:
    """The fitted classifier as one of all classes, where those it never saw have no chance."""
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.metaestimators import available_if

    class AllClasses(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(n_classes)

        def predict(self, features: np.ndarray) -> np.ndarray:
            return model.predict(features)

        @available_if(lambda _: hasattr(model, "predict_proba"))
        def predict_proba(self, features: np.ndarray) -> np.ndarray:
            chances = np.zeros((len(features), n_classes))
            chances[:, model.classes_] = model.predict_proba(features)
            return chances

    return AllClasses()
