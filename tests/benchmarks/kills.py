"""Ten kills of a study's whole process group at random moments, and a resume after each; then it is left to finish.

Run `python tests/benchmarks/kills.py [SEED]` from the project's folder; it takes some minutes. The tables must be those
of a study that nobody disturbed, bit by bit. tests/scenarios/test_robustness.py has a short form of it.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from pandas.testing import assert_frame_equal

from scenarios.errors import InputError
from scenarios.store import Results

COMMAND = [sys.executable, "-m", "analysis.cli", "run", "medical_sharing", "--workers", "2", "--no-report"]
SETTINGS = ["--set", "replicates=40", "--set", "tables=['rounds', 'owners', 'sales']"]
KILLS = 10


def start(folder):
    command = [*COMMAND, *SETTINGS, "--out", str(folder)]
    environment = os.environ | {"DEALER_CACHE": "off"}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=environment
    )


def group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def done(folder):
    try:
        plan = Results(folder).plan
    except InputError:
        assert not (folder / "experiment.json").exists(), "the folder cannot be read"
        return 0
    return int((plan["status"] == "done").sum())


def main(seed):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        whole, folder = Path(place) / "whole", Path(place) / "killed"
        begun = time.monotonic()
        assert start(whole).wait() == 0
        taken = time.monotonic() - begun
        print(f"undisturbed: {done(whole)} runs in {taken:.1f} s", flush=True)
        before = 0
        for kill in range(KILLS):
            process = start(folder)
            moment = rng.uniform(0.0, 0.35 * taken)
            time.sleep(moment)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            while group_lives(process.pid):
                time.sleep(0.01)
            kept = done(folder)
            print(f"kill {kill} after {moment:.2f} s: {kept} runs are kept", flush=True)
            assert kept >= before
            before = kept
        assert start(folder).wait() == 0
        expected, found = Results(whole), Results(folder)
        assert_frame_equal(found.plan.drop(columns="seconds"), expected.plan.drop(columns="seconds"))
        for name in expected.experiment.tables:
            assert_frame_equal(found.table(name), expected.table(name), check_exact=True)
            keys = ["run", "round"] + {"rounds": [], "owners": ["owner"], "sales": ["buyer"]}[name]
            rows = pd.concat(pd.read_parquet(part) for part in (folder / name).iterdir())
            assert not rows.duplicated(keys).any(), "a run twice"
        assert not list(folder.rglob("*.tmp"))
        print(f"finished: {done(folder)} runs, the same tables bit by bit")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
