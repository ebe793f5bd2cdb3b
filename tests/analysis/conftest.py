"""Studies with made-up metrics: real designs and folders, numbers from a formula."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scenarios.experiment import parse
from scenarios.store import Results

SCENARIO = {
    "name": "made-up",
    "rounds": 1,
    "seed": 5,
    "data": {"source": "values"},
    "owners": [{"segment": "o", "count": 5, "value": {"dist": "expon"}, "privacy_sensitivity": 0.2}],
    "broker": {"epsilons": [1, 4]},
    "buyers": [{"segment": "b", "count": 10, "budget": 200, "epsilon_expected": 2}],
}


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Results]:
    """A function that keeps a study in a folder: every metric is a formula of the plan's rows.

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
        experiment = parse(SCENARIO | {"sweep": sweep, "replicates": replicates} | scenario)
        results = Results.create(tmp_path / name, experiment)
        plan = results.plan
        table = pd.DataFrame({"run": plan["run"], "round": 1, "list_kind": "repaired"})
        table = table.assign(**{metric: np.asarray(formula(plan), dtype=float) for metric, formula in metrics.items()})
        for batch, runs in results.batches(("pending",)).items():
            failed = runs["run"].isin(missing)
            done = runs.assign(
                status=np.where(failed, "failed", "done"), error=np.where(failed, "made up", ""), seconds=0.1
            )
            rows = table[table["run"].isin(runs.loc[~failed, "run"])]
            results.write_batch(batch, {"rounds": rows}, done[["run", "status", "error", "seconds"]])
        return Results(results.folder)

    return make
