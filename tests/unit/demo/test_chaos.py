import pytest

from kserve_has.demo.chaos import overcommitted_gpus, recovery_s, replica_balance, schedule
from kserve_has.loadgen.plan import Outcome
from kserve_has.slo import Slo

SLO = Slo(100.0, 95)


def steady(bad_from, bad_until, end=40):
    return [
        Outcome(t / 10, t / 10, 500.0 if bad_from <= t / 10 < bad_until else 10.0, 200)
        for t in range(end * 10)
    ]


def test_parts_are_killed_in_order_at_their_shares_of_the_run():
    times, parts = zip(*schedule(100), strict=True)
    assert times == pytest.approx((25, 40, 55, 70))
    assert parts == ("autoscaler", "webhook", "pod", "agent")


def test_without_violations_there_is_nothing_to_recover_from():
    assert recovery_s(10, 40, steady(0, 0), SLO) == (0.0, True)


def test_recovery_ends_with_the_last_violation_of_a_stretch_that_missed():
    took, recovered = recovery_s(10, 40, steady(11, 14), SLO)
    assert took == pytest.approx(3.9)
    assert recovered


def test_violations_before_the_kill_are_not_charged_to_it():
    assert recovery_s(10, 40, steady(5, 10), SLO) == (0.0, True)


def test_a_miss_that_lasts_until_the_next_kill_has_not_recovered():
    took, recovered = recovery_s(10, 20, steady(12, 30), SLO)
    assert took == pytest.approx(9.9)
    assert not recovered


def test_a_share_within_the_objective_is_no_miss():
    outcomes = [Outcome(t / 10, t / 10, 500.0 if t % 25 == 0 else 10.0, 200) for t in range(400)]
    assert recovery_s(10, 40, outcomes, SLO) == (0.0, True)


def test_replicas_are_balanced_against_what_deployments_ask_for(replica):
    pods = [replica("a"), replica("b"), replica("c", phase="ending")]
    assert replica_balance({"has-demo/resnet50": 2}, pods) == (0, 0)
    assert replica_balance({"has-demo/resnet50": 3}, pods) == (1, 0)
    assert replica_balance({"has-demo/resnet50": 1}, pods) == (0, 1)


def test_a_gpu_promised_twice_is_found(replica):
    piece = {"sm_groups": 0x0F, "sm_partition": 32, "quota_percent": 60}
    fine = [replica("a", **piece), replica("b", **{**piece, "quota_percent": 40})]
    assert overcommitted_gpus(fine) == 0
    assert overcommitted_gpus([*fine, replica("c", **piece)]) == 1
    assert overcommitted_gpus([replica("a", **piece), replica("b", **piece, gpu_uuid="GPU-2")]) == 0


def test_a_bitmap_that_does_not_add_up_to_its_sms_is_overcommitted(replica):
    assert overcommitted_gpus([replica("a", sm_groups=0x1, sm_partition=64)]) == 1
