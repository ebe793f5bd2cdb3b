"""Commands that run experiments: run, rerun."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.cli.app import (
    FAILED,
    INTERRUPTED,
    Folder,
    Settings,
    Workers,
    app,
    find_own_classes,
    open_results,
    processors,
    split_names,
)
from analysis.cli.progress import Progress
from analysis.cli.show import print_comparison, show_report
from scenarios.errors import InputError, RunError

if TYPE_CHECKING:
    from analysis.stopping import StoppingRule
    from scenarios.experiment import Experiment
    from scenarios.store import Results
    from simulator.config import MarketConfig

#: Replicates before which --until-ci does not stop, and at which it gives up.
MINIMUM, MAXIMUM = 20, 1000


@app.command()
def run(
    scenario: Annotated[str, typer.Argument(help="A scenario of the library (see `dealer list scenarios`) or a file.")],
    set_: Settings = None,
    out: Annotated[Path | None, typer.Option(help="Results folder; by default results/NAME.")] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who does the runs: serial (this process), processes (the default), or dask://HOST:PORT, the "
            "scheduler of a Dask cluster.",
        ),
    ] = None,
    workers: Workers = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try runs again that failed before.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")] = False,
    max_failures: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop when N runs have failed; by default all are done.")
    ] = None,
    until_ci: Annotated[
        float | None,
        typer.Option(
            metavar="WIDTH",
            help="Add replicates until half the width of a metric's 95% interval is this share of its mean or less, at "
            "every compared value, such as 0.01.",
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="The metric that --until-ci is about; by default the scenario's first.")
    ] = None,
    min_replicates: Annotated[
        int | None,
        typer.Option(
            min=2, metavar="N", help=f"With --until-ci: replicates before which it does not stop, by default {MINIMUM}."
        ),
    ] = None,
    max_replicates: Annotated[
        int | None,
        typer.Option(
            min=2, metavar="N", help=f"With --until-ci: replicates at which it gives up, by default {MAXIMUM:,}."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    report: Annotated[bool, typer.Option(help="Write figures and report.html at the end.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and about how long it takes; run and write nothing.")
    ] = False,
) -> None:
    """Run an experiment and write its tables, figures and report.

    Runs that are done stay done: the same command goes on where an earlier one stopped, and with more replicates
    it does those that are missing. A run that fails is recorded with its error, and the others go on. Results do not
    depend on the executor or the number of workers.

    Examples
    --------
        dealer run demo

        dealer run demo --set replicates=3 --set broker.commission=0.2 --out results/quick

        dealer run my.toml --workers 1 --fail-fast

        dealer run my.toml --executor dask://10.0.0.5:8786

        dealer run my.toml --dry-run

        dealer run my.toml --until-ci 0.02 --metric welfare
    """
    find_own_classes(scenario)
    from scenarios.design import markets
    from scenarios.executors import check_executor
    from scenarios.experiment import load
    from scenarios.store import Results

    chosen = check_executor(executor)
    if workers is not None and chosen not in (None, "processes") and (chosen, workers) != ("serial", 1):
        raise InputError(f"--workers: found {workers}; allowed with --executor {chosen} is none, as it has its own")
    if fail_fast and max_failures is not None:
        raise InputError(f"--max-failures: found {max_failures} beside --fail-fast; allowed is one of the two")
    crew = workers or (processors() if chosen in (None, "processes") else 1)
    experiment = load(scenario, set_ or [])
    checked = markets(experiment)
    if any(market.n_owners == 1 for market in checked):
        typer.echo("Note: owners: found 1 owner, so coverage is all or nothing and no owner competes.", err=True)
    folder = out or Path("results") / experiment.name
    rule = _stopping_rule(experiment, until_ci, metric, min_replicates, max_replicates)
    if rule is not None:
        there = Results(folder).experiment.replicates if (folder / "experiment.json").exists() else 0
        experiment = experiment.with_replicates(max(experiment.replicates, there, rule.minimum))
    if dry_run:
        _show_plan(experiment, checked, folder, crew)
        return

    def work(experiment: Experiment) -> Results:
        results = Results.create(folder, experiment)
        _run(
            results,
            quiet=quiet,
            executor=chosen,
            workers=crew,
            retry_failed=retry_failed,
            max_failures=1 if fail_fast else max_failures,
        )
        return results

    results = work(experiment)
    if rule is not None:
        results = _until_narrow(results, rule, work)
    failed = results.plan[results.plan["status"] == "failed"]
    if len(failed):
        typer.echo(
            f"{len(failed)} of {len(results.plan)} runs failed, the first with: {failed['error'].iloc[0]}\n"
            f"Tracebacks are in {results.folder / 'errors'}; --retry-failed tries them again.",
            err=True,
        )
    if len(failed) < len(results.plan):
        if experiment.levels:
            from analysis.compare import question

            asked = question(results, None if experiment.comparison else next(iter(experiment.levels)))
            print_comparison(results, asked, asked.metrics[:1])
        if report:
            show_report(results, None, None)
    if len(failed) or (rule is not None and not results.provenance["stopping"]["reached"]):
        raise typer.Exit(FAILED)


@app.command()
def rerun(
    results: Folder,
    run: Annotated[int, typer.Option(min=0, help="Number of the run, as in plan.parquet.")],
    rounds_log: Annotated[
        str, typer.Option(metavar="TABLE,...", help="Tables to write, also such as the experiment did not keep.")
    ] = "rounds,brokers,versions,owners,sales",
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
    opened = open_results(results)
    from scenarios.rerun import changed_packages, differing
    from scenarios.rerun import rerun as again
    from scenarios.store import write_parquet
    from simulator.log import TABLES

    tables = split_names("--rounds-log", rounds_log)
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


def _stopping_rule(
    experiment: Experiment, width: float | None, metric: str | None, least: int | None, most: int | None
) -> StoppingRule | None:
    """What --until-ci and the options that go with it ask for."""
    if width is None:
        for flag, value in (("--metric", metric), ("--min-replicates", least), ("--max-replicates", most)):
            if value is not None:
                raise InputError(f"{flag}: found {value!r} without --until-ci; allowed with it only")
        return None
    minimum, maximum = MINIMUM if least is None else least, MAXIMUM if most is None else most
    from analysis.stopping import StoppingRule
    from scenarios.experiment import DEFAULT_METRICS
    from simulator.log import ROUND_METRICS

    if not (math.isfinite(width) and width > 0):
        raise InputError(f"--until-ci: found {width:g}; allowed are numbers > 0, such as 0.01 for 1% of the mean")
    if maximum < minimum:
        raise InputError(f"--max-replicates: found {maximum}; allowed is at least --min-replicates, {minimum}")
    chosen = metric or (experiment.comparison.metrics if experiment.comparison else DEFAULT_METRICS)[0]
    if chosen not in ROUND_METRICS:
        raise InputError(f"--metric: found {chosen!r}; allowed are {', '.join(ROUND_METRICS)}")
    return StoppingRule(chosen, width, minimum, maximum)


def _until_narrow(results: Results, rule: StoppingRule, work: Callable[[Experiment], Results]) -> Results:
    """Add replicates until the rule says to stop, and keep why it did."""
    from analysis.stopping import in_words, next_replicates, samples, stopped, widest

    while True:
        found, replicates = samples(results, rule.metric), results.experiment.replicates
        more = next_replicates(found, replicates, rule)
        if more == replicates:
            break
        width = widest(found)[1]
        typer.echo(
            f"{replicates} replicates: half-width {width:.2%} of the mean, not {rule.width:.2%}; {more} are next."
        )
        results = work(results.experiment.with_replicates(more))
    done = stopped(found, replicates, rule)
    results.note(stopping=done)
    typer.echo(in_words(done))
    return results


def _run(results: Results, *, quiet: bool, retry_failed: bool, **how: Any) -> None:
    """Do what is left of an experiment, and say what is kept if that ends before its time."""
    from scenarios.runner import run_experiment

    statuses = ("pending", "failed") if retry_failed else ("pending",)
    to_do = sum(len(rows) for rows in results.batches(statuses).values())
    total = len(results.plan)
    if to_do == 0:
        typer.echo(f"All {total} runs of {results.folder} are done already.")
        return
    start = time.perf_counter()
    problem = None
    with Progress(results.experiment.name, "run", total, done=total - to_do, quiet=quiet) as progress, _terminated():
        try:
            run_experiment(
                results, retry_failed=retry_failed, import_path=tuple(sys.path), progress=progress.add, **how
            )
        except KeyboardInterrupt:
            problem, code = "Interrupted.", INTERRUPTED
        except RunError as error:
            problem, code = f"Error: {error}.", FAILED
    if problem is not None:
        done = int((results.plan["status"] == "done").sum())
        typer.echo(f"{problem} {done} of {total} runs are kept; run the same command to go on.", err=True)
        raise typer.Exit(code)
    seconds = time.perf_counter() - start
    typer.echo(f"{to_do} runs in {seconds:.1f} s ({to_do / seconds:.1f} a second).")


@contextmanager
def _terminated() -> Iterator[None]:
    """A cluster's scheduler ends a job by SIGTERM: as if it were interrupted."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_plan(experiment: Experiment, at_point: list[MarketConfig], folder: Path, workers: int) -> None:
    """What an experiment would do, and how long its first and last design point take."""
    from scenarios.runner import run_one
    from scenarios.store import Results

    points, replicates = len(at_point), experiment.replicates
    total = to_do = points * replicates
    typer.echo(
        f"{experiment.name}: {total:,} runs, {points:,} design points x {replicates:,} replicates, into {folder}."
    )
    for name, swept in experiment.sweep.items():
        together = next((group for group in experiment.design.zip if name in group), ())
        zipped = ", ".join(other for other in together if other != name)
        shown = f"{len(swept)} values, {', '.join(map(str, swept))}" if isinstance(swept, list) else f"range {swept}"
        typer.echo(f"  {name}: {shown}" + (f" (together with {zipped})" if zipped else ""))
    if experiment.ranges:
        typer.echo(f"  ranges sampled by {experiment.design.sampling}, points = {experiment.design.points}")
    if (folder / "experiment.json").exists():
        plan = Results.create(folder, experiment, write=False).plan
        to_do = int((plan["status"] == "pending").sum())
        typer.echo(f"  {total - to_do:,} of them are done or have failed already.")
    seconds = []
    for point in sorted({0, points - 1}):
        start = time.perf_counter()
        try:
            run_one(at_point[point], experiment.seed, 0, experiment.tables)
        except InputError:
            raise
        except Exception as error:  # whatever a run may fail with, a user's own class included
            raise RunError(f"the first run of design point {point} fails: {type(error).__name__}: {error}") from error
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
