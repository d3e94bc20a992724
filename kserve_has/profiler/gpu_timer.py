"""Timing a network on the first GPU's partitions, and what its card says about the measurement."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn

from ..errors import LatencyModelError
from ..rapp.profiles import ProfilePoint
from .measure import Effort, Mode, time_network
from .partitions import Partitions

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}
EFFORT: Final = Effort(seconds=0.4, least_runs=8, most_runs=60, warm_ups=3)

# NVML's reasons that mean "slower than usual": power cap, heat, brake; idle and set clocks do not.
_THROTTLED: Final = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}


class GpuTimer:
    """Times one module; inputs of a batch size are made by ``inputs(batch)``."""

    def __init__(
        self, module: nn.Module, inputs: Callable[[int], torch.Tensor], dtype: str, mode: Mode
    ) -> None:
        self.partitions = Partitions()
        self._module = module.eval().to("cuda", DTYPES[dtype])
        self._inputs, self._mode = inputs, mode
        self._nvml = _Nvml()
        self._spent_s = 0.0

    def measure(self, batch: int, sm: int) -> ProfilePoint:
        """Return the times of one batch on a partition.

        Raises:
            LatencyModelError: the network could not run, with CUDA's reason.

        """
        began = time.perf_counter()
        try:
            stream = self.partitions.stream(sm)
            t = time_network(self._module, self._inputs(batch), stream, self._mode, EFFORT)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise LatencyModelError(f"batch {batch} on {sm} SMs did not run: {reason}") from error
        finally:
            self._spent_s += time.perf_counter() - began
        figures = (round(v, 4) for v in (t.p50_ms, t.p10_ms, t.p90_ms))
        return ProfilePoint(batch, sm, 100, t.runs, *figures)

    def throttled(self) -> str:
        """Return why the GPU's clocks are held down, empty if they are not."""
        reasons = self._nvml.reasons()
        return ", ".join(words for bit, words in _THROTTLED.items() if reasons & bit)

    def spent_s(self) -> float:
        """Return the seconds spent on measuring."""
        return self._spent_s

    def card(self) -> dict[str, Any]:
        """Return what one must know to trust the points."""
        return {
            "gpu": torch.cuda.get_device_name(0),
            "sm_count": self.partitions.sm_count,
            "driver": self._nvml.driver(),
            "sm_clock_mhz": self._nvml.sm_clock_mhz(),
            "cuda": torch.version.cuda,
            "torch": torch.__version__,
            "cudnn": torch.backends.cudnn.version(),
            "python": platform.python_version(),
            "date": time.strftime("%Y-%m-%d"),
            "quota": "law",
            "complete": False,
        }


class _Nvml:
    """The three questions asked of NVML about the first GPU."""

    def __init__(self) -> None:
        import pynvml

        self._api = pynvml
        pynvml.nvmlInit()
        self._device = pynvml.nvmlDeviceGetHandleByIndex(0)

    def reasons(self) -> int:
        return int(self._api.nvmlDeviceGetCurrentClocksEventReasons(self._device))

    def driver(self) -> str:
        return str(self._api.nvmlSystemGetDriverVersion())

    def sm_clock_mhz(self) -> int:
        return int(self._api.nvmlDeviceGetClockInfo(self._device, self._api.NVML_CLOCK_SM))
