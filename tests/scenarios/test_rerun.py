"""One run again: the numbers of the experiment, bit by bit, and what happens where they are not."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.cli import app
from scenarios.errors import InputError
from scenarios.experiment import load
from scenarios.rerun import differing, rerun
from scenarios.runner import run_experiment
from scenarios.store import Results, write_parquet
from simulator.log import TABLES


@pytest.fixture
def results(tmp_path):
    """Four runs of a market with several rounds, random purchases and real training; rounds and versions kept."""
    settings = ["data.source=iris", "rounds=3", "replicates=2", "broker.procurement=random", "owners.patients.count=5"]
    settings += ["sweep={'broker.pricing'=['dpp_plus','median']}", "comparison={by='broker.pricing',baseline='median'}"]
    results = Results.create(tmp_path / "study", load("privacy_budgets", settings))
    run_experiment(results)
    return results


def dealer(*arguments):
    found = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.stdout, found.stderr


@pytest.mark.parametrize("run", [0, 1, 2, 3])
def test_a_run_again_is_the_run(results, run):
    found = rerun(results, run, tuple(TABLES))
    assert set(found) == set(TABLES)
    assert differing(results, run, found) == []
    kept = results.table("rounds").query("run == @run").drop(columns=["run", "point", "replicate", "broker.pricing"])
    pd.testing.assert_frame_equal(found["rounds"], kept.reset_index(drop=True), check_exact=True)
    # Not that of another run.
    assert "rounds.revenue" in differing(results, (run + 1) % 4, found)


def test_one_bit_is_seen(results):
    found = rerun(results, 2, ("rounds", "versions"))
    for name, column in (
        ("rounds", "revenue"),
        ("versions", "price"),
        ("versions", "records"),
        ("rounds", "list_kind"),
    ):
        frame = found[name].copy()
        values = frame[column].tolist()
        values[-1] = {float: lambda x: np.nextafter(x, np.inf), int: lambda x: x + 1, str: lambda x: x + "?"}[
            type(values[-1])
        ](values[-1])
        changed = found | {name: frame.assign(**{column: values})}
        assert differing(results, 2, changed) == [f"{name}.{column}"]
    assert differing(results, 2, {"rounds": found["rounds"].drop(columns="sales")}) == ["rounds.sales"]
    assert len(differing(results, 2, {"rounds": found["rounds"].iloc[:2]})) == found["rounds"].shape[1]


def test_the_command_writes_the_tables_and_says_that_they_are_the_same(results):
    code, out, _ = dealer("rerun", results.folder, "--run", 3)
    assert code == 0
    assert "Run 3: replicate 1, broker.pricing = median." in out
    assert "The same as the experiment kept, bit by bit: rounds, versions." in out
    folder = results.folder / "reruns" / "run-000003"
    assert sorted(path.stem for path in folder.iterdir()) == sorted(TABLES)
    owners = pd.read_parquet(folder / "owners.parquet")
    rounds = pd.read_parquet(folder / "rounds.parquet")
    assert owners.groupby("round")["paid"].sum().to_numpy() == pytest.approx(rounds["payouts"].to_numpy(), rel=1e-12)
    # The folder can still be opened and gone on with.
    assert Results.create(results.folder, results.experiment).plan.equals(results.plan)


def test_tables_and_place_can_be_chosen(results, tmp_path):
    code, out, _ = dealer(
        "rerun", results.folder, "--run", 0, "--rounds-log", "owners,sales", "--out", tmp_path / "one"
    )
    assert code == 0
    assert "bit by bit: rounds, versions." in out
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["owners.parquet", "sales.parquet"]


def test_other_numbers_are_told_with_what_has_changed(results):
    part = results.folder / "rounds" / "part-00000.parquet"
    rows = pd.read_parquet(part)
    rows.loc[rows["run"] == 1, "revenue"] = np.nextafter(rows.loc[rows["run"] == 1, "revenue"], np.inf)
    write_parquet(rows, part)
    code, _, err = dealer("rerun", results.folder, "--run", 1)
    assert code == 1
    assert "Not the numbers of the experiment: rounds.revenue differ. The program or the machine has changed." in err
    file = results.folder / "experiment.json"
    provenance = json.loads(file.read_text(encoding="utf-8"))
    provenance["packages"]["numpy"] = "1.0"
    file.write_text(json.dumps(provenance), encoding="utf-8")
    code, _, err = dealer("rerun", results.folder, "--run", 1)
    assert code == 1
    assert f"Since then changed: numpy 1.0 -> {np.__version__}." in err
    assert dealer("rerun", results.folder, "--run", 0)[0] == 0


def test_a_run_that_is_not_done_is_done_all_the_same(results):
    results.plan.loc[2, "status"] = "failed"
    write_parquet(results.plan, results.folder / "plan.parquet")
    code, out, _ = dealer("rerun", results.folder, "--run", 2)
    assert code == 0
    assert "no tables of this run to compare with: it is failed" in out
    assert results.of_run("rounds", 2).empty


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--run", 4), "--run: found 4; allowed are the runs 0 to 3"),
        (
            ("--run", 0, "--rounds-log", "owners,prices"),
            "--rounds-log: found 'prices'; allowed are rounds, brokers, versions",
        ),
        (("--run", 0, "--rounds-log", ""), "--rounds-log: found ''"),
        (("--run", 0, "--out", "/dev/null/x"), "--out: '/dev/null/x' cannot be written"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(results, arguments, says):
    code, _, err = dealer("rerun", results.folder, *arguments)
    assert code == 2
    assert err.startswith(f"Error: {says}")
    assert err.count("\n") == 1


def test_a_lost_part_is_named(results):
    (results.folder / "versions" / "part-00000.parquet").unlink()
    with pytest.raises(InputError, match=r"part-00000\.parquet' is missing or damaged"):
        results.of_run("versions", 0)
