"""What the data sets of a GPU share: rows that outlive a broken run, order, cores, the card."""

from __future__ import annotations

import contextlib
import csv
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self


class MeasuredRows:
    """A CSV file of measured points that an ended run is continued in."""

    def __init__(self, path: Path, columns: Sequence[str], key: Sequence[str]) -> None:
        self.key = tuple(key)
        self._found: dict[tuple[str, ...], Mapping[str, Any]] = {}
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream):
                    self._found[self._key_of(row)] = row
        self._stream = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._stream, columns)
        if not self._found:
            self._stream.truncate(0)
            self._writer.writeheader()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    @property
    def count(self) -> int:
        """Number of rows, earlier runs' too."""
        return len(self._found)

    def has(self, row: Mapping[str, Any]) -> bool:
        """Whether the point was measured."""
        return self._key_of(row) in self._found

    def row(self, point: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what was measured at a point, None if it was not."""
        return self._found.get(self._key_of(point))

    def all(self) -> list[Mapping[str, Any]]:
        """Return every point measured so far, earlier runs' too."""
        return list(self._found.values())

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a point; it is in the file when this returns."""
        self._found[self._key_of(row)] = row
        self._writer.writerow(row)
        self._stream.flush()

    def noise(self, column: str) -> dict[str, dict[str, float]]:
        """Return per mode how far apart two measurements of one point are, as shares."""
        at = self.key.index("repeat")
        by_mode: dict[str, list[float]] = {}
        for key, row in self._found.items():
            first = self._found.get((*key[:at], "0", *key[at + 1 :]))
            if key[at] == "1" and first is not None:
                off = abs(float(row[column]) / float(first[column]) - 1)
                by_mode.setdefault(str(row["mode"]), []).append(off)
        return {
            mode: {
                "pairs": len(off),
                "mean": round(statistics.fmean(off), 5),
                "median": round(statistics.median(off), 5),
                "largest": round(max(off), 5),
            }
            for mode, off in by_mode.items()
        }

    def _key_of(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(str(row[name]) for name in self.key)


def family_first(family: Mapping[str, str]) -> list[str]:
    """Return the names so that every family comes once before any comes twice.

    >>> family_first({"a1": "a", "a2": "a", "b1": "b"})
    ['a1', 'b1', 'a2']
    """
    place: dict[str, int] = {}
    turn = {}
    for name, group in family.items():
        turn[name] = place[group] = place.get(group, -1) + 1
    return sorted(family, key=lambda name: turn[name])


def pin(*cores: int) -> None:
    """Keep this thread on some CPU cores and ahead of others, where they exist and it may."""
    with contextlib.suppress(OSError):
        if cores:
            os.sched_setaffinity(0, cores)
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def gpu_card() -> dict[str, Any]:
    """Return the GPU and its software."""
    import torch

    query = "--query-gpu=driver_version,clocks.sm,clocks.max.sm,clocks.mem,temperature.gpu"
    try:
        state = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"},
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        state = f"unknown: {error}"
    return {
        "gpu": torch.cuda.get_device_name(0),
        "sm_count": torch.cuda.get_device_properties(0).multi_processor_count,
        "driver, SM MHz at the end, most, memory MHz, degrees": state,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def card_of(module: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one must know to use the rows."""
    return {
        **about,
        "python": platform.python_version(),
        "processor": _processor(),
        "date": time.strftime("%Y-%m-%d"),
        "command": f"python -m benchmarks.{module} " + " ".join(_options()),
    }


def _options() -> list[str]:
    hidden = {"--out", "--library", "--data"}
    return [
        word
        for before, word in zip(["", *sys.argv[1:]], sys.argv[1:], strict=False)
        if word not in hidden and before not in hidden
    ]


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()
