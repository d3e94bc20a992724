"""One pod of this node: its limit block, what it was told and what it has taken up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from kserve_has import contract
from kserve_has.allocation import Allocation
from kserve_has.errors import AgentError
from kserve_has.gpu import GpuGeometry

from ..accounting import Account, in_force_since, live
from ..region import (
    DEFAULT_LEASE_SLICE_NS,
    FLAG_BURST,
    FLAG_MEMORY,
    FLAG_QUIESCE,
    FLAG_SM,
    FLAG_TIME,
    LIMITS_SIZE,
    Limits,
    LimitsWriter,
    Usage,
    UsageSlot,
    read_limits,
    read_usage,
)
from .backend import from_time, in_time
from .leases import NO_LEASE, Lease
from .trouble import Signs, UngatedShare
from .wanted import Wanted


@dataclass(frozen=True, slots=True)
class Identity:
    """Names under which a pod's figures are exposed."""

    namespace: str
    pod: str
    service: str


@dataclass
class Replica:
    """What the agent knows of a pod; everything can be read back after a restart.

    Attributes:
        folder: the pod's quota volume on this node; kubelet makes it.
        clock_ns: CLOCK_MONOTONIC, which stamps every write.
        wanted: last allocation that its annotations asked for.
        seen_ns: when that was seen first.
        written: what the limit block says.
        lingering: earlier pieces that processes may still run on.
        pending: whether what is written is not yet acknowledged by the processes.
        waits_since_ns: since when ``wanted`` waits for others to let go.
        exclusive: stays out of MPS, and so out of the fault domain of other pods.
        burst: may use time beyond its quota that nobody else wants.
        killed_at_s: when kubelet will kill the pod, in seconds since the epoch; None: not soon.
        quiesced: no more launches, the pod is about to be killed.
        terminated: what it still had on the GPU has been ordered off it.
        misread: why the annotations were not taken, empty when they were.
        problem: why ``wanted`` is not honoured, empty when it is.
        unreadable: why the usage file cannot be read, empty when it can.
        granted_sm_ns: integral of SMs x quota over time, in SM x ns.
        ungated: how many of its launches pass no gate.
    """

    identity: Identity
    folder: Path
    clock_ns: Callable[[], int] = time.monotonic_ns
    wanted: Wanted | None = None
    seen_ns: int = 0
    written: Limits | None = None
    lingering: tuple[Allocation, ...] = ()
    pending: bool = False
    waits_since_ns: int | None = None
    exclusive: bool = False
    burst: bool = False
    killed_at_s: float | None = None
    quiesced: bool = False
    terminated: bool = False
    misread: str = ""
    problem: str = ""
    unreadable: str = ""
    granted_sm_ns: float = 0.0
    account: Account = field(default_factory=Account)
    usage: Usage = field(default_factory=Usage)
    ungated: UngatedShare = field(default_factory=UngatedShare)
    _writer: LimitsWriter | None = None
    _granted: Allocation | None = None

    @property
    def complaint(self) -> str:
        """Everything that is wrong, empty when nothing is."""
        return "; ".join(filter(None, (self.misread, self.problem, self.unreadable)))

    def is_at_work(self) -> bool:
        """Whether one of its present processes has launched something."""
        return any(slot.launches for slot in self.usage.slots)

    def signs(self, *, outside_mps: bool = False) -> Signs:
        """Return what there is to find trouble in."""
        return Signs(
            self.complaint,
            self.ungated.ratio,
            self.account.memory_bytes,
            self.written.memory_limit_bytes if self.written else 0,
            outside_mps,
        )

    def restore(self, gpu: GpuGeometry | None, stale_ns: int) -> None:
        """Read back what a former agent wrote, and what the processes still run on.

        They may not have taken up the last write yet, and that write may be torn.
        """
        self.written = read_limits(self.folder / contract.LIMITS_FILE)
        self.pending = self.written is not None
        try:
            self.read()
        except AgentError as error:
            self.unreadable = str(error)
        if gpu is not None:
            slots = live(self.usage.slots, self.clock_ns(), stale_ns)
            found = (_piece(slot, gpu) for slot in slots)
            self.lingering = tuple({piece for piece in found if piece and piece != self.held(gpu)})

    def present(self) -> bool:
        """Whether kubelet has made the volume."""
        return self.folder.is_dir()

    def steady(self, limits: Limits) -> Limits:
        """Return limits with the partitions that were named as likely while they are taken up.

        Who is about to move there has more to do than to hear of others.
        """
        written = self.written
        if written is None or not self.pending or written.epoch != limits.epoch:
            return limits
        return replace(limits, next_sm_groups=written.next_sm_groups)

    def lost(self) -> bool:
        """Whether the block that was written is not where readers look for it."""
        return self.written is not None and not (self.folder / contract.LIMITS_FILE).exists()

    def write(self, limits: Limits, gpu: GpuGeometry, granted: Allocation) -> None:
        """Publish the limits of a grant; what was before lingers until all processes follow.

        Raises:
            AgentError: the block cannot be made or mapped.
        """
        if self.lost():
            # Written before the volume was mounted over its folder: nobody can see that block.
            self.close()
        if self._writer is None:
            self._discard_stump()
            self._writer = LimitsWriter(self.folder / contract.LIMITS_FILE, self.clock_ns)
        before = self.held(gpu)
        if self.written is None or self.written.epoch != limits.epoch:
            self.pending = True
            self.lingering += () if before is None else (before,)
        self.written = self._writer.write(limits)
        self._granted = granted

    def _discard_stump(self) -> None:
        """Remove a block that is too short to be mapped; readers find the next file by name."""
        path = self.folder / contract.LIMITS_FILE
        try:
            if path.stat().st_size < LIMITS_SIZE:
                path.unlink()
        except OSError:
            return  # there is none, or the writer says what is wrong with it

    def held(self, gpu: GpuGeometry) -> Allocation | None:
        """Return the piece that is written, None when nothing is held."""
        limits = self.written
        if limits is None or limits.flags & FLAG_QUIESCE:
            return None
        if self._granted is not None:
            return self._granted
        try:
            sm_partition = gpu.sm_of(limits.sm_groups)
        except ValueError:
            return None  # left by an agent that knew another GPU: it holds nothing here
        permille = limits.quota_permille
        spatial = limits.flags & FLAG_SM
        quota_percent = max(1, permille // 10)
        if not spatial:
            quota_percent = from_time(permille, sm_partition, gpu)
        return Allocation(
            limits.gpu_uuid,
            limits.sm_groups,
            sm_partition,
            quota_percent,
            limits.memory_limit_bytes,
        )

    def read(self) -> None:
        """Read the usage file into ``usage``.

        Raises:
            AgentError: it belongs to another version of the library.
        """
        self.usage = read_usage(self.folder / contract.USAGE_FILE)

    def settled_at(self, now_ns: int, stale_ns: int) -> int | None:
        """Return since when every process follows what is written, None while one does not."""
        if self.written is None:
            return None
        slots = live(self.usage.slots, now_ns, stale_ns)
        return in_force_since(slots, self.written.epoch, self.written.written_at_ns)

    def close(self) -> None:
        """Let go of the limit block; the file stays for its readers."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _piece(slot: UsageSlot, gpu: GpuGeometry) -> Allocation | None:
    """Return what a process says it runs on, None when it says nothing sensible."""
    try:
        sm_partition = gpu.sm_of(slot.sm_groups)
    except ValueError:
        return None
    quota_percent = min(100, max(1, slot.quota_permille // 10))
    return Allocation("", slot.sm_groups, sm_partition, quota_percent, 0)


def limits_of(
    wanted: Wanted,
    gpu: GpuGeometry,
    *,
    window_ns: int,
    max_outstanding_ns: int,
    phase_ns: int,
    enforce_sm: bool,
    quiesce: bool,
    burst: bool = False,
    lease: Lease = NO_LEASE,
    lease_slice_ns: int = DEFAULT_LEASE_SLICE_NS,
    next_sm_groups: tuple[int, ...] = (),
) -> Limits:
    """Return the limit block of an allocation; without partitions its area is given as time."""
    flags = FLAG_TIME | FLAG_MEMORY
    flags |= FLAG_SM if enforce_sm else 0
    flags |= FLAG_QUIESCE if quiesce else 0
    flags |= FLAG_BURST if burst else 0
    allocation = wanted.allocation
    return Limits(
        epoch=wanted.epoch,
        gpu_uuid=allocation.gpu_uuid,
        sm_groups=allocation.sm_groups,
        sm_group_size=gpu.sm_group_size,
        quota_permille=allocation.quota_percent * 10 if enforce_sm else in_time(allocation, gpu),
        memory_limit_bytes=allocation.memory_bytes,
        flags=flags,
        window_ns=window_ns,
        max_outstanding_ns=max_outstanding_ns,
        phase_ns=phase_ns,
        lease_slot=lease.slot,
        lease_conflicts=lease.conflicts,
        lease_slice_ns=lease_slice_ns,
        next_sm_groups=next_sm_groups if enforce_sm and not quiesce else (),
    )


def same(written: Limits | None, limits: Limits) -> bool:
    """Whether a block already says this, whenever it was written."""
    if written is None:
        return False
    return all(
        getattr(written, name) == getattr(limits, name)
        for name in Limits.__slots__
        if name not in ("written_at_ns", "max_sm_groups")
    )
