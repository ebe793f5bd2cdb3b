"""Strategies that ask nobody: they post prices, see what is sold, and learn demand from that."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from simulator.pricing.composition import sizes
from simulator.pricing.strategy import PricingContext, PricingStrategy
from simulator.pricing.table import ListGrid, geometric_grid
from simulator.records import Receipts

#: Fewest prices on a grid.
FEWEST_PRICES = 5


def default_grid_size(rounds: int) -> int:
    """Number of prices to choose from in T rounds: (T / ln T)^(1/4), rounded up, and at least 5.

    Where revenue is smooth around its maximum, the best of g prices loses a share of order 1/g^2 of it, and
    telling g prices apart costs sqrt(g T ln T) or less: this many prices balance the two.

    References
    ----------
    Kleinberg and Leighton (2003), section 3.
    """
    return max(FEWEST_PRICES, math.ceil((rounds / math.log(max(rounds, 3))) ** 0.25))


class GridLearner(PricingStrategy):
    """A strategy that learns the worth of prices on a grid from sales alone. A subclass implements `choose`.

    Parameters
    ----------
    lowest, highest : float
        Range of prices to choose from, in money, 0 < lowest < highest.
    grid_size : int, optional
        Number of prices on the grid, at least 2; by default `default_grid_size` of the number of rounds. Where
        many buyers come each round, demand is soon known, and a finer grid earns more.
    """

    surveys = False
    example_options = {"lowest": 1.0, "highest": 100.0}

    def __init__(self, *, lowest: float, highest: float, grid_size: int | None = None) -> None:
        for name, price in (("lowest", lowest), ("highest", highest)):
            if isinstance(price, bool) or not isinstance(price, Real):
                raise TypeError(f"{name} must be a number, found {price!r}")
        if not 0 < lowest < highest < math.inf:
            raise ValueError(f"prices must satisfy 0 < lowest < highest, found lowest = {lowest}, highest = {highest}")
        if grid_size is not None and (isinstance(grid_size, bool) or not isinstance(grid_size, int) or grid_size < 2):
            raise ValueError(f"grid_size must be a whole number >= 2, found {grid_size!r}")
        self.lowest, self.highest, self.grid_size = float(lowest), float(highest), grid_size
        self._lists: ListGrid | None = None

    def start(self, lists: ListGrid, context: PricingContext) -> None:
        """Prepare for the first round, before `choose`."""
        raise TypeError(f"{type(self).__name__} has no method 'start'")

    def choose(self, lists: ListGrid, context: PricingContext) -> np.ndarray:
        """Cells of the list to post, shape (l,)."""
        raise TypeError(f"{type(self).__name__} has no method 'choose'")

    def prices(self, context: PricingContext) -> np.ndarray:
        """A list of the relaxed problem on the grid."""
        if self._lists is None:
            count = self.grid_size or default_grid_size(context.rounds)
            grid = geometric_grid(self.lowest, self.highest, count)
            self._lists = ListGrid(sizes(context.epsilons, context.composition), grid)
            self.start(self._lists, context)
        self._posted = self.choose(self._lists, context)
        return self._lists.prices[self._posted]


class DemandLearner(GridLearner):
    """A learner that counts, for every price it tried, how many buyers saw it and how many bought.

    Sales tell nothing of who wanted a version and found it too dear, so demand is the share of all buyers.
    """

    def start(self, lists: ListGrid, context: PricingContext) -> None:
        """No price has been seen."""
        self._seen = np.zeros(len(lists.prices))
        self._sold = np.zeros(len(lists.prices))

    def learn(self, sales: Receipts) -> None:
        """Count the buyers and the sales at the posted prices of the versions that were for sale."""
        cells = self._posted[sales.on_sale]
        self._seen[cells] += len(sales.versions)
        self._sold[cells] += sales.sold[sales.on_sale]


class Ucb(DemandLearner):
    """The best list at optimistic demand: bounds that hold with high probability (UCB1)."""

    name = "ucb"
    source = "Auer, Cesa-Bianchi and Fischer (2002); Kleinberg and Leighton (2003)"

    def choose(self, lists: ListGrid, context: PricingContext) -> np.ndarray:
        """The best list for the upper bounds of demand.

        A share that was measured on N buyers has the radius sqrt(2 ln t / N) in round t: UCB1's, where a round
        with n buyers is worth n trials. Demand falls in the price, so a bound also holds at every higher price.
        """
        seen = np.maximum(self._seen, 1.0)
        bounds = np.where(self._seen > 0, self._sold / seen + np.sqrt(2 * math.log(context.round) / seen), 1.0)
        falling = [np.minimum.accumulate(np.minimum(part, 1.0)) for part in lists.by_version(bounds)]
        return lists.best(lists.prices * np.concatenate(falling))


class Thompson(DemandLearner):
    """The best list at demand drawn from what is believed of it (Thompson sampling)."""

    name = "thompson"
    source = "Thompson (1933); Agrawal and Goyal (2012)"

    def choose(self, lists: ListGrid, context: PricingContext) -> np.ndarray:
        """The best list for a draw of each price's demand; beliefs start as uniform on [0, 1]."""
        demand = context.rng.beta(1.0 + self._sold, 1.0 + self._seen - self._sold)
        return lists.best(lists.prices * demand)


class Exp3(GridLearner):
    """A list drawn with weights that grow exponentially in the revenue of its prices, for any demand (Exp3)."""

    name = "exp3"
    source = "Auer, Cesa-Bianchi, Freund and Schapire (2002)"

    def start(self, lists: ListGrid, context: PricingContext) -> None:
        """Equal weights; the share of exploration is the one that is best for the number of rounds."""
        self._log_weights = np.zeros(len(lists.prices))
        self._cover = lists.covering()
        cost = len(self._cover) * lists.log_count()
        self._explore = min(1.0, math.sqrt(cost / ((math.e - 1) * context.rounds)))
        self._cover_shares = np.bincount(self._cover.ravel(), minlength=len(lists.prices)) / len(self._cover)

    def choose(self, lists: ListGrid, context: PricingContext) -> np.ndarray:
        """A list by the weights, or, to explore, one of a few lists that together hold all prices."""
        self._shares = (1 - self._explore) * lists.shares(self._log_weights) + self._explore * self._cover_shares
        if context.rng.random() < self._explore:
            return self._cover[context.rng.integers(len(self._cover))]
        return lists.draw(self._log_weights, context.rng)

    def learn(self, sales: Receipts) -> None:
        """Add each posted price's revenue, as a share of the most possible, over the probability of posting it."""
        earned = sales.revenue / (self.highest * max(len(sales.versions), 1))
        rate = self._explore / len(self._cover)
        self._log_weights[self._posted] += rate * earned / self._shares[self._posted]
