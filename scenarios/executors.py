"""Where work is done: in this process, on worker processes, on a Dask cluster, on an executor of one's own."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from scenarios.errors import InputError, RunError
from scenarios.store import PACKAGES, package_version

Outcome = TypeVar("Outcome")
#: A task is a number, by which its outcome is known again, and the arguments of the function.
Task = tuple[int, tuple[Any, ...]]

#: Tasks that are handed out ahead, for each worker: the one it does and the next.
AHEAD = 2
#: Seconds within which a Dask scheduler has to answer, and to have a worker.
PATIENCE = 5.0
#: Seconds for which the number of a cluster's workers is taken as known.
KNOWN_FOR = 5.0


class WorkerDied:
    """Stands for the outcome of a task whose worker process died, every time it was tried."""


class Serial(Executor):
    """Does a task in this process at the moment it is handed out."""

    def submit(self, fn: Callable[..., Outcome], /, *args: Any, **kwargs: Any) -> Future[Outcome]:
        """The finished future of ``fn(*args, **kwargs)``; an interrupt goes through."""
        future: Future[Outcome] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass(frozen=True)
class Crew:
    """An executor, and how it is kept busy.

    Attributes
    ----------
    executor : Executor
        Does the tasks.
    workers : callable
        How many tasks it does at a time, now.
    ahead : int
        Tasks handed out for each worker.
    fresh : callable, optional
        Makes an executor of so many workers, for one that a worker's death broke.
    deaths : tuple of exception types
        What the future of a task raises whose worker died.
    lost : str
        What to say if the executor breaks for good, or gives its tasks up.
    """

    executor: Executor
    workers: Callable[[], int]
    ahead: int = AHEAD
    fresh: Callable[[int], Executor] | None = None
    deaths: tuple[type[BaseException], ...] = ()
    lost: str = "the executor broke, or gave its tasks up"


def in_parallel(
    function: Callable[..., Outcome], tasks: deque[Task], crew: Crew
) -> Generator[tuple[Task, Outcome | WorkerDied], None, None]:
    """Outcomes of a function as they come, each with its task.

    Few tasks are handed out at a time, so that memory does not grow with their number. Where a dead worker breaks
    the executor, the tasks that were handed out are tried again, each on a worker of its own: so the one that kills
    its worker is known, and the others are done.

    Parameters
    ----------
    function : callable
        A function of a module.
    tasks : deque of tuple
        Numbers and arguments; taken from the left, and more may be added meanwhile.
    crew : Crew
        Who does them.

    Raises
    ------
    RunError
        If the executor breaks for good, or gives its tasks up.
    """
    shared = crew.executor
    in_flight: dict[Future[Outcome], tuple[Task, Executor]] = {}
    suspects: deque[Task] = deque()
    alone: set[Executor] = set()

    def hand_out(task: Task, executor: Executor) -> None:
        in_flight[executor.submit(function, *task[1])] = task, executor

    try:
        while tasks or suspects or in_flight:
            workers = max(1, crew.workers())
            while suspects and crew.fresh is not None and len(in_flight) < workers:
                own = crew.fresh(1)
                alone.add(own)
                hand_out(suspects.popleft(), own)
            while tasks and not suspects and len(in_flight) < crew.ahead * workers:
                try:
                    hand_out(tasks[0], shared)
                except BrokenProcessPool:  # a worker died that had nothing to do
                    if crew.fresh is None:
                        raise
                    shared = crew.fresh(workers)
                else:
                    tasks.popleft()
            for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                task, executor = in_flight.pop(future)
                error = future.exception()
                if executor in alone:
                    alone.remove(executor)
                    executor.shutdown(wait=False)
                elif crew.fresh is not None and isinstance(error, crew.deaths):
                    suspects.append(task)
                    if executor is shared:
                        shared = crew.fresh(workers)
                    continue
                yield task, WorkerDied() if isinstance(error, crew.deaths) else future.result()
    except (BrokenExecutor, CancelledError):
        raise RunError(crew.lost) from None
    finally:
        for future in in_flight:
            future.cancel()


@contextmanager
def open_crew(executor: str | Executor | None, workers: int) -> Iterator[Crew]:
    """The workers that an executor's name stands for, for as long as they are needed.

    Parameters
    ----------
    executor : str or Executor, optional
        "serial", "processes", "dask://HOST:PORT", or an executor of one's own, which is left open. By default
        processes, or serial where there is one worker.
    workers : int
        Worker processes, or workers of one's own executor; a Dask cluster has its own.

    Raises
    ------
    InputError
        If the name is not allowed, or what it names cannot be reached.
    RunError
        If no worker process can be started.
    """
    if isinstance(executor, Executor):
        yield Crew(executor, lambda: workers)
        return
    name = check_executor(executor) or ("serial" if workers == 1 else "processes")
    if name == "serial":
        yield Crew(Serial(), lambda: 1, ahead=1)
    elif name == "processes":
        with _processes(workers) as crew:
            yield crew
    else:
        with _dask(urlsplit(name).netloc) as crew:
            yield crew


def check_executor(name: str | None) -> str | None:
    """An executor's name, if it is allowed.

    Raises
    ------
    InputError
        If it is not.
    """
    if name in (None, "serial", "processes"):
        return name
    assert name is not None
    with suppress(ValueError):  # of a port that is no number
        parts = urlsplit(name)
        bare = not (parts.path or parts.query or parts.fragment or parts.username)
        if parts.scheme == "dask" and parts.hostname and parts.port and bare:
            return name
    raise InputError(f"--executor: found {name!r}; allowed are serial, processes and dask://HOST:PORT")


@contextmanager
def _processes(workers: int) -> Iterator[Crew]:
    # A fork server starts workers cheaply and without this process's threads; elsewhere they are spawned.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(["scenarios.runner", "simulator.market"])
    others = set(multiprocessing.active_children())
    pools: list[ProcessPoolExecutor] = []

    def fresh(count: int) -> ProcessPoolExecutor:
        pools.append(ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker))
        return pools[-1]

    try:
        pool = fresh(workers)
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool:
            raise RunError(
                "worker processes die when they start; a script that runs a study has to do so under "
                "`if __name__ == '__main__':`"
            ) from None
        yield Crew(pool, lambda: workers, fresh=fresh, deaths=(BrokenProcessPool,))
    finally:
        # After an interrupt the tasks in flight are given up; waiting for them could take as long as they do.
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        made = set(multiprocessing.active_children()) - others
        for process in made:
            process.terminate()
        for process in made:
            process.join(timeout=PATIENCE)


def _start_worker() -> None:
    """Leave an interrupt to the main process, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main = multiprocessing.parent_process()
    if main is not None:

        def end_with_main() -> None:
            main.join()
            os._exit(1)

        threading.Thread(target=end_with_main, daemon=True).start()


