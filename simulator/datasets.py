"""Data sets of labelled records, and their split into owners' shards."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simulator.config import DataConfig
from simulator.streams import Streams

#: Share of the records held out to measure accuracy.
TEST_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Records:
    """Labelled records of one data set.

    Attributes
    ----------
    features : array of float, shape (N, d)
        Features, in the data set's units.
    labels : array of int, shape (N,)
        Class index of each record.
    n_classes : int
        Number of classes, >= 2.
    """

    features: np.ndarray
    labels: np.ndarray
    n_classes: int


@dataclass(frozen=True, eq=False)
class Shards:
    """Training records held by owners, and a test set held by nobody.

    Features are standardised with the training records' mean and deviation, which count as public
    knowledge: the private training's guarantee does not cover them.

    Attributes
    ----------
    features : array of float, shape (N, d)
        Standardised training records.
    labels : array of int, shape (N,)
        Class index of each.
    owners : array of int, shape (N,)
        Owner of each.
    test_features : array of float, shape (T, d)
        Standardised test records.
    test_labels : array of int, shape (T,)
        Class index of each.
    n_classes : int
        Number of classes of the data set.
    """

    features: np.ndarray
    labels: np.ndarray
    owners: np.ndarray
    test_features: np.ndarray
    test_labels: np.ndarray
    n_classes: int


def load(config: DataConfig) -> Records:
    """Records of the data set that a scenario names.

    Raises
    ------
    ValueError
        If the file cannot be read, or its content cannot be used; the message names the column.
    """
    if config.source == "synthetic":
        return _synthetic(config.records, config.features, config.classes, config.separation)
    return _named(config.source, config.label, _stamp(config.source))


def _stamp(source: str) -> tuple[int, int] | None:
    """Size and time of a file, so that one that has changed is read again."""
    try:
        found = Path(source).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=4)
def _named(source: str, label: str | None, stamp: tuple[int, int] | None) -> Records:
    from sklearn import datasets

    if source in ("breast_cancer", "iris", "digits"):
        features, labels = getattr(datasets, f"load_{source}")(return_X_y=True)
        return Records(features, labels, len(np.unique(labels)))
    if source.startswith("openml:"):
        name = source.removeprefix("openml:")
        try:
            bunch: Any = datasets.fetch_openml(name, as_frame=True, parser="auto")
        except Exception as error:
            raise ValueError(f"data.source: {source!r} cannot be fetched: {error}") from error
        return _from_table(bunch.data, bunch.target, f"data.source: {source!r}")
    path = Path(source)
    try:
        with warnings.catch_warnings():
            # Without this, a row with a cell too many shifts all its cells by one column.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, index_col=False)
    except FileNotFoundError:
        raise ValueError(f"data.source: found {source!r}, where there is no file") from None
    except pd.errors.ParserWarning:
        raise ValueError(f"data.source: {path.name} has rows with more cells than its header has columns") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"data.source: {source!r} cannot be read as CSV: {error}") from error
    if label not in table.columns:
        columns = ", ".join(map(str, table.columns))
        raise ValueError(f"data.label: found {label!r}; the columns of {path.name} are {columns}")
    return _from_table(table.drop(columns=label), table[label], f"data.source: {path.name}")


def _from_table(table: pd.DataFrame, label: pd.Series, where: str) -> Records:
    for name, column in [*table.items(), (label.name, label)]:
        missing = int(column.isna().sum())
        if missing:
            raise ValueError(f"{where}: column {name!r} has {missing} missing values; every cell must be filled")
    for name, column in table.items():
        if not pd.api.types.is_numeric_dtype(column):
            raise ValueError(f"{where}: column {name!r} is not numeric; features must be numbers")
        if not np.isfinite(column.to_numpy(dtype=float)).all():
            raise ValueError(f"{where}: column {name!r} holds infinite values; features must be finite")
    if table.shape[1] == 0:
        raise ValueError(f"{where}: found no column besides the label; at least one feature is needed")
    classes, labels = np.unique(label.to_numpy(), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{where}: column {label.name!r} holds one class; at least two are needed")
    return Records(table.to_numpy(dtype=float), labels, len(classes))


@lru_cache(maxsize=4)
def _synthetic(records: int, features: int, classes: int, separation: float) -> Records:
    # One fixed data set for all replicates, as a real one would be; replicates differ in its split.
    rng = Streams().generator("data.synthetic")
    centres = rng.normal(size=(classes, features))
    centres *= separation / np.linalg.norm(centres, axis=1, keepdims=True)
    labels = np.arange(records) % classes
    return Records(centres[labels] + rng.normal(size=(records, features)), labels, classes)


def split(records: Records, n_owners: int, streams: Streams) -> Shards:
    """Hold out a test set and deal the other records evenly to the owners, both at random.

    Parameters
    ----------
    records : Records
        The data set.
    n_owners : int
        Number of owners, >= 1.
    streams : Streams
        Streams of the run; the split is the replicate's, whatever the market design.

    Raises
    ------
    ValueError
        If there are fewer training records than owners.
    """
    train, test = hold_out(len(records.labels), TEST_SHARE, streams)
    if len(train) < n_owners:
        raise ValueError(
            f"owners: found {n_owners} owners for {len(train)} training records; each owner needs at least one"
        )
    return make_shards(records, train, test, np.arange(len(train)) * n_owners // len(train))


def hold_out(count: int, share: float, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
    """Records to train on and records to test on, in random order: two arrays of positions.

    Parameters
    ----------
    count : int
        Number of records.
    share : float
        Share of them to test on, in [0, 1): at least one record, but none for 0.
    streams : Streams
        The stream "data.split" decides.
    """
    order = streams.generator("data.split").permutation(count)
    n_test = max(1, round(share * count)) if share > 0 else 0
    return order[n_test:], order[:n_test]


def make_shards(records: Records, train: np.ndarray, test: np.ndarray, owners: np.ndarray) -> Shards:
    """Standardise the records by those for training.

    Parameters
    ----------
    records : Records
        The data set.
    train, test : array of int
        Its records for training, shape (N,), and for testing, shape (T,).
    owners : array of int, shape (N,)
        Owner of each training record.
    """
    mean = records.features[train].mean(axis=0)
    deviation = records.features[train].std(axis=0)
    deviation[deviation == 0] = 1.0
    return Shards(
        features=(records.features[train] - mean) / deviation,
        labels=records.labels[train],
        owners=owners,
        test_features=(records.features[test] - mean) / deviation,
        test_labels=records.labels[test],
        n_classes=records.n_classes,
    )
