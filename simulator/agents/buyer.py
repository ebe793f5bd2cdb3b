"""Model buyers: what a version is worth to them, what they answer and what they buy."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.agents.curve import Sigmoid, ValuationCurve, column
from simulator.agents.population import Column, Group, Population, PopulationAgent, Rows
from simulator.pricing.survey import best_buys
from simulator.records import Bundles, Menu, PriceList, Sales
from simulator.registry import Family


@dataclass(frozen=True)
class BuyerGroup(Group):
    """A segment of buyers to be made.

    Attributes
    ----------
    curve : type
        Valuation curve of its members.
    arrivals : tuple of int
        How many of its members arrive in each round, the last ones of its rows; empty where nobody does.
    one_off : bool
        Whether they leave once they have bought.
    drift, volatility : float
        Growth of budgets from round to round, and the standard deviation of its random part.
    """

    curve: type[ValuationCurve] = Sigmoid
    arrivals: tuple[int, ...] = ()
    one_off: bool = False
    drift: float = 0.0
    volatility: float = 0.0


class BuyerRows(Rows):
    """The rows of one segment of buyers.

    Attributes
    ----------
    curve : type
        Valuation curve of its members.
    group : BuyerGroup
        What the segment was made of.
    """

    _kept: tuple[Menu, np.ndarray] | None = None
    _gained: np.ndarray | None = None

    def __init__(self, population: Population, group: BuyerGroup, start: int) -> None:
        super().__init__(population, group, start)
        self.group = group
        self.curve = group.curve

    def _draw(self, role: str) -> np.ndarray:
        """Random numbers of a role in this round; those who arrived in one round have a stream of their own.

        They are drawn only where somebody of those is still there: NaN elsewhere.
        """
        arrivals, model = self.group.arrivals, self.population.model
        if not arrivals:
            return super()._draw(role)
        now = max(model.round, 1)
        counts = np.array((len(self) - sum(arrivals), *arrivals))
        stops = np.cumsum(counts)
        present = (self.arrived <= now) & (now < self.left)
        drawn = np.full(len(self), np.nan)
        for t in np.unique(np.repeat(np.arange(len(counts)), counts)[present]).tolist():
            name = self.segment if t == 0 else f"{self.segment}@{t}"
            own = model.streams.uniforms(role, int(counts[t]), round=model.round, segment=name)
            drawn[stops[t] - counts[t] : stops[t]] = own
        return drawn

    def worth(self, menu: Menu) -> np.ndarray:
        """Willingness to pay of each buyer for each version, shape (m, l), in money."""
        if self._kept is not None and self._kept[0] is menu:
            return self._kept[1]
        if self.agent_class.worth is not ModelBuyer.worth:  # a behaviour's own worth
            own = [agent.worth(menu) for agent in self.agents]
            return np.array(own, dtype=float).reshape(len(self), len(menu.epsilons))
        worth = self.curve.worth_all(self, menu)
        tastes = taste(menu.broker)
        if tastes not in self.population.columns:
            return worth
        return np.maximum(worth + getattr(self, tastes)[:, None], 0.0)

    @contextlib.contextmanager
    def keep_worth(self, menu: Menu) -> Iterator[np.ndarray]:
        """Compute `worth` once for the duration of a phase, in which columns do not change."""
        self._kept = (menu, self.worth(menu))
        try:
            yield self._kept[1]
        finally:
            self._kept = None

    @contextlib.contextmanager
    def look_back(self, gained: np.ndarray) -> Iterator[None]:
        """Let the buyers see what they `gained`, shape (m,), for the duration of a phase."""
        self._gained = gained
        try:
            yield
        finally:
            self._gained = None

    @property
    def gained(self) -> np.ndarray:
        """Worth less price of what each buyer bought this round, shape (m,), in money; known when they adapt."""
        assert self._gained is not None
        return self._gained

    def targets(self, menu: Menu) -> np.ndarray:
        """Version each buyer wants, shape (m,): the smallest epsilon that is at least the expected one."""
        if self.agent_class.target is not ModelBuyer.target:  # a user's own rule
            return np.array([agent.target(menu) for agent in self.agents], dtype=int)
        fit = np.searchsorted(menu.epsilons, self.epsilon_expected)
        return np.minimum(fit, len(menu.epsilons) - 1)

    def put_back(self) -> None:
        """Keep what a behaviour wrote to columns; nothing to do where they are the population's own."""


