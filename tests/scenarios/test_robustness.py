"""Studies that are cut off: kills, failures, full disks, folders that are in use. What was finished is kept."""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from scenarios import runner, store
from scenarios.errors import InputError, RunError
from scenarios.experiment import parse
from scenarios.lock import sole_use
from scenarios.runner import run_experiment
from scenarios.store import Results
from simulator.pricing import PricingStrategy

SCENARIO = {
    "name": "cheap",
    "rounds": 1,
    "replicates": 10,
    "seed": 3,
    "tables": ["rounds", "sales"],
    "data": {"source": "values"},
    "owners": [{"segment": "o", "count": 4, "value": 1.0, "privacy_sensitivity": {"dist": "uniform"}}],
    "broker": {"epsilons": [0.5, 1.0]},
    "buyers": [
        {
            "segment": "b",
            "count": 6,
            "budget": {"dist": "lognorm", "s": 0.5, "scale": 30.0},
            "epsilon_expected": {"dist": "uniform", "scale": 2.5},
        }
    ],
    "sweep": {"broker.commission": [0.0, 0.1, 0.2, 0.3]},
}
RUNS = 40


def scenario(**changes):
    return parse(SCENARIO | changes)


def run(folder, experiment=None, **options):
    results = Results.create(folder, experiment or scenario())
    run_experiment(results, **options)
    return Results(folder)


def assert_same(found, expected):
    assert_frame_equal(found.plan.drop(columns="seconds"), expected.plan.drop(columns="seconds"))
    for name in found.experiment.tables:
        assert_frame_equal(found.table(name), expected.table(name), check_exact=True)


