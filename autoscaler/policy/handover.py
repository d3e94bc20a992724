"""When the latency model learns: what it now knows is taken out of what the policy had learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kserve_has.config.policy import PolicySettings
from kserve_has.gpu import GpuGeometry
from kserve_has.latency import LatencyModel, Part

from .capacity import forget, ladder
from .observation import Observation, Service
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
    twice: the factor moves towards 1 by as much as the capacity changed, and never beyond.
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
        if not changes or memory is None or memory.feedback == 1.0:
            continue
        before, after = (_held_rps(service, geometries, settings, m) for m in (former, latest))
        if before > 0 and after > 0:
            factor = _towards_one(memory.feedback, after / before)
            services[service.name] = changed(memory, feedback=factor)
    for part in replaced.values():
        forget(part)
    return replace(state, services=services)


def _differ(served_model: str, product: str, former: LatencyModel, latest: LatencyModel) -> bool:
    if not (former.knows(served_model, product) and latest.knows(served_model, product)):
        return False
    return former.part(served_model, product) is not latest.part(served_model, product)


def _towards_one(factor: float, change: float) -> float:
    if factor < 1.0 < change:
        return min(1.0, factor * change)
    if change < 1.0 < factor:
        return max(1.0, factor * change)
    return factor


def _held_rps(
    service: Service,
    geometries: Mapping[str, GpuGeometry],
    settings: PolicySettings,
    latency: LatencyModel,
) -> float:
    """Return what the replicas serve within the objective, as a model has it."""
    total, pool = 0.0, max(1, len(service.replicas))
    for replica in service.replicas:
        piece = replica.allocation
        geometry = geometries.get(piece.gpu_uuid) if piece is not None else None
        if piece is None or geometry is None:
            continue
        if not latency.knows(service.served_model, geometry.product):
            continue
        book = ladder(service, geometry, settings, latency, pool)
        total += book.rps_of(piece.sm_partition, piece.quota_percent)
    return total
