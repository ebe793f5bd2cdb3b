"""What an owner could gain by reporting another privacy sensitivity than its own.

A round is run again as an owner would see it that thinks of another report: shards are selected and the revenue is
settled anew, while the round's valuation, prices, budgets, revenue and random numbers stay, and so does what all others
report. A mechanism is incentive compatible if no report gains anything over the truth.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from simulator.agents.owner import compensation, marginal
from simulator.privacy.accounts import PrivacyAccounts
from simulator.records import Offers, Purchases
from simulator.valuation.estimator import Valuation

if TYPE_CHECKING:
    from simulator.agents.broker import Broker

#: Reports that the search starts from, evenly spaced.
GRID = 17
#: The search stops where nothing more than this share of the owner's cost can be gained.
TOLERANCE = 1e-3
#: Reports this close, relatively to the range searched, are not told apart: what changes between them is a jump.
RESOLUTION = 1e-9
#: Reports tried at most.
MAX_TRIALS = 400
#: A gain that is a smaller share of the cost is rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Misreport:
    """The best report found for an owner, and what it gains over the truth.

    Attributes
    ----------
    owner : int
        Number of the owner.
    report : float
        The report, in 1/eps; the truth where nothing is gained.
    gain : float
        What it earns more than the truth, in money; >= 0.
    cost : float
        What the use of its shard costs the owner at its true sensitivity, in money: at the truth or at the best report,
        whichever is more.
    """

    owner: int
    report: float
    gain: float
    cost: float

    @property
    def relative(self) -> float:
        """The gain as a share of the cost; 0 without gain."""
        return self.gain / self.cost if self.gain > 0 else 0.0

    @property
    def gains(self) -> bool:
        """Whether more is gained than rounding could make."""
        return self.gain > ROUNDING * self.cost


@dataclass(frozen=True, eq=False)
class _Trial:
    """A round with one owner's report changed: the purchases, and what the owner makes of each version."""

    report: float
    purchases: Purchases
    by_version: np.ndarray
    cost: float

    @property
    def surplus(self) -> float:
        return float(self.by_version.sum())


