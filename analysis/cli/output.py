"""How the commands that read results write their tables: formats, files, options."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.cli.app import check_folder, write_text
from scenarios.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from analysis.tables import Table


class Style(StrEnum):
    """Formats of tables."""

    text = "text"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"


Format = Annotated[
    Style,
    typer.Option("--format", help="Tables as text, Markdown or LaTeX (booktabs), or all numbers as CSV."),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write to a file, ready for \\input, instead of printing.")
]
Caption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Caption of the LaTeX table, which then floats; else the tabular.")
]
Label = Annotated[str | None, typer.Option(metavar="NAME", help="Label of the LaTeX table, such as tab:revenue.")]


@dataclass(frozen=True)
class Output:
    """What the options ask for.

    Raises
    ------
    InputError
        If they do not go together or the file cannot be written; so it is made before the work is done.
    """

    style: Style
    json: bool = False
    out: Path | None = None
    caption: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.json and self.style is not Style.text:
            raise InputError(f"--format: found {self.style.value!r} beside --json; allowed is one of them")
        for flag, value in (("--caption", self.caption), ("--label", self.label)):
            if value is not None and self.style is not Style.latex:
                raise InputError(f"{flag}: found {value!r}; allowed with --format latex")
        if self.label is not None and not re.fullmatch(r"[A-Za-z0-9:._/+-]+", self.label):
            raise InputError(f"--label: found {self.label!r}; allowed are letters, digits and : . _ / + -")
        if self.label is not None and self.caption is None:
            raise InputError("--label: found without --caption; allowed beside one, for LaTeX numbers what floats")
        if self.out is not None:
            check_folder(self.out)

    def write(self, tables: Sequence[Table], rows: pd.DataFrame, about: Mapping[str, Any]) -> None:
        """Print the tables, or write them to the file; with --json the `rows`, beside what is said `about` them."""
        from analysis.tables import plain, render

        if self.caption is not None and len(tables) > 1:
            raise InputError(f"--caption: found {len(tables)} tables; allowed is one, so name one --metric")
        if self.json:
            text = json.dumps(plain({**about, "rows": rows.to_dict("records")}))
        else:
            text = render(tables, rows, self.style.value, caption=self.caption, label=self.label)
        if self.out is None:
            typer.echo(text)
        else:
            write_text(self.out, text)
            typer.echo(f"Written: {self.out}")
