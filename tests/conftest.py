"""Fixtures shared by the tests: small market configurations, and a look at what passes between the phases."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from simulator import Market, MarketConfig
from simulator.pricing.strategy import PRICING

# Figures are drawn without a display. The variable is read when matplotlib is first imported.
os.environ["MPLBACKEND"] = "Agg"
# No test depends on what an earlier one left in the cache folder, nor leaves anything there.
os.environ["DEALER_CACHE"] = "off"


def _config(
    *,
    data: str | dict[str, Any] = "values",
    rounds: int = 2,
    owners: dict[str, Any] | list[dict[str, Any]] | None = None,
    broker: dict[str, Any] | None = None,
    buyers: dict[str, Any] | list[dict[str, Any]] | None = None,
) -> MarketConfig:
    source = {"source": data} if isinstance(data, str) else data
    owner = {"segment": "owners", "count": 6, "privacy_sensitivity": {"dist": "uniform", "scale": 1.0}}
    owner["base_price_pool"] = 20.0
    if source["source"] == "values":
        owner["value"] = {"dist": "norm", "loc": 1.0}
    broker = broker or {}
    strategy = PRICING.classes().get(broker.get("pricing", "dpp_plus"))
    if strategy is not None and strategy.example_options:  # and what it needs beside them
        broker = {"pricing_options": dict(strategy.example_options), "starting_budget": 30.0, **broker}
    buyer = {
        "segment": "buyers",
        "count": 15,
        "budget": {"dist": "lognorm", "s": 0.5, "scale": 30.0},
        "coverage_expected": {"dist": "uniform"},
        "coverage_sensitivity": 3.0,
        "epsilon_expected": {"dist": "uniform", "scale": 2.5},
    }
    return MarketConfig.model_validate(
        {
            "rounds": rounds,
            "data": source,
            "owners": [{**owner, **own} for own in (owners if isinstance(owners, list) else [owners or {}])],
            "broker": {"epsilons": [0.5, 1.0, 2.0], **broker},
            "buyers": [{**buyer, **own} for own in (buyers if isinstance(buyers, list) else [buyers or {}])],
        }
    )


@pytest.fixture(scope="session")
def make_config() -> Callable[..., MarketConfig]:
    """A function that makes the configuration of a small market.

    By default 6 owners whose values are drawn, 15 buyers, three versions, two rounds. `owners` and `buyers` take
    keys of a segment, or a list of such for several segments; `broker` takes keys of the broker, to which the
    example options of a pricing strategy that needs some are added.
    """
    return _config


def _watch(market: Market, side: str, phase: str) -> list[Any]:
    seen: list[Any] = []
    party = getattr(market, side)
    method = getattr(party, phase)

    def watched(*args: Any) -> Any:
        seen.append(method(*args))
        return seen[-1]

    setattr(party, phase, watched)
    return seen


@pytest.fixture(scope="session")
def watch() -> Callable[[Market, str, str], list[Any]]:
    """A function that collects what a phase returns, round by round: ``watch(market, "broker", "survey")``."""
    return _watch
