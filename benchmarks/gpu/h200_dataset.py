"""Measure the catalogue on a real GPU: network x batch x SM partition, at full quota.

One CSV row a measurement, written as it is made; the same command goes on where an ended run was.
Where the host launches more slowly than the GPU works, its speed changes from second to second: such
points are measured again in separated passes in another order, each pass on another CPU core, and
their median counts. What the GPU itself bounds is measured once, and now and then again: the
spread of repeats is the noise floor.

    python -m benchmarks.gpu.h200_dataset --mode eager --out DIR --seconds 400
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from benchmarks.gpu.measuring import MeasuredRows, card_of, family_first, gpu_card, pin
from kserve_has.profiler.measure import Effort, Timing, time_network
from kserve_has.profiler.networks import catalogue, network

COLUMNS = (
    *("model", "family", "dtype", "mode", "batch", "sm", "repeat", "runs"),
    *("p50_ms", "p10_ms", "p90_ms", "gpu_p50_ms", "params_m", "mem_mib"),
)
KEY = ("model", "mode", "batch", "sm", "repeat")
BATCHES = (1, 2, 4, 8, 16, 32)
SMS = (8, 16, 24, 32, 48, 64, 96, 132)
DTYPES = {"eager": "fp32", "graph": "bf16"}
REPEATS = 2  # in each of the two visits
LONGEST_MS = 500.0
CALM = 0.02  # a spread below which the GPU, not the host, sets the pace
EFFORT = Effort(seconds=0.04, least_runs=3, most_runs=15, warm_ups=2)


class Bench(Protocol):
    """Something that times networks."""

    def build(self, name: str, mode: str) -> float:
        """Put a network on the GPU in place of the one before; return its million parameters."""
        ...

    def time(self, batch: int, sm: int) -> tuple[Timing, int]:
        """Return times of the network and the MiB that it took."""
        ...


class GpuBench:
    """The real one: partitions are green contexts."""

    def __init__(self) -> None:
        import torch

        from kserve_has.profiler.partitions import Partitions

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.set_num_threads(1)
        self.partitions = Partitions()

    def build(self, name: str, mode: str) -> float:
        """Put a network on the GPU in place of the one before; return its million parameters."""
        import torch

        self.module: Any = None
        gc.collect()
        torch.cuda.empty_cache()
        torch.manual_seed(0)
        self.mode: Literal["eager", "graph"] = "eager" if mode == "eager" else "graph"
        self.dtype = torch.float32 if mode == "eager" else torch.bfloat16
        self.known = network(name)
        with torch.device("cuda"):  # random weights come much faster from the GPU
            self.module = self.known.build().eval().to(self.dtype)
        return sum(p.numel() for p in self.module.parameters()) / 1e6

    def time(self, batch: int, sm: int) -> tuple[Timing, int]:
        """Return times of the network and the MiB that it took."""
        import torch

        torch.cuda.reset_peak_memory_stats()
        inputs = self.known.inputs(batch, "cuda", self.dtype)
        stream = self.partitions.stream(sm)
        timing = time_network(self.module, inputs, stream, self.mode, EFFORT)
        return timing, torch.cuda.max_memory_allocated() >> 20


class PretendBench:
    """For a dry run: times that follow a roofline, with noise."""

    def build(self, name: str, mode: str) -> float:
        """Start the noise anew."""
        self.random = random.Random(f"{name} {mode}")
        return 1.0

    def time(self, batch: int, sm: int) -> tuple[Timing, int]:
        """Return made-up times."""
        host, gpu = 3.0 * self.random.lognormvariate(0, 0.05), 60.0 * batch / sm
        return Timing(5, max(host, gpu), max(host, gpu), max(1.05 * host, gpu), gpu), 1


class Run:
    """Visits of networks within a time limit."""

    def __init__(self, bench: Bench, rows: MeasuredRows, mode: str, options: Any) -> None:
        self.bench, self.rows, self.mode = bench, rows, mode
        self.cores: list[int] = options.cores
        self.deadline = time.monotonic() + options.seconds
        self.random = random.Random(1)
        self.skipped: list[str] = []

    def visit(self, name: str, repeats: range) -> None:
        """Measure every piece once a pass; the GPU's own points mostly in the first pass only."""
        began = time.monotonic()
        if began > self.deadline:
            self.skipped.append(f"{name} {self.mode} repeats {list(repeats)}")
            return
        try:
            params_m = self.bench.build(name, self.mode)
            head = {"model": name, "family": catalogue()[name].family, "mode": self.mode}
            head |= {"dtype": DTYPES[self.mode], "params_m": f"{params_m:.1f}"}
            for repeat in repeats:
                pin(*self.cores[repeat % max(1, len(self.cores)) :][:1])
                self._pass(head, repeat)
        except RuntimeError as error:
            self.skipped.append(f"{name} {self.mode}: {str(error).splitlines()[0]}")
        now = time.monotonic()
        print(f"{name} {repeats}: {now - began:.1f} s, {self.deadline - now:.0f} left", flush=True)

    def _pass(self, head: dict[str, Any], repeat: int) -> None:
        # Large batches last, so that what is too slow is known from half the batch.
        places = [(batch, sm) for batch in BATCHES for sm in sorted(SMS, reverse=True)]
        if repeat:
            self.random.shuffle(places)
        slow: dict[int, float] = {}
        for batch, sm in places:
            point = head | {"batch": batch, "sm": sm, "repeat": repeat}
            first = self.rows.row(point | {"repeat": 0}) if repeat else None
            rarely = first is not None and is_calm(first) and self.random.random() > 0.15
            if self.rows.has(point) or rarely:
                continue
            if time.monotonic() > self.deadline or 2.0 * slow.get(sm, 0.0) > LONGEST_MS:
                self.skipped.append(f"{head['model']} {self.mode} {batch} {sm} {repeat}")
                continue
            timing, mem_mib = self.bench.time(batch, sm)
            if not repeat:
                slow[sm] = timing.p50_ms
            self.rows.write(point | _texts(timing, mem_mib))


