"""Data owners: what they ask for their records, and whether they take part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.agents.population import Column, Population, PopulationAgent, Rows
from simulator.metrics import underpaid
from simulator.records import Offers
from simulator.registry import Family

if TYPE_CHECKING:
    from simulator.incentives import Outlook


class DataOwner(PopulationAgent):
    """An owner of a shard of records, with a private sensitivity to its use.

    A behaviour is a subclass with a `name`. It implements `offer`, and `adapt` if it learns from what happened, or
    `reconsider` if from what could have; the forms with `_all` do the same for a whole segment on columns, and may be
    left out.

    Attributes
    ----------
    privacy_sensitivity : float, 1/eps
        rho, true and private.
    base_price_pool : float, money
        B of the owner's segment if its base prices go by Shapley value, else 0.
    fixed_base_price : float, money
        b if it does not go by Shapley value, else 0.
    willing : bool
        Whether the owner would sell at all.
    privacy_budget : float, eps
        What the owner's privacy may cost in all, `inf` without limit. Whoever has spent it leaves the market.
    reservation_surplus : float, money per round
        What the owner must expect of a round to take part, `-inf` without condition.
    expectation_weight : float
        How much the last round counts in what it expects.
    leakage : float
        Share of the cost of a use that the owner bears anyway where the shards of all others of its segment are used.
    home : int
        Position of the only broker that the owner deals with; -1 for one that deals with all.
    switching : float
        Probability that it looks around for another one after a round.
    expected_surplus : float, money per round
        What it expects; NaN as long as it knows of no round, or where it has no reservation.
    took_part : bool
        Whether it took part in the round before.
    """

    privacy_sensitivity = Column()
    base_price_pool = Column()
    fixed_base_price = Column()
    willing = Column()
    privacy_budget = Column()
    reservation_surplus = Column()
    expectation_weight = Column()
    leakage = Column()
    home = Column()
    switching = Column()
    expected_surplus = Column()
    took_part = Column()

    def offer(self) -> tuple[bool, float]:
        """Whether the owner takes part this round, and the sensitivity it reports."""
        raise TypeError(f"{type(self).__name__} has no method 'offer'")

    @classmethod
    def offer_all(cls, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """`offer` of all rows: takes part, shape (n,) of bool, and reports, shape (n,) of float."""
        raise TypeError(f"{cls.__name__} has no method 'offer_all'")

    def reconsider(self, outlook: Outlook) -> None:
        """Think about what the round would have earned with another report, before `adapt`.

        The owner's number in the outlook is its `row`.
        """

    @classmethod
    def reconsider_all(cls, rows: Rows, outlook: Outlook) -> None:
        """`reconsider` of all rows, which are numbered from `rows.start`."""

    def adapt(self, sold: bool, paid: float, cost: float) -> None:
        """Learn from a round: whether the shard was used, what it earned and what that cost the owner."""

    @classmethod
    def adapt_all(cls, rows: Rows, sold: np.ndarray, paid: np.ndarray, cost: np.ndarray) -> None:
        """`adapt` of all rows, with arrays of shape (n,)."""


class Truthful(DataOwner):
    """Takes part if willing at all and reports its true privacy sensitivity."""

    name = "truthful"
    source = "Liu et al. (2021)"

    def offer(self) -> tuple[bool, float]:
        """The truth."""
        return self.willing, self.privacy_sensitivity

    @classmethod
    def offer_all(cls, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """The truth, of all."""
        return rows.willing, rows.privacy_sensitivity


class Cautious(Truthful):
    """Truthful, but sits out the round after one in which it was paid less than its true cost."""

    name = "cautious"
    source = ""
    sits_out = Column(default=False)

    def offer(self) -> tuple[bool, float]:
        """The truth, unless it sits out."""
        return self.willing and not self.sits_out, self.privacy_sensitivity

    @classmethod
    def offer_all(cls, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """The truth, of all that do not sit out."""
        return rows.willing & ~rows.sits_out, rows.privacy_sensitivity

    def adapt(self, sold: bool, paid: float, cost: float) -> None:
        """Remember a loss for one round."""
        self.sits_out = sold and bool(underpaid(paid, cost))

    @classmethod
    def adapt_all(cls, rows: Rows, sold: np.ndarray, paid: np.ndarray, cost: np.ndarray) -> None:
        """Remember losses for one round."""
        rows.sits_out[:] = sold & underpaid(paid, cost)


OWNERS = Family(DataOwner, "owner behaviour")

#: Largest cost of a use, in money.
LARGEST_COST = 1e290
#: Expectations within this share of a reservation reach it: rounding decides over nobody's participation.
ROUNDING = 1e-9


class OwnerPopulation(Population):
    """All data owners of a market."""

    def offer(self) -> Offers:
        """Ask every owner whether it takes part, and at which sensitivity.

        Whoever expects less of the round than its reservation surplus stays out, whatever its behaviour.

        Raises
        ------
        ValueError
            If a behaviour reports a sensitivity that is negative or not finite.
        """
        takes_part = np.empty(len(self), dtype=bool)
        reports = np.empty(len(self))
        for rows in self.segments:
            here = slice(rows.start, rows.stop)
            if self.fast(rows, "offer"):
                takes_part[here], reports[here] = rows.agent_class.offer_all(rows)
            else:
                offers = [agent.offer() for agent in rows.agents]
                takes_part[here] = [offer[0] for offer in offers]
                reports[here] = [offer[1] for offer in offers]
            if not (np.isfinite(reports[here]) & (reports[here] >= 0)).all():
                raise ValueError(f"owners.{rows.segment}.behaviour: a reported sensitivity is not finite and >= 0")
        homes = self.columns["home"]
        return Offers(takes_part & self._expects_enough(), reports, homes.copy() if (homes >= 0).any() else None)

    def base_prices(self, values: np.ndarray) -> np.ndarray:
        """Base price of every owner at these Shapley values, shape (n,), in money."""
        return base_prices(self.columns["base_price_pool"], values, self.columns["fixed_base_price"])

    def _expects_enough(self) -> np.ndarray:
        """Whether owners expect as much as their reservation surplus, or nothing yet, shape (n,)."""
        reserved = self.columns["reservation_surplus"]
        return ~(self.columns["expected_surplus"] < reserved - ROUNDING * np.abs(reserved))

    def exposure(self, bought: np.ndarray) -> np.ndarray | None:
        """Share of the cost of a use that each owner bears through others, whether it sells or not, shape (l, n).

        It grows with the share of the others of its segment whose shards are used, up to the segment's `leakage`; None
        where no segment leaks.

        Parameters
        ----------
        bought : array of bool, shape (l, n)
            Whose shards are used in which version.

        References
        ----------
        After Acemoglu et al. (2022): what others' data reveal of an owner makes its own worth less to protect.
        """
        if not self.columns["leakage"].any():
            return None
        exposure = np.zeros(bought.shape)
        for rows in self.segments:
            if rows.leakage.any():
                used = bought[:, rows.start : rows.stop]
                others = used.sum(axis=1, keepdims=True) - used
                exposure[:, rows.start : rows.stop] = rows.leakage * others / (len(rows) - 1)
        return exposure

    def move(self, dealing: np.ndarray, surplus: np.ndarray, open_: np.ndarray) -> None:
        """Let owners that deal with one broker look around, and go where others of their segment earned most.

        An owner looks around with probability `switching`, and always where its broker has gone out of business. It
        compares what those of its segment who dealt with a broker earned on average, whether their shards were bought
        or not, and stays where it is if that is among the best; between equals it draws lots. Of brokers that nobody of
        its segment deals with it hears nothing, unless there is no other: then all in business are equals.

        Parameters
        ----------
        dealing : array of bool, shape (B, n)
            Who offered to each broker.
        surplus : array of float, shape (B, n)
            What each earned there beyond its cost, in money.
        open_ : array of bool, shape (B,)
            Which brokers are in business.
        """
        for rows in self.segments:
            here = slice(rows.start, rows.stop)
            single = rows.home >= 0
            if not single.any() or not open_.any():
                continue
            count = dealing[:, here].sum(axis=1)
            known = open_ & (count > 0)
            mean = np.where(dealing[:, here], surplus[:, here], 0.0).sum(axis=1) / np.maximum(count, 1)
            best = known & (mean == mean[known].max()) if known.any() else open_
            looks = (rows.uniforms("switching") < rows.switching) | ~open_[rows.home]
            lots = np.flatnonzero(best)
            drawn = lots[np.floor(rows.uniforms("lot") * len(lots)).astype(int)]
            rows.home[:] = np.where(single & looks & ~best[rows.home], drawn, rows.home)

    def reconsider(self, outlook: Outlook) -> None:
        """Let every owner think about the round just settled."""
        for rows in self.segments:
            if self.fast(rows, "reconsider"):
                rows.agent_class.reconsider_all(rows, outlook)
            else:
                for agent in rows.agents:
                    agent.reconsider(outlook)

    def expect(self, took_part: np.ndarray, paid: np.ndarray, cost: np.ndarray) -> None:
        """Revise what owners with a reservation surplus expect of a round, by what they have seen of the last.

        Whoever took part has seen its own surplus, whoever did not the mean surplus of those of its segment that did.
        The first that an owner sees is what it expects; later what it sees is averaged in with `expectation_weight`
        (adaptive expectations). Where nobody of a segment took part there is nothing to see.

        Parameters
        ----------
        took_part : array of bool, shape (n,)
            Who took part in the round.
        paid, cost : array of float, shape (n,)
            What each was paid, and what that cost it at its true sensitivity, in money.

        References
        ----------
        Nerlove (1958).
        """
        self.columns["took_part"][:] = took_part
        exact = underpaid(paid, cost) | underpaid(cost, paid)  # a difference by rounding is none
        surplus = np.where(exact, paid - cost, 0.0)
        for rows in self.segments:
            here = slice(rows.start, rows.stop)
            inside = took_part[here]
            if not inside.any() or not np.isfinite(rows.reservation_surplus).any():
                continue
            seen = np.where(inside, surplus[here], surplus[here][inside].mean())
            before = rows.expected_surplus
            revised = before + rows.expectation_weight * (seen - before)
            rows.expected_surplus[:] = np.where(np.isnan(before), seen, revised)

    def adapt(self, sold: np.ndarray, paid: np.ndarray, cost: np.ndarray) -> None:
        """Let every owner learn from its round; arrays of shape (n,)."""
        for rows in self.segments:
            here = slice(rows.start, rows.stop)
            if self.fast(rows, "adapt"):
                rows.agent_class.adapt_all(rows, sold[here], paid[here], cost[here])
            else:
                columns = zip(sold[here].tolist(), paid[here].tolist(), cost[here].tolist(), strict=True)
                for agent, result in zip(rows.agents, columns, strict=True):
                    agent.adapt(*result)


def base_prices(pools: np.ndarray, values: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Base price of each owner: its pool times its share of the positive Shapley value, or its fixed one, shape (n,).

    Parameters
    ----------
    pools : array of float, shape (n,)
        Base-price pool of each owner's segment, in money; 0 where base prices do not go by value.
    values : array of float, shape (n,)
        Shapley values of all registered owners.
    fixed : array of float, shape (n,)
        Base prices that do not go by value, in money; 0 where they do.

    References
    ----------
    Liu et al. (2021).
    """
    return pools * value_shares(values) + fixed


