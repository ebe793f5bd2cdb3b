"""The `dealer` command as a user types it."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.cli import app
from analysis.cli.mechanisms import Rule
from analysis.inputs import read_records
from analysis.owner_values import OwnerValues
from analysis.price_lists import SurveyPricing
from scenarios.experiment import library
from scenarios.store import Results
from simulator.pricing import Arbitrage, Pricing, find_arbitrage, maximize_revenue, pricing_strategies
from simulator.pricing.composition import Composition
from simulator.privacy.surrogate import AccuracyCurve
from simulator.procurement import Purchase, maximize_coverage, procurement_methods
from simulator.streams import Streams
from simulator.valuation import GramRidgeGame, Valuation, shapley_values, valuation_games
from simulator.valuation import cache as kept

QUICK = ["run", "walkthrough", "--workers", "1"]


@pytest.fixture
def dealer(tmp_path, monkeypatch):
    """Call the command in an empty folder; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


def test_run_prints_a_table_and_writes_a_report(dealer, tmp_path):
    code, out, _ = dealer(*QUICK)
    assert code == 0
    assert "Revenue (money per round)" in out
    assert "1,900" in out
    assert (tmp_path / "results" / "walkthrough" / "report.html").exists()
    code, out, _ = dealer(*QUICK)
    assert code == 0
    assert "All 8 runs of results/walkthrough are done already." in out


def test_a_dry_run_that_fails_says_where(dealer, tmp_path):
    """Worth is beyond what a survey can hold: one sentence, and the code of failed work."""
    code, _, err = dealer(*QUICK, "--dry-run", "--set", "buyers.modest.budget=1e150")
    assert code == 1
    assert "the first run of design point 0 fails: ValueError: the buyers' answers cannot be surveyed" in err
    assert "Traceback" not in err


def test_a_dry_run_shows_the_plan_and_writes_nothing(dealer, tmp_path):
    code, out, _ = dealer(*QUICK, "--dry-run", "--set", "replicates=3")
    assert code == 0
    assert out.startswith("walkthrough: 24 runs, 8 design points x 3 replicates, into results/walkthrough.\n")
    assert "  broker.pricing: 8 values, dpp_plus, " in out
    assert re.search(r"Timed: \d\.\d\d and \d\.\d\d s for a run .* 24 runs take about \d+ seconds on 1 worker,", out)
    assert list(tmp_path.iterdir()) == []
    # Of a finished experiment nothing is left to do; another one under its name is refused.
    assert dealer(*QUICK, "--no-report")[0] == 0
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*"))
    code, out, _ = dealer(*QUICK, "--dry-run")
    assert code == 0
    assert "8 of them are done or have failed already." in out
    assert "0 runs take about 0 seconds" in out
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*")) == before
    code, _, err = dealer(*QUICK, "--dry-run", "--set", "seed=99")
    assert code == 2
    assert "holds another scenario, where seed is" in err


def test_tables_are_exported_as_they_are(dealer, tmp_path):
    dealer(*QUICK, "--no-report", "--set", "replicates=2")
    code, out, _ = dealer("export", "results/walkthrough")
    assert code == 0
    assert "results/walkthrough/csv/rounds.csv: 16 rows" in out
    results = Results(tmp_path / "results" / "walkthrough")
    for name in ("rounds", "versions"):
        read = pd.read_csv(tmp_path / "results" / "walkthrough" / "csv" / f"{name}.csv", keep_default_na=True)
        for column in results.table(name):
            kept = results.table(name)[column]
            if kept.dtype.kind in "fi":
                assert np.array_equal(read[column].to_numpy(float), kept.to_numpy(float), equal_nan=True), column
            else:
                assert read[column].astype(str).tolist() == kept.astype(str).tolist(), column
    assert len(pd.read_csv(tmp_path / "results" / "walkthrough" / "csv" / "plan.csv")) == 16
    code, _, _ = dealer("export", "results/walkthrough", "--csv", "--tables", "plan", "--out", "tables")
    assert (code, [path.name for path in (tmp_path / "tables").iterdir()]) == (0, ["plan.csv"])
    code, _, _ = dealer("export", "results/walkthrough", "--parquet")
    assert code == 0
    for name in ("rounds", "versions"):
        read = pd.read_parquet(tmp_path / "results" / "walkthrough" / "parquet" / f"{name}.parquet")
        pd.testing.assert_frame_equal(read, results.table(name), check_exact=True)
    for arguments, says in (
        (("results/walkthrough", "--tables", "owners"), "--tables: found 'owners'; allowed are plan, rounds, versions"),
        (("results/walkthrough", "--out", "/dev/null/x"), "--out: '/dev/null/x' cannot be written"),
        (("results/none",), "results: found 'results/none', which is not a results folder"),
    ):
        code, _, err = dealer("export", *arguments)
        assert (code, err.startswith(f"Error: {says}"), err.count("\n")) == (2, True, 1)


