from autoscaler.policy.decide import decide
from autoscaler.policy.plan import Hold, Reason, Resize
from autoscaler.policy.state import State

from .worlds import SETTINGS, SMALL, TABLE, gpu, piece, replica, service, steady, world

POOL = (gpu("GPU-0", SMALL),)  # groups of 8, 8, 8 and 12 SMs


def holder(name, groups, quota, *, rps, priority):
    held = replica(name, piece(groups, quota, geometry=SMALL))
    return service(f"ns/{name}", [held], steady(rps), priority=priority, max_replicas=1)


def resized(services):
    found = decide(State(), world(services, POOL), SETTINGS, TABLE).plan.actions
    return {a.replica: a for a in found if isinstance(a, Resize)}, found


def test_the_lowest_priority_gives_way_to_who_is_short():
    short = holder("gold", 0b0001, 100, rps=100, priority=900)
    low = holder("tin", 0b1110, 100, rps=100, priority=1)
    moved, _ = resized([short, low])
    assert moved["tin"].because.reason is Reason.YIELDED
    assert "gold" not in moved  # nothing grows into what the same plan frees
    assert moved["tin"].allocation.sm_groups & ~0b1110 == 0


def test_no_more_is_taken_than_is_lacked_and_the_middle_keeps_all():
    short = holder("gold", 0b0001, 100, rps=60, priority=900)  # lacks one group
    middle = holder("iron", 0b0010, 100, rps=15, priority=100)
    low = holder("tin", 0b1100, 100, rps=100, priority=1)
    moved, _ = resized([short, middle, low])
    assert {"tin"} == set(moved)
    assert moved["tin"].allocation.sm_groups in (0b0100, 0b1000)


def test_equal_priorities_leave_each_other_alone():
    first = holder("gold", 0b0001, 100, rps=100, priority=7)
    second = holder("tin", 0b1110, 100, rps=100, priority=7)
    moved, found = resized([first, second])
    assert {} == moved
    assert Reason.GPU_FULL in {a.because.reason for a in found if isinstance(a, Hold)}


def test_whoever_gives_way_keeps_its_parked_piece():
    short = holder("gold", 0b0001, 20, rps=5000, priority=900)
    low = holder("tin", 0b1111, 80, rps=100, priority=1)
    moved, _ = resized([short, low])
    assert moved["tin"].allocation.area >= 8 * SETTINGS.parked_quota


def test_who_has_given_way_does_not_grow_back_before_the_claimant_has_grown():
    """The former piece is still charged, so the claimant cannot grow yet; nor may the other."""
    services = [
        holder("gold", 0b0001, 100, rps=100, priority=900),
        holder("tin", 0b1110, 100, rps=100, priority=1),
    ]
    first = decide(State(), world(services, POOL), SETTINGS, TABLE)
    (given,) = [a for a in first.plan.actions if isinstance(a, Resize)]
    after = service(
        "ns/tin", [replica("tin", given.allocation)], steady(100), priority=1, max_replicas=1
    )
    again = decide(first.state, world([services[0], after], POOL, 1000.2), SETTINGS, TABLE)
    assert [] == [a for a in again.plan.actions if isinstance(a, Resize)]
    seen = decide(again.state, world([services[0], after], POOL, 1002.0), SETTINGS, TABLE)
    later = decide(seen.state, world([services[0], after], POOL, 1002.2), SETTINGS, TABLE)
    assert ["gold"] == [a.replica for a in later.plan.actions if isinstance(a, Resize)]
