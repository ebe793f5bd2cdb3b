"""Columns of a CSV file, read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scenarios.errors import InputError
from simulator.pricing.composition import check_epsilons

#: A larger file would not fit into the memory of a common machine, which takes about four times its size.
MAX_BYTES = 500_000_000


@dataclass(frozen=True)
class Allowed:
    """Numbers that may stand in a column: positive ones of a size that can be reckoned with, perhaps 0 and negative."""

    zero: bool = False
    negative: bool = False
    smallest: float = 1e-15
    largest: float = 1e15

    def test(self, values: np.ndarray) -> np.ndarray:
        """Which of the values are allowed, shape of `values`."""
        size = np.abs(values) if self.negative else values
        return ((size >= self.smallest) & (size <= self.largest)) | (self.zero & (values == 0))

    def words(self, value: float) -> str:
        """What is allowed, as said to somebody who gave `value`."""
        if self.negative:
            return f"numbers from {-self.largest:g} to {self.largest:g}"
        size = f" of size {self.smallest:g} to {self.largest:g}" if value > 0 else ""
        return f"numbers {'>=' if self.zero else '>'} 0{size}"


POSITIVE = Allowed()
NON_NEGATIVE = Allowed(zero=True)
ANY = Allowed(zero=True, negative=True, smallest=0.0)
#: Privacy levels: the number of copies of one that cover another must be countable.
EPSILON = Allowed(smallest=1e-4, largest=1e4)

#: A longer price list is a mistake, such as swapped columns; checking it for arbitrage could take for ever.
MOST_VERSIONS = 100


def read_columns(
    path: Path,
    columns: Mapping[str, Allowed],
    optional: Mapping[str, Allowed] | None = None,
    *,
    names: str | None = None,
) -> pd.DataFrame:
    """Columns of numbers of a CSV file, by the names in its first row.

    Other columns are left out, and so are empty rows.

    Parameters
    ----------
    path : Path
        A CSV file in UTF-8.
    columns, optional : mapping of str to Allowed
        The columns that must be there, and those that may be.
    names : str, optional
        A column that must be there too and names the rows, each differently.

    Returns
    -------
    DataFrame
        The names as text and the numbers, all as allowed, one row or more. The index is the row in the file, where the
        header is row 1, as in a spreadsheet.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing or there twice, or a cell is not allowed.
    """
    header, rows = _header_and_rows(path)
    wanted = {**columns, **{name: allowed for name, allowed in (optional or {}).items() if name in header}}
    _check_named_once(path, header, wanted if names is None else [names, *wanted])
    found = {} if names is None else {names: _different(names, _filled(names, rows[header.index(names)]))}
    return pd.DataFrame(found | {name: _numbers(name, rows[header.index(name)], wanted[name]) for name in wanted})


@dataclass(frozen=True, eq=False)
class RecordTable:
    """Labelled records of a file.

    Attributes
    ----------
    names : list of str
        Names of the features, d of them.
    features : array of float, shape (N, d)
        The features.
    labels : array of str, shape (N,)
        Class of each record.
    owners : array of str, shape (N,), or None
        Owner of each record, if a column tells.
    """

    names: list[str]
    features: np.ndarray
    labels: np.ndarray
    owners: np.ndarray | None


def read_record_table(path: Path, label: str, owners: str | None) -> RecordTable:
    """Labelled records of a CSV file, and who owns them if a column says so.

    All columns but the label's and the owners' are features. Empty rows are left out.

    Parameters
    ----------
    path : Path
        A CSV file in UTF-8.
    label, owners : str
        The columns of the class and of the owner of each record, of any text.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing or there twice, there is no feature, or a cell is empty or not
        a number where it must be.
    """
    header, rows = _header_and_rows(path)
    if label == owners:
        raise InputError(f"--owners: found {owners!r}, which is the label; allowed is another column")
    told = [label] if owners is None else [label, owners]
    _check_named_once(path, header, header)
    _check_named_once(path, header, told)
    names = [name for name in header if name not in told]
    if not names:
        raise InputError(
            f"{str(path)!r} holds no feature besides {' and '.join(map(repr, told))}; at least one is needed"
        )
    texts = [_filled(name, rows[header.index(name)]).to_numpy(dtype=str) for name in told]
    features = np.column_stack([_numbers(name, rows[header.index(name)], ANY) for name in names])
    return RecordTable(names, features, texts[0], None if owners is None else texts[1])


def read_records(path: Path, label: str, owners: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and owners of `read_record_table`, where the owners are told."""
    table = read_record_table(path, label, owners)
    assert table.owners is not None
    return table.features, table.labels, table.owners


