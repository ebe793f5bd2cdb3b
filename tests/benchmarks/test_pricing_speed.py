"""Pricing a survey against one sort of its answers: ratios in the same run, and growth from 10^3 to 10^6.

Run with `make bench`. Nothing here asserts a time.
"""

import numpy as np
import pytest

from simulator.pricing import maximize_revenue

FAMILIES = {
    "uniform": lambda rng, m: 1.0 - rng.random(m),
    "sigmoid": lambda rng, m: 100.0 / (1.0 + np.exp(-10.0 * (rng.random(m) - 0.5))),
    "heavy_tail": lambda rng, m: 1.0 + rng.pareto(1.5, m),
    "ten_values": lambda rng, m: rng.integers(1, 11, m).astype(float),
}


@pytest.fixture
def survey(family, answers, benchmark):
    benchmark.group = f"ten versions, {family}, {answers:,} answers, against one sort of them"
    rng = np.random.default_rng(0)
    return rng.integers(0, 10, answers), FAMILIES[family](rng, answers)


@pytest.mark.parametrize("answers", [400, 1_000, 10_000, 100_000, 1_000_000])
@pytest.mark.parametrize("family", FAMILIES)
def test_price_list(survey, benchmark):
    benchmark(maximize_revenue, np.arange(1.0, 11.0), *survey)


@pytest.mark.parametrize("answers", [400, 1_000, 10_000, 100_000, 1_000_000])
@pytest.mark.parametrize("family", FAMILIES)
def test_one_sort(survey, benchmark):
    benchmark(np.sort, survey[1])
