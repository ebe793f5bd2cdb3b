"""What an owner could gain by reporting another privacy sensitivity than its own.

A round is run again as an owner would see it that thinks of another report: shards are selected and the revenue is
settled anew, while the round's valuation, prices, budgets, revenue and random numbers stay, and so does what all others
report. A mechanism is incentive compatible if no report gains anything over the truth.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from simulator.agents.owner import compensation, marginal, true_costs
from simulator.privacy.accounts import Affordable, PrivacyAccounts
from simulator.records import Purchases

if TYPE_CHECKING:
    from simulator.trades import Trade

#: Reports that the search starts from, evenly spaced.
GRID = 17
#: The search stops where nothing more than this share of the owner's cost can be gained.
TOLERANCE = 1e-3
#: Reports this close, relatively to the range searched, are not told apart: what changes between them is a jump.
RESOLUTION = 1e-9
#: Intervals wider than this share of the range are halved whatever they promise: what lies between is not known.
WIDE = 1 / 128
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
        What the use of its shard, and of others' that tell of it, costs the owner at its true sensitivity, in money: at
        the truth or at the best report, whichever is more.
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
    """A round with one owner's report changed: each broker's purchases, and what the owner makes of each version."""

    report: float
    purchases: tuple[Purchases, ...]
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
    trades : sequence of Trade
        What each broker did, in the order in which they bought.
    sensitivities : array of float, shape (n,)
        True sensitivities, in 1/eps.
    privacy : PrivacyAccounts
        What the owners' privacy has cost before the round.
    exposure : callable
        The exposure of the owners to others' sales at given purchases, as `OwnerPopulation.exposure`.
    """

    def __init__(
        self,
        trades: Sequence[Trade],
        sensitivities: np.ndarray,
        privacy: PrivacyAccounts,
        exposure: Callable[[np.ndarray], np.ndarray | None] = lambda bought: None,
    ) -> None:
        self._trades = tuple(trades)
        self._sensitivities = sensitivities
        self._privacy = privacy
        self._exposure = exposure

    def took_part(self, owner: int) -> bool:
        """Whether the owner took part in the round."""
        return any(trade.offers.takes_part[owner] for trade in self._trades)

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
        reported = float(self._trades[0].offers.sensitivities[owner])
        grid = self._grid(owner)
        reports = sorted({truth, reported, *grid})
        trials = [at_truth if report == truth else self._try(owner, report) for report in reports]
        least = min(float(self._costs(trade, owner)[0]) for trade in self._trades)
        allowed = TOLERANCE * max(at_truth.cost, least)
        smallest, wide = RESOLUTION * reports[-1], WIDE * grid[-1]
        best = max(trials, key=lambda trial: trial.surplus)
        best = at_truth if at_truth.surplus >= best.surplus else best
        order = itertools.count()  # among equals the interval made first
        queue: list[tuple[float, int, _Trial, _Trial]] = []

        def enter(left: _Trial, right: _Trial) -> None:
            width = right.report - left.report
            if width <= smallest or _same(left.purchases, right.purchases):
                return
            promise = math.inf
            if width <= wide:
                approached, _ = self._settle(owner, left.purchases, right.report)
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
        top, searched = 0.0, False
        for trade in self._trades:
            base, budgets = float(trade.base_prices[owner]), trade.purchases.budgets
            if base <= 0 or not trade.valuation.values[owner] > 0 or trade.prices is None:
                continue  # it asks nothing at any report, or the broker buys nothing
            if not trade.offers.takes_part[owner]:
                continue
            searched = True
            least = self._asked(trade, owner, 0.0)  # whom others' sales expose asks less, and may report more
            affordable = (least > 0) & (budgets > least)
            most = np.log(budgets[affordable] / least[affordable]) / trade.broker.epsilons[affordable]
            top = max(float(most.max(initial=0.0)) * (1 + RESOLUTION), top)
        return np.linspace(0.0, top, GRID).tolist() if searched else [float(self._sensitivities[owner])]

    def _asked(self, trade: Trade, owner: int, report: float) -> np.ndarray:
        """What the owner asks of a broker for each version at a report, shape (l,)."""
        if not (trade.offers.takes_part[owner] and trade.valuation.values[owner] > 0):
            return np.full(len(trade.broker.epsilons), np.inf)
        base = trade.base_prices[owner : owner + 1]
        asked = compensation(base, np.array([report]), trade.broker.epsilons)[:, 0]
        return marginal(asked, None if trade.exposure is None else trade.exposure[:, owner])

    def _costs(self, trade: Trade, owner: int) -> np.ndarray:
        """What use of its shard in each version of a broker costs the owner, shape (l,)."""
        truth = self._sensitivities[owner : owner + 1]
        return true_costs(trade.base_prices[owner : owner + 1], truth, trade.broker.epsilons)[:, 0]

    def _try(
        self, owner: int, report: float, between: tuple[tuple[Purchases, ...], tuple[Purchases, ...]] | None = None
    ) -> _Trial:
        """The round at another report; a version for which the same was bought on both sides is not bought anew."""
        found: list[Purchases] = []
        for place, trade in enumerate(self._trades):
            asked = trade.purchases.asked.copy()
            asked[:, owner] = self._asked(trade, owner, report)
            if trade.prices is None:
                purchases = replace(trade.purchases, asked=asked)
            else:
                kept = None
                if between is not None:
                    left, right = between[0][place], between[1][place]
                    kept = (left.bought == right.bought).all(axis=1)
                purchases = trade.broker.buy(
                    trade.valuation,
                    asked,
                    trade.purchases.budgets,
                    self._seen_by(trade, found),
                    known=None if between is None else between[0][place],
                    kept=kept,
                )
            found.append(purchases)
        return _Trial(report, tuple(found), *self._settle(owner, found, report))

    def _seen_by(self, trade: Trade, before: Sequence[Purchases]) -> Affordable:
        """Privacy accounts as a broker sees them after what those before it have bought."""
        used = np.zeros((len(self._privacy.epsilons), len(self._sensitivities)), dtype=bool)
        for earlier, purchases in zip(self._trades, before, strict=False):
            used[earlier.first_version : earlier.first_version + len(purchases.bought)] = purchases.bought
        return self._privacy.part(trade.first_version, used)

    def _borne(self, trade: Trade, owner: int, purchases: Purchases) -> tuple[np.ndarray, np.ndarray]:
        """What an owner's sales cost it, and what it bears through others in any case, two arrays of shape (l,)."""
        costs, exposure = self._costs(trade, owner), self._exposure(purchases.bought)
        own = None if exposure is None else exposure[:, owner]
        anyway = np.zeros(len(costs)) if own is None else costs * own
        return np.where(purchases.bought[:, owner], marginal(costs, own), 0.0), anyway

    def _settle(self, owner: int, purchases: Sequence[Purchases], report: float) -> tuple[np.ndarray, float]:
        """What an owner makes of purchases at a report, payments less true costs of all versions, and these costs."""
        made, cost = [], 0.0
        for trade, bought in zip(self._trades, purchases, strict=True):
            asked = bought.asked.copy()
            asked[:, owner] = self._asked(trade, owner, report)
            settled = trade.broker.share(trade.sales.revenue, replace(bought, asked=asked), trade.valuation)
            sale, anyway = self._borne(trade, owner, bought)
            made.append(settled.payments[:, owner] - sale - anyway)
            cost += float((sale + anyway).sum())
        return np.concatenate(made), cost


def _same(one: Sequence[Purchases], other: Sequence[Purchases]) -> bool:
    return all(np.array_equal(a.bought, b.bought) for a, b in zip(one, other, strict=True))
