"""Settings of the local stack."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import setting


@dataclass(frozen=True, slots=True)
class LocalStackSettings:
    """How large the local stack is and how patient it is with its processes."""

    nodes: int = setting(
        2, low=1, high=16, why="two nodes are the least that shows a choice of node"
    )
    gpus_per_node: int = setting(
        2, low=1, high=8, why="two GPUs a node are the least that shows a choice of GPU"
    )
    scrape_interval_s: int = setting(
        1, unit="s", low=1, high=60, why="the autoscaler decides every second"
    )
    ready_timeout_s: float = setting(
        90.0, unit="s", low=5, high=600, why="ten times what a start takes on two busy cores"
    )
    stop_grace_s: float = setting(
        5.0, unit="s", low=0, high=60, why="a component releases its Lease in one"
    )
    restart_backoff_s: float = setting(
        0.5, unit="s", low=0.05, high=10, why="a crash is over before the next scrape but one"
    )
    restart_backoff_max_s: float = setting(
        10.0, unit="s", low=0.5, high=300, why="a broken component must not fill the disk with logs"
    )