class PresentRows(BuyerRows):
    """Those of a segment's rows whose buyers are in the market this round.

    Their columns are copies, which `put_back` writes to the population.

    Parameters
    ----------
    whole : BuyerRows
        The segment.
    index : array of int, shape (m,)
        Which of its rows.
    """

    def __init__(self, whole: BuyerRows, index: np.ndarray) -> None:
        self.population, self.segment = whole.population, whole.segment
        self.agent_class, self.group, self.curve = whole.agent_class, whole.group, whole.curve
        self._whole, self._index = whole, index
        self._copies: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._index)

    def __getattr__(self, name: str) -> np.ndarray:
        if name not in vars(self)["_copies"]:
            self._copies[name] = getattr(self._whole, name)[self._index]
        return self._copies[name]

    def uniforms(self, role: str) -> np.ndarray:
        """Random numbers of this round in (0, 1), one a row, as in the segment, shape (m,)."""
        return self._whole.uniforms(role)[self._index]

    @property
    def agents(self) -> list[Any]:
        """The buyers' agent objects, in row order."""
        return [self.population[row] for row in (self._whole.start + self._index).tolist()]

    def put_back(self) -> None:
        """Keep what a behaviour wrote to columns."""
        for name, values in self._copies.items():
            getattr(self._whole, name)[self._index] = values


class ModelBuyer(PopulationAgent):
    """A buyer of models, with a curve that says what coverage and privacy level are worth to it.

    A behaviour is a subclass with a `name`. It implements `choose`, and `answer`, `answer_menu` or `adapt` if they
    differ from the default; the forms with `_all` do the same for a whole segment on columns, and may be left out.
    All but `adapt` are questions, which several brokers may ask in a round, or one of them several times; what was
    bought in the end is what `adapt` is told.

    Attributes
    ----------
    budget : float, money
        V, worth of a perfect model.
    coverage_expected, coverage_sensitivity : float
        theta, d.
    epsilon_expected, noise_sensitivity : float
        eta (in eps), g.
    """

    population: BuyerPopulation

    #: Worth less price of what the buyer bought this round, in money; known when it adapts.
    gained: float = 0.0
    #: Whether it goes by what it gained in earlier rounds, so that it must be there for several.
    learns: bool = False
    #: Whether it gets the version that it chooses by the cheapest bundle that covers it.
    buys_bundles: bool = False

    budget = Column()
    coverage_expected = Column()
    coverage_sensitivity = Column()
    epsilon_expected = Column()
    noise_sensitivity = Column()

    def __getattr__(self, name: str) -> Any:
        """A parameter of the segment's curve."""
        try:
            return vars(self)["population"].columns[column(name)][vars(self)["row"]].item()
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def worth(self, menu: Menu) -> np.ndarray:
        """Willingness to pay for each version, shape (l,), in money: by default by curve and taste."""
        worth = self.population.rows_of(self.row).curve.worth(self, menu)
        tastes = self.population.columns.get(taste(menu.broker))
        return worth if tastes is None else np.maximum(worth + tastes[self.row], 0.0)

    def target(self, menu: Menu) -> int:
        """Version the buyer wants: the smallest epsilon that is at least the expected one, else the top."""
        fits = (k for k, epsilon in enumerate(menu.epsilons) if epsilon >= self.epsilon_expected)
        return next(fits, len(menu.epsilons) - 1)

    def answer(self, menu: Menu) -> tuple[int, float]:
        """Survey answer: the version wanted and the value stated for it; by default the truth."""
        target = self.target(menu)
        return target, float(self.worth(menu)[target])

    @classmethod
    def answer_all(cls, rows: BuyerRows, menu: Menu) -> tuple[np.ndarray, np.ndarray]:
        """`answer` of all rows: targets, shape (m,) of int, and values, shape (m,) of float."""
        targets = rows.targets(menu)
        return targets, rows.worth(menu)[np.arange(len(rows)), targets]

    def answer_menu(self, menu: Menu) -> np.ndarray:
        """Survey answer for the whole menu: the value stated for each version, shape (l,); by default the truth."""
        return self.worth(menu)

    @classmethod
    def answer_menu_all(cls, rows: BuyerRows, menu: Menu) -> np.ndarray:
        """`answer_menu` of all rows, shape (m, l)."""
        return rows.worth(menu)

    def choose(self, price_list: PriceList) -> int | None:
        """Index of the version to buy, None for none."""
        raise TypeError(f"{type(self).__name__} has no method 'choose'")

    @classmethod
    def choose_all(cls, rows: BuyerRows, price_list: PriceList) -> np.ndarray:
        """`choose` of all rows, shape (m,) of int, -1 for none."""
        raise TypeError(f"{cls.__name__} has no method 'choose_all'")

    def adapt(self, version: int | None, paid: float) -> None:
        """Learn from a round: what was bought, by its place on its broker's list, and what was paid."""

    @classmethod
    def adapt_all(cls, rows: BuyerRows, versions: np.ndarray, paid: np.ndarray) -> None:
        """`adapt` of all rows, with arrays of shape (m,)."""


