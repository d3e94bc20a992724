"""Settings of the autoscaling policy."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import setting


@dataclass(frozen=True)
class PolicySettings:
    """How the policy weighs latency against cost; every default names its reason."""

    demand_window_s: float = setting(
        45.0,
        unit="s",
        low=5,
        high=600,
        why="Rates of the last 45 s stand for the next seconds: long enough to hold the peaks of "
        "second-by-second noise, short enough to forget a surge within a minute.",
    )
    demand_budget: float = setting(
        0.4,
        low=0.01,
        high=1.0,
        why="Share of the objective's allowed violations that may fall into seconds busier than "
        "the demand the policy provisions for.",
    )
    queueing_budget: float = setting(
        0.4,
        low=0.01,
        high=1.0,
        why="Share of the allowed violations that queueing may cause while the rate is exactly "
        "the provisioned demand; below that rate queueing causes far fewer.",
    )
    spread_sigma: float = setting(
        1.0,
        low=0,
        high=5,
        why="The spread of 45 samples is uncertain by a fifth; one standard error is added, so "
        "that bursts are believed a little before they are proven.",
    )
    mean_sigma: float = setting(
        1.0,
        low=0,
        high=5,
        why="The mean of few arrivals is uncertain; one standard error is added.",
    )
    cold_start_s: float = setting(
        12.0,
        unit="s",
        low=0,
        high=3600,
        why="Until a replica's start was measured: framework import, context and weights of a "
        "small model take about twelve seconds on an H200 host.",
    )
    surge_sigma: float = setting(
        2.5,
        low=0,
        high=6,
        why="A rise of the newest rate counts only beyond 2.5 standard deviations of Poisson "
        "noise, so that constant load causes no motion.",
    )
    surge_gain: float = setting(
        0.5,
        low=0,
        high=3,
        why="Half of a significant rise is expected once more within the metric lag.",
    )
    backlog_drain_s: float = setting(
        1.0,
        unit="s",
        low=0.1,
        high=60,
        why="Queued requests beyond what the replicas hold are to be gone in one second: older "
        "ones have missed their objective anyway.",
    )
    stale_after_s: float = setting(
        10.0,
        unit="s",
        low=1,
        high=120,
        why="Ten missed scrapes mean that nothing is known; nothing is shrunk on old figures.",
    )
    settle_s: float = setting(
        1.0,
        unit="s",
        low=0,
        high=60,
        why="A watch shows our own patch within a second; until then both pieces are charged.",
    )
    grow_headroom: float = setting(
        1.05,
        low=1.0,
        high=2.0,
        why="Growing 5 % past the demand saves the next resize when the rate creeps up.",
    )
    slow_loop_s: float = setting(
        1.0,
        unit="s",
        low=0.1,
        high=60,
        why="The number of replicas is thought about once a sample, or at once where resizing "
        "cannot serve the demand; pieces are resized five times a second.",
    )
    shrink_below: float = setting(
        0.85,
        low=0.1,
        high=1.0,
        why="A replica set shrinks only when 85 % of what it holds would do: the band in which "
        "constant load with noise causes no motion.",
    )
    shrink_after_s: float = setting(
        8.0,
        unit="s",
        low=0,
        high=600,
        why="Shrinking is free to undo within milliseconds, so eight quiet seconds are enough.",
    )
    idle_rps: float = setting(
        1.0,
        unit="requests/s",
        low=0.001,
        high=1000,
        why="A service that is not parked is ready for one request a second: the next request "
        "is answered within the objective, and resizing follows from there.",
    )
    scale_in_after_s: float = setting(
        30.0,
        unit="s",
        low=0,
        high=3600,
        why="Removing a replica costs a cold start to undo, so the room must be proven longer.",
    )
    scale_in_headroom: float = setting(
        1.15,
        low=1.0,
        high=3.0,
        why="The replicas that stay must reach 15 % more than the demand, or the next peak would "
        "bring the removed one back.",
    )
    scale_out_saving: float = setting(
        0.85,
        low=0.1,
        high=1.0,
        why="A replica more for cost's sake alone must save 15 %, or a cold start is wasted.",
    )
    scale_out_after_s: float = setting(
        30.0,
        unit="s",
        low=0,
        high=3600,
        why="A replica more for cost's sake alone is no hurry.",
    )
    feedback_limit: float = setting(
        1.6,
        low=1.0,
        high=5.0,
        why="The latency model may be wrong by 60 % before somebody should look at it.",
    )
    feedback_floor: float = setting(
        0.7,
        low=0.1,
        high=1.0,
        why="Bounds and forecasts are cautious; where nothing is ever late, a third is saved, and "
        "not more, because a quiet hour proves nothing about the next.",
    )
    feedback_gain: float = setting(
        0.001,
        low=0.0,
        high=1.0,
        why="Per second and allowed violation rate: an hour without late answers uses the whole "
        "range, a surge does not move it.",
    )
    violation_aim: float = setting(
        0.3,
        low=0.0,
        high=1.0,
        why="Share of the allowed violations to use: the rest is for what nobody foresees.",
    )
    correction_gain: float = setting(
        0.02,
        low=0.0,
        high=1.0,
        why="While the objective is missed with the demanded capacity in force, the demand rises "
        "by up to 2 % a second: slower than vertical scaling, so no oscillation.",
    )
    slow_limit: float = setting(
        1.5,
        low=1.0,
        high=3.0,
        why="Single requests may take half as long again as predicted before somebody should look "
        "at the profile; 1 trusts the predictions whatever is observed.",
    )
    slow_after_s: float = setting(
        4.0,
        unit="s",
        low=0,
        high=600,
        why="Figures of ten seconds must say in four seconds more that single requests are too "
        "slow: one odd sample moves nothing.",
    )
    slow_retry_s: float = setting(
        900.0,
        unit="s",
        low=60,
        high=86400,
        why="Where larger pieces brought nothing the time is spent elsewhere; they are tried for a "
        "minute in a quarter of an hour, which costs about 3 %.",
    )
    quota_step: int = setting(
        10,
        unit="%",
        low=1,
        high=100,
        why="Finer steps save less than one SM group and cause more resizes.",
    )
    min_quota: int = setting(
        20,
        unit="%",
        low=1,
        high=100,
        why="Below 10 ms of a 50 ms quota window pauses dominate the latency.",
    )
    parked_quota: int = setting(
        10,
        unit="%",
        low=1,
        high=100,
        why="A parked replica answers probes and keeps its memory; it needs next to no time.",
    )
    parked_after_s: float = setting(
        300.0,
        unit="s",
        low=1,
        high=3600,
        why="The requests that wake a parked service are late, so only a long silence parks it.",
    )
    pool_surge: float = setting(
        2.5,
        low=1.0,
        high=20.0,
        why="Before any surge was seen, warm replicas for two and a half times the demand are "
        "kept: a parked one costs less than a hundredth of a GPU, a cold start many seconds.",
    )
    pool_quantile: float = setting(
        0.95,
        low=0.0,
        high=1.0,
        why="Of the highest rises of each of the last sixty minutes the third highest counts.",
    )
    pool_keep_s: float = setting(
        300.0,
        unit="s",
        low=0,
        high=86400,
        why="A parked spare costs so little that a surge every five minutes still pays for it.",
    )
    pool_overhead: float = setting(
        0.1,
        low=0.0,
        high=2.0,
        why="Parked spares may cost a tenth of what the working replicas do, memory included.",
    )
    zero_after_s: float = setting(
        900.0,
        unit="s",
        low=10,
        high=86400,
        why="True zero costs a cold start of many seconds to undo and saves a parked piece only.",
    )
