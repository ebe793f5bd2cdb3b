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
from simulator.agents.owner import compensation, marginal
from simulator.config import MarketConfig
from simulator.incentives import Misreport, Outlook
from simulator.ledger import Ledger
from simulator.log import TABLES, RoundLog, RoundOutcome
from simulator.pricing.survey import Survey
from simulator.privacy.accounting import epsilon_spent
from simulator.privacy.accounts import PrivacyAccounts
from simulator.records import Offers, PriceList, Purchases, Sales, Settlement, Versions
from simulator.streams import Streams
from simulator.valuation.estimator import Valuation


class Market(mesa.Model):
    """A three-sided market for private models: data owners, one broker, model buyers.

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
        Tables to log, of "rounds", "versions", "owners" and "sales".

    Attributes
    ----------
    owners, buyers : Population
        The agents of either side; ``len(market.buyers)``, ``market.buyers[3]``, ``market.buyers.columns``.
    broker : Broker
        The broker.
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
        # Ids: owners from 1, then buyers, then the broker.
        stock = _stock(config, streams)
        self.owners = make_owners(self, config.owners, streams, first_id=1, records=stock.sizes)
        self.buyers = make_buyers(self, config.buyers, streams, first_id=1 + config.n_owners, rounds=config.rounds)
        broker_id = 1 + config.n_owners + len(self.buyers)
        self.broker = Broker(
            self, config.broker, stock, streams, broker_id, rounds=config.rounds, curve=config.accuracy_curve()
        )
        self.ledger = Ledger(len(self.buyers), self._privacy_accounts(stock))
        self._log = RoundLog(tables, self.owners.segment_names(), self.buyers.segment_names())

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
        self.broker.round = self.round
        self.buyers.drift()
        offers = self._within_budgets(self.owners.offer())
        valuation = self.broker.value(offers)
        base_prices = self.owners.base_prices(valuation.values)
        exposure = self._known_exposure()
        asked = self.broker.asked(offers, valuation, base_prices, exposure)
        survey = self.broker.survey(self.buyers)
        prices = self.broker.price(survey, self.buyers.n_present, asked)
        purchases = self.broker.procure(valuation, prices, survey, asked, self.ledger.privacy)
        versions = self.broker.train(purchases)
        price_list = self.broker.release(versions, prices)
        sales = self.buyers.buy(price_list)
        settlement = self.broker.settle(sales, purchases)
        costs, leakage = self._true_costs(purchases, base_prices)
        outlook = Outlook(
            self.broker,
            offers,
            valuation,
            base_prices,
            self.owners.columns["privacy_sensitivity"],
            purchases,
            sales.revenue,
            self.ledger.privacy,
            self.owners.exposure,
            exposure,
            listed=prices is not None,
        )
        misreports = self._misreports(offers, outlook)
        self.owners.reconsider(outlook)
        self._record(
            offers,
            valuation,
            survey,
            prices,
            purchases,
            versions,
            price_list,
            sales,
            settlement,
            costs,
            leakage,
            misreports,
        )
        self._adapt(offers, purchases, sales, settlement, costs)

    def run(self, rounds: int | None = None) -> None:
        """Run `rounds` rounds, by default as many as the configuration says."""
        for _ in range(self.config.rounds if rounds is None else rounds):
            self.step()

    def frame(self, table: str = "rounds") -> pd.DataFrame:
        """A logged table so far: "rounds", "versions", "owners" or "sales".

        Raises
        ------
        ValueError
            If the market does not log the table.
        """
        return self._log.frame(table)

    def _privacy_accounts(self, stock: DataStock) -> PrivacyAccounts:
        broker = self.config.broker
        single = broker.training.unit == "owner"
        return PrivacyAccounts(
            self.broker.epsilons,
            broker.delta,
            self.owners.columns["privacy_budget"],
            np.ones(self.config.n_owners, dtype=int) if single else stock.sizes,
            broker.privacy_accounting,
        )

    def _within_budgets(self, offers: Offers) -> Offers:
        """The offers less those of owners whose privacy budget allows no release any more."""
        return replace(offers, takes_part=offers.takes_part & ~self.ledger.privacy.spent)

    def _known_exposure(self) -> np.ndarray | None:
        """What owners know of their exposure when they offer: that of the last round."""
        if self.broker.last_purchases is None:
            return None
        return self.owners.exposure(self.broker.last_purchases.bought)

    def _true_costs(self, purchases: Purchases, base_prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the use of its shard costs each owner at its true sensitivity, and what it bears through others.

        Returns
        -------
        costs : array of float, shape (l, n)
            What the owner's sales cost it beyond what it bears anyway, in money.
        leakage : array of float, shape (n,)
            What it bears through others, whether it sells or not, in money.
        """
        costs = compensation(base_prices, self.owners.columns["privacy_sensitivity"], self.broker.epsilons)
        exposure = self.owners.exposure(purchases.bought)
        leakage = np.zeros(len(base_prices))
        if exposure is not None:
            leakage = (np.where(exposure > 0, costs, 0.0) * exposure).sum(axis=0)
        return np.where(purchases.bought, marginal(costs, exposure), 0.0), leakage

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

    def _record(
        self,
        offers: Offers,
        valuation: Valuation,
        survey: Survey,
        prices: np.ndarray | None,
        purchases: Purchases,
        versions: Versions,
        price_list: PriceList,
        sales: Sales,
        settlement: Settlement,
        costs: np.ndarray,
        leakage: np.ndarray,
        misreports: tuple[Misreport, ...],
    ) -> None:
        self.ledger.book(sales, settlement, purchases, versions)
        outcome = RoundOutcome(
            round=self.round,
            offers=offers,
            valuation=valuation,
            survey=survey,
            expected_revenue=self.broker.expected_revenue(survey, prices),
            purchases=purchases,
            versions=versions,
            price_list=price_list,
            composition=self.config.broker.composition,
            sales=sales,
            settlement=settlement,
            true_costs=costs,
            leakage=leakage,
            sensitivities=self.owners.columns["privacy_sensitivity"],
            took_part=self.owners.columns["took_part"],
            reservations=self.owners.columns["reservation_surplus"],
            expectations=self.owners.columns["expected_surplus"],
            epsilon=epsilon_spent(purchases.bought, self.broker.epsilons),
            privacy=self.ledger.privacy,
            misreports=misreports,
        )
        self._log.add(outcome)

    def _adapt(
        self, offers: Offers, purchases: Purchases, sales: Sales, settlement: Settlement, costs: np.ndarray
    ) -> None:
        paid, cost = settlement.payments.sum(axis=0), costs.sum(axis=0)
        self.owners.expect(offers.takes_part, paid, cost)
        self.owners.adapt(purchases.sold, paid, cost)
        self.buyers.adapt(sales)
        self.broker.adapt(purchases, sales.receipts)


def _stock(config: MarketConfig, streams: Streams) -> DataStock:
    if config.data.source == "values":
        drawn = [
            s.value.draw(streams, "owners.value", s.count, s.segment) for s in config.owners if s.value is not None
        ]
        each = config.broker.training.records_per_owner
        return DataStock(config.n_owners, values=np.concatenate(drawn), records_each=each)
    return DataStock(config.n_owners, shards=datasets.split(datasets.load(config.data), config.n_owners, streams))
