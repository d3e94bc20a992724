"""Envoy's configuration as plain mappings: no file, no clock, no cluster.

One listener routes by Host header. Every target is a cluster of its own whose endpoints come
from a file of their own, so that a changed weight touches nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kserve_has import contract
from kserve_has.config.gateway import GatewaySettings

from .envoy_guards import overload, whole_requests

Resource = dict[str, Any]

_TYPES: Final = "type.googleapis.com/"
_HCM: Final = (
    _TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_ROUTER: Final = _TYPES + "envoy.extensions.filters.http.router.v3.Router"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_PREVIOUS_HOSTS: Final = (
    _TYPES + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
)
# Least loaded of four at random: more would find a dead replica, which is idle, every time a
# request looks for another one.
_CHOICES: Final = 4
_CHOICES_AGAIN: Final = 200
_HEAVIEST: Final = 1_000_000

# About 15 % apart around the objectives people set (20 ms..1 s), coarser outside.
LATENCY_BUCKETS_MS: Final = (
    *(1, 2, 3, 5, 7, 10, 13, 16, 20, 24, 28, 33, 39, 45, 52, 60, 70, 80, 92, 106, 122, 140),
    *(161, 185, 213, 245, 282, 324, 373, 429, 493, 567, 652, 750, 862, 1000),
    *(1300, 1700, 2200, 3000, 4000, 5500, 7500, 10000, 20000, 60000),
)
# What dashboards and the controller read; the rest of Envoy's 200 lines a cluster is left out.
CLUSTER_STATS: Final = (
    "upstream_rq_completed",
    "upstream_rq_active",
    "upstream_rq_pending_active",
    "upstream_rq_pending_overflow",
    "upstream_rq_pending_failure_eject",
    "upstream_rq_cancelled",
    "upstream_rq_tx_reset",
    "upstream_rq_retry",
    "upstream_rq_timeout",
    "upstream_rq_total",
    "upstream_rq_2xx",
    "upstream_rq_4xx",
    "upstream_rq_5xx",
    "upstream_rq_time",
    "upstream_cx_active",
    "upstream_cx_connect_fail",
    "upstream_cx_none_healthy",
    "membership_healthy",
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A replica that may be sent requests.

    Attributes:
        address: pod IP.
        capacity_rps: requests per second the autoscaler expects of it; None when not yet said.
        port: where its model's container listens.

    """

    address: str
    capacity_rps: float | None
    port: int = contract.KSERVE_HTTP_PORT


@dataclass(frozen=True, slots=True)
class Backend:
    """One Deployment behind a service.

    Attributes:
        name: Envoy's cluster name, the key of the service in metrics: ``namespace/name``.
        traffic_percent: share of the service's requests it gets.
        concurrency: requests a replica works on at once.
        endpoints: its replicas.

    """

    name: str
    traffic_percent: int
    concurrency: int
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """One Host header and where its requests go.

    Attributes:
        host: without port, ``service.namespace``.
        timeout_s: seconds after which a request is answered 504.
        backends: at least one; shares that do not add up to 100 are scaled.

    """

    host: str
    timeout_s: float
    backends: tuple[Backend, ...]


def endpoint_file(cluster: str) -> str:
    """Return the name of a cluster's endpoint file: flat, short and unmistakable."""
    digest = hashlib.sha256(cluster.encode()).hexdigest()[:8]
    return f"{cluster.replace('/', '_')[:200]}-{digest}.json"


def bootstrap(settings: GatewaySettings, xds_dir: str) -> Resource:
    """Return the configuration Envoy starts with; everything that changes is read from files."""
    return {
        "node": {"id": "kserve-has-gateway", "cluster": "kserve-has-gateway"},
        "admin": {"address": _address(settings.admin_address, contract.GATEWAY_ADMIN_PORT)},
        "dynamic_resources": {"cds_config": _from_file(f"{xds_dir}/cds.json")},
        "static_resources": {"listeners": [_listener(settings, xds_dir)]},
        "overload_manager": overload(settings),
        # A scrape sees histograms as of the last flush; Envoy's five seconds would blind us.
        "stats_flush_interval": f"{settings.stats_flush_s}s",
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": list(_kept_stats())}},
            "histogram_bucket_settings": [
                {
                    "match": {"suffix": ".upstream_rq_time"},
                    "buckets": [float(edge) for edge in LATENCY_BUCKETS_MS],
                }
            ],
        },
    }


def clusters(routes: Iterable[Route], settings: GatewaySettings, xds_dir: str) -> Resource:
    """Return the CDS answer: one cluster for each backend."""
    return _answer(
        "envoy.config.cluster.v3.Cluster",
        [_cluster(b, settings, xds_dir) for route in routes for b in route.backends],
    )


def route_table(routes: Sequence[Route], settings: GatewaySettings) -> Resource:
    """Return the RDS answer: one virtual host for each route."""
    table = {"name": "gateway", "virtual_hosts": [_virtual_host(r, settings) for r in routes]}
    return _answer("envoy.config.route.v3.RouteConfiguration", [table])


