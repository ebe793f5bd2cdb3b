"""The `dealer` command."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from scenarios.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.compare import Question
    from scenarios.experiment import Experiment
    from scenarios.store import Results
    from simulator.config import MarketConfig
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


class Kind(StrEnum):
    """What `dealer list` can show."""

    strategies = "strategies"
    procurement = "procurement"
    valuation = "valuation"
    games = "games"
    settlement = "settlement"
    behaviours = "behaviours"
    datasets = "datasets"
    curves = "curves"
    scenarios = "scenarios"


class Rule(StrEnum):
    """What a bundle of versions is worth."""

    additive = "additive"
    quadratic = "quadratic"


Folder = Annotated[Path, typer.Argument(help="A results folder, such as results/demo.")]
By = Annotated[str | None, typer.Option(help="Swept parameter to compare; by default the scenario's.")]
Baseline = Annotated[str | None, typer.Option(help="Its value that the others are compared with.")]
Metrics = Annotated[list[str] | None, typer.Option("--metric", help="Column of the rounds table; may be repeated.")]

Bundles = Annotated[
    Rule,
    typer.Option(
        "--composition",
        help="What a bundle of versions is worth: the sum of its epsilons, or the root of the sum of their squares.",
    ),
]


class Kinds(StrEnum):
    """Kinds of private classifiers."""

    logistic = "logistic"
    svm = "svm"


class Unit(StrEnum):
    """What a guarantee covers any one of."""

    record = "record"
    owner = "owner"


class Empty(StrEnum):
    """What no records are worth."""

    constant = "constant"
    zero = "zero"


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


@app.command()
def run(
    scenario: Annotated[str, typer.Argument(help="A scenario of the library (see `dealer list scenarios`) or a file.")],
    set_: Settings = None,
    out: Annotated[Path | None, typer.Option(help="Results folder; by default results/NAME.")] = None,
    workers: Workers = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try runs again that failed before.")] = False,
    report: Annotated[bool, typer.Option(help="Write figures and report.html at the end.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and about how long it takes; run and write nothing.")
    ] = False,
) -> None:
    """Run an experiment and write its tables, figures and report.

    Runs that are done stay done: the same command goes on where an earlier one stopped, and with more replicates
    it does those that are missing. Results do not depend on the number of workers.

    Examples
    --------
        dealer run demo

        dealer run demo --set replicates=3 --set broker.commission=0.2 --out results/quick

        dealer run my.toml --workers 1

        dealer run my.toml --dry-run
    """
    _find_own_classes(scenario)
    from scenarios.design import markets
    from scenarios.experiment import load
    from scenarios.store import Results

    experiment = load(scenario, set_ or [])
    checked = markets(experiment)
    if any(market.n_owners == 1 for market in checked):
        typer.echo("Note: owners: found 1 owner, so coverage is all or nothing and no owner competes.", err=True)
    folder = out or Path("results") / experiment.name
    if dry_run:
        _show_plan(experiment, checked, folder, workers or _processors())
        return
    results = Results.create(folder, experiment)
    _run(results, workers or _processors(), retry_failed)
    failed = results.plan[results.plan["status"] == "failed"]
    if len(failed):
        typer.echo(
            f"{len(failed)} of {len(results.plan)} runs failed, the first with: {failed['error'].iloc[0]}\n"
            f"Tracebacks are in {results.folder / 'errors'}; --retry-failed tries them again.",
            err=True,
        )
    if len(failed) < len(results.plan):
        if experiment.sweep:
            from analysis.compare import question

            asked = question(results, None if experiment.comparison else next(iter(experiment.sweep)))
            _print_comparison(results, asked, asked.metrics[:1])
        if report:
            _report(results, None, None)
    if len(failed):
        raise typer.Exit(FAILED)


@app.command()
def rerun(
    results: Folder,
    run: Annotated[int, typer.Option(min=0, help="Number of the run, as in plan.parquet.")],
    rounds_log: Annotated[
        str, typer.Option(metavar="TABLE,...", help="Tables to write, also such as the experiment did not keep.")
    ] = "rounds,versions,owners,sales",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the tables; by default RESULTS/reruns/run-N.")
    ] = None,
) -> None:
    """Do one run of an experiment again, and write its tables.

    The run starts from the scenario and the seed that the folder keeps, so its numbers are those of the experiment,
    which is checked bit by bit against the tables kept. Other versions of Python or its packages may round differently.

    Examples
    --------
        dealer rerun results/demo --run 17

        dealer rerun results/demo --run 17 --rounds-log owners,sales --out run17
    """
    opened = _open(results)
    from scenarios.rerun import changed_packages, differing
    from scenarios.rerun import rerun as again
    from scenarios.store import write_parquet
    from simulator.log import TABLES

    tables = _names("--rounds-log", rounds_log)
    strange = [name for name in tables if name not in TABLES]
    if strange:
        raise InputError(f"--rounds-log: found {strange[0]!r}; allowed are {', '.join(TABLES)}")
    folder = out or opened.folder / "reruns" / f"run-{run:06d}"
    kept = [name for name in opened.experiment.tables if name not in tables]
    try:
        found = again(opened, run, [*tables, *kept])
    except InputError:
        raise
    except Exception as error:
        typer.echo(f"Error: run {run} failed: {type(error).__name__}: {error}", err=True)
        raise typer.Exit(FAILED) from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in tables:
            write_parquet(found[name], folder / f"{name}.parquet")
    except OSError as error:
        raise InputError(f"--out: {str(folder)!r} cannot be written: {error.strerror or error}") from None
    row = opened.plan[opened.plan["run"] == run].iloc[0]
    settings = ", ".join(f"{name} = {row[name]}" for name in opened.experiment.sweep) or "no swept parameters"
    typer.echo(f"Run {run}: replicate {row['replicate']}, {settings}. Tables: {folder}")
    if row["status"] != "done":
        typer.echo(f"The experiment has no tables of this run to compare with: it is {row['status']}.")
        return
    differences = differing(opened, run, found)
    if differences:
        changed = changed_packages(opened)
        typer.echo(
            f"Not the numbers of the experiment: {', '.join(differences[:5])}{', ...' * (len(differences) > 5)} differ."
            + (
                f" Since then changed: {', '.join(changed)}." if changed else " The program or the machine has changed."
            ),
            err=True,
        )
        raise typer.Exit(FAILED)
    typer.echo(f"The same as the experiment kept, bit by bit: {', '.join(opened.experiment.tables)}.")


@app.command()
def export(
    results: Folder,
    tables: Annotated[
        str | None, typer.Option(metavar="TABLE,...", help="Tables to write; by default the plan and all there are.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the files; by default RESULTS/csv.")
    ] = None,
) -> None:
    """Write the tables of an experiment as CSV files, the swept parameters beside every row.

    Numbers are written so that they read back as the same floats. Runs that are not done yet are left out.

    Examples
    --------
        dealer export results/demo

        dealer export results/demo --tables rounds --out tables
    """
    opened = _open(results)
    kept = ("plan", *opened.experiment.tables)
    wanted = kept if tables is None else _names("--tables", tables)
    strange = [name for name in wanted if name not in kept]
    if strange:
        raise InputError(f"--tables: found {strange[0]!r}; allowed are {', '.join(kept)}")
    folder = out or opened.folder / "csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in wanted:
            table = opened.plan if name == "plan" else opened.table(name)
            table.to_csv(folder / f"{name}.csv", index=False)
            typer.echo(f"{folder / f'{name}.csv'}: {len(table):,} rows")
    except OSError as error:
        raise InputError(f"--out: {str(folder)!r} cannot be written: {error.strerror or error}") from None


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


@app.command("compare")
def compare_(
    results: Folder,
    by: By = None,
    baseline: Baseline = None,
    metric: Metrics = None,
    json_: Json = False,
) -> None:
    """Compare the values of a swept parameter, paired over replicates.

    Means and differences come with 95% t intervals, differences with a bootstrap interval (BCa) as well.

    Example: dealer compare results/demo --by broker.pricing --baseline median --metric revenue
    """
    from analysis.compare import compare, question

    opened = _open(results)
    asked = question(opened, by, baseline, tuple(metric or ()))
    if json_:
        rows = json.loads(compare(opened, asked).to_json(orient="records"))
        typer.echo(json.dumps({"by": asked.by, "baseline": asked.baseline, "rows": rows}))
    else:
        _print_comparison(opened, asked, asked.metrics)


@app.command()
def report(results: Folder, by: By = None, baseline: Baseline = None, metric: Metrics = None) -> None:
    """Write the figures and report.html of a results folder again."""
    _report(_open(results), by, baseline, tuple(metric or ()))


@app.command()
def price(
    survey: Annotated[
        Path,
        typer.Argument(
            metavar="SURVEY.csv",
            help="A CSV file with the columns epsilon and value, a row an answer: the version a buyer wants and what "
            "it would pay for it. A column weight, if there is one, says how many buyers the answer stands for.",
        ),
    ],
    strategy: Annotated[
        str, typer.Option(help="A pricing strategy (see `dealer list strategies`), or your own as module:Class.")
    ] = "dpp_plus",
    epsilons: Annotated[
        str | None,
        typer.Option(
            metavar="EPS,EPS...",
            help="Versions to price besides those of the file, such as 0.5,1,2: it names versions nobody asked for.",
        ),
    ] = None,
    composition: Bundles = Rule.additive,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of the strategy, such as `raw=true`; may be repeated."),
    ] = None,
    json_: Json = False,
    plot: Plot = None,
) -> None:
    """Price the versions of a model from the answers of a survey.

    The versions are the distinct epsilons of the survey, numbered from 0 by rising epsilon. Shown are the list,
    what it earns if everybody buys as stated, what no arbitrage-free list can exceed, and the bundle that
    undercuts the list, if there is one. Messages count rows as a spreadsheet does: the header is row 1.

    Examples
    --------
        dealer price survey.csv

        dealer price survey.csv --strategy linear --option raw=true --composition quadratic

        dealer price survey.csv --epsilons 0.5,1,2 --plot prices.pdf

        dealer price survey.csv --json
    """
    import numpy as np

    from analysis.inputs import EPSILON, POSITIVE, check_versions, parse_epsilons, read_columns
    from analysis.price_lists import price_survey, price_table, summary
    from analysis.tables import plain, text_table
    from simulator.pricing import Survey
    from simulator.pricing.strategy import PRICING

    _check_figure(plot)
    _find_own_classes(str(survey))
    options = _options(PRICING, "--strategy", strategy, option or [], "raw=true")
    chosen = PRICING.create(strategy, options)
    more = parse_epsilons(epsilons) if epsilons is not None else np.empty(0)
    answers = read_columns(survey, {"epsilon": EPSILON, "value": POSITIVE}, {"weight": POSITIVE})
    versions = check_versions(np.union1d(answers["epsilon"], more))
    asked = Survey(np.searchsorted(versions, answers["epsilon"]), answers["value"], answers.get("weight"))
    try:
        priced = price_survey(versions, asked, chosen, name=strategy, composition=composition.value)
    except ValueError as error:
        raise InputError(f"--strategy: {error}") from None
    if plot is not None:
        from analysis import plots

        _save(plots.survey_pricing(priced, asked), plot)
    if json_:
        typer.echo(json.dumps(plain(priced)))
    else:
        typer.echo(text_table(price_table(priced)) + "\n\n" + summary(priced))


@app.command()
def arbitrage(
    prices: Annotated[
        Path,
        typer.Argument(metavar="PRICES.csv", help="A CSV file with the columns epsilon and price, a row a version."),
    ],
    composition: Bundles = Rule.additive,
    json_: Json = False,
    plot: Plot = None,
) -> None:
    """Find the bundle of cheap versions that undercuts a dear one, if a price list admits it.

    Shown are the bundle that saves most and the cheapest cover of every version, numbered from 0 by rising
    epsilon. With --json it is the bundle alone, or null. The exit code is 0 either way.

    Examples
    --------
        dealer arbitrage prices.csv

        dealer arbitrage prices.csv --composition quadratic --plot covers.svg

        dealer arbitrage prices.csv --json
    """
    from analysis.inputs import EPSILON, NON_NEGATIVE, check_versions, read_columns
    from analysis.price_lists import cheapest_covers, cover_table, in_words
    from analysis.tables import plain, text_table
    from simulator.pricing import find_arbitrage

    _check_figure(plot)
    table = read_columns(prices, {"epsilon": EPSILON, "price": NON_NEGATIVE}).sort_values("epsilon", kind="stable")
    again = table.index[table["epsilon"].duplicated(keep=False)][:2]
    if len(again):
        rows = " and ".join(map(str, again))
        raise InputError(f"epsilon: found {table['epsilon'][again[0]]:g} in rows {rows}; allowed is one row a version")
    versions, posted = check_versions(table["epsilon"].to_numpy()), table["price"].to_numpy()
    found = find_arbitrage(versions, posted, composition=composition.value)
    if plot is not None:
        from analysis import plots

        _save(plots.arbitrage(versions, posted, composition=composition.value), plot)
    if json_:
        typer.echo(json.dumps(plain(found)))
    else:
        covers = cheapest_covers(versions, posted, composition=composition.value)
        typer.echo(in_words(found, versions, posted) + "\n\n" + text_table(cover_table(covers, versions, posted)))


@app.command()
def procure(
    offers: Annotated[
        Path,
        typer.Argument(
            metavar="OFFERS.csv",
            help="A CSV file with the columns owner, value and cost, a row an owner: its name, the Shapley value of "
            "its shard and what it asks.",
        ),
    ],
    budget: Annotated[float, typer.Option(help="Money to spend, 0 or more.")],
    method: Annotated[
        str, typer.Option(help="A procurement method (see `dealer list procurement`), or your own as module:Class.")
    ] = "exact",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of the method, such as `alpha=0.25`; may be repeated."),
    ] = None,
    json_: Json = False,
    plot: Plot = None,
) -> None:
    """Buy the most valuable set of shards that a budget affords.

    Shown are the owners bought, what they are worth and cost together, their coverage (the share of all positive
    value), and what no affordable set exceeds. A method that draws at random does so from seed 0. The figure shows
    coverage against the budget for every method.

    Examples
    --------
        dealer procure offers.csv --budget 100

        dealer procure offers.csv --budget 100 --method guess_greedy --option alpha=0.25 --plot coverage.pdf

        dealer procure offers.csv --budget 100 --json
    """
    from analysis.inputs import ANY, NON_NEGATIVE, read_columns
    from analysis.purchases import named, offer_table, summary
    from analysis.tables import plain, text_table
    from simulator.procurement import maximize_coverage
    from simulator.procurement.method import PROCUREMENT

    _check_figure(plot)
    _find_own_classes(str(offers))
    if not (math.isfinite(budget) and budget >= 0):
        raise InputError(f"--budget: found {budget:g}; allowed are amounts >= 0")
    options = _options(PROCUREMENT, "--method", method, option or [], "alpha=0.25")
    table = read_columns(offers, {"value": ANY, "cost": NON_NEGATIVE}, names="owner")
    values, costs = table["value"].to_numpy(), table["cost"].to_numpy()
    try:
        bought = maximize_coverage(values, costs, budget, method=method, **options)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"--method: {error}") from None
    if plot is not None:
        from analysis import plots

        _save(plots.coverage_by_budget(values, costs, budget, method, options), plot)
    if json_:
        typer.echo(json.dumps(plain(named(bought, table["owner"]))))
    else:
        typer.echo(text_table(offer_table(bought, table)) + "\n\n" + summary(bought, values, budget, method))


@app.command()
def value(
    data: Annotated[
        Path, typer.Argument(metavar="DATA.csv", help="A CSV file of records: a class, an owner, and features.")
    ],
    label: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the class of each record.")],
    owners: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the owner of each record.")],
    method: Annotated[
        str, typer.Option(help="A valuation method (see `dealer list valuation`), auto, or your own as module:Class.")
    ] = "auto",
    budget: Annotated[int, typer.Option(min=1, help="Models that sampling may train and test.")] = 20_000,
    tolerance: Annotated[float, typer.Option(min=0, help="Relative error at which sampling stops.")] = 0.05,
    game: Annotated[
        str, typer.Option(help="What records are worth (see `dealer list games`), or your own as module:Class.")
    ] = "ridge",
    game_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of the game, such as `ridge=10`; may be repeated."),
    ] = None,
    empty: Annotated[
        Empty, typer.Option(help="What no records are worth: the best constant prediction, or zero.")
    ] = Empty.constant,
    test_share: Annotated[float, typer.Option(help="Share of the records held out to test, between 0 and 1.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the records held out and of the sampling.")] = 0,
    json_: Json = False,
    plot: Plot = None,
) -> None:
    """Value the owners of records by their Shapley values.

    Every column besides the label and the owners is a feature, and must hold numbers. Models are trained on the
    records of coalitions of owners and tested on records held out at random, whoever owns them.

    Examples
    --------
        dealer value records.csv --label diagnosis --owners hospital

        dealer value records.csv --label diagnosis --owners hospital --game logistic --plot values.pdf

        dealer value records.csv --label diagnosis --owners hospital --game knn --game-option k=3 --json
    """
    _check_figure(plot)
    if not 0 < test_share < 1:
        raise InputError(f"--test-share: found {test_share}; allowed are numbers between 0 and 1")
    if not tolerance >= 0:
        raise InputError(f"--tolerance: found {tolerance}; allowed are numbers >= 0")
    _find_own_classes(str(data))
    from analysis.inputs import read_records
    from analysis.owner_values import in_words, value_owners, value_table
    from analysis.tables import plain, text_table
    from simulator.valuation.estimator import VALUATION
    from simulator.valuation.games import GAMES, check_game_options

    options = _settings("--game-option", game_option or [], "ridge=10")
    for name, check in (
        ("--method", lambda: method == "auto" or VALUATION.create(method, {})),
        ("--game", lambda: GAMES.resolve(game)),
        ("--game-option", lambda: check_game_options(game, options)),
    ):
        try:
            check()
        except ValueError as error:
            raise InputError(f"{name}: {error}") from None
    records = read_records(data, label, owners)
    try:
        valued = value_owners(
            *records,
            method=method,
            budget=budget,
            tolerance=tolerance,
            game=game,
            game_options=options,
            empty_utility=0.0 if empty is Empty.zero else None,
            test_share=test_share,
            seed=seed,
        )
    except ValueError as error:
        raise InputError(f"{str(data)!r} cannot be valued: {error}") from None
    if plot is not None:
        from analysis import plots

        _save(plots.owner_values(valued), plot)
    if json_:
        typer.echo(json.dumps(plain(valued)))
    else:
        typer.echo(text_table(value_table(valued)) + "\n\n" + in_words(valued))


@app.command()
def train(
    data: Annotated[Path, typer.Argument(metavar="DATA.csv", help="A CSV file of records: a class, and features.")],
    label: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the class of each record.")],
    epsilon: Annotated[float, typer.Option(help="Privacy parameter of the model, > 0.")],
    delta: Annotated[float, typer.Option(help="The other privacy parameter, between 0 and 1.")] = 1e-5,
    model: Annotated[Kinds, typer.Option(help="Logistic regression, or a support vector machine.")] = Kinds.logistic,
    method: Annotated[
        str, typer.Option(help="auto, objective, amp (for records as units), output or gradient.")
    ] = "auto",
    neighbours: Annotated[
        str,
        typer.Option(
            help="What is hidden of a record, or of an owner: replace-one, its content; add-remove, its presence."
        ),
    ] = "replace-one",
    owners: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the owner of each record, which is no feature.")
    ] = None,
    unit: Annotated[
        Unit | None, typer.Option(help="What the guarantee covers any one of; owners by default where they are given.")
    ] = None,
    data_norm: Annotated[
        float, typer.Option(help="Norm to which rows are clipped; not to be read off the data.")
    ] = 1.0,
    scales: Annotated[
        str | None,
        typer.Option(
            metavar="SCALES.csv|own",
            help="Public constants to scale by: a CSV file with the columns feature, centre, scale; or `own`, which "
            "declares mean and deviation of the training records to be public.",
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="The possible classes, where they are public knowledge.")
    ] = None,
    test_share: Annotated[
        float, typer.Option(help="Share of the records held out to measure accuracy, from 0 (none) to below 1.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the records held out.")] = 0,
    noise_seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the noise, for rehearsals: the model is then not private.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="MODEL.json", help="Write the weights, and what may be published of the card, to a file."),
    ] = None,
    json_: Json = False,
) -> None:
    """Train a private classifier on records, and say what is guaranteed.

    Every column besides the label and the owners is a feature, and must hold numbers. Rows longer than the norm are
    clipped, so features should be brought to a common scale of about 1 by constants that do not come from the
    records. Records are held out for the accuracy so that neighbouring data sets train on neighbouring ones: whole
    owners, by their names, where these are the unit; records by their content where their presence is hidden. The card
    lists what the guarantee leaves out.

    Examples
    --------
        dealer train records.csv --label diagnosis --epsilon 1

        dealer train records.csv --label diagnosis --epsilon 1 --owners hospital --scales ranges.csv --out model.json

        dealer train records.csv --label diagnosis --epsilon 4 --model svm --neighbours add-remove --scales own --json
    """
    if not 0 <= test_share < 1:
        raise InputError(f"--test-share: found {test_share}; allowed are numbers from 0 to below 1")
    if unit is Unit.owner and owners is None:
        raise InputError("--unit: found 'owner' without --owners; allowed with a column of owners")
    if out is not None:
        _check_folder(out)
    from analysis.inputs import read_record_table, read_scales
    from analysis.model_cards import as_json, card_text, model_file, train_model
    from analysis.tables import plain

    table = read_record_table(data, label, owners)
    try:
        card, weights = train_model(
            table,
            model=model.value,
            constants=None if scales in (None, "own") else read_scales(Path(scales), table.names),
            own_scaling=scales == "own",
            classes=None if classes is None else _names("--classes", classes),
            unit=(unit or (Unit.record if owners is None else Unit.owner)).value,
            test_share=test_share,
            split_seed=seed,
            noise_seed=noise_seed,
            epsilon=epsilon,
            delta=delta,
            method=method,
            neighbours=neighbours,
            data_norm=data_norm,
        )
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{str(data)!r} cannot be trained on: {error}") from None
    except RuntimeError as error:  # the solver stopped short of what the guarantee asks for
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(FAILED) from None
    if out is not None:
        _write(out, json.dumps(plain(model_file(card, weights)), indent=1))
    if json_:
        typer.echo(json.dumps(plain(as_json(card))))
    else:
        typer.echo(card_text(card))


@app.command()
def calibrate(
    scenario: Annotated[str, typer.Argument(help="A scenario of the library (see `dealer list scenarios`) or a file.")],
    out: Annotated[Path, typer.Option(metavar="CURVE.json", help="File to write the curve to.")],
    set_: Settings = None,
    replicates: Annotated[int, typer.Option(min=2, help="Splits of the data set to train on.")] = 20,
    epsilons: Annotated[
        str | None,
        typer.Option(
            metavar="EPS,EPS...",
            help="Versions to train, such as 0.5,1,2; by default 0.1 to 10 and those of the scenario.",
        ),
    ] = None,
    workers: Workers = None,
    json_: Json = False,
    plot: Plot = None,
) -> None:
    """Calibrate the surrogate for training: a curve of accuracy over epsilon, coverage and records.

    The scenario's own trainer is run on many purchases from its owners, and a smooth curve is fitted. Shown are its
    errors on markets that it was not fitted to, in points of accuracy, beside the noise of a single training. A
    scenario uses the curve by `broker.training.method = "surrogate"` and `broker.training.curve = "CURVE.json"`.

    Examples
    --------
        dealer calibrate demo --out curve.json --plot curve.pdf

        dealer calibrate my.toml --out svm.json --set broker.training.model=svm --replicates 40

        dealer run my.toml --set broker.training.method=surrogate --set broker.training.curve=curve.json
    """
    _check_figure(plot)
    if out.suffix != ".json":
        raise InputError(f"--out: found {str(out)!r}; allowed are files that end in .json")
    _check_folder(out)
    _find_own_classes(scenario)
    from tqdm import tqdm

    from analysis.curves import error_table, formula
    from analysis.inputs import parse_epsilons
    from analysis.tables import plain, text_table
    from scenarios.calibration import calibrate
    from scenarios.design import markets
    from scenarios.experiment import load
    from scenarios.runner import RunError

    levels = None if epsilons is None else parse_epsilons(epsilons)
    experiment = load(scenario, set_ or [])
    market = markets(experiment.model_copy(update={"sweep": {}, "comparison": None}))[0]
    try:
        with tqdm(total=replicates, unit="split", desc=out.stem, mininterval=_pause()) as bar:
            curve, trials = calibrate(
                market,
                seed=experiment.seed,
                replicates=replicates,
                epsilons=levels,
                workers=workers or _processors(),
                import_path=tuple(sys.path),
                progress=bar.update,
            )
    except RunError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(FAILED) from None
    try:
        curve.save(out)
    except OSError as error:
        raise InputError(f"--out: {str(out)!r} cannot be written: {error.strerror or error}") from None
    if plot is not None:
        from analysis import plots

        _save(plots.accuracy_curve(curve, trials), plot)
    if json_:
        typer.echo(json.dumps(plain(curve)))
    else:
        typer.echo(text_table(error_table([curve])) + "\n\n" + formula(curve) + f"\nCurve: {out}")


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


def main() -> None:
    """Entry point of the `dealer` command."""
    app()


def _run(results: Results, workers: int, retry_failed: bool) -> None:
    from tqdm import tqdm

    from scenarios.runner import RunError, run_experiment

    statuses = ("pending", "failed") if retry_failed else ("pending",)
    to_do = sum(len(rows) for rows in results.batches(statuses).values())
    total = len(results.plan)
    if to_do == 0:
        typer.echo(f"All {total} runs of {results.folder} are done already.")
        return
    start = time.perf_counter()
    failures = 0
    name = results.experiment.name
    with tqdm(total=total, initial=total - to_do, unit="run", desc=name, mininterval=_pause()) as bar:

        def progress(runs: int, failed: int) -> None:
            nonlocal failures
            failures += failed
            if failures:
                bar.set_postfix_str(f"{failures} failed", refresh=False)
            bar.update(runs)

        try:
            run_experiment(
                results, workers=workers, retry_failed=retry_failed, import_path=tuple(sys.path), progress=progress
            )
        except KeyboardInterrupt:
            bar.close()
            done = int((results.plan["status"] == "done").sum())
            typer.echo(f"Interrupted. {done} of {total} runs are kept; run the same command to go on.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except (RunError, OSError) as error:
            bar.close()
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(FAILED) from None
    seconds = time.perf_counter() - start
    typer.echo(f"{to_do} runs in {seconds:.1f} s ({to_do / seconds:.1f} a second).")


def _show_plan(experiment: Experiment, at_point: list[MarketConfig], folder: Path, workers: int) -> None:
    """What an experiment would do, and how long its first and last design point take."""
    from scenarios.runner import run_one
    from scenarios.store import Results

    points, replicates = len(at_point), experiment.replicates
    total = to_do = points * replicates
    typer.echo(
        f"{experiment.name}: {total:,} runs, {points:,} design points x {replicates:,} replicates, into {folder}."
    )
    for name, values in experiment.sweep.items():
        typer.echo(f"  {name}: {len(values)} values, {', '.join(map(str, values))}")
    if (folder / "experiment.json").exists():
        plan = Results.create(folder, experiment, write=False).plan
        to_do = int((plan["status"] == "pending").sum())
        typer.echo(f"  {total - to_do:,} of them are done or have failed already.")
    seconds = []
    for point in sorted({0, points - 1}):
        start = time.perf_counter()
        run_one(at_point[point], experiment.seed, 0, experiment.tables)
        seconds.append(time.perf_counter() - start)
    taken = " and ".join(f"{t:.2f}" for t in seconds)
    about = _duration(sum(seconds) / len(seconds) * to_do / workers)
    typer.echo(
        f"Timed: {taken} s for a run of the first{' and the last' * (points > 1)} design point. {to_do:,} runs take "
        f"about {about} on {workers} worker{'s' * (workers > 1)}, less where runs of a replicate share their "
        "valuation.\nNo results were written."
    )


def _duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for size, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _report(results: Results, by: str | None, baseline: str | None, metrics: tuple[str, ...] = ()) -> None:
    from analysis.report import write_report

    if not results.experiment.sweep:
        typer.echo(f"Tables are in {results.folder}; a report compares swept parameters, and none was swept.")
        return
    from analysis.compare import question

    if by is None and results.experiment.comparison is None:
        by = next(iter(results.experiment.sweep))
    try:
        page = write_report(results, question(results, by, baseline, metrics))
    except OSError as error:
        raise InputError(f"results: the report cannot be written: {error}") from None
    typer.echo(f"Report: {page}")


def _print_comparison(results: Results, asked: Question, metrics: Iterable[str]) -> None:
    from analysis.compare import compare
    from analysis.tables import key_table, text_table

    table = compare(results, asked)
    for metric in metrics:
        typer.echo("\n" + text_table(key_table(table, asked, metric)))
    typer.echo("\nMean over rounds and replicates [95% t interval]; differences paired by replicate.")


def _open(folder: Path) -> Results:
    _find_own_classes(str(folder))
    from scenarios.store import Results

    return Results(folder)


def _find_own_classes(scenario: str) -> None:
    """Let "my_module:MyClass" be found beside the scenario file and in the current folder."""
    for folder in (os.getcwd(), str(Path(scenario).resolve().parent)):
        if folder not in sys.path:
            sys.path.append(folder)


def _settings(flag: str, settings: list[str], example: str) -> dict[str, Any]:
    """Values by name, of arguments such as `example`."""
    if not settings:
        return {}
    from scenarios.experiment import parse_setting  # with it comes Mesa

    return dict(parse_setting(setting, flag, example) for setting in settings)


def _options(family: Family, flag: str, name: str, settings: list[str], example: str) -> dict[str, Any]:
    """Options of a mechanism as given on the command line, such as `example`; the mechanism takes them."""
    options = _settings("--option", settings, example)
    try:
        family.resolve(name)
    except ValueError as error:
        raise InputError(f"{flag}: {error}") from None
    try:
        family.create(name, options)
    except ValueError as error:
        raise InputError(f"--option: {error}") from None
    return options


def _check_figure(file: Path | None) -> None:
    if file is not None and file.suffix.lower() not in FIGURES:
        raise InputError(f"--plot: found {str(file)!r}; allowed are files that end in {', '.join(FIGURES)}")


def _save(figure: Figure, file: Path) -> None:
    from analysis.plots import save

    try:
        save(figure, file, file.suffix.lower().removeprefix("."))
    except OSError as error:
        raise InputError(f"--plot: {str(file)!r} cannot be written: {error.strerror or error}") from None


def _names(flag: str, text: str) -> list[str]:
    """Names given as "A,B,..."."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"{flag}: found {text!r}; allowed are names separated by commas, each once")
    return names


def _check_folder(file: Path) -> None:
    """Refuse a file that could not be written, before the work is done."""
    if not file.parent.is_dir():
        raise InputError(f"--out: found {str(file)!r}, in a folder that does not exist")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out: {str(file)!r} cannot be written: {error.strerror or error}") from None


def _pause() -> float:
    """Seconds between two states of a progress bar."""
    return 0.1 if sys.stderr.isatty() else 60


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main()
