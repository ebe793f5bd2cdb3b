"""Tables of results as a reader wants them."""

from __future__ import annotations

import dataclasses
import math
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from analysis.compare import Question


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as a reader wants it.

    Attributes
    ----------
    cells : DataFrame
        Texts by heading; the index is not shown.
    notes : tuple of str
        Sentences that say what the numbers are.
    foot : int
        Last rows that are set apart.
    """

    cells: pd.DataFrame
    notes: tuple[str, ...] = ()
    foot: int = 0


#: Characters that LaTeX reads as commands, and what prints them.
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "{}$&#%_"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " "}
    | {"<": "$<$", ">": "$>$", "|": "$|$", "±": r"$\pm$"}
)
#: Characters below which the heading of a column is not broken into lines.
HEADING = 12


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


def p_value(value: float) -> str:
    """A p-value to three decimals."""
    if math.isnan(value):
        return "-"
    return "<0.001" if value < 0.0005 else f"{value:.3f}"


def bounds(low: float, high: float) -> str:
    """An interval alone."""
    return "-" if math.isnan(low) else f"[{number(low)}, {number(high)}]"


def interval(mean: float, low: float, high: float) -> str:
    """A mean with its interval."""
    return number(mean) if math.isnan(low) else f"{number(mean)} {bounds(low, high)}"


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
        "bootstrap interval": list(map(bounds, rows["difference_boot_low"], rows["difference_boot_high"])),
        "p (Holm)": list(map(p_value, rows["p_holm"])),
        "replicates": rows["replicates"].astype(int),
        "pairs": [
            "-" if level == asked.baseline else str(pairs)
            for level, pairs in zip(rows["level"], rows["pairs"], strict=True)
        ],
    }
    return pd.DataFrame(shown).reset_index(drop=True)


def comparison_tables(comparison: pd.DataFrame, asked: Question, *, brief: bool = False) -> list[Table]:
    """The tables of a comparison, one a metric.

    Parameters
    ----------
    comparison : DataFrame
        From `analysis.compare.compare`.
    asked : Question
        What was compared.
    brief : bool
        As papers have them: without the bootstrap's interval, and what is the same in all rows told below.
    """
    from analysis.compare import zipped_note  # with it comes Mesa, which a plain table does without

    means = "Mean over rounds and replicates [95% t interval]; differences paired by replicate."
    tests = "p: paired t tests, corrected by Holm for the comparisons of one metric with the baseline."
    tables = []
    for metric in asked.metrics:
        cells = key_table(comparison, asked, metric)
        notes = [means, tests]
        if asked.together:
            notes.append(zipped_note(asked.by, asked.together))
        if brief:
            cells = cells.drop(columns=["bootstrap interval", "pairs"])
            for name, told in (("replicates", "{} replicates."), ("list", "Price lists: {}.")):
                if (cells[name] == cells[name].iloc[0]).all():
                    notes.append(told.format(cells[name].iloc[0]))
                    cells = cells.drop(columns=name)
        tables.append(Table(cells, tuple(notes)))
    return tables


def render(
    tables: Sequence[Table], rows: pd.DataFrame, style: str, *, caption: str | None = None, label: str | None = None
) -> str:
    """Tables in one of the formats that the statistics commands write.

    Parameters
    ----------
    tables : sequence of Table
        What a reader sees.
    rows : DataFrame
        The numbers behind them, for programs.
    style : str
        "text" for the terminal, "markdown", "latex", or "csv": `rows`, with all their digits.
    caption, label : str, optional
        Of a single table in LaTeX; see `latex_table`.
    """
    if style == "csv":
        return rows.to_csv(index=False).rstrip("\n")
    blocks = []
    for position, table in enumerate(tables):
        # Notes that several tables in a row share are told once, below the last of them.
        told = () if position + 1 < len(tables) and tables[position + 1].notes == table.notes else table.notes
        match style:
            case "latex":
                cells = table.cells
                blocks.append(latex_table(cells, caption=caption, label=label, notes=table.notes, foot=table.foot))
            case "markdown":
                blocks += [markdown_table(table.cells), " ".join(told)]
            case _:
                blocks += [text_table(table.cells, table.foot), "\n".join(told)]
    return "\n\n".join(filter(None, blocks))


def text_table(table: pd.DataFrame, foot: int = 0) -> str:
    """A table for the terminal, its last `foot` rows set apart."""
    columns = []
    for name in table.columns:
        cells = [str(cell) for cell in table[name]]
        width = max(map(len, [str(name), *cells]))
        left = name == table.columns[0]
        columns.append([text.ljust(width) if left else text.rjust(width) for text in [str(name), *cells]])
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    rule = "-" * max(map(len, lines))
    last = len(lines) - foot
    return "\n".join([lines[0], rule, *lines[1:last], *([rule] if foot else []), *lines[last:]])


def markdown_table(table: pd.DataFrame, *, align: str | None = None) -> str:
    """A table in Markdown; its cells may hold Markdown themselves.

    Parameters
    ----------
    table : DataFrame
        Cells as they are to be read; the index is left out.
    align : str, optional
        A letter a column, "l" or "r"; by default the first column is on the left, the others on the right.
    """
    rules = ["---:" if side == "r" else "---" for side in _sides(table, align)]
    lines = [[_in_row(name) for name in table.columns], rules]
    lines += [[_in_row(cell) for cell in row] for row in table.itertuples(index=False)]
    rows = ["| " + " | ".join(cells) + " |" for cells in lines]
    rows[1] = rows[1].replace(" ", "")
    return "\n".join(rows)


def latex_table(
    table: pd.DataFrame,
    *,
    caption: str | None = None,
    label: str | None = None,
    notes: Sequence[str] = (),
    align: str | None = None,
    foot: int = 0,
) -> str:
    r"""A table in LaTeX, to be read in by ``\input``; the package booktabs is all it needs.

    Parameters
    ----------
    table : DataFrame
        Cells as they are to be read; the index is left out. Characters that LaTeX reads as commands are escaped, a
        hyphen before a digit is a minus sign, and a cell "-" a dash.
    caption : str, optional
        With it the table floats; without it is the tabular alone, to stand in a float of one's own.
    label : str, optional
        Its name for ``\ref``; needs a caption.
    notes : sequence of str
        Sentences under the table, or comments if it does not float.
    align : str, optional
        A letter a column, "l" or "r"; by default the first column is on the left, the others on the right.
    foot : int
        Last rows that a rule sets apart.

    Examples
    --------
    >>> print(latex_table(pd.DataFrame({"pricing": ["dpp_plus"], "difference": ["-3,969 (50%)"]})))
    \begin{tabular}{lr}
    \toprule
    pricing & difference \\
    \midrule
    dpp\_plus & $-$3,969 (50\%) \\
    \bottomrule
    \end{tabular}
    """
    sides = _sides(table, align)
    rows = [" & ".join(map(_latex, row)) + r" \\" for row in table.itertuples(index=False)]
    rows = [f"{{}}{row}" if row[0] in "[*" else row for row in rows]  # else an argument of the row's end before it
    heading = " & ".join(_heading(str(name), table[name], side) for name, side in zip(table, sides, strict=True))
    body, last = rows[: len(rows) - foot], rows[len(rows) - foot :]
    tabular = [
        rf"\begin{{tabular}}{{{sides}}}", r"\toprule", heading + r" \\", r"\midrule",
        *body, *([r"\midrule", *last] if last else []), r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip
    if caption is None:
        return "\n".join([*(f"% {' '.join(note.split())}" for note in notes), *tabular])
    above = [r"\begin{table}[htbp]", r"\centering", rf"\caption{{{latex_text(caption)}}}"]
    above += [rf"\label{{{label}}}"] if label is not None else []
    below = [r"\par\smallskip", rf"{{\footnotesize {latex_text(' '.join(notes))}\par}}"] if notes else []
    return "\n".join([*above, *tabular, *below, r"\end{table}"])


def latex_text(text: str) -> str:
    """A text as LaTeX prints it, a hyphen before a number as a minus sign."""
    return re.sub(r"(?<![\w)\]}.])-(?=\.?\d)", "$-$", text.translate(LATEX))


def plain(result: Any) -> Any:
    """A result in JSON's types: dataclasses and mappings as objects, NaN and infinity as null."""
    if dataclasses.is_dataclass(result):
        return {field.name: plain(getattr(result, field.name)) for field in dataclasses.fields(result)}
    if isinstance(result, dict):
        return {name: plain(part) for name, part in result.items()}
    if isinstance(result, np.ndarray | np.generic):
        return plain(result.tolist())
    if isinstance(result, list | tuple):
        return [plain(part) for part in result]
    return None if isinstance(result, float) and not math.isfinite(result) else result


def _sides(table: pd.DataFrame, align: str | None) -> str:
    return align if align is not None else "l" + "r" * (len(table.columns) - 1)


def _in_row(cell: Any) -> str:
    """A cell of a Markdown table, in which a bar or a line's end would be the cell's own."""
    return " ".join(str(cell).split()).replace("|", r"\|")


def _latex(cell: Any) -> str:
    return "--" if str(cell) == "-" else latex_text(str(cell))


def _heading(name: str, column: pd.Series, side: str) -> str:
    """A column's heading, broken into lines where it is wider than what stands below."""
    width = max([HEADING, *(len(str(cell)) for cell in column)])
    lines = textwrap.wrap(name, width, break_long_words=False, break_on_hyphens=False)
    if len(lines) < 2:
        return latex_text(name)
    # A line may begin with a bracket, which would be an argument of the line's end before it.
    broken = r"\\".join(f"{{}}{latex_text(line)}" for line in lines)
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{broken}\end{{tabular}}"


def _intervals(rows: pd.DataFrame, mean: str, low: str, high: str) -> list[str]:
    columns = (rows[name].astype(float) for name in (mean, low, high))
    return [interval(*values) for values in zip(*columns, strict=True)]