@pytest.mark.parametrize("name", sorted(library()))
def test_every_scenario_of_the_library_runs_to_its_report(dealer, tmp_path, name):
    code, out, err = dealer(
        "run", name, "--workers", 1, "--set", "replicates=1", "--set", "rounds=1", "--set", "warm_up=0", "--out", "out"
    )
    assert code == 0, err
    assert "Report: out/report.html" in out
    assert (tmp_path / "out" / "report.html").exists()


def test_compare_and_report_reopen_the_folder(dealer, tmp_path):
    dealer(*QUICK, "--no-report", "--set", "replicates=3")
    folder = tmp_path / "results" / "walkthrough"
    assert not (folder / "report.html").exists()
    code, out, _ = dealer("compare", folder, "--baseline", "median", "--metric", "buyer_surplus")
    assert code == 0
    assert "difference to median" in out
    assert "Buyers' surplus" in out
    code, out, _ = dealer("compare", folder, "--json")
    rows = json.loads(out)["rows"]
    assert code == 0
    revenue = {row["level"]: row["mean"] for row in rows if row["metric"] == "revenue"}
    assert revenue["dpp_plus"] == pytest.approx(1900)
    code, out, _ = dealer("report", folder)
    assert code == 0
    assert (folder / "report.html").exists()


def test_new_scenario_runs_as_written(dealer, tmp_path):
    code, _, _ = dealer("new", "my study.toml")
    assert code == 0
    code, _, err = dealer("run", "my study.toml", "--workers", 1, "--set", "replicates=1", "--set", "rounds=1")
    assert code == 0, err
    assert (tmp_path / "results" / "my-study" / "report.html").exists()
    code, _, err = dealer("new", "my study.toml")
    assert code == 2
    assert "exists already" in err


