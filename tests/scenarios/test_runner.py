"""Running experiments: any number of workers, failures, resuming, the results folder."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from scenarios import runner
from scenarios.errors import InputError, RunError
from scenarios.experiment import market_at, parse
from scenarios.runner import run_experiment, run_one
from scenarios.store import FORMAT, Results
from simulator.config import MarketConfig
from simulator.pricing import PricingStrategy

SCENARIO = {
    "name": "small",
    "rounds": 2,
    "replicates": 4,
    "seed": 5,
    "tables": ["rounds", "versions", "owners", "sales"],
    "data": {"source": "iris"},
    "owners": [{"segment": "o", "count": 6, "privacy_sensitivity": {"dist": "uniform", "scale": 0.5}}],
    "broker": {"epsilons": [1, 4], "valuation": {"budget": 200}},
    "buyers": [
        {
            "segment": "b",
            "count": 20,
            "budget": {"dist": "lognorm", "s": 0.5, "scale": 200},
            "epsilon_expected": {"dist": "uniform", "scale": 4},
        }
    ],
    "sweep": {"broker.pricing": ["dpp_plus", "median", "uniform"]},
}


def scenario(**changes):
    return parse(SCENARIO | changes)


def run(folder, experiment, **options):
    results = Results.create(folder, experiment)
    run_experiment(results, **options)
    return Results(folder)


def tables(results):
    return {name: results.table(name) for name in results.experiment.tables}


class Moody(PricingStrategy):
    """Fails in some replicates, at prices that depend on the survey."""

    name = "moody"

    def prices(self, context):
        if context.survey.values.max() > np.median(context.survey.values) * 4:
            raise RuntimeError("not today")
        return np.full(context.n_versions, context.survey.values.min())


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    return run(tmp_path_factory.mktemp("serial") / "small", scenario())


def test_tables_are_the_same_on_one_and_on_two_workers(serial, tmp_path):
    parallel = run(tmp_path / "small", scenario(), workers=2)
    for name, table in tables(serial).items():
        assert_frame_equal(table, parallel.table(name), check_exact=True)
    assert_frame_equal(serial.plan.drop(columns="seconds"), parallel.plan.drop(columns="seconds"))


def test_a_run_is_a_pure_function_of_market_seed_and_replicate(serial):
    market = MarketConfig.model_validate(serial.experiment.market_scenario())
    alone = run_one(market, 5, 3, ["rounds"])["rounds"]
    logged = serial.table("rounds").query("replicate == 3 and point == 0").reset_index(drop=True)
    assert_frame_equal(alone, logged[alone.columns], check_exact=True)


def test_every_run_is_logged_once_and_lines_up_with_the_plan(serial):
    assert serial.plan["run"].tolist() == list(range(12))
    assert (serial.plan["status"] == "done").all()
    rounds = serial.table("rounds")
    assert rounds.groupby("run").size().tolist() == [2] * 12
    merged = rounds.drop_duplicates("run").set_index("run")
    plan = serial.plan.set_index("run")
    for column in ("point", "replicate", "broker.pricing"):
        assert merged[column].tolist() == plan[column].tolist()
    for name in ("versions", "owners", "sales"):
        keys = {"versions": "version", "owners": "owner", "sales": "buyer"}[name]
        assert not serial.table(name).duplicated(["run", "round", keys]).any()


def test_replicates_differ_and_design_points_share_their_random_numbers(serial):
    owners = serial.table("owners").query("round == 1")
    wide = owners.pivot_table(index=["replicate", "owner"], columns="point", values="privacy_sensitivity")
    assert (wide.to_numpy() == wide.to_numpy()[:, :1]).all()
    assert wide[0].groupby("owner").nunique().eq(4).all()


def test_the_same_command_goes_on_where_an_earlier_one_stopped(serial, tmp_path, monkeypatch):
    calls = []
    real = runner.run_batch

    def stops_at_the_third(jobs, **options):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append([job.run for job in jobs])
        return real(jobs, **options)

    monkeypatch.setattr(runner, "run_batch", stops_at_the_third)
    results = Results.create(tmp_path / "small", scenario())
    with pytest.raises(KeyboardInterrupt):
        run_experiment(results)
    half = Results(tmp_path / "small")
    assert set(half.plan["status"]) == {"done", "pending"}
    assert len(half.table("rounds")) == 2 * sum(map(len, calls))

    monkeypatch.setattr(
        runner, "run_batch", lambda jobs, **rest: calls.append([j.run for j in jobs]) or real(jobs, **rest)
    )
    full = run(tmp_path / "small", scenario())
    assert sorted(run for batch in calls for run in batch) == list(range(12))
    for name, table in tables(serial).items():
        assert_frame_equal(table, full.table(name), check_exact=True)


def test_a_finished_experiment_is_not_run_again(serial, monkeypatch):
    monkeypatch.setattr(runner, "run_batch", lambda *_, **__: pytest.fail("ran again"))
    run(serial.folder, scenario())


def test_a_failed_run_is_recorded_and_the_others_finish(tmp_path):
    name = f"{__name__}:Moody"
    buyers = [SCENARIO["buyers"][0] | {"budget": {"dist": "lognorm", "s": 1.2, "scale": 200}}]
    experiment = scenario(sweep={"broker.pricing": ["median", name]}, replicates=8, buyers=buyers)
    results = run(tmp_path / "small", experiment)
    failed = results.plan[results.plan["status"] == "failed"]
    assert 0 < len(failed) < 8
    assert set(failed["broker.pricing"]) == {name}
    assert set(failed["error"]) == {"RuntimeError: not today"}
    assert results.plan["seconds"].notna().all()
    assert set(results.table("rounds")["run"]) == set(results.plan.loc[results.plan["status"] == "done", "run"])
    for number in failed["run"]:
        text = (results.folder / "errors" / f"run-{number:06d}.txt").read_text(encoding="utf-8")
        assert "not today" in text
        assert "Traceback" in text
    before = tables(results)
    again = run(tmp_path / "small", experiment, retry_failed=True)
    for table_name, table in before.items():
        assert_frame_equal(table, again.table(table_name), check_exact=True)


class Deadly(PricingStrategy):
    """Takes its process with it where an answer is a thousand."""

    name = "deadly"

    def prices(self, context):
        if context.survey.values.max() == DEADLY_VALUE:
            os._exit(9)
        return np.full(context.n_versions, 1.0)


DEADLY_VALUE = 1000.0
#: A budget of 4000 at sensitivities 0 is an answer of 1000.
BUDGETS = [4.0, 8.0, 12.0, 16.0, 4000.0, 20.0, 24.0, 28.0, 32.0, 36.0, 40.0, 44.0]


def deadly_scenario(pricing):
    buyers = {"segment": "b", "count": 3, "budget": 8.0, "epsilon_expected": 1.0}
    flat = buyers | {"coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    own = SCENARIO["broker"] | {"pricing": pricing}
    return scenario(broker=own, buyers=[flat], sweep={"buyers.b.budget": BUDGETS}, replicates=3, tables=["rounds"])


def test_a_run_that_kills_its_worker_is_a_failed_run_and_the_others_finish(tmp_path):
    told = []
    experiment = deadly_scenario(f"{__name__}:Deadly")
    deadly = run(tmp_path / "d", experiment, workers=2, import_path=sys.path, progress=lambda *n: told.append(n))
    failed = deadly.plan["status"] == "failed"
    assert deadly.plan.loc[failed, "buyers.b.budget"].tolist() == [4000.0] * 3
    assert set(deadly.plan.loc[failed, "error"]) == {"its worker process died"}
    assert (deadly.plan.loc[~failed, "status"] == "done").all()
    assert [sum(column) for column in zip(*told, strict=True)] == [36, 3]
    for number in deadly.plan.loc[failed, "run"]:
        assert "worker process died" in deadly.traceback_file(number).read_text(encoding="utf-8")
    # Runs that happened to be with it in its worker are as ever.
    rounds = deadly.table("rounds")
    assert rounds.groupby("run").size().tolist() == [2] * 33
    row = deadly.plan[deadly.plan["run"] == 5].iloc[0]
    market = market_at(experiment.market_scenario(), {"buyers.b.budget": row["buyers.b.budget"]})
    alone = run_one(market, 5, 0, ["rounds"])["rounds"]
    assert_frame_equal(alone, rounds.query("run == 5")[alone.columns].reset_index(drop=True), check_exact=True)


def test_dead_workers_count_among_the_failures(tmp_path):
    results = Results.create(tmp_path / "small", deadly_scenario(f"{__name__}:Deadly"))
    with pytest.raises(RunError, match=r"stopped after 1 failed run; run \d+ failed with its worker process died"):
        run_experiment(results, executor="processes", workers=1, import_path=sys.path, max_failures=1)
    kept = Results(results.folder)
    assert kept.plan["status"].value_counts()["failed"] == 1
    assert set(kept.table("rounds")["run"]) == set(kept.plan.loc[kept.plan["status"] == "done", "run"])


@pytest.fixture
def long_study(tmp_path):
    """A long study on two workers whose first batch is done, in a process group of its own."""
    command = [sys.executable, "-m", "analysis.cli", "run", "medical_sharing", "--workers", "2", "--no-report"]
    settings = ["--set", "replicates=200", "--set", "tables=['rounds']"]
    with (tmp_path / "errors.txt").open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [*command, *settings],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            # A shell lets what it runs in the background ignore interrupts, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        rounds = tmp_path / "results" / "medical_sharing" / "rounds"
        wait_until(lambda: any(rounds.glob("part-*.parquet")), seconds=300)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_an_interrupt_stops_at_once_and_the_workers_with_it(long_study, tmp_path):
    os.killpg(long_study.pid, signal.SIGINT)
    assert long_study.wait(timeout=60) == 130
    # Only the batches done before were waited for.
    assert "pending" in set(Results(tmp_path / "results" / "medical_sharing").plan["status"])
    errors = (tmp_path / "errors.txt").read_text(encoding="utf-8")
    assert "runs are kept; run the same command to go on" in errors
    assert "Traceback" not in errors
    wait_until(lambda: not group_lives(long_study.pid), seconds=10)


def test_workers_end_with_a_main_process_that_is_killed(long_study, tmp_path):
    long_study.kill()
    long_study.wait()
    wait_until(lambda: not group_lives(long_study.pid), seconds=10)
    Results(tmp_path / "results" / "medical_sharing")


def group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_lost_and_damaged_parts_are_named_and_done_again(tmp_path):
    results = run(tmp_path / "small", scenario(replicates=60))
    before = tables(results)
    parts = sorted((results.folder / "rounds").iterdir())
    assert len(parts) > 3
    parts[1].unlink()
    parts[2].write_bytes(parts[2].read_bytes()[:100])
    with pytest.raises(InputError, match=r"part-00001\.parquet' is missing or damaged; run the experiment again"):
        Results(results.folder).table("rounds")
    again = run(results.folder, scenario(replicates=60))
    for name, table in before.items():
        assert_frame_equal(table, again.table(name), check_exact=True)


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 1}', "not json", ""])
def test_a_damaged_experiment_file_is_one_sentence(tmp_path, text):
    folder = Results.create(tmp_path / "small", scenario()).folder
    (folder / "experiment.json").write_text(text, encoding="utf-8")
    for open_ in (lambda: Results(folder), lambda: Results.create(folder, scenario())):
        with pytest.raises(InputError, match=r"^results: ") as caught:
            open_()
        assert "\n" not in str(caught.value)


def test_output_places_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="which is a file; allowed is a folder"):
        Results.create(tmp_path / "file", scenario())
    with pytest.raises(InputError, match="cannot be used"):
        Results.create(tmp_path / ("x" * 300), scenario())


class Quitter(PricingStrategy):
    """Leaves."""

    name = "quitter"

    def prices(self, context):
        sys.exit(3)


def test_a_class_that_exits_is_a_failed_run(tmp_path):
    results = run(tmp_path / "small", scenario(sweep={"broker.pricing": ["median", f"{__name__}:Quitter"]}))
    assert results.plan["status"].value_counts().to_dict() == {"done": 4, "failed": 4}
    assert set(results.plan.loc[results.plan["status"] == "failed", "error"]) == {"SystemExit: 3"}


def test_another_scenario_is_refused_with_the_difference_named(serial):
    with pytest.raises(InputError, match=r"holds another scenario, where seed is 5, not 6; give another folder"):
        Results.create(serial.folder, scenario(seed=6))
    buyers = [SCENARIO["buyers"][0] | {"count": 21}]
    with pytest.raises(InputError, match=r"where buyers\.b\.count is 20, not 21"):
        Results.create(serial.folder, scenario(buyers=buyers))
    assert len(serial.table("rounds")) == 24


def test_folders_that_hold_something_else_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match="with other files in it"):
        Results.create(tmp_path, scenario())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="not a results folder"):
        Results(tmp_path)


def test_a_folder_of_another_layout_is_refused(tmp_path, serial):
    folder = Results.create(tmp_path / "small", scenario()).folder
    provenance = json.loads((folder / "experiment.json").read_text(encoding="utf-8"))
    provenance["format"] = FORMAT + 1
    (folder / "experiment.json").write_text(json.dumps(provenance), encoding="utf-8")
    with pytest.raises(InputError, match=f"layout version {FORMAT + 1}; allowed are 1, {FORMAT}"):
        Results(folder)


def test_provenance_says_what_was_run(serial):
    assert serial.provenance["scenario"] == serial.experiment.scenario()
    assert serial.provenance["packages"]["numpy"] == np.__version__
    assert parse(serial.provenance["scenario"]) == scenario()


def test_parts_are_plain_parquet_and_no_temporary_files_stay(serial):
    parts = sorted((serial.folder / "rounds").iterdir())
    assert parts
    assert all(part.suffix == ".parquet" for part in parts)
    rows = pd.concat([pd.read_parquet(part) for part in parts])
    assert len(rows) == 24
    assert "run" in rows.columns


def test_a_table_that_was_not_kept_or_not_yet_made(tmp_path):
    results = Results.create(tmp_path / "small", scenario(tables=["rounds"]))
    with pytest.raises(InputError, match="no finished run yet"):
        results.table("rounds")
    with pytest.raises(InputError, match="no table 'sales'; it has rounds"):
        results.table("sales")


def test_replicates_are_added_to_a_finished_experiment(tmp_path, monkeypatch):
    """Only what is missing is run, and all is as if it had been one experiment, partial batches included."""
    whole = run(tmp_path / "whole", scenario(replicates=50))
    results = run(tmp_path / "small", scenario(replicates=17))
    before = tables(results)
    done = []
    monkeypatch.setattr(runner, "run_one", lambda *a, _f=run_one, **k: (done.append(a[2]), _f(*a, **k))[1])
    # Looked at without writing, nothing changes.
    files = {path: path.read_bytes() for path in results.folder.rglob("*") if path.is_file()}
    looked = Results.create(results.folder, scenario(replicates=50), write=False)
    assert (looked.plan["status"] == "pending").sum() == 3 * 33
    assert {path: path.read_bytes() for path in results.folder.rglob("*") if path.is_file()} == files
    more = run(results.folder, scenario(replicates=50))
    assert sorted(done) == sorted(list(range(17, 50)) * 3)
    for name in more.experiment.tables:
        assert_frame_equal(more.table(name), whole.table(name), check_exact=True)
        old = more.table(name).query("replicate < 17").reset_index(drop=True)
        assert_frame_equal(old, before[name], check_exact=True)
    parts = ["seconds", "batch"]  # only the first runs were cut into batches as if there were no more
    assert_frame_equal(more.plan.drop(columns=parts), whole.plan.drop(columns=parts))
    assert [step["replicates"] for step in more.provenance["extended"]] == [50]
    assert more.provenance["packages"] == results.provenance["packages"]
    # Fewer than there are is another experiment, and so is any other change beside the replicates.
    for other, difference in (
        (scenario(replicates=17), "replicates is 50, not 17"),
        (scenario(replicates=60, seed=6), "seed is 5"),
    ):
        with pytest.raises(InputError, match=difference):
            Results.create(results.folder, other)


def test_an_extension_that_was_cut_off_is_made_again(tmp_path, monkeypatch):
    """The plan is longer than the scenario says: the same command puts it right."""
    results = run(tmp_path / "small", scenario())
    text = (results.folder / "experiment.json").read_text(encoding="utf-8")
    Results.create(results.folder, scenario(replicates=6))
    (results.folder / "experiment.json").write_text(text, encoding="utf-8")
    more = run(results.folder, scenario(replicates=6))
    assert more.plan["status"].tolist() == ["done"] * 18
    assert more.table("rounds")["replicate"].nunique() == 6


def test_failed_runs_are_tried_again_without_the_others(tmp_path, monkeypatch):
    name = f"{__name__}:Moody"
    buyers = [SCENARIO["buyers"][0] | {"budget": {"dist": "lognorm", "s": 1.2, "scale": 200}}]
    experiment = scenario(sweep={"broker.pricing": ["median", name]}, replicates=8, buyers=buyers)
    results = run(tmp_path / "small", experiment)
    failed = results.plan.loc[results.plan["status"] == "failed", "run"]
    assert len(list((results.folder / "errors").iterdir())) == len(failed) > 0
    monkeypatch.setattr(Moody, "prices", lambda self, context: np.full(context.n_versions, 1.0))
    done = []
    monkeypatch.setattr(runner, "run_one", lambda *a, _f=run_one, **k: (done.append(a[2]), _f(*a, **k))[1])
    again = run(tmp_path / "small", experiment, retry_failed=True)
    assert len(done) == len(failed)
    assert (again.plan["status"] == "done").all()
    assert set(again.table("rounds")["run"]) == set(again.plan["run"])
    assert not list((again.folder / "errors").iterdir())
