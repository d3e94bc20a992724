"""Settings of the node agent."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import setting


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How `kserve-has-agent` writes limits, waits for them and guards the MPS daemon."""

    quota_window_ms: float = setting(
        50.0,
        unit="ms",
        low=1,
        high=1000,
        why="short against a latency objective of 100 ms and long against kernels of 1 ms",
    )
    max_outstanding_ms: float = setting(
        2.0,
        unit="ms",
        low=0.1,
        high=100,
        why="GPU time in flight beyond the budget: hides the launch latency, and a pod can "
        "overrun its turn by no more",
    )
    lease_slice_ms: float = setting(
        8.0,
        unit="ms",
        low=0.1,
        high=1000,
        why="a replica that others wait for keeps its SMs so long: a few times what is in flight, so "
        "that little is lost where turns meet, and a fraction of the quota window; half a window "
        "where those that wait spend all of their quota",
    )
    partitions_ahead: int = setting(
        4,
        low=0,
        high=8,
        why="a new SM partition takes milliseconds to make: those that a replica is likely to get next "
        "are made while nothing else is; two sizes up and two down cover most changes, and each takes "
        "5.5 MiB of the GPU in each process",
    )
    ack_poll_ms: float = setting(
        5.0,
        unit="ms",
        low=0.5,
        high=20,
        why="how late an acknowledgement may be seen; polled only while one is pending",
    )
    handover_s: float = setting(
        1.0,
        unit="s",
        low=0.05,
        high=60,
        why="SM groups are given on once their last holder has let go; kernels end within "
        "milliseconds, so a holder silent for a second hangs and must not starve the next one",
    )
    usage_stale_s: float = setting(
        2.0,
        unit="s",
        low=0.1,
        high=60,
        why="a process that has not looked at its limits for so long is dead or stopped: nobody "
        "waits for its acknowledgement",
    )
    quiesce_before_s: float = setting(
        0.5,
        unit="s",
        low=0,
        high=60,
        why="launches stop half a second before kubelet kills a pod: a process killed in "
        "mid-kernel takes its MPS neighbours with it, and requests may still finish until then",
    )
    accounting_s: float = setting(
        1.0, unit="s", low=0.05, high=60, why="usage is read once per scrape interval"
    )
    inventory_s: float = setting(
        30.0, unit="s", low=1, high=3600, why="how late the loss of a GPU may be noticed"
    )
    terminate_before_s: float = setting(
        0.25,
        unit="s",
        low=0,
        high=60,
        why="launches have stopped for a quarter of a second by then: what still runs on the GPU "
        "is taken off it through MPS, which took 10 ms, before kubelet kills the process",
    )
    mps_poll_ms: float = setting(
        100.0,
        unit="ms",
        low=10,
        high=10_000,
        why="how late a fault may be seen; costs two stat calls, the daemon is not asked",
    )
    mps_status_s: float = setting(
        30.0,
        unit="s",
        low=1,
        high=3600,
        why="the daemon is asked itself, in case its log says nothing; every question adds lines "
        "to its log, which nobody rotates",
    )
    mps_victims: str = setting(
        "end",
        choices=("end", "report"),
        why="until the last process that a fault has broken is gone, MPS admits no new one; "
        "report leaves that to the liveness probes of the models",
    )
    victim_grace_s: float = setting(
        1.0,
        unit="s",
        low=0,
        high=60,
        why="from SIGTERM to SIGKILL for a process whose CUDA calls all fail: time to answer the "
        "requests it holds with an error",
    )
    ungated_warning_ratio: float = setting(
        0.03,
        low=0.001,
        high=1,
        why="launches that no gate saw make the quota wrong by their share; three per cent is "
        "what the error bounds leave room for",
    )
    ungated_window_s: float = setting(
        30.0,
        unit="s",
        low=1,
        high=3600,
        why="over so many seconds the share is taken, so that one launch is not news",
    )
    event_interval_s: float = setting(
        300.0,
        unit="s",
        low=1,
        high=86_400,
        why="the same trouble of the same pod is told once in five minutes; metrics show it always",
    )
