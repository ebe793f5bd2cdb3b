"""Replicates added until an interval is narrow enough, by the command."""

import json

import pytest
from pandas.testing import assert_frame_equal
from typer.testing import CliRunner

from analysis.cli import app
from analysis.compare import compare, question
from scenarios.store import Results

SCENARIO = """
name = "narrow"
rounds = 1
replicates = 3
[data]
source = "values"
[[owners]]
segment = "o"
count = 4
value = 1
privacy_sensitivity = 0.1
base_price_pool = 1
[broker]
epsilons = [1, 2]
[[buyers]]
segment = "b"
count = 30
budget = { dist = "lognorm", s = 1, scale = 100 }
epsilon_expected = 1
[sweep]
"broker.pricing" = ["median", "uniform"]
"""


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "narrow.toml").write_text(SCENARIO, encoding="utf-8")
    return tmp_path


def dealer(*arguments):
    return CliRunner().invoke(app, list(arguments))


def run(*options):
    return dealer("run", "narrow.toml", "--workers", "1", "--quiet", "--no-report", *options)


def test_a_study_is_as_if_it_had_had_so_many_replicates_from_the_beginning(scenario):
    result = run("--until-ci", "0.12", "--min-replicates", "5", "--metric", "revenue")
    assert result.exit_code == 0, result.output
    results = Results(scenario / "results" / "narrow")
    stopping = results.provenance["stopping"]
    assert f"Stopped by width after {stopping['replicates']} replicates" in result.output
    assert stopping["replicates"] == results.experiment.replicates > 5
    assert (stopping["metric"], stopping["width"], stopping["minimum"]) == ("revenue", 0.12, 5)
    rows = compare(results, question(results, metrics=("revenue",)))
    shares = (rows["high"] - rows["low"]) / 2 / rows["mean"]
    assert stopping["widest"] == pytest.approx(shares.max(), rel=1e-12)
    assert shares.max() <= 0.12
    assert rows.loc[shares.idxmax(), "level"] == stopping["at"]
    again = run("--until-ci", "0.12", "--min-replicates", "5", "--metric", "revenue")
    assert "are done already" in again.output
    assert Results(results.folder).provenance["stopping"] == stopping
    whole = run("--set", f"replicates={stopping['replicates']}", "--out", "whole")
    assert whole.exit_code == 0
    assert_frame_equal(Results(scenario / "whole").table("rounds"), results.table("rounds"), check_exact=True)
    # A narrower one goes on from there.
    more = run("--until-ci", "0.07")
    assert more.exit_code == 0
    assert Results(results.folder).experiment.replicates > stopping["replicates"]
    assert Results(results.folder).provenance["stopping"]["width"] == 0.07


def test_it_gives_up_at_the_maximum_and_says_so(scenario):
    result = run("--until-ci", "0.001", "--min-replicates", "2", "--max-replicates", "6")
    assert result.exit_code == 1
    assert "Stopped at the maximum of 6 replicates" in result.output
    results = Results(scenario / "results" / "narrow")
    assert results.experiment.replicates == 6
    assert results.provenance["stopping"]["reached"] is False
    assert json.loads((results.folder / "experiment.json").read_text(encoding="utf-8"))["stopping"]["maximum"] == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--until-ci", "0"], "--until-ci: found 0; allowed are numbers > 0"),
        (["--until-ci", "nan"], "--until-ci: found nan"),
        (["--until-ci", "0.1", "--metric", "revenu"], "--metric: found 'revenu'; allowed are"),
        (["--metric", "revenue"], "--metric: found 'revenue' without --until-ci"),
        (["--min-replicates", "5"], "--min-replicates: found 5 without --until-ci"),
        (["--max-replicates", "50"], "--max-replicates: found 50 without --until-ci"),
        (["--until-ci", "0.1", "--max-replicates", "10"], "--max-replicates: found 10; allowed is at least"),
    ],
)
def test_what_cannot_be_asked(scenario, options, message):
    result = run(*options)
    assert result.exit_code == 2
    assert message in result.output
    assert not (scenario / "results").exists()


def test_a_metric_that_is_undefined_is_said(scenario):
    result = run("--until-ci", "0.1", "--metric", "gini_paid", "--min-replicates", "2", "--set", "broker.commission=1")
    assert result.exit_code == 1
    assert "Error: --until-ci: gini_paid is undefined in all but 0 of 3 replicates at median" in result.output
