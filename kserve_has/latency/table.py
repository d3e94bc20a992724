"""A latency model made of measurements: monotone interpolation over measured points, no torch.

Between measured SM counts the curve is a straight line in log-log space (latency falls as a power
of the SMs between two points); between batches likewise. Beyond the measured range the nearest
point is scaled by the roofline: work grows with the batch and shrinks with the SMs.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files

from ..errors import LatencyModelError
from . import Latency, Part
from .duty import alone_mean_ms, elapsed_upper_ms

Curve = tuple[tuple[float, float], ...]  # (log SMs, log milliseconds), SMs ascending


class LatencyTable:
    """Measured latencies of (served model, GPU product) by batch and SMs.

    Attributes:
        margin: factor from the measured median to the upper bound of one undisturbed run. The
            leave-one-out 95 % bound of this interpolation on the H200's fp32 eager points is
            1.110 (``benchmarks/latency_table_error.py``).
        quota_window_ms: the quota window the runtime enforces.
        one_launch: whether a request is a captured graph, which a quota does not pause.

    """

    def __init__(
        self,
        points: Mapping[tuple[str, str], Mapping[int, Mapping[int, float]]],
        *,
        margin: float = 1.11,
        quota_window_ms: float = 50.0,
        one_launch: bool = False,
    ) -> None:
        self.margin = margin
        self.one_launch = one_launch
        self.quota_window_ms = quota_window_ms
        self._curves: dict[tuple[str, str], dict[int, Curve]] = {
            key: {batch: _monotone(by_sm) for batch, by_sm in sorted(by_batch.items())}
            for key, by_batch in points.items()
        }
        self._gpu_ms: dict[tuple[str, str, int, int], float] = {}
        self._parts: dict[tuple[str, str], Part] = {}

    def knows(self, served_model: str, gpu_product: str) -> bool:
        """Whether this model was measured on this GPU."""
        return (served_model, gpu_product) in self._curves

    def gpu_ms(self, served_model: str, gpu_product: str, batch: int, sm: int) -> float:
        """Return the GPU time of one batch on ``sm`` SMs without a quota, milliseconds.

        Raises:
            LatencyModelError: unknown model or GPU, batch or SMs not positive.

        """
        key = (served_model, gpu_product, batch, sm)
        cached = self._gpu_ms.get(key)
        if cached is None:
            cached = self._gpu_ms[key] = self._interpolate(served_model, gpu_product, batch, sm)
        return cached

    def part(self, served_model: str, gpu_product: str) -> Part:
        """Return the measurements of one model on one GPU, always the same object.

        Raises:
            LatencyModelError: this model was not measured on this GPU.

        """
        key = (served_model, gpu_product)
        if key not in self._parts:
            self._known(*key)
            self._parts[key] = _TablePart(self, *key)
        return self._parts[key]

    def predict(
        self, served_model: str, gpu_product: str, batch: int, sm: int, quota_percent: int
    ) -> Latency:
        """Return the service time of one request alone on a piece of the GPU.

        Raises:
            LatencyModelError: unknown model or GPU, or an impossible piece.

        """
        if not 1 <= quota_percent <= 100:
            raise LatencyModelError(f"quota {quota_percent} is outside 1..100 per cent")
        gpu_ms = self.gpu_ms(served_model, gpu_product, batch, sm)
        alone = alone_mean_ms(gpu_ms, quota_percent, self.quota_window_ms)
        return Latency(
            gpu_ms if self.one_launch else alone,
            elapsed_upper_ms(gpu_ms * self.margin, quota_percent, self.quota_window_ms),
        )

    def _interpolate(self, served_model: str, gpu_product: str, batch: int, sm: int) -> float:
        curves = self._known(served_model, gpu_product)
        if batch < 1 or sm < 1:
            raise LatencyModelError(f"batch {batch} and SMs {sm} must be at least 1")
        batches = list(curves)
        at = bisect_left(batches, batch)
        if at < len(batches) and batches[at] == batch:
            return math.exp(_at(curves[batch], math.log(sm)))
        if at == len(batches):
            return math.exp(_at(curves[batches[-1]], math.log(sm))) * batch / batches[-1]
        if at == 0:
            return math.exp(_at(curves[batches[0]], math.log(sm)))
        low, high = batches[at - 1], batches[at]
        weight = math.log(batch / low) / math.log(high / low)
        log_sm = math.log(sm)
        return math.exp(
            (1 - weight) * _at(curves[low], log_sm) + weight * _at(curves[high], log_sm)
        )

    def _known(self, served_model: str, gpu_product: str) -> dict[int, Curve]:
        curves = self._curves.get((served_model, gpu_product))
        if curves is None:
            known = ", ".join(sorted(f"{m} on {g}" for m, g in self._curves)) or "nothing"
            raise LatencyModelError(
                f"no measurements of {served_model!r} on {gpu_product!r}; known: {known}"
            )
        return curves


@dataclass(frozen=True, eq=False, slots=True)
class _TablePart:
    table: LatencyTable
    served_model: str
    gpu_product: str

    def predict(self, batch: int, sm: int, quota_percent: int) -> Latency:
        return self.table.predict(self.served_model, self.gpu_product, batch, sm, quota_percent)


def _monotone(by_sm: Mapping[int, float]) -> Curve:
    """Return the log-log points with latency made non-increasing in SMs (noise removed)."""
    curve: list[tuple[float, float]] = []
    best = math.inf
    for sm in sorted(by_sm):
        best = min(best, by_sm[sm])
        curve.append((math.log(sm), math.log(best)))
    return tuple(curve)


def _at(curve: Curve, log_sm: float) -> float:
    """Return log milliseconds at log SMs; below the range work scales as 1/SMs, above it is flat."""
    if log_sm <= curve[0][0]:
        return curve[0][1] + curve[0][0] - log_sm
    if log_sm >= curve[-1][0]:
        return curve[-1][1]
    at = bisect_left(curve, (log_sm, -math.inf))
    (x0, y0), (x1, y1) = curve[at - 1], curve[at]
    return y0 + (y1 - y0) * (log_sm - x0) / (x1 - x0)


def read_points(
    rows: Iterable[Mapping[str, str]], *, dtype: str, mode: str
) -> dict[str, dict[int, dict[int, float]]]:
    """Return model -> batch -> SMs -> p50 milliseconds from measurement rows."""
    points: dict[str, dict[int, dict[int, float]]] = {}
    for row in rows:
        if row["dtype"] == dtype and row["mode"] == mode:
            by_batch = points.setdefault(row["model"], {})
            by_batch.setdefault(int(row["batch"]), {})[int(row["sm"])] = float(row["p50_ms"])
    return points


def load_table(*, dtype: str = "fp32", mode: str = "eager") -> LatencyTable:
    """Return the table of the packaged H200 measurements."""
    source = files("kserve_has.latency") / "data" / "h200_latency.csv"
    with source.open(encoding="utf-8") as stream:
        points = read_points(csv.DictReader(stream), dtype=dtype, mode=mode)
    by_model = {(model, "NVIDIA H200"): by_batch for model, by_batch in points.items()}
    return LatencyTable(by_model, one_launch=mode == "graph")
