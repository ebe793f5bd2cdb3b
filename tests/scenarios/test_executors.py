"""Who does the work: this process, worker processes, any executor, a Dask cluster of real processes."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from pandas.testing import assert_frame_equal

from scenarios import executors
from scenarios.errors import InputError, RunError
from scenarios.executors import Crew, Serial, WorkerDied, check_executor, in_parallel, open_crew
from scenarios.experiment import parse
from scenarios.runner import one_thread, run_experiment
from scenarios.store import Results

SCENARIO = {
    "name": "cheap",
    "rounds": 2,
    "replicates": 20,
    "seed": 3,
    "tables": ["rounds", "versions", "owners", "sales"],
    "data": {"source": "values"},
    "owners": [
        {
            "segment": "o",
            "count": 6,
            "value": {"dist": "norm", "loc": 1.0},
            "privacy_sensitivity": {"dist": "uniform"},
            "base_price_pool": 20.0,
        }
    ],
    "broker": {"epsilons": [0.5, 1.0, 2.0]},
    "buyers": [
        {
            "segment": "b",
            "count": 15,
            "budget": {"dist": "lognorm", "s": 0.5, "scale": 30.0},
            "epsilon_expected": {"dist": "uniform", "scale": 2.5},
        }
    ],
    "sweep": {"broker.pricing": ["dpp_plus", "median", "uniform"]},
}


def run(folder, **options):
    results = Results.create(folder, parse(SCENARIO))
    run_experiment(results, **options)
    return Results(folder)


def assert_same(found, expected):
    """The same tables, bit by bit, and the same plan but for the seconds."""
    assert_frame_equal(found.plan.drop(columns="seconds"), expected.plan.drop(columns="seconds"))
    for name in SCENARIO["tables"]:
        assert_frame_equal(found.table(name), expected.table(name), check_exact=True)


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    return run(tmp_path_factory.mktemp("serial") / "cheap", executor="serial")


def test_an_executor_of_ones_own_gives_the_same_tables_and_stays_open(serial, tmp_path):
    """Threads of one process take turns, since numerical libraries are limited to one thread process by process."""
    before = threading.active_count()
    with ThreadPoolExecutor(3) as threads:
        assert_same(run(tmp_path / "threads", executor=threads, workers=3), serial)
        assert threads.submit(abs, -1).result() == 1
    assert threading.active_count() == before


def test_runs_of_one_process_take_turns():
    """The limit of one thread is the process's: the first run to end would lift it for the others."""
    inside, most = [], []

    def turn(_):
        with one_thread():
            inside.append(1)
            time.sleep(0.01)
            most.append(len(inside))
            inside.pop()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(turn, range(8)))
    assert most == [1] * 8


class Counting(Executor):
    """Does tasks on threads, and counts those whose outcomes nobody has taken."""

    def __init__(self):
        self.threads = ThreadPoolExecutor(2)
        self.held = self.most = 0

    def submit(self, fn, /, *args, **kwargs):
        self.held += 1
        self.most = max(self.most, self.held)
        return self.threads.submit(fn, *args, **kwargs)


def counted(tasks, function=abs, workers=2):
    executor = Counting()
    with executor.threads, closing(in_parallel(function, tasks, Crew(executor, lambda: workers))) as outcomes:
        for task, outcome in outcomes:
            executor.held -= 1
            yield task, outcome, executor


def test_few_outcomes_are_held_however_many_tasks_there_are():
    most = {}
    for count in (10, 1000):
        seen = list(counted(deque((number, (-number,)) for number in range(count))))
        assert sorted((task[0], outcome) for task, outcome, _ in seen) == [(n, n) for n in range(count)]
        most[count] = seen[0][2].most
    assert most == {10: 4, 1000: 4}


def test_tasks_may_be_added_while_others_are_done():
    tasks = deque([(0, (0,))])
    found = []
    for task, outcome, _ in counted(tasks):
        found.append(outcome)
        if task[0] < 5:
            tasks.append((task[0] + 1, (task[0] + 1,)))
    assert found == list(range(6))


