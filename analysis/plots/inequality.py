"""Figures of how unequally payouts and surplus are spread."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from analysis.cells import Parameter, by_level, cell_means
from analysis.intervals import t_half_width
from analysis.plots.style import GREY, line_style, panels, publication_style
from analysis.tables import number
from scenarios.errors import InputError
from scenarios.experiment import market_at
from scenarios.store import Results
from simulator.metrics import gini

#: Steps of a curve that a page resolves.
RESOLUTION = 400
#: Up to this many curves, the legend is in large print.
FEW = 6


def lorenz(results: Results, by: Parameter | None = None) -> Figure:
    """Lorenz curves of payouts to owners and of buyers' surplus over all rounds, with their Gini coefficients.

    A curve is the mean over replicates of the curves of their runs, and the Gini coefficient, in the legend with its
    95% interval, the mean of theirs, which is twice the area between the curve and the diagonal. Owners who were
    never paid and buyers who never bought count. Runs in which nobody was paid, or had a surplus, have no curve.

    Parameters
    ----------
    results : Results
        The experiment, with the tables of owners, of sales, or both, which have a panel each.
    by : Parameter, optional
        A list whose values have a colour each.

    Raises
    ------
    InputError
        If neither table was kept.
    """
    kinds = {
        "owners": (_payouts, "Payouts to owners", "share of owners, least paid first", "share of payouts"),
        "sales": (_surplus, "Buyers' surplus", "share of buyers, least surplus first", "share of surplus"),
    }
    kept = [kind for table, kind in kinds.items() if table in results.experiment.tables]
    if not kept:
        raise InputError(
            f"results: {str(results.folder)!r} has neither the table 'owners' nor 'sales', whose payouts and surplus "
            'Lorenz curves show; run it with tables = ["rounds", "owners", "sales"]'
        )
    with publication_style():
        figure, grid = panels(len(kept), columns=2, height=3.5, extra=0.3, sharex=False, sharey=False)
        for axes, (amounts, title, x, y) in zip(grid, kept, strict=True):
            places, curves = _curves(amounts(results))
            means = cell_means(results, curves, list(map(str, curves.columns[1:])), [] if by is None else [by.name])
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
            lowest = 0.0  # surpluses may be negative
            for position, (value, own) in enumerate(by_level(means, by)):
                curve = own.drop(columns="gini").mean()
                lowest = min(lowest, float(curve.min()))
                sample = own["gini"].dropna().to_numpy()
                shown = f"{value}: {_with_interval(sample)}" if value else _with_interval(sample)
                axes.plot(places, curve, color=line_style(position)["color"], label=shown)
            axes.set_title(title)
            axes.set(xlim=(0, 1), ylim=(lowest, 1), xlabel=x, ylabel=y)
            axes.legend(
                loc="upper left",
                frameon=True,
                edgecolor="none",
                fontsize=8 if by is None or len(by.levels) <= FEW else 6,
            )
        return figure


def _with_interval(coefficients: np.ndarray) -> str:
    """Mean Gini coefficient and half the width of its 95% interval, where there are several."""
    if len(coefficients) == 0:
        return "no curve"
    half = t_half_width(coefficients)
    return f"Gini {number(coefficients.mean())}" + ("" if np.isnan(half) else f" \u00b1 {number(half)}")


def _payouts(results: Results) -> pd.Series:
    """What owners were paid in all rounds, indexed by run and owner."""
    return results.table("owners").groupby(["run", "owner"])["paid"].sum()


def _surplus(results: Results) -> pd.Series:
    """Surplus of buyers in all rounds, indexed by run and buyer; 0 of those who bought nothing."""
    scenario = results.experiment.market_scenario()
    buyers = [market_at(scenario, point).n_buyers for point in results.points]
    done = results.plan[results.plan["status"] == "done"]
    everybody = pd.MultiIndex.from_tuples(
        [(run, buyer) for run, point in zip(done["run"], done["point"], strict=True) for buyer in range(buyers[point])],
        names=["run", "buyer"],
    )
    return results.table("sales").groupby(["run", "buyer"])["surplus"].sum().reindex(everybody, fill_value=0.0)


def _curves(amounts: pd.Series) -> tuple[np.ndarray, pd.DataFrame]:
    """Lorenz curves and Gini coefficients of runs, a row each, and the shares of the population at which they are."""
    populations = amounts.groupby(level="run").size()
    steps = populations.max() if populations.min() == populations.max() <= RESOLUTION else RESOLUTION
    places = np.linspace(0, 1, steps + 1)
    rows = []
    for run, own in amounts.groupby(level="run"):
        values = own.to_numpy()
        if values.sum() > 0:
            shares = np.interp(places, np.linspace(0, 1, len(values) + 1), lorenz_curve(values))
            rows.append([run, gini(values), *shares])
        else:
            rows.append([run, *np.full(steps + 2, np.nan)])
    return places, pd.DataFrame(rows, columns=["run", "gini", *map(str, range(steps + 1))])


def lorenz_curve(amounts: ArrayLike) -> np.ndarray:
    """Share of the sum that the k smallest amounts have, k = 0 to n, shape (n + 1,).

    Examples
    --------
    >>> lorenz_curve([3.0, 1.0]).tolist()
    [0.0, 0.25, 1.0]
    """
    ordered = np.sort(np.asarray(amounts, dtype=float))
    return np.append(0.0, np.cumsum(ordered)) / ordered.sum()
