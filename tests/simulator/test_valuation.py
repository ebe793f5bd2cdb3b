"""Shapley values: axioms, the permutation definition, sampling errors, continued valuations."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer

from simulator.valuation import AdditiveGame, GramRidgeGame, Valuation, shapley_values, update_values
from simulator.valuation.estimator import Moments

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=60)

SAMPLING = ("permutation", "complementary", "svarm")
METHODS = ("exact", *SAMPLING)

#: Sums of at most 2^14 utilities of size 1, in floats.
ROUNDING = 1e-10


class TableGame:
    """A game whose utilities stand in a table: entry c is the coalition of the players whose bit is set in c."""

    def __init__(self, table):
        self.table = np.asarray(table, dtype=float)
        self.n_players = len(self.table).bit_length() - 1
        self.evaluations = 0

    def utility(self, masks):
        assert masks.dtype == bool
        assert masks.shape[1:] == (self.n_players,)
        self.evaluations += len(masks)
        return self.table[masks @ (1 << np.arange(self.n_players))]


def random_game(rng, n):
    return TableGame(rng.normal(size=2**n))


def shapley_by_definition(game):
    """Mean gain on joining, over all orders."""
    n = game.n_players
    values = np.zeros(n)
    for order in itertools.permutations(range(n)):
        code = 0
        for player in order:
            values[player] += game.table[code | 1 << player] - game.table[code]
            code |= 1 << player
    return values / math.factorial(n)


def swap(table, i, j):
    """The table of the game in which players i and j have changed roles."""
    codes = np.arange(len(table))
    differ = ((codes >> i) ^ (codes >> j)) & 1
    return table[codes ^ (differ << i) ^ (differ << j)]


# --- exact values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 7))
def test_exact_values_are_mean_gains_over_all_orders(n):
    game = random_game(np.random.default_rng(n), n)
    exact = shapley_values(game, method="exact")
    assert exact.values == pytest.approx(shapley_by_definition(game), abs=ROUNDING)
    assert exact.stderr.tolist() == [0.0] * n
    assert (exact.evaluations, exact.method) == (2**n, "exact")


@pytest.mark.parametrize("n", [2, 5, 9])
def test_axioms_of_exact_values(n):
    rng = np.random.default_rng(n)
    one, other = random_game(rng, n), random_game(rng, n)

    def value(table):
        return shapley_values(TableGame(table), method="exact").values

    # Efficiency.
    assert value(one.table).sum() == pytest.approx(one.table[-1] - one.table[0], abs=ROUNDING)
    # Additivity.
    assert value(one.table + other.table) == pytest.approx(value(one.table) + value(other.table), abs=ROUNDING)
    # Symmetry: players whose roles may be changed have one value.
    symmetric = value(one.table + swap(one.table, 0, n - 1))
    assert symmetric[0] == pytest.approx(symmetric[-1], abs=ROUNDING)
    # Changing roles changes values.
    assert value(swap(one.table, 0, n - 1))[[0, n - 1]] == pytest.approx(value(one.table)[[n - 1, 0]], abs=ROUNDING)
    # Null player: the last one never changes the utility.
    half = one.table[: 2 ** (n - 1)]
    assert value(np.concatenate([half, half]))[-1] == 0.0


def test_glove_game_by_hand():
    """Two left gloves and a right one: a pair is worth 1; the right glove gets 2/3."""
    table = [0, 0, 0, 0, 0, 1, 1, 1]
    for method in ("exact", "complementary", "svarm"):  # pairs of coalitions are complete for three players
        assert shapley_values(TableGame(table), method=method).values == pytest.approx([1 / 6, 1 / 6, 2 / 3])


def test_an_additive_game_is_valued_at_its_own_values():
    values = np.array([3.0, -1.0, 0.0, 0.25, 8.0])
    for method in ("exact", "permutation"):
        found = shapley_values(AdditiveGame(values), method=method, budget=200, tolerance=0.0)
        # Every gain is the player's own value, but for rounding in sums of five terms.
        assert found.values == pytest.approx(values, abs=ROUNDING)
    found = shapley_values(AdditiveGame(values), method="complementary", budget=2000, tolerance=0.0)
    assert (np.abs(found.values - values) <= 4 * found.stderr).all()
    # Once the linear part is taken out, nothing is left to sample.
    relieved = shapley_values(AdditiveGame(values), method="svarm", budget=2000, tolerance=0.0)
    assert np.linalg.norm(relieved.values - values) < 0.2 * np.linalg.norm(found.stderr)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_players(n, method):
    game = random_game(np.random.default_rng(n), n)
    found = shapley_values(game, method=method, budget=20_000, tolerance=0.0)
    # One and two players have one and two orders; sampling orders of three converges like 1 / sqrt(orders).
    error = 5 * found.stderr.max() + ROUNDING
    assert found.values == pytest.approx(shapley_by_definition(game), abs=error)
    assert found.values.sum() == pytest.approx(game.table[-1] - game.table[0], abs=ROUNDING)
    if n == 1 or method != "permutation":
        assert found.stderr.tolist() == [0.0] * n
        assert (found.status, found.samples) == ("exact", 0)


def test_no_players():
    assert shapley_values(AdditiveGame(np.empty(0))).values.shape == (0,)


# --- sampling --------------------------------------------------------------------------------------------


@PROPERTY
@given(st.integers(1, 9), st.integers(0, 10**6), st.integers(1, 300))
def test_estimates_are_efficient(n, seed, budget):
    game = random_game(np.random.default_rng(seed), n)
    for method in SAMPLING:
        found = shapley_values(game, method=method, budget=budget, tolerance=0.0, rng=np.random.default_rng(seed))
        assert found.values.sum() == pytest.approx(game.table[-1] - game.table[0], abs=ROUNDING)


@pytest.fixture(scope="module")
def owners_game():
    """Twelve owners of 15 records each of the breast-cancer data, their game in a table, its exact values."""
    features, labels = load_breast_cancer(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = order[:180], order[180:]
    game = GramRidgeGame(
        features[train], labels[train], np.arange(180) // 15, 12, features[test], labels[test], n_classes=2
    )
    masks = (np.arange(2**12)[:, None] >> np.arange(12)) & 1 == 1
    table = np.concatenate([game.utility(part) for part in np.split(masks, 16)])
    return table, shapley_values(TableGame(table), method="exact").values


def sample(owners_game, method, budget, seeds, tolerance=0.0, **options):
    found = [
        shapley_values(
            TableGame(owners_game[0]),
            method=method,
            budget=budget,
            tolerance=tolerance,
            rng=np.random.default_rng([seed, budget]),
            progress=False,
            **options,
        )
        for seed in range(seeds)
    ]
    return np.array([v.values for v in found]), np.array([v.stderr for v in found]), found


@pytest.mark.parametrize(
    ("method", "budget", "options"),
    [
        ("permutation", 2000, {}),
        ("permutation", 2000, {"antithetic": True}),
        ("permutation", 2000, {"truncation": 0.05}),
        ("permutation", 240, {}),  # 21 orders, of which three in twenty players never come first
        ("permutation", 240, {"antithetic": True}),
        ("permutation", 240, {"truncation": 0.05}),
        ("complementary", 2000, {}),
        ("complementary", 200, {}),  # five samples, as with a hundred owners and the usual budget
        ("svarm", 2000, {}),
        ("svarm", 200, {}),
    ],
)
def test_intervals_cover_the_exact_values(owners_game, method, budget, options):
    """95% intervals: 1,200 of them, of which 0.95 is expected."""
    _, _, found = sample(owners_game, method, budget, seeds=100, **options)
    low, high = np.swapaxes([valuation.interval() for valuation in found], 0, 1)
    assert 0.92 <= ((low <= owners_game[1]) & (owners_game[1] <= high)).mean() <= 0.98


def test_wider_intervals_cover_more(owners_game):
    low, high = sample(owners_game, "svarm", 300, seeds=1)[2][0].interval(0.5)
    wide_low, wide_high = sample(owners_game, "svarm", 300, seeds=1)[2][0].interval(0.99)
    assert ((wide_low < low) & (high < wide_high)).all()
    exact = shapley_values(TableGame(owners_game[0]), method="exact")
    assert np.array_equal(exact.interval(), [exact.values, exact.values])
    with pytest.raises(ValueError, match="level"):
        exact.interval(95)


def moments_of(samples):
    found = Moments(0, *np.zeros((4, samples.shape[1])))
    for row in samples:
        found.take(row)
    return found


def centred(samples):
    return samples - samples.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("count", [2, 3, 4, 50])
def test_moments_of_samples_are_accumulated(count):
    samples = centred(np.random.default_rng(count).exponential(size=(count, 5)))
    found = moments_of(samples)
    deviation = samples - samples.mean(axis=0)
    assert found.mean == pytest.approx(samples.mean(axis=0), abs=1e-12)
    for power, name in ((2, "squares"), (3, "cubes"), (4, "fourths")):
        assert getattr(found, name) == pytest.approx((deviation**power).sum(axis=0), abs=1e-12)
    # What all players' values are uncertain by does not depend on how it is spread over them.
    assert (found.stderr()[0] ** 2).sum() == pytest.approx((samples.var(axis=0, ddof=1) / count).sum())


def test_few_samples_draw_players_of_equal_variance_together_and_many_keep_differences_apart():
    rng = np.random.default_rng(0)
    alike = moments_of(centred(rng.normal(size=(8, 200))))
    stderr, freedom = alike.stderr()
    own = np.sqrt(alike.squares / 7 / 8)
    assert stderr.std() < 0.3 * own.std()
    assert freedom[0] > 10 * 7  # one variance from 200 players' samples
    scale = np.linspace(1.0, 5.0, 20)
    apart = moments_of(centred(scale * rng.normal(size=(2000, 20))))
    own = np.sqrt(apart.squares / 1999 / 2000)
    assert apart.stderr()[0] == pytest.approx(own, rel=0.01)
    # Of normal samples with variances of their own: one degree of freedom a sample, as usual.
    assert apart.stderr()[1][0] == pytest.approx(1999, rel=0.2)


def test_two_players_tell_no_more_than_one():
    """Their samples differ in sign alone."""
    one = np.random.default_rng(0).normal(size=30)
    stderr, freedom = moments_of(np.stack([one, -one], axis=1)).stderr()
    assert stderr == pytest.approx(np.full(2, one.std(ddof=1) / math.sqrt(30)))
    assert freedom[0] <= 29 + 1e-9


def test_samples_that_never_differ_have_no_error():
    stderr, freedom = moments_of(np.zeros((5, 3))).stderr()
    assert stderr.tolist() == [0.0] * 3
    assert freedom.tolist() == [4.0] * 3


@pytest.mark.parametrize("method", SAMPLING)
def test_standard_errors_are_those_of_repeated_estimates(owners_game, method):
    values, stderr, _ = sample(owners_game, method, 1000, seeds=300)
    stated, found = np.sqrt((stderr**2).mean()), np.sqrt(((values - owners_game[1]) ** 2).mean())
    # 3,600 errors tell their size to within 2%, somewhat less as those of one estimate sum to zero.
    assert 0.93 < stated / found < 1.07


@pytest.mark.parametrize("n", [11, 12])  # pairs of halves exist for an even number only
@pytest.mark.parametrize("method", SAMPLING)
def test_estimates_are_unbiased(owners_game, method, n):
    table = owners_game[0][: 2**n]
    exact = shapley_values(TableGame(table), method="exact").values
    values, _, _ = sample((table, exact), method, 500, seeds=200)
    error_of_mean = values.std(axis=0, ddof=1) / math.sqrt(len(values))
    z = (values.mean(axis=0) - exact) / error_of_mean
    # Twelve standard normal numbers: one beyond 4 has a chance below 1e-3.
    assert np.abs(z).max() < 4.0


@pytest.mark.parametrize("method", SAMPLING)
def test_error_falls_with_the_root_of_the_budget(owners_game, method):
    def rmse(budget):
        values, _, _ = sample(owners_game, method, budget, seeds=150)
        return math.sqrt(((values - owners_game[1]) ** 2).mean())

    # Four times the evaluations halve the error; 200 repetitions tell it to within a tenth.
    assert 0.4 < rmse(2000) / rmse(500) < 0.6


def rmse(owners_game, method, budget, seeds=60, **options):
    values, _, _ = sample(owners_game, method, budget, seeds, **options)
    return math.sqrt(((values - owners_game[1]) ** 2).mean())


def test_better_estimators_need_fewer_evaluations(owners_game):
    """At equal evaluations; errors fall with the root of them.

    Measured with a thousand repetitions at 1,000 evaluations: permutation 0.0089, complementary 0.00068, svarm
    0.00052. Sixty repetitions tell a ratio of errors to within a tenth.
    """
    assert rmse(owners_game, "complementary", 1000) < rmse(owners_game, "permutation", 1000) / math.sqrt(10)
    assert rmse(owners_game, "svarm", 1000) < 0.9 * rmse(owners_game, "complementary", 1000)


def test_truncation_saves_evaluations(owners_game):
    full, _, _ = sample(owners_game, "permutation", 4000, seeds=1)
    cut, _, found = sample(owners_game, "permutation", 4000, seeds=1, truncation=0.05)
    assert found[0].samples > 1.5 * (4000 - 2) / 11  # orders that are followed to the end take 11 evaluations
    assert cut.sum() == pytest.approx(full.sum(), abs=ROUNDING)
    # No cut, no difference: random utilities come nowhere as close to the last one as a billionth, so that all
    # orders are followed to the end, and their gains are those of an order.
    game = random_game(np.random.default_rng(0), 6)
    found = shapley_values(game, method="permutation", budget=2 + 5 * 200, tolerance=0.0, truncation=1e-9)
    rng, gains = np.random.default_rng(0), np.zeros((200, 6))
    for row in gains:
        order, _ = rng.permutation(6), rng.random()
        codes = np.concatenate([[0], np.cumsum(1 << order)])
        row[order] = np.diff(game.table[codes])
    assert found.values == pytest.approx(gains.mean(axis=0), abs=ROUNDING)


def test_truncated_orders_are_unbiased(owners_game):
    """At a fifth of everybody's gain two thirds of an order are cut off: equal shares alone are off by far."""
    values, _, found = sample(owners_game, "permutation", 500, seeds=80, truncation=0.2)
    assert np.mean([valuation.samples for valuation in found]) > 3 * 500 / 11
    z = (values.mean(axis=0) - owners_game[1]) / (values.std(axis=0, ddof=1) / math.sqrt(len(values)))
    # Twelve standard normal numbers: one beyond 4 has a chance below 1e-3.
    assert np.abs(z).max() < 4.0


