"""Read what ``status`` shows from the API server."""

from __future__ import annotations

from pathlib import Path

from ..kube import KubeClient
from ..kube.resources import EVENTS, INFERENCE_SERVICES, PODS
from .fleet import Decision, Replica, Service, decisions_of, replica_of, service_of


async def read(
    kubeconfig: Path | None, namespace: str | None
) -> tuple[list[Service], list[Replica], list[Decision]]:
    """Return services by name, their replicas, and decisions, oldest first.

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
    services = [service for isvc in isvcs if (service := service_of(isvc))]
    replicas = [replica for pod in pods if (replica := replica_of(pod))]
    return sorted(services, key=lambda s: s.name), replicas, decisions_of(events)
