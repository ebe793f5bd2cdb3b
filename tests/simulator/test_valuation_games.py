"""Games of records: against refitting, by hand, and where classes, records or variation are missing."""

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier

from simulator.checks import check_game, check_valuation_estimator
from simulator.valuation import (
    AdditiveGame,
    GramRidgeGame,
    LogisticGame,
    NearestNeighboursGame,
    ScikitLearnGame,
    knn_shapley,
    shapley_values,
    valuation_estimators,
    valuation_games,
)

GAMES = tuple(valuation_games().values())


def standardised(loader, train, seed=1):
    """Training and test records; the first training records are of one class each, so that owners lack classes."""
    features, labels = loader(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    order = np.random.default_rng(seed).permutation(len(labels))
    used, test = order[:train], order[train:]
    used = used[np.argsort(labels[used], kind="stable")]
    return features[used], labels[used], features[test], labels[test], len(np.unique(labels))


def coalitions(n):
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1


# --- ridge, against refitting ------------------------------------------------------------------------------


def refitted_accuracy(features, labels, test_features, test_labels, n_classes, ridge):
    """Accuracy of scikit-learn's ridge regression on targets of -1 and 1, one column a class."""
    targets = np.where(labels[:, None] == np.arange(n_classes), 1.0, -1.0)
    scores = Ridge(alpha=ridge).fit(features, targets).predict(test_features)
    return (scores.reshape(len(test_labels), n_classes).argmax(axis=1) == test_labels).mean()


@pytest.mark.parametrize("ridge", [1.0, 20.0])
@pytest.mark.parametrize("loader", [load_breast_cancer, load_iris])
def test_utility_is_the_accuracy_of_a_refitted_ridge_classifier(loader, ridge):
    """For every coalition, among them some that lack a class."""
    features, labels = loader(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    order = np.random.default_rng(1).permutation(len(labels))
    train, test = order[:48], order[48:]
    train = train[np.argsort(labels[train], kind="stable")]  # the first owners hold one class each
    players = np.arange(48) // 8
    n_classes = len(np.unique(labels))
    game = GramRidgeGame(
        features[train], labels[train], players, 6, features[test], labels[test], n_classes=n_classes, ridge=ridge
    )
    masks = (np.arange(1, 64)[:, None] >> np.arange(6)) & 1 == 1
    expected = []
    for mask in masks:
        own = train[mask[players]]
        expected.append(refitted_accuracy(features[own], labels[own], features[test], labels[test], n_classes, ridge))
    assert any(len(np.unique(labels[train[mask[players]]])) < n_classes for mask in masks)
    # Shares of whole numbers of test records: equal unless a record is classified otherwise.
    assert game.utility(masks) == pytest.approx(expected, abs=1e-12)
    assert len(np.unique(expected)) > 10


def test_a_penalty_lost_in_rounding_does_not_stop_the_ridge_game():
    """The same column twice: without a penalty of a size, X'X is singular."""
    features, labels, test, test_labels, _ = standardised(load_breast_cancer, 40)
    features, test = features[:, :4], test[:, :4]
    twice, test_twice = np.hstack([features, features]), np.hstack([test, test])
    arguments = (labels, np.arange(40) // 8, 5)
    tiny = GramRidgeGame(twice, *arguments, test_twice, test_labels, n_classes=2, ridge=1e-14)
    once = GramRidgeGame(features, *arguments, test, test_labels, n_classes=2, ridge=1e-14)
    everybody = np.ones((1, 5), dtype=bool)
    assert np.isfinite(tiny.utility(coalitions(5))).all()
    # Which of the two columns carries the weight is left to rounding; what is predicted is not, but for that.
    assert tiny.utility(everybody) == pytest.approx(once.utility(everybody), abs=0.02)


# --- logistic ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "ridge"), [(1.0, 1.0), (1e-6, 1.0), (1e6, 1e12), (1.0, 1e6)])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_ties_of_the_ridge_game_go_to_the_first_class(n_classes, scale, ridge):
    """Owners hold the same records with other labels: together they tell nothing, whatever rounding leaves of it."""
    rng = np.random.default_rng(n_classes)
    features, test = rng.normal(size=(8, 4)) * scale, rng.normal(size=(60, 4)) * scale
    test_labels = rng.integers(0, n_classes, 60)
    players = np.arange(8 * n_classes)
    labels = players // 8
    records = np.tile(features, (n_classes, 1)), labels, players, 8 * n_classes
    game = GramRidgeGame(*records, test, test_labels, n_classes=n_classes, ridge=ridge)
    tied = np.tile(coalitions(8)[1:], (1, n_classes))
    assert set(game.utility(tied)) == {(test_labels == 0).mean()}
    masks = np.concatenate([tied, rng.random((2000, 8 * n_classes)) < 0.5])
    together = game.utility(masks)
    assert np.array_equal(together, [game.utility(mask[None])[0] for mask in masks])
    order = rng.permutation(len(masks))
    assert np.array_equal(together[order], game.utility(masks[order]))


def test_what_tells_nothing_is_a_tie_also_at_a_penalty_as_good_as_none():
    """A millionth of a millionth of the records' squares, so that whatever is left of their sum would be large."""
    rng = np.random.default_rng(2)
    features, test = 1e6 * rng.normal(size=(8, 9)), 1e6 * rng.normal(size=(60, 9))
    test_labels = rng.integers(0, 2, 60)
    records = np.tile(features, (2, 1)), np.arange(16) // 8, np.arange(16), 16
    game = GramRidgeGame(*records, test, test_labels, n_classes=2, ridge=1.0)
    assert set(game.utility(np.tile(coalitions(8)[1:], (1, 2)))) == {(test_labels == 0).mean()}


def test_a_record_on_the_boundary_is_of_the_first_class():
    """Two features are exchanged between the classes, so weights are opposite, and equal features tie."""
    rng = np.random.default_rng(3)
    features, test = rng.normal(size=(8, 2)), np.tile(rng.normal(size=(60, 1)), 2)
    test_labels = rng.integers(0, 2, 60)
    records = np.concatenate([features, features[:, ::-1]]), np.arange(16) // 8, np.arange(16), 16
    game = GramRidgeGame(*records, test, test_labels, n_classes=2, ridge=0.3)
    assert set(game.utility(np.tile(coalitions(8)[1:], (1, 2)))) == {(test_labels == 0).mean()}


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_small_scores_of_the_ridge_game_are_no_ties(scale):
    """A penalty a hundred million times the records: scores are that much smaller, and classes in balance."""
    features, labels, test, test_labels, n_classes = standardised(load_breast_cancer, 300)
    used = np.concatenate([np.flatnonzero(labels == c)[:100] for c in range(2)])
    features, labels = features[used], labels[used]
    ridge = 1e10
    arguments = labels, np.arange(200) % 5, 5, test * scale, test_labels
    game = GramRidgeGame(features * scale, *arguments, n_classes=2, ridge=ridge * scale**2)
    expected = refitted_accuracy(features, labels, test, test_labels, n_classes, ridge)
    assert game.utility(np.ones((1, 5), dtype=bool))[0] == expected
    assert expected > 0.8


def test_only_coalitions_without_a_factor_take_the_pseudo_inverse(monkeypatch):
    """Two columns agree among the first four owners' records, whose coalitions are singular but for the penalty."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    players = np.arange(60) % 6
    features[:, 2] = features[:, 1] + np.where(players >= 4, features[:, 2], 0.0)
    game = GramRidgeGame(features, labels, players, 6, features, labels, n_classes=2, ridge=1e-17)
    taken, pinv = [], np.linalg.pinv
    monkeypatch.setattr(np.linalg, "pinv", lambda a, **k: (taken.append(a.size // 16), pinv(a, **k))[1])
    masks = coalitions(6)[1:]
    game.utility(masks)
    assert 1 <= sum(taken) <= 2**4 - 1
    assert game.utility(masks[:15]).tolist() == game.utility(masks)[:15].tolist()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("ridge", [1e-13, 1e-16, 1e-300])
def test_a_penalty_lost_in_rounding_does_not_stop_the_logistic_game(n_classes, ridge):
    """Columns that agree are as good as one of them, where the records are not separable."""
    rng = np.random.default_rng(5)
    features, test = rng.normal(size=(120, 3)), rng.normal(size=(50, 3))
    labels, test_labels = rng.integers(0, n_classes, 120), rng.integers(0, n_classes, 50)
    arguments = labels, np.arange(120) % 6, 6

    def made(columns, **options):
        return LogisticGame(columns(features), *arguments, columns(test), test_labels, n_classes=n_classes, **options)

    once = made(lambda x: x, ridge=1e-9)
    masks = coalitions(6)
    masks = masks[masks.sum(axis=1) >= 3]
    twice = made(lambda x: np.hstack([x, 3 * x]), ridge=ridge)
    huge = made(lambda x: 1e99 * x)
    for game in (twice, huge):
        assert np.array_equal(game.utility(masks), once.utility(masks))
        for seed in range(3):
            check_game(game, seed=seed)


@pytest.mark.parametrize("ridge", [1.0, 0.1])
@pytest.mark.parametrize("loader", [load_breast_cancer, load_iris])
def test_logistic_weights_are_those_of_scikit_learn(loader, ridge):
    """All coalitions at once against one refit each.

    They differ by the intercept's penalty of 1e-6, which moves weights by about 1e-6 / ridge of the intercept.
    """
    features, labels, test, test_labels, n_classes = standardised(loader, 48)
    features, test = features[:, :4], test[:, :4]
    labels = np.random.default_rng(0).permutation(labels)  # noise keeps the weights of a small penalty moderate
    players = np.arange(48) // 12
    game = LogisticGame(features, labels, players, 4, test, test_labels, n_classes=n_classes, ridge=ridge)
    masks = coalitions(4)[1:]
    weights = game.fit(masks[:, players].astype(float))
    for mask, found in zip(masks, weights, strict=True):
        used = mask[players]
        peer = LogisticRegression(C=1 / ridge, solver="newton-cg", tol=1e-10).fit(features[used], labels[used])
        assert len(peer.classes_) == n_classes
        # Of more than two classes' intercepts only the differences count.
        centre = np.mean(found[:, -1]) - peer.intercept_.mean() if n_classes > 2 else 0.0
        assert found[:, :-1] == pytest.approx(peer.coef_, abs=1e-4)
        assert found[:, -1] - centre == pytest.approx(peer.intercept_, abs=1e-4)


@pytest.mark.parametrize("loader", [load_breast_cancer, load_iris])
def test_logistic_coalitions_may_lack_classes(loader):
    """The utility is that of a refit on the classes there are, a single one predicting itself."""
    features, labels, test, test_labels, n_classes = standardised(loader, 60)
    features, test = features[:, :4], test[:, :4]
    players = np.arange(60) // 10
    game = LogisticGame(features, labels, players, 6, test, test_labels, n_classes=n_classes)
    expected, held = [], []
    for mask in coalitions(6)[1:]:
        used = mask[players]
        classes = np.unique(labels[used])
        held.append(len(classes))
        if len(classes) == 1:
            expected.append((test_labels == classes[0]).mean())
            continue
        # Two vectors of weights w and -w, both penalised, are one of 2w with half the penalty.
        softmax_of_two = n_classes > 2 and len(classes) == 2
        peer = LogisticRegression(C=2.0 if softmax_of_two else 1.0, solver="newton-cg", tol=1e-10)
        expected.append((peer.fit(features[used], labels[used]).predict(test) == test_labels).mean())
    assert set(held) == set(range(1, n_classes + 1))
    assert game.utility(coalitions(6)[1:]) == pytest.approx(expected, abs=1e-12)


def test_a_step_that_overshoots_is_halved():
    """Newton's own steps hardly ever do; so a thousand times a right one and a right one are given side by side."""
    features, labels, test, test_labels, _ = standardised(load_breast_cancer, 40)
    game = LogisticGame(features[:, :4], labels, np.zeros(40, int), 1, test[:, :4], test_labels, n_classes=2)
    members = np.ones((2, 40))
    start = np.zeros((2, 1, 5))
    _, before = game._evaluate(members, start)
    step = -0.1 * game.fit(members) * np.array([1000.0, 1.0])[:, None, None]
    weights, _, loss = game._descend(members, start, step, before)
    assert (loss < before).all()
    assert np.array_equal(weights[1], -step[1])


def test_a_logistic_model_too_large_for_newtons_method_is_refused():
    features = np.ones((3, 100))
    with pytest.raises(ValueError, match="at most 256 coefficients, found 303"):
        LogisticGame(features, np.arange(3), np.arange(3), 3, features, np.arange(3), n_classes=3)


# --- scikit-learn ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classifier", [RidgeClassifier(), "sklearn.tree:DecisionTreeClassifier"])
def test_any_classifier_is_refitted_and_scored(classifier):
    features, labels, test, test_labels, _ = standardised(load_breast_cancer, 45)
    players = np.arange(45) // 15  # the middle one holds both classes
    game = ScikitLearnGame(
        features, labels, players, 3, test, test_labels, n_classes=2, classifier=classifier, scoring="f1"
    )
    from sklearn.metrics import f1_score
    from sklearn.tree import DecisionTreeClassifier

    peer = RidgeClassifier() if isinstance(classifier, RidgeClassifier) else DecisionTreeClassifier(random_state=0)
    masks = coalitions(3)[[2, 7]]
    expected = [
        f1_score(test_labels, peer.fit(features[used], labels[used]).predict(test)) for used in masks[:, players]
    ]
    assert game.utility(masks).tolist() == expected
    check_game(game, coalitions=4)  # a tree without a fixed random state fails it


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc_ovr", "neg_log_loss", "balanced_accuracy"])
def test_scores_of_chances_are_defined_where_a_class_is_missing(scoring):
    features, labels, test, test_labels, _ = standardised(load_iris, 60)
    players = np.arange(60) // 20  # one class each, nearly
    game = ScikitLearnGame(features, labels, players, 4, test, test_labels, n_classes=3, scoring=scoring)
    utility = game.utility(coalitions(4))
    assert np.isfinite(utility).all()
    assert utility[7] == utility.max()  # all three classes
    # Chances by the test records' shares are the best that do not look at the features.
    shares = np.bincount(test_labels) / len(test_labels)
    best = {"accuracy": shares.max(), "roc_auc_ovr": 0.5, "neg_log_loss": (shares * np.log(shares)).sum()}
    assert game.empty_utility == pytest.approx(best.get(scoring, 1 / 3))


def test_a_classifier_that_cannot_be_trained_is_named():
    features, labels, test, test_labels, _ = standardised(load_iris, 30)
    game = ScikitLearnGame(
        features, labels, np.arange(30), 30, test, test_labels, n_classes=3, classifier=KNeighborsClassifier(5)
    )
    with pytest.raises(ValueError, match=r"KNeighborsClassifier cannot be .* a coalition of 2 records"):
        game.utility(np.isin(np.arange(30), [0, 29])[None])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"classifier": 3}, "classifier: found 3; allowed is a scikit-learn classifier"),
        ({"classifier": Ridge()}, r"classifier: found Ridge\(\); allowed is a scikit-learn classifier"),
        ({"classifier": LogisticRegression}, "classifier: found <class"),
        ({"classifier": RidgeClassifier(), "classifier_options": {"alpha": 2}}, "classifier_options belong to"),
        ({"classifier_options": 3}, "classifier_options must be a mapping, found 3"),
        ({"scoring": 3}, "scoring must be the name of a scikit-learn scorer or a function, found 3"),
        ({"scoring": lambda *_: np.nan}, "scoring must be a function that returns a number, found nan"),
        ({"scoring": lambda *_: None}, "scoring must be a function that returns a number, found None"),
        ({"scoring": lambda _: 1.0}, "cannot score the test records, of 2 classes: .* takes 1 positional argument"),
        ({"classifier": "sklearn.linear_model:LogisticRegresion"}, "LogisticRegresion' with options .* cannot be made"),
        ({"classifier": "sklearn.svm:SVC", "classifier_options": {"width": 1}}, "width"),
        ({"classifier": "no_such_module:Classifier"}, "no_such_module"),
        ({"classifier": "sklearn.linear_model:Ridge"}, "allowed is a scikit-learn classifier"),
        ({"scoring": "acuracy"}, "acuracy"),
    ],
)
def test_unknown_classifiers_and_scorers_are_refused(options, says):
    records = np.array([[0.0], [1.0]])
    with pytest.raises(ValueError, match=says):
        ScikitLearnGame(records, [0, 1], [0, 1], 2, records, [0, 1], n_classes=2, **options)


