"""Markets of one broker or several in plain loops, written from the description of the model, to compare with.

Taken from the package are the agents as they are drawn (who is there, their attributes, when buyers come and go), the
random streams and their names, what a version is worth to a buyer and which share of it the buyer states, pricing
strategies and the revenue that they expect of a survey, procurement methods, what brokers' behaviours decide, and the
cheapest bundles of a list. All else is computed here: who takes part and deals with whom, what privacy budgets allow,
what owners ask, what leaks, who is surveyed and answers what, what is spent and bought, coverage, where buyers buy and
what, settlement, bankruptcy, homing, and what is measured.

It knows data given by their values, privacy budgets against which epsilons add up, truthful and cautious owners without
reservations, and buyers whose budgets stay.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator import Market, MarketConfig
from simulator.agents.behaviour import BROKERS, Desk, Prospect
from simulator.config import BrokerConfig
from simulator.pricing.strategy import PRICING, PricingContext, PricingStrategy
from simulator.pricing.survey import Survey
from simulator.procurement.method import PROCUREMENT, maximize_coverage, version_options
from simulator.records import Bundles, Menu, PriceList, Purchases, Receipts

#: The smallest answer that a survey holds.
SMALLEST_ANSWER = 1e-100
#: Amounts of money, and sums of epsilons, that differ by these shares differ by rounding.
MONEY, EPSILON = 1e-9, 1e-12

#: Rows of each table.
Tables = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Choice:
    """What a buyer takes from a list.

    Attributes
    ----------
    version : int
        What it gets, by its place on the list.
    paid, gain : float, money
        Price, and worth less price.
    copies : array of int, shape (l,)
        Copies that it buys of each version, one of its version where it buys no bundle.
    bundle : bool
        Whether it buys a bundle.
    """

    version: int
    paid: float
    gain: float
    copies: np.ndarray
    bundle: bool = False


class Broker:
    """What a broker is and remembers; `first` is the number of its first version among those of all."""

    def __init__(self, number: int, name: str, config: BrokerConfig, first: int) -> None:
        self.number, self.name, self.config, self.first = number, name, config, first
        self.epsilons = np.array(config.epsilons)
        self.versions = range(len(config.epsilons))
        self.undercut = getattr(config, "undercut", 0.0)
        self.strategy: PricingStrategy = PRICING.create(config.pricing, config.pricing_options)
        self.behaviour = BROKERS.create(config.behaviour, config.behaviour_options)
        self.promises = PROCUREMENT.resolve(config.procurement).promises
        self.commission = config.commission
        self.capital = math.inf if config.capital is None else config.capital
        self.bankrupt = False
        self.coverage = np.ones(len(self.epsilons))
        self.prices: np.ndarray | None = None
        self.price_list: PriceList | None = None
        self.purchases: Purchases | None = None
        self.receipts: Receipts | None = None
        self.earned = np.zeros(len(self.epsilons))

    def role(self, name: str) -> str:
        """Name of one of its random streams."""
        return name if self.name == "broker" else f"{name}@{self.name}"

    @property
    def shown(self) -> PriceList | None:
        """The list that it showed last, while it is in business."""
        return None if self.bankrupt else self.price_list

    def release(self, purchases: Purchases) -> None:
        """Remember the coverage of the versions with data behind them."""
        self.coverage = np.where(purchases.bought.any(axis=1), purchases.coverage, self.coverage)


class Trade:
    """A broker's round: what it prepared, what buyers chose of it, and who got the money."""

    def __init__(
        self,
        broker: Broker,
        dealing: list[bool],
        answers: int,
        expected: np.ndarray,
        purchases: Purchases,
        price_list: PriceList,
    ) -> None:
        self.broker, self.dealing, self.answers, self.expected = broker, dealing, answers, expected
        self.purchases, self.price_list = purchases, price_list
        self.bought = purchases.bought
        self.asked = np.where(self.bought, purchases.asked, 0.0)
        self.sales: dict[int, Choice] = {}
        self.revenue, self.copies = np.zeros(len(self.bought)), np.zeros(len(self.bought))
        self.payments, self.costs, self.leakage = (np.zeros(self.bought.shape) for _ in range(3))
        self.profit = 0.0
        self.bankrupt = False


