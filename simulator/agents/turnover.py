"""Buyers who come and go: when each of them is in the market, drawn before the first round."""

from __future__ import annotations

import math

import numpy as np

from simulator.streams import Streams

#: A round that no market reaches: who leaves in it never does.
NEVER = 2**62


def draw_arrivals(rate: float, rounds: int, streams: Streams, segment: str) -> tuple[int, ...]:
    """How many members of a segment arrive in each round, Poisson numbers of mean `rate`; empty if nobody ever does.

    A round's arrivals are the points up to `rate` of a Poisson process of rate 1. So those at a lower rate are the
    first of those at a higher one, and a market with more arrivals has the buyers of the other and more.

    Parameters
    ----------
    rate : float
        Mean number of arrivals in a round, >= 0.
    rounds : int
        Number of rounds.
    """
    if rate == 0:
        return ()
    return tuple(_points(rate, streams, segment, round) for round in range(1, rounds + 1))


def _points(rate: float, streams: Streams, segment: str, round: int) -> int:
    """How many points of a round's process lie below `rate`."""
    size = math.ceil(rate) + 1
    while True:
        rng = streams.generator("buyers.arrivals", round=round, segment=segment)
        points = np.cumsum(rng.exponential(size=size))
        if points[-1] > rate:
            return int(np.searchsorted(points, rate, side="right"))
        size *= 2


def draw_times(
    count: int, arrivals: tuple[int, ...], stay: float | None, streams: Streams, segment: str
) -> tuple[np.ndarray, np.ndarray]:
    """When the members of a segment come and go.

    How long one stays is geometric from 1 on, by the inverse of its distribution, so that nobody leaves earlier where
    the mean is larger.

    Parameters
    ----------
    count : int
        How many are there when the market opens.
    arrivals : tuple of int
        How many arrive in each round.
    stay : float, rounds, optional
        Mean number of rounds that a member stays, >= 1; without it nobody leaves.

    Returns
    -------
    arrived, left : array of int, shape (count + sum(arrivals),)
        First round in which each is there, and first one in which it is no longer.
    """
    cohorts = (count, *arrivals)
    arrived = np.repeat(np.maximum(np.arange(len(cohorts)), 1), cohorts)
    if stay is None:
        return arrived, np.full(len(arrived), NEVER)
    if stay == 1:
        return arrived, arrived + 1
    drawn = [streams.uniforms("buyers.stay", n, round=t, segment=segment) for t, n in enumerate(cohorts)]
    # P(more than s rounds) = (1 - 1/stay)^s = P(ln u / ln(1 - 1/stay) >= s).
    rounds = 1 + np.floor(np.log(np.concatenate(drawn)) / math.log1p(-1 / stay))
    return arrived, arrived + np.minimum(rounds, NEVER).astype(int)
