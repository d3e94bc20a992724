"""The pool of warm replicas: enough of them to meet a surge by resizing, most of them parked.

A cold start takes many seconds, a resize milliseconds. So there are as many replicas as a surge
of the usual height needs at full stretch; as few of them work as is cheapest now, the others are
parked on next to nothing. What is usual is a quantile of how far the rate rose within a cold start
during the last hour, and never less than a prior: the first surge comes without notice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .capacity import Piece
from .desk import Desk, View, price
from .observation import Replica
from .state import Memory, changed

_MINUTES = 60
# The rise from nothing when a service begins is no surge to be expected again.
_MINUTES_TO_JUDGE = 10


@dataclass(frozen=True, slots=True)
class Split:
    """How many of the replicas work, with which piece, and what all together cost.

    Attributes:
        working: replicas that share the load; the others are parked.
        piece: of each; None when even all of them at full strength are too few.
        cost: SM x per cent, memory included; infinite without a piece.
    """

    working: int
    piece: Piece | None
    cost: float


def cheapest_split(desk: Desk, view: View, rps: float, count: int) -> Split:
    """Return the cheapest way to serve a rate with ``count`` replicas, the idle ones parked."""
    parked = view.ladder(desk, 1).smallest
    spare = price(view, 0.0 if parked is None else parked.area)
    best = Split(count, None, math.inf)
    for working in range(1, count + 1):
        piece = view.ladder(desk, working).cheapest(rps / working)
        if piece is None:
            continue
        cost = working * price(view, piece.area) + (count - working) * spare
        if cost < best.cost:
            best = Split(working, piece, cost)
    return best


def is_parked(desk: Desk, view: View, replica: Replica) -> bool:
    """Whether a replica holds no more than a parked one does."""
    held = replica.allocation
    if held is None:
        return False
    piece = desk.ladder(view.service, desk.rooms[held.gpu_uuid].gpu.geometry, 1).smallest
    return piece is not None and held.area <= piece.area


def working(desk: Desk, view: View) -> list[Replica]:
    """Return the serving replicas that are not parked; all when every one is."""
    if len(view.serving) == 1:
        return view.serving
    return [r for r in view.serving if not is_parked(desk, view, r)] or view.serving


def remember(memory: Memory, now_s: float, surge: float) -> Memory:
    """Note how far the rate rose within a cold start: the highest of each minute is kept."""
    minute = int(now_s // 60)
    kept = [(m, s) for m, s in memory.surges if minute - _MINUTES < m < minute]
    last = memory.surges[-1] if memory.surges else (minute, 1.0)
    highest = max(surge, last[1]) if last[0] == minute else surge
    return changed(memory, surges=(*kept, (minute, highest)))


def usual_surge(desk: Desk, memory: Memory) -> float:
    """Return the factor by which the rate must be expected to rise within a cold start."""
    heights = sorted(height for _, height in memory.surges)
    if len(heights) < _MINUTES_TO_JUDGE:
        return desk.settings.pool_surge
    at = min(len(heights) - 1, int(desk.settings.pool_quantile * len(heights)))
    return max(desk.settings.pool_surge, heights[at])


def pool_count(desk: Desk, view: View, target: float, count: int) -> int:
    """Return how many replicas are kept: those that work, and spares for the usual surge.

    Spares may cost a share of what the working ones do, but one is always allowed.
    """
    now = cheapest_split(desk, view, target, count)
    full = view.ladder(desk, count).sturdy_rps
    wanted = math.ceil(target * usual_surge(desk, view.memory) / full) if full > 0 else 0
    spares = max(0, wanted - now.working)
    if now.piece is not None:
        parked = view.ladder(desk, 1).smallest
        each = price(view, 0.0 if parked is None else parked.area)
        worth = desk.settings.pool_overhead * now.working * price(view, now.piece.area)
        spares = min(spares, max(1, int(worth / each)))
    service = view.service
    return max(1, service.min_replicas, min(service.max_replicas, now.working + spares))
