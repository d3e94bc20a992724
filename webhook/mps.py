"""Sends pods to their node's MPS daemon. Pure.

A CUDA program looks for a daemon in one folder; its sockets come from the node. No percentage is
set: with one, the driver makes no green context (error 915), and partitions could not change. Pods
that asked for isolation get nothing, so that no fault of others reaches them. The folder is mounted
read-only and no other namespace is shared: connecting needs no more (docs/results/mps-faults.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kserve_has import contract
from kserve_has.config.webhook import WebhookSettings
from kserve_has.kube import JsonObject, annotations_of

PERCENTAGE: Final = "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"
EXCLUSIVE: Final = "exclusive"


def wanted(pod: JsonObject, settings: WebhookSettings) -> bool:
    """Whether the processes of a pod are to be clients of the daemon."""
    return bool(settings.mps_pipes) and not is_exclusive(pod)


def variable() -> JsonObject:
    """Return the variable that names the folder of the daemon's sockets."""
    return {"name": contract.ENV_MPS_PIPES, "value": contract.MPS_DIR}


def mount() -> JsonObject:
    """Return the mount of that folder."""
    return {"name": contract.MPS_VOLUME, "mountPath": contract.MPS_DIR, "readOnly": True}


def volume(settings: WebhookSettings) -> JsonObject:
    """Return the node's folder; made where it is missing, as a daemon may start later."""
    path = {"path": settings.mps_pipes, "type": "DirectoryOrCreate"}
    return {"name": contract.MPS_VOLUME, "hostPath": path}


def is_client(container: Mapping[str, Any]) -> bool:
    """Whether a container is sent to a daemon of ours already."""
    return variable() in (container.get("env") or ())


def problems(pod: JsonObject, container: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence per variable of the model's container that cannot be kept in a pod."""
    yield from _wrong(f"of {contract.KSERVE_CONTAINER}", container, is_exclusive(pod))


def service_problems(
    path: str, predictor: Mapping[str, Any], annotations: Mapping[str, str]
) -> Iterator[str]:
    """Yield the same for one predictor of a service, before any pod of it is refused."""
    exclusive = annotations.get(contract.ISOLATION) == EXCLUSIVE
    for index, container in enumerate(predictor.get("containers") or ()):
        if container.get("name", contract.KSERVE_CONTAINER) == contract.KSERVE_CONTAINER:
            yield from _wrong(f"in {path}.containers[{index}]", container, exclusive)
    # `model` and the older per-framework fields inline one container.
    for field, value in predictor.items():
        if isinstance(value, dict) and field != "workerSpec":
            yield from _wrong(f"in {path}.{field}", value, exclusive)


def _wrong(where: str, container: Mapping[str, Any], exclusive: bool) -> Iterator[str]:
    entries = container.get("env")
    names = {entry.get("name") for entry in entries} if isinstance(entries, list) else set()
    if PERCENTAGE in names:
        yield (
            f"{PERCENTAGE} {where} fixes the SM partition at start, and no green context can be "
            f"made beside it; remove it and write {contract.MAX_SM_PARTITION}"
        )
    if exclusive and contract.ENV_MPS_PIPES in names:
        yield (
            f"{contract.ENV_MPS_PIPES} {where} leads to an MPS daemon, but {contract.ISOLATION} is "
            f"{EXCLUSIVE}; remove one of the two"
        )


def is_exclusive(pod: JsonObject) -> bool:
    """Whether a pod asked to share no fault domain with others."""
    return annotations_of(pod).get(contract.ISOLATION) == EXCLUSIVE
