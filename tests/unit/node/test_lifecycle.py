from dataclasses import replace

import pytest

from kserve_has.localstack.node import lifecycle
from kserve_has.localstack.node.lifecycle import (
    ContainerState,
    Exit,
    Finish,
    Kill,
    PodState,
    Start,
    Stop,
    decide,
    next_wake,
)
from kserve_has.localstack.node.spec import ContainerSpec, PodSpec, Probe

PLAIN = ContainerSpec("plain", "i", is_init=True)
SIDE = ContainerSpec("side", "i", startup=Probe(port=1), is_init=True, is_sidecar=True)
LAST = ContainerSpec("last", "i", is_init=True, is_sidecar=True)
MAIN = ContainerSpec("main", "i")


def pod(*init, restart_policy="Always"):
    return PodSpec("u", init, (MAIN,), restart_policy)


def running(at=0.0, **more):
    return ContainerState(started_at=at, started=True, ready=True, **more)


def exited(code=0, at=5.0):
    return lifecycle.after_exit(running(), at, code)


def state(**containers):
    return PodState(containers)


def test_init_containers_run_one_after_the_other_before_the_main_ones():
    spec = pod(PLAIN, SIDE)
    assert [Start("plain")] == decide(spec, state(), 0.0)
    assert [] == decide(spec, state(plain=running()), 0.0)
    assert [Start("side")] == decide(spec, state(plain=exited()), 0.0)


def test_what_follows_a_sidecar_waits_for_its_startup_probe():
    spec = pod(SIDE)
    starting = ContainerState(started_at=0.0)
    assert [] == decide(spec, state(side=starting), 0.0)
    assert [Start("main")] == decide(spec, state(side=replace(starting, started=True)), 0.0)


def test_a_failed_init_container_is_tried_again_after_its_back_off():
    held = state(plain=exited(code=1, at=5.0))
    assert [] == decide(pod(PLAIN), held, 5.5)
    assert [Start("plain")] == decide(pod(PLAIN), held, 6.0)
    assert 6.0 == next_wake(pod(PLAIN), held, 5.5)


def test_a_pod_that_never_restarts_fails_with_its_init_container():
    spec = pod(PLAIN, restart_policy="Never")
    held = state(plain=exited(code=1))
    assert lifecycle.finished(spec, held)
    assert [Finish()] == decide(spec, held, 99.0)


def test_a_crashed_container_waits_twice_as_long_each_time_up_to_a_limit():
    held, waits = ContainerState(), []
    for _ in range(7):
        held = lifecycle.after_start(held, 0.0, has_startup_probe=False)
        held = lifecycle.after_exit(held, 1.0, 1)
        waits.append(held.restart_at - 1.0)
    assert [1, 2, 4, 8, 16, 30, 30] == waits
    assert 6 == held.restarts


def test_a_long_run_starts_the_back_off_over():
    held = ContainerState(started_at=0.0, backoff_s=30.0)
    assert 1.0 == lifecycle.after_exit(held, 60.0, 1).backoff_s


def test_init_containers_are_not_run_again_once_the_pod_is_initialized():
    held = state(plain=exited(), main=running())
    assert [] == decide(pod(PLAIN), held, 10.0)
    held.containers["main"] = exited(code=1, at=10.0)
    assert [Start("main")] == decide(pod(PLAIN), held, 11.0)


def test_a_sidecar_that_dies_comes_back_without_disturbing_the_main_container():
    held = state(side=running(), main=running())
    decide(pod(SIDE), held, 0.0)
    held.containers["side"] = exited(code=1, at=10.0)
    assert [Start("side")] == decide(pod(SIDE), held, 11.0)


def test_main_containers_end_first_then_sidecars_last_started_first():
    spec = pod(SIDE, LAST)
    held = state(side=running(), last=running(), main=running())
    held.stop_deadline = 30.0
    assert [Stop("main")] == decide(spec, held, 0.0)
    held.containers["main"] = lifecycle.after_stop(running(), 0.0, 30.0, 30.0)
    assert [] == decide(spec, held, 1.0)
    held.containers["main"] = exited()
    assert [Stop("last")] == decide(spec, held, 2.0)
    held.containers["last"] = exited()
    assert [Stop("side")] == decide(spec, held, 3.0)
    held.containers["side"] = exited()
    assert [Finish()] == decide(spec, held, 4.0)


def test_a_container_that_outlives_its_grace_is_killed():
    held = state(main=lifecycle.after_stop(running(), 0.0, 30.0, 10.0))
    held.stop_deadline = 10.0
    assert [] == decide(pod(), held, 9.9)
    assert 10.0 == next_wake(pod(), held, 9.9)
    assert [Kill("main")] == decide(pod(), held, 10.0)


def test_a_sidecar_gets_two_seconds_however_late_its_pod_is():
    held = lifecycle.after_stop(running(), 10.0, 30.0, 10.0)
    assert 12.0 == held.kill_at


def test_a_deleted_pod_starts_nothing_any_more():
    held = state()
    held.stop_deadline = 5.0
    assert [Finish()] == decide(pod(PLAIN, SIDE), held, 0.0)


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy_says_who_is_started_again(policy, code, again):
    spec = pod(restart_policy=policy)
    held = PodState({"main": exited(code)}, initialized=True)
    assert again == lifecycle.will_restart(spec, held, MAIN)
    assert ([Start("main")] if again else [Finish()]) == decide(spec, held, 99.0)


def test_a_refused_start_is_tried_again_later_and_remembers_why():
    held = lifecycle.after_refusal(ContainerState(), 0.0, "Bad", "no such image")
    assert (("Bad", "no such image"), 1.0) == (held.refusal, held.restart_at)
    assert [] == decide(pod(), state(main=held), 0.5)
    assert [Start("main")] == decide(pod(), state(main=held), 1.0)
    assert lifecycle.after_start(held, 1.0, has_startup_probe=False).refusal is None


def test_a_restart_forgets_readiness_and_termination():
    held = lifecycle.after_stop(running(), 0.0, 1.0, None)
    assert 1.0 == held.kill_at
    again = lifecycle.after_start(replace(held, last=Exit(0, 0, 0)), 2.0, has_startup_probe=True)
    assert (False, False, None, None, 1) == (
        again.started,
        again.ready,
        again.kill_at,
        again.stop_sent_at,
        again.restarts,
    )
