"""One run of an experiment again: the same numbers, with whatever tables are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from scenarios.errors import InputError
from scenarios.experiment import market_at
from scenarios.runner import run_one
from scenarios.store import PACKAGES, Results, package_version


def rerun(results: Results, run: int, tables: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The tables of a run, computed anew from the scenario that the folder keeps.

    Parameters
    ----------
    results : Results
        The results folder.
    run : int
        Number of the run, as in the plan.
    tables : sequence of str
        Tables to return, also such as the folder does not keep.

    Raises
    ------
    InputError
        If the folder has no such run.
    """
    row = results.plan[results.plan["run"] == run]
    if row.empty:
        raise InputError(f"--run: found {run}; allowed are the runs 0 to {int(results.plan['run'].max())}")
    point = results.points[int(row["point"].iloc[0])]
    market = market_at(results.experiment.market_scenario(), point)
    return run_one(market, results.experiment.seed, int(row["replicate"].iloc[0]), tables)


def differing(results: Results, run: int, frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Which of the tables that the folder keeps of a run differ from these in any bit of any value, "table.column"."""
    found = []
    for name in frames:
        if name in results.experiment.tables:
            kept = results.of_run(name, run)
            for column in dict.fromkeys([*kept, *frames[name]]):
                same = (
                    column in kept
                    and column in frames[name]
                    and _same(kept[column].to_numpy(), frames[name][column].to_numpy())
                )
                if not same:
                    found.append(f"{name}.{column}")
    return found


def changed_packages(results: Results) -> list[str]:
    """Packages whose versions are not those of the experiment, as "name before -> now"."""
    before = results.provenance.get("packages", {})
    now = {name: package_version(name) for name in PACKAGES}
    return [f"{name} {before.get(name)} -> {now[name]}" for name in PACKAGES if before.get(name) != now[name]]


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    numbers = all(np.issubdtype(array.dtype, np.floating) for array in (one, other))
    return bool(np.array_equal(one, other, equal_nan=numbers))
