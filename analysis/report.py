"""The report: figures on disk, and one page that holds everything."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.figure import Figure

from analysis import plots
from analysis.compare import METRICS, Question, compare
from analysis.tables import key_table, number
from scenarios.store import Results

#: Intervals wider than this share of the mean are pointed out.
WIDE = 0.2


def figures(results: Results, asked: Question) -> dict[str, tuple[Figure, str]]:
    """All figures of a report, of the values that have finished runs: file name -> (figure, caption)."""
    done = set(results.plan.loc[results.plan["status"] == "done", asked.by])
    asked = replace(asked, levels=tuple(value for value in asked.levels if value in done))
    metric = asked.metrics[0]
    label = METRICS.get(metric, (metric, ""))[0]
    makers: dict[str, tuple[Callable[[], Figure], str]] = {
        f"{metric}_by_{asked.label.replace(' ', '_')}": (
            lambda: plots.metric_by_level(results, asked, metric),
            f"{label} by {asked.label}. Bars are 95% t intervals over replicates; differences are paired, since "
            "all values meet the same owners, buyers and noise in a replicate.",
        ),
        "welfare_split": (
            lambda: plots.welfare_split(results, asked),
            "Who gets the worth of the released versions. The lost part is worth that a better allocation of the "
            "same versions would have; it does not count versions that were never made.",
        ),
        "money_flow": (
            lambda: plots.money_flow(results, asked),
            "Money over the rounds: what buyers pay is what owners receive and the broker keeps.",
        ),
    }
    makers["privacy_spent"] = (
        lambda: plots.privacy_spent(results, asked),
        "What the releases so far have cost the privacy of each unit of the guarantee (a record, or an owner). Dotted: "
        "epsilons added up. Solid: releases by Gaussian mechanisms composed exactly, at the delta of one release, and "
        "the others added. Owners whose privacy budget allows no release any more leave the market.",
    )
    if "versions" in results.experiment.tables:
        makers |= {
            "price_ladder": (
                lambda: plots.price_ladder(results, asked),
                "Posted prices in the last round; bands hold the middle 80% of replicates. Versions withdrawn for "
                "want of data are shown at the price they would have had.",
            ),
            "coverage_and_accuracy": (
                lambda: plots.coverage_and_accuracy(results, asked),
                "What is behind the versions: the share of all data value bought, and the accuracy of the private "
                "model on the test records. A round in which a version is withdrawn counts with coverage 0; "
                "accuracy is shown for versions on sale in at least half of the rounds.",
            ),
        }
    return {name: (make(), caption) for name, (make, caption) in makers.items()}


def write_report(results: Results, asked: Question) -> Path:
    """Write figures (PNG and PDF) and `report.html`, one self-contained page; returns the page's path."""
    folder = results.folder / "figures"
    folder.mkdir(exist_ok=True)
    embedded = []
    for name, (figure, caption) in figures(results, asked).items():
        # The layout is solved once, not anew for each file.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for kind in ("png", "pdf"):
            plots.save(figure, folder / f"{name}.{kind}", kind)
        svg = io.BytesIO()
        plots.save(figure, svg, "svg")
        embedded.append({"data": base64.b64encode(svg.getvalue()).decode(), "name": name, "caption": caption})
    comparison = compare(results, asked)
    environment = Environment(loader=PackageLoader("analysis"), autoescape=select_autoescape(), trim_blocks=True)
    html = environment.get_template("report.html").render(
        experiment=results.experiment,
        question=asked,
        key=key_table(comparison, asked, asked.metrics[0]),
        metrics=_metrics_table(comparison, asked),
        figures=embedded,
        plan=_plan_summary(results),
        warnings=_warnings(results, comparison, asked),
        parameters=_shown_parameters(results),
        provenance=results.provenance,
    )
    page = results.folder / "report.html"
    page.write_text(html, encoding="utf-8")
    return page


def _metrics_table(comparison: pd.DataFrame, asked: Question) -> pd.DataFrame:
    """All metrics, a row each, a column a value: means and half the width of their 95% t intervals."""
    cells = [
        number(mean) if math.isnan(high) else f"{number(mean)} ± {number(high - mean)}"
        for mean, high in comparison[["mean", "high"]].astype(float).to_numpy()
    ]
    wide = comparison.assign(cell=cells).pivot_table(index="metric", columns="level", values="cell", aggfunc="first")
    wide = wide.reindex(index=list(asked.metrics), columns=list(asked.levels))
    wide.index = pd.Index([f"{label} ({unit})" if unit else label for label, unit in _labels(asked.metrics)])
    return wide


def _labels(metrics: tuple[str, ...]) -> list[tuple[str, str]]:
    return [METRICS.get(metric, (metric, "")) for metric in metrics]


def _plan_summary(results: Results) -> dict[str, Any]:
    plan = results.plan
    counts = plan["status"].value_counts()
    return {
        "runs": len(plan),
        "points": int(plan["point"].nunique()),
        "done": int(counts.get("done", 0)),
        "failed": int(counts.get("failed", 0)),
        "pending": int(counts.get("pending", 0)),
        "seconds": float(plan["seconds"].sum()),
    }


def _warnings(results: Results, comparison: pd.DataFrame, asked: Question) -> list[str]:
    found = []
    summary = _plan_summary(results)
    if summary["failed"]:
        errors = results.plan.loc[results.plan["status"] == "failed", "error"].value_counts()
        found.append(f"{summary['failed']} of {summary['runs']} runs failed and are left out: {errors.index[0]}")
    if summary["pending"]:
        found.append(f"{summary['pending']} of {summary['runs']} runs are not done yet.")
    if (comparison["replicates"] < 2).any():
        found.append("With fewer than two replicates there are no intervals.")
    left_out = int((results.experiment.replicates - comparison["replicates"]).max())
    if left_out and not (summary["failed"] or summary["pending"]):
        found.append(f"A metric is undefined in up to {left_out} replicates, which are left out of its mean.")
    rows = comparison[comparison["metric"] == asked.metrics[0]]
    wide = rows[(rows["high"] - rows["low"]) / 2 > WIDE * rows["mean"].abs()]
    if len(wide):
        values = ", ".join(map(str, wide["level"]))
        found.append(
            f"The interval of {METRICS.get(asked.metrics[0], (asked.metrics[0], ''))[0].lower()} is wider than "
            f"{WIDE:.0%} of the mean at {asked.label} = {values}; more replicates would narrow it."
        )
    return found


def _shown_parameters(results: Results) -> list[tuple[str, str]]:
    """Parameters of the market that matter in it, swept ones marked."""
    scenario = results.experiment.market_scenario()
    if scenario["data"]["source"] != "synthetic":
        scenario["data"] = {key: scenario["data"][key] for key in ("source", "label")}
    return [
        (name, f"{value} (swept, see above)" if name in results.experiment.sweep else value)
        for name, value in _parameters(scenario)
    ]


def _parameters(section: Any, name: str = "") -> list[tuple[str, str]]:
    """All parameters of a scenario by dotted name, segments by theirs."""
    if isinstance(section, dict) and "dist" not in section:
        return [row for key, value in section.items() for row in _parameters(value, f"{name}.{key}".strip("."))]
    if isinstance(section, list) and section and isinstance(section[0], dict):
        return [row for part in section for row in _parameters(part, f"{name}.{part['segment']}")]
    if isinstance(section, dict):
        shown = ", ".join(f"{key} = {value:g}" for key, value in section.items() if key != "dist")
        return [(name, f"{section['dist']}({shown})")]
    if isinstance(section, list):
        return [(name, ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in section))]
    return [] if section is None or name.endswith(".segment") else [(name, str(section))]
