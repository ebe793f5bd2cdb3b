"""Running an experiment: one run, several runs as one task, all runs on an executor."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pandas as pd
from threadpoolctl import ThreadpoolController

from scenarios.design import markets
from scenarios.errors import InputError, RunError
from scenarios.executors import Crew, Serial, Task, WorkerDied, in_parallel, open_crew
from scenarios.lock import sole_use
from scenarios.store import Results, write_parquet
from simulator import Market
from simulator.config import MarketConfig

#: Runs of a task: few enough for the progress to move and no worker to wait for another at the end, and enough for the
#: work of handing them out to be small beside them.
TASK_RUNS = 8
#: A worker does its share of the runs in at least so many tasks.
TASKS_EACH = 16
#: A replicate of so many runs at most is one task, as its runs share owners and valuations.
WHOLE_REPLICATE = 12
#: Seconds after which outcomes are written though their batch is not complete.
KEPT_BACK = 60.0
DIED = "its worker process died"

# Where an executor has threads, runs of one process take turns: the limit on numerical libraries is the process's.
_turn = threading.RLock()


@dataclass(frozen=True, slots=True)
class Job:
    """One run to do: its number, its market and its replicate."""

    run: int
    market: MarketConfig
    replicate: int


@dataclass(frozen=True)
class BatchOutcome:
    """What some runs of a batch gave.

    Attributes
    ----------
    tables : dict of str to DataFrame
        Rows of the runs that succeeded, with a column `run`.
    runs : DataFrame
        Columns `run`, `status`, `error`, `seconds`.
    tracebacks : dict of int to str
        Tracebacks of the runs that failed.
    """

    tables: dict[str, pd.DataFrame]
    runs: pd.DataFrame
    tracebacks: dict[int, str]


def run_one(market: MarketConfig, seed: int, replicate: int, tables: Sequence[str]) -> dict[str, pd.DataFrame]:
    """One run: a pure function from a market and its seed to tables.

    Parameters
    ----------
    market : MarketConfig
        The market to run.
    seed, replicate : int
        Keys of its random streams.
    tables : sequence of str
        Tables to return.
    """
    with one_thread():
        model = Market(market, seed, replicate, tables=tables)
        model.run()
        return {table: model.frame(table) for table in tables}


def run_batch(
    jobs: Sequence[Job],
    seed: int,
    tables: Sequence[str],
    import_path: Sequence[str] = (),
    max_failures: int | None = None,
) -> BatchOutcome:
    """Several runs in this process; a run that fails is recorded and the others go on.

    Parameters
    ----------
    jobs : sequence of Job
        The runs.
    seed : int
        Seed of the experiment.
    tables : sequence of str
        Tables to return.
    import_path : sequence of str
        Folders where a user's own classes are found.
    max_failures : int, optional
        Failed runs after which the rest is left out.
    """
    sys.path.extend(entry for entry in import_path if entry not in sys.path)
    collected: dict[str, list[pd.DataFrame]] = {table: [] for table in tables}
    rows, tracebacks = [], {}
    for job in jobs:
        start = time.perf_counter()
        status, message = "done", ""
        try:
            for table, frame in run_one(job.market, seed, job.replicate, tables).items():
                frame.insert(0, "run", job.run)
                collected[table].append(frame)
        except (Exception, SystemExit) as error:  # a user's class may call sys.exit
            status, message = "failed", f"{type(error).__name__}: {error}"
            tracebacks[job.run] = traceback.format_exc()
        rows.append({"run": job.run, "status": status, "error": message, "seconds": time.perf_counter() - start})
        if len(tracebacks) == max_failures:
            break
    return BatchOutcome({name: _joined(frames) for name, frames in collected.items()}, pd.DataFrame(rows), tracebacks)


def run_experiment(
    results: Results,
    *,
    executor: str | Executor | None = None,
    workers: int = 1,
    retry_failed: bool = False,
    max_failures: int | None = None,
    import_path: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Do the runs of an experiment that are not done yet.

    Outcomes are written by this process alone: a batch when all its runs are there, and once a minute what there is.
    Whatever ends the work before its time, what was finished is kept, and the same call goes on with the rest.

    Parameters
    ----------
    results : Results
        The results folder.
    executor : str or Executor, optional
        Who does the runs: "serial", "processes", "dask://HOST:PORT", or any executor of `concurrent.futures`, which is
        left open. By default worker processes, or this process if `workers` is 1.
    workers : int
        Worker processes, or workers of an executor of one's own; a Dask cluster has its own.
    retry_failed : bool
        Whether runs that failed before are tried again.
    max_failures : int, optional
        Stop when this many runs have failed in this call; by default a run that fails is recorded and the others go on.
    import_path : sequence of str
        Folders where a user's own classes are found.
    progress : callable, optional
        Called as runs are finished with their number and the number of those that failed.

    Raises
    ------
    InputError
        If another process works on the folder, there is no such executor, or a number is below 1.
    RunError
        If `max_failures` runs have failed, the folder cannot be written, or the executor breaks.
    """
    for name, number in (("workers", workers), ("max_failures", max_failures)):
        if number is not None and number < 1:
            raise InputError(f"{name}: found {number}; allowed is 1 or more")
    with sole_use(results.folder), open_crew(executor, workers) as crew:
        with _writing(results.folder):
            _prepare(results)
        experiment = results.experiment
        statuses = ("pending", "failed") if retry_failed else ("pending",)
        batches = _jobs(results, statuses)
        tasks = _cut(batches, crew)
        work = partial(
            run_batch,
            seed=experiment.seed,
            tables=experiment.tables,
            import_path=tuple(import_path),
            max_failures=max_failures,
        )
        kept = _Collection(results, {number: len(jobs) for number, jobs in batches.items()})
        failures = 0
        try:
            with closing(in_parallel(work, tasks, crew)) as outcomes:
                for (batch, (jobs,)), outcome in outcomes:
                    if isinstance(outcome, WorkerDied) and len(jobs) > 1:  # which of them it was will be seen
                        tasks.extendleft((batch, ([job],)) for job in reversed(jobs))
                        continue
                    found = _dead(jobs[0], experiment.tables) if isinstance(outcome, WorkerDied) else outcome
                    kept.add(batch, found)
                    failures += len(found.tracebacks)
                    if progress is not None:
                        progress(len(found.runs), len(found.tracebacks))
                    if max_failures is not None and failures >= max_failures:
                        raise RunError(_stopped(results, failures, found))
        except BaseException:
            with suppress(RunError):  # the first error is the one to tell
                kept.write_all()
            raise


