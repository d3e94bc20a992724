"""What leases do with time that one of two pods does not use, and what that costs the other."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.gpu.quota_parts import Child, Pod, difference, share_time
from benchmarks.gpu.quota_shares import COUNTERS, alone, counted, steps
from benchmarks.gpu.quota_stats import BIN_S
from quota_runtime.region import FLAG_BURST

FIRST = 300  # permille of the pod that borrows
SHORT = {"do": "run", "work": "gemm", "batch": 1, "depth": 0}  # each waited for: 0.2 ms of work
PAUSES = 20


def _short_latency(child: Child, mode: str) -> dict[str, float]:
    """Return how long lone requests of two short steps take, one every tenth of a second, in ms."""
    took = []
    for _ in range(PAUSES):
        took.append(float(child.ask(**SHORT, mode=mode, count=1)["p50_ms"]))
        time.sleep(0.1)
    took.sort()
    return {"p50_ms": took[len(took) // 2], "worst_ms": took[-1]}


def borrowing(pods: list[Pod], children: list[Child], mode: str, seconds: float) -> dict[str, Any]:
    """A pod of 30 % beside an idle neighbour, with and without borrowing; then the neighbour wakes."""
    for pod in pods:
        pod.put()
    speed = alone(children[0], max(0.3, seconds / 4), mode)
    rows: dict[str, Any] = {"mode": mode, "alone_per_second": speed}
    rows["latency alone"] = _short_latency(children[1], mode)
    for name, flags in (("limit", 0), ("burst", FLAG_BURST)):
        share_time(pods, FIRST, flags)
        before = pods[0].counters()
        [counts] = counted([children[0].ask(**steps(mode, seconds + 0.6))])
        children[0].start(**steps(mode, PAUSES * 0.2))
        latency = _short_latency(children[1], mode)
        children[0].finish(60)
        rows[name] = {
            "share": sum(counts) / (len(counts) * BIN_S * speed),
            "neighbour": latency,
            "library": difference(pods[0].counters(), before, *COUNTERS),
        }
    for pod in pods:
        pod.put()
    return rows
