"""How `dealer run` is told where and how far to run, and how it shows its progress."""

import io
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis.cli import app, progress
from analysis.cli.progress import Progress, time_of
from scenarios import executors
from scenarios.store import Results

SCENARIO = """
name = "small"
rounds = 1
replicates = 6
tables = ["rounds"]
[data]
source = "values"
[[owners]]
segment = "o"
count = 3
value = 1.0
privacy_sensitivity = 0.1
[broker]
epsilons = [1.0, 2.0]
[[buyers]]
segment = "b"
count = 4
budget = 20.0
epsilon_expected = 1.0
[sweep]
"broker.pricing" = ["median", "own_pricing:Fails"]
"""
OWN = """
from simulator.pricing import PricingStrategy

class Fails(PricingStrategy):
    name = "fails"
    def prices(self, context):
        raise ArithmeticError("too dear")
"""


@pytest.fixture
def dealer(tmp_path, monkeypatch):
    """`dealer run` of a scenario of twelve runs, of which every other one fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_pricing", raising=False)
    (tmp_path / "small.toml").write_text(SCENARIO, encoding="utf-8")
    (tmp_path / "own_pricing.py").write_text(OWN, encoding="utf-8")

    def call(*options):
        result = CliRunner().invoke(app, ["run", "small.toml", "--no-report", *map(str, options)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


FOLDER = Path("results") / "small"


def counts():
    return Results(FOLDER).plan["status"].value_counts().to_dict()


def test_failed_runs_do_not_stop_the_others(dealer):
    code, _, err = dealer("--executor", "serial")
    assert code == 1
    assert "6 of 12 runs failed, the first with: ArithmeticError: too dear" in err
    assert counts() == {"done": 6, "failed": 6}


def test_fail_fast_and_a_most_of_failures(dealer):
    code, out, err = dealer("--workers", 1, "--fail-fast")
    assert code == 1
    assert err == (
        "Error: stopped after 1 failed run; run 1 failed with ArithmeticError: too dear (see "
        "results/small/errors/run-000001.txt). 1 of 12 runs are kept; run the same command to go on.\n"
    )
    assert out == ""
    assert "ArithmeticError: too dear" in (FOLDER / "errors" / "run-000001.txt").read_text(encoding="utf-8")
    assert counts() == {"done": 1, "failed": 1, "pending": 10}
    code, _, err = dealer("--workers", 1, "--max-failures", 2)
    assert code == 1
    assert err.startswith("Error: stopped after 2 failed runs; run 5 failed with ")
    assert counts() == {"done": 3, "failed": 3, "pending": 6}
    assert dealer("--workers", 1, "--max-failures", 4)[0] == 1
    assert counts() == {"done": 6, "failed": 6}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--executor", "cluster"], "--executor: found 'cluster'; allowed are serial, processes and dask://HOST:PORT"),
        (["--executor", "dask://here"], "--executor: found 'dask://here'; allowed are serial, processes and dask://"),
        (["--executor", "serial", "--workers", 2], "--workers: found 2; allowed with --executor serial is none"),
        (
            ["--executor", "dask://h:1", "--workers", 1],
            "--workers: found 1; allowed with --executor dask://h:1 is none",
        ),
        (["--fail-fast", "--max-failures", 2], "--max-failures: found 2 beside --fail-fast; allowed is one of the two"),
        (["--executor", "dask://127.0.0.1:1"], "--executor: found no Dask scheduler at 127.0.0.1:1; `dask scheduler`"),
    ],
)
def test_bad_options_are_one_sentence(dealer, monkeypatch, options, sentence):
    monkeypatch.setattr(executors, "PATIENCE", 0.2)
    code, _, err = dealer(*options)
    assert code == 2
    assert err.startswith(f"Error: {sentence}")
    assert err.count("\n") == 1


def test_no_failures_at_all_are_refused(dealer):
    code, _, err = dealer("--max-failures", 0)
    assert code == 2
    assert "--max-failures" in err
    assert not FOLDER.exists()


def test_a_terminated_study_keeps_what_it_has(dealer, monkeypatch):
    """As a cluster's scheduler does when the time of a job is up."""
    real = Progress.add

    def terminated(self, runs, failed):
        real(self, runs, failed)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Progress, "add", terminated)
    code, _, err = dealer("--workers", 1)
    assert code == 130
    assert err == "Interrupted. 1 of 12 runs are kept; run the same command to go on.\n"
    assert counts() == {"done": 1, "pending": 11}
    assert signal.getsignal(signal.SIGTERM) is before


LINE = r"small: (\d+) of 12 runs done, (\d+) failed, [\d.,]+ a second, \d\d:\d\d:\d\d left"


def test_where_there_is_no_terminal_progress_is_plain_lines(dealer, monkeypatch):
    monkeypatch.setattr(progress, "PAUSE", 0.0)
    _, _, err = dealer("--workers", 1)
    assert "\r" not in err
    lines = [re.fullmatch(LINE, line) for line in err.splitlines()[:-2]]  # the last two tell of the failures
    assert [(int(line[1]), int(line[2])) for line in lines] == [(n, n // 2) for n in range(1, 13)]


def test_quiet_is_quiet_and_still_tells_failures(dealer, monkeypatch):
    monkeypatch.setattr(progress, "PAUSE", 0.0)
    _, _, err = dealer("--workers", 1, "--quiet")
    assert err.startswith("6 of 12 runs failed")


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


def test_there_is_a_line_a_minute_by_the_rate_of_this_session(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with Progress("study", "run", 10_000, done=4000) as shown:
        for _ in range(300):  # ten minutes of two seconds for a task of eight runs, of which one fails
            clock.now += 2.0
            shown.add(8, 1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "study: 4,240 of 10,000 runs done, 30 failed, 4 a second, 00:24:00 left"
    assert lines[-1] == "study: 6,400 of 10,000 runs done, 300 failed, 4 a second, 00:15:00 left"


def test_rare_tasks_are_told_when_they_come(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with Progress("study", "run", 1000) as shown:
        for _ in range(3):
            clock.now += 3600.0
            shown.add()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" runs")[0] for line in lines] == [f"study: {n} of 1,000" for n in (1, 2, 3)]
    assert lines[0].endswith("0 failed, 0.000278 a second, 41 d 15:00:00 left")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress("study", "run", 10, done=4) as shown:
        shown.add(2)
        shown.add(4, failed=3)
    last = sys.stderr.getvalue().split("\r")[-1]
    assert last.startswith("study: 100%")
    assert "10/10" in last
    assert last.rstrip().endswith("3 failed]")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress("study", "run", 10, quiet=True) as shown:
        shown.add(10)
    assert sys.stderr.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00:00"), (59, "00:00:59"), (3661, "01:01:01"), (90_000, "1 d 01:00:00")]
)
def test_times(seconds, text):
    assert time_of(seconds) == text
