"""Who may use which SM groups of one GPU, and from when. Pure.

Two rules. What all pods of a GPU hold in the end must fit: no group promised for more than the
whole time. And a group goes to its next holder only after the last one has let go, unless that
one is silent for too long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kserve_has.allocation import Allocation, fits, group_load
from kserve_has.gpu import GpuGeometry

_AT_ONCE_NS: Final = 1  # a turn at the very start of the window; 0 would mean anywhere


@dataclass(frozen=True, slots=True)
class Holding:
    """One pod's claim on a GPU.

    Attributes:
        uid: of the pod.
        wanted: what its annotations ask for.
        written: what its limit block says, None before the first write.
        lingering: earlier pieces that its processes may still run on.
        waits_s: how long ``wanted`` has been waiting for others to let go.
    """

    uid: str
    wanted: Allocation
    written: Allocation | None = None
    lingering: tuple[Allocation, ...] = ()
    waits_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Apply:
    """Write ``wanted`` now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Keep what is written until others have let go."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Keep what is written: ``wanted`` cannot be honoured."""

    reason: str


Verdict = Apply | Wait | Refuse


def arrange(gpu: GpuGeometry, holdings: Sequence[Holding], handover_s: float) -> dict[str, Verdict]:
    """Return what to do with the wish of each pod of one GPU."""
    verdicts: dict[str, Verdict] = {}
    sound = []
    for holding in sorted(holdings, key=lambda holding: holding.uid):
        problem = _impossible(gpu, holding)
        if problem:
            verdicts[holding.uid] = Refuse(problem)
        else:
            sound.append(holding)
    kept = {h.uid: h.written for h in holdings if h.uid in verdicts and h.written is not None}
    accepted = _accept(gpu, sound, kept)
    occupied = {h.uid: _occupied(gpu, h) for h in holdings}
    # Who gives something back goes first, so that it is free for the others.
    for holding in sorted(sound, key=lambda h: not _within(gpu, h, occupied)):
        if holding.uid not in accepted:
            verdicts[holding.uid] = Refuse(_conflict(gpu, holding, accepted, kept))
        elif _free(gpu, holding, occupied) or holding.waits_s >= handover_s:
            verdicts[holding.uid] = Apply()
            own = occupied[holding.uid]
            new = group_load([holding.wanted], gpu)
            occupied[holding.uid] = tuple(map(max, own, new))
        else:
            verdicts[holding.uid] = Wait()
    return verdicts


def turns(
    allocations: Mapping[str, Allocation],
    held: Mapping[str, int],
    window_ns: int,
) -> dict[str, int]:
    """Return when in the quota window each pod's turn starts, in ns; 0 = anywhere.

    Pods that share SM groups get turns that do not overlap; a turn in ``held`` is kept while
    that is possible, so that a resize of one pod does not disturb the others.
    """
    placed: dict[str, tuple[int, int]] = {}
    order = sorted(allocations, key=lambda uid: (not held.get(uid), uid))
    for uid in order:
        own = allocations[uid]
        others = [
            placed.get(other)
            for other, theirs in allocations.items()
            if other != uid and theirs.sm_groups & own.sm_groups
        ]
        length = window_ns * own.quota_percent // 100
        if others and length < window_ns:
            taken = sorted(span for span in others if span is not None)
            kept = held.get(uid, 0)
            start = _gap(taken, length, window_ns, 0 if kept == _AT_ONCE_NS else kept)
            if start is not None:
                placed[uid] = (start, start + length)
    return {uid: max(_AT_ONCE_NS, placed[uid][0]) if uid in placed else 0 for uid in allocations}


def _impossible(gpu: GpuGeometry, holding: Holding) -> str:
    wanted = holding.wanted
    try:
        held = gpu.sm_of(wanted.sm_groups)
    except ValueError as error:
        return str(error)
    if held != wanted.sm_partition:
        return f"groups {wanted.sm_groups:#x} hold {held} SMs, not {wanted.sm_partition}"
    if wanted.memory_bytes > gpu.memory_bytes:
        return f"memory {wanted.memory_bytes} exceeds the {gpu.memory_bytes} of the GPU"
    if holding.written is not None and holding.written.gpu_uuid != wanted.gpu_uuid:
        return f"a running pod cannot move from {holding.written.gpu_uuid} to {wanted.gpu_uuid}"
    return ""


def _accept(
    gpu: GpuGeometry, sound: Sequence[Holding], kept: Mapping[str, Allocation]
) -> dict[str, Allocation]:
    """Return the wishes that can all be honoured together."""
    everything = {h.uid: h.wanted for h in sound}
    if fits([*everything.values(), *kept.values()], gpu):
        return everything
    final = dict(kept) | {h.uid: h.written for h in sound if h.written is not None}
    accepted: dict[str, Allocation] = {}
    for holding in sorted(sound, key=lambda h: (h.wanted != h.written, _growth(h), h.uid)):
        candidate = final | {holding.uid: holding.wanted}
        if fits(candidate.values(), gpu) or _inside(holding):
            final = candidate
            accepted[holding.uid] = holding.wanted
    return accepted


def _growth(holding: Holding) -> int:
    return holding.wanted.area - (holding.written.area if holding.written else 0)


def _inside(holding: Holding) -> bool:
    """Whether the wish gives back and takes nothing: always possible."""
    written, wanted = holding.written, holding.wanted
    return (
        written is not None
        and not wanted.sm_groups & ~written.sm_groups
        and wanted.quota_percent <= written.quota_percent
        and wanted.memory_bytes <= written.memory_bytes
    )


def _occupied(gpu: GpuGeometry, holding: Holding) -> tuple[int, ...]:
    pieces = [*holding.lingering, *([holding.written] if holding.written else [])]
    loads = [group_load([piece], gpu) for piece in pieces]
    return tuple(max(column) for column in zip(*loads, strict=True)) or (0,) * gpu.group_count


def _within(gpu: GpuGeometry, holding: Holding, occupied: Mapping[str, Sequence[int]]) -> bool:
    new = group_load([holding.wanted], gpu)
    return all(n <= o for n, o in zip(new, occupied[holding.uid], strict=True))


def _free(gpu: GpuGeometry, holding: Holding, occupied: Mapping[str, Sequence[int]]) -> bool:
    if _within(gpu, holding, occupied):
        return True
    others = [load for uid, load in occupied.items() if uid != holding.uid]
    new = group_load([holding.wanted], gpu)
    return all(
        load == 0 or load + sum(other[index] for other in others) <= 100
        for index, load in enumerate(new)
    )


def _conflict(
    gpu: GpuGeometry,
    holding: Holding,
    accepted: Mapping[str, Allocation],
    kept: Mapping[str, Allocation],
) -> str:
    others: Iterable[Allocation] = [*accepted.values(), *kept.values()]
    load = group_load([holding.wanted, *others], gpu)
    crowded = [
        index
        for index, total in enumerate(load)
        if total > 100 and holding.wanted.sm_groups >> index & 1
    ]
    if crowded:
        return f"SM groups {crowded} would be promised for more than 100 % of the time"
    return "the memory limits of all pods together exceed the GPU, or a kept piece conflicts"


def _gap(
    taken: Sequence[tuple[int, int]], length: int, window_ns: int, preferred: int
) -> int | None:
    """Return the start of a free span, the preferred one if it still fits."""
    ends = [0, *(end for _, end in taken)]
    candidates = [preferred, *ends] if preferred else ends
    for start in candidates:
        clear = all(start + length <= begin or start >= end for begin, end in taken)
        if clear and start + length <= window_ns:
            return start
    return None
