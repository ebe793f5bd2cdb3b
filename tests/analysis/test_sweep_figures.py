"""Figures of sweeps, rounds and inequality show the numbers that are computed here anew, and are legible."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from SALib.analyze import morris, sobol
from scipy import stats

from analysis import plots
from analysis.cells import parameters
from analysis.figures import KINDS, draw
from analysis.plots.inequality import lorenz_curve
from analysis.plots.style import PALETTE
from scenarios.errors import InputError
from simulator.metrics import gini

PRICING, SPREAD, COMMISSION = "broker.pricing", "buyers.modest.noise_sensitivity", "broker.commission"
SWEEP = {PRICING: ["high", "low", "median"], SPREAD: [2, 0.5], COMMISSION: [0, 0.1]}
RANGE = {"dist": "uniform", "loc": 0.1, "scale": 1}


@pytest.fixture(scope="module")
def results(made_up):
    return made_up(sweep=SWEEP)


@pytest.fixture(scope="module")
def sampled(made_up):
    sweep = {PRICING: ["high", "low"], SPREAD: RANGE, COMMISSION: RANGE}
    return made_up(sweep=sweep, design={"points": 8}, replicates=3)


@pytest.fixture(scope="module")
def unswept(made_up):
    return made_up(sweep={})


def swept(results, *names):
    found = parameters(results.experiment)
    return [found[name] for name in names]


def means(results, *keys, metric="revenue"):
    """Mean over replicates at each value: over rounds, then runs, then replicates, which are all whole here."""
    return results.table("rounds").groupby(list(keys))[metric].mean()


def mesh(axes):
    """What a map's cells show, a row a tick of the y axis from below; and the ticks of both axes."""
    collection = next(c for c in axes.collections if hasattr(c, "get_coordinates"))
    texts = [[label.get_text() for label in axis.get_ticklabels()] for axis in (axes.xaxis, axes.yaxis)]
    rows, columns = np.subtract(collection.get_coordinates().shape[:2], 1)
    return np.ma.filled(collection.get_array(), np.nan).reshape(rows, columns), *texts


def numbers(axes):
    return {tuple(np.subtract(text.get_position(), 0.5)): text.get_text() for text in axes.texts}


def test_a_heat_map_shows_the_means(results):
    figure = plots.heat_map(results, "revenue", *swept(results, SPREAD, PRICING))
    axes, bar = figure.axes
    shown, x, y = mesh(axes)
    assert (x, y) == (["0.5", "2"], ["median", "low", "high"])  # numbers ascend, words are read from the top
    expected = means(results, PRICING, SPREAD)
    for (row, pricing), (column, spread) in itertools.product(enumerate(y), enumerate([0.5, 2])):
        assert shown[row, column] == pytest.approx(expected[pricing, spread])
        assert numbers(axes)[column, row] == f"{expected[pricing, spread]:.0f}"
    assert bar.get_ylabel() == "money per round"
    assert figure.get_suptitle() == "Revenue, mean over 4 replicates"
    assert (axes.get_xlabel(), figure.get_supylabel()) == ("modest noise sensitivity", "pricing")
    assert axes.collections[0].get_cmap().name == "viridis"


def test_a_map_of_words_across_and_numbers_upwards(results):
    shown, x, y = mesh(plots.heat_map(results, "revenue", *swept(results, PRICING, COMMISSION)).axes[0])
    assert (x, y) == (["high", "low", "median"], ["0", "0.1"])
    assert shown[1, 2] == pytest.approx(means(results, PRICING, COMMISSION)["median", 0.1])


def test_heat_maps_of_a_third_parameter_share_their_colours(results):
    figure = plots.heat_map(results, "revenue", *swept(results, SPREAD, COMMISSION, PRICING))
    *maps, _ = figure.axes
    expected = means(results, PRICING, SPREAD, COMMISSION)
    assert [axes.get_title("left") for axes in maps] == [f"pricing = {value}" for value in SWEEP[PRICING]]
    for axes, pricing in zip(maps, SWEEP[PRICING], strict=True):
        assert mesh(axes)[0][1, 0] == pytest.approx(expected[pricing, 0.5, 0.1])
        assert axes.collections[0].get_clim() == pytest.approx((expected.min(), expected.max()))


