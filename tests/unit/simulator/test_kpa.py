"""Knative's autoscaler, tick by tick."""

import pytest

from autoscaler.simulator.baselines.kpa import Kpa, KpaDecider, KpaSettings

TEN = KpaSettings(target=10.0, utilisation=1.0)


def fed(values, settings=TEN):
    """Return a decider that has seen one value a second, the last at ``len(values)``."""
    decider = KpaDecider(settings)
    for second, value in enumerate(values, start=1):
        decider.record(float(second), value)
    return decider


def test_knatives_defaults():
    found = KpaSettings()
    assert (100.0, 0.7, 60.0, 0.1, 2.0) == (
        found.target,
        found.utilisation,
        found.stable_s,
        found.panic_share,
        found.panic_threshold,
    )
    assert (1000.0, 2.0, 0.0, 30.0) == (
        found.max_up,
        found.max_down,
        found.scale_down_delay_s,
        found.zero_grace_s,
    )


def test_the_stable_window_averages_sixty_buckets_and_forgets_older_ones():
    assert fed([40.0] * 60 + [20.0] * 60).average(120.0, 60.0) == 20.0


def test_a_window_is_partial_at_the_start_and_holes_count_as_zero():
    decider = KpaDecider(TEN)
    decider.record(1.0, 30.0)
    assert decider.average(1.0, 60.0) == 30.0
    decider.record(4.0, 30.0)  # nothing came in seconds 2 and 3
    assert decider.average(4.0, 60.0) == 15.0


def test_silence_is_zero():
    assert KpaDecider(TEN).average(5.0, 60.0) == 0.0


def test_stable_mode_rounds_up():
    assert fed([21.0] * 60).desired(60.0, ready=3) == 3


def test_the_target_is_seventy_per_cent_of_what_a_pod_may_hold():
    assert fed([1.0] * 60, KpaSettings(target=1.0)).desired(60.0, ready=2) == 2  # 1 / 0.7


@pytest.mark.parametrize(
    ("ready", "wish"),
    [
        pytest.param(20, 10, id="no more than half leaves at once"),
        pytest.param(21, 10, id="half is rounded down"),
        pytest.param(1, 1, id="one stays"),
    ],
)
def test_scaling_down_is_limited(ready, wish):
    assert wish == fed([10.0] * 60).desired(60.0, ready)


def test_scaling_up_is_limited():
    slow = KpaSettings(target=10.0, utilisation=1.0, max_up=2.0)
    assert fed([500.0] * 60, slow).desired(60.0, ready=3) == 6


def test_twice_the_ready_pods_in_six_seconds_is_panic():
    decider = fed([10.0] * 54 + [20.0] * 6)
    assert decider.desired(60.0, ready=1) == 2
    assert decider.panic_since_s == 60.0
    calm = fed([10.0] * 54 + [19.0] * 6)
    calm.desired(60.0, ready=2)
    assert calm.panic_since_s is None


def test_panic_only_rises_and_ends_a_stable_window_after_its_last_cause():
    decider = fed([10.0] * 54 + [60.0] * 6)
    assert decider.desired(60.0, ready=1) == 6
    for second in range(61, 121):
        decider.record(float(second), 10.0)
    assert decider.desired(119.0, ready=6) == 6  # the load has long fallen
    assert decider.desired(120.0, ready=6) == 6  # not longer than a stable window yet
    assert decider.desired(122.0, ready=6) == 3  # half of the ready ones
    assert decider.panic_since_s is None


def test_with_slow_starts_panic_arms_itself_again_and_overshoots():
    """``ready`` counts ready pods only, so the same load stays over the threshold."""
    decider = fed([30.0] * 60)
    decider.desired(60.0, ready=1)
    decider.record(62.0, 30.0)
    decider.desired(62.0, ready=1)
    assert decider.panic_since_s == 62.0


def test_the_delay_keeps_the_largest_wish():
    delayed = KpaSettings(target=10.0, utilisation=1.0, scale_down_delay_s=30.0)
    decider = fed([40.0] * 60, delayed)
    assert decider.desired(60.0, ready=4) == 4
    for second in range(61, 151):
        decider.record(float(second), 10.0)
        wish = decider.desired(float(second), ready=4)
        if second <= 90:
            assert wish == 4
    assert wish == 2


def test_zero_waits_for_its_grace():
    decider = KpaDecider(TEN)
    assert [decider.to_zero(t, 0) for t in (0.0, 29.0, 30.0)] == [1, 1, 0]
    assert decider.to_zero(31.0, 1) == 1
    assert decider.to_zero(32.0, 0) == 1  # the grace begins anew


def test_a_tick_is_two_seconds():
    assert Kpa(TEN).tick_s == 2.0
