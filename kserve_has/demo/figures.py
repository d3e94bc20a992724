"""The figures of a run, from outcomes and the timeline. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from ..loadgen.plan import NO_ANSWER, NOT_SENT, Outcome
from ..slo import Slo
from .timeline import Change, Timeline


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """What became of one service's load; violations are over all offered requests.

    Attributes:
        late: answered well but after the objective's bound.
        failed: answered with an error, broken off, never answered or never sent.
        never_answered, not_sent: parts of ``failed``.
        p50_ms, p95_ms, p99_ms: over all offered requests, a failed one counts as infinitely late;
            None where that makes the percentile infinite.
        violation_rate: (late + failed) / offered.
        objective_met: whether that stays within what the objective allows.
        gpu_seconds: integral of SM x quota held, in GPUs x seconds.
        whole_gpu_seconds: what the same replicas cost at one whole GPU each.
        send_lag_p99_ms: how late the generator itself was; part of every latency.

    """

    service: str
    objective_ms: float
    objective_percentile: int
    offered: int
    answered: int
    late: int
    failed: int
    never_answered: int
    not_sent: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    violation_rate: float
    objective_met: bool
    gpu_seconds: float
    whole_gpu_seconds: float
    resizes: int
    cold_starts: int
    scale_outs: int
    scale_ins: int
    send_lag_p99_ms: float | None


def service_figures(
    service: str, slo: Slo, outcomes: Sequence[Outcome], timeline: Timeline, seconds: float
) -> ServiceFigures:
    """Return the figures of one service for the run's seconds 0..``seconds``."""
    counted = [o for o in outcomes if 0 <= o.due_s < seconds]
    late = sum(o.ok and o.latency_ms > slo.latency_ms for o in counted)
    failed = sum(not o.ok for o in counted)
    rate = (late + failed) / len(counted) if counted else 0.0
    latencies = [effective_ms(o) for o in counted]
    lags = [(o.sent_s - o.due_s) * 1000 for o in counted if not math.isnan(o.sent_s)]
    return ServiceFigures(
        service=service,
        objective_ms=slo.latency_ms,
        objective_percentile=slo.percentile,
        offered=len(counted),
        answered=len(counted) - failed,
        late=late,
        failed=failed,
        never_answered=sum(o.status == NO_ANSWER for o in counted),
        not_sent=sum(o.status == NOT_SENT for o in counted),
        p50_ms=_rounded(percentile(latencies, 50)),
        p95_ms=_rounded(percentile(latencies, 95)),
        p99_ms=_rounded(percentile(latencies, 99)),
        violation_rate=round(rate, 6),
        objective_met=bool(counted) and rate <= slo.allowed_violation_rate + 1e-12,
        gpu_seconds=round(timeline.gpu_seconds(service, 0, seconds), 3),
        whole_gpu_seconds=round(timeline.whole_gpu_seconds(service, 0, seconds), 3),
        resizes=timeline.resizes(service, 0, seconds),
        cold_starts=timeline.cold_starts(service, 0, seconds),
        scale_outs=timeline.scale_outs(service, 0, seconds),
        scale_ins=timeline.scale_ins(service, 0, seconds),
        send_lag_p99_ms=_rounded(percentile(lags, 99)),
    )


def effective_ms(outcome: Outcome) -> float:
    """Return a request's latency, infinity unless a good answer came."""
    return outcome.latency_ms if outcome.ok else math.inf


def violates(outcome: Outcome, slo: Slo) -> bool:
    """Whether a request missed the objective's bound or failed."""
    return effective_ms(outcome) > slo.latency_ms


def percentile(values: Iterable[float], per_cent: float) -> float | None:
    """Return the smallest value that at least ``per_cent`` of all do not exceed; None without."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[max(0, math.ceil(per_cent / 100 * len(ordered)) - 1)]


def first_reaction_s(
    due_s: Sequence[float], changes: Sequence[Change], seconds: float
) -> list[float]:
    """Return, for each surge, how long until a replica held more in force, seconds.

    A surge begins with a second that brings, and is followed by another so that both bring, 1.5
    times the rate of the ten seconds before; the next one counts ten seconds later at the
    earliest. A surge without any growth within ten seconds needed none and is left out.

    Args:
        due_s: due times, ascending.
        changes: what came into force, by time.
        seconds: length of the run.

    """

    def due(start_s: float, end_s: float) -> int:
        return bisect_left(due_s, end_s) - bisect_left(due_s, start_s)

    grown = [c.at_s for c in changes if c.before and c.after > c.before]
    reactions, t = [], 10.0
    while t + 2 <= seconds:
        before = due(t - 10, t) / 10
        first, both = due(t, t + 1), due(t, t + 2) / 2
        if before > 0 and min(first, both) >= 1.5 * before:
            following = [at - t for at in grown if t <= at < t + 10]
            reactions += following[:1]
            t += 10
        else:
            t += 1
    return reactions


def as_json(figures: ServiceFigures) -> dict[str, object]:
    """Return figures as they stand in summary.json."""
    return asdict(figures)


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else round(value, 3)
