import pytest

from autoscaler.policy.capacity import ladder
from autoscaler.policy.ledger import Room, open_books
from autoscaler.policy.state import Drain
from kserve_has.allocation import fits

from .worlds import SETTINGS, SMALL, TABLE, gpu, piece, replica, service, world

OWNER = ("ns/a", "a")


@pytest.fixture
def room():
    return Room(gpu(geometry=SMALL))  # groups of 8, 8, 8 and 12 SMs


def small(groups, quota, memory=10**9):
    return piece(groups, quota, geometry=SMALL, memory=memory)


def book(**fields):
    return ladder(service(**fields), SMALL, SETTINGS, TABLE)


def test_a_charge_takes_quota_of_its_groups_and_memory(room):
    room.charge(OWNER, small(0b0101, 30), exclusive=False)
    assert [70, 100, 70, 100] == room.free
    assert room.free_memory == 9 * 10**9


def test_a_second_charge_of_the_same_owner_counts_the_larger_of_each(room):
    room.charge(OWNER, small(0b0011, 30, 10**9), exclusive=False)
    room.charge(OWNER, small(0b0110, 50, 3 * 10**9), exclusive=False)
    assert [70, 50, 50, 100] == room.free
    assert room.free_memory == 7 * 10**9


def test_what_is_released_can_be_restored(room):
    room.charge(OWNER, small(0b0011, 30), exclusive=False)
    before = list(room.free), room.free_memory
    held = room.release(OWNER)
    assert [100] * 4 == room.free
    assert room.free_memory == SMALL.memory_bytes
    room.restore(OWNER, held)
    assert before == (room.free, room.free_memory)
    assert room.release(("ns/a", "stranger")) is None


def test_exclusive_and_spatial_sharing_never_mix(room):
    assert room.admits(exclusive=True)
    room.charge(OWNER, small(0b1111, 30), exclusive=True)
    assert room.admits(exclusive=True)
    assert not room.admits(exclusive=False)


def test_the_cheapest_piece_that_fits_is_chosen(room):
    ladder_ = book()
    wanted = ladder_.cheapest(50.0)
    assert wanted == room.best(ladder_, 50.0)


def test_where_the_cheapest_does_not_fit_a_dearer_one_that_reaches_is_taken(room):
    ladder_ = book()
    wanted = ladder_.cheapest(50.0)
    # Leave so little time on every group that the cheapest piece no longer fits.
    room.charge(("ns/b", "b"), small(0b1111, 101 - wanted.quota), exclusive=False)
    found = room.best(ladder_, 50.0)
    assert found is None or found != wanted
    assert found is None or all(found.quota <= free for free in room.free)


def test_where_nothing_reaches_the_strongest_that_fits_is_taken(room):
    room.charge(("ns/b", "b"), small(0b1110, 100), exclusive=False)
    found = room.best(book(), 10_000.0)
    assert (found.groups, found.quota) == (1, 100)


def test_a_full_gpu_has_room_for_nothing(room):
    room.charge(("ns/b", "b"), small(0b1111, 100), exclusive=False)
    assert room.best(book(), 1.0) is None


def want(groups, quota):
    return next(p for p in book().pieces if (p.groups, p.quota) == (groups, quota))


def test_own_groups_are_kept_and_neighbours_taken(room):
    assert room.choose_groups(want(2, 100), own=0b0100) in (0b0110, 0b0101, 0b1100)
    assert room.choose_groups(want(1, 100), own=0b0010) == 0b0010


def test_the_odd_last_group_comes_last(room):
    assert room.choose_groups(want(3, 100), own=0) == 0b0111


def test_the_shortest_run_that_is_long_enough_is_used():
    room = Room(gpu())
    room.charge(("ns/b", "b"), piece(1 << 3, 100), exclusive=False)  # runs of 3 and of 12
    three = next(
        p
        for p in ladder(service(), room.gpu.geometry, SETTINGS, TABLE).pieces
        if (p.groups, p.quota) == (3, 100)
    )
    assert room.choose_groups(three, own=0) == 0b111


def test_books_charge_what_drains_beside_what_is_observed():
    old, new = piece(0b01, 60), piece(0b10, 40)
    seen = world([service(replicas=[replica("a", new)])])
    rooms = open_books(seen, {OWNER: Drain((old,), 999.0)})
    assert [40, 60] == rooms["GPU-0"].free[:2]


def test_pieces_on_a_gpu_that_is_gone_are_left_out():
    seen = world([service(replicas=[replica("a", piece(on="GPU-lost"))])])
    assert {} == dict(open_books(seen, {}))


def test_only_healthy_gpus_are_usable_in_order_of_their_names():
    pool = (gpu("GPU-2"), gpu("GPU-1", healthy=False), gpu("GPU-0"))
    assert ["GPU-0", "GPU-2"] == [r.gpu.uuid for r in open_books(world([], pool), {}).usable()]


def test_any_sequence_of_fitting_pieces_fits_the_gpu():
    room, held = Room(gpu(geometry=SMALL)), []
    ladder_ = book(memory_bytes=10**9)
    for number in range(20):
        found = room.best(ladder_, 40.0 + 7 * number)
        if found is None or room.free_memory < 10**9:
            break
        groups = room.choose_groups(found, 0)
        held.append(small(groups, found.quota))
        room.charge(("ns/a", str(number)), held[-1], exclusive=False)
        assert fits(held, SMALL)
    assert len(held) >= 2
