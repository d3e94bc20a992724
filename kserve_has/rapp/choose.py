"""Which point of a network to measure next: the one that makes all others surer."""

from __future__ import annotations

import numpy as np

from .core import Vector
from .hierarchy import Points, Posterior, Prior


def next_point(
    prior: Prior, belief: Posterior, candidates: Points, design: Vector, cost: Vector | None = None
) -> int:
    """Return the candidate that takes the most variance from all candidates together.

    Args:
        prior: of the network.
        belief: after the points measured so far.
        candidates: points that could be measured, and whose latency is wanted.
        design: basis functions at the candidates.
        cost: time to measure each; divides the gain where given.
    """
    _, slope = prior.evaluate(belief.z, candidates, design)
    joint = slope @ belief.covariance @ slope.T
    gain = (joint**2).sum(axis=0) / (np.diag(joint) + prior.variance(slope))
    return int(np.argmax(gain if cost is None else gain / cost))


def choose(prior: Prior, points: Points, count: int) -> Vector:
    """Return the indices of the points that would be measured one after the other."""
    design = prior.design(points)
    chosen: list[int] = []
    for _ in range(min(count, len(points))):
        belief = prior.posterior(points.take(np.array(chosen, dtype=int)), design[chosen])
        left = np.setdiff1d(np.arange(len(points)), chosen)
        at = next_point(prior, belief, points.take(left), design[left])
        chosen.append(int(left[at]))
    return np.array(chosen, dtype=int)
