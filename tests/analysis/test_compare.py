"""Comparisons against independent statistics, and the coverage of their intervals."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.cells import parameters
from analysis.compare import Question, compare, question
from analysis.regression import Model, regress, regression_tables
from analysis.tables import comparison_tables, interval, key_table, number, text_table
from scenarios.errors import InputError
from scenarios.store import Results

METRIC = "revenue"


def results(revenue, by="broker.pricing", others=None, comparison=None):
    """Results with made-up revenues: a table with columns replicate, level, round, revenue."""
    table = pd.DataFrame(revenue).rename(columns={"level": by})
    if "list_kind" not in table:
        table["list_kind"] = "repaired"
    sweep = {by: list(dict.fromkeys(table[by]))} | (others or {})
    # The plan has every run, the table those that are done.
    replicates = range(table["replicate"].max() + 1)
    plan = pd.DataFrame(itertools.product(replicates, *sweep.values()), columns=["replicate", *sweep])
    plan = plan.assign(run=range(len(plan)), point=lambda t: t["run"] % (len(t) // len(replicates)), sample=0)
    table = plan.merge(table, on=[name for name in plan if name in table])
    last = ["round", METRIC, "list_kind"]
    order = [c for c in table.columns if c not in last] + last
    design = SimpleNamespace(zip=())
    experiment = SimpleNamespace(sweep=sweep, levels=sweep, design=design, comparison=comparison, seed=1)
    return SimpleNamespace(experiment=experiment, plan=plan, table=lambda _: table[order])


def made_up(replicates=12, rounds=3, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.normal(100, 20, replicates)
    rows = [
        {"replicate": r, "level": level, "round": t, METRIC: common[r] + shift + rng.normal(0, 3)}
        for r in range(replicates)
        for level, shift in (("a", 0.0), ("b", 5.0))
        for t in range(1, rounds + 1)
    ]
    return pd.DataFrame(rows)


def asked(baseline="a"):
    return Question("broker.pricing", ("a", "b"), baseline, (METRIC,))


def test_means_and_differences_equal_scipys():
    table = made_up()
    found = compare(results(table), asked()).set_index("level")
    runs = table.groupby(["level", "replicate"])[METRIC].mean()
    a, b = runs["a"].to_numpy(), runs["b"].to_numpy()
    assert found.loc["b", "mean"] == pytest.approx(b.mean())
    expected = stats.ttest_1samp(b, 0).confidence_interval(0.95)
    assert found.loc["b", ["low", "high"]].tolist() == pytest.approx([expected.low, expected.high])
    paired = stats.ttest_rel(b, a)
    assert found.loc["b", "difference"] == pytest.approx((b - a).mean())
    assert found.loc["b", "p_value"] == pytest.approx(paired.pvalue)
    limits = paired.confidence_interval(0.95)
    assert found.loc["b", ["difference_low", "difference_high"]].tolist() == pytest.approx([limits.low, limits.high])
    assert np.isnan(found.loc["a", "difference"])
    assert found["replicates"].tolist() == [12, 12]


def test_pairing_removes_what_replicates_have_in_common():
    found = compare(results(made_up()), asked()).set_index("level")
    width = found["high"] - found["low"]
    paired = found.loc["b", "difference_high"] - found.loc["b", "difference_low"]
    # Replicates spread by 20 around the mean, differences by sqrt(2/3) 3: intervals are in that ratio.
    assert paired < width["b"] / 4


def test_the_same_intervals_at_each_analysis():
    first, second = (compare(results(made_up()), asked()) for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_a_run_missing_in_one_level_leaves_the_pair_out():
    table = made_up()
    table = table[~((table["replicate"] == 4) & (table["level"] == "b"))]
    found = compare(results(table), asked()).set_index("level")
    assert found["replicates"].tolist() == [12, 11]
    assert found.loc["b", "pairs"] == 11
    wide = table.pivot_table(index="replicate", columns="level", values=METRIC).dropna()
    assert found.loc["b", "difference"] == pytest.approx((wide["b"] - wide["a"]).mean())


def test_other_swept_parameters_are_averaged_within_replicates():
    table = pd.concat([made_up(seed=s).assign(**{"broker.commission": c}) for s, c in ((0, 0.1), (1, 0.2))])
    table = table[["replicate", "broker.commission", "level", "round", METRIC]]
    found = compare(results(table, others={"broker.commission": [0.1, 0.2]}), asked()).set_index("level")
    means = table.groupby(["level", "replicate"])[METRIC].mean()
    assert found.loc["b", "replicates"] == 12  # not 24: the two commissions share a replicate's randomness
    assert found.loc["b", "mean"] == pytest.approx(means["b"].mean())
    expected = stats.ttest_rel(means["b"], means["a"]).confidence_interval(0.95)
    assert found.loc["b", "difference_low"] == pytest.approx(expected.low)


def test_a_replicate_with_a_hole_in_the_grid_is_left_out():
    table = pd.concat([made_up(seed=s).assign(**{"broker.commission": c}) for s, c in ((0, 0.1), (1, 0.2))])
    table = table[["replicate", "broker.commission", "level", "round", METRIC]]
    hole = (table["replicate"] >= 8) & (table["level"] == "b") & (table["broker.commission"] == 0.2)
    found = compare(results(table[~hole], others={"broker.commission": [0.1, 0.2]}), asked()).set_index("level")
    assert found["replicates"].tolist() == [12, 8]
    assert found.loc["b", "pairs"] == 8
    whole = table[table["replicate"] < 8].groupby(["level", "replicate"])[METRIC].mean()
    assert found.loc["b", "mean"] == pytest.approx(whole["b"].mean())
    assert found.loc["b", "difference"] == pytest.approx((whole["b"] - whole["a"]).mean())


@pytest.mark.parametrize(
    ("values", "baseline", "index"), [([0, 0.1], 0, 0), ([100, 200.0], 100.0, 0), ([1, 2], 2, 1), (["a", 2], 2, 1)]
)
def test_a_scenarios_baseline_is_found_among_numbers_written_otherwise(values, baseline, index):
    table = made_up().assign(level=lambda t: t["level"].map({"a": values[0], "b": values[1]}))
    comparison = SimpleNamespace(by="broker.pricing", baseline=baseline, metrics=(METRIC,))
    found = question(results(table, comparison=comparison))
    assert found.baseline == found.levels[index]


def test_undefined_rounds_are_left_out():
    table = made_up(rounds=2)
    table.loc[table["round"] == 2, METRIC] = np.nan
    found = compare(results(table), asked()).set_index("level")
    first = table[table["round"] == 1].groupby("level")[METRIC].mean()
    assert found.loc["a", "mean"] == pytest.approx(first["a"])


def test_questions_are_answered_from_the_scenario_or_refused():
    comparison = SimpleNamespace(by="broker.pricing", baseline="b", metrics=(METRIC,))
    found = question(results(made_up(), comparison=comparison))
    assert (found.by, found.baseline, found.levels, found.metrics) == ("broker.pricing", "b", ("a", "b"), (METRIC,))
    plain = question(results(made_up()), metrics=(METRIC,))
    assert plain.baseline == "a"
    with pytest.raises(InputError, match="--baseline: found 'c'; allowed are a, b"):
        question(results(made_up()), baseline="c", metrics=(METRIC,))
    with pytest.raises(InputError, match=r"--by: found 'seed'; allowed are the swept lists: broker\.pricing"):
        question(results(made_up()), by="seed")
    with pytest.raises(InputError, match="--metric: found 'profit'; allowed are owners_taking_part, answers"):
        question(results(made_up()), metrics=("profit",))
    with pytest.raises(InputError, match="--by is missing"):
        question(results(made_up(), others={"rounds": [1, 2]}))


def test_kinds_of_list_stand_beside_the_values():
    table = made_up(replicates=2, rounds=4)
    table["list_kind"] = np.where((table["level"] == "b") & (table["round"] > 1), "fallback", "arbitrage-free")
    found = compare(results(table), asked())
    assert found["lists"].tolist() == ["arbitrage-free", "fallback 75%, arbitrage-free 25%"]
    assert key_table(found, asked(), METRIC)["list"].tolist() == found["lists"].tolist()
    only_a = compare(results(table[table["level"] == "a"]), asked())
    assert only_a["lists"].tolist() == ["arbitrage-free", "-"]


def test_numeric_levels_are_found_by_their_text():
    table = made_up().assign(level=lambda t: t["level"].map({"a": 0.0, "b": 0.5}))
    found = question(results(table), baseline="0.5", metrics=(METRIC,))
    assert found.baseline == 0.5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345.6, "12,346"),
        (0.0, "0"),
        (-2000.0, "-2,000"),
        (123.4, "123"),
        (12.34, "12.3"),
        (0.1234, "0.123"),
        (float("nan"), "-"),
    ],
)
def test_numbers_are_readable(value, text):
    assert number(value) == text


def test_tables_for_readers():
    found = compare(results(made_up()), asked())
    table = key_table(found, asked(), METRIC)
    assert table["pricing"].tolist() == ["a", "b"]
    assert table["difference to a"].tolist()[0] == "-"
    row = found.set_index("level").loc["b"]
    assert table["difference to a"].tolist()[1] == interval(
        row["difference"], row["difference_low"], row["difference_high"]
    )
    lines = text_table(table).splitlines()
    assert len(lines) == 4
    assert [line.split()[-2:] for line in lines[2:]] == [["12", "-"], ["12", "12"]]
    assert len({len(line) for line in [lines[0], *lines[2:]]}) == 1
    assert json.dumps(table.to_dict("list"))


def of_pricing(plan):
    """Revenues that differ by pricing, commission and replicate, with noise that pairs do not share."""
    rng = np.random.default_rng(6)
    common = rng.normal(100, 20, 50)
    own = plan["broker.pricing"].map({"median": 0.0, "low": -6.0, "high": -1.0})
    return common[plan["replicate"]] + own + 30 * plan["broker.commission"] + rng.normal(0, 3, len(plan))


def test_p_values_are_corrected_for_the_comparisons_of_a_metric(study):
    sweep = {"broker.pricing": ["median", "low", "high"], "broker.commission": [0.1]}
    metrics = {METRIC: of_pricing, "welfare": lambda plan: 0 * plan["run"], "payouts": lambda p: 90 - of_pricing(p) / 2}
    results = study(sweep, metrics, replicates=12)
    found = compare(results, question(results, "broker.pricing", metrics=tuple(metrics)))
    for metric in (METRIC, "payouts"):  # each metric is a family of its own
        p = found.loc[found["metric"] == metric].set_index("level")
        smaller, larger = sorted([p.loc["low", "p_value"], p.loc["high", "p_value"]])
        # Holm by hand: the smaller times two, the larger as it is, and never below the smaller one.
        expected = {smaller: 2 * smaller, larger: max(larger, 2 * smaller)}
        for level in ("low", "high"):
            assert p.loc[level, "p_holm"] == pytest.approx(expected[p.loc[level, "p_value"]])
        assert np.isnan(p.loc["median", "p_holm"])
    assert found.loc[found["metric"] == "welfare", "p_holm"].tolist()[1:] == [1.0, 1.0]  # equal values
    shown = key_table(found, question(results, "broker.pricing"), METRIC)["p (Holm)"].tolist()
    assert shown[0] == "-"
    assert all(text == "<0.001" or 0 <= float(text) <= 1 for text in shown[1:])


def test_pairs_meet_the_same_samples_of_the_ranges(study):
    """With ranges and zipped lists, a replicate's value is its mean over them, and a hole leaves the replicate out."""
    sweep = {
        "broker.pricing": ["median", "low", "high"],
        "broker.commission": {"dist": "uniform", "scale": 0.5},
        "rounds": [1, 2],
        "buyers.b.count": [3, 4],
    }
    design = {"zip": [["rounds", "buyers.b.count"]], "points": 4}
    results = study(sweep, {METRIC: of_pricing}, design=design, replicates=10, missing=(2,))
    assert len(results.plan) == 10 * 4 * 3 * 2
    asked = question(results, "broker.pricing", metrics=(METRIC,))
    found = compare(results, asked).set_index("level")
    table = results.table("rounds").pivot_table(index="replicate", columns="broker.pricing", values=METRIC)
    hole = results.plan.loc[results.plan["run"] == 2, "broker.pricing"].item()
    for level in ("low", "high"):
        pairs = table.drop(0) if hole in (level, "median") else table
        expected = stats.ttest_rel(pairs[level], pairs["median"])
        assert found.loc[level, "pairs"] == len(pairs)
        assert found.loc[level, "p_value"] == pytest.approx(expected.pvalue)
    assert found.loc[hole, "replicates"] == 9
    # Every value meets the same samples, so that differences are the size they were made.
    assert found.loc["low", "difference"] == pytest.approx(-6, abs=1)


