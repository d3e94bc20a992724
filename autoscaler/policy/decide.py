"""One decision: what is to be done now for every service, and why.

Order of a plan: shrinking first, then growing and placing by priority, then scaling, then what was
held and why. Nothing grows into room that the same plan frees: a former piece stays charged until
its node has acknowledged the new one, so stopping after any prefix over-commits nothing.
"""

from __future__ import annotations

from dataclasses import replace

from kserve_has.config.policy import PolicySettings
from kserve_has.gpu import GpuGeometry
from kserve_has.latency import LatencyModel

from . import demand as traffic
from . import slowness
from .desk import Desk, View, alone_ms, served_rps, sort_replicas
from .handover import towards_one
from .horizontal import rescale
from .ledger import Owner, open_books
from .observation import Observation, Replica, ReplicaPhase, Service
from .placement import place_gated
from .plan import Action, Hold, Place, Plan, Reason, Resize, SetScale
from .pool import remember, working
from .state import Decision, Drain, Memory, State
from .vertical import resize


def decide(
    state: State, observation: Observation, settings: PolicySettings, latency: LatencyModel
) -> Decision:
    """Return the plan for this instant and what to remember; pure and deterministic."""
    rooms = open_books(observation, state.draining)
    priorities = {service.name: service.priority for service in observation.services}
    desk = Desk(observation.now_s, settings, latency, rooms, priorities)
    views = []
    for service in sorted(observation.services, key=lambda s: (-s.priority, s.name)):
        view = _look(desk, service, state)
        views.append(view)
        _steer(desk, view)
    plan = Plan(tuple(_ordered(views)))
    memories = {view.service.name: view.memory for view in views}
    return Decision(plan, State(memories, _draining(state, observation, plan, settings)))


def _look(desk: Desk, service: Service, state: State) -> View:
    """Return what follows from one service's facts before anything is decided."""
    memory = state.services.get(service.name, Memory())
    view = View(service, memory, _geometry(desk, service))
    if memory.slow.factor != 1.0:
        desk.slowness[service.name] = memory.slow.factor
    sort_replicas(view, desk.rooms.gpus, _on_the_way(desk, service, state))
    view.memory = memory = _notice_starts(view, memory)
    if view.geometry is None or not traffic.is_known(service.traffic, desk.settings):
        return view
    view.demand, rates = traffic.estimate(service, memory, desk.now_s, desk.settings)
    since = None
    if view.demand.recent_rps <= 0 and service.traffic.in_flight <= 0:
        since = desk.now_s if memory.idle_since_s is None else memory.idle_since_s
    if rates is not memory.rates or since != memory.idle_since_s:
        view.memory = replace(memory, idle_since_s=since, rates=rates)
        if rates is not memory.rates:
            view.memory = remember(view.memory, desk.now_s, rates.surge)
    _learn(desk, view)
    return view


def _on_the_way(desk: Desk, service: Service, state: State) -> set[str]:
    """Return the replicas that are observed as gated although they were placed a moment ago."""
    recent = set()
    for replica in service.replicas:
        drain = state.draining.get((service.name, replica.name))
        if drain is not None and desk.now_s - drain.since_s < desk.settings.settle_s:
            recent.add(replica.name)
    return recent


def _geometry(desk: Desk, service: Service) -> GpuGeometry | None:
    """Return the first kind of GPU in the pool on which the model was measured."""
    for gpu in desk.rooms.gpus.values():
        if gpu.healthy and desk.latency.knows(service.served_model, gpu.geometry.product):
            return gpu.geometry
    return None


def _notice_starts(view: View, memory: Memory) -> Memory:
    """Measure the cold start of replicas that became ready since the last tick."""
    starting = frozenset(r.name for r in view.service.replicas if r.phase is ReplicaPhase.STARTING)
    if not starting and not memory.starting:
        return memory
    measured = memory.cold_start_s
    for replica in view.service.replicas:
        if replica.phase is ReplicaPhase.READY and replica.name in memory.starting:
            measured = replica.age_s if measured is None else (measured + replica.age_s) / 2
    return replace(memory, starting=starting, cold_start_s=measured)


