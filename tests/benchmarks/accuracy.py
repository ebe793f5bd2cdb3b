"""Accuracy of the private classifiers by method, epsilon and neighbour relation: the tables of docs/privacy.md.

Run `python tests/benchmarks/accuracy.py [DATA ...]` from the project's folder; it takes a quarter of an hour. A cell
is the mean of 12 splits, stratified, with four draws of the noise each. Features are standardised with the training
records' mean and deviation, which counts as public knowledge. With `--owners N` the training records are dealt to N
owners, who are the unit of the guarantee.
"""

import argparse
import itertools

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from simulator.privacy import PrivateLogisticRegression, PrivateSVM

EPSILONS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
SPLITS = 12
DRAWS = 4
METHODS = ("objective", "objective, tight", "amp", "output", "gradient")
FOR_OWNERS = ("objective", "output", "gradient")


def synthetic(records):
    """Two clusters whose spread differs tenfold between directions, none of them a feature's own."""
    rng = np.random.default_rng(5)
    rotation = np.linalg.qr(rng.normal(size=(10, 10)))[0]
    labels = np.arange(records) % 2
    return (0.4 * labels[:, None] + rng.normal(size=(records, 10)) * np.linspace(0.3, 3.0, 10)) @ rotation, labels


def digit_eight():
    """One digit against the others: one record in ten."""
    features, labels = load_digits(return_X_y=True)
    return features, (labels == 8).astype(int)


DATA = {
    "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
    "digit_eight": digit_eight,
    "digits": lambda: load_digits(return_X_y=True),
    "synthetic": lambda: synthetic(4000),
    "synthetic_small": lambda: synthetic(300),
}


def splits(features, labels):
    """Training and test parts, standardised by the training part."""
    for seed in range(SPLITS):
        train, test, y, y_test = train_test_split(features, labels, test_size=0.2, stratify=labels, random_state=seed)
        scaler = StandardScaler().fit(train)
        # Off by a little, as public constants would be: else every fit warns that the data standardised itself.
        yield scaler.transform(train) + 1e-6, y, scaler.transform(test), y_test


def accuracy(parts, model, owners, **options):
    """Mean accuracy over the parts and its standard error, in %."""
    scores = []
    for seed, (X, y, X_test, y_test) in enumerate(parts):
        groups = np.arange(len(y)) * owners // len(y) if owners else None
        rngs = [np.random.default_rng([seed, draw]) for draw in range(DRAWS)]
        fitted = [model(**options, random_state=rng).fit(X, y, groups) for rng in rngs]
        scores.append(100 * np.mean([one.score(X_test, y_test) for one in fitted]))
    return f"{np.mean(scores):.1f} ± {np.std(scores, ddof=1) / np.sqrt(len(scores)):.1f}"


def main(names, owners=0):
    for data in names:
        features, labels = DATA[data]()
        parts = list(splits(features, labels))
        plain = np.mean([LogisticRegression(max_iter=1000).fit(X, y).score(*test) for X, y, *test in parts])
        size, width = parts[0][0].shape
        held = f" of {owners} owners" if owners else ""
        print(f"\n{data}: {size} training records{held}, {width} features, not private {100 * plain:.1f}\n")
        print("| neighbours | model | method | " + " | ".join(f"eps {epsilon:g}" for epsilon in EPSILONS) + " |")
        print("|---|---|---|" + "---|" * len(EPSILONS), flush=True)
        for neighbours, model, method in itertools.product(
            ("replace-one", "add-remove"), (PrivateLogisticRegression, PrivateSVM), FOR_OWNERS if owners else METHODS
        ):
            name, _, tight = method.partition(", ")
            # The tight bound is the default elsewhere, or does not apply.
            if tight and (neighbours == "add-remove" or len(np.unique(labels)) > 2):
                continue
            options = {"method": name, "accounting": tight or "auto", "neighbours": neighbours}
            cells = [accuracy(parts, model, owners, epsilon=epsilon, **options) for epsilon in EPSILONS]
            row = [neighbours, model.__name__.removeprefix("Private"), method, *cells]
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", default=list(DATA))
    parser.add_argument("--owners", type=int, default=0)
    arguments = parser.parse_args()
    main(arguments.data, arguments.owners)
