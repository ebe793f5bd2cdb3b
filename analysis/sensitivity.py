"""Sensitivity of metrics to parameters that are swept over ranges: Sobol indices and Morris' elementary effects."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from analysis.compare import METRICS, run_means
from analysis.intervals import CONFIDENCE
from analysis.tables import Table, interval, number
from scenarios.design import MORRIS_LEVELS, design_points, unit_samples
from scenarios.errors import InputError
from scenarios.store import Results
from simulator.streams import Streams

#: Resamples of SALib's bootstrap.
RESAMPLES = 1000
#: Share of its size below which a metric's variation is left over from rounding.
NOTHING = 1e-12
#: Half-widths beyond which an interval is called wide: of a Sobol index, which is a share of the variance...
WIDE_INDEX = 0.1
#: ...and of an elementary effect, as a share of the largest.
WIDE_EFFECT = 0.2


def sensitivity(results: Results, metrics: tuple[str, ...]) -> pd.DataFrame:
    """Sensitivity indices of metrics to the ranges of a design of that purpose.

    A metric at a design point is its mean over rounds and replicates; replicates meet the same owners, buyers and noise
    at every point, so what is analysed is one function of the ranges. Each combination of the values of lists has an
    analysis of its own.

    - `sampling = "saltelli"`: S1, the share of the metric's variance that a parameter explains alone, and ST, the
      share that goes when all but this parameter are known, interactions included.
    - `sampling = "morris"`: mean (mu), mean absolute (mu*) and standard deviation (sigma) of elementary effects: how
      the metric changes with a step of a parameter, scaled to the whole of its range in probability.

    Intervals are SALib's, of a bootstrap over base samples or trajectories: they account for the sampling of the
    ranges, not of the replicates. The bootstrap's stream has the metric's name, so every analysis gives the same ones.

    Returns
    -------
    DataFrame
        One row a metric, combination of lists and parameter: `metric`, one column a list, `parameter`; `S1`, `S1_low`,
        `S1_high`, `ST`, `ST_low`, `ST_high`, or `mu`, `mu_star`, `mu_star_low`, `mu_star_high`, `sigma`; `samples`
        (base samples or trajectories), `points` (design points) and `replicates`.

    Raises
    ------
    InputError
        If the design is another one, a run is missing, a metric is undefined or constant, or SALib is not installed.

    References
    ----------
    Saltelli et al. (2010). Variance based sensitivity analysis of model output. Computer Physics Communications 181(2).
    Campolongo, Cariboni and Saltelli (2007). An effective screening design for sensitivity analysis of large models.
    Environmental Modelling & Software 22(10).
    """
    experiment = results.experiment
    sampling = experiment.design.sampling
    if not experiment.ranges:
        raise InputError("sweep: found no range; sensitivity needs parameters that are swept over distributions")
    if sampling not in ("saltelli", "morris"):
        raise InputError(
            f"design.sampling: found {sampling!r}; allowed are 'saltelli', for Sobol indices, and 'morris'; other "
            "samples can be regressed with --standardise"
        )
    runs = run_means(results, metrics).merge(results.plan[["run", "sample"]], on="run")
    lists, parameters = list(experiment.levels), list(experiment.ranges)
    unit = _walk(results) if sampling == "morris" else np.empty(0)
    rows = []
    for metric in metrics:
        _check_whole(results, runs, metric)
        means = runs.groupby([*lists, "sample"], sort=False)[metric].mean().reset_index()
        for choices, own in means.groupby(lists, sort=False) if lists else [((), means)]:
            named: dict[str, Any] = dict(zip(lists, choices if isinstance(choices, tuple) else (choices,), strict=True))
            values = own.sort_values("sample")[metric].to_numpy()
            if np.ptp(values) <= NOTHING * np.abs(values).max():
                at = "".join(f" with {name} = {value}" for name, value in named.items())
                raise InputError(
                    f"--metric: found {metric!r}, which is the same at all design points{at}; allowed are metrics "
                    "that vary"
                )
            segment = " ".join(["sensitivity", metric, *map(str, named.values())])
            rng = Streams(experiment.seed).generator("bootstrap", segment=segment)
            if sampling == "saltelli":
                found = sobol_indices(values, parameters, rng)
            else:
                found = elementary_effects(values, unit, parameters, rng)
            found = found.assign(metric=metric, **named, points=len(values), replicates=experiment.replicates)
            rows.append(found.assign(samples=experiment.design.points))
    table = pd.concat(rows, ignore_index=True)
    first, last = ["metric", *lists, "parameter"], ["samples", "points", "replicates"]
    return table[[*first, *(name for name in table if name not in (*first, *last)), *last]]


def sobol_indices(values: np.ndarray, parameters: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """Sobol indices of a function from its values at a Saltelli design without second-order points.

    Parameters
    ----------
    values : array of float, shape (samples * (n_parameters + 2),)
        In the order of SALib's sample.
    parameters : list of str
        Names.
    rng : Generator
        For the bootstrap.
    """
    sobol = _salib("sobol")
    found = sobol.analyze(
        _problem(parameters), values, calc_second_order=False, num_resamples=RESAMPLES, conf_level=CONFIDENCE, seed=rng
    )
    columns: dict[str, object] = {"parameter": parameters}
    for name in ("S1", "ST"):
        columns |= {name: found[name]} | _ends(name, found[name], found[f"{name}_conf"])
    return pd.DataFrame(columns)


def elementary_effects(
    values: np.ndarray, unit: np.ndarray, parameters: list[str], rng: np.random.Generator
) -> pd.DataFrame:
    """Morris' measures of a function from its values along trajectories.

    Parameters
    ----------
    values : array of float, shape (trajectories * (n_parameters + 1),)
        In the order of SALib's sample.
    unit : array of float, shape (trajectories * (n_parameters + 1), n_parameters)
        The trajectories in the unit cube.
    parameters : list of str
        Names.
    rng : Generator
        For the bootstrap.
    """
    morris = _salib("morris")
    found = morris.analyze(
        _problem(parameters), unit, values, num_resamples=RESAMPLES, conf_level=CONFIDENCE, num_levels=MORRIS_LEVELS,
        seed=rng,
    )  # fmt: skip
    star = np.asarray(found["mu_star"], dtype=float)
    columns = {"parameter": parameters, "mu": found["mu"], "mu_star": star}
    columns |= _ends("mu_star", star, np.asarray(found["mu_star_conf"], dtype=float))
    return pd.DataFrame(columns | {"sigma": found["sigma"]})


def sensitivity_tables(results: Results, indices: pd.DataFrame) -> list[Table]:
    """The tables of an analysis, one a metric.

    Parameters
    ----------
    results : Results
        The experiment.
    indices : DataFrame
        From `sensitivity`.
    """
    lists = list(results.experiment.levels)
    tables = []
    for metric, rows in indices.groupby("metric", sort=False):
        cells = {name: rows[name].astype(str) for name in lists} | {"parameter": rows["parameter"]}
        if "S1" in rows:
            cells |= {name: _intervals(rows, name) for name in ("S1", "ST")}
        else:
            cells |= {
                "mu": rows["mu"].map(number),
                "mu*": _intervals(rows, "mu_star"),
                "sigma": rows["sigma"].map(number),
            }
        tables.append(Table(pd.DataFrame(cells), tuple(_notes(str(metric), rows))))
    return tables


def _notes(metric: str, rows: pd.DataFrame) -> list[str]:
    label, unit = METRICS.get(metric, (metric, ""))
    samples, points, replicates = (int(rows[name].iloc[0]) for name in ("samples", "points", "replicates"))
    averaged = f"{points:,} design points, averaged over {replicates:,} replicate{'s' * (replicates != 1)}."
    own = "They account for the sampling of the ranges, not of the replicates."
    if "S1" in rows:
        wide = max((rows[f"{name}_high"] - rows[name]).max() for name in ("S1", "ST"))
        notes = [
            f"{label}: Sobol indices, shares of its variance over the ranges. N = {samples:,} base samples, {averaged}",
            "S1: what a parameter explains alone; ST: what goes if all others are known, interactions included.",
            f"95% intervals by SALib's bootstrap of the base samples, {RESAMPLES} resamples. {own}",
        ]
        if (rows[["S1", "ST"]] < 0).any(axis=None) or (rows["S1"] > rows["ST"]).any():
            notes.append("Indices below 0, and S1 above ST, are sampling noise: no true ones are so.")
        if wide > WIDE_INDEX:
            notes.append(f"Warning: intervals are as wide as ±{wide:.2f}; more points (design.points) narrow them.")
        return notes
    wide = (rows["mu_star_high"] - rows["mu_star"]).max() / rows["mu_star"].max()
    notes = [
        f"{label}{f' ({unit})' if unit else ''}: elementary effects over the whole of each range. N = {samples:,} "
        f"trajectories, {averaged}",
        "mu: mean effect; mu*: mean absolute effect; sigma: standard deviation, of curvature and interactions.",
        f"95% intervals of mu* by SALib's bootstrap of the trajectories, {RESAMPLES} resamples. {own}",
    ]
    if wide > WIDE_EFFECT:
        notes.append(
            f"Warning: intervals are as wide as ±{wide:.0%} of the largest effect; more trajectories (design.points) "
            "narrow them."
        )
    return notes


def _intervals(rows: pd.DataFrame, name: str) -> list[str]:
    return list(map(interval, rows[name], rows[f"{name}_low"], rows[f"{name}_high"]))


def _ends(name: str, values: np.ndarray, half: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}_low": values - half, f"{name}_high": values + half}


def _salib(method: str) -> Any:
    """A module of SALib's analyses."""
    try:
        return import_module(f"SALib.analyze.{method}")
    except ImportError:
        raise InputError(
            "sensitivity needs SALib, which is not installed; install it by pip install 'dealer-market[sensitivity]'"
        ) from None


