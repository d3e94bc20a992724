"""What the controller tells Prometheus about itself and about what it sees."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from kserve_has.rapp.online import Learner

from ..observations import Seen
from ..policy.observation import ReplicaPhase, Service
from .report import Done, Outcome, kind_of

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_OF_SERVICE = ("service",)
_OF_MODEL = ("served_model", "gpu")
_OF_PIECE = (*_OF_MODEL, "batch", "sm")


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
        self._looks = Counter(
            "kserve_has_observation_looks",
            "Looks at ready replicas for observations of the latency model, by what came of them.",
            ("verdict",),
            registry=registry,
        )
        self._observed = gauge("observed_gpu_ms", "Newest GPU time of a request.", _OF_PIECE)
        self._predicted = gauge("predicted_gpu_ms", "The same as predicted then.", _OF_PIECE)
        self._bound = gauge("bound_gpu_ms", "The same, upper bound.", _OF_PIECE)
        self._learnt = gauge("model_observations", "Observations learnt from.", _OF_MODEL)
        self._strange = gauge("model_strange", "Observations too far off to be true.", _OF_MODEL)
        self._coverage = gauge("model_coverage", "Recent ones below the upper bound.", _OF_MODEL)
        self._width = gauge("model_bound_width", "Upper bound over mean, newest one.", _OF_MODEL)

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

    def looked(self, seen: Seen, learner: Learner) -> None:
        """Tell what a look brought, beside what the model had said of it, and how bounds did."""
        for verdict, count in seen.verdicts.items():
            self._looks.labels(str(verdict)).inc(count)
        for one in seen.observed:
            if not learner.model.knows(*one.place):
                continue
            labels = (*one.place, str(one.batch), str(one.sm))
            told = learner.model.predict(*one.place, one.batch, one.sm, 100)
            self._observed.labels(*labels).set(one.gpu_ms)
            self._predicted.labels(*labels).set(told.mean_ms)
            self._bound.labels(*labels).set(told.upper_ms)
        for place, standing in learner.standings().items():
            self._learnt.labels(*place).set(standing.observed)
            self._strange.labels(*place).set(standing.strange)
            self._coverage.labels(*place).set(standing.coverage)
            self._width.labels(*place).set(standing.width)

    def forget_observations(self) -> None:
        """Remove what was learnt: another process leads and tells its own."""
        for metric in (
            self._observed,
            self._predicted,
            self._bound,
            self._learnt,
            self._strange,
            self._coverage,
            self._width,
        ):
            metric.clear()

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
