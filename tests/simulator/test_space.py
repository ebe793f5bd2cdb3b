"""The complete price space against its definition, and against the optimum that it must hold."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.pricing import complete_price_space, maximize_revenue
from simulator.pricing.space import KINDS

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=100)

answers = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=7)
epsilon_lists = st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0, 7.0]), min_size=4, max_size=4, unique=True)


@PROPERTY
@given(answers, epsilon_lists, st.sampled_from(["additive", "quadratic"]))
def test_every_candidate_has_the_kinds_that_its_answers_give_it(answers, epsilons, composition):
    epsilons = sorted(epsilons)
    x = [eps if composition == "additive" else eps * eps for eps in epsilons]
    space = complete_price_space(epsilons, *zip(*answers, strict=True), composition=composition)
    for k, candidates in enumerate(space):
        kinds = {}  # by the definition, one answer at a time
        for j, v in answers:
            price = v * (x[k] / x[j]) if j < k else float(v)
            kinds.setdefault(price, set()).add("SU" if j == k else "MC" if j > k else "SC")
        first = {price: next(kind for kind in KINDS if kind in found) for price, found in kinds.items()}
        assert candidates.prices.tolist() == sorted(first)
        assert candidates.kinds.tolist() == [first[price] for price in sorted(first)]


@PROPERTY
@given(answers, epsilon_lists, st.sampled_from(["additive", "quadratic"]))
def test_an_optimum_of_the_relaxed_problem_lies_in_it(answers, epsilons, composition):
    epsilons = np.sort(epsilons)
    x = epsilons if composition == "additive" else epsilons**2
    targets, values = (np.array(column) for column in zip(*answers, strict=True))
    space = complete_price_space(epsilons, targets, values, composition=composition)
    lists = np.array(list(itertools.product(*(candidates.prices for candidates in space))))
    rising = (np.diff(lists) >= -1e-12 * lists[:, 1:]).all(axis=1)
    falling = (np.diff(lists / x) <= 1e-12 * (lists / x)[:, 1:]).all(axis=1)
    asked = lists[rising & falling][:, targets]
    best = (asked * (values >= asked * (1 - 1e-12))).sum(axis=1).max()
    # Sums of at most seven terms: only their rounding differs.
    assert maximize_revenue(epsilons, targets, values, composition=composition).revenue == pytest.approx(
        best, rel=1e-11
    )


def test_a_version_nobody_asked_for_has_candidates_of_the_others_alone():
    low, middle, high = complete_price_space([1, 2, 4], [0, 2, 2], [3.0, 5.0, 5.0])
    assert (low.prices.tolist(), low.kinds.tolist()) == ([3.0, 5.0], ["SU", "MC"])
    assert (middle.prices.tolist(), middle.kinds.tolist()) == ([5.0, 6.0], ["MC", "SC"])
    assert (high.prices.tolist(), high.kinds.tolist()) == ([5.0, 12.0], ["SU", "SC"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (([2, 1], [0], [1.0]), "epsilons"),
        (([1, 2], [2], [1.0]), "targets"),
        (([1, 2], [], []), "values"),
        (([1, 2], [0], [0.0]), "values"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        complete_price_space(*arguments)
    with pytest.raises(ValueError, match=r"^composition"):
        complete_price_space([1], [0], [1.0], composition="cubic")