def test_a_cluster_that_grows_gets_more_tasks():
    size = iter([1] * 10 + [8] * 1000)
    executor = Counting()
    tasks = deque((number, (number,)) for number in range(200))
    with executor.threads:
        for done, _ in enumerate(in_parallel(abs, tasks, Crew(executor, lambda: next(size)))):
            executor.held -= 1
            assert executor.most <= (2 if done < 10 else 16)
    assert executor.most == 16


def test_serial_does_a_task_when_it_is_handed_out_and_lets_interrupts_through():
    done = []
    tasks = deque((number, (number,)) for number in range(3))
    with open_crew("serial", 1) as crew:
        for number, _ in in_parallel(done.append, tasks, crew):
            assert done == list(range(number[0] + 1))

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Serial().submit(interrupt)
    with pytest.raises(ZeroDivisionError):
        Serial().submit(divmod, 1, 0).result()


def deadly(number):
    """Kills its process if the number is four, and takes a while, so that others are with it."""
    if number == 4:
        os._exit(7)
    time.sleep(0.02)
    return number


def test_only_the_task_that_kills_its_worker_is_lost():
    tasks = deque((number, (number,)) for number in range(12))
    others = set(multiprocessing.active_children())
    with open_crew("processes", 2) as crew, closing(in_parallel(deadly, tasks, crew)) as outcomes:
        found = {task[0]: outcome for task, outcome in outcomes}
    assert isinstance(found.pop(4), WorkerDied)
    assert found == {number: number for number in range(12) if number != 4}
    assert set(multiprocessing.active_children()) <= others


def test_tasks_in_flight_are_given_up_when_nobody_waits_for_them():
    tasks = deque([(0, (0.0,)), (1, (600.0,)), (2, (600.0,))])
    others = set(multiprocessing.active_children())
    with open_crew("processes", 2) as crew, closing(in_parallel(time.sleep, tasks, crew)) as outcomes:
        assert next(outcomes)[0][0] == 0
    assert set(multiprocessing.active_children()) <= others