def test_a_truncated_order_shares_the_rest_equally():
    """The second to join reaches all of the utility: the two who are left are worth nothing, and get nothing."""
    n = 4
    masks = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    game = TableGame(np.minimum(masks.sum(axis=1), 2.0))
    found = shapley_values(game, method="permutation", budget=400, tolerance=0.0, truncation=0.5)
    assert found.values.sum() == pytest.approx(2.0)
    # At half of the utility, after the first, an order ends: all shares alike but for orders followed to the end.
    ends = (found.evaluations - 2 - found.samples) / 2
    assert 0 < ends < 0.25 * found.samples  # one in eight


# --- continued -------------------------------------------------------------------------------------------


@PROPERTY
@given(
    st.integers(4, 9),
    st.integers(0, 10**6),
    st.lists(st.integers(1, 3000), min_size=2, max_size=4),
    st.sampled_from(
        [
            ("permutation", {}),
            ("permutation", {"antithetic": True}),
            ("permutation", {"truncation": 0.3}),
            ("complementary", {}),
            ("svarm", {}),
        ]
    ),
    st.sampled_from([0.0, 0.3]),
)
def test_continuing_equals_one_longer_run(n, seed, budgets, method, tolerance):
    game = random_game(np.random.default_rng(seed), n)
    name, options = method
    whole, first = (
        shapley_values(
            game, method=name, budget=budget, tolerance=tolerance, rng=np.random.default_rng(seed), **options
        )
        for budget in (max(budgets), budgets[0])
    )
    found = first
    before = first.values.copy()
    for budget in [*budgets[1:], max(budgets)]:
        found = shapley_values(game, start=found, budget=budget, tolerance=tolerance)
    assert np.array_equal(found.values, whole.values)
    assert np.array_equal(found.stderr, whole.stderr)
    assert (found.evaluations, found.samples, found.status) == (whole.evaluations, whole.samples, whole.status)
    assert np.array_equal(first.values, before)  # what was continued is left as it was


