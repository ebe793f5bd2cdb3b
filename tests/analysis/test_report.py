"""Figures and the report, on a small experiment."""

import base64
import json
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import plots
from analysis.cells import parameters
from analysis.compare import compare, question
from analysis.plots.style import line_style
from analysis.report import write_report
from analysis.report.caveats import caveats
from analysis.report.figures import drawings
from analysis.report.subject import Subject
from analysis.report.tables import answers, regressions, sensitivities
from analysis.tables import interval, number
from scenarios.errors import InputError
from scenarios.experiment import load, parse
from scenarios.runner import run_experiment
from scenarios.store import Results


@pytest.fixture(scope="module")
def walkthrough(tmp_path_factory):
    results = Results.create(tmp_path_factory.mktemp("results") / "walkthrough", load("walkthrough", ["replicates=3"]))
    run_experiment(results)
    return results


def compared(results):
    return parameters(results.experiment)["broker.pricing"]


def test_the_walk_through_earns_1900(walkthrough):
    asked = question(walkthrough)
    revenue = compare(walkthrough, asked).query("metric == 'revenue'").set_index("level")["mean"]
    assert revenue["dpp_plus"] == pytest.approx(1900)
    # The answers by hand: 100 to all six, 700 to two, and so on; monopoly 400 + 700 + 1000.
    assert revenue["low"] == pytest.approx(600)
    assert revenue["monopoly"] == pytest.approx(2100)
    assert revenue["perfect"] == pytest.approx(2800)
    assert revenue["dpp_plus"] >= revenue.drop(["monopoly", "perfect"]).max()


def test_figures_show_the_numbers_of_the_tables(walkthrough):
    asked = question(walkthrough)
    table = compare(walkthrough, asked).query("metric == 'revenue'")
    figure = plots.metric_by_level(walkthrough, asked, "revenue")
    means, _ = figure.axes
    assert [label.get_text() for label in means.get_yticklabels()] == table["level"].tolist()
    drawn = means.containers[0].lines[0].get_xdata()
    np.testing.assert_allclose(drawn, table["mean"].to_numpy())
    bars = plots.welfare_split(walkthrough, compared(walkthrough)).axes[0].containers
    assert [container.get_label().split(":")[0] for container in bars] == [
        "Buyers' surplus", "Owners' surplus", "Broker's profit", "Lost",
    ]  # fmt: skip
    surplus = walkthrough.table("rounds").groupby("broker.pricing")["buyer_surplus"].mean()
    np.testing.assert_allclose([bar.get_width() for bar in bars[0]], surplus[list(asked.levels)])


def test_the_figure_of_privacy_shows_the_numbers_of_the_table(walkthrough):
    """Composed and summed epsilons by round, of every value; with nobody out of budget there is no third panel."""
    asked = question(walkthrough)
    mean, largest = plots.privacy_spent(walkthrough, compared(walkthrough)).axes
    rounds = walkthrough.table("rounds").groupby(["broker.pricing", "round"]).mean(numeric_only=True)
    for axes, name in ((mean, "mean"), (largest, "max")):
        drawn = iter(axes.lines)
        for level in asked.levels:
            for kind in ("composed", "total"):
                np.testing.assert_allclose(next(drawn).get_ydata(), rounds.loc[level, f"epsilon_{kind}_{name}"])


def test_owners_out_of_budget_have_a_panel(tmp_path):
    experiment = load("walkthrough", ["owners.owners.privacy_budget=3"])
    results = Results.create(tmp_path / "walkthrough", experiment)
    run_experiment(results)
    figure = plots.privacy_spent(results, compared(results))
    assert [axes.get_title("left") for axes in figure.axes][2:] == ["Owners out of budget"]
    spent = results.table("rounds").groupby(["broker.pricing", "round"])["owners_spent"].mean()
    assert spent.max() > 0
    for line, level in zip(figure.axes[2].lines, question(results).levels, strict=True):
        np.testing.assert_allclose(line.get_ydata(), spent.loc[level])


