"""What changing limits does to a process at work and to its neighbour."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.gpu.quota_parts import CHECK, Child, Pod, difference
from benchmarks.gpu.quota_stats import more_percent, segments
from quota_runtime.region import Limits

FLIP_S = 0.5
PART_S = 5.0  # so long limits change, so long they rest, in turn
SETTLE_S = 0.1
NEW_PARTITIONS = 30  # a process keeps at most 32


def resize_latency(pod: Pod, child: Child) -> dict[str, Any]:
    """How long limits take to be in force while the process works, first time and again."""
    again = [pod.groups(n / pod.count) for n in (3, 5, 7)]
    new = [0b1011 << n % 13 | 1 << (n * 5) % pod.count for n in range(200)]
    new = list(dict.fromkeys(mask & pod.all for mask in new if mask & pod.all not in again))
    kinds = [("sm first", {"groups": mask}) for mask in (*again, *new)][:NEW_PARTITIONS]
    kinds += [("sm again", {"groups": mask}) for mask in again * 14]
    kinds += [("quota", {"quota": quota}) for quota in (900, 500, 700, 300) * 10]
    child.start(do="run", work="gemm", batch=2, mode="eager", seconds=len(kinds) * 0.035 + 2)
    time.sleep(0.5)
    took: dict[str, list[float]] = {}
    cost: dict[str, list[float]] = {}
    moved: dict[str, list[float]] = {}
    for kind, limits in kinds:
        before = pod.counters().get("resizes", 0)
        written = pod.set(**limits)
        if "groups" in limits and (effect := _until_moved(pod, written, before)) is not None:
            moved.setdefault(kind, []).append(effect)
        known = pod.wait(written, 0.5)
        time.sleep(0.02)
        if known is not None:
            took.setdefault(kind, []).append(known)
            cost.setdefault(kind, []).append(pod.counters().get("resize_last_ns", 0) / 1e3)
    pod.set()
    child.finish(30)
    return {
        "in_force_ms": {kind: _figures(values) for kind, values in took.items()},
        "next_launch_ms": {kind: _figures(values) for kind, values in moved.items()},
        "sm_first_in_order_ms": took.get("sm first"),
        "launch_path_us": {k: _figures(values) for k, values in cost.items() if k != "quota"},
    }


def _until_moved(pod: Pod, written: Limits, resizes: int) -> float | None:
    """Return ms from the write until the next launch goes to the new partition; None: never."""
    end = time.monotonic() + (0.01 if CHECK else 0.5)
    while time.monotonic() < end:
        if pod.counters().get("resizes", 0) > resizes:
            return (time.monotonic_ns() - written.written_at_ns) / 1e6
    return None


def _figures(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    p95 = ordered[int(len(ordered) * 0.95)]
    middle = statistics.median(ordered)
    return {"repeats": len(ordered), "median": middle, "p95": p95, "max": ordered[-1]}


Spans = list[tuple[float, float]]


def live_resize(
    pods: list[Pod], children: list[Child], mode: str, seconds: float
) -> dict[str, Any]:
    """Quota, SMs and memory of one pod change twice a second; a neighbour works on other SMs.

    Five seconds of changes, five of rest: the neighbour's latency is compared between the two.
    """
    first, second = pods
    second.wait(second.set(groups=second.groups(0.5, last=True)))
    parts = [first.groups(share) for share in (0.25, 0.375, 0.125, 0.5)]
    for part in parts:  # made before, so that first use is not in the figure
        first.wait(first.set(groups=part))
    ask = {"do": "run", "work": "resnet50", "mode": mode, "batch": 8, "check": True}
    ask["label"] = "live"
    for child in children:
        child.start(**ask, seconds=seconds / 60)
    steady = [child.finish(60) for child in children]
    before = [pod.counters() for pod in pods]
    for child in children:
        child.start(**ask, seconds=seconds, series=True)
    took, busy, quiet = _alternate(first, parts, time.monotonic() + seconds - 0.3)
    moved = [child.finish(60) for child in children]
    for pod in pods:
        pod.wait(pod.set())
    known = [t for t in took if t is not None]
    series = moved[1]["ends"], moved[1]["took"]
    counters = ("resizes", "faults", "ungated_launches", "memory_refused")
    return {
        "seconds": seconds,
        "flips": len(took),
        "never_in_force": len(took) - len(known),
        "in_force_ms": _figures(known) if known else None,
        "wrong_outputs": sum(m["wrong"] for m in moved),
        "iterations": [m["count"] for m in moved],
        "library": [
            difference(pod.counters(), then, *counters)
            for pod, then in zip(pods, before, strict=True)
        ],
        "equal_to_before": [m["digest"] == s["digest"] for m, s in zip(moved, steady, strict=True)],
        "neighbour_p99_more_percent": more_percent(
            segments(*series, busy), segments(*series, quiet)
        ),
        "neighbour_slowest_ms": 1e3 * max(moved[1]["took"]),
    }


def _alternate(pod: Pod, parts: list[int], end: float) -> tuple[list[float | None], Spans, Spans]:
    """Rest and change limits in turn; return how long each took, and when was which."""
    used = pod.counters().get("memory_bytes", 0)
    took: list[float | None] = []
    quiet, busy = [], []
    while time.monotonic() < end:
        pod.wait(pod.set(groups=parts[-1]))
        until = min(end, time.monotonic() + PART_S)
        quiet.append((time.monotonic() + SETTLE_S, until))
        time.sleep(max(0.0, until - time.monotonic()))
        begin = time.monotonic()
        until = min(end, begin + PART_S)
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


def memory(pod: Pod, child: Child) -> dict[str, Any]:
    """Shrink the memory limit under what is used, and lift it again."""
    child.ask(do="run", work="gemm", batch=1, count=1)
    used = pod.counters().get("memory_bytes", 0)
    pod.wait(pod.set(memory=used + (2 << 30)))
    limited = child.ask(do="memory", bytes=4 << 30)
    pod.wait(pod.set(memory=max(1 << 20, used // 2)))
    below = child.ask(do="memory", bytes=1 << 30)
    pod.wait(pod.set())
    lifted = child.ask(do="memory", bytes=4 << 30)
    return {"used": used, "limited": limited, "below_use": below, "lifted": lifted}
