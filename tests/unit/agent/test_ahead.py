from hypothesis import given
from hypothesis import strategies as st

from autoscaler.policy.capacity import Piece
from autoscaler.policy.ledger import Room
from autoscaler.policy.observation import Gpu
from kserve_has import contract
from kserve_has.allocation import Allocation
from kserve_has.gpu import H200
from quota_runtime.agent.ahead import likely
from quota_runtime.agent.wanted import Wanted

UUID = "GPU-0"


def piece(groups, quota=100):
    return Wanted(1, Allocation(UUID, groups, H200.sm_of(groups), quota, 1 << 30))


def test_one_group_more_comes_first_then_one_less_then_two_more_and_less():
    found = likely(H200, {"a": piece(0b0111_0000)}, {}, 4)
    assert found == {"a": (0b0111_1000, 0b0011_0000, 0b0111_1100, 0b0001_0000)}


def test_what_others_hold_is_not_guessed_and_neither_is_the_whole_gpu():
    half = (1 << 8) - 1
    found = likely(H200, {"a": piece(half), "b": piece(H200.all_groups & ~half)}, {}, 8)
    assert all(groups & ~half == 0 for groups in found["a"])
    assert likely(H200, {"a": piece(H200.all_groups >> 1)}, {}, 1) == {"a": (0x3FFF,)}


def test_what_is_asked_for_and_waits_comes_before_all_guesses():
    found = likely(H200, {"a": piece(0b11)}, {"a": piece(0b1100)}, 3)
    assert found["a"][0] == 0b1100
    assert len(found["a"]) == 3
    assert likely(H200, {"a": piece(0b11)}, {"a": piece(0b1100)}, 0) == {"a": ()}


@st.composite
def holdings(draw):
    """Pieces that fit together: some on groups of their own, some that share them in time."""
    free = [100] * H200.group_count
    held = {}
    for uid in "abc":
        quota = draw(st.sampled_from([20, 30, 50, 100]))
        fitting = [group for group, left in enumerate(free) if left >= quota]
        if not fitting:
            continue
        groups = draw(st.sets(st.sampled_from(fitting), min_size=1, max_size=12))
        held[uid] = piece(sum(1 << group for group in groups), quota)
        for group in groups:
            free[group] -= quota
    return held


@given(holdings(), st.sampled_from([1, -1, 2, -2]))
def test_a_step_of_the_autoscaler_is_guessed(held, step):
    found = likely(H200, held, {}, 4)
    for uid, holding in held.items():
        own, room = holding.allocation, Room(Gpu(UUID, "node", H200))
        for other, theirs in held.items():
            if other != uid:
                room.charge(("service", other), theirs.allocation, exclusive=False)
        size = own.sm_groups.bit_count() + step
        new = Piece(size, 8 * size, own.quota_percent, 0, 0.0)
        if size < 1 or size > sum(left >= own.quota_percent for left in room.free):
            continue
        chosen = room.choose_groups(new, own.sm_groups)
        assert chosen in (*found[uid], H200.all_groups)


def test_the_agent_names_them_and_holds_still_while_a_pod_moves(bench):
    bench.put("a", groups=0b0011, quota=100)
    bench.put("b", groups=0b1100, quota=100)
    bench.step()
    assert bench.limits("a").next_sm_groups == (0b0001,)
    bench.follow("a", 1)
    bench.put("a", groups=0b0001, quota=100, epoch=2)
    bench.step()
    assert bench.limits("a").next_sm_groups == (0b0011,)
    bench.put("b", groups=0b0100, quota=100, epoch=2)
    bench.step(after_s=0.01)
    assert bench.limits("b").sm_groups == 0b0100
    assert bench.limits("a").next_sm_groups == (0b0011,)
    bench.follow("a", 2)
    bench.step(after_s=0.01)
    assert bench.limits("a").next_sm_groups == (0b0011, 0b1011)


def test_without_partitions_nothing_is_named(bench):
    bench.put("a", groups=0b0011, quota=40, **{contract.ISOLATION: "exclusive"})
    bench.step()
    assert bench.limits("a").next_sm_groups == ()
