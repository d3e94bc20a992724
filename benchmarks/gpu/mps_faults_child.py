"""One CUDA process for ``mps_faults.py``, through ctypes alone: no CUDA toolkit, no torch.

``victim`` runs short kernels until a call fails, ``long`` one kernel of twenty seconds, ``stray``
a few short ones and then a write to an address nobody owns. Each says in JSON lines what happened.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time

PTX = b"""
.version 7.0
.target sm_70
.address_size 64
.visible .entry spin(.param .u64 duration)
{
  .reg .u64 %t<4>;
  .reg .pred %p;
  ld.param.u64 %t0, [duration];
  mov.u64 %t1, %globaltimer;
again:
  mov.u64 %t2, %globaltimer;
  sub.u64 %t3, %t2, %t1;
  setp.lt.u64 %p, %t3, %t0;
  @%p bra again;
  ret;
}
.visible .entry stray(.param .u64 duration)
{
  .reg .u64 %t;
  .reg .u32 %v;
  mov.u64 %t, 64;
  mov.u32 %v, 1;
  st.global.u32 [%t], %v;
  ret;
}
"""
SHORT_NS = 2_000_000
LONG_NS = 20_000_000_000


def say(**words: object) -> None:
    """Print one event with the time on CLOCK_MONOTONIC."""
    print(json.dumps({"at": time.monotonic(), **words}), flush=True)


class Gpu:
    """The few driver calls needed; each returns the driver's error code."""

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self._functions: dict[str, ctypes.c_void_p] = {}

    def start(self) -> int:
        """Make a context and load both kernels."""
        device, context, module = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        steps = (
            lambda: self._cuda.cuInit(0),
            lambda: self._cuda.cuDeviceGet(ctypes.byref(device), 0),
            lambda: self._cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device),
            lambda: self._cuda.cuModuleLoadData(ctypes.byref(module), PTX),
        )
        for step in steps:
            code: int = step()
            if code:
                return code
        for name in ("spin", "stray"):
            function = ctypes.c_void_p()
            self._cuda.cuModuleGetFunction(ctypes.byref(function), module, name.encode())
            self._functions[name] = function
        return 0

    def run(self, name: str, duration_ns: int) -> int:
        """Launch one block of one thread and wait for it."""
        argument = ctypes.c_uint64(duration_ns)
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        shape = (1, 1, 1, 1, 1, 1, 0, None)
        launched: int = self._cuda.cuLaunchKernel(self._functions[name], *shape, arguments, None)
        waited: int = self._cuda.cuCtxSynchronize()
        return launched or waited


def main() -> None:
    """Do what the first argument says until a call fails, then wait to be ended."""
    gpu, kind = Gpu(), sys.argv[1]
    code = gpu.start()
    say(event="started", code=code)
    if not code and kind == "once":
        code = gpu.run("spin", SHORT_NS)
        say(event="done", code=code)
        return
    if not code and kind == "long":
        code = gpu.run("spin", LONG_NS)
    if not code and kind == "stray":
        for _ in range(50):
            code = gpu.run("spin", SHORT_NS)
        say(event="straying", code=code)
        code = gpu.run("stray", 0)
    while not code and kind == "victim":
        code = gpu.run("spin", SHORT_NS)
    say(event="failed", code=code)
    sys.stdin.read()


if __name__ == "__main__":
    main()
