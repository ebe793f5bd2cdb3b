"""Tables of results as a reader wants them."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from analysis.compare import Question


def number(value: float) -> str:
    """A number with three to four significant digits, large ones with separators."""
    if math.isnan(value):
        return "-"
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 1e-3 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def amount(value: float) -> str:
    """A sum of money to six significant digits, all of those before the point, without trailing zeros."""
    if math.isnan(value):
        return "-"
    if not 1e-4 <= abs(value) < 1e15:
        return f"{value:.6g}"
    text = f"{value:,.{max(0, 5 - math.floor(math.log10(abs(value))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def interval(mean: float, low: float, high: float) -> str:
    """A mean with its interval."""
    return number(mean) if math.isnan(low) else f"{number(mean)} [{number(low)}, {number(high)}]"


def key_table(comparison: pd.DataFrame, asked: Question, metric: str) -> pd.DataFrame:
    """One metric, a row a value of the compared parameter: mean and paired difference, with 95% intervals.

    The kind of price list stands beside the value: a list that was repaired or fallen back on is not the one
    that the strategy is named after, and a raw one may be undercut by bundles.
    """
    from analysis.compare import METRICS  # with it comes Mesa, which a plain table does without

    rows = comparison[comparison["metric"] == metric]
    label, unit = METRICS.get(metric, (metric, ""))
    shown = {
        asked.label: rows["level"].astype(str),
        "list": rows["lists"],
        f"{label}" + (f" ({unit})" if unit else ""): _intervals(rows, "mean", "low", "high"),
        f"difference to {asked.baseline}": _intervals(rows, "difference", "difference_low", "difference_high"),
        "bootstrap interval": [
            "-" if math.isnan(low) else f"[{number(low)}, {number(high)}]"
            for low, high in zip(rows["difference_boot_low"], rows["difference_boot_high"], strict=True)
        ],
        "replicates": rows["replicates"].astype(int),
        "pairs": [
            "-" if level == asked.baseline else str(pairs)
            for level, pairs in zip(rows["level"], rows["pairs"], strict=True)
        ],
    }
    return pd.DataFrame(shown).reset_index(drop=True)


def text_table(table: pd.DataFrame) -> str:
    """A table for the terminal."""
    columns = []
    for name in table.columns:
        cells = [str(cell) for cell in table[name]]
        width = max(map(len, [str(name), *cells]))
        left = name == table.columns[0]
        columns.append([text.ljust(width) if left else text.rjust(width) for text in [str(name), *cells]])
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def plain(result: Any) -> Any:
    """A result in JSON's types: dataclasses and mappings as objects, NaN and infinity as null."""
    if dataclasses.is_dataclass(result):
        return {field.name: plain(getattr(result, field.name)) for field in dataclasses.fields(result)}
    if isinstance(result, dict):
        return {name: plain(part) for name, part in result.items()}
    if isinstance(result, np.ndarray | np.generic):
        return plain(result.tolist())
    if isinstance(result, dict):
        return {key: plain(part) for key, part in result.items()}
    if isinstance(result, list | tuple):
        return [plain(part) for part in result]
    return None if isinstance(result, float) and not math.isfinite(result) else result


def _intervals(rows: pd.DataFrame, mean: str, low: str, high: str) -> list[str]:
    columns = (rows[name].astype(float) for name in (mean, low, high))
    return [interval(*values) for values in zip(*columns, strict=True)]
