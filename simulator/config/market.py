"""Configuration of one market: data, owners, brokers, buyers, rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from simulator.config.broker import BrokerConfig, NamedBroker
from simulator.config.data import DataConfig
from simulator.config.section import Count, Section
from simulator.config.segments import BuyerSegment, OwnerSegment
from simulator.config.surrogate import SHIPPED_DATA, check_curve, words
from simulator.privacy.surrogate import AccuracyCurve, shipped_curve
from simulator.privacy.training import GAUSSIAN, plan_training
from simulator.valuation.estimator import VALUATION
from simulator.valuation.games import check_game_options


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
                    f"{words(self.data.identity())}, so it needs the file of one (see `dealer calibrate`)"
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
            check_curve(self, broker, curve)
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
