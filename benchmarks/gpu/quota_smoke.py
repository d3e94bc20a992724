"""Whether the quota library does on a real GPU what it does on the emulated one. Four minutes.

Runs PyTorch (a matrix product, a small convolutional network, the same network as a CUDA graph)
under the library and changes quota, SM partition and memory limit while it runs::

    make -C quota_runtime OUT=build
    python benchmarks/gpu/quota_smoke.py --library build/libhas_quota.so --out smoke.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from quota_runtime.region import Limits, LimitsWriter, read_usage

PHASE_SECONDS = 1.2
ROUNDS = 3
FLIPS = 30
WORKLOADS = ("gemm", "network", "graph")


class Child:
    """A workload process that does one thing at a time on request."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("quota_smoke_child.py"))],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about = self._answer()

    def start(self, **request: Any) -> None:
        """Send a request without waiting for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"workload process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def finish(self) -> dict[str, Any]:
        """Wait for the answer to the last request."""
        return self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        self.start(**request)
        return self.finish()

    def end(self) -> None:
        """Let the process end and wait for it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


class Pod:
    """The folder a node agent would keep for a pod, and its limits."""

    def __init__(self, folder: Path, group_size: int) -> None:
        self.folder, self._epoch, self._group_size = folder, 0, group_size
        self._writer = LimitsWriter(folder / "limits")
        self.all_groups = (1 << (132 // group_size)) - 1

    def set(self, quota: int = 1000, groups: int | None = None, memory: int = 60 << 30) -> Limits:
        """Write limits and return them as written."""
        self._epoch += 1
        return self._writer.write(
            Limits(
                epoch=self._epoch,
                gpu_uuid="GPU-smoke",
                sm_groups=groups or self.all_groups,
                sm_group_size=self._group_size,
                quota_permille=quota,
                memory_limit_bytes=memory,
            )
        )

    def wait_in_force(self, limits: Limits, seconds: float = 2.0) -> float | None:
        """Return milliseconds from the write until the library reported it; None: never."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            usage = read_usage(self.folder / "usage")
            if usage.slots and usage.in_force(limits.epoch):
                return max(s.in_force_at_ns - limits.written_at_ns for s in usage.slots) / 1e6
            time.sleep(0.0005)
        return None

    def usage(self) -> dict[str, Any]:
        """Return the counters of the one process."""
        slots = read_usage(self.folder / "usage").slots
        return {n: getattr(slots[0], n) for n in slots[0].__slots__} if slots else {}


def shares(pod: Pod, child: Child, sm_of: dict[str, int]) -> list[dict[str, Any]]:
    """Measure throughput at each quota and each partition, changed in the running process."""
    rows = []
    cases = [("quota", q, None) for q in (1000, 500, 250)]
    cases += [("sm", 1000, part) for part in ("half", "quarter")]
    cases += [("both", 500, "half")]
    for workload in WORKLOADS:
        whole: dict[str, Any] = {}
        for kind, quota, part in cases:
            limits = pod.set(quota, sm_of[part] if part else None)
            took = pod.wait_in_force(limits)
            before = pod.usage()
            time.sleep(0.1)
            got = child.ask(do=workload, seconds=PHASE_SECONDS)
            after = pod.usage()
            whole = whole or got
            rows.append(
                {
                    "workload": workload,
                    "kind": kind,
                    "quota": quota,
                    "sm": part or "all",
                    "in_force_ms": took,
                    "share": got["per_second"] / whole["per_second"],
                    "equal_output": got["digest"] == whole["digest"],
                    **got,
                    "sm_groups": hex(after["sm_groups"]),
                    "metered_ms": (after["gpu_time_ns"] - before["gpu_time_ns"]) / 1e6,
                    "ungated": after["ungated_launches"] - before["ungated_launches"],
                }
            )
    return rows


def flips(pod: Pod, child: Child, sm_of: dict[str, int]) -> dict[str, Any]:
    """Resize every 100 ms under load; every output is compared with the first."""
    results: dict[str, Any] = {}
    for workload in ("network", "graph"):
        pod.wait_in_force(pod.set())
        child.start(do=workload, seconds=FLIPS * 0.1 + 0.5, check=True)
        took = []
        for index in range(FLIPS):
            part = (None, sm_of["half"], sm_of["quarter"])[index % 3]
            limits = pod.set((1000, 700)[index % 2], part)
            took.append(pod.wait_in_force(limits, 0.5))
            time.sleep(0.08)
        got = child.finish()
        known = [t for t in took if t is not None]
        results[workload] = {
            "wrong_outputs": got["wrong"],
            "iterations": got["count"],
            "never_in_force": len(took) - len(known),
            "in_force_ms_median": statistics.median(known) if known else None,
            "in_force_ms_max": max(known, default=None),
            "resize_last_us": pod.usage()["resize_last_ns"] / 1e3,
        }
    pod.set()
    return results


def overhead(children: dict[str, Child]) -> list[dict[str, Any]]:
    """Compare throughput without the library, with it, and with limits that do not bind."""
    rows = []
    for workload in WORKLOADS:
        speeds: dict[str, list[float]] = {name: [] for name in children}
        for _ in range(ROUNDS):
            for name, child in children.items():
                answer = child.ask(do=workload, seconds=PHASE_SECONDS)
                speeds[name].append(answer["per_second"])
        best = {name: statistics.median(values) for name, values in speeds.items()}
        rows.append(
            {
                "workload": workload,
                "per_second": speeds,
                "lost": {name: 1 - value / best["bare"] for name, value in best.items()},
            }
        )
    return rows


def memory(pod: Pod, child: Child) -> dict[str, Any]:
    """Shrink the memory limit under the process and see what PyTorch sees."""
    limit = pod.usage()["memory_bytes"] + (2 << 30)
    pod.wait_in_force(pod.set(memory=limit))
    found = child.ask(do="memory", bytes=4 << 30)
    pod.wait_in_force(pod.set())
    again = child.ask(do="memory", bytes=4 << 30)
    return {"limit": limit, "limited": found, "lifted": again, "usage": pod.usage()}


def counted(pod: Pod, child: Child) -> dict[str, Any]:
    """Compare launches that the library counted with those the profiler saw."""
    result = {}
    for workload in ("network", "graph"):
        before = pod.usage()
        seen = child.ask(do=workload, count=20, profile=True)
        after = pod.usage()
        result[workload] = {
            "profiler": seen.get("profiled"),
            **{
                name: after[name] - before[name]
                for name in ("launches", "graph_launches", "ungated_launches")
            },
        }
    return result


def main() -> None:
    """Run everything and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--sm-count", type=int, default=132)
    args = parser.parse_args()
    groups = args.sm_count // args.group_size
    sm_of = {"half": (1 << groups // 2) - 1, "quarter": (1 << groups // 4) - 1}
    preload = {"LD_PRELOAD": str(args.library.resolve())}
    report: dict[str, Any] = {"began": time.strftime("%FT%TZ", time.gmtime())}
    start = time.monotonic()

    def keep(name: str, value: object) -> None:
        report[name] = value
        report["seconds"] = time.monotonic() - start
        args.out.write_text(json.dumps(report, indent=1) + "\n")
        print(f"{name}: {json.dumps(value)}", flush=True)

    with tempfile.TemporaryDirectory() as text:
        pod = Pod(Path(text), args.group_size)
        pod.all_groups = (1 << groups) - 1
        pod.set()
        limited = Child({**preload, "KSERVE_HAS_DIR": text})
        keep("about", limited.about)
        keep("start", pod.usage())
        keep("shares", shares(pod, limited, sm_of))
        keep("flips", flips(pod, limited, sm_of))
        keep("memory", memory(pod, limited))
        keep("counted", counted(pod, limited))
        pod.wait_in_force(pod.set())
        others = {"bare": Child({}), "library only": Child(preload)}
        keep("overhead", overhead({**others, "limits, quota 100": limited}))
        for child in (*others.values(), limited):
            child.end()
        keep("left", pod.usage())


if __name__ == "__main__":
    main()
