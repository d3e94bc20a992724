"""Throughput over the matrix of SM share and quota.

Beside nobody, and beside itself: a second pod does the same work in the rest of every window, so
that the GPU is as busy, as warm and as fast as in the row without a quota; what that one gets is a
row as well. Steps are counted over whole quota windows by the GPU's own stamps, one that lies in
several by parts. Eager batches are so large that the GPU takes at least twice as long as the
launching thread: else a process that waits for that would not be slower with half of the time.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.quota_clock import Clock
from benchmarks.gpu.quota_parts import Child, Pod, share_time
from benchmarks.gpu.quota_shares import LATE_S, counted
from benchmarks.gpu.quota_stats import BIN_S

SHARES = (1.0, 0.5, 0.25)
QUOTAS = (500, 250)
BATCH = {"graph": dict.fromkeys(("resnet50", "bert", "decoder"), 32)}
BATCH["eager"] = {"resnet50": 192, "bert": 192, "decoder": 64}
DEPTH = 2
STEPS = 20
LEAST_S, MOST_S = 1.0, 3.0
Rows = list[dict[str, Any]]


def area(
    pods: list[Pod], children: list[Child], clock: Clock, work: str, mode: str, scale: float
) -> Rows:
    """Return a row for each SM share and quota, limits changed in the running processes."""
    rows: Rows = []
    ask = {"do": "run", "work": work, "mode": mode, "depth": DEPTH, "bins": True}
    ask |= {"batch": BATCH[mode][work], "marks": True}
    whole = 0.0
    for share in SHARES:
        groups = pods[0].groups(share)
        ask["label"] = f"{share}"  # graphs are captured on the partition
        for pod in pods:
            pod.put(groups=groups)
        for child in children:
            child.ask(do="prepare", steps=[(work, mode, ask["batch"])], label=ask["label"])
        with clock.watched() as seen:
            base = _speeds(children[:1], ask, LEAST_S * scale)[0]
        whole = whole or base
        about = {"work": work, "mode": mode, "batch": ask["batch"], "sm": share}
        full = {"quota": 1.0, "beside": "nobody", "clock_mhz": seen.mean()}
        rows.append({**about, **full, **_of(base, base, whole)})
        if mode == "graph" and share < 1:  # the one captured on all SMs, launched under these
            moved = _speeds(children[:1], {**ask, "label": f"{SHARES[0]}"}, LEAST_S * scale)[0]
            rows.append({**about, **full, "beside": "captured on all", **_of(moved, base, whole)})
        for quota in QUOTAS:
            seconds = max(LEAST_S, min(MOST_S, STEPS / (base * quota / 1000))) * scale
            for row, speed in _quota_rows(pods, children, clock, ask, groups, quota, seconds):
                rows.append({**about, **row, **_of(speed, base, whole)})
    for pod in pods:
        pod.put()
    return rows


def _quota_rows(
    pods: list[Pod],
    children: list[Child],
    clock: Clock,
    ask: dict[str, Any],
    groups: int,
    quota: int,
    seconds: float,
) -> list[tuple[dict[str, Any], float]]:
    """Return rows at one quota with steps a second: alone, beside itself, and that one."""
    share_time(pods, quota, groups=groups)
    with clock.watched() as seen:
        [alone] = _speeds(children[:1], ask, seconds)
    first, second = _speeds(children, ask, seconds)
    pods[1].put(groups=groups)
    share = quota / 1000
    return [
        ({"quota": share, "beside": "nobody", "clock_mhz": seen.mean()}, alone),
        ({"quota": share, "beside": "itself"}, first),
        ({"quota": 1 - share, "beside": "itself"}, second),
    ]


def _speeds(children: list[Child], ask: dict[str, Any], seconds: float) -> list[float]:
    for child in children:
        child.start(**ask, seconds=seconds + LATE_S)
    counts = counted([child.finish(seconds + 60) for child in children])
    return [sum(steps) / (len(steps) * BIN_S) for steps in counts]


def _of(speed: float, base: float, whole: float) -> dict[str, float]:
    return {"per_second": speed, "of_same_sm": speed / base, "of_whole": speed / whole}
