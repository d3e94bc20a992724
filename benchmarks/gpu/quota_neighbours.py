"""What a neighbour feels: of an aggressor on other SMs, and of pods that die, stop or start."""

from __future__ import annotations

import itertools
import os
import signal
import time
from typing import Any

from benchmarks.gpu.quota_clock import Clock, Seen
from benchmarks.gpu.quota_parts import GPU, Child, PhaseError, Pod, share_time
from benchmarks.gpu.quota_processes import Processes
from benchmarks.gpu.quota_shares import steps
from benchmarks.gpu.quota_stats import BIN_S, more_percent, segments
from quota_runtime.lease_file import RawLeases

AGGRESSORS = {"quiet": 4, "gemm": 4, "copy": 2}  # batch: about a millisecond a step
READINGS = (
    ("p99_more_percent", "ends", "took"),
    ("gpu_p99_more_percent", "gpu_ends", "gpu_took"),
)
EAGER = {"resnet50": {"batch": 96, "depth": 4}, "decoder": {"batch": 64, "depth": 4}}
PART_S = 0.6
SETTLE_S = 0.1
STARTS, STARTS_AT_ONCE, BATCH = 50, 5, 10
MOST_STARTS = 8  # after a fault, until one works
FIRST_SLOT = 1  # in the lease file, of the first of two pods
REST_S, MOST_S = 2.0, 60.0


def victim(
    pods: list[Pod], children: list[Child], clock: Clock, work: str, mode: str, seconds: float
) -> dict[str, Any]:
    """A victim on one half of the SMs; on the other half an aggressor works and rests in turn.

    Its steps are timed by the GPU's own stamps too. Eager they are queued ahead for that, and so
    large that the GPU takes longer than the launching thread: else its pauses would be in them.
    """
    pods[0].put(groups=pods[0].groups(0.5))
    pods[1].put(groups=pods[1].groups(0.5, last=True))
    work_of = {"do": "run", "work": work, "mode": mode, "label": "half", "marks": True}
    work_of |= {"batch": 8, "depth": 0} if mode == "graph" else EAGER[work]
    children[0].ask(**work_of, seconds=0.2, patience=60)
    rows: dict[str, Any] = {"work": work, "mode": mode, "batch": work_of["batch"]}
    for aggressor, batch in AGGRESSORS.items():
        other = {"do": "run", "work": aggressor, "batch": batch}
        children[1].ask(**other, seconds=0.1, patience=60)
        long = seconds if aggressor == "quiet" else max(2.6, seconds / 3)
        children[0].start(**work_of, seconds=long, series=True)
        end = time.monotonic() + long - SETTLE_S
        quiet, busy = [], []
        seen = {"quiet": Seen(), "busy": Seen()}
        while time.monotonic() + PART_S < end:
            at = time.monotonic()
            with clock.watched(seen["quiet"]):
                time.sleep(PART_S)
            quiet.append((at + SETTLE_S, time.monotonic()))
            at = time.monotonic()
            with clock.watched(seen["busy"]):
                children[1].ask(**other, seconds=min(PART_S, max(0.0, end - at)))
            busy.append((at + SETTLE_S, time.monotonic() - SETTLE_S))
        got = children[0].finish(60)
        rows[aggressor] = {
            reading: more_percent(
                segments(got[ends], got[took], busy),
                segments(got[ends], got[took], quiet),
                paired=True,
            )
            for reading, ends, took in READINGS
        }
        rows[aggressor]["clock"] = {name: one.facts() for name, one in seen.items()}
    for pod in pods:
        pod.put()
    return rows


def _work_after(answer: dict[str, Any], at: float) -> dict[str, float]:
    """Return steps a second before and after a moment, and the longest gap between steps."""
    ends = answer["ends"]
    gaps = [b - a for a, b in itertools.pairwise(ends)]
    before = sum(ends[0] + 0.3 < e <= at for e in ends) / max(BIN_S, at - ends[0] - 0.3)
    after = sum(e > at for e in ends) / max(BIN_S, ends[-1] - at)
    longest = 1e3 * max(gaps, default=0.0)
    return {"before_per_second": before, "after_per_second": after, "longest_gap_ms": longest}


def killed(pods: list[Pod], children: list[Child]) -> dict[str, Any]:
    """SIGKILL in mid-kernel without MPS, the pods in turns: what the other one notices."""
    share_time(pods, 500)
    for child in children:
        child.start(**{**steps("eager", 3), "series": True})
    time.sleep(1.5)
    children[0].process.send_signal(signal.SIGKILL)
    at = time.monotonic()
    got = children[1].finish(30)
    again = children[1].ask(**steps("eager", 0.5))
    return {
        "survivor": _work_after(got, at),
        "afterwards_per_second": again["per_second"],
        "equal": again["digest"] == got["digest"],
    }


