"""When single requests are slower than predicted: larger pieces are asked for, not more of them.

A late answer has waited, or its piece is too slow for it. More capacity helps against the first
only. By Little's law the chance to find a replica at work is at most rate x latency over replicas;
late answers beyond that share have found an idle one. When these alone break the objective, and
even the median is beyond the bound predicted for the slowest piece, the predictions are multiplied
by what was observed over what was predicted, so that the ladder leaves out the pieces that are too
slow. The factor is bounded, falls slowly, and is given up where it brought nothing: the time is
spent in the client, the network or the model server then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from kserve_has.config.policy import PolicySettings
from kserve_has.slo import Slo

from .observation import Traffic

LATENCY_WINDOW_S: Final = 12.0  # observed latencies cover ten seconds and reach us later
_STEPS: Final = 20  # of 5 %: every step is a ladder of its own, so they must be few
_RISE_STEPS: Final = 2  # what was seen is believed in parts: the gateway's buckets are 15 % wide
_HELPED: Final = 0.5  # share of late answers, and of the predicted gain, that tells help from none
_CONTRAST: Final = 1.25  # between predictions, from which a gain shows in buckets 15 % wide


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of the pieces at work.

    Attributes:
        traffic: what the gateway saw.
        slo: the objective.
        replicas: at work.
        slowest_ms: what the latency model says of a request alone on the slowest piece.
    """

    traffic: Traffic
    slo: Slo
    replicas: int
    slowest_ms: float


@dataclass(frozen=True, slots=True)
class Slowness:
    """What was learnt of single requests that are late. The default is to trust the predictions.

    Attributes:
        factor: on predicted latencies, at least 1, in steps of 5 %.
        set_s: when the factor last changed.
        late_since_s: since when answers are late that have not waited, None while none are.
        first: what was seen when the factor left 1, None while it is 1.
        barred_until_s: until when nothing is tried because it brought nothing.
    """

    factor: float = 1.0
    set_s: float = float("-inf")
    late_since_s: float | None = None
    first: Look | None = None
    barred_until_s: float = float("-inf")


TRUST: Final = Slowness()


def is_suspect(traffic: Traffic, slo: Slo) -> bool:
    """Whether it is worth a look: more answers are late, not only failed, than is allowed."""
    return (
        traffic.latency_ms is not None
        and traffic.latency_ms > slo.latency_ms
        and traffic.late_share > slo.allowed_violation_rate
        and traffic.late_share * traffic.answered_rps * 10.0 >= 3.0
    )


def is_slow(look: Look, slow: Slowness, settings: PolicySettings) -> bool:
    """Whether the pieces are too slow for a request alone although they are predicted not to be.

    Where requests come in bunches many wait although replicas are idle for most of the time. But
    then half of them have not waited, or others for more than a service: latencies beyond what the
    factor may reach are not this module's matter.
    """
    if (look.traffic.median_ms or 0.0) <= look.slowest_ms:
        return False
    first_ms = look.slowest_ms if slow.first is None else slow.first.slowest_ms
    if (look.traffic.latency_ms or 0.0) > settings.slow_limit * max(look.slowest_ms, first_ms):
        return False
    unexplained = look.traffic.late_share - busy_share(look)
    return look.slowest_ms < look.slo.latency_ms and unexplained > look.slo.allowed_violation_rate


def busy_share(look: Look) -> float:
    """Return the share of requests that found their replica at work, at most, 0..1.

    Of the busiest second in the latency window, as if all took as long as the slowest.
    """
    traffic = look.traffic
    rates = [rps for age_s, rps in traffic.arrivals_rps if age_s <= LATENCY_WINDOW_S]
    busiest = max([traffic.answered_rps, *rates])
    return min(1.0, busiest * (traffic.latency_ms or 0.0) / 1000.0 / look.replicas)


def learn(
    slow: Slowness, late: Look | None, slo: Slo, now_s: float, settings: PolicySettings
) -> Slowness:
    """Return what is known after another second.

    Args:
        slow: what was known.
        late: a look that :func:`is_slow` at pieces that have served the whole window, else None.
        slo: the objective.
        now_s: the observation's instant.
        settings: of the policy.
    """
    if late is None:
        if slow.factor > 1.0 and now_s - slow.set_s >= _keep_s(slo, settings):
            return replace(_with(slow, slow.factor - 1 / _STEPS), set_s=now_s, late_since_s=None)
        return slow if slow.late_since_s is None else replace(slow, late_since_s=None)
    if slow.late_since_s is None:
        slow = replace(slow, late_since_s=now_s)
    since_s = slow.late_since_s
    if since_s is None or now_s - since_s < settings.slow_after_s or now_s < slow.barred_until_s:
        return slow
    first = slow.first or late
    if slow.factor > 1.0 and _brought_nothing(first, late, at_limit(slow, settings)):
        return Slowness(1.0, now_s, since_s, None, now_s + settings.slow_retry_s)
    if at_limit(slow, settings):
        return slow
    return Slowness(_raised(slow.factor, late, settings), now_s, None, first)


def at_limit(slow: Slowness, settings: PolicySettings) -> bool:
    """Whether predictions are taken for as slow as they ever are."""
    return slow.factor >= _in_steps(settings.slow_limit)


def _brought_nothing(first: Look, late: Look, limit: bool) -> bool:
    """Whether as many answers are late as before, and no larger piece promises to change that.

    Before the limit that is known when pieces are clearly faster by prediction only.
    """
    if late.traffic.late_share <= _HELPED * first.traffic.late_share:
        return False
    gain = late.slowest_ms / first.slowest_ms
    expected = 1.0 - _HELPED * (1.0 - gain)
    slow = (late.traffic.latency_ms or 0.0) > expected * (first.traffic.latency_ms or 0.0)
    return limit or (slow and gain * _CONTRAST <= 1.0)


def _raised(factor: float, late: Look, settings: PolicySettings) -> float:
    """Return the factor after a rise towards what was observed, in few steps.

    One rise leaves out the slowest piece: nothing would change otherwise.
    """
    step = 1 / _STEPS
    seen_ms = (late.traffic.latency_ms or 0.0, late.slo.latency_ms)
    observed, useful = (math.ceil(ms / late.slowest_ms * _STEPS - 1e-9) / _STEPS for ms in seen_ms)
    most = max(factor + _RISE_STEPS * step, useful)
    return min(_in_steps(settings.slow_limit), _in_steps(min(most, max(factor + step, observed))))


def _keep_s(slo: Slo, settings: PolicySettings) -> float:
    """Return how long a factor is kept: trying less spends no more than the violations aimed at."""
    aim = max(0.01, settings.violation_aim) * slo.allowed_violation_rate
    return (LATENCY_WINDOW_S + settings.slow_after_s) / aim


def taken_over(slow: Slowness, rise: float) -> Slowness:
    """Return what remains when the model's own predictions rose by a factor."""
    if slow.factor == 1.0 or rise <= 1.0:
        return slow
    return _with(slow, slow.factor / rise)


def _with(slow: Slowness, factor: float) -> Slowness:
    factor = _in_steps(factor)
    return replace(slow, factor=factor, first=slow.first if factor > 1.0 else None)


def _in_steps(factor: float) -> float:
    """Return the nearest step, at least 1; equal steps are equal numbers."""
    return max(_STEPS, round(factor * _STEPS)) / _STEPS
