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

#: Flags that name a swept parameter.
PARAMETERS = ("x", "y", "by", "panel")
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
    "sensitivity": Kind(
        "sensitivity",
        ("metric",),
        "Sobol indices with their intervals, or Morris' mu* and sigma (sampling saltelli or morris)",
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
    from analysis.compare import check_metrics, question

    if kind == "samples" and not results.experiment.ranges:
        raise InputError(f"KIND: found {kind!r}; allowed where a parameter is sampled from a range, and none is")
    if "baseline" in takes and not results.experiment.levels:
        raise InputError(f"KIND: found {kind!r}; allowed where a parameter is swept over a list, and none is")
    metric = asked["metric"]
    drawn: dict[str, Any] = {}
    if "metric" in takes:
        drawn["metric"] = check_metrics(results, () if metric is None else (metric,))[0]
    if kind == "means":
        compared = question(results, asked["by"], asked["baseline"], (drawn["metric"],))
        return plots.metric_by_level(results, compared, drawn["metric"])
    shown = _Shown(kind, parameters(results.experiment))
    for flag in PARAMETERS:
        name = asked[flag]
        if name is not None:
            shown.name(flag, name)
    scenario = results.experiment.comparison
    shown.complete(scenario.by if scenario is not None else None)
    drawn |= shown.flags
    if kind == "difference-map":
        drawn["baseline"] = question(results, shown.flags["by"].name, asked["baseline"]).baseline
    figure: Figure = getattr(plots, KINDS[kind].function)(results, **drawn)
    return figure


class _Shown:
    """Which parameters a figure shows, by flag: those named, then those that there is no choice of."""

    def __init__(self, kind: str, swept: dict[str, Parameter]) -> None:
        self.kind = kind
        self.swept = swept
        self.flags: dict[str, Parameter] = {}

    def name(self, flag: str, name: str) -> None:
        """Show the parameter that a flag names.

        Raises
        ------
        InputError
            If there is none, or the figure cannot show it so.
        """
        parameter = self.swept.get(name)
        reason = self._why_not(flag, parameter) if parameter is not None else ""
        if reason is not None:
            allowed = ", ".join(free.name for free in self._free(flag)) or "none"
            raise InputError(f"--{flag}: found {name!r}{reason}; allowed are the swept parameters: {allowed}")
        self.flags[flag] = self.swept[name]

    def complete(self, compared: str | None) -> None:
        """Show what is not named: what the scenario compares, then the parameters that are left.

        Raises
        ------
        InputError
            If there are several to choose from, or none.
        """
        takes = KINDS[self.kind].takes
        if "by" in takes and "by" not in self.flags and any(free.name == compared for free in self._free("by")):
            self.flags["by"] = self.swept[str(compared)]
        missing = [flag for flag in ("x", "y") if flag in takes and flag not in self.flags]
        if missing:
            free = self._free(missing[0])
            if len(free) > len(missing):  # what is compared has maps of its own then
                free = [parameter for parameter in free if parameter != self.flags.get("by")]
            if len(free) != len(missing):
                raise self._missing(missing[0], free)
            if len(free) == 2 and not free[0].is_numeric and free[1].is_numeric:
                free.reverse()  # words are easier to read on the y axis
            self.flags |= dict(zip(missing, free, strict=True))
        if "by" in takes and "by" not in self.flags:
            free = self._free("by")
            if len(free) > 1 or (not free and "baseline" in takes):
                raise self._missing("by", free)
            if free:
                self.flags["by"] = free[0]

    def _missing(self, flag: str, free: list[Parameter]) -> InputError:
        names = ", ".join(parameter.name for parameter in free) or "none"
        return InputError(f"--{flag} is missing; the figure {self.kind!r} needs it, and allowed here are {names}")

    def _free(self, flag: str) -> list[Parameter]:
        """Parameters that a flag could name, of lists that are zipped the first."""
        fitting = [parameter for parameter in self.swept.values() if self._why_not(flag, parameter) is None]
        return list({parameter.together: parameter for parameter in reversed(fitting)}.values())[::-1]

    def _why_not(self, flag: str, parameter: Parameter) -> str | None:
        """Why a flag cannot name a parameter; None if it can."""
        for other, shown in self.flags.items():
            if shown == parameter and not (self.kind == "difference-map" and "by" in (flag, other)):
                return f", which is --{other} already"
            if shown != parameter and shown.together == parameter.together:
                return f", which is zipped with --{other}"
        if flag in ("by", "panel") and parameter.is_range:
            return ", which is a range"
        if flag == "x" and self.kind == "lines" and not parameter.is_numeric:
            return ", whose values are words"
        most = MOST_PANELS if flag == "panel" else MOST_LINES
        if flag in ("by", "panel") and len(parameter.levels) > most:
            return f" with {len(parameter.levels)} values, of which the figure has room for {most}"
        return None
