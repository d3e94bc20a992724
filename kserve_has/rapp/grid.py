"""Many configurations at once, prepared so that asking again costs almost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .core import Vector


@dataclass(frozen=True, eq=False)
class Grid:
    """Configurations of batch, SMs and quota; compared by identity, so that answers can be kept.

    Attributes:
        batch, sm: of every distinct piece, whole numbers as floats.
        piece: which piece each configuration is on.
        quota: of each configuration, per cent.
        quota_window_ms: the quota window the runtime enforces.

    """

    batch: Vector
    sm: Vector
    piece: NDArray[np.intp]
    quota: Vector
    quota_window_ms: float = 50.0
    slowing: Vector = field(init=False)
    budget_ms: Vector = field(init=False)
    pause_ms: Vector = field(init=False)

    def __post_init__(self) -> None:
        share = self.quota / 100.0
        object.__setattr__(self, "slowing", 1.0 / share)
        object.__setattr__(self, "budget_ms", share * self.quota_window_ms)
        object.__setattr__(self, "pause_ms", (1.0 - share) * self.quota_window_ms)

    def __len__(self) -> int:
        return len(self.quota)

    @classmethod
    def of(
        cls,
        batch: Sequence[int],
        sm: Sequence[int],
        quota: Sequence[int],
        quota_window_ms: float = 50.0,
    ) -> Grid:
        """Return the grid of configurations given one by one."""
        pairs, piece = np.unique(np.array([batch, sm], dtype=float).T, axis=0, return_inverse=True)
        return cls(pairs[:, 0], pairs[:, 1], piece, np.array(quota, dtype=float), quota_window_ms)

    @classmethod
    def product(
        cls,
        batches: Sequence[int],
        sms: Sequence[int],
        quotas: Sequence[int],
        quota_window_ms: float = 50.0,
    ) -> Grid:
        """Return every combination, quota fastest, then SMs."""
        every = [(b, s, q) for b in batches for s in sms for q in quotas]
        batch, sm, quota = zip(*every, strict=True)
        return cls.of(batch, sm, quota, quota_window_ms)

    def under_quota(self, mean: Vector, upper: Vector, lower: Vector) -> tuple[Vector, ...]:
        """Return wall milliseconds of every configuration from GPU milliseconds of every piece.

        The mean is over a random phase of the quota window, the bounds over the worst and the
        best phase: one pause more, one pause fewer (the law of :mod:`kserve_has.latency.duty`).
        """
        top, bottom = upper[self.piece], lower[self.piece]
        most = np.ceil(top / self.budget_ms)
        least = np.ceil(bottom / self.budget_ms)
        least -= 1.0
        most *= self.pause_ms
        least *= self.pause_ms
        most += top
        least += bottom
        return mean[self.piece] * self.slowing, most, least