def test_a_worker_that_dies_with_nothing_to_do_is_replaced():
    tasks = deque([(0, (0,))])
    with open_crew("processes", 1) as crew, closing(in_parallel(deadly, tasks, crew)) as outcomes:
        os.kill(crew.executor.submit(os.getpid).result(), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while not crew.executor._broken:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert [outcome for _, outcome in outcomes] == [0]


def test_an_executor_of_ones_own_that_breaks_is_one_sentence():
    tasks = deque((number, (number,)) for number in range(3, 9))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as pool:
        outcomes = in_parallel(deadly, tasks, Crew(pool, lambda: 1))
        assert next(outcomes)[1] == 3
        with pytest.raises(RunError, match=r"^the executor broke, or gave its tasks up$"):
            list(outcomes)


class Cancelling(Executor):
    """Gives all tasks up, as a Dask client does that loses its scheduler."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


def test_tasks_that_are_given_up_are_one_sentence(tmp_path):
    with pytest.raises(CancelledError):
        Cancelling().submit(abs, 1).result()
    with pytest.raises(RunError, match="the connection is lost"):
        list(in_parallel(abs, deque([(0, (1,))]), Crew(Cancelling(), lambda: 1, lost="the connection is lost")))
    with pytest.raises(RunError, match="gave its tasks up"):
        run(tmp_path / "cheap", executor=Cancelling())
    assert set(Results(tmp_path / "cheap").plan["status"]) == {"pending"}


def dies():
    os._exit(1)


def test_workers_that_cannot_start_are_one_sentence(monkeypatch):
    """As where a script runs a study without asking whether it is the main module."""
    monkeypatch.setattr(executors, "_start_worker", dies)
    with pytest.raises(RunError, match=r"^worker processes die when they start; a script that runs a study has to do"):
        open_crew("processes", 2).__enter__()


@pytest.mark.parametrize(
    "name", ["", "dask", "dask://", "dask://host", "dask://host:port", "dask://:8786", "dask://host:99999",
             "dask://host:8786/path", "tcp://host:8786", "threads", "Serial"],
)  # fmt: skip
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match=r"^--executor: found '.*'; allowed are serial, processes and dask://HOST"):
        check_executor(name)


@pytest.mark.parametrize("name", [None, "serial", "processes", "dask://localhost:8786", "dask://[::1]:8786"])
def test_names_of_executors(name):
    assert check_executor(name) == name


def test_one_worker_is_this_process():
    with open_crew(None, 1) as crew:
        assert isinstance(crew.executor, Serial)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"extra; install them with `pip install 'dealer-market\[cluster\]'`"):
        open_crew("dask://localhost:8786", 1).__enter__()


def test_no_scheduler_there_is_one_sentence(monkeypatch):
    """Neither where nobody listens nor where something else does, which never answers as a scheduler would."""
    monkeypatch.setattr(executors, "PATIENCE", 0.5)
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        silent = other.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as gone:
            closed = gone.getsockname()[1]
        for port in (silent, closed):
            with pytest.raises(InputError, match=f"^--executor: found no Dask scheduler at 127.0.0.1:{port}; `dask"):
                open_crew(f"dask://127.0.0.1:{port}", 1).__enter__()


@contextmanager
def process(*arguments, log):
    """A process of Dask, ended afterwards."""
    with log.open("w", encoding="utf-8") as output:
        started = subprocess.Popen([sys.executable, "-m", *arguments], stdout=output, stderr=subprocess.STDOUT)
        try:
            yield started
        finally:
            started.kill()
            started.wait()


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def worker(address, folder, name):
    options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder), "--name", name)
    return process("distributed.cli.dask_worker", address, *options, log=folder / f"{name}.log")


def refused(name, sentence, monkeypatch, attribute, value):
    with monkeypatch.context() as changed:
        changed.setattr(executors, attribute, value)
        with pytest.raises(InputError, match=f"^--executor: the Dask .*{sentence}"):
            open_crew(name, 1).__enter__()


def test_a_dask_cluster_gives_the_same_tables_also_when_a_worker_is_killed(serial, tmp_path, monkeypatch):
    """A real scheduler and two worker processes; all steps in one test, since starting them takes seconds."""
    file = tmp_path / "scheduler.json"
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    with process("distributed.cli.dask_scheduler", *options, log=tmp_path / "scheduler.log") as scheduler:
        wait_until(lambda: file.exists() and file.read_text())
        address = json.loads(file.read_text())["address"]
        name = address.replace("tcp://", "dask://")
        refused(name, "has no workers; `dask worker 127", monkeypatch, "PATIENCE", 0.3)
        with worker(address, tmp_path, "one") as one, worker(address, tmp_path, "two"):
            from distributed import Client

            with Client(address, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
            assert_same(run(tmp_path / "quiet", executor=name), serial)

            refused(name, "dealer-market .*; allowed is 0.1", monkeypatch, "package_version", lambda package: "0.1")

            done = 0

            def kill_one(runs, failed):
                nonlocal done
                done += runs
                if done >= 20 and one.poll() is None:
                    one.kill()
                    one.wait()

            assert_same(run(tmp_path / "killed", executor=name, progress=kill_one), serial)
            assert one.poll() == -signal.SIGKILL
            assert done == 60

            def end_of_scheduler(runs, failed):
                scheduler.kill()

            with pytest.raises(RunError, match=r"the connection to the Dask scheduler at .* is lost"):
                run(tmp_path / "lost", executor=name, progress=end_of_scheduler)
    kept = Results(tmp_path / "lost")
    assert set(kept.plan["status"]) == {"done", "pending"}
    assert_same(run(tmp_path / "lost", executor="serial"), serial)