def test_a_zipped_list_may_hold_a_value_twice(study):
    sweep = {"broker.pricing": ["median", "median", "low"], "broker.commission": [0.1, 0.3, 0.3]}
    results = study(sweep, {METRIC: of_pricing}, design={"zip": [list(sweep)]})
    asked = question(results, "broker.pricing", "low", (METRIC,))
    assert (asked.levels, asked.baseline) == (("median", "low"), "low")
    found = compare(results, asked).set_index("level")
    table = results.table("rounds").pivot_table(index="replicate", columns="broker.pricing", values=METRIC)
    assert found.loc["median", "replicates"] == 10
    assert found.loc["median", "difference"] == pytest.approx((table["median"] - table["low"]).mean())
    scenario = SimpleNamespace(by="broker.pricing", baseline="low", metrics=(METRIC,))
    plain = SimpleNamespace(
        experiment=results.experiment.model_copy(update={"comparison": scenario}), plan=results.plan
    )
    assert question(plain).baseline == "low"


def grown(study, before, after, **scenario):
    """A study that got further values of a list, and the same study done at once."""
    metrics = {METRIC: of_pricing}
    first = study({"broker.pricing": before, "broker.commission": [0.1]}, metrics, **scenario)
    whole = study({"broker.pricing": after, "broker.commission": [0.1]}, metrics, name="whole", **scenario)
    larger = Results.create(first.folder, whole.experiment)
    larger.plan["batch"] = 0
    table = larger.plan.assign(round=1, list_kind="repaired", **{METRIC: of_pricing(larger.plan)})
    done = larger.plan[["run"]].assign(status="done", error="", seconds=0.5)
    larger.write_batch(0, {"rounds": table[["run", "round", "list_kind", METRIC]]}, done)
    return Results(first.folder), whole


