"""Every policy by its name: who decides, and what its services start with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from kserve_has.allocation import Allocation
from kserve_has.config.policy import PolicySettings
from kserve_has.latency import LatencyModel
from kserve_has.rapp.online import Learner

from ..policy.capacity import Piece, ladder
from ..policy.observation import Gpu, Observation, Service, Traffic
from .baselines.bounds import Clairvoyant, best_count, least_level, sized
from .baselines.fast import Fast, FastSettings, efficient_piece
from .baselines.has_gpu import HasGpu
from .baselines.kpa import Kpa, KpaSettings
from .baselines.packing import whole_gpu
from .baselines.tuned import fast_for, has_headroom_for, kpa_for
from .hybrid import Hybrid, LearningHybrid
from .run import Beginning, Nobody, simulate
from .scenario import Load, Outcome, Scaler, Scenario


@dataclass(frozen=True, slots=True)
class Context:
    """What every policy is built from.

    Attributes:
        scenario: the run.
        objective: multiple of the whole-GPU warm median, for what was tuned by it.
        settings: of the policy.
        latency: the latency model the policies decide by.
    """

    scenario: Scenario
    objective: float
    settings: PolicySettings
    latency: LatencyModel

    def service(self, load: Load) -> Service:
        """Return a load as the policy sees it, without replicas."""
        geometry = self.scenario.geometry
        return Service(
            load.name,
            load.slo,
            load.served_model,
            load.batch,
            1,
            load.memory_bytes,
            load.min_replicas,
            load.max_replicas,
            load.min_sm or geometry.sm_group_size,
            load.max_sm or geometry.sm_count,
            load.priority,
            False,
            0,
            (),
            Traffic(0.0),
        )

    def lead(self, load: Load) -> float:
        """Return the rate of the trace's first minute."""
        return load.trace.cut(0.0, min(60.0, load.trace.end_s)).mean_rps()


Built = tuple[Scenario, Scaler, dict[str, Beginning]]


def run(name: str, context: Context) -> dict[str, Outcome]:
    """Return what every service got under the policy of that name."""
    scenario, scaler, beginnings = POLICIES[name](context)
    return simulate(scenario, scaler, beginnings)


def _spread(context: Context, wishes: Mapping[str, tuple[int, Piece]]) -> dict[str, Beginning]:
    """Return warm replicas, one a GPU as long as there are GPUs, wrapped around then."""
    scenario = context.scenario
    free = [0] * scenario.gpus  # groups taken from below on every GPU
    beginnings = {}
    groups = scenario.geometry.group_count
    at = 0
    for load in scenario.loads:
        count, piece = wishes[load.name]
        pieces = []
        for _ in range(count):
            tries = 0
            while free[at % len(free)] + piece.groups > groups and tries < len(free):
                at, tries = at + 1, tries + 1
            if tries == len(free):
                break
            gpu = at % len(free)
            bitmap = ((1 << piece.groups) - 1) << free[gpu]
            free[gpu] += piece.groups
            at += 1
            allocation = Allocation(
                f"GPU-{gpu:04d}",
                bitmap,
                scenario.geometry.sm_of(bitmap),
                piece.quota,
                load.memory_bytes,
            )
            pieces.append((allocation, piece.rps))
        beginnings[load.name] = Beginning(tuple(pieces))
    return beginnings


def _sized_start(context: Context, factor: float = 1.5) -> dict[str, Beginning]:
    wishes = {}
    for load in context.scenario.loads:
        rate = max(factor * context.lead(load), context.settings.idle_rps)
        service, geometry = context.service(load), context.scenario.geometry
        count, piece = sized(service, context.scenario, context.settings, context.latency, rate)
        # The same weight that the policy gives this piece later.
        book = ladder(service, geometry, context.settings, context.latency)
        wishes[load.name] = count, replace(piece, rps=book.work_rps(piece.sm, piece.quota))
    return _spread(context, wishes)


def _hybrid(context: Context) -> Built:
    scaler = Hybrid(context.settings, context.latency)
    return context.scenario, scaler, _sized_start(context)


def learning(learner: Learner) -> Callable[[Context], Built]:
    """Return the builder of the hybrid with a latency model that learns from what runs."""

    def build(context: Context) -> Built:
        scaler = LearningHybrid(context.settings, learner)
        return context.scenario, scaler, _sized_start(replace(context, latency=learner.model))

    return build


def _vertical_only(context: Context) -> Built:
    """The hybrid with one replica a service."""
    loads = tuple(replace(load, max_replicas=1) for load in context.scenario.loads)
    scenario = replace(context.scenario, loads=loads)
    return _hybrid(replace(context, scenario=scenario))


