"""Rankings against brute force, and what their intervals hold."""

import itertools

import networkx as nx
import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.compare import question
from analysis.ranking import bootstrap_ranks, letters, rank, ranking_tables
from scenarios.errors import InputError

PRICING = {"broker.pricing": ["median", "uniform", "low", "high"]}
MEANS = {"median": 10.0, "uniform": 10.3, "low": 4.0, "high": 9.7}


def revenue(plan, *, seed=2, noise=0.5):
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 5, plan["replicate"].max() + 1)
    own = plan["broker.pricing"].map(MEANS) if "broker.pricing" in plan else 0.0
    return own + common[plan["replicate"]] + rng.normal(0, noise, len(plan))


def wide(results):
    table = results.table("rounds")
    return table.pivot_table(index="replicate", columns="broker.pricing", values="revenue")


def test_letters_are_the_groups_that_are_not_told_apart():
    """Groups are the maximal cliques of the graph of pairs that are not told apart."""
    rng = np.random.default_rng(3)
    for count, share in itertools.product((2, 5, 8), (0.1, 0.5, 0.9)):
        pairs = list(itertools.combinations(range(count), 2))
        different = [pair for pair in pairs if rng.random() < share]
        graph = nx.Graph([pair for pair in pairs if pair not in different])
        graph.add_nodes_from(range(count))
        cliques = {frozenset(clique) for clique in nx.find_cliques(graph)}
        found = letters(count, different)
        names = set("".join(found))
        assert {frozenset(i for i in range(count) if name in found[i]) for name in names} == cliques
        assert "a" in found[0]


def test_groups_beyond_the_alphabet_are_numbered():
    found = letters(30, list(itertools.combinations(range(30), 2)))
    assert found[25:28] == ["z", "(27)", "(28)"]


def test_the_order_and_its_tests_are_scipys(study):
    results = study(PRICING, {"revenue": revenue}, replicates=12)
    found = rank(results, question(results, metrics=("revenue",)))
    table = wide(results)
    order = table.mean().sort_values(ascending=False).index
    assert found["level"].tolist() == order.tolist()
    assert found["rank"].tolist() == [1, 2, 3, 4]
    limits = stats.ttest_1samp(table[order[0]], 0).confidence_interval(0.95)
    assert found.loc[0, ["low", "high"]].tolist() == pytest.approx([limits.low, limits.high])
    pairs = list(itertools.combinations(order, 2))
    p = multipletests([stats.ttest_rel(table[a], table[b]).pvalue for a, b in pairs], method="holm")[1]
    assert found["p_best"].tolist()[1:] == pytest.approx(p[:3].tolist())
    assert [
        set(found["letters"][i]).isdisjoint(found["letters"][j]) for i, j in itertools.combinations(range(4), 2)
    ] == [bool(value < 0.05) for value in p]
    # Replicates spread by 5, which pairing takes out. Uncorrected, the first two would be told apart as well.
    assert found["letters"].tolist() == ["a", "ab", "b", "c"]
    assert stats.ttest_rel(table[order[0]], table[order[1]]).pvalue < 0.05


def test_lower_is_better_turns_the_order_round(study):
    results = study(PRICING, {"revenue": revenue})
    asked = question(results, metrics=("revenue",))
    found = rank(results, asked, lower_is_better=True)
    assert found["level"].tolist() == rank(results, asked)["level"].tolist()[::-1]
    assert found.loc[0, "level"] == "low"
    assert found["probability_best"].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert found["rank_low"].tolist()[0] == found["rank_high"].tolist()[0] == 1


def test_a_replicate_is_ranked_as_a_whole_or_not_at_all(study):
    results = study(PRICING, {"revenue": revenue}, replicates=12, missing=(5, 18))
    asked = question(results, metrics=("revenue",))
    found = rank(results, asked)
    whole = wide(results).dropna()
    assert len(whole) == 10
    assert found["replicates"].tolist() == [10] * 4
    assert found["mean"].tolist() == pytest.approx(whole.mean().sort_values(ascending=False).tolist())
    assert "Over 10 replicates; 2 are left out" in ranking_tables(found, asked, 12)[0].notes[0]


