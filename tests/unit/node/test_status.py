from kserve_has.localstack.node import lifecycle
from kserve_has.localstack.node.lifecycle import ContainerState, PodState
from kserve_has.localstack.node.pod import restored
from kserve_has.localstack.node.spec import parse_pod
from kserve_has.localstack.node.status import ended, pod_status, timestamp

POD = {
    "metadata": {"uid": "u", "name": "p", "namespace": "n"},
    "spec": {
        "initContainers": [
            {"name": "init", "image": "i"},
            {"name": "side", "image": "i", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "main", "image": "i"}],
    },
}
DONE = lifecycle.after_exit(ContainerState(started_at=0.0), 1.0, 0)
UP = ContainerState(started_at=1.0, started=True, ready=True)


def status(state, now=10.0, pod=POD, earlier=None):
    addresses = ("10.0.0.2", "10.0.0.1")
    return pod_status(pod, earlier or {}, parse_pod(pod), state, addresses, now)


def truths(found):
    return {c["type"]: c["status"] for c in found["conditions"]}


def ready_state(**changes):
    return PodState({"init": DONE, "side": UP, "main": UP, **changes}, initialized=True)


def test_a_new_pod_is_pending_and_says_what_it_waits_for():
    found = status(PodState())
    assert ("Pending", "False") == (found["phase"], truths(found)["Initialized"])
    (initialized,) = (c for c in found["conditions"] if c["type"] == "Initialized")
    assert "['init', 'side']" in initialized["message"]
    assert "PodInitializing" == found["containerStatuses"][0]["state"]["waiting"]["reason"]


def test_a_pod_is_ready_when_sidecars_and_main_containers_are():
    found = status(ready_state())
    assert "Running" == found["phase"]
    assert {"True"} == set(truths(found).values())
    assert ("10.0.0.2", "10.0.0.1") == (found["podIP"], found["hostIP"])
    assert found["initContainerStatuses"][0]["ready"]
    not_side = status(ready_state(side=ContainerState(started_at=1.0, started=True)))
    assert "False" == truths(not_side)["Ready"]


def test_a_pod_that_is_being_deleted_is_not_ready():
    state = ready_state()
    state.stop_deadline = 20.0
    assert "False" == truths(status(state))["Ready"]


def test_a_readiness_gate_holds_ready_back_until_its_condition_is_true():
    gated = {**POD, "spec": {**POD["spec"], "readinessGates": [{"conditionType": "x/y"}]}}
    assert ("True", "False") == tuple(
        truths(status(ready_state(), pod=gated))[kind] for kind in ("ContainersReady", "Ready")
    )
    opened = {**gated, "status": {"conditions": [{"type": "x/y", "status": "True"}]}}
    assert "True" == truths(status(ready_state(), pod=opened))["Ready"]


def test_transition_times_and_start_time_change_only_with_what_they_date():
    first = status(ready_state(), now=10.0)
    second = status(ready_state(), now=20.0, earlier=first)
    assert first == second
    third = status(ready_state(main=ContainerState(started_at=1.0)), now=30.0, earlier=second)
    times = {c["type"]: c["lastTransitionTime"] for c in third["conditions"]}
    assert (timestamp(30.0), timestamp(10.0)) == (times["Ready"], times["Initialized"])
    assert timestamp(10.0) == third["startTime"]


def test_a_crashed_container_shows_its_signal_and_the_wait_for_the_next_start():
    crashed = lifecycle.after_exit(ContainerState(started_at=1.0), 5.0, -9)
    (main,) = status(ready_state(main=crashed))["containerStatuses"]
    assert "CrashLoopBackOff" == main["state"]["waiting"]["reason"]
    assert 137 == main["lastState"]["terminated"]["exitCode"]
    assert timestamp(5.0) == main["lastState"]["terminated"]["finishedAt"]


def test_a_finished_init_container_is_terminated_and_has_no_last_state():
    init = status(ready_state())["initContainerStatuses"][0]
    assert 0 == init["state"]["terminated"]["exitCode"]
    assert "lastState" not in init


def test_a_refusal_is_shown_as_a_waiting_reason():
    refused = lifecycle.after_refusal(ContainerState(), 0.0, "Bad", "why")
    (main,) = status(ready_state(main=refused))["containerStatuses"]
    assert {"reason": "Bad", "message": "why"} == main["state"]["waiting"]


def test_a_pod_that_never_restarts_succeeds_or_fails_with_its_containers():
    spec = {"restartPolicy": "Never", "containers": POD["spec"]["containers"]}
    pod = {**POD, "spec": spec}
    good = PodState({"main": DONE}, initialized=True)
    bad_exit = lifecycle.after_exit(ContainerState(started_at=0.0), 1.0, 3)
    bad = PodState({"main": bad_exit}, initialized=True)
    assert ("Succeeded", "Failed") == tuple(status(s, pod=pod)["phase"] for s in (good, bad))
    assert ended({"status": {"phase": "Failed"}})
    assert not ended({"status": {"phase": "Running"}})
    assert not ended({})


def test_a_new_stand_in_counts_restarts_on_from_the_last_one():
    found = status(ready_state())
    state = restored({**POD, "status": found})
    assert {"side", "main"} == state.containers.keys()
    again = lifecycle.after_start(state.containers["main"], 2.0, has_startup_probe=False)
    assert 1 == again.restarts
