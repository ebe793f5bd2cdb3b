"""Commands that say what an experiment's replicates allow to conclude: rank, regress, sensitivity, power."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.cli.app import Baseline, By, Folder, Json, app, open_results, split_names
from analysis.cli.output import Caption, Format, Label, Out, Output, Style
from scenarios.errors import InputError

if TYPE_CHECKING:
    from scenarios.store import Results

Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Column of the rounds table, by default the scenario's first; may be repeated."),
]


@app.command()
def rank(
    results: Folder,
    by: By = None,
    metric: Metrics = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="Whether the smallest mean comes first.")
    ] = False,
    format_: Format = Style.text,
    out: Out = None,
    caption: Caption = None,
    label: Label = None,
    json_: Json = False,
) -> None:
    """Rank the values of a swept parameter, and say how sure the order is.

    Values that share a letter are not told apart by paired t tests, corrected by Holm for all pairs. Rank intervals
    and the probability of being best come from a bootstrap of whole replicates.

    Examples
    --------
        dealer rank results/demo --metric revenue

        dealer rank results/demo --metric deadweight_loss --lower-is-better --format latex --out ranks.tex
    """
    output = Output(format_, json_, out, caption, label)
    from analysis.compare import question
    from analysis.ranking import rank, ranking_tables

    opened = open_results(results)
    asked = question(opened, by, None, _metrics(opened, metric))
    rows = rank(opened, asked, lower_is_better=lower_is_better)
    tables = ranking_tables(rows, asked, opened.experiment.replicates)
    output.write(tables, rows, {"by": asked.by, "lower_is_better": lower_is_better})


@app.command()
def regress(
    results: Folder,
    metric: Metrics = None,
    on: Annotated[
        str | None, typer.Option(metavar="PARAM,...", help="Swept parameters; by default all of them.")
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PARAM=VALUE",
            help="Value of a parameter of words that its others are compared with; by default the first. May be "
            "repeated.",
        ),
    ] = None,
    log: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Metrics and parameters to take logarithms of.")
    ] = None,
    interactions: Annotated[
        bool, typer.Option("--interactions", help="Products of all pairs of parameters as well.")
    ] = False,
    standardise: Annotated[
        bool, typer.Option("--standardise", help="Divide metrics and numeric parameters by their standard deviation.")
    ] = False,
    standard_errors: Annotated[
        bool, typer.Option("--standard-errors", help="Standard errors in the table instead of intervals.")
    ] = False,
    format_: Format = Style.text,
    out: Out = None,
    caption: Caption = None,
    label: Label = None,
    json_: Json = False,
) -> None:
    """Regress metrics on the swept parameters, a row a run and a column a metric.

    Numeric parameters are terms as such, words are dummies against a baseline. Every replicate has an effect of its
    own, since its runs share owners, buyers and noise, and intervals are clustered by replicate (t with as many
    degrees of freedom as replicates, less one).

    Examples
    --------
        dealer regress results/demo --metric revenue --metric welfare --baseline broker.pricing=median

        dealer regress results/my --on broker.pricing,buyers.hospitals.budget.s --interactions

        dealer regress results/my --metric revenue --log revenue,buyers.hospitals.budget.s --format latex --out t.tex
    """
    output = Output(format_, json_, out, caption, label)
    opened = open_results(results)
    from analysis.regression import Model, regress, regression_tables
    from analysis.tables import plain

    parameters = tuple(opened.experiment.sweep if on is None else split_names("--on", on))
    if not parameters:
        raise InputError("results: found no swept parameter; a regression needs one")
    model = Model(
        _metrics(opened, metric),
        parameters,
        _baselines(opened, parameters, baseline or []),
        tuple(split_names("--log", log)) if log is not None else (),
        interactions,
        standardise,
    )
    coefficients, fits = regress(opened, model)
    tables = regression_tables(opened, model, coefficients, fits, standard_errors=standard_errors)
    about = {"baselines": model.baselines, "fits": plain(fits.to_dict("records"))}
    output.write(tables, coefficients, about)


def _metrics(results: Results, asked: list[str] | None) -> tuple[str, ...]:
    """Metrics as asked for, else the scenario's first."""
    from analysis.compare import check_metrics

    return check_metrics(results, tuple(asked)) if asked else check_metrics(results, ())[:1]


