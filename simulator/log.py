"""What a round leaves behind: tidy tables, one row a round, version, owner or sale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from simulator import metrics
from simulator.incentives import Misreport
from simulator.pricing.arbitrage import find_arbitrage
from simulator.privacy.accounts import PrivacyAccounts
from simulator.records import Offers, PriceList, Sales
from simulator.trades import Trade

#: Tables a market can log, and the columns that order each.
TABLES = {
    "rounds": ("round",),
    "brokers": ("round", "broker"),
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
    "price_mean",
    "brokers_active",
    "commission",
    "markup",
    "concentration",
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
    offers : Offers
        What the owners reported.
    trades : tuple of Trade
        What each broker did, in the order of the scenario.
    sensitivities : array of float, shape (n,)
        True privacy sensitivities, in 1/eps.
    took_part : array of bool, shape (n,)
        Who took part in the round before.
    reservations, expectations : array of float, shape (n,)
        Reservation surplus of each owner, and what it expected of this round, in money per round.
    privacy : PrivacyAccounts
        Privacy spent in all rounds so far, this one included.
    misreports : tuple of Misreport
        What owners of a sample could have gained by another report.
    """

    round: int
    offers: Offers
    trades: tuple[Trade, ...]
    sensitivities: np.ndarray
    took_part: np.ndarray
    reservations: np.ndarray
    expectations: np.ndarray
    privacy: PrivacyAccounts
    misreports: tuple[Misreport, ...]

    @cached_property
    def sales(self) -> list[Sales]:
        """What buyers bought of each broker."""
        return [trade.sales for trade in self.trades]

    @cached_property
    def price_lists(self) -> list[PriceList]:
        """The list of each broker."""
        return [trade.price_list for trade in self.trades]

    @cached_property
    def bought(self) -> np.ndarray:
        """Whether an owner's shard is used in a version, of all brokers', shape (l, n)."""
        return np.concatenate([trade.purchases.bought for trade in self.trades])

    @cached_property
    def paid(self) -> np.ndarray:
        """What each owner is paid, shape (n,), in money."""
        return np.concatenate([trade.settlement.payments for trade in self.trades]).sum(axis=0)

    @cached_property
    def asked(self) -> np.ndarray:
        """What each owner asks for what was bought, shape (n,), in money."""
        return np.concatenate([np.where(t.purchases.bought, t.purchases.asked, 0.0) for t in self.trades]).sum(axis=0)

    @cached_property
    def costs(self) -> np.ndarray:
        """What its sales cost each owner beyond what it bears anyway, of all versions, shape (l, n), in money."""
        return np.concatenate([trade.costs for trade in self.trades])

    @cached_property
    def leakage(self) -> np.ndarray:
        """What each owner bears through others, shape (n,), in money."""
        return np.sum([trade.leakage for trade in self.trades], axis=0)

    @cached_property
    def epsilon(self) -> np.ndarray:
        """Privacy spent by each owner in this round, by basic composition, shape (n,)."""
        return np.asarray(self.privacy.epsilons @ self.bought)


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
        self._makers = {
            "rounds": _rounds,
            "brokers": _brokers,
            "versions": _versions,
            "owners": _owners,
            "sales": _sales,
        }

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
    trades, sales, lists = o.trades, o.sales, o.price_lists
    expected = sum(float(trade.expected_revenue.sum()) for trade in trades)
    revenues = [float(sold.paid.sum()) for sold in sales]
    revenue, payouts, cost = sum(revenues), float(o.paid.sum()), float(o.costs.sum() + o.leakage.sum())
    buyers, owners = sum(metrics.buyer_surplus(sold) for sold in sales), payouts - cost
    profit = sum(trade.settlement.profit for trade in trades)
    welfare = buyers + owners + profit
    best = metrics.first_best(sales, lists, cost)
    worth = sum(float(sold.worth_bought.sum()) for sold in sales)
    perfect = metrics.hindsight_perfect(sales, lists)
    monopoly = hindsight = math.nan
    if len(trades) == 1:  # of one of several brokers it would say nothing, as the others' lists would not stay
        monopoly = metrics.hindsight_monopoly(sales[0], lists[0])
        hindsight = metrics.hindsight_revenue(sales, lists, lists[0].composition)
    present, served = len(sales[0].bought), sum(int(sold.bought.sum()) for sold in sales)
    open_ = [trade for trade in trades if not trade.broker.bankrupt]
    kinds = [shown.kind for shown in lists if shown.kind != "none"]
    epsilon_total, (epsilon_composed, _) = o.privacy.epsilon, o.privacy.composed()
    return {
        "round": o.round,
        "owners_taking_part": int(o.offers.takes_part.sum()),
        "answers": sum(len(trade.survey) for trade in trades),
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
        "deadweight_loss": metrics.deadweight_loss(sales, lists),
        "allocative_efficiency": metrics.ratio(worth, float(metrics.best_worth(sales, lists).sum())),
        "monopoly_revenue": monopoly,
        "perfect_revenue": perfect,
        "hindsight_revenue": hindsight,
        "regret": hindsight - revenue,
        "revenue_to_monopoly": metrics.ratio(revenue, monopoly),
        "revenue_to_perfect": metrics.ratio(revenue, perfect),
        "buyers_present": present,
        "sales": served,
        "sell_through": metrics.ratio(float(served), present),
        "versions_on_sale": sum(int(shown.on_sale.sum()) for shown in lists),
        "price_mean": metrics.ratio(revenue, sum(float(sold.sold.sum()) for sold in sales)),
        "brokers_active": len(open_),
        "commission": float(np.mean([trade.broker.commission for trade in open_])) if open_ else math.nan,
        "markup": metrics.ratio(profit, revenue),
        "concentration": metrics.concentration(revenues),
        "data_cost": sum(float(trade.purchases.costs.sum()) for trade in trades),
        "gini_paid": metrics.gini(o.paid[o.paid > 0]),
        "gini_all": metrics.gini(o.paid),
        "ir_violations": metrics.violations(o.asked, o.paid, np.asarray(o.bought.any(axis=0))),
        "epsilon_mean": float(o.epsilon.mean()),
        "epsilon_max": float(o.epsilon.max()),
        "epsilon_total_mean": float(epsilon_total.mean()),
        "epsilon_total_max": float(epsilon_total.max()),
        "epsilon_composed_mean": float(epsilon_composed.mean()),
        "epsilon_composed_max": float(epsilon_composed.max()),
        "owners_spent": int(o.privacy.spent.sum()),
        "entries": 0 if o.round == 1 else int((o.offers.takes_part & ~o.took_part).sum()),
        "exits": int((~o.offers.takes_part & o.took_part).sum()),
        "leakage": float(o.leakage.sum()),
        **_misreports(o.misreports),
        "arbitrage_available": max(_arbitrage_available(shown) for shown in lists),
        "arbitrage_taken": sum(metrics.bundle_saving(*pair) for pair in zip(sales, lists, strict=True)),
        "pricing_fallback": float(np.mean([kind == "fallback" for kind in kinds])) if kinds else math.nan,
        "list_kind": "none" if not kinds else kinds[0] if len(set(kinds)) == 1 else "mixed",
    }