def is_calm(row: Mapping[str, Any]) -> bool:
    """Whether the GPU, not the host, set the pace: a long run that hardly varies."""
    p10, p50, p90 = (float(row[name]) for name in ("p10_ms", "p50_ms", "p90_ms"))
    return p50 > 20.0 and p90 - p10 < CALM * p50


def _texts(timing: Timing, mem_mib: int) -> dict[str, str]:
    times = ("p50_ms", "p10_ms", "p90_ms", "gpu_p50_ms")
    texts = {name: f"{getattr(timing, name):.4f}" for name in times}
    return texts | {"runs": str(timing.runs), "mem_mib": str(mem_mib)}


def main() -> None:
    """Measure and write ``h200_MODE.csv`` and its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mode", choices=sorted(DTYPES), default="eager")
    parser.add_argument("--seconds", type=float, default=400.0)
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--cores", type=int, nargs="*", default=[], help="of the CPU, in turn")
    parser.add_argument("--check", action="store_true", help="no GPU: made-up times")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bench: Bench = PretendBench() if options.check else GpuBench()
    names = family_first({n.name: n.family for n in catalogue().values()})
    names = [n for n in names if not options.models or n in options.models]
    gc.disable()
    with MeasuredRows(options.out / f"h200_{options.mode}.csv", COLUMNS, KEY) as rows:
        run = Run(bench, rows, options.mode, options)
        for first in (0, REPEATS):
            for name in names:
                run.visit(name, range(first, first + REPEATS))
        noise = rows.noise("p50_ms")
    about = {"gpu": "none (dry run)"} if options.check else gpu_card()
    card = card_of("gpu.h200_dataset", about) | {"repeats": noise, "skipped": run.skipped}
    (options.out / f"h200_{options.mode}.card.json").write_text(json.dumps(card, indent=1) + "\n")
    print(f"{rows.count} rows, {noise}, {len(run.skipped)} points left out")


if __name__ == "__main__":
    main()
