"""Regression of metrics on swept parameters, over the runs of an experiment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from analysis.compare import METRICS, metric_label, run_means, zipped_note
from analysis.intervals import t_quantile
from analysis.tables import Table, number
from scenarios.design import shown_levels
from scenarios.errors import InputError
from scenarios.store import Results

#: What stands between two parameters whose product is a term.
TIMES = " x "
#: Share of its size below which a number is left over from rounding.
NOTHING = 1e-9


@dataclass(frozen=True)
class Model:
    """What is regressed on what.

    Attributes
    ----------
    metrics : tuple of str
        Columns of the rounds table; each has a regression of its own.
    on : tuple of str
        Swept parameters.
    baselines : mapping of str to str
        The value of a parameter that the others are dummies against; by default the first of the sweep.
    logs : tuple of str
        Metrics and numeric parameters that are taken in natural logarithms.
    interactions : bool
        Whether products of all pairs of parameters are terms as well; numeric parameters are then taken from their
        mean over the runs, so that a parameter's own coefficient is its effect at the mean of the others (at the
        baseline of those with dummies).
    standardise : bool
        Whether metrics and numeric parameters are divided by their standard deviation over the runs.
    """

    metrics: tuple[str, ...]
    on: tuple[str, ...]
    baselines: Mapping[str, str]
    logs: tuple[str, ...] = ()
    interactions: bool = False
    standardise: bool = False


def regress(results: Results, model: Model) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Least squares of metrics on parameters with an effect of each replicate, errors clustered by replicate.

    The rows are runs, a run's metric its mean over rounds; runs in which it is undefined are left out. The runs of a
    replicate share owners, buyers and noise (common random numbers), so they are not independent and may even react
    to a parameter alike: the independent units are the G replicates. Hence

    - effects of replicates: metric and terms are taken from their replicate's mean, so that only runs of the same
      replicate are compared, and a missing run shifts nothing;
    - standard errors clustered by replicate, times sqrt(G / (G - 1)), and t quantiles with G - 1 degrees of freedom.

    Where every replicate has the same design points, a coefficient is the mean of the replicates' own coefficients
    and the standard error that of this mean, so the intervals are exact for normal errors however few replicates there
    are; with dummies alone they are those of the paired t tests of `analysis.compare.compare`. They hold for the design
    points of the experiment: what other points would add to a slope is not in them.

    Returns
    -------
    coefficients : DataFrame
        One row a metric and term: `metric`, `term`, `estimate`, `se`, `low`, `high` (95%), `t`, `p_value`.
    fits : DataFrame
        One row a metric: `metric`, `runs`, `left_out`, `replicates`, `mean` (of the metric), `r2_within` (share of
        the variance within replicates that the terms explain).

    Raises
    ------
    InputError
        If a parameter is none of the swept ones, or what is asked for cannot be estimated from the runs.

    References
    ----------
    Cameron, A. C. and Miller, D. L. (2015). A practitioner's guide to cluster-robust inference. Journal of Human
    Resources 50(2). Ibragimov, R. and Mueller, U. K. (2010). t-statistic based correlation and heterogeneity robust
    inference. Journal of Business and Economic Statistics 28(4).
    """
    swept = results.experiment.sweep
    for parameter in model.on:
        if parameter not in swept:
            raise InputError(f"--on: found {parameter!r}; allowed are the swept parameters: {', '.join(swept)}")
    model = replace(model, baselines=_baselines(results, model))
    runs = run_means(results, model.metrics)
    strange = [name for name in model.logs if name not in (*model.metrics, *model.on)]
    if strange:
        raise InputError(f"--log: found {strange[0]!r}; allowed are {', '.join((*model.metrics, *model.on))}")
    coefficients, fits = [], []
    for metric in model.metrics:
        defined = runs[runs[metric].notna()]
        alone = defined.groupby("replicate")["run"].transform("size") == 1  # nothing to compare it with
        defined = defined[~alone]
        estimates, fit = fit_runs(defined, metric, model)
        coefficients.append(estimates)
        fits.append({"metric": metric, "left_out": len(results.plan) - len(defined), **fit})
    order = ["metric", "runs", "left_out", "replicates", "mean", "r2_within"]
    return pd.concat(coefficients, ignore_index=True), pd.DataFrame(fits)[order]


