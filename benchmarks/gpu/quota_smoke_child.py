"""The workload process of ``quota_smoke.py``: reads requests, answers in JSON lines."""

from __future__ import annotations

import contextlib
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch


def network() -> torch.nn.Module:
    """Return a small convolutional network of the shape of a ResNet's trunk."""
    layers: list[torch.nn.Module] = [torch.nn.Conv2d(3, 64, 7, 2, 3), torch.nn.ReLU()]
    channels = 64
    for wider in (64, 128, 256, 512):
        for _ in range(3):
            stride = 2 if wider != channels else 1
            layers += [
                torch.nn.Conv2d(channels, wider, 3, stride, 1),
                torch.nn.BatchNorm2d(wider),
                torch.nn.ReLU(),
            ]
            channels = wider
    layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(512, 1000)]
    return torch.nn.Sequential(*layers)


class Workloads:
    """One step of each workload; a step's result is a tensor that is always the same."""

    def __init__(self) -> None:
        torch.manual_seed(7)
        torch.backends.cudnn.benchmark = False
        self._a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
        self._network = network().cuda().half().eval()
        self._input = torch.randn(8, 3, 224, 224, device="cuda", dtype=torch.half)
        self._graph, self._graph_output = self._capture()

    def gemm(self) -> torch.Tensor:
        """Four products of 4096 x 4096 matrices."""
        result = self._a
        for _ in range(4):
            result = self._a @ self._a
        return result

    def network(self) -> torch.Tensor:
        """One batch through the network, launch by launch."""
        output: torch.Tensor = self._network(self._input)
        return output

    def graph(self) -> torch.Tensor:
        """The same batch as one CUDA graph."""
        self._graph.replay()
        return self._graph_output

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.network()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = self.network()
        return graph, output


def digest(tensor: torch.Tensor) -> str:
    """Return a short name for the exact bits of a tensor."""
    data = tensor.detach().contiguous().view(torch.uint8).cpu().numpy().tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


def run(step: Callable[[], torch.Tensor], request: dict[str, Any]) -> dict[str, Any]:
    """Repeat a step for a time or a number of times and say how fast and how right it was."""
    reference = step().clone()
    torch.cuda.synchronize()
    seconds, count = request.get("seconds", 1e9), request.get("count", 1 << 60)
    took, wrong = [], 0
    began = time.perf_counter()
    while len(took) < count and time.perf_counter() - began < seconds:
        at = time.perf_counter()
        output = step()
        torch.cuda.synchronize()
        took.append(time.perf_counter() - at)
        if request.get("check") and not torch.equal(output, reference):
            wrong += 1
    spent = time.perf_counter() - began
    return {
        "count": len(took),
        "per_second": len(took) / spent,
        "wrong": wrong,
        "p50_ms": statistics.median(took) * 1e3,
        "digest": digest(reference),
    }


def profiled(step: Callable[[], torch.Tensor], request: dict[str, Any]) -> dict[str, Any]:
    """Run under PyTorch's profiler and count what the driver was asked to launch."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        answer = run(step, request)
    names = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cuLaunchKernelEx")
    calls = {e.key: e.count for e in seen.key_averages() if e.key.startswith(names)}
    return {**answer, "profiled": calls}


def try_memory(size: int) -> dict[str, Any]:
    """Allocate once and say what PyTorch said."""
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    error = None
    try:
        torch.empty(size, device="cuda", dtype=torch.uint8)
    except torch.OutOfMemoryError as refused:
        error = str(refused)[:120]
    return {"free": free, "total": total, "error": error}


def main() -> None:
    """Serve requests until standard input ends."""
    torch.set_grad_enabled(False)
    workloads = Workloads()
    for name in ("gemm", "network", "graph"):
        run(getattr(workloads, name), {"count": 10})
    about = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "memory":
            answer = try_memory(request["bytes"])
        else:
            step = getattr(workloads, request["do"])
            answer = (profiled if request.get("profile") else run)(step, request)
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
