"""Stopping by width: never too early, as soon as it may, and what that does to the intervals' coverage."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.stopping import StoppingRule, in_words, next_replicates, stopped, widest
from scenarios.errors import RunError


def half_width(sample):
    """By SciPy's own interval."""
    low, high = stats.t.interval(0.95, len(sample) - 1, sample.mean(), stats.sem(sample))
    return (high - low) / 2 / abs(sample.mean())


def run(draw, rule):
    """The replicates a rule takes, and the sample then: `draw` gives replicate after replicate."""
    n = next_replicates({"": draw[:0]}, 0, rule)
    steps = [n]
    while (more := next_replicates({"": draw[:n]}, n, rule)) != n:
        n = more
        steps.append(n)
    return steps, draw[:n]


@given(
    sigma=st.floats(0.05, 3),
    width=st.floats(0.01, 0.3),
    minimum=st.integers(2, 30),
    more=st.integers(0, 3000),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_it_stops_narrow_enough_or_at_the_maximum_and_never_before_the_minimum(sigma, width, minimum, more, seed):
    rule = StoppingRule("revenue", width, minimum, minimum + more)
    draw = np.random.default_rng(seed).normal(1, sigma, rule.maximum)
    steps, sample = run(draw, rule)
    assert steps[0] == minimum
    assert len(sample) <= rule.maximum
    assert half_width(sample) <= width * (1 + 1e-12) or len(sample) == rule.maximum
    for before, after in itertools.pairwise(steps):
        assert half_width(draw[:before]) > width
        assert after == rule.maximum or before + max(1, np.ceil(0.1 * before)) <= after <= 2 * before


def test_it_does_not_take_many_more_replicates_than_are_needed():
    """Of known spread the need is (1.96 sigma / width)^2 = 385 replicates."""
    rule = StoppingRule("revenue", 0.05, 20, 10_000)
    taken = [len(run(np.random.default_rng(seed).normal(1, 0.5, 10_000), rule)[1]) for seed in range(60)]
    needed = (stats.norm.ppf(0.975) * 0.5 / 0.05) ** 2
    assert needed == pytest.approx(384.1, abs=0.1)
    # A step of a tenth on top of an estimate that is unbiased up to a few percent.
    assert needed * 0.95 < np.mean(taken) < needed * 1.15
    assert np.max(taken) < 1.4 * needed


@pytest.mark.parametrize("skewed", [False, True])
def test_intervals_after_stopping_cover_nearly_as_often_as_they_say(skewed):
    """400 studies: were the coverage 0.95, less than 0.92 would be found once in 150 times; stopping costs a point."""
    rule = StoppingRule("revenue", 0.2, 20, 4000)
    covered = 0
    for seed in range(400):
        rng = np.random.default_rng([seed, 1])
        draw = rng.lognormal(0, 0.5, 400) / np.exp(0.125) if skewed else rng.normal(1, 0.5, 400)
        sample = run(draw, rule)[1]
        low, high = stats.t.interval(0.95, len(sample) - 1, sample.mean(), stats.sem(sample))
        covered += low <= 1 <= high
    assert (0.9 if skewed else 0.92) < covered / 400 < 0.975


def test_the_widest_of_several_values_decides():
    rng = np.random.default_rng(0)
    found = {"calm": rng.normal(10, 0.1, 20), "wild": rng.normal(10, 5, 20)}
    rule = StoppingRule("revenue", 0.1, 20, 1000)
    assert widest(found) == ("wild", pytest.approx(half_width(found["wild"])))
    assert next_replicates(found, 20, rule) == next_replicates({"wild": found["wild"]}, 20, rule) > 20
    assert next_replicates({"calm": found["calm"]}, 20, rule) == 20
    # Where half of the replicates failed, twice as many are needed.
    halved = {"wild": rng.normal(10, 2.2, 20)}
    assert next_replicates(halved, 40, rule) == pytest.approx(2 * next_replicates(halved, 20, rule), abs=2)


def test_what_has_no_interval_is_said_at_once():
    rule = StoppingRule("regret", 0.1, 5, 1000)
    found = {"median": np.ones(5), "perfect": np.ones(1)}
    with pytest.raises(
        RunError, match="regret is undefined in all but 1 of 5 replicates at perfect, so it has no interval"
    ):
        next_replicates(found, 5, rule)
    # A mean of zero never is known to a share of itself.
    centred = {"": np.array([-1.0, 1.0, -2.0, 2.0, 0.0])}
    assert next_replicates(centred, 5, rule) == 10
    assert next_replicates(centred, 1000, rule) == 1000
    # Equal values are known at once.
    assert next_replicates({"": np.zeros(5)}, 5, rule) == 5


def test_how_it_stopped_is_told_in_words():
    found = {"calm": np.array([9.0, 10.0, 11.0]), "wild": np.array([1.0, 10.0, 19.0])}
    done = stopped(found, 3, StoppingRule("revenue", 0.01, 3, 3))
    assert done | {"widest": 0} == {
        "metric": "revenue", "width": 0.01, "minimum": 3, "maximum": 3,
        "replicates": 3, "widest": 0, "at": "wild", "reached": False,
    }  # fmt: skip
    assert in_words(done) == (
        "Stopped at the maximum of 3 replicates: half the width of the 95% interval of revenue is 223.57% of its mean "
        "at wild, not the 1.00% asked for."
    )
    done = stopped({"": found["calm"]}, 3, StoppingRule("revenue", 0.25, 3, 3))
    assert in_words(done) == (
        "Stopped by width after 3 replicates: half the width of the 95% interval of revenue is 24.84% of its mean, "
        "25.00% or less was asked for."
    )