def fit_runs(runs: pd.DataFrame, metric: str, model: Model) -> tuple[pd.DataFrame, dict[str, float]]:
    """The regression of one metric; see `regress`.

    Parameters
    ----------
    runs : DataFrame
        Columns `point`, `replicate`, the parameters and the metric, which is defined in every row.
    metric : str
        What is explained.
    model : Model
        By what.

    Returns
    -------
    coefficients : DataFrame
        One row a term.
    fit : dict
        Numbers of `runs` and `replicates`, `mean` and `r2_within`.
    """
    replicates = runs["replicate"].nunique()
    if replicates < 2:
        raise InputError(
            f"--metric: found {metric!r} at several design points in {replicates} replicate{'s' * (replicates != 1)}; "
            "a regression needs two, for they are what is independent"
        )
    y = _logged(runs[metric], metric, model)
    if model.standardise:
        y = y / y.std()
    terms = design_matrix(runs, model)
    within_y = y - y.groupby(runs["replicate"]).transform("mean")
    within = terms - terms.groupby(runs["replicate"]).transform("mean")
    if within_y.abs().max() <= NOTHING * y.abs().max():
        raise InputError(
            f"--metric: found {metric!r}, which is the same in all runs of a replicate; allowed are metrics that vary"
        )
    _check_estimable(within)
    from statsmodels.regression.linear_model import OLS  # takes a while to import

    groups = runs["replicate"].to_numpy()
    clusters = {"groups": groups, "use_correction": False}
    fit = OLS(within_y.to_numpy(), within.to_numpy()).fit(cov_type="cluster", cov_kwds=clusters)
    # A variance of nothing may come out below 0.
    se = np.sqrt(np.diag(fit.cov_params()).clip(min=0) * replicates / (replicates - 1))
    # Where a parameter does nothing in any replicate, what is left of both is due to rounding.
    effect = within.abs().max().to_numpy() / y.abs().max()
    idle = (np.abs(fit.params) * effect <= NOTHING) & (se * effect <= math.sqrt(NOTHING) / 10)
    estimate, se = np.where(idle, 0.0, fit.params), np.where(idle, 0.0, se)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(idle, 0.0, estimate / se)
    estimates = pd.DataFrame(
        {
            "metric": metric,
            "term": terms.columns,
            "estimate": estimate,
            "se": se,
            "low": estimate - t_quantile(replicates) * se,
            "high": estimate + t_quantile(replicates) * se,
            "t": t,
            "p_value": 2 * stats.t.sf(np.abs(t), replicates - 1),
        }
    )
    r2 = 1 - float((fit.resid**2).sum() / (within_y**2).sum())
    return estimates, {"runs": len(runs), "replicates": replicates, "mean": float(runs[metric].mean()), "r2_within": r2}


def design_matrix(runs: pd.DataFrame, model: Model) -> pd.DataFrame:
    """Terms of a regression, a row a run.

    Numeric parameters are columns of their own; of all others every value but the baseline has a column of zeros
    and ones, named "parameter = value".

    Raises
    ------
    InputError
        If a parameter has one value in these runs, has no such baseline, or has no logarithm.
    """
    columns: dict[str, dict[str, pd.Series]] = {}
    for parameter in model.on:
        values = runs[parameter]
        if (values == values.iloc[0]).all():
            raise InputError(
                f"--on: found {parameter!r}, which is {values.iloc[0]} in all finished runs; "
                "allowed are parameters that vary"
            )
        if pd.api.types.is_numeric_dtype(values):
            if parameter in model.baselines:
                raise InputError(f"--baseline: found {parameter!r}, which is a number; allowed are parameters of words")
            columns[parameter] = {_name(parameter, model): _numeric(_logged(values, parameter, model), model)}
        else:
            if parameter in model.logs:
                raise InputError(f"--log: found {parameter!r}, whose values are words; allowed are numbers")
            levels = list(dict.fromkeys(runs.sort_values("point")[parameter]))
            baseline = model.baselines.get(parameter, levels[0])
            if baseline not in levels:
                raise InputError(
                    f"--baseline: found {baseline!r} for {parameter}; allowed are {', '.join(map(str, levels))}"
                )
            columns[parameter] = {
                f"{parameter} = {value}": (values == value).astype(float) for value in levels if value != baseline
            }
    terms = {name: column for own in columns.values() for name, column in own.items()}
    if model.interactions:
        for one, other in itertools.combinations(columns.values(), 2):
            for (a, left), (b, right) in itertools.product(one.items(), other.items()):
                terms[a + TIMES + b] = left * right
    return pd.DataFrame(terms, index=runs.index)


