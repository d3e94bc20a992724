"""One run from beginning to end: the clock that ticks, scrapes, decides and counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from kserve_has.allocation import Allocation

from ..policy.observation import Observation
from ..policy.plan import Plan
from .scenario import Outcome, Scaler, Scenario, Signals, Student
from .world import Deployment, World

_DRAIN_S: Final = 60.0  # after the last arrival, so that late answers are counted as late


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a service starts with: warm replicas on these pieces."""

    pieces: tuple[tuple[Allocation, float], ...]  # with requests/s each serves


def simulate(
    scenario: Scenario, scaler: Scaler, beginnings: Mapping[str, Beginning]
) -> dict[str, Outcome]:
    """Return what every service got; the same arguments give the same result."""
    world = World(scenario)
    for name, beginning in beginnings.items():
        _begin(world, world.deployments[name], beginning)
    start = scenario.warmup_s
    end = start + scenario.seconds
    signals = {name: d.seconds for name, d in world.deployments.items()}
    before: dict[str, _Count] = {}
    tick_s = scaler.tick_s or scenario.settings.tick_s
    clocks = _Clocks(scenario.settings.scrape_interval_s, tick_s, scenario.seed)
    while True:
        now, scrapes = clocks.next()
        if now >= start and not before:
            world.advance(start)
            before = _counts(world)
        if now > end:
            break
        world.advance(now)
        if scrapes:
            world.scrape()
        else:
            _learn(scaler, world, clocks)
            world.apply(scaler.decide(world.observe(), signals))
    world.advance(end)
    after = _counts(world)
    _drain(world, end)
    return {
        name: _outcome(deployment, before[name], after[name], scenario.geometry.sm_count)
        for name, deployment in world.deployments.items()
    }


def _learn(scaler: Scaler, world: World, clocks: _Clocks) -> None:
    if isinstance(scaler, Student) and clocks.look_due(world.now, scaler.look_s):
        scaler.look(world.observe(), world.meters())


class _Clocks:
    """Two clocks with a random phase to each other, so that no policy profits from alignment."""

    def __init__(self, scrape_s: float, tick_s: float, seed: int) -> None:
        rng = np.random.default_rng([seed, 31])
        self._scrape_s, self._tick_s = scrape_s, tick_s
        self._scrape = float(rng.random()) * scrape_s
        self._tick = float(rng.random()) * tick_s
        self._look = 0.0

    def look_due(self, now: float, every_s: float) -> bool:
        """Return whether a look at the counters is due, and note it."""
        due = every_s > 0 and now >= self._look
        if due:
            self._look = now + every_s
        return due

    def next(self) -> tuple[float, bool]:
        """Return the next instant and whether it is a scrape."""
        if self._scrape <= self._tick:
            now = self._scrape
            self._scrape += self._scrape_s
            return now, True
        now = self._tick
        self._tick += self._tick_s
        return now, False


def _begin(world: World, deployment: Deployment, beginning: Beginning) -> None:
    deployment.scale = len(beginning.pieces)
    for allocation, rps in beginning.pieces:
        pod = world.create(deployment)
        world.place(deployment, pod, allocation, rps, warm=True)


def _drain(world: World, end: float) -> None:
    """Let what is in flight finish; pods that are still starting may yet answer what waits."""
    for step in range(1, int(_DRAIN_S) + 1):
        if not any(d.lane.in_flight for d in world.deployments.values()):
            break
        world.advance(end + step)
    for deployment in world.deployments.values():
        deployment.lane.give_up()


@dataclass(frozen=True, slots=True)
class _Count:
    """Counters of one service at one instant."""

    offered: int
    answers: int
    area_s: float
    larger_s: float
    scale_outs: int
    scale_ins: int
    resizes: int
    cold_starts: int


def _counts(world: World) -> dict[str, _Count]:
    world.settle_bills()
    found = {}
    for name, d in world.deployments.items():
        pods = [*d.gone, *d.pods.values()]
        found[name] = _Count(
            d.lane.offered,
            len(d.lane.latencies),
            sum(pod.area_s for pod in pods),
            sum(pod.larger_s for pod in pods),
            d.scale_outs,
            d.scale_ins,
            d.resizes,
            d.cold_starts,
        )
    return found


def _outcome(deployment: Deployment, before: _Count, after: _Count, sm_count: int) -> Outcome:
    lane = deployment.lane
    latencies = np.asarray(lane.latencies[before.answers :])
    p50, p95, p99 = (
        (float(x) * 1000.0 for x in np.percentile(latencies, [50, 95, 99]))
        if len(latencies)
        else (0.0, 0.0, 0.0)
    )
    # Lateness is known only after the drain; who came during the lead-in is not counted.
    return Outcome(
        lane.offered - before.offered,
        lane.late - lane.early_late,
        lane.failed - lane.early_failed,
        (after.area_s - before.area_s) / (sm_count * 100.0),
        after.larger_s - before.larger_s,
        p50,
        p95,
        p99,
        after.scale_outs - before.scale_outs,
        after.scale_ins - before.scale_ins,
        after.resizes - before.resizes,
        after.cold_starts - before.cold_starts,
    )


class Nobody:
    """Decides nothing: for static pieces."""

    tick_s = 1.0

    def decide(self, observation: Observation, signals: Signals) -> Plan:  # noqa: ARG002
        """Return an empty plan."""
        return Plan(())
