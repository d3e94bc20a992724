"""Settings of the gateway: how Envoy balances, waits, retries and measures."""

from __future__ import annotations

from dataclasses import dataclass

from ..contract import LONGEST_TIMEOUT_S
from .fields import setting


@dataclass(frozen=True)
class GatewaySettings:
    """What `kserve-has-gateway` writes into Envoy's configuration."""

    listen_address: str = setting(
        "0.0.0.0", why="clients come from other pods; the local stack has a network of its own"
    )
    admin_address: str = setting(
        "127.0.0.1", why="the admin page can stop Envoy: only what shares its network may ask"
    )
    request_timeout_s: float = setting(
        60.0,
        unit="s",
        low=0.1,
        high=LONGEST_TIMEOUT_S,
        why="an answer later than a minute helps nobody; spec.predictor.timeout overrides it",
    )
    upload_timeout_s: float = setting(
        30.0,
        unit="s",
        low=0.1,
        high=LONGEST_TIMEOUT_S,
        why="a request whose last byte has not come by then is answered 408: its client is stuck",
    )
    max_request_bytes: int = setting(
        32 * 2**20,
        unit="bytes",
        low=1024,
        high=2**31,
        why="the gateway holds a request until its last byte is there, so that a slow upload keeps "
        "no replica waiting; a larger one is answered 413. 50 images of 224x224 in float32",
    )
    max_heap_bytes: int = setting(
        640 * 2**20,
        unit="bytes",
        low=64 * 2**20,
        high=2**40,
        why="from here on new requests are answered 503, not all killed with Envoy; the rest of "
        "the GiB in the manifest is for those whose upload goes on",
    )
    connect_timeout_s: float = setting(
        0.5,
        unit="s",
        low=0.01,
        high=10,
        why="inside a cluster a replica that has not accepted by then is gone; another is tried",
    )
    upstream_idle_s: float = setting(
        4.0,
        unit="s",
        low=0.1,
        high=600,
        why="below the five seconds after which KServe's server drops idle connections, so that "
        "no request meets a connection just being closed",
    )
    max_pending_requests: int = setting(
        100_000,
        low=1,
        high=10**9,
        why="a burst waits for a replica that is about to grow instead of failing at once",
    )
    queue_per_replica: int = setting(
        1,
        low=0,
        high=64,
        why="one request waits at the replica, so that its GPU never waits for the network; "
        "further ones wait in the gateway",
    )
    retries: int = setting(
        2, low=0, high=10, why="only for requests no replica has begun to work on: a pod that died"
    )
    eject_after_failures: int = setting(
        2,
        low=1,
        high=100,
        why="two refused connections in a row are no accident; each costs its request a detour",
    )
    eject_s: float = setting(
        1.0,
        unit="s",
        low=0.1,
        high=60,
        why="as long as Kubernetes needs to take a dead pod out of the endpoints",
    )
    weight_per_rps: float = setting(
        10.0,
        low=0.1,
        high=1000,
        why="weights are whole numbers; a tenth of a request per second is fine enough",
    )
    stats_flush_s: float = setting(
        0.2,
        unit="s",
        low=0.01,
        high=10,
        why="how stale a scraped latency may be: short against the scrape interval of a second",
    )
    drain_s: int = setting(
        5, unit="s", low=1, high=600, why="how long a replaced listener may finish its requests"
    )
