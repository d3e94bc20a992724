"""Timing one network on one partition: warm, synchronised, repeated, with its spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

Mode = Literal["eager", "graph"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of repeated runs, milliseconds.

    Attributes:
        runs: how many.
        p10_ms, p50_ms, p90_ms: host time from call to synchronised.
        gpu_p50_ms: between two events around the work.

    """

    runs: int
    p10_ms: float
    p50_ms: float
    p90_ms: float
    gpu_p50_ms: float


@dataclass(frozen=True, slots=True)
class Effort:
    """How long one point may take: whichever of time and runs is reached first, after the minimum."""

    seconds: float = 0.15
    least_runs: int = 4
    most_runs: int = 30
    warm_ups: int = 2


def time_runs(run: Callable[[], object], stream: torch.cuda.Stream, effort: Effort) -> Timing:
    """Return the times of ``run``, which must put all its work on ``stream``."""
    host_ms: list[float] = []
    gpu_ms: list[float] = []
    start = torch.cuda.Event(enable_timing=True)
    end = torch.cuda.Event(enable_timing=True)
    for _ in range(effort.warm_ups):
        run()
    stream.synchronize()
    deadline = time.perf_counter() + effort.seconds
    while len(host_ms) < effort.most_runs:
        began = time.perf_counter()
        if len(host_ms) >= effort.least_runs and began > deadline:
            break
        start.record(stream)
        run()
        end.record(stream)
        stream.synchronize()
        host_ms.append((time.perf_counter() - began) * 1e3)
        gpu_ms.append(start.elapsed_time(end))
    cuts = statistics.quantiles(host_ms, n=10, method="inclusive")
    return Timing(
        len(host_ms), cuts[0], statistics.median(host_ms), cuts[-1], statistics.median(gpu_ms)
    )


def time_network(
    module: nn.Module, inputs: torch.Tensor, stream: torch.cuda.Stream, mode: Mode, effort: Effort
) -> Timing:
    """Return the times of one inference of ``module`` on ``stream``, eager or as a CUDA graph."""
    with torch.inference_mode(), torch.cuda.stream(stream):
        if mode == "eager":
            return time_runs(lambda: module(inputs), stream, effort)
        for _ in range(effort.warm_ups):
            module(inputs)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            module(inputs)
        return time_runs(graph.replay, stream, effort)
