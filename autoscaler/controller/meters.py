"""From Prometheus samples to every replica's counters at one instant. Pure.

GPU time comes from the quota runtime's sidecar in the pod, requests from the gateway's counters of
each endpoint. They are scraped at different moments: both are read at an instant that samples of
both enclose.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kserve_has import contract
from kserve_has.kube import JsonObject, annotations_of
from kserve_has.rapp.online import Observed

from ..observations import Meter, Owner
from .observe import World, epoch_of
from .samples import History

GPU_TIME: Final = "kserve_has_gpu_time_seconds_total"
ANSWERED: Final = "envoy_cluster_endpoint_rq_success"
BEGUN: Final = "envoy_cluster_endpoint_rq_total"
ACTIVE: Final = "envoy_cluster_endpoint_rq_active"
STATUS: Final = "envoy_cluster_upstream_rq_xx"
OBSERVED: Final = "kserve_has_observed_gpu_ms"
LAG_S: Final = 2.0  # one scrape, the gateway's flush and the scrape before
WINDOW_S: Final = 5

Row = Mapping[str, Any]


def counters_query() -> str:
    """Return one query for the newest samples of every replica's counters.

    The agent tells GPU time too, less often and with the service's name; refused requests (4xx)
    are known of the whole service only.
    """
    names = f"{GPU_TIME}|{ANSWERED}|{BEGUN}|{ACTIVE}|{STATUS}"
    return f'{{__name__=~"{names}", service="", envoy_response_code_class=~"4|"}}[{WINDOW_S}s]'


@dataclass(slots=True)
class _Counted:
    """Requests of one endpoint over all gateways."""

    begun: float = 0.0
    active: float = 0.0
    answered: dict[str, float] = field(default_factory=dict)

    def failed(self) -> float:
        """Return the requests that ended otherwise, those whose client hung up among them.

        Envoy counts the latter neither as success nor as error, and the GPU works on them all
        the same. What rounding leaves of the difference must not look like a counter that fell.
        """
        return max(0.0, round(self.begun - self.active - sum(self.answered.values()), 6))


def meters_of(rows: Iterable[Row], world: World, now: float) -> dict[Owner, Meter]:
    """Return the counters of every replica that both the runtime and a gateway know."""
    at_s = now - LAG_S
    gpu_s: dict[tuple[str, str], float] = {}
    counted: dict[tuple[str, str], _Counted] = {}
    refused: dict[str, float] = {}
    for row in rows:
        labels = row["metric"]
        name, cluster = labels["__name__"], labels.get("envoy_cluster_name", "")
        value = _at(row["values"], at_s, gauge=name == ACTIVE)
        if value is None:
            continue
        if name == GPU_TIME:
            gpu_s[labels.get("namespace", ""), labels.get("pod", "")] = value
        elif name == STATUS:
            refused[cluster] = refused.get(cluster, 0.0) + value
        else:
            key = (cluster, _host(labels.get("envoy_endpoint_address", "")))
            count = counted.setdefault(key, _Counted())
            if name == ANSWERED:
                count.answered[labels.get("instance", "")] = value
            elif name == BEGUN:
                count.begun += value
            else:
                count.active += value
    of_service: dict[str, list[float]] = {}
    for (cluster, _), count in counted.items():
        of_service.setdefault(cluster, []).append(sum(count.answered.values()))
    found = {}
    for service, pod in _pods(world):
        metadata = pod["metadata"]
        count_of = counted.get((service, (pod.get("status") or {}).get("podIP", "")))
        spent_s = gpu_s.get((metadata["namespace"], metadata["name"]))
        if count_of is None or spent_s is None:
            continue
        notes = annotations_of(pod)
        sources = tuple(sorted(count_of.answered))
        by_source = tuple(count_of.answered[source] for source in sources)
        found[service, metadata["name"]] = Meter(
            at_s,
            epoch_of(notes),
            sources,
            sum(by_source),
            count_of.failed(),
            spent_s,
            notes.get(contract.BURST) == "true",
            by_source,
            refused.get(service, 0.0),
            sum(of_service[service]),
            len(of_service[service]),
        )
    return found


def observed_before(rows: Iterable[Row]) -> list[Observed]:
    """Return what was observed in the past, oldest first, from the samples of our own metric.

    An observation is where a sample differs from the one before.
    """
    found: list[tuple[float, Observed]] = []
    for row in rows:
        labels, last = row["metric"], None
        for at_s, value in row["values"]:
            if value != last and math.isfinite(float(value)):
                place = (labels["served_model"], labels["gpu"], int(labels["batch"]))
                found.append((at_s, Observed(*place, int(labels["sm"]), float(value))))
            last = value
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _pods(world: World) -> Iterable[tuple[str, JsonObject]]:
    for service in world.observation.services:
        namespace = service.name.partition("/")[0]
        for replica in service.replicas:
            pod = world.pods.get((namespace, replica.name))
            if pod is not None:
                yield service.name, pod


def _at(values: Iterable[tuple[Any, Any]], at_s: float, *, gauge: bool) -> float | None:
    history = History()
    samples = ((float(at), float(value)) for at, value in values)
    history.extend(samples, WINDOW_S, gauge=gauge)
    known = bool(history.points) and history.points[-1][0] >= at_s
    value = history.at(at_s) if known else None
    return value if value is not None and math.isfinite(value) else None


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")
