"""How many requests per second a piece of a GPU serves within the objective.

A replica is a queue before one server. With ``g`` milliseconds of GPU time a request and a quota
``q``, it drains one request every ``D = g / q``; a request alone takes at most ``S``. What is left
of the objective, ``L - S``, may be spent waiting. The capacity is the largest ``u / D`` at which
the chance to wait longer stays within the violations set aside for queueing.

The chance is exact for one replica (Poisson arrivals, steady service: Erlang 1909). ``n`` equal
replicas behind a least-request gateway are between ``n`` queues and one: Erlang's chance that all
are busy, times the single queue's conditional tail to a power between the root of ``n`` (a wait
shorter than one service: the gateway does not see which replica ends first) and ``n`` (longer
ones: the queues are kept level).

Worked example: objective 100 ms at p95, ``g = S = 12.5`` ms at 32 SMs, 2 % set aside, one
replica: there is room to wait for seven services, so ``u = 0.76``: 60 requests per second.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache

from kserve_has.config.policy import PolicySettings
from kserve_has.gpu import GpuGeometry
from kserve_has.latency import LatencyModel, Part
from kserve_has.slo import Slo

from .observation import Service

_NEARLY_ALL = 0.9
POOL_LIMIT = 12  # replicas beyond which one more changes the share of waiting no more


@dataclass(frozen=True, slots=True)
class Piece:
    """A size of allocation, not yet a place: so many groups for such a share of the time.

    Attributes:
        groups: number of SM groups.
        sm: SMs they hold when the odd last group is left out (unless all are taken).
        quota: per cent of the time.
        area: ``sm * quota``, what is paid for.
        rps: requests per second served within the objective, 0 when it cannot be met.
    """

    groups: int
    sm: int
    quota: int
    area: int
    rps: float


def utilisation(wait_ms: float, drain_ms: float, chance: float, pool: int = 1) -> float:
    """Return the largest utilisation at which a wait beyond ``wait_ms`` has at most ``chance``.

    >>> round(utilisation(87.5, 12.5, 0.02), 2)
    0.76
    """
    services = max(0.0, wait_ms) / drain_ms
    # Rounded down to a fiftieth of a service: safe, and few enough to be remembered.
    return _utilisation(min(int(services * 50), 2000), chance, pool)


@lru_cache(maxsize=65536)
def _utilisation(fiftieths: int, chance: float, pool: int) -> float:
    low, high = 0.0, 1.0
    for _ in range(16):
        middle = (low + high) / 2
        if wait_chance(fiftieths / 50, middle, pool) <= chance:
            low = middle
        else:
            high = middle
    return low


def wait_chance(services: float, share: float, pool: int) -> float:
    """Return the chance to wait longer than ``services`` service times at a utilisation.

    >>> round(wait_chance(0.0, 0.5, 1), 3), round(wait_chance(1.0, 0.5, 1), 3)
    (0.5, 0.176)
    """
    if share <= 0.0:
        return 0.0
    if share >= 1.0:
        return 1.0
    tail = min(1.0, _single_tail(services, share) / share)
    root = math.sqrt(pool)
    power = root + (pool - root) * min(1.0, max(0.0, services - 1.0))
    return _all_busy(pool, share) * float(tail**power)


def _single_tail(services: float, share: float) -> float:
    """Return the chance to wait longer in one queue with Poisson arrivals and steady service."""
    if services > 4.0:  # the exact sum loses its digits; the tail is geometric by now
        third, fourth = _single_tail(3.0, share), _single_tail(4.0, share)
        if third <= 0.0 or fourth <= 0.0:
            return 0.0
        return fourth * math.exp((services - 4.0) * math.log(fourth / third))
    total, k = 0.0, 0
    while k <= services:
        left = share * (services - k)
        total += (-left) ** k / math.factorial(k) * math.exp(left)
        k += 1
    return max(0.0, 1.0 - (1.0 - share) * total)


def _all_busy(servers: int, share: float) -> float:
    """Return Erlang's chance that an arrival finds every server busy."""
    load = servers * share
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked / (1.0 - share * (1.0 - blocked))


