"""Populations: many agents' state in columns, with an agent object on each row when somebody asks for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mesa
import numpy as np

from simulator.registry import Described

#: Up to this many agents get their objects at construction, more only when they are touched.
EAGER = 10_000


class Column:
    """An attribute of an agent that lives in a column of its population.

    Parameters
    ----------
    default : float or bool, optional
        Initial value of a state column, which then holds floats or truth values; an attribute without one is
        drawn by the population's maker.
    width : int, optional
        How many values an agent has: the column has shape (n, width), and the agent's attribute is an array.
    """

    def __init__(self, default: float | bool | None = None, *, width: int | None = None) -> None:
        self.default = default
        self.width = width

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, agent: PopulationAgent | None, owner: type | None = None) -> Any:
        if agent is None:
            return self
        value = agent.population.columns[self.name][agent.row]
        return value.item() if self.width is None else value

    def __set__(self, agent: PopulationAgent, value: float | bool) -> None:
        agent.population.columns[self.name][agent.row] = value


class Parameter(Column):
    """A column that a scenario may set, in `behaviour_options`: a number, one a member, or a distribution.

    Parameters
    ----------
    default : float
        Its value where the scenario says nothing.
    low, high : float
        Smallest and largest value allowed.
    """

    default: float

    def __init__(self, default: float, *, low: float = -math.inf, high: float = math.inf) -> None:
        super().__init__(default)
        self.low, self.high = low, high


class _Unnumbered:
    """Stands in for Mesa's count of agents by model, which keeps every discarded model alive (Mesa 3.3)."""

    def __getitem__(self, model: mesa.Model) -> Iterator[int]:
        return iter((0,))


class MarketAgent(mesa.Agent):
    """An agent of a market, with an id that the market gives.

    Parameters
    ----------
    model : mesa.Model
        The market.
    unique_id : int
        Its id.
    """

    _ids = _Unnumbered()

    def __init__(self, model: mesa.Model, unique_id: int) -> None:
        super().__init__(model)
        self.unique_id = unique_id


class Parametrised(Described):
    """A named class with parameters that a scenario sets for each member of a segment."""

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """What a scenario may set, by name."""
        return {name: column for name, column in _columns(cls).items() if isinstance(column, Parameter)}

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Options a scenario may give, name -> default."""
        return {name: parameter.default for name, parameter in cls.parameters().items()}


class PopulationAgent(MarketAgent, Parametrised):
    """An agent whose state is one row of its population's columns.

    Attributes
    ----------
    population : Population
        The population it belongs to.
    row : int
        Its row in the population's columns.
    """

    def __init__(self, model: mesa.Model, population: Population, row: int) -> None:
        super().__init__(model, population.first_id + row)
        self.population = population
        self.row = row

    @property
    def segment(self) -> str:
        """Name of the agent's segment."""
        return self.population.rows_of(self.row).segment

    def uniform(self, role: str) -> float:
        """A random number of this round in (0, 1), the agent's own: the one that `Rows.uniforms` has on its row."""
        rows = self.population.rows_of(self.row)
        return float(rows.uniforms(role)[self.row - rows.start])

    def remove(self) -> None:
        """Refused: a row cannot leave its population.

        Raises
        ------
        RuntimeError
            Always. An owner stays out by not taking part, a buyer by not buying.
        """
        raise RuntimeError(f"{type(self).__name__} {self.unique_id} cannot be removed from its population")


@dataclass(frozen=True)
class Group:
    """A segment of a population to be made: its name, class and size, and its behaviour's parameters.

    Attributes
    ----------
    parameters : mapping of str to array of float, shape (count,)
        Values of the parameters that the scenario sets.
    """

    segment: str
    agent_class: type[PopulationAgent]
    count: int
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)


