"""What one decision works on: the books of the GPUs and, per service, what was derived so far."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from kserve_has.allocation import Allocation
from kserve_has.config.policy import PolicySettings
from kserve_has.gpu import GpuGeometry
from kserve_has.latency import LatencyModel

from .capacity import Ladder, Piece, ladder
from .demand import Demand
from .ledger import Room, Rooms
from .observation import Gpu, Replica, ReplicaPhase, Service
from .plan import Action, Because, Hold, Reason
from .state import Memory


@dataclass
class Desk:
    """One tick's working place.

    Attributes:
        now_s: the observation's instant.
        settings: of the policy.
        latency: the latency model.
        rooms: books by GPU UUID; every action planned is charged at once.
        priorities: of the services, by name.
        slowness: factor on predicted latencies, by service, where it is not 1.
        claims: highest priority that claimed more than is free on a GPU, by its UUID.
    """

    now_s: float
    settings: PolicySettings
    latency: LatencyModel
    rooms: Rooms
    priorities: Mapping[str, int] = field(default_factory=dict)
    slowness: dict[str, float] = field(default_factory=dict)
    claims: dict[str, int] = field(default_factory=dict)
    _books: dict[tuple[str, str, bool, int], Ladder] = field(default_factory=dict)

    @cached_property
    def usable(self) -> list[Room]:
        """Books of the healthy GPUs, for newcomers."""
        return self.rooms.usable()

    def ladder(self, service: Service, geometry: GpuGeometry, pool: int) -> Ladder:
        """Return the pieces a service may hold when ``pool`` replicas share its load."""
        key = (service.name, geometry.product, geometry.partitions, pool)
        book = self._books.get(key)
        if book is None:
            slowness = self.slowness.get(service.name, 1.0)
            book = ladder(service, geometry, self.settings, self.latency, pool, slowness)
            self._books[key] = book
        return book

    def set_slowness(self, service: str, factor: float) -> None:
        """Have a service's predicted latencies multiplied by another factor from here on."""
        self.slowness[service] = factor
        self._books = {key: book for key, book in self._books.items() if key[0] != service}

    def work_rps(self, service: Service, piece: Allocation) -> float:
        """Return the requests per second that a piece works off; 0 when it is no use."""
        book = self.ladder(service, self.rooms[piece.gpu_uuid].gpu.geometry, 1)
        return book.work_rps(piece.sm_partition, piece.quota_percent)


@dataclass(slots=True)
class View:
    """One service in one tick.

    Attributes:
        service: as observed.
        memory: what is to be remembered of it; replaced while deciding.
        geometry: of the GPUs it would be placed on; None when its model was measured on none.
        demand: None when the figures are too old to act on.
        placed: healthy replicas that hold a piece and are not going away.
        serving: those of them that answer; all placed ones while none does.
        gated: replicas that wait for a place.
        sick: replicas on a GPU that is gone or unhealthy.
        actions: decided so far.
        short: whether the replicas cannot serve the demand however they are resized.
    """

    service: Service
    memory: Memory
    geometry: GpuGeometry | None
    demand: Demand | None = None
    placed: list[Replica] = field(default_factory=list)
    serving: list[Replica] = field(default_factory=list)
    gated: list[Replica] = field(default_factory=list)
    sick: list[Replica] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    short: bool = False

    def ladder(self, desk: Desk, pool: int) -> Ladder:
        """Return the service's pieces on the GPUs it would be placed on; geometry is known."""
        assert self.geometry is not None  # services without one are held before
        return desk.ladder(self.service, self.geometry, pool)

    def hold(self, reason: Reason, **numbers: float) -> None:
        """Note that nothing is done, and why."""
        self.actions.append(Hold(self.service.name, Because(reason, numbers)))


def sort_replicas(view: View, gpus: Mapping[str, Gpu], on_the_way: Container[str]) -> None:
    """Fill the view's lists; gated replicas in ``on_the_way`` were placed a moment ago."""
    ready = []
    for replica in sorted(view.service.replicas, key=_name):
        phase = replica.phase
        if phase is ReplicaPhase.TERMINATING:
            continue
        if replica.allocation is None:
            if replica.name not in on_the_way:
                view.gated.append(replica)
            continue
        gpu = gpus.get(replica.allocation.gpu_uuid)
        if gpu is None or not gpu.healthy:
            view.sick.append(replica)
            continue
        view.placed.append(replica)
        if phase is ReplicaPhase.READY:
            ready.append(replica)
    view.serving = ready or list(view.placed)


def _name(replica: Replica) -> str:
    return replica.name


def served_rps(desk: Desk, view: View, replicas: Iterable[Replica], pool: int) -> float:
    """Return what replicas serve within the objective with the pieces they were last given."""
    total = 0.0
    for replica in replicas:
        allocation = replica.allocation
        if allocation is not None:
            geometry = desk.rooms[allocation.gpu_uuid].gpu.geometry
            book = desk.ladder(view.service, geometry, pool)
            total += book.rps_of(allocation.sm_partition, allocation.quota_percent)
    return total


def alone_ms(desk: Desk, view: View, replica: Replica) -> float:
    """Return what the latency model says of a request alone on a placed replica's piece, ms."""
    piece = replica.allocation
    assert piece is not None  # placed replicas hold one
    book = desk.ladder(view.service, desk.rooms[piece.gpu_uuid].gpu.geometry, 1)
    return book.alone_ms(piece.sm_partition, piece.quota_percent)


def memory_area(view: View) -> float:
    """Return the area that a replica's memory is worth: its share of a GPU in SM x per cent."""
    geometry = view.geometry
    if geometry is None:
        return 0.0
    return view.service.memory_bytes / geometry.memory_bytes * geometry.sm_count * 100


def price(view: View, area: float) -> float:
    """Return what a piece costs: the larger of its compute and its memory."""
    return max(area, memory_area(view))


def as_allocation(room: Room, piece: Piece, own: int, memory_bytes: int) -> Allocation:
    """Return a piece put on a GPU, on the owner's former groups as far as they fit."""
    groups = room.choose_groups(piece, own)
    geometry = room.gpu.geometry
    return Allocation(room.gpu.uuid, groups, geometry.sm_of(groups), piece.quota, memory_bytes)
