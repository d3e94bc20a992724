"""When the latency model learns: what it now knows is taken out of what the policy had learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kserve_has.allocation import Allocation
from kserve_has.config.policy import PolicySettings
from kserve_has.gpu import GpuGeometry
from kserve_has.latency import LatencyModel, Part

from .capacity import Ladder, forget, ladder
from .observation import Observation, Service
from .slowness import taken_over
from .state import State, changed


def handed_over(
    state: State,
    observation: Observation,
    settings: PolicySettings,
    former: LatencyModel,
    latest: LatencyModel,
) -> State:
    """Return the state to go on with under another latency model.

    The factor on the demand makes up for a model that is too cautious or too bold. Where the
    latest model says of the pieces in force what the factor had said, keeping both would correct
    twice: the factor moves towards 1 by as much as the capacity changed, and never beyond. So does
    the factor on predicted latencies, by as much as these rose.
    """
    geometries = {gpu.uuid: gpu.geometry for gpu in observation.gpus}
    services = dict(state.services)
    products = {geometry.product for geometry in geometries.values()}
    replaced: dict[tuple[str, str], Part] = {}
    for service in observation.services:
        model = service.served_model
        changes = {(model, gpu) for gpu in products if _differ(model, gpu, former, latest)}
        replaced |= {place: former.part(*place) for place in changes}
        memory = services.get(service.name)
        if not changes or memory is None or memory.feedback == memory.slow.factor == 1.0:
            continue
        place = (service, geometries, settings)
        was, now = _held(*place, former, memory.slow.factor), _held(*place, latest, 1.0)
        slow = taken_over(memory.slow, _rise(was, now))
        before, after = _rps(was), _rps(_held(*place, latest, slow.factor))
        factor = memory.feedback
        if before > 0 and after > 0:
            factor = towards_one(factor, after / before)
        services[service.name] = changed(memory, feedback=factor, slow=slow)
    for part in replaced.values():
        forget(part)
    return replace(state, services=services)


def _differ(served_model: str, product: str, former: LatencyModel, latest: LatencyModel) -> bool:
    if not (former.knows(served_model, product) and latest.knows(served_model, product)):
        return False
    return former.part(served_model, product) is not latest.part(served_model, product)


def towards_one(factor: float, change: float) -> float:
    """Return a factor on the demand after the capacity of what is held changed by another."""
    if factor < 1.0 < change:
        return min(1.0, factor * change)
    if change < 1.0 < factor:
        return max(1.0, factor * change)
    return factor


_Held = tuple[Ladder, Allocation]


def _held(
    service: Service,
    geometries: Mapping[str, GpuGeometry],
    settings: PolicySettings,
    latency: LatencyModel,
    slowness: float,
) -> list[_Held]:
    """Return the replicas' pieces and what a model says of them."""
    found, pool = [], max(1, len(service.replicas))
    for replica in service.replicas:
        piece = replica.allocation
        geometry = geometries.get(piece.gpu_uuid) if piece is not None else None
        if piece is None or geometry is None:
            continue
        if latency.knows(service.served_model, geometry.product):
            found.append((ladder(service, geometry, settings, latency, pool, slowness), piece))
    return found


def _rps(held: list[_Held]) -> float:
    """Return what the replicas serve within the objective."""
    return sum(book.rps_of(piece.sm_partition, piece.quota_percent) for book, piece in held)


def _rise(was: list[_Held], now: list[_Held]) -> float:
    """Return the factor by which the predicted latency rose of the piece where it did least."""
    return min(
        (
            latest.alone_ms(piece.sm_partition, piece.quota_percent)
            / former.alone_ms(piece.sm_partition, piece.quota_percent)
            for (former, piece), (latest, _) in zip(was, now, strict=True)
        ),
        default=1.0,
    )
