"""Means, intervals and paired differences at combinations of swept parameters equal those computed by hand."""

import functools
import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.cells import by_level, cell_means, difference_cells, metric_cells, parameters
from scenarios.errors import InputError

PRICING, SPREAD, COMMISSION = "broker.pricing", "buyers.modest.noise_sensitivity", "broker.commission"
SWEEP = {PRICING: ["high", "low", "median"], SPREAD: [2, 0.5], COMMISSION: [0, 0.1]}


@pytest.fixture(scope="module")
def results(made_up):
    return made_up(sweep=SWEEP, tables=["rounds"])


@pytest.fixture(scope="module")
def lame(made_up):
    """The same results without two runs: of replicate 0 at the first design point, of replicate 2 at another one."""
    return made_up(sweep=SWEEP, failed=(0, 29), tables=["rounds"])


@functools.cache
def rounds_of(results):
    return results.table("rounds")


def by_hand(results, settings, metric="revenue"):
    """A metric by replicate, over the runs with these settings; of the replicates in which all of them are done."""
    plan = results.plan
    for key, value in settings.items():
        plan = plan[plan[key] == value]
    rounds = rounds_of(results)
    found = {}
    for replicate, own in plan.groupby("replicate"):
        if (own["status"] == "done").all():
            runs = [rounds.loc[rounds["run"] == run, metric].dropna().mean() for run in own["run"]]
            found[replicate] = np.mean(runs)
    return pd.Series(found)


def test_parameters_are_as_the_plan_has_them(made_up):
    spread = {"dist": "uniform", "loc": 0.1, "scale": 1}
    design = {"zip": [[COMMISSION, "broker.survey_share"]], "points": 4}
    sweep = {PRICING: ["low", "high"], SPREAD: spread, COMMISSION: [0.2, 0, 0.2], "broker.survey_share": [1, 0.5, 0.25]}
    found = parameters(made_up(sweep=sweep, design=design, replicates=1, rounds=1, tables=["rounds"]).experiment)
    assert list(found) == list(sweep)
    pricing, sampled, commission, share = found.values()
    assert (pricing.levels, pricing.ordered, pricing.is_numeric) == (("low", "high"),) * 2 + (False,)
    assert (sampled.levels, sampled.is_range, sampled.is_numeric) == ((), True, True)
    assert (commission.levels, commission.ordered) == ((0.2, 0), (0, 0.2))
    assert commission.together == share.together == (COMMISSION, "broker.survey_share")
    assert share.ordered == (0.25, 0.5, 1)


@pytest.mark.parametrize("keys", [[PRICING], [SPREAD, PRICING], [PRICING, SPREAD, COMMISSION], [COMMISSION]])
@pytest.mark.parametrize("which", ["results", "lame"])
def test_means_and_intervals_equal_scipys(which, keys, request):
    results = request.getfixturevalue(which)
    cells = metric_cells(results, "revenue", keys)
    assert list(cells.index.names) == keys
    for values in itertools.product(*(SWEEP[key] for key in keys)):
        sample = by_hand(results, dict(zip(keys, values, strict=True)))
        own = cells.loc[values if len(values) > 1 else values[0]]
        limits = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
        assert own["replicates"] == len(sample)
        assert own[["mean", "low", "high"]].tolist() == pytest.approx([sample.mean(), limits.low, limits.high])


def test_replicates_that_lack_a_run_are_left_out_where_it_counts(lame):
    lost = lame.plan[lame.plan["status"] == "failed"]
    assert lost["replicate"].tolist() == [0, 2]
    counts = metric_cells(lame, "revenue", [PRICING, SPREAD, COMMISSION])["replicates"]
    assert sorted(counts) == [3, 3, *[4] * 10]
    whole = cell_means(lame, lame.table("rounds"), ["revenue"], [])
    assert whole.index.tolist() == [1, 3]


def test_round_by_round(lame):
    cells = metric_cells(lame, "welfare", [PRICING], ["round"])
    rounds = lame.table("rounds")
    for value, number in itertools.product(SWEEP[PRICING], (1, 2, 3)):
        at = rounds[(rounds["round"] == number) & (rounds[PRICING] == value)]
        runs = at.groupby("replicate")["welfare"]
        sample = runs.mean()[runs.size() == 4]
        assert cells.loc[(value, number), "mean"] == pytest.approx(sample.mean())
        half = stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample)
        assert cells.loc[(value, number), "high"] == pytest.approx(sample.mean() + half)


def test_undefined_rounds_are_left_out_and_undefined_runs_leave_their_replicate_out(results):
    rounds = results.table("rounds")
    rounds.loc[(rounds["run"] == 5) & (rounds["round"] < 3), "revenue"] = np.nan
    rounds.loc[rounds["run"] == 12 + 5, "revenue"] = np.nan
    row = results.plan.loc[5]
    values = cell_means(results, rounds, ["revenue"], [PRICING, SPREAD, COMMISSION])["revenue"]
    own = values.loc[(row[PRICING], row[SPREAD], row[COMMISSION])]
    last = rounds[(rounds["run"] == 5) & (rounds["round"] == 3)]["revenue"].iloc[0]
    assert own[0] == last
    assert np.isnan(own[1])
    assert own[[2, 3]].notna().all()
    # Averaged with runs in which it is defined, the replicate would be of unlike runs.
    assert np.isnan(cell_means(results, rounds, ["revenue"], [PRICING])["revenue"][row[PRICING], 1])


