"""What is remembered between two decisions, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kserve_has.allocation import Allocation

from .plan import Plan
from .slowness import TRUST, Slowness


@dataclass(frozen=True, slots=True)
class Rates:
    """What one newest sample and those before it say; holds until the next one.

    Attributes:
        sampled_s: when the newest sample ended.
        now_rps: rate to provision for now, before backlog and feedback.
        recent_rps: mean of the newest two samples.
        climb: sure rise, requests/s per second.
        surge: factor by which the rate surely rose within a cold start, at least 1.
    """

    sampled_s: float
    now_rps: float
    recent_rps: float
    climb: float
    surge: float = 1.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What the policy remembers of one service. The default is the cautious start.

    Attributes:
        feedback: factor on the demand; learnt from objectives missed and held.
        shrink_since_s: since when less would do, None while it would not.
        fewer_since_s: since when one replica less would do, None while it would not.
        scaled_at_s: when the number of replicas was last changed.
        thought_at_s: when their number was last thought about.
        idle_since_s: since when no request arrived, None while some do.
        more_since_s: since when one replica more would be cheaper, None while it would not.
        learnt_at_s: when the feedback was last corrected.
        short_at_s: when the replicas last held less than the demand.
        cold_start_s: measured time from creation to readiness, None before the first.
        starting: replicas seen on their way up, so that their readiness is noticed once.
        rates: figures of the newest sample.
        surges: (minute, highest factor by which the rate rose within a cold start), last hour.
        slow: what was learnt of single requests that are late.
        smallest: least area at work, SM x per cent.
        grown_at_s: when that last rose.
    """

    feedback: float = 1.0
    shrink_since_s: float | None = None
    fewer_since_s: float | None = None
    more_since_s: float | None = None
    scaled_at_s: float = float("-inf")
    thought_at_s: float = float("-inf")
    idle_since_s: float | None = None
    learnt_at_s: float = float("-inf")
    short_at_s: float = float("-inf")
    cold_start_s: float | None = None
    starting: frozenset[str] = frozenset()
    rates: Rates | None = None
    surges: tuple[tuple[int, float], ...] = ()
    slow: Slowness = TRUST
    smallest: int = 0
    grown_at_s: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Drain:
    """Pieces promised to a replica beside the one that is observed.

    Attributes:
        pieces: former and newest ones.
        since_s: when the newest was promised.
    """

    pieces: tuple[Allocation, ...]
    since_s: float


@dataclass(frozen=True, slots=True)
class State:
    """Everything remembered; losing it on a restart only delays what it was learnt for.

    Attributes:
        services: by service name.
        draining: former pieces of a replica that its node has not yet given up, and new ones
            that may not be observed yet, by (service, replica); they stay charged until the
            newest piece is in force.
    """

    services: Mapping[str, Memory] = field(default_factory=dict)
    draining: Mapping[tuple[str, str], Drain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now and what to remember for the next tick."""

    plan: Plan
    state: State


def changed(memory: Memory, **fields: object) -> Memory:
    """Return the memory with other fields, the very same one when nothing differs."""
    if all(getattr(memory, name) == value for name, value in fields.items()):
        return memory
    return replace(memory, **fields)  # type: ignore[arg-type]
