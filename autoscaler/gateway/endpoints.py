"""Which replicas may be sent requests, and with what weight: from Kubernetes objects to routes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from kserve_has import contract
from kserve_has.config.gateway import GatewaySettings
from kserve_has.kube import JsonObject, annotations_of
from kserve_has.units import parse_whole

from ..targets import Target, is_ready, is_terminating, pods_by_deployment, targets
from .envoy_config import Backend, Endpoint, Route


def routes(
    isvcs: Iterable[JsonObject], pods: Iterable[JsonObject], settings: GatewaySettings
) -> tuple[Route, ...]:
    """Return the routes of all opted-in services, sorted by host."""
    groups = pods_by_deployment(pods)
    found = []
    for isvc in isvcs:
        of_service = targets(isvc)
        if not of_service:
            continue
        first = of_service[0]
        backends = tuple(
            _backend(target, groups.get((target.namespace, target.deployment), ()))
            for target in of_service
        )
        host = contract.gateway_host(first.isvc, first.namespace)
        found.append(Route(host, _timeout_s(first, settings), backends))
    return tuple(sorted(found, key=lambda route: route.host))


def endpoint(pod: JsonObject) -> Endpoint | None:
    """Return the endpoint of a pod, None while it must not get requests.

    A pod enters when it is ready and the node agent has put its allocation in force, and leaves
    when it is told to end: it then finishes what it has.
    """
    notes = annotations_of(pod)
    address = (pod.get("status") or {}).get("podIP")
    in_force = contract.IN_FORCE in notes
    if not address or not in_force or not is_ready(pod) or is_terminating(pod):
        return None
    return Endpoint(address, _capacity(notes.get(contract.CAPACITY_RPS)), _port(pod))


def _backend(target: Target, pods: Sequence[JsonObject]) -> Backend:
    found = tuple(e for e in map(endpoint, pods) if e is not None)
    # A replica that serves nothing within the objective is a last resort, not a helper.
    useful = tuple(e for e in found if e.capacity_rps != 0)
    return Backend(target.name, target.traffic_percent, _concurrency(target), useful or found)


def _concurrency(target: Target) -> int:
    try:
        return parse_whole(target.annotations.get(contract.CONCURRENCY, "1"), 1, 64)
    except ValueError:
        # Refused at admission; one written around the webhook must not stop everybody's routes.
        return 1


def _timeout_s(target: Target, settings: GatewaySettings) -> float:
    own = target.predictor.get("timeout") or 0
    # Envoy refuses the routes of all services for one duration that it does not take.
    return float(min(own, contract.LONGEST_TIMEOUT_S)) if own > 0 else settings.request_timeout_s


def _capacity(text: str | None) -> float | None:
    try:
        found = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) and found >= 0 else None


def _port(pod: JsonObject) -> int:
    """Return the port of KServe's own Service: the first of the model's container."""
    for container in (pod.get("spec") or {}).get("containers") or ():
        if container.get("name") == contract.KSERVE_CONTAINER and container.get("ports"):
            return int(container["ports"][0]["containerPort"])
    return contract.KSERVE_HTTP_PORT