def test_a_user_may_go_on_using_the_generator_of_a_valuation_to_be_continued(owners_game):
    rng = np.random.default_rng(0)
    first = shapley_values(TableGame(owners_game[0]), method="svarm", budget=200, tolerance=0.0, rng=rng)
    rng.random(7)
    whole = shapley_values(
        TableGame(owners_game[0]), method="svarm", budget=400, tolerance=0.0, rng=np.random.default_rng(0)
    )
    again = shapley_values(TableGame(owners_game[0]), start=first, budget=400, tolerance=0.0)
    assert np.array_equal(again.values, whole.values)


def test_an_exact_valuation_stays_as_it_is():
    exact = shapley_values(AdditiveGame(np.ones(3)))
    assert shapley_values(AdditiveGame(np.ones(3)), start=exact) is exact


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"game": AdditiveGame(np.ones(18))}, "start must be a valuation of this game"),
        ({"method": "complementary"}, "by its own method"),
        ({"rng": np.random.default_rng(0)}, "by its own method, options and stream"),
        ({"antithetic": True}, "by its own method, options"),
        ({"start": Valuation(np.ones(17), np.ones(17), 9, "svarm", "exhausted", 3)}, "no sampling to go on with"),
    ],
)
def test_what_cannot_be_continued_is_refused(change, says):
    game = AdditiveGame(np.arange(17.0))
    start = shapley_values(game, method="svarm", budget=300)
    with pytest.raises(ValueError, match=says):
        shapley_values(**{"game": game, "start": start, **change})


