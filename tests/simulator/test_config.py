"""Configurations: bad input is refused, and the message names the field and what was found."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from simulator import MarketConfig

GOOD: dict[str, Any] = {
    "rounds": 3,
    "data": {"source": "values"},
    "owners": [
        {"segment": "patients", "count": 2, "privacy_sensitivity": 0.5, "value": [1.0, 2.0], "participation": 0.5},
        {"segment": "clinics", "count": 1, "privacy_sensitivity": {"dist": "expon"}, "value": {"dist": "norm"}},
    ],
    "broker": {"epsilons": [0.5, 1.0, 2.0]},
    "buyers": [
        {"segment": "labs", "count": 3, "budget": {"dist": "lognorm", "s": 0.5}, "epsilon_expected": 1.0},
        {"segment": "firms", "count": 1, "budget": 5, "epsilon_expected": {"dist": "uniform", "scale": 2.0}},
    ],
}

#: A key that is taken away instead of being set.
ABSENT = object()

#: Path of the field, what is put there, and what the message must say.
BAD: list[tuple[str, Any, list[str]]] = [
    # misspelt or unknown keys
    ("round", 3, ["round", "Extra inputs are not permitted"]),
    ("data.sourse", "iris", ["data.sourse", "Extra inputs"]),
    ("owners.0.privacy", 1.0, ["owners.0.privacy", "Extra inputs"]),
    ("buyers.1.budgets", 1.0, ["buyers.1.budgets", "Extra inputs"]),
    ("broker.price", "dpp_plus", ["broker.price", "Extra inputs"]),
    ("broker.valuation", {"methods": "exact"}, ["broker.valuation.methods", "Extra inputs"]),
    ("broker.training", {"norm": 1.0}, ["broker.training.norm", "Extra inputs"]),
    # missing parts
    ("owners", ABSENT, ["owners", "Field required"]),
    ("buyers", ABSENT, ["buyers", "Field required"]),
    ("owners", [], ["owners", "at least 1 item"]),
    ("buyers", [], ["buyers", "at least 1 item"]),
    ("buyers.0.budget", ABSENT, ["buyers.0.budget", "Field required"]),
    ("owners.0.segment", ABSENT, ["owners.0.segment", "Field required"]),
    # counts
    ("rounds", 0, ["rounds", "greater than or equal to 1", "input_value=0"]),
    ("rounds", 2.5, ["rounds", "2.5"]),
    ("buyers.0.count", 0, ["buyers.0", "count: found 0 in a segment without arrivals"]),
    ("owners.1.count", -1, ["owners.1.count", "input_value=-1"]),
    # epsilons and delta
    ("broker.epsilons", [-0.5, 1.0], ["broker.epsilons", "positive", "-0.5"]),
    ("broker.epsilons", [0.0, 1.0], ["broker.epsilons", "positive", "[0.0, 1.0]"]),
    ("broker.epsilons", [2.0, 1.0], ["broker.epsilons", "increasing", "[2.0, 1.0]"]),
    ("broker.epsilons", [1.0, 1.0], ["broker.epsilons", "increasing", "[1.0, 1.0]"]),
    ("broker.epsilons", [], ["broker.epsilons", "at least one"]),
    ("broker.epsilons", [1.0, float("inf")], ["broker.epsilons", "finite", "inf"]),
    ("broker.epsilons", [1.0, float("nan")], ["broker.epsilons", "finite", "nan"]),
    ("broker.delta", 0.0, ["broker.delta", "greater than 0"]),
    ("broker.delta", 1.0, ["broker.delta", "less than 1"]),
    # mechanisms and their options
    ("broker.pricing", "dppplus", ["broker", "unknown pricing strategy 'dppplus'", "dpp_plus"]),
    ("broker.pricing_options", {"raw": True}, ["broker", "'dpp_plus' has no option 'raw'", "no options"]),
    ("broker.procurement", "gready", ["broker", "unknown procurement method 'gready'", "greedy"]),
    ("broker.procurement_options", {"alpha": 1}, ["broker", "'greedy' has no option 'alpha'"]),
    ("broker.settlement", "fair", ["broker.settlement", "unknown settlement rule 'fair'", "neutral"]),
    ("broker.composition", "cubic", ["broker.composition", "'cubic'", "'additive' or 'quadratic'"]),
    ("broker.valuation", {"method": "guess"}, ["broker.valuation.method", "unknown valuation method 'guess'"]),
    ("broker.valuation", {"budget": 0}, ["broker.valuation.budget", "input_value=0"]),
    ("broker.valuation", {"tolerance": -1.0}, ["broker.valuation.tolerance", "-1"]),
    ("broker.valuation", {"game_options": {"ridge": 0.0}}, ["broker.valuation", "ridge must be a positive"]),
    ("broker.valuation", {"empty_utility": "one"}, ["broker.valuation.empty_utility", "'one'"]),
    ("broker.training", {"method": "sgd"}, ["broker.training.method", "'sgd'"]),
    ("broker.training", {"model": "tree"}, ["broker.training.model", "'tree'", "'logistic' or 'svm'"]),
    ("broker.training", {"neighbours": "swap"}, ["broker.training.neighbours", "'swap'"]),
    ("broker.training", {"data_norm": 0.0}, ["broker.training.data_norm", "greater than 0"]),
    ("owners.0.behaviour", "honest", ["owners.0.behaviour", "unknown owner behaviour 'honest'", "truthful"]),
    ("buyers.0.behaviour", "targets", ["buyers.0.behaviour", "unknown buyer behaviour 'targets'", "target"]),
    ("buyers.0.behaviour", "nowhere:Buyer", ["buyers.0.behaviour", "'nowhere:Buyer' cannot be imported"]),
    ("buyers.0.behaviour", "simulator.market:Market", ["buyers.0.behaviour", "not a subclass of ModelBuyer"]),
    ("owners.0.behaviour", "target", ["owners.0.behaviour", "unknown owner behaviour 'target'"]),
    # money and shares
    ("broker.commission", -0.1, ["broker.commission", "greater than or equal to 0", "-0.1"]),
    ("broker.commission", 1.1, ["broker.commission", "less than or equal to 1", "1.1"]),
    ("broker.survey_share", 0.0, ["broker.survey_share", "greater than 0"]),
    ("broker.survey_share", 1.5, ["broker.survey_share", "less than or equal to 1", "1.5"]),
    ("broker.manufacturing_budget", -1.0, ["broker.manufacturing_budget", "found -1.0"]),
    ("broker.manufacturing_budget", [1.0, -2.0, 3.0], ["broker.manufacturing_budget", "-2.0"]),
    ("broker.manufacturing_budget", float("nan"), ["broker.manufacturing_budget", "found nan"]),
    ("broker.manufacturing_budget", float("inf"), ["broker.manufacturing_budget", "found inf"]),
    ("broker.manufacturing_budget", [1.0, 2.0], ["manufacturing_budget", "found 2 amounts", "3 epsilons"]),
    ("broker.manufacturing_budget", "profit", ["broker.manufacturing_budget", "'profit'"]),
    ("owners.0.base_price_pool", -5.0, ["owners.0.base_price_pool", "greater than or equal to 0", "-5"]),
    ("owners.0.base_price_pool", float("inf"), ["owners.0.base_price_pool", "finite"]),
    ("owners.0.base_price", "value", ["owners.0.base_price", "found 'value'", "'shapley', 'records'"]),
    ("owners.0.base_price", -1.0, ["owners.0.base_price", "-1", "allowed are values >= 0"]),
    ("owners.0.base_price", True, ["owners.0.base_price", "found True"]),
    ("owners.0.base_price", {"dist": "norm"}, ["owners.0.base_price", "-inf", "allowed are values >= 0"]),
    ("owners.0.base_price", [1.0, 2.0, 3.0], ["owners.0", "base_price: found a list of 3", "count = 2"]),
    # attributes
    ("buyers.0.budget", "100", ["buyers.0.budget", "found '100'", "SciPy distribution"]),
    ("buyers.0.budget", True, ["buyers.0.budget", "found True"]),
    ("buyers.0.budget", None, ["buyers.0.budget", "found None"]),
    ("buyers.0.budget", float("nan"), ["buyers.0.budget", "found nan"]),
    ("buyers.0.budget", -1.0, ["buyers.0.budget", "-1", "allowed are values >= 0"]),
    ("buyers.0.budget", [1.0, -1.0, 2.0], ["buyers.0.budget", "down to -1"]),
    ("buyers.0.budget", [], ["buyers.0.budget", "found []"]),
    ("buyers.0.budget", [1.0, "2", 3.0], ["buyers.0.budget", "'2'"]),
    ("buyers.0.budget", [1.0, 2.0], ["buyers.0", "budget: found a list of 2", "count = 3"]),
    ("owners.0.value", [1.0, 2.0, 3.0], ["owners.0", "value: found a list of 3", "count = 2"]),
    ("buyers.0.budget", {"dist": "lognormal", "s": 1.0}, ["buyers.0.budget", "dist = 'lognormal'"]),
    ("buyers.0.budget", {"dist": 3}, ["buyers.0.budget", "dist = 3"]),
    ("buyers.0.budget", {"dist": "expon", "rate": 2.0}, ["buyers.0.budget", "'rate'", "'expon' takes loc, scale"]),
    ("buyers.0.budget", {"dist": "lognorm"}, ["buyers.0.budget", "'lognorm' lacks its parameter 's'"]),
    ("buyers.0.budget", {"dist": "expon", "scale": -1.0}, ["buyers.0.budget", "scale = -1", "not defined"]),
    ("buyers.0.budget", {"dist": "expon", "scale": "2"}, ["buyers.0.budget", "scale = '2'"]),
    ("buyers.0.budget", {"dist": "norm", "loc": 5.0}, ["buyers.0.budget", "down to -inf"]),
    ("buyers.0.budget", {"mean": 3.0}, ["buyers.0.budget", "'mean'"]),
    ("owners.0.privacy_sensitivity", -0.1, ["owners.0.privacy_sensitivity", "-0.1"]),
    ("owners.1.privacy_sensitivity", {"dist": "norm"}, ["owners.1.privacy_sensitivity", "down to -inf"]),
    ("buyers.0.coverage_sensitivity", -1.0, ["buyers.0.coverage_sensitivity", "-1"]),
    ("buyers.0.noise_sensitivity", -1.0, ["buyers.0.noise_sensitivity", "-1"]),
    ("owners.0.participation", 1.5, ["owners.0.participation", "1.5", "from 0 to 1"]),
    ("owners.0.participation", {"dist": "norm"}, ["owners.0.participation", "-inf to inf"]),
    # segments
    ("owners.1.segment", "patients", ["owners", "segment 'patients' twice"]),
    ("buyers.0.segment", "firms", ["buyers", "segment 'firms' twice"]),
    ("owners.0.segment", "a.b", ["owners.0.segment", "a.b"]),
    ("owners.0.segment", "", ["owners.0.segment", "input_value=''"]),
    # data
    ("data.source", "breast-cancer", ["data.source", "'breast-cancer'", "breast_cancer"]),
    ("data.source", "openml:", ["data.source", "'openml:'"]),
    ("data.source", "openml:NAME2", ["owners.patients.value", "data.source = 'values' only"]),
    ("data.source", "FILE.csv", ["data", "label is missing"]),
    ("data", {"source": "synthetic", "records": 9}, ["data", "records: found 9"]),
    ("data", {"source": "synthetic", "classes": 1}, ["data.classes", "input_value=1"]),
    ("data", {"source": "synthetic", "separation": -1.0}, ["data.separation", "-1"]),
    ("data", {"source": "iris"}, ["owners.patients.value", "found a distribution"]),
    ("owners.1.value", ABSENT, ["owners.clinics.value is missing"]),
]


def with_change(path: str, value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    here: Any = raw
    for part in parents:
        here = here[int(part)] if part.isdigit() else here[part]
    if value is ABSENT:
        del here[last]
    else:
        here[last] = value
    return raw


def test_the_good_one_is_good() -> None:
    config = MarketConfig.model_validate(GOOD)
    assert (config.n_owners, config.n_buyers, config.rounds) == (3, 4, 3)


@pytest.mark.parametrize(
    ("path", "value", "says"), BAD, ids=[f"{path}={'nothing' if v is ABSENT else str(v)[:30]}" for path, v, _ in BAD]
)
def test_bad_input_is_refused_with_a_message(path: str, value: Any, says: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        MarketConfig.model_validate(with_change(path, value))
    message = str(caught.value)
    for part in says:
        assert part in message


def with_records(**training: Any) -> dict[str, Any]:
    """The good market on records, trained like this, with one very large epsilon."""
    raw = with_change("broker.epsilons", [1.0, 100.0])
    raw["data"] = {"source": "breast_cancer"}
    for owners in raw["owners"]:
        del owners["value"]
    raw["broker"]["training"] = training
    return raw


def test_an_epsilon_too_large_for_the_training() -> None:
    """The noise scale of `amp` does not hold there; other methods serve it, and without records any will do."""
    MarketConfig.model_validate(with_change("broker.epsilons", [1.0, 100.0]))
    raw = with_records(method="amp")
    for epsilon in (25.0, 100.0):
        raw["broker"]["epsilons"] = [1.0, epsilon]
        with pytest.raises(ValidationError) as caught:
            MarketConfig.model_validate(raw)
        message = str(caught.value)
        assert f"broker.epsilons: found {epsilon:g}" in message
        assert "'amp'" in message
        assert "choose a smaller epsilon" in message
    raw["broker"]["epsilons"] = [1.0, 10.0]
    MarketConfig.model_validate(raw)


@pytest.mark.parametrize(
    ("source", "count", "valuation", "says"),
    [
        (
            "breast_cancer",
            23,
            {"method": "exact"},
            r"broker\.valuation\.method: found 'exact' for 23 owners; it takes at most 22",
        ),
        ("digits", 5, {"game": "logistic"}, r"broker\.valuation\.game: .* at most 256 coefficients, found 650"),
        (
            "iris",
            5,
            {"game": "sklearn", "game_options": {"scoring": "roc_auc"}},
            r"broker\.valuation\.game: .* 'roc_auc' cannot score the test records, of 3 classes",
        ),
    ],
)
def test_a_valuation_that_could_not_run_is_refused(
    source: str, count: int, valuation: dict[str, Any], says: str, make_config: Callable[..., MarketConfig]
) -> None:
    with pytest.raises(ValidationError, match=says):
        make_config(data=source, owners={"count": count}, broker={"valuation": valuation})


def test_a_valuation_that_can_run_is_allowed(make_config: Callable[..., MarketConfig]) -> None:
    make_config(data="breast_cancer", owners={"count": 22}, broker={"valuation": {"method": "exact"}})
    make_config(data="breast_cancer", owners={"count": 23}, broker={"valuation": {"method": "auto"}})
    make_config(data="values", owners={"count": 23}, broker={"valuation": {"method": "exact"}})  # values are drawn
    make_config(data="breast_cancer", broker={"valuation": {"game": "logistic"}})
    make_config(
        data="breast_cancer",
        broker={"valuation": {"game": "sklearn", "game_options": {"scoring": "roc_auc"}}},
    )


@pytest.mark.parametrize("model", ["logistic", "svm"])
@pytest.mark.parametrize("method", ["auto", "objective", "output", "gradient"])
def test_other_methods_serve_any_epsilon(method: str, model: str) -> None:
    training = MarketConfig.model_validate(with_records(method=method, model=model)).broker.training
    assert (training.method, training.model) == (method, model)


def test_the_method_is_chosen_unless_it_is_named() -> None:
    training = MarketConfig.model_validate(with_records()).broker.training
    assert (training.method, training.model, training.neighbours) == ("auto", "logistic", "replace-one")


def test_several_errors_are_all_reported() -> None:
    raw = with_change("broker.commission", 2.0)
    raw["rounds"] = 0
    with pytest.raises(ValidationError) as caught:
        MarketConfig.model_validate(raw)
    assert {error["loc"] for error in caught.value.errors()} == {("rounds",), ("broker", "commission")}


def test_options_reach_the_mechanism_and_wrong_ones_are_named() -> None:
    good = with_change("broker.pricing", "linear")
    good["broker"]["pricing_options"] = {"raw": True}
    assert MarketConfig.model_validate(good).broker.pricing_options == {"raw": True}
    good["broker"]["pricing_options"] = {"raw": "yes"}
    with pytest.raises(ValidationError, match="raw must be true or false, found 'yes'"):
        MarketConfig.model_validate(good)
    exact = with_change("broker.procurement", "exact")
    exact["broker"]["procurement_options"] = {"max_states": 0}
    with pytest.raises(ValidationError, match="max_states: found 0; allowed is a whole number >= 1"):
        MarketConfig.model_validate(exact)


def test_a_configuration_cannot_be_changed() -> None:
    config = MarketConfig.model_validate(GOOD)
    with pytest.raises(ValidationError, match="frozen"):
        config.rounds = 4  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        config.broker.commission = 0.5  # type: ignore[misc]


def test_a_configuration_survives_writing_and_reading() -> None:
    config = MarketConfig.model_validate(GOOD)
    written = config.model_dump()
    assert MarketConfig.model_validate(written) == config
    assert MarketConfig.model_validate(json.loads(config.model_dump_json())) == config
    assert written["buyers"][0]["budget"] == {"dist": "lognorm", "s": 0.5}
    assert written["owners"][0]["value"] == [1.0, 2.0]
    assert written["buyers"][1]["budget"] == 5.0


def test_validation_leaves_the_input_alone() -> None:
    before = copy.deepcopy(GOOD)
    MarketConfig.model_validate(GOOD)
    assert before == GOOD
