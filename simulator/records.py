"""What passes between the phases of a round: small frozen records with arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from simulator.pricing.arbitrage import Bargains
    from simulator.pricing.composition import Composition


@dataclass(frozen=True, eq=False)
class Offers:
    """What the owners report at the beginning of a round.

    Attributes
    ----------
    takes_part : array of bool, shape (n,)
        Whether the owner offers its shard this round.
    sensitivities : array of float, shape (n,)
        Reported privacy sensitivity, in 1/eps; reported by all, used for those that take part.
    homes : array of int, shape (n,), or None
        Position of the only broker that the owner deals with, -1 for one that deals with all; None where all do.
    """

    takes_part: np.ndarray
    sensitivities: np.ndarray
    homes: np.ndarray | None = None

    def dealing(self, broker: int) -> np.ndarray:
        """Whether the owner offers its shard to the broker at a position, shape (n,) of bool."""
        if self.homes is None:
            return self.takes_part
        return self.takes_part & ((self.homes == broker) | (self.homes < 0))


@dataclass(frozen=True, eq=False)
class Purchases:
    """What the broker bought of whom, for each version.

    Attributes
    ----------
    bought : array of bool, shape (l, n)
        Whether the owner's shard is used in the version.
    asked : array of float, shape (l, n)
        Compensation the owner asks for use at the version's epsilon, at its reported sensitivity, in money;
        `inf` for an owner that does not take part, or asks more than a float holds.
    budgets : array of float, shape (l,)
        Manufacturing budget of the version, in money.
    coverage : array of float, shape (l,)
        Shapley coverage of what was bought, in [0, 1].
    promised : array of float, shape (l, n), optional
        What the owner is promised for use in the version, in money, where the procurement method promises payments.
    """

    bought: np.ndarray
    asked: np.ndarray
    budgets: np.ndarray
    coverage: np.ndarray
    promised: np.ndarray | None = None

    @cached_property
    def sold(self) -> np.ndarray:
        """Whether any version uses the owner's shard, shape (n,)."""
        return np.asarray(self.bought.any(axis=0))

    @cached_property
    def costs(self) -> np.ndarray:
        """Compensation asked in sum by the owners behind each version, shape (l,), in money."""
        return np.where(self.bought, self.asked, 0.0).sum(axis=1)


@dataclass(frozen=True, eq=False)
class Versions:
    """The private models trained on the purchases.

    Attributes
    ----------
    available : array of bool, shape (l,)
        Whether data could be bought for the version.
    coverage : array of float, shape (l,)
        Shapley coverage of the data behind the version, in [0, 1].
    accuracy : array of float, shape (l,)
        Share of the test records classified right, or expected to be by a surrogate; NaN for a version with neither.
    records : array of int, shape (l,)
        Records the version was trained on; where data are given by their values alone, what the surrogate takes them
        for, else 0.
    gaussian : array of bool, shape (l,)
        Whether the version was trained by a Gaussian mechanism, whose privacy composes exactly.
    """

    available: np.ndarray
    coverage: np.ndarray
    accuracy: np.ndarray
    records: np.ndarray
    gaussian: np.ndarray


@dataclass(frozen=True, eq=False)
class Menu:
    """Versions as buyers judge them, before prices.

    Attributes
    ----------
    epsilons : array of float, shape (l,)
        Privacy levels of the versions.
    coverage : array of float, shape (l,)
        Shapley coverage of the versions, in [0, 1].
    broker : str
        Name of the broker whose versions they are.
    """

    epsilons: np.ndarray
    coverage: np.ndarray
    broker: str = field(default="broker", kw_only=True)


@dataclass(frozen=True, eq=False)
class PriceList(Menu):
    """The list that the shop shows.

    Attributes
    ----------
    prices : array of float, shape (l,)
        Posted prices, in money; NaN where prices are personalised.
    accuracy : array of float, shape (l,)
        Measured accuracy, a share; NaN where no model was trained.
    on_sale : array of bool, shape (l,)
        Whether the version is for sale; one for which nothing could be bought is withdrawn.
    personalised : bool
        Whether each buyer is charged its willingness to pay instead of a posted price.
    kind : str
        What the strategy says of its list (`PricingStrategy.list_kind`), "none" where there is no list.
    composition : {"additive", "quadratic"}
        What a bundle of versions is worth.
    """

    prices: np.ndarray
    accuracy: np.ndarray
    on_sale: np.ndarray
    personalised: bool = False
    kind: str = "none"
    composition: Composition = "additive"

    @cached_property
    def bargains(self) -> Bargains:
        """The cheapest bundle of versions for sale that covers each version."""
        from simulator.pricing.arbitrage import bargains  # where lists are priced, records are needed

        return bargains(self.epsilons, self.prices, self.on_sale, self.composition)


