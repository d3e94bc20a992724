"""How many requests per second must be served within the objective during the next seconds.

The last rates stand for the next ones. A second that is busier than the provisioned demand is
lost as a whole, because the metrics arrive later than the objective; so the demand is the least
rate such that the busier seconds hold no more requests than the violations set aside for them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kserve_has.config.policy import PolicySettings

from .observation import Service, Traffic
from .state import Memory


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests per second to provision for, and what it is made of.

    Attributes:
        rps: what must be served within the objective, all of the below included.
        recent_rps: mean rate of the newest two samples.
        surge_rps: extrapolated rise.
        backlog_rps: rate that drains what is queued.
    """

    rps: float
    recent_rps: float
    surge_rps: float
    backlog_rps: float


def quantile_of_requests(rates: list[float], beyond: float) -> float:
    """Return the least rate such that faster seconds hold at most ``beyond`` of all requests.

    >>> quantile_of_requests([10.0] * 9 + [30.0], beyond=0.1)
    30.0
    >>> quantile_of_requests([10.0] * 9 + [30.0], beyond=0.3)
    10.0
    """
    allowed = beyond * sum(rates)
    lost = 0.0
    for rate in sorted(rates, reverse=True):
        lost += rate
        if lost > allowed:
            return rate
    return 0.0


def estimate(service: Service, memory: Memory, settings: PolicySettings) -> Demand:
    """Return the demand on a service; all zero when nothing arrived in the window."""
    traffic = service.traffic
    rates = [rps for age, rps in traffic.arrivals_rps if age <= settings.demand_window_s]
    recent = _recent(rates)
    beyond = service.slo.allowed_violation_rate * settings.demand_budget
    # Few samples cannot hold a rare second: the Poisson spread of the rate stands in for it.
    level = max(quantile_of_requests(rates, beyond), recent)
    surge = _surge(rates, settings)
    backlog = _backlog(service, settings)
    total = (max(level, recent + surge) + backlog) * memory.feedback
    return Demand(total, recent, surge, backlog)


def _recent(rates: list[float]) -> float:
    newest = rates[-2:]
    return sum(newest) / len(newest) if newest else 0.0


def _surge(rates: list[float], settings: PolicySettings) -> float:
    """Return the part of the newest rise that noise does not explain, times the gain."""
    before = rates[-8:-2]
    if len(before) < 3:
        return 0.0
    level = sum(before) / len(before)
    mean_square = sum((rate - level) ** 2 for rate in before) / len(before)
    noise = math.sqrt(max(level, mean_square, 1.0) / 2)
    rise = _recent(rates) - level - settings.surge_sigma * noise
    return max(0.0, rise) * settings.surge_gain


def _backlog(service: Service, settings: PolicySettings) -> float:
    """Return the rate that empties the queues beyond one request in service and one behind it."""
    held = 2 * service.concurrency * max(1, len(service.replicas))
    return max(0.0, service.traffic.in_flight - held) / settings.backlog_drain_s


def learn(
    traffic: Traffic, allowed: float, feedback: float, may_rise: bool, settings: PolicySettings
) -> float:
    """Return the next feedback factor: up while the objective is missed, slowly down otherwise.

    It rises only when the replicas already held the demanded capacity, so that a cold start
    teaches nothing about the latency model.
    """
    if traffic.answered_rps <= 0:
        return feedback
    excess = traffic.late_share / allowed - 1.0
    if excess > 0:
        step = settings.feedback_gain * min(excess, 1.0) if may_rise else 0.0
        return min(settings.feedback_limit, feedback + step)
    return max(1.0, feedback - settings.feedback_gain / 4)


def is_known(traffic: Traffic, settings: PolicySettings) -> bool:
    """Whether the traffic figures are fresh enough to act on."""
    return traffic.sample_age_s <= settings.stale_after_s and bool(traffic.arrivals_rps)
