"""A fork of a process that uses the GPU: what the child can do, and that neither hangs."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Any

PATIENCE_S = 10
PLAIN, TORCH_REFUSED, DRIVER_REFUSED = 1, 2, 4  # bits of the child's exit status


def forked(check: bool) -> dict[str, Any]:
    """Fork, let the child work without and with CUDA, and say what came of it."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE_S)  # a hang ends as a signal
        os._exit(_in_child(check))
    while time.monotonic() - began < 2 * PATIENCE_S:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.01)
    else:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return {"hung": True}
    code = os.waitstatus_to_exitcode(status)
    return {
        "hung": code == -signal.SIGALRM,
        "exit": code,
        "plain_work": code >= 0 and bool(code & PLAIN),
        "torch_refused": code >= 0 and bool(code & TORCH_REFUSED),
        "driver_refused": code >= 0 and bool(code & DRIVER_REFUSED),
        "seconds": time.monotonic() - began,
    }


def _in_child(check: bool) -> int:
    done = PLAIN if sum(range(1000)) == 499500 else 0
    if check:
        return done
    import torch

    try:
        torch.zeros(1, device="cuda")
    except RuntimeError:
        done |= TORCH_REFUSED
    driver = ctypes.CDLL("libcuda.so.1")
    return done | (DRIVER_REFUSED if driver.cuCtxSynchronize() else 0)