def _brokers(o: RoundOutcome) -> dict[str, Any]:
    revenue = np.array([float(sold.paid.sum()) for sold in o.sales])
    profit = np.array([trade.settlement.profit for trade in o.trades])
    copies = np.array([float(sold.sold.sum()) for sold in o.sales])
    return {
        "broker": np.arange(len(o.trades)),
        "name": np.array([trade.broker.name for trade in o.trades]),
        "active": np.array([not trade.broker.bankrupt for trade in o.trades]),
        "owners_dealing": np.array([int(trade.offers.takes_part.sum()) for trade in o.trades]),
        "owners_bought": np.array([int(trade.purchases.sold.sum()) for trade in o.trades]),
        "versions_on_sale": np.array([int(shown.on_sale.sum()) for shown in o.price_lists]),
        "coverage_mean": np.array([float(trade.versions.coverage.mean()) for trade in o.trades]),
        "commission": np.array([trade.broker.commission for trade in o.trades]),
        "budget": np.array([float(np.sum(trade.purchases.budgets)) for trade in o.trades]),
        "data_cost": np.array([float(trade.purchases.costs.sum()) for trade in o.trades]),
        "expected_revenue": np.array([float(trade.expected_revenue.sum()) for trade in o.trades]),
        "sales": np.array([int(sold.bought.sum()) for sold in o.sales]),
        "revenue": revenue,
        "share": np.array([metrics.ratio(own, float(revenue.sum())) for own in revenue.tolist()]),
        "price_mean": np.array([metrics.ratio(*pair) for pair in zip(revenue.tolist(), copies.tolist(), strict=True)]),
        "payouts": np.array([float(trade.settlement.payments.sum()) for trade in o.trades]),
        "profit": profit,
        "markup": np.array([metrics.ratio(*pair) for pair in zip(profit.tolist(), revenue.tolist(), strict=True)]),
        "capital": np.array([max(trade.broker.capital + trade.settlement.profit, 0.0) for trade in o.trades]),
        "bankrupt": np.array([trade.settlement.bankrupt for trade in o.trades]),
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


def _arbitrage_available(price_list: PriceList) -> float:
    on_sale = price_list.on_sale
    if price_list.personalised or not on_sale.any():
        return 0.0
    posted = price_list.epsilons[on_sale], price_list.prices[on_sale]
    found = find_arbitrage(*posted, composition=price_list.composition)
    return 0.0 if found is None else found.saving


def _versions(o: RoundOutcome) -> dict[str, Any]:
    parts = [_versions_of(trade) for trade in o.trades]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _versions_of(trade: Trade) -> dict[str, Any]:
    shown = trade.price_list
    count = len(shown.epsilons)
    return {
        "version": trade.first_version + np.arange(count),
        "epsilon": shown.epsilons,
        "on_sale": shown.on_sale,
        "price": shown.prices,
        "coverage": shown.coverage,
        "accuracy": shown.accuracy,
        "budget": np.array(trade.purchases.budgets),
        "cost": trade.purchases.costs,
        "owners": trade.purchases.bought.sum(axis=1),
        "records": trade.versions.records,
        "wanted": np.bincount(trade.sales.targets, minlength=count),
        "sold": trade.sales.sold,
        "expected_revenue": trade.expected_revenue,
        "revenue": trade.sales.revenue,
        "broker": np.full(count, trade.broker.name),
    }


def _owners(o: RoundOutcome) -> dict[str, Any]:
    cost = o.costs.sum(axis=0)
    first = o.trades[0]
    (epsilon_composed, delta_composed), (epsilon_shard, delta_shard) = o.privacy.composed(), o.privacy.shard()
    return {
        "owner": np.arange(len(cost)),
        "takes_part": o.offers.takes_part,
        "privacy_sensitivity": o.sensitivities.copy(),
        "reported_sensitivity": o.offers.sensitivities.copy(),
        "value": first.valuation.values,
        "value_stderr": first.valuation.stderr,
        "versions": o.bought.sum(axis=0),
        "asked": o.asked,
        "paid": o.paid,
        "cost": cost,
        "leakage": o.leakage,
        "surplus": o.paid - cost - o.leakage,
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
        "home": np.full(len(cost), -1) if o.offers.homes is None else o.offers.homes,
    }


def _of_sample(o: RoundOutcome, name: str) -> np.ndarray:
    """An attribute of the sampled owners' misreports, NaN for the others, shape (n,)."""
    column = np.full(len(o.sensitivities), np.nan)
    column[[misreport.owner for misreport in o.misreports]] = [getattr(m, name) for m in o.misreports]
    return column


def _sales(o: RoundOutcome) -> dict[str, Any]:
    parts = [_sales_of(trade) for trade in o.trades]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns["buyer"], kind="stable")
    return {name: column[order] for name, column in columns.items()}


def _sales_of(trade: Trade) -> dict[str, Any]:
    sales, first = trade.sales, trade.first_version
    buyers = np.flatnonzero(sales.bought)
    return {
        "buyer": buyers if sales.rows is None else sales.rows[buyers],
        "target": first + sales.targets[buyers],
        "version": first + sales.versions[buyers],
        "price": sales.paid[buyers],
        "worth": sales.worth_bought[buyers],
        "surplus": sales.surplus[buyers],
        "copies": sales.copies[buyers],
        "broker": np.full(len(buyers), trade.broker.name),
    }
