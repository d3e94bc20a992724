"""Work of every kind under PyTorch's profiler, to compare its count of launches with the hooks'."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from quota_runtime.region import read_usage

if TYPE_CHECKING:
    from benchmarks.gpu.quota_child import Workloads

REPEATS = 20
COUNTERS = ("launches", "graph_launches", "ungated_launches")
LAUNCH_CALLS = (
    "cudaLaunchKernel",
    "cudaLaunchKernelExC",
    "cudaLaunchCooperativeKernel",
    "cudaGraphLaunch",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cuLaunchCooperativeKernel",
    "cuGraphLaunch",
)
COOPERATIVE = r"""
#include <cooperative_groups.h>
extern "C" __global__ void together(float *data) {
    cooperative_groups::this_grid().sync();
    data[blockIdx.x * blockDim.x + threadIdx.x] += 1;
}
"""


def count(what: str, workloads: Workloads) -> dict[str, Any]:
    """Run one kind of work and return what the profiler saw."""
    from torch.profiler import ProfilerActivity, profile

    step = _steps(workloads)[what]()
    step()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        before = _hooks()
        for _ in range(REPEATS):
            step()
        torch.cuda.synchronize()
        hooks = {name: value - before[name] for name, value in _hooks().items()}
    calls: Counter[str] = Counter()
    for event in seen.key_averages():
        if event.key in LAUNCH_CALLS:
            calls[event.key] += event.count
    kernels = sum(
        event.device_type == torch.autograd.DeviceType.CUDA
        and not event.name.startswith(("Memcpy", "Memset"))
        for event in seen.events()
    )
    seen_calls = {"calls": dict(calls), "launch_calls": sum(calls.values()), "kernels": kernels}
    return {"profiler": seen_calls, "hooks": hooks}


def _hooks() -> dict[str, int]:
    """Return the library's own counters of this process."""
    slots = read_usage(Path(os.environ["KSERVE_HAS_DIR"]) / "usage").slots
    return {name: sum(getattr(slot, name) for slot in slots) for name in COUNTERS}


def _steps(workloads: Workloads) -> dict[str, Callable[[], Callable[[], Any]]]:
    return {
        "eager": lambda: workloads.step("resnet50", "eager", 1),
        "graph": lambda: workloads.step("resnet50", "graph", 1),
        "triton": _triton,
        "cooperative": _cooperative,
        "compiled": _compiled,
        "nccl": _nccl,
    }


def _triton() -> Callable[[], Any]:
    from benchmarks.gpu.quota_triton import add_one

    data = torch.zeros(1 << 20, device="cuda")
    return lambda: add_one(data)


def _cooperative() -> Callable[[], Any]:
    import cupy

    module = cupy.RawModule(
        code=COOPERATIVE, options=("--std=c++17",), enable_cooperative_groups=True
    )
    kernel = module.get_function("together")
    data = cupy.zeros(64 * 128, dtype=cupy.float32)
    return lambda: kernel((64,), (128,), (data,))


def _nccl() -> Callable[[], Any]:
    import tempfile

    import torch.distributed as dist

    if not dist.is_initialized():
        store = f"file://{tempfile.mkdtemp()}/store"
        dist.init_process_group("nccl", init_method=store, world_size=1, rank=0)
    data = torch.ones(1 << 20, device="cuda")

    def step() -> None:
        dist.all_reduce(data)

    return step


def _compiled() -> Callable[[], Any]:
    layers = [torch.nn.Linear(1024, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 1024)]
    module = torch.nn.Sequential(*layers).cuda().half()
    compiled = torch.compile(module, mode="reduce-overhead")
    data = torch.randn(64, 1024, device="cuda", dtype=torch.half)
    for _ in range(4):
        compiled(data)
    return lambda: compiled(data)
