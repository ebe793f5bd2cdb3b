"""Configuration of one market: data, owners, broker, buyers, rounds.

Unknown keys are refused, and every message names the field, what was found and what is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from simulator.agents.behaviour import BROKERS, BrokerBehaviour
from simulator.agents.buyer import BUYERS
from simulator.agents.curve import CURVES
from simulator.agents.owner import OWNERS
from simulator.agents.population import Parametrised
from simulator.distributions import Attribute, BasePrice, NonNegativeAttribute, RealAttribute, ShareAttribute
from simulator.pricing.composition import Composition, check_epsilons
from simulator.pricing.strategy import PRICING
from simulator.privacy.accounting import Neighbours, Unit
from simulator.privacy.accounts import Composition as PrivacyComposition
from simulator.privacy.surrogate import AccuracyCurve, shipped_curve
from simulator.privacy.training import GAUSSIAN, Method, Model, plan_training
from simulator.procurement.method import PROCUREMENT, version_options
from simulator.registry import Family
from simulator.settlement.rule import SETTLEMENT
from simulator.valuation.estimator import VALUATION
from simulator.valuation.games import GAMES, check_game_options

#: Sources of data that a scenario can name, and what they are.
DATASETS = {
    "breast_cancer": "569 records, 30 features, 2 classes (scikit-learn)",
    "iris": "150 records, 4 features, 3 classes (scikit-learn)",
    "digits": "1797 records, 64 features, 10 classes (scikit-learn)",
    "synthetic": "Gaussian clusters of the size that [data] asks for",
    "values": "no records: each owner's Shapley value is drawn from its segment's `value`, no model is trained",
    "openml:NAME": "a data set of openml.org by name (needs the network)",
    "FILE.csv": "a file of numeric columns, of which `label` holds the classes",
}

Count = Annotated[int, Field(ge=1, strict=True)]
Number = Annotated[float, Field(strict=True)]
SEGMENT_PATTERN = r"^[A-Za-z0-9_\-]+$"


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """Which records the owners hold.

    Attributes
    ----------
    source : str
        A data set's name, "synthetic", "values", "openml:NAME", or the path of a CSV file.
    label : str, optional
        Column of a CSV file that holds the classes.
    records, features, classes, separation
        Size of a synthetic data set, and the distance of its clusters' centres from the origin in units of
        their deviation.
    """

    source: str = "breast_cancer"
    label: str | None = None
    records: Count = 1000
    features: Count = 10
    classes: Annotated[int, Field(ge=2, strict=True)] = 2
    separation: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] = 2.0

    def identity(self) -> dict[str, Any]:
        """What names the data set: its source without folders, and what else its records depend on."""
        parts = {"synthetic": ("records", "features", "classes", "separation")}.get(self.source, ())
        found = {"source": Path(self.source).name, **{name: getattr(self, name) for name in parts}}
        return found if self.label is None else {**found, "label": self.label}

    def known_classes(self) -> int:
        """Number of classes as far as it is known without reading the data, else 2."""
        if self.source == "synthetic":
            return self.classes
        return {"iris": 3, "digits": 10}.get(self.source, 2)

    def known_features(self) -> int:
        """Number of features as far as it is known without reading the data, else 1."""
        if self.source == "synthetic":
            return self.features
        return {"breast_cancer": 30, "iris": 4, "digits": 64}.get(self.source, 1)

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str) -> str:
        if source in DATASETS and not source.startswith(("openml:", "FILE")):
            return source
        if source.startswith("openml:") and source != "openml:":
            return source
        if source.endswith(".csv"):
            return str(Path(source))
        raise ValueError(f"found {source!r}; allowed are {', '.join(DATASETS)}")

    @model_validator(mode="after")
    def _label_where_needed(self) -> DataConfig:
        if self.source.endswith(".csv") and self.label is None:
            raise ValueError("label is missing; a CSV file needs the name of the column that holds the classes")
        if self.records < self.classes * 5 and self.source == "synthetic":
            raise ValueError(f"records: found {self.records}; allowed are at least 5 a class")
        return self


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
    segment: Annotated[str, Field(pattern=SEGMENT_PATTERN)]
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


class ValuationConfig(Section):
    """How shards are valued.

    Attributes
    ----------
    method : str
        Estimator of Shapley values, or "auto": exact up to 16 owners, else sampled.
    budget : int
        Utility evaluations that sampling may use.
    tolerance : float
        Relative L2 error at which sampling stops.
    method_options : dict
        Options of the estimator.
    game, game_options
        Which utility a coalition's records have, and its options.
    empty_utility : {"constant", "zero"}
        Utility of no data: that of the best constant prediction, or 0.
    """

    method: str = "auto"
    budget: Count = 20_000
    tolerance: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] = 0.05
    method_options: dict[str, Any] = {}
    game: str = "ridge"
    game_options: dict[str, Any] = {}
    empty_utility: Literal["constant", "zero"] = "constant"

    @field_validator("method")
    @classmethod
    def _known_method(cls, name: str) -> str:
        if name != "auto":
            VALUATION.resolve(name)
        return name

    @field_validator("game")
    @classmethod
    def _known_game(cls, name: str) -> str:
        GAMES.resolve(name)
        return name

    @model_validator(mode="after")
    def _options_fit(self) -> ValuationConfig:
        if self.method != "auto":
            VALUATION.create(self.method, self.method_options)
        elif self.method_options:
            raise ValueError("method_options: found options for the method 'auto', which takes none; name a method")
        if self.method == "knn" and self.game != "knn":
            raise ValueError(f"method: found 'knn' for the game {self.game!r}; it values the game 'knn' only")
        check_game_options(self.game, self.game_options)
        return self

    @property
    def built_in(self) -> bool:
        """Whether no code but this package's and scikit-learn's determines the values."""
        names = (self.method, self.game, *self.game_options.values())
        return not any(isinstance(name, str) and ":" in name and not name.startswith("sklearn.") for name in names)

    @property
    def empty(self) -> float | None:
        """Utility of no data, where it is not that of the best constant prediction."""
        return 0.0 if self.empty_utility == "zero" else None


#: Settings of training that mean something to the surrogate only.
SURROGATE_ONLY = ("curve", "records_per_owner")


class TrainingConfig(Section):
    """How the private versions are trained.

    Attributes
    ----------
    model : {"logistic", "svm"}
        Logistic regression, or a support vector machine.
    method : {"auto", "objective", "amp", "output", "gradient", "surrogate"}
        Private training method; "auto" is "gradient", the best or nearly so throughout, "surrogate" trains nothing and
        takes accuracy from a calibrated curve.
    neighbours : {"replace-one", "add-remove"}
        Neighbour relation of the guarantee.
    unit : {"record", "owner"}
        What the guarantee covers any one of: records, or owners with all their records. Each owner's records then
        weigh as much as one record.
    data_norm : float
        Norm to which standardised records are clipped.
    curve : str, optional
        Curve of the surrogate: the name of one that comes with the package, or the path of a JSON file; by default
        the one for the data set. Needed where there are no records.
    records_per_owner : int, optional
        Records that the surrogate takes each owner to hold; only, and necessarily, with data.source = "values".
    """

    model: Model = "logistic"
    method: Method | Literal["surrogate"] = "auto"
    neighbours: Neighbours = "replace-one"
    unit: Unit = "record"
    data_norm: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 1.0
    curve: str | None = None
    records_per_owner: Count | None = None

    @model_validator(mode="after")
    def _surrogate_alone(self) -> TrainingConfig:
        for name in SURROGATE_ONLY:
            found = getattr(self, name)
            if self.method != "surrogate" and found is not None:
                raise ValueError(
                    f"{name}: found {found!r} with method = {self.method!r}; allowed with method = 'surrogate' only"
                )
        return self

    def settings(self) -> dict[str, Any]:
        """What accuracy depends on: all but the method and what the surrogate alone takes."""
        return self.model_dump(exclude={"method", *SURROGATE_ONLY})


class BrokerConfig(Section):
    """The broker and its mechanisms.

    Attributes
    ----------
    epsilons : tuple of float
        Privacy levels of the versions on the list, strictly increasing, > 0.
    delta : float
        The other privacy parameter, one value for the list.
    composition : {"additive", "quadratic"}
        What a bundle of versions is worth.
    pricing, pricing_options
        Pricing strategy and its options; those in a table under a strategy's name are for that strategy alone.
    procurement, procurement_options
        Procurement method and its options, alike.
    settlement : str
        How revenue is shared; "promised" where, and only where, the procurement method promises payments.
    commission : float
        Share of revenue that the broker keeps, in [0, 1].
    manufacturing_budget : "revenue", float or tuple of float
        Money to buy data for each version: what the survey lets expect after commission, or fixed amounts.
    starting_budget : float, optional
        Money to buy data for a version that earned nothing in the round before, as in the first one; needed,
        and used, only where the budget is the revenue and the pricing strategy surveys nobody.
    survey_share : float
        Share of buyers that are surveyed, in (0, 1].
    privacy_accounting : {"basic", "gaussian"}
        How releases count against owners' privacy budgets: their epsilons add up, or they compose exactly as Gaussian
        mechanisms at the delta of one release, for which the training method must be "auto", "output" or "gradient".
    capital : float, money, optional
        What the broker can lose. One that owes more than it took and has left pays what it has, to all alike, and is
        out of business. Without limit by default.
    behaviour, behaviour_options
        How the broker chooses its commission and budgets, and the options of that, as for pricing.
    valuation, training
        How shards are valued and versions trained.
    """

    epsilons: tuple[Number, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    delta: Annotated[float, Field(gt=0, lt=1, strict=True)] = 1e-5
    composition: Composition = "additive"
    pricing: str = "dpp_plus"
    pricing_options: dict[str, Any] = {}
    procurement: str = "greedy"
    procurement_options: dict[str, Any] = {}
    settlement: str = "neutral"
    commission: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0
    manufacturing_budget: Literal["revenue"] | Number | tuple[Number, ...] = "revenue"
    starting_budget: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] | None = None
    survey_share: Annotated[float, Field(gt=0, le=1, strict=True)] = 1.0
    privacy_accounting: PrivacyComposition = "basic"
    capital: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] | None = None
    behaviour: str = "fixed"
    behaviour_options: dict[str, Any] = {}
    valuation: ValuationConfig = ValuationConfig()
    training: TrainingConfig = TrainingConfig()

    @property
    def section(self) -> str:
        """Dotted name of its section in a scenario."""
        return "broker"

    @field_validator("epsilons")
    @classmethod
    def _increasing(cls, epsilons: tuple[float, ...]) -> tuple[float, ...]:
        check_epsilons(epsilons)
        return epsilons

    @field_validator("settlement")
    @classmethod
    def _known_settlement(cls, name: str) -> str:
        SETTLEMENT.resolve(name)
        return name

    @field_validator("manufacturing_budget")
    @classmethod
    def _non_negative(cls, budget: str | float | tuple[float, ...]) -> str | float | tuple[float, ...]:
        amounts = budget if isinstance(budget, tuple) else [] if isinstance(budget, str) else [budget]
        if not all(0 <= amount < float("inf") for amount in amounts):
            raise ValueError(f"found {budget!r}; allowed are 'revenue' and amounts >= 0")
        return budget

    @model_validator(mode="after")
    def _mechanisms_exist(self) -> BrokerConfig:
        try:
            PRICING.create(self.pricing, self.pricing_options)
        except ValueError as error:
            raise ValueError(f"{self.section}.pricing: {error}") from error
        try:
            behaviour = BROKERS.create(self.behaviour, self.behaviour_options)
        except ValueError as error:
            raise ValueError(f"{self.section}.behaviour: {error}") from error
        try:
            for k in range(len(self.epsilons)):
                options = version_options(self.procurement, self.procurement_options, k, len(self.epsilons))
                PROCUREMENT.create(self.procurement, options)
        except ValueError as error:
            raise ValueError(f"{self.section}.procurement: {error}") from error
        self._check_promises()
        self._check_behaviour(behaviour)
        if (
            self.starting_budget is None
            and self.manufacturing_budget == "revenue"
            and not PRICING.resolve(self.pricing).surveys
        ):
            raise ValueError(
                f"{self.section}.starting_budget is missing; the pricing strategy {self.pricing!r} surveys nobody, so "
                "a version that has earned nothing needs a given amount"
            )
        if isinstance(self.manufacturing_budget, tuple) and len(self.manufacturing_budget) != len(self.epsilons):
            raise ValueError(
                f"{self.section}.manufacturing_budget: found {len(self.manufacturing_budget)} amounts; "
                f"allowed is one for each of the {len(self.epsilons)} epsilons"
            )
        return self

    def _check_promises(self) -> None:
        """Refuse a settlement that breaks the procurement's promises, or keeps some that are never made."""
        promises = PROCUREMENT.resolve(self.procurement).promises
        if SETTLEMENT.resolve(self.settlement).pays_promises == promises:
            return
        allowed = [name for name, rule in SETTLEMENT.classes().items() if rule.pays_promises == promises]
        raise ValueError(
            f"{self.section}.settlement: found {self.settlement!r} with the procurement method {self.procurement!r}, "
            f"which promises {'payments' if promises else 'none'}; allowed with it "
            f"{'is' if len(allowed) == 1 else 'are'} {', '.join(map(repr, allowed))}"
        )

    def _check_behaviour(self, behaviour: BrokerBehaviour) -> None:
        """Refuse settings that a behaviour would choose itself, or that it cannot plan with."""
        if behaviour.chooses_budgets and self.manufacturing_budget != "revenue":
            raise ValueError(
                f"{self.section}.manufacturing_budget: found {self.manufacturing_budget!r} with the broker behaviour "
                f"{self.behaviour!r}, which chooses budgets itself; allowed with it is 'revenue'"
            )
        if behaviour.chooses_commission and self.commission != 0:
            raise ValueError(
                f"{self.section}.commission: found {self.commission:g} with the broker behaviour {self.behaviour!r}, "
                "which chooses it itself; allowed with it is 0"
            )
        if behaviour.plans and not PRICING.resolve(self.pricing).surveys:
            raise ValueError(
                f"{self.section}.behaviour: found {self.behaviour!r} with the pricing strategy {self.pricing!r}, which "
                "surveys nobody; a broker that plans needs answers, so allowed with it are the strategies that survey"
            )


