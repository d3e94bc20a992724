"""The clock of the SMs while something runs: a GPU that rests in between clocks higher."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

EVERY_S = 0.05


@dataclass
class Seen:
    """Readings in MHz."""

    mhz: list[int] = field(default_factory=list)

    def mean(self) -> float:
        """Return the mean, 0 of nothing; the first readings, from before, are left out."""
        kept = self.mhz[len(self.mhz) // 4 :]
        return statistics.fmean(kept) if kept else 0.0


class Clock:
    """Reads one GPU's clock; reads nothing where there is no GPU."""

    def __init__(self, uuid: str | None) -> None:
        self._nvml: Any = None
        if uuid:
            import pynvml

            pynvml.nvmlInit()
            self._nvml, self._device = pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid)

    @contextmanager
    def watched(self) -> Iterator[Seen]:
        """Read the clock twenty times a second until the block ends."""
        seen, done = Seen(), threading.Event()

        def read() -> None:
            while self._nvml and not done.wait(EVERY_S):
                clock = self._nvml.NVML_CLOCK_SM
                seen.mhz.append(self._nvml.nvmlDeviceGetClockInfo(self._device, clock))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            done.set()
            thread.join()
