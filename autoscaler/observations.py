"""What running replicas tell the latency model: which counters make a clean observation. Pure.

Shared by the controller and the simulator. The quota runtime meters the GPU time of every replica,
the gateway counts the requests each has answered; their quotient is the GPU time of one request,
whatever it waited for and whatever the quota was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from kserve_has.config.controller import ControllerSettings
from kserve_has.rapp.online import Observed

from .policy.observation import Observation, ReplicaPhase, Service

Owner = tuple[str, str]  # (service, replica)

_ERRORS: Final = 0.01  # share of failed requests beyond which the rest are no usual ones
_REFUSED: Final = 0.1  # of 4xx; did these use the GPU after all, the error would be 11 %


@dataclass(frozen=True, slots=True)
class Meter:
    """A replica's counters at one instant.

    Attributes:
        at_s: the instant, seconds of any clock.
        epoch: of the allocation it was last given.
        sources: who counted; a gateway that comes or goes changes the sum.
        answered: requests answered without an error of the server, 4xx among them.
        failed: requests that ended otherwise.
        gpu_s: metered GPU time.
        by_source: requests answered, by each of the sources; a sum hides that one began anew.
        refused: requests of the whole service answered with 4xx.
        of_service: requests answered by all its replicas that the gateways know.
        replicas: how many these are.
        borrowing: whether it may use time that others leave.

    """

    at_s: float
    epoch: int
    sources: tuple[str, ...]
    answered: float
    failed: float
    gpu_s: float
    borrowing: bool = False
    by_source: tuple[float, ...] = ()
    refused: float = 0.0
    of_service: float = 0.0
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a replica's interval begins; one that is not settled only waits for the next look.

    Attributes:
        meter: at the beginning.
        settled: whether an interval may begin there.
        latest: at the newest look, from which no counter may fall.

    """

    meter: Meter
    settled: bool
    latest: Meter


