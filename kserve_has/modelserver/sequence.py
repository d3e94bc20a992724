"""What one inference launches: the packaged sequences and how they scale between batches."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from ..errors import LatencyModelError

FLOOR_NS = 2000  # no kernel ends sooner: launch and drain of one grid


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel launch.

    Attributes:
        kernel: name of its function in the module, unique in the sequence.
        work_sm_ns: SM-nanoseconds of work.
        max_sm: SMs it can keep busy.
    """

    kernel: str
    work_sm_ns: int
    max_sm: int


Launches = list[tuple[str, float, int]]  # name, SM-microseconds of work, SMs it can use


@lru_cache(maxsize=1)
def _packaged() -> dict[str, dict[int, Launches]]:
    return {
        model: {int(batch): found["launches"] for batch, found in entry["batches"].items()}
        for model, entry in packaged().items()
    }


@lru_cache(maxsize=1)
def packaged() -> dict[str, Any]:
    """Return ``data/sequences.json`` as it is; see :mod:`.calibrate` for its making."""
    source = files(__package__) / "data" / "sequences.json"
    return dict(json.loads(source.read_text(encoding="utf-8")))


def weights_bytes(model: str) -> int:
    """Return the bytes of a known model's fp32 weights."""
    return int(packaged()[model]["weights_bytes"])


def known_models() -> tuple[str, ...]:
    """Return the served models that have a launch sequence."""
    return tuple(sorted(_packaged()))


def sequence(model: str, batch: int) -> tuple[Launch, ...]:
    """Return the launches of one inference of ``batch`` images or texts, in order.

    A batch between two measured ones takes the sequence of the larger with its work scaled by
    the power law between the two totals; beyond the largest the work grows with the batch.

    Raises:
        LatencyModelError: the model has no sequence or the batch is not positive.
    """
    by_batch = _packaged().get(model)
    if by_batch is None:
        raise LatencyModelError(
            f"no launch sequence of {model!r}; known: {', '.join(known_models())}"
        )
    if batch < 1:
        raise LatencyModelError(f"batch {batch} must be at least 1")
    above = [b for b in sorted(by_batch) if b >= batch]
    if not above:
        largest = max(by_batch)
        base, factor = by_batch[largest], batch / largest
    else:
        base, factor = by_batch[above[0]], _between(by_batch, batch, above[0])
    return tuple(
        Launch(f"{name}_{index}", max(1, round(work_us * 1000 * factor)), max_sm)
        for index, (name, work_us, max_sm) in enumerate(base)
    )


def _between(by_batch: dict[int, Launches], batch: int, upper: int) -> float:
    if batch == upper:
        return 1.0
    lower = max(b for b in by_batch if b < batch)
    ratio = _work(by_batch[lower]) / _work(by_batch[upper])
    return float(ratio ** (math.log(upper / batch) / math.log(upper / lower)))


def _work(launches: Launches) -> float:
    return sum(work_us for _, work_us, _ in launches)


def module_image(launches: tuple[Launch, ...]) -> bytes:
    """Return the text the emulated driver takes for a module, NUL-terminated."""
    lines = ["HASEMU 1"]
    lines += [
        f"kernel {launch.kernel} work_sm_ns={launch.work_sm_ns} floor_ns={FLOOR_NS} "
        f"max_sm={launch.max_sm}"
        for launch in launches
    ]
    return ("\n".join(lines) + "\n").encode() + b"\0"


def alone_ms(launches: tuple[Launch, ...], sm: int) -> float:
    """Return how long the sequence takes alone on ``sm`` SMs without a quota, milliseconds."""
    total_ns = sum(max(FLOOR_NS, k.work_sm_ns / min(sm, k.max_sm)) for k in launches)
    return total_ns / 1e6