# --- nearest neighbours ------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3])
def test_the_neighbours_utility_is_the_chance_that_scikit_learn_gives_to_the_right_class(k):
    features, labels, test, test_labels, _ = standardised(load_iris, 60)
    players = np.arange(60) // 15
    game = NearestNeighboursGame(features, labels, players, 4, test, test_labels, n_classes=3, k=k)
    masks = coalitions(4)[1:]
    expected = []
    for used in masks[:, players]:
        peer = KNeighborsClassifier(k, algorithm="brute").fit(features[used], labels[used])
        column = np.searchsorted(peer.classes_, test_labels)
        known = np.isin(test_labels, peer.classes_)
        chances = peer.predict_proba(test)[np.arange(len(test)), np.minimum(column, len(peer.classes_) - 1)]
        expected.append(np.mean(np.where(known, chances, 0.0)))
    assert game.utility(masks) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("empty", [0.0, 0.4, None])
@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_values_of_records_are_exact(k, empty):
    """Against enumeration of the game in which every record is a player; also with more neighbours than records."""
    rng = np.random.default_rng(k)
    features, test = rng.integers(0, 4, (9, 2)).astype(float), rng.normal(1.5, 1.5, (11, 2))
    features[4] = features[5]  # equally far from everything
    labels, test_labels = rng.integers(0, 3, 9), rng.integers(0, 3, 11)
    game = NearestNeighboursGame(
        features, labels, np.arange(9), 9, test, test_labels, n_classes=3, k=k, empty_utility=empty
    )
    exact = shapley_values(game, method="exact")
    single = shapley_values(game, method="knn")
    assert single.values == pytest.approx(exact.values, abs=1e-12)
    assert single.status == "exact"
    found = knn_shapley(features, labels, test, test_labels, k=k, empty_utility=game.empty_utility)
    assert found == pytest.approx(exact.values, abs=1e-12)


