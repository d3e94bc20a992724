"""From Kubernetes objects and traffic to what the policy sees. Pure: no cluster, no clock."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kserve_has import contract
from kserve_has.allocation import Allocation
from kserve_has.config.controller import ControllerSettings
from kserve_has.errors import AllocationError
from kserve_has.gpu import GpuGeometry
from kserve_has.kube import JsonObject, annotations_of
from kserve_has.slo import Slo, parse_slo
from kserve_has.units import parse_bytes, parse_whole

from ..policy.observation import Gpu, Observation, Replica, ReplicaPhase, Service, Traffic
from ..policy.state import Drain, State
from ..targets import (
    Target,
    all_targets,
    is_finished,
    is_ready,
    is_terminating,
    pods_by_deployment,
)

LEFTOVER: Final = "(leaving)"  # pods that still hold a GPU though their service is gone
TrafficOf = Callable[[str, Slo], Traffic]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Objects:
    """The cluster as last heard of; each a sequence of objects of one kind."""

    isvcs: Sequence[JsonObject]
    deployments: Sequence[JsonObject]
    pods: Sequence[JsonObject]
    nodes: Sequence[JsonObject]


@dataclass(frozen=True, slots=True)
class World:
    """An observation and the objects it was made of, for those who carry out the plan.

    Attributes:
        observation: what the policy sees.
        targets: by service name.
        pods: by (namespace, name).

    """

    observation: Observation
    targets: dict[str, Target]
    pods: dict[tuple[str, str], JsonObject]


def observe(
    objects: Objects,
    traffic_of: TrafficOf,
    settings: ControllerSettings,
    now_s: float,
    wall_s: float,
) -> World:
    """Return the world at ``now_s`` (monotone) which is ``wall_s`` by the wall clock."""
    gpus = gpus_of(objects.nodes)
    scales = {
        (d["metadata"]["namespace"], d["metadata"]["name"]): int(d["spec"].get("replicas", 1))
        for d in objects.deployments
    }
    running = [pod for pod in objects.pods if not is_finished(pod)]
    groups = pods_by_deployment(running)
    services: list[Service] = []
    known: dict[str, Target] = {}
    for target in all_targets(objects.isvcs):
        key = (target.namespace, target.deployment)
        # KServe has not made it yet, or it is going: there is nothing to scale.
        scale = scales.get(key)
        slo = _slo(target)
        if scale is None or slo is None:
            continue
        own = groups.pop(key, [])
        replicas = tuple(replica_of(pod, wall_s) for pod in own if _is_ours(pod))
        traffic = traffic_of(target.name, slo)
        services.append(_service(target, slo, scale, replicas, traffic, gpus, settings))
        known[target.name] = target
    services.extend(_leftovers(groups, wall_s))
    pods = {(p["metadata"]["namespace"], p["metadata"]["name"]): p for p in running}
    return World(Observation(now_s, tuple(services), gpus), known, pods)


def replica_of(pod: JsonObject, wall_s: float) -> Replica:
    """Return a pod as the policy sees it."""
    notes = annotations_of(pod)
    created = pod["metadata"].get("creationTimestamp")
    age_s = wall_s - datetime.fromisoformat(created).timestamp() if created else 0.0
    return Replica(
        name=pod["metadata"]["name"],
        phase=phase_of(pod),
        allocation=allocation_of(notes),
        in_force=in_force_epoch(notes) == epoch_of(notes) > 0,
        age_s=max(0.0, age_s),
    )


def phase_of(pod: JsonObject) -> ReplicaPhase:
    """Return where a pod stands."""
    if is_terminating(pod):
        return ReplicaPhase.TERMINATING
    gates = pod["spec"].get("schedulingGates") or []
    if any(gate["name"] == contract.SCHEDULING_GATE for gate in gates):
        return ReplicaPhase.GATED
    return ReplicaPhase.READY if is_ready(pod) else ReplicaPhase.STARTING


def allocation_of(notes: dict[str, str]) -> Allocation | None:
    """Return the allocation a pod's annotations ask for, None when they name none."""
    if contract.GPU_UUID not in notes:
        return None
    try:
        return Allocation(
            gpu_uuid=notes[contract.GPU_UUID],
            sm_groups=int(notes[contract.SM_GROUPS], 16),
            sm_partition=int(notes[contract.SM_PARTITION]),
            quota_percent=int(notes[contract.QUOTA]),
            memory_bytes=int(notes[contract.MEMORY_LIMIT]),
        )
    except (KeyError, ValueError, AllocationError) as error:
        log.warning("a pod carries an allocation that cannot be read: %r", error)
        return None


def epoch_of(notes: dict[str, str]) -> int:
    """Return the epoch of the wanted allocation, 0 when there is none."""
    text = notes.get(contract.EPOCH, "")
    return int(text) if text.isdigit() else 0


def in_force_epoch(notes: dict[str, str]) -> int:
    """Return the epoch the node agent has acknowledged, -1 when none."""
    acknowledged = _acknowledged(notes)
    epoch = acknowledged.get("epoch")
    return epoch if isinstance(epoch, int) else -1


def gpus_of(nodes: Iterable[JsonObject]) -> tuple[Gpu, ...]:
    """Return every GPU the node agents have announced, sorted by UUID."""
    found = []
    for node in nodes:
        text = annotations_of(node).get(contract.NODE_GPUS)
        if text is None:
            continue
        usable = is_ready(node) and not node.get("spec", {}).get("unschedulable", False)
        try:
            found += [_gpu(entry, node["metadata"]["name"], usable) for entry in json.loads(text)]
        except (ValueError, KeyError, TypeError) as error:
            log.warning("node %s: cannot read its GPUs: %r", node["metadata"]["name"], error)
    return tuple(sorted(found, key=lambda gpu: gpu.uuid))


