"""The accountant: what is promised on every GPU, and where a piece still fits.

Exact integers: no SM group is ever promised for more than 100 % of the time, no memory twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kserve_has.allocation import Allocation

from .capacity import Ladder, Piece
from .observation import Gpu, Observation
from .state import Drain

Owner = tuple[str, str]  # (service, replica)


@dataclass(slots=True)
class Held:
    """What one replica is charged on one GPU: per group the larger of old and new quota."""

    quota: list[int]
    memory_bytes: int
    exclusive: bool


@dataclass(slots=True)
class Room:
    """One GPU's books.

    Attributes:
        gpu: whose.
        held: by owner.
        free: per cent of the time that nobody was promised, by group; their sum is ``free_area``.
        free_memory: bytes.
    """

    gpu: Gpu
    held: dict[Owner, Held] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)
    free_memory: int = 0
    free_area: int = 0

    def __post_init__(self) -> None:
        geometry = self.gpu.geometry
        self.free = [100] * geometry.group_count
        self.free_area = 100 * geometry.group_count
        self.free_memory = geometry.memory_bytes

    def charge(self, owner: Owner, allocation: Allocation, exclusive: bool) -> None:
        """Add an allocation to what an owner already holds here (the larger counts)."""
        held = self.held.get(owner)
        if held is None:
            held = self.held[owner] = Held([0] * len(self.free), 0, exclusive)
        quota, left, group = allocation.quota_percent, allocation.sm_groups, 0
        while left and group < len(self.free):
            if left & 1 and quota > held.quota[group]:
                more = quota - held.quota[group]
                self.free[group] -= more
                self.free_area -= more
                held.quota[group] = quota
            left >>= 1
            group += 1
        more_memory = max(0, allocation.memory_bytes - held.memory_bytes)
        held.memory_bytes += more_memory
        self.free_memory -= more_memory

    def release(self, owner: Owner) -> Held | None:
        """Take an owner off the books and return what it held."""
        held = self.held.pop(owner, None)
        if held is not None:
            self.free = [f + q for f, q in zip(self.free, held.quota, strict=True)]
            self.free_area += sum(held.quota)
            self.free_memory += held.memory_bytes
        return held

    def restore(self, owner: Owner, held: Held | None) -> None:
        """Put back what :meth:`release` returned."""
        if held is not None:
            self.held[owner] = held
            self.free = [f - q for f, q in zip(self.free, held.quota, strict=True)]
            self.free_area -= sum(held.quota)
            self.free_memory -= held.memory_bytes

    def admits(self, exclusive: bool) -> bool:
        """Whether a newcomer may share this GPU: exclusive and spatial sharing never mix."""
        return all(held.exclusive == exclusive for held in self.held.values())

    def best(self, ladder: Ladder, target_rps: float) -> Piece | None:
        """Return the cheapest piece with ``target_rps`` that fits, else the strongest that fits."""
        # The n-th largest share that is left is what a piece of n groups may ask for.
        most = sorted(self.free, reverse=True)
        if most[0] < ladder.least_quota:
            return None
        if target_rps <= ladder.strongest_rps:
            wanted = ladder.cheapest(target_rps)
            if wanted is not None and most[wanted.groups - 1] >= wanted.quota:
                return wanted
            for piece in ladder.pieces:
                if piece.rps >= target_rps and most[piece.groups - 1] >= piece.quota:
                    return piece
        for piece in ladder.strongest_first:
            if most[piece.groups - 1] >= piece.quota:
                return piece
        return None

    def fits(self, piece: Piece) -> bool:
        """Whether enough groups have the piece's quota left."""
        return sorted(self.free, reverse=True)[piece.groups - 1] >= piece.quota

    def choose_groups(self, piece: Piece, own: int) -> int:
        """Return a bitmap of ``piece.groups`` groups with room for its quota.

        Own groups are kept as far as they fit; others are taken next to them. The odd last group
        comes last. The caller has made sure that enough groups fit.
        """
        last = len(self.free) - 1
        fitting = [g for g, free in enumerate(self.free) if free >= piece.quota]
        kept = [g for g in fitting if own >> g & 1]
        anchor = kept[0] if kept else _run_start(fitting, piece.groups)

        def rank(group: int) -> tuple[bool, bool, int, int, int]:
            mine = bool(own >> group & 1)
            return not mine, group == last, self.free[group], abs(group - anchor), group

        chosen = sorted(fitting, key=rank)[: piece.groups]
        return sum(1 << group for group in chosen)


def _run_start(fitting: list[int], count: int) -> int:
    """Return where the shortest run of at least ``count`` neighbours starts, else the longest."""
    runs: list[tuple[int, int]] = []
    for group in fitting:
        if runs and group == runs[-1][0] + runs[-1][1]:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((group, 1))
    enough = [run for run in runs if run[1] >= count]
    if enough:
        return min(enough, key=lambda run: (run[1], run[0]))[0]
    return max(runs, key=lambda run: (run[1], -run[0]))[0] if runs else 0


class Rooms(dict[str, Room]):
    """Books by GPU UUID, opened when first asked for: most GPUs are none of a tick's business."""

    def __init__(self, gpus: Iterable[Gpu]) -> None:
        super().__init__()
        self.gpus = {gpu.uuid: gpu for gpu in sorted(gpus, key=lambda gpu: gpu.uuid)}

    def __missing__(self, uuid: str) -> Room:
        room = self[uuid] = Room(self.gpus[uuid])
        return room

    def usable(self) -> list[Room]:
        """Return the books of all healthy GPUs, by UUID."""
        return [self[uuid] for uuid, gpu in self.gpus.items() if gpu.healthy]


def open_books(observation: Observation, draining: Mapping[Owner, Drain]) -> Rooms:
    """Return the books of the GPUs, with all that replicas hold or still drain."""
    rooms = Rooms(observation.gpus)
    for service in observation.services:
        for replica in service.replicas:
            owner = (service.name, replica.name)
            drain = draining.get(owner)
            pieces = drain.pieces if drain is not None else ()
            if replica.allocation is not None:
                pieces = (*pieces, replica.allocation)
            for allocation in pieces:
                if allocation.gpu_uuid in rooms.gpus:
                    rooms[allocation.gpu_uuid].charge(owner, allocation, service.exclusive)
    return rooms
