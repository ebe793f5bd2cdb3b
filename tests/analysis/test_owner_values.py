"""Values of the owners of a file's records."""

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from analysis.owner_values import value_owners
from simulator.valuation import GramRidgeGame


def test_owners_are_valued_on_one_thread(monkeypatch):
    """Sums differ by the number of threads, and so would values by the machine."""
    threads, score = [], GramRidgeGame.score

    def watched(self, masks):
        threads.extend(pool["num_threads"] for pool in threadpool_info())
        return score(self, masks)

    monkeypatch.setattr(GramRidgeGame, "score", watched)
    rng = np.random.default_rng(0)
    with threadpool_limits(2):
        assert 2 in [pool["num_threads"] for pool in threadpool_info()]
        value_owners(rng.normal(size=(40, 2)), np.arange(40) % 2, np.arange(40) % 4)
    assert set(threads) == {1}
