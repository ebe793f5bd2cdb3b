"""Named random streams: every draw of a run comes from a stream with a name.

A stream's key is (seed, replicate, role, round, segment). It never contains the design point, so two
market designs meet the same owners, buyers and noise (common random numbers), and their differences
can be paired by replicate.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

#: What stands for a uniform number of 0, where the quantiles of unbounded distributions are infinite.
SMALLEST_UNIFORM = 2.0**-54


def _words(text: str) -> tuple[int, ...]:
    """Four 32-bit words that stand for a name, the same on every platform and Python version."""
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))


@dataclass(frozen=True)
class Streams:
    """The random streams of one run.

    Parameters
    ----------
    seed : int
        The experiment's seed, >= 0.
    replicate : int
        Which replicate of the experiment, >= 0.

    Examples
    --------
    >>> streams = Streams(seed=1, replicate=0)
    >>> a = streams.generator("survey", round=3).random()
    >>> a == streams.generator("survey", round=3).random()
    True
    >>> a == streams.generator("survey", round=4).random()
    False
    """

    seed: int = 0
    replicate: int = 0

    def generator(self, role: str, *, round: int = 0, segment: str = "") -> np.random.Generator:
        """Generator of one stream, always from its beginning.

        Parameters
        ----------
        role : str
            What the numbers are for, e.g. ``"survey"`` or ``"buyers.budget"``.
        round : int
            Round number; 0 for what is drawn before the first round.
        segment : str
            Owner or buyer segment, version, or other part of the role.
        """
        key = (self.replicate, *_words(role), round, *_words(segment))
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    def uniforms(self, role: str, count: int, *, round: int = 0, segment: str = "") -> np.ndarray:
        """`count` uniform numbers strictly inside (0, 1), shape (count,).

        The first `k` numbers do not depend on `count`, so a larger population contains the smaller.
        """
        u = self.generator(role, round=round, segment=segment).random(count)
        # random() can return 0, where the ppf of an unbounded distribution is -inf.
        return np.maximum(u, SMALLEST_UNIFORM)
