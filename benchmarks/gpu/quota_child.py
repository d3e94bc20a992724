"""The workload process of ``quota_h200.py``: reads requests, answers in JSON lines.

It knows nothing of the quota library: whether that is preloaded decides who starts it.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

ALL_CORES = {int(core) for core in os.environ.get("QUOTA_ALL_CORES", "").split()}
if ALL_CORES:
    os.sched_setaffinity(0, ALL_CORES)  # until there is something to time

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu.quota_repeat import (
    CHECK,
    Step,
    pin,
    run,
    synchronize,
)
from benchmarks.gpu.quota_stamps import Stamps, Steady

NETWORKS = {"resnet50": "resnet50", "bert": "bert_base_128", "decoder": "llama_1b_decode_512"}
DEVICE = "cpu" if CHECK else "cuda"
STAMPED = ("quiet",)  # work that says by itself when it was on the GPU


class Workloads:
    """Steps by (name, mode, batch), made when first asked for; a step's result never changes.

    A graph asked for under another `label` is captured anew: on the partition in force then.
    """

    def __init__(self) -> None:
        torch.manual_seed(7)
        self._eager: dict[tuple[str, int, str], Step] = {}
        self._graphs: dict[tuple[str, int, str], Step] = {}
        self._stamps: Stamps | None = None

    @property
    def stamps(self) -> Stamps:
        """Where the GPU writes when it did what; made when first wanted."""
        self._stamps = self._stamps or Stamps()
        return self._stamps

    def step(self, name: str, mode: str, batch: int, label: str = "") -> Step:
        """Return a step, warmed up."""
        anew = label if name == "compiled" else ""
        if (name, batch, anew) not in self._eager:
            make = getattr(self, f"_{name}", None)
            self._eager[name, batch, anew] = make(batch) if make else self._network(name, batch)
            _warmed(self._eager[name, batch, anew])
        step = self._eager[name, batch, anew]
        if mode == "eager" or CHECK:
            return step
        if (name, batch, label) not in self._graphs:
            _warmed(step)
            self._graphs[name, batch, label] = self._captured(step)
        return self._graphs[name, batch, label]

    def by_turns(self, labels: list[str], request: dict[str, Any]) -> Step:
        """Return a step that replays one of several graphs after the other."""
        name, mode, batch = request["work"], request["mode"], request["batch"]
        steps = itertools.cycle([self.step(name, mode, batch, label) for label in labels])
        return lambda: next(steps)()

    def _compiled(self, batch: int) -> Step:
        """Return what ``torch.compile`` captures into graphs by itself; each time anew."""
        if CHECK:
            return self._gemm(1)
        torch.manual_seed(7)
        layers = (torch.nn.Linear(2048, 8192), torch.nn.GELU(), torch.nn.Linear(8192, 2048))
        module = torch.nn.Sequential(*layers, torch.nn.LayerNorm(2048)).cuda().half()
        compiled = torch.compile(module, mode="reduce-overhead")
        data = torch.randn(batch, 2048, device="cuda", dtype=torch.half)
        return lambda: compiled(data)

    def _network(self, name: str, batch: int) -> Step:
        if CHECK:
            return self._gemm(batch)
        from kserve_has.profiler.networks import network

        found = network(NETWORKS[name])
        torch.manual_seed(7)
        with torch.device(DEVICE):
            module = found.build().half().eval()
        inputs = found.inputs(batch, DEVICE, torch.half)
        return lambda: first_tensor(module(inputs))

    def _gemm(self, batch: int) -> Step:
        size = 64 if CHECK else 4096
        a = torch.randn(size, size, device=DEVICE, dtype=torch.float if CHECK else torch.bfloat16)

        def step() -> torch.Tensor:
            result = a
            for _ in range(batch):
                result = a @ a
            return result

        return step

    def _copy(self, batch: int) -> Step:
        """Move 1 GiB in the GPU's memory: bound by bandwidth alone."""
        a = torch.zeros(1 << (10 if CHECK else 29), device=DEVICE, dtype=torch.uint8)
        b = torch.empty_like(a)

        def step() -> torch.Tensor:
            for _ in range(batch):
                b.copy_(a)
            return b[:16]

        return step

    def _quiet(self, batch: int) -> Step:
        """Fill every SM with arithmetic: work of known length, no traffic to memory."""
        return Steady(self.stamps, batch)

    def _captured(self, step: Step) -> Step:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = step()

        def replay() -> torch.Tensor:
            graph.replay()
            return output

        return replay


def _warmed(step: Step) -> None:
    for _ in range(3):
        step()
    synchronize()


def first_tensor(output: Any) -> torch.Tensor:
    """Return the tensor of a network's output, whatever it is wrapped in."""
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    return output


def memory(size: int) -> dict[str, Any]:
    """Allocate once and say what PyTorch said."""
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    error = None
    try:
        torch.empty(size, device="cuda", dtype=torch.uint8)
    except torch.OutOfMemoryError as refused:
        error = str(refused)[:160]
    return {"free": free, "total": total, "error": error}


def answer(workloads: Workloads, request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request asks for."""
    if request["do"] == "prepare":
        if ALL_CORES:
            os.sched_setaffinity(0, ALL_CORES)
        for name, mode, batch in request["steps"]:
            workloads.step(name, mode, batch, request.get("label", ""))
        return {"prepared": len(request["steps"])}
    if request["do"] == "memory":
        return memory(request["bytes"])
    if request["do"] == "fork":
        from benchmarks.gpu.quota_fork import forked

        return forked(CHECK)
    if request["do"] == "green":
        from benchmarks.gpu.quota_green import costs

        return {"rows": costs(CHECK, request.get("busy", False))}
    if request["do"] == "count":
        from benchmarks.gpu.quota_launches import count

        return count(request["what"], workloads)
    if "labels" in request:
        return run(workloads.by_turns(request["labels"], request), request, None)
    step = workloads.step(
        request["work"],
        request.get("mode", "eager"),
        request.get("batch", 1),
        request.get("label", ""),
    )
    wants_stamps = request.get("marks") or request["work"] in STAMPED
    return run(step, request, workloads.stamps if wants_stamps else None)


def main() -> None:
    """Serve requests until standard input ends; nobody else writes to standard output."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_grad_enabled(False)
    torch.ones(1, device=DEVICE).add_(1)  # a library of quotas starts with the first such call
    synchronize()
    pin()
    workloads = Workloads()
    device = "cpu" if CHECK else torch.cuda.get_device_name()
    print(json.dumps({"device": device, "torch": torch.__version__}), file=replies, flush=True)
    for line in sys.stdin:
        try:
            reply = answer(workloads, json.loads(line))
        except Exception as error:  # noqa: BLE001 - one request fails, the process goes on
            reply = {"error": f"{type(error).__name__}: {error}"[:600]}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
