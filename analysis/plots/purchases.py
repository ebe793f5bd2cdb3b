"""Figure of procurement: what a budget buys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.plots.style import GREY, WIDTH, line_style, new_figure, publication_style, thousands
from analysis.purchases import coverage
from simulator.procurement import maximize_coverage, procurement_methods
from simulator.procurement.method import GAP, PROCUREMENT, total

#: Budgets at which procurement is shown, of offers by up to MANY owners; a third of that of more.
POINTS, MANY = 60, 1000
#: Methods of procurement that are left out where there are more owners than this.
SLOW = {"guess_greedy": 300, "ppdp": 5000}


def coverage_by_budget(
    values: np.ndarray, costs: np.ndarray, budget: float, method: str, options: Mapping[str, Any]
) -> Figure:
    """Coverage that every procurement method buys at rising budgets, and what each falls short of the bound.

    Parameters
    ----------
    values : array of float, shape (n,)
        Shapley values of the owners' shards.
    costs : array of float, shape (n,)
        What each asks, in money.
    budget : float
        The budget asked about.
    method : str
        The method asked about.
    options : mapping of str to object
        Its options; other methods have their defaults.
    """
    top = max(total(costs[values > 0]), budget)
    budgets = np.unique(np.append(np.linspace(0, top, POINTS if len(values) <= MANY else POINTS // 3), budget))
    methods = {name: cls for name, cls in procurement_methods().items() if len(values) <= SLOW.get(name, len(values))}
    methods[method] = PROCUREMENT.resolve(method)
    left_out = [name for name in procurement_methods() if name not in methods]
    bought = {
        name: [
            maximize_coverage(values, costs, float(money), method=name, **(options if name == method else {}))
            for money in budgets
        ]
        for name in methods
    }
    within = [name for name in bought if not methods[name].overspends]
    bounds = np.min([[purchase.bound for purchase in bought[name]] for name in within], axis=0)
    with publication_style():
        figure = new_figure(WIDTH, 5.4)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for number_, name in enumerate(bought):
            worth = np.array([purchase.value for purchase in bought[name]])
            shares = np.array([coverage(value, values) for value in worth])
            # The exact method, which the others touch most of the time, shows at their edges.
            style = line_style(number_) | ({"linewidth": 4, "alpha": 0.5, "zorder": 1} if name == "exact" else {})
            if name in within:
                above.plot(budgets, shares, label=name, **style | {"marker": ""})
                short = np.divide(bounds - worth, bounds, out=np.zeros_like(worth), where=bounds > 0)
                below.plot(budgets, np.where(short > GAP, short, np.nan), **style | {"linewidth": 0.6})
            else:
                above.plot(budgets, shares, label=f"{name} (overspends)", **style | {"marker": "", "linestyle": ":"})
            if name == method:
                above.plot(budget, shares[budgets == budget], "o", color="black", markersize=6, zorder=4)
        for axes in (above, below):
            axes.axvline(budget, color=GREY, linewidth=0.8, label=f"the budget, and {method}'s purchase")
        above.set_ylim(-0.03, 1.03)
        above.set_ylabel("coverage")
        above.set_title("Coverage by budget" + (f" (without {', '.join(left_out)}: too slow here)" if left_out else ""))
        if any(np.isfinite(line.get_ydata()).any() for line in below.get_lines()[: len(within)]):
            below.set_yscale("log")
        else:  # nothing falls short: an empty panel
            below.set_yticks([])
        below.set_ylabel("share of bound")
        below.set_title("Shortfall from what no affordable set exceeds (none: not shown)")
        below.set_xlabel("budget (money)")
        thousands(below.xaxis)
        figure.legend(*above.get_legend_handles_labels(), loc="outside lower left", ncols=3)
        return figure
