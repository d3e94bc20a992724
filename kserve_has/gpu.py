"""The geometry of a GPU as the quota runtime can cut it.

The driver splits the SMs of a GPU into groups, deterministically; any union of groups of that
split makes a partition, and equal group indices mean the same SMs in every process (measured on
an H200: 132 SMs give 15 groups of 8 and a last one of 12).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class GpuGeometry:
    """How many SMs a GPU has and how they split.

    Attributes:
        product: the name NVML reports, such as ``NVIDIA H200``.
        sm_count: streaming multiprocessors on the device.
        sm_group_size: SMs of every group but the last, which takes the rest.
        memory_bytes: physical device memory.
        partitions: whether a partition is enforced; where not, its share of the SMs is given as
            time on all of them.

    """

    product: str
    sm_count: int
    sm_group_size: int
    memory_bytes: int
    partitions: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.sm_group_size <= self.sm_count or self.memory_bytes <= 0:
            raise ValueError(f"impossible GPU geometry: {self}")

    @property
    def group_count(self) -> int:
        """Number of groups of the split."""
        return self.sm_count // self.sm_group_size

    @property
    def all_groups(self) -> int:
        """Bitmap of every group."""
        return (1 << self.group_count) - 1

    @cached_property
    def group_sizes(self) -> tuple[int, ...]:
        """SMs of each group, in order of group index."""
        last = self.sm_count - self.sm_group_size * (self.group_count - 1)
        return (self.sm_group_size,) * (self.group_count - 1) + (last,)

    def sm_of(self, sm_groups: int) -> int:
        """Return the SMs of a bitmap of groups.

        Raises:
            ValueError: the bitmap is empty or names a group the GPU does not have.

        """
        if sm_groups <= 0 or sm_groups & ~self.all_groups:
            raise ValueError(
                f"group bitmap {sm_groups:#x} is empty or outside {self.all_groups:#x} "
                f"of {self.product}"
            )
        whole = sm_groups.bit_count() * self.sm_group_size
        has_last = sm_groups >> (self.group_count - 1) & 1
        return whole + (self.group_sizes[-1] - self.sm_group_size if has_last else 0)


H200 = GpuGeometry("NVIDIA H200", sm_count=132, sm_group_size=8, memory_bytes=141 * 10**9)
