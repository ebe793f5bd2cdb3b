"""What a report says of the experiment itself: its design, its parameters, where it comes from."""

from __future__ import annotations

import base64
import json
from typing import Any

from analysis.cells import parameters, shown_level
from scenarios.errors import name_of
from scenarios.store import Results

#: How ranges are sampled, in words.
SAMPLING = {
    "sobol": "scrambled Sobol points",
    "latin_hypercube": "a Latin hypercube",
    "random": "independent draws",
    "saltelli": "Saltelli's design for Sobol indices",
    "morris": "Morris' trajectories",
}


def plan_summary(results: Results) -> dict[str, Any]:
    """Numbers of runs, design points and samples, and the time they took."""
    plan = results.plan
    counts = plan["status"].value_counts()
    return {
        "runs": len(plan),
        "points": int(plan["point"].nunique()),
        "samples": int(plan["sample"].nunique()),
        "done": int(counts.get("done", 0)),
        "failed": int(counts.get("failed", 0)),
        "pending": int(counts.get("pending", 0)),
        "seconds": float(plan["seconds"].sum()),
    }


def swept_parameters(results: Results) -> list[tuple[str, str, str]]:
    """Swept parameters: name, kind, and values or distribution."""
    sweep = results.experiment.scenario()["sweep"]
    rows = []
    for parameter in parameters(results.experiment).values():
        zipped = ", ".join(name for name in parameter.together if name != parameter.name)
        if parameter.is_range:
            rows.append((parameter.name, "range", _distribution(sweep[parameter.name])))
        else:
            kind = f"list, zipped with {zipped}" if zipped else "list"
            rows.append((parameter.name, kind, ", ".join(map(shown_level, parameter.levels))))
    return rows


def shown_parameters(results: Results) -> list[tuple[str, str]]:
    """Parameters of the market that matter in it, swept ones marked."""
    scenario = results.experiment.market_scenario()
    if scenario["data"]["source"] != "synthetic":
        scenario["data"] = {key: scenario["data"][key] for key in ("source", "label")}
    return [
        (name, "swept, see above" if name in results.experiment.sweep else value)
        for name, value in _parameters(scenario)
    ]


def scenario_file(results: Results) -> str:
    """The scenario as resolved, as the address of a file to download."""
    text = json.dumps(results.experiment.scenario(), indent=2)
    return f"data:application/json;base64,{base64.b64encode(text.encode()).decode()}"


def _parameters(section: Any, name: str = "") -> list[tuple[str, str]]:
    """All parameters of a scenario by dotted name, segments and brokers by theirs."""
    if isinstance(section, dict) and "dist" in section:
        return [(name, _distribution(section))]
    if isinstance(section, dict):
        return [row for key, value in section.items() for row in _parameters(value, f"{name}.{key}".strip("."))]
    if isinstance(section, list) and section and isinstance(section[0], dict):
        return [row for part in section for row in _parameters(part, f"{name}.{name_of(part)}")]
    if isinstance(section, list) and section:
        return [(name, ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in section))]
    empty = section is None or section == [] or name.endswith((".segment", ".name"))
    return [] if empty else [(name, str(section))]


def _distribution(section: dict[str, Any]) -> str:
    shown = ", ".join(f"{key} = {value:g}" for key, value in section.items() if key != "dist")
    return f"{section['dist']}({shown})"
