"""Fixtures shared by the tests: small markets, what passes between their phases, and results with made-up numbers."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scenarios.experiment import library, parse
from scenarios.store import Results
from simulator import Market, MarketConfig
from simulator.log import ROUND_METRICS
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
    brokers: list[dict[str, Any]] | None = None,
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
    desk = {"epsilons": [0.5, 1.0, 2.0], **broker}
    several = [{"name": f"b{number}", **desk, **own} for number, own in enumerate(brokers or [])]
    return MarketConfig.model_validate(
        {
            "rounds": rounds,
            "data": source,
            "owners": [{**owner, **own} for own in (owners if isinstance(owners, list) else [owners or {}])],
            **({"brokers": several} if several else {"broker": desk}),
            "buyers": [{**buyer, **own} for own in (buyers if isinstance(buyers, list) else [buyers or {}])],
        }
    )


@pytest.fixture(scope="session")
def make_config() -> Callable[..., MarketConfig]:
    """A function that makes the configuration of a small market.

    By default 6 owners whose values are drawn, 15 buyers, three versions, two rounds. `owners` and `buyers` take
    keys of a segment, or a list of such for several segments; `broker` takes keys of the broker, to which the
    example options of a pricing strategy that needs some are added, and `brokers` those in which each of several
    differs from it.
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


OWNERS, BUYERS, EPSILONS = 7, 6, (1.0, 2.0, 3.0)
STUDY = {
    "name": "study",
    "rounds": 1,
    "seed": 5,
    "data": {"source": "values"},
    "owners": [{"segment": "o", "count": 5, "value": {"dist": "expon"}, "privacy_sensitivity": 0.2}],
    "broker": {"epsilons": [1, 4]},
    "buyers": [{"segment": "b", "count": 10, "budget": 200, "epsilon_expected": 2}],
}


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Results]:
    """A function that keeps a study in which every metric is a formula of the plan's rows.

    `missing` are numbers of runs that failed; a value NaN is a metric that is undefined.
    """

    def make(
        sweep: dict[str, Any],
        metrics: dict[str, Callable[[pd.DataFrame], Any]],
        *,
        replicates: int = 10,
        missing: tuple[int, ...] = (),
        name: str = "study",
        **scenario: Any,
    ) -> Results:
        experiment = parse(STUDY | {"sweep": sweep, "replicates": replicates} | scenario)
        results = Results.create(tmp_path / name, experiment)
        plan = results.plan
        plan["batch"] = 0  # one file a table is quicker
        failed = plan["run"].isin(missing)
        table = pd.DataFrame({"run": plan["run"], "round": 1, "list_kind": "repaired"})
        table = table.assign(**{metric: np.asarray(formula(plan), dtype=float) for metric, formula in metrics.items()})
        statuses = pd.DataFrame({"run": plan["run"], "status": np.where(failed, "failed", "done")})
        statuses = statuses.assign(error=np.where(failed, "ValueError: made up", ""), seconds=0.5)
        results.write_batch(0, {"rounds": table[~failed]}, statuses)
        return Results(results.folder)

    return make


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Results]:
    """A function that makes results of a sweep with random numbers in all tables.

    Keys of the scenario are given by name. Revenue has a level that depends on the replicate and on every swept
    number, and nothing else does; in a sweep of `broker.pricing`, "low" earns a little less than the others.
    """

    def make(*, sweep: dict[str, Any], failed: tuple[int, ...] = (), **scenario: Any) -> Results:
        raw = tomllib.loads(library()["walkthrough"].read_text(encoding="utf-8"))
        raw |= {"sweep": sweep, "rounds": 3, "replicates": 4, "tables": ["rounds", "versions", "owners", "sales"]}
        raw |= {"owners": [{**raw["owners"][0], "count": OWNERS}]}
        raw.pop("comparison", None)
        experiment = parse(raw | scenario)
        results = Results.create(tmp_path_factory.mktemp("made_up") / "results", experiment)
        tables = [_tables(row, experiment.rounds) for row in results.plan.to_dict("records")]
        results.plan["batch"] = 0  # one file a table is quicker
        lost = results.plan["run"].isin(failed)
        results.write_batch(
            0,
            {name: pd.concat([own[name] for own in tables], ignore_index=True) for name in experiment.tables},
            pd.DataFrame({"run": results.plan["run"], "status": np.where(lost, "failed", "done"),
                          "error": np.where(lost, "ValueError: made up", ""), "seconds": 0.5}),
        )  # fmt: skip
        return results

    return make


def _tables(run: dict[str, Any], rounds: int) -> dict[str, pd.DataFrame]:
    # Each run has numbers of its own, revenue first: whatever other metrics there are, they do not move it.
    rng = np.random.default_rng([1, run["run"]])
    swept = [value for key, value in run.items() if "." in key]
    level = 100 + 10 * run["replicate"] + 20 * sum(value for value in swept if not isinstance(value, str))
    each = pd.DataFrame({"run": run["run"], "round": np.arange(1, rounds + 1)})
    revenue = level - 2 * ("low" in swept) + rng.normal(size=rounds)
    others = {metric: rng.normal(size=rounds) for metric in ROUND_METRICS if metric != "revenue"}
    of_rounds = each.assign(**others, revenue=revenue, list_kind="repaired")

    def crossed(name: str, count: int, **columns: Any) -> pd.DataFrame:
        table = each.merge(pd.DataFrame({name: np.arange(count)}), how="cross")
        return table.assign(**{key: draw(len(table)) for key, draw in columns.items()})

    versions = crossed("version", len(EPSILONS), price=lambda n: rng.uniform(1, 9, n), coverage=rng.random,
                       accuracy=rng.random)  # fmt: skip
    versions = versions.assign(epsilon=np.array(EPSILONS)[versions["version"]], on_sale=True)
    owners = crossed("owner", OWNERS, paid=lambda n: rng.gamma(0.5, size=n) * (rng.random(n) < 0.7))
    sales = crossed("buyer", BUYERS, surplus=lambda n: rng.gamma(1.0, size=n))
    return {"rounds": of_rounds, "versions": versions, "owners": owners, "sales": sales[rng.random(len(sales)) < 0.5]}
