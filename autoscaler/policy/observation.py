"""What the world looked like at one instant: facts only, frozen, no handles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kserve_has.allocation import Allocation
from kserve_has.gpu import GpuGeometry
from kserve_has.slo import Slo


class ReplicaPhase(StrEnum):
    """Where a replica stands in its life."""

    GATED = "gated"  # waits for a placement; holds nothing
    STARTING = "starting"  # placed, not yet ready
    READY = "ready"
    TERMINATING = "terminating"  # still holds its allocation until it is gone


@dataclass(frozen=True, slots=True)
class Replica:
    """One pod of a service.

    Attributes:
        name: pod name, unique in the service's namespace.
        phase: where it stands.
        allocation: desired piece of GPU, None while gated.
        in_force: whether the node agent has acknowledged that allocation.
        age_s: seconds since creation.

    """

    name: str
    phase: ReplicaPhase
    allocation: Allocation | None = None
    in_force: bool = False
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the gateway saw of one service.

    Attributes:
        sample_age_s: seconds since the newest sample; infinity when there is none.
        arrivals_rps: (end of interval in seconds before now, requests/s), newest last, one
            entry per scrape interval over at least the last minute where known.
        in_flight: requests now at replicas or queued for them.
        latency_ms: observed latency at the objective's percentile over the last ten seconds,
            None without answers.
        answered_rps: answers per second over the same ten seconds.
        late_share: share of those that missed the bound or failed, 0..1.
        median_ms: what half of the same answers took at most, None without answers.

    """

    sample_age_s: float
    arrivals_rps: tuple[tuple[float, float], ...] = ()
    in_flight: float = 0.0
    latency_ms: float | None = None
    answered_rps: float = 0.0
    late_share: float = 0.0
    median_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One opted-in InferenceService (or one canary of it).

    Attributes:
        name: ``namespace/name``; the key of every per-service map.
        slo: the objective.
        served_model: key in the latency model.
        batch: instances per request.
        concurrency: requests a replica works on at once.
        memory_bytes: device memory cap of each replica.
        min_replicas, max_replicas: bounds; min 0 allows true zero.
        min_sm, max_sm: bounds of a partition, SMs.
        priority: 0..1000, the lower degrades first.
        exclusive: True when it must not share SMs in space (backend B).
        scale: replicas the Deployment asks for now.
        replicas: its pods.
        traffic: what the gateway saw.
        bursts: its replicas may use, beyond their quota, time that no other wants.

    """

    name: str
    slo: Slo
    served_model: str
    batch: int
    concurrency: int
    memory_bytes: int
    min_replicas: int
    max_replicas: int
    min_sm: int
    max_sm: int
    priority: int
    exclusive: bool
    scale: int
    replicas: tuple[Replica, ...]
    traffic: Traffic
    bursts: bool = False


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU of the pool."""

    uuid: str
    node: str
    geometry: GpuGeometry
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class Observation:
    """The world at ``now_s`` (seconds of a monotone clock)."""

    now_s: float
    services: tuple[Service, ...]
    gpus: tuple[Gpu, ...]
