"""What a reader of a report should be warned of."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from analysis.compare import METRICS
from analysis.intervals import MIN_BOOTSTRAP
from analysis.report.about import plan_summary
from analysis.report.subject import Subject
from analysis.stopping import in_words
from scenarios.store import Results

#: Intervals wider than this share of the mean, on either side, are pointed out.
WIDE = 0.2
#: Reasons of failures that are told, the most frequent first, and their length in characters.
MOST_REASONS, REASON = 5, 300


def caveats(subject: Subject, rows: pd.DataFrame) -> list[str]:
    """Warnings, a sentence or two each.

    Parameters
    ----------
    subject : Subject
        The experiment.
    rows : DataFrame
        Metrics with their intervals, as `analysis.report.tables.answers` gives them.
    """
    return [*_runs(subject, rows), *_intervals(subject, rows), *_stopping(subject.results), *_origin(subject.results)]


def _runs(subject: Subject, rows: pd.DataFrame) -> Iterator[str]:
    plan, summary = subject.results.plan, plan_summary(subject.results)
    if summary["failed"]:
        reasons = plan.loc[plan["status"] == "failed", "error"].str.slice(stop=REASON).value_counts()
        told = [f"{error} ({count} run{'s' * (count != 1)})" for error, count in reasons.head(MOST_REASONS).items()]
        if len(reasons) == 1:
            told = [str(reasons.index[0])]
        if len(reasons) > MOST_REASONS:
            others = len(reasons) - MOST_REASONS
            told.append(f"{others} other reason{'s' * (others != 1)}")
        yield f"{summary['failed']} of {summary['runs']} runs failed and are left out: {'; '.join(told)}"
    if summary["pending"]:
        yield f"{summary['pending']} of {summary['runs']} runs are not done yet."
    undefined = int((subject.results.experiment.replicates - rows["replicates"]).max())
    if undefined and not (summary["failed"] or summary["pending"]):
        yield f"A metric is undefined in up to {undefined} replicates, which are left out of its mean."


def _intervals(subject: Subject, rows: pd.DataFrame) -> Iterator[str]:
    least = int(rows["replicates"].min())
    if least == 0:
        own = rows[(rows["replicates"] == 0) & (rows["metric"] == subject.metrics[0])]
        yield f"A replicate counts where none of its runs is missing: there is none{_at(subject, own)}."
    if least < 2:
        yield "With fewer than two replicates there are no intervals."
    elif least < MIN_BOOTSTRAP:
        yield (
            f"With {least} replicates there are no bootstrap intervals, and t intervals rest on metrics being about "
            f"normal; {MIN_BOOTSTRAP} replicates or more are better."
        )
    metric = subject.metrics[0]
    own = rows[rows["metric"] == metric]
    wide = own[(own["high"] - own["low"]) / 2 > WIDE * own["mean"].abs()]
    if len(wide):
        name = METRICS.get(metric, (metric, ""))[0].lower()
        yield (
            f"The interval of {name} is wider than {WIDE:.0%} of the mean{_at(subject, wide)}; more replicates would "
            "narrow it."
        )


def _at(subject: Subject, rows: pd.DataFrame) -> str:
    """Which values of the compared parameter rows are of."""
    if subject.question is None or rows.empty:
        return ""
    return f" at {subject.question.label} = {', '.join(map(str, rows['level']))}"


def _stopping(results: Results) -> Iterator[str]:
    done = results.provenance.get("stopping")
    if done is None:
        return
    told = (
        f"Replicates, {done['minimum']} or more, were added by the width of an interval. {in_words(done)} Intervals "
        "after stopping by width are slightly optimistic: they hold the truth somewhat less often than 95% of the time."
    )
    if results.experiment.replicates > done["replicates"]:
        told += f" The study has been extended to {results.experiment.replicates} replicates since."
    yield told


def _origin(results: Results) -> Iterator[str]:
    origins = [results.provenance, *results.provenance.get("extended", [])]
    if any(origin["git"] and origin["git"]["dirty"] for origin in origins):
        yield "The program had changes that were not committed, so its commit alone does not reproduce the results."
    first = origins[0]
    changed = {
        name
        for origin in origins[1:]
        for name, version in {**first["packages"], "Python": first["python"]}.items()
        if {**origin["packages"], "Python": origin["python"]}.get(name) != version
    }
    if any(origin["git"] != first["git"] for origin in origins[1:]):
        changed.add("the program's commit")
    if changed:
        yield f"Runs were added later with other versions: {', '.join(sorted(changed))} changed in between."