class Rows:
    """The rows of one segment, read and written as columns: ``rows.budget`` is an array, shape (count,)."""

    def __init__(self, population: Population, group: Group, start: int) -> None:
        self.population = population
        self.segment = group.segment
        self.agent_class = group.agent_class
        self.start = start
        self.stop = start + group.count
        self._drawn: dict[str, Any] = {}

    def __len__(self) -> int:
        return self.stop - self.start

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return vars(self)["population"].columns[name][self.start : self.stop]
        except KeyError:
            raise AttributeError(f"the population has no column {name!r}") from None

    def uniforms(self, role: str) -> np.ndarray:
        """Random numbers of this round in (0, 1), one a row, shape (count,); the same at every call of a round.

        Parameters
        ----------
        role : str
            What they are for; another role has others.
        """
        model = self.population.model
        if self._drawn.get("round") != model.round:
            self._drawn = {"round": model.round}
        if role not in self._drawn:
            self._drawn[role] = self._draw(f"{type(self.population).__name__}.{role}")
        return self._drawn[role]

    def _draw(self, role: str) -> np.ndarray:
        """Random numbers of a role in this round, one a row."""
        model = self.population.model
        return model.streams.uniforms(role, len(self), round=model.round, segment=self.segment)

    @property
    def agents(self) -> list[Any]:
        """The segment's agent objects, in row order."""
        return [self.population[row] for row in range(self.start, self.stop)]


class Population:
    """Agents of one kind, in segments of one behaviour each.

    Parameters
    ----------
    model : mesa.Model
        The model that the agents belong to.
    groups : sequence of Group
        Segments in row order.
    columns : mapping of str to array, shape (count of all,)
        Attributes drawn for the agents.
    first_id : int
        Unique id of the agent on row 0; ids follow the rows, whoever is touched.

    Attributes
    ----------
    vectorised : bool
        Whether behaviours run at array speed where their class has it. The check of behaviours switches it
        off to compare.
    """

    rows_class: type[Rows] = Rows

    def __init__(
        self, model: mesa.Model, groups: Sequence[Group], columns: Mapping[str, np.ndarray], first_id: int
    ) -> None:
        self.model = model
        self.first_id = first_id
        self.vectorised = True
        self.columns = dict(columns)
        self.segments: list[Rows] = []
        start = 0
        for group in groups:
            self.segments.append(self.rows_class(self, group, start))
            start += group.count
        self._faces: dict[int, PopulationAgent] = {}
        self._size = start
        for rows, group in zip(self.segments, groups, strict=True):
            for name, column in _columns(rows.agent_class).items():
                if name not in columns:
                    kind = bool if isinstance(column.default, bool) else float
                    shape = start if column.width is None else (start, column.width)
                    everywhere = self.columns.setdefault(name, np.zeros(shape, dtype=kind))
                    everywhere[rows.start : rows.stop] = group.parameters.get(name, column.default)
        if start <= EAGER:
            self.touch_all()

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, row: int) -> Any:
        """The agent on a row, made when first touched."""
        if not 0 <= row < self._size:
            raise IndexError(f"row {row} is outside a population of {self._size}")
        if row not in self._faces:
            agent_class = self.rows_of(row).agent_class
            self._faces[row] = agent_class(self.model, self, row)
        return self._faces[row]

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(self._size))

    def touch_all(self) -> None:
        """Make every agent's object."""
        for _ in self:
            pass

    def segment_names(self) -> np.ndarray:
        """Segment of every row, shape (n,)."""
        return np.repeat([rows.segment for rows in self.segments], [len(rows) for rows in self.segments])

    def fast(self, rows: Rows, hook: str) -> bool:
        """Whether a segment's class has an array-speed form of `hook` that goes with its scalar form.

        A subclass that overrides the scalar form alone is looped over, whatever it inherits.
        """
        mro = rows.agent_class.__mro__
        scalar, array = (next(i for i, c in enumerate(mro) if name in vars(c)) for name in (hook, hook + "_all"))
        return self.vectorised and array <= scalar

    def rows_of(self, row: int) -> Rows:
        """The segment that a row belongs to."""
        return next(rows for rows in self.segments if row < rows.stop)


def _columns(agent_class: type) -> dict[str, Column]:
    """Columns of a class by name, a subclass's before its parents'."""
    found: dict[str, Column] = {}
    for cls in agent_class.__mro__:
        for name, value in vars(cls).items():
            if isinstance(value, Column):
                found.setdefault(name, value)
    return found
