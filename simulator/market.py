"""The market: a Mesa model whose step is one round of Dealer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import mesa
import numpy as np
import pandas as pd

from simulator import datasets
from simulator.agents.broker import Broker, DataStock
from simulator.agents.make import make_buyers, make_owners
from simulator.agents.owner import marginal, true_costs
from simulator.config import MarketConfig, NamedBroker
from simulator.incentives import Misreport, Outlook
from simulator.ledger import Ledger
from simulator.log import TABLES, RoundLog, RoundOutcome
from simulator.privacy.accounts import Affordable, PrivacyAccounts
from simulator.records import Offers, PriceList, Sales
from simulator.streams import Streams
from simulator.trades import Preparation, Trade


class Market(mesa.Model):
    """A three-sided market for private models: data owners, one broker or several, model buyers.

    Parameters
    ----------
    config : MarketConfig
        Populations and mechanisms.
    seed : int
        Seed of the experiment, >= 0.
    replicate : int
        Which replicate; two markets of one seed and replicate meet the same owners, buyers and noise,
        whatever their mechanisms.
    tables : sequence of str
        Tables to log, of "rounds", "brokers", "versions", "owners" and "sales".

    Attributes
    ----------
    owners, buyers : Population
        The agents of either side; ``len(market.buyers)``, ``market.buyers[3]``, ``market.buyers.columns``.
    brokers : list of Broker
        The brokers, in the order of the scenario; ``market.broker`` is the first.
    ledger : Ledger
        The books.
    round : int
        Rounds done.

    References
    ----------
    Liu et al. (2021), algorithm 8.

    Examples
    --------
    >>> config = MarketConfig.model_validate({
    ...     "data": {"source": "values"},
    ...     "owners": [{"segment": "o", "count": 3, "value": 1.0, "privacy_sensitivity": 0.0,
    ...                 "base_price_pool": 0.0}],
    ...     "broker": {"epsilons": [1.0]},
    ...     "buyers": [{"segment": "b", "count": 2, "budget": [4.0, 12.0], "epsilon_expected": 1.0,
    ...                 "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}],
    ... })
    >>> market = Market(config)
    >>> market.run(rounds=1)
    >>> market.frame("rounds")["revenue"].tolist()
    [3.0]
    """

    def __init__(
        self, config: MarketConfig, seed: int = 0, replicate: int = 0, *, tables: Sequence[str] = tuple(TABLES)
    ) -> None:
        streams = Streams(seed, replicate)
        super().__init__(rng=int(streams.generator("mesa").integers(2**31)))
        # Mesa puts a wrapper around `step` that, from 3.5 on, makes it an event which a round that fails cancels
        # for good, without a word. The market counts its rounds itself and needs no wrapper.
        self.__dict__.pop("step", None)
        self.config = config
        self.streams = streams
        self.round = 0
        # Ids: owners from 1, then buyers, then the brokers.
        stock = _stock(config, streams)
        desks = config.desks
        self.owners = make_owners(self, config.owners, streams, 1, records=stock.sizes, brokers=len(desks))
        self.buyers = make_buyers(self, config.buyers, streams, 1 + config.n_owners, config.rounds, brokers=desks)
        first_broker = 1 + config.n_owners + len(self.buyers)
        self.brokers = [
            Broker(
                self,
                broker,
                stock,
                streams,
                first_broker + number,
                rounds=config.rounds,
                curve=config.accuracy_curve(broker),
                name=name,
                undercut=broker.undercut if isinstance(broker, NamedBroker) else 0.0,
            )
            for number, (name, broker) in enumerate(desks.items())
        ]
        self.ledger = Ledger(len(self.buyers), self._privacy_accounts(stock), len(self.brokers))
        self._log = RoundLog(tables, self.owners.segment_names(), self.buyers.segment_names())

    @property
    def broker(self) -> Broker:
        """The broker, the first of several."""
        return self.brokers[0]

    @property
    def agents(self) -> mesa.agent.AgentSet:
        """All agents in order of their ids; those not touched before are made now."""
        self.owners.touch_all()
        self.buyers.touch_all()
        return super().agents.sort("unique_id", ascending=True, inplace=True)

    def step(self) -> None:
        """One round: Dealer's algorithm 8.

        Raises
        ------
        ValueError
            If buyers arrive and the rounds are over for which their arrivals were drawn.
        """
        if self.round >= self.config.rounds and any(segment.arrivals > 0 for segment in self.config.buyers):
            raise ValueError(
                f"rounds: found round {self.round + 1} of a market in which buyers arrive; allowed are the "
                f"{self.config.rounds} rounds for which their arrivals are drawn"
            )
        self.round += 1
        self.steps, self.time = self.round, float(self.round)  # what Mesa's DataCollector goes by
        for broker in self.brokers:
            broker.round = self.round
        self.buyers.drift()
        offers = self._within_budgets(self.owners.offer())
        prepared = self._prepare(offers)
        sales = self.buyers.shop([prepared[number].price_list for number in range(len(self.brokers))])
        trades = tuple(self._settle(prepared[number], sold) for number, sold in enumerate(sales))
        outlook = Outlook(
            [trades[number] for number in prepared],
            self.owners.columns["privacy_sensitivity"],
            self.ledger.privacy,
            self.owners.exposure,
        )
        misreports = self._misreports(offers, outlook)
        self.owners.reconsider(outlook)
        self._record(offers, trades, misreports)
        self._adapt(offers, trades)

    def run(self, rounds: int | None = None) -> None:
        """Run `rounds` rounds, by default as many as the configuration says."""
        for _ in range(self.config.rounds if rounds is None else rounds):
            self.step()

    def frame(self, table: str = "rounds") -> pd.DataFrame:
        """A logged table so far: "rounds", "brokers", "versions", "owners" or "sales".

        Raises
        ------
        ValueError
            If the market does not log the table.
        """
        return self._log.frame(table)

    def _privacy_accounts(self, stock: DataStock) -> PrivacyAccounts:
        config = self.broker.config  # what counts here is the same for all brokers
        single = config.training.unit == "owner"
        return PrivacyAccounts(
            np.concatenate([broker.epsilons for broker in self.brokers]),
            config.delta,
            self.owners.columns["privacy_budget"],
            np.ones(self.config.n_owners, dtype=int) if single else stock.sizes,
            config.privacy_accounting,
        )

    def _within_budgets(self, offers: Offers) -> Offers:
        """The offers less those of owners whose privacy budget allows no release any more."""
        return replace(offers, takes_part=offers.takes_part & ~self.ledger.privacy.spent)

    def _turns(self) -> list[int]:
        """The order in which brokers buy this round: a random one, since what one buys may use up privacy budgets."""
        if len(self.brokers) == 1:
            return [0]
        return self.streams.generator("brokers", round=self.round).permutation(len(self.brokers)).tolist()

    def _prepare(self, offers: Offers) -> dict[int, Preparation]:
        """The round of every broker up to its list, by its number, in the order in which they buy."""
        shown = [None if broker.bankrupt else broker.last_list for broker in self.brokers]
        gains = None if len(self.brokers) == 1 else self.buyers.gains(shown)
        firsts = np.cumsum([0, *(len(broker.epsilons) for broker in self.brokers)])
        used = np.zeros((firsts[-1], self.config.n_owners), dtype=bool)
        prepared = {}
        for number in self._turns():
            broker, first = self.brokers[number], int(firsts[number])
            others = [gain for gain in range(len(self.brokers)) if gain != number]
            outside = None if gains is None else gains[:, others].max(axis=1)
            posted = (shown[other] for other in others)
            rivals = tuple(rival for rival in posted if rival is not None and rival.kind != "none")
            privacy = self.ledger.privacy.part(first, used.copy())
            prepared[number] = self._prepare_one(broker, number, first, offers, outside, rivals, privacy)
            used[first : firsts[number + 1]] = prepared[number].purchases.bought
        return prepared

    def _prepare_one(
        self,
        broker: Broker,
        number: int,
        first: int,
        offers: Offers,
        outside: np.ndarray | None,
        rivals: tuple[PriceList, ...],
        privacy: Affordable,
    ) -> Preparation:
        """One broker's round up to its list."""
        valuation = broker.value(offers)
        base_prices = self.owners.base_prices(valuation.values)
        exposure = self._known_exposure(broker)
        dealing = replace(offers, takes_part=offers.dealing(number) & (not broker.bankrupt))
        asked = broker.asked(dealing, valuation, base_prices, exposure)
        broker.decide(valuation, asked, self.buyers, outside, privacy, rivals)
        survey = broker.survey(self.buyers, outside)
        prices = broker.price(survey, self.buyers.n_present, asked, rivals)
        purchases = broker.procure(valuation, prices, survey, asked, privacy)
        versions = broker.train(purchases)
        price_list = broker.release(versions, prices)
        return Preparation(
            broker=broker,
            offers=dealing,
            valuation=valuation,
            base_prices=base_prices,
            exposure=exposure,
            survey=survey,
            prices=prices,
            expected_revenue=broker.expected_revenue(survey, prices),
            purchases=purchases,
            versions=versions,
            price_list=price_list,
            first_version=first,
        )

    def _settle(self, prepared: Preparation, sales: Sales) -> Trade:
        """The rest of one broker's round."""
        settlement = prepared.broker.settle(sales, prepared.purchases)
        costs, leakage = self._true_costs(prepared)
        return Trade(**vars(prepared), sales=sales, settlement=settlement, costs=costs, leakage=leakage)

    def _known_exposure(self, broker: Broker) -> np.ndarray | None:
        """What owners know of their exposure when they offer: that of the last round."""
        if broker.last_purchases is None:
            return None
        return self.owners.exposure(broker.last_purchases.bought)

    def _true_costs(self, prepared: Preparation) -> tuple[np.ndarray, np.ndarray]:
        """What the use of its shard costs each owner at its true sensitivity, and what it bears through others.

        Returns
        -------
        costs : array of float, shape (l, n)
            What the owner's sales cost it beyond what it bears anyway, in money.
        leakage : array of float, shape (n,)
            What it bears through others, whether it sells or not, in money.
        """
        bought, sensitivities = prepared.purchases.bought, self.owners.columns["privacy_sensitivity"]
        costs = true_costs(prepared.base_prices, sensitivities, prepared.broker.epsilons)
        exposure = self.owners.exposure(bought)
        leakage = np.zeros(len(sensitivities))
        if exposure is not None:
            leakage = (costs * exposure).sum(axis=0)
        return np.where(bought, marginal(costs, exposure), 0.0), leakage

    def _misreports(self, offers: Offers, outlook: Outlook) -> tuple[Misreport, ...]:
        """What a sample of the owners that take part could gain by another report; nobody is asked by default."""
        size = self.config.incentives.owners
        if size == 0:
            return ()
        # A number for each owner, whoever takes part: designs in which others do share most of their sample.
        rank = self.streams.generator("incentives", round=self.round).random(self.config.n_owners)
        among = np.flatnonzero(offers.takes_part)
        sample = among[np.argsort(rank[among])[:size]]
        return tuple(outlook.best_report(owner) for owner in np.sort(sample).tolist())

    def _record(self, offers: Offers, trades: tuple[Trade, ...], misreports: tuple[Misreport, ...]) -> None:
        self.ledger.book(trades)
        outcome = RoundOutcome(
            round=self.round,
            offers=offers,
            trades=trades,
            sensitivities=self.owners.columns["privacy_sensitivity"],
            took_part=self.owners.columns["took_part"],
            reservations=self.owners.columns["reservation_surplus"],
            expectations=self.owners.columns["expected_surplus"],
            privacy=self.ledger.privacy,
            misreports=misreports,
        )
        if self.round > self.config.warm_up:
            self._log.add(outcome)

    def _adapt(self, offers: Offers, trades: tuple[Trade, ...]) -> None:
        paid = np.array([trade.settlement.payments.sum(axis=0) for trade in trades])
        cost = np.array([trade.costs.sum(axis=0) for trade in trades])
        sold = np.any([trade.purchases.sold for trade in trades], axis=0)
        self.owners.expect(offers.takes_part, paid.sum(axis=0), cost.sum(axis=0))
        self.owners.adapt(sold, paid.sum(axis=0), cost.sum(axis=0))
        self.buyers.adapt([trade.sales for trade in trades])
        for trade in trades:
            trade.broker.adapt(trade.purchases, trade.sales.receipts, trade.settlement)
        if offers.homes is not None:
            dealing = np.array([trade.offers.takes_part for trade in trades])
            self.owners.move(dealing, paid - cost, np.array([not broker.bankrupt for broker in self.brokers]))


def _stock(config: MarketConfig, streams: Streams) -> DataStock:
    if config.data.source == "values":
        drawn = [
            s.value.draw(streams, "owners.value", s.count, s.segment) for s in config.owners if s.value is not None
        ]
        each = next(iter(config.desks.values())).training.records_per_owner  # the same at all brokers
        return DataStock(config.n_owners, values=np.concatenate(drawn), records_each=each)
    return DataStock(config.n_owners, shards=datasets.split(datasets.load(config.data), config.n_owners, streams))
