"""The folder that a node agent keeps for one pod, and what the library reports in it."""

import time
from pathlib import Path

from quota_runtime.region import (
    FLAG_MEMORY,
    FLAG_SM,
    FLAG_TIME,
    Limits,
    LimitsWriter,
    Usage,
    UsageSlot,
    read_usage,
)

GPU = "GPU-test"
GROUP_SMS = 8
ALL_GROUPS = (1 << 16) - 1
HALF = 0xFF


class Pod:
    """Limits of one pod, written as the agent writes them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.writer = LimitsWriter(folder / "limits")
        self.epoch = 0

    def set(
        self,
        quota: int = 1000,
        groups: int = ALL_GROUPS,
        memory: int = 1 << 40,
        most: int = ALL_GROUPS,
        flags: int = FLAG_TIME | FLAG_SM | FLAG_MEMORY,
        phase: int = 0,
        slot: int = 0,
        conflicts: int = 0,
        slice_ns: int = 8_000_000,
    ) -> Limits:
        self.epoch += 1
        return self.writer.write(
            Limits(
                epoch=self.epoch,
                gpu_uuid=GPU,
                sm_groups=groups,
                max_sm_groups=most,
                sm_group_size=GROUP_SMS,
                quota_permille=quota,
                memory_limit_bytes=memory,
                flags=flags,
                phase_ns=phase,
                lease_slot=slot,
                lease_conflicts=conflicts,
                lease_slice_ns=slice_ns,
            )
        )

    def usage(self) -> Usage:
        return read_usage(self.folder / "usage")

    def slot(self) -> UsageSlot:
        [slot] = self.usage().slots
        return slot

    def wait_in_force(self, epoch: int | None = None, seconds: float = 5) -> None:
        end = time.monotonic() + seconds
        wanted = self.epoch if epoch is None else epoch
        while not (self.usage().slots and self.usage().in_force(wanted)):
            assert time.monotonic() < end, f"epoch {wanted} is not in force: {self.usage()}"
            time.sleep(0.002)
