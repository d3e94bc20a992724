"""Who gets how much of the time: two pods at once, one pod alone, and what others do there.

The oracle is work of known length: what a process alone on the whole GPU does in a second is a
share of one. The GPU itself writes down when each launch ran; the library's counters are not read.
The work fills every SM and is far from the power limit, so the clock stays; it is read beside every
row. Matrix products are not: beside them it was 2 to 5 per cent lower, which looks like lost time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
from benchmarks.gpu.quota_timeline import losses

RATIOS = (100, 300, 500)
LEAD_BINS = 1 if CHECK else 10  # half a second: both are at work by then
LATE_S = 2.0 if CHECK else 0.6  # longer than asked for, for what is cut off at both ends
LAUNCHES = 4  # a step, a quarter of a millisecond each
DEPTH = 10  # steps in flight where no lease says less: a host that stalls for 10 ms loses nothing
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
    work = {"do": "run", "work": "quiet", "batch": LAUNCHES, "mode": mode, "depth": DEPTH}
    return {**work, "seconds": seconds, "bins": True}


def counted(answers: list[Answer]) -> list[list[float]]:
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


def side_by_side(
    children: list[Child], seconds: float, mode: str, save: list[Path] | None = None
) -> list[Answer]:
    """Run processes at once; return their answers. `save`: where each puts its stamps."""
    for index, child in enumerate(children):
        more = {"save": str(save[index])} if save else {}
        child.start(**steps(mode, seconds + LATE_S), **more)
    return [child.finish(seconds + 30) for child in children]


def together(children: list[Child], seconds: float, mode: str) -> list[list[float]]:
    """Run processes side by side; return their steps by quota window."""
    return counted(side_by_side(children, seconds, mode))


def errors(counts: list[list[float]], speeds: list[float], granted: list[float]) -> Answer:
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


@dataclass(frozen=True)
class Pair:
    """Two pods and their processes, and what watches the GPU."""

    pods: list[Pod]
    children: list[Child]
    clock: Clock

    def lift(self) -> None:
        """Take all limits away."""
        for pod in self.pods:
            pod.put()

    def alone(self, mode: str, seconds: float) -> list[Answer]:
        """Return what each process does alone, and how busy the GPU is with it."""
        self.lift()
        found = []
        for child in self.children:
            with self.clock.watched() as seen:
                answer = child.ask(**steps(mode, seconds + LATE_S))
            [counts] = counted([answer])
            speed = sum(counts) / (len(counts) * BIN_S)
            found.append({"per_second": speed, **answer["gpu"], **seen.facts()})
        return found


def time_shares(
    pair: Pair,
    mode: str,
    seconds: float,
    settle: float = 1.0,
    share: Callable[[list[Pod], int], None] = share_time,
) -> list[dict[str, Any]]:
    """Two pods on the same SMs at 10/90, 30/70 and 50/50; alone before and after each."""
    before = pair.alone(mode, settle)
    # The control: without limits the two together do what one alone does.
    counts = together(pair.children, settle, mode)
    speeds = [one["per_second"] for one in before]
    control = sum(sum(c) / (len(c) * BIN_S * v) for c, v in zip(counts, speeds, strict=True))
    rows = []
    for first in RATIOS:
        row = _share_row(pair, mode, seconds, first, share)
        after = pair.alone(mode, settle)
        both = [[one["per_second"] for one in found] for found in (before, after)]
        whole = [sum(speeds) / 2 for speeds in zip(*both, strict=True)]
        about = {"mode": mode, "alone_per_second": both, "both without limits": control}
        granted = [first / 1000, 1 - first / 1000]
        row |= {**about, "alone": [before, after], **errors(row.pop("counts"), whole, granted)}
        stamps = row.pop("stamps")
        lengths = [one.get("launch_ms", 0.0) for one in before]
        if all(lengths) and all(map(len, stamps)):
            row["where time went"] = losses(stamps, lengths)
        rows.append(row)
        before = after
    return rows


def _share_row(
    pair: Pair, mode: str, seconds: float, first: int, share: Callable[[list[Pod], int], None]
) -> dict[str, Any]:
    """Let both work at one ratio; return the work by quota window and what was seen meanwhile."""
    share(pair.pods, first)
    then = [pod.counters() for pod in pair.pods]
    files = [pod.folder / "stamps.npy" for pod in pair.pods]
    with pair.clock.watched() as seen:
        answers = side_by_side(pair.children, seconds, mode, files)
    now = [pod.counters() for pod in pair.pods]
    return {
        "counts": counted(answers),
        "host": [answer["host"] for answer in answers],
        "stamps": [np.load(file) for file in files],
        "clock": seen.facts(),
        "library": [difference(a, b, *COUNTERS) for a, b in zip(now, then, strict=True)],
    }


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
        pod.put()
        with clock.watched() as full:
            speed = alone(child, 1.0, mode)
        pod.put(quota=quota)
        with clock.watched() as rested:
            counts = together([child], seconds, mode)
        row: dict[str, Any] = {"mode": mode, **errors(counts, [speed], [quota / 1000])}
        row["clock_mhz"] = [full.mean(), rested.mean()]
        if all(row["clock_mhz"]):
            row["got_at_one_clock"] = row["got"][0] * full.mean() / rested.mean()
        rows.append(row)
    pod.put()
    return rows
