"""What the baselines share: fixed pieces put on GPUs, and a Deployment scaled to a number."""

from __future__ import annotations

from dataclasses import dataclass

from kserve_has.gpu import GpuGeometry

from ...policy.capacity import Piece
from ...policy.desk import as_allocation
from ...policy.ledger import Rooms, open_books
from ...policy.observation import Observation, ReplicaPhase, Service
from ...policy.plan import Action, Because, Place, Plan, Reason, SetScale


@dataclass(frozen=True, slots=True)
class Wish:
    """How many replicas of which piece a baseline wants for a service."""

    replicas: int
    piece: Piece


def whole_gpu(geometry: GpuGeometry) -> Piece:
    """Return the piece that is all of a GPU."""
    return Piece(geometry.group_count, geometry.sm_count, 100, geometry.sm_count * 100, 1.0)


def plan_for(observation: Observation, wishes: dict[str, Wish]) -> Plan:
    """Return the plan that scales to the wishes and puts gated replicas first fit, fullest GPU."""
    rooms = open_books(observation, {})
    actions: list[Action] = []
    for service in observation.services:
        wish = wishes.get(service.name)
        if wish is None:
            continue
        actions += _places(service, wish.piece, rooms)
        wanted = max(service.min_replicas, min(service.max_replicas, wish.replicas))
        if wanted != service.scale:
            rising = wanted > service.scale
            reason = Reason.DEMAND_ROSE if rising else Reason.DEMAND_FELL
            victims = () if rising else _youngest(service, service.scale - wanted)
            actions.append(SetScale(service.name, wanted, victims, Because(reason)))
    return Plan(tuple(actions))


def _places(service: Service, piece: Piece, rooms: Rooms) -> list[Action]:
    actions: list[Action] = []
    for replica in service.replicas:
        if replica.phase is not ReplicaPhase.GATED:
            continue
        fitting = [
            room
            for room in rooms.usable()
            if room.free_memory >= service.memory_bytes and room.fits(piece)
        ]
        if not fitting:
            break
        room = min(fitting, key=lambda r: (r.free_area, r.gpu.uuid))
        allocation = as_allocation(room, piece, 0, service.memory_bytes)
        room.charge((service.name, replica.name), allocation, exclusive=False)
        because = Because(Reason.NEW_REPLICA)
        actions.append(
            Place(service.name, replica.name, room.gpu.node, allocation, piece.rps, because)
        )
    return actions


def _youngest(service: Service, count: int) -> tuple[str, ...]:
    """Return what a ReplicaSet deletes first: pods that are not ready, then the youngest."""
    live = [r for r in service.replicas if r.phase is not ReplicaPhase.TERMINATING]
    live.sort(key=lambda r: (r.phase is ReplicaPhase.READY, r.age_s, r.name))
    return tuple(replica.name for replica in live[:count])


def ready_count(service: Service) -> int:
    """Return how many replicas are ready."""
    return sum(replica.phase is ReplicaPhase.READY for replica in service.replicas)
