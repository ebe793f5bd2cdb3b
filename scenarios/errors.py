"""Bad input and failed work, told in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


class InputError(ValueError):
    """Input that cannot be used; the message names the field, what was found and what is allowed."""


class RunError(RuntimeError):
    """The work failed, though the input was good."""


def sentence(error: ValidationError, model: type[BaseModel], raw: Any) -> str:
    """The first problem of a validation as one sentence, and how many more there are.

    Parameters
    ----------
    error : pydantic.ValidationError
        What pydantic found.
    model : type
        The model that was validated.
    raw : object
        The input, to name segments instead of their positions.
    """
    problems = [problem for problem in error.errors() if not _echo(problem, error.errors())]
    # An unknown key is often the cause of a missing one, so it is told first.
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    path = _path(first["loc"], raw)
    match first["type"]:
        case "extra_forbidden":
            text = _unknown_key(first["loc"], model, path)
        case "missing":
            text = f"{path} is missing"
        case "value_error":
            message = str(first["ctx"]["error"])
            inside = message.split(":")[0] in _fields(first["loc"], model)
            if path and not message.startswith(path.split(".")[0] + "."):
                text = f"{path}.{message}" if inside else f"{path}: {message}"
            else:
                text = message
        case _:
            allowed = first["msg"].removeprefix("Input should be ")
            text = f"{path}: found {first['input']!r}; allowed is {allowed}"
    more = len(problems) - 1
    return text if more == 0 else f"{text} (and {more} more problem{'s' if more > 1 else ''})"


def _echo(problem: Any, problems: Sequence[Any]) -> bool:
    """Whether a list is too short only because what stands in it is refused."""
    place = problem["loc"]
    return problem["type"] == "too_short" and any(
        len(p["loc"]) > len(place) and p["loc"][: len(place)] == place for p in problems
    )


def _path(location: tuple[int | str, ...], raw: Any) -> str:
    """Dotted name of a place in the input, segments by name."""
    names = []
    for step in location:
        try:
            raw = raw[step]
        except (KeyError, IndexError, TypeError):
            raw = None
        if isinstance(step, int) and isinstance(raw, dict) and isinstance(name_of(raw), str):
            names.append(name_of(raw))
        elif not (isinstance(step, str) and step.startswith(("tuple[", "literal[", "function-"))):
            names.append(str(step))
    return ".".join(names)


def name_of(entry: Mapping[str, Any]) -> Any:
    """What an entry of a list in a scenario is called: a segment, or a broker; None if it has no name."""
    return entry.get("segment", entry.get("name"))


def _unknown_key(location: tuple[int | str, ...], model: type[BaseModel], path: str) -> str:
    fields = _fields(location[:-1], model)
    close = difflib.get_close_matches(str(location[-1]), fields, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{path}: found an unknown key{hint}; allowed are {', '.join(fields)}"


def _fields(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """Keys that the section at a place takes."""
    for step in location:
        if isinstance(step, str) and step in model.model_fields:
            nested = _section(model.model_fields[step].annotation)
            if nested is not None:
                model = nested
    return list(model.model_fields)


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section(part))), None)
