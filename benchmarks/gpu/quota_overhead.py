"""What the library costs: short rounds in random order, compared with the bare process's own."""

from __future__ import annotations

import random
from typing import Any

from benchmarks.gpu.quota_parts import Child, Pod
from benchmarks.gpu.quota_stats import lost_percent

WARM_S = 0.02
ROUND_S = 0.1  # two whole quota windows
LIMITS = {"no limit": (1000, 0), "quota 100": (1000, 7), "quota 99": (990, 7)}  # permille, flags


def overhead(
    pod: Pod, limited: Child, others: dict[str, Child], work: str, mode: str, rounds: int
) -> dict[str, Any]:
    """Return throughput at batch 1 without the library, with it, and under limits.

    All processes have the same core; `limited` is the one in the pod. `bare again` is a second
    process like `bare`: what that seems to lose is what this method cannot tell.
    """
    order = [*others, *LIMITS]
    shuffle = random.Random(7).shuffle
    speeds: dict[str, list[float]] = {name: [] for name in order}
    ask = {"do": "run", "work": work, "mode": mode, "batch": 1, "seconds": ROUND_S, "warm": WARM_S}
    processes = [limited, *others.values()]
    for child in processes:
        child.start(do="prepare", steps=[(work, mode, 1)])
    for child in processes:
        child.finish(90)
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            if name in LIMITS:
                quota, flags = LIMITS[name]
                pod.wait(pod.set(quota=quota, flags=flags))
            got = others.get(name, limited).ask(**ask)
            speeds[name].append(got["per_second"])
    pod.wait(pod.set())
    bare = speeds["bare"]
    lost = {name: lost_percent(values, bare) for name, values in speeds.items() if name != "bare"}
    return {
        "work": work,
        "mode": mode,
        "rounds": rounds,
        "bare_per_second": sorted(bare)[rounds // 2],
        "lost_percent": lost,
        "in_one_process": {
            name: lost_percent(speeds[name], speeds["no limit"])
            for name in ("quota 100", "quota 99")
        },
    }