class Outlook:
    """What a round would have been for an owner, had it alone reported another sensitivity.

    It is made when a round is settled, and good until the round is booked.

    Parameters
    ----------
    broker : Broker
        Who selects and settles.
    offers : Offers
        What the owners reported.
    valuation : Valuation
        Values of the shards.
    base_prices : array of float, shape (n,)
        Base price of each owner, in money.
    sensitivities : array of float, shape (n,)
        True sensitivities, in 1/eps.
    purchases : Purchases
        What was bought, and for which budgets.
    revenue : array of float, shape (l,)
        Revenue of each version, in money.
    privacy : PrivacyAccounts
        What the owners' privacy has cost before the round.
    exposure : callable
        The exposure of the owners to others' sales at given purchases, as `OwnerPopulation.exposure`.
    known : array of float, shape (l, n), optional
        The exposure that owners reckoned with when they offered.
    listed : bool
        Whether there was a price list: without one nothing is bought at any report.
    """

    def __init__(
        self,
        broker: Broker,
        offers: Offers,
        valuation: Valuation,
        base_prices: np.ndarray,
        sensitivities: np.ndarray,
        purchases: Purchases,
        revenue: np.ndarray,
        privacy: PrivacyAccounts,
        exposure: Callable[[np.ndarray], np.ndarray | None] = lambda bought: None,
        known: np.ndarray | None = None,
        *,
        listed: bool = True,
    ) -> None:
        self._broker = broker
        self._offers = offers
        self._valuation = valuation
        self._base_prices = base_prices
        self._sensitivities = sensitivities
        self._purchases = purchases
        self._revenue = revenue
        self._privacy = privacy
        self._exposure = exposure
        self._known = known
        self._listed = listed

    def took_part(self, owner: int) -> bool:
        """Whether the owner took part in the round."""
        return bool(self._offers.takes_part[owner])

    def surplus(self, owner: int, report: float) -> float:
        """What an owner that took part would have been paid beyond its true cost, in money.

        Raises
        ------
        ValueError
            If the report is negative or not finite.
        """
        if not 0 <= report < math.inf:
            raise ValueError(f"report must be finite and >= 0, found {report!r}")
        return self._try(owner, report).surplus

    def best_report(self, owner: int) -> Misreport:
        """The report that would have earned an owner most, and its gain over the truth.

        Reports are searched from 0 to the one at which the owner asks more than the budget of every version. What is
        earned is smooth but for jumps where a purchase changes. From an even grid the search halves intervals at whose
        ends purchases differ, first the one that promises most: for each version, what the purchase at its lower end
        would pay at the report of its upper end, which is what can be approached below a jump, or what the one at its
        upper end pays. It stops where that is within `TOLERANCE` of the owner's cost from the best found. A purchase
        that comes and goes between two reports at which the same is bought is not seen.
        """
        truth = float(self._sensitivities[owner])
        at_truth = self._try(owner, truth)
        reports = sorted({truth, float(self._offers.sensitivities[owner]), *self._grid(owner)})
        trials = [at_truth if report == truth else self._try(owner, report) for report in reports]
        allowed = TOLERANCE * max(at_truth.cost, float(self._costs(owner)[0]))
        smallest = RESOLUTION * reports[-1]
        best = max(trials, key=lambda trial: trial.surplus)
        best = at_truth if at_truth.surplus >= best.surplus else best
        order = itertools.count()  # among equals the interval made first
        queue: list[tuple[float, int, _Trial, _Trial]] = []

        def enter(left: _Trial, right: _Trial) -> None:
            if right.report - left.report > smallest and not _same(left.purchases, right.purchases):
                approached = self._settle(owner, left.purchases, right.report)
                promise = float(np.maximum(approached, right.by_version).sum())
                heapq.heappush(queue, (-promise, next(order), left, right))

        for left, right in itertools.pairwise(trials):
            enter(left, right)
        tried = len(trials)
        while queue and tried < MAX_TRIALS:
            promise, _, left, right = heapq.heappop(queue)
            if -promise <= best.surplus + allowed:
                break
            middle = self._try(owner, 0.5 * (left.report + right.report), between=(left.purchases, right.purchases))
            tried += 1
            if middle.surplus > best.surplus:
                best = middle
            enter(left, middle)
            enter(middle, right)
        return Misreport(owner, best.report, best.surplus - at_truth.surplus, max(at_truth.cost, best.cost))

    def _grid(self, owner: int) -> list[float]:
        """Reports from 0 to beyond what any version's budget affords."""
        base, truth = float(self._base_prices[owner]), float(self._sensitivities[owner])
        if base <= 0 or not self._valuation.values[owner] > 0 or not self._listed:
            return [truth]  # it asks nothing at any report, or nobody buys
        affordable = self._purchases.budgets > base
        most = np.log(self._purchases.budgets[affordable] / base) / self._broker.epsilons[affordable]
        top = max(float(most.max(initial=0.0)) * (1 + RESOLUTION), truth)
        return np.linspace(0.0, top, GRID).tolist()

    def _asked(self, owner: int, report: float) -> np.ndarray:
        """What the owner asks for each version at a report, shape (l,)."""
        if not self._valuation.values[owner] > 0:
            return np.full(len(self._broker.epsilons), np.inf)
        asked = compensation(self._base_prices[owner : owner + 1], np.array([report]), self._broker.epsilons)[:, 0]
        return marginal(asked, None if self._known is None else self._known[:, owner])

    def _costs(self, owner: int) -> np.ndarray:
        """What use of its shard in each version costs the owner, shape (l,)."""
        truth = self._sensitivities[owner : owner + 1]
        return compensation(self._base_prices[owner : owner + 1], truth, self._broker.epsilons)[:, 0]

    def _try(self, owner: int, report: float, between: tuple[Purchases, Purchases] | None = None) -> _Trial:
        """The round at another report; a version for which the same was bought on both sides is not bought anew."""
        asked = self._purchases.asked.copy()
        asked[:, owner] = self._asked(owner, report)
        if not self._listed:
            purchases = replace(self._purchases, asked=asked)
        elif between is None:
            purchases = self._broker.buy(self._valuation, asked, self._purchases.budgets, self._privacy)
        else:
            kept = (between[0].bought == between[1].bought).all(axis=1)
            purchases = self._broker.buy(
                self._valuation, asked, self._purchases.budgets, self._privacy, known=between[0], kept=kept
            )
        costs, _ = self._borne(owner, purchases)
        return _Trial(report, purchases, self._settle(owner, purchases, report), float(costs.sum()))

    def _borne(self, owner: int, purchases: Purchases) -> tuple[np.ndarray, np.ndarray]:
        """What an owner's sales cost it, and what it bears through others in any case, two arrays of shape (l,)."""
        costs, exposure = self._costs(owner), self._exposure(purchases.bought)
        own = None if exposure is None else exposure[:, owner]
        anyway = np.zeros(len(costs)) if own is None else np.where(own > 0, costs, 0.0) * own
        return np.where(purchases.bought[:, owner], marginal(costs, own), 0.0), anyway

    def _settle(self, owner: int, purchases: Purchases, report: float) -> np.ndarray:
        """What an owner makes of purchases at a report: payments less true costs, shape (l,), in money."""
        asked = purchases.asked.copy()
        asked[:, owner] = self._asked(owner, report)
        settled = self._broker.share(self._revenue, replace(purchases, asked=asked), self._valuation)
        costs, anyway = self._borne(owner, purchases)
        return np.asarray(settled.payments[:, owner] - costs - anyway)


def _same(one: Purchases, other: Purchases) -> bool:
    return np.array_equal(one.bought, other.bought)
