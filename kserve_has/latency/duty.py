"""The law of a metered quota: how long a job of known GPU time takes.

The quota runtime grants ``q W`` of GPU time at the start of every quota window of length ``W``. A
job runs at full speed while that budget lasts and then pauses until the next window; a pod at
rest keeps up to ``spare`` of unspent time beyond the budget. Nothing pauses at a window's edge.

That holds for jobs of many launches. A captured graph is one launch: it starts while any budget is
left, runs whole, and what it overran delays the next; alone at rest it takes ``gpu_ms`` at any quota.
Measured on an H200: ``data/h200_quota_grid.csv``, ``data/h200_quota_networks.csv`` (graphs of 30 and 32
networks) and ``data/h200_quota.csv``, compared in ``tests/unit/kserve_has/test_duty.py`` and
``test_quota_data.py``.
"""

from __future__ import annotations

import math
from typing import Final

SPARE_MS: Final = 2.0  # AgentSettings.max_outstanding_ms


def alone_mean_ms(
    gpu_ms: float, quota_percent: int, quota_window_ms: float, spare_ms: float = SPARE_MS
) -> float:
    """Return the mean wall time of a job that finds a pod at rest, over a random phase, ms.

    With budget ``b = q W`` and first credit ``c = min(W, b + spare)``, a job that begins at most
    ``W - c`` into a window has ``c`` and then waits for the next one; a job that begins later reaches
    the window's edge without a pause.

    >>> alone_mean_ms(8.0, 20, 50.0), round(alone_mean_ms(25.0, 40, 50.0), 1)
    (8.0, 35.8)
    """
    share = quota_percent / 100.0
    budget, window = share * quota_window_ms, quota_window_ms
    credit = min(window, budget + spare_ms)
    if quota_percent >= 100 or gpu_ms <= budget:
        return gpu_ms
    pause, rest = window - budget, max(0.0, gpu_ms - credit)
    early = gpu_ms
    if rest > 0.0:
        early = (window + credit) / 2 + (math.ceil(rest / budget) - 1) * pause + rest
    pauses = _pauses(gpu_ms, budget) - _pauses(rest, budget)
    return ((window - credit) * early + credit * gpu_ms + pauses * pause) / window


def alone_ms(
    gpu_ms: float,
    quota_percent: int,
    quota_window_ms: float,
    phase_ms: float,
    spare_ms: float = SPARE_MS,
) -> float:
    """Return the wall time of a job that finds a pod at rest ``phase_ms`` into a window, ms.

    Window by window: at an edge the old balance is gone and the budget is granted anew.

    >>> alone_ms(20.0, 30, 50.0, 0.0), alone_ms(20.0, 30, 50.0, 40.0)
    (53.0, 20.0)
    """
    if quota_percent >= 100:
        return gpu_ms
    budget = quota_percent / 100.0 * quota_window_ms
    now, edge, left, work = 0.0, quota_window_ms - phase_ms, budget + spare_ms, gpu_ms
    while work > min(left, edge - now):
        work -= min(left, edge - now)
        now, edge, left = edge, edge + quota_window_ms, budget
    return now + work


def _pauses(gpu_ms: float, budget_ms: float) -> float:
    """Return the integral over x in 0..``gpu_ms`` of ``ceil(x / budget) - 1``."""
    whole = math.floor(gpu_ms / budget_ms)
    return budget_ms * whole * (whole - 1) / 2 + whole * (gpu_ms - whole * budget_ms)


def stream_mean_ms(gpu_ms: float, quota_percent: int) -> float:
    """Return the mean wall time of a job in an unbroken stream of them, milliseconds: ``g / q``."""
    return gpu_ms * 100.0 / quota_percent


def elapsed_upper_ms(gpu_ms: float, quota_percent: int, quota_window_ms: float) -> float:
    """Return the longest wall time of a job, milliseconds, also behind one that spent the budget.

    One pause more than the job needs by itself.
    """
    if quota_percent >= 100:
        return gpu_ms
    share = quota_percent / 100.0
    pauses = math.ceil(gpu_ms / (share * quota_window_ms))
    return gpu_ms + pauses * (1.0 - share) * quota_window_ms
