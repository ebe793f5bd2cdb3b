"""Attributes of a population, as a scenario file gives them: a number, a list, or a SciPy distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import PlainSerializer, PlainValidator

from simulator.streams import Streams


@dataclass(frozen=True)
class Attribute:
    """How an attribute is spread over the members of a segment.

    Exactly one of `constant`, `values` and `dist` is set.

    Parameters
    ----------
    constant : float, optional
        The same number for everybody.
    values : tuple of float, optional
        One number a member, in the members' order.
    dist : str, optional
        Name of a distribution in `scipy.stats`.
    params : tuple of (str, float)
        Parameters of the distribution under SciPy's own names (its shapes, `loc`, `scale`).
    """

    constant: float | None = None
    values: tuple[float, ...] | None = None
    dist: str | None = None
    params: tuple[tuple[str, float], ...] = ()

    @classmethod
    def parse(cls, raw: object) -> Attribute:
        """Read an attribute from its form in a scenario file.

        Raises
        ------
        ValueError
            If it is none of the three forms, or SciPy does not accept the distribution.

        Examples
        --------
        >>> Attribute.parse({"dist": "lognorm", "s": 0.5, "scale": 100}).support()
        (0.0, inf)
        """
        match raw:
            case Attribute():
                return raw
            case bool():
                pass
            case int() | float() if math.isfinite(raw):
                return cls(constant=float(raw))
            case str() | bytes():
                pass
            case Sequence() if raw and all(_is_number(v) for v in raw):
                return cls(values=tuple(float(v) for v in raw))
            case Mapping() if "dist" in raw:
                return cls._parse_distribution(dict(raw))
        raise ValueError(
            f"found {raw!r}; allowed are a number, a list with one number a member, "
            "or a SciPy distribution such as { dist = 'uniform', loc = 0, scale = 1 }"
        )

    @classmethod
    def _parse_distribution(cls, raw: dict[str, Any]) -> Attribute:
        # SciPy's distributions take most of a second to import; a scenario of constants needs none.
        from scipy import stats

        name = raw.pop("dist")
        family = getattr(stats, name, None) if isinstance(name, str) else None
        if not isinstance(family, stats.rv_continuous | stats.rv_discrete):
            raise ValueError(f"found dist = {name!r}; allowed is the name of a distribution in scipy.stats")
        shapes = [s.strip() for s in family.shapes.split(",")] if family.shapes else []
        allowed = [*shapes, "loc", *(["scale"] if isinstance(family, stats.rv_continuous) else [])]
        for key, value in raw.items():
            if key not in allowed:
                raise ValueError(f"found the parameter {key!r}; the distribution {name!r} takes {', '.join(allowed)}")
            if not _is_number(value):
                raise ValueError(f"found {key} = {value!r}; a parameter of the distribution {name!r} is a number")
        for shape in shapes:
            if shape not in raw:
                raise ValueError(
                    f"the distribution {name!r} lacks its parameter {shape!r}; it takes {', '.join(allowed)}"
                )
        attribute = cls(dist=name, params=tuple((k, float(v)) for k, v in sorted(raw.items())))
        with np.errstate(all="ignore"):  # SciPy answers NaN where it is not defined, at times with a warning
            median = attribute.quantiles(np.array([0.5]))
        if not np.isfinite(median).all():
            found = ", ".join(f"{k} = {v:g}" for k, v in attribute.params)
            raise ValueError(f"found {found}, where the distribution {name!r} of scipy.stats is not defined")
        return attribute

    def __str__(self) -> str:
        if self.dist is None:
            return str(self.config())
        return f"{self.dist}({', '.join(f'{name} = {value:g}' for name, value in self.params)})"

    def config(self) -> float | list[float] | dict[str, Any]:
        """The attribute as a scenario file writes it."""
        if self.constant is not None:
            return self.constant
        if self.values is not None:
            return list(self.values)
        return {"dist": self.dist, **dict(self.params)}

    @property
    def discrete(self) -> bool:
        """Whether the values are those of a discrete distribution."""
        from scipy import stats

        return self.dist is not None and isinstance(getattr(stats, self.dist), stats.rv_discrete)

    def support(self) -> tuple[float, float]:
        """Smallest and largest value the attribute can take."""
        if self.constant is not None:
            return self.constant, self.constant
        if self.values is not None:
            return min(self.values), max(self.values)
        from scipy import stats

        low, high = getattr(stats, str(self.dist)).support(**dict(self.params))
        return float(low), float(high)

    def quantiles(self, u: np.ndarray) -> np.ndarray:
        """Values at the probabilities `u`, shape of `u`; a constant or a list ignores them."""
        if self.constant is not None:
            return np.full(len(u), self.constant)
        if self.values is not None:
            return np.array(self.values)
        from scipy import stats

        return np.asarray(getattr(stats, str(self.dist)).ppf(u, **dict(self.params)), dtype=float)

    def draw(self, streams: Streams, role: str, count: int, segment: str, *later: int) -> np.ndarray:
        """Values of the `count` members of a segment and of so many who join in round 1, 2...

        Uniform numbers of the attribute's own stream are pushed through the quantile function, so that
        changing one parameter moves no other attribute, and moves this one monotonically. Those who join in a
        round have a stream of their own, so that how many join in another does not matter to them.
        """
        if self.dist is None:
            return self.quantiles(np.empty(count + sum(later)))
        drawn = [streams.uniforms(role, n, round=t, segment=segment) for t, n in enumerate((count, *later))]
        return self.quantiles(np.concatenate(drawn) if later else drawn[0])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _at_least_zero(attribute: Attribute) -> Attribute:
    low, _ = attribute.support()
    if low < 0:
        raise ValueError(f"found values down to {low:g}; allowed are values >= 0")
    return attribute


def _base_price(raw: object) -> Attribute | str:
    if raw in ("shapley", "records"):
        return str(raw)
    if isinstance(raw, str):
        raise ValueError(f"found {raw!r}; allowed are 'shapley', 'records', a number, a list or a distribution")
    return _at_least_zero(Attribute.parse(raw))


def _share(attribute: Attribute) -> Attribute:
    low, high = attribute.support()
    if low < 0 or high > 1:
        raise ValueError(f"found values from {low:g} to {high:g}; allowed are values from 0 to 1")
    return attribute


_serialise = PlainSerializer(lambda attribute: attribute.config())
RealAttribute = Annotated[Attribute, PlainValidator(Attribute.parse), _serialise]
NonNegativeAttribute = Annotated[
    Attribute, PlainValidator(lambda raw: _at_least_zero(Attribute.parse(raw))), _serialise
]
BasePrice = Annotated[
    Literal["shapley", "records"] | Attribute,
    PlainValidator(_base_price),
    PlainSerializer(lambda price: price if isinstance(price, str) else price.config()),
]
ShareAttribute = Annotated[Attribute, PlainValidator(lambda raw: _share(Attribute.parse(raw))), _serialise]
