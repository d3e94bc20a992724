"""Where a newcomer goes: rectangles of SM groups x quota on many GPUs, memory as a third side."""

from __future__ import annotations

from .capacity import Ladder, Piece
from .desk import Desk, View, as_allocation
from .ledger import Held, Owner, Room
from .observation import Replica
from .plan import Because, Place, Reason

# Those with most room come first; beyond so many the search costs more than it finds.
_ROOMS_TRIED = 32


def place_gated(desk: Desk, view: View) -> None:
    """Give every gated replica a piece, sized for its share of the load that is to come."""
    if not view.gated:
        return
    settings = desk.settings
    pool = max(1, view.service.scale, len(view.placed) + len(view.gated))
    expected = settings.idle_rps if view.demand is None else view.demand.soon_rps
    share = max(expected, settings.idle_rps) / pool
    for replica in sorted(view.gated, key=lambda r: r.name):
        found = find_room(desk, view, share, pool)
        if found is None:
            view.hold(Reason.NO_ROOM, wanted_rps=share, gpus=float(len(desk.usable)))
            return
        room, piece = found
        _place(desk, view, replica, room, piece, share)


def find_room(desk: Desk, view: View, rps: float, pool: int) -> tuple[Room, Piece] | None:
    """Return the GPU and piece for a newcomer; None when no GPU takes any piece.

    Preferred, in this order: the piece reaches ``rps``; no sibling is on that GPU, with whom it
    would compete for room to grow; most is free there, because growing in place takes
    milliseconds and a further replica a cold start.
    """
    siblings = {r.allocation.gpu_uuid for r in view.placed if r.allocation} | {
        a.allocation.gpu_uuid for a in view.actions if isinstance(a, Place)
    }

    def liked(room: Room) -> tuple[bool, int]:
        return room.gpu.uuid in siblings, -room.free_area

    best: tuple[Room, Piece] | None = None
    tried = 0
    # The sort is stable and the rooms come by UUID, so that the first of equals is always the same.
    for room in sorted(desk.usable, key=liked):
        if not _admits(desk, view, room):
            continue
        piece = room.best(_ladder(desk, view, room, pool), rps)
        if piece is None:
            continue
        if piece.rps >= rps:
            return room, piece
        if best is None or piece.rps > best[1].rps:
            best = room, piece
        tried += 1
        if tried >= _ROOMS_TRIED:
            break
    return best


def _ladder(desk: Desk, view: View, room: Room, pool: int) -> Ladder:
    return desk.ladder(view.service, room.gpu.geometry, pool)


def _admits(desk: Desk, view: View, room: Room) -> bool:
    service = view.service
    return (
        room.free_memory >= service.memory_bytes
        and desk.latency.knows(service.served_model, room.gpu.geometry.product)
        and room.admits(service.exclusive)
    )


def _place(
    desk: Desk, view: View, replica: Replica, room: Room, piece: Piece, share: float
) -> None:
    allocation = as_allocation(room, piece, 0, view.service.memory_bytes)
    owner = (view.service.name, replica.name)
    room.charge(owner, allocation, view.service.exclusive)
    numbers = {"wanted_rps": share, "free_after": float(room.free_area)}
    because = Because(Reason.NEW_REPLICA, numbers)
    rps = desk.work_rps(view.service, allocation)
    action = Place(view.service.name, replica.name, room.gpu.node, allocation, rps, because)
    view.actions.append(action)


class Trial:
    """How far could a service be stretched? Charges the books, and gives all back at the end."""

    def __init__(self, desk: Desk, view: View) -> None:
        self._desk, self._view = desk, view
        self._pieces: list[tuple[Room, Piece]] = []
        self._borrowed: list[tuple[Room, Owner, Held | None]] = []

    @property
    def count(self) -> int:
        """Replicas considered so far."""
        return len(self._pieces)

    def rps(self) -> float:
        """Return what the replicas considered so far would serve together."""
        pool = max(1, self.count)
        return sum(
            self._desk.ladder(self._view.service, room.gpu.geometry, pool).rps_of(
                piece.sm, piece.quota
            )
            for room, piece in self._pieces
        )

    def stretch(self, replica: Replica) -> None:
        """Give a placed replica the strongest piece that its GPU has room for."""
        if replica.allocation is None:
            return
        room = self._desk.rooms[replica.allocation.gpu_uuid]
        owner = (self._view.service.name, replica.name)
        held = room.release(owner)
        book = _ladder(self._desk, self._view, room, max(1, self._view.service.scale))
        self._take(room, owner, held, room.best(book, book.sturdy_rps))

    def add(self) -> bool:
        """Place one more replica as strongly as possible; False when no GPU takes any."""
        pool = self._view.service.scale + 1
        sturdy_rps = self._view.ladder(self._desk, pool).sturdy_rps
        found = find_room(self._desk, self._view, sturdy_rps, pool)
        if found is None:
            return False
        room, piece = found
        self._take(room, (self._view.service.name, f"?{self.count}"), None, piece)
        return True

    def undo(self) -> None:
        """Restore the books."""
        for room, owner, held in reversed(self._borrowed):
            room.release(owner)
            room.restore(owner, held)
        self._borrowed.clear()

    def _take(self, room: Room, owner: Owner, held: Held | None, piece: Piece | None) -> None:
        self._borrowed.append((room, owner, held))
        if piece is None:
            room.restore(owner, held)
            return
        memory = self._view.service.memory_bytes
        allocation = as_allocation(room, piece, 0, memory)
        room.charge(owner, allocation, self._view.service.exclusive)
        self._pieces.append((room, piece))
