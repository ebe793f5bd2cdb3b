"""Populations drawn from their segments' configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import mesa
import numpy as np

from simulator.agents.buyer import BUYERS, BuyerGroup, BuyerPopulation, taste
from simulator.agents.curve import CURVES, column
from simulator.agents.owner import OWNERS, OwnerPopulation
from simulator.agents.population import Group
from simulator.agents.turnover import draw_arrivals, draw_times
from simulator.config import BuyerSegment, OwnerSegment
from simulator.distributions import Attribute, correlated
from simulator.registry import Family
from simulator.streams import Streams


def make_owners(
    model: mesa.Model,
    segments: Sequence[OwnerSegment],
    streams: Streams,
    first_id: int,
    records: np.ndarray | None = None,
    brokers: int = 1,
) -> OwnerPopulation:
    """Draw the owners of a market, each attribute of each segment from its own stream.

    `records` is how many each owner holds, shape (n,); base prices by records need it. `brokers` is how many there are.
    """
    stops = np.cumsum([s.count for s in segments])
    columns = {
        "privacy_sensitivity": [_privacy_sensitivity(s, streams) for s in segments],
        "base_price_pool": [np.full(s.count, s.base_price_pool * (s.base_price == "shapley")) for s in segments],
        "fixed_base_price": [
            _fixed_base_price(s, streams, None if records is None else (records / records.sum())[stop - s.count : stop])
            for s, stop in zip(segments, stops, strict=True)
        ],
        "willing": [
            streams.uniforms("owners.willing", s.count, segment=s.segment)
            <= s.participation.draw(streams, "owners.participation", s.count, s.segment)
            for s in segments
        ],
        "privacy_budget": [
            np.full(s.count, np.inf)
            if s.privacy_budget is None
            else s.privacy_budget.draw(streams, "owners.privacy_budget", s.count, s.segment)
            for s in segments
        ],
    }
    columns["reservation_surplus"] = [
        np.full(s.count, -np.inf)
        if s.reservation_surplus is None
        else s.reservation_surplus.draw(streams, "owners.reservation_surplus", s.count, s.segment)
        for s in segments
    ]
    columns["expectation_weight"] = [np.full(s.count, s.expectation_weight) for s in segments]
    columns["leakage"] = [np.full(s.count, s.leakage) for s in segments]
    columns["home"] = [_homes(s, brokers, streams) for s in segments]
    columns["switching"] = [np.full(s.count, s.switching) for s in segments]
    columns["expected_surplus"] = [np.full(s.count, np.nan) for s in segments]
    columns["took_part"] = [np.zeros(s.count, dtype=bool) for s in segments]
    groups = [_group(s, OWNERS, "owners", streams) for s in segments]
    return OwnerPopulation(model, groups, {k: np.concatenate(v) for k, v in columns.items()}, first_id)


def _group(segment: OwnerSegment | BuyerSegment, family: Family, side: str, streams: Streams, *later: int) -> Group:
    """A segment to be made, with as many members more as arrive in each round."""
    parameters = {
        name: attribute.draw(streams, f"{side}.behaviour.{name}", segment.count, segment.segment, *later)
        for name, attribute in segment.behaviour_options.items()
    }
    return Group(segment.segment, family.resolve(segment.behaviour), segment.count + sum(later), parameters)


def _homes(segment: OwnerSegment, brokers: int, streams: Streams) -> np.ndarray:
    """Position of the broker that each owner of a segment deals with at first, -1 for one that deals with all."""
    if segment.homing == "multi":
        return np.full(segment.count, -1)
    return np.floor(streams.uniforms("owners.home", segment.count, segment=segment.segment) * brokers).astype(int)


def _privacy_sensitivity(segment: OwnerSegment, streams: Streams) -> np.ndarray:
    """Sensitivities of a segment, correlated with its owners' values where the scenario says so."""
    role = "owners.privacy_sensitivity"
    if segment.correlation == 0:
        return segment.privacy_sensitivity.draw(streams, role, segment.count, segment.segment)
    own, value = (streams.uniforms(r, segment.count, segment=segment.segment) for r in (role, "owners.value"))
    return segment.privacy_sensitivity.quantiles(correlated(own, value, segment.correlation))


def _fixed_base_price(segment: OwnerSegment, streams: Streams, shares: np.ndarray | None) -> np.ndarray:
    """Base prices of a segment, 0 if they go by Shapley value; `shares` are its owners' of all records."""
    if isinstance(segment.base_price, Attribute):
        return segment.base_price.draw(streams, "owners.base_price", segment.count, segment.segment)
    if segment.base_price == "records":
        if shares is None:
            raise ValueError(f"owners.{segment.segment}.base_price: found 'records', but there are no records")
        return segment.base_price_pool * shares
    return np.zeros(segment.count)


def make_buyers(
    model: mesa.Model,
    segments: Sequence[BuyerSegment],
    streams: Streams,
    first_id: int,
    rounds: int = 1,
    brokers: Iterable[str] = ("broker",),
) -> BuyerPopulation:
    """Draw the buyers of a market, each attribute of each segment from its own stream.

    Those who arrive are drawn as well, for so many rounds. `brokers` are the names of those for whom there are tastes.
    """
    arrivals = [draw_arrivals(s.arrivals, rounds, streams, s.segment) for s in segments]
    curves = [CURVES.resolve(s.curve) for s in segments]
    groups = [
        BuyerGroup(
            **vars(_group(s, BUYERS, "buyers", streams, *later)),
            curve=curve,
            arrivals=later,
            one_off=s.one_off,
            drift=s.drift,
            volatility=s.volatility,
        )
        for s, curve, later in zip(segments, curves, arrivals, strict=True)
    ]
    attributes = ("budget", "coverage_expected", "coverage_sensitivity", "epsilon_expected", "noise_sensitivity")
    columns = {
        name: np.concatenate(
            [
                getattr(s, name).draw(streams, f"buyers.{name}", s.count, s.segment, *later)
                for s, later in zip(segments, arrivals, strict=True)
            ]
        )
        for name in attributes
    }
    stops = np.cumsum([group.count for group in groups])
    for s, group, stop in zip(segments, groups, stops.tolist(), strict=True):
        for name, parameter in group.curve.parameters().items():
            attribute = s.curve_options.get(name, Attribute(constant=parameter.default))
            values = columns.setdefault(column(name), np.zeros(stops[-1]))
            role = f"buyers.curve.{name}"
            values[stop - group.count : stop] = attribute.draw(streams, role, s.count, s.segment, *group.arrivals)
    if any(s.taste.constant != 0 for s in segments):
        for broker in brokers:
            drawn = [
                s.taste.draw(streams, f"buyers.{taste(broker)}", s.count, s.segment, *later)
                for s, later in zip(segments, arrivals, strict=True)
            ]
            columns[taste(broker)] = np.concatenate(drawn)
    if any(s.turnover for s in segments):
        times = [
            draw_times(s.count, later, s.stay, streams, s.segment) for s, later in zip(segments, arrivals, strict=True)
        ]
        columns["arrived"], columns["left"] = (np.concatenate(part) for part in zip(*times, strict=True))
        columns["served"] = np.zeros(stops[-1], dtype=bool)
    return BuyerPopulation(model, groups, columns, first_id)
