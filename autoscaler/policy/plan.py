"""What the policy wants done, in an order in which every prefix is safe to stop after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kserve_has.allocation import Allocation


class Reason(StrEnum):
    """Why an action was taken or withheld; also the reason of the Kubernetes Event."""

    DEMAND_ROSE = "DemandRose"
    DEMAND_FELL = "DemandFell"
    BACKLOG = "Backlog"
    BELOW_MINIMUM = "BelowMinimum"
    ABOVE_MAXIMUM = "AboveMaximum"
    GPU_FULL = "GpuFull"
    NEW_REPLICA = "NewReplica"
    CHEAPER = "Cheaper"
    REPLACED = "Replaced"
    PARKED = "Parked"
    WARM_POOL = "WarmPool"
    YIELDED = "Yielded"
    WITHIN_BAND = "WithinBand"
    COOLDOWN = "Cooldown"
    NO_DATA = "NoData"
    NO_ROOM = "NoRoom"
    UNKNOWN_MODEL = "UnknownModel"
    AT_BOUND = "AtBound"
    TOO_SLOW = "TooSlow"


@dataclass(frozen=True, slots=True)
class Because:
    """A reason and the numbers that made it, so that a log, an Event and a test agree."""

    reason: Reason
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        numbers = ", ".join(f"{key}={value:.4g}" for key, value in self.numbers.items())
        return f"{self.reason}({numbers})" if numbers else str(self.reason)


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing is to be done for a service, and why."""

    service: str
    because: Because


@dataclass(frozen=True, slots=True)
class Resize:
    """Give a running replica another piece of the GPU it is on (vertical).

    ``capacity_rps`` is what it works off, 0 where a request alone misses the objective: the
    gateway's weight.
    """

    service: str
    replica: str
    allocation: Allocation
    capacity_rps: float
    because: Because


@dataclass(frozen=True, slots=True)
class Place:
    """Give a gated replica its first piece of a GPU and let it be scheduled there."""

    service: str
    replica: str
    node: str
    allocation: Allocation
    capacity_rps: float
    because: Because


@dataclass(frozen=True, slots=True)
class SetScale:
    """Ask the Deployment for ``replicas`` pods; when fewer, ``victims`` go first."""

    service: str
    replicas: int
    victims: tuple[str, ...]
    because: Because


Action = Hold | Resize | Place | SetScale


@dataclass(frozen=True, slots=True)
class Plan:
    """Ordered actions."""

    actions: tuple[Action, ...]
