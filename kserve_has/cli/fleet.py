"""What the cluster's objects say about our services: pure reading, no requests."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from .. import contract
from ..errors import AnnotationError
from ..kube.objects import JsonObject, annotations_of, labels_of
from ..slo import Slo, parse_slo

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class Replica:
    """One pod of a service, as its annotations and status show it.

    Attributes:
        service: ``namespace/name`` of the InferenceService.
        phase: ``gated``, ``starting``, ``ready`` or ``ending``.
        node, gpu_uuid: where it is, "" while gated.
        sm_partition: SMs it may use, 0 while gated.
        quota_percent: share of each quota window, 0 while gated.
        epoch: number of its desired allocation, 0 while gated.
        in_force_epoch: the newest allocation that the node agent found in force, 0 for none.
        in_force_at: when that was, RFC 3339, "" for never.
        capacity_rps: what the autoscaler expects of it, requests/s.
        memory_bytes: cap of its device memory, 0 for none.
        sm_groups: bitmap of its split groups, 0 while gated.
        unreadable: its annotations whose values are no numbers; what they say counts as 0.

    """

    service: str
    pod: str
    phase: str
    node: str = ""
    gpu_uuid: str = ""
    sm_partition: int = 0
    quota_percent: int = 0
    epoch: int = 0
    in_force_epoch: int = 0
    in_force_at: str = ""
    capacity_rps: float = 0.0
    memory_bytes: int = 0
    sm_groups: int = 0
    unreadable: tuple[str, ...] = ()

    @property
    def pending(self) -> bool:
        """Whether its newest allocation is not yet in force."""
        return self.in_force_epoch < self.epoch


@dataclass(frozen=True, slots=True)
class Service:
    """An InferenceService with an objective.

    Attributes:
        name: ``namespace/name``.
        url_name: name of the model in the URL, the InferenceService's own.
        slo: the objective.
        served_model: key in the latency model.
        batch: instances each request carries.
        ready: whether KServe says it is ready.

    """

    name: str
    slo: Slo
    served_model: str
    batch: int
    ready: bool

    @property
    def namespace(self) -> str:
        """Return the namespace."""
        return self.name.split("/")[0]

    @property
    def url_name(self) -> str:
        """Return the name without its namespace."""
        return self.name.split("/")[1]


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of the autoscaler, told by an Event.

    Attributes:
        at: RFC 3339 time of the last one like it.
        service: ``namespace/name``.

    """

    at: str
    service: str
    reason: str
    message: str
    count: int = 1


def service_of(isvc: JsonObject) -> Service | None:
    """Return an InferenceService that has an objective, None for any other.

    Raises:
        AnnotationError: its objective cannot be read; admission should have refused it.

    """
    notes = annotations_of(isvc)
    if contract.OBJECTIVE_LATENCY not in notes:
        return None
    name = f"{isvc['metadata']['namespace']}/{isvc['metadata']['name']}"
    try:
        slo = parse_slo(
            notes[contract.OBJECTIVE_LATENCY], notes.get(contract.OBJECTIVE_PERCENTILE, "p95")
        )
        batch = int(notes.get(contract.BATCH, "1"))
    except ValueError as error:
        raise AnnotationError([f"{name}: {error}"]) from error
    conditions = (isvc.get("status") or {}).get("conditions") or []
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return Service(name, slo, notes.get(contract.SERVED_MODEL, "?"), batch, ready)


def replica_of(pod: JsonObject) -> Replica | None:
    """Return a pod that the webhook injected, None for any other or one that has ended."""
    notes = annotations_of(pod)
    status = pod.get("status") or {}
    if contract.INJECTED not in notes or status.get("phase") in ("Succeeded", "Failed"):
        return None
    metadata = pod["metadata"]
    in_force_epoch, in_force_at = _in_force(notes.get(contract.IN_FORCE, ""))
    unreadable: list[str] = []

    def number(key: str, parse: Callable[[str], _Number]) -> _Number:
        try:
            return parse(notes.get(key, "0"))
        except ValueError:
            unreadable.append(key)
            return parse("0")

    return Replica(
        service=f"{metadata['namespace']}/{labels_of(pod).get(contract.KSERVE_ISVC_LABEL, '?')}",
        pod=metadata["name"],
        phase=_phase(pod),
        node=(pod.get("spec") or {}).get("nodeName", ""),
        gpu_uuid=notes.get(contract.GPU_UUID, ""),
        sm_partition=number(contract.SM_PARTITION, int),
        quota_percent=number(contract.QUOTA, int),
        epoch=number(contract.EPOCH, int),
        in_force_epoch=in_force_epoch,
        in_force_at=in_force_at,
        capacity_rps=number(contract.CAPACITY_RPS, float),
        memory_bytes=number(contract.MEMORY_LIMIT, int),
        sm_groups=number(contract.SM_GROUPS, lambda text: int(text, 16)),
        unreadable=tuple(unreadable),
    )


def sm_counts_of(nodes: Iterable[JsonObject]) -> dict[str, int]:
    """Return GPU UUID -> its SMs, of every GPU that a node agent has announced readably."""
    found: dict[str, int] = {}
    for node in nodes:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            gpus = json.loads(annotations_of(node)[contract.NODE_GPUS])
            found |= {str(gpu["uuid"]): int(gpu["sm_count"]) for gpu in gpus}
    return found


def decisions_of(events: Iterable[JsonObject]) -> list[Decision]:
    """Return the autoscaler's decisions among Events, oldest first."""
    found = []
    for event in events:
        about = event.get("involvedObject") or {}
        source = event.get("reportingComponent") or (event.get("source") or {}).get("component", "")
        if about.get("kind") != "InferenceService" or "kserve-has" not in source:
            continue
        found.append(
            Decision(
                at=_event_time(event),
                service=f"{about.get('namespace', '')}/{about.get('name', '')}",
                reason=str(event.get("reason", "")),
                message=str(event.get("message", "")),
                count=int((event.get("series") or {}).get("count") or event.get("count") or 1),
            )
        )
    return sorted(found, key=lambda decision: decision.at)


def _event_time(event: JsonObject) -> str:
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(
        series
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp", "")
    )


def _phase(pod: JsonObject) -> str:
    if "deletionTimestamp" in pod["metadata"]:
        return "ending"
    spec = pod.get("spec") or {}
    if any(g.get("name") == contract.SCHEDULING_GATE for g in spec.get("schedulingGates") or []):
        return "gated"
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return "ready" if ready else "starting"


def _in_force(text: str) -> tuple[int, str]:
    try:
        found = json.loads(text or "{}")
        return int(found.get("epoch", 0)), str(found.get("at", ""))
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return 0, ""