@pytest.fixture(scope="module", autouse=True)
def few_batches():
    """Five batches of eight runs, since most of the time goes into writing them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "BATCHES", 5)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed") / "cheap")


def assert_part_of(folder, undisturbed):
    """What a folder holds are rows of the undisturbed study, of each finished run all of them, and once."""
    kept = Results(folder)
    done = kept.plan.loc[kept.plan["status"] == "done", "run"]
    for name in kept.experiment.tables if len(done) else ():
        whole = undisturbed.table(name)
        own = whole[whole["run"].isin(done)].reset_index(drop=True)
        assert_frame_equal(kept.table(name), own, check_exact=True)
    return len(done)


def test_ten_kills_and_a_resume_each_lose_nothing(tmp_path):
    """Killed at random moments while it starts, computes, writes and makes its folder.

    The child is forked, so that it need not import everything again. Every other one has threads, whose outcomes come
    in any order, and writes batches that are not complete.
    """
    long = scenario(replicates=30)
    undisturbed = run(tmp_path / "undisturbed", long)
    rng = random.Random(5)
    folder = tmp_path / "cheap"
    progressed = [0]
    for kill in range(10):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                runner.KEPT_BACK = (60.0, 0.01)[kill % 2]
                own = {"executor": ThreadPoolExecutor(3), "workers": 3} if kill % 2 else {}
                run(folder, long, progress=lambda runs, _, to=writer: os.write(to, b"." * runs), **own)
            os._exit(0)
        os.close(writer)
        until = rng.randrange(25) if kill else 0
        while until > 0:
            seen = len(os.read(reader, until))
            assert seen, "the child ended by itself"
            until -= seen
        time.sleep(rng.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        if (folder / "experiment.json").exists():
            progressed.append(assert_part_of(folder, undisturbed))
    assert progressed == sorted(progressed)
    assert len(set(progressed)) > 3
    assert progressed[-1] < 120
    assert_same(run(folder, long), undisturbed)
    for name, keys in (("rounds", ["run", "round"]), ("sales", ["run", "round", "buyer"])):
        rows = pd.concat(pd.read_parquet(part) for part in (folder / name).iterdir())
        assert not rows.duplicated(keys).any()
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize("left", [["plan.parquet"], ["plan.parquet", ".lock"], ["plan.7.tmp", ".lock"]])
def test_a_folder_whose_making_was_cut_off_is_made_again(undisturbed, tmp_path, left):
    folder = Results.create(tmp_path / "cheap", scenario()).folder
    (folder / "plan.7.tmp").write_bytes(b"half")
    for path in folder.iterdir():
        if path.name not in left:
            path.unlink()
    assert_same(run(folder), undisturbed)
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        "experiment.json",
        "plan.parquet",
        "rounds",
        "sales",
    ]


def test_what_killed_processes_left_is_cleared(tmp_path):
    folder = run(tmp_path / "cheap", scenario(replicates=2)).folder
    left = [folder / "plan.99.tmp", folder / "rounds" / "part-00000.99.tmp", folder / "sales" / "part-00001.99.tmp"]
    for path in left:
        path.write_bytes(b"half")
    run(folder, scenario(replicates=3))
    assert not any(path.exists() for path in left)


class Moody(PricingStrategy):
    """Fails where an answer is dear."""

    name = "moody"

    def prices(self, context):
        if context.survey.values.max() > DEAR:
            raise RuntimeError("not today")
        return np.full(context.n_versions, 1.0)


DEAR = 15.0


def moody():
    buyers = [SCENARIO["buyers"][0] | {"coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}]
    broker = SCENARIO["broker"] | {"pricing": f"{__name__}:Moody"}
    return scenario(buyers=buyers, broker=broker, replicates=12)


@pytest.fixture(scope="module")
def moody_study(tmp_path_factory):
    """What the moody study is when nothing stops it: of twelve replicates, some fail at all design points."""
    results = run(tmp_path_factory.mktemp("moody") / "cheap", moody())
    failed = results.plan["status"] == "failed"
    assert 12 <= failed.sum() <= 36
    return results


@pytest.mark.parametrize("workers", [1, 2])
def test_fail_fast_stops_at_once_and_the_same_call_goes_on(tmp_path, moody_study, workers):
    """With two workers a task is a whole replicate, of which all runs fail: only the first is done."""
    told = []
    results = Results.create(tmp_path / "cheap", moody())
    where = rf"'?{results.folder}/errors/run-\d+.txt"
    with pytest.raises(
        RunError, match=rf"^stopped after 1 failed run; run \d+ failed with RuntimeError: not today \(see {where}"
    ):
        run_experiment(
            results, workers=workers, import_path=sys.path, max_failures=1, progress=lambda *n: told.append(n)
        )
    kept = Results(results.folder)
    counts = kept.plan["status"].value_counts()
    assert counts["failed"] == 1
    assert counts["pending"] > 0
    assert sum(runs for runs, _ in told) == 48 - counts["pending"]
    run_of = int(kept.plan.loc[kept.plan["status"] == "failed", "run"].iloc[0])
    assert "not today" in kept.traceback_file(run_of).read_text(encoding="utf-8")
    if workers == 1:
        assert kept.plan["status"].tolist() == ["done"] * run_of + ["failed"] + ["pending"] * (47 - run_of)
    assert_same(run(results.folder, moody(), workers=workers, import_path=sys.path), moody_study)


def test_so_many_failures_and_no_more(tmp_path, moody_study):
    expected = moody_study.plan["status"] == "failed"
    results = Results.create(tmp_path / "cheap", moody())
    for most, total in ((3, 3), (2, 5)):  # failures of earlier calls do not count
        with pytest.raises(RunError, match=f"stopped after {most} failed runs; run"):
            run_experiment(results, import_path=sys.path, max_failures=most)
        assert (Results(results.folder).plan["status"] == "failed").sum() == total
    run_experiment(results, import_path=sys.path, max_failures=int(expected.sum()) - 4)
    assert_same(Results(results.folder), moody_study)


@pytest.mark.parametrize("name", ["workers", "max_failures"])
def test_numbers_below_one_are_refused(undisturbed, name):
    with pytest.raises(InputError, match=f"^{name}: found 0; allowed is 1 or more$"):
        run_experiment(undisturbed, **{name: 0})


def test_runs_without_rows_stay_done_when_the_rest_of_their_batch_fails(tmp_path):
    """As where nobody bought in the first runs of a batch, and the others failed later."""
    results = Results.create(tmp_path / "cheap", scenario(tables=["rounds"]))
    nothing = pd.DataFrame({"run": pd.Series([], dtype=int), "round": pd.Series([], dtype=int)})
    for run_of, status, table in ((0, "done", nothing), (1, "failed", pd.DataFrame())):
        outcome = pd.DataFrame([{"run": run_of, "status": status, "error": "", "seconds": 0.1}])
        results.write_batch(0, {"rounds": table}, outcome)
    again = Results.create(results.folder, scenario(tables=["rounds"]))
    assert again.plan["status"].tolist()[:3] == ["done", "failed", "pending"]
    assert again.table("rounds").empty


def test_an_interrupt_keeps_batches_that_are_not_complete(undisturbed, tmp_path):
    """A batch holds eight runs, and a task of this process one."""

    def stop(runs, failed):
        told.append(runs)
        if len(told) == 6:
            raise KeyboardInterrupt

    told = []
    results = Results.create(tmp_path / "cheap", scenario())
    with pytest.raises(KeyboardInterrupt):
        run_experiment(results, progress=stop)
    assert assert_part_of(results.folder, undisturbed) == 6
    assert_same(run(results.folder), undisturbed)


def test_long_batches_are_written_before_they_are_complete(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "KEPT_BACK", 0.0)
    seen = []
    results = Results.create(tmp_path / "cheap", scenario(replicates=5))
    run_experiment(results, progress=lambda *_: seen.append((Results(results.folder).plan["status"] == "done").sum()))
    assert seen == list(range(1, 21))
    assert assert_part_of(results.folder, undisturbed) == 20


def test_a_full_disk_is_one_sentence_and_what_fitted_is_kept(undisturbed, tmp_path):
    """A disk of 150 kB; the same study elsewhere goes on from what it kept."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk of one's own without the right to mount one")
    try:
        results = Results.create(disk / "cheap", scenario())
        with pytest.raises(RunError, match=r"^'.*/cheap' cannot be written: No space left on device$"):
            run_experiment(results)
        done = (results.plan["status"] == "done").sum()
        assert 0 < done < RUNS
        assert assert_part_of(results.folder, undisturbed) == done
        assert not list(disk.rglob("*.tmp"))
        shutil.copytree(results.folder, tmp_path / "cheap")
    finally:
        subprocess.run(["umount", disk], check=True)
    assert_same(run(tmp_path / "cheap"), undisturbed)


