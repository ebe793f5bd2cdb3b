"""Columns of a CSV file, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scenarios.errors import InputError

#: A larger file would not fit into the memory of a common machine, which takes about four times its size.
MAX_BYTES = 500_000_000


@dataclass(frozen=True)
class Allowed:
    """Numbers that may stand in a column: the words for them, and which of an array's they are."""

    words: str
    test: Callable[[np.ndarray], np.ndarray]


POSITIVE = Allowed("numbers > 0", lambda values: values > 0)
NON_NEGATIVE = Allowed("numbers >= 0", lambda values: values >= 0)


def read_columns(
    path: Path, columns: Mapping[str, Allowed], optional: Mapping[str, Allowed] | None = None
) -> pd.DataFrame:
    """Columns of numbers of a CSV file, by the names in its first row.

    Other columns are left out, and so are empty rows.

    Parameters
    ----------
    path : Path
        A CSV file in UTF-8.
    columns, optional : mapping of str to Allowed
        The columns that must be there, and those that may be.

    Returns
    -------
    DataFrame
        The numbers, finite and as allowed, one row or more. The index is the row in the file, where the
        header is row 1, as in a spreadsheet.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing or there twice, or a cell is not allowed.
    """
    table = _read(path)
    header = [name.strip() for name in table.iloc[0]]
    rows = table.iloc[1:]
    rows = rows[(rows != "").any(axis=1)]
    wanted = {**columns, **{name: allowed for name, allowed in (optional or {}).items() if name in header}}
    for name in wanted:
        if header.count(name) != 1:
            found = ", ".join(map(repr, header[:10])) + (", ..." if len(header) > 10 else "")
            raise InputError(
                f"{name}: the header of {str(path)!r} must name this column once, separated by commas; found {found}"
            )
    if rows.empty:
        raise InputError(f"{str(path)!r} has no rows below its header; allowed is one or more")
    return pd.DataFrame({name: _numbers(name, rows[header.index(name)], wanted[name]) for name in wanted})


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
            encoding="utf-8-sig",
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
    wrong = np.flatnonzero(~(np.isfinite(recognised) & allowed.test(recognised)))
    if len(wrong):
        text, number = cells.iloc[wrong[0]].strip(), recognised[wrong[0]]
        found = "nothing" if not text else repr(text[:40]) if np.isnan(number) else text
        finite = "finite " if np.isinf(number) else ""
        raise InputError(f"{name}: found {found} in row {cells.index[wrong[0]]}; allowed are {finite}{allowed.words}")
    # Python's reading of a number is the nearest float, which older versions of `to_numeric` may miss.
    return cells.astype(float)
