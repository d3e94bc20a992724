"""The two shared files between the node agent and the preload library, seen from Python.

Twin of ``include/has_abi.h``; a test compares every offset with what the C compiler says. The
agent is the only writer of a pod's ``limits`` and writes in place under a sequence lock, so
processes that mapped the file see each change. ``usage`` is written by the library alone.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

from kserve_has.errors import AgentError

from .layout import NEXT, RawLimits, RawUsageHeader, RawUsageSlot, Words

ABI_VERSION: Final = 3
LIMITS_MAGIC: Final = 0x3154494D494C4148
USAGE_MAGIC: Final = 0x3145474153554148
LIMITS_SIZE: Final = 4096
USAGE_SLOTS: Final = 64

FLAG_TIME: Final = 1
FLAG_SM: Final = 2
FLAG_MEMORY: Final = 4
FLAG_QUIESCE: Final = 8
FLAG_BURST: Final = 16

SLOT_LIVE: Final = 1

DEFAULT_WINDOW_NS: Final = 50_000_000
DEFAULT_MAX_OUTSTANDING_NS: Final = 2_000_000
DEFAULT_LEASE_SLICE_NS: Final = 8_000_000
LEASE_SLOTS: Final = 64
_READ_ATTEMPTS: Final = 1000
_WORD: Final = (1 << 64) - 1

USAGE_SIZE: Final = ctypes.sizeof(RawUsageHeader) + USAGE_SLOTS * ctypes.sizeof(RawUsageSlot)
_BODY: Final = slice(RawLimits.flags.offset, ctypes.sizeof(RawLimits))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one pod may use of one GPU.

    Attributes:
        epoch: grows with every change.
        gpu_uuid: name of the GPU, at most 47 ASCII characters.
        sm_groups: bitmap of split groups, group 0 = bit 0, at most 128 groups.
        max_sm_groups: the largest partition, for launches that do not fit; 0 = `sm_groups`.
        sm_group_size: SMs of every group but the last.
        quota_permille: 1..1000 of each quota window.
        memory_limit_bytes: physical device bytes of the whole pod.
        flags: which of the three are enforced, quiesce, and burst.
        window_ns: length of the quota window.
        max_outstanding_ns: GPU time that may be in flight beyond the budget.
        phase_ns: start of the pod's turn in the window; 0 = anywhere. Not used under a lease.
        lease_slot: the pod's slot in its GPU's lease file, 1..63; 0 = none.
        lease_conflicts: bitmap of the slots that may not run beside this pod.
        lease_slice_ns: how long a turn lasts that others wait for.
        next_sm_groups: bitmaps that may come next, the likeliest first, at most ``NEXT``.
        written_at_ns: CLOCK_MONOTONIC of the write; set by the writer.
    """

    epoch: int
    gpu_uuid: str
    sm_groups: int
    sm_group_size: int
    quota_permille: int
    memory_limit_bytes: int
    max_sm_groups: int = 0
    flags: int = FLAG_TIME | FLAG_SM | FLAG_MEMORY
    window_ns: int = DEFAULT_WINDOW_NS
    max_outstanding_ns: int = DEFAULT_MAX_OUTSTANDING_NS
    phase_ns: int = 0
    written_at_ns: int = 0
    lease_slot: int = 0
    lease_conflicts: int = 0
    lease_slice_ns: int = DEFAULT_LEASE_SLICE_NS
    next_sm_groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageSlot:
    """What one process of a pod reports; fields as in ``struct has_usage_slot``."""

    pid: int
    start_time: int
    epoch_in_force: int
    in_force_at_ns: int
    sm_groups: int
    quota_permille: int
    faults: int
    launches: int
    ungated_launches: int
    graph_launches: int
    gpu_time_ns: int
    area_sm_ns: int
    throttled_ns: int
    overrun_ns: int
    memory_bytes: int
    memory_peak_bytes: int
    memory_refused: int
    resizes: int
    resize_last_ns: int
    heartbeat_ns: int
    leases: int
    lease_wait_ns: int
    borrowed_ns: int
    lease_faults: int
    partitions: int
    partitions_ahead: int
    notice_ns: int
    make_start_ns: int
    make_split_ns: int
    make_context_ns: int
    make_streams_ns: int


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage file: bytes charged to the pod and one entry per process that ever ran."""

    memory_bytes: int = 0
    slots: tuple[UsageSlot, ...] = field(default=())

    def in_force(self, epoch: int) -> bool:
        """Whether every process has put this epoch in force (true when there is none)."""
        return all(slot.epoch_in_force >= epoch for slot in self.slots)


def problems(limits: Limits) -> list[str]:
    """Return why the library would refuse these limits; empty when it takes them."""
    checks = {
        f"quota {limits.quota_permille} is outside 1..1000 permille": not (
            1 <= limits.quota_permille <= 1000
        ),
        f"SM groups {limits.sm_groups:#x} are empty or need more than 128 bits": not (
            0 < limits.sm_groups < 1 << 128
        ),
        f"maximum SM groups {limits.max_sm_groups:#x} do not hold {limits.sm_groups:#x}": bool(
            limits.max_sm_groups and limits.sm_groups & ~limits.max_sm_groups
        ),
        f"group size {limits.sm_group_size} is not positive": limits.sm_group_size <= 0,
        f"quota window {limits.window_ns} ns is outside 1 ms..10 s": not (
            1_000_000 <= limits.window_ns <= 10_000_000_000
        ),
        f"GPU name {limits.gpu_uuid!r} is empty or too long": not (
            0 < len(limits.gpu_uuid.encode()) < 48
        ),
        f"lease slot {limits.lease_slot} is outside 0..63": not (
            0 <= limits.lease_slot < LEASE_SLOTS
        ),
        f"lease conflicts {limits.lease_conflicts:#x} hold the pod itself or nobody's slot": bool(
            limits.lease_conflicts & (1 | 1 << limits.lease_slot)
        ),
        f"next SM groups {limits.next_sm_groups} are more than {NEXT}, empty or beyond 128 bits": (
            len(limits.next_sm_groups) > NEXT
            or not all(0 < groups < 1 << 128 for groups in limits.next_sm_groups)
        ),
        f"lease slice {limits.lease_slice_ns} ns is outside 0.1 ms..1 s": bool(limits.lease_slot)
        and not 100_000 <= limits.lease_slice_ns <= 1_000_000_000,
    }
    return [problem for problem, wrong in checks.items() if wrong]


class LimitsWriter:
    """The one writer of a pod's ``limits`` file.

    Raises:
        AgentError: the limits could not take effect, or the file cannot be made or mapped.
    """

    def __init__(self, path: Path, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._path = path
        self._now_ns = now_ns
        self._map: mmap.mmap | None = None

    def write(self, limits: Limits) -> Limits:
        """Publish limits and return them as written (with their time).

        The first write makes the whole file appear at once; later ones change it in place.
        """
        wrong = problems(limits)
        if wrong:
            raise AgentError(f"limits of {self._path} refused: " + "; ".join(wrong))
        stamped = replace(limits, written_at_ns=self._now_ns())
        if self._map is None:
            self._map = _open_or_create(self._path, stamped)
        raw = RawLimits.from_buffer(self._map)
        body = bytes(_pack(stamped))[_BODY]
        # x86-64 keeps stores in program order, so readers see odd, body, even in that order.
        raw.seq = raw.seq | 1
        self._map[_BODY] = body
        raw.seq = (raw.seq + 1) & 0xFFFFFFFF
        return stamped

    def close(self) -> None:
        """Let go of the mapping; the file stays for its readers."""
        if self._map is not None:
            self._map.close()
            self._map = None


def read_limits(path: Path) -> Limits | None:
    """Return the limits in force in a file, or None when it is absent or not (yet) valid."""
    raw = _snapshot(path)
    if raw is None or raw.magic != LIMITS_MAGIC or raw.abi_version != ABI_VERSION:
        return None
    limits = Limits(
        epoch=raw.epoch,
        gpu_uuid=raw.gpu_uuid.decode(errors="replace"),
        sm_groups=_join(raw.sm_groups),
        sm_group_size=raw.sm_group_size,
        quota_permille=raw.quota_permille,
        memory_limit_bytes=raw.memory_limit_bytes,
        max_sm_groups=_join(raw.max_sm_groups),
        flags=raw.flags,
        window_ns=raw.window_ns,
        max_outstanding_ns=raw.max_outstanding_ns,
        phase_ns=raw.phase_ns,
        written_at_ns=raw.written_at_ns,
        lease_slot=raw.lease_slot,
        lease_conflicts=raw.lease_conflicts,
        lease_slice_ns=raw.lease_slice_ns,
        next_sm_groups=tuple(filter(None, map(_join, raw.next_sm_groups))),
    )
    return None if problems(limits) else limits


def read_usage(path: Path) -> Usage:
    """Return what the pod's processes report; empty when no process has started yet.

    Raises:
        AgentError: the file exists but belongs to another version of the library.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Usage()
    if len(data) < ctypes.sizeof(RawUsageHeader) or not any(data[:8]):
        return Usage()
    header = RawUsageHeader.from_buffer_copy(data)
    if header.magic != USAGE_MAGIC or header.abi_version != ABI_VERSION:
        raise AgentError(
            f"{path} has magic {header.magic:#x} and version {header.abi_version}, expected "
            f"{USAGE_MAGIC:#x} and {ABI_VERSION}; is the library of another release?"
        )
    if len(data) < USAGE_SIZE:
        return Usage()
    stride, first = ctypes.sizeof(RawUsageSlot), ctypes.sizeof(RawUsageHeader)
    raw = [RawUsageSlot.from_buffer_copy(data, first + i * stride) for i in range(USAGE_SLOTS)]
    return Usage(header.memory_bytes, tuple(_slot(r) for r in raw if r.state == SLOT_LIVE))


