"""Kill parts of the system in mid-run and say what it took to recover."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..allocation import Allocation, fits
from ..cli.fleet import Replica
from ..errors import AllocationError
from ..gpu import H200
from ..loadgen.plan import Outcome
from ..slo import Slo
from .figures import violates

KILLS: Final = ((0.25, "autoscaler"), (0.40, "webhook"), (0.55, "pod"), (0.70, "agent"))
SLIDING_S: Final = 5.0
STEP_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL: when (seconds), what kind of part, and which process exactly."""

    at_s: float
    part: str
    process: str


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What followed a kill, looked at until the next one.

    Attributes:
        recovery_s: service -> seconds after the kill at which the last five-second stretch ended
            that missed the objective; 0 when none did.
        recovered: whether each service's last five seconds before the next kill met it again.
        lost_replicas, duplicate_replicas: pods fewer or more than Deployments ask for, afterwards.
        overcommitted_gpus: GPUs on which more was promised than they have, afterwards.

    """

    at_s: float
    part: str
    process: str
    recovery_s: Mapping[str, float]
    recovered: bool
    lost_replicas: int
    duplicate_replicas: int
    overcommitted_gpus: int

    def as_json(self) -> dict[str, Any]:
        """Return it as it stands in summary.json."""
        return asdict(self)


def schedule(seconds: float) -> list[tuple[float, str]]:
    """Return when to kill which part, ascending."""
    return [(share * seconds, part) for share, part in KILLS]


def recovery_s(
    kill_s: float, until_s: float, outcomes: Sequence[Outcome], slo: Slo
) -> tuple[float, bool]:
    """Return how long a service missed its objective after a kill, and whether it recovered.

    The objective is looked at over stretches of five seconds, every half second.
    """
    recent = [o for o in outcomes if kill_s <= o.due_s < until_s]
    last_missed_s, t = kill_s, kill_s
    while t + SLIDING_S <= until_s + 1e-9:
        inside = [o for o in recent if t <= o.due_s < t + SLIDING_S]
        missed = sum(violates(o, slo) for o in inside)
        if inside and missed / len(inside) > slo.allowed_violation_rate + 1e-12:
            # The stretch is bad up to its last violation; what follows in it was good.
            last_missed_s = max(o.due_s for o in inside if violates(o, slo))
        t += STEP_S
    return max(0.0, last_missed_s - kill_s), last_missed_s <= until_s - SLIDING_S


def replica_balance(wanted: Mapping[str, int], replicas: Iterable[Replica]) -> tuple[int, int]:
    """Return (lost, duplicate) replicas; ``wanted`` is service -> pods its Deployment asks for."""
    alive = Counter(r.service for r in replicas if r.phase != "ending")
    lost = sum(max(0, count - alive[service]) for service, count in wanted.items())
    duplicate = sum(max(0, alive[service] - count) for service, count in wanted.items())
    return lost, duplicate


def overcommitted_gpus(replicas: Iterable[Replica]) -> int:
    """Return the GPUs on which the replicas' allocations cannot all be honoured at once."""
    by_gpu: dict[str, list[Allocation]] = {}
    for r in replicas:
        if r.gpu_uuid:
            by_gpu.setdefault(r.gpu_uuid, []).append(
                Allocation(r.gpu_uuid, r.sm_groups, r.sm_partition, r.quota_percent, r.memory_bytes)
            )
    return sum(not _fits(held) for held in by_gpu.values())


def _fits(held: Sequence[Allocation]) -> bool:
    try:
        return fits(held, H200)
    except (AllocationError, ValueError):
        return False
