"""What a scenario can name, read off the classes themselves."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analysis.curves import summary
from analysis.tables import markdown_table
from scenarios.experiment import library
from simulator.agents import broker_behaviours, buyer_behaviours, owner_behaviours, valuation_curves
from simulator.config import DATASETS
from simulator.pricing import pricing_strategies
from simulator.privacy.surrogate import shipped_curves
from simulator.procurement import procurement_methods
from simulator.registry import Described
from simulator.settlement import settlement_rules
from simulator.valuation import valuation_estimators, valuation_games

#: Title of each list, and the setting that takes its names.
TITLES = {
    "strategies": ("Pricing strategies", "broker.pricing"),
    "procurement": ("Procurement methods", "broker.procurement"),
    "valuation": ("Valuation methods", "broker.valuation.method"),
    "games": ("Games, what a coalition's records are worth", "broker.valuation.game"),
    "settlement": ("Settlement rules", "broker.settlement"),
    "behaviours": (
        "Behaviours of owners, buyers and brokers",
        "owners.SEGMENT.behaviour, buyers.SEGMENT.behaviour, broker.behaviour",
    ),
    "worth": ("Valuation curves, what versions are worth to buyers", "buyers.SEGMENT.curve"),
    "datasets": ("Data sets", "data.source"),
    "curves": ("Accuracy curves of the surrogate for training", "broker.training.curve"),
    "scenarios": ("Scenarios", "dealer run NAME"),
}


def catalogue() -> dict[str, list[tuple[str, str, str]]]:
    """Names, one-line summaries and sources by kind."""
    return {
        "strategies": _described(pricing_strategies()),
        "procurement": _described(procurement_methods()),
        "valuation": _described(valuation_estimators()),
        "games": _described(valuation_games()),
        "settlement": _described(settlement_rules()),
        "behaviours": [
            *((name, f"(owner) {summary}", source) for name, summary, source in _described(owner_behaviours())),
            *((name, f"(buyer) {summary}", source) for name, summary, source in _described(buyer_behaviours())),
            *((name, f"(broker) {summary}", source) for name, summary, source in _described(broker_behaviours())),
        ],
        "worth": _described(valuation_curves()),
        "datasets": [(name, summary, "") for name, summary in DATASETS.items()],
        "curves": [(name, summary(curves), "") for name, curves in shipped_curves().items()],
        "scenarios": [(name, _first_comment(path.read_text(encoding="utf-8")), "") for name, path in library().items()],
    }


def text_tables(shown: Mapping[str, list[tuple[str, str, str]]]) -> str:
    """Lists for the terminal."""
    blocks = []
    for kind, rows in shown.items():
        title, setting = TITLES[kind]
        width = max(len(name) for name, _, _ in rows)
        blocks.append("\n".join([f"{title} ({setting}):", *(f"  {n.ljust(width)}  {s}" for n, s, _ in rows)]))
    return "\n\n".join(blocks)


def markdown_tables(shown: Mapping[str, list[tuple[str, str, str]]]) -> str:
    """Lists for the documentation."""
    blocks = []
    for kind, rows in shown.items():
        title, setting = TITLES[kind]
        cells = [(f"`{name}`", text, source) for name, text, source in rows]
        table = markdown_table(pd.DataFrame(cells, columns=["name", "what it does", "source"]), align="lll")
        blocks.append(f"## {title}\n\nSetting: `{setting}`\n\n{table}")
    return "\n\n".join(blocks)


def _described(classes: Mapping[str, type[Described]]) -> list[tuple[str, str, str]]:
    return [(name, cls.summary(), cls.source) for name, cls in classes.items()]


def _first_comment(text: str) -> str:
    return text.partition("\n")[0].removeprefix("#").strip()
