"""The fast loop: give warm replicas more or less of the GPU they are on."""

from __future__ import annotations

from collections.abc import Sequence

from kserve_has.allocation import Allocation

from .capacity import Piece
from .desk import Desk, View, as_allocation, price, served_rps
from .observation import Replica
from .plan import Because, Reason, Resize
from .pool import cheapest_split, is_parked, working
from .state import changed
from .yielding import claim, give_way


def resize(desk: Desk, view: View) -> None:
    """Grow at once when the replicas hold too little, shrink when much less has long sufficed."""
    if view.demand is None or not view.serving:
        return
    active = working(desk, view)
    target = max(view.demand.rps, desk.settings.idle_rps)
    held = served_rps(desk, view, view.serving, len(active))
    numbers = {"demand_rps": view.demand.rps, "served_rps": held}
    if desk.claims and give_way(desk, view, target):
        view.memory = changed(view.memory, shrink_since_s=None)
        view.hold(Reason.YIELDED, **numbers)
    elif _is_idle(desk, view):
        _park(desk, view)
    elif held < target:
        view.memory = changed(view.memory, shrink_since_s=None)
        _enlarge(desk, view, active, target, numbers)
    elif _park_slow(desk, view, active, numbers):
        view.memory = changed(view.memory, shrink_since_s=None)
    elif _could_shrink(desk, view, target):
        _shrink_in_time(desk, view, target, numbers)
    else:
        view.memory = changed(view.memory, shrink_since_s=None)
        view.hold(Reason.WITHIN_BAND, **numbers)


def _enlarge(
    desk: Desk, view: View, active: list[Replica], target: float, numbers: dict[str, float]
) -> None:
    """Enlarge those that work, and wake parked ones where that is cheaper or needed."""
    parked = [replica for replica in view.serving if replica not in active]
    everyone = [*active, *parked]
    split = cheapest_split(desk, view, target * desk.settings.grow_headroom, len(everyone))
    chosen = everyone[: max(len(active), split.working)]
    before = len(view.actions)
    served = grow(desk, view, chosen, target, numbers)
    rest = everyone[len(chosen) :]
    if served < target and rest:
        served += grow(desk, view, rest, target - served, numbers)
    view.short = served < target
    if view.short:
        claim(desk, view, view.serving, target)
    if len(view.actions) == before:
        view.hold(Reason.GPU_FULL if served < target else Reason.WITHIN_BAND, **numbers)


def grow(
    desk: Desk,
    view: View,
    replicas: Sequence[Replica],
    target: float,
    numbers: dict[str, float],
) -> float:
    """Enlarge replicas until they serve ``target`` together; return what they would serve.

    Each gets the cheapest piece for an equal share; what one cannot take for want of room on its
    GPU goes to the next, so those on the fullest GPUs are asked first.
    """
    assert view.demand is not None  # callers know the demand
    remaining, total = target * desk.settings.grow_headroom, 0.0
    reason = Reason.BACKLOG if view.demand.backlog_rps > target / 2 else Reason.DEMAND_ROSE
    for left, replica in _fullest_first(desk, replicas):
        current = replica.allocation
        assert current is not None  # serving replicas hold a piece
        piece = _piece_for(desk, view, replica, current, remaining / left, len(replicas))
        rps = _rps(desk, view, current, len(replicas))
        if piece is not None and piece.rps > rps:
            because = Because(reason, numbers)
            if rps <= 0.0 and view.memory.slow.factor > 1.0 and not is_parked(desk, view, replica):
                slowness = {"slowness": view.memory.slow.factor}
                because = Because(Reason.TOO_SLOW, numbers | slowness)
            _apply(desk, view, replica, piece, because)
            rps = piece.rps
        remaining -= rps
        total += rps
    return total


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
    work_rps = desk.work_rps(view.service, new)
    view.actions.append(Resize(view.service.name, replica.name, new, work_rps, because))


def _is_idle(desk: Desk, view: View) -> bool:
    idle = view.memory.idle_since_s
    return idle is not None and desk.now_s - idle >= desk.settings.parked_after_s


