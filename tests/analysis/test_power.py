"""Replicates that a precision needs: against simulation, other libraries and the smallest number by trial."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from analysis.compare import ALL, Question, question
from analysis.intervals import t_half_width
from analysis.power import (
    MOST,
    Goal,
    paired_power,
    power_analysis,
    power_tables,
    relative_half_width,
    replicates_for_power,
    replicates_needed,
    sigma_bound,
)
from scenarios.errors import InputError

PRICING = {"broker.pricing": ["median", "low", "high"]}


def revenue(plan):
    rng = np.random.default_rng(3)
    common = rng.normal(100, 20, 50)
    own = plan["broker.pricing"].map({"median": 0.0, "low": -6.0, "high": -1.0}) if "broker.pricing" in plan else 0
    return common[plan["replicate"]] + own + rng.normal(0, 3, len(plan))


def test_a_width_is_half_the_t_interval_over_the_absolute_mean():
    sample = np.random.default_rng(0).normal(-50, 8, 9)
    limits = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    assert relative_half_width(sample) == pytest.approx((limits.high - limits.low) / 2 / abs(sample.mean()))
    assert relative_half_width(np.array([3.0, 3.0])) == 0
    assert relative_half_width(np.array([0.0, 0.0])) == 0
    assert relative_half_width(np.array([-1.0, 1.0])) == math.inf
    assert math.isnan(relative_half_width(np.array([3.0])))
    assert math.isnan(relative_half_width(np.array([])))


@pytest.mark.parametrize("width", [0.5, 0.05, 0.01, 0.001])
def test_replicates_needed_are_the_first_that_are_enough(width):
    sample = np.random.default_rng(1).normal(10, 3, 12)
    sigma, mean = sample.std(ddof=1), sample.mean()

    def expected_width(n):
        return stats.t.ppf(0.975, n - 1) * sigma / np.sqrt(n) / mean

    needed = replicates_needed(sample, width)
    assert expected_width(needed) <= width
    assert needed == 2 or expected_width(needed - 1) > width
    # The normal quantile would be content with fewer.
    assert needed > (stats.norm.ppf(0.975) * sigma / (width * mean)) ** 2


def test_a_sample_has_as_many_replicates_as_its_own_width_needs():
    sample = np.random.default_rng(2).normal(10, 3, 25)
    assert replicates_needed(sample, relative_half_width(sample) * (1 + 1e-12)) == 25
    assert replicates_needed(np.array([5.0, 5.0, 5.0]), 0.01) == 2
    assert replicates_needed(np.array([0.1, 0.1, 0.1]), 1e-9) == 2
    assert replicates_needed(np.array([-1.0, 1.0]), 0.01) == MOST
    with pytest.raises(ValueError, match="found 1 values"):
        replicates_needed(np.array([5.0]), 0.01)


def test_power_is_statsmodels_where_that_has_an_answer():
    for effect in (0.1, 0.5, 1.0, 2.0):
        for n in (2, 3, 10, 40):
            for level in (0.05, 0.01):
                expected = TTestPower().power(effect, n, level)
                if not math.isnan(expected):
                    assert paired_power(effect, n, level) == pytest.approx(expected, abs=1e-8)
    assert replicates_for_power(1.0, 0.5, 0.8, 0.05) == math.ceil(TTestPower().solve_power(0.5, alpha=0.05, power=0.8))
    assert replicates_for_power(2.0, -0.5, 0.9, 0.01) == math.ceil(
        TTestPower().solve_power(0.25, alpha=0.01, power=0.9)
    )


def test_power_is_what_simulated_tests_find():
    """Also where statsmodels has no number; 20,000 studies tell a share to 0.35 points."""
    rng = np.random.default_rng(5)
    for effect, n, level in ((5.0, 3, 0.01), (20.0, 2, 0.01), (0.5, 34, 0.05)):
        differences = rng.normal(effect, 1, (20_000, n))
        found = np.mean(stats.ttest_1samp(differences, 0, axis=1).pvalue < level)
        assert paired_power(effect, n, level) == pytest.approx(found, abs=4 * 0.0036)
    # Nothing to find is found at the test's level; a certain finding has probability 1, whatever the numbers' size.
    assert paired_power(0.0, 5, 0.05) == pytest.approx(0.05)
    assert paired_power(1e-3, 2, 1e-3) == pytest.approx(1e-3, rel=1e-4)
    assert [paired_power(1e6, 2, 0.05), paired_power(1.0, 10**6, 0.01)] == pytest.approx([1, 1])
    assert paired_power(40.0, 10**7, 0.01) <= 1
    assert replicates_for_power(1.0, 1e-9, 0.8, 0.05) == MOST
    assert replicates_for_power(0.0, 1.0, 0.8, 0.05) == 2


def test_the_bound_of_a_deviation_holds_nine_times_in_ten():
    rng = np.random.default_rng(6)
    bounds = np.array([sigma_bound(sample) for sample in rng.normal(0, 2, (4000, 6))])
    assert np.mean(bounds >= 2) == pytest.approx(0.9, abs=3 * 0.0048)


def test_pilots_ask_for_as_many_replicates_as_give_the_width():
    """Studies of the size that a pilot of 40 asks for have the width wanted, to the pilot's error of 11%."""
    rng = np.random.default_rng(8)
    pilot = rng.normal(10, 3, 40)
    needed = replicates_needed(pilot, 0.05)
    widths = [t_half_width(sample) / 10 for sample in rng.normal(10, 3, (300, needed))]
    assert np.mean(widths) == pytest.approx(0.05, rel=0.25)


