"""What is added to the pods of an opted-in service. Pure: no allocation, no side effect.

A pod that holds everything already is left alone: called again after another webhook, ours does
not undo what that one did to our container, such as another registry for its image.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from kserve_has import contract
from kserve_has.config.webhook import WebhookSettings
from kserve_has.errors import AnnotationError
from kserve_has.kube import JsonObject, annotations_of

from . import leases, mps
from .annotations import MACHINE_ANNOTATIONS
from .gpu_requests import without_whole_gpu
from .sidecar import sidecar_container

INJECTED_VERSION: Final = "1"
LIBRARY_PATH: Final = f"{contract.QUOTA_DIR}/{contract.LIBRARY_FILE}"
# ld.so takes both as separators.
_SEPARATORS: Final = str.maketrans(" ", ":")
_TOLERATIONS: Final[tuple[JsonObject, ...]] = (
    {"key": contract.NODE_TAINT, "operator": "Equal", "value": "true", "effect": "NoSchedule"},
    # The usual taint of GPU pools, which a pod tolerates by itself only while it asks for a GPU.
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
)


def inject(pod: JsonObject, settings: WebhookSettings) -> JsonObject:
    """Return the pod as it must be created; one without an objective is returned unchanged.

    Raises:
        AnnotationError: the pod cannot run under quota; carries all reasons at once.

    """
    if contract.OBJECTIVE_LATENCY not in annotations_of(pod) or _is_injected(pod, settings):
        return pod
    result = copy.deepcopy(pod)
    spec = result["spec"]
    problems = _problems(result)
    if problems:
        raise AnnotationError(problems)
    _mark(result)
    _run_under_quota(_served(spec))
    _put(spec.setdefault("volumes", []), _volume(settings))
    if mps.wanted(result, settings):
        _put(_served(spec)["env"], mps.variable())
        _put(_served(spec)["volumeMounts"], mps.mount())
        _put(spec["volumes"], mps.volume(settings))
    if leases.wanted(result, settings):
        _put(_served(spec)["env"], leases.variable())
        _put(_served(spec)["volumeMounts"], leases.mount())
        _put(spec["volumes"], leases.volume(settings))
    _put(spec.setdefault("initContainers", []), sidecar_container(settings))
    _hold_until_placed(spec)
    if settings.runtime_class:
        spec.setdefault("runtimeClassName", settings.runtime_class)
    return result


def _is_injected(pod: JsonObject, settings: WebhookSettings) -> bool:
    spec = pod["spec"]
    held = {
        "initContainers": contract.SIDECAR_CONTAINER,
        "volumes": contract.QUOTA_VOLUME,
        "schedulingGates": contract.SCHEDULING_GATE,
    }
    under_mps, leased = mps.wanted(pod, settings), leases.wanted(pod, settings)
    annotations = annotations_of(pod)
    return (
        annotations.get(contract.INJECTED) == INJECTED_VERSION
        and not any(key in annotations for key in MACHINE_ANNOTATIONS if key != contract.INJECTED)
        and all(_holds(spec.get(field) or [], name) for field, name in held.items())
        and all(
            _preloads(container)
            and (mps.is_client(container) or not under_mps)
            and (leases.is_given(container) or not leased)
            for container in spec["containers"]
            if container["name"] == contract.KSERVE_CONTAINER
        )
    )


def _holds(entries: list[JsonObject], name: str) -> bool:
    return any(entry["name"] == name for entry in entries)


def _preloads(container: JsonObject) -> bool:
    return LIBRARY_PATH in str(_variable(container, contract.ENV_PRELOAD).get("value", ""))


def _problems(pod: JsonObject) -> list[str]:
    spec = pod["spec"]
    names = [container["name"] for container in spec["containers"]]
    problems = []
    if contract.KSERVE_CONTAINER not in names:
        problems.append(
            f"spec.containers are {', '.join(names)}; the one that uses the GPU must be named "
            f"{contract.KSERVE_CONTAINER}"
        )
    elif "valueFrom" in _variable(_served(spec), contract.ENV_PRELOAD):
        problems.append(
            f"{contract.ENV_PRELOAD} of {contract.KSERVE_CONTAINER} comes from a reference, which "
            "cannot be joined with the quota library; write it as a value"
        )
    if contract.KSERVE_CONTAINER in names:
        problems += mps.problems(pod, _served(spec))
    if spec.get("nodeName"):
        problems.append(
            f"spec.nodeName is {spec['nodeName']!r}; kserve-has chooses node and GPU; remove it"
        )
    return problems


def _served(spec: JsonObject) -> dict[str, Any]:
    containers: list[dict[str, Any]] = spec["containers"]
    return next(c for c in containers if c["name"] == contract.KSERVE_CONTAINER)


def _mark(pod: JsonObject) -> None:
    annotations = pod["metadata"]["annotations"]
    # A template may carry an allocation somebody copied from a pod; a pod is born without one.
    for key in MACHINE_ANNOTATIONS:
        annotations.pop(key, None)
    annotations[contract.INJECTED] = INJECTED_VERSION


def _run_under_quota(container: dict[str, Any]) -> None:
    without_whole_gpu(container)
    mount = {"name": contract.QUOTA_VOLUME, "mountPath": contract.QUOTA_DIR}
    _put(container.setdefault("volumeMounts", []), mount)
    environment = container.setdefault("env", [])
    preload = str(_variable(container, contract.ENV_PRELOAD).get("value", ""))
    others = [p for p in preload.translate(_SEPARATORS).split(":") if p and p != LIBRARY_PATH]
    for variable in (
        {"name": contract.ENV_PRELOAD, "value": ":".join([LIBRARY_PATH, *others])},
        {"name": contract.ENV_QUOTA_DIR, "value": contract.QUOTA_DIR},
        {
            "name": contract.ENV_VISIBLE_DEVICES,
            "valueFrom": {
                "fieldRef": {
                    "apiVersion": "v1",
                    "fieldPath": f"metadata.annotations['{contract.GPU_UUID}']",
                }
            },
        },
    ):
        _put(environment, variable)


def _hold_until_placed(spec: JsonObject) -> None:
    _put(spec.setdefault("schedulingGates", []), {"name": contract.SCHEDULING_GATE})
    spec.setdefault("nodeSelector", {})[contract.NODE_LABEL] = "true"
    tolerations = spec.setdefault("tolerations", [])
    for toleration in _TOLERATIONS:
        if toleration not in tolerations:
            tolerations.append(dict(toleration))


def _volume(settings: WebhookSettings) -> JsonObject:
    medium = {"medium": "Memory", "sizeLimit": settings.volume_size}
    return {"name": contract.QUOTA_VOLUME, "emptyDir": medium}


def _variable(container: JsonObject, name: str) -> JsonObject:
    entries: list[JsonObject] = container.get("env") or []
    # kubelet lets the last of several entries win.
    return next((entry for entry in reversed(entries) if entry["name"] == name), {})


def _put(entries: list[JsonObject], wanted: JsonObject) -> None:
    """Let a named list hold ``wanted`` exactly once: in its place, or at the end."""
    for index, entry in enumerate(entries):
        if entry["name"] == wanted["name"]:
            entries[index] = wanted
            entries[index + 1 :] = [e for e in entries[index + 1 :] if e["name"] != wanted["name"]]
            return
    entries.append(wanted)
