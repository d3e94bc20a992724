"""Who gives way when a GPU is full: services of lower priority, the lowest first and no further.

A service that is short claims the piece it lacks in the books; those of lower priority, who are
decided on later in the same tick, find too little left and shrink to what still fits. The claim is
made anew every tick until the node has followed and the claimant has grown, so nobody grows back
in between. Every replica keeps at least its parked piece.
"""

from __future__ import annotations

from collections.abc import Sequence

from kserve_has.allocation import Allocation

from .capacity import Ladder, Piece
from .desk import Desk, View, as_allocation
from .ledger import Owner, Room
from .observation import Replica
from .plan import Because, Reason, Resize


def claim(desk: Desk, view: View, replicas: Sequence[Replica], target: float) -> None:
    """Reserve what the replicas lack on their GPUs as far as lower priorities hold it."""
    share = target * desk.settings.grow_headroom / len(replicas)
    for replica in replicas:
        current = replica.allocation
        assert current is not None  # serving replicas hold a piece
        room = desk.rooms[current.gpu_uuid]
        lower = _lower(desk, view, room)
        if not lower:
            continue
        owner = (view.service.name, replica.name)
        book = desk.ladder(view.service, room.gpu.geometry, len(replicas))
        held = room.release(owner)
        wanted = _within(room, _reach(desk, room, lower), book, share, current)
        room.restore(owner, held)
        if wanted is not None:
            room.charge(owner, wanted, view.service.exclusive)
            desk.claims[room.gpu.uuid] = max(
                view.service.priority, desk.claims.get(room.gpu.uuid, 0)
            )


def give_way(desk: Desk, view: View, target: float) -> bool:
    """Shrink the replicas that stand in a claim's way; return whether any does."""
    pressed = False
    for replica in view.placed:
        current = replica.allocation
        assert current is not None  # placed replicas hold a piece
        if view.service.priority >= desk.claims.get(current.gpu_uuid, 0):
            continue
        room = desk.rooms[current.gpu_uuid]
        owner = (view.service.name, replica.name)
        if not _in_the_way(room, current):
            continue
        pressed = True
        held = room.release(owner)
        smaller = _what_is_left(desk, view, room, current, target)
        room.restore(owner, held)
        if smaller is not None and smaller != current:
            room.charge(owner, smaller, view.service.exclusive)
            numbers = {"claimed_by_priority": float(desk.claims[room.gpu.uuid])}
            because = Because(Reason.YIELDED, numbers)
            rps = desk.work_rps(view.service, smaller)
            view.actions.append(Resize(view.service.name, replica.name, smaller, rps, because))
    return pressed


def _lower(desk: Desk, view: View, room: Room) -> list[Owner]:
    """Return who on this GPU has a lower priority, the lowest first."""
    ranks = desk.priorities
    own = view.service.priority
    lower = [owner for owner in room.held if ranks.get(owner[0], own) < own]
    return sorted(lower, key=lambda owner: (ranks[owner[0]], owner))


def _reach(desk: Desk, room: Room, lower: Sequence[Owner]) -> list[list[int]]:
    """Return what is free per group once none, the lowest, the two lowest and so on gave way."""
    free = list(room.free)
    steps = [list(free)]
    parked = desk.settings.parked_quota
    for owner in lower:
        quota = room.held[owner].quota
        last = next((g for g, share in enumerate(quota) if share), None)
        for group, share in enumerate(quota):
            free[group] += share - (min(share, parked) if group == last else 0)
        steps.append(list(free))
    return steps


def _within(
    room: Room, steps: Sequence[list[int]], book: Ladder, rps: float, current: Allocation
) -> Allocation | None:
    """Return the piece for ``rps`` that asks fewest to give way; None if none beats the current."""
    before = book.rps_of(current.sm_partition, current.quota_percent)
    actual = room.free
    found: tuple[Piece, list[int]] | None = None
    for free in steps:
        room.free = free
        piece = room.best(book, rps)
        if piece is not None and piece.rps > (before if found is None else found[0].rps):
            found = piece, free
            if piece.rps >= rps:
                break
    wanted = None
    if found is not None:
        room.free = found[1]
        wanted = as_allocation(room, found[0], current.sm_groups, current.memory_bytes)
    room.free = actual
    return wanted


def _in_the_way(room: Room, current: Allocation) -> bool:
    return any(free < 0 and current.sm_groups >> group & 1 for group, free in enumerate(room.free))


def _what_is_left(
    desk: Desk, view: View, room: Room, current: Allocation, rps: float
) -> Allocation | None:
    """Return the best piece beside the claims, else a parked one on a group of its own."""
    book = desk.ladder(view.service, room.gpu.geometry, max(1, len(view.serving)))
    piece = room.best(book, rps / max(1, len(view.serving)))
    if piece is not None:
        return as_allocation(room, piece, current.sm_groups, current.memory_bytes)
    quota = min(desk.settings.parked_quota, current.quota_percent)
    for group, free in enumerate(room.free):
        if current.sm_groups >> group & 1 and free >= quota:
            sm = room.gpu.geometry.sm_of(1 << group)
            return Allocation(current.gpu_uuid, 1 << group, sm, quota, current.memory_bytes)
    return None
