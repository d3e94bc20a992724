"""JSON patches that carry out actions, and the tests that make a late one harmless. Pure."""

from __future__ import annotations

from typing import Any

from kserve_has import contract
from kserve_has.allocation import Allocation
from kserve_has.kube import JsonObject, annotations_of

from .observe import allocation_of, epoch_of

Patch = list[dict[str, Any]]
VICTIM_COST = "-1000"
NORMAL_COST = "0"


def resize(pod: JsonObject, allocation: Allocation, capacity_rps: float) -> Patch:
    """Return the patch that gives a running pod another allocation.

    It fails when somebody else has changed the allocation since ``pod`` was read.
    """
    notes = annotations_of(pod)
    wanted = {contract.CAPACITY_RPS: _rps(capacity_rps)}
    if allocation_of(notes) != allocation:
        wanted |= _allocation(allocation, epoch_of(notes) + 1)
        del wanted[contract.GPU_UUID]  # never changes after placement
    return [*_same_object(pod), _same_epoch(pod), *_annotations(wanted)]


def place(pod: JsonObject, node: str, allocation: Allocation, capacity_rps: float) -> Patch:
    """Return the one patch that gives a gated pod its allocation and lets it be scheduled.

    It fails when the gates are no longer what they were when ``pod`` was read.
    """
    gates = pod["spec"]["schedulingGates"]
    rest = [gate for gate in gates if gate["name"] != contract.SCHEDULING_GATE]
    wanted = _allocation(allocation, epoch_of(annotations_of(pod)) + 1)
    wanted[contract.CAPACITY_RPS] = _rps(capacity_rps)
    ensure = [] if "annotations" in pod["metadata"] else [_add("/metadata/annotations", {})]
    return [
        *_same_object(pod),
        {"op": "test", "path": "/spec/schedulingGates", "value": gates},
        *ensure,
        *_annotations(wanted),
        _add("/spec/affinity", _bound_to(pod["spec"].get("affinity"), node)),
        _add("/spec/schedulingGates", rest),
    ]


def deletion_cost(pod: JsonObject, victim: bool) -> Patch | None:
    """Return the patch that marks a pod to go first, or no longer; None when it is so already."""
    present = annotations_of(pod).get(contract.POD_DELETION_COST)
    cost = VICTIM_COST if victim else NORMAL_COST
    if present == cost or (not victim and present != VICTIM_COST):
        return None
    return [*_same_object(pod), *_annotations({contract.POD_DELETION_COST: cost})]


def scale(seen: int, replicas: int) -> Patch:
    """Return the patch of a Scale that holds only while the count is what was seen.

    A leader that was held up must not undo what its successor decided. A count of 0 is not
    written in a Scale, so it cannot be tested.
    """
    known = [{"op": "test", "path": "/spec/replicas", "value": seen}] if seen > 0 else []
    return [*known, _add("/spec/replicas", replicas)]


def _allocation(allocation: Allocation, epoch: int) -> dict[str, str]:
    return {
        contract.GPU_UUID: allocation.gpu_uuid,
        contract.SM_GROUPS: f"{allocation.sm_groups:#06x}",
        contract.SM_PARTITION: str(allocation.sm_partition),
        contract.QUOTA: str(allocation.quota_percent),
        contract.MEMORY_LIMIT: str(allocation.memory_bytes),
        contract.EPOCH: str(epoch),
    }


def _bound_to(affinity: JsonObject | None, node: str) -> JsonObject:
    """Return a pod's affinity with the node added to every alternative the user allowed."""
    found = dict(affinity or {})
    of_node = dict(found.get("nodeAffinity") or {})
    required = of_node.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    # Terms are alternatives: the node must be in each, or one would let the pod go elsewhere.
    terms = required.get("nodeSelectorTerms") or [{}]
    # By name: the hostname label differs from it on some clouds.
    named = {"key": "metadata.name", "operator": "In", "values": [node]}
    bound = [{**term, "matchFields": [*(term.get("matchFields") or []), named]} for term in terms]
    of_node["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": bound}
    found["nodeAffinity"] = of_node
    return found


def _same_object(pod: JsonObject) -> Patch:
    return [{"op": "test", "path": "/metadata/uid", "value": pod["metadata"]["uid"]}]


def _same_epoch(pod: JsonObject) -> dict[str, Any]:
    path = _annotation_path(contract.EPOCH)
    return {"op": "test", "path": path, "value": annotations_of(pod).get(contract.EPOCH)}


def _annotations(wanted: dict[str, str]) -> Patch:
    return [_add(_annotation_path(key), value) for key, value in wanted.items()]


def _annotation_path(key: str) -> str:
    return "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1")


def _add(path: str, value: object) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def _rps(capacity_rps: float) -> str:
    return f"{capacity_rps:.1f}"