def test_cells_that_do_not_exist_are_empty(made_up):
    results = made_up(sweep={SPREAD: [0.5, 1], COMMISSION: [0, 0.1]}, failed=(1, 5, 9, 13))
    axes = plots.heat_map(results, "revenue", *swept(results, SPREAD, COMMISSION)).axes[0]
    shown = mesh(axes)[0]
    assert np.isnan(shown).tolist() == [[False, False], [True, False]]
    assert numbers(axes)[0, 1] == "-"


def test_numbers_that_do_not_fit_are_left_out(made_up):
    shares = np.linspace(0.1, 0.9, 60).round(3).tolist()
    results = made_up(sweep={COMMISSION: shares, SPREAD: [0.5]}, replicates=1, rounds=1)
    figure = plots.heat_map(results, "revenue", *swept(results, COMMISSION, SPREAD))
    axes = figure.axes[0]
    assert len(axes.texts) == 0
    assert mesh(axes)[0].shape == (1, 60)
    check_legible(figure)
    # So are labels, which would stand upon each other even when they are turned.
    boxes = [label.get_window_extent() for label in drawn_labels(axes.xaxis)]
    assert 10 < len(boxes) < 30
    assert all(right.x1 - left.x1 > 15 for left, right in itertools.pairwise(boxes))


def paired(results, settings, baseline):
    """Differences to the baseline of the parameter it is of, by replicate."""
    one, other = (
        results.table("rounds").query(" and ".join(f"`{key}` == {value!r}" for key, value in own.items()))
        for own in (settings, settings | baseline)
    )
    return one.groupby("replicate")["revenue"].mean() - other.groupby("replicate")["revenue"].mean()


def test_a_difference_map_marks_what_may_be_chance(results):
    by = swept(results, PRICING)[0]
    figure = plots.difference_map(results, "revenue", *swept(results, SPREAD, PRICING), by, "median")
    axes = figure.axes[0]
    shown, x, y = mesh(axes)
    assert (x, y) == (["0.5", "2"], ["low", "high"])
    cells = list(itertools.product(range(2), range(2)))
    samples = [paired(results, {PRICING: y[row], SPREAD: float(x[column])}, {PRICING: "median"})
               for row, column in cells]  # fmt: skip
    np.testing.assert_allclose([shown[cell] for cell in cells], [sample.mean() for sample in samples])
    p = np.array([stats.ttest_1samp(sample, 0).pvalue for sample in samples])
    holm = np.empty(4)
    holm[np.argsort(p)] = np.maximum.accumulate(np.sort(p) * [4, 3, 2, 1])
    hatched = {(int(patch.get_y()), int(patch.get_x())) for patch in axes.patches}
    assert hatched == {cell for cell, value in zip(cells, holm, strict=True) if value > 0.05}
    assert 0 < len(hatched) < 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "no significant difference (Holm's p over 4 cells > 0.05)"
    ]
    low, high = axes.collections[0].get_clim()
    assert low == -high == pytest.approx(-np.abs(shown).max())
    # White is no difference, and either side has a hue of its own.
    colours = mpl.colormaps[axes.collections[0].get_cmap().name]
    assert min(colours(0.5)[:3]) > 0.95
    assert to_hex(colours(0.0)) != to_hex(colours(1.0))


def test_differences_of_a_third_parameter_have_maps_of_their_own(results):
    by = swept(results, PRICING)[0]
    *maps, _ = plots.difference_map(results, "revenue", *swept(results, SPREAD, COMMISSION), by, "median").axes
    assert [axes.get_title("left") for axes in maps] == ["pricing = high", "pricing = low"]
    settings = {PRICING: "low", SPREAD: 2, COMMISSION: 0.1}
    assert mesh(maps[1])[0][1, 1] == pytest.approx(paired(results, settings, {PRICING: "median"}).mean())