def recovered_state(world: World) -> State:
    """Return the memory that a new leader can read off the pods.

    A piece that is still in force though another is wanted stays charged until it is given up.
    """
    geometries = {gpu.uuid: gpu.geometry for gpu in world.observation.gpus}
    draining = {}
    for service in world.observation.services:
        namespace = service.name.partition("/")[0]
        for replica in service.replicas:
            pod = world.pods.get((namespace, replica.name))
            if pod is None or replica.allocation is None or replica.in_force:
                continue
            geometry = geometries.get(replica.allocation.gpu_uuid)
            former = _in_force(annotations_of(pod), replica.allocation, geometry)
            if former is not None:
                pieces = (former, replica.allocation)
                draining[service.name, replica.name] = Drain(pieces, world.observation.now_s)
    return State(draining=draining)


def _in_force(
    notes: dict[str, str], wanted: Allocation, geometry: GpuGeometry | None
) -> Allocation | None:
    acknowledged = _acknowledged(notes)
    if geometry is None or not acknowledged:
        return None
    try:
        groups = int(acknowledged["sm_groups"], 16)
        return Allocation(
            gpu_uuid=wanted.gpu_uuid,
            sm_groups=groups,
            sm_partition=geometry.sm_of(groups),
            quota_percent=int(acknowledged["quota"]),
            memory_bytes=wanted.memory_bytes,
        )
    except (KeyError, ValueError, TypeError, AllocationError):
        return None


def _acknowledged(notes: dict[str, str]) -> JsonObject:
    try:
        found = json.loads(notes.get(contract.IN_FORCE, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _gpu(entry: JsonObject, node: str, usable: bool) -> Gpu:
    geometry = GpuGeometry(
        product=str(entry["product"]),
        sm_count=int(entry["sm_count"]),
        sm_group_size=int(entry["sm_group_size"]),
        memory_bytes=int(entry["memory_bytes"]),
        partitions=entry.get("backend", "A") == "A",
    )
    healthy = usable and bool(entry.get("healthy", True))
    return Gpu(str(entry["uuid"]), node, geometry, healthy)


def _is_ours(pod: JsonObject) -> bool:
    """Whether a pod can be sized: one that passed admission without its gate never was."""
    notes = annotations_of(pod)
    return phase_of(pod) is ReplicaPhase.GATED or allocation_of(notes) is not None


def _slo(target: Target) -> Slo | None:
    notes = target.annotations
    try:
        percentile = notes.get(contract.OBJECTIVE_PERCENTILE, "p95")
        return parse_slo(notes[contract.OBJECTIVE_LATENCY], percentile)
    except ValueError as error:
        # Refused at admission; whoever wrote it around the webhook keeps what he has.
        log.warning("%s: %s", target.name, error)
        return None


def _service(
    target: Target,
    slo: Slo,
    scale: int,
    replicas: tuple[Replica, ...],
    traffic: Traffic,
    gpus: Sequence[Gpu],
    settings: ControllerSettings,
) -> Service:
    notes = target.annotations
    lowest = max(0, int(target.predictor.get("minReplicas", 1)))
    highest = int(target.predictor.get("maxReplicas") or settings.default_max_replicas)
    largest = max((gpu.geometry.sm_count for gpu in gpus), default=1)

    def whole(key: str, default: int, low: int, high: int) -> int:
        return _or_default(notes.get(key), default, lambda text: parse_whole(text, low, high))

    return Service(
        name=target.name,
        slo=slo,
        served_model=notes.get(contract.SERVED_MODEL, target.isvc),
        batch=whole(contract.BATCH, 1, 1, 128),
        concurrency=whole(contract.CONCURRENCY, 1, 1, 64),
        memory_bytes=_or_default(
            notes.get(contract.GPU_MEMORY), settings.default_memory_bytes, parse_bytes
        ),
        min_replicas=lowest,
        max_replicas=max(lowest, highest),
        min_sm=whole(contract.MIN_SM_PARTITION, 1, 1, 10_000),
        max_sm=whole(contract.MAX_SM_PARTITION, largest, 1, 10_000),
        priority=whole(contract.PRIORITY, 100, 0, 1000),
        exclusive=notes.get(contract.ISOLATION) == "exclusive",
        bursts=notes.get(contract.BURST) == "true",
        scale=scale,
        replicas=replicas,
        traffic=traffic,
    )


def _or_default(text: str | None, default: int, parse: Callable[[str], int]) -> int:
    if text is None:
        return default
    try:
        return parse(text)
    except ValueError:
        return default


def _leftovers(groups: dict[tuple[str, str], list[JsonObject]], wall_s: float) -> Iterable[Service]:
    """Return what pods without a service still hold, so that nobody else gets it yet."""
    for (namespace, deployment), pods in sorted(groups.items()):
        replicas = tuple(
            Replica(r.name, ReplicaPhase.TERMINATING, r.allocation, r.in_force, r.age_s)
            for r in (replica_of(pod, wall_s) for pod in pods)
            if r.allocation is not None
        )
        if replicas:
            yield Service(
                name=f"{namespace}/{deployment}/{LEFTOVER}",
                slo=Slo(1000.0),
                served_model="",
                batch=1,
                concurrency=1,
                memory_bytes=0,
                min_replicas=0,
                max_replicas=0,
                min_sm=1,
                max_sm=1,
                priority=0,
                exclusive=False,
                scale=0,
                replicas=replicas,
                traffic=Traffic(sample_age_s=float("inf")),
            )