class Verdict(StrEnum):
    """What became of a look at one replica."""

    TAKEN = "taken"
    WAITING = "waiting"  # the interval does not hold enough requests yet
    SETTLING = "settling"  # a new replica, another allocation, or counters that began anew
    FEW = "few-requests"  # the interval grew too long
    ERRORS = "errors"
    CONCURRENT = "concurrent"  # requests overlap on the GPU
    SHARED = "shared-sms"  # a neighbour takes turns on the same SMs
    BORROWED = "borrowed-time"
    NO_PARTITION = "no-partition"  # the node gives area as time: the SMs are not those asked for
    NO_METER = "no-meter"  # the runtime or the gateway told nothing of it


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look brought.

    Attributes:
        marks: to be given to the next look.
        observed: clean observations.
        verdicts: how many replicas met which end.

    """

    marks: Mapping[Owner, Mark]
    observed: tuple[Observed, ...]
    verdicts: Counter[Verdict]


def look(
    marks: Mapping[Owner, Mark],
    world: Observation,
    meters: Mapping[Owner, Meter],
    settings: ControllerSettings,
) -> Seen:
    """Return what the ready replicas with a piece in force have shown since their marks."""
    products = {gpu.uuid: gpu.geometry for gpu in world.gpus}
    crowds = _crowds(world)
    kept: dict[Owner, Mark] = {}
    observed, verdicts = [], Counter[Verdict]()
    for service in world.services:
        for replica in service.replicas:
            piece = replica.allocation
            ready = replica.phase is ReplicaPhase.READY and replica.in_force
            geometry = products.get(piece.gpu_uuid) if piece is not None else None
            if not ready or piece is None or geometry is None:
                continue
            owner = (service.name, replica.name)
            verdict = Verdict.NO_PARTITION
            meter = meters.get(owner)
            if geometry.partitions:
                crowded = piece.sm_groups & crowds[piece.gpu_uuid]
                verdict = _hindrance(service, meter, bool(crowded))
            if verdict is Verdict.TAKEN and meter is not None:
                mark = marks.get(owner)
                verdict = _compare(mark, meter, settings)
                kept[owner] = _next_mark(mark, meter, verdict)
                if verdict is Verdict.TAKEN and mark is not None:
                    spent_s = meter.gpu_s - mark.meter.gpu_s
                    each_ms = 1000.0 * spent_s / _worked(mark.meter, meter)
                    place = (service.served_model, geometry.product, service.batch)
                    observed.append(Observed(*place, piece.sm_partition, each_ms))
            verdicts[verdict] += 1
    return Seen(kept, tuple(observed), verdicts)


def _hindrance(service: Service, meter: Meter | None, crowded: bool) -> Verdict:
    """Return why nothing clean can come of a replica now, ``TAKEN`` when it can."""
    if service.concurrency != 1:
        return Verdict.CONCURRENT
    if meter is None:
        return Verdict.NO_METER
    if meter.borrowing:
        return Verdict.BORROWED
    return Verdict.SHARED if crowded else Verdict.TAKEN


def _compare(mark: Mark | None, now: Meter, settings: ControllerSettings) -> Verdict:
    if mark is None:
        return Verdict.SETTLING
    then = mark.meter
    answered, failed = now.answered - then.answered, now.failed - then.failed
    worked = _worked(then, now)
    spent_s = now.gpu_s - then.gpu_s
    same = (then.epoch, then.sources) == (now.epoch, now.sources)
    if not same or not mark.settled or _began_anew(mark.latest, now):
        return Verdict.SETTLING
    if failed > _ERRORS * (answered + failed) or worked < (1.0 - _REFUSED) * answered:
        return Verdict.ERRORS
    if worked < settings.observe_requests or spent_s <= 0:
        over = now.at_s - then.at_s >= settings.observe_longest_s
        return Verdict.FEW if over else Verdict.WAITING
    return Verdict.TAKEN


def _worked(then: Meter, now: Meter) -> float:
    """Return the requests answered that were not refused for what the client had asked.

    A model server answers 4xx without its GPU. They are known of the whole service, and come to
    its replicas as all requests do; where its sum is not known, as when a replica took its count
    along, every answer may be one.
    """
    answered, refused = now.answered - then.answered, now.refused - then.refused
    if refused <= 0.0:
        return answered
    of_service = now.of_service - then.of_service
    if now.replicas < then.replicas:
        return 0.0
    return answered * max(0.0, 1.0 - refused / of_service) if of_service > 0.0 else 0.0


def _began_anew(then: Meter, now: Meter) -> bool:
    """Return whether any counter fell: a gateway or a sidecar was restarted."""
    before = (then.answered, then.failed, then.gpu_s, then.refused, *then.by_source)
    after = (now.answered, now.failed, now.gpu_s, now.refused, *now.by_source)
    return any(new < old for old, new in zip(before, after, strict=True))


def _next_mark(mark: Mark | None, meter: Meter, verdict: Verdict) -> Mark:
    if verdict is Verdict.WAITING and mark is not None:
        return replace(mark, latest=meter)
    # Counters lag behind the allocation: an interval begins a look after the last change.
    changed = mark is None or (mark.meter.epoch, mark.meter.sources) != (meter.epoch, meter.sources)
    return Mark(meter, settled=not changed, latest=meter)


def _crowds(world: Observation) -> dict[str, int]:
    """Return the bitmap of the SM groups that several replicas hold, by GPU UUID."""
    once: dict[str, int] = {gpu.uuid: 0 for gpu in world.gpus}
    twice = dict(once)
    for replica in (each for service in world.services for each in service.replicas):
        piece = replica.allocation
        if piece is not None and piece.gpu_uuid in once:
            twice[piece.gpu_uuid] |= once[piece.gpu_uuid] & piece.sm_groups
            once[piece.gpu_uuid] |= piece.sm_groups
    return twice