class NamedBroker(BrokerConfig):
    """One of several brokers, or some that differ in nothing but name and luck.

    Attributes
    ----------
    name : str
        Its name.
    count : int
        How many brokers there are of its kind; the others are called NAME-2, NAME-3 and so on.
    undercut : float
        Share, in [0, 1), by which it goes below what would leave a buyer as well off with a rival.
    """

    name: Annotated[str, Field(pattern=SEGMENT_PATTERN)]
    count: Count = 1
    undercut: Annotated[float, Field(ge=0, lt=1, strict=True)] = 0.01

    @property
    def section(self) -> str:
        """Dotted name of its section in a scenario."""
        return f"brokers.{self.name}"

    @property
    def names(self) -> list[str]:
        """Names of the brokers that it stands for."""
        return [self.name, *(f"{self.name}-{number}" for number in range(2, self.count + 1))]


class IncentivesConfig(Section):
    """What is measured of the owners' incentives to tell the truth.

    Attributes
    ----------
    owners : int
        How many of the owners that take part, drawn anew each round, have their best report searched for; none by
        default.
    """

    owners: Annotated[int, Field(ge=0, strict=True)] = 0


class MarketConfig(Section):
    """One market.

    Attributes
    ----------
    rounds : int
        Rounds to run.
    warm_up : int
        How many of them, the first ones, are run but not logged, so that how the market starts counts for nothing.
    data : DataConfig
        Which records the owners hold.
    owners : tuple of OwnerSegment
        Segments of data owners.
    broker : BrokerConfig, optional
        The broker and its mechanisms; None where there are `brokers`.
    brokers : tuple of NamedBroker
        Brokers that compete, instead of one.
    buyers : tuple of BuyerSegment
        Segments of model buyers.
    incentives : IncentivesConfig
        What is measured of the owners' incentives.
    """

    rounds: Count = 10
    warm_up: Annotated[int, Field(ge=0, strict=True)] = 0
    data: DataConfig = DataConfig()
    owners: Annotated[tuple[OwnerSegment, ...], Field(min_length=1)]
    broker: BrokerConfig | None = None
    brokers: tuple[NamedBroker, ...] = ()
    buyers: Annotated[tuple[BuyerSegment, ...], Field(min_length=1)]
    incentives: IncentivesConfig = IncentivesConfig()

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, raw: Any) -> Any:
        if isinstance(raw, Mapping) and not raw.get("brokers"):
            return {**raw, "broker": {} if raw.get("broker") is None else raw["broker"]}
        return raw

    @property
    def desks(self) -> dict[str, BrokerConfig]:
        """Settings of every broker, by its name."""
        if self.broker is not None:
            return {"broker": self.broker}
        return {name: broker for broker in self.brokers for name in broker.names}

    @property
    def n_owners(self) -> int:
        """Owners in all segments."""
        return sum(segment.count for segment in self.owners)

    @property
    def n_buyers(self) -> int:
        """Buyers in all segments when the market opens."""
        return sum(segment.count for segment in self.buyers)

    def accuracy_curve(self, broker: BrokerConfig) -> AccuracyCurve | None:
        """The curve that stands in for training at a broker, if one does.

        Raises
        ------
        ValueError
            If there is none of that name or in that file, or none for the data.
        """
        training = broker.training
        if training.method != "surrogate":
            return None
        name = training.curve
        if name is None:
            if self.data.source == "values" or self.data.identity() not in SHIPPED_DATA:
                raise ValueError(
                    f"{broker.section}.training.curve is missing; method 'surrogate' has no curve of its own for "
                    f"{_words(self.data.identity())}, so it needs the file of one (see `dealer calibrate`)"
                    + (" or the name of one" if self.data.source == "values" else "")
                )
            name = self.data.source
        try:
            if name.endswith(".json"):
                return AccuracyCurve.load(Path(name))
            return shipped_curve(name, training.model, training.neighbours)
        except ValueError as error:
            raise ValueError(f"{broker.section}.training.curve: {error}") from error

    @model_validator(mode="after")
    def _consistent(self) -> MarketConfig:
        for kind, segments in (("owners", self.owners), ("buyers", self.buyers)):
            names = [segment.segment for segment in segments]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind}: found the segment {twice[0]!r} twice; every segment needs its own name")
        if self.warm_up >= self.rounds:
            raise ValueError(
                f"warm_up: found {self.warm_up} of rounds = {self.rounds}; allowed are numbers below, so that "
                "something is logged"
            )
        self._check_brokers()
        drawn = self.data.source == "values"
        smallest = min(broker.epsilons[0] for broker in self.desks.values())
        for owners in self.owners:
            if drawn and owners.value is None:
                raise ValueError(
                    f"owners.{owners.segment}.value is missing; with data.source = 'values' it gives each owner's "
                    "Shapley value"
                )
            largest = math.inf if owners.privacy_budget is None else owners.privacy_budget.support()[1]
            if largest < smallest:
                raise ValueError(
                    f"owners.{owners.segment}.privacy_budget: found at most {largest:g}, which affords no version; "
                    f"allowed are budgets that reach the smallest epsilon, {smallest:g}"
                )
            if drawn and owners.base_price == "records":
                raise ValueError(
                    f"owners.{owners.segment}.base_price: found 'records'; with data.source = 'values' there are no "
                    "records, so allowed are 'shapley', a number, a list or a distribution"
                )
            if not drawn and owners.value is not None:
                raise ValueError(
                    f"owners.{owners.segment}.value: found a distribution; allowed with data.source = 'values' only"
                )
            if owners.leakage > 0 and owners.count == 1:
                raise ValueError(
                    f"owners.{owners.segment}.leakage: found {owners.leakage:g} for a single owner; allowed with "
                    "count > 1 only, since it is the others of the segment that leak"
                )
            if not drawn and owners.correlation != 0:
                raise ValueError(
                    f"owners.{owners.segment}.correlation: found {owners.correlation:g}; allowed with data.source = "
                    "'values' only, where values are drawn"
                )
        for broker in self._sections:
            self._check_broker(broker)
        return self

    @property
    def _sections(self) -> tuple[BrokerConfig, ...]:
        return self.brokers if self.broker is None else (self.broker,)

    def _check_brokers(self) -> None:
        """Refuse one broker beside several, two of one name, and brokers that count privacy differently."""
        if self.broker is not None and self.brokers:
            raise ValueError(
                f"brokers: found {', '.join(broker.name for broker in self.brokers)} beside a section broker; allowed "
                "is one broker, or several that are all named"
            )
        names = [name for broker in self.brokers for name in broker.names]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"brokers: found the name {twice[0]!r} twice; every broker needs its own")
        first = self._sections[0]
        for broker in self._sections[1:]:
            pairs = {
                "delta": (broker.delta, first.delta),
                "privacy_accounting": (broker.privacy_accounting, first.privacy_accounting),
                "training.unit": (broker.training.unit, first.training.unit),
                "training.records_per_owner": (broker.training.records_per_owner, first.training.records_per_owner),
            }
            for name, (found, allowed) in pairs.items():
                if found != allowed:
                    raise ValueError(
                        f"{broker.section}.{name}: found {found!r} where {first.section} has {allowed!r}; allowed is "
                        "the same for all brokers, since an owner's privacy is counted over all of them"
                    )
        for owners in self.owners:
            if owners.homing == "single" and self.broker is not None:
                raise ValueError(
                    f"owners.{owners.segment}.homing: found 'single' where there is one broker; allowed with "
                    "[[brokers]] only"
                )

    def _check_broker(self, broker: BrokerConfig) -> None:
        """Refuse what a broker could not do with these data and owners."""
        section, training = broker.section, broker.training
        if self.data.source != "values":
            self._check_valuation(broker)
        curve = self.accuracy_curve(broker)
        if curve is not None:
            _check_curve(self, broker, curve)
        method = training.method if curve is None else curve.method
        if broker.privacy_accounting == "gaussian" and method not in GAUSSIAN:
            trained = "an accuracy curve that does not tell its training method"
            raise ValueError(
                f"{section}.privacy_accounting: found 'gaussian' with "
                f"{trained if method is None else f'the training method {method!r}'}; allowed with it are the "
                f"Gaussian mechanisms {', '.join(map(repr, GAUSSIAN))}"
            )
        if training.method == "surrogate":
            return
        for epsilon in broker.epsilons:
            try:
                plan_training(
                    epsilon,
                    broker.delta,
                    self.data.known_classes(),
                    1,
                    1,
                    model=training.model,
                    method=training.method,
                    neighbours=training.neighbours,
                    unit=training.unit,
                )
            except ValueError as error:
                raise ValueError(f"{section}.epsilons: found {epsilon:g}; {error}") from error

    def _check_valuation(self, broker: BrokerConfig) -> None:
        """Check that the method takes as many owners, and the game data of this size."""
        section, valuation = broker.section, broker.valuation
        limit = None if valuation.method == "auto" else VALUATION.resolve(valuation.method).max_players
        if limit is not None and self.n_owners > limit:
            raise ValueError(
                f"{section}.valuation.method: found {valuation.method!r} for {self.n_owners} owners; it takes at most "
                f"{limit}, so name a method that samples, such as 'svarm', or 'auto'"
            )
        try:
            check_game_options(
                valuation.game,
                valuation.game_options,
                n_features=self.data.known_features(),
                n_classes=self.data.known_classes(),
            )
        except ValueError as error:
            raise ValueError(f"{section}.valuation.game: {error}") from error