def _park(desk: Desk, view: View) -> None:
    """Leave next to nothing to replicas without requests; they keep their memory."""
    numbers = {"idle_s": desk.now_s - (view.memory.idle_since_s or 0.0)}
    before = len(view.actions)
    for replica in view.serving:
        _park_one(desk, view, replica, numbers)
    if len(view.actions) == before:
        view.hold(Reason.PARKED, **numbers)


def _park_slow(desk: Desk, view: View, active: list[Replica], numbers: dict[str, float]) -> bool:
    """Park those on whose pieces even a lone request is late; the others serve the demand.

    Returns whether any was.
    """
    if len(active) == 1:
        return False
    slow = [r for r in active if r.allocation and _rps(desk, view, r.allocation, 1) <= 0.0]
    if not slow or not all(replica.in_force for replica in active if replica not in slow):
        return False
    before = len(view.actions)
    for replica in slow:
        _park_one(desk, view, replica, numbers, Reason.TOO_SLOW)
    return len(view.actions) > before


def _park_one(
    desk: Desk,
    view: View,
    replica: Replica,
    numbers: dict[str, float],
    reason: Reason = Reason.PARKED,
) -> None:
    current = replica.allocation
    assert current is not None  # serving replicas hold a piece
    geometry = desk.rooms[current.gpu_uuid].gpu.geometry
    piece = desk.ladder(view.service, geometry, 1).smallest
    if piece is not None and piece.area < current.area:
        _apply(desk, view, replica, piece, Because(reason, numbers))


def _could_shrink(desk: Desk, view: View, target: float) -> bool:
    """Whether clearly less area would serve the target with some headroom."""
    wanted = target * desk.settings.grow_headroom
    best = cheapest_split(desk, view, wanted, len(view.serving)).cost
    held = sum(price(view, r.allocation.area) for r in view.serving if r.allocation is not None)
    return best <= held * desk.settings.shrink_below


def _shrink_in_time(desk: Desk, view: View, target: float, numbers: dict[str, float]) -> None:
    """Once less has sufficed for long: as few replicas as is cheapest, the others parked.

    Where those that go on working must grow first, the others are parked only after that is in
    force, so that no prefix of the plan leaves too little.
    """
    waited = _waited(desk, view)
    if waited < desk.settings.shrink_after_s:
        view.hold(Reason.COOLDOWN, waited_s=waited, **numbers)
        return
    split = cheapest_split(desk, view, target * desk.settings.grow_headroom, len(view.serving))
    ordered = sorted(view.serving, key=_largest_first)
    chosen, rest = ordered[: split.working], ordered[split.working :]
    before = len(view.actions)
    if served_rps(desk, view, chosen, len(chosen)) < target:
        grow(desk, view, chosen, target, numbers)
    elif all(replica.in_force for replica in chosen):
        _fit(desk, view, chosen, target, Because(Reason.DEMAND_FELL, numbers))
        for replica in rest:
            _park_one(desk, view, replica, numbers)
        view.memory = changed(view.memory, shrink_since_s=None)
    if len(view.actions) == before:
        view.hold(Reason.WITHIN_BAND, **numbers)


def _waited(desk: Desk, view: View) -> float:
    since = view.memory.shrink_since_s
    since = desk.now_s if since is None else since
    view.memory = changed(view.memory, shrink_since_s=since)
    return desk.now_s - since


def _largest_first(replica: Replica) -> tuple[int, str]:
    return -(0 if replica.allocation is None else replica.allocation.area), replica.name


def _fit(
    desk: Desk, view: View, replicas: Sequence[Replica], target: float, because: Because
) -> None:
    """Shrink replicas to the cheapest pieces for equal shares of the target."""
    remaining = target * desk.settings.grow_headroom
    for left, replica in _fullest_first(desk, replicas):
        current = replica.allocation
        assert current is not None  # serving replicas hold a piece
        piece = _piece_for(desk, view, replica, current, remaining / left, len(replicas))
        if piece is not None and piece.area < current.area:
            _apply(desk, view, replica, piece, because)
            remaining -= piece.rps
        else:
            remaining -= _rps(desk, view, current, len(replicas))
