"""The commands of statistics as a user types them, on studies that were run."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.cli import app
from scenarios.experiment import parse
from scenarios.runner import run_experiment
from scenarios.store import Results

MARKET = {
    "rounds": 2,
    "seed": 3,
    "data": {"source": "values"},
    "owners": [{"segment": "o", "count": 5, "value": {"dist": "expon"}, "privacy_sensitivity": 0.2}],
    "broker": {"epsilons": [1, 4]},
    "buyers": [
        {"segment": "b", "count": 12, "budget": {"dist": "lognorm", "s": 0.5, "scale": 200}, "epsilon_expected": 2}
    ],
}
LISTS = {"broker.pricing": ["median", "low", "high"], "broker.commission": [0.1, 0.3]}
RANGES = {
    "broker.commission": {"dist": "uniform", "scale": 0.5},
    "buyers.b.budget.s": {"dist": "uniform", "loc": 0.1, "scale": 0.9},
}


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    designs = {
        "lists": {"sweep": LISTS, "replicates": 9},
        "sobol": {"sweep": RANGES, "replicates": 2, "design": {"sampling": "saltelli", "points": 8}},
        "morris": {"sweep": RANGES, "replicates": 2, "design": {"sampling": "morris", "points": 4}},
        "single": {"sweep": {}, "replicates": 4},
        "results/demo": {"sweep": {"broker.pricing": ["median", "low"]}, "replicates": 3},
    }
    for name, design in designs.items():
        run_experiment(Results.create(folder / name, parse({**MARKET, "name": Path(name).name, **design})))
    return folder


@pytest.fixture
def dealer(studies, monkeypatch):
    """Call the command beside the studies; returns exit code, output and errors."""
    monkeypatch.chdir(studies)

    def call(line):
        result = CliRunner().invoke(app, shlex.split(line))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


COMMANDS = {
    "compare lists --by broker.pricing --metric revenue": "difference to median",
    "rank lists --by broker.pricing --metric revenue": "rank interval",
    "regress lists --metric revenue --metric welfare": "Effects of replicates",
    "regress lists --on broker.commission --log broker.commission --standard-errors": "log broker.commission",
    "sensitivity sobol --metric revenue": "ST",
    "sensitivity morris --metric revenue": "mu*",
    "power lists --by broker.pricing --metric revenue --width 0.05": "needed for 5%",
    "power single --metric revenue": "needed for 1%",
}


@pytest.mark.parametrize(("line", "heading"), COMMANDS.items())
def test_every_command_writes_every_format(dealer, studies, line, heading):
    code, text, _ = dealer(line)
    assert code == 0
    assert heading in text
    assert "\n---" in text
    code, markdown, _ = dealer(f"{line} --format markdown")
    assert heading in markdown
    rows = [row for row in markdown.splitlines() if row.startswith("|")]
    assert len({len(re.split(r"(?<!\\)\|", row)) for row in rows}) == 1 or line.startswith("power")
    code, latex, _ = dealer(f"{line} --format latex")
    assert code == 0
    assert latex.count(r"\begin{tabular}{") == latex.count(r"\toprule") == latex.count(r"\bottomrule") >= 1
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}")
    assert not re.search(r"(?<!\\)_", latex)
    code, csv, _ = dealer(f"{line} --format csv --out numbers.csv")
    assert (code, csv) == (0, "Written: numbers.csv\n")
    table = pd.read_csv(studies / "numbers.csv")
    rows = json.loads(dealer(f"{line} --json")[1])["rows"]
    assert set(rows[0]) == set(table)
    numeric = table.select_dtypes("number")
    found = pd.DataFrame(rows)[list(numeric)].apply(pd.to_numeric)
    np.testing.assert_array_equal(found.to_numpy(dtype=float), numeric.to_numpy(dtype=float))  # with all their digits


def test_latex_with_a_caption_is_ready_to_be_read_in(dealer, studies):
    line = 'rank lists --by broker.pricing --metric revenue --format latex --caption "Revenue, 95%" --label tab:r'
    code, out, _ = dealer(f"{line} --out ranks.tex")
    assert (code, out) == (0, "Written: ranks.tex\n")
    text = (studies / "ranks.tex").read_text(encoding="utf-8")
    assert text.startswith("\\begin{table}[htbp]\n\\centering\n\\caption{Revenue, 95\\%}\n\\label{tab:r}\n")
    assert text.endswith("\\end{table}\n")
    assert "Values that share a letter" in text


def test_numbers_of_the_commands_agree(dealer):
    """A comparison, a ranking, a regression and an analysis of power of one question speak of the same differences."""
    compared = {row["level"]: row for row in json.loads(dealer(
        "compare lists --by broker.pricing --baseline low --metric revenue --json")[1])["rows"]}  # fmt: skip
    regressed = json.loads(dealer(
        "regress lists --metric revenue --on broker.pricing --baseline broker.pricing=low --json")[1])  # fmt: skip
    for row in regressed["rows"]:
        other = compared[row["term"].rpartition(" = ")[2]]
        assert row["estimate"] == pytest.approx(other["difference"])
    assert regressed["baselines"] == {"broker.pricing": "low"}
    assert regressed["fits"][0]["runs"] == 54
    ranked = json.loads(dealer("rank lists --by broker.pricing --metric revenue --json")[1])
    assert ranked["lower_is_better"] is False
    assert {row["level"]: row["mean"] for row in ranked["rows"]} == pytest.approx(
        {level: row["mean"] for level, row in compared.items()}
    )
    power = json.loads(dealer(
        "power lists --by broker.pricing --baseline low --metric revenue --difference 0.1 --json")[1])  # fmt: skip
    assert (power["width"], power["difference"], power["power"], power["absolute"]) == (0.01, 0.1, 0.8, False)
    for row in power["rows"]:
        other = compared[row["level"]]
        name = "" if row["kind"] == "mean" else "difference_"
        half = other[f"{name}high"] - other["mean" if row["kind"] == "mean" else "difference"]
        assert row["half_width"] == pytest.approx(half)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("compare lists --metric revenue", "--by is missing; name one of the swept lists: broker.pricing, broker.comm"),
        ("rank sobol --by broker.commission", "--by: found 'broker.commission', which is a range; allowed are"),
        ("rank lists --by broker.pricing --metric profit", "--metric: found 'profit'; allowed are"),
        ("regress single --metric revenue", "results: found no swept parameter; a regression needs one"),
        ("regress lists --on broker.pricing,broker.pricing", "--on: found 'broker.pricing,broker.pricing'; allowed"),
        ("regress lists --on seed", "--on: found 'seed'; allowed are the swept parameters: broker.pricing, broker"),
        ("regress lists --baseline low", "--baseline: found 'low'; allowed is PARAM=VALUE with a parameter of broker."),
        ("sensitivity lists --metric revenue", "sweep: found no range; sensitivity needs parameters"),
        ("power lists --by broker.pricing --width 0", "--width: found 0; allowed are numbers above 0"),
        ("power lists --by broker.pricing --difference -1", "--difference: found -1; allowed are numbers above 0"),
        ("power lists --by broker.pricing --width nan", "--width: found nan; allowed are numbers above 0"),
        ("power lists --by broker.pricing --power 1", "--power: found 1; allowed are numbers between 0 and 1"),
        ("power single --difference 0.1", "--difference: found without values to compare"),
        ("power lists", "--by is missing"),
        ("rank lists --by broker.pricing --json --format csv", "--format: found 'csv' beside --json"),
        ("rank lists --by broker.pricing --caption x", "--caption: found 'x'; allowed with --format latex"),
        ("rank lists --by broker.pricing --format latex --label x", "--label: found without --caption"),
        ("rank lists --by broker.pricing --format latex --caption x --label 'a b'", "--label: found 'a b'; allowed"),
        ("power lists --by broker.pricing --format latex --caption x", "--caption: found 2 tables; allowed is one"),
        ("rank lists --by broker.pricing --out none/x.txt", "--out: found 'none/x.txt', in a folder that does not"),
        ("sensitivity nowhere", "results: found 'nowhere', which is not a results folder"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(dealer, studies, line, says):
    before = sorted(Path(studies).rglob("*"))
    code, out, err = dealer(line)
    assert (code, out) == (2, "")
    assert err.startswith(f"Error: {says}")
    assert err.count("\n") == 1
    assert sorted(Path(studies).rglob("*")) == before


def test_the_python_of_the_docs_runs(dealer, capsys):
    text = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out.startswith("\\begin{table}[htbp]\n\\centering\n\\caption{Revenue by strategy}")


@pytest.mark.parametrize("command", ["rank", "regress", "sensitivity", "power"])
def test_help_shows_examples(dealer, command):
    code, out, _ = dealer(f"{command} --help")
    assert code == 0
    assert f"dealer {command} results/" in out