def test_an_analysis_has_means_and_paired_differences(study):
    results = study(PRICING, {"revenue": revenue}, replicates=12)
    asked = question(results, metrics=("revenue",))
    goal = Goal(0.02, difference=0.01, power=0.9)
    found = power_analysis(results, asked, goal).set_index(["level", "kind"])
    table = results.table("rounds").pivot_table(index="replicate", columns="broker.pricing", values="revenue")
    assert list(found.index) == [
        ("median", "mean"), ("low", "mean"), ("low", "difference"), ("high", "mean"), ("high", "difference"),
    ]  # fmt: skip
    low, base = table["low"].to_numpy(), table["median"].to_numpy()
    mean = found.loc[("low", "mean")]
    assert mean["sd"] == pytest.approx(low.std(ddof=1))
    assert mean["relative_half_width"] == pytest.approx(relative_half_width(low))
    assert mean["needed"] == replicates_needed(low, 0.02)
    assert mean["detect"] is None
    difference = found.loc[("low", "difference")]
    sigma = (low - base).std(ddof=1)
    # Widths of a difference are shares of the baseline's mean; pairing leaves a seventh of the deviation.
    assert difference["half_width"] == pytest.approx(t_half_width(low - base))
    assert difference["relative_half_width"] == pytest.approx(t_half_width(low - base) / base.mean())
    assert difference["detect"] == replicates_for_power(sigma, 0.01 * base.mean(), 0.9, 0.05)
    assert difference["detect_holm"] == replicates_for_power(sigma, 0.01 * base.mean(), 0.9, 0.025)
    assert difference["detect_upper"] == replicates_for_power(sigma_bound(low - base), 0.01 * base.mean(), 0.9, 0.05)
    assert difference["needed"] < mean["needed"] / 5
    assert (found["needed_upper"] > found["needed"]).all()


def test_absolute_widths_are_in_the_metrics_unit(study):
    results = study(PRICING, {"revenue": revenue}, replicates=12)
    asked = question(results, metrics=("revenue",))
    base = results.table("rounds").query("`broker.pricing` == 'median'")["revenue"].mean()
    shares = power_analysis(results, asked, Goal(0.02, 0.01)).set_index(["level", "kind"])
    money = power_analysis(results, asked, Goal(0.02 * base, 0.01 * base, absolute=True)).set_index(["level", "kind"])
    for row in (("median", "mean"), ("low", "difference")):
        assert shares.loc[row, "needed"] == money.loc[row, "needed"]
    assert shares.loc[("high", "difference"), "detect"] == money.loc[("high", "difference"), "detect"]
    assert shares.loc[("low", "mean"), "needed"] > money.loc[("low", "mean"), "needed"]  # of a smaller mean


def test_tables_show_both_numbers_and_what_they_mean(study):
    results = study(PRICING, {"revenue": revenue}, replicates=12)
    asked = question(results, metrics=("revenue",))
    goal = Goal(0.02, difference=0.01)
    means, differences = power_tables(power_analysis(results, asked, goal), asked, goal)
    found = power_analysis(results, asked, goal).iloc[0]
    assert means.cells["needed for 2%"].tolist()[0] == f"{found['needed']:,} ({found['needed_upper']:,})"
    assert list(differences.cells)[-3:] == ["needed for 2%", "to find 1%", "with Holm"]
    assert differences.cells["pricing"].tolist() == ["low", "high"]
    assert "for differences, of that of median" in differences.notes[0]


def test_nothing_swept_is_one_value(study):
    results = study({}, {"revenue": revenue}, replicates=9)
    asked = Question("", (ALL,), ALL, ("revenue",))
    found = power_analysis(results, asked, Goal(0.01))
    values = results.table("rounds")["revenue"].to_numpy()
    assert found["needed"].tolist() == [replicates_needed(values, 0.01)]
    assert len(power_tables(found, asked, Goal(0.01))) == 1
    single = study({}, {"revenue": revenue}, replicates=1, name="single")
    with pytest.raises(InputError, match="found fewer than two replicates with revenue; their spread needs two"):
        power_analysis(single, asked, Goal(0.01))


def test_values_without_a_spread_have_no_numbers(study):
    metrics = {"revenue": lambda plan: np.where(plan["broker.pricing"] == "low", np.nan, revenue(plan))}
    results = study(PRICING, metrics, replicates=5)
    asked = question(results, metrics=("revenue",))
    found = power_analysis(results, asked, Goal(0.01, 0.01))
    none = found[found["level"] == "low"]
    assert none[["needed", "needed_upper", "detect", "detect_holm"]].isna().all(axis=None)
    assert power_tables(found, asked, Goal(0.01, 0.01))[0].cells["needed for 1%"].tolist()[1] == "-"
