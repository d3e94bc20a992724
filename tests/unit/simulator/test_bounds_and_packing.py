import pytest

from autoscaler.policy.plan import Place, Resize, SetScale
from autoscaler.simulator.baselines.bounds import (
    Clairvoyant,
    best_count,
    least_level,
    rate_at,
    sized,
)
from autoscaler.simulator.baselines.packing import Wish, plan_for, ready_count, whole_gpu
from autoscaler.simulator.baselines.tuned import fast_for, kpa_for
from autoscaler.simulator.scenario import Load, Scenario
from kserve_has.gpu import H200
from kserve_has.loadgen.trace import Trace
from kserve_has.slo import Slo

from ..policy.worlds import SETTINGS, TABLE, gpus, piece, replica, service, world

TRACE = Trace((0.0, 1.0, 2.0), (10.0, 200.0, 10.0), 3.0)


def load(trace=TRACE):
    return Load("ns/a", "resnet50", 1, Slo(20.0, 99), trace)


def scenario(trace=TRACE):
    return Scenario((load(trace),), gpus=4, seconds=trace.end_s)


def test_whole_gpus_go_to_empty_gpus_first_fit():
    own = service(replicas=[replica("a", piece(0xFFFF, 100)), replica("b"), replica("c")])
    plan = plan_for(world([own], gpus(2)), {"ns/a": Wish(2, whole_gpu(H200))})
    placed = [a for a in plan.actions if isinstance(a, Place)]
    assert ["GPU-1"] == [p.allocation.gpu_uuid for p in placed]  # "c" finds no room
    (asked,) = [a for a in plan.actions if isinstance(a, SetScale)]
    assert (2, 1) == (asked.replicas, len(asked.victims))


def test_a_replica_set_deletes_what_is_not_ready_then_the_youngest():
    held = [
        replica("old", piece(0b1), age_s=90),
        replica("new", piece(0b10), age_s=5),
        replica("gated"),
    ]
    own = service(replicas=held)
    plan = plan_for(world([own]), {"ns/a": Wish(1, whole_gpu(H200))})
    (asked,) = [a for a in plan.actions if isinstance(a, SetScale)]
    assert ("gated", "new") == asked.victims
    assert ready_count(own) == 2


def test_bounds_of_the_service_hold_for_baselines_too():
    own = service(replicas=[replica("a", piece())], max_replicas=3)
    plan = plan_for(world([own]), {"ns/a": Wish(9, whole_gpu(H200))})
    assert [3] == [a.replicas for a in plan.actions if isinstance(a, SetScale)]


def test_the_clairvoyant_sizes_for_the_dearer_of_this_second_and_the_next():
    seer = Clairvoyant(scenario(), SETTINGS, TABLE)
    own = service(replicas=[replica("a", piece(0xFFFF, 100))])
    before = seer.decide(world([own], now_s=60.0), {}).actions
    (sized_for,) = [a for a in before if isinstance(a, Resize)]
    assert sized_for.capacity_rps >= 169.0  # the strongest there is, one second ahead
    after = seer.decide(world([own], now_s=62.0), {}).actions
    assert all(a.capacity_rps < 80 for a in after if isinstance(a, Resize))
    assert len(after) == 1


def test_a_level_is_the_least_whose_violations_are_within_the_limit():
    assert least_level(lambda level: 1.0 / level, 0.1, 100.0, 0.5) == pytest.approx(2.0, rel=0.15)


def test_the_rate_at_an_instant():
    assert [rate_at(TRACE, t) for t in (-5.0, 0.0, 1.5, 99.0)] == [10.0, 10.0, 200.0, 10.0]


def test_the_best_static_size_serves_the_rate():
    count, found = sized(service(), scenario(), SETTINGS, TABLE, 500.0)
    assert count * found.rps >= 500.0


def test_what_cannot_be_served_takes_everything():
    count, found = sized(service(), scenario(), SETTINGS, TABLE, 1e9)
    assert (4, 64) == (count, found.sm)


def test_the_number_of_replicas_that_is_cheapest_over_the_trace():
    calm = Trace((0.0,), (10.0,), 60.0)
    assert best_count(service(), load(calm), scenario(calm), SETTINGS, TABLE) == 1
    busy = Trace((0.0,), (550.0,), 60.0)
    assert best_count(service(), load(busy), scenario(busy), SETTINGS, TABLE) > 2


def test_settings_are_those_tuned_for_the_next_tighter_objective():
    assert kpa_for(2.5) == kpa_for(2.0) != kpa_for(3.0)
    assert fast_for(100.0) == fast_for(10.0)
    assert kpa_for(1.0) == kpa_for(1.5)
