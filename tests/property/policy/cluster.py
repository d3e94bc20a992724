"""A cluster in the mind: it obeys plans at once and may acknowledge them later."""

from dataclasses import replace

from autoscaler.policy.observation import Observation, Replica, ReplicaPhase
from autoscaler.policy.plan import Hold, Place, Resize, SetScale
from kserve_has.allocation import fits


def over_committed(observation, extra=()):
    """Return the GPUs on which more is promised than there is.

    ``extra`` is (service, replica, allocation) that counts beside what is observed; of one
    replica's pieces every group counts with the larger quota.
    """
    bad = []
    for gpu in observation.gpus:
        load = [0] * gpu.geometry.group_count
        memory = 0
        owners = {}
        held = [
            (s.name, r.name, r.allocation)
            for s in observation.services
            for r in s.replicas
            if r.allocation is not None
        ]
        for service, name, allocation in [*held, *extra]:
            if allocation.gpu_uuid == gpu.uuid:
                owners.setdefault((service, name), []).append(allocation)
        for pieces in owners.values():
            memory += max(p.memory_bytes for p in pieces)
            for group in range(len(load)):
                load[group] += max(p.quota_percent * (p.sm_groups >> group & 1) for p in pieces)
        if memory > gpu.geometry.memory_bytes or any(share > 100 for share in load):
            bad.append(gpu.uuid)
    return bad


def is_sound(observation):
    by_gpu = {gpu.uuid: [] for gpu in observation.gpus}
    for service in observation.services:
        for replica in service.replicas:
            if replica.allocation is not None and replica.allocation.gpu_uuid in by_gpu:
                by_gpu[replica.allocation.gpu_uuid].append(replica.allocation)
    return all(fits(by_gpu[gpu.uuid], gpu.geometry) for gpu in observation.gpus)


def obey(observation, plan, *, after_s, acknowledge=True):
    """Return the world ``after_s`` later, in which the plan was carried out."""
    services = {service.name: service for service in observation.services}
    for action in plan.actions:
        if isinstance(action, Hold):
            continue
        service = services[action.service]
        if isinstance(action, SetScale):
            services[action.service] = _scaled(service, action)
            continue
        services[action.service] = replace(
            service,
            replicas=tuple(
                _given(r, action, acknowledge) if r.name == action.replica else r
                for r in service.replicas
            ),
        )
    for name, service in services.items():
        older = tuple(
            replace(r, age_s=r.age_s + after_s, phase=_aged(r), in_force=_acked(r, acknowledge))
            for r in service.replicas
        )
        services[name] = replace(service, replicas=older)
    return Observation(
        observation.now_s + after_s,
        tuple(services[s.name] for s in observation.services),
        observation.gpus,
    )


def _given(replica, action, acknowledge):
    phase = ReplicaPhase.STARTING if isinstance(action, Place) else replica.phase
    assert isinstance(action, Place | Resize)
    return replace(replica, allocation=action.allocation, phase=phase, in_force=acknowledge)


def _aged(replica):
    started = replica.phase is ReplicaPhase.STARTING and replica.age_s >= 8.0
    return ReplicaPhase.READY if started else replica.phase


def _acked(replica, acknowledge):
    return replica.allocation is not None and (acknowledge or replica.in_force)


def _scaled(service, action):
    kept = [r for r in service.replicas if r.name not in action.victims]
    taken = {r.name for r in service.replicas}
    number = 0
    while len(kept) < action.replicas:
        number += 1
        name = f"new-{number}"
        if name not in taken:
            taken.add(name)
            kept.append(Replica(name, ReplicaPhase.GATED, None, False, 0.0))
    return replace(service, scale=action.replicas, replicas=tuple(kept[: action.replicas]))
