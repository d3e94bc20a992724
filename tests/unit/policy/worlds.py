"""Observations as a test wants them: a service, its replicas, its traffic, a pool of GPUs."""

from dataclasses import replace

from autoscaler.policy.observation import (
    Gpu,
    Observation,
    Replica,
    ReplicaPhase,
    Service,
    Traffic,
)
from kserve_has.allocation import Allocation
from kserve_has.config.policy import PolicySettings
from kserve_has.gpu import H200, GpuGeometry
from kserve_has.latency.table import load_table
from kserve_has.slo import Slo

SETTINGS = PolicySettings()
TABLE = load_table()
SMALL = GpuGeometry("NVIDIA H200", sm_count=36, sm_group_size=8, memory_bytes=10 * 10**9)


def gpu(name="GPU-0", geometry=H200, healthy=True):
    return Gpu(name, f"node-of-{name}", geometry, healthy)


def gpus(count, geometry=H200):
    return tuple(gpu(f"GPU-{i}", geometry) for i in range(count))


def piece(groups=0b1, quota=50, on="GPU-0", geometry=H200, memory=2 * 10**9):
    return Allocation(on, groups, geometry.sm_of(groups), quota, memory)


def replica(name="a", allocation=None, phase=None, in_force=True, age_s=100.0):
    if phase is None:
        phase = ReplicaPhase.GATED if allocation is None else ReplicaPhase.READY
    return Replica(name, phase, allocation, in_force and allocation is not None, age_s)


def traffic(
    rates=(), *, age_s=0.5, in_flight=0.0, late=0.0, answered=None, latency_ms=None, median_ms=None
):
    """Return traffic whose per-second rates, oldest first, end ``age_s`` ago."""
    count = len(rates)
    arrivals = tuple((age_s + count - 1 - i, float(rate)) for i, rate in enumerate(rates))
    if answered is None:
        answered = sum(rates[-10:]) / len(rates[-10:]) if rates else 0.0
    median_ms = latency_ms if median_ms is None else median_ms
    return Traffic(age_s, arrivals, in_flight, latency_ms, answered, late, median_ms)


def steady(rps, seconds=50, **more):
    return traffic((rps,) * seconds, **more)


def service(name="ns/a", replicas=(), traffic=None, **fields):
    base = Service(
        name=name,
        slo=Slo(20.0, 99),
        served_model="resnet50",
        batch=1,
        concurrency=1,
        memory_bytes=2 * 10**9,
        min_replicas=1,
        max_replicas=8,
        min_sm=8,
        max_sm=132,
        priority=100,
        exclusive=False,
        scale=len(replicas),
        replicas=tuple(replicas),
        traffic=traffic if traffic is not None else steady(20.0),
    )
    return replace(base, **fields)


def world(services, pool=None, now_s=1000.0):
    return Observation(now_s, tuple(services), gpus(2) if pool is None else tuple(pool))
