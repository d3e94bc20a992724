"""The phases of the GPU benchmark: what each needs, how long it takes, which half it is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.gpu import quota_area as areas
from benchmarks.gpu import quota_changes as changes
from benchmarks.gpu import quota_neighbours as neighbours
from benchmarks.gpu import quota_shares as shares
from benchmarks.gpu.quota_overhead import overhead
from benchmarks.gpu.quota_parts import PhaseError
from benchmarks.gpu.quota_processes import Processes

Work = Callable[[Processes, float], Any]
NETWORKS = ("resnet50", "bert", "decoder")
OVERHEAD_ROUNDS = 40
MODES = ("eager", "graph")


@dataclass(frozen=True)
class Phase:
    """One part of the run: processes it needs, seconds it takes, and the shard it belongs to."""

    name: str
    shard: int
    needs: tuple[str, ...]
    fixed_s: float
    scaled_s: float
    work: Work

    def seconds(self, scale: float) -> float:
        """Return the seconds planned at this scale."""
        return self.fixed_s + self.scaled_s * scale


def _of_mode(mode: str, shard: int) -> list[Phase]:
    def two_pods(p: Processes, scale: float, names: tuple[str, str], seconds: float) -> Any:
        pods, children = p.pods_of(*names), p.of(*names)
        return shares.time_shares(pods, children, mode, seconds * scale, max(0.3, scale))

    def costs(p: Processes, scale: float) -> Any:
        [limited], [pod] = p.of("limited"), p.pods_of("limited")
        names = ["bare", "bare again", "library"]
        others = {name: p.children[name] for name in names}
        rounds = max(2, round(OVERHEAD_ROUNDS * scale))
        return [overhead(pod, limited, others, work, mode, rounds) for work in NETWORKS]

    def area(p: Processes, scale: float) -> Any:
        pods, children = p.pods_of("a", "b"), p.of("a", "b")
        return [
            r for w in NETWORKS for r in areas.area(pods, children, w, mode, max(0.5, 3 * scale))
        ]

    def victim(p: Processes, scale: float) -> Any:
        pods, children = p.pods_of("a", "b"), p.of("a", "b")
        works = ("resnet50", "decoder")
        return [
            neighbours.victim(pods, children, work, mode, max(3.0, 16 * scale)) for work in works
        ]

    def live(p: Processes, scale: float) -> Any:
        pods, children = p.pods_of("a", "b"), p.of("a", "b")
        return changes.live_resize(pods, children, mode, 300 * scale)

    def alone(p: Processes, scale: float) -> Any:
        return shares.alone_share(p.pods["a"], p.children["a"], mode, 4 * scale)

    def sliced(p: Processes, scale: float) -> Any:
        return shares.plain_shares(p.of("plain-a", "plain-b"), mode, 8 * scale, [0.3, 0.7])

    def percent(p: Processes, scale: float) -> Any:
        pair = p.of("percent-a", "percent-b")
        return shares.plain_shares(pair, mode, 8 * scale, [0.3, 0.7], p.children["bare"])

    pods, solo = ("a", "b"), ("solo-a", "solo-b")
    compared = ("bare", "bare again", "library", "limited")
    sliced_needs, percent_needs = ("plain-a", "plain-b"), ("percent-a", "percent-b", "bare")
    return [
        Phase(f"two pods {mode}", shard, pods, 8, 200, lambda p, s: two_pods(p, s, pods, 60)),
        Phase(f"live resize {mode}", shard, pods, 8, 306, live),
        Phase(f"overhead {mode}", shard, compared, 25, 95, costs),
        Phase(f"area {mode}", shard, pods, 25, 130, area),
        Phase(f"victim {mode}", shard, pods, 8, 100, victim),
        Phase(f"quota alone {mode}", shard, pods[:1], 3, 20, alone),
        Phase(
            f"two pods without MPS {mode}",
            shard,
            solo,
            8,
            45,
            lambda p, s: two_pods(p, s, solo, 10),
        ),
        Phase(f"plain time slicing {mode}", shard, sliced_needs, 3, 10, sliced),
        Phase(f"MPS percentage {mode}", shard, percent_needs, 3, 10, percent),
    ]


def _latency(p: Processes, _scale: float) -> Any:
    return changes.resize_latency(p.pods["new"], p.children["new"])


def _memory(p: Processes, _scale: float) -> Any:
    return changes.memory(p.pods["a"], p.children["a"])


def _kill(p: Processes, _scale: float) -> Any:
    return neighbours.killed(p.pods_of("solo-a", "solo-b"), p.of("solo-a", "solo-b"))


def _stop(p: Processes, _scale: float) -> Any:
    return {
        "no MPS": neighbours.stopped(p.pods_of("solo-a", "solo-b"), p.of("solo-a", "solo-b"), 2),
        "MPS": neighbours.stopped(p.pods_of("a", "b"), p.of("a", "b"), 2),
    }


def _launches(p: Processes, _scale: float) -> Any:
    """Ask for each kind of work twice: the first request makes what must be made."""
    kinds = [("solo-a", k) for k in ("eager", "graph", "triton", "cooperative", "nccl")]
    result: dict[str, Any] = {}
    for name, kind in [*kinds, ("compiled", "compiled")]:
        try:
            p.children[name].ask(do="count", what=kind, patience=60)
            result[kind] = p.children[name].ask(do="count", what=kind, patience=30)
        except PhaseError as error:
            result[kind] = {"failed": str(error)}
    return result


PHASES: list[Phase] = [
    Phase("resize latency", 0, ("new",), 10, 0, _latency),
    *_of_mode("eager", 0),
    *_of_mode("graph", 1),
    Phase("memory", 1, ("a",), 4, 0, _memory),
    Phase("launches", 1, ("solo-a", "compiled"), 60, 0, _launches),
    Phase("stop", 1, ("solo-a", "solo-b", "a", "b"), 20, 0, _stop),
    Phase("kill without MPS", 1, ("solo-a", "solo-b"), 8, 0, _kill),
]
