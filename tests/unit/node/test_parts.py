"""The small pure parts: addresses, probes' verdicts, specs."""

import pytest

from kserve_has.errors import StackError
from kserve_has.localstack.node.addresses import PodAddresses
from kserve_has.localstack.node.probing import Verdict
from kserve_has.localstack.node.register import node_object
from kserve_has.localstack.node.spec import ContainerSpec, Mount, Probe, parse_pod, program_of


def test_addresses_begin_after_the_nodes_own_and_are_used_again_as_late_as_possible():
    addresses = PodAddresses("10.1.0.0/29")
    assert "10.1.0.1" == addresses.node
    assert ["10.1.0.2", "10.1.0.3"] == [addresses.take("a"), addresses.take("b")]
    assert "10.1.0.2" == addresses.take("a")
    addresses.free("a")
    assert ["10.1.0.4", "10.1.0.5", "10.1.0.6", "10.1.0.2"] == [addresses.take(u) for u in "cdef"]


def test_a_full_node_says_so():
    addresses = PodAddresses("10.1.0.0/30")
    addresses.take("a")
    with pytest.raises(StackError, match="all 1 pod addresses"):
        addresses.take("b")


def test_a_pod_keeps_its_address_over_a_restart_of_the_stand_in_unless_it_is_held():
    addresses = PodAddresses("10.1.0.0/24")
    assert "10.1.0.9" == addresses.take("a", "10.1.0.9")
    assert "10.1.0.9" != addresses.take("b", "10.1.0.9")
    assert addresses.take("c", "10.9.0.9").startswith("10.1.0.")


def test_a_probe_holds_after_its_successes_and_fails_after_its_failures():
    verdict = Verdict(Probe(success_threshold=2, failure_threshold=3))
    results = [True, True, False, False, True, False, False, False]
    changes = [verdict.add(result) for result in results]
    assert [False, True, False, False, False, False, False, True] == changes
    assert verdict.passed is False


def test_a_probe_that_never_held_fails_only_at_its_threshold():
    verdict = Verdict(Probe(failure_threshold=2))
    assert [False, True] == [verdict.add(False), verdict.add(False)]


def test_a_pod_is_read_with_its_sidecars_probes_and_mounts():
    raw = {
        "name": "main",
        "image": "i",
        "ports": [{"name": "web", "containerPort": 8080}],
        "volumeMounts": [{"name": "v", "mountPath": "/run/v", "readOnly": True}],
        "readinessProbe": {
            "httpGet": {"path": "/ok", "port": "web", "httpHeaders": [{"name": "a", "value": "b"}]},
            "periodSeconds": 1,
        },
        "livenessProbe": {"tcpSocket": {"port": 9}},
        "startupProbe": {"grpc": {"port": 1}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
    }
    side = {"name": "side", "image": "i", "restartPolicy": "Always"}
    spec = parse_pod(
        {
            "metadata": {"uid": "u"},
            "spec": {
                "containers": [raw],
                "initContainers": [side],
                "terminationGracePeriodSeconds": 5,
            },
        }
    )
    (main,) = spec.main
    assert main.readiness == Probe("/ok", "http", 8080, headers=(("a", "b"),), period_s=1.0)
    assert (9, None, None) == (main.liveness.port, main.liveness.http_path, main.startup)
    assert (Mount("v", "/run/v", "", True),) == main.mounts
    assert (5.0, 3.0, ["side"]) == (
        spec.grace_s,
        main.pre_stop_sleep_s,
        [c.name for c in spec.sidecars],
    )


@pytest.mark.parametrize(
    ("image", "program"),
    [
        ("kserve-has/sidecar:0.1.0", ("kserve-has-sidecar",)),
        ("kserve-has/agent@sha256:00", ("kserve-has-agent",)),
        ("other:1", None),
    ],
)
def test_our_own_images_have_a_known_program(image, program):
    assert program == program_of(ContainerSpec("c", image))
    assert ("sh",) == program_of(ContainerSpec("c", image, command=("sh",)))


def test_a_node_is_dedicated_by_label_and_taint_and_ready_from_the_start():
    node = node_object("n", "10.0.0.1", 0.0)
    assert "true" == node["metadata"]["labels"]["kserve-has/gpu-node"]
    (taint,) = node["spec"]["taints"]
    assert ("kserve-has/gpu-node", "true", "NoSchedule") == tuple(taint.values())
    truths = {c["type"]: c["status"] for c in node["status"]["conditions"]}
    assert "True" == truths.pop("Ready")
    assert {"False"} == set(truths.values())
