"""The complete price space: the prices among which an optimum of the relaxed problem is found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from simulator.pricing.composition import Composition, check_epsilons, sizes
from simulator.pricing.survey import Survey

#: Kinds of candidate prices, and what makes each of them one.
KINDS = {
    "SU": "an answer for the version itself",
    "MC": "an answer for a dearer version: the price stays constant up to it",
    "SC": "an answer for a cheaper version, scaled: the price per size stays constant from it",
}


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidate prices of one version.

    Attributes
    ----------
    prices : array of float, shape (c,)
        Distinct prices, increasing, in money.
    kinds : array of str, shape (c,)
        What makes each of them a candidate: "SU", "MC" or "SC", the first of these that does.
    """

    prices: np.ndarray
    kinds: np.ndarray


def complete_price_space(
    epsilons: ArrayLike, targets: ArrayLike, values: ArrayLike, *, composition: Composition = "additive"
) -> list[Candidates]:
    """Candidate prices of each version: the answers for it, for dearer versions, and for cheaper ones.

    An answer v for version j is a candidate v itself at j (SU) and at every version below (MC), and
    v x_k / x_j at every version k above (SC), where x is the size of a version. Some optimal list of the
    relaxed problem has all its prices among them.

    Parameters
    ----------
    epsilons : array of float, shape (l,)
        Privacy levels of the versions, strictly increasing, > 0.
    targets : array of int, shape (m,)
        Index of the version each answer is for, 0..l-1.
    values : array of float, shape (m,)
        Stated willingness to pay, in money, > 0.
    composition : {"additive", "quadratic"}
        What a bundle of versions is worth; it makes the size of a version eps or eps squared.

    Returns
    -------
    list of Candidates
        One entry a version, of at most m prices.

    Raises
    ------
    ValueError
        If an argument is out of range or of the wrong shape, or no answer is given.

    References
    ----------
    Liu et al. (2021), section 5.1, algorithm 3: survey points (SU), points of the monotonicity constraint
    (MC) and of the subadditivity constraint (SC).

    Examples
    --------
    >>> low, high = complete_price_space([1, 2], targets=[0, 1], values=[5.0, 8.0])
    >>> low.prices.tolist(), low.kinds.tolist()
    ([5.0, 8.0], ['SU', 'MC'])
    >>> high.prices.tolist(), high.kinds.tolist()
    ([8.0, 10.0], ['SU', 'SC'])
    """
    eps = check_epsilons(epsilons)
    x = sizes(eps, composition)
    survey = Survey(targets, values)
    survey.check_versions(len(eps))
    answers = [np.unique(survey.values[survey.targets == k]) for k in range(len(eps))]
    space = []
    for k in range(len(eps)):
        by_kind = {
            "SU": answers[k],
            "MC": np.concatenate([np.empty(0), *answers[k + 1 :]]),
            "SC": np.concatenate([np.empty(0), *(answers[j] * (x[k] / x[j]) for j in range(k))]),
        }
        kinds = np.repeat(list(by_kind), [len(found) for found in by_kind.values()])
        prices, first = np.unique(np.concatenate(list(by_kind.values())), return_index=True)
        space.append(Candidates(prices, kinds[first]))
    return space