def test_personalised_prices_have_no_ladder(walkthrough):
    asked = question(walkthrough)
    labels = [text.get_text() for text in plots.price_ladder(walkthrough, compared(walkthrough)).legends[0].get_texts()]
    assert labels == [level for level in asked.levels if level != "perfect"]


@pytest.mark.parametrize(
    "make",
    [plots.welfare_split, plots.price_ladder, plots.coverage_and_accuracy, plots.money_flow, plots.privacy_spent],
)
def test_axes_carry_units(walkthrough, make):
    figure = make(walkthrough, compared(walkthrough))
    words = [axes.get_xlabel() + axes.get_ylabel() + axes.get_title() for axes in figure.axes]
    text = " ".join([*words, figure.get_supxlabel(), figure.get_supylabel()])
    assert re.search(r"money|share|eps|round", text)


def test_figures_leave_the_global_style_alone(walkthrough):
    before = dict(mpl.rcParams)
    plots.money_flow(walkthrough, compared(walkthrough))
    assert dict(mpl.rcParams) == before


@pytest.fixture(scope="module")
def page(walkthrough):
    return write_report(walkthrough, question(walkthrough)).read_text(encoding="utf-8")


def test_the_report_is_one_self_contained_page(walkthrough, page):
    assert walkthrough.experiment.title in page
    assert page.count("data:image/svg+xml;base64,") == 6
    # Nothing is fetched: no source or link but data, no script, no style but the page's own.
    for reference in re.findall(r"(?:src|href|action|data)=\"([^\"]*)\"", page):
        assert reference.startswith("data:")
    assert not re.findall(r"@import|url\(|<script|<link|<iframe|http-equiv", page)
    for image in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page):
        svg = base64.b64decode(image).decode()
        assert not re.findall(r"href=\"(?!#|data:)", svg)  # nor does a figure fetch anything
    for name in ("revenue", "money per round", "1,900", "broker.epsilons", "numpy", "buyers.modest.budget"):
        assert name in page
    figures = sorted(path.name for path in (walkthrough.folder / "figures").iterdir())
    assert len(figures) == 12
    assert {name.partition(".")[2] for name in figures} == {"png", "pdf"}


def test_the_page_is_for_phones_and_paper_too(page):
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    for rule in ("overflow-x: auto", "@media print", "break-inside: avoid", "@media screen and (max-width: 40rem)"):
        assert rule in page
    assert page.count('<div class="table') == page.count("<table")  # every table can be scrolled
    assert page.count("<figcaption>") == page.count("<img ") == len(re.findall(r'alt="[^"]{40,}"', page))


def test_the_scenario_can_be_taken_from_the_page(walkthrough, page):
    (embedded,) = re.findall(r'download="walkthrough.json" href="data:application/json;base64,([^"]+)"', page)
    assert parse(json.loads(base64.b64decode(embedded))) == walkthrough.experiment


def test_the_report_says_which_lists_were_repaired_or_raw(page):
    kinds = {"linear": "repaired", "monopoly": "raw", "perfect": "personalised", "median": "arbitrage-free"}
    for level, kind in kinds.items():
        assert f"<td>{level}</td><td>{kind}</td>" in page


def test_tables_are_files_as_well(walkthrough, page):
    rows = compare(walkthrough, question(walkthrough))
    folder = walkthrough.folder / "tables"
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{ending}" for name in ("revenue_by_pricing", "metrics") for ending in ("tex", "md", "csv")
    }
    read = pd.read_csv(folder / "metrics.csv")
    np.testing.assert_array_equal(read["mean"], rows["mean"])
    np.testing.assert_array_equal(pd.read_csv(folder / "revenue_by_pricing.csv")["mean"], rows["mean"][:8])
    latex = (folder / "revenue_by_pricing.tex").read_text(encoding="utf-8")
    assert latex.startswith("\\begin{table}")
    assert "dpp\\_plus" in latex
    assert "\\label{tab:revenue_by_pricing}" in latex
    assert "| dpp_plus | arbitrage-free | 1,900 [1,900, 1,900] |" in (folder / "revenue_by_pricing.md").read_text()


