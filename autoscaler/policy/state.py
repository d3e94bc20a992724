"""What is remembered between two decisions, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kserve_has.allocation import Allocation

from .plan import Plan


@dataclass(frozen=True, slots=True)
class Memory:
    """What the policy remembers of one service. The default is the cautious start.

    Attributes:
        feedback: factor on the demand, 1 or more; learnt from missed objectives.
        shrink_since_s: since when less would do, None while it would not.
        fewer_since_s: since when one replica less would do, None while it would not.
        scaled_at_s: when the number of replicas was last changed.
        idle_since_s: since when no request arrived, None while some do.
    """

    feedback: float = 1.0
    shrink_since_s: float | None = None
    fewer_since_s: float | None = None
    scaled_at_s: float = float("-inf")
    idle_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Everything remembered; losing it on a restart only delays shrinking.

    Attributes:
        services: by service name.
        draining: former pieces of a replica that its node has not yet given up, by
            (service, replica); they stay charged until the newest piece is in force.
    """

    services: Mapping[str, Memory] = field(default_factory=dict)
    draining: Mapping[tuple[str, str], tuple[Allocation, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now and what to remember for the next tick."""

    plan: Plan
    state: State
