"""The CUDA driver API by ctypes, reached the way a real CUDA runtime reaches it.

``dlopen libcuda.so.1``, one ``dlsym`` for ``cuGetProcAddress_v2``, then every other function by
``cuGetProcAddress``: the path on which a preload library must intervene.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

from ..errors import AgentError

API_VERSION = 12040
PER_THREAD_STREAM_OFF = 0

_NAMES = (
    "cuInit",
    "cuDeviceGet",
    "cuDevicePrimaryCtxRetain",
    "cuCtxSetCurrent",
    "cuMemAlloc",
    "cuMemcpyHtoDAsync",
    "cuMemcpyDtoHAsync",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuStreamCreate",
    "cuStreamSynchronize",
    "cuLaunchKernel",
    "cuGetErrorName",
)


class DriverError(AgentError):
    """A CUDA driver call failed.

    Attributes:
        call: name of the function.
        code: the CUresult.
    """

    def __init__(self, call: str, code: int, name: str = "") -> None:
        self.call, self.code = call, code
        super().__init__(f"{call} returned {code}{f' ({name})' if name else ''}")


class Driver:
    """The driver functions a network needs, with errors raised.

    Raises:
        DriverError: the library or one of its functions is absent, or ``cuInit`` fails.
    """

    def __init__(self, library: str = "libcuda.so.1") -> None:
        try:
            # RTLD_GLOBAL off as cudart does it; dlsym goes through the handle.
            resolve = ctypes.CDLL(library).cuGetProcAddress_v2
        except (OSError, AttributeError) as error:
            raise DriverError(f"dlopen {library}: {error}", -1) from error
        self._functions = {name: _resolve(resolve, name) for name in _NAMES}
        self.call("cuInit", ctypes.c_uint(0))

    def call(self, name: str, *arguments: object) -> None:
        """Call a function; ctypes releases the GIL meanwhile.

        Raises:
            DriverError: it did not return CUDA_SUCCESS.
        """
        code = self._functions[name](*arguments)
        if code:
            text = ctypes.c_char_p()
            self._functions["cuGetErrorName"](code, ctypes.byref(text))
            raise DriverError(name, code, (text.value or b"").decode())

    def primary_context(self, ordinal: int = 0) -> ctypes.c_void_p:
        """Return the primary context of a device, made current on this thread."""
        device = ctypes.c_int()
        context = ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(ordinal))
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.make_current(context)
        return context

    def make_current(self, context: ctypes.c_void_p) -> None:
        """Make a context current on the calling thread."""
        self.call("cuCtxSetCurrent", context)

    def allocate(self, size_bytes: int) -> ctypes.c_uint64:
        """Return device memory of ``size_bytes``."""
        pointer = ctypes.c_uint64()
        self.call("cuMemAlloc", ctypes.byref(pointer), ctypes.c_size_t(size_bytes))
        return pointer

    def stream(self) -> ctypes.c_void_p:
        """Return a new non-blocking stream."""
        stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(1))
        return stream

    def load(self, image: bytes) -> ctypes.c_void_p:
        """Return the module of an image."""
        module = ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(image))
        return module

    def functions(self, module: ctypes.c_void_p, names: Sequence[str]) -> list[ctypes.c_void_p]:
        """Return the kernels of a module by name."""
        found = []
        for name in names:
            function = ctypes.c_void_p()
            self.call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
            found.append(function)
        return found

    def copy_in(
        self,
        target: ctypes.c_uint64,
        source: bytes | ctypes.Array[ctypes.c_char],
        size_bytes: int,
        stream: ctypes.c_void_p,
    ) -> None:
        """Queue a copy from the host on a stream; the source must outlive it."""
        self.call("cuMemcpyHtoDAsync", target, source, ctypes.c_size_t(size_bytes), stream)

    def copy_out(
        self,
        target: ctypes.Array[ctypes.c_char],
        source: ctypes.c_uint64,
        size_bytes: int,
        stream: ctypes.c_void_p,
    ) -> None:
        """Queue a copy to the host on a stream."""
        self.call("cuMemcpyDtoHAsync", target, source, ctypes.c_size_t(size_bytes), stream)

    def launch(self, function: ctypes.c_void_p, blocks: int, stream: ctypes.c_void_p) -> None:
        """Queue a kernel of ``blocks`` blocks on a stream."""
        self.call("cuLaunchKernel", function, blocks, 1, 1, 256, 1, 1, 0, stream, None, None)

    def synchronize(self, stream: ctypes.c_void_p) -> None:
        """Wait until a stream is idle."""
        self.call("cuStreamSynchronize", stream)


def _resolve(get_proc_address: Callable[..., int], name: str) -> Callable[..., int]:
    pointer = ctypes.c_void_p()
    status = ctypes.c_int()
    code = get_proc_address(
        name.encode(),
        ctypes.byref(pointer),
        ctypes.c_int(API_VERSION),
        ctypes.c_uint64(PER_THREAD_STREAM_OFF),
        ctypes.byref(status),
    )
    if code or not pointer.value:
        raise DriverError(f"cuGetProcAddress({name})", code or -1)
    return ctypes.CFUNCTYPE(ctypes.c_int)(pointer.value)
