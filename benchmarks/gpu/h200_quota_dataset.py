"""Latency of lone requests under a time quota on a real GPU: network x mode x SMs x quota.

The process runs under the quota library and writes its own limits; requests come at random
moments of the quota window. One CSV row a point, written as it is measured::

    make -C quota_runtime OUT=build
    python -m benchmarks.gpu.h200_quota_dataset --library build/libhas_quota.so --out DIR
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.gpu.quota_parts import Pod

NETWORKS = ("resnet50", "bert_base_128", "efficientnet_b0", "swin_t", "convnext_base")
QUOTAS = (100, 80, 60, 40, 25, 10)
SMS = (24, 132)
BATCH = 8
MODES = (("bf16", "graph"), ("fp32", "eager"))
WINDOW_S = 0.05
FOLDER = "KSERVE_HAS_DIR"
COLUMNS = (
    *("model", "family", "dtype", "mode", "batch", "sm", "quota", "repeat", "runs"),
    *("mean_ms", "p50_ms", "p10_ms", "p90_ms", "max_ms", "metered_ms"),
)


class Workload(Protocol):
    """A network on the GPU."""

    def prepare(self, name: str, dtype: str, mode: str) -> tuple[str, Callable[[], None]]:
        """Return the network's family and a function that runs one request to its end."""
        ...


class TorchWorkload:
    """The real one; the partition in force when a graph is captured is the one it runs on."""

    def prepare(self, name: str, dtype: str, mode: str) -> tuple[str, Callable[[], None]]:
        """Return the network's family and a function that runs one request to its end."""
        import torch

        from kserve_has.profiler.networks import network

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        kind = torch.bfloat16 if dtype == "bf16" else torch.float32
        known = network(name)
        module = known.build().eval().to("cuda", kind)
        inputs = known.inputs(BATCH, "cuda", kind)
        stream = torch.cuda.Stream()
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(3):
                module(inputs)
        stream.synchronize()
        if mode == "eager":

            def eager() -> None:
                with torch.inference_mode(), torch.cuda.stream(stream):
                    module(inputs)
                stream.synchronize()

            return known.family, eager
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph, stream=stream):
            module(inputs)

        def replay() -> None:
            with torch.cuda.stream(stream):
                graph.replay()
            stream.synchronize()

        return known.family, replay


class Sweep:
    """All points within a time limit."""

    def __init__(self, pod: Pod, out: Path, seconds: float, runs: int, groups: int) -> None:
        self.pod, self.runs, self.groups = pod, runs, groups
        self.deadline = time.monotonic() + seconds
        self.random = random.Random(7)
        self.stream = (out / "h200_quota.csv").open("w", newline="", encoding="utf-8")
        self.rows = csv.DictWriter(self.stream, COLUMNS)
        self.rows.writeheader()
        self.skipped: list[str] = []

    def network(self, workload: Workload, name: str, dtype: str, mode: str) -> None:
        """Measure one network run one way; one quota is repeated at the end."""
        for sm in SMS:
            self._limit(sm, 100, lambda: None)
            family, request = workload.prepare(name, dtype, mode)
            head = {"model": name, "family": family, "dtype": dtype, "mode": mode}
            head |= {"batch": BATCH, "sm": sm}
            for repeat, quota in [(0, q) for q in QUOTAS] + [(1, 40)]:
                if time.monotonic() > self.deadline:
                    self.skipped.append(f"{name} {mode} {sm} SMs quota {quota}")
                    continue
                if not self._limit(sm, quota, request):
                    self.skipped.append(f"{name} {mode} {sm} SMs quota {quota}: not in force")
                    continue
                self._point(head | {"quota": quota, "repeat": repeat}, request)
        print(f"{name} {mode}: {self.deadline - time.monotonic():.0f} s left", flush=True)

    def _limit(self, sm: int, quota: int, request: Callable[[], None]) -> bool:
        """Write limits and return whether the library took them; some wait for a launch."""
        groups = self.groups if sm == SMS[-1] else sm // 8
        limits = self.pod.set(quota=10 * quota, groups=(1 << groups) - 1)
        if self.pod.wait(limits, 0.2) is not None:
            return True
        request()
        return self.pod.wait(limits, 0.5) is not None

    def _point(self, head: dict[str, Any], request: Callable[[], None]) -> None:
        request()
        took, metered = [], self.pod.counters().get("gpu_time_ns", 0)
        for _ in range(self.runs):
            time.sleep(self.random.uniform(0.6, 1.6) * WINDOW_S)
            began = time.perf_counter()
            request()
            took.append((time.perf_counter() - began) * 1e3)
        metered = (self.pod.counters().get("gpu_time_ns", 0) - metered) / 1e6 / self.runs
        p10, p50, p90 = np.quantile(took, [0.1, 0.5, 0.9])
        figures = {"mean_ms": np.mean(took), "p50_ms": p50, "p10_ms": p10, "p90_ms": p90}
        figures |= {"max_ms": max(took), "metered_ms": metered}
        texts = {k: f"{v:.4f}" for k, v in figures.items()}
        self.rows.writerow(head | {"runs": self.runs} | texts)
        self.stream.flush()


def sweep(workload: Workload, options: argparse.Namespace, folder: Path) -> Sweep:
    """Measure every network and write the rows."""
    pod = Pod(folder, SMS[-1])
    run = Sweep(pod, options.out, options.seconds, options.runs, 132 // 8)
    for name in NETWORKS:
        for dtype, mode in MODES:
            try:
                run.network(workload, name, dtype, mode)
            except RuntimeError as error:
                run.skipped.append(f"{name} {mode}: {str(error).splitlines()[0]}")
                print(run.skipped[-1], flush=True)
    return run


def main() -> None:
    """Start again under the library, then measure and write ``h200_quota.csv`` and its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=130.0)
    parser.add_argument("--runs", type=int, default=8)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if FOLDER not in os.environ:
        folder = tempfile.mkdtemp()
        Pod(Path(folder), SMS[-1])
        preload = {"LD_PRELOAD": str(options.library.resolve()), FOLDER: folder}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **preload})
    run = sweep(TorchWorkload(), options, Path(os.environ[FOLDER]))
    import torch

    card = {
        "gpu": torch.cuda.get_device_name(0),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "quota_window_ms": 1e3 * WINDOW_S,
        "command": "python -m benchmarks.gpu.h200_quota_dataset",
        "requests": "alone, 30 to 80 ms apart at random",
        "skipped": run.skipped,
    }
    (options.out / "h200_quota.card.json").write_text(json.dumps(card, indent=1) + "\n")


if __name__ == "__main__":
    main()