@pytest.fixture
def only(monkeypatch):
    """A function that has reports draw their first figures alone, for the sake of time."""

    def first(count):
        monkeypatch.setattr("analysis.report.page.drawings", lambda subject: list(drawings(subject))[:count])

    return first


def test_the_same_results_give_the_same_files(made_up, only):
    results = made_up(sweep={}, replicates=2, tables=["rounds"])
    only(2)

    def files():
        folder = write_report(results).parent
        paths = [folder / "report.html", *(folder / "figures").iterdir(), *(folder / "tables").iterdir()]
        return {path.name: path.read_bytes() for path in paths}

    first = files()
    assert len(first) == 1 + 2 * 2 + 3
    assert files() == first


def subject(results, metrics=("revenue",), **asked):
    listed = results.experiment.levels
    return Subject.of(results, question(results, metrics=metrics, **asked) if listed else None, metrics)


def told(results):
    shown = subject(results)
    return caveats(shown, answers(shown)[1])


def names(results, **asked):
    return [drawing.name for drawing in drawings(subject(results, **asked))]


ALWAYS = ["welfare_split", "revenue_by_round", "money_flow", "privacy_spent", "price_ladder", "coverage_and_accuracy",
          "lorenz"]  # fmt: skip
PRICING, SPREAD, COMMISSION = "broker.pricing", "buyers.modest.noise_sensitivity", "broker.commission"
RANGE = {"dist": "uniform", "loc": 0.1, "scale": 1}


def test_figures_follow_the_design(made_up):
    quick = {"replicates": 1, "rounds": 3}
    assert names(made_up(sweep={}, **quick)) == ALWAYS
    assert names(made_up(sweep={SPREAD: RANGE}, design={"points": 2}, **quick)) == ["revenue_by_sample", *ALWAYS]
    both = made_up(sweep={PRICING: ["low", "high"], SPREAD: RANGE}, design={"points": 2}, **quick)
    assert names(both, by=PRICING) == ["revenue_by_pricing", "revenue_by_sample", *ALWAYS]
    three = {PRICING: ["low", "high"], SPREAD: [0.5, 1, 2], COMMISSION: [0, 0.1]}
    # Two other parameters share a figure, the one with more values along the axis.
    first = ["revenue_by_pricing", "revenue_over_modest_noise_sensitivity",
             "revenue_difference_over_modest_noise_sensitivity"]  # fmt: skip
    grid = made_up(sweep=three, **quick)
    assert names(grid, by=PRICING) == first + ALWAYS
    lines = next(drawing for drawing in drawings(subject(grid, by=PRICING)) if "over" in drawing.name)
    assert [axes.get_title("left") for axes in lines.draw().axes] == ["commission = 0", "commission = 0.1"]
    assert "a panel a value of commission" in lines.caption
    # By a number, the words are what stands in rows of a map.
    assert names(grid, by=COMMISSION)[1:3] == ["revenue_over_modest_noise_sensitivity",
                                               "revenue_difference_over_modest_noise_sensitivity"]  # fmt: skip
    zipped = made_up(sweep=three | {SPREAD: [0.5, 1]}, design={"zip": [[PRICING, SPREAD]]}, **quick)
    assert names(zipped, by=PRICING)[1:3] == ["revenue_over_commission", "revenue_difference_over_commission"]
    screened = made_up(sweep={SPREAD: RANGE}, design={"points": 2, "sampling": "morris"}, **quick)
    assert names(screened)[:2] == ["revenue_sensitivity", "revenue_by_sample"]
    (indices,) = sensitivities(subject(screened))
    assert (indices.name, len(indices.rows)) == ("revenue_sensitivity", 1)
    many = made_up(sweep={COMMISSION: np.linspace(0, 0.4, 13).tolist()}, replicates=1, rounds=2, tables=["rounds"])
    assert names(many) == ["revenue_by_commission", "welfare_split", "privacy_spent"]


