"""What a procurement method is: a class that picks shards within a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from simulator.pricing.arguments import LARGEST, as_numbers
from simulator.registry import Described, Family


@dataclass(frozen=True)
class Purchase:
    """The shards bought for one version.

    Attributes
    ----------
    owners : array of int, shape (s,)
        Indices of the owners bought, increasing.
    value : float
        Sum of their values.
    cost : float
        Sum of their costs, in money.
    bound : float
        No affordable set is worth more.
    promised : array of float, shape (s,), optional
        What each is promised for it, in money, by a method that promises payments.
    """

    owners: np.ndarray
    value: float
    cost: float
    bound: float
    promised: np.ndarray | None = None


class ProcurementMethod(Described):
    """A way to choose which owners to buy within a budget.

    A subclass sets `name`, describes itself in the first line of its docstring and implements `choose`, and `promise`
    if it sets `promises`. Options of a scenario arrive as keyword-only arguments of its constructor.
    """

    #: Whether it may spend more than the budget (a reference, not a mechanism).
    overspends: bool = False
    #: Whether it promises payments of its own making, which the settlement rule `promised` keeps.
    promises: bool = False
    #: Options of which a scenario may give a list, one for each version.
    per_version: tuple[str, ...] = ()

    def choose(
        self, values: np.ndarray, costs: np.ndarray, budget: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """Choose among owners worth buying.

        Parameters
        ----------
        values : array of float, shape (c,)
            Values of the candidates, all > 0.
        costs : array of float, shape (c,)
            What each asks, in money, >= 0; each is affordable by itself unless the method overspends.
        budget : float
            Money to spend, >= 0.
        rng : numpy.random.Generator
            For methods that draw.

        Returns
        -------
        chosen : array of int
            Positions of the candidates chosen, in the order in which they were.
        bound : float
            An upper bound on the value of an affordable set; `inf` where the method knows none.
        """
        raise TypeError(f"{type(self).__name__} has no method 'choose'")

    def promise(self, costs: np.ndarray, budget: float, chosen: np.ndarray) -> np.ndarray:
        """What each candidate chosen is promised, shape (s,), in money: at least what it asks, and the budget in all.

        Parameters
        ----------
        costs : array of float, shape (c,)
            What each candidate asks, in money.
        budget : float
            Money to spend.
        chosen : array of int, shape (s,)
            Positions of the candidates chosen, increasing.
        """
        raise TypeError(f"{type(self).__name__} has no method 'promise'")


def version_options(method: str, options: Mapping[str, Any], version: int, n_versions: int) -> dict[str, Any]:
    """A method's options for one version: of those that a scenario gives as a list, its own.

    Raises
    ------
    ValueError
        If a list does not have one for each version.
    """
    found = {}
    for name, value in options.items():
        if name == method and isinstance(value, Mapping):  # a table for this method alone
            found[name] = version_options(method, value, version, n_versions)
        elif name in PROCUREMENT.resolve(method).per_version and isinstance(value, list | tuple):
            if len(value) != n_versions:
                raise ValueError(
                    f"found a list of {len(value)} for the option {name!r} of {method!r}; allowed is one for each of "
                    f"the {n_versions} epsilons"
                )
            found[name] = value[version]
        else:
            found[name] = value
    return found


#: Running sums of costs are trusted to this share of the budget.
SLACK = 1e-9
#: A set within this of a bound, relatively, is as good as one that reaches it.
GAP = 1e-12
#: Values per cost this close, relatively, tie: amounts that are made to tie differ by a few units in the last place.
TIE = 1e-14
#: Values and costs from this to the largest allowed can be divided by one another with room to spare.
SMALL = 2.0**-400

PROCUREMENT = Family(ProcurementMethod, "procurement method")


def fractional_bound(values: np.ndarray, costs: np.ndarray, budget: float) -> float:
    """Value of the best fractional purchase: what no affordable set exceeds.

    Parameters
    ----------
    values, costs : array of float, shape (c,)
        Candidates' values (> 0) and costs (>= 0).
    budget : float
        Money to spend, >= 0.
    """
    if total(costs) <= budget:
        return total(values)
    order = np.argsort(-value_per_cost(values, costs))  # how ties are ordered does not matter here
    whole = min(int(np.searchsorted(np.cumsum(costs[order]), budget, "right")), len(order) - 1)
    left = max(budget - total(costs[order[:whole]]), 0.0)
    return total(values[order[:whole]]) + float(values[order[whole]] * (left / costs[order[whole]]))


def by_value_per_cost(values: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Candidates by decreasing value per cost, free ones first (ties: the earlier), shape (c,)."""
    return np.argsort(-value_per_cost(values, costs), kind="stable")


