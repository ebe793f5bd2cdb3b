"""Running an experiment: one run, a batch of runs, all runs on worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import pandas as pd
from threadpoolctl import ThreadpoolController

from scenarios.design import markets
from scenarios.store import Results
from simulator import Market
from simulator.config import MarketConfig

Outcome = TypeVar("Outcome")


class RunError(RuntimeError):
    """The work failed, though the input was good."""


@dataclass(frozen=True)
class Job:
    """One run to do: its number, its market and its replicate."""

    run: int
    market: MarketConfig
    replicate: int


@dataclass(frozen=True)
class BatchOutcome:
    """What a batch of runs gave.

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


def run_batch(jobs: Sequence[Job], seed: int, tables: Sequence[str], import_path: Sequence[str]) -> BatchOutcome:
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
    joined = {
        name: pd.concat(frames, ignore_index=True) if frames else pd.DataFrame() for name, frames in collected.items()
    }
    return BatchOutcome(joined, pd.DataFrame(rows), tracebacks)


def run_experiment(
    results: Results,
    *,
    workers: int = 1,
    retry_failed: bool = False,
    import_path: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Do the runs of an experiment that are not done yet.

    Parameters
    ----------
    results : Results
        The results folder; batches are added as they finish.
    workers : int
        Worker processes; 1 runs in this process.
    retry_failed : bool
        Whether runs that failed before are tried again.
    import_path : sequence of str
        Folders where a user's own classes are found.
    progress : callable, optional
        Called after each batch with the number of its runs and of those that failed.

    Raises
    ------
    RunError
        If a worker process dies; the batches finished before are kept.
    """
    experiment = results.experiment
    at_point = markets(experiment, results.points)
    statuses = ("pending", "failed") if retry_failed else ("pending",)
    batches = {
        number: [
            Job(run, at_point[point], replicate)
            for run, point, replicate in rows[["run", "point", "replicate"]].to_numpy().tolist()
        ]
        for number, rows in results.batches(statuses).items()
    }

    def keep(batch: int, outcome: BatchOutcome) -> None:
        for run, text in outcome.tracebacks.items():
            results.write_traceback(run, text)
        results.write_batch(batch, outcome.tables, outcome.runs)
        if progress is not None:
            progress(len(outcome.runs), len(outcome.tracebacks))

    arguments = (experiment.seed, experiment.tables, tuple(import_path))
    tasks = {number: (jobs, *arguments) for number, jobs in batches.items()}
    try:
        with closing(in_parallel(run_batch, tasks, workers)) as outcomes:
            for number, outcome in outcomes:
                keep(number, outcome)
    except BrokenProcessPool:
        raise RunError("a worker process died; finished batches are kept, run the same command to go on") from None


def in_parallel(
    function: Callable[..., Outcome], tasks: Mapping[int, tuple[Any, ...]], workers: int
) -> Generator[tuple[int, Outcome], None, None]:
    """Results of a function as they come, each with the number of its task.

    Parameters
    ----------
    function : callable
        A function of a module.
    tasks : mapping of int to tuple
        Its arguments by number.
    workers : int
        Worker processes; with 1, or for a single task, it is called in this process.

    Raises
    ------
    BrokenProcessPool
        If a worker process dies.
    """
    if workers == 1 or len(tasks) <= 1:
        for number, arguments in tasks.items():
            yield number, function(*arguments)
        return
    executor = _processes(min(workers, len(tasks)))
    try:
        futures = {executor.submit(function, *arguments): number for number, arguments in tasks.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        # After an interrupt the tasks in flight are given up; waiting for them could take as long as they do.
        executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


@contextmanager
def one_thread() -> Iterator[None]:
    """Numerical libraries run on one thread, so that results cannot depend on how many workers there are."""
    with _threadpools().limit(limits=1):
        yield


def _processes(workers: int) -> ProcessPoolExecutor:
    # A fork server starts workers cheaply and without this process's threads; elsewhere they are spawned.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(["scenarios.runner", "simulator.market"])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    """Leave an interrupt to the main process, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main = multiprocessing.parent_process()
    if main is not None:

        def end_with_main() -> None:
            main.join()
            os._exit(1)

        threading.Thread(target=end_with_main, daemon=True).start()


@cache
def _threadpools() -> ThreadpoolController:
    """Thread pools of the numerical libraries, which take a while to find."""
    import simulator.market  # noqa: F401  # loads the libraries

    return ThreadpoolController()
