from dataclasses import replace

import pytest

from autoscaler.policy.capacity import ladder
from autoscaler.policy.decide import decide
from autoscaler.policy.observation import ReplicaPhase
from autoscaler.policy.plan import Hold, Reason, Resize
from autoscaler.policy.state import Memory, State
from kserve_has.gpu import H200

from .worlds import SETTINGS, TABLE, gpus, piece, replica, service, steady, traffic, world

NAME = "ns/a"


def decision(own, *, state=None, pool=None, now_s=1000.0, others=()):
    return decide(state or State(), world([own, *others], pool, now_s), SETTINGS, TABLE)


def resizes(found):
    return [a for a in found.plan.actions if isinstance(a, Resize) and a.service == NAME]


def hold(found):
    (one,) = [a for a in found.plan.actions if isinstance(a, Hold) and a.service == NAME]
    return one.because.reason


def served(own, pool=1):
    found = ladder(own, H200, SETTINGS, TABLE, pool)
    return sum(
        found.rps_of(r.allocation.sm_partition, r.allocation.quota_percent) for r in own.replicas
    )


def test_growth_is_immediate_and_reaches_the_demand():
    own = service(replicas=[replica("a", piece(0b1, 70))], traffic=steady(120.0))
    (grown,) = resizes(decision(own))
    assert grown.because.reason is Reason.DEMAND_ROSE
    assert grown.capacity_rps >= grown.because.numbers["demand_rps"]


def test_growth_keeps_the_groups_that_are_held():
    own = service(replicas=[replica("a", piece(0b100000, 70))], traffic=steady(120.0))
    (grown,) = resizes(decision(own))
    assert grown.allocation.sm_groups & 0b100000


def test_growth_for_queued_requests_says_backlog():
    busy = traffic((20.0,) * 50, in_flight=200.0)
    (grown,) = resizes(decision(service(replicas=[replica("a", piece(0b1, 90))], traffic=busy)))
    assert grown.because.reason is Reason.BACKLOG


def test_growth_is_shared_between_replicas_on_two_gpus():
    held = [replica("a", piece(on="GPU-0")), replica("b", piece(on="GPU-1"))]
    found = resizes(decision(service(replicas=held, traffic=steady(200.0))))
    assert {"a", "b"} == {r.replica for r in found}
    assert sum(r.capacity_rps for r in found) >= 200.0


def test_what_a_full_gpu_cannot_give_the_other_replica_gets():
    held = [replica("a", piece(0b1, 100, "GPU-0")), replica("b", piece(0b1, 100, "GPU-1"))]
    own = service(replicas=held, traffic=steady(250.0))
    others = tuple(
        service(f"ns/z{i}", [replica("z", piece(0b10 << i, 100))], steady(60.0), max_replicas=1)
        for i in range(15)
    )
    (grown,) = resizes(decision(own, others=others))
    assert grown.replica == "b"
    assert grown.capacity_rps + served(service(replicas=held[:1]), 2) >= 250.0


def test_a_full_gpu_is_told():
    own = service(replicas=[replica("a", piece(0b1, 100))], traffic=steady(140.0), max_replicas=1)
    neighbour = service("ns/z", [replica("z", piece(0xFFFE, 100))], steady(250.0))
    found = decision(own, others=(neighbour,), pool=gpus(1))
    assert [] == resizes(found)
    assert hold(found) in (Reason.GPU_FULL, Reason.NO_ROOM)


def roomy(rps=20.0):
    return service(replicas=[replica("a", piece(0xFFFF, 100))], traffic=steady(rps))


def test_shrinking_waits_until_less_has_long_sufficed():
    first = decision(roomy())
    assert hold(first) is Reason.COOLDOWN
    soon = decision(roomy(), state=first.state, now_s=1000.0 + SETTINGS.shrink_after_s - 0.1)
    assert [] == resizes(soon)
    late = decision(roomy(), state=soon.state, now_s=1000.0 + SETTINGS.shrink_after_s)
    (shrunk,) = resizes(late)
    assert shrunk.because.reason is Reason.DEMAND_FELL
    assert shrunk.capacity_rps >= shrunk.because.numbers["demand_rps"]


def test_a_rise_in_between_starts_the_wait_anew():
    state = decision(roomy()).state
    busy = decision(roomy(900.0), state=state, now_s=1004.0)
    assert busy.state.services[NAME].shrink_since_s is None


def test_within_the_band_nothing_moves():
    """A piece up to 1 / 0.85 of what would do stays."""
    own = service(replicas=[replica("a", piece(0b1, 90))], traffic=steady(20.0))
    found = ladder(own, H200, SETTINGS, TABLE)
    ideal = found.cheapest(25.0)
    held = replica("a", piece((1 << ideal.groups) - 1, min(100, ideal.quota + 10)))
    assert hold(decision(service(replicas=[held], traffic=steady(20.0)))) is Reason.WITHIN_BAND


def test_an_idle_service_is_parked_and_keeps_its_memory():
    idle = service(replicas=[replica("a", piece(0xFF, 50))], traffic=steady(0.0))
    first = decision(idle)
    later = decision(idle, state=first.state, now_s=1000.0 + SETTINGS.parked_after_s)
    (parked,) = resizes(later)
    assert parked.because.reason is Reason.PARKED
    assert (8, SETTINGS.parked_quota) == (
        parked.allocation.sm_partition,
        parked.allocation.quota_percent,
    )
    assert parked.allocation.memory_bytes == 2 * 10**9


def parked_service(rates):
    return service(
        replicas=[replica("a", piece(0b1, SETTINGS.parked_quota))], traffic=traffic(rates)
    )


def test_a_parked_service_stays_as_it_is():
    memory = Memory(idle_since_s=600.0)
    found = decision(parked_service((0.0,) * 50), state=State({NAME: memory}))
    assert hold(found) is Reason.PARKED


def test_the_first_request_wakes_a_parked_service():
    memory = Memory(idle_since_s=600.0)
    woken = decision(parked_service((0.0,) * 48 + (1.0, 3.0)), state=State({NAME: memory}))
    (grown,) = resizes(woken)
    assert grown.capacity_rps >= 3.0


def test_a_replica_that_is_starting_is_not_counted_beside_ready_ones():
    ready = replica("a", piece(on="GPU-0", groups=0b1, quota=70))
    starting = replica("b", piece(0xFFFF, 100, "GPU-1"), ReplicaPhase.STARTING)
    found = resizes(decision(service(replicas=[ready, starting], traffic=steady(120.0))))
    assert ["a"] == [r.replica for r in found]


def test_a_replica_on_its_way_out_is_left_alone():
    leaving = replica("a", piece(0b1, 70), ReplicaPhase.TERMINATING)
    own = service(replicas=[leaving, replica("b", piece(0b10, 70))], traffic=steady(120.0), scale=1)
    assert ["b"] == [r.replica for r in resizes(decision(own))]


@pytest.mark.parametrize("rps", [30.0, 200.0, 800.0])
def test_applied_and_observed_again_the_same_demand_is_content(rps):
    """No oscillation: what was planned is what the next decision would plan."""
    own = service(replicas=[replica("a", piece(0b1, 70))], traffic=steady(rps), max_replicas=1)
    state = State()
    for tick in range(200):
        found = decision(own, state=state, now_s=1000.0 + tick)
        state = found.state
        for resize in resizes(found):
            (held,) = own.replicas
            own = replace(own, replicas=(replace(held, allocation=resize.allocation),))
            assert tick < 60 or resize.because.reason is Reason.DEMAND_FELL
    assert len(resizes(found)) == 0
