"""The random split, as RaPP was published with it: a few rows hidden in an otherwise known table.

This is interpolation. With hundreds of points a network its own surface tells most
(:mod:`kserve_has.rapp.dense`), and gradient boosting over all networks some of the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from .basis import Basis
from .core import Vector
from .dense import DenseNetwork
from .hierarchy import Points
from .learn import learn
from .metrics import Answers
from .network import FittedNetwork
from .points import Table

TEST_SHARE: Final = 0.05
VALIDATION_SHARE: Final = 0.1
DENSE: Final = 60
"""Known points of a typical network from which on its own surface beats what networks share."""

Believer = Callable[[Points], tuple[Vector, Vector]]
Correction = Callable[[int, Points, Vector], Vector]


def hidden_rows(table: Table, basis: Basis, seed: int) -> dict[str, Answers]:
    """Return answers for 5 % of the rows; 10 % more only set how far the bound reaches."""
    draw = np.random.default_rng(seed)
    hidden, checked, known = {}, {}, {}
    for name, points in sorted(table.networks.items()):
        toss = draw.random(len(points))
        hidden[name] = points.take(toss < TEST_SHARE)
        checked[name] = points.take((toss >= TEST_SHARE) & (toss < TEST_SHARE + VALIDATION_SHARE))
        rest = points.take(toss >= TEST_SHARE + VALIDATION_SHARE)
        if len(rest):
            known[name] = rest
    typical = np.median([len(p) for p in known.values()])
    believers = _dense(known) if typical >= DENSE else _shared(known, basis)
    above = [_surprise(believers[name], checked[name]) for name in known]
    deviations = float(np.quantile(np.concatenate(above), 0.95))
    found = {}
    for name in known:
        points = hidden[name]
        if len(points):
            value, deviation = believers[name](points)
            upper = np.exp(value + deviations * deviation)
            found[name] = Answers(np.exp(points.log_ms), np.exp(value), upper)
    return found


def _shared(known: Mapping[str, Points], basis: Basis) -> dict[str, Believer]:
    prior = learn(list(known.values()), basis, use_quota=len(basis.knots) > 2)
    return {n: FittedNetwork.fit(prior, p, 1.0).log_belief for n, p in known.items()}


def _dense(known: Mapping[str, Points]) -> dict[str, Believer]:
    networks = [DenseNetwork(points) for points in known.values()]
    correct = _boosted(list(known.values()), [network.left_out() for network in networks])

    def believer(index: int) -> Believer:
        def believe(points: Points) -> tuple[Vector, Vector]:
            value, deviation = networks[index].log_belief(points)
            return value + correct(index, points, value), deviation

        return believe

    return {name: believer(index) for index, name in enumerate(known)}


def _boosted(known: list[Points], predicted: list[Vector]) -> Correction:
    """Return what boosting adds, learnt from how each point differs from what the others tell."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError:  # the figures are then those of the surfaces alone
        return lambda _index, _points, value: np.zeros_like(value)

    def features(index: int, points: Points, value: Vector) -> Vector:
        columns = (np.full(len(points), index), points.batch, points.sm, points.quota, value)
        return np.stack(columns, axis=1)

    rows = [features(i, p, v) for i, (p, v) in enumerate(zip(known, predicted, strict=True))]
    left = [p.log_ms - v for p, v in zip(known, predicted, strict=True)]
    learner = HistGradientBoostingRegressor(
        loss="absolute_error",
        max_iter=200,
        learning_rate=0.05,
        max_leaf_nodes=31,
        categorical_features=[0],
        early_stopping=False,
        random_state=0,
    )
    learner.fit(np.concatenate(rows), np.concatenate(left))

    def correct(index: int, points: Points, value: Vector) -> Vector:
        if not len(points):
            return np.zeros(0)
        correction: Vector = learner.predict(features(index, points, value))
        return correction

    return correct


def _surprise(believe: Believer, points: Points) -> Vector:
    value, deviation = believe(points)
    surprise: Vector = (points.log_ms - value) / deviation
    return surprise
