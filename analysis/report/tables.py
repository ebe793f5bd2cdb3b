"""Which tables a report shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.cells import cell_means
from analysis.compare import METRICS, compare, metric_label, run_means
from analysis.intervals import t_half_width
from analysis.regression import Model, regress, regression_tables
from analysis.report.subject import Subject
from analysis.sensitivity import sensitivity, sensitivity_tables
from analysis.tables import Table, bounds, comparison_tables, interval, latex_table, markdown_table, number
from scenarios.errors import InputError

#: Metrics that are regressed, at most: a page has room for as many columns.
REGRESSED = 4
#: Share of the design points that a summary's spread holds.
MIDDLE = 0.8


@dataclass(frozen=True)
class Shown:
    """A table of a report.

    Attributes
    ----------
    name : str
        Name of its files.
    title : str
        What it shows.
    table : Table
        As the page has it.
    brief : Table
        As a paper has it.
    rows : DataFrame
        The numbers behind it, for programs.
    """

    name: str
    title: str
    table: Table
    brief: Table
    rows: pd.DataFrame

    def files(self) -> dict[str, str]:
        """Its files' contents by ending."""
        latex = latex_table(
            self.brief.cells, caption=self.title, label=f"tab:{self.name}", notes=self.brief.notes, foot=self.brief.foot
        )
        markdown = "\n\n".join([markdown_table(self.table.cells), " ".join(self.table.notes)]).rstrip()
        return {"tex": latex, "md": markdown, "csv": self.rows.to_csv(index=False).rstrip("\n")}


def answers(subject: Subject) -> tuple[list[Shown], pd.DataFrame]:
    """The tables that answer the question, the key table first, and the rows behind them.

    Returns
    -------
    list of Shown
        Where a list is compared, its first metric with differences, and all metrics; else a summary of all metrics.
    DataFrame
        One row a metric, and value of the parameter if one is compared: `metric`, `level`, `replicates`, `mean`, `low`,
        `high` and others.
    """
    asked = subject.question
    if asked is None:
        rows = _summary(subject)
        return [_summary_table(subject, rows)], rows
    rows = compare(subject.results, asked)
    metric = asked.metrics[0]
    key, brief = comparison_tables(rows, asked)[0], comparison_tables(rows, asked, brief=True)[0]
    lists = (
        "A list is free of arbitrage by its making, repaired (the greatest list free of arbitrage that lies below the "
        "strategy's own), raw (bundles may undercut it), the one the strategy falls back on, or personalised (each "
        "buyer has its own price)."
    )
    key = Table(key.cells, (*key.notes, "Bootstrap intervals are BCa.", lists), key.foot)
    name = f"{metric}_by_{asked.label.replace(' ', '_')}"
    title = f"{metric_label(metric)} by {asked.label}"
    every = _metrics_table(subject, rows)
    return [
        Shown(name, title, key, brief, rows[rows["metric"] == metric]),
        Shown("metrics", f"All metrics by {asked.label}", every, every, rows),
    ], rows


def regressions(subject: Subject) -> list[Shown]:
    """What the parameters do to the metrics, where some are sampled from ranges; of metrics that vary with them."""
    if not subject.ranges:
        return []
    others = subject.others if subject.by is None else [subject.by, *subject.others]
    on = tuple(parameter.name for parameter in (*subject.ranges, *others))
    baselines = {}
    if subject.question is not None and isinstance(subject.question.baseline, str):
        baselines[subject.question.by] = subject.question.baseline
    found = []
    for metric in subject.metrics[:REGRESSED]:
        try:
            found.append(regress(subject.results, Model((metric,), on, baselines)))
        except InputError:  # the metric does not vary, or there are too few replicates or runs
            continue
    if not found:
        return []
    coefficients, fits = (pd.concat(parts, ignore_index=True) for parts in zip(*found, strict=True))
    model = Model(tuple(fits["metric"]), on, baselines)
    table = regression_tables(subject.results, model, coefficients, fits)[0]
    return [Shown("regression", "Metrics on the swept parameters", table, table, coefficients)]


def sensitivities(subject: Subject) -> list[Shown]:
    """Sensitivity indices of the first metric, where the design is made for them and complete."""
    metric, design = subject.metrics[0], subject.results.experiment.design
    if not subject.ranges or design.sampling not in ("saltelli", "morris"):
        return []
    try:
        rows = sensitivity(subject.results, (metric,))
    except InputError:  # its figure tells why
        return []
    table = sensitivity_tables(subject.results, rows)[0]
    title = f"Sensitivity of {METRICS.get(metric, (metric, ''))[0].lower()}"
    return [Shown(f"{metric}_sensitivity", title, table, table, rows)]


def _summary(subject: Subject) -> pd.DataFrame:
    """Metrics over all runs: the mean with its interval over replicates, and the spread over design points."""
    metrics = list(subject.metrics)
    results = subject.results
    try:
        replicates = cell_means(results, results.table("rounds"), metrics, [])
    except InputError:  # none is complete yet
        replicates = pd.DataFrame(columns=metrics, dtype=float)
    points = run_means(results, subject.metrics).groupby("point")[metrics].mean()
    rows = []
    for metric in metrics:
        sample = replicates[metric].dropna().to_numpy()
        mean, half = (sample.mean(), t_half_width(sample)) if len(sample) else (math.nan, math.nan)
        ends = points[metric].quantile([0.5 - MIDDLE / 2, 0.5 + MIDDLE / 2]).tolist()
        row = {"metric": metric, "replicates": len(sample), "mean": mean, "low": mean - half, "high": mean + half}
        rows.append(row | dict(zip(("point_low", "point_high"), ends, strict=True)))
    return pd.DataFrame(rows)


def _summary_table(subject: Subject, rows: pd.DataFrame) -> Shown:
    cells = {
        "metric": list(map(metric_label, rows["metric"])),
        "mean": list(map(interval, rows["mean"], rows["low"], rows["high"])),
    }
    notes = ["Means over rounds, design points and replicates [95% t interval over replicates]."]
    if subject.ranges:
        cells[f"middle {MIDDLE:.0%} of samples"] = list(map(bounds, rows["point_low"], rows["point_high"]))
        notes.append("Samples: the spread of the design points' means, which holds the noise of their replicates.")
    table = Table(pd.DataFrame(cells | {"replicates": rows["replicates"].astype(str)}), tuple(notes))
    return Shown("metrics", "All metrics", table, table, rows)


def _metrics_table(subject: Subject, rows: pd.DataFrame) -> Table:
    """All metrics at all values, means and half the width of their intervals: the longer of both downwards."""
    asked = subject.question
    assert asked is not None
    cells = [
        number(mean) if math.isnan(high) else f"{number(mean)} \u00b1 {number(high - mean)}"
        for mean, high in rows[["mean", "high"]].astype(float).to_numpy()
    ]
    shown = np.array(cells).reshape(len(asked.metrics), len(asked.levels))
    metrics, values = list(map(metric_label, asked.metrics)), list(map(str, asked.levels))
    across, down, first = (values, metrics, "metric")
    if len(values) > len(metrics):
        shown, across, down, first = shown.T, metrics, values, asked.label
    table = pd.DataFrame(shown, columns=across)
    table.insert(0, first, down)
    return Table(table, ("Means over rounds and replicates \u00b1 half the width of the 95% t interval.",))
