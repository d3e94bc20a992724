"""A pod that starts, does a little on the GPU and ends, without a framework: about a second.

Prints what came of it as JSON. ``quota_neighbours.py`` starts fifty beside one that works.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from typing import Any

PTX = b""".version 7.0
.target sm_70
.address_size 64
.visible .entry add_one(.param .u64 data) {
    .reg .b32 %r<6>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [data];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.s32 %r4, %r1, %r2, %r3;
    mul.wide.u32 %rd2, %r4, 4;
    add.s64 %rd3, %rd1, %rd2;
    ld.global.u32 %r5, [%rd3];
    add.u32 %r5, %r5, 1;
    st.global.u32 [%rd3], %r5;
    ret;
}
"""
BLOCKS, THREADS, LAUNCHES = 256, 256, 100
Handle = ctypes.c_void_p


class DriverError(RuntimeError):
    """A call of the driver failed."""


def call(driver: Any, name: str, *arguments: Any) -> None:
    """Call the driver.

    Raises:
        DriverError: it did not say success.
    """
    result = getattr(driver, name)(*arguments)
    if result:
        raise DriverError(f"{name}: {result}")


def work() -> bool:
    """Add one to an array a hundred times; return whether it is right."""
    driver = ctypes.CDLL("libcuda.so.1")
    device, context, module, function, data = (ctypes.c_int(), *(Handle() for _ in range(4)))
    call(driver, "cuInit", 0)
    call(driver, "cuDeviceGet", ctypes.byref(device), 0)
    call(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call(driver, "cuCtxSetCurrent", context)
    call(driver, "cuModuleLoadData", ctypes.byref(module), PTX)
    call(driver, "cuModuleGetFunction", ctypes.byref(function), module, b"add_one")
    size = ctypes.c_size_t(4 * BLOCKS * THREADS)
    call(driver, "cuMemAlloc_v2", ctypes.byref(data), size)
    call(driver, "cuMemsetD32_v2", data, ctypes.c_uint(0), ctypes.c_size_t(BLOCKS * THREADS))
    arguments = (ctypes.c_void_p * 1)(ctypes.addressof(data))
    shape = [ctypes.c_uint(n) for n in (BLOCKS, 1, 1, THREADS, 1, 1, 0)]
    for _ in range(LAUNCHES):
        call(driver, "cuLaunchKernel", function, *shape, Handle(), arguments, Handle())
    call(driver, "cuCtxSynchronize")
    back = (ctypes.c_uint * (BLOCKS * THREADS))()
    call(driver, "cuMemcpyDtoH_v2", back, data, size)
    return set(back) == {LAUNCHES}


def main() -> None:
    """Work, and say how it went."""
    began = time.monotonic()
    error, right = None, False
    try:
        right = os.environ.get("QUOTA_CHECK") == "1" or work()
    except (DriverError, OSError) as failed:
        error = str(failed)
    print(json.dumps({"right": right, "error": error, "seconds": time.monotonic() - began}))
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