def test_the_values_of_an_owners_records_are_summed():
    features, labels, test, test_labels, _ = standardised(load_iris, 60)
    players = np.arange(60) % 7
    game = NearestNeighboursGame(features, labels, players, 8, test, test_labels, n_classes=3, empty_utility=0.0)
    records = knn_shapley(features, labels, test, test_labels)
    found = shapley_values(game, method="knn")
    assert found.values == pytest.approx([records[players == owner].sum() for owner in range(8)])
    assert found.values[7] == 0.0
    assert found.evaluations == 0
    assert found.status == "summed"  # which are not the owners' own values
    own = shapley_values(game, method="exact").values
    assert not np.allclose(found.values, own, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"k": "3"}, "k must be a whole number >= 1, found '3'"),
        ({"labels": ["a", "b"]}, "labels and test_labels must both be numbers or both be text, found a and 0"),
        ({"labels": [None, 1]}, "labels must be numbers, found NoneType"),
        ({"labels": [np.nan, 1.0]}, "labels must name the class of every record, found nan"),
        ({"labels": [0]}, r"labels must have shape \(2,\), one a record, found \(1,\)"),
        ({"labels": [[0], [1]]}, r"labels must be one class a record, found the shape \(2, 1\)"),
        ({"labels": [[0], [1, 2]]}, "labels must be one class a record, found rows of different lengths"),
        ({"labels": 3}, "labels must be one class a record"),
        ({"test_labels": []}, r"test_labels must have shape \(2,\)"),
        ({"features": None}, "features must be numbers, found NoneType"),
        ({"features": 3.0}, "features must be a table"),
        ({"empty_utility": "a"}, "empty_utility must be a finite number"),
    ],
)
def test_records_without_a_value_are_refused(change, says):
    records = [[0.0], [1.0]]
    right = {"features": records, "labels": [0, 1], "test_features": records, "test_labels": [0, 1]}
    with pytest.raises(ValueError, match=says):
        knn_shapley(**{**right, **change})


