"""How many requests per second must be served within the objective during the next seconds.

A request that arrives in a second busier than the capacity is late, because figures reach the
policy later than the objective allows. So the level to provision is the rate such that busier
seconds hold no more requests than the violations set aside for them. Of the spread of the samples
only what Poisson noise does not explain counts: the queue's own formula holds the noise already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kserve_has.config.policy import PolicySettings

from .observation import Service, Traffic
from .state import Memory, Rates


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests per second to provision for, and what it is made of.

    Attributes:
        rps: what must be served within the objective now: sizes of pieces follow it.
        soon_rps: the same when a replica asked for now would be ready: their number follows it.
        recent_rps: mean rate of the newest two samples.
        backlog_rps: rate that drains what is queued.
    """

    rps: float
    soon_rps: float
    recent_rps: float
    backlog_rps: float


NOTHING = Demand(0.0, 0.0, 0.0, 0.0)


def quantile_of_requests(rates: Sequence[float], beyond: float) -> float:
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


def estimate(
    service: Service, memory: Memory, now_s: float, settings: PolicySettings
) -> tuple[Demand, Rates]:
    """Return the demand on a service, and the figures that hold until the next sample.

    All is zero when nothing arrived in the window.
    """
    arrivals = service.traffic.arrivals_rps
    sampled_s = now_s - arrivals[-1][0] if arrivals else now_s
    horizon = memory.cold_start_s if memory.cold_start_s is not None else settings.cold_start_s
    rates = memory.rates
    if rates is None or abs(rates.sampled_s - sampled_s) > 1e-3:
        rates = _read(service, sampled_s, horizon, settings)
    backlog = _backlog(service, settings)
    factor = memory.feedback
    demand = Demand(
        (rates.now_rps + backlog) * factor,
        (rates.now_rps + rates.climb * horizon + _spread_over(backlog, horizon, settings)) * factor,
        rates.recent_rps,
        backlog,
    )
    return demand, rates


def _spread_over(backlog: float, horizon_s: float, settings: PolicySettings) -> float:
    """Return the rate that empties the queues by the time a new replica is ready."""
    return backlog * settings.backlog_drain_s / max(horizon_s, settings.backlog_drain_s)


def _read(service: Service, sampled_s: float, horizon_s: float, settings: PolicySettings) -> Rates:
    window = settings.demand_window_s
    samples = [sample for sample in service.traffic.arrivals_rps if sample[0] <= window]
    if not samples:
        return Rates(sampled_s, 0.0, 0.0, 0.0)
    rates = [rps for _, rps in samples]
    step_s = _step(samples)
    beyond = service.slo.allowed_violation_rate * settings.demand_budget
    now = level(rates, step_s, beyond, settings)
    recent = sum(rates[-2:]) / len(rates[-2:])
    rise = _rise(rates, step_s, settings)
    if rise:
        now = max(now, recent + rise * settings.surge_gain)
    surge = surge_of(rates, step_s, horizon_s, settings.surge_sigma)
    return Rates(sampled_s, now, recent, _climb(rates, step_s, settings), surge)


def level(rates: Sequence[float], step_s: float, beyond: float, settings: PolicySettings) -> float:
    """Return the rate that stands for the samples: their mean plus the part that is not noise.

    Each sample is drawn towards the mean by the share of the spread that Poisson arrivals
    explain (the best linear guess of its true rate); the quantile is taken of what remains.
    """
    count = len(rates)
    mean = sum(rates) / count
    if mean <= 0.0:
        return 0.0
    noise = mean / step_s
    spread = sum((rate - mean) ** 2 for rate in rates) / count
    # A spread measured from few samples may be understated: allow for its own error.
    spread *= 1.0 + settings.spread_sigma * math.sqrt(2.0 / count)
    real = max(0.0, 1.0 - noise / spread) if spread > 0 else 0.0
    peak = quantile_of_requests(rates, beyond)
    # The mean itself is known from few arrivals.
    doubt = settings.mean_sigma * math.sqrt(mean / (step_s * count))
    return mean + doubt + max(0.0, peak - mean - doubt) * real


