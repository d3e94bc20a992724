from dataclasses import replace

import pytest

from autoscaler.policy.decide import decide
from autoscaler.policy.observation import ReplicaPhase
from autoscaler.policy.plan import Hold, Reason, Resize, SetScale
from autoscaler.policy.state import Memory, State

from .worlds import SETTINGS, SMALL, TABLE, gpu, piece, replica, service, steady, world

NAME = "ns/a"


def decision(own, *, memory=None, pool=None, now_s=1000.0, others=(), settings=SETTINGS):
    state = State({NAME: memory}) if memory is not None else State()
    return decide(state, world([own, *others], pool, now_s), settings, TABLE)


def scalings(found):
    return [a for a in found.plan.actions if isinstance(a, SetScale) and a.service == NAME]


def one_scaling(found):
    (only,) = scalings(found)
    return only.replicas, only.because.reason


def small_pool(count=4):
    return tuple(gpu(f"GPU-{i}", SMALL) for i in range(count))


def on(number, groups=0b1, quota=100, **more):
    allocation = piece(groups, quota, f"GPU-{number}", geometry=SMALL)
    return replica(f"r{number}", allocation, **more)


def test_below_the_minimum_the_minimum_is_asked_for():
    own = service(replicas=[replica("a", piece())], min_replicas=3)
    assert (3, Reason.BELOW_MINIMUM) == one_scaling(decision(own))


def test_above_the_maximum_the_surplus_leaves_with_named_victims():
    held = [replica(n, piece(1 << i, 20 + i)) for i, n in enumerate("abc")]
    (asked,) = scalings(decision(service(replicas=held, max_replicas=2)))
    assert (2, ("a",), Reason.ABOVE_MAXIMUM) == (
        asked.replicas,
        asked.victims,
        asked.because.reason,
    )


def test_bounds_hold_even_without_traffic_figures():
    own = service(replicas=[replica("a", piece())], min_replicas=2, traffic=steady(9.0, age_s=99))
    assert (2, Reason.BELOW_MINIMUM) == one_scaling(decision(own))


def test_room_to_grow_is_used_before_a_replica_is_added():
    own = service(replicas=[replica("a", piece(0b1, 70))], traffic=steady(50.0))
    assert [] == scalings(decision(own))


def test_more_than_one_gpu_can_serve_asks_for_more_replicas():
    own = service(replicas=[on(0)], traffic=steady(600.0))
    count, reason = one_scaling(decision(own, pool=small_pool()))
    assert count >= 2
    assert reason is Reason.DEMAND_ROSE


def test_a_bound_that_is_in_the_way_is_told():
    own = service(
        replicas=[replica("a", piece(0xFFFF, 100))], traffic=steady(900.0), max_replicas=1
    )
    told = [a.because.reason for a in decision(own).plan.actions if isinstance(a, Hold)]
    assert [Reason.AT_BOUND] == told


def test_the_maximum_is_never_exceeded():
    own = service(replicas=[on(0)], traffic=steady(5000.0), max_replicas=2)
    count, _ = one_scaling(decision(own, pool=small_pool()))
    assert count == 2


def test_a_full_pool_says_no_room_and_asks_for_no_pod_that_could_not_start():
    own = service(replicas=[on(0)], traffic=steady(5000.0))
    found = decision(own, pool=small_pool(1))
    assert all(s.replicas <= 2 for s in scalings(found))
    full = service("ns/z", [on(0, 0b1110)], steady(300.0), priority=900)
    found = decision(own, pool=small_pool(1), others=(full,))
    assert [] == scalings(found)
    told = {a.because.reason for a in found.plan.actions if isinstance(a, Hold)}
    assert Reason.NO_ROOM in told


def test_a_replica_on_an_ill_gpu_is_replaced_and_then_removed():
    pool = (gpu("GPU-0", healthy=False), gpu("GPU-1"))
    lost = replica("lost", piece(on="GPU-0"))
    alone = service(replicas=[lost], traffic=steady(20.0))
    assert (2, Reason.REPLACED) == one_scaling(decision(alone, pool=pool))
    both = service(replicas=[lost, replica("new", piece(0b1, 100, "GPU-1"))], traffic=steady(20.0))
    (asked,) = scalings(decision(both, pool=pool))
    assert (1, ("lost",)) == (asked.replicas, asked.victims)


def two(rps=10.0, **more):
    held = [replica("a", piece(0b1, 100, "GPU-0")), replica("b", piece(0b1, 100, "GPU-1"))]
    return service(replicas=held, traffic=steady(rps), **more)


