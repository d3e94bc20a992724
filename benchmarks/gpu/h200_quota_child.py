"""A process of ``h200_quota_dataset.py``: lone requests of its networks, under the quota library.

Reads a plan and then a start signal, answers in JSON lines. While it asks, changes its partition or
captures, it holds a lock of the machine: no two processes ever use the GPU at once, and each
process's own rest between two requests is time for the others.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import math
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu.h200_quota_plan import ALONE_WAY, THERE_WAY, WAYS, Visit
from benchmarks.gpu.measuring import pin
from benchmarks.gpu.quota_parts import CHECK, Pod, difference
from benchmarks.gpu.quota_workloads import PretendWorkload, Request, TorchWorkload, Workload
from benchmarks.gpu.window_phases import Phases

SMS = 132
WINDOW_MS = 50.0
LONGEST_MS = 400.0  # a request expected to take longer is left out
LONGEST_REST = 40  # windows that a request may have to wait until its pod is at rest again
FEWER_MS, FEWEST_MS = 5.0, 60.0  # longer requests differ less, and fewer tell as much
SETTLE_TRIES = 40
METERED_S = 0.003  # the library's meter has read the last request by then
SPIN_S = 3e-4
SETTLED_SPIN_S = 1e-4


class LateError(RuntimeError):
    """The time is up."""


class Turn:
    """The lock that whoever uses the GPU holds."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY)
        self._held = False
        self.waited_s = self.held_s = 0.0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold it, if it is not held by this process already."""
        if self._held:
            yield
            return
        asked = time.monotonic()
        fcntl.flock(self._file, fcntl.LOCK_EX)
        began = time.monotonic()
        self._held = True
        try:
            yield
        finally:
            self._held = False
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self.waited_s += began - asked
            self.held_s += time.monotonic() - began


def say(**answer: Any) -> None:
    """Tell the parent."""
    print(json.dumps(answer), flush=True)


class Lone:
    """Lone requests of one process."""

    def __init__(self, pod: Pod, workload: Workload, turn: Turn, seed: int) -> None:
        self.pod, self.workload, self.turn = pod, workload, turn
        self.random = random.Random(seed)
        self.began = self.deadline = 0.0
        self.settling_s = 0.0
        self._last: dict[tuple[str, str, int], tuple[int, float]] = {}

    def all(self, visits: list[Visit], began: float, deadline: float) -> None:
        """Make every visit that the time allows."""
        self.began, self.deadline = began, deadline
        for visit in visits:
            name = f"{visit.model} {visit.mode} batch {visit.batch} {visit.sm} SMs {visit.quotas}"
            try:
                self._intime(visit.until)
                held = self.turn() if visit.way == ALONE_WAY else contextlib.nullcontext()
                with held:
                    self._visit(visit, name)
            except LateError:
                say(skipped=f"{name}: time")
            except RuntimeError as error:
                say(skipped=f"{name}: {str(error).splitlines()[0]}")

    def _intime(self, share: float = 1.0) -> None:
        if time.monotonic() > self.began + share * (self.deadline - self.began):
            raise LateError

    def _visit(self, visit: Visit, name: str) -> None:
        batch, slower_ms = self._last.get((visit.model, visit.mode, visit.sm), (visit.batch, 0.0))
        if slower_ms * visit.batch / batch > 1.3 * LONGEST_MS:
            raise RuntimeError("too long")
        request, alone_ms = self._settled(visit)
        self._last[visit.model, visit.mode, visit.sm] = visit.batch, alone_ms
        if alone_ms > LONGEST_MS:
            raise RuntimeError("too long")
        if visit.quotas[0] != 100 and self._limit(visit.sm, visit.quotas[0], request):
            with self.turn():
                request()  # pays for what moving here overran
        for quota in visit.quotas:
            self._intime()
            if self._rest(alone_ms, quota) > LONGEST_REST:
                say(skipped=f"{name}: too long a rest at {quota}")
            elif not self._limit(visit.sm, quota, request):
                say(skipped=f"{name}: quota {quota} not in force")
            else:
                self._point(visit, quota, request, alone_ms)

    def _settled(self, visit: Visit) -> tuple[Request, float]:
        """Move to the partition; return the request and its time there, once it runs there."""
        began = time.monotonic()
        with self.turn():
            limits = self.pod.set(quota=1000, groups=_groups(visit.sm))
            request = self.workload.request(visit.model, visit.mode, visit.batch)
            for _ in range(SETTLE_TRIES):
                before = self.pod.counters()
                wall_ms = _wall_ms(request)
                time.sleep(METERED_S)
                there = ran_on(before, self.pod.counters())
                if CHECK or (there == visit.sm and self.pod.wait(limits, 0.001) is not None):
                    break
            else:
                raise RuntimeError(f"never ran on its partition, but on {there} SMs")
            if visit.way == THERE_WAY:
                label = f"captured on {visit.sm}"
                request = self.workload.request(visit.model, visit.mode, visit.batch, label)
                wall_ms = _wall_ms(request)
        self.settling_s += time.monotonic() - began
        return request, wall_ms

    def _limit(self, sm: int, quota: int, request: Request) -> bool:
        """Write a quota and return whether the library took it; some wait for a launch."""
        limits = self.pod.set(quota=10 * quota, groups=_groups(sm))
        if CHECK or self.pod.wait(limits, 0.1) is not None:
            return True
        with self.turn():
            request()
        return self.pod.wait(limits, 0.5) is not None

    def _point(self, visit: Visit, quota: int, request: Request, alone_ms: float) -> None:
        fits = alone_ms < 0.8 * quota / 100 * WINDOW_MS or quota == 100
        least, most = requests(visit.mode, alone_ms, fits)
        phases = Phases(WINDOW_MS, self.random.uniform(0, WINDOW_MS), least, most)
        rest = self._rest(alone_ms, quota)
        first, at_s = self.pod.counters(), time.monotonic() - self.began
        last = first
        while (phase := phases.next_ms()) is not None:
            self._intime()
            *found, last = self._asked(request, phase, rest)
            phases.add(*found)
        walls = phases.walls
        ran_ms = difference(last, first, "gpu_time_ns")["gpu_time_ns"] / 1e6 / (len(walls) - 1)
        figures = {"latency_ms": phases.mean_ms(), "least_ms": min(walls.values())}
        figures |= {"most_ms": max(walls.values()), "metered_ms": ran_ms, "at_s": at_s}
        texts = {k: f"{v:.4f}" for k, v in figures.items()} | {"runs": str(len(walls))}
        texts["metered_sm"] = str(ran_on(first, last))
        texts["phases_ms"] = " ".join(f"{phase:.2f}" for phase in walls)
        texts["walls_ms"] = " ".join(f"{wall:.3f}" for wall in walls.values())
        say(row=visit.place() | {"quota": quota} | texts)

    def _rest(self, alone_ms: float, quota: int) -> int:
        """Return the edges of the window after which a request finds its budget whole again."""
        return 1 if quota == 100 else math.ceil(1.02 * alone_ms / (quota / 100 * WINDOW_MS))

    def _asked(
        self, request: Request, phase_ms: float, edges: int
    ) -> tuple[float, float, dict[str, int]]:
        """Ask once at a phase of the window that begins so many edges from now, or a bit later.

        Returns:
            The phase met, which is another where the lock was held, and the wall time, in ms; and
            the counters before, when the meter has read all earlier requests.

        """
        window_ns = int(1e6 * WINDOW_MS)
        target = (time.monotonic_ns() // window_ns + edges) * window_ns + int(1e6 * phase_ms)
        time.sleep(max(0.0, (target - time.monotonic_ns()) / 1e9 - SPIN_S))
        before = self.pod.counters()
        with self.turn():
            target = max(target, time.monotonic_ns() + int(1e9 * SETTLED_SPIN_S))
            while time.monotonic_ns() < target:
                pass
            return time.monotonic_ns() % window_ns / 1e6, _wall_ms(request), before


def ran_on(before: dict[str, int], after: dict[str, int]) -> int:
    """Return the SMs that the library's meter saw in use; 0: it saw no time."""
    ran = difference(after, before, "gpu_time_ns", "area_sm_ns")
    return round(ran["area_sm_ns"] / ran["gpu_time_ns"]) if ran["gpu_time_ns"] else 0


