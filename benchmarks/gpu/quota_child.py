"""The workload process of ``quota_h200.py``: reads requests, answers in JSON lines.

It knows nothing of the quota library: whether that is preloaded decides who starts it.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu.quota_stats import BIN_S

NETWORKS = {"resnet50": "resnet50", "bert": "bert_base_128", "decoder": "llama_1b_decode_512"}
CHECK = os.environ.get("QUOTA_CHECK") == "1"  # a dry run on the CPU, to find mistakes
DEVICE = "cpu" if CHECK else "cuda"
Step = Callable[[], torch.Tensor]


def synchronize() -> None:
    """Wait for the device."""
    if not CHECK:
        torch.cuda.synchronize()


def digest(tensor: torch.Tensor) -> str:
    """Return a short name for the exact bits of a tensor."""
    data = tensor.detach().contiguous().view(torch.uint8).cpu().numpy().tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


class Workloads:
    """Steps by (name, mode, batch), made when first asked for; a step's result never changes.

    A graph asked for under another `label` is captured anew: on the partition in force then.
    """

    def __init__(self) -> None:
        torch.manual_seed(7)
        self._eager: dict[tuple[str, int, str], Step] = {}
        self._graphs: dict[tuple[str, int, str], Step] = {}

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
        """Fill every SM with arithmetic on data that stays in the cache: no traffic to memory."""
        a = torch.rand(1 << (10 if CHECK else 20), device=DEVICE) + 1

        def step() -> torch.Tensor:
            result = a
            for _ in range(batch):
                result = torch.special.zeta(a, 2.5)
            return result[:16]

        return step

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


def pin() -> None:
    """Keep this thread on one core and all others of the process off it."""
    cores = [int(core) for core in os.environ.get("QUOTA_CORES", "").split()]
    if len(set(cores)) < 2:
        return
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(task), set(cores[1:]))
    os.sched_setaffinity(0, {cores[0]})


def run(step: Step, request: dict[str, Any]) -> dict[str, Any]:
    """Repeat a step for a time or a number of times; say how fast, how late, and how right.

    It ends early once a file `until` exists.
    """
    pin()
    reference = step().clone()
    queue = Queue(request.get("depth", 0))
    warm = time.monotonic() + request.get("warm", 0)
    while time.monotonic() < warm:
        step()
        synchronize()
    synchronize()
    seconds, count = request.get("seconds", 1e9), request.get("count", 1 << 60)
    check, until = request.get("check", False), request.get("until")
    took: list[float] = []
    ends: list[float] = []
    wrong = 0
    gc.disable()
    now = began = time.monotonic()
    while len(took) < count and now - began < seconds:
        at = time.monotonic()
        output = step()
        queue.wait()
        now = time.monotonic()
        took.append(now - at)
        ends.append(now)
        if check and not torch.equal(output, reference):
            wrong += 1
        if until and os.path.exists(until):
            break
    gc.enable()
    spent = now - began
    ordered = sorted(took) or [0.0]
    return {
        "count": len(took),
        "per_second": len(took) / spent,
        "p10_ms": 1e3 * ordered[len(ordered) // 10],
        "p50_ms": 1e3 * ordered[len(ordered) // 2],
        "p99_ms": 1e3 * ordered[int(len(ordered) * 0.99)],
        "wrong": wrong,
        "digest": digest(reference),
        **({"took": took, "ends": ends} if request.get("series") else {}),
        **({"bins": bins(began, ends)} if request.get("bins") else {}),
    }


def bins(began: float, ends: list[float]) -> dict[str, Any]:
    """Return how many steps ended in each quota window since the first, by the machine's clock."""
    first = int(began / BIN_S)
    counts = [0] * (int(max(ends, default=began) / BIN_S) - first + 1)
    for at in ends:
        counts[int(at / BIN_S) - first] += 1
    return {"first": first, "counts": counts}


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
        return run(workloads.by_turns(request["labels"], request), request)
    step = workloads.step(
        request["work"],
        request.get("mode", "eager"),
        request.get("batch", 1),
        request.get("label", ""),
    )
    return run(step, request)


def main() -> None:
    """Serve requests until standard input ends; nobody else writes to standard output."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_grad_enabled(False)
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
