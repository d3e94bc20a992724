import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_has.allocation import Allocation, compute_share, fits, group_load
from kserve_has.errors import AllocationError
from kserve_has.gpu import H200


def piece(groups: int, quota: int = 100, memory: int = 0) -> Allocation:
    return Allocation("GPU-a", groups, H200.sm_of(groups), quota, memory)


def test_an_h200_splits_into_fifteen_groups_of_8_and_one_of_12():
    assert (8,) * 15 + (12,) == H200.group_sizes
    assert H200.sm_of(H200.all_groups) == 132
    assert H200.sm_of(0x8000) == 12


@pytest.mark.parametrize("groups", [0, 1 << 16, -1])
def test_a_bitmap_that_the_gpu_does_not_have_is_refused(groups):
    with pytest.raises(ValueError, match="empty or outside"):
        H200.sm_of(groups)


def test_compute_share_is_space_times_time():
    assert compute_share(piece(0x8000, 50), H200) == pytest.approx(12 / 132 / 2)


@pytest.mark.parametrize("quota", [0, 101])
def test_a_quota_outside_1_to_100_cannot_be_built(quota):
    with pytest.raises(AllocationError):
        piece(1, quota)


def test_two_replicas_may_share_groups_in_time_but_not_beyond_it():
    assert fits([piece(0xF, 60), piece(0xF, 40)], H200)
    assert not fits([piece(0xF, 60), piece(0x8, 41)], H200)


def test_memory_is_a_third_constraint():
    half = H200.memory_bytes // 2
    assert fits([piece(1, 100, half), piece(2, 100, half)], H200)
    assert not fits([piece(1, 100, half), piece(2, 100, half + 1)], H200)


pieces = st.builds(piece, st.integers(1, H200.all_groups), st.integers(1, 100))


@given(st.lists(pieces, max_size=8))
def test_what_fits_never_promises_more_than_the_whole_gpu(held):
    if fits(held, H200):
        assert sum(compute_share(a, H200) for a in held) <= 1 + 1e-9
        assert max(group_load(held, H200), default=0) <= 100
