"""FaST-GShare's way: one efficient piece of a GPU per service, and more or fewer of it.

The piece has the most requests per second for its share of a GPU among those that meet the
objective; replicas follow the measured rate. Sizes never change in a running replica.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

from kserve_has.config.policy import PolicySettings
from kserve_has.latency import LatencyModel
from kserve_has.latency.duty import stream_mean_ms

from ...policy.capacity import Piece, ladder
from ...policy.observation import Observation, Service
from ...policy.plan import Plan
from ..scenario import Signals
from .packing import Wish, plan_for


@dataclass(frozen=True, slots=True)
class FastSettings:
    """How the replicas follow the rate.

    Attributes:
        tick_s: seconds between decisions.
        rate_s: the rate is the mean over so many seconds.
        load: share of a piece's capacity that is used at most.
        keep_s: the largest number wanted within so many seconds holds.
        slo_share: a piece must answer within this share of the objective when alone.
    """

    tick_s: float = 2.0
    rate_s: float = 10.0
    load: float = 0.7
    keep_s: float = 60.0
    slo_share: float = 0.6


class Fast:
    """Fractional and horizontal only."""

    def __init__(
        self, settings: FastSettings, policy: PolicySettings, latency: LatencyModel
    ) -> None:
        self.tick_s = settings.tick_s
        self._settings, self._policy, self._latency = settings, policy, latency
        self._pieces: dict[str, Piece] = {}
        self._wishes: dict[str, deque[tuple[float, int]]] = {}

    def decide(self, observation: Observation, signals: Signals) -> Plan:
        """Return as many efficient pieces as the rate needs."""
        wishes = {}
        for service in observation.services:
            piece = self._piece(service, observation)
            rate = self._rate(service, observation.now_s, signals)
            wanted = max(1, math.ceil(rate / (piece.rps * self._settings.load)))
            wishes[service.name] = Wish(self._held(service.name, observation.now_s, wanted), piece)
        return plan_for(observation, wishes)

    def _piece(self, service: Service, observation: Observation) -> Piece:
        piece = self._pieces.get(service.name)
        if piece is None:
            share, policy = self._settings.slo_share, self._policy
            piece = efficient_piece(service, observation, policy, self._latency, share)
            self._pieces[service.name] = piece
        return piece

    def _rate(self, service: Service, now_s: float, signals: Signals) -> float:
        recent = [
            second.rps
            for second in signals[service.name][-int(self._settings.rate_s) - 2 :]
            if second.visible_s <= now_s and second.at_s > now_s - self._settings.rate_s
        ]
        return sum(recent) / len(recent) if recent else 0.0

    def _held(self, name: str, now_s: float, wanted: int) -> int:
        wishes = self._wishes.setdefault(name, deque())
        wishes.append((now_s, wanted))
        while wishes[0][0] < now_s - self._settings.keep_s:
            wishes.popleft()
        return max(wish for _, wish in wishes)


def efficient_piece(
    service: Service,
    observation: Observation,
    policy: PolicySettings,
    latency: LatencyModel,
    slo_share: float,
) -> Piece:
    """Return the piece with the most throughput per share that answers early enough when alone.

    Its ``rps`` is the profiled throughput: one request after the other without a pause. Where no
    piece is fast enough, the fastest is taken.
    """
    geometry = observation.gpus[0].geometry
    best: Piece | None = None
    fastest: tuple[float, Piece] | None = None
    for piece in ladder(service, geometry, policy, latency).pieces:
        known = latency.predict(
            service.served_model, geometry.product, service.batch, piece.sm, piece.quota
        )
        whole = latency.predict(
            service.served_model, geometry.product, service.batch, piece.sm, 100
        )
        profiled = replace(piece, rps=1000.0 / stream_mean_ms(whole.mean_ms, piece.quota))
        if fastest is None or known.upper_ms < fastest[0]:
            fastest = (known.upper_ms, profiled)
        if known.upper_ms > slo_share * service.slo.latency_ms:
            continue
        if best is None or profiled.rps / profiled.area > best.rps / best.area:
            best = profiled
    assert fastest is not None  # a ladder always has a piece
    return best or fastest[1]