def test_samples_are_points_of_the_colour_of_their_mean(sampled):
    x, y, by = swept(sampled, SPREAD, COMMISSION, PRICING)
    figure = plots.heat_map(sampled, "revenue", x, y)
    points = figure.axes[0].collections[0]
    expected = means(sampled, SPREAD, COMMISSION)
    np.testing.assert_allclose(points.get_offsets(), np.array(expected.index.tolist()))
    shares = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(points.get_facecolors(), mpl.colormaps["viridis"](shares.to_numpy()))
    # Beside a list, points stand at the list's places.
    strip = plots.heat_map(sampled, "revenue", x, by).axes[0]
    assert [label.get_text() for label in strip.get_yticklabels()] == ["low", "high"]
    assert set(strip.collections[0].get_offsets()[:, 1]) == {0, 1}
    top = strip.collections[0].get_offsets()[:, 1] == 1
    high = means(sampled, PRICING, SPREAD)["high"]
    np.testing.assert_allclose(np.sort(strip.collections[0].get_offsets()[top, 0]), high.index)


def test_differences_of_samples_are_crossed_out_where_they_may_be_chance(sampled):
    x, y, by = swept(sampled, SPREAD, COMMISSION, PRICING)
    axes = plots.difference_map(sampled, "revenue", x, y, by, "high").axes[0]
    points, crossed = axes.collections
    values = {
        tuple(point): paired(sampled, {PRICING: "low", SPREAD: point[0]}, {PRICING: "high"})
        for point in points.get_offsets().tolist()
    }
    p = {point: stats.ttest_1samp(sample, 0).pvalue for point, sample in values.items()}
    ordered = sorted(p, key=p.get)
    holm = np.maximum.accumulate([p[point] * (8 - rank) for rank, point in enumerate(ordered)])
    expected = {point for point, value in zip(ordered, holm, strict=True) if value > 0.05}
    assert {tuple(point) for point in crossed.get_offsets().tolist()} == expected
    assert 0 < len(expected) < 8


def test_lines_have_the_intervals_of_scipy(results):
    figure = plots.small_multiples(results, "revenue", *swept(results, SPREAD, PRICING, COMMISSION))
    assert [axes.get_title("left") for axes in figure.axes] == ["commission = 0", "commission = 0.1"]
    rounds = results.table("rounds")
    for axes, commission in zip(figure.axes, (0, 0.1), strict=True):
        for bars, pricing in zip(axes.containers, SWEEP[PRICING], strict=True):
            line, _, (segments,) = bars.lines
            assert line.get_xdata().tolist() == [0.5, 2]
            for spread, mean, segment in zip((0.5, 2), line.get_ydata(), segments.get_segments(), strict=True):
                at = (rounds[PRICING] == pricing) & (rounds[SPREAD] == spread) & (rounds[COMMISSION] == commission)
                sample = rounds[at].groupby("replicate")["revenue"].mean()
                limits = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
                assert mean == pytest.approx(sample.mean())
                assert segment[:, 1].tolist() == pytest.approx([limits.low, limits.high])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == SWEEP[PRICING]
    assert figure.get_supylabel() == "Revenue (money per round)"


def test_without_colours_lines_average_the_rest(results):
    axes = plots.small_multiples(results, "revenue", *swept(results, COMMISSION)).axes[0]
    np.testing.assert_allclose(axes.containers[0].lines[0].get_ydata().astype(float), means(results, COMMISSION))


def test_sampled_parameters_have_a_panel_each(sampled):
    figure = plots.sampled_parameters(sampled, "revenue", swept(sampled, PRICING)[0])
    assert [axes.get_xlabel() for axes in figure.axes] == ["modest noise sensitivity", "commission"]
    for axes, name in zip(figure.axes, (SPREAD, COMMISSION), strict=True):
        for bars, pricing in zip(axes.containers, ("high", "low"), strict=True):
            expected = means(sampled, PRICING, name)[pricing]
            np.testing.assert_allclose(bars.lines[0].get_xydata(), np.c_[expected.index, expected])
            assert bars.lines[0].get_linestyle() == "None"


