"""The scenario file: one market, what is swept over it, and how it is repeated and compared."""

from __future__ import annotations

import copy
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, ValidationError, field_validator, model_validator

from scenarios.errors import InputError, name_of, sentence
from simulator.config import Count, MarketConfig, Section
from simulator.distributions import Attribute
from simulator.log import ROUND_METRICS, TABLES

#: Metrics a comparison shows where the scenario names none.
DEFAULT_METRICS = (
    "revenue",
    "prediction_error",
    "buyer_surplus",
    "owner_surplus",
    "broker_profit",
    "welfare",
    "efficiency",
    "sell_through",
)


class Comparison(Section):
    """How the results are compared.

    Attributes
    ----------
    by : str
        Swept parameter whose values are compared.
    baseline : str, number or bool
        Its value that the others are compared with.
    metrics : tuple of str
        Columns of the rounds table, averaged over the rounds of a run.
    """

    by: str
    baseline: str | bool | int | float
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = DEFAULT_METRICS

    @field_validator("metrics")
    @classmethod
    def _measured(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        for metric in metrics:
            if metric not in ROUND_METRICS:
                raise ValueError(f"found {metric!r}; allowed are {', '.join(ROUND_METRICS)}")
        return metrics


def _swept(raw: object) -> list[Any] | Attribute:
    match raw:
        case list() if raw:
            return raw
        case Mapping() if "dist" in raw:
            return Attribute.parse(raw)
    raise ValueError(
        f"found {raw!r}; allowed are a list of at least one value, or a range as a SciPy distribution, "
        "such as { dist = 'uniform', loc = 0, scale = 1 }"
    )


def _alike(value: Any) -> str:
    """The same for values that the plan of runs cannot tell apart, such as 1, 1.0 and "1"."""
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        return repr(json.loads(text, parse_int=float))
    except ValueError:
        return repr(text)


#: What a parameter is swept over.
Swept = Annotated[
    list[Any] | Attribute,
    PlainValidator(_swept),
    PlainSerializer(lambda swept: swept if isinstance(swept, list) else swept.config()),
]


class Design(Section):
    """How swept parameters are combined into design points.

    Attributes
    ----------
    zip : tuple of tuple of str
        Groups of lists that go together, the first value of one with the first of the others and so on.
    sampling : {"sobol", "latin_hypercube", "random", "saltelli", "morris"}
        How ranges are sampled: by scrambled Sobol points, a Latin hypercube or independent draws; or by the designs of
        Sobol and of Morris sensitivity analysis.
    points : int, optional
        How many samples of the ranges are taken; only, and necessarily, with ranges. For n ranges, "saltelli" makes
        (n + 2) design points of each, and "morris" n + 1.
    """

    zip: tuple[tuple[str, ...], ...] = ()
    sampling: Literal["sobol", "latin_hypercube", "random", "saltelli", "morris"] = "sobol"
    points: Count | None = None

    @model_validator(mode="after")
    def _points_fit(self) -> Design:
        if self.sampling in ("sobol", "saltelli") and self.points is not None and self.points.bit_count() != 1:
            raise ValueError(
                f"points: found {self.points} with sampling = {self.sampling!r}; allowed are powers of 2, at "
                "which Sobol points are balanced"
            )
        return self

    @field_validator("zip")
    @classmethod
    def _groups(cls, groups: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        names = [name for group in groups for name in group]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"found {name!r} twice; a parameter goes with one group")
        for group in groups:
            if len(group) < 2:
                raise ValueError(f"found {list(group)}; allowed are groups of two parameters or more")
        return groups


class Experiment(MarketConfig):
    """A scenario file: the market's own sections, and the experiment around them.

    Attributes
    ----------
    name : str
        Name of the experiment and of its results folder.
    title, description : str
        What the experiment asks, for the report.
    replicates : int
        How often each design point is run, each time with other owners, buyers and noise.
    seed : int
        Seed of all random streams.
    tables : tuple of str
        Tables to keep: "rounds", "brokers", "versions", "owners", "sales".
    sweep : dict of str to list or Attribute
        What each parameter is swept over, by dotted name: a list of values, or a range given by a distribution. The
        design is the full grid of the lists, crossed with a sample of the ranges.
    design : Design
        Which lists go together, and how ranges are sampled.
    comparison : Comparison, optional
        How the results are compared.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*$")]
    title: str = ""
    description: str = ""
    replicates: Count = 1
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    tables: tuple[str, ...] = ("rounds", "versions")
    sweep: dict[str, Swept] = {}
    design: Design = Design()
    comparison: Comparison | None = None

    @field_validator("tables")
    @classmethod
    def _known_tables(cls, tables: tuple[str, ...]) -> tuple[str, ...]:
        for table in tables:
            if table not in TABLES:
                raise ValueError(f"found {table!r}; allowed are {', '.join(TABLES)}")
        if "rounds" not in tables:
            raise ValueError(f"found {', '.join(tables) or 'none'}; 'rounds' must be among the tables")
        return tuple(table for table in TABLES if table in tables)

    @field_validator("sweep")
    @classmethod
    def _sweep_of_parameters(cls, sweep: dict[str, Swept]) -> dict[str, Swept]:
        for key in sweep:
            if "." not in key and key != "rounds":
                raise ValueError(f"found {key!r}; allowed are single parameters by dotted name, such as broker.pricing")
            inside = [other for other in sweep if other.startswith(key + ".")]
            if inside:
                raise ValueError(f"found {key!r} and {inside[0]!r}, of which one is part of the other")
        return sweep

    @model_validator(mode="after")
    def _points_are_distinct(self) -> Experiment:
        for group in self.design.zip:
            for name in group:
                if name not in self.levels:
                    lists = ", ".join(self.levels) or "none"
                    raise ValueError(f"design.zip: found {name!r}; allowed are the swept lists: {lists}")
            lengths = {len(self.levels[name]) for name in group}
            if len(lengths) > 1:
                found = ", ".join(f"{len(self.levels[name])} values of {name}" for name in group)
                raise ValueError(f"design.zip: found {found}; allowed are lists of the same length")
        zipped = {name for group in self.design.zip for name in group}
        for group in (*self.design.zip, *((key,) for key in self.levels if key not in zipped)):
            values = list(zip(*(self.levels[key] for key in group), strict=True))
            same = [tuple(map(_alike, own)) for own in values]
            twice = [own for own, alike in zip(values, same, strict=True) if same.count(alike) > 1]
            if twice:
                raise ValueError(
                    f"sweep: found the value {', '.join(map(repr, twice[-1]))} of {', '.join(map(repr, group))} twice; "
                    "every design point needs its own"
                )
        return self

    @model_validator(mode="after")
    def _ranges_are_sampled(self) -> Experiment:
        points, sampling = self.design.points, self.design.sampling
        if self.ranges and points is None:
            names = ", ".join(self.ranges)
            raise ValueError(f"design.points is missing; it says how many samples of the ranges are taken: {names}")
        if not self.ranges and points is not None:
            raise ValueError(f"design.points: found {points} where no range is swept; allowed with ranges only")
        if not self.ranges and sampling != "sobol":
            raise ValueError(f"design.sampling: found {sampling!r} where no range is swept; allowed with ranges only")
        for name, attribute in self.ranges.items():
            if sampling == "morris" and not all(map(math.isfinite, attribute.support())):
                raise ValueError(
                    f"sweep: found an unbounded range of {name!r} with sampling = 'morris', whose trajectories go to "
                    "its ends; allowed are distributions on an interval"
                )
        return self

    @model_validator(mode="after")
    def _comparison_is_swept(self) -> Experiment:
        if self.comparison is None:
            return self
        by, baseline = self.comparison.by, self.comparison.baseline
        if by not in self.levels:
            swept = ", ".join(self.levels) or "none"
            raise ValueError(f"comparison.by: found {by!r}; allowed are the swept lists: {swept}")
        if baseline not in self.levels[by]:
            values = ", ".join(map(str, self.levels[by]))
            raise ValueError(f"comparison.baseline: found {baseline!r}; allowed are the values of {by}: {values}")
        return self

    @property
    def levels(self) -> dict[str, list[Any]]:
        """Parameters swept over lists, with their values."""
        return {key: swept for key, swept in self.sweep.items() if isinstance(swept, list)}

    @property
    def ranges(self) -> dict[str, Attribute]:
        """Parameters swept over ranges, with their distributions."""
        return {key: swept for key, swept in self.sweep.items() if not isinstance(swept, list)}

    def with_replicates(self, replicates: int) -> Experiment:
        """The same experiment with another number of replicates."""
        return self.model_copy(update={"replicates": replicates})

    def scenario(self) -> dict[str, Any]:
        """The scenario as resolved, with all defaults, in JSON types."""
        return self.model_dump(mode="json")

    def market_scenario(self) -> dict[str, Any]:
        """The market's own sections of the scenario, in JSON types."""
        return self.model_dump(mode="json", include=set(MarketConfig.model_fields))


def library() -> dict[str, Path]:
    """Ready scenarios, name -> file."""
    folder = Path(str(resources.files("scenarios") / "library"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load(scenario: str, settings: Iterable[str] = ()) -> Experiment:
    """The experiment of a scenario file.

    Parameters
    ----------
    scenario : str
        Name of a scenario of the library, or path of a TOML file.
    settings : iterable of str
        Overrides "dotted.name=value", the value as TOML writes it; bare words are strings.

    Raises
    ------
    InputError
        If the file cannot be read or something in it is not allowed.
    """
    path = library().get(scenario, Path(scenario))
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        known = ", ".join(library())
        raise InputError(f"scenario: found {scenario!r}, which is neither a file nor one of {known}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"scenario: {scenario!r} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path.name} is not valid TOML: {error}") from None
    _from_folder(raw, path.parent, ("data", "source"), ".csv")
    brokers = raw.get("brokers")
    for section in [raw.get("broker"), *(brokers if isinstance(brokers, list) else [])]:
        _from_folder(section, path.parent, ("training", "curve"), ".json")
    for setting in settings:
        key, value = parse_setting(setting)
        set_dotted(raw, key, value)
    return parse(raw)


def _from_folder(raw: Any, folder: Path, place: tuple[str, ...], suffix: str) -> None:
    """Let a file's name be relative to the scenario's folder."""
    *sections, key = place
    section: Any = raw
    for step in sections:
        section = section.get(step) if isinstance(section, dict) else None
    name = section.get(key) if isinstance(section, dict) else None
    if isinstance(name, str) and name.endswith(suffix):
        section[key] = str((folder / name).resolve())


def parse(raw: Mapping[str, Any]) -> Experiment:
    """The experiment of a scenario's raw content.

    Raises
    ------
    InputError
        If something in it is not allowed.
    """
    try:
        return Experiment.model_validate(raw)
    except ValidationError as error:
        raise InputError(sentence(error, Experiment, raw)) from None


def parse_setting(setting: str, option: str = "--set", example: str = "broker.pricing=median") -> tuple[str, Any]:
    """Key and value of a setting "key=value" of the command line, the value as TOML writes it.

    Parameters
    ----------
    setting : str
        The setting; a bare word is a string.
    option, example : str
        Option of the command line that took it, and a good setting of it, for the message.

    Raises
    ------
    InputError
        If it has no "=".
    """
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise InputError(f"{option}: found {setting!r}; allowed is KEY=VALUE, such as {example}")
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text.strip()


def set_dotted(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set a value in a scenario's raw content by its dotted name; segments and brokers go by their names.

    Raises
    ------
    InputError
        If the name leads nowhere.
    """
    *path, last = key.split(".")
    brokers = raw.get("brokers")
    if path[:1] == ["brokers"] and not brokers:
        raise InputError(f"{key}: found a named broker where there is one; allowed are its settings, under broker")
    if path[:1] == ["broker"] and isinstance(brokers, list) and brokers:
        names = ", ".join(f"brokers.{name_of(entry)}" for entry in brokers if isinstance(entry, dict))
        raise InputError(f"{key}: found the section broker where brokers are named; allowed are {names}")
    place: Any = raw
    for depth, step in enumerate(path):
        here = ".".join(path[:depth])
        if isinstance(place, list):
            entries = {name_of(entry): entry for entry in place if isinstance(entry, dict)}
            if step not in entries:
                names = ", ".join(map(str, entries)) or "none"
                kind = "broker" if here == "brokers" else "segment"
                raise InputError(f"{key}: found the {kind} {step!r}; allowed in {here} are {names}")
            place = entries[step]
        elif isinstance(place, dict):
            if place.get(step) is None:
                place[step] = {}
            place = place[step]
        else:
            raise InputError(f"{key}: {here} is {place!r}, not a table, so it has no {step!r}")
    if isinstance(place, list):
        names = ", ".join(str(name_of(entry)) for entry in place if isinstance(entry, dict)) or "none"
        kind = "broker" if path[-1] == "brokers" else "segment"
        raise InputError(f"{key}: found {last!r}; name a {kind} and its field, of the {kind}s {names}")
    if not isinstance(place, dict):
        raise InputError(f"{key}: {'.'.join(path)} is {place!r}, not a table, so it has no {last!r}")
    place[last] = value


def market_at(scenario: Mapping[str, Any], settings: Mapping[str, Any]) -> MarketConfig:
    """The market of a scenario with some parameters set.

    Parameters
    ----------
    scenario : mapping
        The market's own sections, from `Experiment.market_scenario`.
    settings : mapping of str to object
        Values by dotted name.

    Raises
    ------
    InputError
        If a name leads nowhere or a value is not allowed.
    """
    raw = copy.deepcopy(dict(scenario))
    for key, value in settings.items():
        if key.split(".")[0] not in MarketConfig.model_fields:
            allowed = ", ".join(MarketConfig.model_fields)
            raise InputError(f"sweep: found {key!r}; allowed are parameters of the market, under {allowed}")
        set_dotted(raw, key, value)
    try:
        return MarketConfig.model_validate(raw)
    except ValidationError as error:
        shown = ", ".join(f"{key} = {value!r}" for key, value in settings.items())
        raise InputError(f"{sentence(error, MarketConfig, raw)}" + (f" (at {shown})" if shown else "")) from None
