"""A network measured at hundreds of points: a Gaussian process that also knows shared disturbances.

Points of one (batch, SMs) are measured in one session and share what disturbed it, as do points of
one (batch, quota); such groups get a part of their own beside two smooth parts. One network's
points are few enough for the exact solution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .core import Vector
from .hierarchy import FREEDOM, Points

_REWEIGHTINGS = 3


@dataclass(frozen=True)
class Kernel:
    """Sizes (log) of the parts of a surface; chosen on the validation rows of the V100 data.

    Attributes:
        shape, detail: of the smooth parts, wide and narrow.
        session: of what points of one batch and SM count share.
        sms: of what points of one SM count and quota share.
        quotas: of what points of one batch and quota share.
        noise: of a single point.

    """

    shape: float = 1.0
    detail: float = 0.1
    session: float = 0.03
    sms: float = 0.02
    quotas: float = 0.04
    noise: float = 0.03

    def between(self, one: Points, other: Points) -> Vector:
        """Return the covariance of log latencies, shape (one, other)."""
        gaps = [
            np.log(getattr(one, c))[:, None] - np.log(getattr(other, c))[None, :]
            for c in ("batch", "sm", "quota")
        ]
        batch, sm, quota = gaps
        same_batch, same_sm, same_quota = (np.abs(gap) < 1e-9 for gap in gaps)
        covariance: Vector = (
            self.shape**2 * _smooth(batch / 2.0, sm, quota)
            + self.detail**2 * _smooth(batch / 0.7, sm / 0.25, quota / 0.3)
            + self.session**2 * same_batch * same_sm * _smooth(quota / 0.5)
            + self.sms**2 * same_sm * same_quota * _smooth(batch)
            + self.quotas**2 * same_batch * same_quota * _smooth(sm / 0.3)
        )
        return covariance


class DenseNetwork:
    """One network's surface from its own points alone."""

    def __init__(self, points: Points, kernel: Kernel = Kernel()) -> None:
        self._points, self._kernel = points, kernel
        self._mean = float(points.log_ms.mean())
        wanted = points.log_ms - self._mean
        covariance = kernel.between(points, points)
        variance = np.full(len(points), kernel.noise**2)
        for _ in range(_REWEIGHTINGS):
            root = np.linalg.cholesky(covariance + np.diag(variance))
            self._weights = np.linalg.solve(root.T, np.linalg.solve(root, wanted))
            left = wanted - covariance @ self._weights
            # Student noise: a wrong label gets a large variance and pulls little.
            variance = kernel.noise**2 * (FREEDOM + (left / kernel.noise) ** 2) / (FREEDOM + 1.0)
        self._root = root

    def left_out(self) -> Vector:
        """Return log milliseconds of every own point as predicted from the others."""
        inverse = np.linalg.inv(self._root)
        values: Vector = self._points.log_ms - self._weights / (inverse**2).sum(axis=0)
        return values

    def log_belief(self, points: Points) -> tuple[Vector, Vector]:
        """Return log milliseconds at points and the standard deviation of a measurement there."""
        across = self._kernel.between(points, self._points)
        value = self._mean + across @ self._weights
        known = np.linalg.solve(self._root, across.T)
        own = np.diag(self._kernel.between(points, points))
        unsure = np.maximum(own - (known**2).sum(axis=0), 0.0)
        return value, np.sqrt(unsure + self._kernel.noise**2)


def _smooth(*gaps: Vector) -> Vector:
    likeness: Vector = np.exp(-0.5 * sum((g**2 for g in gaps), start=np.zeros(())))
    return likeness
