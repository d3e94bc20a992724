"""What the library costs: short rounds in random order, several processes of each kind.

Two processes that are alike differ by up to a percent, since their memory lies elsewhere; so each
kind has several, and the interval covers that. A busy host slows single steps and whole rounds:
beside throughput stand that of undisturbed rounds, the upper quartile of each process, and the time
of an undisturbed step, the tenth percentile, which does not see what a quota withholds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from benchmarks.gpu.quota_parts import Child, Pod
from benchmarks.gpu.quota_stats import (
    Figures,
    Speeds,
    lost_percent,
    lost_undisturbed_percent,
    spread_percent,
)

WARM_S = 0.02
ROUND_S = 0.1  # two whole quota windows
LIMITS = {"no limit": (1000, 0), "quota 100": (1000, 7), "quota 99": (990, 7)}  # permille, flags
Lost = Callable[[Speeds, Speeds], Figures]
MEASURES: dict[str, tuple[str, Lost]] = {  # what was timed, and what becomes of it
    "throughput": ("per_second", lost_percent),
    "undisturbed rounds": ("per_second", lost_undisturbed_percent),
    "undisturbed step": ("p10_ms", lost_percent),
}


def rounds_of(
    kinds: dict[str, list[Child]], work: str, mode: str, rounds: int, pods: list[Pod]
) -> dict[str, dict[str, Speeds]]:
    """Return speeds by what is timed, kind and process, round by round; all in random order in each.

    `pods`: of the processes that are every kind in ``LIMITS``, in their order.
    """
    processes = list({id(child): child for some in kinds.values() for child in some}.values())
    for child in processes:
        child.start(do="prepare", steps=[(work, mode, 1)])
    for child in processes:
        child.finish(90)
    order = [(kind, number) for kind, some in kinds.items() for number in range(len(some))]
    shuffle = random.Random(7).shuffle
    speeds: dict[str, dict[str, Speeds]] = {
        timed: {kind: [[] for _ in some] for kind, some in kinds.items()}
        for timed in ("per_second", "p10_ms")
    }
    ask = {"do": "run", "work": work, "mode": mode, "batch": 1, "seconds": ROUND_S, "warm": WARM_S}
    for _ in range(rounds):
        shuffle(order)
        for kind, number in order:
            if kind in LIMITS:
                quota, flags = LIMITS[kind]
                pods[number].put(quota=quota, flags=flags)
            got = kinds[kind][number].ask(**ask)
            speeds["per_second"][kind][number].append(got["per_second"])
            speeds["p10_ms"][kind][number].append(1e3 / got["p10_ms"])
    for pod in pods:
        pod.put()
    return speeds


def overhead(
    kinds: dict[str, list[Child]], work: str, mode: str, rounds: int, pods: list[Pod]
) -> dict[str, Any]:
    """Return what each kind loses against ``bare`` at batch 1, and what limits cost in themselves.

    ``no limit`` is the library in a pod without limits.
    """
    speeds = rounds_of(kinds, work, mode, rounds, pods)
    result: dict[str, Any] = {"work": work, "mode": mode, "rounds": rounds}
    for measure, (timed, lost) in MEASURES.items():
        by_kind = speeds[timed]
        bare = by_kind["bare"]
        result[measure] = {
            "bare_per_second": sorted(speed for one in bare for speed in one)[len(bare) // 2],
            "bare_spread_percent": spread_percent(bare),
            "noise_percent": _noise(bare, lost),
            "lost_percent": {
                kind: lost(some, bare) for kind, some in by_kind.items() if kind != "bare"
            },
            "lost_in_one_process_percent": {
                kind: lost_percent(by_kind[kind], by_kind["no limit"], paired=True)
                for kind in ("quota 100", "quota 99")
                if kind in by_kind
            },
        }
    return result


def _noise(bare: Speeds, lost: Lost) -> Figures | None:
    """Return what one bare process "loses" against the others: the floor of what can be told."""
    return lost(bare[:1], bare[1:]) if len(bare) > 1 else None
