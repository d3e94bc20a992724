"""The lease file of one GPU, through which its pods agree on who runs.

Twin of ``struct has_leases`` in ``include/has_abi.h``. The agent makes it and afterwards only
writes single times in it; the words that pods agree on are the library's.
"""

from __future__ import annotations

import ctypes
import os
import stat
import tempfile
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
        ("urgent_at_ns", ctypes.c_int64),
        ("spends_at_ns", ctypes.c_int64),
        ("reserved", ctypes.c_uint64 * 1),
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
    that starts again disturbs no launch. Pods can write in its folder: no link in it is followed,
    nothing in it is waited for, and it is not mapped, since one that a pod cuts short would end
    the agent.

    Raises:
        AgentError: the file can be neither made nor opened.
    """

    def __init__(self, folder: Path, gpu_uuid: str) -> None:
        self.path = folder / gpu_uuid
        self._gpu_uuid = gpu_uuid
        try:
            found = _open_good(self.path, gpu_uuid)
            self._file = _make(self.path, gpu_uuid) if found is None else found
        except OSError as error:
            raise AgentError(f"cannot make the lease file {self.path}: {error}") from error

    def forget(self, slots: Iterable[int]) -> None:
        """Have what is left of pods that are gone stepped over at once.

        Their bits are not cleared here: that takes an atomic operation, which the library has.
        """
        for slot in slots:
            at = RawLeases.slots.offset + slot * ctypes.sizeof(RawLeaseSlot)
            for field in (RawLeaseSlot.renewed_at_ns, RawLeaseSlot.waits_at_ns):
                os.pwrite(self._file, bytes(field.size), at + field.offset)

    def lost(self) -> bool:
        """Whether what pods find where they look for it is not this file, or is damaged."""
        try:
            there = self.path.lstat()
        except OSError:
            return True
        return not os.path.samestat(there, os.fstat(self._file)) or not _is_good(
            self._file, self._gpu_uuid
        )

    def close(self) -> None:
        """Let go of it; the file stays for the pods."""
        os.close(self._file)


def _open_good(path: Path, gpu_uuid: str) -> int | None:
    """Open the file that is there; None where it cannot be used."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if _is_good(file, gpu_uuid):
        return file
    os.close(file)
    return None


def _is_good(file: int, gpu_uuid: str) -> bool:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_size != LEASES_SIZE:
        return False
    raw = RawLeases.from_buffer_copy(os.pread(file, LEASES_SIZE, 0).ljust(LEASES_SIZE, b"\0"))
    found = (raw.magic, raw.abi_version, raw.size, raw.gpu_uuid.decode(errors="replace"))
    return found == (LEASES_MAGIC, ABI_VERSION, LEASES_SIZE, gpu_uuid)


def _make(path: Path, gpu_uuid: str) -> int:
    raw = RawLeases(
        magic=LEASES_MAGIC,
        abi_version=ABI_VERSION,
        size=LEASES_SIZE,
        gpu_uuid=gpu_uuid.encode(),
    )
    # A name that nobody can guess, and a link in its place would be refused.
    file, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        os.pwrite(file, bytes(raw), 0)
        # Pods run as any user; who may write here may use the GPU's MPS daemon as well.
        os.fchmod(file, 0o666)
        os.replace(fresh, path)
    except OSError:
        os.close(file)
        os.unlink(fresh)
        raise
    return file
