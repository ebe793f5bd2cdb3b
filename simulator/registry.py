"""Find the classes behind the names in a scenario file.

A mechanism or a behaviour is a class with a `name`. Whatever class stands in a package of the family is
found by itself; a user's own class is named ``"my_module:MyClass"``.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any


class Described:
    """Base of everything that a scenario file can name.

    Attributes
    ----------
    name : str
        The name in scenario files and tables. A class without one is abstract.
    source : str
        Where the idea comes from (paper and section); empty for the field's common knowledge.
    """

    name: str
    source: str = ""

    @classmethod
    def summary(cls) -> str:
        """First line of the class's docstring."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Options a scenario may give, name -> default; `inspect.Parameter.empty` where one is required."""
        return dict(_keyword_only(cls))  # type: ignore[arg-type]  # classes are hashable


@cache
def _keyword_only(cls: type[Any]) -> Mapping[str, Any]:
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _descendants(base: type[Any]) -> Iterator[type[Any]]:
    for cls in type.__subclasses__(base):
        yield cls
        yield from _descendants(cls)


@cache
def registered(base: type[Any]) -> Mapping[str, type[Any]]:
    """Classes of a family by name: all named subclasses of `base` within its own package.

    Parameters
    ----------
    base : type
        The abstract class of the family, e.g. `PricingStrategy`.
    """
    package = base.__module__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, package + "."):
        importlib.import_module(module.name)
    found: dict[str, type] = {}
    for cls in _descendants(base):
        if not cls.__module__.startswith(package + ".") or "name" not in vars(cls):
            continue
        name = vars(cls)["name"]
        if found.setdefault(name, cls) is not cls:
            raise RuntimeError(f"{cls.__qualname__} and {found[name].__qualname__} share the name {name!r}")
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Family:
    """One kind of named class: its abstract base and the word for it in messages."""

    base: type[Any]
    noun: str

    def classes(self) -> Mapping[str, type[Any]]:
        """The built-in classes by name."""
        return registered(self.base)  # type: ignore[arg-type]  # classes are hashable

    def resolve(self, name: str) -> type[Any]:
        """Class behind `name`: a built-in name, or ``"module:Class"`` for a user's own.

        Raises
        ------
        ValueError
            If there is no such class, or it is not of this family.
        """
        classes = self.classes()
        if name in classes:
            return classes[name]
        if ":" not in name:
            close = difflib.get_close_matches(name, classes, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(
                f"found the unknown {self.noun} {name!r}{hint}; allowed are {', '.join(classes)}, or your own as "
                "'module:Class'"
            )
        module_name, _, class_name = name.partition(":")
        try:
            cls = getattr(importlib.import_module(module_name), class_name)
        except (Exception, SystemExit) as error:  # a user's module may fail in any way
            raise ValueError(f"the {self.noun} {name!r} cannot be imported: {type(error).__name__}: {error}") from error
        if not (isinstance(cls, type) and issubclass(cls, self.base)):
            raise ValueError(f"the {self.noun} {name!r} is not a subclass of {self.base.__name__}")
        return cls

    def create(self, name: str, options: Mapping[str, Any], *given: Any, **named: Any) -> Any:
        """Instance of the class behind `name` with a scenario's options, and with arguments that are none.

        Options in a table under the name of a class are for that class alone, so that a sweep over classes may
        give each its own.

        Raises
        ------
        ValueError
            If the class is unknown, an option is, a required one is missing, or the class refuses an option's value.
        """
        cls = self.resolve(name)
        allowed = cls.options()
        tables = {key: value for key, value in options.items() if key not in allowed and isinstance(value, Mapping)}
        tables = {key: value for key, value in tables.items() if key in self.classes() or ":" in key}
        options = {key: value for key, value in options.items() if key not in tables} | dict(tables.get(name, {}))
        for option in options:
            if option not in allowed:
                takes = ", ".join(allowed) or "no options (only keyword-only arguments of its constructor are)"
                raise ValueError(f"the {self.noun} {name!r} has no option {option!r}; it takes {takes}")
        missing = [
            name for name, default in allowed.items() if default is inspect.Parameter.empty and name not in options
        ]
        if missing:
            raise ValueError(
                f"the {self.noun} {name!r} needs the option {missing[0]!r}; found {', '.join(options) or 'no options'}"
            )
        try:
            return cls(*given, **named, **options)
        except Exception as error:  # a user's constructor may fail in any way
            raise ValueError(f"the {self.noun} {name!r} refuses its options: {error}") from error