class PlainMarket:
    """A market of `config` with the agents that `simulator.Market` draws at the seed."""

    def __init__(self, config: MarketConfig, seed: int) -> None:
        self.drawn = drawn = Market(config, seed)
        self.config, self.streams, self.round = config, drawn.streams, 0
        self.owners = {name: column.copy() for name, column in drawn.owners.columns.items()}
        self.owner_segments = [range(rows.start, rows.stop) for rows in drawn.owners.segments]
        self.peers = [[other for other in rows if other != owner] for rows in self.owner_segments for owner in rows]
        self.cautious = [segment.behaviour == "cautious" for segment in config.owners for _ in range(segment.count)]
        self.drawn_values = np.asarray(drawn.broker.stock.values)
        self.values = np.zeros(config.n_owners)
        self.sits_out = [False] * config.n_owners
        self.took_part = [False] * config.n_owners
        self.buyers = list(drawn.buyers)
        pairs = list(zip(config.buyers, drawn.buyers.segments, strict=True))
        self.buyer_segments = [segment for segment, rows in pairs for _ in range(len(rows))]
        self.cohorts = [(rows.segment, len(rows), rows.group.arrivals) for rows in drawn.buyers.segments]
        self.arrived = drawn.buyers.columns.get("arrived", np.zeros(len(self.buyers)))
        self.left = drawn.buyers.columns.get("left", np.full(len(self.buyers), math.inf))
        self.served = [False] * len(self.buyers)
        self.brokers: list[Broker] = []
        for number, (name, broker) in enumerate(config.desks.items()):
            self.brokers.append(Broker(number, name, broker, sum(len(b.epsilons) for b in self.brokers)))
        self.epsilons = np.concatenate([broker.epsilons for broker in self.brokers])
        self.uses = np.zeros((len(self.epsilons), config.n_owners), dtype=int)
        self.tables: Tables = {name: [] for name in ("rounds", "brokers", "versions", "owners", "sales")}

    def run(self) -> Tables:
        """All rounds, and the tables that they leave, of rows in order."""
        for _ in range(self.config.rounds):
            self.step()
        return self.tables

    def step(self) -> None:
        """One round."""
        self.round += 1
        self.drawn.round = self.round  # by which buyers who learn draw
        self.present = self.buyers_present()
        self.takes_part = self.owners_taking_part()
        self.values = np.where(self.takes_part, self.drawn_values, self.values)
        self.shares = positive_shares(self.values)
        self.base_prices = self.owners["base_price_pool"] * self.shares + self.owners["fixed_base_price"]
        self.gains = self.gains_at_last_lists()
        self.used = np.zeros_like(self.uses)
        prepared = {number: self.prepare(self.brokers[number]) for number in self.turns()}
        trades = [prepared[broker.number] for broker in self.brokers]
        self.shop(trades)
        for trade in trades:
            self.settle(trade)
            self.bear(trade)
        self.uses += self.used
        self.log(trades)
        self.learn(trades)
        self.move(trades)

    # --- who is there ----------------------------------------------------------------------------------------------

    def buyers_present(self) -> list[int]:
        """Rows of the buyers who have come, and have neither left nor been served."""
        come = [buyer for buyer in range(len(self.buyers)) if self.arrived[buyer] <= self.round < self.left[buyer]]
        return [buyer for buyer in come if not self.served[buyer]]

    def owners_taking_part(self) -> list[bool]:
        """Whether each owner is willing, does not sit out a loss, and can afford the cheapest release."""
        everybody = range(len(self.values))
        return [bool(self.owners["willing"][i]) and not self.sits_out[i] and not self.has_spent(i) for i in everybody]

    def has_spent(self, owner: int) -> bool:
        """Whether an owner's privacy budget allows no release any more."""
        return not self.affords(owner, float(self.epsilons @ self.uses[:, owner]), min(self.epsilons))

    def affords(self, owner: int, spent: float, epsilon: float) -> bool:
        """Whether an owner's privacy budget allows one more release."""
        return spent + epsilon <= self.owners["privacy_budget"][owner] * (1 + EPSILON)

    def turns(self) -> list[int]:
        """The order in which brokers buy data."""
        if len(self.brokers) == 1:
            return [0]
        return self.streams.generator("brokers", round=self.round).permutation(len(self.brokers)).tolist()

    def uniforms(self, role: str) -> list[float]:
        """A random number for each buyer, whether there or not; those who arrived in one round share a stream."""
        drawn: list[float] = []
        for name, size, arrivals in self.cohorts:
            for cohort, count in enumerate([size - sum(arrivals), *arrivals]):
                own = name if cohort == 0 else f"{name}@{cohort}"
                uniforms = self.streams.uniforms(f"BuyerPopulation.{role}", count, round=self.round, segment=own)
                drawn += uniforms.tolist()
        return drawn

    # --- what buyers want ------------------------------------------------------------------------------------------

    def target(self, buyer: int, menu: Menu) -> int:
        """The version that a buyer wants: the smallest epsilon that is at least the expected one, else the top."""
        for version, epsilon in enumerate(menu.epsilons):
            if epsilon >= self.buyers[buyer].epsilon_expected:
                return version
        return len(menu.epsilons) - 1

    def choose(self, buyer: int, shown: PriceList) -> Choice | None:
        """What a buyer would take from a list, None for nothing."""
        worth, behaviour = self.buyers[buyer].worth(shown), self.buyer_segments[buyer].behaviour
        target, one = self.target(buyer, shown), np.eye(len(worth), dtype=int)
        if shown.personalised:
            wanted = shown.on_sale[target] and worth[target] > 0
            return Choice(target, worth[target], 0.0, one[target]) if wanted else None
        bundles = behaviour.startswith("arbitrageur")
        prices = shown.bargains.costs if bundles else shown.prices
        among = range(len(worth)) if behaviour.endswith("surplus") else [target]
        fits = [(prices[k] - worth[k], prices[k], k) for k in among if shown.on_sale[k] and worth[k] >= prices[k]]
        if not fits:
            return None
        loss, paid, version = min(fits)
        if bundles and shown.bargains.saves[version]:
            return Choice(version, paid, -loss, shown.bargains.counts[version], bundle=True)
        return Choice(version, paid, -loss, one[version])

    def gains_at_last_lists(self) -> dict[int, dict[int, float]]:
        """What each buyer present would gain at the last lists, by broker, at those where it would buy."""
        gains: dict[int, dict[int, float]] = {buyer: {} for buyer in self.present}
        for broker in self.brokers:
            shown = broker.shown
            if shown is None:
                continue
            for buyer in self.present:
                choice = self.choose(buyer, shown)
                if choice is not None:
                    gains[buyer][broker.number] = choice.gain
        return gains

    # --- a broker's round up to its list ---------------------------------------------------------------------------

    def prepare(self, broker: Broker) -> Trade:
        """Decide, survey, price, buy and show the list."""
        homes = self.owners["home"]
        dealing = [
            takes and home in (-1, broker.number) and not broker.bankrupt
            for takes, home in zip(self.takes_part, homes, strict=True)
        ]
        asked = self.asked(broker, dealing)
        plan = None if broker.bankrupt else self.decide(broker, asked)
        silent = broker.bankrupt or not broker.strategy.surveys
        survey = Survey([], []) if silent else self.survey(broker, broker.coverage)
        prices = self.price(broker, survey, asked)
        expected = self.expected_revenue(broker, survey, prices)
        budgets = self.budgets(broker, plan, prices, expected)
        purchases = self.buy(broker, asked, budgets, () if prices is None else broker.versions)
        self.used[broker.first : broker.first + len(broker.versions)] = purchases.bought
        broker.release(purchases)
        price_list = PriceList(
            broker.epsilons,
            purchases.coverage,
            np.full(len(broker.versions), np.nan) if prices is None else prices,
            np.full(len(broker.versions), np.nan),
            np.asarray(purchases.bought.any(axis=1)),
            broker.strategy.personalised,
            "none" if prices is None else broker.strategy.list_kind,
            broker.config.composition,
            broker=broker.name,
        )
        return Trade(broker, dealing, len(survey), expected, purchases, price_list)

    def cost(self, owner: int, epsilon: float) -> float:
        """What the use of its shard costs an owner, whoever else's are used."""
        return self.base_prices[owner] * math.exp(self.owners["privacy_sensitivity"][owner] * epsilon)

    def exposure(self, owner: int, bought: np.ndarray) -> float:
        """Share of the cost of a use that an owner bears through others of its segment, for a mask of shape (n,)."""
        leakage, peers = self.owners["leakage"][owner], self.peers[owner]
        return leakage * sum(bought[peers]) / len(peers) if leakage > 0 else 0.0

    def asked(self, broker: Broker, dealing: list[bool]) -> np.ndarray:
        """What owners ask for use in each version, shape (l, n): less what the broker's last purchases make leak."""
        asked = np.full((len(broker.versions), len(dealing)), np.inf)
        for k in broker.versions:
            for i in np.flatnonzero(np.array(dealing) & (self.values > 0)).tolist():
                exposure = 0.0 if broker.purchases is None else self.exposure(i, broker.purchases.bought[k])
                asked[k, i] = self.cost(i, broker.epsilons[k]) * (1 - exposure)
        return asked

    def decide(self, broker: Broker, asked: np.ndarray) -> Prospect | None:
        """The broker's commission, and its plan if it makes one."""

        def revenue(coverage: np.ndarray) -> np.ndarray:
            survey = self.survey(broker, coverage)
            if len(survey) == 0:
                return np.zeros(len(broker.versions))
            strategy = copy.deepcopy(broker.strategy)  # that a plan was priced must not show in the list
            return strategy.expected_revenue(survey, self.quote(broker, strategy, survey, asked))

        def prospect(budgets: np.ndarray) -> Prospect:
            purchases = self.buy(broker, asked, budgets, broker.versions)
            bought = purchases.bought.any(axis=1)
            expected = revenue(np.where(bought, purchases.coverage, broker.coverage))
            return Prospect(budgets, purchases, np.where(bought, expected, 0.0))

        rng = self.streams.generator(broker.role("behaviour"), round=self.round)
        full = np.ones(len(broker.versions))
        decision = broker.behaviour.decide(Desk(broker.config.commission, lambda: revenue(full), prospect, rng))
        broker.commission = decision.commission
        if decision.plan is not None:
            broker.release(decision.plan.purchases)
        return decision.plan

    def survey(self, broker: Broker, coverage: np.ndarray) -> Survey:
        """Answers of a sample of the buyers present at a coverage, those worth nothing left out."""
        menu = Menu(broker.epsilons, coverage, broker=broker.name)
        size = max(1, round(broker.config.survey_share * len(self.present)))
        sample = self.present
        if size < len(self.present):
            lots = self.uniforms(broker.role("survey"))
            sample = sorted(sorted(self.present, key=lambda buyer: lots[buyer])[:size])
        whole = broker.strategy.surveys_menu
        answers = []
        for buyer in sample:
            target, stated = self.target(buyer, menu), self.stated(buyer, broker, menu)
            if (max(stated) if whole else stated[target]) >= SMALLEST_ANSWER:
                answers.append((target, stated))
        return Survey(
            np.array([target for target, _ in answers], dtype=int),
            np.array([stated[target] for target, stated in answers]),
            np.full(len(answers), len(self.present) / size),
            np.array([stated for _, stated in answers]).reshape(-1, len(broker.versions)) if whole else None,
        )

    def stated(self, buyer: int, broker: Broker, menu: Menu) -> list[float]:
        """What a buyer says that each version is worth to it, less what it would gain at another broker."""
        agent, shades = self.buyers[buyer], "shading" in self.buyer_segments[buyer].behaviour
        share = agent.stated_share() if shades else 1.0
        stated = [share * worth for worth in agent.worth(menu)]
        elsewhere = [gain for number, gain in self.gains[buyer].items() if number != broker.number]
        if not elsewhere:
            return stated
        return [max(worth - max(elsewhere), 0.0) * (1 - broker.undercut) for worth in stated]

    def quote(self, broker: Broker, strategy: PricingStrategy, survey: Survey, asked: np.ndarray) -> np.ndarray:
        """What a strategy would post."""
        others = [other.shown for other in self.brokers if other is not broker]
        context = PricingContext(
            survey=survey,
            epsilons=broker.epsilons,
            composition=broker.config.composition,
            n_buyers=len(self.present),
            round=self.round,
            rounds=self.config.rounds,
            last_purchases=broker.purchases,
            last_sales=broker.receipts,
            rng=self.streams.generator(broker.role("pricing"), round=self.round),
            asked=asked,
            rivals=tuple(shown for shown in others if shown is not None and shown.kind != "none"),
        )
        return strategy.checked_prices(context)

    def price(self, broker: Broker, survey: Survey, asked: np.ndarray) -> np.ndarray | None:
        """The broker's prices; the last ones where those asked do not answer, none where there are none."""
        if broker.bankrupt:
            return None
        if not broker.strategy.surveys or len(survey) > 0:
            broker.prices = self.quote(broker, broker.strategy, survey, asked)
        return broker.prices

    def expected_revenue(self, broker: Broker, survey: Survey, prices: np.ndarray | None) -> np.ndarray:
        """What the broker expects to earn of each version: what the survey says, or what it earned last."""
        if prices is None or (broker.strategy.surveys and len(survey) == 0):
            return np.zeros(len(broker.versions))
        return broker.strategy.expected_revenue(survey, prices) if broker.strategy.surveys else broker.earned

    def budgets(
        self, broker: Broker, plan: Prospect | None, prices: np.ndarray | None, expected: np.ndarray
    ) -> np.ndarray:
        """Money to spend on data for each version."""
        config = broker.config
        if prices is None:
            return np.zeros(len(broker.versions))
        if plan is not None:
            return plan.budgets
        if config.manufacturing_budget != "revenue":
            return np.full(len(broker.versions), config.manufacturing_budget, dtype=float)
        budgets = (1 - broker.commission) * expected
        if not broker.strategy.surveys:
            budgets[expected == 0] = config.starting_budget
        return budgets

    def buy(self, broker: Broker, asked: np.ndarray, budgets: np.ndarray, versions: Iterable[int]) -> Purchases:
        """Shards for one version after the other, of owners whose privacy budgets allow it."""
        config, everybody = broker.config, range(len(self.values))
        bought, promised = np.zeros(asked.shape, dtype=bool), np.zeros(asked.shape)
        spent = self.epsilons @ (self.uses + self.used)
        for k in versions:
            epsilon = broker.epsilons[k]
            allowed = [self.affords(i, spent[i] + broker.epsilons @ bought[:, i], epsilon) for i in everybody]
            found = maximize_coverage(
                self.values,
                np.where(allowed, asked[k], np.inf),
                float(budgets[k]),
                method=config.procurement,
                rng=self.streams.generator(broker.role("procurement"), round=self.round, segment=str(k)),
                **version_options(config.procurement, config.procurement_options, k, len(broker.versions)),
            )
            bought[k, found.owners] = True
            if found.promised is not None:
                promised[k, found.owners] = found.promised
        coverage = np.array([round(min(sum(self.shares[bought[k]]), 1.0), 12) for k in broker.versions])
        return Purchases(bought, asked, budgets, coverage, promised if broker.promises else None)

    # --- sales and money -------------------------------------------------------------------------------------------

    def shop(self, trades: list[Trade]) -> None:
        """Every buyer present buys where that leaves it most, and draws a lot between equals."""
        lots = self.uniforms("lot") if len(trades) > 1 else [0.0] * len(self.buyers)
        for buyer in self.present:
            choices = [(trade, self.choose(buyer, trade.price_list)) for trade in trades]
            offers = [(trade, choice) for trade, choice in choices if choice is not None]
            most = max((choice.gain for _, choice in offers), default=None)
            best = [(trade, choice) for trade, choice in offers if choice.gain == most]
            if best:
                trade, choice = best[int(lots[buyer] * len(best))]
                trade.sales[buyer] = choice
                prices = trade.price_list.prices if choice.bundle else choice.paid
                trade.revenue += choice.copies * np.where(choice.copies > 0, prices, 0.0)
                trade.copies += choice.copies

    def settle(self, trade: Trade) -> None:
        """Pay the owners; a broker that owes more than it has pays the same share of every claim."""
        broker = trade.broker
        for k in broker.versions:
            sellers = np.flatnonzero(trade.purchases.bought[k])
            if len(sellers) > 0:
                trade.payments[k, sellers] = self.claims(trade, k, sellers)
        revenue, owed = trade.revenue.sum(), trade.payments.sum()
        trade.bankrupt = bool(owed - revenue > broker.capital + MONEY * owed)
        if trade.bankrupt:
            trade.payments *= (revenue + broker.capital) / owed
        trade.profit = revenue - trade.payments.sum()

    def claims(self, trade: Trade, version: int, sellers: np.ndarray) -> np.ndarray:
        """What the owners behind a version are to be paid for it by the settlement rule."""
        purchases, rule = trade.purchases, trade.broker.config.settlement
        if rule == "guaranteed":
            return purchases.asked[version, sellers]
        if rule == "promised":
            assert purchases.promised is not None
            return purchases.promised[version, sellers]
        parts = np.ones(len(sellers))
        if rule == "neutral":
            asked = purchases.asked[version, sellers]
            parts = asked if asked.sum() > 0 else self.values[sellers]
        return (1 - trade.broker.commission) * trade.revenue[version] * parts / parts.sum()

    def bear(self, trade: Trade) -> None:
        """What sales cost owners at their true sensitivities, and what leaks of them through others."""
        for k in trade.broker.versions:
            for i in range(len(self.values)):
                cost = self.cost(i, trade.broker.epsilons[k])
                exposure = self.exposure(i, trade.purchases.bought[k])
                trade.leakage[k, i] = cost * exposure
                if trade.purchases.bought[k, i]:
                    trade.costs[k, i] = cost * (1 - exposure)

    # --- after the round -------------------------------------------------------------------------------------------

    def learn(self, trades: list[Trade]) -> None:
        """Brokers in business keep the round, cautious owners remember a loss, buyers learn or are served for good."""
        for trade in trades:
            if not trade.broker.bankrupt:
                self.remember(trade)
        bought, paid, cost = (of_owners(trades, name) for name in ("bought", "payments", "costs"))
        lost = (bought > 0) & (paid < cost * (1 - MONEY))
        self.sits_out = [cautious and loss for cautious, loss in zip(self.cautious, lost, strict=True)]
        self.took_part = self.takes_part
        sales = {buyer: choice for trade in trades for buyer, choice in trade.sales.items()}
        for buyer in self.present:
            agent, choice = self.buyers[buyer], sales.get(buyer)
            agent.gained = 0.0 if choice is None else choice.gain
            agent.adapt(*((None, 0.0) if choice is None else (choice.version, choice.paid)))
            self.served[buyer] = choice is not None and self.buyer_segments[buyer].one_off

    def remember(self, trade: Trade) -> None:
        """What a broker keeps of the round, and what it learns of it."""
        broker, receipts = trade.broker, self.receipts(trade)
        broker.price_list, broker.purchases = trade.price_list, trade.purchases
        broker.receipts, broker.earned = receipts, trade.revenue
        broker.capital = max(broker.capital + trade.profit, 0.0)
        broker.bankrupt = trade.bankrupt
        broker.strategy.learn(receipts)
        broker.behaviour.learn(trade.profit)

    def receipts(self, trade: Trade) -> Receipts:
        """What a broker sees of its sales: of a bundle, the largest version in it."""
        versions, paid = np.full(len(self.present), -1), np.zeros(len(self.present))
        places, copies = [], []
        for place, buyer in enumerate(self.present):
            if buyer in trade.sales:
                choice = trade.sales[buyer]
                versions[place], paid[place] = np.flatnonzero(choice.copies).max(), choice.paid
                if choice.bundle:
                    places.append(place)
                    copies.append(choice.copies)
        bundles = Bundles(np.array(places), np.array(copies), trade.price_list.prices) if places else None
        return Receipts(versions, paid, trade.price_list.on_sale, bundles=bundles)

    def move(self, trades: list[Trade]) -> None:
        """Owners that deal with one broker look around, and go where those of their segment earned most."""
        homes = self.owners["home"]
        open_ = [trade for trade in trades if not trade.broker.bankrupt]
        for segment, rows in zip(self.config.owners, self.owner_segments, strict=True):
            looks, lots = (
                self.streams.uniforms(f"OwnerPopulation.{role}", len(rows), round=self.round, segment=segment.segment)
                for role in ("switching", "lot")
            )
            best = best_for(rows, open_)
            for owner, look, lot in zip(rows, looks, lots, strict=True):
                home = homes[owner]
                if home < 0 or not best or home in best:
                    continue
                if look < segment.switching or self.brokers[home].bankrupt:
                    homes[owner] = best[int(lot * len(best))]

    # --- what is measured ------------------------------------------------------------------------------------------

    def log(self, trades: list[Trade]) -> None:
        """Add the round's rows to the tables."""
        self.tables["rounds"].append({"round": self.round, **self.round_row(trades)})
        for trade in trades:
            self.tables["brokers"].append({"round": self.round, **broker_row(trade, trades)})
        for name, rows in (
            ("versions", (self.version_row(trade, k) for trade in trades for k in trade.broker.versions)),
            ("owners", self.rows_of_owners(trades)),
            ("sales", self.rows_of_sales(trades)),
        ):
            self.tables[name] += [{"round": self.round, **row} for row in rows]

    def version_row(self, trade: Trade, version: int) -> dict[str, Any]:
        """The table's row of a version."""
        shown, purchases = trade.price_list, trade.purchases
        return {
            "version": trade.broker.first + version,
            "epsilon": shown.epsilons[version],
            "on_sale": shown.on_sale[version],
            "price": shown.prices[version],
            "coverage": purchases.coverage[version],
            "budget": purchases.budgets[version],
            "cost": trade.asked[version].sum(),
            "owners": trade.bought[version].sum(),
            "wanted": sum(self.target(buyer, shown) == version for buyer in self.present),
            "sold": trade.copies[version],
            "expected_revenue": trade.expected[version],
            "revenue": trade.revenue[version],
            "broker": trade.broker.name,
        }

    def rows_of_owners(self, trades: list[Trade]) -> list[dict[str, Any]]:
        """The table's rows of all owners."""
        names = ("bought", "asked", "payments", "costs", "leakage")
        bought, asked, paid, cost, leakage = (of_owners(trades, name) for name in names)
        return [
            {
                "owner": i,
                "takes_part": self.takes_part[i],
                "value": self.values[i],
                "versions": bought[i],
                "asked": asked[i],
                "paid": paid[i],
                "cost": cost[i],
                "leakage": leakage[i],
                "surplus": paid[i] - cost[i] - leakage[i],
                "epsilon": self.epsilons @ self.used[:, i],
                "epsilon_total": self.epsilons @ self.uses[:, i],
                "home": self.owners["home"][i],
            }
            for i in range(len(self.values))
        ]

    def rows_of_sales(self, trades: list[Trade]) -> list[dict[str, Any]]:
        """The table's rows of all sales, in the order of the buyers."""
        sales = sorted(((buyer, trade) for trade in trades for buyer in trade.sales), key=lambda sale: sale[0])
        return [
            {
                "buyer": buyer,
                "target": trade.broker.first + self.target(buyer, trade.price_list),
                "version": trade.broker.first + trade.sales[buyer].version,
                "price": trade.sales[buyer].paid,
                "worth": self.worth_bought(buyer, trade),
                "surplus": trade.sales[buyer].gain,
                "copies": trade.sales[buyer].copies.sum(),
                "broker": trade.broker.name,
            }
            for buyer, trade in sales
        ]

    def round_row(self, trades: list[Trade]) -> dict[str, Any]:
        """The table's row of the round: money, welfare, and what else is measured."""
        revenue, expected = (sum(getattr(t, name).sum() for t in trades) for name in ("revenue", "expected"))
        names = ("bought", "asked", "payments", "costs", "leakage")
        bought, asked, paid, costs, leakage = (of_owners(trades, name) for name in names)
        cost, profit = costs.sum() + leakage.sum(), sum(t.profit for t in trades)
        gained = sum(choice.gain for t in trades for choice in t.sales.values())
        worth = sum(self.worth_bought(buyer, t) for t in trades for buyer in t.sales)
        most = sum(self.best_worth(buyer, trades, target_only=False) for buyer in self.present)
        perfect = sum(self.best_worth(buyer, trades, target_only=True) for buyer in self.present)
        monopoly = self.monopoly(trades[0]) if len(trades) == 1 else math.nan
        welfare = gained + paid.sum() - cost + profit
        sales, copies = sum(len(t.sales) for t in trades), sum(t.copies.sum() for t in trades)
        open_ = [t.broker for t in trades if not t.broker.bankrupt]
        kinds = [t.price_list.kind for t in trades if t.price_list.kind != "none"]
        spent, total = self.epsilons @ self.used, self.epsilons @ self.uses
        inside, before = np.array(self.takes_part), np.array(self.took_part)
        return {
            "owners_taking_part": inside.sum(),
            "answers": sum(t.answers for t in trades),
            "expected_revenue": expected,
            "revenue": revenue,
            "prediction_error": ratio(revenue - expected, expected),
            "payouts": paid.sum(),
            "broker_profit": profit,
            "buyer_surplus": gained,
            "owner_surplus": paid.sum() - cost,
            "welfare": welfare,
            "first_best": most - cost,
            "efficiency": ratio(welfare, most - cost),
            "deadweight_loss": most - worth,
            "allocative_efficiency": ratio(worth, most),
            "monopoly_revenue": monopoly,
            "perfect_revenue": perfect,
            "revenue_to_monopoly": ratio(revenue, monopoly),
            "revenue_to_perfect": ratio(revenue, perfect),
            "buyers_present": len(self.present),
            "sales": sales,
            "sell_through": ratio(sales, len(self.present)),
            "versions_on_sale": sum(t.price_list.on_sale.sum() for t in trades),
            "price_mean": ratio(revenue, copies),
            "brokers_active": len(open_),
            "commission": np.mean([broker.commission for broker in open_]) if open_ else math.nan,
            "markup": ratio(profit, revenue),
            "concentration": sum(ratio(t.revenue.sum(), revenue) ** 2 for t in trades),
            "data_cost": asked.sum(),
            "gini_paid": gini(paid[paid > 0]),
            "gini_all": gini(paid),
            "ir_violations": np.mean((paid < asked * (1 - MONEY))[bought > 0]) if bought.any() else 0.0,
            "epsilon_mean": spent.mean(),
            "epsilon_max": spent.max(),
            "epsilon_total_mean": total.mean(),
            "epsilon_total_max": total.max(),
            "owners_spent": sum(self.has_spent(i) for i in range(len(self.values))),
            "entries": 0 if self.round == 1 else (inside & ~before).sum(),
            "exits": (~inside & before).sum(),
            "leakage": leakage.sum(),
            "arbitrage_available": max(saved_at_best(t.price_list) for t in trades),
            "arbitrage_taken": sum(saved_by_bundles(t) for t in trades),
            "pricing_fallback": np.mean([kind == "fallback" for kind in kinds]) if kinds else math.nan,
            "list_kind": "none" if not kinds else kinds[0] if len(set(kinds)) == 1 else "mixed",
        }

    def worth_bought(self, buyer: int, trade: Trade) -> float:
        """What a buyer's purchase is worth to it, in money."""
        return self.buyers[buyer].worth(trade.price_list)[trade.sales[buyer].version]

    def best_worth(self, buyer: int, trades: list[Trade], *, target_only: bool) -> float:
        """The most that a version for sale is worth to a buyer, or of those that it wants of each broker, in money."""
        found = [0.0]
        for trade in trades:
            shown = trade.price_list
            worth, target = self.buyers[buyer].worth(shown), self.target(buyer, shown)
            found += [worth[k] for k in trade.broker.versions if shown.on_sale[k] and (k == target or not target_only)]
        return max(found)

    def monopoly(self, trade: Trade) -> float:
        """Revenue of the best price of each version for sale, each buyer taking its target or nothing, in money."""
        revenue, shown = 0.0, trade.price_list
        for k in np.flatnonzero(shown.on_sale):
            wanted = [self.buyers[buyer].worth(shown)[k] for buyer in self.present if self.target(buyer, shown) == k]
            revenue += max((price * sum(worth >= price for worth in wanted) for price in wanted), default=0.0)
        return revenue


