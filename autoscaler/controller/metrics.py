"""What the controller tells Prometheus about itself and about what it sees."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..policy.observation import ReplicaPhase, Service
from .observation_metrics import ObservationMetrics
from .report import Done, Outcome, kind_of

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_OF_SERVICE = ("service",)


class Metrics:
    """All series of the controller in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def gauge(name: str, text: str, labels: tuple[str, ...] = _OF_SERVICE) -> Gauge:
            return Gauge(f"kserve_has_{name}", text, labels, registry=registry)

        self.decision_seconds = Histogram(
            "kserve_has_decision_seconds",
            "Time the policy took for one decision.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.tick_seconds = Histogram(
            "kserve_has_tick_seconds",
            "Time of one tick: observing, deciding and applying.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.actions = Counter(
            "kserve_has_actions",
            "Actions by kind, reason and outcome.",
            ("kind", "reason", "outcome"),
            registry=registry,
        )
        self.errors = Counter(
            "kserve_has_tick_errors",
            "Ticks or polls that failed, by part.",
            ("part",),
            registry=registry,
        )
        self.leading = gauge("leading", "1 while this process holds the lease.", ())
        self._sample_age = gauge("sample_age_seconds", "Age of the newest sample of traffic.")
        self._arrivals = gauge("arrivals_rps", "Requests per second in the newest second.")
        self._in_flight = gauge("in_flight", "Requests at replicas or waiting for one.")
        self._latency = gauge("latency_ms", "Latency at the objective's percentile over 10 s.")
        self._late = gauge("late_share", "Share of the same answers that were late or failed.")
        self._objective = gauge("objective_latency_ms", "Latency bound of the objective.")
        self._area = gauge("desired_area", "SM x per cent of time promised to all replicas.")
        self._scale = gauge("desired_replicas", "Replicas the Deployment is asked for.")
        self._replicas = gauge("replicas", "Replicas by phase.", ("service", "phase"))
        self._gauges = (
            self._sample_age,
            self._arrivals,
            self._in_flight,
            self._latency,
            self._late,
            self._objective,
            self._area,
            self._scale,
        )
        self._known: set[str] = set()
        self.observations = ObservationMetrics(registry)

    def saw(self, services: Iterable[Service]) -> None:
        """Set what was observed; series of services that are gone are removed."""
        names = set()
        for service in services:
            names.add(service.name)
            self._saw_one(service)
        for name in self._known - names:
            for metric in self._gauges:
                metric.remove(name)
            for phase in ReplicaPhase:
                self._replicas.remove(name, str(phase))
        self._known = names

    def did(self, done: Iterable[Done]) -> None:
        """Count actions and their outcomes."""
        for one in done:
            if one.outcome is Outcome.HELD:
                continue  # five a second and service, and no action
            reason = str(one.action.because.reason)
            self.actions.labels(kind_of(one.action), reason, str(one.outcome)).inc()

    def text(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self.registry)

    def _saw_one(self, service: Service) -> None:
        name, traffic = service.name, service.traffic
        latency = traffic.latency_ms
        values = (
            traffic.sample_age_s,
            traffic.arrivals_rps[-1][1] if traffic.arrivals_rps else 0.0,
            traffic.in_flight,
            float("nan") if latency is None else latency,
            traffic.late_share,
            service.slo.latency_ms,
            sum(r.allocation.area for r in service.replicas if r.allocation is not None),
            service.scale,
        )
        for metric, value in zip(self._gauges, values, strict=True):
            metric.labels(name).set(value)
        phases = Tally(replica.phase for replica in service.replicas)
        for phase in ReplicaPhase:
            self._replicas.labels(name, str(phase)).set(phases[phase])
