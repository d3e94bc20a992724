"""How soon limits that change are in force in a process at work."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.gpu.quota_parts import CHECK, Child, Pod, figures
from quota_runtime.region import Limits

NEW_PARTITIONS = 30  # a process keeps at most 32


def resize_latency(pod: Pod, child: Child) -> dict[str, Any]:
    """How long limits take to be in force while the process works, first time and again.

    Half of the new partitions are named in the limits before, as the agent names likely ones.
    """
    again = [pod.groups(n / pod.count) for n in (3, 5, 7)]
    new = [0b1011 << n % 13 | 1 << (n * 5) % pod.count for n in range(200)]
    new = list(dict.fromkeys(mask & pod.all for mask in new if mask & pod.all not in again))
    kinds = [("sm first", {"groups": mask}) for mask in (*again, *new)][:NEW_PARTITIONS]
    kinds[1::2] = [("sm announced", limits) for _, limits in kinds[1::2]]
    kinds += [("sm again", {"groups": mask}) for mask in again * 14]
    kinds += [("quota", {"quota": quota}) for quota in (900, 500, 700, 300) * 10]
    child.start(do="run", work="gemm", batch=2, mode="eager", seconds=len(kinds) * 0.05 + 2)
    time.sleep(0.5)
    took: dict[str, list[float]] = {}
    cost: dict[str, list[float]] = {}
    moved: dict[str, list[float]] = {}
    present = pod.all
    for kind, limits in kinds:
        if kind == "sm announced":
            _announce(pod, present, limits["groups"])
        present = limits.get("groups", present)
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
        "in_force_ms": {kind: figures(values) for kind, values in took.items()},
        "next_launch_ms": {kind: figures(values) for kind, values in moved.items()},
        "sm_first_in_order_ms": took.get("sm first"),
        "launch_path_us": {k: figures(values) for k, values in cost.items() if k != "quota"},
    }


def _announce(pod: Pod, present: int, groups: int) -> None:
    """Name a partition that may come next, and give the library the time to make it."""
    before = pod.counters().get("partitions", 0)
    pod.wait(pod.set(groups=present, next_groups=(groups,)), 0.5)
    end = time.monotonic() + (0.01 if CHECK else 0.5)
    while time.monotonic() < end and pod.counters().get("partitions", 0) == before:
        time.sleep(0.002)
    time.sleep(0.02)


def _until_moved(pod: Pod, written: Limits, resizes: int) -> float | None:
    """Return ms from the write until the next launch goes to the new partition; None: never."""
    end = time.monotonic() + (0.01 if CHECK else 0.5)
    while time.monotonic() < end:
        if pod.counters().get("resizes", 0) > resizes:
            return (time.monotonic_ns() - written.written_at_ns) / 1e6
    return None


def memory(pod: Pod, child: Child) -> dict[str, Any]:
    """Shrink the memory limit under what is used, and lift it again."""
    child.ask(do="run", work="gemm", batch=1, count=1)
    used = pod.counters().get("memory_bytes", 0)
    pod.put(memory=used + (2 << 30))
    limited = child.ask(do="memory", bytes=4 << 30)
    pod.put(memory=max(1 << 20, used // 2))
    below = child.ask(do="memory", bytes=1 << 30)
    pod.put()
    lifted = child.ask(do="memory", bytes=4 << 30)
    return {"used": used, "limited": limited, "below_use": below, "lifted": lifted}
