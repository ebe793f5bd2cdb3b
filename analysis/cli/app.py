"""The command itself, and what its parts share: options, exit codes, the reading of arguments."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from scenarios.errors import InputError, RunError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scenarios.store import Results
    from simulator.registry import Family

# What a command needs is imported when it runs: Mesa and its like take seconds, help should not.

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
FIGURES = (".png", ".pdf", ".svg")


class _Group(TyperGroup):
    """Turns bad input into one sentence and exit code 2, failed work into exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(BAD_INPUT) from None
        except RunError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            typer.echo("Interrupted. What was finished is kept.", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=_Group,
    name="dealer",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Simulate a market for machine-learning models: data owners, a broker, model buyers.

Start with `dealer run demo`, look at the report it writes, then make a scenario of your own with
`dealer new my.toml` and run it with `dealer run my.toml`.""",
)


Folder = Annotated[Path, typer.Argument(help="A results folder, such as results/demo.")]
By = Annotated[str | None, typer.Option(help="Swept parameter to compare; by default the scenario's.")]
Baseline = Annotated[str | None, typer.Option(help="Its value that the others are compared with.")]
Metrics = Annotated[list[str] | None, typer.Option("--metric", help="Column of the rounds table; may be repeated.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes; by default one a processor.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting by its dotted name, such as `rounds=5` or `buyers.hospitals.budget.s=0.8`; "
        "may be repeated.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Plot = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw a figure into a .png, .pdf or .svg file.")]


def open_results(folder: Path) -> Results:
    """A results folder, with the user's own classes that it names within reach."""
    find_own_classes(str(folder))
    from scenarios.store import Results

    return Results(folder)


def find_own_classes(scenario: str) -> None:
    """Let "my_module:MyClass" be found beside the scenario file and in the current folder."""
    for folder in (os.getcwd(), str(Path(scenario).resolve().parent)):
        if folder not in sys.path:
            sys.path.append(folder)


def parse_settings(flag: str, settings: list[str], example: str) -> dict[str, Any]:
    """Values by name, of arguments such as `example`."""
    if not settings:
        return {}
    from scenarios.experiment import parse_setting  # with it comes Mesa

    return dict(parse_setting(setting, flag, example) for setting in settings)


def parse_options(family: Family, flag: str, name: str, settings: list[str], example: str) -> dict[str, Any]:
    """Options of a mechanism as given on the command line, such as `example`; the mechanism takes them."""
    options = parse_settings("--option", settings, example)
    try:
        family.resolve(name)
    except ValueError as error:
        raise InputError(f"{flag}: {error}") from None
    try:
        family.create(name, options)
    except ValueError as error:
        raise InputError(f"--option: {error}") from None
    return options


def check_figure(file: Path | None, flag: str = "--plot") -> None:
    """Refuse a figure of no known format, before the work is done."""
    if file is not None and file.suffix.lower() not in FIGURES:
        raise InputError(f"{flag}: found {str(file)!r}; allowed are files that end in {', '.join(FIGURES)}")


def save_figure(figure: Figure, file: Path, flag: str = "--plot") -> None:
    """Write a figure to the file that a flag gave."""
    from analysis.plots import save

    try:
        save(figure, file, file.suffix.lower().removeprefix("."))
    except OSError as error:
        raise InputError(f"{flag}: {str(file)!r} cannot be written: {error.strerror or error}") from None


def split_names(flag: str, text: str) -> list[str]:
    """Names given as "A,B,..."."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"{flag}: found {text!r}; allowed are names separated by commas, each once")
    return names


def check_folder(file: Path) -> None:
    """Refuse a file that could not be written, before the work is done."""
    if not file.parent.is_dir():
        raise InputError(f"--out: found {str(file)!r}, in a folder that does not exist")


def write_text(file: Path, text: str) -> None:
    """Write a text to the file given with --out."""
    try:
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out: {str(file)!r} cannot be written: {error.strerror or error}") from None


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