#: Data sets of which curves come with the package.
SHIPPED_DATA = [DataConfig(source=name).identity() for name in ("breast_cancer", "iris", "digits", "synthetic")]


def _check_curve(market: MarketConfig, broker: BrokerConfig, curve: AccuracyCurve) -> None:
    """Refuse a curve that was calibrated for other data, another training or other epsilons than the market's."""
    section, data = broker.section, market.data
    training = broker.training
    drawn = data.source == "values"
    if drawn and training.records_per_owner is None:
        raise ValueError(
            f"{section}.training.records_per_owner is missing; with data.source = 'values' the surrogate takes it for "
            "the number of records of each owner"
        )
    if not drawn and training.records_per_owner is not None:
        raise ValueError(
            f"{section}.training.records_per_owner: found {training.records_per_owner}; allowed with data.source = "
            "'values' only, elsewhere the owners' records are counted"
        )
    low, high = curve.epsilon_range
    for epsilon in broker.epsilons:
        if not low <= epsilon <= high:
            raise ValueError(
                f"{section}.epsilons: found {epsilon:g}; the accuracy curve was calibrated for {low:g} to {high:g}"
            )
    total = market.n_owners * (training.records_per_owner or 0)
    if total > curve.records_range[1]:
        raise ValueError(
            f"{section}.training.records_per_owner: found {training.records_per_owner}, which makes {total} records in "
            f"all; the accuracy curve was calibrated for up to {curve.records_range[1]:g}"
        )
    if curve.calibration is None:
        return
    calibrated = curve.calibration
    if training.unit == "owner" and market.n_owners != calibrated.owners:
        raise ValueError(
            f"owners: found {market.n_owners} with {section}.training.unit = 'owner'; the accuracy curve was "
            f"calibrated for {calibrated.owners}, and how much noise weighs depends on their number"
        )
    # A setting that the file does not know had its default when the file was written.
    defaults = {name: field.default for name, field in TrainingConfig.model_fields.items()}
    pairs: list[tuple[str, Any, Any]] = [(f"{section}.delta", broker.delta, calibrated.delta)]
    for name, found in training.settings().items():
        pairs.append((f"{section}.training.{name}", found, calibrated.training.get(name, defaults[name])))
    if not drawn:
        pairs.append(("data", _words(data.identity()), _words(calibrated.data)))
    for name, found, allowed in pairs:
        if found != allowed:
            raise ValueError(f"{name}: found {found!r}; the accuracy curve was calibrated for {allowed!r}")


def _words(identity: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in identity.items())
