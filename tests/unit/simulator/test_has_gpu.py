"""HAS-GPU's rules, as its published code has them and as they were meant."""

import math

import pytest

from autoscaler.policy.observation import ReplicaPhase
from autoscaler.policy.plan import Place, Resize, SetScale
from autoscaler.simulator.baselines.has_gpu import HasGpu, Kalman
from autoscaler.simulator.scenario import Second
from kserve_has.gpu import H200

from ..policy.worlds import TABLE, gpus, piece, replica, service, world


def seconds(rps, now_s, count=10):
    return [Second(now_s - i, rps, 0, now_s - i, 0, 0, 0, 0, None) for i in range(count)][::-1]


def test_the_filter_is_kalmans_with_a_margin_and_a_floor():
    found = Kalman(feeds_back=False)
    gain = 2.0 / 12.0
    assert found.predict(60.0) == 65.0  # the floor: measured + 5
    assert found.x == pytest.approx(gain * 60.0)
    assert found.p == pytest.approx((1 - gain) * 2.0)


def test_as_coded_margin_and_floor_stay_in_the_state():
    coded = Kalman(feeds_back=True)
    coded.predict(60.0)
    assert coded.x == 65.0
    # So it falls slowly after a peak and overestimates all the way.
    assert coded.predict(0.0) > 40.0


def test_on_a_fall_the_estimate_decays_with_the_gain():
    found = Kalman(feeds_back=False, x=100.0, p=2.0)
    gain = 3.0 / 13.0
    expected = 100.0 - gain * 90.0 + math.sqrt((1 - gain) * 3.0)
    assert found.predict(10.0) == pytest.approx(expected)


def test_every_capacity_holds_seventy_milliseconds_as_coded():
    alone = TABLE.predict("resnet50", "NVIDIA H200", 1, 40, 100).mean_ms / 0.3
    rps = [HasGpu(TABLE, fixed=fixed).rps(service(), H200, 30, 30) for fixed in (False, True)]
    assert [1000 / (alone + 70.0), 1000 / alone] == pytest.approx(rps)


def pod(name, quota, groups=0b11111, gpu="GPU-0"):
    return replica(name, piece(groups, quota, gpu))


def decided(has, services, rps, now_s=100.0, pool=None):
    signals = {s.name: seconds(rps, now_s) for s in services}
    return has.decide(world(services, pool or gpus(2), now_s), signals).actions


def test_a_tick_is_two_seconds():
    assert HasGpu(TABLE, fixed=False).tick_s == 2.0


def test_quota_grows_in_tens_within_the_row_before_a_pod_is_added():
    has = HasGpu(TABLE, fixed=True)
    own = service(replicas=[pod("a", 30)])
    need = has.rps(own, H200, 30, 30) * 1.2
    (grown,) = decided(has, [own], need)
    assert isinstance(grown, Resize)
    assert grown.allocation.quota_percent % 10 == 0
    assert grown.allocation.quota_percent > 30


def test_a_need_beyond_the_row_adds_pods_and_the_fixed_one_uses_new_gpus():
    for fixed, gpus_used in ((True, {"GPU-0", "GPU-1"}), (False, {"GPU-0"})):
        has = HasGpu(TABLE, fixed=fixed)
        own = service(replicas=[pod("a", 30)], max_replicas=64)
        actions = decided(has, [own], 5000.0)
        (asked,) = [a for a in actions if isinstance(a, SetScale)]
        waiting = [replica(f"n{i}") for i in range(asked.replicas - 1)]
        more = service(replicas=[pod("a", 100), *waiting], max_replicas=64)
        placed = [a for a in decided(has, [more], 5000.0, 102.0) if isinstance(a, Place)]
        assert gpus_used == {"GPU-0", *(a.allocation.gpu_uuid for a in placed)}


def test_shrinking_waits_ten_seconds_and_never_goes_below_ten_per_cent():
    has = HasGpu(TABLE, fixed=True)
    own = service(replicas=[pod("a", 90)])
    (shrunk,) = decided(has, [own], 0.0)
    assert shrunk.allocation.quota_percent >= 10
    after = service(replicas=[pod("a", shrunk.allocation.quota_percent)])
    assert [] == list(decided(has, [after], 0.0, 105.0))


def test_between_the_thresholds_nothing_happens():
    has = HasGpu(TABLE, fixed=True)
    own = service(replicas=[pod("a", 30)])
    has._filters[own.name] = Kalman(feeds_back=False, x=0.6 * has.rps(own, H200, 30, 30))
    rate = 0.6 * has.rps(own, H200, 30, 30) - 5.0
    assert [] == list(decided(has, [own], rate))


def test_without_a_ready_pod_it_waits():
    has = HasGpu(TABLE, fixed=True)
    starting = replica("a", piece(0b11111, 30), ReplicaPhase.STARTING)
    assert [] == list(decided(has, [service(replicas=[starting])], 500.0))


def test_one_filter_serves_all_functions_as_coded():
    for fixed, alone in ((False, False), (True, True)):
        has = HasGpu(TABLE, fixed=fixed)
        busy = service("ns/a", [pod("a", 30)])
        idle = service("ns/b", [pod("b", 30, 0b11111, "GPU-1")])
        signals = {"ns/a": seconds(400.0, 100.0), "ns/b": seconds(1.0, 100.0)}
        actions = has.decide(world([busy, idle], gpus(2), 100.0), signals).actions
        grown = {
            a.service
            for a in actions
            if isinstance(a, SetScale)
            or (isinstance(a, Resize) and a.allocation.quota_percent > 30)
        }
        assert alone is ("ns/b" not in grown)
