from autoscaler.policy.decide import decide
from autoscaler.policy.plan import Hold, Place, Reason
from autoscaler.policy.state import State

from .worlds import SETTINGS, SMALL, TABLE, gpu, gpus, piece, replica, service, steady, world


def plan_of(services, pool=None):
    return decide(State(), world(services, pool), SETTINGS, TABLE).plan.actions


def places(actions):
    return [a for a in actions if isinstance(a, Place)]


def whole(name, on, quota=100, groups=0xFFFF, memory=2 * 10**9):
    """Return a neighbour that holds much of one GPU and is content with it."""
    held = piece(groups, quota, on, memory=memory)
    return service(
        f"ns/{name}", [replica(name, held)], steady(150.0), priority=900, memory_bytes=memory
    )


def test_a_gated_replica_is_placed_with_node_and_a_piece_for_its_share():
    (placed,) = places(plan_of([service(replicas=[replica("a")], traffic=steady(60.0))]))
    assert ("ns/a", "a") == (placed.service, placed.replica)
    assert placed.node == f"node-of-{placed.allocation.gpu_uuid}"
    assert placed.capacity_rps >= 60.0
    assert placed.because.reason is Reason.NEW_REPLICA


def test_without_traffic_figures_it_is_placed_for_next_to_nothing():
    (placed,) = places(plan_of([service(replicas=[replica("a")], traffic=steady(60.0, age_s=99))]))
    assert placed.allocation.sm_partition == 8
    assert placed.because.numbers["wanted_rps"] == SETTINGS.idle_rps


def test_the_emptiest_gpu_is_preferred():
    busy = whole("b", "GPU-0", quota=50)
    (placed,) = places(plan_of([busy, service(replicas=[replica("a")])]))
    assert placed.allocation.gpu_uuid == "GPU-1"


def test_a_gpu_without_a_sibling_is_preferred_to_an_emptier_one():
    sibling = replica("a", piece(0b1, 20, "GPU-1"))
    busy = whole("b", "GPU-0", groups=0x0FFF)
    own = service(replicas=[sibling, replica("b")], traffic=steady(5.0))
    (placed,) = places(plan_of([busy, own]))
    assert placed.allocation.gpu_uuid == "GPU-0"


def test_two_newcomers_at_once_go_to_two_gpus():
    own = service(replicas=[replica("a"), replica("b")], traffic=steady(50.0))
    assert {"GPU-0", "GPU-1"} == {p.allocation.gpu_uuid for p in places(plan_of([own]))}


def test_memory_is_a_third_side():
    full = whole("b", "GPU-0", quota=20, groups=1, memory=140 * 10**9)
    own = service(replicas=[replica("a")])
    (placed,) = places(plan_of([full, own]))
    assert placed.allocation.gpu_uuid == "GPU-1"


def test_where_no_gpu_has_memory_it_waits_and_says_so():
    full = whole("b", "GPU-0", quota=20, groups=1, memory=140 * 10**9)
    actions = plan_of([full, service(replicas=[replica("a")])], gpus(1))
    assert [] == places(actions)
    assert Reason.NO_ROOM in {
        a.because.reason for a in actions if isinstance(a, Hold) and a.service == "ns/a"
    }


def test_an_exclusive_service_gets_a_gpu_without_others():
    own = service(replicas=[replica("a")], exclusive=True)
    (placed,) = places(plan_of([whole("b", "GPU-0", quota=20, groups=1), own]))
    assert (placed.allocation.gpu_uuid, placed.allocation.sm_partition) == ("GPU-1", 132)


def test_nothing_is_placed_on_a_gpu_that_is_ill():
    pool = (gpu("GPU-0", healthy=False), gpu("GPU-1"))
    (placed,) = places(plan_of([service(replicas=[replica("a")])], pool))
    assert placed.allocation.gpu_uuid == "GPU-1"


def test_a_share_that_fits_nowhere_gets_the_strongest_piece_there_is():
    own = service(replicas=[replica("a")], traffic=steady(5000.0), max_replicas=1)
    pool = (gpu("GPU-0", SMALL),)
    (placed,) = places(plan_of([own], pool))
    assert (placed.allocation.sm_partition, placed.allocation.quota_percent) == (36, 100)


def test_the_books_are_unharmed_by_trying():
    """What is tried out in thought is given back: the plan is the same the second time."""
    own = service(replicas=[replica("a", piece(0b1, 100))], traffic=steady(900.0))
    assert plan_of([own]) == plan_of([own])
    shared = plan_of([own, service("ns/b", [replica("b")])])
    (placed,) = places(shared)
    assert placed.capacity_rps >= 20.0