def _horizontal_only(context: Context) -> Built:
    """The hybrid's forecast with pieces of one size, whole quota: those that FaST would take."""
    share = fast_for(context.objective).slo_share
    loads = []
    for load in context.scenario.loads:
        piece = efficient_piece(
            context.service(load), _empty(context), context.settings, context.latency, share
        )
        loads.append(replace(load, min_sm=piece.sm, max_sm=piece.sm))
    scenario = replace(context.scenario, loads=tuple(loads))
    settings = replace(context.settings, min_quota=100, parked_quota=100)
    return _hybrid(replace(context, scenario=scenario, settings=settings))


def _empty(context: Context) -> Observation:
    gpu = Gpu("GPU-0000", "node-0", context.scenario.geometry)
    return Observation(0.0, (), (gpu,))


def kpa(settings: KpaSettings) -> Callable[[Context], Built]:
    """Return the builder of Knative's autoscaler with these settings, a whole GPU a pod."""

    def build(context: Context) -> Built:
        piece = whole_gpu(context.scenario.geometry)
        wishes = {load.name: (max(1, load.min_replicas), piece) for load in context.scenario.loads}
        return context.scenario, Kpa(settings), _spread(context, wishes)

    return build


def _kpa_tuned(context: Context) -> Built:
    return kpa(kpa_for(context.objective))(context)


def fast(settings: FastSettings) -> Callable[[Context], Built]:
    """Return the builder of the FaST-GShare style with these settings."""

    def build(context: Context) -> Built:
        wishes = {}
        for load in context.scenario.loads:
            piece = efficient_piece(
                context.service(load),
                _empty(context),
                context.settings,
                context.latency,
                settings.slo_share,
            )
            count = int(context.lead(load) / (piece.rps * settings.load)) + 1
            wishes[load.name] = (count, piece)
        scaler = Fast(settings, context.settings, context.latency)
        return context.scenario, scaler, _spread(context, wishes)

    return build


def _fast_tuned(context: Context) -> Built:
    return fast(fast_for(context.objective))(context)


def has_gpu(*, fixed: bool, headroom: float = 1.0) -> Callable[[Context], Built]:
    """Return the builder of HAS-GPU's autoscaler."""

    def build(context: Context) -> Built:
        groups = round(context.scenario.geometry.group_count * 0.3)
        sm = groups * context.scenario.geometry.sm_group_size
        piece = Piece(groups, sm, 30, sm * 30, 1.0)
        wishes = {load.name: (1, piece) for load in context.scenario.loads}
        scaler = HasGpu(context.latency, fixed=fixed, headroom=headroom)
        return context.scenario, scaler, _spread(context, wishes)

    return build


def _has_gpu_tuned(context: Context) -> Built:
    return has_gpu(fixed=True, headroom=has_headroom_for(context.objective))(context)


def static(level: float) -> Callable[[Context], Built]:
    """Return the builder of pieces that never change, sized for a multiple of the mean rate."""

    def build(context: Context) -> Built:
        scenario = context.scenario
        wishes = {}
        for load in scenario.loads:
            rps = level * load.trace.mean_rps()
            service = context.service(load)
            wishes[load.name] = sized(service, scenario, context.settings, context.latency, rps)
        return scenario, Nobody(), _spread(context, wishes)

    return build


def _static_in_hindsight(context: Context) -> Built:
    """The cheapest pieces that, never changed, keep the violations allowed; found by trying."""
    loads = context.scenario.loads

    def violations(level: float) -> float:
        outcomes = simulate(*static(level)(context))
        return max(
            outcomes[load.name].violation_rate / load.slo.allowed_violation_rate for load in loads
        )

    peak = max(max(load.trace.rates_rps) / load.trace.mean_rps() for load in loads)
    level = least_level(violations, 0.1, max(1.5, 1.5 * peak), 1.0)
    return static(level)(context)


def _clairvoyant(context: Context) -> Built:
    wishes = {}
    for load in context.scenario.loads:
        service = context.service(load)
        count = best_count(service, load, context.scenario, context.settings, context.latency)
        wishes[load.name] = (count, whole_gpu(context.scenario.geometry))
    scaler = Clairvoyant(context.scenario, context.settings, context.latency)
    return context.scenario, scaler, _spread(context, wishes)


POLICIES: Final[Mapping[str, Callable[[Context], Built]]] = {
    "hybrid": _hybrid,
    # As HAS-GPU's evaluation configured KServe: scaleTarget 1 at Knative's 70 %.
    "kpa": kpa(KpaSettings(target=1.0)),
    "kpa-defaults": kpa(KpaSettings()),
    "kpa-tuned": _kpa_tuned,
    "fast": _fast_tuned,
    "has-gpu": has_gpu(fixed=False),
    "has-gpu-fixed": _has_gpu_tuned,
    "static": _static_in_hindsight,
    "clairvoyant": _clairvoyant,
    "vertical-only": _vertical_only,
    "horizontal-only": _horizontal_only,
}