@contextmanager
def one_thread() -> Iterator[None]:
    """Numerical libraries run on one thread, so that results cannot depend on how many workers there are."""
    with _turn, _threadpools().limit(limits=1):
        yield


class _Collection:
    """Outcomes on their way into the results folder.

    Parameters
    ----------
    results : Results
        The results folder.
    expected : mapping of int to int
        How many runs of each batch are to come.
    """

    def __init__(self, results: Results, expected: Mapping[int, int]) -> None:
        self._results = results
        self._expected = dict(expected)
        self._outcomes: dict[int, list[BatchOutcome]] = {}
        self._written = time.monotonic()

    def add(self, batch: int, outcome: BatchOutcome) -> None:
        """Take an outcome, and write what is due."""
        self._outcomes.setdefault(batch, []).append(outcome)
        self._expected[batch] -= len(outcome.runs)
        if not self._expected[batch]:
            self._write(batch)
        if time.monotonic() - self._written > KEPT_BACK:
            self.write_all()

    def write_all(self) -> None:
        """Write all that there is, batches that are not complete included."""
        for batch in list(self._outcomes):
            self._write(batch)
        self._written = time.monotonic()

    def _write(self, batch: int) -> None:
        outcomes = sorted(self._outcomes[batch], key=lambda outcome: int(outcome.runs["run"].iloc[0]))
        tables = {
            name: _joined([outcome.tables[name] for outcome in outcomes if len(outcome.tables[name].columns)])
            for name in self._results.experiment.tables
        }
        with _writing(self._results.folder):
            for outcome in outcomes:
                for run, text in outcome.tracebacks.items():
                    self._results.write_traceback(run, text)
            runs = pd.concat([outcome.runs for outcome in outcomes], ignore_index=True)
            self._results.write_batch(batch, tables, runs)
            for run in runs.loc[runs["status"] == "done", "run"]:  # what an earlier try left
                self._results.traceback_file(run).unlink(missing_ok=True)
        del self._outcomes[batch]


def _prepare(results: Results) -> None:
    """Make sure that the folder can be written, before anything is computed, and clear what killed processes left."""
    for left in (*results.folder.glob("*.tmp"), *results.folder.glob("*/*.tmp")):
        left.unlink(missing_ok=True)
    # Another process may have worked on it since it was opened.
    results.plan = Results.create(results.folder, results.experiment).plan
    write_parquet(results.plan, results.folder / "plan.parquet")


def _jobs(results: Results, statuses: tuple[str, ...]) -> dict[int, list[Job]]:
    at_point = markets(results.experiment, results.points)
    return {
        number: [
            Job(run, at_point[point], replicate)
            for run, point, replicate in rows[["run", "point", "replicate"]].to_numpy().tolist()
        ]
        for number, rows in results.batches(statuses).items()
    }


def _cut(batches: Mapping[int, Sequence[Job]], crew: Crew) -> deque[Task]:
    """Tasks of the batches: some consecutive runs each, and one each in this process, where nothing is handed over."""
    runs = sum(map(len, batches.values()))
    serial = isinstance(crew.executor, Serial)
    size = 1 if serial else max(1, min(TASK_RUNS, runs // (TASKS_EACH * max(1, crew.workers()))))
    tasks: deque[Task] = deque()
    for number, jobs in batches.items():
        task: list[Job] = []
        for _, same in itertools.groupby(jobs, key=lambda job: job.replicate):
            replicate = list(same)
            whole = not serial and len(replicate) <= WHOLE_REPLICATE
            for group in [replicate] if whole else [[job] for job in replicate]:
                if task and len(task) + len(group) > size:
                    tasks.append((number, (task,)))
                    task = []
                task = task + group
        tasks.append((number, (task,)))
    return tasks


def _dead(job: Job, tables: Sequence[str]) -> BatchOutcome:
    """The outcome of a run that takes its worker process with it."""
    runs = pd.DataFrame([{"run": job.run, "status": "failed", "error": DIED, "seconds": float("nan")}])
    text = f"{DIED} each time it was tried: by what the run calls, or for lack of memory\n"
    return BatchOutcome({name: pd.DataFrame() for name in tables}, runs, {job.run: text})


def _stopped(results: Results, failures: int, outcome: BatchOutcome) -> str:
    run = max(outcome.tracebacks)
    error = outcome.runs.loc[outcome.runs["run"] == run, "error"].item()
    file = results.traceback_file(run)
    return f"stopped after {failures} failed run{'s' * (failures > 1)}; run {run} failed with {error} (see {file})"


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).partition("\n")[0]
        raise RunError(f"{str(folder)!r} cannot be written: {reason}") from error


@cache
def _threadpools() -> ThreadpoolController:
    """Thread pools of the numerical libraries, which take a while to find."""
    import simulator.market  # noqa: F401  # loads the libraries

    return ThreadpoolController()
