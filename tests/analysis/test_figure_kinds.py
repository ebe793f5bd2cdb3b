"""Kinds of figures by name: what each takes, what it assumes, and what it refuses."""

import inspect
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis import plots
from analysis.cli import app
from analysis.figures import KINDS, MOST_LINES, MOST_PANELS, draw
from scenarios.errors import InputError

PRICING, SPREAD, COMMISSION = "broker.pricing", "buyers.modest.noise_sensitivity", "broker.commission"
SWEEP = {PRICING: ["high", "low"], SPREAD: [2, 0.5], COMMISSION: [0, 0.1]}
FLAGS = ("metric", "x", "y", "by", "panel", "baseline")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def results(made_up):
    return made_up(sweep=SWEEP, replicates=2, tables=["rounds"])


@pytest.fixture(scope="module")
def two(made_up):
    comparison = {"by": PRICING, "baseline": "low", "metrics": ["welfare"]}
    sweep = {PRICING: ["high", "low"], SPREAD: [2, 0.5]}
    return made_up(sweep=sweep, replicates=2, comparison=comparison, tables=["rounds"])


@pytest.fixture(scope="module")
def unswept(made_up):
    return made_up(sweep={}, replicates=2, tables=["rounds"])


def figure(results, kind, **flags):
    return draw(results, kind, dict.fromkeys(FLAGS) | flags)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_takes_what_its_function_does(kind):
    function = getattr(plots, KINDS[kind].function)
    names = list(inspect.signature(function).parameters)[1:]
    if names[0] == "asked":  # a question: what is compared with what
        names = ["by", "baseline", *names[1:]]
    assert set(KINDS[kind].takes) == set(names)
    assert KINDS[kind].function in plots.__all__


def test_help_and_docs_teach_every_kind():
    shown = " ".join(re.sub(r"[\s│]+", " ", CliRunner().invoke(app, ["plot", "--help"]).output).split())
    text = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    for name, kind in KINDS.items():
        assert f"{name}: {kind.summary}" in shown
        assert f"## {name}" in text
        assert re.search(rf"dealer plot \S+ {name} ", text)
    for image in re.findall(r"\]\((images/[^)]+)\)", text):
        assert (ROOT / "docs" / image).stat().st_size < 80_000


def titles(figure):
    return [axes.get_title("left") for axes in figure.axes]


def test_what_is_not_named_is_what_there_is_no_choice_of(two):
    assert figure(two, "heat-map").get_suptitle().startswith("Welfare, mean")  # the scenario's metric
    shown = figure(two, "heat-map")
    assert (shown.axes[0].get_xlabel(), shown.get_supylabel()) == ("modest noise sensitivity", "pricing")
    shown = figure(two, "difference-map")
    assert shown.get_suptitle().startswith("Welfare, difference to pricing = low")
    shown = figure(two, "difference-map", baseline="high")
    assert [label.get_text() for label in shown.axes[0].get_yticklabels()] == ["low"]
    shown = figure(two, "difference-map", by=SPREAD, baseline="0.5")
    assert shown.get_suptitle().startswith("Welfare, difference to modest noise sensitivity = 0.5")
    assert [label.get_text() for label in shown.axes[0].get_xticklabels()] == ["2"]
    shown = figure(two, "lines", metric="revenue")
    assert shown.axes[0].get_xlabel() == "modest noise sensitivity"
    assert [text.get_text() for text in shown.legends[0].get_texts()] == ["high", "low"]


def test_what_is_compared_gets_maps_of_its_own_where_there_are_three(results):
    shown = figure(results, "difference-map", by=PRICING, metric="revenue")
    assert titles(shown)[0] == "pricing = low"  # less the first value
    assert (shown.axes[0].get_xlabel(), shown.get_supylabel()) == ("modest noise sensitivity", "commission")


def test_where_nothing_is_swept_there_is_one_line(unswept):
    assert len(figure(unswept, "convergence").axes[0].lines) == 1
    assert titles(figure(unswept, "money")) == [""]
    with pytest.raises(InputError, match="KIND: found 'means'; allowed where a parameter is swept over a list"):
        figure(unswept, "means")
    with pytest.raises(InputError, match="--x is missing; the figure 'heat-map' needs it, and allowed here are none"):
        figure(unswept, "heat-map")
    with pytest.raises(InputError, match="has no table 'versions'; it has rounds"):
        figure(unswept, "ladder")