def test_labels_of_any_kind_are_valued():
    assert knn_shapley([[0.0], [5.0]], [True, False], [[1.0]], [1.0], k=1).tolist() == [1.0, 0.0]
    found = knn_shapley([[0.0], [5.0]], ["yes", "no"], [[1.0], [6.0]], ["yes", "maybe"], k=1)
    assert found.tolist() == [0.5, 0.0]
    assert knn_shapley(np.empty((0, 1)), [], [[1.0]], ["yes"]).tolist() == []


def test_the_chance_of_a_hundred_thousand_records_is_sorted_not_searched():
    """O(N log N): ten thousand records and one test record take milliseconds; enumeration would take for ever."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(10_000, 2)), rng.integers(0, 2, 10_000)
    values = knn_shapley(features, labels, features[:1], labels[:1], k=5)
    nearest = np.argsort(((features - features[0]) ** 2).sum(axis=1))[:5]
    assert values.sum() == pytest.approx((labels[nearest] == labels[0]).mean(), abs=1e-9)


# --- all games ---------------------------------------------------------------------------------------------


def small_game(cls=GramRidgeGame, **options):
    """Three owners of records of three classes, one without any; the last feature is constant."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 40)
    features = rng.normal(size=(40, 3)) + labels[:, None]
    features[:, 2] = 7.0
    test_labels = np.array([0, 1, 1, 2, 2, 2, 1, 2])
    test_features = rng.normal(size=(8, 3)) + test_labels[:, None]
    players = np.arange(40) % 3
    return cls(features, labels, players, 4, test_features, test_labels, n_classes=3, **options)