def _holder_kill(processes: Processes, name: str) -> float:
    """Kill a process in the turn of its pod, the first of two; return when."""
    lease = os.open(processes.leases / GPU, os.O_RDONLY)
    end = time.monotonic() + 1
    try:
        while time.monotonic() < end:
            running = int.from_bytes(os.pread(lease, 8, RawLeases.running.offset), "little")
            if running & 1 << FIRST_SLOT:
                break
    finally:
        os.close(lease)
    processes.children[name].process.send_signal(signal.SIGKILL)
    return time.monotonic()


def killed_beside(processes: Processes) -> dict[str, Any]:
    """SIGKILL of the holder of a lease in mid-kernel under MPS; ends what else works there.

    Afterwards pods start, one after the other, until one works: so long a restart takes.
    """
    names = ("a", "b")
    pods, children = processes.pods_of(*names), processes.of(*names)
    share_time(pods, 500)
    for child in children:
        child.start(**{**steps("eager", 3), "series": True})
    time.sleep(1.5)
    at = _holder_kill(processes, "a")
    result: dict[str, Any] = {"survivor_error": None}
    try:
        got = children[1].finish(30)
        result |= {"survivor": _work_after(got, at)}
        result["equal"] = children[1].ask(**steps("eager", 0.5))["digest"] == got["digest"]
    except PhaseError as error:
        result["survivor_error"] = str(error)[:200]
        result["survivor_told_ms"] = 1e3 * (time.monotonic() - at)
    tries = []
    while len(tries) < MOST_STARTS and not (tries and tries[-1].get("right")):
        tries += processes.short_pods(len(tries), 1, 1)
    result |= {"tries": tries, "new_pod_right_ms": 1e3 * (time.monotonic() - at)}
    return result


def stopped(pods: list[Pod], children: list[Child], seconds: float) -> dict[str, Any]:
    """SIGSTOP of a pod in its turn, and SIGCONT: the other goes on, both are right afterwards."""
    share_time(pods, 500)
    before = [child.ask(**steps("eager", 0.3))["digest"] for child in children]
    for child in children:
        child.start(**{**steps("eager", 3 * seconds), "series": True})
    time.sleep(seconds)
    children[0].process.send_signal(signal.SIGSTOP)
    at = time.monotonic()
    time.sleep(seconds)
    children[0].process.send_signal(signal.SIGCONT)
    got = [child.finish(30) for child in children]
    for pod in pods:
        pod.put()
    again = [child.ask(**steps("eager", 0.3))["digest"] for child in children]
    return {"survivor": _work_after(got[1], at), "equal": before == again}


def starts(processes: Processes, neighbour: str, mode: str) -> dict[str, Any]:
    """Fifty pods start, work and end on other SMs, ten at a time, beside one that works."""
    pod, child = processes.pods[neighbour], processes.children[neighbour]
    pod.put(quota=700, groups=pod.groups(0.5))
    ask = {"do": "run", "work": "resnet50", "mode": mode, "batch": 8, "check": True}
    before = child.ask(**ask, seconds=0.5, patience=60)
    done = processes.folder / "started"
    child.start(**ask, seconds=MOST_S, series=True, until=str(done))
    came: list[dict[str, Any]] = []
    quiet, busy = [], []
    end = time.monotonic() + MOST_S
    while len(came) < STARTS and time.monotonic() < end:
        at = time.monotonic()
        time.sleep(REST_S)
        quiet.append((at + SETTLE_S, time.monotonic()))
        at = time.monotonic()
        came += processes.short_pods(len(came), BATCH, STARTS_AT_ONCE)
        busy.append((at, time.monotonic()))
    done.touch()
    got = child.finish(MOST_S + 60)
    pod.put()
    series = got["ends"], got["took"]
    parts = {"quiet": segments(*series, quiet), "busy": segments(*series, busy)}
    rates = {
        name: sum(map(len, parts[name])) / sum(b - a for a, b in spans)
        for name, spans in (("quiet", quiet), ("busy", busy))
    }
    return {
        "started": len(came),
        "right": sum(one.get("right", False) for one in came),
        "errors": sorted({str(one["error"]) for one in came if one.get("error")}),
        "start_seconds": sorted(one.get("seconds", 0.0) for one in came)[len(came) // 2],
        "neighbour": {
            "steps": got["count"],
            "wrong": got["wrong"],
            "equal": got["digest"] == before["digest"],
            "steps_per_second": rates,
            "p99_more_percent": more_percent(parts["busy"], parts["quiet"]),
            "slowest_ms": 1e3 * max(got["took"]),
        },
    }


def forked(child: Child) -> dict[str, Any]:
    """Fork in a process that uses the GPU; its own work before and after."""
    ask = {"do": "run", "work": "resnet50", "mode": "eager", "batch": 8, "check": True}
    before = child.ask(**ask, count=20, patience=60)
    found = child.ask(do="fork", patience=60)
    after = child.ask(**ask, count=20)
    wrong = before["wrong"] + after["wrong"]
    return {**found, "parent_equal": before["digest"] == after["digest"], "parent_wrong": wrong}
