"""What is simulated: services with their loads, a pool of GPUs, and who decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from kserve_has.config.simulator import SimulatorSettings
from kserve_has.gpu import H200, GpuGeometry
from kserve_has.loadgen.trace import Trace
from kserve_has.slo import Slo

from ..observations import Meter, Owner
from ..policy.observation import Observation
from ..policy.plan import Plan
from .physics import Measured


@dataclass(frozen=True, slots=True)
class Load:
    """One simulated InferenceService.

    Attributes:
        name: of the service.
        served_model: measured model, and the key in the latency model.
        batch: instances per request.
        slo: objective.
        trace: rate of requests over time.
        min_replicas, max_replicas: bounds.
        priority: 0..1000, the lower degrades first.
        memory_bytes: of each replica.
        min_sm, max_sm: bounds of a partition, 0 for the GPU's own.
        points: measured service times; empty for the packaged ones of the served model.
    """

    name: str
    served_model: str
    batch: int
    slo: Slo
    trace: Trace
    min_replicas: int = 1
    max_replicas: int = 64
    priority: int = 100
    memory_bytes: int = 2 * 10**9
    min_sm: int = 0
    max_sm: int = 0
    points: tuple[Measured, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run.

    Attributes:
        loads: the services.
        gpus: GPUs of the pool, two to a node.
        seconds: measured time; a lead-in of ``warmup_s`` comes before and is not counted.
        seed: of arrivals, noise, starts and phases.
        settings: of the world.
        geometry: of every GPU.
        warmup_s: lead-in at the mean rate of the trace's first minute.
    """

    loads: tuple[Load, ...]
    gpus: int
    seconds: float
    seed: int = 0
    settings: SimulatorSettings = field(default_factory=SimulatorSettings)
    geometry: GpuGeometry = H200
    warmup_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Second:
    """What queue proxies report of one service for one second.

    Attributes:
        at_s: end of the second.
        rps: arrivals.
        concurrency: time-averaged requests in flight.
        visible_s: when the gateway's figures of that second can be used.
        answered, late, failed: requests.
        in_flight: at its end.
        latency_ms: at the objective's percentile over the last ten seconds, None without answers.
        median_ms: of the same answers.
    """

    at_s: float
    rps: float
    concurrency: float
    visible_s: float
    answered: int
    late: int
    failed: int
    in_flight: int
    latency_ms: float | None
    median_ms: float | None = None


Signals = Mapping[str, list[Second]]  # by service, oldest first


class Scaler(Protocol):
    """Who decides: the policy or a baseline.

    Attributes:
        tick_s: seconds between decisions; 0 takes the world's tick.
    """

    tick_s: float

    def decide(self, observation: Observation, signals: Signals) -> Plan:
        """Return what to do now."""
        ...


@runtime_checkable
class Student(Protocol):
    """A scaler that learns from what its replicas' counters say.

    Attributes:
        look_s: seconds between two looks at them; 0 for never.
    """

    look_s: float

    def look(self, observation: Observation, meters: Mapping[Owner, Meter]) -> None:
        """Take in the counters of every replica."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one service got in one run.

    Attributes:
        offered, late, failed: requests; failed ones are not late.
        cost_gpu_s: integral of SM x quota, GPU seconds.
        cost_with_memory_gpu_s: the same with the memory share where that is larger.
        p50_ms, p95_ms, p99_ms: latency of answered requests.
        scale_outs, scale_ins: changes of the number of replicas.
        resizes: changes of a running replica's piece.
        cold_starts: replicas that were started.
    """

    offered: int
    late: int
    failed: int
    cost_gpu_s: float
    cost_with_memory_gpu_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    scale_outs: int
    scale_ins: int
    resizes: int
    cold_starts: int

    @property
    def violation_rate(self) -> float:
        """Late and failed over offered, 0..1."""
        return (self.late + self.failed) / self.offered if self.offered else 0.0
