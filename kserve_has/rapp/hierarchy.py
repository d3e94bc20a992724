"""What networks have in common, learnt from many, so that a new one needs few points.

Every network has a vector ``z = (log core parameters, weights of the basis)``. Over networks ``z``
is normal around a mean that may depend on features of the network. Mean and covariance are found
by expectation maximisation; a new network's ``z`` is its most likely value given its points
(Levenberg-Marquardt on the core, which alone is not linear), with the covariance that is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from . import core
from .basis import Basis
from .core import Vector

CORE = len(core.PARAMETERS)
REWEIGHTINGS = 4
FREEDOM = 5.0
"""Degrees of freedom of the noise (Student): single wrong labels pull little."""


@dataclass(frozen=True)
class Points:
    """Measured points of one network.

    Attributes:
        batch, sm, quota: one value a point; quota in per cent.
        log_ms: logarithm of the measured milliseconds.

    """

    batch: Vector
    sm: Vector
    quota: Vector
    log_ms: Vector

    def take(self, index: Vector) -> Points:
        """Return the points of an index or mask."""
        return Points(self.batch[index], self.sm[index], self.quota[index], self.log_ms[index])

    def __len__(self) -> int:
        return len(self.log_ms)


@dataclass(frozen=True)
class Posterior:
    """What is believed of one network.

    Attributes:
        z: most likely log core parameters and basis weights.
        covariance: of ``z``.
        noise: standard deviation of one measurement where work, and where launches decide, log.

    """

    z: Vector
    covariance: Vector
    noise: tuple[float, float]


@dataclass
class Prior:
    """What is believed of a network nothing was measured of.

    Attributes:
        basis: of the departures from the core.
        use_quota: whether quota is one of the basis' dimensions.
        mean: of ``z``.
        covariance: of ``z`` over networks.
        noise: standard deviation of one measurement where work, and where launches decide, log.

    """

    basis: Basis
    use_quota: bool
    mean: Vector
    covariance: Vector
    noise: tuple[float, float]
    precision: Vector = field(init=False)

    def __post_init__(self) -> None:
        self.precision = np.linalg.inv(self.covariance)

    def design(self, points: Points) -> Vector:
        """Return the basis functions at the points."""
        columns = (points.batch, points.sm) + ((points.quota,) if self.use_quota else ())
        return self.basis.at(*columns)

    def posterior(
        self, points: Points, design: Vector | None = None, start: Vector | None = None
    ) -> Posterior:
        """Return what is believed after seeing points; ``start`` is a guess that saves steps."""
        design = self.design(points) if design is None else design
        z = self.mean if start is None else start
        if len(points) == 0:
            return Posterior(z, self.covariance, self.noise)
        weights = np.full(len(points), self.noise[0] ** -2)
        hessian = self.precision
        for _ in range(REWEIGHTINGS):
            z, hessian = self._solve(points, design, weights, z)
            value, slope = self.evaluate(z, points, design)
            variance = self.variance(slope)
            left = (points.log_ms - value) ** 2 / variance
            weights = (FREEDOM + 1.0) / (FREEDOM + left) / variance
        return Posterior(z, np.linalg.inv(hessian), self.noise)

    def variance(self, slope: Vector) -> Vector:
        """Return the noise variance of a measurement: jitter of the host where it is waited for."""
        bound = slope[:, 0]
        return bound * self.noise[1] ** 2 + (1.0 - bound) * self.noise[0] ** 2

    def evaluate(self, z: Vector, points: Points, design: Vector) -> tuple[Vector, Vector]:
        """Return log milliseconds and their derivative by ``z``."""
        value, slope = core.log_ms(z[:CORE], points.batch, points.sm)
        return value + design @ z[CORE:], np.hstack((slope, design))

    def _solve(
        self, points: Points, design: Vector, weights: Vector, z: Vector
    ) -> tuple[Vector, Vector]:
        damping = 1e-3

        def cost(at: Vector) -> float:
            left = points.log_ms - self.evaluate(at, points, design)[0]
            away = at - self.mean
            return float(left @ (weights * left) + away @ self.precision @ away)

        now = cost(z)
        hessian = self.precision
        for _ in range(12):
            value, slope = self.evaluate(z, points, design)
            gradient = slope.T @ (weights * (points.log_ms - value)) - self.precision @ (
                z - self.mean
            )
            hessian = slope.T @ (weights[:, None] * slope) + self.precision
            while damping < 1e6:
                step = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
                tried = cost(z + step)
                if tried < now:
                    break
                damping *= 10
            else:
                return z, hessian
            z, gain, now = z + step, now - tried, tried
            damping = max(damping / 10, 1e-9)
            if gain < 1e-6 * (1.0 + now):
                break
        return z, hessian
