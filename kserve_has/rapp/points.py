"""Tables of measured latencies: any CSV with the columns below, checked row by row.

Needed: ``model``, ``batch``, ``sm`` and one of ``p50_ms`` and ``latency_ms``. Known besides:
``family``, ``quota`` (per cent, else 100), ``dtype`` and ``mode`` (choose rows by them).
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ..errors import LatencyModelError
from .hierarchy import Points

TIMES: Final = ("p50_ms", "latency_ms")
_LISTED: Final = 5


@dataclass(frozen=True)
class Table:
    """Measured points of many networks.

    Attributes:
        networks: points by name; repeated configurations are one point, their median.
        family: of each network.
        repeats: relative difference of every configuration's first two measurements.

    """

    networks: Mapping[str, Points]
    family: Mapping[str, str]
    repeats: tuple[float, ...]

    @property
    def has_quota(self) -> bool:
        """Whether quotas differ."""
        return any(np.ptp(p.quota) > 0 for p in self.networks.values())

    @property
    def noise_floor(self) -> float | None:
        """Mean relative difference between two measurements of one configuration."""
        return float(np.mean(self.repeats)) if self.repeats else None

    @property
    def least_noise(self) -> tuple[float, float]:
        """Return the noise of a calm and of a disturbed measurement, log, as repeats show it.

        Disturbed are those whose repeats differ by more than the median: where the host is waited
        for, a mean over all would hide them. The difference of two normal draws is 2 / sqrt(pi)
        standard deviations on average.
        """
        if not self.repeats:
            return (1e-3, 1e-3)
        sizes = np.sort(self.repeats) * math.sqrt(math.pi) / 2.0
        disturbed = sizes[len(sizes) // 2 :]
        return max(1e-3, float(np.median(sizes))), max(1e-3, float(np.mean(disturbed)))


def read_table(path: Path, *, dtype: str | None = None, mode: str | None = None) -> Table:
    """Return the points of a CSV file.

    Raises:
        LatencyModelError: no such file, columns missing, or rows that cannot be latencies.

    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = set(reader.fieldnames or ())
            rows = list(reader)
    except OSError as error:
        raise LatencyModelError(f"{path}: {error.strerror}; name a CSV of points") from error
    missing = {"model", "batch", "sm"} - columns
    if missing or not columns & set(TIMES):
        lacks = ", ".join(sorted(missing)) or " or ".join(TIMES)
        raise LatencyModelError(f"{path} has no column {lacks}; found {', '.join(sorted(columns))}")
    wanted = {"dtype": dtype, "mode": mode}
    kept = [
        (number, row)
        for number, row in enumerate(rows, start=2)
        if all(value is None or row.get(key, value) == value for key, value in wanted.items())
    ]
    if not kept:
        raise LatencyModelError(f"{path} has no rows of dtype {dtype} and mode {mode}")
    return _table(str(path), kept)


def _table(source: str, rows: Iterable[tuple[int, Mapping[str, str]]]) -> Table:
    found: dict[str, dict[tuple[float, float, float], list[float]]] = {}
    family: dict[str, str] = {}
    problems = []
    for number, row in rows:
        try:
            place, ms = _numbers(row)
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            continue
        found.setdefault(row["model"], {}).setdefault(place, []).append(ms)
        family[row["model"]] = row.get("family") or family_of(row["model"])
    if problems:
        more = f" and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise LatencyModelError(f"{source}: {'; '.join(problems[:_LISTED])}{more}")
    repeats = tuple(
        abs(times[1] / times[0] - 1.0)
        for by_place in found.values()
        for times in by_place.values()
        if len(times) > 1
    )
    return Table({name: _points(by_place) for name, by_place in found.items()}, family, repeats)


def _numbers(row: Mapping[str, str]) -> tuple[tuple[float, float, float], float]:
    time = next(name for name in TIMES if name in row)
    batch, sm, quota = (float(row.get(k) or 100) for k in ("batch", "sm", "quota"))
    ms = float(row[time])
    for name, value, low in (("batch", batch, 1), ("sm", sm, 1), ("quota", quota, 1)):
        if not (math.isfinite(value) and value >= low):
            raise ValueError(f"{name} {value:g} must be at least {low}")
    if quota > 100:
        raise ValueError(f"quota {quota:g} is outside 1..100 per cent")
    if not (math.isfinite(ms) and ms > 0):
        raise ValueError(f"{time} {ms} must be a positive number of milliseconds")
    return (batch, sm, quota), ms


def _points(by_place: Mapping[tuple[float, float, float], list[float]]) -> Points:
    batch, sm, quota = np.array(list(by_place)).T
    ms = np.array([float(np.median(times)) for times in by_place.values()])
    return Points(batch, sm, quota, np.log(ms))


def family_of(model: str) -> str:
    """Return the family of a network from its name: the letters it begins with.

    >>> family_of("efficientnet_b4"), family_of("wide_resnet50_2"), family_of("vgg11_bn")
    ('efficientnet', 'wide_resnet', 'vgg')
    """
    match = re.match(r"(wide_)?[a-z]+", model)
    return match.group(0) if match else model