class Target(ModelBuyer):
    """Buys its target version if that is worth its price."""

    name = "target"
    source = "Liu et al. (2021)"

    def choose(self, price_list: PriceList) -> int | None:
        """The target version or nothing."""
        k = self.target(price_list)
        accepts = price_list.on_sale[k] and self.worth(price_list)[k] >= price_list.prices[k]
        return k if accepts else None

    @classmethod
    def choose_all(cls, rows: BuyerRows, price_list: PriceList) -> np.ndarray:
        """The target version or nothing, of all."""
        targets = rows.targets(price_list)
        worth = rows.worth(price_list)[np.arange(len(rows)), targets]
        accepts = price_list.on_sale[targets] & (worth >= price_list.prices[targets])
        return np.where(accepts, targets, -1)


class Surplus(ModelBuyer):
    """Buys the version with the largest surplus of worth over price, if that is not negative."""

    name = "surplus"

    def choose(self, price_list: PriceList) -> int | None:
        """The best buy; among equals the cheaper, then the lower version."""
        worth = self.worth(price_list)
        offers = [
            (price_list.prices[k] - worth[k], price_list.prices[k], k)
            for k in np.flatnonzero(price_list.on_sale).tolist()
            if worth[k] >= price_list.prices[k]
        ]
        return min(offers)[2] if offers else None

    @classmethod
    def choose_all(cls, rows: BuyerRows, price_list: PriceList) -> np.ndarray:
        """The best buy of all."""
        return best_buys(rows.worth(price_list), price_list.prices, np.flatnonzero(price_list.on_sale))


BUYERS = Family(ModelBuyer, "buyer behaviour")


