"""What is wrong with a pod, and when that is worth telling. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

REFUSED: Final = "AllocationRefused"
UNGATED: Final = "LaunchesUngated"
OUTSIDE_MPS: Final = "OutsideMps"
OVER_MEMORY: Final = "MemoryOverLimit"
MPS_FAULT: Final = "MpsFault"
KINDS: Final = (REFUSED, UNGATED, OUTSIDE_MPS, OVER_MEMORY, MPS_FAULT)

PATIENCE_S: Final = 3.0
_FEWEST_LAUNCHES: Final = 100


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong.

    Attributes:
        kind: one of ``KINDS``; the reason of the Event.
        message: what was found and what to do.
    """

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of one pod.

    Attributes:
        complaint: why its limits are not as wanted, empty when they are.
        ungated_ratio: share of its launches that no gate saw.
        memory_bytes: charged to it, of ``memory_limit_bytes``.
        outside_mps: it has processes on the GPU, and none of them is a client of the daemon.
    """

    complaint: str = ""
    ungated_ratio: float = 0.0
    memory_bytes: int = 0
    memory_limit_bytes: int = 0
    outside_mps: bool = False


def troubles(signs: Signs, highest_ungated_ratio: float) -> tuple[Trouble, ...]:
    """Return all that is wrong with a pod."""
    found = []
    if signs.complaint:
        found.append(Trouble(REFUSED, f"the allocation is not honoured: {signs.complaint}"))
    if signs.ungated_ratio > highest_ungated_ratio:
        found.append(
            Trouble(
                UNGATED,
                f"{signs.ungated_ratio:.1%} of the launches pass no gate, above "
                f"{highest_ungated_ratio:.1%}: the quota does not hold for them; is a CUDA library "
                "linked in that bypasses the dynamic loader?",
            )
        )
    if signs.outside_mps:
        found.append(
            Trouble(
                OUTSIDE_MPS,
                "its processes run beside MPS, not under it: they take turns with all others and "
                "their SM partition is wasted; delete the pod once the MPS daemon answers",
            )
        )
    if signs.memory_bytes > signs.memory_limit_bytes > 0:
        found.append(
            Trouble(
                OVER_MEMORY,
                f"{signs.memory_bytes} bytes of device memory are charged, the limit is "
                f"{signs.memory_limit_bytes}: allocations fail until it has freed some",
            )
        )
    return tuple(found)


@dataclass
class UngatedShare:
    """Share of launches that no gate saw, over the last seconds.

    The time of a launch that no gate saw is not metered; with launches of equal length their
    share is the share of the busy time.
    """

    window_ns: int = 30_000_000_000
    _samples: deque[tuple[int, int, int]] = field(default_factory=deque)

    def take(self, now_ns: int, gated: int, ungated: int) -> None:
        """Note both counters as they stand at a time of CLOCK_MONOTONIC."""
        self._samples.append((now_ns, gated, ungated))
        while len(self._samples) > 2 and self._samples[1][0] <= now_ns - self.window_ns:
            self._samples.popleft()

    @property
    def ratio(self) -> float:
        """The share, 0..1; 0 while there were too few launches to tell."""
        if len(self._samples) < 2:
            return 0.0
        (_, gated, ungated), (_, last_gated, last_ungated) = self._samples[0], self._samples[-1]
        passed = last_ungated - ungated
        total = passed + last_gated - gated
        return passed / total if total >= _FEWEST_LAUNCHES else 0.0


class Teller:
    """Lets a kind of trouble of a pod through once it lasts, and again after an interval.

    A change takes several steps, and what is wrong between two of them is nobody's business.
    """

    def __init__(self, interval_s: float, patience_s: float = PATIENCE_S) -> None:
        self._interval_s = interval_s
        self._patience_s = patience_s
        self._since: dict[tuple[str, str], float] = {}
        self._told: dict[tuple[str, str], float] = {}

    def news(
        self, troubles: Mapping[str, tuple[Trouble, ...]], now_s: float
    ) -> list[tuple[str, Trouble]]:
        """Return what to tell of which pod; ``troubles`` are those of all pods at present."""
        # Another reason to refuse is news; another percentage is not.
        present = {
            (uid, one.message if one.kind == REFUSED else one.kind): (uid, one)
            for uid, own in sorted(troubles.items())
            for one in own
        }
        self._since = {key: self._since.get(key, now_s) for key in present}
        # What went away and comes back soon is no news either.
        self._told = {k: at for k, at in self._told.items() if now_s - at < self._interval_s}
        lasting = [k for k in present if now_s - self._since[k] >= self._patience_s]
        fresh = [key for key in lasting if key not in self._told]
        self._told |= dict.fromkeys(fresh, now_s)
        return [present[key] for key in fresh]
