"""Regressions against other ways to the same numbers, and the coverage of their intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from analysis.compare import compare, question, run_means
from analysis.regression import Model, design_matrix, fit_runs, regress, regression_tables
from scenarios.errors import InputError

PRICING = {"broker.pricing": ["median", "uniform", "low"]}
SLOPE = "broker.commission"
SWEEP = {SLOPE: [0.1, 0.2, 0.4], **PRICING}


def revenue(plan, *, seed=0):
    """Replicates of their own height, which also react to the commission in their own way."""
    rng = np.random.default_rng(seed)
    height, reaction = rng.normal(50, 20, 50), rng.normal(-30, 10, 50)
    mean = height[plan["replicate"]] + rng.normal(0, 1, len(plan))
    if "broker.pricing" in plan:
        mean = mean + plan["broker.pricing"].map({"median": 0.0, "uniform": 4.0, "low": -9.0})
    return mean + (reaction[plan["replicate"]] * plan[SLOPE] if SLOPE in plan else 0)


def model(*on, metrics=("revenue",), **more):
    return Model(metrics, on, more.pop("baselines", {}), **more)


def test_dummies_alone_are_the_paired_t_tests(study):
    results = study(PRICING, {"revenue": revenue}, replicates=7)
    found, fits = regress(results, model("broker.pricing", baselines={"broker.pricing": "uniform"}))
    paired = compare(results, question(results, baseline="uniform", metrics=("revenue",))).set_index("level")
    assert found["term"].tolist() == ["broker.pricing = median", "broker.pricing = low"]
    for name, other in (
        ("estimate", "difference"), ("low", "difference_low"), ("high", "difference_high"), ("p_value", "p_value"),
    ):  # fmt: skip
        assert found[name].tolist() == pytest.approx(paired.loc[["median", "low"], other].tolist())
    assert fits[["runs", "left_out", "replicates"]].iloc[0].tolist() == [21, 0, 7]
    assert fits.loc[0, "mean"] == pytest.approx(results.table("rounds")["revenue"].mean())


def test_a_slope_is_the_mean_of_the_replicates_own_slopes(study):
    results = study({SLOPE: [0.1, 0.2, 0.4, 0.5]}, {"revenue": revenue}, replicates=6)
    found = regress(results, model(SLOPE))[0].iloc[0]
    runs = run_means(results, ("revenue",))
    own = [np.polyfit(part[SLOPE], part["revenue"], 1)[0] for _, part in runs.groupby("replicate")]
    expected = stats.ttest_1samp(own, 0)
    limits = expected.confidence_interval(0.95)
    assert found["estimate"] == pytest.approx(np.mean(own))
    assert found["se"] == pytest.approx(stats.sem(own))
    assert [found["low"], found["high"]] == pytest.approx([limits.low, limits.high])
    assert found["p_value"] == pytest.approx(expected.pvalue)


def test_with_missing_runs_it_is_least_squares_with_a_dummy_a_replicate(study):
    results = study(SWEEP, {"revenue": revenue}, replicates=8, missing=(0, 1, 2, 11, 30, 31, 32, 33, 34, 35, 36, 37))
    found, fits = regress(results, model(SLOPE, "broker.pricing"))
    runs = run_means(results, ("revenue",))
    dummies = [pd.get_dummies(runs[name], dtype=float) for name in ("broker.pricing", "replicate")]
    columns = np.column_stack([runs[SLOPE], dummies[0][["uniform", "low"]], dummies[1]])
    cluster = {"groups": runs["replicate"].to_numpy(), "use_correction": False}
    expected = OLS(runs["revenue"].to_numpy(), columns).fit(cov_type="cluster", cov_kwds=cluster)
    assert fits[["runs", "left_out", "replicates"]].iloc[0].tolist() == [60, 12, 8]
    assert found["estimate"].tolist() == pytest.approx(expected.params[:3].tolist())
    assert found["se"].tolist() == pytest.approx((expected.bse[:3] * np.sqrt(8 / 7)).tolist())
    heights = OLS(runs["revenue"].to_numpy(), columns[:, 3:]).fit()
    assert fits.loc[0, "r2_within"] == pytest.approx(1 - expected.ssr / heights.ssr)
    half = found["high"] - found["estimate"]
    assert (half / found["se"]).tolist() == pytest.approx([stats.t.ppf(0.975, 7)] * 3)


def test_a_replicate_with_one_run_tells_nothing(study):
    results = study(PRICING, {"revenue": revenue}, replicates=5, missing=(0, 1))
    without = study(PRICING, {"revenue": revenue}, replicates=5, missing=(0, 1, 2), name="without")
    (found, fits), (expected, _) = (regress(r, model("broker.pricing")) for r in (results, without))
    assert found.equals(expected)
    assert fits[["runs", "left_out", "replicates"]].iloc[0].tolist() == [12, 3, 4]


def test_logarithms_are_elasticities(study):
    power_law = {"revenue": lambda plan: (3 + plan["replicate"]) * plan[SLOPE] ** -1.5}
    results = study({SLOPE: [0.1, 0.2, 0.4]}, power_law)
    found, fits = regress(results, model(SLOPE, logs=("revenue", SLOPE)))
    assert found["term"].tolist() == [f"log {SLOPE}"]
    assert found.loc[0, "estimate"] == pytest.approx(-1.5)
    assert fits.loc[0, "r2_within"] == pytest.approx(1)
    cells = regression_tables(results, model(SLOPE, logs=("revenue", SLOPE)), found, fits)[0].cells
    assert "log Revenue" in cells
    natural = study({SLOPE: [0.1, 0.2, 0.4]}, {"revenue": lambda plan: 2 + 3 * np.log(plan[SLOPE])}, name="natural")
    assert regress(natural, model(SLOPE, logs=(SLOPE,)))[0].loc[0, "estimate"] == pytest.approx(3)


def test_interactions_are_products_of_what_is_taken_from_its_mean(study):
    def formula(plan):
        high = (plan["broker.pricing"] == "uniform").astype(float)
        return (
            plan["replicate"] + 10 * plan[SLOPE] + 2 * high + 5 * high * plan[SLOPE] + 7 * plan[SLOPE] * plan["rounds"]
        )

    sweep = {SLOPE: [0.1, 0.2, 0.6], "broker.pricing": ["median", "uniform"], "rounds": [1, 2]}
    results = study(sweep, {"revenue": formula}, replicates=2)
    found = regress(results, model(*sweep, interactions=True))[0].set_index("term")["estimate"]
    # At the mean of the others: commission 0.3, 1.5 rounds; at the baseline of the words.
    assert found.to_dict() == pytest.approx(
        {
            SLOPE: 10 + 7 * 1.5,
            "broker.pricing = uniform": 2 + 5 * 0.3,
            "rounds": 7 * 0.3,
            f"{SLOPE} x broker.pricing = uniform": 5,
            f"{SLOPE} x rounds": 7,
            "broker.pricing = uniform x rounds": 0,
        },
        abs=1e-9,
    )


def test_standardised_coefficients_do_not_know_units(study):
    results = study({SLOPE: [0.1, 0.2, 0.4]}, {"revenue": revenue, "welfare": lambda plan: 1000 * revenue(plan)})
    found, _ = regress(results, model(SLOPE, metrics=("revenue", "welfare"), standardise=True))
    plain = regress(results, model(SLOPE))[0]
    runs = run_means(results, ("revenue",))
    expected = plain.loc[0, "estimate"] * runs[SLOPE].std() / runs["revenue"].std()
    assert found["estimate"].tolist() == pytest.approx([expected, expected])


def made_up_runs(rng, replicates):
    """Runs of replicates of their own height and slope around -2, at five values of one number."""
    runs = pd.DataFrame({"replicate": np.repeat(np.arange(replicates), 5), "point": np.tile(np.arange(5), replicates)})
    runs["x"] = np.tile([0.0, 0.1, 0.3, 0.6, 1.0], replicates)
    height, slope = rng.normal(50, 20, replicates), rng.normal(-2, 1, replicates)
    runs["y"] = height[runs["replicate"]] + slope[runs["replicate"]] * runs["x"] + rng.normal(0, 0.3, len(runs))
    return runs


def test_intervals_cover_the_true_slope():
    """Of 250 studies of 4 replicates; naive least squares, and normal quantiles, fail the same bound."""
    rng = np.random.default_rng(4)
    covered = []
    for _ in range(250):
        runs = made_up_runs(rng, 4)
        row = fit_runs(runs, "y", Model(("y",), ("x",), {}))[0].iloc[0]
        dummies = pd.get_dummies(runs["replicate"], dtype=float).to_numpy()
        naive = OLS(runs["y"].to_numpy(), np.column_stack([runs["x"], dummies])).fit().conf_int()[0]
        z = row["estimate"] + np.array([-1, 1]) * stats.norm.ppf(0.975) * row["se"]
        covered.append([low <= -2 <= high for low, high in ([row["low"], row["high"]], naive, z)])
    clustered, naive, normal = np.mean(covered, axis=0)
    # 250 studies measure a coverage of 95% to 1.4 points.
    assert abs(clustered - 0.95) <= 3 * 0.014
    assert naive < 0.95 - 3 * 0.014
    assert normal < 0.95 - 3 * 0.014


@pytest.mark.parametrize(
    ("on", "more", "says"),
    [
        (("seed",), {}, "--on: found 'seed'; allowed are the swept parameters: broker.commission, broker.pricing"),
        ((SLOPE,), {"logs": ("x",)}, "--log: found 'x'; allowed are revenue, broker.commission"),
        (("broker.pricing",), {"logs": ("broker.pricing",)}, "whose values are words; allowed are numbers"),
        ((SLOPE,), {"baselines": {SLOPE: "0.1"}}, "which is a number; allowed are parameters of words"),
        (
            ("broker.pricing",),
            {"baselines": {"broker.pricing": "high"}},
            "found 'high' for broker.pricing; allowed are",
        ),
        ((SLOPE,), {"metrics": ("welfare",)}, "found 'welfare', which is the same in all runs of a replicate"),
        ((SLOPE,), {"metrics": ("regret",)}, "found 'regret' at several design points in 0 replicates"),
        (
            (SLOPE,),
            {"metrics": ("payouts",), "logs": ("payouts",)},
            "--log: found 'payouts' with the value -1; allowed",
        ),
    ],
)
def test_what_cannot_be_estimated_is_refused(study, on, more, says):
    metrics = {
        "revenue": revenue,
        "welfare": lambda plan: 1e6 * plan["replicate"] + 0.1,
        "regret": lambda plan: np.full(len(plan), np.nan),
        "payouts": lambda plan: plan["run"] - 1.0,
    }
    results = study(SWEEP, metrics, replicates=3)
    with pytest.raises(InputError) as error:
        regress(results, model(*on, **more))
    assert says in str(error.value)


def test_zipped_lists_cannot_be_told_apart(study):
    sweep = {SLOPE: [0.1, 0.2], "rounds": [1, 2], "broker.pricing": ["median", "low"]}
    results = study(sweep, {"revenue": revenue}, design={"zip": [[SLOPE, "rounds"]]})
    with pytest.raises(InputError, match="--on: found the term 'rounds', which follows from the terms before it"):
        regress(results, model(*sweep))
    assert len(regress(results, model(SLOPE, "broker.pricing"))[0]) == 2
    # Three values on a bend are no line: both can be told apart.
    bend = {SLOPE: [0.1, 0.2, 0.4], "rounds": [1, 2, 3]}
    results = study(bend, {"revenue": revenue}, design={"zip": [list(bend)]}, name="bend")
    assert len(regress(results, model(*bend))[0]) == 2


def test_one_replicate_is_not_enough(study):
    results = study(PRICING, {"revenue": revenue}, replicates=1)
    with pytest.raises(InputError, match="in 1 replicate; a regression needs two, for they are what is independent"):
        regress(results, model("broker.pricing"))


def test_ranges_are_numbers_and_truths_are_words(study):
    sampled = study({SLOPE: {"dist": "uniform", "scale": 0.5}}, {"revenue": revenue}, design={"points": 8})
    found, fits = regress(sampled, model(SLOPE))
    assert fits.loc[0, "runs"] == 80
    assert found["term"].tolist() == [SLOPE]
    runs = pd.DataFrame({"point": [0, 1], "x": ["true", "false"]})
    assert list(design_matrix(runs, model("x"))) == ["x = false"]


def test_the_table_has_a_column_a_metric_and_says_what_stands_below(study):
    metrics = {"revenue": revenue, "sell_through": lambda plan: 0.5 + revenue(plan) / 1e4}
    results = study(SWEEP, metrics, missing=(3,))
    asked = model(SLOPE, "broker.pricing", metrics=tuple(metrics))
    coefficients, fits = regress(results, asked)
    table = regression_tables(results, asked, coefficients, fits)[0]
    assert list(table.cells) == ["", "Revenue (money per round)", "Sell-through (share of buyers present)"]
    assert table.cells[""].tolist()[:4] == [SLOPE, "", "broker.pricing = uniform", ""]
    assert table.cells.iloc[-table.foot :, 1].tolist()[0] == "yes"
    assert table.cells.iloc[-2:, 2].tolist() == ["89", "10"]
    assert "t with 9 degrees of freedom" in table.notes[1]
    assert table.notes[2] == "Baseline: broker.pricing = median."
    assert "1 run is left out, failed, not done or without revenue." in table.notes
    first = coefficients.iloc[0]
    assert table.cells.iloc[1, 1] == f"[{first['low']:.1f}, {first['high']:.1f}]"
    errors = regression_tables(results, asked, coefficients, fits, standard_errors=True)[0]
    assert errors.cells.iloc[1, 1] == f"({first['se']:.3f})"
    assert errors.notes[1].startswith("Standard errors in parentheses")


def test_the_baseline_told_is_the_one_of_the_coefficients(study):
    """Where the sweep's first value has no finished run, nothing else is silently taken for it."""
    failed = tuple(range(0, 18, 3))
    results = study(PRICING, {"revenue": revenue}, replicates=6, missing=failed)
    assert set(results.plan.loc[results.plan["run"].isin(failed), "broker.pricing"]) == {"median"}
    with pytest.raises(InputError, match=r"--baseline: found 'median' for broker\.pricing; allowed are uniform, low"):
        regress(results, model("broker.pricing"))
    chosen = model("broker.pricing", baselines={"broker.pricing": "low"})
    found, fits = regress(results, chosen)
    assert found["term"].tolist() == ["broker.pricing = uniform"]
    assert "Baseline: broker.pricing = low." in regression_tables(results, chosen, found, fits)[0].notes


def test_a_value_that_does_what_the_baseline_does_has_no_effect_for_certain(study):
    """As in the paired comparison: 0 [0, 0] with p = 1, and no warning of a root of a variance below 0."""

    def without_low(plan):
        return revenue(plan.assign(**{"broker.pricing": plan["broker.pricing"].replace("low", "median")}))

    def same(plan):
        runs = pd.DataFrame({name: plan[name] for name in ("replicate", SLOPE, "broker.pricing")})
        runs["y"] = without_low(plan)
        keys = ["replicate", SLOPE, runs["broker.pricing"].replace("low", "median")]
        return runs.groupby(keys)["y"].transform("first")

    results = study(SWEEP, {"revenue": same}, replicates=9)
    found = regress(results, model(SLOPE, "broker.pricing"))[0].set_index("term")
    idle = found.loc["broker.pricing = low"]
    assert idle[["estimate", "se", "low", "high", "t", "p_value"]].tolist() == [0, 0, 0, 0, 0, 1]
    assert (found.drop("broker.pricing = low")["se"] > 0.1).all()
