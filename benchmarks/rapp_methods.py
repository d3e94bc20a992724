"""What the latency model is compared with: interpolation, and boosting on measured anchors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from kserve_has.latency.table import LatencyTable
from kserve_has.rapp.hierarchy import Points

CORNERS = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.5), (1.0, 0.5))
"""Places of 4 or 6 points, fractions of the log ranges of batch and SMs, for interpolation."""
INNER = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.5), (0.0, 1.0), (0.5, 0.7), (0.4, 0.25))
"""The same for boosting, which does better with them than with the corners."""


def spread_out(
    points: Points, count: int, places: Sequence[tuple[float, float]] = CORNERS
) -> np.ndarray:
    """Return indices of points near fixed places, for methods that cannot choose their own."""
    chosen: list[int] = []
    columns = [_unit(points.batch), _unit(points.sm)]
    for batch, sm in places[:count]:
        away = np.abs(columns[0] - batch) + np.abs(columns[1] - sm)
        away[chosen] = np.inf
        chosen.append(int(np.argmin(away)))
    return np.array(chosen)


def interpolated(points: Points, chosen: np.ndarray) -> np.ndarray:
    """Return log milliseconds of all points from a log-log table of the chosen ones."""
    by_batch: dict[int, dict[int, float]] = {}
    for i in chosen:
        ms = float(np.exp(points.log_ms[i]))
        by_batch.setdefault(int(points.batch[i]), {})[int(points.sm[i])] = ms
    table = LatencyTable({("m", "g"): by_batch})
    pieces = zip(points.batch, points.sm, strict=True)
    return np.log([table.gpu_ms("m", "g", int(b), int(s)) for b, s in pieces])


class AnchoredBoosting:
    """Boosting on the other networks' points, told the new network's measured anchors."""

    def __init__(self, networks: Sequence[Points], count: int) -> None:
        self.count = count
        rows, wanted = [], []
        for points in networks:
            x, anchor = self._features(points, spread_out(points, count, INNER))
            rows.append(x)
            wanted.append(points.log_ms - anchor)
        self.learner = HistGradientBoostingRegressor(
            max_iter=300, learning_rate=0.05, min_samples_leaf=10, random_state=0
        )
        self.learner.fit(np.concatenate(rows), np.concatenate(wanted))

    def predict(self, points: Points) -> np.ndarray:
        """Return log milliseconds of all points."""
        chosen = spread_out(points, self.count, INNER)
        x, anchor = self._features(points, chosen)
        return anchor + self.learner.predict(x)

    def _features(self, points: Points, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return features and the prediction of the interpolation, which boosting corrects."""
        anchor = interpolated(points, chosen)
        measured = points.log_ms[chosen]
        told = np.tile(measured - measured[0], (len(points), 1))
        x = np.column_stack((np.log(points.batch), np.log(points.sm), anchor - measured[0], told))
        return x, anchor


def _unit(values: np.ndarray) -> np.ndarray:
    logs = np.log(values)
    return (logs - logs.min()) / max(float(np.ptp(logs)), 1e-9)
