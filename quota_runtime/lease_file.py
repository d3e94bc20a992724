"""The lease file of one GPU, through which its pods agree on who runs.

Twin of ``struct has_leases`` in ``include/has_abi.h``. The agent makes it and afterwards only
writes single times in it; the words that pods agree on are the library's.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from kserve_has.errors import AgentError

from .region import ABI_VERSION, LEASE_SLOTS

LEASES_MAGIC: Final = 0x31455341454C4148


class RawLeaseSlot(ctypes.Structure):
    """``struct has_lease_slot``, field by field."""

    _fields_ = (
        ("renewed_at_ns", ctypes.c_int64),
        ("since_ns", ctypes.c_int64),
        ("waits_since_ns", ctypes.c_int64),
        ("waits_at_ns", ctypes.c_int64),
        ("conflicts", ctypes.c_uint64),
        ("reserved", ctypes.c_uint64 * 3),
    )


class RawLeases(ctypes.Structure):
    """``struct has_leases``, field by field."""

    _fields_ = (
        ("magic", ctypes.c_uint64),
        ("abi_version", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("gpu_uuid", ctypes.c_char * 48),
        ("running", ctypes.c_uint64),
        ("waiting", ctypes.c_uint64),
        ("leaving", ctypes.c_uint64),
        ("wake", ctypes.c_uint32),
        ("reserved0", ctypes.c_uint32),
        ("reserved", ctypes.c_uint64 * 4),
        ("slots", RawLeaseSlot * LEASE_SLOTS),
    )


LEASES_SIZE: Final = ctypes.sizeof(RawLeases)


class LeaseFile:
    """The file of one GPU, made where there is none that can be used.

    A file of this release is taken over as it is, with the leases that pods hold in it: an agent
    that starts again disturbs no launch.

    Raises:
        AgentError: the file can be neither made nor mapped.
    """

    def __init__(self, folder: Path, gpu_uuid: str) -> None:
        self.path = folder / gpu_uuid
        try:
            if not _is_good(self.path, gpu_uuid):
                _make(self.path, gpu_uuid)
            with self.path.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), LEASES_SIZE)
        except (OSError, ValueError) as error:
            raise AgentError(f"cannot make the lease file {self.path}: {error}") from error

    def forget(self, slots: Iterable[int]) -> None:
        """Have what is left of pods that are gone stepped over at once.

        Their bits are not cleared here: that takes an atomic operation, which the library has.
        """
        raw = RawLeases.from_buffer(self._map)
        for slot in slots:
            raw.slots[slot].renewed_at_ns = 0
            raw.slots[slot].waits_at_ns = 0

    def lost(self) -> bool:
        """Whether the file is no longer where pods look for it."""
        return not self.path.exists()

    def close(self) -> None:
        """Let go of the mapping; the file stays for the pods."""
        self._map.close()


def _is_good(path: Path, gpu_uuid: str) -> bool:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    if len(data) != LEASES_SIZE:
        return False
    raw = RawLeases.from_buffer_copy(data)
    found = (raw.magic, raw.abi_version, raw.size, raw.gpu_uuid.decode(errors="replace"))
    return found == (LEASES_MAGIC, ABI_VERSION, LEASES_SIZE, gpu_uuid)


def _make(path: Path, gpu_uuid: str) -> None:
    raw = RawLeases(
        magic=LEASES_MAGIC,
        abi_version=ABI_VERSION,
        size=LEASES_SIZE,
        gpu_uuid=gpu_uuid.encode(),
    )
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(bytes(raw))
    # Pods run as any user; who may write here may use the GPU's MPS daemon as well.
    fresh.chmod(0o666)
    fresh.rename(path)