def test_bootstrapped_ranks_are_those_of_all_resamples():
    """Of three replicates drawn four times there are few resamples, so they can be counted: 4^4 draws of rows."""
    rows = np.array([[3.0, 2.0, 2.5], [1.0, 2.0, 0.0], [2.0, 2.5, 2.0], [4.0, 1.0, 4.0]])
    samples = np.tile(rows, (2, 1))  # eight replicates, of which the bootstrap draws eight
    draws = np.random.default_rng(1).integers(0, 8, (40_000, 8))
    ranks = stats.rankdata(-samples[draws].mean(axis=1), method="min", axis=1)
    low, high, best = bootstrap_ranks(samples, np.random.default_rng(2))
    leads = ranks == 1
    expected = (leads / leads.sum(axis=1, keepdims=True)).mean(axis=0)
    # Both are shares of some 10,000 draws or more, known to 0.5 points each.
    np.testing.assert_allclose(best, expected, atol=0.02)
    assert best.sum() == pytest.approx(1)
    assert low.tolist() == np.quantile(ranks, 0.025, axis=0, method="inverted_cdf").tolist()
    worse = stats.rankdata(-samples[draws].mean(axis=1), method="max", axis=1)
    assert high.tolist() == np.quantile(worse, 0.975, axis=0, method="inverted_cdf").tolist()


def test_values_that_are_the_same_share_their_ranks():
    rng = np.random.default_rng(0)
    same = rng.normal(1000, 300, 16)
    low, high, best = bootstrap_ranks(np.column_stack([same, same - 900, same, same]), rng)
    assert best.tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])
    assert (low.tolist(), high.tolist()) == ([1, 4, 1, 1], [3, 4, 3, 3])


def test_few_replicates_are_not_bootstrapped(study):
    results = study(PRICING, {"revenue": revenue}, replicates=4)
    asked = question(results, metrics=("revenue",))
    found = rank(results, asked)
    assert found[["rank_low", "rank_high", "probability_best"]].isna().all(axis=None)
    assert "fewer than 8 replicates" in ranking_tables(found, asked, 4)[0].notes[2]
    assert ranking_tables(found, asked, 4)[0].cells["P(best)"].tolist() == ["-"] * 4


def test_the_same_ranks_at_each_analysis(study):
    results = study(PRICING, {"revenue": revenue})
    asked = question(results, metrics=("revenue",))
    assert rank(results, asked).equals(rank(results, asked))


def test_rank_intervals_hold_the_true_ranks():
    """100 studies of distinct means: each value's interval holds its true rank in at least 95%, to binomial error."""
    rng = np.random.default_rng(7)
    means = np.array([0.0, -0.3, -0.6, -1.2])
    held, apart = np.zeros(4), 0.0
    for _ in range(100):
        samples = means + rng.normal(0, 3, (20, 1)) + rng.normal(0, 0.7, (20, 4))
        low, high, _ = bootstrap_ranks(samples, rng)
        held += (low <= np.arange(1, 5)) & (np.arange(1, 5) <= high)
        apart += float(np.mean(high - low))
    # The share of 100 is known to 2.2 points; ranks are whole numbers, so intervals hold rather too much.
    assert (held / 100 >= 0.95 - 3 * 0.022).all()
    # Replicates spread by 3; with rows drawn apart in each column, intervals would span nearly all ranks.
    assert apart / 100 < 1.5


def test_what_cannot_be_ranked_is_refused(study):
    one = study({"broker.pricing": ["median"]}, {"revenue": revenue}, name="one")
    with pytest.raises(InputError, match=r"--by: found 'broker\.pricing' with one value"):
        rank(one, question(one, metrics=("revenue",)))
    undefined = {"revenue": lambda plan: np.where(plan["broker.pricing"] == "low", np.nan, 1.0)}
    hole = study(PRICING, undefined, name="hole")
    with pytest.raises(InputError, match=r"found 'revenue', which no replicate has at broker\.pricing = low"):
        rank(hole, question(hole, metrics=("revenue",)))
    single = study(PRICING, {"revenue": revenue}, replicates=1, name="single")
    with pytest.raises(InputError, match=r"in 1 of 1 replicates; a ranking needs two"):
        rank(single, question(single, metrics=("revenue",)))
