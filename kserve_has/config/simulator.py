"""Settings of the simulator: everything of the world that is not the policy."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import setting


@dataclass(frozen=True)
class SimulatorSettings:
    """The world around the policy; every policy meets the same one."""

    tick_s: float = setting(
        0.2, unit="s", low=0.01, high=60, why="the live autoscaler decides five times a second"
    )
    scrape_interval_s: float = setting(
        1.0, unit="s", low=0.1, high=60, why="the interval of the Prometheus that we configure"
    )
    metric_delay_s: float = setting(
        0.5,
        unit="s",
        low=0,
        high=60,
        why="from the end of a scraped second to its use: the gateway's flush, scrape and query",
    )
    lost_samples: float = setting(
        0.001, low=0, high=0.9, why="one scrape in a thousand fails; the next one covers it"
    )
    resize_delay_s: float = setting(
        0.06,
        unit="s",
        low=0,
        high=10,
        why="median from decision to limit in force: patch, watch, agent, library",
    )
    endpoint_delay_s: float = setting(
        0.3, unit="s", low=0, high=10, why="from a pod's readiness to the gateway using it"
    )
    schedule_s: float = setting(
        0.8, unit="s", low=0, high=60, why="pod created, gate removed, bound and seen by the node"
    )
    container_s: float = setting(
        0.8, unit="s", low=0, high=600, why="containers created from an image already on the node"
    )
    import_s: float = setting(
        5.5, unit="s", low=0, high=600, why="interpreter and framework import"
    )
    context_s: float = setting(
        1.2, unit="s", low=0, high=60, why="CUDA context, libraries and green context"
    )
    weights_s: float = setting(
        1.0, unit="s", low=0, high=3600, why="weights of a small model from the node's disk"
    )
    warmup_s: float = setting(
        1.2, unit="s", low=0, high=600, why="first runs: kernel loading and autotuning"
    )
    probe_s: float = setting(
        1.0, unit="s", low=0, high=60, why="period of the readiness probe; half of it is waited"
    )
    stage_spread: float = setting(
        0.15, low=0, high=2, why="log-normal spread of every stage of a cold start"
    )
    grace_s: float = setting(
        1.0, unit="s", low=0, high=600, why="a pod told to go keeps its piece at least so long"
    )
    queue_limit: int = setting(
        10_000, low=1, high=10**9, why="requests waiting for one replica before one is refused"
    )
    timeout_s: float = setting(
        60.0, unit="s", low=0.01, high=3600, why="a request that waited longer fails"
    )
    truth_spread: float = setting(
        0.04,
        low=0,
        high=1,
        why="between measured SM counts the true time differs from any interpolation by so much: "
        "the leave-one-out error of the measurements",
    )
    sharing_cost: float = setting(
        0.03,
        low=0,
        high=1,
        why="a replica whose SM groups others use in turn is so much slower: colder caches",
    )

    @property
    def cold_start_s(self) -> float:
        """Mean seconds from the placement of a replica to its first use."""
        stages = self.schedule_s + self.container_s + self.import_s + self.context_s
        return stages + self.weights_s + self.warmup_s + self.probe_s / 2 + self.endpoint_delay_s
