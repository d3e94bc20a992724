"""What stamps of work on the GPU tell: work by quota window, and where time went that nobody got.

Pure: stamps in, figures out. A stamp is a begin and an end in ns by the GPU's global timer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.quota_stats import BIN_S

BIN_NS = round(BIN_S * 1e9)
LEAD_NS = 200_000_000  # both are at work by then
CLOSE_NS = 20_000  # launches of one queue follow each other within this
Stamped = NDArray[np.int64]
Floats = NDArray[np.float64]


def work_until(stamps: Stamped, at: Floats) -> Floats:
    """Return how much of the stamped work was done at some times, each piece spread evenly."""
    edges = np.maximum.accumulate(np.asarray(stamps, np.int64).ravel())
    done = np.repeat(np.arange(len(stamps) + 1), 2)[1:-1]
    origin = edges[0]
    result: Floats = np.interp(at - origin, edges - origin, done)
    return result


def work_bins(stamps: Stamped, per_step: int = 1) -> dict[str, Any]:
    """Return steps done in each quota window, by the number of the first; empty of nothing."""
    if not len(stamps):
        return {"first": 0, "counts": []}
    first, last = int(stamps[0, 0]) // BIN_NS, int(stamps[-1, 1]) // BIN_NS
    at = np.arange(first, last + 2, dtype=np.int64) * BIN_NS
    done = np.diff(work_until(stamps, at)) / per_step
    return {"first": first, "counts": [round(float(d), 4) for d in done]}


def about(stamps: Stamped) -> dict[str, float]:
    """Return how long launches took, how busy the GPU was with them, and the gap between two."""
    if len(stamps) < 2:
        return {}
    took = stamps[:, 1] - stamps[:, 0]
    gaps = np.maximum(0, stamps[1:, 0] - stamps[:-1, 1])
    span = float(stamps[-1, 1] - stamps[0, 0])
    return {
        "launch_ms": float(np.median(took)) / 1e6,
        "busy": 1 - float(gaps.sum()) / span,
        "gap_us": float(np.median(gaps)) / 1e3,
        "longest_gap_ms": float(gaps.max()) / 1e6,
    }


def within(stamps: Stamped, begin: int, end: int) -> Stamped:
    """Return the stamps of what lies wholly in a span of time."""
    return stamps[(stamps[:, 0] >= begin) & (stamps[:, 1] <= end)]


def losses(pods: Sequence[Stamped], alone_ms: Sequence[float]) -> dict[str, Any]:
    """Return what several pods' launches, on one GPU, did with the time, in percent of it.

    `alone_ms`: how long a launch of each takes alone, so that a slower clock shows. Empty where they
    were not at work together.
    """
    begin = max(int(p[0, 0]) for p in pods) + LEAD_NS
    end = min(int(p[-1, 1]) for p in pods)
    parts = [within(p, begin, end) for p in pods]
    if not all(map(len, parts)):
        return {}
    owner = np.concatenate([np.full(len(p), i) for i, p in enumerate(parts)])
    stamps = np.concatenate(parts)
    order = np.argsort(stamps[:, 0], kind="stable")
    stamps, owner = stamps[order], owner[order]
    reached = np.maximum.accumulate(stamps[:, 1])
    gap = stamps[1:, 0] - reached[:-1]
    idle, shared = np.maximum(0, gap), np.maximum(0, -gap)
    over = owner[1:] != owner[:-1]
    apart = np.concatenate([[True], gap >= 0]) & np.concatenate([gap >= 0, [True]])
    span = float(end - begin)
    took = stamps[:, 1] - stamps[:, 0]
    slower = [
        100 * (float(took[apart & (owner == i)].mean()) / (1e6 * alone) - 1)
        for i, alone in enumerate(alone_ms)
        if (apart & (owner == i)).any()
    ]
    turns = np.sort(idle[over]) if over.any() else np.zeros(1)
    p50, p95 = np.percentile(turns, (50, 95))
    return {
        "held_percent": [100 * float(took[owner == i].sum()) / span for i in range(len(pods))],
        "idle_between_launches": 100 * float(idle[~over & (gap <= CLOSE_NS)].sum()) / span,
        "idle_in_turns": 100 * float(idle[~over & (gap > CLOSE_NS)].sum()) / span,
        "idle_at_hand_overs": 100 * float(idle[over].sum()) / span,
        "both_at_once": 100 * float(np.minimum(shared, took[1:]).sum()) / span,
        "launches_slower": slower,
        "hand_overs_per_s": 1e9 * float(over.sum()) / span,
        "hand_over_us": {"p50": p50 / 1e3, "p95": p95 / 1e3, "max": float(turns[-1]) / 1e3},
        "longest_stall_ms": float(idle[~over].max(initial=0)) / 1e6,
    }
