"""What every replica held at every moment, from the changes that a watch delivers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ..cli.fleet import Replica
from ..gpu import H200

WHOLE_GPU: Final = H200.sm_count * 100  # SM x per cent: every GPU of the demo is an H200


@dataclass(slots=True)
class _Life:
    """All versions of one replica, oldest first, and when it was gone."""

    versions: list[tuple[float, Replica]] = field(default_factory=list)
    gone_s: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An allocation that came into force.

    Attributes:
        at_s: when the watch showed it, seconds.
        before, after: SM x per cent of the replica's earlier and new allocation; 0 before the
            first.
        took_ms: from when the watch showed the new allocation until it showed it in force.

    """

    service: str
    pod: str
    at_s: float
    before: int
    after: int
    took_ms: float


class Timeline:
    """Replicas over time; times are seconds on any one clock."""

    def __init__(self) -> None:
        self._lives: dict[str, _Life] = {}  # by namespace/pod

    def note(self, at_s: float, replica: Replica) -> None:
        """Record how a replica looks from now on; the same look again changes nothing."""
        life = self._lives.setdefault(_key(replica), _Life())
        if not life.versions or life.versions[-1][1] != replica:
            life.versions.append((at_s, replica))

    def gone(self, at_s: float, namespace: str, pod: str) -> None:
        """Record that a pod is gone and holds nothing any more."""
        life = self._lives.get(f"{namespace}/{pod}")
        if life is not None and life.gone_s is None:
            life.gone_s = at_s

    def at(self, t_s: float, service: str = "") -> list[Replica]:
        """Return the replicas there were at one moment, of one service or of all."""
        found = []
        for life in self._lives.values():
            replica = _look(life, t_s)
            if replica is not None and service in ("", replica.service):
                found.append(replica)
        return found

    def gpu_seconds(self, service: str, start_s: float, end_s: float) -> float:
        """Return the integral of the compute share (SM x time) that a service held."""
        return sum(
            (until - since) * replica.sm_partition * replica.quota_percent / WHOLE_GPU
            for since, until, replica in self._spans(service, start_s, end_s)
        )

    def whole_gpu_seconds(self, service: str, start_s: float, end_s: float) -> float:
        """Return what the same replicas cost when each holds one whole GPU."""
        spans = self._spans(service, start_s, end_s)
        return sum(until - since for since, until, replica in spans if replica.gpu_uuid)

    def changes(self, service: str, start_s: float, end_s: float) -> list[Change]:
        """Return the allocations that came into force in a span, first ones included."""
        found = []
        for life in self._lives.values():
            if life.versions[0][1].service == service:
                found += [c for c in _changes(life) if start_s <= c.at_s < end_s]
        return sorted(found, key=lambda change: change.at_s)

    def resizes(self, service: str, start_s: float, end_s: float) -> int:
        """Return how often a running replica got another piece, counting only what is in force."""
        return sum(change.before > 0 for change in self.changes(service, start_s, end_s))

    def cold_starts(self, service: str, start_s: float, end_s: float) -> int:
        """Return how many replicas became ready for the first time in a span."""
        firsts = [
            next((at for at, r in life.versions if r.phase == "ready"), None)
            for life in self._lives.values()
            if life.versions[0][1].service == service
        ]
        return sum(at is not None and start_s <= at < end_s for at in firsts)

    def scale_outs(self, service: str, start_s: float, end_s: float) -> int:
        """Return how many replicas were asked for in a span."""
        return sum(start_s <= life.versions[0][0] < end_s for life in self._of(service))

    def scale_ins(self, service: str, start_s: float, end_s: float) -> int:
        """Return how many replicas were told to end in a span."""
        firsts = [
            next((at for at, r in life.versions if r.phase == "ending"), life.gone_s)
            for life in self._of(service)
        ]
        return sum(at is not None and start_s <= at < end_s for at in firsts)

    def _of(self, service: str) -> Iterator[_Life]:
        return (x for x in self._lives.values() if x.versions[0][1].service == service)

    def _spans(
        self, service: str, start_s: float, end_s: float
    ) -> Iterator[tuple[float, float, Replica]]:
        for life in self._of(service):
            ends = [at for at, _ in life.versions[1:]]
            ends.append(end_s if life.gone_s is None else life.gone_s)
            for (since, replica), until in zip(life.versions, ends, strict=True):
                low, high = max(since, start_s), min(until, end_s)
                if high > low:
                    yield low, high, replica


def _key(replica: Replica) -> str:
    return f"{replica.service.split('/')[0]}/{replica.pod}"


def _look(life: _Life, t_s: float) -> Replica | None:
    if life.gone_s is not None and t_s >= life.gone_s:
        return None
    found = None
    for at, replica in life.versions:
        if at > t_s:
            break
        found = replica
    return found


def _changes(life: _Life) -> Iterator[Change]:
    asked: dict[int, tuple[float, int]] = {}  # epoch -> when it was first seen, its area
    acknowledged, area = 0, 0
    for at, replica in life.versions:
        asked.setdefault(replica.epoch, (at, replica.sm_partition * replica.quota_percent))
        epoch = replica.in_force_epoch
        if epoch <= acknowledged:
            continue
        since, after = asked.get(epoch, (at, area))
        yield Change(replica.service, replica.pod, at, area, after, (at - since) * 1000)
        acknowledged, area = epoch, after
