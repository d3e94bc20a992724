"""Keeps every limit block of a node in line with the annotations of its pods.

No API server: a step takes the pods and the time and returns what to acknowledge.
"""

from __future__ import annotations

import functools
import math
import operator
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from kserve_has import contract
from kserve_has.allocation import Allocation
from kserve_has.config.agent import AgentSettings
from kserve_has.errors import AgentError
from kserve_has.kube import JsonObject, annotations_of, labels_of, uid_of

from ..accounting import live
from .ahead import likely
from .arrange import Apply, Holding, Refuse, Wait, arrange, turns
from .backend import Name, in_time, of_pod
from .inventory import NodeGpu
from .leases import NO_LEASE, Claim, Lease, LeaseFiles, leases
from .replica import Identity, Replica, limits_of, same
from .wanted import (
    Wanted,
    acknowledged_epoch,
    acknowledgement,
    finds_leases,
    is_exclusive,
    is_placed,
    may_burst,
    parse_wanted,
)

_ROUNDS: Final = 4  # a shrink, what it frees, and what that frees in turn
_FRESH_NS: Final = 1_000_000_000  # an acknowledgement so late may be polled for less often
_POLL_S: Final = 0.02
_IDLE_POLL_S: Final = 0.25
_SOONEST_S: Final = 0.005
_ENDED: Final = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What to write on a pod."""

    uid: str
    identity: Identity
    epoch: int
    value: str


@dataclass(frozen=True, slots=True)
class Now:
    """One moment on both clocks: CLOCK_MONOTONIC in ns, and seconds since the epoch."""

    ns: int
    wall_s: float


class Keeper:
    """All replicas of one node.

    Attributes:
        gpus: of this node, by uuid.
        replicas: the placed pods, by uid.
        on_resize: called with the seconds from seeing a change to its being in force.
    """

    def __init__(
        self,
        kubelet_root: Path,
        settings: AgentSettings,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        lease_files: LeaseFiles | None = None,
    ) -> None:
        self.gpus: Mapping[str, NodeGpu] = {}
        self.replicas: dict[str, Replica] = {}
        self.on_resize: Callable[[float], None] = lambda _: None
        self._root = kubelet_root
        self._settings = settings
        self._clock_ns = clock_ns
        self._lease_files = lease_files or LeaseFiles(None)
        self._owed: dict[str, Acknowledgement] = {}
        self._pods: dict[str, JsonObject] = {}
        self._accounted_ns: int | None = None
        self._wall_s = float("-inf")

    def step(self, pods: Iterable[JsonObject], now: Now) -> list[Acknowledgement]:
        """Bring all limit blocks in line; return what is in force and not yet acknowledged."""
        self._wall_s = now.wall_s
        self._follow(pods, now)
        self._account(now)
        for _ in range(_ROUNDS):
            self._settle(now)
            written = [self._arrange(gpu, now) for gpu in self.gpus.values()]
            if not any(written):
                break
        self._settle(now)
        return list(self._owed.values())

    def acknowledged(self, sent: Acknowledgement) -> None:
        """An acknowledgement has reached the API server."""
        if self._owed.get(sent.uid) == sent:
            del self._owed[sent.uid]

    def under_mps(self) -> frozenset[str]:
        """Return the pods whose processes are meant to be clients of the node's MPS daemon."""
        return frozenset(
            uid
            for uid, replica in self.replicas.items()
            if replica.written is not None and self._backend(replica) != "B"
        )

    def take_terminations(self) -> list[str]:
        """Return the pods whose work must leave the GPU now; each is named once."""
        due = [
            uid
            for uid in self.under_mps()
            if self.replicas[uid].quiesced and not self.replicas[uid].terminated
            if self._ends_within(self.replicas[uid], self._settings.terminate_before_s)
        ]
        for uid in due:
            self.replicas[uid].terminated = True
        return sorted(due)

    def next_step_s(self, now: Now) -> float:
        """Return after how many seconds the next step is due, whatever happens."""
        return min(
            (self._due_s(replica, now) for replica in self.replicas.values()),
            default=self._settings.accounting_s,
        )

    def _due_s(self, replica: Replica, now: Now) -> float:
        if replica.pending or replica.waits_since_ns is not None:
            fresh = now.ns - replica.seen_ns < _FRESH_NS
            return self._settings.ack_poll_ms / 1e3 if fresh else _POLL_S
        if replica.written is None and not replica.complaint:
            return _POLL_S
        idle_s = min(_IDLE_POLL_S, self._settings.accounting_s)
        return max(_SOONEST_S, min(idle_s, self._ending_s(replica) - now.wall_s))

    def _ending_s(self, replica: Replica) -> float:
        """Return when something is next to be done before a pod's end, in seconds since 1970."""
        if replica.killed_at_s is None:
            return math.inf
        if not replica.quiesced:
            return replica.killed_at_s - self._settings.quiesce_before_s
        if replica.terminated or self._backend(replica) == "B":
            return math.inf
        return replica.killed_at_s - self._settings.terminate_before_s

    def _follow(self, pods: Iterable[JsonObject], now: Now) -> None:
        self._pods = {
            uid_of(pod): pod
            for pod in pods
            if is_placed(annotations_of(pod))
            and (pod.get("status") or {}).get("phase") not in _ENDED
        }
        for uid in self.replicas.keys() - self._pods.keys():
            self.replicas.pop(uid).close()
            self._owed.pop(uid, None)
        for uid, pod in self._pods.items():
            replica = self.replicas.get(uid)
            if replica is None:
                folder = Path(contract.kubelet_volume_dir(str(self._root), uid))
                replica = Replica(identity_of(pod), folder, self._clock_ns)
                replica.ungated.window_ns = int(self._settings.ungated_window_s * 1e9)
                self.replicas[uid] = replica
                gpu = self.gpus.get(annotations_of(pod)[contract.GPU_UUID])
                stale_ns = int(self._settings.usage_stale_s * 1e9)
                replica.restore(gpu.geometry if gpu else None, stale_ns)
            self._take(replica, pod, now)

    def _take(self, replica: Replica, pod: JsonObject, now: Now) -> None:
        """Note what a pod's annotations ask for, and whether it is about to be killed."""
        replica.exclusive = is_exclusive(annotations_of(pod))
        replica.burst = may_burst(annotations_of(pod))
        replica.killed_at_s = _killed_at_s(pod)
        replica.quiesced = replica.quiesced or self._ends_within(
            replica, self._settings.quiesce_before_s
        )
        try:
            wanted = parse_wanted(annotations_of(pod))
        except ValueError as error:
            replica.misread = str(error)
            return
        known = replica.wanted
        replica.misread = ""
        if known is not None and wanted != known and wanted.epoch <= known.epoch:
            replica.misread = f"epoch {wanted.epoch} after {known.epoch}: it must grow"
        elif replica.written is not None and wanted.epoch < replica.written.epoch:
            replica.misread = f"epoch {wanted.epoch} after {replica.written.epoch}: it must grow"
        elif wanted.allocation.gpu_uuid not in self.gpus:
            replica.misread = f"GPU {wanted.allocation.gpu_uuid} is not on this node"
        elif wanted != known:
            replica.wanted, replica.seen_ns = wanted, now.ns
            replica.waits_since_ns, replica.problem = None, ""

    def _ends_within(self, replica: Replica, before_s: float) -> bool:
        killed_at_s = replica.killed_at_s
        return killed_at_s is not None and self._wall_s >= killed_at_s - before_s

    def _backend(self, replica: Replica) -> Name:
        gpu = self.gpus.get(replica.written.gpu_uuid) if replica.written else None
        return of_pod(gpu.backend.name if gpu else "B", replica.exclusive)

    def _account(self, now: Now) -> None:
        due = (
            self._accounted_ns is None
            or now.ns - self._accounted_ns >= self._settings.accounting_s * 1e9
        )
        for replica in self.replicas.values():
            if not (due or replica.pending):
                continue
            try:
                replica.read()
                replica.account.take(replica.usage)
                totals = replica.account.totals
                replica.ungated.take(now.ns, totals["launches"], totals["ungated_launches"])
                replica.unreadable = ""
            except AgentError as error:
                replica.unreadable = str(error)
        if not due:
            return
        elapsed_ns = 0 if self._accounted_ns is None else now.ns - self._accounted_ns
        for replica in self.replicas.values():
            gpu = self.gpus.get(replica.written.gpu_uuid) if replica.written else None
            held = replica.held(gpu.geometry) if gpu else None
            if held is not None:
                replica.granted_sm_ns += held.area / 100 * elapsed_ns
        self._accounted_ns = now.ns

    def _settle(self, now: Now) -> None:
        for uid, replica in self.replicas.items():
            written, wanted = replica.written, replica.wanted
            if not replica.pending or written is None:
                continue
            stale_ns = int(self._settings.usage_stale_s * 1e9)
            since_ns = replica.settled_at(now.ns, stale_ns)
            if since_ns is None:
                continue
            replica.pending = False
            is_resize = bool(replica.lingering) and bool(
                live(replica.usage.slots, now.ns, stale_ns)
            )
            replica.lingering = ()
            if wanted is None or wanted.epoch != written.epoch:
                continue
            if is_resize:
                self.on_resize(max(0, since_ns - replica.seen_ns) / 1e9)
            if acknowledged_epoch(annotations_of(self._pods[uid])) != wanted.epoch:
                at_s = now.wall_s - (now.ns - since_ns) / 1e9
                value = acknowledgement(wanted, self._backend(replica), at_s)
                self._owed[uid] = Acknowledgement(uid, replica.identity, wanted.epoch, value)

    def _arrange(self, gpu: NodeGpu, now: Now) -> bool:
        """Write what may be written on one GPU; return whether any block has changed."""
        geometry = gpu.geometry
        members = {
            uid: replica
            for uid, replica in self.replicas.items()
            if replica.wanted is not None and replica.wanted.allocation.gpu_uuid == gpu.uuid
        }
        verdicts = arrange(
            geometry,
            [_holding(uid, r, gpu, now.ns) for uid, r in members.items() if not r.quiesced],
            self._settings.handover_s,
        )
        final: dict[str, Wanted] = {}
        for uid, replica in members.items():
            verdict = verdicts.get(uid)
            wanted, held = replica.wanted, replica.held(geometry)
            if isinstance(verdict, Wait):
                replica.waits_since_ns = replica.waits_since_ns or now.ns
            elif verdict is not None:
                replica.waits_since_ns = None
                replica.problem = verdict.reason if isinstance(verdict, Refuse) else ""
            if isinstance(verdict, Apply) and wanted is not None:
                final[uid] = wanted
            elif held is not None and replica.written is not None:
                final[uid] = Wanted(replica.written.epoch, held)
        return self._write_all(gpu, members, final)

    def _write_all(
        self, gpu: NodeGpu, members: Mapping[str, Replica], final: Mapping[str, Wanted]
    ) -> bool:
        window_ns = int(self._settings.quota_window_ms * 1e6)
        spatial = {
            uid: of_pod(gpu.backend.name, replica.exclusive) == "A"
            for uid, replica in members.items()
        }
        phases = turns(
            {
                uid: wanted.allocation if spatial[uid] else _in_turns(wanted.allocation, gpu)
                for uid, wanted in final.items()
            },
            {uid: r.written.phase_ns for uid, r in members.items() if r.written is not None},
            window_ns,
        )
        held = self._leases(gpu, members, final)
        wishes = {uid: replica.wanted for uid, replica in members.items()}
        ahead = likely(gpu.geometry, final, wishes, self._settings.partitions_ahead)
        changed = False
        for uid, wanted in final.items():
            replica, lease = members[uid], held.get(uid, NO_LEASE)
            limits = limits_of(
                wanted,
                gpu.geometry,
                window_ns=window_ns,
                max_outstanding_ns=int(self._settings.max_outstanding_ms * 1e6),
                phase_ns=phases[uid],
                enforce_sm=spatial[uid],
                quiesce=replica.quiesced,
                burst=replica.burst,
                lease=lease,
                lease_slice_ns=int(self._settings.lease_slice_ms * 1e6),
                next_sm_groups=ahead[uid],
            )
            limits = replica.steady(limits)
            if (same(replica.written, limits) and not replica.lost()) or not replica.present():
                continue
            try:
                # Who runs now decides whose acknowledgement is needed.
                replica.read()
                replica.write(limits, gpu.geometry, wanted.allocation)
                changed = True
            except AgentError as error:
                replica.problem = str(error)
        return changed

    def _leases(
        self, gpu: NodeGpu, members: Mapping[str, Replica], final: Mapping[str, Wanted]
    ) -> Mapping[str, Lease]:
        """Return the leases of pods that share a GPU under MPS; the others have turns alone."""
        sharing = {
            uid: replica
            for uid, replica in members.items()
            if of_pod(gpu.backend.name, replica.exclusive) != "B"
            if uid in final or replica.written is not None
        }
        # A pod that is older than the leases neither excludes nor respects those that have them.
        if not sharing or not all(finds_leases(self._pods[uid]) for uid in sharing):
            return {}
        if not self._lease_files.ready(gpu.uuid):
            return {}
        found = leases(
            {uid: _claim(replica, gpu, final.get(uid)) for uid, replica in sharing.items()}
        )
        self._lease_files.use(gpu.uuid, (lease.slot for lease in found.values()))
        return found


