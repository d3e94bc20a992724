"""What a green context and streams on it cost in a process that already works under MPS."""

from __future__ import annotations

import time
from typing import Any

CONTEXTS = 6
STREAMS = 8


def costs(check: bool, busy: bool = False) -> list[dict[str, Any]]:
    """Make contexts of different sizes, each with streams; return ms of each step.

    `busy`: while the GPU works through a queue of long kernels of this process.
    """
    if check:
        return [{"context_ms": 0.0, "stream_ms": [0.0]}]
    from cuda.bindings import driver

    queued = _queue() if busy else None

    def call(result: tuple[Any, ...]) -> Any:
        error, *values = result
        if error != driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(error.name)
        return values[0] if len(values) == 1 else values

    def timed(name: str, *arguments: Any) -> tuple[Any, float]:
        began = time.perf_counter()
        made = call(getattr(driver, name)(*arguments))
        return made, round(1e3 * (time.perf_counter() - began), 3)

    device = call(driver.cuDeviceGet(0))
    kind = driver.CUdevResourceType.CU_DEV_RESOURCE_TYPE_SM
    flags = driver.CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM
    rows = []
    for index in range(CONTEXTS):
        whole, read_ms = timed("cuDeviceGetDevResource", device, kind)
        (groups, _, _), split_ms = timed("cuDevSmResourceSplitByCount", 1, whole, 0, 8 * index + 8)
        description, _ = timed("cuDevResourceGenerateDesc", groups, 1)
        green, context_ms = timed("cuGreenCtxCreate", description, device, flags)
        streams = [timed("cuGreenCtxStreamCreate", green, 1, 0) for _ in range(STREAMS)]
        rows.append(
            {
                "read_ms": read_ms,
                "split_ms": split_ms,
                "context_ms": context_ms,
                "stream_ms": [ms for _, ms in streams],
                "queue_left": queued is not None and not queued.query(),
            }
        )
        for stream, _ in streams:
            call(driver.cuStreamDestroy(stream))
        call(driver.cuGreenCtxDestroy(green))
    return rows


def _queue() -> Any:
    """Have about a second of long kernels run; return the event of their end."""
    import torch

    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(700):
        a @ a
    end = torch.cuda.Event()
    end.record()
    return end
