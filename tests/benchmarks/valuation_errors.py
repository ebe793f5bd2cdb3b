"""The tables of docs/valuation.md: error and coverage of every estimator against its evaluations, and of updates.

Run with `python tests/benchmarks/valuation_errors.py`; it takes some minutes. The game is test accuracy on the
breast-cancer data, whose records are dealt evenly to the owners.
"""

import time

import numpy as np
from sklearn.datasets import load_breast_cancer

from simulator.valuation import GramRidgeGame, shapley_values, update_values

METHODS = {
    "permutation": {},
    "permutation, antithetic": {"antithetic": True},
    "permutation, truncated at 0.05": {"truncation": 0.05},
    "complementary": {},
    "svarm": {},
}


class Table:
    """A game whose utilities stand in a table."""

    def __init__(self, game):
        n = self.n_players = game.n_players
        masks = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
        self._table, self._bits = game.utility(masks), 1 << np.arange(n)

    def utility(self, masks):
        return self._table[masks @ self._bits]


def breast_cancer(n_owners):
    features, labels = load_breast_cancer(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = order[:455], order[455:]
    owners = np.arange(455) * n_owners // 455
    return GramRidgeGame(features[train], labels[train], owners, n_owners, features[test], labels[test], n_classes=2)


def measure(game, reference, method, budget, repetitions):
    """Relative L2 error (root mean square), coverage of 95% intervals, seconds of one valuation."""
    errors, covered, start = [], [], time.process_time()
    for seed in range(repetitions):
        found = shapley_values(
            game,
            method=method.split(",")[0],
            budget=budget,
            tolerance=0.0,
            rng=np.random.default_rng([seed, budget]),
            **METHODS[method],
        )
        low, high = found.interval()
        errors.append(np.sum((found.values - reference) ** 2))
        covered.append((low <= reference) & (reference <= high))
    seconds = (time.process_time() - start) / repetitions
    return np.sqrt(np.mean(errors)) / np.linalg.norm(reference), np.mean(covered), seconds


def show(game, reference, budgets, repetitions):
    print(f"\n{game.n_players} owners, {repetitions} repetitions: relative error (coverage)\n")
    print("| method | " + " | ".join(f"{budget:,} evaluations" for budget in budgets) + " |")
    print("|---|" + "---|" * len(budgets))
    for method in METHODS:
        cells = [measure(game, reference, method, budget, repetitions) for budget in budgets]
        print(f"| {method} | " + " | ".join(f"{e:.3g} ({c:.0%})" for e, c, _ in cells) + " |", flush=True)


def show_updates(game, budget, repetitions):
    """Values updated when owners leave, against fresh ones: error and coverage, evaluations, processor seconds."""
    n = game.n_players
    leave = np.random.default_rng(5).permutation(n)
    print(f"\n{n} owners, {budget:,} evaluations before, {repetitions} repetitions\n")
    print("| gone | afresh | updated | evaluations afresh | updated | at equal error | seconds afresh | updated |")
    print("|---|---|---|---|---|---|---|---|")
    for gone in (1, 2, 5, 10, 20):
        stay = np.ones(n, dtype=bool)
        stay[leave[:gone]] = False
        part = game.restrict(np.flatnonzero(stay))
        exact = shapley_values(
            part, method="svarm", budget=2_000_000, tolerance=0.0, rng=np.random.default_rng(99)
        ).values
        cells = np.zeros((2, 4))
        for seed in range(repetitions):
            remembering = breast_cancer(n)
            remembering.remember()
            first, same, other = (np.random.default_rng([seed, budget, k]) for k in (0, 0, 1))
            before = shapley_values(remembering, method="svarm", budget=budget, tolerance=0.0, rng=first)
            start = time.process_time()
            after = update_values(before, remembering, stay, budget=budget, tolerance=0.0, rng=same)
            between = time.process_time()
            fresh = shapley_values(part, method="svarm", budget=budget, tolerance=0.0, rng=other)
            times = time.process_time() - between, between - start
            for row, found, among in ((0, fresh, slice(None)), (1, after, stay)):
                low, high = (end[among] for end in found.interval())
                covered = ((low <= exact) & (exact <= high)).mean()
                error = np.sum((found.values[among] - exact) ** 2)
                cells[row] += np.array([error, covered, found.evaluations, times[row]]) / repetitions
        (fresh_error, fresh_cover, fresh_count, fresh_time), (error, cover, count, seconds) = cells
        factor = fresh_count * fresh_error / error / count
        fresh_error, error = np.sqrt([fresh_error, error]) / np.linalg.norm(exact)
        print(
            f"| {gone} | {fresh_error:.3f} ({fresh_cover:.0%}) | {error:.3f} ({cover:.0%}) | {fresh_count:,.0f} | "
            f"{count:,.0f} | {factor:.1f} | {fresh_time:.2f} | {seconds:.2f} |",
            flush=True,
        )


def main():
    for n_owners in (12, 14, 16):
        table = Table(breast_cancer(n_owners))
        show(table, shapley_values(table, method="exact").values, (300, 1_000, 4_000), 200)
    game = breast_cancer(100)
    long = shapley_values(game, method="svarm", budget=4_000_000, tolerance=0.0, rng=np.random.default_rng(99))
    print(
        f"\nThe reference for 100 owners has a relative error of "
        f"{np.linalg.norm(long.stderr) / np.linalg.norm(long.values):.2%}."
    )
    show(game, long.values, (5_000, 20_000, 80_000), 10)
    for method in ("complementary", "svarm"):
        error, _, seconds = measure(game, long.values, method, 45_000, 10)
        print(f"{method}, 45,000 evaluations: error {error:.3f}, {seconds:.2f} s")
    show_updates(game, 20_000, 12)


if __name__ == "__main__":
    main()
