"""Commands about what comes with the package: scenarios, mechanisms, kept valuations."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.app import app
from scenarios.errors import InputError


class Kind(StrEnum):
    """What `dealer list` can show."""

    strategies = "strategies"
    procurement = "procurement"
    valuation = "valuation"
    games = "games"
    settlement = "settlement"
    behaviours = "behaviours"
    worth = "worth"
    datasets = "datasets"
    curves = "curves"
    scenarios = "scenarios"


@app.command("list")
def list_(
    kind: Annotated[Kind | None, typer.Argument(help="What to list; by default everything.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
) -> None:
    """List what a scenario can name: strategies, procurement, behaviours, data sets, scenarios..."""
    from analysis.catalogue import catalogue, markdown_tables, text_tables

    shown = catalogue() if kind is None else {kind.value: catalogue()[kind.value]}
    typer.echo(markdown_tables(shown) if markdown else text_tables(shown))


@app.command()
def new(file: Annotated[Path, typer.Argument(help="File to write, such as my.toml.")]) -> None:
    """Write a commented scenario to start from."""
    from importlib import resources

    template = (resources.files("scenarios") / "template.toml").read_text(encoding="utf-8")
    name = (
        "".join(c if (c.isascii() and c.isalnum()) or c in "-_" else "-" for c in file.stem).lstrip("-_")
        or "experiment"
    )
    try:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(template.replace('name = "my-experiment"', f'name = "{name}"', 1))
    except FileExistsError:
        raise InputError(f"FILE: found {str(file)!r}, which exists already; allowed is a new file") from None
    except OSError as error:
        raise InputError(f"FILE: {str(file)!r} cannot be written: {error}") from None
    typer.echo(f"Wrote {file}. Edit it, then: dealer run {file}")


@app.command()
def cache(clear: Annotated[bool, typer.Option("--clear", help="Remove the kept valuations.")] = False) -> None:
    """Show where valuations are kept between runs, or remove them.

    Set the variable DEALER_CACHE to another folder, or to `off`, which keeps no files; runs of one process share
    valuations in its memory all the same. Results are the same either way.
    """
    from simulator.valuation.cache import cache_folder, kept_files

    folder, files = cache_folder(), kept_files()
    if folder is None:
        typer.echo("No valuations are kept in files: DEALER_CACHE is off.")
        return
    size = sum(file.stat().st_size for file in files) / 1e6
    if clear:
        for file in files:
            file.unlink(missing_ok=True)
    typer.echo(f"{'Removed' if clear else 'Kept'}: {len(files)} valuations ({size:.1f} MB) in {folder}")
