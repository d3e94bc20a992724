"""The slow loop: how many replicas, and which go first when there are too many."""

from __future__ import annotations

import math
import zlib

from .desk import Desk, View, served_rps
from .observation import Replica, ReplicaPhase
from .placement import Trial
from .plan import Because, Reason, SetScale
from .pool import cheapest_split, is_parked, pool_count
from .state import changed
from .vertical import grow


def rescale(desk: Desk, view: View) -> None:
    """Ask for another number of replicas when bounds, demand or cost say so."""
    service = view.service
    if service.scale < service.min_replicas:
        _ask(desk, view, service.min_replicas, Reason.BELOW_MINIMUM, {})
    elif service.scale > service.max_replicas:
        _ask(desk, view, service.max_replicas, Reason.ABOVE_MAXIMUM, {})
    elif view.demand is not None and (view.short or view.sick or _is_due(desk, view)):
        view.memory = changed(view.memory, thought_at_s=desk.now_s)
        _follow_demand(desk, view)


def _is_due(desk: Desk, view: View) -> bool:
    """Whether the slow loop's turn has come; services take turns, so that no tick serves all."""
    last, every = view.memory.thought_at_s, desk.settings.slow_loop_s
    if last == float("-inf"):
        return True
    turn = zlib.crc32(view.service.name.encode()) % 1000 / 1000.0 * every
    return math.floor((desk.now_s - turn) / every) > math.floor((last - turn) / every)


def _follow_demand(desk: Desk, view: View) -> None:
    assert view.demand is not None  # the caller checked
    service, demand = view.service, view.demand
    if _idle_for(desk, view) >= desk.settings.zero_after_s and service.min_replicas == 0:
        if service.scale > 0:
            _ask(desk, view, 0, Reason.DEMAND_FELL, {"idle_s": _idle_for(desk, view)})
        return
    target = max(demand.soon_rps, desk.settings.idle_rps)
    need = max(1, service.min_replicas, _needed(desk, view, target))
    if view.short and cheapest_split(desk, view, target, service.max_replicas).piece is None:
        view.hold(Reason.AT_BOUND, wanted_rps=target, max_replicas=float(service.max_replicas))
    sick = len(view.sick)
    numbers = {"soon_rps": target, "replicas": float(service.scale)}
    if need + sick > service.scale and service.scale < service.max_replicas:
        reason = Reason.REPLACED if sick and need <= service.scale else Reason.DEMAND_ROSE
        wanted = min(service.max_replicas, _cheapest_count(desk, view, need, target) + sick)
        _forget(view)
        _ask(desk, view, wanted, reason, numbers)
    elif sick and (len(view.serving) >= need or service.scale >= service.max_replicas):
        _ask(desk, view, service.scale - sick, Reason.REPLACED, {"unhealthy": float(sick)})
    elif not view.gated and not sick and len(view.placed) == service.scale:
        _save(desk, view, target)


def _needed(desk: Desk, view: View, target: float) -> int:
    """Return the least number of healthy replicas, not below those asked for, to serve a target.

    Replicas count with the strongest piece that their GPU has room for, newcomers with the best
    place there is. Stops where no GPU has room.
    """
    asked = max(0, view.service.scale - len(view.sick))
    if view.placed and served_rps(desk, view, view.placed, len(view.placed)) >= target:
        return asked
    trial = Trial(desk, view)
    try:
        for replica in view.placed:
            trial.stretch(replica)
        while trial.count < view.service.max_replicas and (
            trial.count < asked or trial.rps() < target
        ):
            if not trial.add():
                if trial.count >= asked:
                    view.hold(Reason.NO_ROOM, wanted_rps=target, reachable_rps=trial.rps())
                return max(asked, trial.count)
    finally:
        trial.undo()
    return max(asked, trial.count)


def _cheapest_count(desk: Desk, view: View, need: int, target: float) -> int:
    """Return ``need`` or up to two more, where more but smaller pieces cost less."""
    saving = desk.settings.scale_out_saving
    best = need
    for count in (need + 1, need + 2):
        if count > view.service.max_replicas:
            break
        cost = cheapest_split(desk, view, target, count).cost
        if cost < saving * cheapest_split(desk, view, target, best).cost:
            best = count
    return best


