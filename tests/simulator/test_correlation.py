"""Sensitivity correlated with value: a Gaussian copula with exact marginals, on the streams that were there."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from simulator import Market
from simulator.distributions import correlated

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=100)

NORMAL = {
    "value": {"dist": "norm", "loc": 1, "scale": 2},
    "privacy_sensitivity": {"dist": "truncnorm", "a": -1, "b": 3},
}
GAMMA = {"dist": "gamma", "a": 2.0, "scale": 0.2}
COUNT = 4000


def drawn(make_config, correlation, seed=0, **owners):
    """Values and sensitivities of a segment, and its willing owners."""
    owners = {"count": COUNT, "privacy_sensitivity": GAMMA, "participation": 0.5, **owners}
    market = Market(make_config(owners=owners | {"correlation": correlation}, buyers={"count": 1}), seed)
    columns = market.owners.columns
    return market.broker.stock.values, columns["privacy_sensitivity"], columns["willing"]


@pytest.mark.parametrize("correlation", [-1.0, -0.6, 0.3, 0.9, 1.0])
def test_marginals_stay_what_they_are(make_config, correlation):
    """Kolmogorov's distance exceeds 1.95 / sqrt(n) with a chance of 1e-3."""
    values, sensitivities, _ = drawn(make_config, correlation, value={"dist": "lognorm", "s": 0.7})
    for found, law in ((values, stats.lognorm(0.7)), (sensitivities, stats.gamma(2.0, scale=0.2))):
        assert stats.kstest(found, law.cdf).statistic < 1.95 / math.sqrt(COUNT)


@pytest.mark.parametrize("correlation", [-0.9, -0.5, 0.2, 0.7])
def test_rank_correlation_is_that_of_the_copula(make_config, correlation):
    """6/pi arcsin(r/2), whatever the marginals; its sampling error is at most 1/sqrt(n - 1), taken fourfold."""
    expected = 6 / math.pi * math.asin(correlation / 2)
    for value in ({"dist": "norm"}, {"dist": "lognorm", "s": 2.0}, {"dist": "uniform"}):
        values, sensitivities, _ = drawn(make_config, correlation, value=value)
        found = stats.spearmanr(values, sensitivities).statistic
        assert found == pytest.approx(expected, abs=4 / math.sqrt(COUNT - 1))


def test_linear_correlation_of_normal_marginals_is_the_parameter():
    """By Fisher's transformation, whose standard error is 1/sqrt(n - 3)."""
    own, other = np.random.default_rng(3).random((2, 50_000))
    for correlation in (-0.8, -0.3, 0.5, 0.95):
        found = np.corrcoef(stats.norm.ppf(other), stats.norm.ppf(correlated(own, other, correlation)))[0, 1]
        assert math.atanh(found) == pytest.approx(math.atanh(correlation), abs=4 / math.sqrt(50_000 - 3))


@pytest.mark.parametrize(("correlation", "sign"), [(1.0, 1), (-1.0, -1)])
def test_at_the_ends_ranks_are_the_same_or_reversed(make_config, correlation, sign):
    values, sensitivities, _ = drawn(make_config, correlation)
    assert stats.rankdata(sensitivities).tolist() == stats.rankdata(sign * values).tolist()


def test_joint_distribution_function(make_config):
    """Shares of the quadrants at several quantiles against the bivariate normal distribution function."""
    values, sensitivities, _ = drawn(make_config, 0.6, value={"dist": "lognorm", "s": 0.7})
    below = stats.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]])
    for p in (0.1, 0.5, 0.8):
        for q in (0.25, 0.6):
            found = ((values <= stats.lognorm.ppf(p, 0.7)) & (sensitivities <= stats.gamma.ppf(q, 2, scale=0.2))).mean()
            assert found == pytest.approx(below.cdf([stats.norm.ppf(p), stats.norm.ppf(q)]), abs=4 * 0.5 / COUNT**0.5)


def test_correlation_moves_sensitivities_alone_and_smoothly(make_config):
    """Without correlation draws are what they were; with it values and all else stay, and so does the own part."""
    values, plain, willing = drawn(make_config, 0.0)
    untouched = Market(make_config(owners={"count": COUNT, "privacy_sensitivity": GAMMA, "participation": 0.5}))
    assert untouched.owners.columns["privacy_sensitivity"].tolist() == plain.tolist()
    for correlation in (-0.5, 0.5):
        again, moved, still = drawn(make_config, correlation)
        assert again.tolist() == values.tolist()
        assert still.tolist() == willing.tolist()
        assert not (moved == plain).any()
        assert stats.spearmanr(moved, plain).statistic > 0.8
    np.testing.assert_allclose(drawn(make_config, 1e-9)[1], plain, rtol=1e-6)


def test_segments_have_correlations_of_their_own(make_config):
    segments = [
        {"segment": name, "count": COUNT, "privacy_sensitivity": GAMMA, "correlation": r}
        for name, r in (("a", 0.9), ("b", -0.9), ("c", 0.0))
    ]
    market = Market(make_config(owners=segments, buyers={"count": 1}))
    pairs = np.array([market.broker.stock.values, market.owners.columns["privacy_sensitivity"]]).reshape(2, 3, COUNT)
    found = [stats.spearmanr(*pairs[:, k]).statistic for k in range(3)]
    assert found == pytest.approx([0.891, -0.891, 0.0], abs=0.05)


@PROPERTY
@given(st.floats(2.0**-54, 1 - 2.0**-53), st.floats(2.0**-54, 1 - 2.0**-53), st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_correlated_numbers_are_inside_and_monotone(own, other, one, two):
    low, high = sorted((one, two))
    u, v = (float(correlated(np.array([own]), np.array([other]), r)[0]) for r in (low, high))
    for number in (u, v):
        assert 0 < number < 1
    assert float(correlated(np.array([own]), np.array([other]), 0.0)[0]) == pytest.approx(own, rel=1e-12)
    assert float(correlated(np.array([own]), np.array([other]), 1.0)[0]) == pytest.approx(other, rel=1e-12)
    more = float(correlated(np.array([own]), np.array([min(1 - 2.0**-53, other * 1.01)]), high)[0])
    assert (more - v) * high >= -1e-15


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"owners": {"correlation": 1.5}}, "less than or equal to 1"),
        ({"owners": {"correlation": -1.01}}, "greater than or equal to -1"),
        ({"owners": {"correlation": float("nan")}}, "than or equal to"),
        (
            {"owners": {"correlation": 0.5, "value": 1.0}},
            "correlation: found 0.5 with value = 1.0; allowed where value",
        ),
        (
            {"owners": {"correlation": 0.5, "privacy_sensitivity": [0.1] * 6}},
            "correlation: found 0.5 with privacy_sensitivity = [0.1, 0.1",
        ),
        (
            {"owners": {"correlation": -0.5}, "data": "iris"},
            "owners.owners.correlation: found -0.5; allowed with data.source = 'values' only, where values are drawn",
        ),
    ],
)
def test_what_cannot_be_correlated_is_refused(make_config, settings_, message):
    with pytest.raises(ValidationError) as caught:
        make_config(**settings_)
    assert message in str(caught.value)


def test_the_extremes_of_both_numbers_stay_inside():
    """Where both are as far out as they can be, the normal variable behind is beyond the range of floats near 1."""
    ends = np.array([2.0**-54, 1 - 2.0**-53])
    for correlation in (-0.7, 0.7):
        found = correlated(ends, ends if correlation > 0 else ends[::-1], correlation)
        assert ((found > 0) & (found < 1)).all()