@pytest.mark.parametrize("cls", GAMES)
def test_every_game_passes_the_shared_check(cls):
    check_game(small_game(cls), coalitions=10)
    check_game(small_game(cls, empty_utility=0.0).restrict(np.array([3, 1])), coalitions=5)


def test_the_check_finds_what_games_get_wrong():
    class Wrong(AdditiveGame):
        def __init__(self, utility):
            super().__init__(np.arange(4.0))
            self.utility = utility

    right = AdditiveGame(np.arange(4.0)).utility
    noise = np.random.default_rng(0)

    def spoils(masks):
        masks[:] = False
        return np.zeros(len(masks))

    check_game(Wrong(right))
    for utility, says in (
        (lambda masks: right(masks) + noise.random(len(masks)), "second call"),
        (lambda masks: right(masks) + len(masks), "one by one"),
        (lambda masks: right(masks)[:, None], "shape"),
        (lambda masks: np.where(masks.any(axis=1), right(masks), np.nan), "finite"),
        (spoils, "changes the coalitions"),
    ):
        with pytest.raises(AssertionError, match=says):
            check_game(Wrong(utility))


@pytest.mark.parametrize("cls", GAMES)
def test_an_owner_without_records_is_a_null_player(cls):
    game = small_game(cls)
    values = shapley_values(game, method="exact").values
    assert values[3] == 0.0
    assert np.isfinite(values).all()
    # Alone it is worth what nobody is.
    assert game.utility(np.array([[False, False, False, True]])).tolist() == [game.empty_utility]