class BuyerPopulation(Population):
    """All buyers of a market."""

    rows_class = BuyerRows
    segments: list[BuyerRows]  # type: ignore[assignment]
    _present: tuple[int, np.ndarray] | None = None

    def rows_of(self, row: int) -> BuyerRows:
        """The segment that a row belongs to."""
        return super().rows_of(row)  # type: ignore[return-value]

    @property
    def present(self) -> np.ndarray | None:
        """Rows of the buyers in the market this round, rising; None where all always are."""
        if "arrived" not in self.columns:
            return None
        now = max(self.model.round, 1)
        if self._present is None or self._present[0] != now:
            arrived, left, served = (self.columns[name] for name in ("arrived", "left", "served"))
            self._present = now, np.flatnonzero((arrived <= now) & (now < left) & ~served)
        return self._present[1]

    @property
    def n_present(self) -> int:
        """Number of buyers in the market this round."""
        return len(self) if self.present is None else len(self.present)

    def _acting(self) -> Iterator[tuple[BuyerRows, slice]]:
        """The rows that act this round, by segment, and where they stand among all that do."""
        present = self.present
        for rows in self.segments:
            if present is None:
                yield rows, slice(rows.start, rows.stop)
                continue
            first, last = np.searchsorted(present, [rows.start, rows.stop]).tolist()
            everybody = last - first == len(rows)
            yield rows if everybody else PresentRows(rows, present[first:last] - rows.start), slice(first, last)

    def drift(self) -> None:
        """Let budgets grow from the last round to this one."""
        for rows in self.segments:
            group = rows.group
            if self.model.round > 1 and (group.drift or group.volatility):
                generator = self.model.streams.generator("buyers.drift", round=self.model.round, segment=rows.segment)
                shock = group.volatility * generator.standard_normal() - group.volatility**2 / 2
                rows.budget[:] *= (1.0 + group.drift) * math.exp(shock)

    def targets(self, menu: Menu) -> np.ndarray:
        """Version each buyer present wants, shape (m,)."""
        return np.concatenate([rows.targets(menu) for rows, _ in self._acting()])

    def uniforms(self, role: str) -> np.ndarray:
        """Random numbers of this round in (0, 1), one a buyer present, shape (m,)."""
        return np.concatenate([rows.uniforms(role) for rows, _ in self._acting()])

    def worth(self, menu: Menu) -> np.ndarray:
        """Willingness to pay of each buyer present for each version, shape (m, l), in money."""
        return np.concatenate([rows.worth(menu) for rows, _ in self._acting()])

    def answer(self, menu: Menu) -> tuple[np.ndarray, np.ndarray]:
        """Survey answers of all buyers present: targets, shape (m,), and stated values, shape (m,).

        Raises
        ------
        ValueError
            If a behaviour states a value that is negative or not finite, or names no version of the menu.
        """
        targets = np.empty(self.n_present, dtype=int)
        values = np.empty(self.n_present)
        for rows, here in self._acting():
            if self.fast(rows, "answer"):
                targets[here], values[here] = rows.agent_class.answer_all(rows, menu)
                rows.put_back()
            else:
                answers = [agent.answer(menu) for agent in rows.agents]
                targets[here] = [answer[0] for answer in answers]
                values[here] = [answer[1] for answer in answers]
            if not (np.isfinite(values[here]) & (values[here] >= 0)).all():
                raise ValueError(f"buyers.{rows.segment}.behaviour: a stated value is not finite and >= 0")
            _check_versions(targets[here], 0, menu, rows)
        return targets, values

    def answer_menu(self, menu: Menu) -> np.ndarray:
        """Values that all buyers present state for every version, shape (m, l), in money.

        Raises
        ------
        ValueError
            If a behaviour does not state one value a version, or one that is negative or not finite.
        """
        values = np.empty((self.n_present, len(menu.epsilons)))
        for rows, place in self._acting():
            here = values[place]
            if self.fast(rows, "answer_menu"):
                stated = rows.agent_class.answer_menu_all(rows, menu)
                rows.put_back()
            else:
                answers = [agent.answer_menu(menu) for agent in rows.agents]
                stated = np.array(answers).reshape(len(rows), -1) if answers else here
            if np.shape(stated) != here.shape:
                raise ValueError(
                    f"buyers.{rows.segment}.behaviour: the values stated for the menu have shape {np.shape(stated)}; "
                    f"allowed is one a buyer and version, {here.shape}"
                )
            here[:] = stated
            if not (np.isfinite(here) & (here >= 0)).all():
                raise ValueError(f"buyers.{rows.segment}.behaviour: a value stated for the menu is not finite and >= 0")
        return values

    def buy(self, price_list: PriceList) -> Sales:
        """Let every buyer present decide at the released list.

        Where prices are personalised, each buyer pays what its target version is worth to it.

        Raises
        ------
        ValueError
            If a behaviour chooses a version that is not for sale, or pays more than it is worth.
        """
        targets = self.targets(price_list)
        everybody = np.arange(len(targets))
        if price_list.personalised:
            worth = self.worth(price_list)
            own = worth[everybody, targets]
            versions = np.where(price_list.on_sale[targets] & (own > 0), targets, -1)
            paid = np.where(versions >= 0, own, 0.0)
            return Sales(versions, paid, price_list.on_sale, targets, worth, rows=self.present)
        worth = np.empty((len(targets), len(price_list.prices)))
        versions = np.empty(len(targets), dtype=int)
        for rows, here in self._acting():
            with rows.keep_worth(price_list) as worth[here]:
                if self.fast(rows, "choose"):
                    versions[here] = rows.agent_class.choose_all(rows, price_list)
                    rows.put_back()
                else:
                    choices = [agent.choose(price_list) for agent in rows.agents]
                    versions[here] = [-1 if choice is None else operator.index(choice) for choice in choices]
            _check_versions(versions[here], -1, price_list, rows)
        bought = versions >= 0
        if not price_list.on_sale[versions[bought]].all():
            raise ValueError("buyers: a behaviour chose a version that is not for sale")
        paid = np.where(bought, price_list.prices[versions], 0.0)
        bundles = self._bundle(price_list, versions, paid)
        if (paid[bought] > worth[everybody, versions][bought]).any():
            raise ValueError("buyers: a behaviour pays more for a version than it is worth to the buyer")
        return Sales(versions, paid, price_list.on_sale, targets, worth, bundles=bundles, rows=self.present)

    def _bundle(self, price_list: PriceList, versions: np.ndarray, paid: np.ndarray) -> Bundles | None:
        """Let those who buy bundles have what they chose for less, and pay that; None if nobody can."""
        found = [np.empty(0, dtype=int)]
        for rows, here in self._acting():
            if rows.agent_class.buys_bundles:
                chosen = versions[here]
                found.append(here.start + np.flatnonzero((chosen >= 0) & price_list.bargains.saves[chosen]))
        buyers = np.concatenate(found)
        if len(buyers) == 0:
            return None
        counts, costs, _ = price_list.bargains
        paid[buyers] = costs[versions[buyers]]
        return Bundles(buyers, counts[versions[buyers]], price_list.prices)

    def shop(self, price_lists: Sequence[PriceList]) -> list[Sales]:
        """Let every buyer present decide at the lists of all brokers, and buy from one of them.

        It buys where what it would choose leaves it most, and draws lots between equals.

        Returns
        -------
        list of Sales
            Of each list.
        """
        offers = [self.buy(price_list) for price_list in price_lists]
        if len(offers) == 1:
            return offers
        gains = _gains(offers, self.n_present)
        best = (gains == gains.max(axis=1, keepdims=True)) & np.isfinite(gains)
        count = best.sum(axis=1)
        drawn = np.minimum((self.uniforms("lot") * count).astype(int), count - 1)
        chosen = best & (np.cumsum(best, axis=1) == drawn[:, None] + 1)
        return [offer.only(mine) for offer, mine in zip(offers, chosen.T, strict=True)]

    def gains(self, price_lists: Sequence[PriceList | None]) -> np.ndarray:
        """What every buyer present would gain at each list alone, shape (m, number of lists), in money.

        It is `-inf` where it would not buy, or where there is no list.
        """
        return _gains([None if shown is None else self.buy(shown) for shown in price_lists], self.n_present)

    def adapt(self, sales: Sequence[Sales]) -> None:
        """Let every buyer present learn from its round; those who buy once, and have, leave."""
        everything = sales[0].versions, sales[0].paid, sales[0].surplus
        for own in sales[1:]:  # who buys at all buys from one
            versions, paid, gained = everything
            everything = np.maximum(versions, own.versions), paid + own.paid, gained + own.surplus
        for rows, here in self._acting():
            versions, paid, gained = (column[here] for column in everything)
            if self.fast(rows, "adapt"):
                with rows.look_back(gained):
                    rows.agent_class.adapt_all(rows, versions, paid)
                rows.put_back()
            else:
                columns = (column.tolist() for column in (versions, paid, gained))
                for agent, version, price, gain in zip(rows.agents, *columns, strict=True):
                    agent.gained = gain
                    agent.adapt(None if version < 0 else version, price)
            if rows.group.one_off:
                rows.served[:] |= versions >= 0
                rows.put_back()


def _gains(offers: Sequence[Sales | None], buyers: int) -> np.ndarray:
    """Surplus of every buyer at each offer, shape (m, number of offers), `-inf` where it does not buy."""
    nothing = np.full(buyers, -np.inf)
    return np.column_stack(
        [nothing if offer is None else np.where(offer.bought, offer.surplus, -np.inf) for offer in offers]
    )


def taste(broker: str) -> str:
    """Name of the population's column of what a broker's versions are worth beyond the curve."""
    return f"taste.{broker}"


def _check_versions(versions: np.ndarray, lowest: int, menu: Menu, rows: Rows) -> None:
    if len(versions) and not (lowest <= versions.min() and versions.max() < len(menu.epsilons)):
        raise ValueError(f"buyers.{rows.segment}.behaviour: named a version that is not on the list")