def test_list_shows_every_class(dealer):
    code, out, _ = dealer("list")
    assert code == 0
    for name, cls in pricing_strategies().items():
        assert name in out
        assert cls.summary() in out
    for name in [*library(), "greedy", "neutral", "surplus", "truthful", "breast_cancer", "complementary"]:
        assert name in out
    code, out, _ = dealer("list", "strategies")
    assert "greedy" not in out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run"],
        ["compare"],
        ["list"],
        ["new"],
        ["report"],
        ["price"],
        ["arbitrage"],
        ["procure"],
        ["value"],
        ["calibrate"],
        ["cache"],
    ],
)
def test_help_teaches(dealer, arguments):
    code, out, _ = dealer(*arguments, "--help")
    assert code == 0
    assert len(out) > 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing"], "Error: scenario: found 'nothing', which is neither a file nor one of"),
        (["run", "demo", "--set", "broker.pricing=magic"], "unknown pricing strategy 'magic'"),
        (["run", "demo", "--set", "buyers.startups.count=0"], "buyers.startups.count: found 0"),
        (["compare", "nowhere"], "Error: results: found 'nowhere', which is not a results folder"),
        (["report", "nowhere"], "not a results folder"),
        (["run", "demo", "--workers", "0"], "workers"),
    ],
)
def test_bad_input_exits_with_2_and_one_sentence(dealer, tmp_path, arguments, message):
    code, out, err = dealer(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err + out
    assert list(tmp_path.iterdir()) == []


def test_another_scenario_in_the_folder_is_refused_and_nothing_is_lost(dealer, tmp_path):
    dealer(*QUICK)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, _, err = dealer(*QUICK, "--set", "seed=9")
    assert code == 2
    assert "holds another scenario, where seed is 0, not 9" in err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_one_owner_works_and_is_pointed_out(dealer):
    code, _, err = dealer(*QUICK, "--set", "owners.owners.count=1", "--no-report")
    assert code == 0
    assert "found 1 owner" in err


OWN = '''
import numpy as np
from simulator.agents import ModelBuyer
from simulator.pricing import PricingStrategy


class HalfMedian(PricingStrategy):
    """Half the median answer for the whole list."""

    name = "half_median"

    def __init__(self, *, share: float = 0.5) -> None:
        self.share = share

    def prices(self, context):
        return np.full(context.n_versions, self.share * np.median(context.survey.values))


class Satisficer(ModelBuyer):
    """Buys the cheapest version that is worth its price."""

    name = "satisficer"

    def choose(self, price_list):
        worth = self.worth(price_list)
        good = [k for k in range(len(worth)) if price_list.on_sale[k] and worth[k] >= price_list.prices[k]]
        return min(good, key=lambda k: price_list.prices[k], default=None)


class Broken(PricingStrategy):
    """Prices that no list can have."""

    name = "broken"

    def prices(self, context):
        return np.full(context.n_versions, -1.0)
'''


def test_a_users_own_classes_run_from_a_scenario_file(dealer, tmp_path):
    (tmp_path / "mine.py").write_text(OWN, encoding="utf-8")
    text = library()["walkthrough"].read_text(encoding="utf-8")
    text = text.replace('"median", "high", "monopoly", "perfect"]', '"median", "mine:HalfMedian"]')
    text = text.replace('segment = "modest"', 'segment = "modest"\nbehaviour = "mine:Satisficer"')
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    code, out, err = dealer("run", "study.toml", "--workers", 2, "--set", "replicates=2")
    assert code == 0, err
    assert "mine:HalfMedian" in out
    text = text.replace("mine:HalfMedian", "mine:Broken").replace('name = "walkthrough"', 'name = "broken"')
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    code, out, err = dealer("run", "study.toml", "--workers", 1)
    assert code == 1
    assert "1 of 6 runs failed" in err
    assert "returned [-1.0, -1.0, -1.0]; allowed are positive, finite prices" in err
    assert "1,900" in out


def test_results_do_not_depend_on_the_process(tmp_path):
    """Fresh interpreters with different hash seeds print the same table."""
    command = [sys.executable, "-m", "analysis.cli", "run", "retail_demand", "--no-report"]
    settings = ["--set", "replicates=2", "--set", "rounds=2", "--workers", "1"]
    printed = []
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run([*command, *settings], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout[done.stdout.index("pricing") :])
    assert printed[0] == printed[1]


# --- a survey or a price list in a file ------------------------------------------------------------------

SURVEY = "epsilon,value\n1,100\n2,300\n1,400\n2,700\n3,500\n3,800\n"
PRICES = "epsilon,price\n1,5\n2,9\n4,20\n3,11\n"


@pytest.fixture
def files(tmp_path):
    """Write the files of a test into the command's folder."""

    def write(**contents):
        for name, content in contents.items():
            (tmp_path / f"{name}.csv").write_text(content, encoding="utf-8")

    return write


@pytest.mark.parametrize("composition", get_args(Composition))
def test_price_prints_as_json_what_the_optimiser_returns(dealer, files, composition):
    files(survey=SURVEY)
    code, out, _ = dealer("price", "survey.csv", "--json", "--composition", composition)
    printed = json.loads(out)
    best = maximize_revenue([1, 2, 3], [0, 1, 0, 1, 2, 2], [100, 300, 400, 700, 500, 800], composition=composition)
    assert code == 0
    assert set(printed) == {field.name for field in fields(SurveyPricing)}
    for field in fields(Pricing):
        assert printed[field.name] == np.asarray(getattr(best, field.name)).tolist()
    assert (printed["strategy"], printed["epsilons"], printed["composition"]) == ("dpp_plus", [1, 2, 3], composition)
    assert printed["arbitrage"] is None


def test_price_shows_the_arbitrage_of_a_list_that_has_it(dealer, files):
    files(survey=SURVEY)
    code, out, _ = dealer("price", "survey.csv", "--strategy", "monopoly", "--json")
    found = find_arbitrage([1, 2, 3], [400, 700, 500])
    assert code == 0
    assert json.loads(out)["arbitrage"] == {
        "version": found.version, "bundle": found.bundle.tolist(), "cost": found.cost, "saving": found.saving,
    }  # fmt: skip
    code, out, _ = dealer("price", "survey.csv", "--strategy", "monopoly")
    assert code == 0
    assert "1 of eps 3 costs 500 and covers eps 2, priced 700: saves 200" in out
    code, out, _ = dealer("price", "survey.csv", "--strategy", "perfect", "--json")
    assert json.loads(out)["prices"] == [None, None, None]


def test_price_takes_versions_weights_and_options(dealer, files):
    files(survey="weight,epsilon,value\n1,2,10\n3,2,6\n", twice="epsilon,value\n2,10\n2,6\n2,6\n2,6\n")
    arguments = ("--epsilons", "1,4", "--json")
    printed = json.loads(dealer("price", "survey.csv", *arguments)[1])
    assert printed["epsilons"] == [1, 2, 4]
    assert printed["answers"] == [0, 4, 0]
    assert printed["revenue"] == 24
    assert json.loads(dealer("price", "twice.csv", *arguments)[1]) == printed
    raw = ("--strategy", "linear", "--composition", "quadratic", "--option", "raw=true")
    assert json.loads(dealer("price", "survey.csv", *arguments, *raw)[1])["prices"] == [6, 6 + 4 / 3, 10]


def test_the_rules_of_composition_are_all_there():
    assert [rule.value for rule in Rule] == list(get_args(Composition))


def test_arbitrage_prints_as_json_what_the_check_returns(dealer, files):
    files(prices=PRICES)
    code, out, _ = dealer("arbitrage", "prices.csv", "--json")
    found = find_arbitrage([1, 2, 3, 4], [5, 9, 11, 20])
    assert code == 0
    assert json.loads(out) == {
        field.name: np.asarray(getattr(found, field.name)).tolist() for field in fields(Arbitrage)
    }
    code, out, _ = dealer("arbitrage", "prices.csv", "--json", "--composition", "quadratic")
    assert code == 0
    assert json.loads(out) is None
    code, out, _ = dealer("arbitrage", "prices.csv", "--composition", "quadratic")
    assert code == 0
    assert out.startswith("The list is arbitrage-free")


def test_figures_are_written_by_their_suffix(dealer, files, tmp_path):
    files(survey=SURVEY, prices=PRICES)
    written = [("price", "survey", "a.png", b"\x89PNG"), ("price", "survey", "b.pdf", b"%PDF")]
    for command, file, name, start in [*written, ("arbitrage", "prices", "c.SVG", b"<?xml")]:
        shown = dealer(command, f"{file}.csv")
        assert dealer(command, f"{file}.csv", "--plot", name) == shown
        assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["price", "nowhere.csv"], "Error: 'nowhere.csv' cannot be read: No such file"),
        (["price", "prices.csv"], "Error: value: the header of 'prices.csv' must name this column once"),
        (["price", "zero.csv"], "Error: value: found 0 in row 3; allowed are numbers > 0"),
        (["price", "many.csv"], "Error: epsilon: found 101 versions"),
        (["price", "survey.csv", "--epsilons", "2,1"], "Error: --epsilons: found '2,1'; allowed are rising numbers"),
        (["price", "survey.csv", "--strategy", "dpp-plus"], "Error: --strategy: found the unknown pricing strategy"),
        (["price", "survey.csv", "--strategy", "dpp-plus"], "did you mean 'dpp_plus'?"),
        (
            ["price", "survey.csv", "--strategy", "no:Such"],
            "Error: --strategy: the pricing strategy 'no:Such' cannot be",
        ),
        (["price", "survey.csv", "--option", "raw"], "Error: --option: found 'raw'; allowed is KEY=VALUE"),
        (
            ["price", "survey.csv", "--option", "raw=true"],
            "Error: --option: the pricing strategy 'dpp_plus' has no option",
        ),
        (["price", "survey.csv", "--strategy", "linear", "--option", "raw=2"], "raw must be true or false, found 2"),
        (["price", "survey.csv", "--composition", "cubic"], "'cubic' is not one of"),
        (
            ["price", "survey.csv", "--plot", "a.jpg"],
            "Error: --plot: found 'a.jpg'; allowed are files that end in .png",
        ),
        (
            ["price", "survey.csv", "--plot", "none/a.png"],
            "Error: --plot: 'none/a.png' cannot be written: No such file",
        ),
        (["arbitrage", "nowhere.csv"], "Error: 'nowhere.csv' cannot be read"),
        (["arbitrage", "survey.csv"], "Error: price: the header of 'survey.csv' must name this column once"),
        (["arbitrage", "again.csv"], "Error: epsilon: found 1 in rows 2 and 4; allowed is one row a version"),
        (["arbitrage", "minus.csv"], "Error: price: found -1 in row 2; allowed are numbers >= 0"),
        (["arbitrage", "prices.csv", "--plot", "a"], "Error: --plot: found 'a'"),
    ],
)
def test_bad_files_and_options_exit_with_2_and_one_sentence(dealer, files, tmp_path, arguments, message):
    files(
        survey=SURVEY,
        prices=PRICES,
        zero="epsilon,value\n1,1\n2,0\n",
        many="epsilon,value\n" + "".join(f"{k},1\n" for k in range(1, 102)),
        again="epsilon,price\n1,1\n2,1\n1,2\n",
        minus="epsilon,price\n1,-1\n",
    )
    before = set(tmp_path.iterdir())
    code, out, err = dealer(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err + out
    assert out == ""
    assert set(tmp_path.iterdir()) == before


def test_a_users_own_strategy_prices_a_survey(dealer, files, tmp_path):
    files(survey=SURVEY)
    (tmp_path / "ours.py").write_text(OWN, encoding="utf-8")
    half = ("--strategy", "ours:HalfMedian", "--option", "share=0.4", "--json")
    code, out, _ = dealer("price", "survey.csv", *half)
    assert code == 0
    assert json.loads(out)["prices"] == [180, 180, 180]
    code, out, err = dealer("price", "survey.csv", "--strategy", "ours:Broken")
    assert code == 2
    assert "Error: --strategy: 'ours:Broken' cannot price a survey outside the market: returned [-1.0" in err


def test_the_commands_of_the_readme_print_what_it_says(dealer, files, tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(
        r"```sh\nprintf '(.+)' > (\w+)\.csv\n\.venv/bin/dealer (.+)\n```\n\n```text\n((?:(?!```).*\n)+)```", readme
    )
    assert len(blocks) == 3
    for content, name, command, shown in blocks:
        files(**{name: content.replace("\\n", "\n")})
        code, out, err = dealer(*shlex.split(command, comments=True))
        assert code == 0, err
        assert out == shown
    assert {"survey.pdf", "covers.png"} <= {path.name for path in tmp_path.iterdir()}


def test_prices_need_no_market(tmp_path):
    """Mesa takes over a second to import."""
    (tmp_path / "survey.csv").write_text(SURVEY, encoding="utf-8")
    (tmp_path / "prices.csv").write_text(PRICES, encoding="utf-8")
    for command in (["price", "survey.csv"], ["arbitrage", "prices.csv"]):
        code = (
            f"import sys, analysis.cli as c; c.app({command}, standalone_mode=False); sys.exit('mesa' in sys.modules)"
        )
        path = {"PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | path, capture_output=True)
        assert done.returncode == 0, done.stderr


# --- offers in a file ------------------------------------------------------------------------------------

OFFERS = "owner,value,cost\nA,6,2\nB,4,2\nC,4.5,3\nD,1,1\nE,-1,0\nF,0.5,0\n"


@pytest.mark.parametrize("method", sorted(procurement_methods()))
def test_procure_prints_as_json_what_the_method_returns(dealer, files, method):
    files(offers=OFFERS)
    code, out, _ = dealer("procure", "offers.csv", "--budget", 5, "--method", method, "--json")
    bought = maximize_coverage([6, 4, 4.5, 1, -1, 0.5], [2, 2, 3, 1, 0, 0], 5, method=method)
    printed = json.loads(out)
    assert code == 0
    assert set(printed) == {field.name for field in fields(Purchase)}
    assert printed["owners"] == ["ABCDEF"[owner] for owner in bought.owners]
    assert (printed["value"], printed["cost"], printed["bound"]) == (bought.value, bought.cost, bought.bound)


def test_owners_that_are_numbered_stay_numbers(dealer, files):
    files(offers="owner,value,cost\n7,1,1\n3,2,1\n", padded="owner,value,cost\n07,1,1\n3,2,1\n")
    assert json.loads(dealer("procure", "offers.csv", "--budget", 1, "--json")[1])["owners"] == [3]
    assert json.loads(dealer("procure", "padded.csv", "--budget", 2, "--json")[1])["owners"] == ["07", "3"]


def test_procure_shows_who_is_bought_and_how_sure_that_is(dealer, files):
    files(offers=OFFERS)
    code, out, _ = dealer("procure", "offers.csv", "--budget", 4.5, "--method", "greedy")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:5]] == ["F", "A", "B"]
    assert "Bought by greedy: 3 of 6 owners, worth 10.5, for 4 of a budget of 4.5. Coverage: 65.6%." in out
    # The bound: half a unit of money buys a sixth of C.
    assert "No affordable set is worth more than 11.25; certified gap: 0.067 of that." in out
    out = dealer("procure", "offers.csv", "--budget", 5)[1]
    assert "Bought by exact: 4 of 6 owners, worth 11.5, for 5 of a budget of 5." in out
    assert "No affordable set is worth more." in out
    out = dealer("procure", "offers.csv", "--budget", 5, "--method", "fair_query")[1]
    # Asked are 0, 1, 2, 2 and 3 by those of value; 5 / 3 is too little for three, so two get what the next asks.
    assert [line.split()[-1] for line in out.splitlines()[2:4]] == ["2", "2"]
    assert "They are promised 4 in all, whatever each asked." in out
    out = dealer("procure", "offers.csv", "--budget", 5, "--method", "all")[1]
    assert "all is a reference and overspends, by 3." in out
    code, out, _ = dealer("procure", "offers.csv", "--budget", 0)
    assert code == 0
    assert "1 of 6 owners, worth 0.5, for 0 of a budget of 0." in out


@pytest.mark.parametrize("offers", ["A,1,9", "A,1,0", "A,-1,1"])
def test_a_figure_is_drawn_where_no_method_falls_short(dealer, files, tmp_path, offers):
    files(offers=f"owner,value,cost\n{offers}\n")
    assert dealer("procure", "offers.csv", "--budget", 5, "--plot", "coverage.png")[0] == 0
    assert (tmp_path / "coverage.png").read_bytes().startswith(b"\x89PNG")


def test_procure_takes_options_and_draws_a_figure(dealer, files, tmp_path):
    files(offers=OFFERS)
    arguments = ("procure", "offers.csv", "--budget", 5, "--method", "ppdp", "--option", "grid=7")
    shown = dealer(*arguments)
    assert shown[0] == 0
    assert dealer(*arguments, "--plot", "coverage.png") == shown
    assert (tmp_path / "coverage.png").read_bytes().startswith(b"\x89PNG")


def test_long_purchases_are_cut_short(dealer, files):
    files(offers="owner,value,cost\n" + "".join(f"o{i},{i + 1},1\n" for i in range(1234)))
    out = dealer("procure", "offers.csv", "--budget", 1e9)[1]
    assert "... and 1,184 more" in out
    assert len(out.splitlines()) == 56


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv", "--budget", "1"], "Error: 'nowhere.csv' cannot be read"),
        (["header.csv", "--budget", "1"], "Error: cost: the header of 'header.csv' must name this column once"),
        (["nan.csv", "--budget", "1"], "Error: value: found 'nan' in row 2"),
        (["negative.csv", "--budget", "1"], "Error: cost: found -1 in row 2; allowed are numbers >= 0"),
        (["text.csv", "--budget", "1"], "Error: cost: found 'dear' in row 2"),
        (["twice.csv", "--budget", "1"], "Error: owner: found 'A' in rows 2 and 3"),
        (["empty.csv", "--budget", "1"], "Error: 'empty.csv' has no rows below its header"),
        (["offers.csv", "--budget", "-1"], "Error: --budget: found -1; allowed are amounts >= 0"),
        (["offers.csv", "--budget", "nan"], "Error: --budget: found nan"),
        (["offers.csv", "--budget", "inf"], "Error: --budget: found inf"),
        (
            ["offers.csv", "--budget", "1", "--method", "gready"],
            "Error: --method: found the unknown procurement method",
        ),
        (
            ["offers.csv", "--budget", "1", "--option", "grid=3"],
            "Error: --option: the procurement method 'exact' has no",
        ),
        (
            ["offers.csv", "--budget", "1", "--method", "ppdp", "--option", "grid=0"],
            "Error: --option: the procurement method 'ppdp' refuses its options: grid: found 0",
        ),
        (["offers.csv", "--budget", "1", "--plot", "a.gif"], "Error: --plot: found 'a.gif'"),
    ],
)
def test_bad_offers_are_told_in_one_sentence(dealer, files, arguments, message):
    rows = {"nan": "A,nan,1", "negative": "A,1,-1", "text": "A,1,dear", "twice": "A,1,1\nA,2,2", "empty": ""}
    files(offers=OFFERS, header="owner,value\nA,1\n", **{k: f"owner,value,cost\n{v}\n" for k, v in rows.items()})
    code, out, err = dealer("procure", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith(message)
    assert len(err.splitlines()) == 1


# --- records in a file -----------------------------------------------------------------------------------

VALUE = ["value", "records.csv", "--label", "sick", "--owners", "hospital"]


@pytest.fixture
def records(tmp_path):
    """Sixty records of five hospitals; the last one's labels are noise."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(5), 12)
    sick = rng.random(60) < 0.5
    x = np.where(owner < 4, sick, rng.random(60) < 0.5) + rng.normal(0, 0.5, 60)
    rows = [f"h{i},{a:.3f},{rng.normal():.3f},{'yes' if s else 'no'}" for i, a, s in zip(owner, x, sick, strict=True)]
    (tmp_path / "records.csv").write_text("\n".join(["hospital,x,noise,sick", *rows, ""]))
    return tmp_path / "records.csv"


def test_value_prints_owners_by_value_and_says_what_is_divided(dealer, records):
    code, out, _ = dealer(*VALUE)
    assert code == 0
    assert "on 12 records held out at random with the seed 0" in out
    printed = json.loads(dealer(*VALUE, "--json")[1])
    assert list(printed) == [field.name for field in fields(OwnerValues)]
    going_on = {"sampling", "stream", "updated"}  # what continues or updates a valuation in Python
    assert {field.name for field in fields(Valuation)} - going_on <= set(printed)
    assert printed["values"] == sorted(printed["values"], reverse=True)
    assert sum(printed["values"]) == pytest.approx(printed["utility"] - printed["empty_utility"])
    assert sum(printed["records"]) + printed["test_records"] == 60
    assert printed["status"] == "exact"
    lines = out.splitlines()[2:7]
    assert [line.split()[0] for line in lines] == printed["owners"]


def test_value_is_that_of_the_functions_in_python(dealer, records):
    """The same records, split and standardised by hand."""
    features, labels, owners = read_records(records, "sick", "hospital")
    order = Streams(7).generator("data.split").permutation(60)
    test, train = order[:15], np.sort(order[15:])
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    scaled = (features - mean) / deviation
    sick, holder = (labels == "yes").astype(int), np.searchsorted(np.unique(owners), owners)
    game = GramRidgeGame(scaled[train], sick[train], holder[train], 5, scaled[test], sick[test], n_classes=2, ridge=3.0)
    expected = shapley_values(game, method="exact").values
    options = ["--seed", "7", "--test-share", "0.25", "--game-option", "ridge=3.0"]
    printed = json.loads(dealer(*VALUE, *options, "--json")[1])
    found = dict(zip(printed["owners"], printed["values"], strict=True))
    assert [found[f"h{i}"] for i in range(5)] == pytest.approx(expected, abs=1e-12)
    zero = json.loads(dealer(*VALUE, *options, "--empty", "zero", "--json")[1])
    assert zero["empty_utility"] == 0.0
    sampled = json.loads(dealer(*VALUE, *options, "--method", "svarm", "--budget", 500, "--tolerance", 0, "--json")[1])
    assert (sampled["status"], sampled["method"]) == ("exhausted", "svarm")
    assert sampled["evaluations"] <= 500
    assert max(sampled["stderr"]) > 0


@pytest.mark.parametrize("game", sorted(valuation_games()))
def test_value_takes_every_game(dealer, records, game):
    code, out, err = dealer(*VALUE, "--game", game)
    assert (code, err) == (0, "")
    assert f"game '{game}'" in out


def test_values_summed_over_records_are_not_called_exact(dealer, records):
    out = dealer(*VALUE, "--game", "knn", "--method", "knn")[1]
    assert "not the Shapley values of the owners" in out
    assert "The values are exact" not in out
    assert "The values are exact" in dealer(*VALUE, "--game", "knn", "--method", "exact")[1]


@pytest.mark.parametrize("method", ["auto", "svarm"])
def test_value_draws_its_figure(dealer, records, tmp_path, method):
    assert dealer(*VALUE, "--method", method, "--plot", "values.svg")[0] == 0
    assert "<svg" in (tmp_path / "values.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--label", "hospital"], "Error: --owners: found 'hospital', which is the label"),
        (["--label", "ill"], "Error: ill: the header of 'records.csv' must name this column once"),
        (["--method", "guess"], "Error: --method: found the unknown valuation method 'guess'"),
        (["--method", "knn"], "method 'knn' values the game 'knn' only"),
        (["--game", "kn"], "Error: --game: found the unknown game 'kn' (did you mean 'knn'?)"),
        (["--game-option", "ridge=0"], "Error: --game-option: the game 'ridge' refuses its options: ridge must be"),
        (["--game-option", "k=3"], "Error: --game-option: the game 'ridge' has no option 'k'"),
        (["--test-share", "1"], "Error: --test-share: found 1.0; allowed are numbers between 0 and 1"),
        (["--test-share", "0.999"], "no record is left to train on"),
        (["--plot", "a.jpg"], "Error: --plot: found 'a.jpg'"),
    ],
)
def test_value_refuses_bad_input_in_one_sentence(dealer, records, arguments, says):
    code, out, err = dealer(*VALUE, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hospital,sick\na,yes\n", "holds no feature besides"),
        ("hospital,x,sick\na,one,yes\n", "x: found 'one' in row 2; allowed are numbers from -1e+15 to 1e+15"),
        ("hospital,x,sick\na,1,yes\n,2,no\n", "hospital: found nothing in row 3"),
        ("hospital,x,sick\na,1,yes\na,2,yes\n", "found the class 'yes' alone"),
        ("hospital,x,x,sick\na,1,2,yes\n", "x: the header of 'records.csv' must name this column once"),
        ("hospital,x,sick\na,1,\n", "sick: found nothing in row 2"),
    ],
)
def test_value_refuses_records_it_cannot_use(dealer, tmp_path, text, says):
    (tmp_path / "records.csv").write_text(text)
    code, _, err = dealer(*VALUE)
    assert code == 2
    assert says in err
    assert len(err.splitlines()) == 1


def test_cache_shows_and_removes_what_is_kept(dealer, tmp_path, monkeypatch):
    assert dealer("cache") == (0, "No valuations are kept in files: DEALER_CACHE is off.\n", "")
    monkeypatch.setenv("DEALER_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(kept, "WORTH_A_FILE", 0.0)
    kept.cached_valuation([], "e2e", lambda: Valuation(np.ones(2), np.ones(2), 1, "counted"))
    kept.clear_valuations()
    assert "Kept: 1 valuations" in dealer("cache")[1]
    assert "Removed: 1 valuations" in dealer("cache", "--clear")[1]
    assert list((tmp_path / "kept").iterdir()) == []
    assert "Kept: 0 valuations" in dealer("cache")[1]


QUICK_CURVE = ["--replicates", 2, "--workers", 1, "--set", "data.source=iris", "--set", "owners.patients.count=8"]


def test_a_calibrated_curve_runs_from_the_scenario_s_folder(dealer, tmp_path):
    code, out, err = dealer("calibrate", "demo", "--out", "own.json", "--plot", "own.png", *QUICK_CURVE)
    assert code == 0, err
    curve = AccuracyCurve.load(tmp_path / "own.json")
    assert f"{100 * curve.calibration.errors.rmse:.2f}" in out
    assert (tmp_path / "own.png").stat().st_size > 10_000
    (tmp_path / "mine").mkdir()
    (tmp_path / "own.json").rename(tmp_path / "mine" / "own.json")
    text = library()["demo"].read_text().replace('"breast_cancer"', '"iris"').replace("count = 100", "count = 8")
    text = text.partition("[sweep]")[0] + '[broker.training]\nmethod = "surrogate"\ncurve = "own.json"\n'
    (tmp_path / "mine" / "my.toml").write_text(text)
    code, _, err = dealer("run", "mine/my.toml", "--set", "replicates=1", "--set", "rounds=2", "--workers", 1)
    assert code == 0, err
    versions = Results(tmp_path / "results" / "demo").table("versions")
    sold = versions[versions["records"] > 0]
    expected = curve.predict(sold["epsilon"], sold["coverage"], sold["records"])
    assert sold["accuracy"].tolist() == expected.tolist()


def test_calibrate_prints_as_json_the_curve_it_writes(dealer, tmp_path):
    code, out, _ = dealer("calibrate", "demo", "--out", "c.json", "--epsilons", "1,4", "--json", *QUICK_CURVE)
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "c.json").read_text())
    assert json.loads(out)["epsilon_range"] == [1.0, 4.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--out", "c.txt"], "--out: found 'c.txt'; allowed are files that end in .json"),
        (["demo", "--out", "c.json", "--plot", "c.gif"], "--plot: found 'c.gif'"),
        (["demo", "--out", "c.json", "--epsilons", "2,1"], "--epsilons: found '2,1'"),
        (["demo", "--out", "c.json", "--replicates", "1"], "replicates"),
        (["nothing", "--out", "c.json"], "scenario: found 'nothing'"),
        (["demo", "--out", "c.json", "--set", "broker.training.method=surrogate"], "method: found 'surrogate'"),
        (["walkthrough", "--out", "c.json"], "data.source: found 'values'; a calibration trains"),
        (["demo", "--out", "none/c.json", *QUICK_CURVE, "--epsilons", "1"], "found 'none/c.json', in a folder that"),
    ],
)
def test_calibrate_refuses_bad_input_in_one_sentence(dealer, tmp_path, arguments, message):
    code, out, err = dealer("calibrate", *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err + out
    assert list(tmp_path.iterdir()) == []


def test_run_refuses_a_curve_for_another_scenario(dealer):
    surrogate = ["--set", "broker.training.method=surrogate"]
    for settings, message in (
        (["--set", "broker.training.curve=digits"], "data: found 'source = breast_cancer'"),
        (["--set", "broker.delta=1e-6"], "broker.delta: found 1e-06; the accuracy curve was calibrated for 1e-05"),
        (["--set", "broker.training.curve=gone.json"], "broker.training.curve: found"),
    ):
        code, _, err = dealer("run", "demo", *surrogate, *settings)
        assert code == 2
        assert message in err