def _save(desk: Desk, view: View, target: float) -> None:
    """Keep the pool as large as a surge needs; add or remove one where that has long been right."""
    settings, service, count = desk.settings, view.service, view.service.scale
    wanted = pool_count(desk, view, target, count)
    numbers = {"soon_rps": target, "replicas": float(count)}
    # While replicas start, a surge may be on: what is a spare is told apart afterwards.
    if wanted > count and len(view.serving) == count and _has_room(desk, view):
        _forget(view)
        _ask(desk, view, wanted, Reason.WARM_POOL, numbers)
        return
    calmer = target * settings.scale_in_headroom
    fewer = (
        count > max(1, service.min_replicas)
        and pool_count(desk, view, calmer, count - 1) < count
        and cheapest_split(desk, view, calmer, count - 1).cost
        <= cheapest_split(desk, view, target, count).cost
    )
    more = count < service.max_replicas and (
        cheapest_split(desk, view, target, count + 1).cost
        <= settings.scale_out_saving * cheapest_split(desk, view, target, count).cost
    )
    memory = view.memory
    fewer_since = _since(desk, memory.fewer_since_s) if fewer else None
    more_since = _since(desk, memory.more_since_s) if more and not fewer else None
    view.memory = changed(memory, fewer_since_s=fewer_since, more_since_s=more_since)
    if fewer_since is not None and desk.now_s - fewer_since >= _patience(desk, view):
        _scale_in(desk, view, target, numbers)
    elif more_since is not None and desk.now_s - more_since >= settings.scale_out_after_s:
        _forget(view)
        _ask(desk, view, count + 1, Reason.CHEAPER, numbers)


def _patience(desk: Desk, view: View) -> float:
    """Return how long one replica less must have been right; a parked spare is hardly worth it."""
    (victim,) = victims(view, 1)
    spare = any(is_parked(desk, view, r) for r in view.placed if r.name == victim)
    return desk.settings.pool_keep_s if spare else desk.settings.scale_in_after_s


def _has_room(desk: Desk, view: View) -> bool:
    """Whether some GPU has room for one replica more, even when all that are there grow."""
    trial = Trial(desk, view)
    try:
        for replica in view.placed:
            trial.stretch(replica)
        return trial.add()
    finally:
        trial.undo()


def _scale_in(desk: Desk, view: View, target: float, numbers: dict[str, float]) -> None:
    """Let one replica go as soon as the others hold enough; enlarge them first where they do not.

    The enlarged pieces are asked for now and counted only once they are in force, so that no
    prefix of the plan leaves too little.
    """
    victim = victims(view, 1)[0]
    rest = [replica for replica in view.placed if replica.name != victim]
    active = [replica for replica in rest if not is_parked(desk, view, replica)] or rest
    if served_rps(desk, view, rest, len(active)) >= target:
        if all(replica.in_force for replica in rest):
            _forget(view)
            _ask(desk, view, view.service.scale - 1, Reason.DEMAND_FELL, numbers)
    elif grow(desk, view, active, target, numbers) < target:
        _forget(view)


def victims(view: View, count: int) -> tuple[str, ...]:
    """Return the replicas to remove first: unhealthy, not ready, least served, youngest."""
    order = {ReplicaPhase.GATED: 0, ReplicaPhase.STARTING: 1, ReplicaPhase.READY: 2}
    sick = {replica.name for replica in view.sick}

    def rank(replica: Replica) -> tuple[bool, int, int, float, str]:
        area = 0 if replica.allocation is None else replica.allocation.area
        return (
            replica.name not in sick,
            order[replica.phase],
            area,
            replica.age_s,
            replica.name,
        )

    going = [*view.gated, *view.placed, *view.sick]
    return tuple(replica.name for replica in sorted(going, key=rank)[:count])


def _ask(desk: Desk, view: View, count: int, reason: Reason, numbers: dict[str, float]) -> None:
    service = view.service
    going = len(view.gated) + len(view.placed) + len(view.sick) - count
    leaving = victims(view, going) if count < service.scale and going > 0 else ()
    because = Because(reason, numbers)
    view.actions.append(SetScale(service.name, count, leaving, because))
    view.memory = changed(view.memory, scaled_at_s=desk.now_s)


def _idle_for(desk: Desk, view: View) -> float:
    idle = view.memory.idle_since_s
    return 0.0 if idle is None else desk.now_s - idle


def _since(desk: Desk, known_s: float | None) -> float:
    return desk.now_s if known_s is None else known_s


def _forget(view: View) -> None:
    view.memory = changed(view.memory, fewer_since_s=None, more_since_s=None)
