"""Whatever the world looks like, these hold of every decision."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.policy.capacity import ladder
from autoscaler.policy.decide import decide
from autoscaler.policy.demand import is_known
from autoscaler.policy.observation import Observation
from autoscaler.policy.plan import Hold, Place, Reason, Resize, SetScale
from autoscaler.policy.state import State

from ...unit.policy.worlds import SETTINGS, TABLE, steady
from .cluster import is_sound, obey, over_committed
from .strategies import worlds


def plan_of(seen):
    return decide(State(), seen, SETTINGS, TABLE).plan


@given(worlds())
def test_no_prefix_of_a_plan_promises_more_than_a_gpu_has(seen):
    """Old and new pieces of a replica are both charged: its node may not have followed yet."""
    assert is_sound(seen)
    given_so_far = []
    for action in plan_of(seen).actions:
        if isinstance(action, Place | Resize):
            given_so_far.append((action.service, action.replica, action.allocation))
            assert [] == over_committed(seen, given_so_far)


@given(worlds(), st.lists(st.booleans(), min_size=8, max_size=8))
@settings(max_examples=60, deadline=None)
def test_nothing_is_over_committed_however_late_nodes_follow(seen, acknowledged):
    """Former pieces are still in force where they were not acknowledged."""
    state = State()
    unfollowed: dict[tuple[str, str], list] = {}
    for follows in acknowledged:
        decision = decide(state, seen, SETTINGS, TABLE)
        state = decision.state
        replicas = {(s.name, r.name): r for s in seen.services for r in s.replicas}
        for action in decision.plan.actions:
            if isinstance(action, Resize):
                owner = (action.service, action.replica)
                unfollowed.setdefault(owner, []).append(replicas[owner].allocation)
        seen = obey(seen, decision.plan, after_s=0.4, acknowledge=follows)
        if follows:
            unfollowed.clear()
        alive = {(s.name, r.name) for s in seen.services for r in s.replicas}
        held = [(*o, p) for o, pieces in unfollowed.items() if o in alive for p in pieces]
        assert [] == over_committed(seen, held)


@given(worlds())
def test_bounds_on_replicas_and_partitions_are_respected(seen):
    bounds = {s.name: s for s in seen.services}
    for action in plan_of(seen).actions:
        service = bounds[action.service]
        if isinstance(action, SetScale):
            # Replicas on a GPU that is ill are replaced before they leave; none is ill here.
            assert service.min_replicas <= action.replicas <= service.max_replicas
            assert set(action.victims) <= {r.name for r in service.replicas}
        elif isinstance(action, Place | Resize):
            assert service.min_sm <= action.allocation.sm_partition <= service.max_sm
            assert action.allocation.memory_bytes == service.memory_bytes


@given(worlds())
def test_the_same_world_gives_the_same_plan_in_whatever_order_it_is_told(seen):
    turned = Observation(
        seen.now_s,
        tuple(replace(s, replicas=s.replicas[::-1]) for s in seen.services[::-1]),
        seen.gpus[::-1],
    )
    assert plan_of(seen) == plan_of(seen) == plan_of(turned)


@given(worlds())
def test_every_service_is_acted_on_or_told_why_not(seen):
    actions = plan_of(seen).actions
    assert {s.name for s in seen.services} == {a.service for a in actions}
    assert all(isinstance(a.because.reason, Reason) for a in actions)


@given(worlds())
def test_what_is_unknown_is_never_resized_nor_scaled_within_its_bounds(seen):
    old = {s.name: s for s in seen.services if not is_known(s.traffic, SETTINGS)}
    for action in plan_of(seen).actions:
        if action.service in old:
            service = old[action.service]
            assert not isinstance(action, Resize)
            if isinstance(action, SetScale):
                assert not service.min_replicas <= service.scale <= service.max_replicas


@given(worlds(max_services=1), st.floats(1.0, 3.0))
def test_more_demand_never_leaves_the_same_replicas_with_less(seen, factor):
    (own,) = seen.services
    placed = tuple(r for r in own.replicas if r.allocation is not None)
    own = replace(own, replicas=placed, scale=len(placed), min_replicas=0)
    arrivals = tuple((age, rps * factor) for age, rps in own.traffic.arrivals_rps)
    more = replace(own, traffic=replace(own.traffic, arrivals_rps=arrivals))
    assert (
        _served(replace(seen, services=(own,))) <= _served(replace(seen, services=(more,))) + 1e-6
    )


def _served(seen):
    """Return the requests/s that the replicas of the only service are left with."""
    (own,) = seen.services
    held = {r.name: r.allocation for r in own.replicas}
    for action in plan_of(seen).actions:
        if isinstance(action, Resize):
            held[action.replica] = action.allocation
    book = ladder(own, seen.gpus[0].geometry, SETTINGS, TABLE, len(held))
    return sum(book.rps_of(piece.sm_partition, piece.quota_percent) for piece in held.values())


@given(worlds(traffics=st.floats(1.0, 400.0).map(lambda rps: steady(rps, answered=0.0))))
@settings(max_examples=40, deadline=None)
def test_constant_load_comes_to_rest_even_in_a_full_cluster(seen):
    """No oscillation and no livelock: after two minutes nothing moves any more."""
    state = State()
    moves = []
    for _ in range(240):
        decision = decide(state, seen, SETTINGS, TABLE)
        state = decision.state
        moves.append([a for a in decision.plan.actions if not isinstance(a, Hold)])
        seen = obey(seen, decision.plan, after_s=1.0)
        assert is_sound(seen)
    assert [] == [a for tick in moves[180:] for a in tick]