def test_why_sampling_ended_is_told(owners_game):
    game = TableGame(owners_game[0])
    assert shapley_values(game, method="svarm", budget=300, tolerance=0.0).status == "exhausted"
    assert shapley_values(game, method="svarm", budget=10**5, tolerance=0.1).status == "converged"
    assert shapley_values(game, method="exact").status == "exact"


def test_the_bar_is_quiet_without_a_terminal_and_changes_nothing(owners_game, capfd, monkeypatch):
    game = TableGame(owners_game[0])
    plain = shapley_values(game, method="svarm", budget=500, tolerance=0.0, progress=False)
    watched = shapley_values(game, method="svarm", budget=500, tolerance=0.0)
    assert np.array_equal(plain.values, watched.values)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", SAMPLING)
def test_budget_is_respected_and_counted(owners_game, method):
    for budget in (100, 500, 1001):
        game = TableGame(owners_game[0])
        found = shapley_values(game, method=method, budget=budget, tolerance=0.0)
        assert found.evaluations == game.evaluations
        # All of it is used but for less than one more sample: an order takes 11, a pass of twelve owners
        # 2 * (6 + 4 + 3 + 3 + 1).
        assert budget - 34 < found.evaluations <= budget


@pytest.mark.parametrize("method", METHODS)
def test_a_budget_too_small_for_a_first_estimate_still_gives_one(method):
    found = shapley_values(random_game(np.random.default_rng(0), 6), method=method, budget=1)
    assert np.isfinite(found.values).all()
    assert np.isfinite(found.stderr).all()


