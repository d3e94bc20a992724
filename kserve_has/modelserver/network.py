"""What a model server runs: a network that labels a batch of payloads on a GPU."""

from __future__ import annotations

import ctypes
import json
import queue
import threading
import zlib
from collections.abc import Sequence
from typing import Protocol

from .driver import Driver
from .sequence import module_image, sequence, weights_bytes

LABELS = 1000
ACTIVATION_BYTES = 16 << 20  # workspace of one request in flight, besides its input
INPUT_BYTES = {"bert_base_384": 384 * 2 * 8}
IMAGE_BYTES = 3 * 224 * 224 * 4


class Network(Protocol):
    """Anything that labels a batch; called from several threads at once."""

    def label(self, payloads: Sequence[object]) -> list[int]:
        """Return one label, 0..999, for each payload after the whole batch ran on the GPU."""
        ...


def payload_label(payload: object) -> int:
    """Return the label the emulated network gives: a pure function of the payload."""
    return zlib.crc32(json.dumps(payload, sort_keys=True).encode()) % LABELS


class _Slot:
    """Stream and buffers of one request in flight."""

    def __init__(self, driver: Driver, input_bytes: int) -> None:
        self.stream = driver.stream()
        self.capacity = input_bytes
        self.device_input = driver.allocate(input_bytes)
        self.workspace = driver.allocate(ACTIVATION_BYTES)
        self.host_input = ctypes.create_string_buffer(input_bytes)
        self.host_output = ctypes.create_string_buffer(LABELS * 4)


class EmulatedNetwork:
    """A network whose kernels carry measured work instead of arithmetic.

    It goes through the CUDA driver like a real one: context, module, weights, and for each request
    an input copy, the launches one by one, an output copy and a synchronise.

    Args:
        model: a model with a launch sequence.
        batch: instances of a usual request; its module is loaded before the first one comes.
        concurrency: requests in flight at once, each on its own stream.
        driver: the driver to use; by default the process's libcuda.so.1.

    Raises:
        LatencyModelError: the model has no launch sequence.
        DriverError: there is no driver, no device, or not enough memory.
    """

    def __init__(
        self, model: str, *, batch: int = 1, concurrency: int = 1, driver: Driver | None = None
    ) -> None:
        self._model = model
        self._instance_bytes = INPUT_BYTES.get(model, IMAGE_BYTES)
        sequence(model, batch)  # refuse an unknown model before touching the GPU
        self._driver = driver or Driver()
        self._context = self._driver.primary_context()
        self._weights = self._driver.allocate(weights_bytes(model))
        self._slots: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        for _ in range(concurrency):
            self._slots.put(_Slot(self._driver, self._instance_bytes * batch))
        self._loaded: dict[int, list[tuple[ctypes.c_void_p, int]]] = {}
        self._loading = threading.Lock()
        self._current = threading.local()
        self.label([{}] * batch)  # first launches load lazily in real drivers: do it now

    def label(self, payloads: Sequence[object]) -> list[int]:
        """Return one label for each payload after the batch ran on the GPU.

        Raises:
            DriverError: a driver call failed, for example for lack of memory.
        """
        if not getattr(self._current, "set", False):
            self._driver.make_current(self._context)
            self._current.set = True
        kernels = self._kernels(len(payloads))
        slot = self._slots.get()
        try:
            self._run(slot, kernels, self._instance_bytes * len(payloads))
        finally:
            self._slots.put(slot)
        return [payload_label(payload) for payload in payloads]

    def _run(
        self, slot: _Slot, kernels: list[tuple[ctypes.c_void_p, int]], input_bytes: int
    ) -> None:
        driver = self._driver
        copied = min(input_bytes, slot.capacity)
        driver.copy_in(slot.device_input, slot.host_input, copied, slot.stream)
        for function, blocks in kernels:
            driver.launch(function, blocks, slot.stream)
        driver.copy_out(slot.host_output, slot.device_input, min(copied, 4000), slot.stream)
        driver.synchronize(slot.stream)

    def _kernels(self, batch: int) -> list[tuple[ctypes.c_void_p, int]]:
        found = self._loaded.get(batch)
        if found is None:
            with self._loading:
                launches = sequence(self._model, batch)
                module = self._driver.load(module_image(launches))
                names = [launch.kernel for launch in launches]
                functions = self._driver.functions(module, names)
                found = [(f, k.max_sm) for f, k in zip(functions, launches, strict=True)]
                self._loaded[batch] = found
        return found
