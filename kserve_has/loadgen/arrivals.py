"""When each request is due: a trace turned into points in time, reproducibly."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

from .trace import Trace

Process = Literal["poisson", "deterministic"]


def arrivals(trace: Trace, *, process: Process, seed: int = 0) -> tuple[float, ...]:
    """Return the ascending times, seconds from the trace's start, at which requests are due.

    Points of a unit-rate process are carried through the inverse of the trace's cumulative rate,
    so both processes follow the same rate and ``seed`` alone decides the Poisson points.
    """
    points = _poisson(seed) if process == "poisson" else _even()
    due: list[float] = []
    point = next(points)
    passed = 0.0  # cumulative rate at the start of the step
    bounds = (*trace.starts_s, trace.end_s)
    for start, end, rate in zip(bounds, bounds[1:], trace.rates_rps, strict=False):
        area = rate * (end - start)
        while point < passed + area:
            due.append(start + (point - passed) / rate)
            point = next(points)
        passed += area
    return tuple(due)


def _poisson(seed: int) -> Iterator[float]:
    generator = random.Random(seed)
    point = 0.0
    while True:
        point += generator.expovariate(1.0)
        yield point


def _even() -> Iterator[float]:
    point = 0.5
    while True:
        yield point
        point += 1.0
