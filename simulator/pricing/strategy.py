"""What a pricing strategy is: a class that turns survey answers, or past sales, into a price list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.pricing.arbitrage import find_arbitrage, repair
from simulator.pricing.composition import Composition, sizes
from simulator.pricing.survey import Survey
from simulator.registry import Described, Family

if TYPE_CHECKING:
    from simulator.records import PriceList, Purchases, Receipts


@dataclass(frozen=True)
class PricingContext:
    """All that a strategy may look at when it prices the list.

    Attributes
    ----------
    survey : Survey
        This round's answers; empty for a strategy that surveys nobody, never empty for another.
    epsilons : array of float, shape (l,)
        Privacy levels of the versions.
    composition : {"additive", "quadratic"}
        What a bundle of versions is worth.
    n_buyers : int
        Size of the market; the survey may be a sample of it.
    round : int
        Number of the round, from 1.
    rounds : int
        Number of rounds that the market is set to run.
    last_purchases : Purchases or None
        What the broker bought last round.
    last_sales : Receipts or None
        What was bought last round, and at which price.
    rng : numpy.random.Generator
        The strategy's own stream of this round.
    asked : array of float, shape (l, n), or None
        Compensation each owner asks this round for use in each version, in money; `inf` for an owner that does
        not take part, or asks more than a float holds. None where no owner is known.
    rivals : tuple of PriceList
        The lists that other brokers posted last.
    """

    survey: Survey
    epsilons: np.ndarray
    composition: Composition
    n_buyers: int
    round: int
    rounds: int
    last_purchases: Purchases | None
    last_sales: Receipts | None
    rng: np.random.Generator
    asked: np.ndarray | None = None
    rivals: tuple[PriceList, ...] = ()

    @property
    def n_versions(self) -> int:
        """Number of versions on the list."""
        return len(self.epsilons)


class PricingStrategy(Described):
    """A way to price the list of versions.

    A subclass sets `name`, describes itself in the first line of its docstring and implements `prices`.
    Options of a scenario arrive as keyword-only arguments of its constructor.
    """

    #: Whether every list it posts is arbitrage-free (checked each round, a breach is an error).
    arbitrage_free: bool = True
    #: Whether it posts no list and charges each buyer its own price instead.
    personalised: bool = False
    #: Whether its survey asks buyers for their willingness to pay for every version (`Survey.worth`).
    surveys_menu: bool = False
    #: Whether buyers are surveyed for it; one that learns from sales alone needs no answers.
    surveys: bool = True
    #: Options with which it can be tried out, where some are required.
    example_options: Mapping[str, Any] = {}
    #: Whether its last list is not its own but one it fell back on; set by `prices`.
    fell_back: bool = False

    @property
    def list_kind(self) -> str:
        """What its last list was: "arbitrage-free", "repaired", "raw", "fallback" or "personalised"."""
        if self.personalised:
            return "personalised"
        if self.fell_back:
            return "fallback"
        return "arbitrage-free" if self.arbitrage_free else "raw"

    def prices(self, context: PricingContext) -> np.ndarray:
        """Price of each version, shape (l,), in money, > 0."""
        raise TypeError(f"{type(self).__name__} has no method 'prices'")

    def checked_prices(self, context: PricingContext) -> np.ndarray:
        """Price of each version as it is posted, shape (l,), in money: what `prices` returns, copied and checked.

        Raises
        ------
        ValueError
            If the prices are not positive and finite, or not one a version, or the list is not arbitrage-free
            although the strategy claims that all its lists are. The message goes on from the strategy's name.
        """
        # A copy: the strategy may go on using its own array.
        try:
            prices = np.array(self.prices(context), dtype=float)
        except (TypeError, ValueError) as error:
            raise ValueError(f"returned no list of prices: {error}") from error
        if prices.shape != context.epsilons.shape:
            raise ValueError(
                f"returned prices of shape {prices.shape}; allowed is one price a version, "
                f"shape {context.epsilons.shape}"
            )
        if self.personalised:
            return prices
        if not (np.isfinite(prices) & (prices > 0)).all():
            raise ValueError(f"returned {prices.tolist()}; allowed are positive, finite prices")
        if self.arbitrage_free:
            found = find_arbitrage(context.epsilons, prices, composition=context.composition)
            if found is not None:
                raise ValueError(
                    f"claims arbitrage-free lists, but in {prices.tolist()} the bundle {found.bundle.tolist()} "
                    f"undercuts version {found.version} by {found.saving:.6g}"
                )
        return prices

    def expected_revenue(self, survey: Survey, prices: np.ndarray) -> np.ndarray:
        """Revenue of each version if the surveyed buyers buy as they stated, shape (l,)."""
        return survey.revenue(prices)

    def learn(self, sales: Receipts) -> None:
        """Take in what was sold at the posted prices; by default nothing is learnt."""


class Repaired(PricingStrategy):
    """A list that may admit arbitrage, repaired unless the raw list is asked for.

    Parameters
    ----------
    raw : bool
        Post the list as it is. By default each price becomes the cheapest cover of its version at the list's
        own prices: the greatest arbitrage-free list below it.

    Notes
    -----
    A version without a price of its own gets the greatest one that fits the others: the cost of its cheapest
    cover.
    """

    def __init__(self, *, raw: bool = False) -> None:
        if not isinstance(raw, bool):
            raise TypeError(f"raw must be true or false, found {raw!r}")
        self.arbitrage_free = not raw
        self.raw = raw

    @property
    def list_kind(self) -> str:
        """What its last list was: "repaired" where it would be "arbitrage-free" only for that."""
        kind = super().list_kind
        return "repaired" if kind == "arbitrage-free" else kind

    def raw_prices(self, context: PricingContext) -> np.ndarray:
        """The list before repair, shape (l,); `inf` for a version without a price of its own, but not for all."""
        raise TypeError(f"{type(self).__name__} has no method 'raw_prices'")

    def prices(self, context: PricingContext) -> np.ndarray:
        """The list, repaired unless `raw`."""
        own = self.raw_prices(context)
        repaired = repair(sizes(context.epsilons, context.composition), own)
        return np.where(np.isfinite(own), own, repaired) if self.raw else repaired


PRICING = Family(PricingStrategy, "pricing strategy")
