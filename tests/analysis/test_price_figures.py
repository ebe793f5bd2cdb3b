"""Figures of price lists show the numbers they should, legibly, whatever the survey."""

import io
import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis import plots
from analysis.plots import price_lists as drawn_lists
from analysis.plots.style import CURVE
from analysis.price_lists import cheapest_covers, price_survey
from analysis.tables import amount
from simulator.pricing import Demand, Survey, complete_price_space, pricing_strategies

EPSILONS = np.array([1.0, 2.0, 3.0])
WALKTHROUGH = Survey([0, 0, 1, 1, 2, 2], [100, 400, 300, 700, 500, 800])


def priced_by(name, survey=WALKTHROUGH, epsilons=EPSILONS):
    return price_survey(epsilons, survey, pricing_strategies()[name](), name=name)


def random_survey(seed, n_versions, answers):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, n_versions, answers)
    return Survey(targets, np.round(rng.lognormal(3 + 0.2 * targets, 0.5), 2), rng.integers(1, 5, answers))


def marks(axes, label):
    """What is drawn in an axes under a label: points, shape (points, 2)."""
    scattered = {c.get_label().partition(":")[0]: c.get_offsets() for c in axes.collections if c.get_label()[0] != "_"}
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    return np.asarray({**lines, **scattered}[label])


def test_the_figure_of_a_survey_shows_the_space_the_list_and_the_monopoly_prices():
    priced = priced_by("dpp_plus")
    figure = plots.survey_pricing(priced, WALKTHROUGH)
    axes, *panels = figure.get_axes()
    np.testing.assert_array_equal(marks(axes, "list of dpp_plus"), np.c_[EPSILONS, priced.prices])
    np.testing.assert_array_equal(marks(axes, "monopoly price"), [[1, 400], [2, 700], [3, 500]])
    space = complete_price_space(EPSILONS, WALKTHROUGH.targets, WALKTHROUGH.values)
    for kind in ("SU", "MC", "SC"):
        drawn = {tuple(point) for point in marks(axes, kind).tolist()}
        # All candidates but those above the top answer.
        assert drawn == {
            (eps, price)
            for eps, candidates in zip(EPSILONS, space, strict=True)
            for price, found in zip(candidates.prices, candidates.kinds, strict=True)
            if found == kind and price <= 800
        }
    assert any("up to the top answer" in text.get_text() for text in figure.subfigs[0].legends[0].get_texts())
    for panel, price, revenue in zip(panels, priced.prices, priced.revenues, strict=True):
        assert panel.lines[-1].get_xydata().tolist() == [[price, revenue]]


def test_area_shows_weight():
    survey = Survey([0, 0, 0], [1.0, 1.0, 2.0], [2.0, 1.0, 1.0])  # the two equal answers stand for three buyers
    axes = plots.survey_pricing(priced_by("median", survey, np.array([1.0])), survey).get_axes()[0]
    small, large = sorted(axes.collections[0].get_sizes())
    assert len(axes.collections[0].get_offsets()) == 2
    assert large > 2 * small


@pytest.mark.parametrize("answers", [1, 40, 3000])
def test_the_curve_of_a_version_is_its_revenue(answers):
    survey = random_survey(answers, 1, answers)
    demand = Demand(survey.values, survey.weights)
    prices, revenue = drawn_lists._revenue_curve(demand)
    assert len(prices) <= CURVE + 2 * drawn_lists.RESOLUTION
    assert (np.diff(prices) >= 0).all()
    served = np.array([survey.weights[survey.values >= price].sum() * price for price in prices])
    missed = np.array([survey.weights[survey.values > price].sum() * price for price in prices])
    if answers <= drawn_lists.RESOLUTION:  # up to each answer, then without its buyers
        lost = np.arange(len(prices)) >= CURVE
        lost[CURVE::2] = False
        expected = np.where(lost, missed, served)
    else:
        expected = served
    np.testing.assert_allclose(revenue, expected, rtol=1e-12)
    # The best of all prices is drawn, up to the share that a page does not resolve.
    assert revenue.max() >= demand.monopoly()[1] * (1 if answers < 400 else 0.99)


def test_of_a_long_list_the_level_is_shown():
    epsilons = np.arange(1.0, 13.0)
    survey = random_survey(2, 12, 200)
    priced = priced_by("dpp_plus", survey, epsilons)
    figure = plots.survey_pricing(priced, survey)
    space, level = figure.get_axes()
    for scale, revenue in level.lines[0].get_xydata()[::40]:
        assert revenue == pytest.approx(survey.revenue(scale * priced.prices).sum())
    assert level.lines[1].get_xydata().tolist() == [[1.0, priced.revenue]]
    assert space.get_xscale() == "linear"  # evenly spaced versions stay so
    doubling = plots.survey_pricing(priced_by("low", survey, 2.0 ** np.arange(-4, 8)), survey)
    assert doubling.get_axes()[0].get_xscale() == "log"