@contextlib.contextmanager
def largest_file(size):
    """The system refuses larger files than this in the middle of writing them."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_a_part_that_cannot_be_written_is_not_left_half(undisturbed, tmp_path, executor):
    results = Results.create(tmp_path / "cheap", scenario())
    with (
        ThreadPoolExecutor(2) as threads,
        largest_file(10_000),
        pytest.raises(RunError, match=r"^'.*/cheap' cannot be written: File too large$"),
    ):
        run_experiment(results, executor="serial" if executor == "serial" else threads, workers=2)
    assert not list(results.folder.rglob("*.tmp"))
    assert not list(results.folder.glob("rounds/*"))
    assert assert_part_of(results.folder, undisturbed) == 0
    assert_same(run(results.folder), undisturbed)


def test_outcomes_that_could_not_be_written_are_written_if_the_disk_allows_again(undisturbed, tmp_path, monkeypatch):
    real, failures = store.write_parquet, []

    def full_once(frame, path):
        if path.parent.name == "sales" and not failures:
            failures.append(path)
            raise OSError(28, "No space left on device")
        real(frame, path)

    monkeypatch.setattr(store, "write_parquet", full_once)
    results = Results.create(tmp_path / "cheap", scenario())
    with pytest.raises(RunError, match="No space left"):
        run_experiment(results)
    assert assert_part_of(results.folder, undisturbed) == 8


def test_runs_whose_plan_could_not_be_written_are_not_called_done(undisturbed, tmp_path, monkeypatch):
    results = Results.create(tmp_path / "cheap", scenario())
    real = store.write_parquet

    def no_plan(frame, path):
        if path.name == "plan.parquet" and (results.folder / "rounds").exists():
            raise OSError(28, "No space left on device")
        real(frame, path)

    monkeypatch.setattr(store, "write_parquet", no_plan)
    with pytest.raises(RunError, match="No space left"):
        run_experiment(results)
    assert (results.plan["status"] == "pending").all()
    assert assert_part_of(results.folder, undisturbed) == 0


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_computed(tmp_path, monkeypatch):
    folder = tmp_path / "cheap"
    results = Results.create(folder, scenario())
    (folder / "rounds").mkdir()
    folder.chmod(0o555)
    try:
        if os.access(folder, os.W_OK):  # root may write everywhere
            made = subprocess.run(["mount", "--bind", "-o", "ro", folder, folder], capture_output=True)
            if made.returncode:
                pytest.skip("no folder is read-only for this user")
        monkeypatch.setattr(runner, "run_batch", lambda *_, **__: pytest.fail("computed"))
        with pytest.raises(RunError, match=r"cannot be written: (Read-only file system|Permission denied)$"):
            run_experiment(results)
    finally:
        subprocess.run(["umount", folder], capture_output=True)
        folder.chmod(0o755)
    assert (Results(folder).plan["status"] == "pending").all()


def test_a_folder_that_disappears_is_one_sentence_and_not_made_again(tmp_path):
    results = Results.create(tmp_path / "cheap", scenario())
    with pytest.raises(RunError, match=r"cannot be written: No such file or directory$"):
        run_experiment(results, progress=lambda *_: shutil.rmtree(results.folder, ignore_errors=True))
    assert not results.folder.exists()


HOLDER = """
import sys, time
from pathlib import Path
from scenarios.lock import sole_use
with sole_use(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that works on the folder."""
    folder = Results.create(tmp_path / "cheap", scenario(replicates=3)).folder
    with subprocess.Popen([sys.executable, "-c", HOLDER, folder], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_folder_is_for_one_process_and_a_killed_one_lets_go(undisturbed, tmp_path, holder):
    folder = tmp_path / "cheap"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    sentence = r"^results: another process works on '.*/cheap'; wait for it, or give another folder with --out$"
    results = Results(folder)  # may be read
    with sole_use(tmp_path), pytest.raises(InputError, match=sentence):  # of another folder
        run_experiment(results)
    with pytest.raises(InputError, match=sentence):
        Results.create(folder, scenario())
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    holder.kill()
    holder.wait()
    assert_frame_equal(run(folder).table("rounds"), undisturbed.table("rounds"), check_exact=True)


def test_a_folder_that_another_process_worked_on_meanwhile_is_looked_at_again(undisturbed, tmp_path, monkeypatch):
    early = Results.create(tmp_path / "cheap", scenario())
    run(tmp_path / "cheap")
    monkeypatch.setattr(runner, "run_batch", lambda *_, **__: pytest.fail("computed again"))
    run_experiment(early)
    assert_same(early, undisturbed)


def test_locks_that_a_file_system_does_not_know_are_done_without(tmp_path, monkeypatch):
    def unsupported(file):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("scenarios.lock._lock", unsupported)
    with sole_use(tmp_path), sole_use(tmp_path):
        assert sorted(path.name for path in Path(tmp_path).iterdir()) == [".lock"]