def _learn(desk: Desk, view: View) -> None:
    """Correct demand or predictions once a second by what the objective suffered."""
    memory, demand = view.memory, view.demand
    if demand is None or desk.now_s - memory.learnt_at_s < 1.0:
        return
    active = working(desk, view)
    held = served_rps(desk, view, view.serving, max(1, len(active)))
    short_at_s = desk.now_s if held < demand.rps else memory.short_at_s
    short = desk.now_s - short_at_s < slowness.LATENCY_WINDOW_S
    smallest = min((r.allocation.area for r in active if r.allocation is not None), default=0)
    grown_at_s = desk.now_s if smallest > memory.smallest else memory.grown_at_s
    late = None if short else _late_look(desk, view, active, grown_at_s)
    feedback = traffic.learn(
        view.service.traffic,
        view.service.slo.allowed_violation_rate,
        memory.feedback,
        short or (late is not None and desk.now_s >= memory.slow.barred_until_s),
        desk.now_s - memory.learnt_at_s,
        desk.settings,
        bursts=view.service.bursts,
    )
    slow = memory.slow
    if late is not None or slow is not slowness.TRUST:
        slow = slowness.learn(slow, late, view.service.slo, desk.now_s, desk.settings)
    if slow.factor != memory.slow.factor:
        desk.set_slowness(view.service.name, slow.factor)
        after = served_rps(desk, view, view.serving, max(1, len(active)))
        feedback = towards_one(feedback, after / held) if held > 0 else feedback
    view.memory = replace(
        memory,
        feedback=feedback,
        learnt_at_s=desk.now_s,
        short_at_s=short_at_s,
        slow=slow,
        smallest=smallest,
        grown_at_s=grown_at_s,
    )


def _late_look(
    desk: Desk, view: View, active: list[Replica], grown_at_s: float
) -> slowness.Look | None:
    """Return a look at the pieces at work if they, and no queue, have broken the objective."""
    traffic, slo = view.service.traffic, view.service.slo
    if not active or not slowness.is_suspect(traffic, slo):
        return None
    # Late answers of pieces that are no more prove nothing of those that are.
    if desk.now_s - max(view.memory.slow.set_s, grown_at_s) < slowness.LATENCY_WINDOW_S:
        return None
    if not all(replica.in_force for replica in active):
        return None
    slowest_ms = max(alone_ms(desk, view, replica) for replica in active)
    look = slowness.Look(traffic, slo, len(active), slowest_ms)
    return look if slowness.is_slow(look, view.memory.slow, desk.settings) else None


def _steer(desk: Desk, view: View) -> None:
    """Decide for one service."""
    if view.geometry is None:
        healthy = sum(gpu.healthy for gpu in desk.rooms.gpus.values())
        view.hold(Reason.UNKNOWN_MODEL if healthy else Reason.NO_ROOM, gpus=float(healthy))
        return
    if view.demand is None:
        view.hold(Reason.NO_DATA, sample_age_s=view.service.traffic.sample_age_s)
    slow = view.memory.slow
    helpless = slow.barred_until_s > desk.now_s or slowness.at_limit(slow, desk.settings)
    if helpless and slow.late_since_s is not None:
        view.hold(Reason.TOO_SLOW, late_share=view.service.traffic.late_share)
    resize(desk, view)
    place_gated(desk, view)
    rescale(desk, view)


def _ordered(views: list[View]) -> list[Action]:
    """Return all actions in an order in which every prefix is safe to stop after."""
    shrink: list[Action] = []
    others: list[Action] = []
    scale: list[Action] = []
    holds: list[Action] = []
    for view in views:
        areas = {r.name: r.allocation.area for r in view.placed if r.allocation is not None}
        acted = False
        for action in view.actions:
            acted = acted or not isinstance(action, Hold)
            if isinstance(action, Resize) and action.allocation.area <= areas[action.replica]:
                shrink.append(action)
            elif isinstance(action, SetScale):
                scale.append(action)
            elif not isinstance(action, Hold):
                others.append(action)
        told = [a for a in view.actions if isinstance(a, Hold)]
        if told and (not acted or told[-1].because.reason in _TELLING):
            holds.append(max(told, key=lambda hold: _TELLING.get(hold.because.reason, 0)))
    return [*shrink, *others, *scale, *holds]


# What is withheld against somebody's need is told even beside actions, the gravest first.
_TELLING = {
    Reason.NO_ROOM: 5,
    Reason.AT_BOUND: 4,
    Reason.GPU_FULL: 3,
    Reason.TOO_SLOW: 2,
    Reason.NO_DATA: 1,
}


def _draining(
    state: State, observation: Observation, plan: Plan, settings: PolicySettings
) -> dict[Owner, Drain]:
    """Return the pieces to keep charged although the next observation may not show them.

    The former piece counts until the node has acknowledged the new one; the new piece counts
    from now on, for the next observation may be older than the patch.
    """
    now = observation.now_s
    replicas = {(s.name, r.name): r for s in observation.services for r in s.replicas}
    kept: dict[Owner, Drain] = {}
    for owner, drain in state.draining.items():
        replica = replicas.get(owner)
        settled = now - drain.since_s >= settings.settle_s
        if replica is not None and not (settled and (replica.in_force or not replica.allocation)):
            kept[owner] = drain
    for action in plan.actions:
        if isinstance(action, Resize | Place):
            owner = (action.service, action.replica)
            pieces = [*kept[owner].pieces] if owner in kept else []
            current = replicas[owner].allocation
            pieces += [p for p in (current, action.allocation) if p is not None and p not in pieces]
            kept[owner] = Drain(tuple(pieces), now)
    return kept
