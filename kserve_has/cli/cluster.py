"""Read what ``status`` shows from the API server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import AnnotationError
from ..kube import ApiError, KubeClient
from ..kube.objects import JsonObject
from ..kube.resources import EVENTS, INFERENCE_SERVICES, NODES, PODS
from .fleet import (
    Decision,
    Replica,
    Service,
    decisions_of,
    replica_of,
    service_of,
    sm_counts_of,
)


@dataclass(frozen=True, slots=True)
class Found:
    """What there is.

    Attributes:
        services: by name.
        unreadable: (name, what is wrong) of services whose objective cannot be read.
        replicas: their pods.
        decisions: oldest first.
        sm_counts: GPU UUID -> its SMs; empty where the user may not list nodes.

    """

    services: list[Service]
    unreadable: list[tuple[str, str]]
    replicas: list[Replica]
    decisions: list[Decision]
    sm_counts: dict[str, int]


async def read(kubeconfig: Path | None, namespace: str | None) -> Found:
    """Return what there is in one namespace or in all.

    Args:
        kubeconfig: credentials, None for the pod's ServiceAccount.
        namespace: only this one, None for all.

    Raises:
        ClusterError: the API server refuses or cannot be reached.

    """
    async with KubeClient(kubeconfig) as client:
        isvcs, _ = await client.list(INFERENCE_SERVICES, namespace)
        pods, _ = await client.list(PODS, namespace)
        events, _ = await client.list(EVENTS, namespace)
        nodes = await _nodes(client)
    services, unreadable = _services(isvcs)
    replicas = [replica for pod in pods if (replica := replica_of(pod))]
    return Found(services, unreadable, replicas, decisions_of(events), sm_counts_of(nodes))


def _services(isvcs: list[JsonObject]) -> tuple[list[Service], list[tuple[str, str]]]:
    services, unreadable = [], []
    for isvc in isvcs:
        try:
            service = service_of(isvc)
        except AnnotationError as error:
            name = f"{isvc['metadata']['namespace']}/{isvc['metadata']['name']}"
            unreadable.append((name, str(error).removeprefix(f"{name}: ")))
            continue
        if service is not None:
            services.append(service)
    return sorted(services, key=lambda service: service.name), sorted(unreadable)


async def _nodes(client: KubeClient) -> list[JsonObject]:
    try:
        return (await client.list(NODES))[0]
    except ApiError as error:
        if error.status != 403:
            raise
        return []
