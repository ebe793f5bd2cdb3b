"""Revenue maximisation without arbitrage: Dealer's relaxed problem, solved exactly (DPP+)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from simulator.pricing.arbitrage import repair
from simulator.pricing.composition import TOLERANCE, Composition, check_epsilons, copies_to_cover, sizes
from simulator.pricing.programme import best_list, complete_space, greatest_feasible
from simulator.pricing.refine import DIRECT, contenders
from simulator.pricing.survey import Survey

Space = Literal["complete", "survey"]


@dataclass(frozen=True)
class Pricing:
    """What an optimiser of price lists returns.

    Attributes
    ----------
    prices : array of float, shape (l,)
        The price list, in money.
    revenue : float
        Revenue of the list on the answers it was made from, in money.
    bound : float
        No arbitrage-free list earns more on these answers.
    optimal : bool
        Whether the revenue equals the bound.
    """

    prices: np.ndarray
    revenue: float
    bound: float
    optimal: bool


def maximize_revenue(
    epsilons: ArrayLike,
    targets: ArrayLike,
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    space: Space = "complete",
    composition: Composition = "additive",
    lift: bool = False,
) -> Pricing:
    """Revenue-maximising price list without arbitrage (Dealer's DPP+).

    Solves the relaxed problem: prices do not decrease in epsilon and prices per size do not increase. Every
    such list is arbitrage-free. After sorting, the dynamic programme is linear in the candidates: the
    prices that a version allows its predecessor are a window both of whose ends move upwards.

    Parameters
    ----------
    epsilons : array of float, shape (l,)
        Privacy levels of the versions, strictly increasing, > 0.
    targets : array of int, shape (m,)
        Index of the version each answer is for, 0..l-1.
    values : array of float, shape (m,)
        Stated willingness to pay, in money, > 0.
    weights : array of float, shape (m,), optional
        How many buyers an answer stands for, > 0; by default 1.
    space : {"complete", "survey"}
        Prices to choose from: the complete price space, which holds an optimum of the relaxed problem, or
        the answers alone (then versions nobody asked for get the greatest price that fits).
    composition : {"additive", "quadratic"}
        What a bundle of versions is worth.
    lift : bool
        Whether to raise the optimal list to the greatest arbitrage-free list that sells to the same buyers.
        It need not be feasible for the relaxed problem and never earns less.

    Returns
    -------
    Pricing
        The list and its revenue. Of several optimal lists it is the one with the highest price for the top
        version, then for the version below it, and so on.

    Raises
    ------
    ValueError
        If an argument is out of range or of the wrong shape, no answer is given, or the survey space holds
        no feasible list.

    References
    ----------
    Liu et al. (2021), section 5.1, algorithms 3 and 4 (complete price space, DPP+).

    Examples
    --------
    >>> answers = {"targets": [0, 0, 1, 1, 2, 2], "values": [100, 400, 300, 700, 500, 800]}
    >>> result = maximize_revenue([1, 2, 3], **answers)
    >>> result.revenue, result.prices.tolist()
    (1900.0, [400.0, 700.0, 800.0])
    """
    eps = check_epsilons(epsilons)
    x = sizes(eps, composition)
    survey = Survey(targets, values, weights)
    survey.check_versions(len(eps))
    if space == "complete" and len(survey) > DIRECT:
        left = contenders(x, survey)
        demands = left.demands
        candidates = [c[r.contains(c)] for c, r in zip(complete_space(x, left.answers), left.ranges, strict=True)]
        prices = best_list(x, candidates, demands)
    else:
        demands = [survey.demand(k) for k in range(len(eps))]
        answers = [np.unique(demand.values) for demand in demands]
        if space == "complete":
            prices = best_list(x, complete_space(x, answers), demands)
        elif space == "survey":
            asked = np.flatnonzero([len(a) > 0 for a in answers])
            prices = np.full(len(eps), np.inf)
            prices[asked] = best_list(x[asked], [answers[k] for k in asked], [demands[k] for k in asked])
            prices = greatest_feasible(x, prices)
        else:
            raise ValueError(f"space must be one of {', '.join(get_args(Space))}, found {space!r}")

    # Rounding in v * x_k / x_j may put a price an ulp above the answer it serves, and lose that buyer.
    prices = np.array([demand.snap(price) for demand, price in zip(demands, prices, strict=True)])
    monopoly = sum(demand.monopoly()[1] for demand in demands)
    revenue = float(sum(price * demand.at(price) for demand, price in zip(demands, prices, strict=True)))
    bound = max(revenue, min(monopoly, relaxation_factor(x) * revenue)) if space == "complete" else monopoly
    if lift:
        served = survey.next_answers(prices)
        if np.isfinite(served).any():
            prices = repair(x, served)
            revenue = float(survey.revenue(prices).sum())
    return Pricing(prices, revenue, bound, bool(revenue >= bound * (1 - TOLERANCE)))


def relaxation_factor(x: np.ndarray) -> float:
    """Factor by which the best arbitrage-free revenue may exceed the relaxed optimum, >= 1.

    1 + ln A, where A is the largest overshoot of whole copies of a version that cover a larger one. It is 1
    when every ratio of sizes is an integer.
    """
    ratios = [(copies_to_cover(x[j], x[k]), x[k] / x[j]) for k in range(len(x)) for j in range(k)]
    overshoot = max((copies / ratio for copies, ratio in ratios), default=1.0)
    return 1.0 + float(np.log(max(overshoot, 1.0)))
