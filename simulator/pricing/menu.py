"""Revenue maximisation when buyers choose: the list is a menu, and each buyer takes the version it gains most from."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, sparse

from simulator.pricing.arbitrage import find_arbitrage
from simulator.pricing.arguments import as_numbers, check_time_limit, extremes
from simulator.pricing.composition import TOLERANCE, Composition, check_epsilons, copies_to_cover, sizes
from simulator.pricing.revenue import Pricing, maximize_revenue
from simulator.pricing.strategy import PricingContext, PricingStrategy
from simulator.pricing.survey import Demand, Survey, best_buys, check_worth

Method = Literal["search", "exact"]

#: Share by which a list is lowered to win its ties: a discount is worth more to who buys a dearer version.
DISCOUNT = 1e-9
#: Share of revenue from which a step of the search counts as progress.
PROGRESS = 1e-9
#: The search climbs again from these shares of the best list found.
RESTARTS = (0.5, 0.7, 0.85)
#: Relative accuracy of the integer programme, whose solver works to a tolerance of its own.
SOLVER_TOLERANCE = 1e-6


def maximize_menu_revenue(
    epsilons: ArrayLike,
    worth: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    composition: Composition = "additive",
    start: ArrayLike | None = None,
    method: Method = "search",
    time_limit: float | None = None,
) -> Pricing:
    """Arbitrage-free price list that earns much from buyers who choose.

    Every buyer takes the version with the largest worth less price, if that is not negative, ties to the cheaper
    one. A price list for such buyers must leave those who value a dear version as much as they would gain from a
    cheap one.

    Ties make the best revenue a supremum that need not be reached: a price at which a buyer is indifferent between
    two versions sells it the cheaper one, any lower price the dearer. Lowering all prices by one share, however
    small, settles every tie for the dearer version and keeps the list free of arbitrage. The list returned is
    lowered by 1e-9 where that earns more, so revenue is what the shop really takes, and a list that settles ties
    for the seller earns at most that share more.

    Parameters
    ----------
    epsilons : array of float, shape (l,)
        Privacy levels of the versions, strictly increasing, > 0.
    worth : array of float, shape (m, l)
        Willingness to pay of each buyer for each version, in money, >= 0 and somewhere positive.
    weights : array of float, shape (m,), optional
        How many buyers a row stands for, > 0; by default 1.
    composition : {"additive", "quadratic"}
        What a bundle of versions is worth.
    start : array of float, shape (s, l) or (l,), optional
        Lists to begin from beside the built-in ones, in money, > 0. The result earns at least as much as any of
        them that is arbitrage-free.
    method : {"search", "exact"}
        Local search from several lists, or after it an integer programme, for small m and l.
    time_limit : float, optional
        Seconds for each solution of the integer programme; by default none.

    Returns
    -------
    Pricing
        The list, what it earns, and a bound: the worth of everybody's favourite version, or that of the integer
        programme, correct to a relative 1e-6. `optimal` says whether revenue is within 2e-6 of the bound.

    Raises
    ------
    ValueError
        If an argument is out of range or of the wrong shape, or nothing is worth anything to anybody.

    Notes
    -----
    The search climbs from each start by moves of a block of neighbouring versions, all prices of the block by the
    same amount. Along such a move a buyer changes its choice once, and revenue rises between the changes, so the
    best step is found among the changes after one sort. Steps stay within the bundles known to undercut; a list that
    another bundle undercuts is lowered to the greatest arbitrage-free list below, the bundle is remembered, and the
    climb goes on. A version that sells better to nobody is priced out of the way, as high as bundles allow.

    References
    ----------
    Mussa and Rosen (1978) and Maskin and Riley (1984) for the problem; the method is this model's.

    Examples
    --------
    Half the buyers would pay 4 for the low and 5 for the high version, half 6 and 10. The high version must leave
    the latter the 2 that they would gain from the low one.

    >>> result = maximize_menu_revenue([1, 3], [[4, 5], [6, 10]])
    >>> result.prices.round(6).tolist(), round(result.revenue, 6)
    ([4.0, 8.0], 12.0)
    """
    eps = check_epsilons(epsilons)
    x = sizes(eps, composition)
    w = check_worth(worth)
    if w.shape[1] != len(eps):
        raise ValueError(f"worth must have one column a version, {len(eps)}, found {w.shape[1]}")
    own = np.ones(len(w)) if weights is None else as_numbers("weights", weights)
    if own.shape != (len(w),):
        raise ValueError(f"weights must be {len(w)} numbers, one a row of worth, found shape {own.shape}")
    extremes("weights", own)
    if not (w > 0).any():
        raise ValueError("worth must be positive for some buyer and version, found none")
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, found {method!r}")
    check_time_limit(time_limit)
    given = np.empty((0, len(eps))) if start is None else np.atleast_2d(as_numbers("start", start))
    if given.ndim != 2 or given.shape[1] != len(eps) or not np.isfinite(given).all() or (given <= 0).any():
        raise ValueError(f"start must be lists of {len(eps)} positive and finite prices")

    buyers = _Buyers(w, own)
    bundles = _Bundles(eps, composition)
    prices = _search(buyers, bundles, [*given, *_starts(x, buyers)])
    bound = float(own @ w.max(axis=1))
    if method == "exact":
        prices, bound = _solve(buyers, bundles, prices, bound, time_limit)
    # Where no tie decides, the list need not be lowered.
    candidates = [prices, _snap(prices, w), prices * (1 - DISCOUNT), *map(bundles.admit, given)]
    best = max(candidates, key=buyers.revenue)
    revenue = buyers.revenue(best)
    bound = max(bound, revenue)
    return Pricing(best, revenue, bound, bool(revenue >= bound * (1 - 2 * SOLVER_TOLERANCE)))


class BestMenu(PricingStrategy):
    """A list that earns much from buyers who choose the version they gain most from."""

    name = "menu"
    surveys_menu = True

    def prices(self, context: PricingContext) -> np.ndarray:
        """The list found, never worse on the answers than the optimal list for fixed targets (`dpp_plus`)."""
        survey = context.survey
        asked = survey.values > 0
        start = None
        if asked.any():
            answers = (survey.targets[asked], survey.values[asked])
            start = maximize_revenue(
                context.epsilons, *answers, weights=survey.weights[asked], composition=context.composition
            ).prices
        return maximize_menu_revenue(
            context.epsilons,
            stated_worth(survey),
            weights=survey.weights,
            composition=context.composition,
            start=start,
        ).prices

    def expected_revenue(self, survey: Survey, prices: np.ndarray) -> np.ndarray:
        """Revenue of each version if everybody surveyed takes the version it gains most from, shape (l,)."""
        return _Buyers(stated_worth(survey), survey.weights).sold(prices) * prices


def stated_worth(survey: Survey) -> np.ndarray:
    """What the buyers surveyed would pay for every version, shape (m, l), in money.

    Raises
    ------
    ValueError
        If they were asked for their target version alone.
    """
    if survey.worth is None:
        raise ValueError("survey.worth must hold what buyers would pay for every version, found None")
    return survey.worth


class _Buyers:
    """Buyers who choose, and what they pay.

    Parameters
    ----------
    worth : array of float, shape (m, l)
        Willingness to pay of each buyer for each version, in money.
    weights : array of float, shape (m,)
        How many buyers a row stands for.
    """

    def __init__(self, worth: np.ndarray, weights: np.ndarray) -> None:
        self.worth = worth
        self.weights = weights
        self._by_version = np.ascontiguousarray(worth.T)

    def sold(self, prices: np.ndarray) -> np.ndarray:
        """Copies of each version that the shop sells at `prices`, shape (l,)."""
        chosen = best_buys(self.worth, prices)
        return np.bincount(chosen + 1, weights=self.weights, minlength=len(prices) + 1)[1:]

    def revenue(self, prices: np.ndarray) -> float:
        """What the shop takes at `prices`."""
        return float(self.sold(prices) @ prices)

    def discounted(self, prices: np.ndarray) -> float:
        """What it takes once all prices are lowered by so little that only ties change: for the dearer version."""
        return self.revenue(prices * (1 - DISCOUNT))

    def best_shift(self, prices: np.ndarray, block: slice, low: float, high: float) -> tuple[float, float]:
        """Best amount in [low, high] to add to the prices of a block of versions, and what the list then earns.

        Ties count for the dearer version, and prices must not decrease in the version.
        """
        surplus = self._by_version - prices[:, None]
        everybody = np.arange(len(self.weights))
        # The best buy within the block and outside it, at no price for nothing; of equals the last is the dearest.
        inside = surplus[block][::-1]
        pick = inside.argmax(axis=0)
        gain_inside, paid_inside = inside[pick, everybody], prices[block][::-1][pick]
        others = [*range(block.stop, len(prices))][::-1] + [*range(block.start)][::-1]
        outside = np.vstack([surplus[others], np.zeros(len(everybody))])
        pick = outside.argmax(axis=0)
        gain_outside, paid_outside = outside[pick, everybody], np.append(prices[others], 0.0)[pick]

        # A buyer leaves the block when it gains less there; until then it pays the more, the larger the step.
        leaves_at = gain_inside - gain_outside
        order = leaves_at.argsort()
        leaves_at, weights = leaves_at[order], self.weights[order]
        left = np.searchsorted(leaves_at, (low, high), "left")
        steps = leaves_at[left[0] : left[1]]
        if np.isfinite(high):
            steps = np.append(steps, high)
        if len(steps) == 0:
            return 0.0, 0.0
        gone = np.searchsorted(leaves_at, steps, "left")
        buyers_gone = np.append(0.0, weights.cumsum())
        paid_gone = np.append(0.0, (weights * (paid_outside - paid_inside)[order]).cumsum())
        earned = weights @ paid_inside[order] + paid_gone[gone] + steps * (buyers_gone[-1] - buyers_gone[gone])
        best = int(earned.argmax())
        return float(steps[best]), float(earned[best])


class _Bundles:
    """Bundles known to cover versions, as bounds on prices: counts of each version, less one of the version covered.

    A list is free of arbitrage if and only if no bundle undercuts a version, `rows @ prices >= 0` over all bundles.
    Copies of a single version are known from the beginning, other bundles once they have undercut a list.

    Attributes
    ----------
    rows : array of float, shape (bundles, l)
        One row a bundle.
    """

    def __init__(self, epsilons: np.ndarray, composition: Composition) -> None:
        self._epsilons, self._composition = epsilons, composition
        x = sizes(epsilons, composition)
        one = np.eye(len(x))
        copies = [
            max(copies_to_cover(x[j], x[k]), 1) * one[j] - one[k]
            for k in range(len(x))
            for j in range(len(x))
            if j != k
        ]
        self.rows = np.array(copies).reshape(-1, len(x))

    def room(self, prices: np.ndarray, direction: np.ndarray) -> tuple[float, float]:
        """Least and greatest multiple of `direction` that the bundles known allow to add to an admitted list."""
        slack = np.maximum(self.rows @ prices, 0.0)
        rate = self.rows @ direction
        rises, falls = rate > 0, rate < 0
        low = (-slack[rises] / rate[rises]).max(initial=-np.inf)
        high = (-slack[falls] / rate[falls]).min(initial=np.inf)
        return float(low), float(high)

    def admit(self, prices: np.ndarray) -> np.ndarray:
        """Greatest arbitrage-free list below `prices`, shape (l,); bundles that undercut those are known from now on.

        A cheapest bundle holds no version that is itself undercut, so the order of repair does not matter.
        """
        prices = np.array(prices)
        while (found := find_arbitrage(self._epsilons, prices, composition=self._composition)) is not None:
            row = found.bundle.astype(float)
            row[found.version] -= 1.0
            if not (self.rows == row).all(axis=1).any():
                self.rows = np.vstack([self.rows, row])
            prices[found.version] = found.cost
        return prices


def _starts(x: np.ndarray, buyers: _Buyers) -> list[np.ndarray]:
    """Lists to climb from: the best of some shapes, the best price of each version alone, quantiles of worth."""
    worth, weights = buyers.worth, buyers.weights
    lists = [x**power * Demand((worth / x**power).max(axis=1), weights).monopoly()[0] for power in (0.0, 0.5, 1.0)]
    lists.append(np.array([Demand(column, weights).monopoly()[0] for column in worth.T]))
    lists.extend(np.quantile(worth, (0.25, 0.5, 0.75, 0.9), axis=0, weights=weights, method="inverted_cdf"))
    # A version worth nothing gets the price that everything else allows.
    return [np.where(prices > 0, prices, worth.max()) for prices in lists]


def _search(buyers: _Buyers, bundles: _Bundles, starts: list[np.ndarray]) -> np.ndarray:
    """Best list that climbs from the starts reach, and then climbs from lower copies of the best list itself."""
    best = max((_climb(buyers, bundles, prices) for prices in starts), key=buyers.discounted)
    while True:
        again = max((_climb(buyers, bundles, best * share) for share in RESTARTS), key=buyers.discounted)
        if buyers.discounted(again) <= buyers.discounted(best) * (1 + PROGRESS):
            return best
        best = again


def _climb(buyers: _Buyers, bundles: _Bundles, prices: np.ndarray) -> np.ndarray:
    """Arbitrage-free list that no shift of a block improves, shape (l,), not worse than the list admitted."""
    size = len(prices)
    blocks = [slice(first, first + length) for length in range(1, size + 1) for first in range(size - length + 1)]
    prices = bundles.admit(prices)
    revenue = buyers.discounted(prices)
    while True:
        before, earned_before = prices, revenue
        for block in blocks:
            direction = np.zeros(size)
            direction[block] = 1.0
            step, promised = buyers.best_shift(prices, block, *bundles.room(prices, direction))
            if promised > revenue * (1 + PROGRESS):
                tried = prices + step * direction
                earned = buyers.discounted(tried)
                if earned > revenue * (1 + PROGRESS):
                    prices, revenue = tried, earned
        if prices is before:
            return prices
        prices = bundles.admit(prices)
        revenue = buyers.discounted(prices)
        if revenue < earned_before:
            # A bundle that was not known undercut the list: once more, with its bound.
            prices, revenue = before, earned_before


def _snap(prices: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """Prices lowered to what somebody would pay where only rounding lies between, shape (l,)."""
    close = (worth <= prices) & (worth >= prices * (1 - TOLERANCE))
    return np.where(close, worth, prices).min(axis=0)


def _solve(
    buyers: _Buyers, bundles: _Bundles, prices: np.ndarray, bound: float, time_limit: float | None
) -> tuple[np.ndarray, float]:
    """The better of `prices` and the best list by integer programming, and the lower bound of `bound` and the solver's.

    Variables are prices p_k, choices y_jk and payments z_jk = p_k y_jk, in units of the largest worth. Buyer j is left
    sum_k (w_jk y_jk - z_jk), which must be at least what any version would leave it, so the solver settles ties for
    the seller. No price need exceed 1: lowering all that do to 1 keeps a list free of arbitrage and tempts nobody.
    Bundles enter once they have undercut a solution.
    """
    unit, known = buyers.worth.max(), buyers.discounted(prices)
    worth = buyers.worth / unit
    m, size = worth.shape
    cell = sparse.eye_array(m * size)
    total: Any = sparse.kron(sparse.eye_array(m), np.ones((1, size)))
    price: Any = sparse.kron(np.ones((m, 1)), sparse.eye_array(size))
    value = sparse.diags_array(worth.ravel())
    rules = sparse.block_array(
        [
            [price, total.T @ total @ value, -(total.T @ total)],  # no version leaves a buyer more
            [None, value, -cell],  # nobody pays more than worth, or without buying
            [price, None, -cell],  # nobody pays more than the price
            [-price, -cell, cell],  # nor less, if it buys
            [None, -total, None],  # at most one version
        ]
    )
    least = np.concatenate([worth.ravel(), np.zeros(2 * m * size), np.full(m * size + m, -1.0)])
    # In units of what is known to be earned, the solver's absolute gap is a relative one.
    gain = np.concatenate([np.zeros(size + m * size), np.repeat(buyers.weights * (unit / known), size)])
    integral = np.concatenate([np.zeros(size), np.ones(m * size), np.zeros(m * size)])
    options: Any = {"mip_rel_gap": SOLVER_TOLERANCE / 10}
    if time_limit is not None:
        options["time_limit"] = time_limit
    while True:
        count = len(bundles.rows)
        undercut = np.hstack([bundles.rows, np.zeros((count, 2 * m * size))])
        solved = optimize.milp(
            -gain,
            integrality=integral,
            bounds=optimize.Bounds(0.0, 1.0),
            constraints=[
                optimize.LinearConstraint(rules, lb=least),
                optimize.LinearConstraint(undercut, lb=np.zeros(count)),
            ],
            options=options,
        )
        if solved.mip_dual_bound is not None:
            bound = min(bound, -solved.mip_dual_bound * known)
        if solved.x is None:
            return prices, bound
        found = bundles.admit(np.maximum(solved.x[:size], 0.0) * (unit * (1 - SOLVER_TOLERANCE)))
        if len(bundles.rows) == count or not solved.success:
            return max(prices, _climb(buyers, bundles, found), key=buyers.discounted), bound
