"""What a run looked like second by second, for the plots. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..loadgen.plan import Outcome
from ..slo import Slo
from .figures import effective_ms, percentile, violates
from .timeline import WHOLE_GPU, Timeline

LATENCY_BIN_S: Final = 5


@dataclass(frozen=True, slots=True)
class ServiceSeries:
    """One service, one value per second unless said otherwise.

    Attributes:
        arrivals_rps: requests due in each second.
        capacity_rps: what the autoscaler expects of all ready replicas at the second's start.
        violations: requests of each second that missed the objective.
        latency_ms: at the objective's percentile, one value per five seconds; None when it is
            infinite or nothing was offered.
        gpus: GPUs (SM x quota) held.
        pieces: replica -> (SMs, quota per cent) or None while it holds nothing.

    """

    service: str
    objective_ms: float
    objective_percentile: int
    arrivals_rps: list[int]
    capacity_rps: list[float]
    violations: list[int]
    latency_ms: list[float | None]
    gpus: list[float]
    pieces: dict[str, list[tuple[int, int] | None]]

    def as_json(self) -> dict[str, Any]:
        """Return it as it stands in series.json."""
        return asdict(self)


def service_series(
    service: str,
    slo: Slo,
    due_s: Sequence[float],
    outcomes: Sequence[Outcome],
    timeline: Timeline,
    seconds: int,
) -> ServiceSeries:
    """Return the series of one service for the run's seconds 0..``seconds``."""
    arrivals, violations = [0] * seconds, [0] * seconds
    for due in due_s:
        if 0 <= due < seconds:
            arrivals[int(due)] += 1
    bins: list[list[float]] = [[] for _ in range(-(-seconds // LATENCY_BIN_S))]
    for outcome in outcomes:
        if 0 <= outcome.due_s < seconds:
            bins[int(outcome.due_s) // LATENCY_BIN_S].append(effective_ms(outcome))
            violations[int(outcome.due_s)] += violates(outcome, slo)
    held = [timeline.at(float(t), service) for t in range(seconds)]
    pods = sorted({replica.pod for replicas in held for replica in replicas})
    pieces: dict[str, list[tuple[int, int] | None]] = {pod: [None] * seconds for pod in pods}
    for t, replicas in enumerate(held):
        for replica in replicas:
            if replica.gpu_uuid:
                pieces[replica.pod][t] = (replica.sm_partition, replica.quota_percent)
    return ServiceSeries(
        service=service,
        objective_ms=slo.latency_ms,
        objective_percentile=slo.percentile,
        arrivals_rps=arrivals,
        capacity_rps=[
            round(sum(r.capacity_rps for r in rs if r.phase == "ready"), 3) for rs in held
        ],
        violations=violations,
        latency_ms=[_finite(percentile(values, slo.percentile)) for values in bins],
        gpus=[sum(r.sm_partition * r.quota_percent for r in rs) / WHOLE_GPU for rs in held],
        pieces=pieces,
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or value == float("inf") else round(value, 3)