@pytest.mark.parametrize(("method", "tolerance"), [("permutation", 0.2), ("complementary", 0.04), ("svarm", 0.03)])
def test_sampling_stops_at_the_tolerance(owners_game, method, tolerance):
    evaluations = []
    for allowed in (tolerance, tolerance / 4):
        _, _, found = sample(owners_game, method, 10**6, seeds=5, tolerance=allowed)
        for valuation in found:
            assert np.linalg.norm(valuation.stderr) <= allowed * np.linalg.norm(valuation.values)
        evaluations.append(np.mean([valuation.evaluations for valuation in found]))
    # A quarter of the error takes sixteen times the samples; they come in batches.
    assert 8 < evaluations[1] / evaluations[0] < 24


@pytest.mark.parametrize("method", SAMPLING)
def test_samples_follow_the_generator(owners_game, method):
    game = TableGame(owners_game[0])

    def value(seed):
        return shapley_values(game, method=method, budget=300, tolerance=0.0, rng=np.random.default_rng(seed)).values

    assert np.array_equal(value(1), value(1))
    assert not np.array_equal(value(1), value(2))


def test_auto_is_exact_up_to_sixteen_players():
    rng = np.random.default_rng(0)
    assert shapley_values(random_game(rng, 16)).method == "exact"
    many = shapley_values(AdditiveGame(rng.normal(size=17)), budget=500)
    assert many.method == "svarm"


# --- updated ---------------------------------------------------------------------------------------------


def updated(owners_game, method, seeds, gone, **options):
    """Values before and after some went, for several streams, who stayed, and the exact values among these."""
    game = TableGame(owners_game[0])
    stay = ~np.isin(np.arange(12), gone)
    found = []
    for seed in range(seeds):
        before, after = (np.random.default_rng(seed) for _ in range(2))
        first = shapley_values(game, method=method, budget=400, tolerance=0.0, rng=before, **options)
        found.append((first, update_values(first, game, stay, tolerance=0.0, rng=after, **options)))
    codes = np.arange(4096) & sum(1 << i for i in np.flatnonzero(stay))
    return found, stay, shapley_values(TableGame(owners_game[0][codes]), method="exact").values


UPDATED = [
    ("permutation", {}),
    ("permutation", {"antithetic": True}),
    ("permutation", {"truncation": 0.05}),
    ("complementary", {}),
    ("svarm", {}),
]


@pytest.mark.parametrize(("method", "options"), UPDATED)
def test_updated_values_are_unbiased_and_their_intervals_cover(owners_game, method, options):
    found, stay, exact = updated(owners_game, method, 80, gone=(0, 7), **options)
    values = np.array([after.values for _, after in found])[:, stay]
    z = (values.mean(axis=0) - exact[stay]) / (values.std(axis=0, ddof=1) / math.sqrt(len(values)))
    # Ten standard normal numbers: one beyond 4 has a chance below 1e-3.
    assert np.abs(z).max() < 4.0
    # 800 errors tell their size to within 2.5% if they are normal, less as they are skewed and sum to zero.
    stated = np.sqrt(np.mean([(after.stderr[stay] ** 2) for _, after in found]))
    assert 0.88 < stated / np.sqrt(np.mean((values - exact[stay]) ** 2)) < 1.12
    low, high = np.swapaxes([after.interval() for _, after in found], 0, 1)
    assert 0.92 <= ((low <= exact) & (exact <= high))[:, stay].mean() <= 0.985