def positive_shares(values: np.ndarray) -> np.ndarray:
    """Each owner's share of the positive value."""
    positive = np.maximum(values, 0.0)
    return positive / positive.sum() if positive.any() else positive


def of_owners(trades: list[Trade], name: str) -> np.ndarray:
    """Sums over the versions of all brokers of what has a row a version and a column an owner, shape (n,)."""
    return np.concatenate([getattr(trade, name) for trade in trades]).sum(axis=0)


def best_for(rows: range, trades: list[Trade]) -> list[int]:
    """The brokers with which owners of a segment earned most on average; where they deal with none, all."""
    earned = {}
    for trade in trades:
        dealing = [owner for owner in rows if trade.dealing[owner]]
        if dealing:
            surplus = trade.payments.sum(axis=0) - trade.costs.sum(axis=0)
            earned[trade.broker.number] = sum(surplus[dealing]) / len(dealing)
    if not earned:
        return [trade.broker.number for trade in trades]
    return [number for number, mean in earned.items() if mean == max(earned.values())]


def broker_row(trade: Trade, trades: list[Trade]) -> dict[str, Any]:
    """The table's row of a broker."""
    broker, revenue = trade.broker, trade.revenue.sum()
    return {
        "broker": broker.number,
        "name": broker.name,
        "active": not broker.bankrupt,
        "owners_dealing": sum(trade.dealing),
        "owners_bought": trade.bought.any(axis=0).sum(),
        "versions_on_sale": trade.price_list.on_sale.sum(),
        "coverage_mean": trade.purchases.coverage.mean(),
        "commission": broker.commission,
        "budget": trade.purchases.budgets.sum(),
        "data_cost": trade.asked.sum(),
        "expected_revenue": trade.expected.sum(),
        "sales": len(trade.sales),
        "revenue": revenue,
        "share": ratio(revenue, sum(other.revenue.sum() for other in trades)),
        "price_mean": ratio(revenue, trade.copies.sum()),
        "payouts": trade.payments.sum(),
        "profit": trade.profit,
        "markup": ratio(trade.profit, revenue),
        "capital": max(broker.capital + trade.profit, 0.0),
        "bankrupt": trade.bankrupt,
    }


def saved_at_best(shown: PriceList) -> float:
    """The most that a bundle saves on the posted price of a version, in money."""
    if shown.personalised:
        return 0.0
    bargains = shown.bargains
    return max((shown.prices[k] - bargains.costs[k] for k in np.flatnonzero(bargains.saves)), default=0.0)


def saved_by_bundles(trade: Trade) -> float:
    """What buyers of bundles saved on the posted prices of what they got, in money."""
    prices = trade.price_list.prices
    return sum(prices[choice.version] - choice.paid for choice in trade.sales.values() if choice.bundle)


def ratio(part: float, whole: float) -> float:
    """A quotient, NaN where the whole is not positive."""
    return part / whole if whole > 0 else math.nan


def gini(amounts: np.ndarray) -> float:
    """Half the mean difference between any two amounts, as a share of the mean amount."""
    differences = np.abs(amounts[:, None] - amounts).sum()
    return ratio(differences, 2 * len(amounts) * amounts.sum())
