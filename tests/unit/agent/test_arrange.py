import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_has.allocation import Allocation, group_load
from kserve_has.gpu import GpuGeometry
from quota_runtime.agent.arrange import Apply, Holding, Refuse, Wait, arrange, turns

GPU = GpuGeometry("toy", sm_count=36, sm_group_size=8, memory_bytes=1000)  # 8, 8, 8, 12
MS = 1_000_000


def piece(groups, quota=100, memory=100, uuid="g"):
    return Allocation(uuid, groups, GPU.sm_of(groups), quota, memory)


def verdicts(*holdings, handover_s=1.0):
    return arrange(GPU, holdings, handover_s)


def test_pods_on_different_groups_both_get_what_they_want():
    found = verdicts(Holding("a", piece(0b0011)), Holding("b", piece(0b1100)))
    assert {"a": Apply(), "b": Apply()} == found


def test_pods_may_share_groups_while_their_quotas_add_up_to_the_whole_time():
    found = verdicts(Holding("a", piece(0b0011, 60)), Holding("b", piece(0b0110, 40)))
    assert {"a": Apply(), "b": Apply()} == found


def test_an_overpromised_group_is_refused_with_its_index_and_the_last_good_piece_stays():
    old = piece(0b0001, 40)
    found = verdicts(
        Holding("a", piece(0b0011, 60), written=piece(0b0011, 60)),
        Holding("b", piece(0b0110, 50), written=old),
    )
    assert Apply() == found["a"]
    assert "SM groups [1]" in found["b"].reason


def test_of_two_newcomers_that_conflict_one_is_served():
    found = verdicts(Holding("a", piece(0b0011)), Holding("b", piece(0b0010)))
    assert {Apply, Refuse} == {type(verdict) for verdict in found.values()}


def test_memory_limits_may_not_exceed_the_gpu_together():
    found = verdicts(
        Holding("a", piece(1, memory=600), written=piece(1, memory=600)),
        Holding("b", piece(2, memory=500)),
    )
    assert isinstance(found["b"], Refuse)


def test_a_group_waits_until_its_last_holder_has_let_go():
    shrunk = Holding("a", piece(0b0001), written=piece(0b0001), lingering=(piece(0b0011),))
    grown = Holding("b", piece(0b1110), written=piece(0b1100))
    assert Wait() == verdicts(shrunk, grown)["b"]
    released = Holding("a", piece(0b0001), written=piece(0b0001))
    assert Apply() == verdicts(released, grown)["b"]


def test_a_shrink_and_the_growth_into_its_room_are_ordered_whatever_their_names():
    for shrinking, growing in (("a", "b"), ("b", "a")):
        found = verdicts(
            Holding(shrinking, piece(0b0001), written=piece(0b0011)),
            Holding(growing, piece(0b1110), written=piece(0b1100)),
        )
        assert {shrinking: Apply(), growing: Wait()} == found


def test_pods_that_wait_for_each_other_are_served_after_the_handover_time():
    def swap(waits_s):
        return verdicts(
            Holding("a", piece(0b0010), written=piece(0b0001), waits_s=waits_s),
            Holding("b", piece(0b0001), written=piece(0b0010), waits_s=waits_s),
        )

    assert {"a": Wait(), "b": Wait()} == swap(0.9)
    assert {"a": Apply(), "b": Apply()} == swap(1.0)


def test_a_quota_shared_on_a_group_grows_only_when_the_other_has_shrunk():
    grown = Holding("b", piece(0b0001, 60), written=piece(0b0001, 40))
    other = Holding("a", piece(0b0001, 40), written=piece(0b0001, 60))
    assert {"a": Apply(), "b": Wait()} == verdicts(other, grown)


def test_giving_back_is_always_possible_even_on_a_gpu_that_is_overpromised():
    found = verdicts(
        Holding("a", piece(0b0011, 80), written=piece(0b0011, 100)),
        Holding("b", piece(0b0011, 50), written=piece(0b0011, 50)),
    )
    assert Apply() == found["a"]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Allocation("g", 0b10000, 8, 50, 10), "outside"),
        (Allocation("g", 0b0011, 12, 50, 10), "hold 16 SMs, not 12"),
        (Allocation("g", 0b0011, 16, 50, 2000), "exceeds"),
    ],
)
def test_what_the_gpu_cannot_give_is_refused_with_the_reason(wanted, words):
    assert words in verdicts(Holding("a", wanted))["a"].reason


def test_a_running_pod_cannot_change_its_gpu():
    holding = Holding("a", piece(1), written=piece(1, uuid="other"))
    assert "cannot move" in verdicts(holding)["a"].reason


pieces = st.builds(
    piece, st.integers(1, 0b1111), st.integers(1, 20).map(lambda n: n * 5), st.integers(0, 400)
)


@given(st.lists(st.tuples(pieces, st.none() | pieces), max_size=5))
def test_applied_wishes_never_overpromise_a_group_beyond_what_was_there(pods):
    before = [old for _, old in pods if old is not None]
    if (
        any(load > 100 for load in group_load(before, GPU))
        or sum(old.memory_bytes for old in before) > GPU.memory_bytes
    ):
        return
    holdings = [Holding(f"p{i}", new, written=old) for i, (new, old) in enumerate(pods)]
    found = arrange(GPU, holdings, handover_s=1.0)
    after = [h.wanted if found[h.uid] == Apply() else h.written for h in holdings]
    assert all(load <= 100 for load in group_load(filter(None, after), GPU))


def test_a_pod_alone_on_its_groups_may_run_anywhere_in_the_window():
    assert {"a": 0, "b": 0} == turns({"a": piece(1, 50), "b": piece(2, 50)}, {}, 50 * MS)


def test_pods_that_share_groups_get_turns_that_do_not_overlap():
    shared = {"a": piece(0b11, 40), "b": piece(0b10, 60)}
    assert {"a": 1, "b": 20 * MS} == turns(shared, {}, 50 * MS)


def test_a_turn_is_kept_when_a_neighbour_comes_or_goes():
    shared = {"a": piece(1, 40), "b": piece(1, 40), "c": piece(1, 20)}
    held = {"b": 20 * MS}
    assert {"a": 1, "b": 20 * MS, "c": 40 * MS} == turns(shared, held, 50 * MS)
    assert {"b": 20 * MS, "c": 1} == turns({k: shared[k] for k in "bc"}, held, 50 * MS)


def test_a_turn_that_no_longer_fits_moves():
    shared = {"a": piece(1, 60), "b": piece(1, 40)}
    assert {"a": 1, "b": 30 * MS} == turns(shared, {"a": 30 * MS}, 50 * MS)


def test_turns_stay_as_they_are_while_nothing_changes():
    shared = {"a": piece(1, 60), "b": piece(1, 40)}
    first = turns(shared, {}, 50 * MS)
    assert first == turns(shared, first, 50 * MS)