@pytest.mark.parametrize("method", SAMPLING)
def test_errors_of_values_and_of_their_changes_go_together(method):
    """The player that leaves doubles what the others reach, so whoever is overestimated loses too much as well."""
    others = np.random.default_rng(0).normal(size=2**7)
    game = TableGame(np.concatenate([others, 2 * others]))
    stay = np.arange(8) < 7
    exact = shapley_values(TableGame(others), method="exact").values
    errors, stated, alone = [], [], []
    for seed in range(60):
        first, same = (np.random.default_rng(seed) for _ in range(2))
        before = shapley_values(game, method=method, budget=400, tolerance=0.0, rng=first)
        after = update_values(before, game, stay, tolerance=0.0, rng=same)
        errors.append(np.mean((after.values[:7] - exact) ** 2))
        stated.append(np.mean(after.stderr[:7] ** 2))
        alone.append(np.mean(before.stderr[:7] ** 2))
    # 420 errors tell their size to within 3.5% if they are independent, and their sums are not.
    assert 0.88 < math.sqrt(np.mean(stated) / np.mean(errors)) < 1.12
    assert np.mean(stated) < np.mean(alone)  # independent changes could only add to the error


@pytest.mark.parametrize(("method", "options"), UPDATED)
def test_an_update_shares_out_what_those_who_stay_reach(owners_game, method, options):
    game = TableGame(owners_game[0])
    [(before, after)], stay, _ = updated(owners_game, method, 1, gone=(2, 9), **options)
    assert after.values[[2, 9]].tolist() == after.stderr[[2, 9]].tolist() == [0.0, 0.0]
    reached = game.utility(np.array([np.zeros(12, dtype=bool), stay]))
    assert after.values.sum() == pytest.approx(reached[1] - reached[0], abs=ROUNDING)
    assert (after.method, after.status) == (method, "exhausted")
    assert after.samples <= before.samples
    again = update_values(before, game, stay, tolerance=0.0, rng=np.random.default_rng(0), **options)
    assert np.array_equal(again.values, after.values)


def test_an_update_evaluates_only_coalitions_that_somebody_left():
    """Of sixty owners one leaves: half of all coalitions hold it, and the values change little."""
    features, labels = load_breast_cancer(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    owners = np.arange(300) // 5
    ridge = GramRidgeGame(features[:300], labels[:300], owners, 60, features[300:], labels[300:], n_classes=2)
    asked = []

    class Counted:
        n_players = 60

        def utility(self, masks):
            asked.append(masks)
            return ridge.utility(masks)

    before = shapley_values(Counted(), method="svarm", budget=12_000, tolerance=0.0)
    seen = {mask.tobytes() for mask in np.concatenate(asked)}
    asked.clear()
    stay = np.arange(60) != 5
    after = update_values(before, Counted(), stay, tolerance=0.0)
    assert after.samples < before.samples / 2
    assert after.evaluations < before.evaluations / 4
    # Beyond those that it counts it asks for coalitions sampled before, which `ridge` might remember.
    new = [mask for mask in np.concatenate(asked) if mask.tobytes() not in seen]
    assert after.evaluations * 0.95 < len(new) <= after.evaluations
    assert not np.array(new)[:, 5].any()
    # At most an eighth more error, where the tolerance asks for no less.
    allowed = math.sqrt(1.25) * np.linalg.norm(before.stderr[stay])
    assert np.linalg.norm(after.stderr) <= allowed
    assert update_values(before, Counted(), stay, tolerance=0.5).status == "converged"
    least = update_values(before, Counted(), stay, budget=1, tolerance=0.0)
    assert (least.samples, least.status) == (2, "exhausted")


def test_values_that_cannot_be_updated_are_found_afresh(owners_game):
    game = TableGame(owners_game[0])
    stay = np.arange(12) % 2 == 0
    exact = shapley_values(game, method="exact")
    found = update_values(exact, game, stay)
    codes = np.arange(4096) & sum(1 << i for i in np.flatnonzero(stay))
    assert found.values == pytest.approx(
        shapley_values(TableGame(owners_game[0][codes]), method="exact").values, abs=ROUNDING
    )
    assert found.evaluations == 2**6
    assert update_values(exact, game, np.ones(12)) is exact
    assert update_values(exact, game, np.zeros(12)).values.tolist() == [0.0] * 12


ALL_PLAYERS = "before must be a valuation among all players of this game; an update cannot be updated again"


@pytest.mark.parametrize("method", SAMPLING)
def test_an_update_is_not_updated_again(owners_game, method):
    """Neither are further departures taken from it, nor does somebody return; nor does it go on as a start."""
    game = TableGame(owners_game[0])
    before = shapley_values(game, method=method, budget=400, tolerance=0.0)
    once = update_values(before, game, np.arange(12) != 3, tolerance=0.0)
    for stay in (np.arange(12) > 3, np.arange(12) != 5, np.ones(12, dtype=bool)):
        with pytest.raises(ValueError, match=ALL_PLAYERS):
            update_values(once, game, stay)
    with pytest.raises(ValueError, match="start must be a valuation among all players of this game"):
        shapley_values(game, start=once)
    exact = update_values(shapley_values(game, method="exact"), game, np.arange(12) != 3)
    assert exact.status == "exact"
    with pytest.raises(ValueError, match=ALL_PLAYERS):
        update_values(exact, game, np.ones(12, dtype=bool))


@pytest.mark.parametrize("method", SAMPLING)
def test_values_of_another_game_are_not_updated(owners_game, method):
    other = shapley_values(AdditiveGame(np.arange(12.0)), method="permutation", budget=400)
    other = replace(other, method=method)
    with pytest.raises(ValueError, match=ALL_PLAYERS):
        update_values(other, TableGame(owners_game[0]), np.arange(12) != 3)


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox])
@pytest.mark.parametrize("method", SAMPLING)
def test_an_update_knows_the_stream_of_the_values_before(owners_game, method, bits):
    game, stay = TableGame(owners_game[0]), np.arange(12) != 3
    used = np.random.Generator(bits(5))
    before = shapley_values(game, method=method, budget=200, tolerance=0.0, rng=used)
    before = shapley_values(game, start=before, budget=400, tolerance=0.0)
    same = update_values(before, game, stay, tolerance=0.0, rng=np.random.Generator(bits(5)))
    left_out = update_values(before, game, stay, tolerance=0.0)
    assert np.array_equal(same.values, left_out.values)
    assert np.array_equal(same.stderr, left_out.stderr)
    assert np.array_equal(left_out.values, update_values(before, game, stay, tolerance=0.0).values)
    for rng in (used, np.random.Generator(bits(6))):
        with pytest.raises(ValueError, match=r"rng must be a generator like .* another, or one that was drawn from"):
            update_values(before, game, stay, rng=rng)
    kept = replace(before, sampling=None)
    with pytest.raises(ValueError, match="found none, which is one with the seed 0"):
        update_values(kept, game, stay)
    again = update_values(kept, game, stay, tolerance=0.0, rng=np.random.Generator(bits(5)))
    assert np.array_equal(again.values, same.values)