@pytest.mark.parametrize("cls", GAMES)
def test_owners_of_equal_records_have_equal_values(cls):
    features, labels, test, test_labels, _ = standardised(load_iris, 45)
    twice = np.concatenate([np.arange(45), np.arange(15)])  # the fourth owner holds what the first does
    players = np.arange(60) // 15
    game = cls(features[twice], labels[twice], players, 4, test, test_labels, n_classes=3)
    values = shapley_values(game, method="exact").values
    assert values[0] == pytest.approx(values[3], abs=1e-9)
    assert values[0] != pytest.approx(values[1], abs=1e-3)


@pytest.mark.parametrize("cls", GAMES)
def test_utility_of_nobody_is_the_best_constant_prediction_unless_given(cls):
    nobody = np.zeros((1, 4), dtype=bool)
    assert small_game(cls).utility(nobody).tolist() == [0.5]  # four of eight test records are of class 2
    assert small_game(cls, empty_utility=0.0).utility(nobody).tolist() == [0.0]


@pytest.mark.parametrize("cls", [cls for cls in GAMES if cls is not NearestNeighboursGame])
def test_one_class_in_a_coalition_predicts_that_class(cls):
    features = np.array([[0.0], [1.0], [5.0], [6.0]])
    labels = np.array([0, 0, 1, 1])
    game = cls(features, labels, labels, 2, features, labels, n_classes=2)
    assert game.utility(np.array([[True, False], [False, True], [True, True]])).tolist() == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("cls", GAMES)
def test_a_game_restricted_to_some_players_keeps_their_utilities(cls, remembered):
    game = small_game(cls)
    if remembered:
        game.remember()
    part = game.restrict(np.array([2, 0]))
    assert part.n_players == 2
    masks = np.array([[False, False], [True, False], [False, True], [True, True]])
    whole = np.zeros((4, 4), dtype=bool)
    whole[:, [2, 0]] = masks
    assert part.utility(masks).tolist() == small_game(cls).utility(whole).tolist()
    again = part.restrict(np.array([1]))
    assert again.utility(np.array([[True]])).tolist() == small_game(cls).utility(whole[2:3]).tolist()


