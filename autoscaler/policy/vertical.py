"""The fast loop: give warm replicas more or less of the GPU they are on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kserve_has.allocation import Allocation

from .capacity import Piece
from .desk import Desk, View, as_allocation, price, served_rps
from .observation import Replica
from .plan import Because, Reason, Resize
from .state import changed
from .yielding import claim, give_way


def resize(desk: Desk, view: View) -> None:
    """Grow at once when the replicas hold too little, shrink when much less has long sufficed."""
    if view.demand is None or not view.serving:
        return
    pool = len(view.serving)
    target = max(view.demand.rps, desk.settings.idle_rps)
    held = served_rps(desk, view, view.serving, pool)
    numbers = {"demand_rps": view.demand.rps, "served_rps": held}
    if desk.claims and give_way(desk, view, target):
        view.memory = changed(view.memory, shrink_since_s=None)
        view.hold(Reason.YIELDED, **numbers)
    elif _is_parked(desk, view):
        _park(desk, view)
    elif held < target:
        view.memory = changed(view.memory, shrink_since_s=None)
        if not grow(desk, view, view.serving, target, numbers):
            claim(desk, view, view.serving, target)
    elif _could_shrink(desk, view, target, pool):
        _shrink_in_time(desk, view, target, numbers)
    else:
        view.memory = changed(view.memory, shrink_since_s=None)
        view.hold(Reason.WITHIN_BAND, **numbers)


def grow(
    desk: Desk,
    view: View,
    replicas: Sequence[Replica],
    target: float,
    numbers: dict[str, float],
) -> bool:
    """Enlarge replicas until they serve ``target`` together; return whether they would.

    Each gets the cheapest piece for an equal share; what one cannot take for want of room on its
    GPU goes to the next, so those on the fullest GPUs are asked first.
    """
    assert view.demand is not None  # callers know the demand
    wanted = target * desk.settings.grow_headroom
    remaining, total, grown = wanted, 0.0, False
    reason = Reason.BACKLOG if view.demand.backlog_rps > target / 2 else Reason.DEMAND_ROSE
    for left, replica in _fullest_first(desk, replicas):
        current = replica.allocation
        assert current is not None  # serving replicas hold a piece
        piece = _piece_for(desk, view, replica, current, remaining / left, len(replicas))
        rps = _rps(desk, view, current, len(replicas))
        if piece is not None and piece.rps > rps:
            grown = True
            _apply(desk, view, replica, piece, Because(reason, numbers))
            rps = piece.rps
        remaining -= rps
        total += rps
    if not grown:
        view.hold(Reason.GPU_FULL if total < target else Reason.WITHIN_BAND, **numbers)
    return total >= target


def _fullest_first(desk: Desk, replicas: Sequence[Replica]) -> list[tuple[int, Replica]]:
    """Return (replicas left including this one, replica)."""

    def room_left(replica: Replica) -> tuple[int, str]:
        assert replica.allocation is not None  # serving replicas hold a piece
        return desk.rooms[replica.allocation.gpu_uuid].free_area, replica.name

    ordered = sorted(replicas, key=room_left) if len(replicas) > 1 else list(replicas)
    return [(len(ordered) - index, replica) for index, replica in enumerate(ordered)]


def _piece_for(
    desk: Desk, view: View, replica: Replica, current: Allocation, rps: float, pool: int
) -> Piece | None:
    """Return the cheapest piece for ``rps`` on the replica's GPU, else the strongest there."""
    room = desk.rooms[current.gpu_uuid]
    owner = (view.service.name, replica.name)
    held = room.release(owner)
    piece = room.best(desk.ladder(view.service, room.gpu.geometry, pool), rps)
    room.restore(owner, held)
    return piece


def _rps(desk: Desk, view: View, allocation: Allocation, pool: int) -> float:
    geometry = desk.rooms[allocation.gpu_uuid].gpu.geometry
    book = desk.ladder(view.service, geometry, pool)
    return book.rps_of(allocation.sm_partition, allocation.quota_percent)


