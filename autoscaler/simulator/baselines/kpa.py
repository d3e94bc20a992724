"""Knative's pod autoscaler (KPA), tick by tick as its code decides, with whole GPUs.

The rules were read from Knative Serving: buckets of a second, a stable window and a panic window of
a tenth of it, scale limits, panic that only rises, and the grace before zero.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from ...policy.observation import Observation, Service
from ...policy.plan import Plan
from ..scenario import Second, Signals
from .packing import Wish, plan_for, ready_count, whole_gpu


@dataclass(frozen=True, slots=True)
class KpaSettings:
    """Knative's own names, shortened; the defaults are Knative's unless said otherwise.

    Attributes:
        target: in-flight requests (or requests/s) per pod before the utilisation is applied.
        utilisation: share of the target aimed at.
        by_rps: whether requests per second are the metric instead of concurrency.
        stable_s: stable window.
        panic_share: panic window as a share of the stable one.
        panic_threshold: panic when the panic window asks for so many times the ready pods.
        max_up, max_down: limits of one step, as factors of the ready pods.
        scale_down_delay_s: the largest wish of so many seconds holds.
        zero_grace_s: from the first wish for zero to zero.
    """

    target: float = 100.0
    utilisation: float = 0.7
    by_rps: bool = False
    stable_s: float = 60.0
    panic_share: float = 0.1
    panic_threshold: float = 2.0
    max_up: float = 1000.0
    max_down: float = 2.0
    scale_down_delay_s: float = 0.0
    zero_grace_s: float = 30.0


@dataclass(slots=True)
class KpaDecider:
    """The decider of one revision."""

    settings: KpaSettings
    panic_since_s: float | None = None
    max_panic_pods: int = 0
    _first_s: float | None = None
    _buckets: deque[tuple[float, float]] = field(default_factory=deque)
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)
    _zero_since_s: float | None = None

    def record(self, at_s: float, value: float) -> None:
        """Take the metric of one second."""
        if self._first_s is None:
            self._first_s = at_s
        self._buckets.append((at_s, value))
        while self._buckets and self._buckets[0][0] <= at_s - self.settings.stable_s:
            self._buckets.popleft()

    def average(self, now_s: float, window_s: float) -> float:
        """Return the window's average: holes count as zero, the beginning as partial."""
        if self._first_s is None:
            return 0.0
        total = sum(value for at, value in self._buckets if at > now_s - window_s)
        seconds = min(window_s, max(1.0, math.floor(now_s - self._first_s) + 1.0))
        return total / seconds

    def desired(self, now_s: float, ready: int) -> int:
        """Return the number of pods wanted at a tick, before the bounds of the revision."""
        s = self.settings
        target = s.target * s.utilisation
        pods = max(1, ready)
        stable = math.ceil(self.average(now_s, s.stable_s) / target)
        panic = math.ceil(self.average(now_s, s.stable_s * s.panic_share) / target)
        low, high = math.floor(pods / s.max_down), math.ceil(s.max_up * pods)
        over = panic / pods >= s.panic_threshold
        stable_wish, panic_wish = (max(low, min(high, wish)) for wish in (stable, panic))
        if over:
            self.panic_since_s = now_s
        elif self.panic_since_s is not None and now_s - self.panic_since_s > s.stable_s:
            self.panic_since_s, self.max_panic_pods = None, 0
        wish = stable_wish
        if self.panic_since_s is not None:
            self.max_panic_pods = max(self.max_panic_pods, stable_wish, panic_wish)
            wish = self.max_panic_pods
        return self._delayed(now_s, wish)

    def _delayed(self, now_s: float, wish: int) -> int:
        """Return the largest wish within the scale-down delay."""
        self._wishes.append((now_s, wish))
        while self._wishes[0][0] < now_s - self.settings.scale_down_delay_s:
            self._wishes.popleft()
        return max(wish for _, wish in self._wishes)

    def to_zero(self, now_s: float, wish: int) -> int:
        """Return the wish, where zero holds only after the grace."""
        if wish > 0:
            self._zero_since_s = None
            return wish
        if self._zero_since_s is None:
            self._zero_since_s = now_s
        return 0 if now_s - self._zero_since_s >= self.settings.zero_grace_s else 1


class Kpa:
    """KPA for every service, one whole GPU a pod."""

    tick_s = 2.0

    def __init__(self, settings: KpaSettings) -> None:
        self._settings = settings
        self._deciders: dict[str, KpaDecider] = {}
        self._seen: dict[str, float] = {}

    def decide(self, observation: Observation, signals: Signals) -> Plan:
        """Return the pods that KPA wants."""
        piece = whole_gpu(observation.gpus[0].geometry)
        wishes = {
            service.name: Wish(self._wish(observation.now_s, service, signals), piece)
            for service in observation.services
        }
        return plan_for(observation, wishes)

    def _wish(self, now_s: float, service: Service, signals: Signals) -> int:
        decider = self._deciders.get(service.name)
        if decider is None:
            decider = self._deciders[service.name] = KpaDecider(self._settings)
            if ready_count(service) > 1:  # a restarted autoscaler trusts what is there
                decider.panic_since_s, decider.max_panic_pods = now_s, ready_count(service)
        for second in self._new(service.name, signals):
            value = second.rps if self._settings.by_rps else second.concurrency
            decider.record(second.at_s, value)
        wish = decider.desired(now_s, ready_count(service))
        return decider.to_zero(now_s, max(service.min_replicas, wish))

    def _new(self, name: str, signals: Signals) -> list[Second]:
        seconds = signals[name]
        last = self._seen.get(name, -math.inf)
        fresh = []
        for second in reversed(seconds):
            if second.at_s <= last:
                break
            fresh.append(second)
        if fresh:
            self._seen[name] = fresh[0].at_s
        return fresh[::-1]
