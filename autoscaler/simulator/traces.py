"""Which traces can be replayed, and when their requests arrive."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Final

import numpy as np

from kserve_has.errors import TraceError
from kserve_has.loadgen import trace as traces
from kserve_has.loadgen.trace import Trace

_LARGEST_GAP: Final = 1.5  # steps; a longer one means that rows are missing


def load(argument: str) -> tuple[str, Trace]:
    """Return name and trace of ``FILE`` or ``FILE@FACTOR``, all rates times the factor.

    Raises:
        TraceError: names file, line and reason.
    """
    path, _, factor = argument.partition("@")
    scale = 1.0
    if factor:
        try:
            scale = float(factor)
        except ValueError:
            scale = -1.0
        if not 0 < scale < 1e6:
            raise TraceError(f"{argument}: the factor after @ must be a number above 0")
    found = traces.read(Path(path))
    _refuse_gaps(path, found)
    name = Path(path).stem + (f"@{factor}" if factor else "")
    return name, found.scaled(scale)


def _refuse_gaps(path: str, trace: Trace) -> None:
    steps = [later - earlier for earlier, later in itertools.pairwise(trace.starts_s)]
    if not steps:
        return
    usual = statistics.median(steps)
    for line, step in enumerate(steps, start=3):
        if step > _LARGEST_GAP * usual:
            raise TraceError(
                f"{path}, line {line}: gap of {step:g} s where steps last {usual:g} s; "
                "fill it with the rate that held, or 0"
            )


def arrival_times(trace: Trace, seed: int, seconds: float) -> list[float]:
    """Return ascending Poisson arrival times in ``[0, seconds)``, reproducible by seed."""
    rng = np.random.default_rng([seed, 11])
    starts = np.asarray(trace.starts_s)
    ends = np.minimum(np.append(starts[1:], trace.end_s), seconds)
    keep = ends > starts
    starts, ends = starts[keep], ends[keep]
    rates = np.asarray(trace.rates_rps)[keep]
    counts = rng.poisson(rates * (ends - starts))
    offsets = rng.random(int(counts.sum()))
    times = np.repeat(starts, counts) + offsets * np.repeat(ends - starts, counts)
    times.sort()
    return times.tolist()  # type: ignore[no-any-return]