def test_values_added_before_others_leave_the_baseline_what_it_is(study):
    comparison = {"by": "broker.pricing", "baseline": "median", "metrics": [METRIC]}
    larger, whole = grown(study, ["low", "median"], ["high", "low", "median"], comparison=comparison)
    assert question(larger) == question(whole)
    assert question(larger).baseline == "median"
    found = compare(larger, question(larger)).set_index("level")
    assert found.loc["low", "difference"] == pytest.approx(-6, abs=2)


def test_without_a_baseline_the_first_value_of_the_sweep_is_it(study):
    larger, whole = grown(study, ["low", "median"], ["high", "low", "median"])
    asked = question(larger, "broker.pricing")
    assert asked == question(whole, "broker.pricing")
    assert asked.baseline == "high"


def test_a_question_by_a_range_is_refused(study):
    sweep = {"broker.pricing": ["median", "low"], "broker.commission": {"dist": "uniform", "scale": 0.5}}
    results = study(sweep, {METRIC: of_pricing}, design={"points": 2})
    assert question(results).by == "broker.pricing"
    with pytest.raises(InputError) as error:
        question(results, "broker.commission")
    assert str(error.value) == (
        "--by: found 'broker.commission', which is a range; allowed are the swept lists: broker.pricing"
    )


def test_lists_that_are_zipped_with_what_is_shown_are_told(study):
    """Else an effect of the one is read as an effect of the other."""
    sweep = {"broker.pricing": ["median", "low"], "broker.commission": [0.1, 0.3], "buyers.b.count": [4, 5]}
    results = study(sweep, {METRIC: of_pricing}, design={"zip": [["broker.commission", "buyers.b.count"]]})
    asked = question(results, "broker.commission", metrics=(METRIC,))
    told = "broker.commission is zipped with buyers.b.count: differences between its values may be due to either."
    assert told in comparison_tables(compare(results, asked), asked)[0].notes
    alone = question(results, "broker.pricing", metrics=(METRIC,))
    assert not any("zipped" in note for note in comparison_tables(compare(results, alone), alone)[0].notes)
    model = Model((METRIC,), ("broker.commission",), {})
    assert told in regression_tables(results, model, *regress(results, model))[0].notes
    swept = parameters(results.experiment)
    assert swept["broker.commission"].label == "commission, with b count"
    assert swept["broker.pricing"].label == "pricing"
