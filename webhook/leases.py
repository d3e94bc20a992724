"""Gives pods the folder of their node in which those that share SMs agree on turns. Pure.

Written by pods, so mounted for writing; who gets it may use the node's MPS daemon as well, which
trusts its clients no less. Pods that asked for isolation get nothing: they share a GPU only in the
driver's own time slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kserve_has import contract
from kserve_has.config.webhook import WebhookSettings
from kserve_has.kube import JsonObject

from .mps import is_exclusive


def wanted(pod: JsonObject, settings: WebhookSettings) -> bool:
    """Whether the processes of a pod take turns through leases."""
    return bool(settings.leases) and not is_exclusive(pod)


def variable() -> JsonObject:
    """Return the variable that names the folder."""
    return {"name": contract.ENV_LEASES, "value": contract.LEASES_DIR}


def mount() -> JsonObject:
    """Return the mount of the folder."""
    return {"name": contract.LEASES_VOLUME, "mountPath": contract.LEASES_DIR}


def volume(settings: WebhookSettings) -> JsonObject:
    """Return the node's folder; made where it is missing, as an agent may start later."""
    path = {"path": settings.leases, "type": "DirectoryOrCreate"}
    return {"name": contract.LEASES_VOLUME, "hostPath": path}


def is_given(container: Mapping[str, Any]) -> bool:
    """Whether a container has the folder already."""
    return variable() in (container.get("env") or ())
