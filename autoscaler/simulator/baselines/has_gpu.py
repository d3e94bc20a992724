"""HAS-GPU's autoscaler, as its published code decides and with its fatal bugs fixed.

As coded: one Kalman filter shared by all functions and fed with its own safety margin, 70 ms of
preprocessing in every capacity, at most two rows of SMs a GPU, and a first new GPU that makes the
controller panic, so it never comes. Fixed: a filter per function, the margin outside the filter's
state, no invented preprocessing, new GPUs work, occupancy is a fraction and not an integer. Its
capacities know no queue; a headroom on the prediction is all that can be tuned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from kserve_has.allocation import Allocation
from kserve_has.gpu import GpuGeometry
from kserve_has.latency import LatencyModel
from kserve_has.latency.duty import stream_mean_ms

from ...policy.observation import Observation, Replica, ReplicaPhase, Service
from ...policy.plan import Action, Because, Place, Plan, Reason, Resize, SetScale
from ..scenario import Signals

_UP, _DOWN, _STEP, _ROWS = 0.9, 0.3, 10, 2
_COOLDOWN_S, _RATE_S = 10.0, 10.0
_FIRST = (30, 30)  # SM and quota of the first pod, per cent


@dataclass(slots=True)
class Kalman:
    """The scalar request predictor: A = H = 1, Q = 1, R = 10."""

    feeds_back: bool
    x: float = 0.0
    p: float = 1.0
    seen: int = 0

    def predict(self, rate: float) -> float:
        """Return the predicted rate; as coded, margin and floor stay in the state."""
        prior = self.p + 1.0
        gain = prior / (prior + 10.0)
        self.x += gain * (rate - self.x)
        self.p = (1.0 - gain) * prior
        with_margin = max(self.x + math.sqrt(self.p), rate + 5.0)
        if self.feeds_back:
            self.x = with_margin
        return with_margin


@dataclass(slots=True)
class Row:
    """One of the two slices of a GPU: its SMs in per cent, and its pods' quotas."""

    sm: int = 0
    quotas: dict[str, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """Per cent of quota nobody holds."""
        return 100 - sum(self.quotas.values())


@dataclass(slots=True)
class Wanted:
    """A pod decided but not yet created, then placed where it was decided."""

    gpu: str
    row: int
    quota: int


class HasGpu:
    """The whole controller, over all functions."""

    tick_s = 2.0

    def __init__(self, latency: LatencyModel, *, fixed: bool, headroom: float = 1.0) -> None:
        self._latency, self._fixed, self._headroom = latency, fixed, headroom
        self._shared = Kalman(feeds_back=True)
        self._filters: dict[str, Kalman] = {}
        self._rows: dict[str, list[Row]] = {}
        self._queue: dict[str, list[Wanted]] = {}
        self._down_s: dict[str, float] = {}
        self._place_of: dict[str, tuple[str, int]] = {}

    def decide(self, observation: Observation, signals: Signals) -> Plan:
        """Return what HAS-GPU does at one tick."""
        for gpu in observation.gpus:
            self._rows.setdefault(gpu.uuid, [Row() for _ in range(_ROWS)])
        geometry = observation.gpus[0].geometry
        self._forget_gone(observation)
        actions: list[Action] = []
        for service in observation.services:
            actions += self._place(service, observation, geometry)
            actions += self._steer(service, observation.now_s, signals, geometry)
        return Plan(tuple(actions))

    def rps(self, service: Service, geometry: GpuGeometry, sm: int, quota: int) -> float:
        """Return a pod's capacity as HAS-GPU computes it."""
        sms = max(1, round(geometry.sm_count * sm / 100))
        whole = self._latency.predict(
            service.served_model, geometry.product, service.batch, sms, 100
        )
        known_ms = stream_mean_ms(whole.mean_ms, quota)
        return 1000.0 / (known_ms + (0.0 if self._fixed else 70.0))

    def _forget_gone(self, observation: Observation) -> None:
        alive = {replica.name for s in observation.services for replica in s.replicas}
        for rows in self._rows.values():
            for row in rows:
                row.quotas = {n: q for n, q in row.quotas.items() if n in alive or n[0] == "?"}
                if not row.quotas:
                    row.sm = 0

    def _place(
        self, service: Service, observation: Observation, geometry: GpuGeometry
    ) -> list[Action]:
        """Bind new pods to the rows that were chosen for them; adopt pods that came before us."""
        actions: list[Action] = []
        queue = self._queue.setdefault(service.name, [])
        nodes = {gpu.uuid: gpu.node for gpu in observation.gpus}
        for replica in service.replicas:
            if replica.phase is not ReplicaPhase.GATED:
                if replica.name not in self._place_of and replica.allocation is not None:
                    self._adopt(replica.name, replica.allocation, geometry)
                continue
            wanted = queue.pop(0) if queue else self._first()
            if wanted is None:
                break
            row = self._rows[wanted.gpu][wanted.row]
            row.quotas.pop(f"?{service.name}/{wanted.gpu}/{wanted.row}", None)
            row.quotas[replica.name] = wanted.quota
            self._place_of[replica.name] = (wanted.gpu, wanted.row)
            allocation = _slice(wanted.gpu, wanted.row, row.sm, wanted.quota, geometry, service)
            rps = self.rps(service, geometry, row.sm, wanted.quota)
            because = Because(Reason.NEW_REPLICA)
            actions.append(
                Place(service.name, replica.name, nodes[wanted.gpu], allocation, rps, because)
            )
        return actions

    def _adopt(self, name: str, allocation: Allocation, geometry: GpuGeometry) -> None:
        rows = self._rows[allocation.gpu_uuid]
        index = next((i for i, row in enumerate(rows) if not row.quotas), 0)
        rows[index].sm = round(100 * allocation.sm_partition / geometry.sm_count)
        rows[index].quotas[name] = allocation.quota_percent
        self._place_of[name] = (allocation.gpu_uuid, index)

    def _first(self) -> Wanted | None:
        """Return the place of a pod nobody asked for: the first, or one made after a loss."""
        sm, quota = _FIRST
        for gpu, rows in sorted(self._rows.items(), key=lambda kv: (self._occupancy(kv[1]), kv[0])):
            for index, row in enumerate(rows):
                if not row.quotas or (row.sm == sm and row.free >= quota):
                    row.sm = sm
                    return Wanted(gpu, index, quota)
        return None

    def _steer(
        self, service: Service, now_s: float, signals: Signals, geometry: GpuGeometry
    ) -> list[Action]:
        seconds = [s for s in signals[service.name][-14:] if s.visible_s <= now_s]
        recent = [s.rps for s in seconds if s.at_s > now_s - _RATE_S]
        if not recent:
            return []
        kalman = self._shared
        if self._fixed:
            kalman = self._filters.setdefault(service.name, Kalman(feeds_back=False))
        predicted = self._headroom * kalman.predict(sum(recent) / len(recent))
        placed = [r for r in service.replicas if r.name in self._place_of]
        placed = [r for r in placed if r.phase is not ReplicaPhase.TERMINATING]
        if not any(r.phase is ReplicaPhase.READY for r in placed):
            return []
        total = sum(self._rps_of(service, r, geometry) for r in placed)
        if predicted > _UP * total:
            return self._up(service, placed, predicted - _UP * total, geometry)
        if (
            predicted < _DOWN * total
            and now_s - self._down_s.get(service.name, -1e9) >= _COOLDOWN_S
        ):
            self._down_s[service.name] = now_s
            return self._down(service, placed, _UP * total - predicted, geometry)
        return []

    def _rps_of(self, service: Service, replica: Replica, geometry: GpuGeometry) -> float:
        gpu, index = self._place_of[replica.name]
        row = self._rows[gpu][index]
        return self.rps(service, geometry, row.sm, row.quotas[replica.name])

    def _up(
        self, service: Service, placed: list[Replica], need: float, geometry: GpuGeometry
    ) -> list[Action]:
        actions: list[Action] = []
        for replica in sorted(placed, key=lambda r: -self._row_of(r).sm):
            if need <= 0:
                break
            row = self._row_of(replica)
            before = self._rps_of(service, replica, geometry)
            quota, spare = row.quotas[replica.name], row.free
            while spare >= _STEP and self.rps(service, geometry, row.sm, quota) - before < need:
                quota, spare = quota + _STEP, spare - _STEP
            if quota != row.quotas[replica.name]:
                row.quotas[replica.name] = quota
                actions.append(self._resize(service, replica, geometry))
                need -= self._rps_of(service, replica, geometry) - before
        added = self._out(service, need, geometry)
        if added:
            because = Because(Reason.DEMAND_ROSE)
            actions.append(SetScale(service.name, service.scale + added, (), because))
        return actions

    def _out(self, service: Service, need: float, geometry: GpuGeometry) -> int:
        """Decide new pods until the need is met; return how many."""
        added = 0
        while need > 0 and service.scale + added < service.max_replicas:
            wanted = self._on_used_gpu(service, need, geometry) or self._on_new_gpu()
            if wanted is None:
                break
            row = self._rows[wanted.gpu][wanted.row]
            row.quotas[f"?{service.name}/{wanted.gpu}/{wanted.row}"] = wanted.quota
            self._queue[service.name].append(wanted)
            need -= self.rps(service, geometry, row.sm, wanted.quota)
            added += 1
        return added

    def _on_used_gpu(self, service: Service, need: float, geometry: GpuGeometry) -> Wanted | None:
        used = [(self._occupancy(rows), gpu) for gpu, rows in self._rows.items() if _used(rows)]
        for occupancy, gpu in sorted(used):
            if occupancy >= 0.95:
                continue
            for index, row in enumerate(self._rows[gpu]):
                waits = f"?{service.name}/{gpu}/{index}" in row.quotas
                if row.free < _STEP or waits:
                    continue
                row.sm = row.sm or _sm_for(service.served_model, need)
                quota = _STEP
                while quota + _STEP <= row.free and (
                    self.rps(service, geometry, row.sm, quota) < need
                ):
                    quota += _STEP
                return Wanted(gpu, index, quota)
        return None

    def _on_new_gpu(self) -> Wanted | None:
        """Return a place on an unused GPU; as coded the controller panics here instead."""
        if not self._fixed:
            return None
        for gpu, rows in sorted(self._rows.items()):
            if not _used(rows):
                rows[0].sm = _FIRST[0]
                return Wanted(gpu, 0, _FIRST[1])
        return None

    def _down(
        self, service: Service, placed: list[Replica], excess: float, geometry: GpuGeometry
    ) -> list[Action]:
        actions: list[Action] = []
        for replica in sorted(placed, key=lambda r: self._row_of(r).sm):
            row = self._row_of(replica)
            before = self._rps_of(service, replica, geometry)
            quota = row.quotas[replica.name]
            while quota > _STEP and before - self.rps(service, geometry, row.sm, quota) < excess:
                quota -= _STEP
            if quota != row.quotas[replica.name]:
                row.quotas[replica.name] = quota
                actions.append(self._resize(service, replica, geometry))
                excess -= before - self._rps_of(service, replica, geometry)
        if excess <= 0 or len(placed) <= 1:
            return actions
        victims: list[str] = []
        for replica in placed:
            small = self._row_of(replica).sm <= 50
            rps = self._rps_of(service, replica, geometry)
            if small and rps <= excess and len(victims) + 1 < len(placed):
                victims.append(replica.name)
                excess -= rps
        if victims:
            left = service.scale - len(victims)
            because = Because(Reason.DEMAND_FELL)
            actions.append(SetScale(service.name, left, tuple(victims), because))
        return actions

    def _resize(self, service: Service, replica: Replica, geometry: GpuGeometry) -> Resize:
        gpu, index = self._place_of[replica.name]
        row = self._rows[gpu][index]
        quota = row.quotas[replica.name]
        allocation = _slice(gpu, index, row.sm, quota, geometry, service)
        rps = self.rps(service, geometry, row.sm, quota)
        return Resize(service.name, replica.name, allocation, rps, Because(Reason.DEMAND_ROSE))

    def _row_of(self, replica: Replica) -> Row:
        gpu, index = self._place_of[replica.name]
        return self._rows[gpu][index]

    def _occupancy(self, rows: list[Row]) -> float:
        """Return the occupied share; as coded an integer division makes every SM share 0."""
        if not self._fixed:
            return 0.0
        return sum(row.sm / 100 * sum(row.quotas.values()) / 100 for row in rows)


def _used(rows: list[Row]) -> bool:
    return any(row.quotas for row in rows)


def _sm_for(model: str, need: float) -> int:
    """Return the SM share of a new row from HAS-GPU's table, per cent."""
    table = {"bert": (30, 70, 50), "resnet": (25, 50, 30), "convnext": (30, 70, 30)}
    table["mobilenet"] = (40, 70, 30)
    for name, (above, many, few) in table.items():
        if model.startswith(name):
            return many if need > above else few
    return 50


def _slice(
    gpu: str, row: int, sm: int, quota: int, geometry: GpuGeometry, service: Service
) -> Allocation:
    """Return a row's slice: the first row from the first group up, the second from the last down."""
    count = max(1, min(geometry.group_count, round(geometry.group_count * sm / 100)))
    groups = (1 << count) - 1
    if row == 1:
        groups <<= geometry.group_count - count
    return Allocation(gpu, groups, geometry.sm_of(groups), quota, service.memory_bytes)
