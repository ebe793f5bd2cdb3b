"""Cells of a design: means of metrics at combinations of swept parameters, with intervals over replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.compare import parameter_label
from analysis.intervals import holm, paired_p_value, t_quantile
from scenarios.design import shown_levels
from scenarios.errors import InputError
from scenarios.experiment import Experiment
from scenarios.store import Results

#: Differences are significant if their corrected p-value is at most this.
SIGNIFICANCE = 0.05
#: Characters after which a value is cut.
LONGEST_NAME = 28


@dataclass(frozen=True)
class Parameter:
    """A swept parameter as a figure shows it.

    Attributes
    ----------
    name : str
        Its dotted name.
    levels : tuple
        Its values as the plan shows them, in the order of the sweep; none of a range.
    together : tuple of str
        Itself and the lists that it is zipped with.
    """

    name: str
    levels: tuple[str | float | int, ...]
    together: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its name for a figure, with the lists that change with it, as what is seen may be due to them."""
        others = [parameter_label(name) for name in self.together if name != self.name]
        return ", with ".join([parameter_label(self.name), *others])

    @property
    def is_range(self) -> bool:
        """Whether it was sampled from a distribution."""
        return not self.levels

    @property
    def is_numeric(self) -> bool:
        """Whether its values are numbers."""
        return not any(isinstance(value, str) for value in self.levels)

    @property
    def ordered(self) -> tuple[str | float | int, ...]:
        """Its values in the order of an axis: numbers ascending, text as swept."""
        return tuple(sorted(self.levels)) if self.is_numeric else self.levels


def parameters(experiment: Experiment) -> dict[str, Parameter]:
    """The swept parameters by name, in the order of the sweep."""
    found = {}
    for name, swept in experiment.sweep.items():
        # A list that is zipped with another may hold a value twice.
        shown = dict.fromkeys(shown_levels(swept) if isinstance(swept, list) else [])
        together = next((group for group in experiment.design.zip if name in group), (name,))
        found[name] = Parameter(name, tuple(shown), together)
    return found


def cell_means(
    results: Results, table: pd.DataFrame, columns: Sequence[str], keys: Sequence[str], within: Sequence[str] = ()
) -> pd.DataFrame:
    """Means of a table's columns in each replicate of each cell: over the rows of a run, then over the cell's runs.

    Parameters
    ----------
    results : Results
        Where the table is from.
    table : DataFrame
        Rows with a column `run`.
    columns : sequence of str
        Columns to average; rows where one is undefined are left out of its mean.
    keys : sequence of str
        Swept parameters whose combinations are the cells.
    within : sequence of str
        Columns of the table that are not averaged over, such as `round`.

    Returns
    -------
    DataFrame
        Indexed by keys, replicate and within. Replicates that lack a run of the cell are left out, and a mean is NaN
        where it is undefined for a run: cells would be of unlike runs.

    Raises
    ------
    InputError
        If no replicate has all runs of a cell.
    """
    runs = table.groupby(["run", *within])[list(columns)].mean().reset_index()
    plan = results.plan[["run", "replicate", *keys]].assign(done=results.plan["status"] == "done")
    whole = plan[plan.groupby([*keys, "replicate"])["done"].transform("all")]
    if whole.empty:
        raise InputError(
            f"results: {str(results.folder)!r} has no complete replicate{' at any value of ' * bool(keys)}"
            f"{' and '.join(keys)} yet; its means are over replicates whose runs are all done"
        )
    cells = whole.merge(runs, on="run").groupby([*keys, "replicate", *within])[list(columns)]
    return cells.mean().where(cells.count().eq(cells.size(), axis=0))


def estimates(values: pd.Series) -> pd.DataFrame:
    """Mean over replicates, with its t interval.

    Parameters
    ----------
    values : Series
        One value a replicate, which is a level of the index, beside others.

    Returns
    -------
    DataFrame
        Indexed by the other levels: `mean`, `low`, `high` (NaN with fewer than two replicates), `replicates`.
    """
    cells = values.groupby(level=[name for name in values.index.names if name != "replicate"])
    mean, count = cells.mean(), cells.count()
    half = count.map(t_quantile) * cells.sem()
    return pd.DataFrame({"mean": mean, "low": mean - half, "high": mean + half, "replicates": count})


def level_means(
    results: Results, table: str, columns: Sequence[str], by: Parameter | None, within: Sequence[str] = ()
) -> pd.DataFrame:
    """Means over replicates at each value of a parameter, and of `within`; over all runs where there is none."""
    keys = [] if by is None else [by.name]
    values = cell_means(results, results.table(table), columns, keys, within)
    if keys or within:
        return values.groupby(level=[*keys, *within]).mean()
    return values.mean().to_frame().T


def by_level(cells: pd.DataFrame, parameter: Parameter | None) -> list[tuple[str, pd.DataFrame]]:
    """Cells of each value of a parameter, with the value as text; all cells where there is none."""
    if parameter is None:
        return [("", cells)]
    found = []
    for value in parameter.levels:
        own = cells[cells.index.get_level_values(parameter.name) == value]
        own = own.droplevel(parameter.name) if own.index.nlevels > 1 else own.reset_index(drop=True)
        found.append((shown_level(value), own))
    return found


def shown_level(value: str | float | int) -> str:
    """A value of a parameter for a reader, cut where it is long."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}\u2026"


def metric_cells(results: Results, metric: str, keys: Sequence[str], within: Sequence[str] = ()) -> pd.DataFrame:
    """Mean of a metric over replicates in each cell, as `estimates` gives it."""
    values = cell_means(results, results.table("rounds"), [metric], keys, within)[metric]
    return estimates(_defined(values, metric))


def difference_cells(
    results: Results, metric: str, keys: Sequence[str], by: Parameter, baseline: str | float | int
) -> pd.DataFrame:
    """Paired difference of a metric to a baseline in each cell, over replicates.

    Parameters
    ----------
    results : Results
        The experiment.
    metric : str
        Column of the rounds table.
    keys : sequence of str
        Swept parameters whose combinations are the cells, `by` among them.
    by : Parameter
        The parameter that is compared.
    baseline : str or number
        Its value that the others are compared with, all else being equal.

    Returns
    -------
    DataFrame
        As `estimates` gives it, without cells of the baseline, with `p_value` (paired t test) and `p_holm` (the same,
        corrected by Holm's procedure for all cells).
    """
    values = cell_means(results, results.table("rounds"), [metric], keys)[metric]
    compared = values[values.index.get_level_values(by.name) != baseline]
    # A cell and its baseline hold the same other parameters, so this is the mean difference of paired runs.
    at_baseline = values.xs(baseline, level=by.name).reindex(compared.droplevel(by.name).index)
    differences = _defined((compared - at_baseline.to_numpy()).dropna(), metric)
    found = estimates(differences)
    samples = differences.groupby(level=list(keys))
    found["p_value"] = samples.agg(lambda sample: paired_p_value(sample.to_numpy()))
    found["p_holm"] = holm(found["p_value"].to_numpy())
    return found


def _defined(values: pd.Series, metric: str) -> pd.Series:
    if values.isna().all():
        raise InputError(f"--metric: found {metric!r}, which is undefined in all runs that this is about")
    return values
