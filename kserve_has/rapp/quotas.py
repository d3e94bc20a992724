"""Tables with quotas of metered windows: the law tells what a quota does, so nothing is learnt of it.

A network is fitted to points at full quota; at every other quota its latency is what the law of
:mod:`kserve_has.latency.duty` makes of the latency at full quota.
"""

from __future__ import annotations

import numpy as np

from ..errors import LatencyModelError
from ..latency.duty import alone_mean_ms
from .core import Vector
from .hierarchy import Points
from .metrics import Answers
from .network import FittedNetwork
from .points import Table


def full_quota(table: Table) -> Table:
    """Return the points at full quota.

    Raises:
        LatencyModelError: a network has none.

    """
    kept = {name: p.take(p.quota >= 100) for name, p in table.networks.items()}
    without = sorted(name for name, points in kept.items() if not len(points))
    if without:
        raise LatencyModelError(f"no points at quota 100 of {', '.join(without)}; measure some")
    return Table(kept, table.family, table.repeats)


def under_law(
    fitted: FittedNetwork,
    points: Points,
    deviations: float,
    quota_window_ms: float,
    *,
    one_launch: bool = False,
) -> Answers:
    """Return answers for points at any quota; the bound is that of the mean over phases."""
    value, deviation = fitted.log_belief(points)
    mean, upper = (
        law(np.exp(at), points.quota, quota_window_ms, one_launch=one_launch)
        for at in (value, value + deviations * deviation)
    )
    return Answers(np.exp(points.log_ms), mean, upper)


def law(
    gpu_ms: Vector, quota: Vector, quota_window_ms: float, *, one_launch: bool = False
) -> Vector:
    """Return the mean wall milliseconds of lone requests, one a point.

    ``one_launch``: of captured graphs, which nothing pauses once they started.
    """
    if one_launch:
        return gpu_ms
    pairs = zip(gpu_ms, quota, strict=True)
    return np.array([alone_mean_ms(float(g), round(q), quota_window_ms) for g, q in pairs])
