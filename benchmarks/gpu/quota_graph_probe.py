"""Whether a captured graph can be rebuilt for another SM partition through the driver's interface.

Three ways are tried on a graph of plain matrix products: kernel nodes added with the partition's
context named, added with that context current, and captured again on a stream of the partition.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from cuda.bindings import driver

SMS = 64
PRODUCTS = 8
MS_ROUNDS = 20
Nodes = list[Any]


def call(result: tuple[Any, ...]) -> Any:
    """Return what a driver call gives.

    Raises:
        RuntimeError: the driver refused; with the line that asked.
    """
    error, *values = result
    if error != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"{error.name} at line {sys._getframe(1).f_lineno}")
    return values[0] if len(values) == 1 else tuple(values)


def probe() -> dict[str, Any]:
    """Capture, rebuild in each way, and time the results beside the original."""
    a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    graph = torch.cuda.CUDAGraph(keep_graph=True)
    a @ a
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        for _ in range(PRODUCTS):
            a @ a
    graph.instantiate()
    raw = driver.CUgraph(graph.raw_cuda_graph())
    nodes = _in_order(raw)
    types = Counter(
        str(call(driver.cuGraphNodeGetType(node))).split("_TYPE_")[-1] for node in nodes
    )
    first = call(driver.cuGraphKernelNodeGetParams(nodes[0]))
    facts: dict[str, Any] = {
        "nodes": dict(types),
        "func": bool(int(first.func)),
        "kern": bool(int(first.kern)),
        "ctx": bool(int(first.ctx)),
        "whole_ms": _timed(graph.replay),
    }
    context, stream = _partition()
    ways: dict[str, Callable[[], Any]] = {
        "named context": lambda: _added(nodes, context, keep_function=False),
        "current context": lambda: _with_current(
            context, lambda: _added(nodes, None, keep_function=True)
        ),
        "captured again": lambda: _captured(nodes, stream),
    }
    for name, way in ways.items():
        try:
            facts[name] = _launched(call(driver.cuGraphInstantiate(way(), 0)))
        except (RuntimeError, TypeError, ValueError) as error:
            facts[name] = str(error)
    return facts


def _in_order(graph: Any) -> Nodes:
    _, count = call(driver.cuGraphGetNodes(graph))
    nodes, _ = call(driver.cuGraphGetNodes(graph, count))
    return list(nodes)


def _partition() -> tuple[Any, Any]:
    device = call(driver.cuDeviceGet(0))
    sm = driver.CUdevResourceType.CU_DEV_RESOURCE_TYPE_SM
    whole = call(driver.cuDeviceGetDevResource(device, sm))
    groups, _, _ = call(driver.cuDevSmResourceSplitByCount(1, whole, 0, SMS))
    description = call(driver.cuDevResourceGenerateDesc(groups, 1))
    flags = driver.CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM
    green = call(driver.cuGreenCtxCreate(description, device, flags))
    stream = call(driver.cuGreenCtxStreamCreate(green, 1, 0))
    return call(driver.cuCtxFromGreenCtx(green)), stream


def _added(nodes: Nodes, context: Any, *, keep_function: bool) -> Any:
    graph = call(driver.cuGraphCreate(0))
    before: Nodes = []
    for node in nodes:
        kernel = call(driver.cuGraphKernelNodeGetParams(node))
        if not keep_function and not int(kernel.kern):
            raise RuntimeError("the node names a function, not a kernel: no context can be named")
        if not keep_function:
            kernel.func = driver.CUfunction(0)
            kernel.ctx = context
        added = call(driver.cuGraphAddKernelNode(graph, before or None, len(before), kernel))
        call(driver.cuGraphKernelNodeCopyAttributes(added, node))
        before = [added]
    return graph


def _with_current(context: Any, work: Callable[[], Any]) -> Any:
    call(driver.cuCtxPushCurrent(context))
    try:
        return work()
    finally:
        call(driver.cuCtxPopCurrent())


def _captured(nodes: Nodes, stream: Any) -> Any:
    relaxed = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
    call(driver.cuStreamBeginCapture(stream, relaxed))
    try:
        for node in nodes:
            kernel = call(driver.cuGraphKernelNodeGetParams(node))
            grid = (kernel.gridDimX, kernel.gridDimY, kernel.gridDimZ)
            block = (kernel.blockDimX, kernel.blockDimY, kernel.blockDimZ)
            call(
                driver.cuLaunchKernel(
                    kernel.func,
                    *grid,
                    *block,
                    kernel.sharedMemBytes,
                    stream,
                    kernel.kernelParams,
                    0,
                )
            )
    finally:
        graph = call(driver.cuStreamEndCapture(stream))
    return graph


def _launched(rebuilt: Any) -> float:
    main = driver.CUstream(torch.cuda.current_stream().cuda_stream)
    return _timed(lambda: call(driver.cuGraphLaunch(rebuilt, main)))


def _timed(work: Callable[[], Any]) -> float:
    work()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(MS_ROUNDS):
        work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / MS_ROUNDS