def _apply(desk: Desk, view: View, replica: Replica, piece: Piece, because: Because) -> None:
    """Note the resize and charge the larger of old and new until the node has followed."""
    current = replica.allocation
    assert current is not None  # only placed replicas are resized
    room = desk.rooms[current.gpu_uuid]
    owner = (view.service.name, replica.name)
    held = room.release(owner)
    new = as_allocation(room, piece, current.sm_groups, view.service.memory_bytes)
    room.restore(owner, held)
    if (new.sm_groups, new.quota_percent) == (current.sm_groups, current.quota_percent):
        return
    room.charge(owner, new, view.service.exclusive)
    view.actions.append(Resize(view.service.name, replica.name, new, piece.rps, because))


def _is_parked(desk: Desk, view: View) -> bool:
    """Whether nothing came for longer than requests that are allowed to be late explain.

    Who comes after a longer gap wakes a parked replica and is late. Of Poisson arrivals with a
    mean gap ``m`` a share ``exp(-t / m)`` comes after a gap above ``t``.
    """
    idle = view.memory.idle_since_s
    if idle is None:
        return False
    wait_s = desk.settings.parked_after_s
    if view.memory.usual_rps > 0:
        may_wake = view.service.slo.allowed_violation_rate * desk.settings.violation_aim
        wait_s = max(wait_s, math.log(1.0 / max(may_wake, 1e-6)) / view.memory.usual_rps)
    return desk.now_s - idle >= wait_s


def _park(desk: Desk, view: View) -> None:
    """Leave next to nothing to replicas without requests; they keep their memory."""
    idle_s = desk.now_s - (view.memory.idle_since_s or 0.0)
    before = len(view.actions)
    for replica in view.serving:
        current = replica.allocation
        assert current is not None  # serving replicas hold a piece
        geometry = desk.rooms[current.gpu_uuid].gpu.geometry
        piece = desk.ladder(view.service, geometry, 1).smallest
        if piece is not None and piece.area < current.area:
            _apply(desk, view, replica, piece, Because(Reason.PARKED, {"idle_s": idle_s}))
    if len(view.actions) == before:
        view.hold(Reason.PARKED, idle_s=idle_s)


def _could_shrink(desk: Desk, view: View, target: float, pool: int) -> bool:
    """Whether clearly less area would serve the target with some headroom."""
    ideal = view.ladder(desk, pool).cheapest(target * desk.settings.grow_headroom / pool)
    if ideal is None:
        return False
    held = sum(price(view, r.allocation.area) for r in view.serving if r.allocation is not None)
    return price(view, ideal.area) * pool <= held * desk.settings.shrink_below


def _shrink_in_time(desk: Desk, view: View, target: float, numbers: dict[str, float]) -> None:
    since = view.memory.shrink_since_s
    since = desk.now_s if since is None else since
    view.memory = changed(view.memory, shrink_since_s=since)
    waited = desk.now_s - since
    if waited < desk.settings.shrink_after_s:
        view.hold(Reason.COOLDOWN, waited_s=waited, **numbers)
        return
    before = len(view.actions)
    remaining = target * desk.settings.grow_headroom
    pool = len(view.serving)
    because = Because(Reason.DEMAND_FELL, numbers)
    for left, replica in _fullest_first(desk, view.serving):
        current = replica.allocation
        assert current is not None  # serving replicas hold a piece
        piece = _piece_for(desk, view, replica, current, remaining / left, pool)
        if piece is not None and piece.area < current.area:
            _apply(desk, view, replica, piece, because)
            remaining -= piece.rps
        else:
            remaining -= _rps(desk, view, current, pool)
    view.memory = changed(view.memory, shrink_since_s=None)
    if len(view.actions) == before:
        view.hold(Reason.WITHIN_BAND, **numbers)
