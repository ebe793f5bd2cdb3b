"""A private model of a file's records, and what can be said of it: guarantee, accuracy, what is not covered."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from analysis.inputs import RecordTable
from analysis.tables import number
from simulator.datasets import hold_out
from simulator.privacy import PrivacyWarning, PrivateLogisticRegression, PrivateSVM
from simulator.privacy.accounting import Guarantee
from simulator.privacy.noise import Noise
from simulator.streams import Streams

MODELS = {"logistic": PrivateLogisticRegression, "svm": PrivateSVM}
#: Confidence level of the accuracy's interval.
LEVEL = 0.95
#: What a card says of the records without noise; a file of the model leaves it out.
PRIVATE = (
    "records",
    "owners",
    "largest_shard",
    "shard_epsilon",
    "shard_delta",
    "test_records",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "constant_accuracy",
    "not_covered",
)
#: Format of the file that `model_file` describes.
FORMAT = "dealer-market private linear model, version 1"


@dataclass(frozen=True, eq=False)
class ModelCard:
    """What is known of a private model.

    Attributes
    ----------
    model : {"logistic", "svm"}
        Kind of classifier.
    guarantee : Guarantee
        Method, neighbour relation, unit, epsilon, delta, and the theorem behind them.
    noise : Noise
        Its noise scales.
    noise_seed : int or None
        Seed of the noise, which whoever knows it can subtract; None where the operating system gave it.
    classes : list of str
        Possible labels.
    classes_declared : bool
        Whether the labels were given, or those that occur in training were taken.
    scaling : {"none", "constants", "own"}
        Features as they are; scaled by given constants; or by mean and deviation of the training records.
    data_norm : float
        Norm to which rows are clipped.
    features, records, owners : int
        Columns, training records, and owners of these; 0 owners where no column tells.
    largest_shard : int
        Most training records of one owner; 0 where no column tells.
    shard_epsilon, shard_delta : float
        Guarantee of all records of that owner together; NaN where no column tells.
    test_records : int
        Records held out to measure accuracy.
    accuracy, accuracy_low, accuracy_high : float
        Share of the test records classified right, and its 95% interval; NaN without test records.
    constant_accuracy : float
        The same of the best constant prediction.
    split_seed : int
        Seed by which the test records were drawn.
    """

    model: str
    guarantee: Guarantee
    noise: Noise
    noise_seed: int | None
    classes: list[str]
    classes_declared: bool
    scaling: str
    data_norm: float
    features: int
    records: int
    owners: int
    largest_shard: int
    shard_epsilon: float
    shard_delta: float
    test_records: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    constant_accuracy: float
    split_seed: int

    @property
    def not_covered(self) -> list[str]:
        """What the guarantee leaves out, in sentences."""
        sentences = []
        if self.noise_seed is not None:
            sentences.append(f"The noise comes from the seed {self.noise_seed}, so nothing is private: a rehearsal.")
        if self.scaling == "own":
            sentences.append("Mean and deviation of the training records, declared to be public, scale the features.")
        if not self.classes_declared:
            sentences.append(
                "The labels that occur in training are released as they are; --classes would declare them."
            )
        if self.test_records:
            sentences.append("The accuracy, which reads the test records without noise.")
        if self.guarantee.neighbours == "replace-one":
            sentences.append(f"The number of {self.guarantee.unit}s is public, as the neighbour relation has it.")
        sentences.append(
            "What else this card tells of the records, such as how many there are; a file of the model leaves it out."
        )
        sentences.append("Whether epsilon, --data-norm or the features were chosen by looking at the records.")
        sentences.append("Other releases of the same records: their epsilons and deltas add up.")
        return sentences


def train_model(
    table: RecordTable,
    *,
    model: str,
    constants: tuple[np.ndarray, np.ndarray] | None = None,
    own_scaling: bool = False,
    classes: list[str] | None = None,
    unit: str = "record",
    test_share: float = 0.2,
    split_seed: int = 0,
    noise_seed: int | None = None,
    **options: Any,
) -> tuple[ModelCard, dict[str, Any]]:
    """Train a private classifier on a part of the records and test it on the rest.

    Parameters
    ----------
    table : RecordTable
        The records.
    model : {"logistic", "svm"}
        Kind of classifier.
    constants : tuple of array of float, shape (d,), optional
        Public centre and scale of each feature.
    own_scaling : bool
        Scale by mean and deviation of the training records instead, which are thereby declared public.
    classes : list of str, optional
        The possible labels, where they are public knowledge.
    unit : {"record", "owner"}
        What the guarantee covers any one of.
    test_share : float
        Share of the records to hold out, in [0, 1).
    split_seed : int
        Seed of what is held out, >= 0.
    noise_seed : int, optional
        Seed of the noise, for rehearsals; by default the operating system gives it.
    **options
        Parameters of the classifier: epsilon, delta, method, neighbours, data_norm.

    Returns
    -------
    card : ModelCard
        What is known of the model.
    weights : dict
        The model as a file holds it: see `model_file`.

    Raises
    ------
    ValueError
        If a parameter is out of range, there is one class only, or no record is left to train on.
    """
    neighbours = options.get("neighbours", "replace-one")
    test = _held_out(table, test_share, split_seed, unit, neighbours)
    train, test = np.flatnonzero(~test), np.flatnonzero(test)
    if len(train) == 0:
        raise ValueError(f"no record is left to train on: found {len(table.labels)}, all held out to test")
    if own_scaling:
        deviation = table.features[train].std(axis=0)
        constants = table.features[train].mean(axis=0), np.where(deviation > 0, deviation, 1.0)
    centre, scale = constants if constants is not None else (np.zeros(len(table.names)), np.ones(len(table.names)))
    features = (table.features - centre) / scale
    holders = None if table.owners is None else table.owners[train]
    rng = None if noise_seed is None else np.random.default_rng(np.random.SeedSequence(noise_seed))
    classifier = MODELS[model](classes=classes, random_state=rng, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyWarning)  # the card says what the warnings would
        classifier.fit(features[train], table.labels[train], holders if unit == "owner" else None)
    guarantee = classifier.accounting_
    largest = 0 if holders is None else int(np.max(np.unique(holders, return_counts=True)[1]))
    shard = (float("nan"),) * 2
    if holders is not None:
        shard = guarantee.for_group(largest if unit == "record" else 1)
    measured = (float("nan"),) * 4
    if len(test):
        right = int((classifier.predict(features[test]) == table.labels[test]).sum())
        ends = binomtest(right, len(test)).proportion_ci(LEVEL)
        most = np.max(np.unique(table.labels[test], return_counts=True)[1])
        measured = right / len(test), float(ends.low), float(ends.high), float(most / len(test))
    card = ModelCard(
        model=model,
        guarantee=guarantee,
        noise=classifier.noise_,
        noise_seed=noise_seed,
        classes=classifier.classes_.tolist(),
        classes_declared=classes is not None,
        scaling="own" if own_scaling else "none" if constants is None else "constants",
        data_norm=classifier.data_norm,
        features=len(table.names),
        records=len(train),
        owners=0 if holders is None else len(np.unique(holders)),
        largest_shard=largest,
        shard_epsilon=shard[0],
        shard_delta=shard[1],
        test_records=len(test),
        accuracy=measured[0],
        accuracy_low=measured[1],
        accuracy_high=measured[2],
        constant_accuracy=measured[3],
        split_seed=split_seed,
    )
    weights = {
        "features": table.names,
        "centre": centre,
        "scale": scale,
        "data_norm": classifier.data_norm,
        "classes": card.classes,
        "coef": classifier.coef_,
        "intercept": classifier.intercept_,
    }
    return card, weights


def as_json(card: ModelCard) -> dict[str, Any]:
    """The card's fields as JSON shows them, the guarantee without its function."""
    shown = {name: getattr(card, name) for name in card.__dataclass_fields__}
    guarantee = {name: getattr(card.guarantee, name) for name in card.guarantee.__dataclass_fields__}
    del guarantee["profile"]
    return {**shown, "guarantee": guarantee, "noise": vars(card.noise), "not_covered": card.not_covered}


