"""The tables of services, replicas and decisions that ``status`` and ``demo`` print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from .fleet import Decision, Replica, Service

_NAMES_SHOWN = 8  # of a GPU's UUID: enough to tell a handful apart


def services_table(services: Sequence[Service], replicas: Sequence[Replica]) -> Table:
    """Return one row per service: objective, model, readiness, replicas, compute held."""
    table = Table("service", "objective", "model", "ready", "replicas", "GPUs held", expand=False)
    for service in services:
        own = [r for r in replicas if r.service == service.name]
        ready = sum(r.phase == "ready" for r in own)
        gpus = sum(r.sm_partition * r.quota_percent for r in own) / (132 * 100)
        table.add_row(
            service.name,
            objective_text(service),
            service.served_model,
            "yes" if service.ready else "no",
            f"{ready}/{len(own)}",
            f"{gpus:.3f}",
        )
    return table


def replicas_table(replicas: Sequence[Replica]) -> Table:
    """Return one row per replica: where it is, its piece, and whether that is in force."""
    table = Table(
        "replica", "phase", "node", "GPU", "SMs", "quota", "capacity", "allocation", expand=False
    )
    for replica in sorted(replicas, key=lambda r: (r.service, r.pod)):
        placed = bool(replica.gpu_uuid)
        table.add_row(
            replica.pod,
            replica.phase,
            replica.node or "-",
            gpu_text(replica.gpu_uuid),
            str(replica.sm_partition) if placed else "-",
            f"{replica.quota_percent} %" if placed else "-",
            f"{replica.capacity_rps:.1f}/s" if placed else "-",
            allocation_text(replica),
        )
    return table


def decisions_table(decisions: Sequence[Decision], last: int) -> Table:
    """Return the newest decisions, oldest first."""
    table = Table("time (UTC)", "service", "decision", "because", expand=False)
    for decision in decisions[-last:]:
        again = f" (x{decision.count})" if decision.count > 1 else ""
        table.add_row(
            decision.at[11:19], decision.service, decision.reason + again, decision.message
        )
    return table


def objective_text(service: Service) -> str:
    """Return an objective as people write it: ``p95 <= 80 ms``."""
    return f"p{service.slo.percentile} <= {service.slo.latency_ms:g} ms"


def gpu_text(gpu_uuid: str) -> str:
    """Return a GPU's UUID shortened to what tells a few apart."""
    return gpu_uuid.removeprefix("GPU-")[:_NAMES_SHOWN] or "-"


def allocation_text(replica: Replica) -> str:
    """Return whether a replica's newest allocation is in force."""
    if not replica.gpu_uuid:
        return "waits for a place"
    return f"#{replica.epoch} pending" if replica.pending else f"#{replica.epoch} in force"
