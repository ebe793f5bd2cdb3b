"""Lists by threshold: what the smallest answers that versions are sold at make of a whole price list.

Of all arbitrage-free lists that sell to the same buyers one is the greatest: the cheapest covers at the smallest answer
served of each version. So it is enough to choose thresholds, one a version: an answer for it, or none.
"""

from __future__ import annotations

import numpy as np

from simulator.pricing.arbitrage import Covers
from simulator.pricing.composition import copies_to_cover
from simulator.pricing.survey import Survey


class CoverPool:
    """Bundles that cover a version, gathered as they come to bind: a quick upper bound on a repaired list.

    It starts with copies of single versions.

    Parameters
    ----------
    x : array of float, shape (l,)
        Sizes of the versions.

    Attributes
    ----------
    bundles : list of array of float, shape (b_k, l)
        For each version the known bundles that cover it; the first is the version itself.
    """

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        one = np.eye(len(x))
        self.bundles = [np.array([one[k] * copies_to_cover(x[k], size) for k in range(len(x))]) for size in x]
        for k, bundles in enumerate(self.bundles):
            bundles[[0, k]] = bundles[[k, 0]]
        self._known = [set(map(tuple, bundles.tolist())) for bundles in self.bundles]

    def __len__(self) -> int:
        return sum(len(bundles) for bundles in self.bundles)

    def prices(self, caps: np.ndarray) -> np.ndarray:
        """Cheapest known cover of each version at finite prices `caps`, shape (l,): never below `repair`."""
        return np.array([(bundles @ caps).min() for bundles in self.bundles])

    def repair(self, caps: np.ndarray) -> np.ndarray:
        """The repaired list itself, shape (l,); covers that were not known are kept."""
        covers = Covers(self.x, caps)
        prices = caps.copy()
        for k, known in enumerate(self._known):
            prices[k], counts = covers.cheapest(self.x[k], caps[k])
            bundle = tuple(counts.tolist())
            if prices[k] < caps[k] and bundle not in known:
                known.add(bundle)
                self.bundles[k] = np.vstack([self.bundles[k], counts])
        return prices


class Thresholds:
    """Lists by threshold on one survey.

    Parameters
    ----------
    x : array of float, shape (l,)
        Sizes of the versions.
    survey : Survey
        The answers.
    """

    def __init__(self, x: np.ndarray, survey: Survey) -> None:
        self.pool = CoverPool(x)
        self.survey = survey
        self.demands = [survey.demand(k) for k in range(len(x))]
        #: A price above all answers, for "nobody is served". Capping a list at any price leaves it arbitrage-free,
        #: and at the largest answer no sale is lost.
        self.top = float(survey.values.max())

    def list_at(self, caps: np.ndarray) -> tuple[np.ndarray, float]:
        """Greatest arbitrage-free list nowhere above `caps`, shape (l,), and its revenue."""
        repaired = self.pool.repair(caps)
        # A price may be a sum of answers, an ulp above the answer it serves: that buyer must not be lost.
        prices = np.array([demand.snap(price) for demand, price in zip(self.demands, repaired, strict=True)])
        return prices, float(self.survey.revenue(prices).sum())

    def served(self, prices: np.ndarray) -> np.ndarray:
        """Smallest answer served at `prices` by version, shape (l,), `inf` where nobody is."""
        return self.survey.next_answers(prices)

    def lift(self, prices: np.ndarray) -> tuple[np.ndarray, float]:
        """Greatest arbitrage-free list that sells to whom `prices` do, shape (l,), and its revenue."""
        return self.list_at(self.served(prices))