def model_file(card: ModelCard, weights: dict[str, Any]) -> dict[str, Any]:
    """What a file of the model holds: the card but for what is private in it, the weights, and how to apply them."""
    return {
        "format": FORMAT,
        "apply": "x = (features - centre) / scale; x = x / max(norm(x), data_norm); score = coef x + intercept; with "
        "two classes the second where the score is positive, else the class of the largest score",
        "card": {name: value for name, value in as_json(card).items() if name not in PRIVATE},
        **weights,
    }


def card_text(card: ModelCard) -> str:
    """The card for the terminal, a line for each of its parts, and what is not covered."""
    g = card.guarantee
    unit = "record" if g.unit == "record" else "owner, with all of an owner's records"
    relation = {"replace-one": "one {} replaced by another", "add-remove": "one {} more or less"}[g.neighbours]
    lines = {
        "guarantee": f"epsilon {g.epsilon:g}, delta {g.delta:g}, per {unit}",
        "neighbours": f"{g.neighbours}: {relation.format(g.unit)}",
        "method": f"{card.model}, {g.method}" + ("" if g.mu is None else f" (Gaussian mechanism, mu = {number(g.mu)})"),
        "theorem": g.bound + ("" if g.models == 1 else f"; {g.models} models, {g.composition}"),
    }
    if card.owners and g.unit == "record":
        said = (
            f"epsilon {card.shard_epsilon:.4g}, delta {card.shard_delta:.3g}"
            if card.shard_delta < 1
            else "no guarantee"
        )
        lines["largest owner"] = f"{card.largest_shard} records together: {said}"
    source = "the operating system" if card.noise_seed is None else f"seed {card.noise_seed}"
    lines["noise"] = f"{card.noise}, from {source}"
    lines["features"] = f"{card.features}, {_SCALING[card.scaling]}, rows clipped to norm {card.data_norm:g}"
    lines["classes"] = ", ".join(card.classes) + ("" if card.classes_declared else " (found in training)")
    owners = f" of {card.owners:,} owners" if card.owners else ""
    lines["trained on"] = f"{card.records:,} records{owners}"
    lines["accuracy"] = "not measured"
    if card.test_records:
        lines["accuracy"] = (
            f"{card.accuracy:.1%} [{card.accuracy_low:.1%}, {card.accuracy_high:.1%}] of {card.test_records:,} records "
            f"held out (seed {card.split_seed}); best constant: {card.constant_accuracy:.1%}"
        )
    text = "\n".join(f"{name:<15}{line}" for name, line in lines.items())
    return f"{text}\n\nNot covered by the guarantee:\n" + "\n".join(f"- {sentence}" for sentence in card.not_covered)