def _problem(parameters: list[str]) -> dict[str, Any]:
    """SALib's description of the ranges, which are probabilities here."""
    return {"num_vars": len(parameters), "names": parameters, "bounds": [[0.0, 1.0]] * len(parameters)}


def _check_whole(results: Results, runs: pd.DataFrame, metric: str) -> None:
    """Refuse a study with a hole: the estimators need every design point."""
    missing = len(results.plan) - int(runs[metric].notna().sum())
    if missing:
        statuses = results.plan["status"].value_counts()
        undone = {name: int(statuses.get(name, 0)) for name in ("failed", "pending")}
        undefined = missing - sum(undone.values())
        raise InputError(
            f"--metric: found {metric!r} missing in {missing:,} of {len(results.plan):,} runs ({undone['failed']:,} "
            f"failed, {undone['pending']:,} not done, {undefined:,} undefined); sensitivity needs every design point"
        )


def _walk(results: Results) -> np.ndarray:
    """Morris' trajectories in the unit cube, which must be those that the plan was made of."""
    experiment = results.experiment
    ranges = list(experiment.ranges)
    made = pd.DataFrame(design_points(experiment))[ranges].to_numpy(dtype=float)
    kept = results.plan.drop_duplicates("point").sort_values("point")[ranges].to_numpy(dtype=float)
    if made.shape != kept.shape or not np.allclose(made, kept, rtol=1e-9, atol=0):
        raise InputError(
            f"results: {str(results.folder)!r} holds other trajectories than SALib makes now; use the version of "
            "SALib that the experiment was started with"
        )
    return unit_samples(experiment)