def identity_of(pod: JsonObject) -> Identity:
    """Return the names under which a pod's figures are exposed."""
    metadata = pod["metadata"]
    service = labels_of(pod).get(contract.KSERVE_ISVC_LABEL, "")
    return Identity(metadata["namespace"], metadata["name"], service)


def _holding(uid: str, replica: Replica, gpu: NodeGpu, now_ns: int) -> Holding:
    wanted, since_ns = replica.wanted, replica.waits_since_ns
    if wanted is None:
        raise AgentError(f"pod {uid} has no allocation")
    waits_s = 0.0 if since_ns is None else (now_ns - since_ns) / 1e9
    lingering = replica.lingering
    return Holding(uid, wanted.allocation, replica.held(gpu.geometry), lingering, waits_s)


def _claim(replica: Replica, gpu: NodeGpu, wanted: Wanted | None) -> Claim:
    """Return what a pod may have work on, now or once its limits are written."""
    slot = replica.written.lease_slot if replica.written else 0
    if gpu.backend.name != "A":
        return Claim(gpu.geometry.all_groups, slot)  # no partition is enforced
    pieces = [piece.sm_groups for piece in replica.lingering]
    pieces += [replica.written.sm_groups] if replica.written else []
    pieces += [wanted.allocation.sm_groups] if wanted else []
    return Claim(functools.reduce(operator.or_, pieces, 0), slot)


def _in_turns(allocation: Allocation, gpu: NodeGpu) -> Allocation:
    """Return what a pod without a partition of its own occupies: all SMs, for less time."""
    geometry = gpu.geometry
    percent = max(1, in_time(allocation, geometry) // 10)
    whole = (geometry.all_groups, geometry.sm_count)
    return Allocation(allocation.gpu_uuid, *whole, percent, allocation.memory_bytes)


def _killed_at_s(pod: JsonObject) -> float | None:
    """Return when the grace period of a deleted pod ends, in seconds since the epoch."""
    stamp = pod["metadata"].get("deletionTimestamp")
    return datetime.fromisoformat(stamp).timestamp() if stamp else None