def read_scales(path: Path, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale of each feature from a CSV file with the columns feature, centre and scale.

    Parameters
    ----------
    path : Path
        A CSV file in UTF-8.
    names : sequence of str
        The features, each of which must have a row; rows of others are left out.

    Returns
    -------
    centre, scale : array of float, shape (d,)

    Raises
    ------
    InputError
        If the file cannot be used, or a feature has no row.
    """
    table = read_columns(path, {"centre": ANY, "scale": POSITIVE}, names="feature").set_index("feature")
    missing = [name for name in names if name not in table.index]
    if missing:
        raise InputError(f"feature: {str(path)!r} has no row for {missing[0]!r}; allowed is one for every feature")
    found = table.loc[list(names)]
    return found["centre"].to_numpy(), found["scale"].to_numpy()


def _header_and_rows(path: Path) -> tuple[list[str], pd.DataFrame]:
    table = _read(path)
    rows = table.iloc[1:]
    rows = rows[(rows != "").any(axis=1)]
    if rows.empty:
        raise InputError(f"{str(path)!r} has no rows below its header; allowed is one or more")
    return [name.strip() for name in table.iloc[0]], rows


def _check_named_once(path: Path, header: list[str], names: Iterable[str]) -> None:
    for name in names:
        if header.count(name) != 1:
            found = ", ".join(map(repr, header[:10])) + (", ..." if len(header) > 10 else "")
            raise InputError(
                f"{name}: the header of {str(path)!r} must name this column once, separated by commas; found {found}"
            )


def parse_epsilons(text: str) -> np.ndarray:
    """Privacy levels given as "0.5,1,2" on the command line, as an array.

    Raises
    ------
    InputError
        If they are not rising numbers of an allowed size, separated by commas.
    """
    try:
        found = check_epsilons([float(part) for part in text.split(",")])
    except ValueError:
        found = np.empty(0)
    if len(found) == 0 or not EPSILON.test(found).all():
        raise InputError(
            f"--epsilons: found {text!r}; allowed are rising numbers from {EPSILON.smallest:g} to "
            f"{EPSILON.largest:g}, separated by commas, such as 0.5,1,2"
        )
    return found


def check_versions(epsilons: np.ndarray) -> np.ndarray:
    """The privacy levels of a price list as they are.

    Raises
    ------
    InputError
        If they are too many to be the versions of a model.
    """
    if len(epsilons) > MOST_VERSIONS:
        raise InputError(f"epsilon: found {len(epsilons)} versions (distinct values); allowed are {MOST_VERSIONS}")
    return epsilons


def _read(path: Path) -> pd.DataFrame:
    """All cells as text, the header in the first row; the index counts rows from 1."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(
                f"{str(path)!r} holds {path.stat().st_size / 1e6:,.0f} MB; allowed are {MAX_BYTES / 1e6:,.0f} MB"
            )
        # Without a header pandas neither renames a column that is there twice nor makes one an index.
        table = pd.read_csv(
            path,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            compression=None,
        )
    except UnicodeDecodeError:
        raise InputError(f"{str(path)!r} is not text in UTF-8, as a CSV file must be") from None
    except pd.errors.EmptyDataError:
        raise InputError(
            f"{str(path)!r} has no header; allowed is a CSV file whose first row names its columns"
        ) from None
    except pd.errors.ParserError as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise InputError(f"{str(path)!r} is not a CSV file: {reason}") from None
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    table.index += 1
    return table


def _numbers(name: str, cells: pd.Series, allowed: Allowed) -> pd.Series:
    recognised = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=float)
    wrong = np.flatnonzero(~allowed.test(recognised))
    if len(wrong):
        text, number = cells.iloc[wrong[0]].strip(), recognised[wrong[0]]
        found = "nothing" if not text else repr(text[:40]) if np.isnan(number) else text
        row = cells.index[wrong[0]]
        raise InputError(f"{name}: found {found} in row {row}; allowed are {allowed.words(number)}")
    # Python's reading of a number is the nearest float, which older versions of `to_numeric` may miss.
    return cells.astype(float)


def _filled(name: str, cells: pd.Series) -> pd.Series:
    cells = cells.str.strip()
    if (cells == "").any():
        raise InputError(f"{name}: found nothing in row {cells.index[cells == ''][0]}; every cell must be filled")
    return cells


def _different(name: str, cells: pd.Series) -> pd.Series:
    twice = cells[cells.duplicated()]
    if len(twice):
        again = cells.index[cells == twice.iloc[0]][:2]
        rows = " and ".join(map(str, again))
        raise InputError(f"{name}: found {cells[again[0]][:40]!r} in rows {rows}; allowed is one row for each name")
    return cells