def test_without_a_comparison_metrics_are_summed_up(made_up):
    results = made_up(sweep={SPREAD: RANGE, COMMISSION: RANGE}, design={"points": 8})
    rounds = results.table("rounds")
    (table,), rows = answers(Subject.of(results, None, ("revenue", "welfare")))
    for metric, row in zip(("revenue", "welfare"), rows.to_dict("records"), strict=True):
        sample = rounds.groupby("replicate")[metric].mean()
        limits = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
        assert [row["mean"], row["low"], row["high"]] == pytest.approx([sample.mean(), limits.low, limits.high])
        points = rounds.groupby(["point", "replicate"])[metric].mean().groupby("point").mean()
        assert [row["point_low"], row["point_high"]] == pytest.approx(np.quantile(points, [0.1, 0.9]).tolist())
    assert table.table.cells["mean"].tolist() == [interval(*row) for row in rows[["mean", "low", "high"]].to_numpy()]
    assert table.table.cells.columns[0] == "metric"
    (regression,) = regressions(Subject.of(results, None, ("revenue", "welfare")))
    assert {"buyers.modest.noise_sensitivity", "broker.commission"} <= set(regression.table.cells[""])
    # Revenue was made to rise by 20 a unit.
    slopes = regression.rows.query("metric == 'revenue'").set_index("term")
    assert (slopes["low"] < 20).all()
    assert (slopes["high"] > 20).all()
    assert regressions(subject(made_up(sweep={PRICING: ["low", "high"]}, replicates=2))) == []


def test_all_metrics_stand_the_way_that_is_narrower(walkthrough, made_up):
    two = made_up(sweep={PRICING: ["low", "high"]}, replicates=2, tables=["rounds"])
    few, _ = answers(subject(two, metrics=("revenue", "welfare")))
    assert few[1].table.cells.columns.tolist() == ["metric", "low", "high"]
    many, rows = answers(subject(walkthrough, metrics=("revenue", "owner_surplus")))
    cells = many[1].table.cells
    assert cells["pricing"].tolist() == list(question(walkthrough).levels)
    mean = rows.set_index(["metric", "level"]).loc[("owner_surplus", "median"), "mean"]
    assert cells.set_index("pricing").loc["median", "Owners' surplus (money per round)"].startswith(number(mean))


def test_failures_are_told_by_their_reasons(made_up):
    results = made_up(sweep={PRICING: ["low", "high"]}, replicates=8, failed=(0,))
    assert told(results)[0] == "1 of 16 runs failed and are left out: ValueError: made up"
    results.plan.loc[[2, 4], "error"] = "KeyError: 'x'"
    results.plan.loc[[2, 4], "status"] = "failed"
    assert "3 of 16 runs failed and are left out: KeyError: 'x' (2 runs); ValueError: made up (1 run)" in told(results)
    for number_ in range(6):
        results.plan.loc[number_, ["status", "error"]] = ["failed", f"E: {number_}"]
    assert "6 of 16 runs failed" in told(results)[0]
    assert told(results)[0].endswith("; 1 other reason")
    results.plan.loc[15, "status"] = "pending"
    assert "1 of 16 runs are not done yet." in told(results)


def test_few_replicates_and_wide_intervals_are_told(made_up):
    sweep = {PRICING: ["low", "high"]}
    assert any(
        "fewer than two replicates there are no intervals" in text for text in told(made_up(sweep=sweep, replicates=1))
    )
    few = told(made_up(sweep=sweep, replicates=3))
    assert any(text.startswith("With 3 replicates there are no bootstrap intervals") for text in few)
    assert "is wider than 20% of the mean at pricing = low, high" in " ".join(few)
    enough = made_up(sweep=sweep, replicates=12)
    assert not [text for text in told(enough) if "replicates" in text]
    enough.plan.loc[enough.plan["run"] % 2 == 1, "status"] = "failed"
    assert any("there is none at pricing = high" in text for text in told(enough))


