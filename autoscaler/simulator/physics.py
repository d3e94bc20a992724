"""How long a request really takes: measured points and their measured noise.

The policy never sees these figures: it predicts from its own latency model. Between the measured
SM counts the truth leaves the interpolation by a random amount that is fixed for a run.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_left
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from kserve_has.errors import LatencyModelError

# Nothing was measured beyond p90, so no tail beyond p95 is made up.
_LARGEST_Z = 1.6448536269514722
_Z90 = 1.2815515655446004  # standard normal quantile of 90 %
_PERCENTILES = ("p10_ms", "p50_ms", "p90_ms")
NOISE_LENGTH = 1 << 16

Measured = tuple[int, float, float, float]  # SMs, median ms, log spread below and above it


class Physics:
    """Service times of one model at one batch size on an H200.

    Attributes:
        median_ms: warm median on the whole GPU, milliseconds.
    """

    def __init__(
        self,
        served_model: str,
        batch: int,
        seed: int,
        truth_spread: float,
        mode: str = "eager",
        points: Sequence[Measured] = (),
    ) -> None:
        """Take ``points``, ascending in SMs; without any the packaged ones of the served model."""
        points = points or _points(served_model, batch, mode)
        self._log_sm = [math.log(sm) for sm, *_ in points]
        self._points = points
        self._rng = np.random.default_rng([seed, 17])
        self._bends = self._rng.standard_normal(len(points) + 1) * truth_spread
        self._memo: dict[int, tuple[float, float, float]] = {}
        self.median_ms = self.law(max(sm for sm, *_ in points))[0]

    def law(self, sm: int) -> tuple[float, float, float]:
        """Return (median ms, log spread below, log spread above) on ``sm`` SMs."""
        found = self._memo.get(sm)
        if found is None:
            found = self._memo[sm] = self._law(sm)
        return found

    def noise(self) -> list[float]:
        """Return normal draws, cut at the 5th and 95th percentile, to be used in turn."""
        return np.clip(self._rng.standard_normal(NOISE_LENGTH), -_LARGEST_Z, _LARGEST_Z).tolist()  # type: ignore[no-any-return]

    def _law(self, sm: int) -> tuple[float, float, float]:
        x, points = math.log(sm), self._points
        at = bisect_left(self._log_sm, x)
        if at < len(points) and points[at][0] == sm:
            return points[at][1], points[at][2], points[at][3]
        if at == 0:
            first, median, below, above = points[0]
            return median * first / sm, below, above
        if at == len(points):
            return points[-1][1], points[-1][2], points[-1][3]
        low, high = points[at - 1], points[at]
        part = (x - self._log_sm[at - 1]) / (self._log_sm[at] - self._log_sm[at - 1])
        median = math.exp((1 - part) * math.log(low[1]) + part * math.log(high[1]))
        # The bend vanishes at the measured points and is widest between them.
        median *= math.exp(self._bends[at] * math.sin(math.pi * part))
        return median, max(low[2], high[2]), max(low[3], high[3])


def law_of(p10_ms: float, p50_ms: float, p90_ms: float) -> tuple[float, float, float]:
    """Return (median ms, log spread below, log spread above) of measured percentiles."""
    return p50_ms, math.log(p50_ms / p10_ms) / _Z90, math.log(p90_ms / p50_ms) / _Z90


def _points(model: str, batch: int, mode: str) -> list[Measured]:
    source = files("kserve_has.latency") / "data" / "h200_latency.csv"
    found: dict[int, tuple[float, float, float]] = {}
    known: set[str] = set()
    with source.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["dtype"] != "fp32" or row["mode"] != mode:
                continue
            known.add(row["model"])
            if row["model"] == model and int(row["batch"]) == batch:
                found[int(row["sm"])] = law_of(*(float(row[k]) for k in _PERCENTILES))
    if not found:
        raise LatencyModelError(
            f"no measurements of {model!r} at batch {batch}; measured models are "
            f"{', '.join(sorted(known))} at batch 1, 2, 4, 8, 16 and 32"
        )
    return [(sm, *found[sm]) for sm in sorted(found)]
