"""`dealer train`: private models of a file's records, with their card."""

import itertools
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from typer.testing import CliRunner

from analysis.cli import app
from analysis.inputs import RecordTable
from analysis.model_cards import ModelCard, _held_out
from simulator.datasets import hold_out
from simulator.privacy import plan_training
from simulator.privacy.gaussian import gaussian_epsilon, gaussian_mu
from simulator.streams import Streams

BASE = ("train", "records.csv", "--label", "diagnosis", "--owners", "hospital", "--epsilon", "2")


@pytest.fixture
def table():
    features, labels = load_breast_cancer(return_X_y=True)
    found = pd.DataFrame(features[:, :6], columns=[f"x{i}" for i in range(6)])
    found.insert(2, "diagnosis", np.where(labels == 1, "benign", "malignant"))
    return found.assign(hospital=[f"h{i % 40 if i % 7 else 0}" for i in range(len(found))])


@pytest.fixture
def dealer(tmp_path, monkeypatch, table):
    """Call the command in a folder with records.csv and scales.csv; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    table.to_csv("records.csv", index=False)
    names = [f"x{i}" for i in range(6)]
    scales = {
        "feature": ["unused", *names],
        "centre": [1.0, *table[names].median()],
        "scale": [1.0, *table[names].std()],
    }
    pd.DataFrame(scales).to_csv("scales.csv", index=False)

    def call(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


def answer(dealer, *arguments):
    code, out, err = dealer(*BASE, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_the_card_in_words(dealer):
    code, out, _ = dealer(*BASE, "--scales", "scales.csv")
    assert code == 0
    assert "epsilon 2, delta 1e-05, per owner, with all of an owner's records" in out
    assert "replace-one: one owner replaced by another" in out
    assert "from the operating system" in out
    assert "scaled by public constants" in out
    assert "records of 32 owners" in out
    assert "rehearsal" not in out
    code, out, _ = dealer(*BASE, "--scales", "own", "--unit", "record", "--noise-seed", 1, "--test-share", 0)
    assert code == 0
    assert "per record" in out
    assert "a rehearsal" in out
    assert "declared to be public" in out
    assert "not measured" in out


def test_json_has_the_fields_of_the_card(dealer):
    card = answer(dealer)
    assert set(card) == {field.name for field in fields(ModelCard)} | {"not_covered"}
    plan = plan_training(2.0, 1e-5, 2, 32, 7, unit="owner")
    assert card["guarantee"]["method"] == plan.guarantee.method
    assert card["guarantee"]["unit"] == "owner"
    assert card["noise"] == vars(plan.noise)
    assert card["not_covered"]


@pytest.mark.parametrize("scales", ["scales.csv", "own", None])
def test_the_file_of_the_model_gives_its_accuracy_back(dealer, table, scales):
    """Applied by hand, as the file says, to the records held out."""
    extra = ("--scales", scales) if scales else ()
    options = ("--unit", "record", "--out", "model.json", "--seed", 3, "--data-norm", 2.5)
    card = answer(dealer, *extra, *options)
    kept = json.loads(Path("model.json").read_text(encoding="utf-8"))
    train, test = hold_out(len(table), 0.2, Streams(3))
    x = (table[kept["features"]].to_numpy() - kept["centre"]) / kept["scale"]
    if scales == "own":
        assert x[train].mean(axis=0) == pytest.approx(np.zeros(6), abs=1e-9)
        assert x[train].std(axis=0) == pytest.approx(np.ones(6), rel=1e-9)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 2.5)
    second = x @ np.array(kept["coef"][0]) + kept["intercept"][0] > 0
    found = np.where(second, kept["classes"][1], kept["classes"][0])
    right = found[test] == table["diagnosis"].to_numpy()[test]
    assert card["accuracy"] == pytest.approx(right.mean(), rel=1e-12)
    assert card["accuracy_low"] < card["accuracy"] < card["accuracy_high"]
    assert (card["records"], card["test_records"]) == (len(train), len(test))
    assert card["constant_accuracy"] == pytest.approx(
        table["diagnosis"].iloc[test].value_counts(normalize=True).iloc[0], rel=1e-12
    )
    assert card["largest_shard"] == table["hospital"].iloc[train].value_counts().iloc[0]


def test_the_file_of_the_model_tells_nothing_exact_of_the_records(dealer):
    card = answer(dealer, "--neighbours", "add-remove", "--out", "model.json")
    kept = json.loads(Path("model.json").read_text(encoding="utf-8"))["card"]
    private = {"records", "owners", "largest_shard", "test_records", "accuracy", "constant_accuracy", "shard_delta"}
    assert private <= set(card)
    assert not private & set(kept)
    assert all(card[name] == value for name, value in kept.items())
    assert any("how many there are" in sentence for sentence in card["not_covered"])


# --- what is held out ------------------------------------------------------------------------------------


def held(table, unit, neighbours, share=0.3):
    names = [name for name in table if name.startswith("x")]
    owners = table["hospital"].to_numpy(dtype=str)
    records = RecordTable(names, table[names].to_numpy(), table["diagnosis"].to_numpy(dtype=str), owners)
    return _held_out(records, share, 5, unit, neighbours)


def rows(table, mask):
    """The records held in a training set, as they are."""
    return sorted(map(tuple, table[~mask].to_numpy().tolist()))


@pytest.mark.parametrize("unit", ["record", "owner"])
def test_one_more_or_less_moves_nobody_else(table, unit):
    """Under add-remove the training sets of neighbours are neighbours, wherever the unit stands."""
    whole = rows(table, held(table, unit, "add-remove"))
    for gone in ("h3", "h17", "h39") if unit == "owner" else (0, 17, 300, 568):
        drop = table.index[table["hospital"] == gone] if unit == "owner" else [gone]
        fewer = table.drop(index=drop)
        left = rows(fewer, held(fewer, unit, "add-remove"))
        own = rows(table, ~np.isin(np.arange(len(table)), drop))
        assert left in (whole, [row for row in whole if row not in own])
    share = held(table, unit, "add-remove").mean()
    # A chance of 0.3 for each of 569 records, or of 40 owners of very different size.
    assert abs(share - 0.3) < (0.25 if unit == "owner" else 4 * np.sqrt(0.21 / 569))


def test_an_owner_replaced_moves_nobody_else(table):
    """Also by a shard of another size; so many owners are held out as the share says."""
    mask = held(table, "owner", "replace-one")
    names = table["hospital"].to_numpy()
    assert len(set(names[mask])) == 12
    assert not set(names[mask]) & set(names[~mask])
    longer = pd.concat([table, table[table["hospital"] == "h5"].assign(x0=7.0)], ignore_index=True)
    again = held(longer, "owner", "replace-one")
    assert set(longer["hospital"][again]) == set(names[mask])


def test_a_record_replaced_moves_nobody_else(table):
    changed = table.copy()
    changed.loc[100, "x0"] = 99.0
    assert np.array_equal(held(table, "record", "replace-one"), held(changed, "record", "replace-one"))


def test_the_seed_decides_who_is_held_out(table):
    names = [name for name in table if name.startswith("x")]
    owners = table["hospital"].to_numpy(dtype=str)
    records = RecordTable(names, table[names].to_numpy(), table["diagnosis"].to_numpy(dtype=str), owners)
    for unit, neighbours in itertools.product(("record", "owner"), ("replace-one", "add-remove")):
        masks = [_held_out(records, 0.3, seed, unit, neighbours) for seed in (1, 1, 2)]
        assert np.array_equal(masks[0], masks[1])
        assert not np.array_equal(masks[0], masks[2])
        assert not _held_out(records, 0.0, 1, unit, neighbours).any()


# --- the command -----------------------------------------------------------------------------------------


def weights(dealer, *arguments):
    answer(dealer, *arguments, "--out", "model.json")
    return json.loads(Path("model.json").read_text(encoding="utf-8"))["coef"]


def test_noise_is_drawn_anew_unless_it_has_a_seed(dealer):
    assert weights(dealer) != weights(dealer)
    assert weights(dealer, "--noise-seed", 5) == weights(dealer, "--noise-seed", 5)
    assert weights(dealer, "--noise-seed", 5) != weights(dealer, "--noise-seed", 6)


def test_the_unit_of_the_guarantee(dealer):
    owner = answer(dealer)
    assert (owner["shard_epsilon"], owner["shard_delta"]) == (2.0, 1e-5)
    record = answer(dealer, "--unit", "record", "--method", "objective")
    r = record["largest_shard"]
    assert record["guarantee"]["unit"] == "record"
    assert record["shard_epsilon"] == pytest.approx(2.0 * r)
    assert record["shard_delta"] == min(1.0, 1e-5 * sum(np.exp(2.0 * h) for h in range(r)))
    code, out, _ = dealer(*BASE, "--unit", "record", "--method", "objective")
    assert (code, "no guarantee" in out) == (0, record["shard_delta"] == 1.0)
    gaussian = answer(dealer, "--unit", "record", "--method", "gradient")
    assert gaussian["shard_epsilon"] == pytest.approx(gaussian_epsilon(r * gaussian_mu(2.0, 1e-5), 1e-5), rel=1e-12)
    assert gaussian["shard_delta"] == 1e-5


def test_without_owners_nothing_is_said_of_them(dealer, table):
    table.drop(columns="hospital").to_csv("alone.csv", index=False)
    code, out, _ = dealer("train", "alone.csv", "--label", "diagnosis", "--epsilon", 1, "--json")
    card = json.loads(out)
    assert code == 0
    assert (card["owners"], card["largest_shard"], card["shard_epsilon"]) == (0, 0, None)
    assert card["guarantee"]["unit"] == "record"


def test_classes_may_be_declared(dealer):
    card = answer(dealer, "--classes", "benign, malignant,unclear")
    assert card["classes"] == ["benign", "malignant", "unclear"]
    assert not any("labels" in sentence for sentence in card["not_covered"])
    assert any("labels" in sentence for sentence in answer(dealer)["not_covered"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--epsilon", "0"), "epsilon must be positive and finite, found 0.0"),
        (("--epsilon", "nan"), "epsilon must be positive and finite, found nan"),
        (("--delta", "1"), "delta must be between 0 and 1, found 1.0"),
        (("--neighbours", "both"), "neighbours must be one of replace-one, add-remove, found 'both'"),
        (("--method", "magic"), "method must be one of auto, objective, amp, output, gradient, found 'magic'"),
        (("--method", "amp"), "method 'amp' is for records as units, found unit 'owner'"),
        (("--data-norm", "-1"), "data_norm must be positive and finite, found -1.0"),
        (("--test-share", "1"), "--test-share: found 1.0; allowed are numbers from 0 to below 1"),
        (("--test-share", "0.999999"), "no record is left to train on: found 569, all held out to test"),
        (
            ("--classes", "benign,malignant,"),
            "--classes: found 'benign,malignant,'; allowed are names separated by commas",
        ),
        (("--classes", "benign,benign,malignant"), "each once"),
        (("--classes", "benign,other"), "y holds the label 'malignant', which is not among classes"),
        (("--scales", "none.csv"), "'none.csv' cannot be read"),
        (("--scales", "records.csv"), "feature: the header of 'records.csv' must name this column once"),
        (("--out", "nowhere/model.json"), "--out: found 'nowhere/model.json', in a folder that does not exist"),
        (("--out", "."), "--out: '.' cannot be written"),
        (("--label", "colour"), "colour: the header of 'records.csv' must name this column once"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(dealer, arguments, says):
    code, out, err = dealer(*BASE, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert says in err
    assert err.count("\n") == 1


def test_owners_as_the_unit_need_owners(dealer, table):
    code, _, err = dealer(*BASE[:4], "--epsilon", 1, "--unit", "owner")
    assert (code, err) == (2, "Error: --unit: found 'owner' without --owners; allowed with a column of owners\n")
    pd.DataFrame({"feature": ["x0"], "centre": [0], "scale": [1]}).to_csv("few.csv", index=False)
    code, _, err = dealer(*BASE, "--scales", "few.csv")
    assert (code, err) == (2, "Error: feature: 'few.csv' has no row for 'x1'; allowed is one for every feature\n")
    pd.DataFrame({"feature": ["x0"], "centre": [0], "scale": [0]}).to_csv("zero.csv", index=False)
    code, _, err = dealer(*BASE, "--scales", "zero.csv")
    assert code == 2
    assert err.startswith("Error: scale: found 0 in row 2; allowed are numbers > 0")
