"""Figures of how unequally payouts and surplus are spread."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from analysis.cells import Parameter, by_level, estimates, replicate_means
from analysis.plots.style import line_style, panels, publication_style
from analysis.tables import number
from scenarios.errors import InputError
from scenarios.experiment import market_at
from scenarios.store import Results
from simulator.metrics import gini

#: Steps of a curve that a page resolves.
RESOLUTION = 400


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
    shown = [kind for table, kind in kinds.items() if table in results.experiment.tables]
    if not shown:
        raise InputError(
            f"results: {str(results.folder)!r} has neither the table 'owners' nor 'sales', whose payouts and surplus "
            'Lorenz curves show; run it with tables = ["rounds", "owners", "sales"]'
        )
    keys = [] if by is None else [by.name]
    with publication_style():
        figure, grid = panels(len(shown), columns=2, height=3.4, extra=0.3, sharey=False, sharex=False)
        for axes, (amounts, title, x, y) in zip(grid, shown, strict=True):
            curves = lorenz_curves(amounts(results))
            places = [name for name in curves if name != "run"]
            ...
        return figure


def lorenz_curve(amounts: ArrayLike) -> np.ndarray:
    """Share of the sum that the k smallest amounts have, k = 0 to n, shape (n + 1,).

    Examples
    --------
    >>> lorenz_curve([3.0, 1.0]).tolist()
    [0.0, 0.25, 1.0]
    """
    ordered = np.sort(np.asarray(amounts, dtype=float))
    return np.append(0.0, np.cumsum(ordered)) / ordered.sum()
