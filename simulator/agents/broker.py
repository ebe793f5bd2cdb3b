"""A broker: values and buys data, trains private versions, prices the list and settles."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import mesa
import numpy as np

from simulator.agents.behaviour import BROKERS, BrokerBehaviour, Desk, Prospect
from simulator.agents.buyer import BuyerPopulation
from simulator.agents.owner import compensation, marginal, value_shares
from simulator.agents.population import MarketAgent
from simulator.pricing.arguments import SMALLEST
from simulator.pricing.strategy import PRICING, PricingContext, PricingStrategy
from simulator.pricing.survey import Survey, read_only
from simulator.privacy.accounts import Affordable
from simulator.privacy.surrogate import AccuracyCurve
from simulator.privacy.training import GAUSSIAN, train
from simulator.procurement.method import PROCUREMENT, maximize_coverage, version_options
from simulator.records import Menu, Offers, PriceList, Purchases, Receipts, Sales, Settlement, Versions
from simulator.settlement.rule import SETTLEMENT, SettlementRule
from simulator.streams import Streams
from simulator.valuation.cache import cached_valuation
from simulator.valuation.estimator import EXACT_PLAYERS, UPDATE_SHARE, Valuation, shapley_values, update_values
from simulator.valuation.games import GAMES, RecordsGame

if TYPE_CHECKING:
    from simulator.config import BrokerConfig
    from simulator.datasets import Shards


#: Losses beyond a broker's capital up to this share of what it owes are rounding.
ROUNDING = 1e-9
#: Coverage is known to so many digits.
COVERAGE_DIGITS = 12


class DataStock:
    """What the owners hold, as the broker sees it: records, or their values alone.

    Parameters
    ----------
    n_owners : int
        Number of registered owners.
    shards : Shards, optional
        The owners' records and the test set.
    values : array of float, shape (n,), optional
        Shapley values of the shards, where there are no records.
    records_each : int, optional
        Records that each owner is taken to hold, where there are none.
    """

    def __init__(
        self,
        n_owners: int,
        *,
        shards: Shards | None = None,
        values: np.ndarray | None = None,
        records_each: int | None = None,
    ) -> None:
        self.n_owners = n_owners
        self.shards = shards
        self.values = values
        self.records_each = records_each

    @property
    def sizes(self) -> np.ndarray | None:
        """How many training records each owner holds, shape (n,), if that is known."""
        if self.shards is not None:
            return np.bincount(self.shards.owners, minlength=self.n_owners)
        return None if self.records_each is None else np.full(self.n_owners, self.records_each)

    def records_of(self, owners: np.ndarray) -> np.ndarray:
        """Which training records belong to the owners bought, shape (N,) of bool, for a mask of shape (n,)."""
        return np.empty(0, dtype=bool) if self.shards is None else owners[self.shards.owners]


class Broker(MarketAgent):
    """A middleman of the market.

    What it remembers between rounds is what a broker could know: values of shards, its last list, purchases
    and sales, the coverage it last released, and what is left of its capital.

    Parameters
    ----------
    model : mesa.Model
        The market.
    config : BrokerConfig
        Its mechanisms.
    stock : DataStock
        What the owners hold.
    streams : Streams
        The run's random streams.
    unique_id : int
        Its id among the market's agents.
    rounds : int
        Number of rounds that the market is set to run.
    curve : AccuracyCurve, optional
        What stands in for training, where nothing is trained.
    name : str
        Its name among several.
    undercut : float
        Share by which it goes below what would leave a buyer as well off with a rival.
    """

    def __init__(
        self,
        model: mesa.Model,
        config: BrokerConfig,
        stock: DataStock,
        streams: Streams,
        unique_id: int,
        *,
        rounds: int,
        curve: AccuracyCurve | None = None,
        name: str = "broker",
        undercut: float = 0.0,
    ) -> None:
        super().__init__(model, unique_id)
        self.name = name
        self.undercut = undercut
        self.config = config
        self.stock = stock
        self.curve = curve
        self.streams = streams
        self.round = 0
        self.rounds = rounds
        self.epsilons = read_only(np.array(config.epsilons))
        self.strategy: PricingStrategy = PRICING.create(config.pricing, config.pricing_options)
        self._promises = PROCUREMENT.resolve(config.procurement).promises
        self.rule: SettlementRule = SETTLEMENT.create(config.settlement, {})
        self.behaviour: BrokerBehaviour = BROKERS.create(config.behaviour, config.behaviour_options)
        self.commission = config.commission
        self.capital = np.inf if config.capital is None else config.capital
        self.bankrupt = False
        self._plan: Prospect | None = None
        self.released_coverage = np.ones(len(self.epsilons))
        self.last_list: PriceList | None = None
        self.last_prices: np.ndarray | None = None
        self.last_purchases: Purchases | None = None
        self.last_sales: Receipts | None = None
        self._valued_set: np.ndarray | None = None
        self._valuation = Valuation(np.zeros(stock.n_owners), np.zeros(stock.n_owners), 0, "none")
        self._game = self._make_game()
        # Whom values were last estimated among afresh, and what they were.
        self._reference: tuple[np.ndarray, Valuation] | None = None

    def value(self, offers: Offers) -> Valuation:
        """Shapley values of all registered owners; revised for those that take part when that set changes.

        Where a few left of those among whom values were last estimated afresh, these are updated. An owner that does
        not take part keeps its last value, zero if it never took part.
        """
        players = np.flatnonzero(offers.takes_part)
        if len(players) == 0 or (self._valued_set is not None and np.array_equal(players, self._valued_set)):
            return self._valuation
        self._valued_set = players
        new = self._shapley(players)
        values, stderr = self._valuation.values.copy(), self._valuation.stderr.copy()
        freedom = np.full(len(values), np.inf) if self._valuation.freedom is None else self._valuation.freedom.copy()
        values[players], stderr[players] = new.values, new.stderr
        freedom[players] = max(new.samples - 1, 1) if new.freedom is None else new.freedom
        self._valuation = replace(new, values=values, stderr=stderr, freedom=freedom)
        return self._valuation

    def asked(
        self, offers: Offers, valuation: Valuation, base_prices: np.ndarray, exposure: np.ndarray | None = None
    ) -> np.ndarray:
        """Compensation asked for use of each shard in each version, shape (l, n), in money.

        It is `inf` for a shard that is not on offer, or not worth buying at any price.

        Parameters
        ----------
        base_prices : array of float, shape (n,)
            Base price of each owner, in money.
        exposure : array of float, shape (l, n), optional
            Share of its cost that each owner thinks it bears through others anyway, and does not ask for.
        """
        asked = marginal(compensation(base_prices, offers.sensitivities, self.epsilons), exposure)
        return np.where(offers.takes_part & (valuation.values > 0), asked, np.inf)

    def decide(
        self,
        valuation: Valuation,
        asked: np.ndarray,
        buyers: BuyerPopulation,
        outside: np.ndarray | None = None,
        privacy: Affordable | None = None,
        rivals: tuple[PriceList, ...] = (),
    ) -> None:
        """Choose the commission of the round, and maybe what to spend and so what coverage to release.

        Parameters
        ----------
        asked : array of float, shape (l, n)
            What the owners ask, from `Broker.asked`.
        outside, rivals
            As in `survey` and `price`.
        privacy : Affordable, optional
            Which uses the owners' privacy budgets allow.
        """
        self._plan = None
        if self.bankrupt:
            return

        def expected(coverage: np.ndarray) -> np.ndarray:
            survey = self._ask(buyers, coverage, outside)
            if len(survey) == 0:
                return np.zeros(len(self.epsilons))
            strategy = copy.deepcopy(self.strategy)  # a question leaves no trace in the one that will price the list
            prices = self._quote(strategy, survey, buyers.n_present, asked, rivals)
            return strategy.expected_revenue(survey, prices)

        def prospect(budgets: np.ndarray) -> Prospect:
            purchases = self.buy(valuation, asked, budgets, privacy)
            available = np.asarray(purchases.bought.any(axis=1))
            revenue = expected(self._coverage_with(available, purchases.coverage))
            return Prospect(budgets, purchases, np.where(available, revenue, 0.0))

        rng = self._generator("behaviour")
        potential = np.ones(len(self.epsilons))
        decision = self.behaviour.decide(Desk(self.config.commission, lambda: expected(potential), prospect, rng))
        if not 0 <= decision.commission <= 1:
            raise ValueError(
                f"the broker behaviour {self.config.behaviour!r} chose the commission {decision.commission!r}; allowed "
                "are shares from 0 to 1"
            )
        self.commission, self._plan = decision.commission, decision.plan
        if decision.plan is not None:
            planned = decision.plan.purchases
            self.released_coverage = self._coverage_with(np.asarray(planned.bought.any(axis=1)), planned.coverage)

    def _coverage_with(self, available: np.ndarray, coverage: np.ndarray) -> np.ndarray:
        """Coverage that buyers know once these versions are released; of the others it is what was released last."""
        return np.where(available, coverage, self.released_coverage)

    def survey(self, buyers: BuyerPopulation, outside: np.ndarray | None = None) -> Survey:
        """Answers of a sample of the buyers present at the coverage last released, weighted up to all of them.

        Answers of zero, or too small for a survey to hold, are dropped: of buyers to whom the target, or the whole
        menu if that is asked for, is worth nothing. A strategy that does without answers gets none.

        Parameters
        ----------
        outside : array of float, shape (m,), optional
            What buyers would gain at rivals, in money, which they take off what they state: a buyer comes only if it is
            left as much. The rivals of those who would buy elsewhere are undercut; `-inf` for the others.

        Raises
        ------
        ValueError
            If an answer is too large for a survey to hold.
        """
        if not self.strategy.surveys or self.bankrupt:
            return Survey([], [])
        return self._ask(buyers, self.released_coverage, outside)

    def _ask(self, buyers: BuyerPopulation, coverage: np.ndarray, outside: np.ndarray | None) -> Survey:
        """The survey at a coverage."""
        menu = Menu(self.epsilons, coverage, broker=self.name)
        targets, values = buyers.answer(menu)
        worth = buyers.answer_menu(menu) if self.strategy.surveys_menu else None
        if outside is not None:
            values = self._against(values, outside)
            worth = None if worth is None else self._against(worth, outside[:, None])
        present = len(values)
        size = max(1, round(self.config.survey_share * present))
        asked = np.arange(present)
        if size < present:
            # A number for each buyer, whoever else is there: designs with other segments share most of their sample.
            asked = np.sort(np.argsort(buyers.uniforms(self._role("survey")))[:size])
        most = values if worth is None else worth.max(axis=1)
        asked = asked[most[asked] >= SMALLEST]
        weights = np.full(len(asked), present / size)
        try:
            return Survey(targets[asked], values[asked], weights, None if worth is None else worth[asked])
        except ValueError as error:
            raise ValueError(f"the buyers' answers cannot be surveyed: {error}") from error

    def _against(self, values: np.ndarray, outside: np.ndarray) -> np.ndarray:
        """What buyers state who would buy elsewhere."""
        net = np.maximum(values - np.maximum(outside, 0.0), 0.0)
        return np.where(outside >= 0, net * (1.0 - self.undercut), net)

    def price(
        self, survey: Survey, n_buyers: int, asked: np.ndarray | None = None, rivals: tuple[PriceList, ...] = ()
    ) -> np.ndarray | None:
        """Prices of the versions, shape (l,), in money; the last ones, if any, where those asked do not answer.

        Parameters
        ----------
        asked : array of float, shape (l, n), optional
            What the owners ask, for strategies that go by cost.
        rivals : tuple of PriceList
            The last lists of the others.

        Raises
        ------
        ValueError
            If the strategy returns no list that may be posted.
        """
        if self.bankrupt:
            return None
        if self.strategy.surveys and len(survey) == 0:
            return self.last_prices
        self.last_prices = self._quote(self.strategy, survey, n_buyers, asked, rivals)
        return self.last_prices

    def _quote(
        self,
        strategy: PricingStrategy,
        survey: Survey,
        n_buyers: int,
        asked: np.ndarray | None,
        rivals: tuple[PriceList, ...],
    ) -> np.ndarray:
        """What a strategy would post."""
        context = PricingContext(
            survey=survey,
            epsilons=self.epsilons,
            composition=self.config.composition,
            n_buyers=n_buyers,
            round=self.round,
            rounds=self.rounds,
            last_purchases=self.last_purchases,
            last_sales=self.last_sales,
            rng=self._generator("pricing"),
            asked=None if asked is None else read_only(asked),
            rivals=rivals,
        )
        try:
            return strategy.checked_prices(context)
        except ValueError as error:
            raise ValueError(f"the pricing strategy {self.config.pricing!r} {error}") from error

    def procure(
        self,
        valuation: Valuation,
        prices: np.ndarray | None,
        survey: Survey,
        asked: np.ndarray,
        privacy: Affordable | None = None,
    ) -> Purchases:
        """Buy shards for each version within its budget; nothing where there is no price list.

        Parameters
        ----------
        asked : array of float, shape (l, n)
            What the owners ask, from `Broker.asked`.
        privacy : Affordable, optional
            Which uses the owners' privacy budgets allow. A shard is not bought where its owner's does not allow it; of
            what is left of the budget, versions are served in the order of the list.
        """
        budgets = self._budgets(survey, prices)
        if prices is not None:
            return self.buy(valuation, asked, budgets, privacy)
        nothing = np.zeros(asked.shape)
        return Purchases(nothing > 0, asked, budgets, nothing.sum(axis=1), nothing if self._promises else None)

    def buy(
        self,
        valuation: Valuation,
        asked: np.ndarray,
        budgets: np.ndarray,
        privacy: Affordable | None = None,
        *,
        known: Purchases | None = None,
        kept: np.ndarray | None = None,
    ) -> Purchases:
        """Buy shards for each version within a given budget.

        Parameters
        ----------
        asked : array of float, shape (l, n)
            What the owners ask, in money.
        budgets : array of float, shape (l,)
            Money to spend on each version.
        privacy : Affordable, optional
            Which uses the owners' privacy budgets allow.
        known : Purchases, optional
            Purchases of which some are taken over.
        kept : array of bool, shape (l,), optional
            The versions whose purchases are taken over.
        """
        method, options = self.config.procurement, self.config.procurement_options
        bought = np.zeros(asked.shape, dtype=bool)
        promised = np.zeros(asked.shape)
        for k, budget in enumerate(budgets):
            if known is not None and kept is not None and kept[k]:
                bought[k] = known.bought[k]
                if known.promised is not None:
                    promised[k] = known.promised[k]
                continue
            allowed = True if privacy is None else privacy.affordable(k, bought)
            purchase = maximize_coverage(
                valuation.values,
                np.where(allowed, asked[k], np.inf),
                float(budget),
                method=method,
                rng=self._generator("procurement", str(k)),
                **version_options(method, options, k, len(budgets)),
            )
            bought[k, purchase.owners] = True
            if purchase.promised is not None:
                promised[k, purchase.owners] = purchase.promised
        # Rounded, for buyers compare worth and price exactly: sets of equal value must not differ in their last bits.
        coverage = np.round(np.minimum(bought @ value_shares(valuation.values), 1.0), COVERAGE_DIGITS)
        return Purchases(bought, asked, budgets, coverage, promised if self._promises else None)

    def train(self, purchases: Purchases) -> Versions:
        """Train a private model on the records bought for each version, and measure it on the test set.

        A surrogate trains and measures nothing: accuracy is its curve at the version's epsilon, coverage and records.
        """
        shards, training = self.stock.shards, self.config.training
        available = np.asarray(purchases.bought.any(axis=1))
        if training.method == "surrogate":
            return self._predict(purchases, available)
        accuracy = np.full(len(self.epsilons), np.nan)
        records = np.zeros(len(self.epsilons), dtype=int)
        gaussian = np.full(len(self.epsilons), training.method in GAUSSIAN)
        if shards is not None:
            for k in np.flatnonzero(available):
                used = self.stock.records_of(purchases.bought[k])
                model = train(
                    shards.features[used],
                    shards.labels[used],
                    shards.n_classes,
                    float(self.epsilons[k]),
                    self.config.delta,
                    model=training.model,
                    method=training.method,
                    neighbours=training.neighbours,
                    data_norm=training.data_norm,
                    owners=shards.owners[used] if training.unit == "owner" else None,
                    rng=self._generator("training", str(k)),
                )
                accuracy[k] = (model.predict(shards.test_features) == shards.test_labels).mean()
                records[k] = used.sum()
                gaussian[k] = model.plan.guarantee.mu is not None
        return Versions(available, purchases.coverage, accuracy, records, gaussian)

    def release(self, versions: Versions, prices: np.ndarray | None) -> PriceList:
        """The list that the shop shows; a version without data behind it is withdrawn for the round."""
        self.released_coverage = self._coverage_with(versions.available, versions.coverage)
        self.last_list = PriceList(
            epsilons=self.epsilons,
            coverage=versions.coverage,
            prices=np.full(len(self.epsilons), np.nan) if prices is None else prices,
            accuracy=versions.accuracy,
            on_sale=versions.available,
            personalised=self.strategy.personalised,
            kind="none" if prices is None else self.strategy.list_kind,
            composition=self.config.composition,
            broker=self.name,
        )
        return self.last_list

    def settle(self, sales: Sales, purchases: Purchases) -> Settlement:
        """Share the round's revenue."""
        return self.share(sales.revenue, purchases, self._valuation)

    def share(self, revenue: np.ndarray, purchases: Purchases, valuation: Valuation) -> Settlement:
        """Share a revenue, shape (l,), between the owners behind each version and the broker.

        A broker that owes more than its revenue and its capital pays what it has, the same share of every claim.

        Raises
        ------
        ValueError
            If the settlement rule does not pay by version and owner.
        """
        settlement = self.rule.settle(revenue, purchases, valuation.values, self.commission)
        if np.shape(settlement.payments) != purchases.bought.shape:
            raise ValueError(
                f"the settlement rule {self.config.settlement!r} returned payments of shape "
                f"{np.shape(settlement.payments)}; allowed is one a version and owner, {purchases.bought.shape}"
            )
        owes = settlement.payments.sum()
        if -settlement.profit <= self.capital + ROUNDING * owes:
            return settlement
        has = revenue.sum() + self.capital
        return Settlement(settlement.payments * (has / owes), -self.capital, bankrupt=True)

    def adapt(self, purchases: Purchases, sales: Receipts, settlement: Settlement) -> None:
        """Remember the round and let behaviour and pricing strategy learn from it; who is bankrupt does neither."""
        if self.bankrupt:
            return
        self.last_purchases, self.last_sales = purchases, sales
        self.capital = max(self.capital + settlement.profit, 0.0)
        self.bankrupt = settlement.bankrupt
        self.strategy.learn(sales)
        self.behaviour.learn(settlement.profit)

    def _generator(self, role: str, segment: str = "") -> np.random.Generator:
        """A stream of the broker's own in this round."""
        return self.streams.generator(self._role(role), round=self.round, segment=segment)

    def _role(self, role: str) -> str:
        """Name of a stream of the broker's own."""
        return role if self.name == "broker" else f"{role}@{self.name}"

    def expected_revenue(self, survey: Survey, prices: np.ndarray | None) -> np.ndarray:
        """Revenue of each version if everybody buys as surveyed, scaled to the market's size, shape (l,).

        Where nobody is surveyed, it is what the version earned last round.
        """
        nothing = np.zeros(len(self.epsilons))
        if prices is None:
            return nothing
        if not self.strategy.surveys:
            return nothing if self.last_sales is None else self.last_sales.revenue
        return nothing if len(survey) == 0 else self.strategy.expected_revenue(survey, prices)

    def _predict(self, purchases: Purchases, available: np.ndarray) -> Versions:
        """Versions as the surrogate sees them; it draws no random numbers."""
        assert self.curve is not None
        assert self.stock.sizes is not None
        records = purchases.bought @ self.stock.sizes
        accuracy = np.full(len(self.epsilons), np.nan)
        accuracy[available] = self.curve.predict(
            self.epsilons[available], purchases.coverage[available], records[available]
        )
        gaussian = np.full(len(self.epsilons), self.curve.method in GAUSSIAN)
        return Versions(available, purchases.coverage, accuracy, records, gaussian)

    def _budgets(self, survey: Survey, prices: np.ndarray | None) -> np.ndarray:
        fixed = self.config.manufacturing_budget
        if prices is None:
            return np.zeros(len(self.epsilons))
        if self._plan is not None:
            return self._plan.budgets
        if fixed != "revenue":
            return np.broadcast_to(np.asarray(fixed, dtype=float), self.epsilons.shape)
        expected = self.expected_revenue(survey, prices)
        budgets = (1.0 - self.commission) * expected
        if not self.strategy.surveys:  # else a version that once sold nothing would have no data ever after
            budgets[expected == 0] = self.config.starting_budget
        return budgets

    def _make_game(self) -> RecordsGame | None:
        shards, valuation = self.stock.shards, self.config.valuation
        if shards is None:
            return None
        game: RecordsGame = GAMES.create(
            valuation.game,
            valuation.game_options,
            shards.features,
            shards.labels,
            shards.owners,
            self.stock.n_owners,
            shards.test_features,
            shards.test_labels,
            n_classes=shards.n_classes,
            empty_utility=valuation.empty,
        )
        game.remember()
        return game

    def _shapley(self, players: np.ndarray) -> Valuation:
        if self._game is None:
            values = self.stock.values[players]  # type: ignore[index]
            return Valuation(values, np.zeros(len(players)), 0, "values")
        settings = self.config.valuation
        updated = self._updated(players)
        if updated is not None:
            return updated
        game = self._game.restrict(players)

        def compute() -> Valuation:
            return shapley_values(
                game,
                method=settings.method,
                budget=settings.budget,
                tolerance=settings.tolerance,
                rng=self.streams.generator("valuation"),
                progress=False,
                **settings.method_options,
            )

        key = f"{settings} {self.streams}"
        found = cached_valuation(game.content(), key, compute, on_disk=settings.built_in)
        self._reference = players, found
        return found

    def _updated(self, players: np.ndarray) -> Valuation | None:
        """Values of these from those among the players of the last fresh valuation; None where that gains nothing."""
        if self._game is None or self._reference is None:
            return None
        settings = self.config.valuation
        among, before = self._reference
        stay = np.isin(among, players)
        left = len(among) - len(players)
        if stay.sum() < len(players) or left > UPDATE_SHARE * len(among) or before.samples == 0:
            return None
        if left == 0:
            return before
        if settings.method == "auto" and len(players) <= EXACT_PLAYERS:
            return None
        game = self._game.restrict(among)

        def compute() -> Valuation:
            return update_values(
                before,
                game,
                stay,
                method=before.method if settings.method == "auto" else settings.method,
                budget=settings.budget,
                tolerance=settings.tolerance,
                rng=self.streams.generator("valuation"),
                progress=False,
                **settings.method_options,
            )

        key = f"{settings} {self.streams} updated"
        found = cached_valuation([*game.content(), stay], key, compute, on_disk=settings.built_in)
        freedom = None if found.freedom is None else found.freedom[stay]
        return replace(found, values=found.values[stay], stderr=found.stderr[stay], freedom=freedom)
