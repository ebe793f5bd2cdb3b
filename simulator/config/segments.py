"""Configuration of the populations: segments of owners and of buyers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from simulator.agents.buyer import BUYERS
from simulator.agents.curve import CURVES
from simulator.agents.owner import OWNERS
from simulator.agents.population import Parametrised
from simulator.config.section import Count, Name, Section
from simulator.distributions import Attribute, BasePrice, NonNegativeAttribute, RealAttribute, ShareAttribute
from simulator.registry import Family


class Segment(Section):
    """A group of agents that share a behaviour and their attributes' distributions.

    Attributes
    ----------
    segment : str
        Name of the group.
    count : int
        Its size.
    behaviour : str
        How its members act.
    behaviour_options : dict of str to attribute
        Parameters of the behaviour.
    """

    family: ClassVar[Family]
    segment: Name
    count: Count
    behaviour: str
    behaviour_options: dict[str, RealAttribute] = {}

    @field_validator("behaviour")
    @classmethod
    def _known_behaviour(cls, name: str) -> str:
        cls.family.resolve(name)
        return name

    @model_validator(mode="after")
    def _behaves(self) -> Segment:
        chosen = self.family.resolve(self.behaviour)
        _check_parameters("behaviour_options", self.behaviour_options, f"{self.family.noun} {self.behaviour!r}", chosen)
        return self

    @model_validator(mode="after")
    def _lists_fit(self) -> Segment:
        for name, attribute in self.attributes().items():
            if attribute.values is not None and len(attribute.values) != self.count:
                raise ValueError(
                    f"{name}: found a list of {len(attribute.values)}; allowed is one of count = {self.count}"
                )
        return self

    def attributes(self) -> dict[str, Attribute]:
        """All attributes of its members, those of options included, by dotted name."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        for options in [name for name, value in fields.items() if isinstance(value, dict)]:
            fields |= {f"{options}.{name}": attribute for name, attribute in fields[options].items()}
        return {name: value for name, value in fields.items() if isinstance(value, Attribute)}


def _check_parameters(field: str, options: dict[str, Attribute], noun: str, described: type[Parametrised]) -> None:
    """Refuse options that a class does not take, or values out of their range."""
    parameters = described.parameters()
    for name, attribute in options.items():
        if name not in parameters:
            raise ValueError(
                f"{field}: the {noun} has no option {name!r}; it takes {', '.join(parameters) or 'no options'}"
            )
        low, high = attribute.support()
        parameter = parameters[name]
        if low < parameter.low or high > parameter.high:
            found = f"{low:g}" if low == high else f"values from {low:g} to {high:g}"
            raise ValueError(
                f"{field}.{name}: found {found}; allowed are values from {parameter.low:g} to {parameter.high:g}"
            )


class OwnerSegment(Segment):
    """A group of data owners.

    Attributes
    ----------
    privacy_sensitivity : attribute, 1/eps
        rho, how fast the compensation an owner asks grows with epsilon; >= 0.
    base_price : "shapley", "records" or attribute
        b, what an owner asks at epsilon 0: B times its share of the positive Shapley value, B times its share
        of all records, or an amount of money >= 0 of its own.
    base_price_pool : float, money
        B; amounts of their own need none.
    participation : attribute
        Probability that an owner is willing to sell at all, in [0, 1]; drawn once an owner.
    privacy_budget : attribute, eps, optional
        What each unit of an owner's data (`broker.training.unit`) may spend in all rounds together; an owner that can
        afford no version any more leaves the market. No limit by default.
    reservation_surplus : attribute, money per round, optional
        Surplus that an owner must expect of a round to take part; it leaves where it expects less and comes back where
        it expects as much again. No condition by default.
    expectation_weight : float
        How much the last round counts in what an owner expects, in (0, 1].
    leakage : float
        Share of the cost of a use that an owner bears anyway where the shards of all others of its segment are used,
        in [0, 1]: their records tell as much of its own.
    homing : {"multi", "single"}
        Whether an owner deals with all brokers, or with one at a time.
    switching : float
        Probability, in [0, 1], that an owner that deals with one broker looks around after a round, and goes where
        others of its segment earned most.
    value : attribute, optional
        Shapley value of an owner's shard; only, and necessarily, with data.source = "values".
    correlation : float
        Correlation of the Gaussian copula between `value` and `privacy_sensitivity`, in [-1, 1]; other than 0 only
        where both are distributions.
    """

    family: ClassVar[Family] = OWNERS
    privacy_sensitivity: NonNegativeAttribute
    base_price: BasePrice = "shapley"
    base_price_pool: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] = 1000.0
    participation: ShareAttribute = Attribute(constant=1.0)
    privacy_budget: NonNegativeAttribute | None = None
    reservation_surplus: RealAttribute | None = None
    expectation_weight: Annotated[float, Field(gt=0, le=1, strict=True)] = 0.5
    leakage: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0
    homing: Literal["multi", "single"] = "multi"
    switching: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.1
    value: RealAttribute | None = None
    correlation: Annotated[float, Field(ge=-1, le=1, strict=True)] = 0.0
    behaviour: str = "truthful"

    @model_validator(mode="after")
    def _correlates_distributions(self) -> OwnerSegment:
        if self.correlation != 0 and self.value is not None:
            for name, attribute in (("value", self.value), ("privacy_sensitivity", self.privacy_sensitivity)):
                if attribute.dist is None:
                    raise ValueError(
                        f"correlation: found {self.correlation:g} with {name} = {attribute}; allowed where value and "
                        "privacy_sensitivity are both distributions"
                    )
        return self


