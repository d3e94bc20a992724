"""What the phases of ``quota_h200.py`` are made of: workload processes and the pods they run in."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from quota_runtime.region import (
    FLAG_MEMORY,
    FLAG_SM,
    FLAG_TIME,
    Limits,
    LimitsWriter,
    UsageSlot,
    read_usage,
)

LIBRARY = Path("quota_runtime/build/libhas_quota.so")
CHILD = Path(__file__).with_name("quota_child.py")
GROUP_SIZE = 8
GPU = "GPU-bench"  # how the limits and the lease file name it
WINDOW_NS = 50_000_000
PATIENCE_S = 3.0
AT_ONCE_NS = 1  # a turn that begins with the quota window; 0 means no turn
Answer = dict[str, Any]
CHECK = "--check" in sys.argv  # nobody puts limits in force in a dry run


class PhaseError(RuntimeError):
    """A phase cannot go on; the others can."""


def library_at(path: Path) -> Path:
    """Return where the library is.

    Raises:
        SystemExit: it is not there, which a preload says to nobody.
    """
    if not (CHECK or path.is_file()):
        raise SystemExit(
            f"expected the quota library at {path}, found nothing there: "
            "run make -C quota_runtime OUT=build, or name it with --library"
        )
    return path.resolve()


class Child:
    """A workload process that does one thing at a time on request."""

    def __init__(self, name: str, environment: dict[str, str], log: Path) -> None:
        self.name = name
        self._log = log.open("a")
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD)],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._answers.put(line)
        self._answers.put("")

    def start(self, **request: Any) -> None:
        """Send a request without waiting for its answer."""
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise PhaseError(f"{self.name} is gone: {error}") from error

    def finish(self, seconds: float = 30) -> Answer:
        """Return the answer to the oldest request; a process that gives none in time is ended."""
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.process.kill()
            raise PhaseError(f"{self.name} did not answer in {seconds} s") from None
        if not line:
            self._answers.put("")
            raise PhaseError(f"{self.name} ended with {self.process.wait()}")
        answer: Answer = json.loads(line)
        if "error" in answer and set(answer) == {"error"}:
            raise PhaseError(f"{self.name}: {answer['error']}")
        return answer

    def ask(self, patience: float = 30, **request: Any) -> Answer:
        """Send a request and return its answer."""
        self.start(**request)
        return self.finish(patience + request.get("seconds", 0))

    def end(self) -> None:
        """Let the process end, and see that it does; one that is gone has ended."""
        with contextlib.suppress(OSError):
            if self.process.stdin:
                self.process.stdin.close()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Pod:
    """The folder a node agent would keep for a pod, and its limits."""

    def __init__(self, folder: Path, sm_count: int) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self._epoch = folder, 0
        self._writer = LimitsWriter(folder / "limits")
        self.count = sm_count // GROUP_SIZE
        self.all = (1 << self.count) - 1
        self.set()

    def groups(self, share: float, last: bool = False) -> int:
        """Return the first or last groups that make up a share of the GPU."""
        chosen = (1 << max(1, round(self.count * share))) - 1
        return chosen << self.count - chosen.bit_length() if last else chosen

    def set(
        self,
        quota: int = 1000,
        groups: int | None = None,
        memory: int = 60 << 30,
        phase: int = 0,
        flags: int = FLAG_TIME | FLAG_SM | FLAG_MEMORY,
        slot: int = 0,
        conflicts: int = 0,
        next_groups: tuple[int, ...] = (),
    ) -> Limits:
        """Write limits and return them as written.

        `slot` and `conflicts` are those of the lease file; a process without one keeps its turn.
        `next_groups` are partitions that the library may make ahead.
        """
        self._epoch += 1
        return self._writer.write(
            Limits(
                epoch=self._epoch,
                gpu_uuid=GPU,
                sm_groups=groups or self.all,
                max_sm_groups=self.all,
                sm_group_size=GROUP_SIZE,
                quota_permille=quota,
                memory_limit_bytes=memory,
                phase_ns=phase,
                flags=flags,
                lease_slot=slot,
                lease_conflicts=conflicts,
                next_sm_groups=next_groups,
            )
        )

    def put(self, **limits: Any) -> None:
        """Write limits, as ``set`` does, and wait until they are in force.

        Raises:
            PhaseError: they never were: what is measured under them would mean nothing.
        """
        written = self.set(**limits)
        if self.wait(written, PATIENCE_S) is None and not CHECK:
            raise PhaseError(
                f"limits of {self.folder.name} were not in force after {PATIENCE_S} s: "
                f"{self.counters() or 'no library has written there'}"
            )

    def wait(self, limits: Limits, seconds: float = 1.0) -> float | None:
        """Return milliseconds from the write until the library reported it; None: never."""
        end = time.monotonic() + (0.01 if CHECK else seconds)
        while time.monotonic() < end:
            usage = read_usage(self.folder / "usage")
            if usage.slots and usage.in_force(limits.epoch):
                return max(s.in_force_at_ns - limits.written_at_ns for s in usage.slots) / 1e6
            time.sleep(0.0005)
        return None

    def slot(self) -> UsageSlot | None:
        """Return the counters of the one process, None before it started."""
        slots = read_usage(self.folder / "usage").slots
        return slots[0] if slots else None

    def counters(self) -> dict[str, int]:
        """Return the counters by name, empty before the process started."""
        slot = self.slot()
        return {name: getattr(slot, name) for name in slot.__slots__} if slot else {}


def difference(after: dict[str, int], before: dict[str, int], *names: str) -> dict[str, int]:
    """Return by how much counters grew."""
    return {name: after.get(name, 0) - before.get(name, 0) for name in names}


def figures(values: list[float]) -> dict[str, float]:
    """Return how many there are, their median, 95th percentile and the largest."""
    ordered = sorted(values)
    p95 = ordered[int(len(ordered) * 0.95)]
    middle = statistics.median(ordered)
    return {"repeats": len(ordered), "median": middle, "p95": p95, "max": ordered[-1]}


def share_time(pods: list[Pod], first: int, flags: int = 0, groups: int | None = None) -> None:
    """Give two pods the same SMs, one `first` permille of the time: by leases, or in turns."""
    flags |= FLAG_TIME | FLAG_SM | FLAG_MEMORY
    turns = ((first, AT_ONCE_NS, 1, 2), (1000 - first, WINDOW_NS * first // 1000, 2, 1))
    for pod, (quota, phase, slot, other) in zip(pods, turns, strict=True):
        more = {"phase": phase, "flags": flags, "slot": slot, "conflicts": 1 << other}
        pod.put(quota=quota, groups=groups, **more)


def share_turns(pods: list[Pod], first: int) -> None:
    """Give two pods turns of the same window, without leases."""
    pods[0].put(quota=first, phase=AT_ONCE_NS)
    pods[1].put(quota=1000 - first, phase=WINDOW_NS * first // 1000)
