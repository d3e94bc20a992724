"""What changing limits does to a process at work, to its neighbour, and what it costs."""

from __future__ import annotations

import signal
import statistics
import time
from typing import Any

from benchmarks.gpu.quota_parts import Child, PhaseError, Pod, difference
from benchmarks.gpu.quota_shares import NETWORKS, median

FLIP_S = 0.1
ROUNDS = 12  # short ones in turn, so that a slow moment of the host hits all alike


def resize_latency(pod: Pod, child: Child) -> dict[str, Any]:
    """How long limits take to be in force while the process works, first time and again."""
    child.start(do="run", work="gemm", batch=2, mode="eager", seconds=6)
    time.sleep(0.5)
    took: dict[str, list[float]] = {"sm_first": [], "sm_again": [], "quota": []}
    cost: dict[str, list[float]] = {"sm_first": [], "sm_again": []}
    sizes = [pod.groups(n / pod.count) for n in (3, 5, 7, 9, 11, 13)]
    for kind, groups in [("sm_first", g) for g in sizes] + [("sm_again", g) for g in sizes * 3]:
        known = pod.wait(pod.set(groups=groups), 0.5)
        time.sleep(0.02)
        if known is not None:
            took[kind].append(known)
            cost[kind].append(pod.counters().get("resize_last_ns", 0) / 1e3)
    for quota in (900, 500, 700, 300) * 4:
        known = pod.wait(pod.set(quota=quota), 0.5)
        if known is not None:
            took["quota"].append(known)
    pod.set()
    child.finish(30)
    return {
        "in_force_ms": {
            k: {"median": median(v), "max": max(v, default=None)} for k, v in took.items()
        },
        "launch_path_us": {
            k: {"median": median(v), "max": max(v, default=None)} for k, v in cost.items()
        },
    }


def live_resize(
    pods: list[Pod], children: list[Child], mode: str, seconds: float
) -> dict[str, Any]:
    """Quota, SMs and memory of one pod change every 100 ms; a neighbour works on other SMs."""
    first, second = pods
    half, other = first.groups(0.5), second.groups(0.5, last=True)
    second.wait(second.set(groups=other))
    first.wait(first.set(groups=half))
    parts = [half, first.groups(0.25), first.groups(0.375), first.groups(0.125)]
    for part in (*parts[1:], half):  # made before, so that first use is not in the figure
        first.wait(first.set(groups=part))
    ask = {"do": "run", "work": "resnet50", "mode": mode, "batch": 8, "check": True}
    steady: list[dict[str, Any]] = []
    for child in children:
        child.start(**ask, seconds=seconds / 2)
    steady = [child.finish(60) for child in children]
    before = first.counters()
    for child in children:
        child.start(**ask, seconds=seconds)
    took, flips, end = [], 0, time.monotonic() + seconds - 0.3
    used = before.get("memory_bytes", 0)
    while time.monotonic() < end:
        limits = first.set(
            quota=(1000, 700, 400)[flips % 3],
            groups=parts[flips % 4],
            memory=(60 << 30, used + (1 << 28))[flips % 2],
        )
        flips += 1
        took.append(first.wait(limits, 0.5))
        time.sleep(max(0.0, FLIP_S - (took[-1] or 0) / 1e3))
    moved = [child.finish(60) for child in children]
    first.wait(first.set())
    known = [t for t in took if t is not None]
    return {
        "flips": flips,
        "never_in_force": len(took) - len(known),
        "in_force_ms": {"median": median(known), "max": max(known, default=None)},
        "wrong_outputs": moved[0]["wrong"] + moved[1]["wrong"],
        "iterations": [m["count"] for m in moved],
        "resizes": difference(first.counters(), before, "resizes", "faults", "ungated_launches"),
        "equal_to_before": moved[0]["digest"] == steady[0]["digest"],
        "neighbour_p99_ms": {"steady": steady[1]["p99_ms"], "beside_flips": moved[1]["p99_ms"]},
        "neighbour_p50_ms": {"steady": steady[1]["p50_ms"], "beside_flips": moved[1]["p50_ms"]},
    }