def by_value_per_cost_and_row(values: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """The same, where ratios that differ by rounding alone tie as well (the earlier first), shape (c,)."""
    order = by_value_per_cost(values, costs)
    ranked = value_per_cost(values, costs)[order]
    below = ranked[1:] < ranked[:-1] * (1 - TIE)
    if below.all():
        return order
    rank = np.concatenate([[0], np.cumsum(below)])
    return order[np.lexsort((order, rank))]


def value_per_cost(values: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Value per cost of each candidate, shape (c,); infinite if it is free, or as good as."""
    with np.errstate(over="ignore"):
        return np.divide(values, costs, out=np.full(len(values), np.inf), where=costs > 0)


def total(amounts: np.ndarray) -> float:
    """Sum of an array, rounded once."""
    return math.fsum(amounts.tolist())


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """Rounded sum of numbers or arrays, and exactly what rounding cut off (Knuth)."""
    rounded = a + b
    rest = rounded - a
    return rounded, (a - (rounded - rest)) + (b - rest)


def money_left(budget: float, costs: np.ndarray) -> tuple[float, float]:
    """What the purchase of `costs` leaves of a budget: a float, and exactly what it lacks.

    A set is affordable if its exact sum, rounded once, is at most the budget; so half a unit in the budget's
    last place is there to spend as well (for an odd last place a hair less, as ties round to even).
    """
    half = (math.nextafter(budget, math.inf) - budget) / 2
    if math.frexp(budget)[0] * 2**53 % 2:
        half = math.nextafter(half, 0.0)
    return pay((budget, half), costs)


def pay(money: tuple[float, float], costs: np.ndarray) -> tuple[float, float]:
    """What is left of money, given and returned as a float and what it lacks, when `costs` are paid."""
    amounts = [*money, *(-costs).tolist()]
    left = math.fsum(amounts)
    return left, math.fsum([*amounts, -left])


def fill(order: np.ndarray, costs: np.ndarray, budget: float) -> np.ndarray:
    """Take candidates in the order given, skipping those that no longer fit; their positions."""
    return fill_within(order, costs, money_left(budget, costs[:0]))


def fill_within(order: np.ndarray, costs: np.ndarray, money: tuple[float, float]) -> np.ndarray:
    """`fill`, with money as `money_left` returns it."""
    asked = costs[order]
    # All in one go as far as a running sum of floats is safely below the budget, then one by one, exactly.
    sure = int(np.searchsorted(np.cumsum(asked), money[0] * (1 - SLACK), "right"))
    left, rest = pay(money, asked[:sure])
    chosen = order[:sure].tolist()
    close = sure + np.flatnonzero(asked[sure:] <= left)
    for position, cost in zip(order[close].tolist(), asked[close].tolist(), strict=True):
        if cost <= left:
            after, error = two_sum(left, -cost)
            if after + (rest + error) >= 0:
                left, rest = two_sum(after, rest + error)
                chosen.append(position)
    return np.array(chosen, dtype=int)


def maximize_coverage(
    values: ArrayLike,
    costs: ArrayLike,
    budget: float,
    *,
    method: str = "exact",
    rng: np.random.Generator | None = None,
    **options: object,
) -> Purchase:
    """Buy the most valuable set of shards that the budget affords (Shapley coverage maximisation).

    Parameters
    ----------
    values : array of float, shape (n,)
        Shapley values of the owners' shards, of size <= 1e100; owners worth nothing or less are never bought.
    costs : array of float, shape (n,)
        Compensation each owner asks, in money, >= 0; `inf`, and whatever exceeds 1e100, is never affordable.
    budget : float
        Money to spend, >= 0 and finite.
    method : str
        Name of a procurement method, see `procurement_methods`.
    rng : numpy.random.Generator, optional
        For methods that draw; by default a generator with the seed 0.
    **options
        Options of the method.

    Returns
    -------
    Purchase
        The owners bought, what they are worth and cost, and an upper bound on the value of any affordable
        set. No method spends, or promises, more than the budget, but for those whose `overspends` says so.

    Raises
    ------
    ValueError
        If an argument is no number, out of range or of the wrong shape, or the method or an option is unknown.

    References
    ----------
    Liu et al. (2021), Shapley coverage maximisation.

    Examples
    --------
    >>> bought = maximize_coverage([3, 2, 2, -1], [3, 2, 2, 0], 4)
    >>> bought.owners.tolist(), bought.value
    ([1, 2], 4.0)
    """
    v, c, budget = _checked(values, costs, budget)
    if not isinstance(method, str):
        raise ValueError(f"method must be the name of a procurement method, found {method!r:.40}")
    if rng is None:
        rng = np.random.default_rng(0)
    elif not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy.random.Generator or None, found {type(rng).__name__}")
    procurement: ProcurementMethod = PROCUREMENT.create(method, options)
    candidates = np.flatnonzero((v > 0) & (c <= LARGEST) & ((c <= budget) | procurement.overspends))
    asked = c[candidates]
    offers = _in_range(v[candidates], asked, budget)
    # What is promised may be more than twice what is asked, and rests on the amounts as they are.
    shown = _Offers((v[candidates], asked, budget)) if procurement.promises else offers
    chosen, bound = procurement.choose(*shown.amounts, rng)
    chosen = np.asarray(chosen)
    if len(chosen) and not (
        np.issubdtype(chosen.dtype, np.integer) and chosen.min() >= 0 and chosen.max() < len(candidates)
    ):
        raise ValueError(f"the procurement method {method!r} chose what is not a position of a candidate")
    positions = np.sort(chosen.astype(int))
    owners = candidates[positions]
    if (owners[1:] == owners[:-1]).any():
        raise ValueError(f"the procurement method {method!r} chose an owner twice")
    value, cost, bound = total(v[owners]), total(c[owners]), float(bound) * 2.0**shown.exponent
    if not procurement.overspends:
        if cost > budget:
            raise RuntimeError(f"the procurement method {method!r} spent {cost!r} of a budget of {budget!r}")
        bound = min(bound, fractional_bound(*offers.amounts) * 2.0**offers.exponent)
    promised = _promised(procurement, method, asked, budget, positions) if procurement.promises else None
    return Purchase(owners, value, cost, max(bound, value), promised)


def _promised(
    procurement: ProcurementMethod, method: str, costs: np.ndarray, budget: float, chosen: np.ndarray
) -> np.ndarray:
    """What a method promises those it has chosen, checked."""
    promised = np.asarray(procurement.promise(costs, budget, chosen), dtype=float)
    if promised.shape != chosen.shape:
        raise ValueError(
            f"the procurement method {method!r} made promises of shape {promised.shape}; allowed is one for each of "
            f"the {len(chosen)} chosen"
        )
    if not (np.isfinite(promised) & (promised >= costs[chosen])).all():
        raise RuntimeError(f"the procurement method {method!r} promised an owner less than it asks")
    if not procurement.overspends and total(promised) > budget:
        raise RuntimeError(f"the procurement method {method!r} promised {total(promised)!r} of a budget of {budget!r}")
    return promised


@dataclass(frozen=True)
class _Offers:
    """Candidates' values and costs and the budget; what they are worth is to be multiplied by 2^exponent."""

    amounts: tuple[np.ndarray, np.ndarray, float]
    exponent: int = 0


def _in_range(values: np.ndarray, costs: np.ndarray, budget: float) -> _Offers:
    """The same offers in other units, powers of two, where a value per cost might exceed the range of floats.

    Costs are then spread about 1. They and the budget only grow, so that they stay what they are to the last bit; a
    budget beyond twice what all ask, which pays for all, is cut to that. The largest value becomes about 1; values that
    fall below the smallest normal float, and so make no difference to any sum, are raised to it.
    """
    asked = costs[costs > 0]
    if min(values.min(initial=1.0), asked.min(initial=1.0)) >= SMALL:
        return _Offers((values, costs, budget))
    _, (least, most) = np.frexp([asked.min(initial=1.0), asked.max(initial=0.0 if len(asked) else 1.0)])
    shift = max(0, -(int(least) + int(most)) // 2)
    exponent = int(np.frexp(values.max())[1])
    scaled = np.maximum(np.ldexp(values, -exponent), np.finfo(float).tiny)
    money = math.ldexp(min(budget, 2 * total(costs)), shift)
    return _Offers((scaled, np.ldexp(costs, shift), money), exponent)


def _checked(values: ArrayLike, costs: ArrayLike, budget: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Offers and a budget as numbers in range."""
    v, c = as_numbers("values", values), as_numbers("costs", costs)
    if v.ndim != 1 or c.shape != v.shape:
        raise ValueError(f"values and costs must be sequences of one length, found shapes {v.shape} and {c.shape}")
    for name, amounts, allowed, words in (
        ("values", v, np.abs(v) <= LARGEST, f"must be numbers from {-LARGEST:g} to {LARGEST:g}"),
        ("costs", c, c >= 0, "must be >= 0"),
    ):
        if not allowed.all():
            position = int(np.argmin(allowed))
            raise ValueError(f"{name} {words}, found {amounts[position]:g} at position {position}")
    if isinstance(budget, bool | np.timedelta64) or not isinstance(budget, Real):
        raise ValueError(f"budget must be a number, found {type(budget).__name__} ({budget!s:.40})")
    try:
        money = float(budget)
    except OverflowError:
        money = math.inf
    if not 0 <= money < math.inf:
        raise ValueError(f"budget must be >= 0 and finite, found {budget!s:.40}")
    return v, c, min(money, LARGEST**2)  # which pays for everybody
