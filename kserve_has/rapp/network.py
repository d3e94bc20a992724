"""What is believed of one served model on one GPU: predictions with bounds, and what they learn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from .conformal import Bound
from .core import Vector
from .grid import Grid
from .hierarchy import FREEDOM, Points, Posterior, Prior

_KEPT_GRIDS: Final = 64


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A network's posterior and the bound that goes with it; unchanging, compared by identity.

    Attributes:
        prior: it was fitted with.
        belief: parameters and their covariance after its points.
        bound: of the upper side.

    """

    prior: Prior
    belief: Posterior
    bound: Bound

    @classmethod
    def fit(cls, prior: Prior, points: Points, deviations: float) -> FittedNetwork:
        """Return the network after its profile; no points are allowed."""
        return cls(prior, prior.posterior(points), Bound(deviations))

    def predict(self, grid: Grid, *, one_launch: bool = False) -> tuple[Vector, Vector, Vector]:
        """Return mean, upper and lower wall milliseconds of every configuration of a grid."""
        surface = self._surfaces.get(grid)
        if surface is None:
            if len(self._surfaces) >= _KEPT_GRIDS:
                self._surfaces.clear()
            surface = self._surfaces[grid] = self.surface(grid.batch, grid.sm)
        mean, upper, lower = grid.under_quota(*surface, one_launch=one_launch)
        return mean, upper, lower

    def surface(self, batch: Vector, sm: Vector) -> tuple[Vector, Vector, Vector]:
        """Return mean, upper and lower milliseconds without a quota."""
        none = np.zeros(len(batch))
        value, deviation = self.log_belief(Points(batch, sm, none + 100.0, none))
        reach = self.bound.deviations * deviation
        return np.exp(value), np.exp(value + reach), np.exp(value - reach)

    def observed(self, batch: int, sm: int, gpu_ms: float) -> FittedNetwork:
        """Return the network after one observation in production.

        The bound moves first, with the surprise the observation was; then the parameters are
        corrected by it as by one more profile point (an extended Kalman step, robust as the fit).
        """
        point = Points(*(np.array([v], dtype=float) for v in (batch, sm, 100, np.log(gpu_ms))))
        design = self.prior.design(point)
        value, slope = self.prior.evaluate(self.belief.z, point, design)
        gap = float(point.log_ms[0] - value[0])
        direction = self.belief.covariance @ slope[0]
        noise = float(self.prior.variance(slope)[0])
        unsure = float(slope[0] @ direction)
        surprise = gap / np.sqrt(unsure + noise)
        trust = (FREEDOM + 1.0) / (FREEDOM + surprise**2)
        gain = direction / (unsure + noise / trust)
        belief = replace(
            self.belief,
            z=self.belief.z + gain * gap,
            covariance=self.belief.covariance - np.outer(gain, direction),
        )
        return FittedNetwork(self.prior, belief, self.bound.after(float(surprise)))

    def log_belief(self, points: Points) -> tuple[Vector, Vector]:
        """Return log milliseconds at points and the standard deviation of a measurement there."""
        value, slope = self.prior.evaluate(self.belief.z, points, self.prior.design(points))
        unsure = np.einsum("ij,ij->i", slope @ self.belief.covariance, slope)
        return value, np.sqrt(np.maximum(unsure, 0.0) + self.prior.variance(slope))

    @cached_property
    def _surfaces(self) -> dict[Grid, tuple[Vector, Vector, Vector]]:
        return {}
