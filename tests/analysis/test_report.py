"""Figures and the report, on a small experiment."""

import re

import matplotlib as mpl
import numpy as np
import pytest

from analysis import plots
from analysis.cells import parameters
from analysis.compare import compare, question
from analysis.plots.style import line_style
from analysis.report import write_report
from scenarios.experiment import load
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


def test_the_report_is_one_self_contained_page(walkthrough):
    page = write_report(walkthrough, question(walkthrough))
    html = page.read_text(encoding="utf-8")
    assert walkthrough.experiment.title in html
    assert html.count("data:image/svg+xml;base64,") == 6
    # Nothing is fetched: no source or link but data.
    for reference in re.findall(r"(?:src|href)=\"([^\"]*)\"", html):
        assert reference.startswith("data:")
    assert "@import" not in html
    for name in ("revenue", "money per round", "1,900", "broker.epsilons", "numpy", "buyers.modest.budget"):
        assert name in html
    figures = sorted(path.name for path in (walkthrough.folder / "figures").iterdir())
    assert len(figures) == 12
    assert {name.partition(".")[2] for name in figures} == {"png", "pdf"}


def test_the_report_tells_of_failed_runs(tmp_path):
    results = Results.create(tmp_path / "walkthrough", load("walkthrough"))
    run_experiment(results)
    results.plan.loc[0, ["status", "error"]] = ["failed", "ValueError: as an example"]
    html = write_report(results, question(results)).read_text(encoding="utf-8")
    assert "1 of 8 runs failed and are left out: ValueError: as an example" in html
    assert "fewer than two replicates" in html


def test_the_report_says_which_lists_were_repaired_or_raw(walkthrough):
    html = write_report(walkthrough, question(walkthrough)).read_text(encoding="utf-8")
    kinds = {"linear": "repaired", "monopoly": "raw", "perfect": "personalised", "median": "arbitrage-free"}
    for level, kind in kinds.items():
        assert f"<td>{level}</td><td>{kind}</td>" in html


def test_no_two_of_many_lines_look_alike():
    looks = {(line["color"], line["marker"]) for line in map(line_style, range(64))}
    assert len(looks) == 64


def test_titles_are_escaped(tmp_path):
    results = Results.create(tmp_path / "w", load("walkthrough", ['title="<script>alert(1)</script>"']))
    run_experiment(results)
    assert "<script>" not in write_report(results, question(results)).read_text(encoding="utf-8")
