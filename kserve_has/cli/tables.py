"""The tables of services, replicas and decisions that ``status`` and ``demo`` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from .fleet import Decision, Replica, Service

_NAMES_SHOWN = 8  # of a GPU's UUID: enough to tell a handful apart


def services_table(
    services: Sequence[Service], replicas: Sequence[Replica], sm_counts: Mapping[str, int]
) -> Table:
    """Return one row per service: objective, model, readiness, replicas, compute held.

    Args:
        services: the rows.
        replicas: everybody's.
        sm_counts: GPU UUID -> its SMs, as its node announces it.

    """
    table = Table("service", "objective", "model", "ready", "replicas", "GPUs held", expand=False)
    for service in services:
        own = [r for r in replicas if r.service == service.name]
        ready = sum(r.phase == "ready" for r in own)
        table.add_row(
            service.name,
            objective_text(service),
            service.served_model,
            "yes" if service.ready else "no",
            f"{ready}/{len(own)}",
            gpus_text(own, sm_counts),
        )
    return table


def add_unreadable(table: Table, unreadable: Sequence[tuple[str, str]]) -> None:
    """Add a row for each (service, what is wrong) whose objective cannot be read."""
    for name, problem in unreadable:
        table.add_row(name, f"cannot be read: {problem}", *["-"] * 4)


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


def gpus_text(replicas: Sequence[Replica], sm_counts: Mapping[str, int]) -> str:
    """Return the sum of SM x quota in whole GPUs; ``unknown`` with a GPU nobody announces."""
    placed = [r for r in replicas if r.gpu_uuid]
    if not all(sm_counts.get(r.gpu_uuid) for r in placed):
        return "unknown"
    held = sum(r.sm_partition * r.quota_percent / sm_counts[r.gpu_uuid] for r in placed)
    return f"{held / 100:.3f}"


def gpu_text(gpu_uuid: str) -> str:
    """Return a GPU's UUID shortened to what tells a few apart."""
    return gpu_uuid.removeprefix("GPU-")[:_NAMES_SHOWN] or "-"


def allocation_text(replica: Replica) -> str:
    """Return whether a replica's newest allocation is in force."""
    if replica.unreadable:
        return f"cannot read {', '.join(replica.unreadable)}"
    if not replica.gpu_uuid:
        return "waits for a place"
    return f"#{replica.epoch} pending" if replica.pending else f"#{replica.epoch} in force"
