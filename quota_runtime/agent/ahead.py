"""Which SM partitions the pods of one GPU are likely to get next. Pure.

The library makes them while nothing else is being made, so that their first use costs what a later
one costs. The autoscaler keeps a pod's groups as far as they fit and takes others beside them, so a
size more or less at the same quota names one bitmap; a guess that fails costs the pod nothing but
the memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kserve_has.allocation import Allocation, group_load
from kserve_has.gpu import GpuGeometry

from .wanted import Wanted


def likely(
    gpu: GpuGeometry,
    held: Mapping[str, Wanted],
    wanted: Mapping[str, Wanted | None],
    most: int,
) -> dict[str, tuple[int, ...]]:
    """Return at most ``most`` bitmaps for each pod that holds a piece, the likeliest first.

    Args:
        gpu: on which they are.
        held: the pieces that are written, by pod.
        wanted: what their annotations ask for; what is not written yet comes first.
        most: 0 names none.
    """
    pieces = {uid: holding.allocation for uid, holding in held.items()}
    total = group_load(pieces.values(), gpu)
    result = {}
    for uid, piece in pieces.items():
        own = group_load([piece], gpu)
        free = [100 - all_ + mine for all_, mine in zip(total, own, strict=True)]
        wish = wanted.get(uid)
        first = [] if wish is None else [wish.allocation.sm_groups]
        found = [*first, *_sizes_around(piece, free)]
        useful = (g for g in dict.fromkeys(found) if g not in (piece.sm_groups, gpu.all_groups))
        result[uid] = tuple(useful)[:most]
    return result


def _sizes_around(piece: Allocation, free: Sequence[int]) -> list[int]:
    """Return the bitmaps of one group more, one less, two more, and so on, as far as they fit."""
    own, last = piece.sm_groups, len(free) - 1
    fitting = [group for group, left in enumerate(free) if left >= piece.quota_percent]
    kept = [group for group in fitting if own >> group & 1]
    if not kept:
        return []

    def rank(group: int) -> tuple[bool, bool, int, int, int]:
        """Order as the autoscaler does: own groups, the odd last one last, the fullest first."""
        away = abs(group - kept[0])
        return not own >> group & 1, group == last, free[group], away, group

    order = sorted(fitting, key=rank)
    size = own.bit_count()
    counts = (size + way * step for step in range(1, len(free)) for way in (1, -1))
    return [sum(1 << g for g in order[:n]) for n in counts if 0 < n <= len(order)]
