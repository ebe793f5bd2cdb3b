"""The figure of a purchase shows what every method buys at rising budgets."""

import math

import numpy as np
import pytest

from analysis import plots
from simulator.procurement import maximize_coverage, procurement_methods


def offers(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0.7, 1.0, n), rng.uniform(0.1, 1.0, n)


def lines(axes):
    return {str(line.get_label()).partition(" ")[0]: line.get_xydata() for line in axes.lines}


def test_every_method_is_drawn_from_nothing_to_everything():
    values, costs = offers(25)
    figure = plots.coverage_by_budget(values, costs, 5.0, "greedy", {})
    above, below = figure.get_axes()
    worth = math.fsum(np.maximum(values, 0))
    drawn = lines(above)
    assert set(procurement_methods()) <= set(drawn)
    for name in set(procurement_methods()):
        for budget, share in drawn[name][::10]:
            bought = maximize_coverage(values, costs, float(budget), method=name)
            assert share == pytest.approx(bought.value / worth, rel=1e-12)
        if not procurement_methods()[name].promises:  # which pays more than is asked
            assert drawn[name][-1].tolist() == [math.fsum(costs[values > 0]), 1.0]
    greedy, exact = (maximize_coverage(values, costs, 5.0, method=name).value for name in ("greedy", "exact"))
    assert greedy < exact
    colour = next(line.get_color() for line in above.lines if line.get_label() == "greedy")
    short = next(
        line.get_ydata()[line.get_xdata() == 5.0]
        for line in below.lines
        if len(line.get_xdata()) > 2 and line.get_color() == colour
    )
    assert short == pytest.approx(1 - greedy / exact, rel=1e-9)
    marked = next(line.get_xydata() for line in above.lines if line.get_color() == "black")
    assert marked.tolist() == [pytest.approx([5.0, greedy / worth])]


def test_slow_methods_are_left_out_of_large_figures_unless_asked_for():
    values, costs = offers(400)
    above = plots.coverage_by_budget(values, costs, 4.0, "exact", {}).get_axes()[0]
    assert "guess_greedy" not in lines(above)
    assert "without guess_greedy" in above.get_title(loc="left")


def test_options_are_those_of_the_method_asked_about():
    values, costs = offers(25)
    drawn = lines(plots.coverage_by_budget(values, costs, 4.0, "ppdp", {"grid": 2}).get_axes()[0])["ppdp"]
    bought = [maximize_coverage(values, costs, float(x), method="ppdp", grid=2).value for x in drawn[:, 0]]
    np.testing.assert_allclose(drawn[:, 1], bought / np.maximum(values, 0).sum(), rtol=1e-12)
    assert not np.allclose(
        bought, [maximize_coverage(values, costs, float(x), method="ppdp").value for x in drawn[:, 0]]
    )


@pytest.mark.parametrize(("values", "costs"), [([1.0], [0.0]), ([-1.0, 0.0], [1.0, 1.0]), ([2.0], [3.0])])
def test_offers_of_next_to_nobody_can_be_drawn(values, costs):
    for budget in (0.0, 1.0):
        figure = plots.coverage_by_budget(np.array(values), np.array(costs), budget, "exact", {})
        figure.canvas.draw() if hasattr(figure.canvas, "draw") else None
        assert len(figure.get_axes()) == 2