class Ladder:
    """Every piece that a service may hold on one kind of GPU, cheapest first.

    Attributes:
        pieces: all that serve anything.
        strongest_first: the same, by what they serve.
        least_quota: the smallest of theirs, per cent.
        sturdy: the cheapest that serves nearly as much as the strongest.
        useful: those that serve more than every cheaper one; ascending in area and rps.
        smallest: the least area allowed at all, for parking; it need not serve anything.
    """

    def __init__(
        self,
        key: _Key,
        geometry: GpuGeometry,
        bounds: tuple[int, int, bool],
        settings: PolicySettings,
        pool: int,
    ) -> None:
        self._key = key
        self._chance = key.slo.allowed_violation_rate * settings.queueing_budget
        self._pool = pool
        self._memo: dict[tuple[int, int], float] = {}
        sizes = _sizes(geometry, bounds)
        found = [
            Piece(groups, sm, quota, sm * quota, self.rps_of(sm, quota))
            for groups, sm in sizes
            for quota in (*range(settings.min_quota, 100, settings.quota_step), 100)
        ]
        # Least area first; of equal areas the one that serves more, then fewer groups.
        self.pieces = tuple(
            sorted((p for p in found if p.rps > 0), key=lambda p: (p.area, -p.rps, p.groups))
        )
        if not self.pieces and sizes:
            self.pieces = (self._best_effort(*sizes[-1]),)
        self.useful = _useful(self.pieces)
        self.strongest_first = sorted(self.pieces, key=lambda p: (-p.rps, p.area, p.groups))
        self.least_quota = min((piece.quota for piece in self.pieces), default=101)
        self._rates = [piece.rps for piece in self.useful]
        self.sturdy = self.cheapest(_NEARLY_ALL * self.strongest_rps)
        self.smallest = None
        if sizes:
            groups, sm = sizes[0]
            quota = settings.parked_quota
            self.smallest = Piece(groups, sm, quota, sm * quota, self.rps_of(sm, quota))

    def _best_effort(self, groups: int, sm: int) -> Piece:
        """Return the largest piece for an objective that nothing meets: the queue stays short."""
        rps = self._memo[sm, 100] = 0.6 * self._key.drained_rps(sm, 100)
        return Piece(groups, sm, 100, sm * 100, rps)

    @property
    def strongest_rps(self) -> float:
        """Requests per second of the strongest piece, 0 when none meets the objective."""
        return self._rates[-1] if self._rates else 0.0

    @property
    def sturdy_rps(self) -> float:
        """Requests per second of the piece beyond which more SMs bring little."""
        return self.sturdy.rps if self.sturdy is not None else 0.0

    def rps_of(self, sm: int, quota: int) -> float:
        """Return the requests per second that a piece serves within the objective."""
        rps = self._memo.get((sm, quota))
        if rps is None:
            rps = self._memo[sm, quota] = self._key.rps(sm, quota, self._chance, self._pool)
        return rps

    def work_rps(self, sm: int, quota: int) -> float:
        """Return the requests per second that a piece works off, for the gateway's weights.

        By these a request goes where it is likely to end first. By what is served within the
        objective it would wait behind another one at a larger piece while a smaller one is idle.
        Zero where even a request alone misses the objective.
        """
        if self.rps_of(sm, quota) <= 0.0:
            return 0.0
        return self._key.drained_rps(sm, quota)

    def alone_ms(self, sm: int, quota: int) -> float:
        """Return what the latency model says of a request alone, its upper bound, milliseconds."""
        return self._key.alone_ms(sm, quota)

    def cheapest(self, rps: float) -> Piece | None:
        """Return the cheapest piece that serves ``rps``; None when none does."""
        at = bisect_left(self._rates, rps)
        return self.useful[at] if at < len(self.useful) else None


