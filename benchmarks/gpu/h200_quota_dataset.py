"""Latency of lone requests under a time quota on a real GPU: network x batch x SMs x quota.

Several processes share the GPU under an MPS daemon of their own, each under the quota library with
limits of its own, and use it one after the other: what one waits until its pod is at rest, others
measure in. One CSV row a point, written as it is measured; the same command goes on where an ended
run was. Some rows are measured a second time with nobody's requests in between, some with a graph
captured on the partition instead of made anew for it by the library::

    make -C quota_runtime
    python -m benchmarks.gpu.h200_quota_dataset --out DIR
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu.h200_quota_plan import BATCHES, BESIDE, SHARED, Visit, assigned, visits, weights
from benchmarks.gpu.measuring import MeasuredRows, card_of, family_first
from benchmarks.gpu.quota_parts import LIBRARY, Pod, library_at
from kserve_has.profiler.networks import catalogue

SMS = 132
CONTROL = "nvidia-cuda-mps-control"
READY_S = 150.0
END_S = 4.0  # of all seconds: the last requests, the daemon's end
KEY = ("model", "mode", "batch", "sm", "quota", "repeat", "way")
COLUMNS = (
    *("model", "family", "dtype", "mode", "batch", "sm", "quota", "repeat", "way", "runs"),
    *("latency_ms", "least_ms", "most_ms", "metered_ms", "metered_sm", "at_s"),
    *("phases_ms", "walls_ms"),
)


class Worker:
    """A process that measures, and what it says."""

    def __init__(
        self, number: int, options: Any, folder: Path, environment: dict[str, str]
    ) -> None:
        self.number, self.waits = number, True
        pod = folder / f"pod-{number}"
        Pod(pod, SMS)
        environment = {**os.environ, **environment, "KSERVE_HAS_DIR": str(pod)}
        if not options.check:
            environment["LD_PRELOAD"] = str(library_at(options.library))
        self._log = (options.out / "stderr.txt").open("a")
        command = [sys.executable, "-m", "benchmarks.gpu.h200_quota_child"]
        self.process = subprocess.Popen(
            [*command, "--check"] if options.check else command,
            env=environment | {"KSERVE_HAS_LEASES": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def tell(self, said: dict[str, Any]) -> None:
        """Send a line."""
        assert self.process.stdin
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps(said) + "\n")
            self.process.stdin.flush()

    def listen(self, heard: queue.Queue[tuple[int, dict[str, Any]]]) -> None:
        """Put what it says in a queue; at its end, that it is gone."""

        def read() -> None:
            for line in self.process.stdout or ():
                with contextlib.suppress(ValueError):  # some library's own words
                    heard.put((self.number, json.loads(line)))
            heard.put((self.number, {"gone": self.process.wait()}))

        threading.Thread(target=read, daemon=True).start()


class Sitting:
    """All processes, and what came of them."""

    def __init__(self, rows: MeasuredRows, workers: list[Worker], deadline: float) -> None:
        self.rows, self.workers, self.deadline = rows, workers, deadline
        self.skipped: list[str] = []
        self.ready: dict[int, float] = {}
        self.ended: dict[int, Any] = {}
        self.about: dict[str, Any] = {}
        self._gone: set[int] = set()
        self._heard: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()

    def run(self) -> None:
        """Start all at once when all are ready, and take their rows until the time is up."""
        for worker in self.workers:
            worker.listen(self._heard)
        ready_by = min(self.deadline, time.monotonic() + READY_S)
        self._hear(ready_by, lambda: len(self.ready.keys() | self._gone))
        began = time.monotonic()
        print(f"ready after {self.ready}, {self.deadline - began:.0f} s left", flush=True)
        for worker in self.workers:
            worker.tell({"began": began, "deadline": self.deadline})
        self._hear(self.deadline + 3.0, lambda: len(self._gone))
        for worker in self.workers:
            worker.process.kill()

    def _hear(self, until: float, count: Any) -> None:
        while count() < len(self.workers):
            try:
                number, said = self._heard.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if "row" in said:
                self.rows.write(said["row"])
            elif "skipped" in said:
                self.skipped.append(said["skipped"])
            elif "ready" in said:
                self.ready[number] = said["ready"]
                self.about = said["about"] or self.about
            elif "ended" in said:
                self.ended[number] = said["ended"]
            elif "gone" in said:
                self._gone.add(number)
                print(f"process {number} ended with {said['gone']}", flush=True)


@contextlib.contextmanager
def mps(folder: Path, gpu: int) -> Iterator[dict[str, str]]:
    """Run an MPS daemon for one GPU; give the environment of its clients."""
    listed = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    uuids = subprocess.run(listed, capture_output=True, text=True, check=True, timeout=30).stdout
    environment = {
        "CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe"),
        "CUDA_MPS_LOG_DIRECTORY": str(folder / "log"),
        # An index would mean another GPU to clients than to the daemon.
        "CUDA_VISIBLE_DEVICES": uuids.split()[gpu],
    }
    for name in ("pipe", "log"):
        (folder / name).mkdir()
    full = {**os.environ, **environment}
    subprocess.run([CONTROL, "-d"], env=full, check=True, timeout=20)
    try:
        yield environment
    finally:
        text = "quit -t 5\n"
        subprocess.run([CONTROL], input=text, text=True, env=full, timeout=30, check=False)


def missing(rows: MeasuredRows, wanted: list[Visit]) -> list[Visit]:
    """Return visits with those quotas only that were not measured yet."""
    left = [
        replace(v, quotas=tuple(q for q in v.quotas if not rows.has(v.place() | {"quota": q})))
        for v in wanted
    ]
    return [visit for visit in left if visit.quotas]


def controls(rows: MeasuredRows) -> dict[str, dict[str, float]]:
    """Return for each other way how much longer a request took than the usual way right after."""
    ratios: dict[str, list[float]] = {}
    for row in rows.all():
        usual = rows.row({**row, "way": SHARED, "repeat": BESIDE})
        if row["way"] != SHARED and usual is not None:
            ratio = float(row["latency_ms"]) / float(usual["latency_ms"])
            ratios.setdefault(row["way"], []).append(ratio - 1)
    return {
        way: {
            "rows": len(found),
            "mean": round(statistics.fmean(found), 5),
            "median": round(statistics.median(found), 5),
            "mean_size": round(statistics.fmean(map(abs, found)), 5),
        }
        for way, found in ratios.items()
    }


def sitting(options: Any, rows: MeasuredRows, folder: Path, environment: dict[str, str]) -> Sitting:
    """Measure what is missing, within the time."""
    family = {n.name: n.family for n in catalogue().values()}
    names = [n for n in family_first(family) if not options.models or n in options.models]
    shares = assigned(names, options.processes, weights())
    cores = sorted(os.sched_getaffinity(0))
    workers = [Worker(i, options, folder, environment) for i in range(len(shares))]
    for worker, share in zip(workers, shares, strict=True):
        own = cores[2 * worker.number :][:2] if len(cores) >= 2 * len(shares) else []
        wanted = missing(rows, visits(share, family, worker.number, options.batches))
        plan = {"visits": [asdict(v) for v in wanted], "cores": own, "seed": worker.number}
        worker.tell(plan | {"lock": str(folder / "lock"), "about": worker.number == 0})
    run = Sitting(rows, workers, options.began + options.seconds - END_S)
    run.run()
    return run


def main() -> None:
    """Measure and write ``h200_quota.csv`` and its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", type=Path, default=LIBRARY)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=290.0, help="in all")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES, help="of graphs")
    parser.add_argument("--check", action="store_true", help="no GPU: pretended requests")
    options = parser.parse_args()
    options.began = time.monotonic()
    library_at(options.library)
    options.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    with contextlib.ExitStack() as stack:
        environment = {} if options.check else stack.enter_context(mps(folder, options.gpu))
        rows = stack.enter_context(MeasuredRows(options.out / "h200_quota.csv", COLUMNS, KEY))
        run = sitting(options, rows, folder, environment)
        about = card_of("gpu.h200_quota_dataset", run.about) | {
            "quota_window_ms": 50.0,
            "requests": "alone, the pod at rest, at phases of the window named in each row",
            "repeats": rows.noise("latency_ms"),
            "other_ways": controls(rows),
            "seconds_until_ready": run.ready,
            "seconds": run.ended,
            "skipped": sorted(run.skipped),
        }
    (options.out / "h200_quota.card.json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"{rows.count} rows, {about['repeats']}, {about['other_ways']}, {run.ended}")


if __name__ == "__main__":
    main()
