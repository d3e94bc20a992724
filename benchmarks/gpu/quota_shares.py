"""Who gets how much of the time: two pods at once, one pod alone, and what others do there.

The oracle is work of known length: what a process alone on the whole GPU does in a second is a
share of one. It reads none of the library's counters. The work is arithmetic that fills every SM and
is far from the GPU's power limit. Matrix products are not: beside them the clock was read 2 to 5 per
cent lower (docs/results/quota-h200.md), which an oracle made of them takes for lost time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.gpu.quota_clock import Clock
from benchmarks.gpu.quota_parts import (
    CHECK,
    Answer,
    Child,
    PhaseError,
    Pod,
    difference,
    share_time,
)
from benchmarks.gpu.quota_stats import BIN_S, spread, window_errors

RATIOS = (100, 300, 500)
LEAD_BINS = 1 if CHECK else 10  # half a second: both are at work by then
LATE_S = 2.0 if CHECK else 0.6  # longer than asked for, for what is cut off at both ends
OPERATIONS = 2  # a step, about 0.5 ms
DEPTH = 4  # steps in flight: alone, the GPU has no gaps, so its speed is known work per GPU time
COUNTERS = (
    "gpu_time_ns",
    "ungated_launches",
    "overrun_ns",
    "throttled_ns",
    "leases",
    "lease_wait_ns",
    "borrowed_ns",
)


def steps(mode: str, seconds: float) -> dict[str, Any]:
    """Return the request for work of known length."""
    work = {"do": "run", "work": "quiet", "batch": OPERATIONS, "mode": mode, "depth": DEPTH}
    return {**work, "seconds": seconds, "bins": True}


def counted(answers: list[Answer]) -> list[list[int]]:
    """Return steps by quota window, over the windows in which every process was at work."""
    begin = max(answer["bins"]["first"] for answer in answers) + LEAD_BINS
    end = min(a["bins"]["first"] + len(a["bins"]["counts"]) for a in answers) - 2
    if end <= begin:
        raise PhaseError("the processes were not at work together for one whole window")
    return [a["bins"]["counts"][begin - a["bins"]["first"] :][: end - begin] for a in answers]


def alone(child: Child, seconds: float, mode: str) -> float:
    """Return steps a second of a process that has the GPU to itself."""
    [counts] = counted([child.ask(**steps(mode, seconds + LATE_S))])
    return sum(counts) / (len(counts) * BIN_S)


def together(children: list[Child], seconds: float, mode: str) -> list[list[int]]:
    """Run processes side by side; return their steps by quota window."""
    for child in children:
        child.start(**steps(mode, seconds + LATE_S))
    return counted([child.finish(seconds + 30) for child in children])


def errors(counts: list[list[int]], speeds: list[float], granted: list[float]) -> Answer:
    """Return how far shares were from what was granted, in points."""
    rows = list(zip(counts, speeds, granted, strict=True))
    got = [sum(steps) / (len(steps) * BIN_S * speed) for steps, speed, _ in rows]
    windows = {
        f"{seconds} s": spread([e for row in rows for e in window_errors(*row, seconds)])
        for seconds in (1, 10)
    }
    per_s = round(1 / BIN_S)
    return {
        "granted": granted,
        "got": got,
        "of_work_done": [share / (sum(got) or 1) for share in got],
        "error_all_points": max(abs(g - w) * 100 for g, w in zip(got, granted, strict=True)),
        "windows": windows,
        "each_second": [
            [round(sum(steps[i : i + per_s]) / speed, 4) for i in range(0, len(steps), per_s)]
            for steps, speed, _ in rows
        ],
    }


def time_shares(
    pods: list[Pod],
    children: list[Child],
    mode: str,
    seconds: float,
    settle: float = 1.0,
    share: Callable[[list[Pod], int], None] = share_time,
) -> list[dict[str, Any]]:
    """Two pods on the same SMs at 10/90, 30/70 and 50/50."""

    def speeds() -> list[float]:
        for pod in pods:
            pod.wait(pod.set())
        return [alone(child, settle, mode) for child in children]

    rows = []
    before = speeds()
    # The control: without limits the two together do what one alone does.
    pair = together(children, settle, mode)
    control = sum(sum(c) / (len(c) * BIN_S * v) for c, v in zip(pair, before, strict=True))
    for first in RATIOS:
        share(pods, first)
        then = [pod.counters() for pod in pods]
        counts = together(children, seconds, mode)
        now = [pod.counters() for pod in pods]
        after = speeds()
        whole = [(a + b) / 2 for a, b in zip(before, after, strict=True)]
        rows.append(
            {
                "mode": mode,
                "alone_per_second": [before, after],
                "both without limits": control,
                **errors(counts, whole, [first / 1000, 1 - first / 1000]),
                "library": [difference(a, b, *COUNTERS) for a, b in zip(now, then, strict=True)],
            }
        )
        before = after
    return rows


def plain_shares(
    children: list[Child],
    mode: str,
    seconds: float,
    wanted: list[float],
    whole: Child | None = None,
) -> dict[str, Any]:
    """Two processes with no limits of ours: what the driver or another library gives them.

    `whole`: a process that may use all of the GPU, where the others may not.
    """
    speed = alone(whole or children[0], 1.0, mode)
    counts = together(children, seconds, mode)
    return {"mode": mode, "alone_per_second": speed, **errors(counts, [speed, speed], wanted)}


def alone_share(
    pod: Pod, child: Child, clock: Clock, mode: str, seconds: float
) -> list[dict[str, Any]]:
    """One pod and nobody else, at some quotas; and the clock of the SMs meanwhile."""
    rows = []
    for quota in (100, 300, 900):
        pod.wait(pod.set())
        with clock.watched() as full:
            speed = alone(child, 1.0, mode)
        pod.wait(pod.set(quota=quota))
        with clock.watched() as rested:
            counts = together([child], seconds, mode)
        row: dict[str, Any] = {"mode": mode, **errors(counts, [speed], [quota / 1000])}
        row["clock_mhz"] = [full.mean(), rested.mean()]
        if all(row["clock_mhz"]):
            row["got_at_one_clock"] = row["got"][0] * full.mean() / rested.mean()
        rows.append(row)
    pod.wait(pod.set())
    return rows
