"""The tutorial's commands work, in its order, and print what it shows."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
#: Times are not those of this machine, and lines of dashes are as wide as the numbers.
PASSING = re.compile(r"runs? in [\d.]+ s|^Timed: |^-+$")
NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


def blocks():
    """The tutorial's commands, each with the output shown after it."""
    found = re.findall(r"^```(sh|text)\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found[0][0] == "sh"
    for (kind, text), (following, shown) in zip(found, [*found[1:], ("", "")], strict=True):
        if kind == "sh":
            yield text, shown if following == "text" else None


def words_and_numbers(output):
    lines = [line for line in output.splitlines() if line.strip() and not PASSING.search(line.strip())]
    words = [re.sub(r"[\s-]+", " ", NUMBER.sub("#", line)).strip() for line in lines]
    return words, [float(n.replace(",", "")) for line in lines for n in NUMBER.findall(line)]


def test_every_command_of_the_tutorial_works_and_prints_what_it_shows(tmp_path):
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    commands = 0
    for script, shown in blocks():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        commands += len(re.findall(r"^dealer ", script, re.MULTILINE))
        if shown is not None:
            found, expected = words_and_numbers(done.stdout), words_and_numbers(shown)
            assert found[0] == expected[0]
            # Other versions of the libraries may round differently, and an interval be drawn a little otherwise.
            assert all(
                math.isclose(*pair, rel_tol=0.02, abs_tol=0.02) for pair in zip(found[1], expected[1], strict=True)
            )
    assert commands >= 12
    for made in ("revenue.pdf", "gain.png", "pricing.tex", "run17/owners.parquet", "tables/rounds.csv"):
        assert (tmp_path / made).stat().st_size > 500, made
    assert (tmp_path / "results" / "spread" / "report.html").exists()