def regression_tables(
    results: Results, model: Model, coefficients: pd.DataFrame, fits: pd.DataFrame, *, standard_errors: bool = False
) -> list[Table]:
    """One table as papers have it: a row a term, a column a metric, intervals or standard errors below coefficients.

    Parameters
    ----------
    results : Results
        The experiment.
    model : Model
        What was regressed.
    coefficients, fits : DataFrame
        From `regress`.
    standard_errors : bool
        Whether standard errors in parentheses stand in place of the intervals.
    """
    columns, of_metric = {}, {fit["metric"]: fit for fit in fits.to_dict("records")}
    for metric, rows in coefficients.groupby("metric", sort=False):
        heading = metric_label(str(metric))
        if metric in model.logs:
            heading = f"log {METRICS.get(str(metric), (str(metric), ''))[0]}"
        cells = []
        for estimate, se, low, high in rows[["estimate", "se", "low", "high"]].to_numpy():
            spread = f"({_digits(se)})" if standard_errors else f"[{_digits(low)}, {_digits(high)}]"
            cells += [_digits(estimate), spread]
        fit = of_metric[metric]
        foot = ["yes", number(fit["mean"]), f"{fit['r2_within']:.3f}", f"{fit['runs']:,}", f"{fit['replicates']:,}"]
        columns[heading] = cells + foot
    terms = dict.fromkeys(coefficients["term"])
    below = ["Effects of replicates", "Mean of the metric", "R2 within replicates", "Runs", "Replicates"]
    first = [text for term in terms for text in (term, "")] + below
    return [Table(pd.DataFrame({"": first, **columns}), _notes(results, model, fits, standard_errors), len(below))]


def _notes(results: Results, model: Model, fits: pd.DataFrame, standard_errors: bool) -> tuple[str, ...]:
    below = "Standard errors in parentheses" if standard_errors else "95% intervals in brackets"
    degrees = " and ".join(str(g) for g in dict.fromkeys((fits["replicates"] - 1).tolist()))
    notes = [
        "Least squares over runs, a run's metric its mean over rounds, with an effect of each replicate.",
        f"{below}: clustered by replicate, t with {degrees} degree{'s' * (degrees != '1')} of freedom "
        "(replicates less one); for the design points of this experiment.",
    ]
    words = _baselines(results, model)
    if words:
        notes.append("Baseline: " + ", ".join(f"{name} = {value}" for name, value in words.items()) + ".")
    for group in results.experiment.design.zip:
        for name in model.on:
            others = [other for other in group if other not in model.on]
            if name in group and others:
                notes.append(zipped_note(name, others))
    if model.standardise:
        notes.append("Metrics and numeric parameters are divided by their standard deviation over the runs.")
    if model.interactions:
        notes.append("Numeric parameters are taken from their mean over the runs.")
    for metric, left_out in zip(fits["metric"], fits["left_out"], strict=True):
        if left_out:
            runs = "1 run is" if left_out == 1 else f"{left_out:,} runs are"
            notes.append(f"{runs} left out, failed, not done or without {metric}.")
    return tuple(notes)


def _baselines(results: Results, model: Model) -> dict[str, str]:
    """Baselines of all parameters of words: those chosen, and the first of the sweep of others."""
    levels = results.experiment.levels
    first = {name: shown_levels(levels[name])[0] for name in model.on if name in levels}
    return {name: value for name, value in first.items() if isinstance(value, str)} | dict(model.baselines)


def _logged(values: pd.Series, name: str, model: Model) -> pd.Series:
    values = values.astype(float)
    if name not in model.logs:
        return values
    if (values <= 0).any():
        raise InputError(f"--log: found {name!r} with the value {values.min():g}; allowed are numbers above 0")
    return values.map(np.log)


def _numeric(values: pd.Series, model: Model) -> pd.Series:
    """A numeric parameter as the model takes it."""
    if model.standardise:
        values = values / values.std()
    return values - values.mean() if model.interactions else values


def _name(parameter: str, model: Model) -> str:
    return f"log {parameter}" if parameter in model.logs else parameter


def _check_estimable(terms: pd.DataFrame) -> None:
    """Refuse a term that follows from those before it."""
    scaled = (terms / terms.abs().max().replace(0, 1)).to_numpy()
    for number_of, name in enumerate(terms):
        column, before = scaled[:, number_of], scaled[:, :number_of]
        left = column - before @ np.linalg.lstsq(before, column, rcond=None)[0] if number_of else column
        if np.abs(left).max() <= NOTHING:
            raise InputError(
                f"--on: found the term {name!r}, which follows from the terms before it in these runs, as with lists "
                "that are zipped; leave it or one of them out"
            )


def _digits(value: float) -> str:
    """A coefficient to three significant digits or more."""
    return number(value) if abs(value) >= 1 or value == 0 or np.isnan(value) else f"{value:.3g}"