def overhead(
    pod: Pod, others: dict[str, Child], limited: Child, seconds: float, batch: int
) -> list[dict[str, Any]]:
    """Throughput without the library, with it, and under limits that hardly bind, interleaved."""
    rows = []
    for work in NETWORKS:
        for mode in ("eager", "graph"):
            speeds: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                for name, child in {**others, "quota 100": limited, "quota 99": limited}.items():
                    if child is limited:
                        pod.wait(pod.set(quota=990 if name == "quota 99" else 1000))
                    got = child.ask(do="run", work=work, mode=mode, batch=batch, seconds=seconds)
                    speeds.setdefault(name, []).append(1e3 / got["p50_ms"])
            best = {name: statistics.median(values) for name, values in speeds.items()}
            bare = best["bare"]
            rows.append(
                {
                    "work": work,
                    "mode": mode,
                    "per_second": speeds,
                    "spread_percent": 100 * (max(speeds["bare"]) / min(speeds["bare"]) - 1),
                    "lost_percent": {n: 100 * (1 - v / bare) for n, v in best.items()},
                }
            )
    pod.wait(pod.set())
    return rows


def victim(pods: list[Pod], children: list[Child], seconds: float) -> dict[str, Any]:
    """A victim on one half; on the other half nobody, a compute-bound and a bandwidth-bound one."""
    pods[0].wait(pods[0].set(groups=pods[0].groups(0.5)))
    pods[1].wait(pods[1].set(groups=pods[1].groups(0.5, last=True)))
    rows = {}
    for work in ("resnet50", "decoder"):
        for aggressor in (None, "gemm", "copy"):
            if aggressor:
                children[1].start(do="run", work=aggressor, batch=2, seconds=seconds + 1)
                time.sleep(0.5)
            got = children[0].ask(do="run", work=work, mode="eager", batch=8, seconds=seconds)
            if aggressor:
                children[1].finish(30)
            rows[f"{work} beside {aggressor or 'nobody'}"] = {
                "p50_ms": got["p50_ms"],
                "p99_ms": got["p99_ms"],
                "per_second": got["per_second"],
            }
    for pod in pods:
        pod.wait(pod.set())
    return rows


def counted(child: Child, kinds: tuple[str, ...], *, begun: bool = False) -> dict[str, Any]:
    """Launches by the library's hooks and by the profiler, for each kind of work.

    `begun`: the first request, which makes what must be made, is already on its way.
    """
    result: dict[str, Any] = {}
    for kind in kinds:
        try:
            if not begun:
                child.start(do="count", what=kind)
            child.finish(45)
            result[kind] = child.ask(do="count", what=kind, patience=30)
        except PhaseError as error:
            result[kind] = {"failed": str(error)}
    return result


def memory(pod: Pod, child: Child) -> dict[str, Any]:
    """Shrink the memory limit under what is used, and lift it again."""
    used = pod.counters().get("memory_bytes", 0)
    pod.wait(pod.set(memory=used + (2 << 30)))
    limited = child.ask(do="memory", bytes=4 << 30)
    pod.wait(pod.set(memory=max(1 << 20, used // 2)))
    below = child.ask(do="memory", bytes=1 << 30)
    pod.wait(pod.set())
    lifted = child.ask(do="memory", bytes=4 << 30)
    return {"used": used, "limited": limited, "below_use": below, "lifted": lifted}


def killed(pods: list[Pod], children: list[Child]) -> dict[str, Any]:
    """SIGKILL in mid-kernel without MPS: what the other pod notices, and the dead pod's books."""
    for child in children:
        child.start(do="run", work="gemm", batch=8, seconds=3)
    time.sleep(1)
    children[0].process.send_signal(signal.SIGKILL)
    got = children[1].finish(30)
    again = children[1].ask(do="run", work="gemm", batch=8, seconds=0.5)
    return {
        "survivor_count": got["count"],
        "survivor_p99_ms": got["p99_ms"],
        "afterwards_per_second": again["per_second"],
        "slot_left": bool(pods[0].slot()),
    }
