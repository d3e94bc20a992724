"""The piece of a GPU that one replica holds.

Two dimensions multiply: *where* a replica may run (its SM partition, spatial) and *when* (its
quota of each quota window, temporal). Their product is the compute share that is paid for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import AllocationError
from .gpu import GpuGeometry


@dataclass(frozen=True, slots=True)
class Allocation:
    """SM partition, quota and memory of one replica on one GPU.

    Attributes:
        gpu_uuid: the only name of a GPU; never an index.
        sm_groups: bitmap of split groups, non-zero.
        sm_partition: SMs of those groups (what the bitmap adds up to on this GPU).
        quota_percent: 1..100, share of each quota window in which kernels may run.
        memory_bytes: cap on device memory, physical bytes.

    """

    gpu_uuid: str
    sm_groups: int
    sm_partition: int
    quota_percent: int
    memory_bytes: int

    def __post_init__(self) -> None:
        if self.sm_groups <= 0 or self.sm_partition <= 0:
            raise AllocationError(f"an SM partition cannot be empty: {self}")
        if not 1 <= self.quota_percent <= 100:
            raise AllocationError(f"quota {self.quota_percent} is outside 1..100 per cent")
        if self.memory_bytes < 0:
            raise AllocationError(f"memory {self.memory_bytes} is negative")

    @property
    def area(self) -> int:
        """SM x per cent of time: integer, so that sums and comparisons are exact."""
        return self.sm_partition * self.quota_percent


def compute_share(allocation: Allocation, gpu: GpuGeometry) -> float:
    """Return the share of one GPU's compute that an allocation holds, 0..1 (space x time)."""
    return allocation.area / (gpu.sm_count * 100)


def memory_share(allocation: Allocation, gpu: GpuGeometry) -> float:
    """Return the share of one GPU's memory that an allocation holds, 0..1."""
    return allocation.memory_bytes / gpu.memory_bytes


def group_load(allocations: Iterable[Allocation], gpu: GpuGeometry) -> tuple[int, ...]:
    """Return the quota, in per cent, already promised on each SM group of one GPU."""
    load = [0] * gpu.group_count
    for allocation in allocations:
        for index in range(gpu.group_count):
            if allocation.sm_groups >> index & 1:
                load[index] += allocation.quota_percent
    return tuple(load)


def fits(allocations: Iterable[Allocation], gpu: GpuGeometry) -> bool:
    """Whether all allocations can be honoured at once on one GPU.

    No SM group may be promised for more than 100 % of the time, and the memory caps may not
    exceed the device. Exact: integers only.
    """
    held = tuple(allocations)
    if sum(a.memory_bytes for a in held) > gpu.memory_bytes:
        return False
    if any(gpu.sm_of(a.sm_groups) != a.sm_partition for a in held):
        return False
    return all(load <= 100 for load in group_load(held, gpu))
