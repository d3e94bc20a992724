import pytest

from kserve_has.demo.timeline import Timeline

SERVICE = "has-demo/resnet50"


def test_gpu_seconds_integrate_space_times_time_until_the_pod_is_gone(replica):
    timeline = Timeline()
    timeline.note(0.0, replica())  # 66 of 132 SMs, half of the time: a quarter of a GPU
    timeline.note(4.0, replica(quota_percent=100, epoch=2))
    timeline.gone(6.0, "has-demo", "resnet50-a")
    assert timeline.gpu_seconds(SERVICE, 0, 10) == pytest.approx(4 * 0.25 + 2 * 0.5)
    assert timeline.gpu_seconds(SERVICE, 3, 5) == pytest.approx(0.25 + 0.5)
    assert timeline.whole_gpu_seconds(SERVICE, 0, 10) == pytest.approx(6)


def test_a_gated_replica_costs_nothing_and_another_service_is_not_counted(replica):
    timeline = Timeline()
    timeline.note(0.0, replica(phase="gated", gpu_uuid="", sm_partition=0, quota_percent=0))
    timeline.note(0.0, replica("bert-a", service="has-demo/bert"))
    assert timeline.gpu_seconds(SERVICE, 0, 10) == 0
    assert timeline.whole_gpu_seconds(SERVICE, 0, 10) == 0


def test_a_terminating_replica_is_paid_for_until_it_is_gone(replica):
    timeline = Timeline()
    timeline.note(0.0, replica())
    timeline.note(2.0, replica(phase="ending"))
    timeline.gone(5.0, "has-demo", "resnet50-a")
    assert timeline.whole_gpu_seconds(SERVICE, 0, 10) == pytest.approx(5)


def test_only_what_came_into_force_on_a_running_replica_is_a_resize(replica):
    timeline = Timeline()
    timeline.note(0.0, replica(in_force_epoch=0))
    timeline.note(0.5, replica())
    timeline.note(2.0, replica(quota_percent=80, epoch=2))
    assert timeline.resizes(SERVICE, 0, 10) == 0
    timeline.note(2.25, replica(quota_percent=80, epoch=2, in_force_epoch=2))
    assert timeline.resizes(SERVICE, 0, 10) == 1
    change = timeline.changes(SERVICE, 1, 10)[0]
    assert (change.before, change.after) == (66 * 50, 66 * 80)
    assert change.took_ms == pytest.approx(250)


def test_a_replica_that_was_there_before_is_neither_cold_start_nor_scale_out(replica):
    timeline = Timeline()
    timeline.note(-3.0, replica())
    timeline.note(5.0, replica("resnet50-b", phase="gated", epoch=0, in_force_epoch=0))
    timeline.note(7.0, replica("resnet50-b"))
    assert timeline.cold_starts(SERVICE, 0, 10) == 1
    assert timeline.scale_outs(SERVICE, 0, 10) == 1
    assert timeline.scale_ins(SERVICE, 0, 10) == 0


def test_a_replica_told_to_end_is_one_scale_in_however_it_leaves(replica):
    timeline = Timeline()
    for pod in ("a", "b"):
        timeline.note(0.0, replica(pod))
    timeline.note(4.0, replica("a", phase="ending"))
    timeline.gone(6.0, "has-demo", "a")
    timeline.gone(7.0, "has-demo", "b")
    assert timeline.scale_ins(SERVICE, 0, 5) == 1
    assert timeline.scale_ins(SERVICE, 0, 10) == 2


def test_a_moment_shows_each_replica_as_it_was_then(replica):
    timeline = Timeline()
    timeline.note(1.0, replica())
    timeline.note(3.0, replica(quota_percent=90))
    timeline.gone(5.0, "has-demo", "resnet50-a")
    looks = [[r.quota_percent for r in timeline.at(t, SERVICE)] for t in (0, 2, 3, 5)]
    assert looks == [[], [50], [90], []]
