"""SM partitions of a real GPU: streams on green contexts made from one deterministic split."""

from __future__ import annotations

from typing import Any, Final

import torch

from ..errors import LatencyModelError

GROUP_SMS: Final = 8


class Partitions:
    """Streams that run on a chosen number of SMs of the first GPU.

    Raises:
        LatencyModelError: no GPU, or a driver without green contexts (before 12.4).
    """

    def __init__(self) -> None:
        from cuda.bindings import driver  # comes with torch's CUDA builds

        self._driver = driver
        if not torch.cuda.is_available():
            raise LatencyModelError("no CUDA GPU found; profiling needs a real one")
        torch.cuda.current_stream().synchronize()
        self._device = self._call(driver.cuDeviceGet(0))[0]
        kind = driver.CUdevResourceType.CU_DEV_RESOURCE_TYPE_SM
        whole = self._call(driver.cuDeviceGetDevResource(self._device, kind))[0]
        self.sm_count: int = whole.sm.smCount
        wanted = self.sm_count // GROUP_SMS
        groups, count, rest = self._call(
            driver.cuDevSmResourceSplitByCount(wanted, whole, 0, GROUP_SMS)
        )
        self._groups = list(groups)[:count]
        if rest.sm.smCount:
            self._groups.append(rest)
        self._streams: dict[int, torch.cuda.ExternalStream] = {}

    def sizes(self) -> tuple[int, ...]:
        """Return the SM counts a partition can have, ascending."""
        total, sizes = 0, []
        for group in self._groups:
            total += group.sm.smCount
            sizes.append(total)
        return tuple(sizes)

    def stream(self, sm: int) -> torch.cuda.Stream:
        """Return the stream that runs on exactly ``sm`` SMs.

        Raises:
            LatencyModelError: no union of groups holds that many SMs.

        """
        if sm not in self._streams:
            sizes = self.sizes()
            if sm not in sizes:
                raise LatencyModelError(f"no partition of {sm} SMs on this GPU; possible: {sizes}")
            self._streams[sm] = self._create(sizes.index(sm) + 1)
        return self._streams[sm]

    def _create(self, groups: int) -> torch.cuda.ExternalStream:
        driver = self._driver
        chosen = self._groups[:groups]
        description = self._call(driver.cuDevResourceGenerateDesc(chosen, len(chosen)))[0]
        flags = driver.CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM
        context = self._call(driver.cuGreenCtxCreate(description, self._device, flags))[0]
        non_blocking = driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        stream = self._call(driver.cuGreenCtxStreamCreate(context, non_blocking, 0))[0]
        return torch.cuda.ExternalStream(int(stream))

    def _call(self, answer: tuple[Any, ...]) -> tuple[Any, ...]:
        status, *values = answer
        if int(status) != 0:
            raise LatencyModelError(f"the CUDA driver answered {status!r}")
        return tuple(values)