class BuyerSegment(Segment):
    """A group of model buyers.

    Attributes
    ----------
    count : int
        How many are there when the market opens; 0 only where others arrive.
    arrivals : float
        Mean number of buyers, up to a million, that arrive at the beginning of each round; the number is Poisson.
    stay : float, rounds, optional
        Mean number of rounds, >= 1, that a buyer stays, a geometric number; by default it never leaves.
    one_off : bool
        Whether a buyer leaves once it has bought.
    drift : float, per round
        Rate at which budgets grow from round to round, in (-1, 10].
    volatility : float
        Standard deviation, in [0, 10], of the random part of the growth of log budgets in a round, the same for the
        whole segment.
    budget : attribute, money
        V, what a buyer would pay for a perfect model.
    coverage_expected, coverage_sensitivity : attribute
        theta and d: the coverage at which half the budget's worth is reached, and how sharply.
    epsilon_expected, noise_sensitivity : attribute
        eta (in eps) and g: the same for the privacy level, which is the model's noise.
    curve : str
        What coverage and privacy level are worth, as a share of the budget.
    curve_options : dict of str to attribute
        Parameters of the curve.
    taste : attribute, money
        What a broker's versions are worth to a buyer beyond its curve, or less where it is negative; drawn for each
        buyer and broker.
    """

    family: ClassVar[Family] = BUYERS
    count: Annotated[int, Field(ge=0, strict=True)]
    arrivals: Annotated[float, Field(ge=0, le=1e6, strict=True)] = 0.0
    stay: Annotated[float, Field(ge=1, strict=True, allow_inf_nan=False)] | None = None
    one_off: Annotated[bool, Field(strict=True)] = False
    drift: Annotated[float, Field(gt=-1, le=10, strict=True)] = 0.0
    volatility: Annotated[float, Field(ge=0, le=10, strict=True)] = 0.0
    budget: NonNegativeAttribute
    coverage_expected: RealAttribute = Attribute(constant=0.5)
    coverage_sensitivity: NonNegativeAttribute = Attribute(constant=10.0)
    epsilon_expected: RealAttribute
    noise_sensitivity: NonNegativeAttribute = Attribute(constant=2.0)
    curve: str = "sigmoid"
    curve_options: dict[str, RealAttribute] = {}
    taste: RealAttribute = Attribute(constant=0.0)
    behaviour: str = "target"

    @field_validator("curve")
    @classmethod
    def _known_curve(cls, name: str) -> str:
        CURVES.resolve(name)
        return name

    @property
    def turnover(self) -> bool:
        """Whether its members come or go."""
        return self.arrivals > 0 or self.stay is not None or self.one_off

    @model_validator(mode="after")
    def _comes_and_goes(self) -> BuyerSegment:
        if self.count == 0 and self.arrivals == 0:
            raise ValueError(
                f"buyers.{self.segment}.count: found 0 in a segment without arrivals; allowed are numbers >= 1"
            )
        if self.arrivals > 0:
            for name, attribute in self.attributes().items():
                if attribute.values is not None:
                    raise ValueError(
                        f"buyers.{self.segment}.{name}: found a list in a segment with arrivals, whose number is "
                        "not known; allowed are a number and a distribution"
                    )
        if self.family.resolve(self.behaviour).learns and (self.one_off or self.stay == 1):
            found = "one_off = true" if self.one_off else "stay = 1"
            raise ValueError(
                f"buyers.{self.segment}.behaviour: found {self.behaviour!r} with {found}; a buyer that learns must "
                "be there after it bought, so allowed is a behaviour that does not learn"
            )
        return self

    @model_validator(mode="after")
    def _curve_fits(self) -> BuyerSegment:
        curve, behaviour = CURVES.resolve(self.curve), self.family.resolve(self.behaviour)
        for name in curve.parameters():
            if hasattr(behaviour, name):
                raise ValueError(
                    f"buyers.{self.segment}.curve: the valuation curve {self.curve!r} has a parameter "
                    f"{name!r}, a name that the buyer behaviour {self.behaviour!r} uses already; allowed are "
                    "parameters of other names"
                )
        _check_parameters("curve_options", self.curve_options, f"valuation curve {self.curve!r}", curve)
        return self
