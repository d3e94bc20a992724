"""Who gets how much: two pods at once, and one pod over the matrix of SM share and quota.

The oracle is work of known length: what a process alone on the whole GPU does in a second is a
share of one. It reads none of the library's counters.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.gpu.quota_parts import AT_ONCE_NS, Answer, Child, Pod, difference

WINDOW_NS = 50_000_000
RATIOS = (100, 300, 500)
SHARES = (1.0, 0.5, 0.25)
LEAD_S = 0.5  # both are at work by then
NETWORKS = ("resnet50", "bert", "decoder")
GEMMS = 2  # products of 4096 x 4096 a step, about 0.4 ms
DEPTH = 4  # steps in flight: alone, the GPU has no gaps, so its speed is known work per GPU time


def alone(child: Child, seconds: float, mode: str) -> float:
    """Return steps a second of a process that has the GPU to itself."""
    got = child.ask(do="run", work="gemm", batch=GEMMS, mode=mode, seconds=seconds, depth=DEPTH)
    return float(got["per_second"])


def together(children: list[Child], seconds: float, mode: str, speed: float) -> list[Answer]:
    """Run processes side by side; return the share of each, over all and second by second."""
    for child in children:
        child.start(
            do="run",
            work="gemm",
            batch=GEMMS,
            mode=mode,
            seconds=seconds + LEAD_S,
            depth=DEPTH,
            stamps=True,
        )
    answers = [child.finish(seconds + 30) for child in children]
    begin = max(answer["began"] for answer in answers) + LEAD_S / 2
    end = min(answer["ends"][-1] for answer in answers) - LEAD_S / 4
    results = []
    for answer in answers:
        inside = [at - begin for at in answer["ends"] if begin <= at < end]
        whole = int(end - begin)
        seconds_each = [sum(s <= at < s + 1 for at in inside) / speed for s in range(whole)]
        results.append(
            {
                "share": len(inside) / (end - begin) / speed,
                "each_second": seconds_each,
                "p99_ms": answer["p99_ms"],
            }
        )
    return results


def errors(results: list[Answer], granted: list[float]) -> Answer:
    """Return how far shares were from what was granted, in points."""
    rows = list(zip(results, granted, strict=True))
    return {
        "granted": granted,
        "got": [r["share"] for r in results],
        "error_all_points": max(abs(r["share"] - g) * 100 for r, g in rows),
        "error_1s_points": max(
            (abs(s - g) * 100 for r, g in rows for s in r["each_second"]), default=None
        ),
        "above_1s_points": max(
            ((s - g) * 100 for r, g in rows for s in r["each_second"]), default=None
        ),
        "each_second": [r["each_second"] for r in results],
    }


def time_shares(pods: list[Pod], children: list[Child], seconds: float) -> list[dict[str, Any]]:
    """Two pods on the same SMs at 10/90, 30/70 and 50/50, in turns, eager and as a graph."""
    rows = []
    for mode in ("eager", "graph"):
        for pod in pods:
            pod.wait(pod.set())
        speed = alone(children[0], 1.0, mode)
        for first in RATIOS:
            granted = [first, 1000 - first]
            pods[0].wait(pods[0].set(quota=first, phase=AT_ONCE_NS))
            pods[1].wait(pods[1].set(quota=1000 - first, phase=WINDOW_NS * first // 1000))
            before = [pod.counters() for pod in pods]
            results = together(children, seconds, mode, speed)
            after = [pod.counters() for pod in pods]
            counted = [
                difference(a, b, "gpu_time_ns", "ungated_launches", "overrun_ns", "throttled_ns")
                for a, b in zip(after, before, strict=True)
            ]
            rows.append(
                {
                    "mode": mode,
                    "alone_per_second": speed,
                    **errors(results, [g / 1000 for g in granted]),
                    "library": counted,
                }
            )
    return rows


def plain_shares(
    children: list[Child], seconds: float, wanted: list[float], whole: Child | None = None
) -> dict[str, Any]:
    """Two processes with no limits of ours: what the driver alone gives them.

    `whole`: a process that may use all SMs, where the others may not.
    """
    speed = alone(whole or children[0], 1.0, "eager")
    results = together(children, seconds, "eager", speed)
    return {"alone_per_second": speed, **errors(results, wanted)}


def alone_share(pod: Pod, child: Child, seconds: float) -> list[dict[str, Any]]:
    """One pod and nobody else, at some quotas."""
    rows = []
    for mode in ("eager", "graph"):
        pod.wait(pod.set())
        speed = alone(child, 1.0, mode)
        for quota in (100, 300, 900):
            pod.wait(pod.set(quota=quota))
            [result] = together([child], seconds, mode, speed)
            rows.append({"mode": mode, **errors([result], [quota / 1000])})
    pod.wait(pod.set())
    return rows


def area(pod: Pod, child: Child, seconds: float, batch: int) -> list[dict[str, Any]]:
    """Throughput at each SM share and quota, changed in the running process."""
    rows = []
    for work in NETWORKS:
        for mode in ("eager", "graph"):
            whole = 0.0
            for share in SHARES if mode == "eager" else (1.0, 0.5):
                base = 0.0
                for quota in (1000, 500, 250) if mode == "eager" else (1000, 500):
                    took = pod.wait(pod.set(quota=quota, groups=pod.groups(share)))
                    time.sleep(0.06)
                    got = child.ask(
                        do="run", work=work, mode=mode, batch=batch, seconds=seconds, patience=20
                    )
                    base, whole = base or got["per_second"], whole or got["per_second"]
                    rows.append(
                        {
                            "work": work,
                            "mode": mode,
                            "sm": share,
                            "quota": quota / 1000,
                            "in_force_ms": took,
                            "per_second": got["per_second"],
                            "of_same_sm": got["per_second"] / base,
                            "of_whole": got["per_second"] / whole,
                            "digest": got["digest"],
                            "p50_ms": got["p50_ms"],
                        }
                    )
    pod.wait(pod.set())
    return rows


def time_law_error(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return per workload how far throughput is from proportional to the quota, in percent."""
    worst: dict[str, float] = {}
    for row in rows:
        off = abs(row["of_same_sm"] / row["quota"] - 1) * 100
        key = f"{row['work']}/{row['mode']}"
        worst[key] = max(worst.get(key, 0.0), off)
    return worst


def median(values: list[float]) -> float | None:
    """Return the median, None of nothing."""
    return statistics.median(values) if values else None