def _held_out(table: RecordTable, share: float, seed: int, unit: str, neighbours: str) -> np.ndarray:
    """Which records are held out, shape (N,) of bool, so that neighbouring tables train on neighbouring sets.

    A place among a known number of records decides, or the rank of an owner's name among known ones; where the
    presence of a unit is hidden, each has a chance of its own, by its name or content alone.
    """
    if unit == "record" and neighbours == "replace-one":
        held = np.zeros(len(table.labels), dtype=bool)
        held[hold_out(len(table.labels), share, Streams(seed))[1]] = True
        return held
    if unit == "owner":
        assert table.owners is not None
        names, holder = np.unique(table.owners, return_inverse=True)
        keys = [name.encode() for name in names.tolist()]
    else:
        rows = zip(table.features, table.labels.tolist(), strict=True)
        keys, holder = [row.tobytes() + label.encode() for row, label in rows], np.arange(len(table.labels))
    chances = np.array([_chance(seed, key) for key in keys])
    if neighbours == "replace-one":
        first = max(1, round(share * len(chances))) if share > 0 else 0
        held = np.argsort(np.argsort(chances)) < first
    else:
        held = chances < share
    return np.asarray(held[holder])


def _chance(seed: int, key: bytes) -> float:
    """A number in [0, 1) that depends on the seed and the key alone, as good as uniform."""
    digest = hashlib.blake2b(key, digest_size=8, key=str(seed).encode()[:64]).digest()
    return int.from_bytes(digest, "little") / 2**64


_SCALING = {
    "none": "as they are",
    "constants": "scaled by public constants",
    "own": "scaled by the training records' mean and deviation, declared public",
}
