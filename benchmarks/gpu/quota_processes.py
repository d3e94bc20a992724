"""The processes of the GPU benchmark: which are in pods, under MPS, with a library, on which cores.

Every process has a core for its main thread and one for its others; those compared with each other
have the same two.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.quota_clock import Clock
from benchmarks.gpu.quota_parts import CHECK, GPU, Child, PhaseError, Pod, library_at
from quota_runtime.lease_file import LeaseFile

STARTER = Path(__file__).with_name("quota_starter.py")
CONTROL = "nvidia-cuda-mps-control"
START_SECONDS = 400.0 if CHECK else 90.0
CORES_EACH = 16
ALIKE = 3  # processes of one kind where they are compared
HAMI_SHARES = (10, 90, 30, 70, 50, 51)  # the last is the second of two halves


@dataclass(frozen=True)
class Kind:
    """How a process is started; `cores`: which pair of cores it has."""

    cores: int
    mps: bool = True
    library: bool = False
    pod: bool = False
    hami: int = 0
    environment: dict[str, str] = field(default_factory=dict)


def _percent(percent: int) -> dict[str, str]:
    return {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(percent)}


KINDS: dict[str, Kind] = {
    "a": Kind(1, library=True, pod=True),
    "b": Kind(2, library=True, pod=True),
    "new": Kind(1, library=True, pod=True),
    "solo-a": Kind(1, mps=False, library=True, pod=True),
    "solo-b": Kind(2, mps=False, library=True, pod=True),
    "compiled": Kind(3, mps=False, library=True, pod=True),
    "plain-a": Kind(1, mps=False),
    "plain-b": Kind(2, mps=False),
    "percent-a": Kind(1, environment=_percent(30)),
    "percent-b": Kind(2, environment=_percent(70)),
    "bare": Kind(4),
    **{f"bare-{i}": Kind(4) for i in range(ALIKE)},
    **{f"limited-{i}": Kind(4, library=True, pod=True) for i in range(ALIKE)},
    "hami": Kind(4, mps=False, hami=100),
    "unshared": Kind(4, mps=False),
    **{f"hami-{s}": Kind(1 + i % 2, mps=False, hami=s) for i, s in enumerate(HAMI_SHARES)},
}


def apart(cores: list[int]) -> list[int]:
    """Return the cores in such an order that those next to each other do not share a real one."""
    firsts: dict[str, int] = {}
    for core in cores:
        listed = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        firsts.setdefault(listed.read_text() if listed.exists() else str(core), core)
    first = list(firsts.values())
    return first + [core for core in cores if core not in first]


class Processes:
    """Processes by name, and the pods of those that are in one."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder = args, folder
        self._library = library_at(args.library)
        self.children: dict[str, Child] = {}
        self.pods: dict[str, Pod] = {}
        self._mps: dict[str, str] = {}
        self._counters: dict[str, dict[str, int]] = {}
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) >= 2 * CORES_EACH:
            cores = cores[args.gpu * CORES_EACH :][:CORES_EACH]
        self.cores = apart(cores)
        os.sched_setaffinity(0, set(self.cores[:2]))
        self.leases = folder / "leases"
        self.leases.mkdir(exist_ok=True)
        LeaseFile(self.leases, GPU).close()
        self._gpu = {} if args.check else {"CUDA_VISIBLE_DEVICES": _uuids()[args.gpu]}
        self.clock = Clock(self._gpu.get("CUDA_VISIBLE_DEVICES"))

    def start(self, names: Iterable[str]) -> dict[str, Any]:
        """Start processes all at once, and say what they are and which would not start."""
        self.start_mps()
        for name in names:
            self._start(name)
        about, failed = {}, {}
        for name in names:
            try:
                about[name] = self.children[name].finish(START_SECONDS)
            except PhaseError as error:
                failed[name] = str(error)
        driver = None if self.args.check else _smi("driver_version")[0]
        return {"processes": about, "failed": failed, "cores": self.cores, "driver": driver}

    def start_mps(self) -> None:
        """Start a control daemon of our own, without a percentage."""
        if self._mps or self.args.check:
            return
        self._mps = {
            "CUDA_MPS_PIPE_DIRECTORY": str(self.folder / "pipe"),
            "CUDA_MPS_LOG_DIRECTORY": str(self.folder / "log"),
        }
        for path in self._mps.values():
            Path(path).mkdir()
        environment = {**os.environ, **self._mps, **self._gpu}
        subprocess.run([CONTROL, "-d"], env=environment, check=True, timeout=20)

    def environment(self, kind: Kind, pod: Path | None = None) -> dict[str, str]:
        """Return what a process of this kind has in its environment beside ours."""
        pair = [self.cores[(2 * kind.cores + i) % len(self.cores)] for i in (0, 1)]
        result = {"QUOTA_CHECK": "1" if self.args.check else "0", **self._gpu, **kind.environment}
        result["QUOTA_CORES"] = " ".join(map(str, pair))
        result["QUOTA_ALL_CORES"] = " ".join(map(str, self.cores[2:] or self.cores))
        if kind.mps:
            result |= self._mps
        if kind.library and not self.args.check:
            result["LD_PRELOAD"] = str(self._library)
        if pod:
            result["KSERVE_HAS_DIR"] = str(pod)
            # As in a cluster: pods outside MPS take turns, as the driver slices time for them.
            result["KSERVE_HAS_LEASES"] = str(self.leases) if kind.mps else ""
        return result

    def _start(self, name: str) -> None:
        kind = KINDS[name]
        if kind.pod:
            self.pods[name] = Pod(self.folder / name, self.args.sm_count)
        environment = self.environment(kind, self.pods[name].folder if kind.pod else None)
        if kind.hami and self.args.hami:
            environment |= {
                "LD_PRELOAD": str(self.args.hami.resolve()),
                "CUDA_REDIRECT": str(self.args.hami.resolve()),
                "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(len(_uuids())))),  # no UUIDs
                "CUDA_DEVICE_SM_LIMIT": str(min(kind.hami, 100) if kind.hami != 51 else 50),
                "CUDA_DEVICE_MEMORY_LIMIT": "60g",
                "CUDA_DEVICE_MEMORY_SHARED_CACHE": str(self.folder / f"{name}.cache"),
                "GPU_CORE_UTILIZATION_POLICY": "FORCE",
                "LIBCUDA_LOG_LEVEL": "0",
            }
        self.children[name] = Child(name, environment, self.args.out / "stderr.txt")

    def short_pods(self, first: int, count: int, at_once: int) -> list[dict[str, Any]]:
        """Start and end pods on the last SMs with a tenth of the time; return what each said."""
        came: list[dict[str, Any]] = []
        for begin in range(first, first + count, at_once):
            numbers = range(begin, min(begin + at_once, first + count))
            running = [self._short_pod(number) for number in numbers]
            for process in running:
                try:
                    text, _ = process.communicate(timeout=20)
                    came.append(json.loads(text))
                except (subprocess.TimeoutExpired, ValueError) as error:
                    process.kill()
                    came.append({"error": f"{type(error).__name__}, exit {process.poll()}"})
        return came

    def _short_pod(self, number: int) -> subprocess.Popen[str]:
        pod = Pod(self.folder / f"short-{number}", self.args.sm_count)
        pod.set(quota=100, groups=pod.groups(0.25, last=True))
        environment = {**os.environ, **self.environment(Kind(3, library=True), pod.folder)}
        with (self.args.out / "stderr.txt").open("a") as log:
            return subprocess.Popen(
                [sys.executable, str(STARTER)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def of(self, *names: str) -> list[Child]:
        """Return processes by name."""
        return [self.children[name] for name in names]

    def pods_of(self, *names: str) -> list[Pod]:
        """Return the pods of processes by name."""
        return [self.pods[name] for name in names]

    def end(self, names: Iterable[str]) -> None:
        """Let processes end that nobody needs any more, the pods' counters noted."""
        for name in names:
            if name in self.pods:
                self._counters[name] = self.pods[name].counters()
            if name in self.children:
                self.children.pop(name).end()

    def last_counters(self) -> dict[str, dict[str, int]]:
        """Return what every pod's counters were at last."""
        now = {name: pod.counters() for name, pod in self.pods.items()}
        return {name: self._counters.get(name) or counters for name, counters in now.items()}

    def stop(self) -> None:
        """End everything."""
        for child in self.children.values():
            child.process.kill()
        if self._mps:
            environment = {**os.environ, **self._mps, **self._gpu}
            ask = {"input": "quit -t 5\n", "text": True, "env": environment, "timeout": 30}
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run([CONTROL], **ask, check=False)


def _smi(asked: str) -> list[str]:
    """Return one fact about each GPU."""
    command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return listed.stdout.split()


def _uuids() -> list[str]:
    """Return the GPUs' UUIDs: an index means another GPU to MPS's clients than to its daemon."""
    return _smi("uuid")