def test_a_game_that_remembers_trains_every_coalition_once():
    game, plain = small_game(), small_game()
    trained = []
    score = game.score
    game.score = lambda masks: (trained.append(len(masks)), score(masks))[1]
    game.remember()
    first = game.utility(coalitions(4))
    assert sum(trained) == 14  # all but those of nobody and of the owner without records
    assert first.tolist() == plain.utility(coalitions(4)).tolist()
    assert game.utility(coalitions(4)[::-1]).tolist() == first[::-1].tolist()
    for players in itertools.combinations(range(4), 3):
        part = game.restrict(np.array(players))
        part.score = None  # would fail
        expected = shapley_values(plain.restrict(np.array(players)), method="exact").values
        assert shapley_values(part, method="exact").values.tolist() == expected.tolist()
    assert sum(trained) == 14


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n_classes": 1}, "n_classes must be a whole number >= 2, found 1"),
        ({"labels": np.array([0, 2])}, "labels must be in 0..1, found 0..2"),
        ({"players": np.array([0, 3])}, "players must be in 0..1, found 0..3"),
        ({"players": np.array([-1, 0])}, "players must be in 0..1, found -1..0"),
        ({"players": np.array([0])}, "players must have shape"),
        ({"test_features": np.zeros((2, 5))}, "same columns"),
        ({"test_features": np.zeros((0, 1)), "test_labels": np.array([])}, "at least one record"),
        ({"features": np.array([[0.0], [np.nan]])}, "^features must be finite numbers, found nan"),
        ({"test_features": np.array([[0.0], [-np.inf]])}, "test_features must be finite numbers, found -inf"),
        ({"features": np.array([[0.0], [1e200]])}, "^features must be between -1e.100 and 1e.100, found 1e.200"),
        ({"features": "abc"}, "^features must be numbers, found str"),
        ({"features": [[0.0], [1.0, 2.0]]}, "^features must be a table of numbers, found rows of different lengths"),
        (
            {"features": np.zeros(2)},
            r"^features must be a table of shape \(records, features\), found the shape \(2,\)",
        ),
        ({"features": np.array([[0.0], [None]])}, "^features must be numbers, found NoneType"),
        ({"features": np.ma.array([[0.0], [1.0]], mask=[[0], [1]])}, "^features must be finite numbers, found nan"),
        ({"labels": [0.5, 1.0]}, "^labels must be whole numbers in 0..1, found 0.5"),
        ({"labels": ["0", "1"]}, "^labels must be numbers, found str"),
        ({"labels": np.ma.array([0, 1], mask=[0, 1])}, "^labels must be whole numbers in 0..1, found nan"),
        ({"players": [np.nan, 0.0]}, "^players must be whole numbers in 0..1, found nan"),
        ({"test_labels": None}, "^test_labels must be numbers, found NoneType"),
        ({"n_players": 2.0}, "^n_players must be a whole number >= 0, found 2.0"),
        ({"n_players": True}, "^n_players must be a whole number >= 0, found True"),
        ({"n_classes": "2"}, "^n_classes must be a whole number >= 2, found '2'"),
    ],
)
@pytest.mark.parametrize("cls", GAMES)
def test_records_that_do_not_fit_are_refused(cls, change, says):
    right = {
        "features": np.zeros((2, 1)),
        "labels": np.array([0, 1]),
        "players": np.array([0, 1]),
        "n_players": 2,
        "test_features": np.zeros((2, 1)),
        "test_labels": np.array([0, 1]),
        "n_classes": 2,
    }
    n_classes, *arguments = (lambda given: [given.pop("n_classes"), *given.values()])({**right, **change})
    with pytest.raises(ValueError, match=says):
        cls(*arguments, n_classes=n_classes)


@pytest.mark.parametrize(
    ("cls", "option"), [(GramRidgeGame, "ridge"), (LogisticGame, "ridge"), (NearestNeighboursGame, "k")]
)
@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "1", True, None, [1]])
def test_options_out_of_range_are_refused(cls, option, value):
    with pytest.raises(ValueError, match=option):
        small_game(cls, **{option: value})


@pytest.mark.parametrize("value", ["a", True, np.nan, np.inf])
def test_a_worth_of_nobody_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="empty_utility must be a finite number, or None, found "):
        small_game(empty_utility=value)


