"""What a pod has used since it started, over all processes that ever ran in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from .region import Usage, UsageSlot

COUNTERS: Final = (
    "launches",
    "ungated_launches",
    "graph_launches",
    "gpu_time_ns",
    "area_sm_ns",
    "throttled_ns",
    "overrun_ns",
    "memory_refused",
    "resizes",
    "faults",
    "leases",
    "lease_wait_ns",
    "borrowed_ns",
    "lease_faults",
    "partitions",
    "partitions_ahead",
    "notice_ns",
    "make_start_ns",
    "make_split_ns",
    "make_context_ns",
    "make_streams_ns",
)


@dataclass
class Account:
    """Sums that never fall, although processes end and their slots are used again.

    Attributes:
        totals: every counter of ``struct has_usage_slot`` over all processes.
        memory_bytes: charged at present.
        memory_peak_bytes: the most that one process had charged.
        resize_last_ns: cost of the last resize on the launch path.
        processes: with a slot at present.
    """

    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    memory_bytes: int = 0
    memory_peak_bytes: int = 0
    resize_last_ns: int = 0
    processes: int = 0
    _seen: dict[tuple[int, int], UsageSlot] = field(default_factory=dict)

    def take(self, usage: Usage) -> None:
        """Add what has happened since the last time."""
        present = {(slot.pid, slot.start_time): slot for slot in usage.slots}
        for key, slot in present.items():
            before = self._seen.get(key)
            for name in COUNTERS:
                known = getattr(before, name) if before is not None else 0
                self.totals[name] += max(0, getattr(slot, name) - known)
            self.memory_peak_bytes = max(self.memory_peak_bytes, slot.memory_peak_bytes)
            if slot.resize_last_ns:
                self.resize_last_ns = slot.resize_last_ns
        self._seen = present
        self.memory_bytes = usage.memory_bytes
        self.processes = len(present)


def live(slots: Iterable[UsageSlot], now_ns: int, stale_ns: int) -> list[UsageSlot]:
    """Return the slots whose process has looked at its limits lately.

    A look in the future was one before the node was started anew: the clock began again.
    """
    return [slot for slot in slots if abs(now_ns - slot.heartbeat_ns) <= stale_ns]


def in_force_since(slots: Iterable[UsageSlot], epoch: int, written_ns: int) -> int | None:
    """Return since when all these processes follow an epoch; without any, since it was written.

    None while one of them does not follow it yet. Times are CLOCK_MONOTONIC in ns.
    """
    held = list(slots)
    if any(slot.epoch_in_force < epoch for slot in held):
        return None
    times = [slot.in_force_at_ns for slot in held if slot.epoch_in_force == epoch]
    return max([written_ns, *times])
