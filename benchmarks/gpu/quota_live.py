"""Limits that change twice a second for minutes: is everything right, and what a neighbour feels.

The neighbour works on other SMs. Its steps are timed twice. As the host sees them, each waited for:
what the pod's client feels, with all the host's noise. And by the GPU's own stamps with steps queued
ahead, so that the host does not count: what the changes do to its GPU time.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.gpu.quota_parts import CHECK, Answer, Child, Pod, difference, figures
from benchmarks.gpu.quota_stats import more_percent, segments

FLIP_S = 0.5
CHANGE_S, REST_S = 4.0, 2.0  # so long limits change, so long they rest, in turn
SETTLE_S = 0.1
LATE_S = 0.3
STEADY_S = 0.1 if CHECK else 1.0
AHEAD = 6  # the neighbour's steps in flight, where the GPU times them
BATCH = {"graph": 8, "eager": 96}  # eager the GPU must take far longer than the launching thread
COUNTERS = ("resizes", "faults", "ungated_launches", "memory_refused")
Spans = list[tuple[float, float]]


def live_resize(
    pods: list[Pod], children: list[Child], mode: str, seconds: float
) -> dict[str, Any]:
    """Quota, SMs and memory of one pod change twice a second; half of the time for each reading."""
    first, second = pods
    second.put(groups=second.groups(0.5, last=True))
    parts = [first.groups(share) for share in (0.25, 0.375, 0.125, 0.5)]
    for part in parts:  # made before, so that first use is not in the figure
        first.put(groups=part)
    ask = {"do": "run", "work": "resnet50", "mode": mode, "batch": BATCH[mode], "check": True}
    ask |= {"label": "live", "marks": True}
    for child in children:
        child.start(**ask, seconds=STEADY_S)
    steady = [child.finish(60) for child in children]
    before = [pod.counters() for pod in pods]
    took: list[float | None] = []
    moved: list[list[Answer]] = []
    readings: dict[str, Any] = {}
    for reading, depth, series in (("host", 0, ("ends", "took")), ("gpu", AHEAD, GPU_SERIES)):
        children[0].start(**ask, seconds=seconds / 2)
        children[1].start(**ask, seconds=seconds / 2, series=True, depth=depth)
        changes, busy, quiet = _alternate(first, parts, time.monotonic() + seconds / 2 - LATE_S)
        took += changes
        moved.append([child.finish(60) for child in children])
        times = [moved[-1][1][name] for name in series]
        sides = segments(times[0], times[1], busy), segments(times[0], times[1], quiet)
        readings[reading] = more_percent(*sides, paired=True)
    for pod in pods:
        pod.put()
    known = [t for t in took if t is not None]
    then = [one["digest"] for one in steady]
    return {
        "seconds": seconds,
        "flips": len(took),
        "never_in_force": len(took) - len(known),
        "in_force_ms": figures(known) if known else None,
        "wrong_outputs": sum(one["wrong"] for both in moved for one in both),
        "iterations": [sum(both[i]["count"] for both in moved) for i in (0, 1)],
        "library": [
            difference(pod.counters(), old, *COUNTERS)
            for pod, old in zip(pods, before, strict=True)
        ],
        "equal_to_before": [all(both[i]["digest"] == then[i] for both in moved) for i in (0, 1)],
        "neighbour_p99_more_percent": readings["host"],
        "neighbour_gpu_p99_more_percent": readings["gpu"],
        "neighbour_gpu": moved[-1][1]["gpu"],
        "neighbour_slowest_ms": 1e3 * max(moved[0][1]["took"]),
    }


GPU_SERIES = ("gpu_ends", "gpu_took")


def _alternate(pod: Pod, parts: list[int], end: float) -> tuple[list[float | None], Spans, Spans]:
    """Rest and change limits in turn; return how long each took, and when was which."""
    used = pod.counters().get("memory_bytes", 0)
    took: list[float | None] = []
    quiet, busy = [], []
    while time.monotonic() < end:
        pod.wait(pod.set(groups=parts[-1]))
        until = min(end, time.monotonic() + REST_S)
        quiet.append((time.monotonic() + SETTLE_S, until))
        time.sleep(max(0.0, until - time.monotonic()))
        begin = time.monotonic()
        until = min(end, begin + CHANGE_S)
        while time.monotonic() < until:
            at, flip = time.monotonic(), len(took)
            limits = pod.set(
                quota=(1000, 700, 400)[flip % 3],
                groups=parts[flip % 4],
                memory=(60 << 30, used + (1 << 28))[flip % 2],
            )
            took.append(pod.wait(limits, FLIP_S))
            time.sleep(max(0.0, at + FLIP_S - time.monotonic()))
        busy.append((begin, time.monotonic()))
    return took, busy, quiet
