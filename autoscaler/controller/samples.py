"""From Prometheus samples of the gateway's counters to what a service's traffic was. Pure.

Envoy counts a request when a replica begins with it, not when it arrives. What arrived by some
moment is therefore: begun + waiting + given up or failed while waiting + refused, less the
second attempts. Differences of that sum, second by second, are the arrival rates.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from kserve_has.slo import Slo

from ..policy.observation import Traffic

Point = tuple[float, float]  # (wall-clock seconds, value)
Bucket = tuple[float, float]  # (upper edge in milliseconds, requests at or below it)

SILENT_S: Final = 3.0  # three scrapes

# Sign with which each of Envoy's cluster counters enters the number of requests that arrived.
BEGUN: Final = "envoy_cluster_upstream_rq_total"
WAITING: Final = "envoy_cluster_upstream_rq_pending_active"
ARRIVAL_TERMS: Final[Mapping[str, int]] = {
    BEGUN: 1,
    WAITING: 1,
    "envoy_cluster_upstream_rq_cancelled": 1,
    "envoy_cluster_upstream_rq_pending_overflow": 1,
    "envoy_cluster_upstream_rq_pending_failure_eject": 1,
    "envoy_cluster_upstream_cx_none_healthy": 1,
    "envoy_cluster_upstream_rq_retry": -1,
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What happened to the requests that ended in the latency window.

    Attributes:
        buckets: cumulative histogram of the window, ascending, the last edge infinite.
        failed: answers with a 5xx status, the gateway's own included.
        ended: answers with any status.
        in_flight: requests at replicas or waiting for one, now.

    """

    buckets: tuple[Bucket, ...] = ()
    failed: float = 0.0
    ended: float = 0.0
    in_flight: float = 0.0


@dataclass(slots=True)
class History:
    """Samples of one counter of one gateway, by time; a restart of the gateway counts on.

    Attributes:
        points: ascending in time; a counter never falls, a gauge may.

    """

    points: list[Point] = field(default_factory=list)
    _last_raw: float = 0.0
    _base: float = 0.0

    def extend(self, samples: Iterable[Point], keep_s: float, *, gauge: bool = False) -> None:
        """Append the samples that are newer than all held and forget those older than wanted."""
        for at, value in samples:
            if self.points and at <= self.points[-1][0]:
                continue
            if gauge:
                self.points.append((at, value))
                continue
            if value < self._last_raw:
                self._base += self._last_raw
            self._last_raw = value
            self.points.append((at, self._base + value))
        if self.points:
            oldest = self.points[-1][0] - keep_s
            first = bisect_left(self.points, (oldest, -math.inf))
            del self.points[:first]

    def at(self, moment: float) -> float | None:
        """Return the value at a moment, between two samples in proportion; None before the first.

        After the newest sample its value stands.
        """
        points = self.points
        if not points or moment < points[0][0]:
            return None
        index = bisect_left(points, (moment, -math.inf))
        if index == len(points):
            return points[-1][1]
        if points[index][0] == moment:
            return points[index][1]
        (t0, v0), (t1, v1) = points[index - 1], points[index]
        return v0 + (v1 - v0) * (moment - t0) / (t1 - t0)


def arrivals(
    gateways: Sequence[Mapping[str, History]], now: float, window_s: int
) -> tuple[tuple[float, float], ...]:
    """Return (end of second before now, requests per second), newest last.

    Args:
        gateways: for each gateway its histories by metric name.
        now: wall-clock seconds.
        window_s: how far back to go.

    """
    newest = newest_sample(gateways)
    if newest is None:
        return ()
    found = []
    for back in range(window_s):
        end = newest - back
        # A first sample carries everything since the gateway started: only differences count.
        known = [d for d in (_arrived(g, end - 1, end) for g in gateways) if d is not None]
        if not known:
            break
        found.append((now - end, max(0.0, sum(known))))
    return tuple(reversed(found))


def newest_sample(gateways: Iterable[Mapping[str, History]]) -> float | None:
    """Return the wall-clock time up to which every living gateway is known, None without any.

    Gateways are scraped at different moments: until the later ones are, the sum is too low. One
    that has been silent for three seconds longer than another is taken for dead.
    """
    times = [
        max(h.points[-1][0] for h in histories.values() if h.points)
        for histories in gateways
        if any(h.points for h in histories.values())
    ]
    last = max(times, default=0.0)
    return min((at for at in times if at > last - SILENT_S), default=None)


def traffic(
    gateways: Sequence[Mapping[str, History]],
    answers: Answers,
    slo: Slo,
    now: float,
    windows: tuple[int, int],
) -> Traffic:
    """Return what the policy is told of one service; ``windows`` are arrivals' and latency's."""
    newest = newest_sample(gateways)
    if newest is None:
        return Traffic(sample_age_s=math.inf)
    total = answers.buckets[-1][1] if answers.buckets else 0.0
    good = at_most(answers.buckets, slo.latency_ms)
    offered = max(total, answers.ended)
    late = (total - good + answers.failed) / offered if offered > 0 else 0.0
    return Traffic(
        sample_age_s=max(0.0, now - newest),
        arrivals_rps=arrivals(gateways, now, windows[0]),
        in_flight=max(0.0, answers.in_flight),
        latency_ms=percentile(answers.buckets, slo.percentile),
        answered_rps=offered / windows[1],
        late_share=min(1.0, max(0.0, late)),
        median_ms=percentile(answers.buckets, 50),
    )


def at_most(buckets: Sequence[Bucket], bound_ms: float) -> float:
    """Return how many requests took at most ``bound_ms``, in proportion inside a bucket."""
    low_edge = low_count = 0.0
    for edge, count in buckets:
        if bound_ms < edge:
            inside = (bound_ms - low_edge) / (edge - low_edge) if math.isfinite(edge) else 0.0
            return low_count + (count - low_count) * inside
        low_edge, low_count = edge, count
    return low_count


def percentile(buckets: Sequence[Bucket], per_cent: float) -> float | None:
    """Return the latency that ``per_cent`` of the requests did not exceed; None without any.

    In the last, open bucket its lower edge is all that is known.
    """
    total = buckets[-1][1] if buckets else 0.0
    if total <= 0:
        return None
    wanted = total * per_cent / 100.0
    low_edge = low_count = 0.0
    for edge, count in buckets:
        if count >= wanted:
            if not math.isfinite(edge) or count == low_count:
                return low_edge
            return low_edge + (edge - low_edge) * (wanted - low_count) / (count - low_count)
        low_edge, low_count = edge, count
    return low_edge


def _arrived(histories: Mapping[str, History], begin: float, end: float) -> float | None:
    """Return the requests that arrived at one gateway between two moments, None if unknown."""
    total = 0.0
    for name, sign in ARRIVAL_TERMS.items():
        history = histories.get(name, History())
        before, after = history.at(begin), history.at(end)
        if before is None and name == BEGUN:
            return None
        # A counter that was not there before has counted from zero.
        total += sign * ((after or 0.0) - (before or 0.0))
    return total