def _slot(raw: RawUsageSlot) -> UsageSlot:
    names = (name for name in UsageSlot.__slots__ if name != "sm_groups")
    return UsageSlot(sm_groups=_join(raw.sm_groups), **{name: getattr(raw, name) for name in names})


def _pack(limits: Limits, seq: int = 0) -> RawLimits:
    most = limits.max_sm_groups or limits.sm_groups
    return RawLimits(
        magic=LIMITS_MAGIC,
        abi_version=ABI_VERSION,
        size=LIMITS_SIZE,
        seq=seq,
        flags=limits.flags,
        epoch=limits.epoch,
        sm_groups=_words(limits.sm_groups),
        max_sm_groups=_words(most),
        sm_group_size=limits.sm_group_size,
        quota_permille=limits.quota_permille,
        window_ns=limits.window_ns,
        max_outstanding_ns=limits.max_outstanding_ns,
        memory_limit_bytes=limits.memory_limit_bytes,
        phase_ns=limits.phase_ns,
        written_at_ns=limits.written_at_ns,
        gpu_uuid=limits.gpu_uuid.encode(),
        lease_conflicts=limits.lease_conflicts,
        lease_slice_ns=limits.lease_slice_ns,
        lease_slot=limits.lease_slot,
        next_sm_groups=(Words * NEXT)(*map(_words, limits.next_sm_groups)),
    )


