"""What a round leaves behind: tidy tables, one row a round, version, owner or sale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from simulator import metrics
from simulator.incentives import Misreport
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
    "entries",
    "exits",
    "leakage",
    "misreport_gain_mean",
    "misreport_gain_max",
    "misreport_relative_mean",
    "misreport_relative_max",
    "misreport_gainers",
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
        What use of its shard costs each owner at its true sensitivity beyond what it bears anyway, 0 where it was not
        bought, in money.
    leakage : array of float, shape (n,)
        What each owner bears through others, whether it sells or not, in money.
    sensitivities : array of float, shape (n,)
        True privacy sensitivities, in 1/eps.
    took_part : array of bool, shape (n,)
        Who took part in the round before.
    reservations, expectations : array of float, shape (n,)
        Reservation surplus of each owner, and what it expected of this round, in money per round.
    epsilon : array of float, shape (n,)
        Privacy spent by each owner in this round, by basic composition.
    privacy : PrivacyAccounts
        Privacy spent in all rounds so far, this one included.
    misreports : tuple of Misreport
        What owners of a sample could have gained by another report.
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
    leakage: np.ndarray
    sensitivities: np.ndarray
    took_part: np.ndarray
    reservations: np.ndarray
    expectations: np.ndarray
    epsilon: np.ndarray
    privacy: PrivacyAccounts
    misreports: tuple[Misreport, ...]


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
    revenue, payouts, cost = float(sales.paid.sum()), float(paid.sum()), float(o.true_costs.sum() + o.leakage.sum())
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
        "leakage": float(o.leakage.sum()),
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
        "entries": 0 if o.round == 1 else int((o.offers.takes_part & ~o.took_part).sum()),
        "exits": int((~o.offers.takes_part & o.took_part).sum()),
        **_misreports(o.misreports),
        "arbitrage_available": _arbitrage_available(price_list, o.composition),
        "arbitrage_taken": metrics.bundle_saving(sales, price_list),
        "pricing_fallback": float("nan") if price_list.kind == "none" else float(price_list.kind == "fallback"),
        "list_kind": price_list.kind,
    }


def _misreports(sample: Sequence[Misreport]) -> dict[str, float]:
    """Gains of the best misreports, in money and as shares of costs, and how many gain; NaN where nobody was asked."""
    gains = np.array([misreport.gain for misreport in sample])
    relative = np.array([misreport.relative for misreport in sample])
    gainers = np.array([misreport.gains for misreport in sample], dtype=float)
    columns = {"gain_mean": gains, "gain_max": gains, "relative_mean": relative, "relative_max": relative}
    found = {
        f"misreport_{name}": float(values.max() if name.endswith("max") else values.mean()) if len(sample) else np.nan
        for name, values in columns.items()
    }
    return found | {"misreport_gainers": float(gainers.mean()) if len(sample) else np.nan}


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
        "leakage": o.leakage,
        "surplus": paid - cost - o.leakage,
        "epsilon": o.epsilon,
        "epsilon_total": o.privacy.epsilon,
        "delta_total": o.privacy.delta_spent,
        "epsilon_composed": epsilon_composed,
        "delta_composed": delta_composed,
        "epsilon_shard": epsilon_shard,
        "delta_shard": delta_shard,
        "privacy_budget": o.privacy.budgets.copy(),
        "reservation_surplus": o.reservations.copy(),
        "expected_surplus": o.expectations.copy(),
        "best_report": _of_sample(o, "report"),
        "misreport_gain": _of_sample(o, "gain"),
    }


def _of_sample(o: RoundOutcome, name: str) -> np.ndarray:
    """An attribute of the sampled owners' misreports, NaN for the others, shape (n,)."""
    column = np.full(len(o.sensitivities), np.nan)
    column[[misreport.owner for misreport in o.misreports]] = [getattr(m, name) for m in o.misreports]
    return column


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