def _step(samples: Sequence[tuple[float, float]]) -> float:
    """Return the seconds between samples."""
    if len(samples) < 2:
        return 1.0
    return max(0.05, (samples[0][0] - samples[-1][0]) / (len(samples) - 1))


def _rise(rates: Sequence[float], step_s: float, settings: PolicySettings) -> float:
    """Return how far the newest rate stands above the ones before, when noise cannot be why."""
    before = rates[-10:-2]
    if len(before) < 3:
        return rates[-1] if len(rates) < 3 else 0.0
    mean = sum(before) / len(before)
    recent = (rates[-1] + rates[-2]) / 2
    # Either the newest sample alone or the newest two must stand out.
    variance = max(mean, 1.0) / step_s
    alone = rates[-1] - mean - settings.surge_sigma * 1.3 * math.sqrt(variance)
    pair = recent - mean - settings.surge_sigma * math.sqrt(variance / 2)
    if alone <= 0 and pair <= 0:
        return 0.0
    return max(rates[-1], recent) - mean


def _climb(rates: Sequence[float], step_s: float, settings: PolicySettings) -> float:
    """Return the slope, requests/s per second, when it is a rise that noise does not explain."""
    count = len(rates)
    if count < 8:
        return 0.0
    middle = (count - 1) / 2
    total = sum(rates)
    weight = count * (count * count - 1) / 12.0
    slope = (sum(i * rate for i, rate in enumerate(rates)) - middle * total) / weight
    error = math.sqrt(max(total / count, 1.0) / step_s / weight)
    sure = slope - settings.surge_sigma * error
    return max(0.0, sure) / step_s


def surge_of(rates: Sequence[float], step_s: float, horizon_s: float, sigma: float) -> float:
    """Return by which factor the newest rate surely exceeds the one a horizon ago, at least 1.

    >>> round(surge_of([10.0] * 30 + [100.0] * 2, 1.0, 12.0, 2.5), 1)
    8.2
    """
    back = max(2, round(horizon_s / step_s))
    before = rates[-back - 10 : -back]
    if len(before) < 3:
        return 1.0
    base = max(1.0, sum(before) / len(before))
    recent = (rates[-1] + rates[-2]) / 2
    return max(1.0, (recent - sigma * math.sqrt(max(recent, 1.0) / (2 * step_s))) / base)


def _backlog(service: Service, settings: PolicySettings) -> float:
    """Return the rate that empties the queues beyond one request in service and one behind it."""
    held = 2 * service.concurrency * max(1, len(service.replicas))
    return max(0.0, service.traffic.in_flight - held) / settings.backlog_drain_s


def learn(
    traffic: Traffic,
    allowed: float,
    feedback: float,
    blameless: bool,
    span_s: float,
    settings: PolicySettings,
    *,
    bursts: bool = False,
) -> float:
    """Return the next feedback factor after ``span_s`` seconds.

    Slowly, it steers the violations to the share of the allowed ones that is aimed at, upward and
    downward. Fast, it rises while the objective is clearly missed although the replicas held the
    demanded capacity (``blameless`` is False while they did not): the latency model is wrong then.
    Time that replicas borrow (``bursts``) is not theirs to rely on: it never lowers the demand.
    """
    if traffic.answered_rps <= 0:
        return feedback
    spent = traffic.late_share / allowed
    step = settings.feedback_gain * (min(spent, 3.0) - settings.violation_aim)
    late = traffic.late_share * traffic.answered_rps * 10.0
    if spent > 1.0 and late >= 3.0 and not blameless:
        step = max(step, settings.correction_gain * min(spent - 1.0, 1.0))
    after = feedback + step * min(span_s, 5.0)
    floor = 1.0 if bursts else settings.feedback_floor
    return min(settings.feedback_limit, max(floor, after))


def is_known(traffic: Traffic, settings: PolicySettings) -> bool:
    """Whether the traffic figures are fresh enough to act on."""
    return traffic.sample_age_s <= settings.stale_after_s and bool(traffic.arrivals_rps)