@pytest.mark.parametrize("method", SAMPLING)
def test_who_is_left_alone_has_an_exact_value(owners_game, method):
    game, stay = TableGame(owners_game[0]), np.arange(12) == 3
    before = shapley_values(game, method=method, budget=400, tolerance=0.0)
    after = update_values(before, game, stay)
    nobody, alone = game.utility(np.array([np.zeros(12, dtype=bool), stay]))
    assert after.values.tolist() == [0.0] * 3 + [alone - nobody] + [0.0] * 8
    assert (after.stderr.tolist(), after.status) == ([0.0] * 12, "exact")


def test_a_game_that_does_not_suit_the_method_is_named_as_its_user_knows_it():
    class Farm(AdditiveGame):
        pass

    for progress in (True, False):
        with pytest.raises(ValueError, match="method 'knn' values the game 'knn' only, found the game 'Farm'"):
            shapley_values(Farm(np.arange(3.0)), method="knn", progress=progress)
    kept = replace(shapley_values(Farm(np.arange(3.0))), method="knn")
    with pytest.raises(ValueError, match="found the game 'Farm'"):
        update_values(kept, Farm(np.arange(3.0)), np.arange(3) > 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"before": 3}, "before must be an earlier valuation, found 3"),
        ({"game": AdditiveGame(np.ones(3))}, "found 17 values for 3 players"),
        ({"stay": np.ones(16)}, r"stay must have shape \(17,\), one a player, found \(16,\)"),
        ({"stay": np.arange(17)}, "stay must be true or false, found 2"),
        ({"method": "complementary"}, "method must be that of before, 'svarm', found 'complementary'"),
        ({"antithetic": True}, "has no option 'antithetic'"),
        ({"rng": 3}, "rng must be a numpy.random.Generator"),
        ({"budget": 0}, "budget must be a whole number >= 1, found 0"),
    ],
)
def test_bad_updates_are_refused_by_name(change, says):
    game = AdditiveGame(np.arange(17.0))
    before = shapley_values(game, method="svarm", budget=300)
    with pytest.raises(ValueError, match=says):
        update_values(**{"before": before, "game": game, "stay": np.arange(17) > 0, **change})


