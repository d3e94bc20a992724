"""Bounds: what perfect foresight would do, and the best piece that never changes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

from kserve_has.config.policy import PolicySettings
from kserve_has.latency import LatencyModel
from kserve_has.loadgen.trace import Trace

from ...policy.capacity import Piece, ladder
from ...policy.desk import as_allocation
from ...policy.ledger import open_books
from ...policy.observation import Observation, ReplicaPhase, Service
from ...policy.plan import Action, Because, Plan, Reason, Resize
from ..scenario import Load, Scenario, Signals


def sized(
    service: Service,
    scenario: Scenario,
    settings: PolicySettings,
    latency: LatencyModel,
    rps: float,
) -> tuple[int, Piece]:
    """Return the cheapest (replicas, piece) that serve a rate within the objective."""
    best: tuple[float, int, Piece] | None = None
    limit = min(service.max_replicas, scenario.gpus)
    floor = service.memory_bytes / scenario.geometry.memory_bytes
    whole = scenario.geometry.sm_count * 100.0
    for count in range(1, limit + 1):
        book = ladder(service, scenario.geometry, settings, latency, count)
        piece = book.cheapest(rps / count)
        if piece is None:
            continue
        price = count * max(piece.area, floor * whole)
        if best is None or price < best[0]:
            best = (price, count, piece)
        elif price > 2 * best[0]:
            break
    if best is None:
        book = ladder(service, scenario.geometry, settings, latency, limit)
        return limit, book.useful[-1]
    return best[1], best[2]


class Clairvoyant:
    """Knows every second's rate beforehand and resizes warm replicas just in time.

    Their number is the one that is cheapest over the whole run; no replica is ever started. Only
    the arrivals within a second remain random.
    """

    tick_s = 1.0

    def __init__(self, scenario: Scenario, settings: PolicySettings, latency: LatencyModel) -> None:
        self._settings, self._latency = settings, latency
        self._warmup_s = scenario.warmup_s
        self._traces = {load.name: load.trace for load in scenario.loads}

    def decide(self, observation: Observation, signals: Signals) -> Plan:  # noqa: ARG002
        """Return the sizes for the coming second."""
        rooms = open_books(observation, {})
        actions: list[Action] = []
        geometry = observation.gpus[0].geometry
        for service in observation.services:
            ready = [r for r in service.replicas if r.phase is ReplicaPhase.READY]
            trace = self._traces[service.name]
            at = observation.now_s - self._warmup_s
            rps = max(rate_at(trace, at), rate_at(trace, at + 1.0), 0.5)
            book = ladder(service, geometry, self._settings, self._latency, len(ready))
            piece = book.cheapest(rps / max(1, len(ready))) or book.useful[-1]
            for replica in ready:
                held = replica.allocation
                if held is None or (held.sm_partition, held.quota_percent) == (
                    piece.sm,
                    piece.quota,
                ):
                    continue
                room = rooms[held.gpu_uuid]
                room.release((service.name, replica.name))
                new = as_allocation(room, piece, held.sm_groups, service.memory_bytes)
                room.charge((service.name, replica.name), new, exclusive=False)
                because = Because(Reason.DEMAND_ROSE)
                actions.append(Resize(service.name, replica.name, new, piece.rps, because))
        return Plan(tuple(actions))


def rate_at(trace: Trace, at_s: float) -> float:
    """Return the rate at an instant; before the beginning the first one."""
    index = bisect_right(trace.starts_s, max(0.0, at_s)) - 1
    return trace.rates_rps[max(0, index)]


def best_count(
    service: Service,
    load: Load,
    scenario: Scenario,
    settings: PolicySettings,
    latency: LatencyModel,
) -> int:
    """Return the number of replicas whose pieces cost least over the whole trace."""
    rates = [rate for rate in load.trace.rates_rps if rate > 0]
    floor = service.memory_bytes / scenario.geometry.memory_bytes
    whole = scenario.geometry.sm_count * 100.0
    best, chosen = math.inf, 1
    for count in range(1, min(service.max_replicas, scenario.gpus) + 1):
        book = ladder(service, scenario.geometry, settings, latency, count)
        total = 0.0
        for rate in rates:
            piece = book.cheapest(rate / count)
            if piece is None:
                total = math.inf
                break
            total += count * max(piece.area, floor * whole)
        if total < best:
            best, chosen = total, count
    return chosen if best < math.inf else scenario.gpus


def least_level(
    violations: Callable[[float], float], low: float, high: float, limit: float
) -> float:
    """Return about the least level whose violations are within a limit, by bisection in logs."""
    for _ in range(6):
        middle = math.sqrt(low * high)
        if violations(middle) <= limit:
            high = middle
        else:
            low = middle
    return high
