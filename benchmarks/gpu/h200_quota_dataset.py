"""Latency of lone requests under a time quota on a real GPU: network x batch x SMs x quota.

The process runs under the quota library and writes its own limits; a request begins at a chosen
phase of the quota window and finds the pod at rest. One CSV row a point, written as it is measured;
the same command goes on where an ended run was. Every family is measured before any is measured
twice, so that an early end leaves none out::

    make -C quota_runtime OUT=build
    python -m benchmarks.gpu.h200_quota_dataset --library build/libhas_quota.so --out DIR
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.measuring import MeasuredRows, card_of, family_first, pin
from benchmarks.gpu.quota_parts import CHECK, Pod
from benchmarks.gpu.quota_workloads import PretendWorkload, Request, TorchWorkload, Workload
from benchmarks.gpu.window_phases import Phases
from kserve_has.profiler.networks import catalogue

SMS = 132
QUOTAS = (100, 75, 50, 30, 15)
BATCHES = (1, 8, 32)
PARTITIONS = (132, 64, 24)
OTHER_PARTITIONS = (8, 16, 32, 48, 96)
EAGER = ("resnet50", "bert_base_128", "efficientnet_b0", "swin_t", "densenet121", "vgg16")
WINDOW_MS = 50.0
LONGEST_MS = 600.0  # a request expected to take longer is left out
FOLDER = "KSERVE_HAS_DIR"
KEY = ("model", "mode", "batch", "sm", "quota", "repeat")
COLUMNS = (
    *("model", "family", "dtype", "mode", "batch", "sm", "quota", "repeat", "runs"),
    *("latency_ms", "least_ms", "most_ms", "metered_ms", "phases_ms", "walls_ms"),
)


class Sweep:
    """All points within a time limit."""

    def __init__(self, pod: Pod, rows: MeasuredRows, seconds: float) -> None:
        self.pod, self.rows = pod, rows
        self.deadline = time.monotonic() + seconds
        self.random = random.Random(7)
        self.skipped: list[str] = []

    def late(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self.deadline

    def visit(
        self, workload: Workload, head: dict[str, Any], pieces: list[tuple[int, int]]
    ) -> None:
        """Measure one network run one way on (batch, SMs) pieces; one quota of each is repeated."""
        began = time.monotonic()
        missing = [p for p in pieces if not self._done(head, p, QUOTAS[-1], 0)]
        if not missing or self.late():
            self.skipped += [f"{head['model']} {head['mode']} {p}" for p in missing]
            return
        try:
            workload.build(head["model"], head["dtype"])
            for piece in missing:
                self._piece(workload, head, piece)
        except (RuntimeError, ValueError) as error:
            self.skipped.append(f"{head['model']} {head['mode']}: {str(error).splitlines()[0]}")
            print(self.skipped[-1], flush=True)
        took, left = time.monotonic() - began, self.deadline - time.monotonic()
        print(f"{head['model']} {head['mode']}: {took:.1f} s, {left:.0f} s left", flush=True)

    def _piece(self, workload: Workload, head: dict[str, Any], piece: tuple[int, int]) -> None:
        batch, sm = piece
        name = f"{head['model']} {head['mode']} batch {batch} {sm} SMs"
        if self.late():
            self.skipped.append(name)
            return
        # Where this is not in force yet, the runs before the capture will bring it about.
        self._limit(sm, 100, workload.touch)
        request = workload.prepare(batch, head["mode"])
        place = head | {"batch": batch, "sm": sm}
        walls = sorted(self._wall_ms(request) for _ in range(7))
        alone_ms = statistics.median(walls)
        for repeat, quota in [(0, q) for q in QUOTAS] + [(1, self.random.choice(QUOTAS))]:
            if self.late() or 100.0 * alone_ms / quota > LONGEST_MS:
                self.skipped.append(f"{name} quota {quota}")
            elif not self._done(head, piece, quota, repeat):
                if self._limit(sm, quota, request):
                    self._point(place | {"quota": quota, "repeat": repeat}, request, alone_ms)
                else:
                    self.skipped.append(f"{name} quota {quota}: not in force")

    def _done(self, head: dict[str, Any], piece: tuple[int, int], quota: int, repeat: int) -> bool:
        batch, sm = piece
        return self.rows.has(head | {"batch": batch, "sm": sm, "quota": quota, "repeat": repeat})

    def _limit(self, sm: int, quota: int, request: Request) -> bool:
        """Write limits and return whether the library took them; some wait for a launch."""
        groups = SMS // 8 if sm == SMS else sm // 8
        limits = self.pod.set(quota=10 * quota, groups=(1 << groups) - 1)
        if CHECK or self.pod.wait(limits, 0.2) is not None:
            return True
        request()
        return self.pod.wait(limits, 0.5) is not None

    def _wall_ms(self, request: Request) -> float:
        began = time.perf_counter()
        request()
        return (time.perf_counter() - began) * 1e3

    def _point(self, place: dict[str, Any], request: Request, alone_ms: float) -> None:
        quota = place["quota"]
        # What fits the budget is not expected to pause: a few phases show whether that is so. One
        # window at rest brings the budget back, two where the last request spent it.
        fits = alone_ms < 0.8 * quota / 100 * WINDOW_MS
        least, most, rest = (5, 5, 1) if fits else (6, 16, 2)
        phases = Phases(WINDOW_MS, self.random.uniform(0, WINDOW_MS), least, most)
        request()
        metered = self.pod.counters().get("gpu_time_ns", 0)
        while (phase := phases.next_ms()) is not None:
            found = begin_at(phase, 0 if quota == 100 else rest)
            phases.add(found, self._wall_ms(request))
        metered = self.pod.counters().get("gpu_time_ns", 0) - metered
        walls = phases.walls
        figures = {"latency_ms": phases.mean_ms(), "least_ms": min(walls.values())}
        figures |= {"most_ms": max(walls.values()), "metered_ms": metered / 1e6 / len(walls)}
        texts = {k: f"{v:.4f}" for k, v in figures.items()} | {"runs": str(len(walls))}
        texts["phases_ms"] = " ".join(f"{phase:.2f}" for phase in walls)
        texts["walls_ms"] = " ".join(f"{wall:.3f}" for wall in walls.values())
        self.rows.write(place | texts)


def begin_at(phase_ms: float, windows: int) -> float:
    """Wait for a phase of the window that begins ``windows`` edges from now; return the phase met.

    With no window to wait for, it returns at once: at full quota no phase differs from another.
    """
    window_ns = int(1e6 * WINDOW_MS)
    if windows:
        now = time.monotonic_ns()
        target = (now // window_ns + windows) * window_ns + int(1e6 * phase_ms)
        time.sleep(max(0.0, (target - now) / 1e9 - 3e-4))
        while time.monotonic_ns() < target:
            pass
        return time.monotonic_ns() % window_ns / 1e6
    return phase_ms


def plan(names: list[str]) -> list[tuple[dict[str, str], list[tuple[int, int]]]]:
    """Return (network and way, pieces) visits, what matters most first."""
    known = catalogue()
    graph = {"dtype": "bf16", "mode": "graph"}
    eager = {"dtype": "fp32", "mode": "eager"}
    visits = [(n, graph, [(8, sm) for sm in PARTITIONS]) for n in names]
    rest = [(batch, sm) for batch in BATCHES for sm in PARTITIONS if batch != 8]
    visits += [(n, graph, rest) for n in names]
    visits += [(n, eager, [(8, 24), (8, 132)]) for n in names if n in EAGER]
    # The other partitions, each with another batch from network to network.
    turned = (2, 4, 8, 16, 32)
    for index, name in enumerate(names):
        others = [(turned[(index + at) % 5], sm) for at, sm in enumerate(OTHER_PARTITIONS)]
        visits.append((name, graph, others))
    return [({"model": n, "family": known[n].family, **way}, pieces) for n, way, pieces in visits]


def sweep(workload: Workload, options: argparse.Namespace, folder: Path) -> Sweep:
    """Measure every network and write the rows."""
    names = family_first({n.name: n.family for n in catalogue().values()})
    with MeasuredRows(options.out / "h200_quota.csv", COLUMNS, KEY) as rows:
        run = Sweep(Pod(folder, SMS), rows, options.seconds)
        for head, pieces in plan([n for n in names if not options.models or n in options.models]):
            run.visit(workload, head, pieces)
        noise = rows.noise("latency_ms")
    about = card_of("gpu.h200_quota_dataset", workload.about()) | {
        "quota_window_ms": WINDOW_MS,
        "requests": "alone, the pod at rest, at phases of the window named in each row",
        "repeats": noise,
        "skipped": run.skipped,
    }
    (options.out / "h200_quota.card.json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"{rows.count} rows, {noise}, {len(run.skipped)} pieces or points left out")
    return run


def main() -> None:
    """Start again under the library, then measure and write ``h200_quota.csv`` and its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", type=Path, default=Path("build/libhas_quota.so"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--models", nargs="*", default=[])
    # More than one: the library's own thread must not wait for a request's.
    parser.add_argument("--cores", type=int, nargs="*", default=[], help="of the CPU")
    parser.add_argument("--check", action="store_true", help="no GPU: pretended requests")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.check:
        sweep(PretendWorkload(), options, Path(tempfile.mkdtemp()))
        return
    if FOLDER not in os.environ:
        folder = tempfile.mkdtemp()
        Pod(Path(folder), SMS)
        preload = {"LD_PRELOAD": str(options.library.resolve()), FOLDER: folder}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **preload})
    pin(*options.cores)
    gc.disable()
    sweep(TorchWorkload(), options, Path(os.environ[FOLDER]))


if __name__ == "__main__":
    main()
