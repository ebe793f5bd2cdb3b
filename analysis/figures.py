"""Kinds of figures of an experiment by name, as `dealer plot` draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scenarios.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.cells import Parameter
    from scenarios.store import Results

# What draws is imported when it draws: the command's help lists the kinds, and should be quick.

#: A figure has up to this many panels, and up to this many lines or bars.
MOST_PANELS, MOST_LINES = 12, 24


@dataclass(frozen=True)
class Kind:
    """A kind of figure.

    Attributes
    ----------
    function : str
        The function of `analysis.plots` that draws it, and whose parameters have the names of the flags.
    takes : tuple of str
        Flags that it takes, without their dashes.
    summary : str
        What it shows.
    """

    function: str
    takes: tuple[str, ...]
    summary: str


#: The kinds by name.
KINDS = {
    "means": Kind(
        "metric_by_level",
        ("metric", "by", "baseline"),
        "a metric's mean at each value of a parameter, and its paired difference to a baseline",
    ),
    "lines": Kind(
        "small_multiples",
        ("metric", "x", "by", "panel"),
        "a metric against a parameter of numbers, by a second in colour and a third in panels",
    ),
    "samples": Kind(
        "sampled_parameters",
        ("metric", "by"),
        "a metric against every parameter that was sampled from a range, a panel each",
    ),
    "heat-map": Kind("heat_map", ("metric", "x", "y", "panel"), "a metric's mean over two parameters"),
    "difference-map": Kind(
        "difference_map",
        ("metric", "x", "y", "by", "baseline"),
        "its paired difference to a baseline over two parameters, insignificant cells marked",
    ),
    "convergence": Kind(
        "convergence", ("metric", "by", "panel"), "a metric round by round: whether learning has settled"
    ),
    "welfare": Kind("welfare_split", ("by",), "who gets the worth of the versions, and what is lost"),
    "money": Kind("money_flow", ("by",), "who pays and who receives, round by round"),
    "privacy": Kind("privacy_spent", ("by",), "privacy spent so far, round by round"),
    "ladder": Kind("price_ladder", ("by", "panel"), "posted prices by privacy level (table versions)"),
    "quality": Kind(
        "coverage_and_accuracy", ("by",), "coverage and accuracy of the versions by privacy level (table versions)"
    ),
    "lorenz": Kind(
        "lorenz", ("by",), "how unequal payouts and buyers' surplus are, with Gini coefficients (tables owners, sales)"
    ),
}


def draw(results: Results, kind: str, asked: dict[str, str | None]) -> Figure:
    """A figure of an experiment.

    Parameters
    ----------
    results : Results
        The experiment.
    kind : str
        One of `KINDS`.
    asked : dict of str to str or None
        What the flags say, by their names without dashes; None where they are not given. A `metric` is by default the
        scenario's first, `by` and `baseline` those that the scenario compares, or the only swept list; other
        parameters are known only where the design has no more than are needed.

    Raises
    ------
    InputError
        If the kind does not exist or takes no such flag, or a parameter was not swept, is not of the kind that the
        figure needs, or has more values than it can show; or if a table was not kept.
    """
    if kind not in KINDS:
        raise InputError(f"KIND: found {kind!r}; allowed are {', '.join(KINDS)}")
    takes = KINDS[kind].takes
    for flag, value in asked.items():
        if value is not None and flag not in takes:
            allowed = ", ".join(f"--{name}" for name in takes)
            raise InputError(f"--{flag}: found {value!r}; the figure {kind!r} takes {allowed}")
    from analysis import plots
    from analysis.cells import parameters
    from analysis.compare import asked_metrics, question

    drawn: dict[str, Any] = {}
    metric = asked["metric"]
    if "metric" in takes:
        drawn["metric"] = asked_metrics(results.experiment, () if metric is None else (metric,))[0]
    if kind == "means":
        compared = question(results, asked["by"], asked["baseline"], (drawn["metric"],))
        return plots.metric_by_level(results, compared, drawn["metric"])
    swept = parameters(results.experiment)
    if kind == "samples" and not results.experiment.ranges:
        raise InputError(f"KIND: found {kind!r}; allowed where parameters are sampled from ranges, and none is")
    chosen = _Choice(swept, kind)
    for flag in ("x", "y", "by", "panel"):
        if asked[flag] is not None and flag in takes:
            chosen.take(flag, asked[flag])
    ...
    return getattr(plots, KINDS[kind].function)(results, **drawn)
