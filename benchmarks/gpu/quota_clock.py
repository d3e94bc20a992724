"""The clock of the SMs while something runs: a GPU that rests in between clocks higher."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

EVERY_S = 0.05
IDLE = 1  # NVML's reason for a low clock that is none: nothing runs


@dataclass
class Seen:
    """Readings in MHz and watts, and NVML's reasons for a lower clock, each as a bit."""

    mhz: list[int] = field(default_factory=list)
    watts: list[float] = field(default_factory=list)
    reasons: int = 0

    def mean(self) -> float:
        """Return the mean clock, 0 of nothing; the first readings, from before, are left out."""
        kept = self.mhz[len(self.mhz) // 4 :]
        return statistics.fmean(kept) if kept else 0.0

    def facts(self) -> dict[str, float]:
        """Return mean and lowest clock, mean power and the reasons seen."""
        kept, watts = self.mhz[len(self.mhz) // 4 :], self.watts[len(self.watts) // 4 :]
        if not kept:
            return {}
        power = statistics.fmean(watts)
        lowest = float(min(kept))
        return {"mhz": self.mean(), "lowest_mhz": lowest, "watts": power, "reasons": self.reasons}


class Clock:
    """Reads one GPU's clock; reads nothing where there is no GPU."""

    def __init__(self, uuid: str | None) -> None:
        self._nvml: Any = None
        if uuid:
            import pynvml

            pynvml.nvmlInit()
            self._nvml, self._device = pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid)

    def _read(self, seen: Seen) -> None:
        nvml, device = self._nvml, self._device
        reasons = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        reasons = reasons or nvml.nvmlDeviceGetCurrentClocksThrottleReasons
        seen.mhz.append(nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_SM))
        seen.watts.append(nvml.nvmlDeviceGetPowerUsage(device) / 1e3)
        seen.reasons |= reasons(device) & ~IDLE

    @contextmanager
    def watched(self, more: Seen | None = None) -> Iterator[Seen]:
        """Read the clock twenty times a second until the block ends; `more`: into this."""
        seen, done = more or Seen(), threading.Event()

        def read() -> None:
            while self._nvml and not done.wait(EVERY_S):
                self._read(seen)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            done.set()
            thread.join()