def holm_by_hand(p):
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.asarray(p)[order] * (len(p) - np.arange(len(p))))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(steps, 1)
    return corrected


@pytest.mark.parametrize("keys", [[SPREAD, PRICING], [PRICING, SPREAD], [SPREAD, COMMISSION, PRICING]])
@pytest.mark.parametrize("which", ["results", "lame"])
def test_differences_are_those_of_paired_runs(which, keys, request):
    results = request.getfixturevalue(which)
    cells = difference_cells(results, "revenue", keys, parameters(results.experiment)[PRICING], "median")
    assert list(cells.index.names) == keys
    expected = []
    for values in itertools.product(*(SWEEP[key] for key in keys)):
        settings = dict(zip(keys, values, strict=True))
        if settings[PRICING] == "median":
            assert values not in cells.index
            continue
        one, other = by_hand(results, settings), by_hand(results, settings | {PRICING: "median"})
        both = one.index.intersection(other.index)
        paired = stats.ttest_rel(one[both], other[both])
        limits = paired.confidence_interval(0.95)
        expected.append([(one[both] - other[both]).mean(), limits.low, limits.high, len(both), paired.pvalue])
        found = cells.loc[values, ["mean", "low", "high", "replicates", "p_value"]]
        assert found.tolist() == pytest.approx(expected[-1])
    order = [values for values in itertools.product(*(SWEEP[key] for key in keys)) if "median" not in values]
    corrected = holm_by_hand([row[-1] for row in expected])
    np.testing.assert_allclose(cells.loc[order, "p_holm"], corrected)
    assert (cells["p_holm"] < 0.05).any()
    assert (cells["p_holm"] > 0.05).any()


def test_samples_of_ranges_are_cells_of_their_own(made_up):
    spread = {"dist": "uniform", "loc": 0.1, "scale": 1}
    results = made_up(sweep={PRICING: ["high", "low"], SPREAD: spread}, design={"points": 8}, tables=["rounds"])
    cells = metric_cells(results, "revenue", [SPREAD])
    assert len(cells) == 8
    for sample, own in results.plan.groupby("sample"):
        value = own[SPREAD].iloc[0]
        assert (own[SPREAD] == value).all()
        assert cells.loc[value, "mean"] == pytest.approx(by_hand(results, {"sample": sample}).mean())
    differences = difference_cells(
        results, "revenue", [SPREAD, PRICING], parameters(results.experiment)[PRICING], "high"
    )
    value = cells.index[3]
    pairs = by_hand(results, {SPREAD: value, PRICING: "low"}) - by_hand(results, {SPREAD: value, PRICING: "high"})
    assert differences.loc[(value, "low"), "mean"] == pytest.approx(pairs.mean())


def test_lists_that_are_zipped_go_together(made_up):
    sweep = {PRICING: ["high", "low"], SPREAD: [0.5, 1, 2], COMMISSION: [0, 0.1, 0.2]}
    results = made_up(sweep=sweep, design={"zip": [[SPREAD, COMMISSION]]}, tables=["rounds"])
    cells = metric_cells(results, "revenue", [PRICING, SPREAD])
    assert len(cells) == 6
    assert cells.loc[("low", 1), "mean"] == pytest.approx(by_hand(results, {PRICING: "low", COMMISSION: 0.1}).mean())
    by = parameters(results.experiment)[SPREAD]
    found = difference_cells(results, "revenue", [SPREAD, PRICING], by, 0.5)
    pairs = by_hand(results, {PRICING: "low", SPREAD: 2}) - by_hand(results, {PRICING: "low", SPREAD: 0.5})
    assert found.loc[(2, "low"), "mean"] == pytest.approx(pairs.mean())


def test_where_no_replicate_is_complete_the_sentence_says_so(made_up):
    results = made_up(sweep=SWEEP, failed=tuple(range(0, 48, 2)), tables=["rounds"])
    with pytest.raises(InputError, match=r"has no complete replicate at any value of broker\.pricing yet"):
        metric_cells(results, "revenue", [PRICING])
    assert metric_cells(results, "revenue", [PRICING, SPREAD, COMMISSION])["replicates"].tolist() == [4] * 6
    plan = results.plan
    plan.loc[plan["replicate"] > 0, "status"] = "pending"
    alone = metric_cells(results, "revenue", [PRICING, SPREAD, COMMISSION])
    assert alone["mean"].notna().all()
    assert alone[["low", "high"]].isna().all(axis=None)


def test_metrics_that_are_undefined_are_refused(results, monkeypatch):
    table = type(results).table
    monkeypatch.setattr(type(results), "table", lambda self, name: table(self, name).assign(gini_paid=np.nan))
    with pytest.raises(InputError, match="--metric: found 'gini_paid', which is undefined"):
        metric_cells(results, "gini_paid", [PRICING])


def test_cells_by_level_keep_the_order_of_the_sweep(results):
    cells = metric_cells(results, "revenue", [PRICING, SPREAD])
    pricing = parameters(results.experiment)[PRICING]
    parts = by_level(cells, pricing)
    assert [value for value, _ in parts] == SWEEP[PRICING]
    assert [own.index.name for _, own in parts] == [SPREAD] * 3
    assert parts[1][1].loc[0.5, "mean"] == cells.loc[("low", 0.5), "mean"]
    assert [len(own) for _, own in by_level(metric_cells(results, "revenue", [PRICING]), pricing)] == [1, 1, 1]
    assert by_level(cells, None)[0][1] is cells
