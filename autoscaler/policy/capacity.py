"""How many requests per second a piece of a GPU serves within the objective.

A replica is a queue in front of one server. With ``g`` milliseconds of GPU time a request and a
quota ``q``, it drains one request every ``D = g / q``; a request alone takes at most ``S``. What
is left of the objective, ``L - S``, may be spent waiting. At utilisation ``u`` the chance to wait
longer than ``t`` is at most about ``u exp(-2 (1 - u) t / D)`` (Kingman's bound with Poisson
arrivals and steady service). The capacity is the largest ``u / D`` at which that chance stays
within the violations set aside for queueing.

Worked example: objective 100 ms at p95, ``g = S = 12.5`` ms at 32 SMs, 2 % set aside: there is
room to wait for seven services, so ``u = 0.75`` and the piece serves 60 requests per second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from kserve_has.config.policy import PolicySettings
from kserve_has.gpu import GpuGeometry
from kserve_has.latency import LatencyModel
from kserve_has.slo import Slo

from .observation import Service


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


def utilisation(wait_ms: float, drain_ms: float, chance: float) -> float:
    """Return the largest utilisation at which a wait beyond ``wait_ms`` has at most ``chance``.

    >>> round(utilisation(87.5, 12.5, 0.02), 2)
    0.74
    """
    slack = 2.0 * max(0.0, wait_ms) / drain_ms
    bound = math.log(chance)
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        if math.log(middle) - slack * (1.0 - middle) <= bound:
            low = middle
        else:
            high = middle
    return low


@lru_cache(maxsize=65536)
def capacity_rps(
    latency: LatencyModel,
    served_model: str,
    product: str,
    batch: int,
    sm: int,
    quota: int,
    slo: Slo,
    queueing_budget: float,
) -> float:
    """Return the requests per second that one replica serves within the objective."""
    service_ms = latency.predict(served_model, product, batch, sm, quota).upper_ms
    if service_ms >= slo.latency_ms:
        return 0.0
    alone_ms = latency.predict(served_model, product, batch, sm, 100).upper_ms
    drain_ms = alone_ms * 100.0 / quota
    chance = slo.allowed_violation_rate * queueing_budget
    share = utilisation(slo.latency_ms - service_ms, drain_ms, chance)
    return share * 1000.0 / drain_ms


@lru_cache(maxsize=4096)
def _ladder(
    latency: LatencyModel,
    served_model: str,
    geometry: GpuGeometry,
    batch: int,
    slo: Slo,
    bounds: tuple[int, int, bool],
    settings: PolicySettings,
) -> tuple[Piece, ...]:
    min_sm, max_sm, exclusive = bounds
    pieces = []
    for groups in range(1, geometry.group_count + 1):
        whole = groups == geometry.group_count
        sm = geometry.sm_count if whole else groups * geometry.sm_group_size
        if (exclusive and not whole) or not (min_sm <= sm <= max_sm or (exclusive and whole)):
            continue
        for quota in _quotas(settings):
            rps = capacity_rps(
                latency,
                served_model,
                geometry.product,
                batch,
                sm,
                quota,
                slo,
                settings.queueing_budget,
            )
            pieces.append(Piece(groups, sm, quota, sm * quota, rps))
    # Least area first; of equal areas the one that serves more, then fewer SMs.
    return tuple(sorted(pieces, key=lambda p: (p.area, -p.rps, p.groups)))


def _quotas(settings: PolicySettings) -> tuple[int, ...]:
    steps = range(settings.min_quota, 100, settings.quota_step)
    return (*steps, 100)


def ladder(
    service: Service, geometry: GpuGeometry, settings: PolicySettings, latency: LatencyModel
) -> tuple[Piece, ...]:
    """Return every piece of such a GPU that a service may hold, cheapest first.

    The latency model must be hashable (by identity is enough): answers are remembered.
    """
    bounds = (service.min_sm, service.max_sm, service.exclusive)
    return _ladder(
        latency, service.served_model, geometry, service.batch, service.slo, bounds, settings
    )


def useful(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Return the pieces that serve anything and more than every cheaper piece."""
    best = 0.0
    chosen = []
    for piece in pieces:
        if piece.rps > best:
            best = piece.rps
            chosen.append(piece)
    return tuple(chosen)
