"""Measure the catalogue on a real GPU: network x mode x batch x SM partition.

One CSV row a point, written as it is measured, so that a run that ends early keeps what it has.
A share of the points is measured again later in random order: their spread is the noise floor.

    python -m benchmarks.gpu.h200_dataset --out DIR --seconds 540
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import platform
import random
import time
from pathlib import Path
from typing import Any

import torch

from kserve_has.profiler.measure import Effort, time_network
from kserve_has.profiler.networks import Network, catalogue
from kserve_has.profiler.partitions import Partitions

COLUMNS = [
    "model",
    "family",
    "dtype",
    "mode",
    "batch",
    "sm",
    "repeat",
    "runs",
    "p50_ms",
    "p10_ms",
    "p90_ms",
    "gpu_p50_ms",
    "params_m",
    "mem_mib",
]
BATCHES = (1, 2, 4, 8, 16, 32)
SMS = (8, 16, 24, 32, 48, 64, 96, 132)
MODES = (("fp32", "eager", torch.float32), ("bf16", "graph", torch.bfloat16))


class Run:
    """One pass over the catalogue within a time limit."""

    def __init__(self, out: Path, seconds: float, seed: int) -> None:
        self.deadline = time.monotonic() + seconds
        self.partitions = Partitions()
        self.random = random.Random(seed)
        self.stream = (out / "h200_networks.csv").open("w", newline="", encoding="utf-8")
        self.rows = csv.DictWriter(self.stream, COLUMNS)
        self.rows.writeheader()
        self.skipped: list[str] = []

    def network(self, network: Network, share_s: float) -> None:
        """Measure one network in both modes."""
        torch.manual_seed(0)
        module = network.build().eval().to("cuda")
        params_m = sum(p.numel() for p in module.parameters()) / 1e6
        for dtype_name, mode, dtype in MODES:
            module = module.to(dtype)
            head = {"model": network.name, "family": network.family, "dtype": dtype_name}
            head |= {"mode": mode, "params_m": f"{params_m:.1f}"}
            try:
                self._points(network, module, dtype, head, time.monotonic() + share_s / 2)
            except RuntimeError as error:
                self.skipped.append(f"{network.name} {mode}: {str(error).splitlines()[0]}")
            self.stream.flush()
        del module
        gc.collect()
        torch.cuda.empty_cache()

    def _points(
        self, network: Network, module: Any, dtype: torch.dtype, head: dict[str, Any], until: float
    ) -> None:
        done = []
        for batch in BATCHES:
            inputs = network.inputs(batch, "cuda", dtype)
            for sm in sorted(SMS, reverse=True):
                if time.monotonic() > until:
                    self.skipped.append(f"{network.name} {head['mode']} batch {batch} sm {sm}")
                    continue
                self._point(module, inputs, head, batch, sm, 0)
                done.append((batch, sm))
        for batch, sm in self.random.sample(done, min(6, len(done))):
            if time.monotonic() < until + 2:
                inputs = network.inputs(batch, "cuda", dtype)
                self._point(module, inputs, head, batch, sm, 1)

    def _point(
        self, module: Any, inputs: Any, head: dict[str, Any], batch: int, sm: int, repeat: int
    ) -> None:
        torch.cuda.reset_peak_memory_stats()
        stream = self.partitions.stream(sm)
        timing = time_network(module, inputs, stream, head["mode"], Effort(seconds=0.06))
        self.rows.writerow(
            head
            | {"batch": batch, "sm": sm, "repeat": repeat, "runs": timing.runs}
            | {"p50_ms": f"{timing.p50_ms:.4f}", "p10_ms": f"{timing.p10_ms:.4f}"}
            | {"p90_ms": f"{timing.p90_ms:.4f}", "gpu_p50_ms": f"{timing.gpu_p50_ms:.4f}"}
            | {"mem_mib": torch.cuda.max_memory_allocated() >> 20}
        )


def card(run: Run, names: list[str]) -> dict[str, Any]:
    """Return what one must know to use the rows."""
    return {
        "gpu": torch.cuda.get_device_name(0),
        "sm_count": run.partitions.sm_count,
        "driver_cuda": torch.version.cuda,
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "command": "python -m benchmarks.gpu.h200_dataset",
        "networks": names,
        "skipped": run.skipped,
    }


def main() -> None:
    """Measure and write ``h200_networks.csv`` and its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--models", nargs="*", default=[])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    run = Run(options.out, options.seconds, seed=1)
    networks = [n for n in catalogue().values() if not options.models or n.name in options.models]
    for at, network in enumerate(networks):
        left = run.deadline - time.monotonic()
        began = time.monotonic()
        # Large networks need more than their share; small ones leave some over.
        run.network(network, 1.6 * left / (len(networks) - at))
        print(
            f"{network.name}: {time.monotonic() - began:.1f} s, {left:.0f} s were left", flush=True
        )
    (options.out / "card.json").write_text(
        json.dumps(card(run, [n.name for n in networks]), indent=1)
    )
    print(f"skipped {len(run.skipped)} points")


if __name__ == "__main__":
    main()