def test_many_answers_are_thinned_and_the_figure_says_so():
    survey = random_survey(5, 5, 60_000)
    distinct = len(set(zip(survey.targets.tolist(), survey.values.tolist(), strict=True)))
    assert distinct > 10_000
    figure = plots.survey_pricing(priced_by("uniform", survey, np.array([0.5, 1, 2, 4, 8])), survey)
    axes = figure.get_axes()[0]
    drawn = [len(marks(axes, kind)) for kind in ("SU", "MC", "SC")]
    assert sum(drawn) <= 1.1 * drawn_lists.MOST_MARKS
    assert f"; {drawn[0]:,} of {distinct:,} distinct answers drawn" in axes.get_title("left")
    shown = marks(axes, "SU")
    for k, eps in enumerate([0.5, 1, 2, 4, 8]):
        own = survey.values[survey.targets == k]
        np.testing.assert_array_equal([shown[shown[:, 0] == eps, 1].min(), shown[shown[:, 0] == eps, 1].max()],
                                      [own.min(), own.max()])  # fmt: skip


@pytest.mark.parametrize("composition", ["additive", "quadratic"])
def test_the_figure_of_a_list_shows_what_covering_each_level_costs(composition):
    epsilons, prices = np.array([0.7, 1.0, 2.4, 5.0]), np.array([3.0, 5.0, 9.0, 60.0])
    axes = plots.arbitrage(epsilons, prices, composition=composition).get_axes()[0]
    power = 1 if composition == "additive" else 2
    steps, edges, _ = axes.patches[0].get_data()
    assert (edges[0], edges[-1]) == (0.0, 5.0)
    for eps in np.random.default_rng(1).uniform(0.01, 5.0, 40):
        bundles = itertools.product(range(9 if power == 1 else 60), range(7), range(7))
        cost = min(b @ prices[:3] for b in map(np.array, bundles) if b @ epsilons[:3] ** power >= eps**power)
        assert steps[np.searchsorted(edges, eps) - 1] == pytest.approx(min(cost, 60.0))
    covers = cheapest_covers(epsilons, prices, composition=composition)
    undercut = marks(axes, "undercut price, and the saving")
    assert undercut.tolist() == [[eps, p] for eps, p, c in zip(epsilons, prices, covers, strict=True) if c.saving]
    assert [text.get_text() for text in axes.texts] == [f"\u2212{amount(c.saving)}" for c in covers if c.saving]


CASES = {
    "one version": (np.array([1.0]), Survey([0], [5.0])),
    "nobody asked": (np.array([1.0, 2.0, 3.0, 4.0]), WALKTHROUGH),
    "ties": (np.arange(1.0, 7.0), Survey(np.arange(60) % 6, 10.0 * (1 + np.arange(60) % 4))),
    "far apart": (np.array([0.1, 10.0]), Survey([0, 1, 1], [0.01, 5.0, 1e6])),
    "forty versions": (0.25 * np.arange(1, 41), random_survey(1, 40, 400)),
}


@pytest.mark.parametrize(("case", "strategy"), [*((case, "monopoly") for case in CASES), ("nobody asked", "perfect")])
def test_figures_are_legible_whatever_the_survey(case, strategy):
    epsilons, survey = CASES[case]
    before = dict(mpl.rcParams)
    priced = priced_by(strategy, survey, epsilons)
    figures = [plots.survey_pricing(priced, survey)]
    if strategy == "monopoly":
        figures.append(plots.arbitrage(epsilons, priced.prices))
    for figure in figures:
        plots.save(figure, io.BytesIO(), "png")
        renderer = FigureCanvasAgg(figure).get_renderer()
        legends = [legend for part in (figure, *figure.subfigs) for legend in part.legends]
        assert legends
        for part in [*legends, *(axes.title for axes in figure.get_axes())]:
            box = part.get_window_extent(renderer)
            assert box.x0 >= 0, part
            assert box.x1 <= figure.bbox.width, part
        words = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.get_axes())
        assert "eps" in words
        assert "money" in words
        labels = [label for label in figure.get_axes()[0].get_xticklabels() if label.get_text()]
        boxes = [label.get_window_extent(renderer) for label in labels]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_figure_is_written_alike_every_time(kind, start):
    written = []
    for _ in range(2):
        file = io.BytesIO()
        plots.save(plots.arbitrage(EPSILONS, np.array([1.0, 2.0, 9.0])), file, kind)
        written.append(file.getvalue())
    assert written[0].startswith(start)
    assert written[0] == written[1]