@pytest.mark.parametrize("cls", GAMES)
def test_numbers_of_other_types_are_the_same_game(cls):
    """Whole floats, objects, truth values, lists, and numbers of NumPy."""
    labels = np.arange(12) % 2
    features = np.where(labels == np.arange(12) % 3, 1, 0)[:, None]
    players = np.arange(12) // 4
    one = cls(features, labels, players, 3, features, labels, n_classes=2)
    other = cls(
        features.astype(object),
        labels.astype(float),
        players.tolist(),
        np.int64(3),
        features == 1,
        labels == 1,
        n_classes=np.int8(2),
    )
    assert one.utility(coalitions(3)).tolist() == other.utility(coalitions(3).astype(float)).tolist()
    assert np.array_equal(one.utility(coalitions(3)), one.utility(coalitions(3).astype(int).tolist()))


@pytest.mark.parametrize("game", [small_game(), AdditiveGame(np.ones(4))])
@pytest.mark.parametrize(
    ("masks", "says"),
    [
        (np.ones((2, 3), dtype=bool), r"masks must have shape \(coalitions, 4\), .* found the shape \(2, 3\)"),
        (np.ones(4, dtype=bool), r"found the shape \(4,\)"),
        (np.full((1, 4), 2), "masks must be true or false, found 2"),
        (np.full((1, 4), np.nan), "masks must be true or false, found nan"),
        (np.full((1, 4), "a"), "masks must be numbers, found str"),
        ([[1], [1, 0]], "rows of different lengths"),
        (None, "found the shape"),
    ],
)
def test_masks_that_are_no_coalitions_are_refused(game, masks, says):
    with pytest.raises(ValueError, match=says):
        game.utility(masks)


@pytest.mark.parametrize("players", [[0, 0], [4], [-1], [0.5], ["a"], None, [[0]], [True, False]])
def test_players_that_cannot_stay_are_refused(players):
    with pytest.raises(ValueError, match="players must be "):
        small_game().restrict(players)


@pytest.mark.parametrize("cls", GAMES)
def test_a_game_without_any_records_is_worth_nothing(cls):
    nothing = np.empty((0, 1))
    game = cls(nothing, [], [], 2, np.ones((2, 1)), [0, 1], n_classes=2)
    assert shapley_values(game).values.tolist() == [0.0, 0.0]


def test_a_large_game_remembers_coalitions_by_their_members():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    game = GramRidgeGame(features, labels, np.arange(40) // 2, 20, features, labels, n_classes=2)
    plain = GramRidgeGame(features, labels, np.arange(40) // 2, 20, features, labels, n_classes=2)
    trained = []
    score = game.score
    game.score = lambda masks: (trained.append(len(masks)), score(masks))[1]
    game.remember()
    masks = rng.random((300, 20)) < 0.5
    masks[:, 7] = False
    assert game.utility(masks).tolist() == game.utility(masks[::-1])[::-1].tolist() == plain.utility(masks).tolist()
    assert sum(trained) == 300
    part = game.restrict(np.delete(np.arange(20), 7)[::-1])
    part.score = None  # would fail
    assert part.utility(np.delete(masks, 7, axis=1)[:, ::-1]).tolist() == plain.utility(masks).tolist()


def test_a_memory_that_is_full_goes_on(monkeypatch):
    monkeypatch.setattr("simulator.valuation.games.REMEMBERED", 10)
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    game = GramRidgeGame(features, labels, np.arange(40) // 2, 20, features, labels, n_classes=2)
    game.remember()
    one, other = rng.random((2, 30, 20)) < 0.5
    first = [game.utility(one).tolist(), game.utility(other).tolist()]
    assert len(game._memory._kept) == 30  # what was asked for while there was room
    assert [game.utility(one).tolist(), game.utility(other).tolist()] == first


# --- all estimators ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(valuation_estimators()) - {"knn"}))
@pytest.mark.parametrize("seed", [0, 1])
def test_every_estimator_passes_the_shared_check(name, seed):
    check_valuation_estimator(valuation_estimators()[name], seed=seed)


def test_values_of_records_pass_the_shared_check():
    """On the games that they are exact for: every player holds one record."""
    features, labels, test, test_labels, _ = standardised(load_iris, 8)
    games = [
        NearestNeighboursGame(features, labels, np.arange(8), 8, test, test_labels, n_classes=3, k=k) for k in (1, 4)
    ]
    check_valuation_estimator(valuation_estimators()["knn"], games=games)
