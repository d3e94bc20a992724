"""The node as the control plane sees it: a Node object and a Lease that is kept alive."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from datetime import UTC, datetime
from typing import Final

from ... import contract
from ...kube import ApiError, JsonObject, KubeClient
from ...kube.resources import LEASES, NODES
from .status import timestamp

LEASE_NAMESPACE: Final = "kube-node-lease"
RENEW_S: Final = 10.0
LEASE_DURATION_S: Final = 40
_HEALTHY: Final = {
    "Ready": ("True", "KubeletReady"),
    "MemoryPressure": ("False", "KubeletHasSufficientMemory"),
    "DiskPressure": ("False", "KubeletHasNoDiskPressure"),
    "PIDPressure": ("False", "KubeletHasSufficientPID"),
}

log = logging.getLogger(__name__)


def node_object(name: str, address: str, now: float) -> JsonObject:
    """Return the Node as it registers: dedicated to GPU pods by label and taint."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                contract.HOSTNAME_LABEL: name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                contract.NODE_LABEL: "true",
            },
        },
        "spec": {"taints": [{"key": contract.NODE_TAINT, "value": "true", "effect": "NoSchedule"}]},
        "status": node_status(name, address, now),
    }


def node_status(name: str, address: str, now: float) -> JsonObject:
    """Return capacity, address and conditions of a healthy node.

    The capacity is that of a GPU server, not of the machine the stand-in runs on: pods ask for
    what they would need there, and here they only wait for an emulated GPU.
    """
    room = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "110"}
    return {
        "capacity": room,
        "allocatable": room,
        "addresses": [
            {"type": "InternalIP", "address": address},
            {"type": "Hostname", "address": name},
        ],
        "conditions": [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": "",
                "lastHeartbeatTime": timestamp(now),
                "lastTransitionTime": timestamp(now),
            }
            for kind, (status, reason) in _HEALTHY.items()
        ],
        "nodeInfo": {
            "machineID": name,
            "systemUUID": name,
            "bootID": name,
            "kernelVersion": os.uname().release,
            "osImage": "kserve-has local stack",
            "containerRuntimeVersion": "process://1",
            "kubeletVersion": "v1.36.0",
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": "amd64",
        },
    }


async def register(client: KubeClient, name: str, address: str) -> None:
    """Create the Node, or report it ready again when a former stand-in has created it.

    Raises:
        ApiError: the API server refused.
    """
    node = node_object(name, address, time.time())
    try:
        await client.create(NODES, node)
    except ApiError as error:
        if error.status != 409:
            raise
        await client.patch(
            NODES, name, {"status": node["status"]}, kind="strategic", subresource="status"
        )


async def keep_lease(client: KubeClient, name: str) -> None:
    """Renew the node's Lease until cancelled; failures are logged and tried again."""
    while True:
        try:
            await _renew(client, name)
        except ApiError as error:
            log.warning("%s", error)
        await asyncio.sleep(RENEW_S)


async def _renew(client: KubeClient, name: str) -> None:
    spec = {
        "holderIdentity": name,
        "leaseDurationSeconds": LEASE_DURATION_S,
        "renewTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
    }
    try:
        await client.patch(LEASES, name, {"spec": spec}, LEASE_NAMESPACE)
    except ApiError as error:
        if error.status != 404:
            raise
        lease = {
            "apiVersion": LEASES.api,
            "kind": "Lease",
            "metadata": {"name": name},
            "spec": spec,
        }
        await client.create(LEASES, lease, LEASE_NAMESPACE)
