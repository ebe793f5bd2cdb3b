"""Results with made-up numbers, whose figures and tables can be computed by hand."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scenarios.experiment import library, parse
from scenarios.store import Results
from simulator.log import ROUND_METRICS

OWNERS, BUYERS, EPSILONS = 7, 6, (1.0, 2.0, 3.0)


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
        rng = np.random.default_rng(1)
        tables = [_tables(row, experiment.rounds, rng) for row in results.plan.to_dict("records")]
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


def _tables(run: dict[str, Any], rounds: int, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    swept = [value for key, value in run.items() if "." in key]
    level = 100 + 10 * run["replicate"] + 20 * sum(value for value in swept if not isinstance(value, str))
    each = pd.DataFrame({"run": run["run"], "round": np.arange(1, rounds + 1)})
    of_rounds = each.assign(**{metric: rng.normal(size=rounds) for metric in ROUND_METRICS}, list_kind="repaired")
    of_rounds["revenue"] = level - 2 * ("low" in swept) + rng.normal(size=rounds)

    def crossed(name: str, count: int, **columns: Any) -> pd.DataFrame:
        table = each.merge(pd.DataFrame({name: np.arange(count)}), how="cross")
        return table.assign(**{key: draw(len(table)) for key, draw in columns.items()})

    versions = crossed("version", len(EPSILONS), price=lambda n: rng.uniform(1, 9, n), coverage=rng.random,
                       accuracy=rng.random)  # fmt: skip
    versions = versions.assign(epsilon=np.array(EPSILONS)[versions["version"]], on_sale=True)
    owners = crossed("owner", OWNERS, paid=lambda n: rng.gamma(0.5, size=n) * (rng.random(n) < 0.7))
    sales = crossed("buyer", BUYERS, surplus=lambda n: rng.gamma(1.0, size=n))
    return {"rounds": of_rounds, "versions": versions, "owners": owners, "sales": sales[rng.random(len(sales)) < 0.5]}