def value_shares(values: np.ndarray) -> np.ndarray:
    """Each owner's share of the positive Shapley value, shape (n,); zero where no value is positive."""
    worth = np.maximum(values, 0.0)
    total = worth.sum()
    return worth / total if total > 0 else worth


def compensation(base_prices: np.ndarray, sensitivities: np.ndarray, epsilons: np.ndarray) -> np.ndarray:
    """What owners ask for the use of their shards, c_i(eps) = b_i exp(rho_i eps), shape (l, n), in money.

    Parameters
    ----------
    base_prices : array of float, shape (n,)
        b_i, in money.
    sensitivities : array of float, shape (n,)
        rho_i, in 1/eps.
    epsilons : array of float, shape (l,)
        Privacy levels of the versions.

    References
    ----------
    Liu et al. (2021).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        asked = base_prices * np.exp(np.outer(epsilons, sensitivities))
    return np.where(base_prices > 0, asked, 0.0)


def true_costs(base_prices: np.ndarray, sensitivities: np.ndarray, epsilons: np.ndarray) -> np.ndarray:
    """What use of their shards costs owners, `compensation` at their true sensitivities, shape (l, n), in money.

    Costs beyond the range of floats count as the largest that can be added up.
    """
    return np.minimum(compensation(base_prices, sensitivities, epsilons), LARGEST_COST)


def marginal(costs: np.ndarray, exposure: np.ndarray | None) -> np.ndarray:
    """What use of its shard costs an owner beyond what it bears through others anyway, shape of `costs`, in money.

    Without an exposure that is all of it; a cost beyond the range of floats stays there.
    """
    if exposure is None:
        return costs
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(costs), costs * (1 - exposure), costs)