def _words(groups: int) -> ctypes.Array[ctypes.c_uint64]:
    return Words(groups & _WORD, groups >> 64)


_T = TypeVar("_T", bound=ctypes.Array[ctypes.c_uint64])


def _join(words: _T) -> int:
    return int(words[0]) | int(words[1]) << 64


def _open_or_create(path: Path, limits: Limits) -> mmap.mmap:
    try:
        if not path.exists():
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.write_bytes(bytes(_pack(limits)).ljust(LIMITS_SIZE, b"\0"))
            fresh.chmod(0o644)
            fresh.rename(path)
        with path.open("r+b") as file:
            mapped = mmap.mmap(file.fileno(), LIMITS_SIZE)
    except (OSError, ValueError) as error:
        raise AgentError(f"cannot map {path}: {error}") from error
    # A file left by an older release is taken over: its readers refuse it until this is done.
    raw = RawLimits.from_buffer(mapped)
    raw.magic, raw.abi_version, raw.size = LIMITS_MAGIC, ABI_VERSION, LIMITS_SIZE
    return mapped


def _snapshot(path: Path) -> RawLimits | None:
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), LIMITS_SIZE, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    with mapped:
        for _ in range(_READ_ATTEMPTS):
            before = RawLimits.from_buffer_copy(mapped).seq
            copy = RawLimits.from_buffer_copy(mapped)
            if before % 2 == 0 and before == RawLimits.from_buffer_copy(mapped).seq:
                return copy
    return None