def requests(mode: str, alone_ms: float, fits: bool) -> tuple[int, int]:
    """Return the least and the most requests of a row; a graph, being one launch, never pauses."""
    if mode == "eager":
        return 5, 10
    least = 2 if alone_ms > FEWEST_MS else 4 if fits and alone_ms < FEWER_MS else 3
    return least, least


def _wall_ms(request: Request) -> float:
    began = time.perf_counter()
    request()
    return (time.perf_counter() - began) * 1e3


def _groups(sm: int) -> int:
    return (1 << (SMS if sm == SMS else sm) // 8) - 1


def prepare(workload: Workload, visits: list[Visit]) -> list[str]:
    """Load every network and capture every graph; return those that could not be."""
    ways: dict[str, list[str]] = {}
    for visit in visits:
        dtypes = ways.setdefault(visit.model, [])
        if WAYS[visit.mode] not in dtypes:
            dtypes.append(WAYS[visit.mode])
    broken = []
    for name, dtypes in ways.items():
        try:
            workload.build(name, dtypes)
            for mode, batch in dict.fromkeys((v.mode, v.batch) for v in visits if v.model == name):
                workload.request(name, mode, batch)()
        except (RuntimeError, ValueError) as error:
            broken.append(name)
            say(skipped=f"{name}: {str(error).splitlines()[0]}")
    return broken


def main() -> None:
    """Read the plan, get ready, wait for the start, measure."""
    plan = json.loads(sys.stdin.readline())
    pin(*plan["cores"])
    gc.disable()
    visits = [Visit(**{**v, "quotas": tuple(v["quotas"])}) for v in plan["visits"]]
    began = time.monotonic()
    workload: Workload = PretendWorkload() if CHECK else TorchWorkload()
    broken = prepare(workload, visits)
    say(ready=round(time.monotonic() - began, 1), about=workload.about() if plan["about"] else {})
    start = json.loads(sys.stdin.readline() or "null")
    if start:
        turn = Turn(Path(plan["lock"]))
        pod = Pod(Path(os.environ["KSERVE_HAS_DIR"]), SMS)
        lone = Lone(pod, workload, turn, plan["seed"])
        lone.all([v for v in visits if v.model not in broken], **start)
        took = {"settling_s": lone.settling_s, "lock_waited_s": turn.waited_s}
        took |= {"lock_held_s": turn.held_s, "ended_s": time.monotonic() - lone.began}
        say(ended={name: round(seconds, 1) for name, seconds in took.items()})


if __name__ == "__main__":
    main()
