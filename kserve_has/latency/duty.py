"""The exact law of a metered quota: how long a job of known GPU time takes.

The quota runtime lets a replica use ``q`` of every quota window of length ``W``; the budget is
GPU time, refilled at the start of each window. A job that needs ``g`` of GPU time and starts at
a uniformly random phase therefore waits for a whole number of refills: it runs at full speed
while budget lasts and pauses ``(1 - q) W`` whenever it is spent.
"""

from __future__ import annotations

import math


def elapsed_mean_ms(gpu_ms: float, quota_percent: int, quota_window_ms: float) -> float:
    """Return the mean wall time of a job over a random phase, milliseconds.

    Each budget of ``q W`` that must be exhausted before the job ends costs one pause of
    ``(1 - q) W``; over a uniformly random phase the expected number of pauses is ``g / (q W)``.
    """
    if quota_percent >= 100:
        return gpu_ms
    share = quota_percent / 100.0
    pauses = gpu_ms / (share * quota_window_ms)
    return gpu_ms + pauses * (1.0 - share) * quota_window_ms


def elapsed_upper_ms(gpu_ms: float, quota_percent: int, quota_window_ms: float) -> float:
    """Return the longest wall time over all phases, milliseconds: one pause more than needed."""
    if quota_percent >= 100:
        return gpu_ms
    share = quota_percent / 100.0
    pauses = math.ceil(gpu_ms / (share * quota_window_ms))
    return gpu_ms + pauses * (1.0 - share) * quota_window_ms