def test_convergence_shows_every_round_with_its_interval(results):
    figure = plots.convergence(results, "revenue", *swept(results, PRICING, COMMISSION))
    rounds = results.table("rounds")
    for axes, commission in zip(figure.axes, (0, 0.1), strict=True):
        for line, band, pricing in zip(axes.lines, axes.collections, SWEEP[PRICING], strict=True):
            at = rounds[(rounds[PRICING] == pricing) & (rounds[COMMISSION] == commission)]
            sample = at.groupby(["round", "replicate"])["revenue"].mean().unstack()
            half = stats.t.ppf(0.975, 3) * stats.sem(sample, axis=1)
            np.testing.assert_allclose(line.get_xydata(), np.c_[[1, 2, 3], sample.mean(axis=1)])
            edges = band.get_paths()[0].vertices
            for number in (1, 2, 3):
                ends = edges[edges[:, 0] == number, 1]
                assert ends.max() == pytest.approx(sample.mean(axis=1)[number] + half[number - 1])
                assert ends.min() == pytest.approx(sample.mean(axis=1)[number] - half[number - 1])
    alone = plots.convergence(results, "welfare").axes[0]
    np.testing.assert_allclose(alone.lines[0].get_ydata(), means(results, "round", metric="welfare"))


def test_ladders_in_panels_show_the_last_rounds_prices(results):
    figure = plots.price_ladder(results, *swept(results, PRICING, COMMISSION))
    versions = results.table("versions").query("round == 3")
    for axes, commission in zip(figure.axes, (0, 0.1), strict=True):
        for line, pricing in zip(axes.lines, SWEEP[PRICING], strict=True):
            own = versions[(versions[PRICING] == pricing) & (versions[COMMISSION] == commission)]
            np.testing.assert_allclose(line.get_ydata(), own.groupby("epsilon")["price"].mean())


@pytest.fixture(scope="module")
def analysed(made_up):
    """Two designs for sensitivity, of Sobol's and of Morris' kind."""
    sweep = {PRICING: ["high", "low"], SPREAD: RANGE, COMMISSION: RANGE}
    return {
        sampling: made_up(sweep=sweep, design={"sampling": sampling, "points": 4}, replicates=2)
        for sampling in ("saltelli", "morris")
    }


@pytest.mark.parametrize("sampling", ["saltelli", "morris"])
def test_the_figure_of_sensitivity_shows_salibs_indices(analysed, sampling):
    results = analysed[sampling]
    figure = plots.sensitivity(results, "welfare")
    assert titles(figure) == ["pricing = high", "pricing = low"]
    bounds = [[0.0, 1.0]] * 2
    problem = {"num_vars": 2, "names": [SPREAD, COMMISSION], "bounds": bounds}
    for axes, pricing in zip(figure.axes, ("high", "low"), strict=True):
        own = (
            results.table("rounds")
            .query(f"`{PRICING}` == '{pricing}'")
            .merge(results.plan[["run", "sample"]], on="run")
        )
        values = own.groupby("sample")["welfare"].mean().to_numpy()
        if sampling == "saltelli":
            found = sobol.analyze(problem, values, calc_second_order=False, num_resamples=10, seed=1)
            for bars, name in zip(axes.containers, ("S1", "ST"), strict=True):
                np.testing.assert_allclose(bars.lines[0].get_xdata().astype(float), found[name])
                np.testing.assert_allclose(bars.lines[0].get_ydata().astype(float), [1, 0], atol=0.2)
            assert figure.axes[0].get_yticks().tolist() == [1, 0]  # from the top
            assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
                "modest noise sensitivity",
                "commission",
            ]
        else:
            unit = results.plan.drop_duplicates("sample")[[SPREAD, COMMISSION]].to_numpy() - 0.1
            found = morris.analyze(problem, unit, values, num_levels=4, num_resamples=10, seed=1)
            for bars, star, sigma in zip(axes.containers, found["mu_star"], found["sigma"], strict=True):
                assert bars.lines[0].get_xydata().astype(float).tolist() == [pytest.approx([star, sigma])]
    check_legible(figure)


