"""Kubernetes objects as the controller meets them."""

from types import SimpleNamespace

import pytest

from kserve_has import contract
from kserve_has.allocation import Allocation

GPU = "GPU-a"


def isvc(name="shop", **annotations):
    notes = {contract.OBJECTIVE_LATENCY: "100ms", contract.SERVED_MODEL: "resnet50", **annotations}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": "u", "annotations": notes},
        "spec": {"predictor": {"minReplicas": 1, "maxReplicas": 3}},
    }


def deployment(name="shop", replicas=1):
    metadata = {"name": f"{name}-predictor", "namespace": "default", "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {"replicas": replicas}}


def pod(name, annotations=None, *, gated=False, ready=False, leaving=False, service="shop"):
    metadata = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": f"isvc.{service}-predictor"},
        "annotations": dict(annotations or {}),
    }
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:01:00Z"
    spec = {"schedulingGates": [{"name": contract.SCHEDULING_GATE}]} if gated else {}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": metadata, "spec": spec, "status": {"conditions": conditions}}


def notes(allocation, epoch, in_force=None):
    found = {
        contract.GPU_UUID: allocation.gpu_uuid,
        contract.SM_GROUPS: f"{allocation.sm_groups:#06x}",
        contract.SM_PARTITION: str(allocation.sm_partition),
        contract.QUOTA: str(allocation.quota_percent),
        contract.MEMORY_LIMIT: str(allocation.memory_bytes),
        contract.EPOCH: str(epoch),
    }
    if in_force is not None:
        found[contract.IN_FORCE] = in_force
    return found


def piece(groups=0x000F, quota=40, gpu=GPU):
    return Allocation(gpu, groups, 8 * groups.bit_count(), quota, 4 * 2**30)


@pytest.fixture
def make():
    return SimpleNamespace(
        isvc=isvc, deployment=deployment, pod=pod, notes=notes, piece=piece, gpu=GPU
    )
