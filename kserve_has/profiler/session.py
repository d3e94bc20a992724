"""Measuring a served model point by point, each where the most is learnt; pure but for its timer.

A profile that cannot be trusted is refused with the reason: a noisy point, a GPU that throttled,
or a first point that is no longer what it was when the last was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ..errors import LatencyModelError
from ..rapp.choose import next_point
from ..rapp.core import Vector
from ..rapp.hierarchy import Points, Posterior, Prior
from ..rapp.profiles import Profile, ProfilePoint


class Timer(Protocol):
    """Something that can time the network on a piece of the GPU."""

    def measure(self, batch: int, sm: int) -> ProfilePoint:
        """Return the times of one batch on a partition, without a quota."""
        ...

    def throttled(self) -> str:
        """Return why the GPU's clocks are held down, empty if they are not."""
        ...

    def spent_s(self) -> float:
        """Return the seconds of GPU time used so far."""
        ...


@dataclass(frozen=True)
class Budget:
    """How much is measured and what is still trusted.

    Attributes:
        seconds: of GPU time for all points.
        points: at most.
        sure: stop when a typical prediction's standard deviation is below this share.
        spread: largest (p90 - p10) / p50 of a point, after one more try.
        drift: largest change of the first point between beginning and end.

    """

    seconds: float = 60.0
    points: int = 8
    sure: float = 0.02
    spread: float = 0.3
    drift: float = 0.1


def run(
    timer: Timer,
    prior: Prior,
    profile: Profile,
    places: Sequence[tuple[int, int]],
    budget: Budget,
    keep: Callable[[Profile], object],
) -> Profile:
    """Return the finished profile; ``profile`` may already hold points of an interrupted run.

    Args:
        timer: measures.
        prior: of networks that run this way.
        profile: the points so far and the card.
        places: (batch, SMs) that could be measured.
        budget: where to stop and what to refuse.
        keep: called with the profile after every point, so that nothing is lost.

    Raises:
        LatencyModelError: the measurements cannot be trusted, with the reason.

    """
    batch, sm = np.array(places, dtype=float).T
    candidates = Points(batch, sm, np.full(len(places), 100.0), np.zeros(len(places)))
    design = prior.design(candidates)
    while len(profile.points) < min(budget.points, len(places)):
        belief = prior.posterior(profile.without_quota())
        if len(profile.points) >= 4 and _deviation(prior, belief, candidates, design) < budget.sure:
            break
        if timer.spent_s() >= 0.8 * budget.seconds:
            break
        done = {(p.batch, p.sm) for p in profile.points}
        left = np.array([i for i, place in enumerate(places) if place not in done])
        value, _ = prior.evaluate(belief.z, candidates, design)
        # A point that takes ten times as long must teach only somewhat more.
        cost = (20.0 + np.exp(value[left])) ** 0.5
        at = next_point(prior, belief, candidates.take(left), design[left], cost)
        point = _trusted(timer, *places[int(left[at])], budget)
        profile = replace(profile, points=(*profile.points, point))
        keep(profile)
    if not profile.points:
        raise LatencyModelError("no time for a single point; give more --seconds")
    profile = _finished(timer, profile, budget)
    keep(profile)
    return profile


def _trusted(timer: Timer, batch: int, sm: int, budget: Budget) -> ProfilePoint:
    """Return a point whose runs agree, measured again once if they do not."""
    for _ in range(2):
        point = timer.measure(batch, sm)
        reason = timer.throttled()
        if reason:
            raise LatencyModelError(
                f"the GPU is throttled ({reason}); its times now are not its times later. Let it "
                "cool down or lift the limit, then run the same command again"
            )
        spread = (point.p90_ms - point.p10_ms) / point.p50_ms
        if spread <= budget.spread:
            return point
    raise LatencyModelError(
        f"batch {batch} on {sm} SMs is noisy: p10 {point.p10_ms:.2f}, p50 {point.p50_ms:.2f}, "
        f"p90 {point.p90_ms:.2f} ms. Is something else using the GPU or the host's cores? Stop it "
        "and run the same command again, or use --spread to accept more"
    )


def _finished(timer: Timer, profile: Profile, budget: Budget) -> Profile:
    first = profile.points[0]
    again = timer.measure(first.batch, first.sm)
    drift = abs(again.p50_ms / first.p50_ms - 1.0)
    if drift > budget.drift:
        raise LatencyModelError(
            f"batch {first.batch} on {first.sm} SMs took {first.p50_ms:.2f} ms at first and "
            f"{again.p50_ms:.2f} ms at the end: clocks or neighbours changed in between. Delete "
            "the unfinished profile and run the same command again on a quiet GPU"
        )
    card: Mapping[str, Any] = {
        **profile.card,
        "complete": True,
        "drift": round(drift, 4),
        "gpu_seconds": round(timer.spent_s(), 2),
    }
    return replace(profile, card=card)


def _deviation(prior: Prior, belief: Posterior, candidates: Points, design: Vector) -> float:
    _, slope = prior.evaluate(belief.z, candidates, design)
    unsure = np.einsum("ij,ij->i", slope @ belief.covariance, slope)
    return float(np.sqrt(np.median(unsure)))
