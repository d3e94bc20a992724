"""Throughput over the matrix of SM share and quota.

Under a quota, a second pod does the same work in the rest of every window, so that the GPU is as
busy, as warm and as fast as in the row without a quota; what it gets is a row as well. Steps are
counted over whole quota windows.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.quota_parts import AT_ONCE_NS, Child, Pod
from benchmarks.gpu.quota_shares import WINDOW_NS, counted
from benchmarks.gpu.quota_stats import BIN_S

SHARES = (1.0, 0.5, 0.25)
QUOTAS = (500, 250)
BATCH = {("resnet50", "eager"): 128}  # else bound by the host, not the GPU
DEPTH = 2


def area(
    pods: list[Pod], children: list[Child], work: str, mode: str, seconds: float
) -> list[dict[str, Any]]:
    """Return a row for each SM share and quota, limits changed in the running processes."""
    rows: list[dict[str, Any]] = []
    ask = {"do": "run", "work": work, "mode": mode, "depth": DEPTH, "bins": True}
    ask["batch"] = BATCH.get((work, mode), 32)
    whole = 0.0
    for share in SHARES:
        groups = pods[0].groups(share)
        ask["label"] = f"{share}"  # graphs are captured on the partition
        for pod in pods:
            pod.wait(pod.set(groups=groups))
        for child in children:
            child.ask(do="prepare", steps=[(work, mode, ask["batch"])], label=ask["label"])
        base = _speeds(children[:1], ask, seconds / 2)[0]
        whole = whole or base
        about = {"work": work, "mode": mode, "sm": share}
        rows.append({**about, "quota": 1.0, "beside": "nobody", **_of(base, base, whole)})
        for quota in QUOTAS:
            pods[0].wait(pods[0].set(quota=quota, groups=groups, phase=AT_ONCE_NS))
            alone = _speeds(children[:1], ask, seconds)
            phase = WINDOW_NS * quota // 1000
            pods[1].wait(pods[1].set(quota=1000 - quota, groups=groups, phase=phase))
            pair = _speeds(children, ask, seconds)
            for beside, granted, speed in (
                ("nobody", quota, alone[0]),
                ("itself", quota, pair[0]),
                ("itself", 1000 - quota, pair[1]),
            ):
                row = {**about, "quota": granted / 1000, "beside": beside}
                rows.append({**row, **_of(speed, base, whole)})
            pods[1].wait(pods[1].set(groups=groups))
    for pod in pods:
        pod.wait(pod.set())
    return rows


def _speeds(children: list[Child], ask: dict[str, Any], seconds: float) -> list[float]:
    for child in children:
        child.start(**ask, seconds=seconds + 0.6)
    counts = counted([child.finish(seconds + 60) for child in children])
    return [sum(steps) / (len(steps) * BIN_S) for steps in counts]


def _of(speed: float, base: float, whole: float) -> dict[str, float]:
    return {"per_second": speed, "of_same_sm": speed / base, "of_whole": speed / whole}
