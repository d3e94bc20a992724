"""Profiles: the few measured points of one served model on one GPU, one JSON file each, with a card.

A file that cannot be trusted is refused with everything that is wrong with it; nothing of it is
used then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import LatencyModelError
from .hierarchy import Points

FORMAT: Final = "kserve-has latency profile 1"
SUFFIX: Final = ".profile.json"
REPAIR: Final = "measure it again with: kserve-has profile --model {model}"
_CARD: Final = ("gpu", "sm_count", "driver", "torch", "date", "command")


@dataclass(frozen=True, slots=True)
class ProfilePoint:
    """One measured point.

    Attributes:
        batch: instances in a request.
        sm: SMs of the partition.
        quota: per cent of the quota window.
        runs: timed runs behind the figures.
        p50_ms, p10_ms, p90_ms: from call to synchronised, milliseconds.

    """

    batch: int
    sm: int
    quota: int
    runs: int
    p50_ms: float
    p10_ms: float
    p90_ms: float


@dataclass(frozen=True)
class Profile:
    """Measured points of a served model on a GPU.

    Attributes:
        model: the served model's name.
        dtype, mode: number format, and eager or graph.
        card: gpu (product), sm_count, driver, torch, date, command and more.
        points: what was measured.

    """

    model: str
    dtype: str
    mode: str
    card: Mapping[str, Any]
    points: tuple[ProfilePoint, ...]

    @property
    def gpu(self) -> str:
        """The GPU's product name."""
        return str(self.card["gpu"])

    @property
    def sm_count(self) -> int:
        """SMs of the whole GPU."""
        return int(self.card["sm_count"])

    def without_quota(self) -> Points:
        """Return the points at the whole quota, from which the quota law leads to the others."""
        whole = [p for p in self.points if p.quota == 100]
        columns = [[float(v) for v in (p.batch, p.sm, p.quota, p.p50_ms)] for p in whole]
        batch, sm, quota, ms = np.array(columns, dtype=float).reshape(-1, 4).T
        return Points(batch, sm, quota, np.log(ms))


def path_of(profile: Profile, folder: Path) -> Path:
    """Return the usual path of a profile."""
    gpu = profile.gpu.replace(" ", "-")
    return folder / f"{profile.model}_{gpu}_{profile.dtype}-{profile.mode}{SUFFIX}"


def write(profile: Profile, folder: Path) -> Path:
    """Write a profile under its usual name and return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(profile, folder)
    document = {"format": FORMAT, **asdict(profile)}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def read(path: Path, *, unfinished: bool = False) -> Profile:
    """Return a profile; one whose measuring was interrupted only where ``unfinished`` is set.

    Raises:
        LatencyModelError: with every problem of the file.

    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LatencyModelError(f"{path} is no profile: {error}") from error
    problems = _problems(document)
    if not (problems or unfinished or document["card"].get("complete", True)):
        problems = ["measuring was interrupted; the same command continues it"]
    if problems:
        model = document.get("model", "MODEL") if isinstance(document, dict) else "MODEL"
        raise LatencyModelError(f"{path}: {'; '.join(problems)}; {REPAIR.format(model=model)}")
    points = tuple(ProfilePoint(**p) for p in document["points"])
    return Profile(document["model"], document["dtype"], document["mode"], document["card"], points)


def read_folder(folder: Path) -> list[Profile]:
    """Return every profile of a folder.

    Raises:
        LatencyModelError: with every problem of every file.

    """
    found, problems = [], []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            found.append(read(path))
        except LatencyModelError as error:
            problems.append(str(error))
    if problems:
        raise LatencyModelError("\n".join(problems))
    if not found:
        raise LatencyModelError(
            f"no *{SUFFIX} in {folder}; make one with: kserve-has profile --model MODEL"
        )
    return found


def drivers_differ(profiles: Sequence[Profile], driver: str) -> list[str]:
    """Return a sentence for every profile measured under another driver than ``driver``."""
    return [
        f"{p.model} on {p.gpu} was measured with driver {p.card['driver']}, this node runs "
        f"{driver}; {REPAIR.format(model=p.model)}"
        for p in profiles
        if p.card["driver"] != driver
    ]


def _problems(document: Any) -> list[str]:  # noqa: ANN401
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return [f"expected format {FORMAT!r}"]
    problems = [f"{key} is missing" for key in ("model", "dtype", "mode") if not document.get(key)]
    card = document.get("card")
    if not isinstance(card, dict):
        return [*problems, "the card is missing"]
    problems += [f"the card lacks {key}" for key in _CARD if key not in card]
    points = document.get("points")
    if not isinstance(points, list) or not points:
        return [*problems, "there are no points"]
    whole = card.get("sm_count")
    for index, point in enumerate(points):
        problems += [f"point {index}: {p}" for p in _point_problems(point, whole)]
    return problems


def _point_problems(point: Any, sm_count: Any) -> list[str]:  # noqa: ANN401
    fields = ProfilePoint.__dataclass_fields__
    if not isinstance(point, dict) or set(point) != set(fields):
        return [f"expected {', '.join(fields)}"]
    problems = [
        f"{key} {point[key]!r} is no positive number"
        for key in fields
        if isinstance(point[key], bool)
        or not isinstance(point[key], int | float)
        or not math.isfinite(point[key])
        or point[key] <= 0
    ]
    if problems:
        return problems
    if isinstance(sm_count, int) and point["sm"] > sm_count:
        problems.append(f"{point['sm']} SMs, the GPU has {sm_count}")
    if point["quota"] > 100:
        problems.append(f"quota {point['quota']} is outside 1..100 per cent")
    if not point["p10_ms"] <= point["p50_ms"] <= point["p90_ms"]:
        problems.append("p10, p50 and p90 are out of order")
    return problems