@dataclass(frozen=True, eq=False)
class Bundles:
    """Purchases of several copies, or of another version than the one that is wanted of them.

    Attributes
    ----------
    buyers : array of int, shape (b,)
        Positions of those who bought them among the round's buyers.
    counts : array of int, shape (b, l)
        How many copies of each version each of them bought.
    prices : array of float, shape (l,)
        Price of a copy of each version, in money.
    """

    buyers: np.ndarray
    counts: np.ndarray
    prices: np.ndarray


@dataclass(frozen=True, eq=False)
class Receipts:
    """What the shop sees of a round's sales.

    Attributes
    ----------
    versions : array of int, shape (m,)
        Index of the version each buyer bought, -1 for none; of a bundle, the largest version in it.
    paid : array of float, shape (m,)
        What each buyer paid, in money.
    on_sale : array of bool, shape (l,)
        Whether the version was for sale: one that was withdrawn says nothing about its price.
    bundles : Bundles or None
        What those bought who did not buy one copy of a version; None where nobody bought a bundle.
    """

    versions: np.ndarray
    paid: np.ndarray
    on_sale: np.ndarray
    bundles: Bundles | None = field(default=None, kw_only=True)

    @property
    def bought(self) -> np.ndarray:
        """Whether each buyer bought, shape (m,)."""
        return self.versions >= 0

    @cached_property
    def sold(self) -> np.ndarray:
        """Copies sold of each version, shape (l,)."""
        single = np.bincount(self.versions[self._single], minlength=len(self.on_sale))
        return single if self.bundles is None else single + self.bundles.counts.sum(axis=0)

    @cached_property
    def revenue(self) -> np.ndarray:
        """Revenue of each version, shape (l,), in money."""
        single = self._single
        earned = np.bincount(self.versions[single], weights=self.paid[single], minlength=len(self.on_sale))
        if self.bundles is not None:
            earned = earned + self.bundles.counts.sum(axis=0) * self.bundles.prices
        return earned.astype(float)  # bincount of nothing counts in integers

    @property
    def _single(self) -> np.ndarray:
        """Whether each buyer bought one copy of its version, shape (m,)."""
        bought = self.bought
        if self.bundles is not None:
            bought[self.bundles.buyers] = False
        return bought


@dataclass(frozen=True, eq=False)
class Sales(Receipts):
    """What the buyers did, and what they alone know.

    Attributes
    ----------
    versions : array of int, shape (m,)
        Index of the version each buyer got, -1 for none; of a bundle, the version that it covers.
    targets : array of int, shape (m,)
        Index of the version each buyer wants.
    worth : array of float, shape (m, l)
        Willingness to pay of each buyer for each version at the released coverage, in money.
    rows : array of int, shape (m,), or None
        Rows of the population of those who are in the market, which all the arrays are about; None where all are.
    """

    targets: np.ndarray
    worth: np.ndarray
    rows: np.ndarray | None = field(default=None, kw_only=True)

    @property
    def receipts(self) -> Receipts:
        """The part of it that the broker sees."""
        if self.bundles is None:
            return Receipts(self.versions, self.paid, self.on_sale)
        shown = self.versions.copy()
        shown[self.bundles.buyers] = len(self.on_sale) - 1 - (self.bundles.counts[:, ::-1] > 0).argmax(axis=1)
        return Receipts(shown, self.paid, self.on_sale, bundles=self.bundles)

    def only(self, here: np.ndarray) -> Sales:
        """The sales to some of the buyers, as if the others had bought nothing; `here` is of shape (m,) of bool."""
        bundles = self.bundles
        if bundles is not None:
            kept = here[bundles.buyers]
            bundles = replace(bundles, buyers=bundles.buyers[kept], counts=bundles.counts[kept]) if kept.any() else None
        versions, paid = np.where(here, self.versions, -1), np.where(here, self.paid, 0.0)
        return replace(self, versions=versions, paid=paid, bundles=bundles)

    @cached_property
    def copies(self) -> np.ndarray:
        """How many copies each buyer bought, of whatever version, shape (m,)."""
        copies = self.bought.astype(int)
        if self.bundles is not None:
            copies[self.bundles.buyers] = self.bundles.counts.sum(axis=1)
        return copies

    @cached_property
    def worth_bought(self) -> np.ndarray:
        """Willingness to pay for what was bought, 0 for those who bought nothing, shape (m,), in money."""
        return np.where(self.bought, np.take_along_axis(self.worth, self.versions[:, None], axis=1)[:, 0], 0.0)

    @cached_property
    def surplus(self) -> np.ndarray:
        """Worth less price of what was bought, 0 for those who bought nothing, shape (m,), in money."""
        return self.worth_bought - self.paid


@dataclass(frozen=True, eq=False)
class Settlement:
    """Who gets the money of a round.

    Attributes
    ----------
    payments : array of float, shape (l, n)
        What each owner is paid for each version, in money.
    profit : float
        What the broker keeps, in money; negative where it bears a loss.
    bankrupt : bool
        Whether the broker could not pay what it owed, and paid what it had.
    """

    payments: np.ndarray
    profit: float
    bankrupt: bool = False