def test_a_replica_too_many_leaves_only_after_it_has_long_been_too_many():
    found = decision(two())
    assert [] == scalings(found)
    memory = found.state.services[NAME]
    assert memory.fewer_since_s == 1000.0
    early = decision(two(), memory=memory, now_s=1000.0 + SETTINGS.scale_in_after_s - 1)
    assert [] == scalings(early)
    late = decision(two(), memory=memory, now_s=1000.0 + SETTINGS.scale_in_after_s)
    assert (1, Reason.DEMAND_FELL) == one_scaling(late)


def test_the_others_grow_before_one_leaves():
    """No prefix of a plan may leave too little: the larger piece must be in force first."""
    memory = Memory(fewer_since_s=0.0)
    own = two(50.0)
    grown = decision(own, memory=memory)
    assert [] == scalings(grown)
    assert any(isinstance(a, Resize) for a in grown.plan.actions)
    first, second = own.replicas
    larger = replace(first, allocation=piece(0b11, 100, "GPU-0"), in_force=False)
    waiting = decision(replace(own, replicas=(larger, second)), memory=memory)
    assert [] == scalings(waiting)
    ready = replace(own, replicas=(replace(larger, in_force=True), second))
    assert (1, Reason.DEMAND_FELL) == one_scaling(decision(ready, memory=memory))


def test_a_minimum_of_two_keeps_two():
    own = two(min_replicas=2)
    assert [] == scalings(decision(own, memory=Memory(fewer_since_s=0.0)))


def test_true_zero_is_reached_only_where_the_minimum_allows_it():
    memory = Memory(idle_since_s=1000.0 - SETTINGS.zero_after_s)
    idle = service(replicas=[replica("a", piece())], traffic=steady(0.0))
    assert [] == scalings(decision(idle, memory=memory))
    zero = replace(idle, min_replicas=0)
    assert (0, Reason.DEMAND_FELL) == one_scaling(decision(zero, memory=memory))
    not_yet = Memory(idle_since_s=1001.0 - SETTINGS.zero_after_s)
    assert [] == scalings(decision(zero, memory=not_yet))


def test_a_request_brings_a_service_back_from_zero():
    gone = service(replicas=[], min_replicas=0, traffic=steady(0.0, in_flight=1.0), scale=0)
    count, _ = one_scaling(decision(gone))
    assert count == 1


def test_at_zero_without_requests_nothing_is_asked_for():
    memory = Memory(idle_since_s=0.0)
    gone = service(replicas=[], min_replicas=0, traffic=steady(0.0), scale=0)
    assert [] == scalings(decision(gone, memory=memory))


@pytest.mark.parametrize(
    ("phases", "victim"),
    [
        pytest.param((ReplicaPhase.READY, ReplicaPhase.STARTING), "b", id="what is not ready"),
        pytest.param((ReplicaPhase.READY, ReplicaPhase.GATED), "b", id="what waits for a place"),
        pytest.param((ReplicaPhase.READY, ReplicaPhase.READY), "a", id="the least served"),
    ],
)
def test_the_first_to_leave_is(phases, victim):
    held = [
        replica(name, None if phase is ReplicaPhase.GATED else piece(1 << i, 50 + 20 * i), phase)
        for i, (name, phase) in enumerate(zip("ab", phases, strict=True))
    ]
    (asked,) = scalings(decision(service(replicas=held, max_replicas=1)))
    assert (victim,) == asked.victims


def test_cheaper_pieces_by_one_more_replica_are_asked_for_after_patience():
    """Two half loads on small efficient pieces may cost less than one large inefficient piece."""
    own = service(replicas=[replica("a", piece(0xFFFF, 100))], traffic=steady(79.0))
    patient = Memory(more_since_s=1000.0 - SETTINGS.scale_out_after_s)
    alone = replace(SETTINGS, pool_surge=1.0)  # the pool itself asks for no second one
    asked = scalings(decision(own, memory=patient, settings=alone))
    assert [Reason.CHEAPER] == [a.because.reason for a in asked]
    assert [] == scalings(decision(own, memory=Memory(), settings=alone))


def test_readiness_measures_the_cold_start():
    starting = replica("b", piece(0b10), ReplicaPhase.STARTING, age_s=3.0)
    first = decision(service(replicas=[replica("a", piece()), starting]))
    ready = replica("b", piece(0b10), age_s=9.0)
    found = decision(
        service(replicas=[replica("a", piece()), ready]), memory=first.state.services[NAME]
    )
    assert found.state.services[NAME].cold_start_s == 9.0