# --- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"budget": 0}, "budget must be a whole number >= 1, found 0"),
        ({"budget": -1}, "budget"),
        ({"budget": 500.0}, "budget must be a whole number >= 1, found 500.0"),
        ({"budget": True}, "budget must be a whole number >= 1, found True"),
        ({"budget": None}, "budget must be a whole number >= 1, found None"),
        ({"budget": "5"}, "budget must be a whole number >= 1, found '5'"),
        ({"tolerance": "5"}, "tolerance must be a number >= 0, found '5'"),
        ({"tolerance": None}, "tolerance must be a number >= 0, found None"),
        ({"tolerance": True}, "tolerance must be a number >= 0, found True"),
        ({"rng": 3}, "rng must be a numpy.random.Generator, .* found 3"),
        ({"rng": np.random.RandomState(0)}, "rng must be a numpy.random.Generator, .* found RandomState"),
        ({"method": None}, "method must be the name of a valuation method, found None"),
        ({"start": 3}, "start must be an earlier valuation, found 3"),
        ({"method": "permutation", "truncation": "a"}, r"truncation must be a number in \[0, 1\), found 'a'"),
        ({"method": "permutation", "truncation": True}, r"truncation must be a number in \[0, 1\), found True"),
        ({"method": "permutation", "antithetic": 1}, "antithetic must be true or false, found 1"),
        ({"tolerance": -0.1}, "tolerance"),
        ({"tolerance": math.nan}, "tolerance"),
        ({"method": "guess"}, "valuation method 'guess'"),
        ({"method": "svarm", "antithetic": True}, "has no option 'antithetic'"),
        ({"method": "permutation", "truncation": 1.0}, "truncation"),
        ({"method": "knn"}, "game 'knn' only"),
    ],
)
def test_bad_input_is_refused_by_name(options, named):
    with pytest.raises(ValueError, match=named):
        shapley_values(AdditiveGame(np.ones(3)), **options)


def test_games_too_large_for_enumeration_are_refused():
    with pytest.raises(ValueError, match="exact"):
        shapley_values(AdditiveGame(np.ones(40)), method="exact")


def test_numbers_of_numpy_are_numbers():
    game = AdditiveGame([1, 2, 3, 4, 5])
    game.values = game.values.astype(np.float32)
    rough, same = (
        shapley_values(game, method="permutation", budget=budget, tolerance=tolerance, truncation=cut, antithetic=pair)
        for budget, tolerance, cut, pair in (
            (np.int64(90), np.float32(0.5), np.float32(0.25), np.True_),
            (90, 0.5, 0.25, True),
        )
    )
    assert np.array_equal(rough.values, same.values)
    assert np.array_equal(rough.interval(np.float64(0.5)), same.interval(0.5))

    class Counts(TableGame):
        n_players = np.int64(3)

        def __init__(self):
            self.table, self.evaluations = np.arange(8), 0

    assert shapley_values(Counts(), method="svarm").values == pytest.approx([1.0, 2.0, 4.0])


@pytest.mark.parametrize("level", [0, 1, 95, True, None, "x", math.nan, [0.9]])
def test_a_level_out_of_range_is_refused(level):
    with pytest.raises(ValueError, match=r"level must be a number in \(0, 1\), found "):
        shapley_values(AdditiveGame(np.ones(3))).interval(level)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda masks: np.full(len(masks), np.nan), r"found nan for the coalition \[\]"),
        (lambda masks: np.where(masks.all(axis=1), np.inf, 0.0), r"found inf for the coalition \[0, 1, 2, 3, 4\]"),
        (lambda masks: masks.sum(axis=1) * 1e80, "between -1e.70 and 1e.70, found 5e.80"),
        (lambda masks: np.ma.array(masks.sum(axis=1), mask=masks.all(axis=1)), "found nan for the coalition"),
        (lambda masks: np.ones((len(masks), 1)), r"found the shape \(2, 1\) for 2 coalitions"),
        (lambda masks: 1.0, r"found the shape \(\) for 2 coalitions"),
        (lambda masks: None, "found NoneType"),
        (lambda masks: ["a"] * len(masks), "must be numbers, found str"),
        (lambda masks: [[1.0], [1.0, 2.0]], "rows of different lengths"),
    ],
)
@pytest.mark.parametrize("method", SAMPLING)
def test_what_a_game_may_not_return_is_told(method, answer, says):
    game = AdditiveGame(np.ones(5))
    game.utility = answer
    with pytest.raises(ValueError, match="the game's utility must return one finite number a coalition.*" + says):
        shapley_values(game, method=method, budget=100)


@pytest.mark.parametrize(
    ("game", "says"),
    [
        (3, r"game must have n_players and a method utility\(masks\), found 3"),
        (AdditiveGame, "game must be a game, found the class AdditiveGame"),
        (lambda: None, "game must have n_players"),
    ],
)
def test_what_is_no_game_is_refused(game, says):
    with pytest.raises(ValueError, match=says):
        shapley_values(game)


@pytest.mark.parametrize("n_players", [3.0, "3", True, None, -1])
def test_a_number_of_players_that_is_none_is_refused(n_players):
    game = TableGame(np.arange(8))
    game.n_players = n_players
    with pytest.raises(ValueError, match=r"game\.n_players must be a whole number >= 0, found "):
        shapley_values(game)


@pytest.mark.parametrize(
    "values", ["abc", None, [None], [1.0, math.nan], np.ma.array([1.0, 2.0], mask=[0, 1]), 5, [[1]]]
)
def test_players_worth_no_number_are_refused(values):
    with pytest.raises(ValueError, match="values must be "):
        AdditiveGame(values)
