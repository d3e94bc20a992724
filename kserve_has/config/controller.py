"""Settings of the controller: how often it looks, how it writes, and who leads."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import setting


@dataclass(frozen=True)
class ControllerSettings:
    """How `kserve-has-autoscaler` observes and applies; the policy has settings of its own."""

    tick_s: float = setting(
        0.2,
        unit="s",
        low=0.02,
        high=10,
        why="a new pod waits at most this long for its place; a decision takes milliseconds",
    )
    prometheus_poll_s: float = setting(
        1.0,
        unit="s",
        low=0.1,
        high=60,
        why="polling more often than Prometheus scrapes the gateway shows nothing new",
    )
    prometheus_timeout_s: int = setting(
        3,
        unit="s",
        low=1,
        high=60,
        why="a hanging Prometheus must not hide a fresh sample for longer than this",
    )
    arrivals_window_s: int = setting(
        70,
        unit="s",
        low=10,
        high=900,
        why="the policy looks back at most a minute; ten seconds more bridge a missed scrape",
    )
    latency_window_s: int = setting(
        10,
        unit="s",
        low=2,
        high=300,
        why="long enough for a tail percentile at tens of requests per second",
    )
    observe_every_s: float = setting(
        10.0,
        unit="s",
        low=1,
        high=3600,
        why="how often counters are looked at for observations of the latency model; an interval "
        "of ten seconds makes little of one scrape more or less",
    )
    observe_requests: int = setting(
        100,
        low=10,
        high=100_000,
        why="requests behind one observation: one more or less at its ends is then one per cent",
    )
    observe_longest_s: float = setting(
        300.0,
        unit="s",
        low=1,
        high=86400,
        why="an interval without enough requests by then is given up: clocks and loads drift",
    )
    observe_relearn_s: int = setting(
        3600,
        unit="s",
        low=0,
        high=86400,
        why="a new leader learns again what was observed in the last hour, the newest two hundred "
        "of each model; 0: nothing",
    )
    lease_duration_s: int = setting(
        4,
        unit="s",
        low=2,
        high=8,
        why="a killed leader's successor acts after this long, half a second later at most",
    )
    lease_renew_s: float = setting(
        0.5,
        unit="s",
        low=0.1,
        high=4,
        why="seven attempts to renew before the lease runs out",
    )
    write_attempts: int = setting(
        3,
        low=1,
        high=10,
        why="a busy API server answers the third time; what fails then is planned anew",
    )
    write_deadline_s: float = setting(
        1.5,
        unit="s",
        low=0.1,
        high=30,
        why="a plan older than this is better made again than carried on with",
    )
    event_interval_s: float = setting(
        30.0,
        unit="s",
        low=0,
        high=3600,
        why="one Event per service and reason in this time; more only counts up in the next one",
    )
    event_patience_s: float = setting(
        10.0,
        unit="s",
        low=0,
        high=600,
        why="a want that lasts is worth a warning; a service just born has no figures yet",
    )
    default_max_replicas: int = setting(
        8,
        low=1,
        high=1000,
        why="bounds a service whose predictor names no maxReplicas",
    )
    default_memory_bytes: int = setting(
        4 * 2**30,
        unit="bytes",
        low=2**20,
        high=2**41,
        why="memory cap of replicas whose service names none; small models need about 2 GiB",
    )
    latency_dtype: str = setting(
        "fp32", choices=("fp32", "bf16"), why="number format of the measurements decisions rest on"
    )
    latency_mode: str = setting(
        "eager", choices=("eager", "graph"), why="how the measured networks were launched"
    )
    latency_profiles: str = setting(
        "",
        why="folder of profiles made by `kserve-has profile`; empty: the packaged H200 table",
    )
