"""The cluster in invented time: stages of a start, delays, bills, what can be seen when."""

from dataclasses import replace

import pytest

from autoscaler.policy.observation import ReplicaPhase
from autoscaler.policy.plan import Because, Place, Plan, Reason, Resize, SetScale
from autoscaler.simulator.scenario import Load, Scenario
from autoscaler.simulator.world import World
from kserve_has.config.simulator import SimulatorSettings
from kserve_has.loadgen.trace import Trace
from kserve_has.slo import Slo

from ..policy.worlds import piece

WHY = Because(Reason.NEW_REPLICA)
SURE = SimulatorSettings(stage_spread=0.0, lost_samples=0.0, truth_spread=0.0)


def world(rps=20.0, settings=SURE, services=1, **fields):
    trace = Trace((0.0,), (rps,), 600.0)
    loads = tuple(
        Load(f"ns/{i}", "resnet50", 1, Slo(20.0, 99), trace, **fields) for i in range(services)
    )
    return World(Scenario(loads, gpus=2, seconds=600.0, seed=3, settings=settings))


def started(found, allocation=None, service="ns/0", *, warm=True):
    deployment = found.deployments[service]
    deployment.scale += 1
    pod = found.create(deployment)
    found.place(deployment, pod, allocation or piece(0b11, 100, "GPU-0000"), 100.0, warm=warm)
    return pod


def test_a_cold_start_takes_all_its_stages_and_half_a_probe_on_average():
    settings = replace(SURE, probe_s=0.0)
    found = world(settings=settings)
    pod = started(found, warm=False)
    stages = settings.cold_start_s - settings.endpoint_delay_s
    found.advance(stages - 0.01)
    assert pod.phase is ReplicaPhase.STARTING
    found.advance(stages + 0.01)
    assert pod.phase is ReplicaPhase.READY
    assert not found.deployments["ns/0"].lane.servers  # the gateway does not know it yet
    found.advance(settings.cold_start_s + 0.01)
    assert pod.server in found.deployments["ns/0"].lane.servers
    assert found.deployments["ns/0"].cold_starts == 1


def test_a_resize_is_in_force_after_a_delay_and_the_larger_piece_is_billed_until_then():
    found = world()
    pod = started(found)
    small = piece(0b1, 50, "GPU-0000")
    found.apply(Plan((Resize("ns/0", pod.name, small, 10.0, WHY),)))
    assert not pod.in_force
    assert pod.billed_area == 16 * 100
    found.advance(1.0)
    assert pod.in_force
    assert pod.billed_area == 8 * 50
    assert found.deployments["ns/0"].resizes == 1


def test_of_two_resizes_at_once_the_newer_wins():
    found = world()
    pod = started(found)
    for quota in (30, 70):
        found.apply(Plan((Resize("ns/0", pod.name, piece(0b1, quota, "GPU-0000"), 1, WHY),)))
    found.advance(1.0)
    assert pod.server.quota == 0.7


def test_bills_are_area_times_time_and_memory_where_that_is_larger():
    found = world(memory_bytes=141 * 10**8)  # a tenth of a GPU
    pod = started(found, piece(0b1, 50, "GPU-0000"))
    found.advance(10.0)
    found.settle_bills()
    assert 8 * 50 * 10.0 == pytest.approx(pod.area_s)
    assert 0.1 * 10.0 == pytest.approx(pod.larger_s)


def test_a_second_is_seen_only_after_the_metric_delay():
    found = world()
    started(found)
    found.advance(1.0)
    found.scrape()
    found.advance(1.0 + SURE.metric_delay_s - 0.01)
    assert found.observe().services[0].traffic.arrivals_rps == ()
    found.advance(1.0 + SURE.metric_delay_s + 0.01)
    (only,) = found.observe().services[0].traffic.arrivals_rps
    assert only[0] == pytest.approx(SURE.metric_delay_s + 0.01)


def test_a_lost_scrape_is_made_up_for_by_the_next_one():
    found = world(settings=replace(SURE, lost_samples=0.5))
    started(found)
    for second in range(1, 61):
        found.advance(float(second))
        found.scrape()
    seconds = found.deployments["ns/0"].seconds
    assert len(seconds) < 60
    ends = [0.0, *(s.at_s for s in seconds)]
    counted = sum(s.rps * (b - a) for s, a, b in zip(seconds, ends, ends[1:], strict=False))
    assert counted == pytest.approx(found.deployments["ns/0"].lane.offered, abs=200)


def test_scaling_in_takes_the_victims_first_and_lets_them_finish():
    found = world()
    first, second = started(found), started(found, piece(0b1100, 100, "GPU-0000"))
    found.apply(Plan((SetScale("ns/0", 1, (first.name,), WHY),)))
    assert first.phase is ReplicaPhase.TERMINATING
    assert first.billed_area > 0  # it still holds its piece
    found.advance(SURE.grace_s + 0.1)
    assert [second.name] == list(found.deployments["ns/0"].pods)


def test_a_pod_that_is_gone_or_going_is_neither_placed_nor_resized():
    found = world()
    pod = started(found)
    found.apply(Plan((SetScale("ns/0", 0, (), WHY),)))
    found.apply(
        Plan(
            (
                Resize("ns/0", pod.name, piece(0b1, 10, "GPU-0000"), 1.0, WHY),
                Place("ns/0", "nobody", "node-0", piece(0b1, 10, "GPU-0000"), 1.0, WHY),
            )
        )
    )
    assert found.deployments["ns/0"].resizes == 0


def test_neighbours_on_the_same_groups_slow_each_other():
    found = world(services=2)
    alone = started(found)
    before = alone.server.median_s
    other = started(found, piece(0b1, 50, "GPU-0000"), "ns/1")
    apart = started(found, piece(0b1100, 50, "GPU-0000"), "ns/1")
    slow, straight = (p.server.median_s for p in (other, apart))
    physics = found.deployments["ns/1"].physics
    assert straight == pytest.approx(physics.law(16)[0] / 1000)
    # 150 % promised on one group: half as slow again, and colder caches.
    assert slow == pytest.approx(physics.law(8)[0] / 1000 * 1.5 * 1.03)
    assert before == pytest.approx(physics.law(16)[0] / 1000)


def test_a_killed_pod_loses_its_requests_and_is_made_anew():
    found = world(rps=2000.0)
    pod = started(found)
    found.advance(1.0)
    active = pod.server.active
    found.kill("ns/0", pod.name)
    deployment = found.deployments["ns/0"]
    assert deployment.lane.failed == active > 0
    (new,) = deployment.pods.values()
    assert new.phase is ReplicaPhase.GATED
