"""How long a request really takes: measured points and their measured noise.

The policy never sees these figures: it predicts from its own latency model. Between the measured
SM counts the truth leaves the interpolation by a random amount that is fixed for a run.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_left
from importlib.resources import files

import numpy as np

from kserve_has.errors import LatencyModelError

# Nothing was measured beyond p90, so no tail beyond p95 is made up.
_LARGEST_Z = 1.6448536269514722
_Z90 = 1.2815515655446004  # standard normal quantile of 90 %
NOISE_LENGTH = 1 << 16


class Physics:
    """Service times of one model at one batch size on an H200.

    Attributes:
        median_ms: warm median on the whole GPU, milliseconds.
    """

    def __init__(
        self, served_model: str, batch: int, seed: int, truth_spread: float, mode: str = "eager"
    ) -> None:
        points = _points(served_model, batch, mode)
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
            return points[at][1:]
        if at == 0:
            median, below, above = points[0][1:]
            return median * points[0][0] / sm, below, above
        if at == len(points):
            return points[-1][1:]
        low, high = points[at - 1], points[at]
        part = (x - self._log_sm[at - 1]) / (self._log_sm[at] - self._log_sm[at - 1])
        median = math.exp((1 - part) * math.log(low[1]) + part * math.log(high[1]))
        # The bend vanishes at the measured points and is widest between them.
        median *= math.exp(self._bends[at] * math.sin(math.pi * part))
        return median, max(low[2], high[2]), max(low[3], high[3])


def _points(model: str, batch: int, mode: str) -> list[tuple[int, float, float, float]]:
    source = files("kserve_has.latency") / "data" / "h200_latency.csv"
    found: dict[int, tuple[float, float, float]] = {}
    known: set[str] = set()
    with source.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["dtype"] != "fp32" or row["mode"] != mode:
                continue
            known.add(row["model"])
            if row["model"] == model and int(row["batch"]) == batch:
                p10, p50, p90 = (float(row[key]) for key in ("p10_ms", "p50_ms", "p90_ms"))
                spread = math.log(p50 / p10) / _Z90, math.log(p90 / p50) / _Z90
                found[int(row["sm"])] = (p50, *spread)
    if not found:
        raise LatencyModelError(
            f"no measurements of {model!r} at batch {batch}; measured models are "
            f"{', '.join(sorted(known))} at batch 1, 2, 4, 8, 16 and 32"
        )
    return [(sm, *found[sm]) for sm in sorted(found)]
