"""What the terminal shows during a run, and the table at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..cli.fleet import Decision, Replica, Service
from ..cli.tables import decisions_table, objective_text, replicas_table
from ..loadgen.plan import Outcome
from .figures import ServiceFigures, effective_ms, percentile, violates

DECISIONS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Recent:
    """One service over the last seconds.

    Attributes:
        arrivals_rps: requests due per second.
        p50_ms, p95_ms, p99_ms: over the answers due in that time, None without any.
        violation_rate: share of them that missed the objective.
        met: whether that is within what the objective allows; None without answers.

    """

    service: Service
    arrivals_rps: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    violation_rate: float
    met: bool | None


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything the live view shows at one moment; ``now_s`` is negative in the lead-in."""

    now_s: float
    seconds: float
    services: Sequence[Recent]
    replicas: Sequence[Replica]
    decisions: Sequence[Decision]
    notice: str = ""


def recent(
    service: Service,
    due_s: Sequence[float],
    outcomes: Sequence[Outcome],
    now_s: float,
    span_s: float,
) -> Recent:
    """Return a service's last ``span_s`` seconds before ``now_s``."""
    due = sum(now_s - span_s <= t < now_s for t in due_s)
    latencies = [effective_ms(outcome) for outcome in outcomes]
    missed = sum(violates(outcome, service.slo) for outcome in outcomes)
    rate = missed / len(outcomes) if outcomes else 0.0
    return Recent(
        service=service,
        arrivals_rps=due / span_s,
        p50_ms=percentile(latencies, 50),
        p95_ms=percentile(latencies, 95),
        p99_ms=percentile(latencies, 99),
        violation_rate=rate,
        met=rate <= service.slo.allowed_violation_rate if outcomes else None,
    )


def render(frame: Frame) -> RenderableType:
    """Return the live view."""
    parts: list[RenderableType] = [_progress(frame), _services(frame)]
    parts.append(replicas_table(frame.replicas))
    if frame.decisions:
        parts.append(decisions_table(frame.decisions, DECISIONS_SHOWN))
    return Group(*parts)


def line(frame: Frame) -> str:
    """Return the live view in one line, for logs."""
    phase = "lead-in" if frame.now_s < 0 else f"{frame.now_s:.0f}/{frame.seconds:.0f} s"
    services = "; ".join(
        f"{r.service.url_name} {r.arrivals_rps:.0f}/s p{r.service.slo.percentile} "
        f"{_ms(_at_objective(r))} {_met(r.met)} {_pieces(frame.replicas, r.service)}"
        for r in frame.services
    )
    return f"{phase}: {services}{'; ' + frame.notice if frame.notice else ''}"


def final_table(figures: Sequence[ServiceFigures]) -> Table:
    """Return the table at the end of a run."""
    table = Table(title="Result")
    for column in FINAL_COLUMNS:
        table.add_column(column, justify="left" if column == "service" else "right")
    for row in final_rows(figures):
        table.add_row(*row)
    return table


FINAL_COLUMNS = (
    "service",
    "offered",
    "answered",
    "late",
    "failed",
    "p50",
    "p95",
    "p99",
    "violations",
    "GPU-seconds",
    "whole-GPU-seconds",
    "resizes",
    "cold starts",
)


def final_rows(figures: Sequence[ServiceFigures]) -> list[tuple[str, ...]]:
    """Return the cells of the final table, the same on the terminal and in the report."""
    return [
        (
            f"{f.service} (p{f.objective_percentile} <= {f.objective_ms:g} ms)",
            str(f.offered),
            str(f.answered),
            str(f.late),
            str(f.failed),
            _ms(f.p50_ms),
            _ms(f.p95_ms),
            _ms(f.p99_ms),
            _verdict(f),
            f"{f.gpu_seconds:.1f}",
            f"{f.whole_gpu_seconds:.1f}",
            str(f.resizes),
            str(f.cold_starts),
        )
        for f in figures
    ]


def _verdict(figures: ServiceFigures) -> str:
    if not figures.offered:
        return "-"
    return f"{100 * figures.violation_rate:.2f} % {_met(figures.objective_met)}"


def _progress(frame: Frame) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    if frame.now_s < 0:
        label = Text(f"lead-in, {-frame.now_s:.0f} s until the measured run")
    else:
        label = Text(f"{frame.now_s:.0f} of {frame.seconds:.0f} s")
    bar = ProgressBar(total=frame.seconds, completed=max(0.0, frame.now_s), width=40)
    grid.add_row(bar, label, Text(frame.notice, style="bold magenta"))
    return grid


def _services(frame: Frame) -> Table:
    table = Table("service", "objective", "arrivals", "p50", "p95", "p99", "missed", "now")
    for r in frame.services:
        style = "" if r.met is None else ("green" if r.met else "bold red")
        table.add_row(
            r.service.name,
            objective_text(r.service),
            f"{r.arrivals_rps:.1f}/s",
            *(_ms(value) for value in (r.p50_ms, r.p95_ms, r.p99_ms)),
            f"{100 * r.violation_rate:.1f} %",
            Text(_met(r.met), style=style),
        )
    return table


def _pieces(replicas: Sequence[Replica], service: Service) -> str:
    own = [r for r in replicas if r.service == service.name]
    return "+".join(
        f"{r.sm_partition}SM*{r.quota_percent}%" if r.gpu_uuid else r.phase for r in own
    )


def _at_objective(r: Recent) -> float | None:
    return {50: r.p50_ms, 95: r.p95_ms, 99: r.p99_ms}.get(r.service.slo.percentile, r.p95_ms)


def _met(met: bool | None) -> str:
    return "-" if met is None else ("met" if met else "MISSED")


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return "never" if value == float("inf") else f"{value:.1f} ms"
