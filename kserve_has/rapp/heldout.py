"""Leaving networks out: fit each with a prior that never saw it, or its family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from .basis import Basis
from .choose import choose
from .core import Vector
from .hierarchy import Points, Prior
from .learn import Assumption, learn
from .metrics import Answers
from .network import FittedNetwork
from .points import Table

FEW: Final = 40
FOLDS: Final = 10


def folds_of(groups: int) -> int:
    """Return how many times a prior is learnt: once a group, or ten times where there are many."""
    return groups if groups <= FEW else FOLDS


def held_out_priors(
    table: Table, basis: Basis, group_of: Callable[[str], str], assumption: Assumption
) -> Iterator[tuple[Prior, tuple[str, ...]]]:
    """Yield a prior learnt without some networks, and those networks; whole groups stay together."""
    groups = sorted({group_of(name) for name in table.networks})
    order = np.random.default_rng(0).permutation(len(groups))
    for part in np.array_split(order, folds_of(len(groups))):
        out = {groups[i] for i in part}
        names = tuple(n for n in sorted(table.networks) if group_of(n) in out)
        rest = [p for n, p in sorted(table.networks.items()) if group_of(n) not in out]
        prior = learn(rest, basis, use_quota=len(basis.knots) > 2, assumption=assumption)
        yield prior, names


def surprises(prior: Prior, table: Table, names: Sequence[str], count: int) -> Vector:
    """Return how far the points not measured lie above their prediction, in deviations."""
    every = []
    for name in names:
        fitted, rest = fitted_to_few(prior, table, name, count, 1.0)
        value, deviation = fitted.log_belief(rest)
        every.append((rest.log_ms - value) / deviation)
    return np.concatenate(every)


def answers(prior: Prior, table: Table, name: str, count: int, deviations: float) -> Answers:
    """Return predictions of one network's other points after ``count`` chosen ones."""
    fitted, rest = fitted_to_few(prior, table, name, count, deviations)
    value, deviation = fitted.log_belief(rest)
    return Answers(np.exp(rest.log_ms), np.exp(value), np.exp(value + deviations * deviation))


def fitted_to_few(
    prior: Prior, table: Table, name: str, count: int, deviations: float
) -> tuple[FittedNetwork, Points]:
    """Return a network fitted to its ``count`` most telling points, and its other points."""
    points = table.networks[name]
    chosen = choose(prior, points, count)
    rest = points.take(np.setdiff1d(np.arange(len(points)), chosen))
    return FittedNetwork.fit(prior, points.take(chosen), deviations), rest
