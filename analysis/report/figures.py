"""Which figures a report shows, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from matplotlib.figure import Figure

from analysis import plots
from analysis.cells import Parameter
from analysis.compare import METRICS, parameter_label
from analysis.figures import MOST_PANELS
from analysis.plots.style import MOST_BANDS
from analysis.plots.sweeps import MOST_BARS
from analysis.report.subject import Subject

#: Lines of up to this many values stand in one panel; of more a map is clearer.
FEW_LINES = 8
#: Another parameter with up to this many values has a panel each.
FEW_PANELS = 6
#: How many other parameters have a figure, at most.
MOST_OTHERS = 3
#: Metrics are shown round by round from this many rounds on.
SOME_ROUNDS = 3


@dataclass(frozen=True)
class Drawing:
    """A figure of a report.

    Attributes
    ----------
    name : str
        Name of its files.
    draw : function
        Makes it.
    caption : str
        What it shows, and how it is read.
    """

    name: str
    draw: Callable[[], Figure]
    caption: str


def drawings(subject: Subject) -> Iterator[Drawing]:
    """The figures of a report, in its order: the answer, other parameters, then what is behind it."""
    yield from _answer(subject)
    yield from _others(subject)
    yield from _sensitivity(subject)
    yield from _ranges(subject)
    yield from _behind(subject)


def _answer(subject: Subject) -> Iterator[Drawing]:
    asked, metric = subject.question, subject.metrics[0]
    if asked is None or subject.by is None:
        return
    finished = replace(asked, levels=tuple(value for value in asked.levels if value in subject.by.levels))
    yield Drawing(
        f"{metric}_by_{_file(subject.by)}",
        partial(plots.metric_by_level, subject.results, finished, metric),
        f"{_label(metric)} by {asked.label}. Bars are 95% t intervals over replicates; differences are paired, since "
        "all values meet the same owners, buyers and noise in a replicate.",
    )


def _others(subject: Subject) -> Iterator[Drawing]:
    """What is compared, over the other lists: lines where these are numbers, else maps; where differences hold."""
    results, by, metric = subject.results, subject.by, subject.metrics[0]
    if by is None or subject.question is None:
        return
    others = subject.others
    panel = None
    if len(others) == 2 and any(p.is_numeric for p in others):
        # Two others share a figure: numbers along the axis, the one of fewer values in panels.
        x, panel = sorted(others, key=lambda p: (not p.is_numeric, -len(p.levels)))
        if len(panel.levels) > FEW_PANELS or len(by.levels) > FEW_LINES:
            panel = None
        else:
            others = [x]
    for other in others[:MOST_OTHERS]:
        name, averaged = f"{metric}_over_{_file(other)}", _averaged(subject, other, panel)
        if other.is_numeric and len(by.levels) <= FEW_LINES:
            yield Drawing(
                name,
                partial(plots.small_multiples, results, metric, other, by, panel),
                f"{_label(metric)} over {other.label} by {by.label}"
                + ("" if panel is None else f", a panel a value of {panel.label}")
                + f". Bars are 95% t intervals over replicates.{averaged}",
            )
        else:
            yield Drawing(
                name,
                partial(plots.heat_map, results, metric, *_axes(other, by)),
                f"{_label(metric)} by {by.label} and {other.label}.{averaged}",
            )
    baseline = subject.question.baseline
    if others and len(by.levels) > 1 and baseline in by.levels:
        other = others[0]
        yield Drawing(
            f"{metric}_difference_over_{_file(other)}",
            partial(plots.difference_map, results, metric, *_axes(other, by), by, baseline),
            f"Where the difference to {baseline} holds: {_label(metric).lower()} less that at {baseline}, paired by "
            f"replicate. Hatched cells may differ by chance: their p-value of the paired t test, corrected for all "
            f"cells by Holm, is above 0.05.{_averaged(subject, other)}",
        )


def _ranges(subject: Subject) -> Iterator[Drawing]:
    ranges, by, metric = subject.ranges, subject.by, subject.metrics[0]
    if not ranges or len(ranges) > MOST_PANELS:
        return
    few = by if by is not None and len(by.levels) <= FEW_LINES else None
    yield Drawing(
        f"{metric}_by_sample",
        partial(plots.sampled_parameters, subject.results, metric, few),
        f"{_label(metric)} at every sample of the ranges{f', by {few.label}' if few else ''}. Bars, of up to "
        f"{MOST_BARS} points, are 95% t intervals over replicates. All ranges vary from point to point: the scatter "
        "around a trend is also due to the others.",
    )


def _sensitivity(subject: Subject) -> Iterator[Drawing]:
    metric, sampling = subject.metrics[0], subject.results.experiment.design.sampling
    captions = {
        "saltelli": "Sobol indices: the share of the variance over the ranges that a parameter explains alone (S1), "
        "and that is left if all others are known (ST). Bars are 95% bootstrap intervals over the base samples.",
        "morris": "Morris' elementary effects: the mean absolute change over the whole of a range, with its 95% "
        "bootstrap interval over the trajectories, and its standard deviation. Near or above the dashed line effects "
        "are curved, or depend on other parameters.",
    }
    if subject.ranges and sampling in captions:
        draw = partial(plots.sensitivity, subject.results, metric)
        yield Drawing(f"{metric}_sensitivity", draw, f"{_label(metric)}. {captions[sampling]}")


def _behind(subject: Subject) -> Iterator[Drawing]:
    results, by, metric = subject.results, subject.by, subject.metrics[0]
    values = 1 if by is None else len(by.levels)
    yield Drawing(
        "welfare_split",
        partial(plots.welfare_split, results, by),
        "Who gets the worth of the released versions. The lost part is worth that a better allocation of the "
        "same versions would have; it does not count versions that were never made.",
    )
    if results.experiment.rounds >= SOME_ROUNDS and values <= MOST_PANELS:
        yield Drawing(
            f"{metric}_by_round",
            partial(plots.convergence, results, metric, by),
            f"{_label(metric)} round by round, the mean over replicates"
            + (" with its 95% t interval, which holds for each round alone" if values <= MOST_BANDS else "")
            + ": whether learning and adaptation have settled.",
        )
    if values <= MOST_PANELS:
        yield Drawing(
            "money_flow",
            partial(plots.money_flow, results, by),
            "Money over the rounds: what buyers pay is what owners receive and the broker keeps.",
        )
    yield Drawing(
        "privacy_spent",
        partial(plots.privacy_spent, results, by),
        "What the releases so far have cost the privacy of each unit of the guarantee (a record, or an owner). Dotted: "
        "epsilons added up. Solid: releases by Gaussian mechanisms composed exactly, at the delta of one release, and "
        "the others added. Owners whose privacy budget allows no release any more leave the market.",
    )
    tables = results.experiment.tables
    if "versions" in tables:
        others = subject.others
        panel = others[0] if len(others) == 1 and len(others[0].levels) <= FEW_PANELS else None
        yield Drawing(
            "price_ladder",
            partial(plots.price_ladder, results, by, panel),
            "Posted prices in the last round, the mean over replicates, and over brokers where there are several"
            + ("; bands hold the middle 80% of them" if values <= MOST_BANDS else "")
            + ". Versions withdrawn for want of data are shown at the price they would have had.",
        )
        yield Drawing(
            "coverage_and_accuracy",
            partial(plots.coverage_and_accuracy, results, by),
            "What is behind the versions: the share of all data value bought, and the accuracy of the private "
            "model on the test records, if one is trained; the mean over brokers where there are several. A round in "
            "which a version is withdrawn counts with coverage 0; accuracy is shown for versions on sale in at least "
            "half of the rounds.",
        )
    if "owners" in tables or "sales" in tables:
        yield Drawing(
            "lorenz",
            partial(plots.lorenz, results, by),
            "Lorenz curves of what owners were paid, and of buyers' surplus, over all rounds of a run; those who got "
            "nothing count. The Gini coefficient is twice the area between curve and diagonal: 0 if all get the same, "
            "towards 1 if one gets all.",
        )


def _axes(other: Parameter, by: Parameter) -> tuple[Parameter, Parameter]:
    """Numbers along the x axis, words, which are longer, along the y axis."""
    return (by, other) if by.is_numeric and not other.is_numeric else (other, by)


def _averaged(subject: Subject, *shown: Parameter | None) -> str:
    left = [p.label for p in (*subject.others, *subject.ranges) if p not in shown]
    return f" Averaged over {' and '.join([', '.join(left[:-1]), left[-1]] if left[1:] else left)}." if left else ""


def _label(metric: str) -> str:
    return METRICS.get(metric, (metric, ""))[0]


def _file(parameter: Parameter) -> str:
    return parameter_label(parameter.name).replace(" ", "_")
