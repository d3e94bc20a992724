"""Steps repeated in a workload process: how fast, how late, how right, by the host and by the GPU."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.quota_stamps import Stamps
from benchmarks.gpu.quota_stats import BIN_S
from benchmarks.gpu.quota_timeline import about, work_bins

CHECK = os.environ.get("QUOTA_CHECK") == "1"  # a dry run on the CPU, to find mistakes
Step = Callable[[], torch.Tensor]
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def synchronize() -> None:
    """Wait for the device."""
    if not CHECK:
        torch.cuda.synchronize()


def digest(tensor: torch.Tensor) -> str:
    """Return a short name for the exact bits of a tensor."""
    data = tensor.detach().contiguous().view(torch.uint8).cpu().numpy().tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


class Queue:
    """Waits for each step at once, or only for the one `depth` before, so that the GPU is full."""

    def __init__(self, depth: int) -> None:
        self._depth = 0 if CHECK else depth
        self._events = [] if CHECK else [torch.cuda.Event() for _ in range(depth)]
        self._count = 0

    def wait(self) -> None:
        """Call after each step."""
        if not self._depth:
            return synchronize()
        event = self._events[self._count % self._depth]
        if self._count >= self._depth:
            event.synchronize()
        event.record()
        self._count += 1
        return None


class Wrong:
    """Counts outputs that differ in a bit, on the GPU: nobody waits for it."""

    def __init__(self, reference: torch.Tensor) -> None:
        self._bits = BITS[reference.element_size()]
        self._reference = reference.view(self._bits)
        self._count = torch.zeros((), dtype=torch.int64, device=reference.device)

    def look(self, output: torch.Tensor) -> None:
        """Compare one output."""
        self._count += (output.view(self._bits) != self._reference).any()

    def count(self) -> int:
        """Return how many were wrong."""
        return int(self._count.item())


def pin() -> None:
    """Keep this thread on one core and all others of the process off it."""
    cores = [int(core) for core in os.environ.get("QUOTA_CORES", "").split()]
    if len(set(cores)) < 2:
        return
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(task), set(cores[1:]))
    os.sched_setaffinity(0, {cores[0]})


def held_up() -> dict[str, float]:
    """Return seconds for which this thread was ready and its core busy, and its core stolen.

    Empty where the kernel does not tell.
    """
    try:
        delay = Path("/proc/thread-self/schedstat").read_text().split()[1]
        cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
        stolen = sum(int(line[8]) for line in lines if line and line[0] in cores)
    except (OSError, IndexError, ValueError):
        return {}
    return {"core_busy_s": int(delay) / 1e9, "stolen_s": stolen / os.sysconf("SC_CLK_TCK")}


def marked(step: Step, stamps: Stamps) -> Step:
    """Return the step with a stamp of the GPU's before and after it."""

    def run_marked() -> torch.Tensor:
        stamps.mark(end=False)
        output = step()
        stamps.mark(end=True)
        return output

    return run_marked


def run(step: Step, request: dict[str, Any], stamps: Stamps | None) -> dict[str, Any]:
    """Repeat a step for a time or a number of times; say how fast, how late, and how right.

    It ends early once a file `until` exists. `stamps`: where the GPU says when it did what; with
    `marks` in the request it is told so around each step, else the step does that itself.
    """
    pin()
    reference = step().clone()
    wrong = Wrong(reference) if request.get("check", False) else None
    if request.get("marks") and stamps:
        step = marked(step, stamps)
    queue = Queue(request.get("depth", 0))
    warm = time.monotonic() + request.get("warm", 0)
    while time.monotonic() < warm:
        step()
        synchronize()
    synchronize()
    offset = stamps.offset_ns() if stamps else 0
    seconds, count = request.get("seconds", 1e9), request.get("count", 1 << 60)
    until = request.get("until")
    took: list[float] = []
    ends: list[float] = []
    gc.disable()
    before = held_up()
    now = began = time.monotonic()
    while len(took) < count and now - began < seconds:
        at = time.monotonic()
        output = step()
        queue.wait()
        now = time.monotonic()
        took.append(now - at)
        ends.append(now)
        if wrong:
            wrong.look(output)
        if until and os.path.exists(until):
            break
    gc.enable()
    spent = now - began
    host = {name: round(value - before.get(name, 0.0), 4) for name, value in held_up().items()}
    ordered = sorted(took) or [0.0]
    return {
        "count": len(took),
        "per_second": len(took) / spent,
        "p10_ms": 1e3 * ordered[len(ordered) // 10],
        "p50_ms": 1e3 * ordered[len(ordered) // 2],
        "p99_ms": 1e3 * ordered[int(len(ordered) * 0.99)],
        "host": host,
        "wrong": wrong.count() if wrong else 0,
        "digest": digest(reference),
        **({"took": took, "ends": ends} if request.get("series") else {}),
        **({"bins": bins(began, ends)} if request.get("bins") and not stamps else {}),
        **(stamped(stamps, request, offset) if stamps else {}),
    }


def stamped(stamps: Stamps, request: dict[str, Any], offset_ns: int) -> dict[str, Any]:
    """Return what the GPU says of the run: work by quota window, and all else that is asked for."""
    found = stamps.read()
    per_step = 1 if request.get("marks") else request.get("batch", 1)
    result: dict[str, Any] = {"gpu": about(found)}
    if request.get("bins"):
        result["bins"] = work_bins(found, per_step)
    if request.get("series"):
        result["gpu_took"] = [round(t, 9) for t in (found[:, 1] - found[:, 0]) / 1e9]
        result["gpu_ends"] = [round(t, 6) for t in (found[:, 1] - offset_ns) / 1e9]
    if request.get("save"):
        np.save(request["save"], found)
    return result


def bins(began: float, ends: list[float]) -> dict[str, Any]:
    """Return how many steps ended in each quota window since the first, by the machine's clock."""
    first = int(began / BIN_S)
    counts = [0] * (int(max(ends, default=began) / BIN_S) - first + 1)
    for at in ends:
        counts[int(at / BIN_S) - first] += 1
    return {"first": first, "counts": counts}
