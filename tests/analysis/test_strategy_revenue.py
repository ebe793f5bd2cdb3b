"""The table of what strategies earn: bounds above, lists below, in the order that theory gives."""

from pathlib import Path

import numpy as np
import pytest

from analysis.strategy_revenue import FAMILIES, composition_gain, markdown, revenue_table
from simulator.pricing import pricing_strategies

DOCS = Path(__file__).parents[2] / "docs" / "pricing.md"
#: A share of revenue to which optima are proven, and sums agree.
SAME = 1e-9


@pytest.mark.parametrize("family", FAMILIES)
def test_revenues_stand_in_the_order_of_theory(family):
    table = revenue_table(FAMILIES[family], markets=3, buyers=40, rounds=8)
    mean = table["mean"]
    assert set(mean.index) == set(pricing_strategies()) - {"cost_plus"}
    assert mean["exact"] == 1.0
    assert mean["perfect"] >= mean["monopoly"] >= 1.0 - SAME
    assert 1.0 + SAME >= mean["lifted"] >= mean["dpp_plus"] >= max(mean["uniform"], mean["dpp"]) - SAME
    assert (mean.drop(["perfect", "monopoly"]) <= 1.0 + SAME).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_menu_beats_lists_for_fixed_targets_where_buyers_choose(family):
    mean = revenue_table(FAMILIES[family], choosing=True, markets=5, buyers=40, rounds=8)["mean"]
    assert mean["menu"] >= mean["dpp_plus"] - SAME


@pytest.mark.parametrize("family", FAMILIES)
def test_the_quadratic_rule_keeps_at_least_the_additive_rules_revenue(family):
    assert composition_gain(FAMILIES[family], markets=3, buyers=40)[0] >= 1.0 - SAME


def test_families_draw_positive_worth_that_rises_with_epsilon():
    for family in FAMILIES.values():
        worth, targets = family(np.random.default_rng(0), 50)
        assert worth.shape == (50, 5)
        assert (worth > 0).all()
        assert (np.diff(worth, axis=1) > 0).all()
        assert set(targets) <= set(range(5))


def test_the_documentation_lists_every_strategy():
    text = DOCS.read_text(encoding="utf-8")
    for name in set(pricing_strategies()) - {"cost_plus"}:
        assert text.count(f"| `{name}` |") >= 2, f"{name} is missing in docs/pricing.md"


def test_markdown_holds_a_row_a_strategy_for_both_kinds_of_buyers(monkeypatch):
    small = {"linear": FAMILIES["linear"]}
    monkeypatch.setattr("analysis.strategy_revenue.FAMILIES", small)
    monkeypatch.setattr(
        revenue_table, "__kwdefaults__", revenue_table.__kwdefaults__ | {"markets": 2, "buyers": 20, "rounds": 5}
    )
    monkeypatch.setattr(composition_gain, "__kwdefaults__", {"markets": 2, "buyers": 20, "seed": 0})
    text = markdown()
    assert text.count("| `dpp_plus` |") == 2
    assert text.count("| `exact` | 100.0% ± 0.0% |") == 2
    assert "| quadratic rule over additive rule |" in text
