"""Learning the prior from many measured networks: expectation maximisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import core
from .basis import Basis
from .core import Vector
from .hierarchy import CORE, FREEDOM, Points, Posterior, Prior


@dataclass(frozen=True)
class Assumption:
    """What is assumed before any network is seen.

    Attributes:
        core: spread of each core parameter over networks, log.
        departure: spread of each basis weight, log.
        networks: so many seen networks weigh as much as the assumption.
        least_noise: of a measurement where work, and where launches decide, log; what repeats
            show, since points fewer than parameters cannot tell noise from departures.
        rounds: of expectation maximisation; more fit the networks seen, not the next one.

    """

    core: float = 1.0
    departure: float = 0.08
    networks: float = 4.0
    least_noise: tuple[float, float] = (1e-3, 1e-3)
    rounds: int = 12


def learn(
    networks: Sequence[Points],
    basis: Basis,
    *,
    use_quota: bool = False,
    assumption: Assumption = Assumption(),
) -> Prior:
    """Return the prior that explains the networks best."""
    spread = np.r_[np.full(CORE, assumption.core), np.full(basis.size, assumption.departure)]
    guess = np.diag(spread**2)
    mean = np.zeros(CORE + basis.size)
    starts = [core.starting_point(p.batch, p.sm, np.exp(p.log_ms)) for p in networks]
    mean[:CORE] = np.mean(starts, axis=0)
    prior = Prior(basis, use_quota, mean, 4.0 * guess, (0.03, 0.06))
    designs = [prior.design(p) for p in networks]
    found: list[Posterior] = []
    for _ in range(assumption.rounds):
        begin: list[Vector | None] = [f.z for f in found] or [None] * len(networks)
        found = [prior.posterior(p, d, z) for p, d, z in zip(networks, designs, begin, strict=True)]
        mean, covariance = _moments(found, guess, assumption.networks)
        work, launch = _noise(prior, networks, designs, found)
        least = assumption.least_noise
        noise = (max(work, least[0]), max(launch, least[1]))
        prior = Prior(basis, use_quota, mean, covariance, noise)
    return prior


def _moments(found: Sequence[Posterior], guess: Vector, belief: float) -> tuple[Vector, Vector]:
    every = np.array([f.z for f in found])
    mean = every.mean(axis=0)
    mean[CORE:] *= len(found) / (len(found) + belief)
    away = every - mean
    total = sum((f.covariance for f in found), start=away.T @ away + belief * guess)
    return mean, total / (len(found) + belief)


def _noise(
    prior: Prior, networks: Sequence[Points], designs: Sequence[Vector], found: Sequence[Posterior]
) -> tuple[float, float]:
    """Return the noise where work decides and where launches do, from what is left over."""
    squares, bound = [], []
    for points, design, belief in zip(networks, designs, found, strict=True):
        value, slope = prior.evaluate(belief.z, points, design)
        unsure = np.einsum("ij,jk,ik->i", slope, belief.covariance, slope)
        left = (points.log_ms - value) ** 2
        weight = (FREEDOM + 1.0) / (FREEDOM + left / prior.variance(slope))
        squares.append(weight * left + unsure)
        bound.append(slope[:, 0])
    square, share = np.concatenate(squares), np.concatenate(bound)
    work, launch = (
        float(np.sqrt(np.average(square, weights=w**2 + 1e-9))) for w in (1.0 - share, share)
    )
    return work, launch