@contextmanager
def _dask(place: str) -> Iterator[Crew]:
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise InputError(
            "--executor: dask:// needs the packages of an extra; install them with "
            "`pip install 'dealer-market[cluster]'`"
        ) from None
    _check_scheduler(place)
    client = Client(f"tcp://{place}", set_as_default=False, timeout=PATIENCE)
    # What it has to say of a lost connection is told in one sentence, by the tasks that are given up.
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        _check_workers(client, place)
        count, counted = 0, -KNOWN_FOR

        def workers() -> int:
            nonlocal count, counted
            if time.monotonic() - counted >= KNOWN_FOR:
                counted = time.monotonic()
                with suppress(OSError):
                    count = sum(client.nthreads().values())
            return count

        yield Crew(
            client.get_executor(pure=False),
            workers,
            deaths=(KilledWorker,),
            lost=f"the connection to the Dask scheduler at {place} is lost",
        )
    finally:
        client.close()
        logger.setLevel(level)


def _check_scheduler(place: str) -> None:
    """Find out whether a scheduler answers, which a client does not in bounded time if something else does."""
    from distributed import rpc

    async def identity() -> None:
        async with rpc(f"tcp://{place}", timeout=PATIENCE) as scheduler:
            await asyncio.wait_for(scheduler.identity(), PATIENCE)

    try:
        with ThreadPoolExecutor(1) as thread:  # this one may have an event loop already, as in a notebook
            thread.submit(asyncio.run, identity()).result()
    except Exception:
        raise InputError(
            f"--executor: found no Dask scheduler at {place}; `dask scheduler` starts one and says its address"
        ) from None


def _check_workers(client: Any, place: str) -> None:
    """Refuse a cluster without workers, and workers with other packages, which may give other numbers."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        raise InputError(
            f"--executor: the Dask scheduler at {place} has no workers; `dask worker {place}` starts one"
        ) from None
    own = _versions()
    try:
        found = client.run(_versions)
    except Exception as error:
        raise InputError(
            f"--executor: a worker of the Dask scheduler at {place} cannot do runs ({type(error).__name__}: {error}); "
            "it needs the packages of this process"
        ) from None
    for worker, versions in found.items():
        for name in own:
            if versions[name] != own[name]:
                raise InputError(
                    f"--executor: the Dask worker {worker} has {name} {versions[name]}; allowed is {own[name]}, which "
                    "this process has"
                )


def _versions() -> dict[str, str | None]:
    return {name: package_version(name) for name in PACKAGES}
