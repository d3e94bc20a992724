"""The phases of the GPU benchmark: what each needs and how long it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.gpu import quota_area as areas
from benchmarks.gpu import quota_changes as changes
from benchmarks.gpu import quota_hami as hami
from benchmarks.gpu import quota_leases as leases
from benchmarks.gpu import quota_live as lives
from benchmarks.gpu import quota_neighbours as neighbours
from benchmarks.gpu import quota_shares as shares
from benchmarks.gpu.quota_overhead import LIMITS, overhead
from benchmarks.gpu.quota_parts import PhaseError, share_turns
from benchmarks.gpu.quota_processes import ALIKE, Processes

Work = Callable[[Processes, float], Any]
MODES = ("eager", "graph")
NETWORKS = ("resnet50", "bert", "decoder")
OVERHEAD_ROUNDS = 12
VICTIMS = ("resnet50", "decoder")


@dataclass(frozen=True)
class Phase:
    """One part of the run: processes it needs and seconds it takes."""

    name: str
    needs: tuple[str, ...]
    fixed_s: float
    scaled_s: float
    work: Work

    def seconds(self, scale: float) -> float:
        """Return the seconds planned at this scale."""
        return self.fixed_s + self.scaled_s * scale


def _pair(p: Processes, names: tuple[str, str]) -> shares.Pair:
    return shares.Pair(p.pods_of(*names), p.of(*names), p.clock)


def _of_mode(mode: str) -> list[Phase]:
    """Return the phases that are done both eagerly and with graphs."""
    pods, solo = ("a", "b"), ("solo-a", "solo-b")
    plain, percent = ("plain-a", "plain-b"), ("percent-a", "percent-b")
    bare, limited = (tuple(f"{n}-{i}" for i in range(ALIKE)) for n in ("bare", "limited"))

    def two_pods(names: tuple[str, str], seconds: float) -> Work:
        return lambda p, scale: shares.time_shares(
            _pair(p, names), mode, seconds * scale, max(0.4, scale)
        )

    def costs(p: Processes, scale: float) -> Any:
        kinds = {"bare": p.of(*bare), **dict.fromkeys(LIMITS, p.of(*limited))}
        rounds, in_pods = max(2, round(OVERHEAD_ROUNDS * scale)), p.pods_of(*limited)
        return [overhead(kinds, work, mode, rounds, in_pods) for work in NETWORKS]

    def area(work: str) -> Work:
        return lambda p, scale: areas.area(
            p.pods_of(*pods), p.of(*pods), p.clock, work, mode, scale
        )

    def victim(p: Processes, scale: float) -> Any:
        pair, seconds = (p.pods_of(*pods), p.of(*pods), p.clock), max(3.0, 12 * scale)
        return [neighbours.victim(*pair, work, mode, seconds) for work in VICTIMS]

    def live(p: Processes, scale: float) -> Any:
        return lives.live_resize(p.pods_of(*pods), p.of(*pods), mode, 300 * scale)

    def alone(p: Processes, scale: float) -> Any:
        return shares.alone_share(p.pods["a"], p.children["a"], p.clock, mode, 4 * scale)

    def sliced(p: Processes, scale: float) -> Any:
        return shares.plain_shares(p.of(*plain), mode, 8 * scale, [0.3, 0.7])

    def by_percent(p: Processes, scale: float) -> Any:
        whole = p.children["bare"]
        return shares.plain_shares(p.of(*percent), mode, 8 * scale, [0.3, 0.7], whole)

    return [
        Phase(f"two pods {mode}", pods, 12, 188, two_pods(pods, 60)),
        Phase(f"live resize {mode}", pods, 7, 300, live),
        Phase(f"overhead {mode}", bare + limited, 20, 65, costs),
        *(Phase(f"area {mode} {work}", pods, 6, 30, area(work)) for work in NETWORKS),
        Phase(f"victim {mode}", pods, 8, 44, victim),
        Phase(f"quota alone {mode}", pods[:1], 3, 20, alone),
        Phase(f"two pods without MPS {mode}", solo, 6, 40, two_pods(solo, 6)),
        Phase(f"plain time slicing {mode}", plain, 3, 9, sliced),
        Phase(f"MPS percentage {mode}", (*percent, "bare"), 3, 9, by_percent),
    ]


def _of_leases(mode: str) -> list[Phase]:
    """Return what is told beside the shares: the turns of old, and lent time."""
    pods = ("a", "b")

    def in_turns(p: Processes, scale: float) -> Any:
        settle = max(0.4, scale)
        return shares.time_shares(_pair(p, pods), mode, 10 * scale, settle, share_turns)

    def borrowing(p: Processes, scale: float) -> Any:
        return leases.borrowing(p.pods_of(*pods), p.of(*pods), mode, 5 * scale)

    return [
        Phase(f"in turns {mode}", pods, 8, 45, in_turns),
        Phase(f"borrowing {mode}", pods, 20, 15, borrowing),
    ]


def _latency(p: Processes, _scale: float) -> Any:
    return changes.resize_latency(p.pods["new"], p.children["new"])


def _memory(p: Processes, _scale: float) -> Any:
    return changes.memory(p.pods["a"], p.children["a"])


def _kill(p: Processes, _scale: float) -> Any:
    return neighbours.killed(p.pods_of("solo-a", "solo-b"), p.of("solo-a", "solo-b"))


def _kill_beside(p: Processes, _scale: float) -> Any:
    return neighbours.killed_beside(p)


def _stop(p: Processes, _scale: float) -> Any:
    return {
        "no MPS": neighbours.stopped(p.pods_of("solo-a", "solo-b"), p.of("solo-a", "solo-b"), 1.2),
        "MPS": neighbours.stopped(p.pods_of("a", "b"), p.of("a", "b"), 1.2),
    }


def _launches(p: Processes, _scale: float) -> Any:
    """Ask for each kind of work twice: the first request makes what must be made."""
    kinds = [("solo-a", k) for k in ("eager", "graph", "triton", "cooperative", "nccl")]
    result: dict[str, Any] = {}
    p.children["compiled"].start(do="count", what="compiled")
    for name, kind in [*kinds, ("compiled", "compiled")]:
        child = p.children[name]
        try:
            if name != "compiled":
                child.start(do="count", what=kind)
            child.finish(60)
            result[kind] = child.ask(do="count", what=kind, patience=30)
        except PhaseError as error:
            result[kind] = {"failed": str(error)}
    return result


def _fork(p: Processes, _scale: float) -> Any:
    return {
        "no MPS": neighbours.forked(p.children["solo-a"]),
        "MPS": neighbours.forked(p.children["a"]),
    }


def _starts(p: Processes, _scale: float) -> Any:
    return neighbours.starts(p, "a", "graph")


def _hami_shares(first: str, modes: tuple[str, ...]) -> Work:
    return lambda p, _scale: hami.shares(p, 6.0, first, modes)


def _hami_overhead(p: Processes, scale: float) -> Any:
    return hami.overhead(p, max(2, round(OVERHEAD_ROUNDS * scale)))


PHASES: list[Phase] = [
    Phase("resize latency", ("new",), 10, 0, _latency),
    *(phase for mode in MODES for phase in (*_of_mode(mode), *_of_leases(mode))),
    Phase("memory", ("a",), 4, 0, _memory),
    Phase("launches", ("solo-a", "compiled"), 40, 0, _launches),
    Phase("stop", ("solo-a", "solo-b", "a", "b"), 13, 0, _stop),
    Phase("fork", ("solo-a", "a"), 15, 0, _fork),
    Phase("50 pod starts", ("a",), 30, 0, _starts),
    Phase("HAMi-core shares 30/70", ("plain-a",), 40, 0, _hami_shares("hami-30", MODES)),
    Phase("HAMi-core shares 10/90", ("plain-a",), 27, 0, _hami_shares("hami-10", MODES[:1])),
    Phase("HAMi-core shares 50/50", ("plain-a",), 27, 0, _hami_shares("hami-50", MODES[:1])),
    Phase("HAMi-core overhead", ("unshared", "bare"), 15, 10, _hami_overhead),
    Phase("kill without MPS", ("solo-a", "solo-b"), 8, 0, _kill),
    Phase("kill under MPS", ("a", "b"), 14, 0, _kill_beside),  # ends all that work under MPS
]
