"""Many configurations at once, prepared so that asking again costs almost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..latency.duty import SPARE_MS
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
    budget_ms: Vector = field(init=False)
    credit_ms: Vector = field(init=False)
    pause_ms: Vector = field(init=False)

    def __post_init__(self) -> None:
        share = self.quota / 100.0
        window = self.quota_window_ms
        object.__setattr__(self, "budget_ms", share * window)
        object.__setattr__(self, "credit_ms", np.minimum(window, share * window + SPARE_MS))
        object.__setattr__(self, "pause_ms", (1.0 - share) * window)

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

    def under_quota(
        self, mean: Vector, upper: Vector, lower: Vector, *, one_launch: bool = False
    ) -> tuple[Vector, ...]:
        """Return wall milliseconds of every configuration from GPU milliseconds of every piece.

        The mean is that of a request alone over a random phase of the quota window; the upper
        bound allows for one that found the budget spent, the lower one for the best phase at rest
        (the law of :mod:`kserve_has.latency.duty`). ``one_launch``: of captured graphs, which wait for
        the debt of others only, nothing pausing them once they started.
        """
        top, bottom = upper[self.piece], lower[self.piece]
        most = np.ceil(top / self.budget_ms)
        most *= self.pause_ms
        most += top
        if one_launch:
            return mean[self.piece], most, bottom
        # The best phase spends the whole first credit just before a window's edge.
        least = np.ceil((bottom - self.credit_ms) / self.budget_ms)
        least -= 1.0
        np.maximum(least, 0.0, out=least)
        least *= self.pause_ms
        least += bottom
        return self._alone(mean[self.piece]), most, least

    def _alone(self, gpu_ms: Vector) -> Vector:
        """Return :func:`kserve_has.latency.duty.alone_mean_ms` of every configuration."""
        found = gpu_ms.copy()
        at = np.flatnonzero(gpu_ms > self.budget_ms)
        if not len(at):
            return found
        gpu, budget, credit = gpu_ms[at], self.budget_ms[at], self.credit_ms[at]
        pause, window = self.pause_ms[at], self.quota_window_ms
        rest = np.maximum(0.0, gpu - credit)
        waits = (window + credit) / 2 + (np.ceil(rest / budget) - 1) * pause + rest
        early = np.where(rest > 0.0, waits, gpu)
        pauses = _pauses(gpu, budget) - _pauses(rest, budget)
        found[at] = ((window - credit) * early + credit * gpu + pauses * pause) / window
        return found


def _pauses(gpu_ms: Vector, budget_ms: Vector) -> Vector:
    whole = np.floor(gpu_ms / budget_ms)
    found: Vector = budget_ms * whole * (whole - 1) / 2 + whole * (gpu_ms - whole * budget_ms)
    return found
