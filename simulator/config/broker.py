"""Configuration of brokers and their mechanisms."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from simulator.agents.behaviour import BROKERS, BrokerBehaviour
from simulator.config.section import Count, Name, Number, Section
from simulator.pricing.composition import Composition, check_epsilons
from simulator.pricing.strategy import PRICING
from simulator.privacy.accounting import Neighbours, Unit
from simulator.privacy.accounts import Composition as PrivacyComposition
from simulator.privacy.training import Method, Model
from simulator.procurement.method import PROCUREMENT, version_options
from simulator.settlement.rule import SETTLEMENT
from simulator.valuation.estimator import VALUATION
from simulator.valuation.games import GAMES, check_game_options


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

    name: Name
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
