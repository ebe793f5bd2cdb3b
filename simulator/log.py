"""What a round leaves behind: tidy tables, one row a round, version, owner or sale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from simulator import metrics
from simulator.pricing.arbitrage import find_arbitrage
from simulator.pricing.composition import Composition
from simulator.pricing.survey import Survey
from simulator.privacy.accounts import PrivacyAccounts
from simulator.records import Offers, PriceList, Purchases, Sales, Settlement, Versions
from simulator.valuation.estimator import Valuation

#: Tables a market can log, and the columns that order each.
TABLES = {
    "rounds": ("round",),
    "versions": ("round", "version"),
    "owners": ("round", "owner"),
    "sales": ("round", "buyer"),
}


#: Columns of the rounds table that a comparison can show: all but the round and the kind of list.
ROUND_METRICS = (
    "owners_taking_part",
    "answers",
    "expected_revenue",
    "revenue",
    "prediction_error",
    "payouts",
    "broker_profit",
    "buyer_surplus",
    "owner_surplus",
    "welfare",
    "first_best",
    "efficiency",
    "deadweight_loss",
    "allocative_efficiency",
    "monopoly_revenue",
    "perfect_revenue",
    "hindsight_revenue",
    "regret",
    "revenue_to_monopoly",
    "revenue_to_perfect",
    "buyers_present",
    "sales",
    "sell_through",
    "versions_on_sale",
    "data_cost",
    "gini_paid",
    "gini_all",
    "ir_violations",
    "epsilon_mean",
    "epsilon_max",
    "epsilon_total_mean",
    "epsilon_total_max",
    "epsilon_composed_mean",
    "epsilon_composed_max",
    "owners_spent",
    "arbitrage_available",
    "arbitrage_taken",
    "pricing_fallback",
)


@dataclass(frozen=True, eq=False)
class RoundOutcome:
    """Everything that happened in one round.

    Attributes
    ----------
    expected_revenue : array of float, shape (l,)
        What the survey let expect of each version, scaled to the market's size, in money.
    true_costs : array of float, shape (l, n)
        What use of its shard costs each owner at its true sensitivity, 0 where it was not bought, in money.
    sensitivities : array of float, shape (n,)
        True privacy sensitivities, in 1/eps.
    epsilon : array of float, shape (n,)
        Privacy spent by each owner in this round, by basic composition.
    privacy : PrivacyAccounts
        Privacy spent in all rounds so far, this one included.
    """

    round: int
    offers: Offers
    valuation: Valuation
    survey: Survey
    expected_revenue: np.ndarray
    purchases: Purchases
    versions: Versions
    price_list: PriceList
    composition: Composition
    sales: Sales
    settlement: Settlement
    true_costs: np.ndarray
    sensitivities: np.ndarray
    epsilon: np.ndarray
    privacy: PrivacyAccounts


class RoundLog:
    """Collects the tables of a market.

    Parameters
    ----------
    tables : sequence of str
        Tables to collect.
    owner_segments, buyer_segments : array of str
        Segment of every owner and buyer.
    """

    def __init__(self, tables: Sequence[str], owner_segments: np.ndarray, buyer_segments: np.ndarray) -> None:
        for table in tables:
            if table not in TABLES:
                raise ValueError(f"tables: found {table!r}; allowed are {', '.join(TABLES)}")
        self._segments = {"owners": owner_segments, "sales": buyer_segments}
        self._parts: dict[str, list[dict[str, Any]]] = {table: [] for table in tables}
        self._makers = {"rounds": _rounds, "versions": _versions, "owners": _owners, "sales": _sales}

    def add(self, outcome: RoundOutcome) -> None:
        """Log one round."""
        for table, parts in self._parts.items():
            columns = self._makers[table](outcome)
            if table in self._segments:
                agents = columns[TABLES[table][-1]]
                columns["segment"] = self._segments[table][agents]
            parts.append(columns if table == "rounds" else _with_round(outcome.round, columns))

    def frame(self, table: str) -> pd.DataFrame:
        """One table over all rounds so far, in order of its keys."""
        if table not in self._parts:
            raise ValueError(f"the market does not log {table!r}; it logs {', '.join(self._parts) or 'nothing'}")
        parts = self._parts[table]
        if table == "rounds" or not parts:
            return pd.DataFrame(parts)
        return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _with_round(number: int, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"round": np.full(len(next(iter(columns.values()))), number), **columns}


def _rounds(o: RoundOutcome) -> dict[str, Any]:
    sales, price_list = o.sales, o.price_list
    bought = o.purchases.bought
    paid = o.settlement.payments.sum(axis=0)
    asked = np.where(bought, o.purchases.asked, 0.0).sum(axis=0)
    expected = float(o.expected_revenue.sum())
    revenue, payouts, cost = float(sales.paid.sum()), float(paid.sum()), float(o.true_costs.sum())
    buyers, owners, profit = metrics.buyer_surplus(sales), payouts - cost, o.settlement.profit
    welfare = buyers + owners + profit
    best = metrics.first_best(sales, price_list, cost)
    attainable = float(metrics.best_worth(sales, price_list).sum())
    monopoly = metrics.hindsight_monopoly(sales, price_list)
    perfect = metrics.hindsight_perfect(sales, price_list)
    hindsight = metrics.hindsight_revenue([sales], [price_list], o.composition)
    epsilon_total, (epsilon_composed, _) = o.privacy.epsilon, o.privacy.composed()
    return {
        "round": o.round,
        "owners_taking_part": int(o.offers.takes_part.sum()),
        "answers": len(o.survey),
        "expected_revenue": expected,
        "revenue": revenue,
        "prediction_error": metrics.ratio(revenue - expected, expected),
        "payouts": payouts,
        "broker_profit": profit,
        "buyer_surplus": buyers,
        "owner_surplus": owners,
        "welfare": welfare,
        "first_best": best,
        "efficiency": metrics.ratio(welfare, best),
        "deadweight_loss": metrics.deadweight_loss(sales, price_list),
        "allocative_efficiency": metrics.ratio(float(sales.worth_bought.sum()), attainable),
        "monopoly_revenue": monopoly,
        "perfect_revenue": perfect,
        "hindsight_revenue": hindsight,
        "regret": hindsight - revenue,
        "revenue_to_monopoly": metrics.ratio(revenue, monopoly),
        "revenue_to_perfect": metrics.ratio(revenue, perfect),
        "buyers_present": len(sales.bought),
        "sales": int(sales.bought.sum()),
        "sell_through": metrics.ratio(float(sales.bought.sum()), len(sales.bought)),
        "versions_on_sale": int(price_list.on_sale.sum()),
        "data_cost": float(o.purchases.costs.sum()),
        "gini_paid": metrics.gini(paid[paid > 0]),
        "gini_all": metrics.gini(paid),
        "ir_violations": metrics.violations(asked, paid, o.purchases.sold),
        "epsilon_mean": float(o.epsilon.mean()),
        "epsilon_max": float(o.epsilon.max()),
        "epsilon_total_mean": float(epsilon_total.mean()),
        "epsilon_total_max": float(epsilon_total.max()),
        "epsilon_composed_mean": float(epsilon_composed.mean()),
        "epsilon_composed_max": float(epsilon_composed.max()),
        "owners_spent": int(o.privacy.spent.sum()),
        "arbitrage_available": _arbitrage_available(price_list, o.composition),
        "arbitrage_taken": metrics.bundle_saving(sales, price_list),
        "pricing_fallback": float("nan") if price_list.kind == "none" else float(price_list.kind == "fallback"),
        "list_kind": price_list.kind,
    }


def _arbitrage_available(price_list: PriceList, composition: Composition) -> float:
    on_sale = price_list.on_sale
    if price_list.personalised or not on_sale.any():
        return 0.0
    found = find_arbitrage(price_list.epsilons[on_sale], price_list.prices[on_sale], composition=composition)
    return 0.0 if found is None else found.saving


def _versions(o: RoundOutcome) -> dict[str, Any]:
    count = len(o.price_list.epsilons)
    return {
        "version": np.arange(count),
        "epsilon": o.price_list.epsilons,
        "on_sale": o.price_list.on_sale,
        "price": o.price_list.prices,
        "coverage": o.price_list.coverage,
        "accuracy": o.price_list.accuracy,
        "budget": np.array(o.purchases.budgets),
        "cost": o.purchases.costs,
        "owners": o.purchases.bought.sum(axis=1),
        "records": o.versions.records,
        "wanted": np.bincount(o.sales.targets, minlength=count),
        "sold": o.sales.sold,
        "expected_revenue": o.expected_revenue,
        "revenue": o.sales.revenue,
    }


def _owners(o: RoundOutcome) -> dict[str, Any]:
    bought = o.purchases.bought
    paid, cost = o.settlement.payments.sum(axis=0), o.true_costs.sum(axis=0)
    (epsilon_composed, delta_composed), (epsilon_shard, delta_shard) = o.privacy.composed(), o.privacy.shard()
    return {
        "owner": np.arange(len(paid)),
        "takes_part": o.offers.takes_part,
        "privacy_sensitivity": o.sensitivities.copy(),
        "reported_sensitivity": o.offers.sensitivities.copy(),
        "value": o.valuation.values,
        "value_stderr": o.valuation.stderr,
        "versions": bought.sum(axis=0),
        "asked": np.where(bought, o.purchases.asked, 0.0).sum(axis=0),
        "paid": paid,
        "cost": cost,
        "surplus": paid - cost,
        "epsilon": o.epsilon,
        "epsilon_total": o.privacy.epsilon,
        "delta_total": o.privacy.delta_spent,
        "epsilon_composed": epsilon_composed,
        "delta_composed": delta_composed,
        "epsilon_shard": epsilon_shard,
        "delta_shard": delta_shard,
        "privacy_budget": o.privacy.budgets.copy(),
    }


def _sales(o: RoundOutcome) -> dict[str, Any]:
    buyers = np.flatnonzero(o.sales.bought)
    return {
        "buyer": buyers if o.sales.rows is None else o.sales.rows[buyers],
        "target": o.sales.targets[buyers],
        "version": o.sales.versions[buyers],
        "price": o.sales.paid[buyers],
        "worth": o.sales.worth_bought[buyers],
        "surplus": o.sales.surplus[buyers],
        "copies": o.sales.copies[buyers],
    }