def titles(figure):
    return [axes.get_title("left") for axes in figure.axes]


def lorenz_by_hand(amounts):
    """The curve by its definition: what the k who have least have together."""
    ordered = sorted(amounts)
    return [sum(ordered[:k]) / sum(ordered) for k in range(len(ordered) + 1)]


def test_lorenz_curves_and_coefficients(results):
    figure = plots.lorenz(results, *swept(results, PRICING))
    tables = {"owners": ("owner", "paid", 7), "sales": ("buyer", "surplus", 6)}
    for axes, (name, (agent, column, count)) in zip(figure.axes, tables.items(), strict=True):
        table = results.table(name)
        legend = [text.get_text() for text in axes.get_legend().get_texts()]
        for line, text, pricing in zip(axes.lines[1:], legend, SWEEP[PRICING], strict=True):
            by_replicate = {}
            for run in results.plan.query(f"`{PRICING}` == '{pricing}'")["run"]:
                own = table[table["run"] == run].groupby(agent)[column].sum()
                amounts = [*own, *[0.0] * (count - len(own))]  # those who never bought have no rows
                curve = lorenz_by_hand(amounts)
                assert gini(np.array(amounts)) == pytest.approx(1 - 2 * np.trapezoid(curve, dx=1 / count))
                by_replicate.setdefault(run // 12, []).append([gini(np.array(amounts)), *curve])
            sample = np.array([np.mean(runs, axis=0) for runs in by_replicate.values()])
            np.testing.assert_allclose(line.get_xdata(), np.arange(count + 1) / count)
            np.testing.assert_allclose(line.get_ydata(), sample[:, 1:].mean(axis=0))
            mean, half = sample[:, 0].mean(), stats.t.ppf(0.975, 3) * stats.sem(sample[:, 0])
            assert text == f"{pricing}: Gini {mean:.3f} \u00b1 {half:.3f}"
            # The area between the mean curve and the diagonal is half the mean coefficient.
            assert 1 - 2 * np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(mean)


@pytest.mark.parametrize("amounts", [[1.0], [2, 2, 2], [0, 0, 5], [1, 3, 2, 0.5]])
def test_the_curve_of_one_sample(amounts):
    assert lorenz_curve(amounts).tolist() == pytest.approx(lorenz_by_hand(amounts))


def test_curves_of_unlike_populations_are_averaged_at_the_same_shares(made_up):
    buyers = [{"segment": "modest", "count": 6, "budget": 100, "epsilon_expected": 1}]
    sweep = {"buyers.modest.count": [6, 9]}
    results = made_up(sweep=sweep, buyers=buyers, tables=["rounds", "sales"], replicates=2)
    line = plots.lorenz(results).axes[0].lines[1]
    surplus = results.table("sales").groupby(["run", "buyer"])["surplus"].sum()
    curves = []
    for run, count in zip(results.plan["run"], results.plan["buyers.modest.count"], strict=True):
        own = surplus[run].to_list()
        curve = lorenz_by_hand([*own, *[0.0] * (count - len(own))])
        curves.append(np.interp(line.get_xdata(), np.linspace(0, 1, count + 1), curve))
    np.testing.assert_allclose(line.get_ydata(), np.mean(curves, axis=0))


def test_lorenz_curves_need_a_table(made_up):
    results = made_up(sweep={}, tables=["rounds"], replicates=1)
    with pytest.raises(InputError, match="has neither the table 'owners' nor 'sales'"):
        plots.lorenz(results)


def drawn_labels(axis):
    """Labels of the ticks that are within the axis."""
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    ticks = (tick for tick in axis.get_major_ticks() if low - slack <= tick.get_loc() <= high + slack)
    return [tick.label1 for tick in ticks if tick.label1.get_visible() and tick.label1.get_text()]


def check_legible(figure):
    """Nothing is cut at the figure's edge, labels do not run into each other, legends hide nothing."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    for axes in figure.axes:
        ticks = [drawn_labels(axes.xaxis), drawn_labels(axes.yaxis)]
        for part in [axes.xaxis.label, axes.yaxis.label, axes._left_title, *ticks[0], *ticks[1]]:
            box = part.get_window_extent(renderer)
            if part.get_text():
                assert min(box.x0, box.y0) >= -1, part
                assert box.x1 <= figure.bbox.width + 1, part
                assert box.y1 <= figure.bbox.height + 1, part
        for labels, low, high in ((ticks[0], "x0", "x1"), (ticks[1], "y0", "y1")):
            if all(label.get_rotation() == 0 for label in labels):
                boxes = sorted(
                    (label.get_window_extent(renderer) for label in labels), key=lambda box: getattr(box, low)
                )
                assert all(getattr(a, high) <= getattr(b, low) + 1 for a, b in itertools.pairwise(boxes)), labels
    for part in filter(None, (figure._supxlabel, figure._supylabel, figure._suptitle)):
        box = part.get_window_extent(renderer)
        assert min(box.x0, box.y0) >= -1, part
        assert box.x1 <= figure.bbox.width + 1, part
        assert box.y1 <= figure.bbox.height + 1, part
    for legend in figure.legends:
        box = legend.get_window_extent(renderer)
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.width
        assert not any(box.overlaps(axes.bbox) for axes in figure.axes)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_legible_whatever_the_names(results, unswept, sampled, analysed, kind):
    before = dict(mpl.rcParams)
    axes = {"x": SPREAD, "y": PRICING, "by": PRICING, "panel": COMMISSION}
    takes = KINDS[kind].takes
    metric = "epsilon_composed_max" if "metric" in takes else None  # the longest label
    named = {flag: name if flag in takes else None for flag, name in axes.items()}
    asked = {"metric": metric, "baseline": None, **named}
    if kind == "sensitivity":
        results = analysed["morris"]
    cases = [(sampled if kind == "samples" else results, asked)]
    if "baseline" not in takes and not {"x", "y"} & set(takes) and kind not in ("samples", "sensitivity"):
        cases.append((unswept, dict.fromkeys(asked)))
    for experiment, flags in cases:
        figure = draw(experiment, kind, flags)
        check_legible(figure)
        words = [
            part for axes in figure.axes for part in (axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left"))
        ]
        assert any(
            unit in " ".join([*words, figure.get_supylabel(), figure.get_supxlabel()])
            for unit in ("money", "eps", "share")
        )
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("count", [3, 14])
def test_long_names_and_many_lines_leave_room_for_the_figure(made_up, count):
    names = [f"tests.analysis.strategies:VeryLongNameOfAStrategyNumber{number}" for number in range(count)]
    results = made_up(sweep={"broker.pricing": names, SPREAD: [0.5, 1]}, replicates=2, rounds=2)
    by, x = swept(results, PRICING, SPREAD)
    for figure in (
        plots.small_multiples(results, "revenue", x, by),
        plots.heat_map(results, "revenue", by, x),
        plots.privacy_spent(results, by),
    ):
        check_legible(figure)
        assert figure.axes[0].bbox.height > 0.2 * figure.bbox.height
        assert figure.axes[0].bbox.width > 0.2 * figure.bbox.width


def test_colours_of_lines_are_those_of_the_palette(results):
    axes = plots.small_multiples(results, "revenue", *swept(results, SPREAD, PRICING)).axes[0]
    assert [bars.lines[0].get_color() for bars in axes.containers] == list(PALETTE[:3])