def test_origins_that_cast_doubt_are_told(made_up):
    results = made_up(sweep={}, replicates=8)
    packages, commit = {"numpy": "2.0", "scipy": "1"}, {"commit": "abc", "dirty": False}
    clean = {"created": "2026-01-01", "python": "3.11", "platform": "Linux", "packages": packages, "git": commit}
    results.provenance |= clean
    assert told(results) == []
    results.provenance["git"] = {"commit": "abc", "dirty": True}
    assert told(results) == ["The program had changes that were not committed, so its commit alone does not reproduce "
                             "the results."]  # fmt: skip
    later = {**clean, "packages": {"numpy": "2.1", "scipy": "1"}, "git": {"commit": "def", "dirty": False}}
    results.provenance |= {**clean, "extended": [{**later, "replicates": 8, "points": 1}]}
    assert told(results) == [
        "Runs were added later with other versions: numpy, the program's commit changed in between."
    ]
    results.provenance |= {"git": None, "extended": []}
    assert told(results) == []


def stopping(replicates, *, reached):
    rule = {"metric": "revenue", "width": 0.1, "minimum": 5, "maximum": replicates}
    return {**rule, "replicates": replicates, "widest": 0.09 if reached else 0.3, "at": "low", "reached": reached}


def test_stopping_by_width_is_told(made_up):
    results = made_up(sweep={}, replicates=8)
    results.provenance |= {"git": None, "stopping": stopping(8, reached=True)}
    (text,) = told(results)
    assert "5 or more" in text
    assert "Stopped by width after 8 replicates" in text
    assert "9.00% of its mean at low, 10.00% or less was asked for" in text
    assert text.endswith("less often than 95% of the time.")


def test_a_width_that_was_not_reached_is_not_said_to_be(made_up):
    results = made_up(sweep={}, replicates=8)
    results.provenance |= {"git": None, "stopping": stopping(8, reached=False)}
    (text,) = told(results)
    assert "Stopped at the maximum of 8 replicates" in text
    assert "30.00% of its mean at low, not the 10.00% asked for" in text


def test_stopping_is_told_as_past_where_the_study_grew_since(made_up):
    results = made_up(sweep={}, replicates=8)
    results.provenance |= {"git": None, "stopping": stopping(6, reached=True)}
    (text,) = told(results)
    assert "Stopped by width after 6 replicates" in text
    assert text.endswith("The study has been extended to 8 replicates since.")


def test_a_report_of_what_is_there_so_far(made_up, only):
    only(2)
    results = made_up(sweep={PRICING: ["low", "high"], SPREAD: [0.5, 1]}, replicates=2, rounds=1, tables=["rounds"])
    asked = question(results, by=PRICING, metrics=("revenue",))
    results.plan.loc[3:, "status"] = "pending"
    page = write_report(results, asked).read_text(encoding="utf-8")
    assert "5 of 8 runs are not done yet." in page
    assert "there is none at pricing = high" in page
    assert page.count("<figure>") == 2
    results.plan.loc[1:, "status"] = "pending"
    page = write_report(results, asked).read_text(encoding="utf-8")
    assert (
        "Figures left out: revenue_by_pricing (--metric: found &#39;revenue&#39;, which no complete replicate" in page
    )
    assert "Figures left out: revenue_over_modest_noise_sensitivity" not in page  # one cell of it is there
    results.plan["status"] = "failed"
    with pytest.raises(InputError, match="has no finished run yet"):
        write_report(results, asked)


def test_no_two_of_many_lines_look_alike():
    looks = {(line["color"], line["marker"]) for line in map(line_style, range(64))}
    assert len(looks) == 64


def test_titles_values_and_errors_are_escaped(made_up, only):
    only(0)
    sweep = {PRICING: ["low", "<i>"]}
    results = made_up(sweep=sweep, title="<script>alert(1)</script>", replicates=1, rounds=1, tables=["rounds"])
    results.plan = pd.concat([results.plan, results.plan.assign(run=2, replicate=1, status="failed", error="<b>")])
    page = write_report(results, question(results, metrics=("revenue",))).read_text(encoding="utf-8")
    for text in ("<script>", "<b>", "<i>"):
        assert text not in page
        assert text.replace("<", "&lt;").replace(">", "&gt;") in page
