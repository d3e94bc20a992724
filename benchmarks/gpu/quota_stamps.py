"""When work was on the GPU, written by the GPU itself: no host that stalls can hide or invent work.

Every stamp is a begin and an end by the GPU's global timer, which all processes on it share.
``Steady`` is work of known length that stamps its own launches; ``Stamps.mark`` stamps around any
other work, with a kernel of one thread before and after.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHECK = os.environ.get("QUOTA_CHECK") == "1"
CAPACITY = 1 << 19  # launches of one run: two minutes of the shortest
NEVER = np.iinfo(np.int64).max
THREADS, BLOCKS_PER_SM = 1024, 2  # all threads an SM can hold: nothing runs beside it
ROUNDS = 242  # of 16 operations of the special function unit, a quarter an SM and clock: 0.25 ms
SOURCE = r"""
__device__ unsigned long long now() {
    unsigned long long ns;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns));
    return ns;
}
extern "C" __global__ void mark(unsigned long long *ring, unsigned *state, unsigned capacity, int end) {
    unsigned slot = state[0];
    if (slot < capacity) ring[2 * slot + end] = now();
    if (end) state[0] = slot + 1;
}
extern "C" __global__ void __launch_bounds__(1024, 2)
steady(unsigned long long *ring, unsigned *state, unsigned capacity, int rounds, unsigned *out) {
    unsigned slot = 0, number = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned long long begin = 0;
    float value = 1.0f + threadIdx.x;
    if (threadIdx.x == 0) {
        slot = *(volatile unsigned *)state;
        begin = now();
    }
    for (int i = 0; i < rounds; i++) {
#pragma unroll
        for (int j = 0; j < 16; j++) asm volatile("rsqrt.approx.ftz.f32 %0, %0;" : "+f"(value));
        number = number * 1664525u + 1013904223u;
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = number + (value < 0.0f);
    __syncthreads();
    if (threadIdx.x != 0) return;
    unsigned long long end = now();
    if (slot < capacity) {
        atomicMin(&ring[2 * slot], begin);
        atomicMax(&ring[2 * slot + 1], end);
    }
    __threadfence();
    if (atomicAdd(&state[1], 1) == gridDim.x - 1) {
        state[1] = 0;
        state[0] = slot + 1;
    }
}
"""
Stamped = NDArray[np.int64]


class Stamps:
    """A ring in the GPU's memory, and the kernels that write to it; in a dry run a list."""

    def __init__(self) -> None:
        self._host: list[list[int]] = []
        if CHECK:
            return
        import cupy
        import torch

        self._torch, self._cupy = torch, cupy
        self._ring = torch.empty(CAPACITY, 2, dtype=torch.int64, device="cuda")
        self._state = torch.zeros(2, dtype=torch.int32, device="cuda")
        module = cupy.RawModule(code=SOURCE, options=("--std=c++17",))
        self._mark, self.steady = module.get_function("mark"), module.get_function("steady")
        self.shared = (
            np.uint64(self._ring.data_ptr()),
            np.uint64(self._state.data_ptr()),
            np.uint32(CAPACITY),
        )
        self._ends = [(*self.shared, np.int32(end)) for end in (0, 1)]
        self._streams: dict[int, Any] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all stamps; waits for the device."""
        self._host.clear()
        if not CHECK:
            self._ring[:, 0] = NEVER
            self._ring[:, 1] = 0
            self._state.zero_()
            self._torch.cuda.synchronize()

    def launch(self, kernel: Any, grid: int, block: int, arguments: tuple[Any, ...]) -> None:
        """Launch on PyTorch's current stream, also while it captures."""
        stream = self._torch.cuda.current_stream().cuda_stream
        if stream not in self._streams:
            self._streams[stream] = self._cupy.cuda.ExternalStream(stream)
        with self._streams[stream]:
            kernel((grid,), (block,), arguments)

    def mark(self, end: bool) -> None:
        """Stamp the begin or the end of what is launched next to it."""
        if not CHECK:
            self.launch(self._mark, 1, 1, self._ends[end])
        elif end:
            self._host[-1][1] = time.monotonic_ns()
        else:
            self._host.append([time.monotonic_ns()] * 2)

    def pretend(self) -> None:
        """In a dry run: a stamped launch of a fifth of a millisecond."""
        began = time.monotonic_ns()
        time.sleep(2e-4)
        self._host.append([began, time.monotonic_ns()])

    def offset_ns(self) -> int:
        """Return the global timer less the machine's clock, to some 50 us. Forgets all stamps."""
        self.reset()
        self.mark(False)
        self.mark(True)
        stamped = self.read()
        after = time.monotonic_ns()
        self.reset()
        return int(stamped[0, 1]) - after

    def read(self) -> Stamped:
        """Return begin and end of everything stamped, in ns, in order; waits for the device."""
        if CHECK:
            return np.asarray(self._host, np.int64).reshape(-1, 2)
        self._torch.cuda.synchronize()
        count = min(int(self._state[0].item()), CAPACITY)
        result: Stamped = self._ring[:count].cpu().numpy()
        return result


class Steady:
    """Work of known length: every launch fills all SMs, in one wave, for a quarter of a millisecond.

    Bound by the special function unit, so two launches at once take twice as long; no traffic to
    memory, far from the power limit.
    """

    def __init__(self, stamps: Stamps, launches: int) -> None:
        import torch

        self._stamps, self._launches = stamps, launches
        self.out = torch.zeros(256, dtype=torch.int32)
        if CHECK:
            return
        self._grid = BLOCKS_PER_SM * torch.cuda.get_device_properties(0).multi_processor_count
        self.out = torch.zeros(self._grid * THREADS, dtype=torch.int32, device="cuda")
        result = np.uint64(self.out.data_ptr())
        self._arguments = (*stamps.shared, np.int32(ROUNDS), result)

    def __call__(self) -> Any:
        """Launch all of a step."""
        for _ in range(self._launches):
            if CHECK:
                self._stamps.pretend()
            else:
                self._stamps.launch(self._stamps.steady, self._grid, THREADS, self._arguments)
        return self.out
