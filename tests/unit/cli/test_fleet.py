import pytest

from kserve_has.cli.fleet import decisions_of, replica_of, service_of, sm_counts_of
from kserve_has.errors import AnnotationError


def isvc(ready="True", **notes):
    keyed = {f"kserve-has/{key.replace('_', '-')}": value for key, value in notes.items()}
    return {
        "metadata": {"namespace": "team", "name": "net", "annotations": keyed},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def pod(phase="Running", ready="True", spec=None, deleted=False, **notes):
    keyed = {f"kserve-has/{key.replace('_', '-')}": value for key, value in notes.items()}
    metadata = {
        "namespace": "team",
        "name": "net-1",
        "labels": {"serving.kserve.io/inferenceservice": "net"},
        "annotations": {"kserve-has/injected": "0.1.0", **keyed},
    }
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": ready}]
    status = {"phase": phase, "conditions": conditions}
    return {"metadata": metadata, "spec": spec or {}, "status": status}


PLACED = {
    "gpu_uuid": "GPU-1",
    "sm_groups": "0x00ff",
    "sm_partition": "64",
    "quota": "40",
    "epoch": "3",
    "capacity_rps": "12.5",
}


def test_a_service_is_an_inference_service_with_an_objective():
    found = service_of(isvc(objective_latency="80ms", served_model="resnet50", batch="8"))
    assert (found.name, found.slo.latency_ms, found.slo.percentile) == ("team/net", 80.0, 95)
    assert (found.served_model, found.batch, found.ready) == ("resnet50", 8, True)
    assert service_of(isvc()) is None
    assert not service_of(isvc("False", objective_latency="80ms")).ready


def test_an_objective_that_cannot_be_read_names_its_service():
    with pytest.raises(AnnotationError, match="team/net: 'fast' is not a duration"):
        service_of(isvc(objective_latency="fast"))


def test_a_replica_shows_its_piece_and_what_is_in_force():
    found = replica_of(pod(**PLACED, in_force='{"epoch":2,"at":"2026-01-01T00:00:01.5Z"}'))
    assert (found.service, found.sm_partition, found.quota_percent) == ("team/net", 64, 40)
    assert (found.epoch, found.in_force_epoch, found.pending) == (3, 2, True)
    assert (found.sm_groups, found.capacity_rps) == (0xFF, 12.5)
    assert not replica_of(pod(**PLACED, in_force='{"epoch":3}')).pending


@pytest.mark.parametrize("text", ["", "{", "[]", '{"epoch":"x"}', '{"epoch":Infinity}'])
def test_an_acknowledgement_that_cannot_be_read_acknowledges_nothing(text):
    assert replica_of(pod(**PLACED, in_force=text)).in_force_epoch == 0


@pytest.mark.parametrize("key", ["quota", "epoch", "sm_groups", "capacity_rps"])
def test_a_pod_that_cannot_be_read_is_shown_with_what_is_wrong(key):
    found = replica_of(pod(**{**PLACED, key: "much"}))
    assert found.unreadable == (f"kserve-has/{key.replace('_', '-')}",)
    assert found.sm_partition == 64
    assert replica_of(pod(**PLACED)).unreadable == ()


def test_nodes_announce_how_many_sms_their_gpus_have():
    def node(gpus):
        return {"metadata": {"name": "n", "annotations": {"kserve-has/gpus": gpus}}}

    good = node('[{"uuid":"GPU-1","sm_count":132},{"uuid":"GPU-2","sm_count":108}]')
    bad = [node("{"), node('[{"uuid":"GPU-3"}]'), node("7"), {"metadata": {"name": "cpu"}}]
    assert sm_counts_of([*bad, good]) == {"GPU-1": 132, "GPU-2": 108}


def test_phases_follow_gate_readiness_and_deletion():
    gate = {"schedulingGates": [{"name": "kserve-has/placement"}]}
    assert replica_of(pod(ready="False", spec=gate)).phase == "gated"
    assert replica_of(pod(ready="False")).phase == "starting"
    assert replica_of(pod()).phase == "ready"
    assert replica_of(pod(deleted=True)).phase == "ending"


def test_foreign_and_ended_pods_are_no_replicas():
    foreign = pod()
    del foreign["metadata"]["annotations"]["kserve-has/injected"]
    assert replica_of(foreign) is None
    assert replica_of(pod(phase="Failed")) is None


def event(component="kserve-has-autoscaler", kind="InferenceService", **more):
    return {
        "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
        "involvedObject": {"kind": kind, "namespace": "team", "name": "net"},
        "reportingComponent": component,
        "reason": "DemandRose",
        "message": "because",
        **more,
    }


def test_decisions_are_the_autoscalers_events_on_inference_services_oldest_first():
    events = [
        event(lastTimestamp="2026-01-01T00:00:09Z", count=3),
        event(eventTime="2026-01-01T00:00:04Z"),
        event(component="kserve"),
        event(kind="Pod"),
    ]
    found = decisions_of(events)
    assert [(d.at, d.count) for d in found] == [
        ("2026-01-01T00:00:04Z", 1),
        ("2026-01-01T00:00:09Z", 3),
    ]
    assert found[0].service == "team/net"
