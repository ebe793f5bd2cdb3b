"""What is measured each round: pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.pricing.composition import Composition
from simulator.pricing.revenue import maximize_revenue
from simulator.pricing.survey import Demand
from simulator.records import PriceList, Sales


def gini(amounts: np.ndarray) -> float:
    """Gini coefficient of non-negative amounts: 0 if all are equal, towards 1 if one has all.

    Parameters
    ----------
    amounts : array of float, shape (n,)
        Amounts, >= 0.

    Returns
    -------
    float
        NaN if there are none or all are zero.

    Examples
    --------
    >>> gini(np.array([1.0, 1.0])), gini(np.array([0.0, 1.0]))
    (0.0, 0.5)
    """
    total = amounts.sum()
    if len(amounts) == 0 or total <= 0:
        return math.nan
    ranks = np.arange(1, len(amounts) + 1)
    return float((2 * ranks - len(amounts) - 1) @ np.sort(amounts) / (len(amounts) * total))


def ratio(part: float, whole: float) -> float:
    """`part / whole`, NaN where the whole is not positive."""
    return part / whole if whole > 0 else math.nan


def best_worth(sales: Sequence[Sales], price_lists: Sequence[PriceList]) -> np.ndarray:
    """max(0, max_k w_jk) over the versions for sale of all brokers, shape (m,), in money.

    Parameters
    ----------
    sales, price_lists : sequence of Sales, sequence of PriceList
        Of each broker, in the same order.
    """
    best = np.zeros(len(sales[0].worth))
    for sold, shown in zip(sales, price_lists, strict=True):
        if shown.on_sale.any():
            best = np.maximum(best, sold.worth[:, shown.on_sale].max(axis=1))
    return best


def buyer_surplus(sales: Sales) -> float:
    """Sum of worth less price over sales, in money."""
    return float(sales.surplus.sum())


def deadweight_loss(sales: Sequence[Sales], price_lists: Sequence[PriceList]) -> float:
    """Worth that the best allocation of the released versions would have and the sales do not, in money."""
    return float(best_worth(sales, price_lists).sum() - sum(sold.worth_bought.sum() for sold in sales))


def first_best(sales: Sequence[Sales], price_lists: Sequence[PriceList], true_cost: float) -> float:
    """Welfare of the best allocation at this round's coverage and purchases, in money."""
    return float(best_worth(sales, price_lists).sum()) - true_cost


def concentration(revenues: Sequence[float]) -> float:
    """Herfindahl-Hirschman index of market shares, from 1 / B where all B sell as much to 1; NaN where nobody sells.

    Parameters
    ----------
    revenues : sequence of float
        What each broker took, in money.

    References
    ----------
    Hirschman (1964).

    Examples
    --------
    >>> concentration([3.0, 1.0])
    0.625
    """
    total = sum(revenues)
    return sum((revenue / total) ** 2 for revenue in revenues) if total > 0 else math.nan


def hindsight_monopoly(sales: Sales, price_list: PriceList) -> float:
    """Revenue of the best price of each version on the round's buyers, arbitrage ignored, in money."""
    revenue = 0.0
    own = _target_worth(sales)
    for k in np.flatnonzero(price_list.on_sale):
        values = own[(sales.targets == k) & (own > 0)]
        revenue += Demand(values, np.ones(len(values))).monopoly()[1]
    return revenue


def hindsight_perfect(sales: Sequence[Sales], price_lists: Sequence[PriceList]) -> float:
    """Worth of the target versions to the round's buyers, in money: what perfect discrimination earns.

    Of several brokers' target versions it is the one that is worth most to a buyer: what they could take together.
    """
    best, found = np.zeros(len(sales[0].worth)), np.zeros(len(sales[0].worth), dtype=bool)
    for sold, shown in zip(sales, price_lists, strict=True):
        here = shown.on_sale[sold.targets]
        best = np.where(here, np.maximum(best, _target_worth(sold)), best)
        found |= here
    return float(best[found].sum())


def hindsight_revenue(sales: Sequence[Sales], price_lists: Sequence[PriceList], composition: Composition) -> float:
    """Revenue of the best fixed list in hindsight: one list, posted in all rounds, to buyers of their targets.

    The list is an optimum of the relaxed problem on what the targets were truly worth in each round, of the
    versions that were for sale in it.

    Parameters
    ----------
    sales, price_lists : sequence of Sales, sequence of PriceList
        Of the rounds, in the same order; the versions are the same in all.
    composition : {"additive", "quadratic"}
        What a bundle of versions is worth.

    Returns
    -------
    float
        In money, over all rounds; 0 where nobody could have bought.
    """
    targets, values = [], []
    for sold, shown in zip(sales, price_lists, strict=True):
        own = _target_worth(sold)
        could_buy = shown.on_sale[sold.targets] & (own > 0)
        targets.append(sold.targets[could_buy])
        values.append(own[could_buy])
    if sum(map(len, values)) == 0:
        return 0.0
    best = maximize_revenue(
        price_lists[0].epsilons, np.concatenate(targets), np.concatenate(values), composition=composition
    )
    return best.revenue


def regret(sales: Sequence[Sales], price_lists: Sequence[PriceList], composition: Composition) -> float:
    """What the best fixed list in hindsight would have earned more than was earned, over some rounds, in money.

    It may be negative: where buyers or coverage change, lists that change with them may do better than a fixed
    one, and so may lists that are not feasible for the relaxed problem, personalised prices, and buyers who
    do not keep to their targets.

    Parameters
    ----------
    sales, price_lists, composition
        As in `hindsight_revenue`.
    """
    return hindsight_revenue(sales, price_lists, composition) - float(sum(sold.paid.sum() for sold in sales))


def violations(asked: np.ndarray, paid: np.ndarray, sold: np.ndarray) -> float:
    """Share of the owners whose shard was used that were paid less than they asked; 0 if none was.

    Parameters
    ----------
    asked, paid : array of float, shape (n,)
        Sums over the versions, in money.
    sold : array of bool, shape (n,)
        Whether any version used the shard.
    """
    return float(np.mean(underpaid(paid, asked)[sold])) if sold.any() else 0.0


def underpaid(paid: Any, due: Any) -> Any:
    """Whether a payment is below what is due, by more than the rounding of sums; numbers or arrays."""
    return paid < due * (1 - 1e-9)


def bundle_saving(sales: Sales, price_list: PriceList) -> float:
    """Money that buyers saved on the posted prices of what they got, by buying bundles instead.

    Zero where prices are personalised: there is no posted price to save on.
    """
    if price_list.personalised:
        return 0.0
    posted = np.where(sales.bought, price_list.prices[sales.versions], 0.0)
    return float(np.maximum(posted - sales.paid, 0.0).sum())


def _target_worth(sales: Sales) -> np.ndarray:
    return np.take_along_axis(sales.worth, sales.targets[:, None], axis=1)[:, 0]