def _baselines(results: Results, parameters: tuple[str, ...], settings: list[str]) -> dict[str, str]:
    """Baselines by parameter: those given, and the scenario's."""
    from analysis.compare import question

    found = {}
    scenario = results.experiment.comparison
    if scenario is not None and scenario.by in parameters:
        baseline = question(results, scenario.by).baseline
        if isinstance(baseline, str):
            found[scenario.by] = baseline
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in parameters:
            raise InputError(
                f"--baseline: found {setting!r}; allowed is PARAM=VALUE with a parameter of {', '.join(parameters)}"
            )
        found[name] = value
    return found


@app.command()
def sensitivity(
    results: Folder,
    metric: Metrics = None,
    format_: Format = Style.text,
    out: Out = None,
    caption: Caption = None,
    label: Label = None,
    json_: Json = False,
) -> None:
    """Sobol indices, or Morris' elementary effects, of metrics over the ranges of a sweep.

    The scenario's design says which: sampling = "saltelli" or "morris". Metrics are averaged over rounds and
    replicates first; each combination of the values of swept lists has an analysis of its own. The analysis is done by
    SALib, which comes with the extra `sensitivity` of this package.

    Example: dealer sensitivity results/my --metric revenue --metric welfare
    """
    output = Output(format_, json_, out, caption, label)
    opened = open_results(results)
    from analysis.sensitivity import sensitivity, sensitivity_tables

    rows = sensitivity(opened, _metrics(opened, metric))
    output.write(sensitivity_tables(opened, rows), rows, {"sampling": opened.experiment.design.sampling})


@app.command()
def power(
    results: Folder,
    by: By = None,
    baseline: Baseline = None,
    metric: Metrics = None,
    width: Annotated[
        float,
        typer.Option(help="Half-width that 95% t intervals are to have, as a share of the absolute mean."),
    ] = 0.01,
    difference: Annotated[
        float | None,
        typer.Option(help="Difference to be found, as a share of the baseline's absolute mean."),
    ] = None,
    power: Annotated[float, typer.Option(help="Probability of finding it.")] = 0.8,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="Take --width and --difference in the metric's unit.")
    ] = False,
    format_: Format = Style.text,
    out: Out = None,
    caption: Caption = None,
    label: Label = None,
    json_: Json = False,
) -> None:
    """Tell from the replicates at hand how many a given precision needs.

    For the interval of each mean, and of each difference to the baseline, paired by replicate; and with --difference
    for a paired t test to find a difference of that size. Means and differences of widths are shares unless --absolute.

    Examples
    --------
        dealer power results/demo --metric revenue --width 0.02

        dealer power results/demo --metric revenue --difference 0.05 --power 0.9
    """
    output = Output(format_, json_, out, caption, label)
    for flag, value in (("--width", width), ("--difference", difference)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{flag}: found {value:g}; allowed are numbers above 0")
    if not 0 < power < 1:
        raise InputError(f"--power: found {power:g}; allowed are numbers between 0 and 1")
    opened = open_results(results)
    from analysis.compare import ALL, Question, question
    from analysis.power import Goal, power_analysis, power_tables

    metrics = _metrics(opened, metric)
    if by is None and not opened.experiment.levels:
        asked = Question("", (ALL,), ALL, metrics)
    else:
        asked = question(opened, by, baseline, metrics)
    if difference is not None and len(asked.levels) < 2:
        raise InputError("--difference: found without values to compare; allowed where a list is swept")
    goal = Goal(width, difference, power, absolute)
    rows = power_analysis(opened, asked, goal)
    about = {"by": asked.by or None, "baseline": asked.baseline if asked.by else None, **dataclasses.asdict(goal)}
    output.write(power_tables(rows, asked, goal), rows, about)
