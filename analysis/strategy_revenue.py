"""What each pricing strategy earns, relative to the best arbitrage-free list, on three families of markets.

Run as a module it prints the tables of docs/pricing.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import get_args

import numpy as np
import pandas as pd
from scipy.special import expit

from simulator.pricing import PricingContext, PricingStrategy, Survey, maximize_revenue_exact, pricing_strategies
from simulator.pricing.composition import Composition
from simulator.pricing.survey import best_buys
from simulator.records import Receipts

#: No ratio of two of them is whole, so that the relaxed problem may lose revenue.
EPSILONS = np.array([0.5, 0.8, 1.3, 2.1, 3.4])

Worth = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def _linear(rng: np.random.Generator, buyers: int) -> tuple[np.ndarray, np.ndarray]:
    """Uniform budgets, of which a buyer pays the share that a version's eps has of the highest; random targets."""
    worth = rng.uniform(0, 100, (buyers, 1)) * EPSILONS / EPSILONS[-1]
    return worth, rng.integers(0, len(EPSILONS), buyers)


def _sigmoid(rng: np.random.Generator, buyers: int) -> tuple[np.ndarray, np.ndarray]:
    """Dealer's curve over eps with lognormal budgets; the target is the smallest eps that is at least the expected."""
    expected = rng.uniform(0, EPSILONS[-1], (buyers, 1))
    worth = rng.lognormal(4.0, 0.5, (buyers, 1)) * expit(2.0 * (EPSILONS - expected))
    return worth, np.searchsorted(EPSILONS, expected[:, 0])


def _heavy_tailed(rng: np.random.Generator, buyers: int) -> tuple[np.ndarray, np.ndarray]:
    """Pareto budgets with tail index 1.5, of which a buyer pays a concave share; random targets."""
    worth = 10.0 * (1.0 + rng.pareto(1.5, (buyers, 1))) * np.sqrt(EPSILONS / EPSILONS[-1])
    return worth, rng.integers(0, len(EPSILONS), buyers)


FAMILIES: Mapping[str, Worth] = {"linear": _linear, "sigmoid": _sigmoid, "heavy-tailed": _heavy_tailed}


def revenue_table(
    family: Worth, *, choosing: bool = False, markets: int = 100, buyers: int = 200, rounds: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Revenue of every strategy relative to that of `exact`, over random markets.

    Buyers answer the truth and buy their target or nothing, or choose the version they gain most from. A
    strategy that learns posts lists for `rounds` rounds to the same buyers, on the range of prices from the 5%
    quantile of the answers to their maximum, and counts with the mean of the last quarter. `cost_plus`, which goes
    by the owners' costs, is left out: here there are no owners.

    Parameters
    ----------
    family : callable
        Draws a market: willingness to pay, shape (buyers, versions), in money, and target versions.
    choosing : bool
        Whether buyers choose.
    markets, buyers, rounds : int
        How many markets, buyers in each, and rounds for strategies that learn.
    seed : int
        Seed of the markets.

    Returns
    -------
    DataFrame
        One row a strategy, with `mean` and `stderr` of the ratio over the markets.
    """
    ratios: dict[str, list[float]] = {}
    for market in range(markets):
        worth, targets = family(np.random.default_rng([seed, market]), buyers)
        survey = Survey(targets, worth[np.arange(buyers), targets], worth=worth)
        earned = {
            name: _earned(strategy, survey, choosing, rounds, np.random.default_rng([seed, market, 1]))
            for name, strategy in _strategies(survey).items()
        }
        for name, revenue in earned.items():
            ratios.setdefault(name, []).append(revenue / earned["exact"])
    table = pd.DataFrame(ratios).agg(["mean", "sem"]).T.rename(columns={"sem": "stderr"})
    return table.sort_values("mean", ascending=False, kind="stable")


def composition_gain(family: Worth, *, markets: int = 100, buyers: int = 200, seed: int = 0) -> tuple[float, float]:
    """What the best list earns under the quadratic rule, relative to the additive one: mean over markets, its error."""
    ratios = []
    for market in range(markets):
        worth, targets = family(np.random.default_rng([seed, market]), buyers)
        additive, quadratic = (
            maximize_revenue_exact(EPSILONS, targets, worth[np.arange(buyers), targets], composition=rule).revenue
            for rule in get_args(Composition)
        )
        ratios.append(quadratic / additive)
    return float(np.mean(ratios)), float(np.std(ratios, ddof=1) / np.sqrt(markets))


def _strategies(survey: Survey) -> dict[str, PricingStrategy]:
    """A fresh instance of each strategy that needs no owners, by name."""
    lowest, highest = float(np.quantile(survey.values, 0.05)), float(survey.values.max())
    made = {}
    for name, cls in pricing_strategies().items():
        if name != "cost_plus":
            made[name] = cls(**({} if cls.surveys else {"lowest": lowest, "highest": highest}))
    return made


def _earned(strategy: PricingStrategy, survey: Survey, choosing: bool, rounds: int, rng: np.random.Generator) -> float:
    """Revenue of a strategy on one market."""
    if strategy.personalised:
        return float(survey.values.sum())
    revenues = []
    for number in range(1, 1 + (1 if strategy.surveys else rounds)):
        prices = strategy.prices(
            PricingContext(
                survey=survey if strategy.surveys else Survey([], []),
                epsilons=EPSILONS,
                composition="additive",
                n_buyers=len(survey),
                round=number,
                rounds=rounds,
                last_purchases=None,
                last_sales=None,
                rng=rng,
            )
        )
        bought = _bought(survey, prices, choosing)
        paid = np.where(bought >= 0, prices[bought], 0.0)
        strategy.learn(Receipts(bought, paid, np.ones(len(prices), dtype=bool)))
        revenues.append(float(paid.sum()))
    return float(np.mean(revenues[-max(1, len(revenues) // 4) :]))


def _bought(survey: Survey, prices: np.ndarray, choosing: bool) -> np.ndarray:
    """Version each buyer buys, -1 for none."""
    if choosing:
        assert survey.worth is not None
        return best_buys(survey.worth, prices)
    return np.where(survey.values >= prices[survey.targets], survey.targets, -1)


def markdown() -> str:
    """The tables as Markdown: buyers of their target, buyers who choose, and the two composition rules."""
    kinds = {"buyers of their target": False, "buyers who choose": True}
    columns = {
        (kind, name): revenue_table(family, choosing=choosing)
        for kind, choosing in kinds.items()
        for name, family in FAMILIES.items()
    }
    names = pd.DataFrame({key: table["mean"] for key, table in columns.items()})
    names = names.sort_values(names.columns[1], ascending=False)
    lines = []
    for kind in kinds:
        lines += [f"| {kind} | " + " | ".join(FAMILIES) + " |", "|---|" + "---|" * len(FAMILIES)]
        for strategy in names.index:
            cells = (columns[kind, family].loc[strategy] for family in FAMILIES)
            shown = (f"{cell['mean']:.1%} ± {cell['stderr']:.1%}" for cell in cells)
            lines.append(f"| `{strategy}` | " + " | ".join(shown) + " |")
        lines.append("")
    lines += ["| `exact` | " + " | ".join(FAMILIES) + " |", "|---|" + "---|" * len(FAMILIES)]
    gains = (composition_gain(family) for family in FAMILIES.values())
    shown = (f"{mean:.1%} ± {stderr:.1%}" for mean, stderr in gains)
    return "\n".join([*lines, "| quadratic rule over additive rule | " + " | ".join(shown) + " |"])


if __name__ == "__main__":
    sys.stdout.write(markdown() + "\n")
