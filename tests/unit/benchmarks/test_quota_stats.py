import numpy as np
import pytest

from benchmarks.gpu.quota_stats import (
    lost_percent,
    lost_undisturbed_percent,
    more_percent,
    segments,
    window_errors,
)


def noisy(random, speed, rounds, disturbed):
    """Rounds of a process on a host that makes some of them slower."""
    slow = 1 - 0.4 * random.random(rounds) * (random.random(rounds) < disturbed)
    return list(speed * (1 + 0.001 * random.standard_normal(rounds)) * slow)


def test_a_disturbed_host_does_not_hide_what_undisturbed_rounds_lose():
    random = np.random.default_rng(1)
    bare = [noisy(random, 100.0, 60, 0.4) for _ in range(3)]
    ours = [noisy(random, 98.0, 60, 0.5) for _ in range(3)]
    found = lost_undisturbed_percent(ours, bare)
    assert found["median"] == pytest.approx(2.0, abs=0.3)
    assert found["high"] - found["low"] < 1.0
    assert lost_percent(ours, bare)["high"] > 4.0


def test_pairs_of_segments_cancel_a_host_that_slows_down_for_a_while():
    random = np.random.default_rng(2)
    level = np.repeat([1.0, 3.0], 10)  # the second half of the run is noisy on both sides
    quiet = [list(factor * (5 + random.exponential(1, 500))) for factor in level]
    busy = [list(factor * 1.02 * (5 + random.exponential(1, 500))) for factor in level]
    paired, apart = more_percent(busy, quiet, paired=True), more_percent(busy, quiet)
    assert paired["median"] == apart["median"]
    assert paired["high"] - paired["low"] < (apart["high"] - apart["low"]) / 2


def test_pairs_need_both_sides():
    found = more_percent([[1.0] * 9, []], [[1.0] * 9, [5.0] * 9], paired=True)
    assert found["quiet_p99_ms"] == 1.0


def test_steps_count_where_they_lie_wholly_in_a_span():
    assert segments([1.0, 2.0, 3.0], [0.5, 1.5, 0.5], [(0.6, 3.1), (0.4, 1.0)]) == [
        [500.0],
        [500.0],
    ]


def test_errors_of_windows_in_points():
    # 20 windows of 50 ms a second; half of the work in the first second, none in the next.
    counts = [5.0] * 20 + [0.0] * 20
    errors = window_errors(counts, 200.0, 0.5, 1)
    assert errors[0] == pytest.approx(0)
    assert errors[-1] == pytest.approx(-50)
