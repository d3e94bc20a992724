import numpy as np
import pytest

from benchmarks.gpu.quota_timeline import BIN_NS, LEAD_NS, about, losses, work_bins, work_until

MS = 1_000_000
START = 1_900_000_000 * 1_000_000_000  # of the size of the GPU's timer


def back_to_back(begin, count, took, every=None, gap=0):
    """Launches of `took` ns with `gap` between them; a turn of `every[0]` in each `every[1]` ns."""
    stamps, at = [], begin
    while len(stamps) < count:
        if every and (at - begin) % every[1] + took > every[0]:
            at += every[1] - (at - begin) % every[1]
        stamps.append((at, at + took))
        at += took + gap
    return np.asarray(stamps, np.int64)


def test_work_is_spread_over_the_time_it_took():
    stamps = np.asarray([(START, START + 10), (START + 20, START + 40)], np.int64)
    at = START + np.asarray([-5, 0, 5, 10, 15, 20, 30, 40, 99])
    assert work_until(stamps, at).tolist() == [0, 0, 0.5, 1, 1, 1, 1.5, 2, 2]


def test_bins_are_numbered_by_the_timer_and_hold_all_work_in_steps():
    first = START // BIN_NS
    stamps = back_to_back(first * BIN_NS + 25 * MS, 400, MS // 4)
    bins = work_bins(stamps, per_step=4)
    assert bins["first"] == first
    assert sum(bins["counts"]) == pytest.approx(100)
    assert bins["counts"][:3] == pytest.approx([25, 50, 25])


def test_no_stamps_give_no_bins():
    assert work_bins(np.empty((0, 2), np.int64))["counts"] == []


def test_a_process_alone_is_busy_but_for_the_gaps():
    found = about(back_to_back(START, 1000, 250_000, gap=2_500))
    assert found["busy"] == pytest.approx(250 / 252.5, abs=1e-4)
    assert found["gap_us"] == pytest.approx(2.5)
    assert found["launch_ms"] == pytest.approx(0.25)


def test_every_loss_has_its_name():
    window, took = 50 * MS, MS // 4
    first = back_to_back(START, 96 * 100, took, every=(24 * MS, window))
    second = back_to_back(START + 25 * MS, 80 * 100, took, every=(20 * MS, window))
    found = losses([first, second], [0.25, 0.25])
    # Each window: 1 ms idle before the second pod's turn, 5 ms before the first one's.
    assert found["idle_at_hand_overs"] == pytest.approx(100 * 6 / 50, rel=0.01)
    assert found["held_percent"][0] == pytest.approx(48, rel=0.01)
    assert found["idle_in_turns"] == 0
    assert found["both_at_once"] == 0
    assert found["launches_slower"] == pytest.approx([0, 0], abs=1e-6)
    assert found["hand_overs_per_s"] == pytest.approx(40, rel=0.1)


def test_overlap_stalls_and_slower_launches_show():
    took = MS
    first = back_to_back(START, 2000, took, gap=100_000)
    second = first + took // 2
    found = losses([first, second], [0.5, 1.0])
    assert found["both_at_once"] == pytest.approx(100 * 0.9 / 1.1, rel=0.05)
    alone = losses([first[::2], first[1::2]], [0.5, 1.0])
    assert alone["launches_slower"] == pytest.approx([100, 0], abs=1e-6)
    pause = np.concatenate([first[:1000], first[1000:] + 5 * MS])
    stalled = losses([pause, second[-1:] + LEAD_NS * 100], [1.0, 1.0])
    assert stalled == {}


def test_a_stall_in_a_turn_is_not_a_gap_between_launches():
    one = back_to_back(START, 4000, MS // 4, gap=2_000)
    one[2000:] += 7 * MS
    other = np.asarray([(START, START + 1), (one[-1, 1] - 1, one[-1, 1])], np.int64)
    found = losses([one, other], [0.25, 1e-6])
    assert found["longest_stall_ms"] == pytest.approx(7, rel=0.01)
    assert found["idle_in_turns"] > found["idle_between_launches"] > 0