@dataclass(frozen=True, slots=True)
class _Key:
    """What a service time depends on apart from the piece."""

    part: Part
    geometry: GpuGeometry
    batch: int
    slo: Slo
    slowness: float  # factor on what the part predicts

    def drained_rps(self, sm: int, quota: int) -> float:
        """Return the requests per second that a piece works off in an unbroken stream."""
        sm, quota = self._in_force(sm, quota)
        return 10.0 * quota / self._upper_ms(sm, 100)

    def rps(self, sm: int, quota: int, chance: float, pool: int) -> float:
        sm, quota = self._in_force(sm, quota)
        service_ms = self._upper_ms(sm, quota) * self.slowness
        if service_ms >= self.slo.latency_ms:
            return 0.0
        drain_ms = self._upper_ms(sm, 100) * self.slowness * 100.0 / quota
        share = utilisation(self.slo.latency_ms - service_ms, drain_ms, chance, pool)
        return share * 1000.0 / drain_ms

    def alone_ms(self, sm: int, quota: int) -> float:
        return self._upper_ms(*self._in_force(sm, quota))

    def _in_force(self, sm: int, quota: int) -> tuple[int, int]:
        """Return the SMs and per cent of the time that a piece of such a size really means."""
        if self.geometry.partitions:
            return sm, quota
        whole = self.geometry.sm_count
        return whole, max(1, sm * quota // whole)

    def _upper_ms(self, sm: int, quota: int) -> float:
        return self.part.predict(self.batch, sm, quota).upper_ms


def _sizes(geometry: GpuGeometry, bounds: tuple[int, int, bool]) -> list[tuple[int, int]]:
    """Return (groups, SMs) allowed, ascending."""
    low, high, exclusive = bounds
    last = geometry.group_count
    if exclusive:
        return [(last, geometry.sm_count)]
    sizes = [(groups, groups * geometry.sm_group_size) for groups in range(1, last)]
    sizes.append((last, geometry.sm_count))
    return [(groups, sm) for groups, sm in sizes if low <= sm <= high]


def _useful(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    best = 0.0
    chosen = []
    for piece in pieces:
        if piece.rps > best:
            best = piece.rps
            chosen.append(piece)
    return tuple(chosen)


# Settings and part are known by identity: hashing dozens of settings for every service of every
# tick took longer than the rest of a decision. Being kept here, they cannot be replaced by others.
_ladders: dict[tuple[object, ...], tuple[PolicySettings, Part, Ladder]] = {}
_LADDERS_KEPT = 16384


def forget(part: Part) -> None:
    """Drop the ladders of a part that will not be asked any more."""
    for key in [key for key, (_, known, _) in _ladders.items() if known is part]:
        del _ladders[key]


def ladder(
    service: Service,
    geometry: GpuGeometry,
    settings: PolicySettings,
    latency: LatencyModel,
    pool: int = 1,
    slowness: float = 1.0,
) -> Ladder:
    """Return the pieces a service may hold when ``pool`` replicas share its load.

    Predicted latencies are multiplied by ``slowness``, of which there are few. Answers are
    remembered by the identity of the settings and of the latency model's part, which never change.
    """
    pool = max(1, min(pool, POOL_LIMIT))
    slo, bounds = service.slo, (service.min_sm, service.max_sm, service.exclusive)
    part = latency.part(service.served_model, geometry.product)
    key = (
        id(settings), id(part), service.batch, slo.latency_ms, slo.percentile, geometry.sm_count,
        geometry.sm_group_size, geometry.partitions, bounds, pool, slowness,
    )  # fmt: skip
    known = _ladders.get(key)
    if known is None:
        if len(_ladders) >= _LADDERS_KEPT:
            _ladders.clear()
        asked = _Key(part, geometry, service.batch, slo, slowness)
        book = Ladder(asked, geometry, bounds, settings, pool)
        known = _ladders[key] = settings, part, book
    return known[2]