@pytest.mark.parametrize(
    ("kind", "flags", "says"),
    [
        ("bars", {}, r"KIND: found 'bars'; allowed are means, lines, samples, sensitivity, heat-map"),
        ("lines", {"y": PRICING}, "--y: found 'broker.pricing'; the figure 'lines' takes --metric, --x, --by, --panel"),
        ("welfare", {"metric": "revenue"}, "--metric: found 'revenue'; the figure 'welfare' takes --by"),
        ("heat-map", {"x": "seed"}, f"--x: found 'seed'; allowed are the swept parameters: {', '.join(SWEEP)}"),
        ("heat-map", {"x": SPREAD, "y": SPREAD}, f"--y: found '{SPREAD}', which is --x already; allowed are"),
        ("heat-map", {"x": SPREAD}, f"--y is missing; .* allowed here are {PRICING}, {COMMISSION}"),
        ("heat-map", {}, f"--x is missing; .* allowed here are {PRICING}, {SPREAD}, {COMMISSION}"),
        ("lines", {"x": PRICING}, f"--x: found '{PRICING}', whose values are words; allowed are .*: {SPREAD}, "),
        ("lines", {"by": PRICING}, f"--x is missing; .* allowed here are {SPREAD}, {COMMISSION}"),
        ("lines", {"x": SPREAD}, f"--by is missing; .* allowed here are {PRICING}, {COMMISSION}"),
        ("money", {}, "--by is missing"),
        ("samples", {}, "KIND: found 'samples'; allowed where a parameter is sampled from a range, and none is"),
        ("heat-map", {"metric": "profit"}, "--metric: found 'profit'; allowed are owners_taking_part"),
        ("means", {"by": PRICING, "baseline": "best"}, "--baseline: found 'best'; allowed are high, low"),
        ("difference-map", {"x": PRICING, "y": SPREAD, "by": PRICING, "baseline": "7"}, "--baseline: found '7'"),
    ],
)
def test_what_a_figure_cannot_show_is_refused_in_a_sentence(results, kind, flags, says):
    with pytest.raises(InputError, match=says) as refusal:
        figure(results, kind, **flags)
    assert "\n" not in str(refusal.value)


def test_parameters_with_too_many_values_are_refused(made_up):
    many = [round(0.01 * number, 2) for number in range(MOST_LINES + 1)]
    results = made_up(sweep={COMMISSION: many, PRICING: ["low", "high"]}, replicates=1, rounds=1)
    with pytest.raises(
        InputError, match=f"with {MOST_LINES + 1} values, of which the figure has room for {MOST_LINES}"
    ):
        figure(results, "convergence", by=COMMISSION)
    with pytest.raises(InputError, match=f"of which the figure has room for {MOST_PANELS}; .*: {PRICING}"):
        figure(results, "convergence", panel=COMMISSION)
    # Along an axis there is room.
    assert figure(results, "lines", x=COMMISSION, by=PRICING).axes[0].containers[0].lines[0].get_xdata().size == 25


def test_ranges_and_zipped_lists_are_refused_where_they_make_no_sense(made_up):
    spread = {"dist": "uniform", "loc": 0.1, "scale": 1}
    sweep = {PRICING: ["low", "high"], COMMISSION: [0, 0.1], SPREAD: spread}
    results = made_up(sweep=sweep, design={"zip": [[PRICING, COMMISSION]], "points": 2}, replicates=2)
    with pytest.raises(InputError, match=f"--panel: found '{SPREAD}', which is a range; allowed are .*: {PRICING}"):
        figure(results, "convergence", panel=SPREAD)
    with pytest.raises(
        InputError, match=f"--y: found '{COMMISSION}', which is zipped with --x; allowed are .*: {SPREAD}"
    ):
        figure(results, "heat-map", x=PRICING, y=COMMISSION)
    shown = figure(results, "heat-map")  # of zipped lists the first
    assert (shown.axes[0].get_xlabel(), shown.get_supylabel()) == (
        "modest noise sensitivity",
        "pricing, with commission",
    )
    assert [text.get_text() for text in figure(results, "samples").legends[0].get_texts()] == ["low", "high"]


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_command_writes_the_same_file_each_time(two, tmp_path, ending):
    arguments = ["plot", two.folder, "difference-map", "--metric", "revenue", "--out"]
    files = [tmp_path / f"{name}.{ending}" for name in ("one", "two")]
    for file in files:
        result = CliRunner().invoke(app, [str(part) for part in (*arguments, file)])
        assert (result.exit_code, result.stdout) == (0, f"Figure: {file}\n"), result.stderr
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending]
    one, other = (file.read_bytes() for file in files)
    assert one.startswith(start)
    assert one == other


def test_the_command_refuses_before_it_reads(two, tmp_path):
    for out, says in (
        ("map.jpg", "--out: found 'map.jpg'; allowed are files that end in .png, .pdf, .svg"),
        (f"{tmp_path}/none/map.png", f"--out: found '{tmp_path}/none/map.png', in a folder that does not exist"),
    ):
        result = CliRunner().invoke(app, ["plot", "nowhere", "means", "--out", out])
        assert (result.exit_code, result.stderr) == (2, f"Error: {says}\n")
    folder = tmp_path / "map.png"
    folder.mkdir()
    result = CliRunner().invoke(app, ["plot", str(two.folder), "means", "--out", str(folder)])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"Error: --out: '{folder}' cannot be written")
