"""One simulated pod: its life, its piece of a GPU and what that costs."""

from __future__ import annotations

from dataclasses import dataclass

from kserve_has.allocation import Allocation

from ..policy.observation import Replica, ReplicaPhase
from .lane import Server


@dataclass(slots=True)
class Pod:
    """A pod of one service.

    Attributes:
        name: unique in the run.
        server: the part that works on requests.
        created_s: when it was made.
        phase: where it stands.
        allocation: desired piece, None while gated.
        in_force: whether the piece is in force.
        epoch: counts changes of the piece.
        billed: (SM x per cent, bytes) charged since ``billed_since_s``.
        area_s, memory_s, larger_s: charged so far: SM x per cent x seconds, bytes x seconds, GPU
            seconds of the larger share.
        leaving_s: when it was told to go.
    """

    name: str
    server: Server
    created_s: float
    phase: ReplicaPhase = ReplicaPhase.GATED
    allocation: Allocation | None = None
    in_force: bool = False
    epoch: int = 0
    billed_area: int = 0
    billed_since_s: float = 0.0
    area_s: float = 0.0
    larger_s: float = 0.0
    leaving_s: float = 0.0

    def bill(self, area: int, now: float, whole: float, memory_share: float) -> None:
        """Charge the former area up to now, and ``area`` from now on.

        Args:
            area: SM x per cent, 0 when nothing is held any more.
            now: the instant, seconds.
            whole: SM x per cent of a whole GPU.
            memory_share: of a GPU that the pod's memory takes while it holds a piece.
        """
        span = now - self.billed_since_s
        if self.billed_area:
            self.area_s += self.billed_area * span
            self.larger_s += max(self.billed_area / whole, memory_share) * span
        self.billed_area, self.billed_since_s = area, now

    def seen(self, now: float) -> Replica:
        """Return the pod as the policy observes it."""
        return Replica(self.name, self.phase, self.allocation, self.in_force, now - self.created_s)