def endpoints(backend: Backend, settings: GatewaySettings) -> Resource:
    """Return the EDS answer of one backend: addresses with weights by capacity."""
    members = [
        {
            "endpoint": {"address": _address(e.address, e.port)},
            "load_balancing_weight": weight(e.capacity_rps, settings),
        }
        for e in sorted(backend.endpoints, key=lambda e: e.address)
    ]
    groups = [{"locality": {}, "lb_endpoints": members}] if members else []
    assignment = {"cluster_name": backend.name, "endpoints": groups}
    return _answer("envoy.config.endpoint.v3.ClusterLoadAssignment", [assignment])


def weight(capacity_rps: float | None, settings: GatewaySettings) -> int:
    """Return Envoy's whole-numbered weight of a capacity: 1 to a million.

    Envoy refuses endpoints whose weights add up to more than 32 bits hold.
    """
    return max(1, round(min((capacity_rps or 0.0) * settings.weight_per_rps, _HEAVIEST)))


def _answer(kind: str, resources: Sequence[Mapping[str, Any]]) -> Resource:
    return {"resources": [{"@type": _TYPES + kind, **resource} for resource in resources]}


def _address(host: str, port: int) -> Resource:
    return {"socket_address": {"address": host, "port_value": port}}


def _from_file(path: str) -> Resource:
    directory = path.rpartition("/")[0]
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": path, "watched_directory": {"path": directory}},
    }


def _kept_stats() -> Iterable[Resource]:
    # One name between the dots: leaves out the copies for "external" requests.
    pattern = rf"^cluster\.[^.]+\.({'|'.join(CLUSTER_STATS)})$"
    yield {"safe_regex": {"regex": pattern}}
    yield {"exact": "server.live"}
    yield {"exact": "server.memory_allocated"}
    yield {"exact": "http.gateway.no_route"}
    yield {"exact": "http.gateway.downstream_rq_active"}


def _listener(settings: GatewaySettings, xds_dir: str) -> Resource:
    manager = {
        "@type": _HCM,
        "stat_prefix": "gateway",
        "strip_any_host_port": True,
        "request_timeout": f"{settings.upload_timeout_s}s",
        "drain_timeout": f"{settings.drain_s}s",
        "rds": {
            "route_config_name": "gateway",
            "config_source": _from_file(f"{xds_dir}/rds.json"),
        },
        "http_filters": [
            whole_requests(settings),
            {"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}},
        ],
    }
    chain = {"filters": [{"name": "envoy.http_connection_manager", "typed_config": manager}]}
    return {
        "name": "gateway",
        "address": _address(settings.listen_address, contract.GATEWAY_PORT),
        "filter_chains": [chain],
    }


def _cluster(backend: Backend, settings: GatewaySettings, xds_dir: str) -> Resource:
    unlimited = 2**31
    return {
        "name": backend.name,
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": _from_file(f"{xds_dir}/eds/{endpoint_file(backend.name)}")
        },
        "connect_timeout": f"{settings.connect_timeout_s}s",
        "lb_policy": "LEAST_REQUEST",
        "least_request_lb_config": {"choice_count": _CHOICES},
        "outlier_detection": _ejection(settings),
        # Requests by replica, beside the GPU time each was metered: what a request takes.
        "track_cluster_stats": {"per_endpoint_stats": True},
        # Readiness decides who is an endpoint; guessing that all are well would override it.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": unlimited,
                    "max_requests": unlimited,
                    "max_retries": unlimited,
                    "max_pending_requests": settings.max_pending_requests,
                }
            ],
            "per_host_thresholds": [
                {"max_connections": backend.concurrency + settings.queue_per_replica}
            ],
        },
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": _TYPES + _HTTP_OPTIONS,
                "explicit_http_config": {"http_protocol_options": {}},
                "common_http_protocol_options": {"idle_timeout": f"{settings.upstream_idle_s}s"},
            }
        },
    }


def _ejection(settings: GatewaySettings) -> Resource:
    """Return when a replica that refuses connections is left out before Kubernetes notices.

    Only failures to connect count: an answer, even a bad one, is the service's own affair. The
    last replica is never left out.
    """
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": settings.eject_after_failures,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_local_origin_success_rate": 0,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "interval": "0.5s",
        "base_ejection_time": f"{settings.eject_s}s",
        "max_ejection_time": f"{settings.eject_s}s",
        "max_ejection_percent": 50,
    }


def _virtual_host(route: Route, settings: GatewaySettings) -> Resource:
    action: Resource = {
        **_destination(route.backends),
        "timeout": f"{route.timeout_s}s",
        "retry_policy": {
            # Nothing here can reach a replica twice: none of these had begun to work.
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": settings.retries,
            "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {"@type": _PREVIOUS_HOSTS},
                }
            ],
            # A dead replica has no request in flight and so is the first choice again and again.
            "host_selection_retry_max_attempts": _CHOICES_AGAIN,
        },
    }
    return {
        "name": route.host,
        "domains": [route.host],
        "routes": [{"match": {"prefix": "/"}, "route": action}],
    }


def _destination(backends: Sequence[Backend]) -> Resource:
    shared = [b for b in backends if b.traffic_percent > 0] or list(backends[:1])
    if len(shared) == 1:
        return {"cluster": shared[0].name}
    weights = [{"name": b.name, "weight": b.traffic_percent} for b in shared]
    return {"weighted_clusters": {"clusters": weights}}
