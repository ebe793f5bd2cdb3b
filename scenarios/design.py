"""From an experiment to its plan of runs: design points times replicates.

A design crosses two parts. Lists of values are the designer's choices: their full grid is taken, lists that are zipped
going together. Ranges, which are distributions, are what is not known of the world: a sample is drawn from all of them
together, so that every choice meets the same sample and choices can be compared in pairs.
"""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import qmc

from scenarios.errors import InputError
from scenarios.experiment import Experiment, market_at
from simulator.config import MarketConfig
from simulator.datasets import load, split
from simulator.streams import SMALLEST_UNIFORM, Streams

#: Levels of the grid that Morris' trajectories walk on.
MORRIS_LEVELS = 4


def unit_samples(experiment: Experiment) -> np.ndarray:
    """Samples of the ranges as probabilities, before they are pushed through the distributions.

    The first samples of the kinds `sobol`, `random` and `saltelli` do not depend on how many there are.

    Returns
    -------
    array of float, shape (n_samples, n_ranges)
        Values in [0, 1], in the order of the plan's column `sample`; one row of none where there are no ranges.
        `saltelli` gives points * (n_ranges + 2) samples and `morris` points * (n_ranges + 1), in SALib's order.

    Raises
    ------
    InputError
        If SALib is needed and not installed.

    References
    ----------
    Owen (1998) for scrambled Sobol points; McKay, Beckman and Conover (1979) for Latin hypercubes; Saltelli (2002) and
    Morris (1991) for the designs of sensitivity analysis.
    """
    size, sampling = len(experiment.ranges), experiment.design.sampling
    points = experiment.design.points
    if points is None:
        return np.empty((1, 0))
    rng = Streams(experiment.seed).generator("design", segment=sampling)
    match sampling:
        case "sobol":
            return np.asarray(qmc.Sobol(size, rng=rng).random(points))
        case "latin_hypercube":
            return np.asarray(qmc.LatinHypercube(size, rng=rng).random(points))
        case "random":
            return rng.random((points, size))
    try:
        from SALib.sample import morris, sobol
    except ImportError:
        raise InputError(
            f"design.sampling: found {sampling!r}, which needs SALib; install it by "
            "pip install 'dealer-market[sensitivity]'"
        ) from None
    problem = {"num_vars": size, "names": list(experiment.ranges), "bounds": [[0.0, 1.0]] * size}
    if sampling == "saltelli":
        return np.asarray(sobol.sample(problem, points, calc_second_order=False, seed=rng))
    return np.asarray(morris.sample(problem, points, num_levels=MORRIS_LEVELS, seed=rng))


def design_points(experiment: Experiment) -> list[dict[str, Any]]:
    """Parameter values of each design point, in the order of the sweep's parameters.

    The samples of the ranges come in their order, each with the full grid of the lists, the last list fastest.
    """
    names = list(experiment.ranges)
    unit = unit_samples(experiment)
    columns = [_drawn(experiment, name, u) for name, u in zip(names, unit.T, strict=True)]
    grid = list(itertools.product(*_axes(experiment)))
    points = []
    for sample in range(len(unit)):
        drawn = {name: column[sample] for name, column in zip(names, columns, strict=True)}
        for choices in grid:
            settings = drawn | {key: value for choice in choices for key, value in choice.items()}
            points.append({key: settings[key] for key in experiment.sweep})
    return points


def markets(experiment: Experiment, points: list[dict[str, Any]] | None = None) -> list[MarketConfig]:
    """The market of each design point, with its data found to be usable.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    points : list of dict, optional
        Its design points, where they are known already.

    Raises
    ------
    InputError
        If a swept parameter or one of its values is not allowed, or the data cannot be used.
    """
    scenario = experiment.market_scenario()
    found = [market_at(scenario, point) for point in (design_points(experiment) if points is None else points)]
    for data, n_owners in dict.fromkeys((market.data, market.n_owners) for market in found):
        if data.source != "values":
            try:
                split(load(data), n_owners, Streams(experiment.seed))
            except ValueError as error:
                raise InputError(str(error)) from None
    return found


def plan(experiment: Experiment) -> pd.DataFrame:
    """One row a run, all pending.

    The runs of a replicate follow each other, since they share owners and valuations.

    Returns
    -------
    DataFrame
        Columns `run`, `point`, `sample`, `replicate`, one a swept parameter, `status`, `error`, `seconds`. `sample`
        counts the samples of the ranges. Values that are not numbers or strings are written as JSON.
    """
    points = design_points(experiment)
    grid = math.prod(len(axis) for axis in _axes(experiment))
    numbers = np.arange(len(points) * experiment.replicates)
    frame = pd.DataFrame({"run": numbers, "point": numbers % len(points)})
    frame["sample"] = frame["point"] // grid
    frame["replicate"] = numbers // len(points)
    for key, swept in experiment.sweep.items():
        values = [point[key] for point in points]
        column = pd.Series(shown_levels(values) if isinstance(swept, list) else values)
        frame[key] = column.to_numpy()[frame["point"]]
    return frame.assign(status="pending", error="", seconds=float("nan"))


def level(value: Any) -> str | float | int:
    """A swept value as the plan shows it: a number or a string stays, all else is written as JSON."""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(value)


def shown_levels(values: list[Any]) -> list[str | float | int]:
    """The values of a swept list as the plan shows them, by `level`; beside texts numbers are texts as well."""
    shown = [level(value) for value in values]
    return [str(value) for value in shown] if any(isinstance(value, str) for value in shown) else shown


def _axes(experiment: Experiment) -> list[list[dict[str, Any]]]:
    """Lists that are swept, zipped ones as one, at the place of the first of them."""
    axes, seen = [], set()
    for key in experiment.levels:
        group = next((group for group in experiment.design.zip if key in group), (key,))
        if group not in seen:
            seen.add(group)
            columns = zip(*(experiment.levels[name] for name in group), strict=True)
            axes.append([dict(zip(group, values, strict=True)) for values in columns])
    return axes


def _drawn(experiment: Experiment, name: str, u: np.ndarray) -> list[float] | list[int]:
    """Values of a range at probabilities; those of a discrete distribution are whole numbers."""
    attribute = experiment.ranges[name]
    values = attribute.quantiles(np.maximum(u, SMALLEST_UNIFORM))
    # Morris' trajectories reach the ends of a range; SciPy's quantile at 0 of a discrete one is below its lower end.
    values = np.where(u == 0, attribute.support()[0], values)
    return [int(value) for value in values] if attribute.discrete else [float(value) for value in values]
