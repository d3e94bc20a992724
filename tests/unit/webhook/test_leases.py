"""The folder of lease files in the pods of shared services."""

import pytest

from kserve_has import contract
from kserve_has.config.webhook import WebhookSettings
from webhook.pod import inject

WITH_LEASES = WebhookSettings(leases="/run/node-leases")
SHARED = {contract.OBJECTIVE_LATENCY: "100ms"}
EXCLUSIVE = {**SHARED, contract.ISOLATION: "exclusive"}
FOLDER = {"name": "KSERVE_HAS_LEASES", "value": "/run/kserve-has-leases"}


def pod(annotations):
    served = {"name": "kserve-container", "image": "model"}
    return {"metadata": {"annotations": dict(annotations)}, "spec": {"containers": [served]}}


def lease_parts(item):
    (served,) = item["spec"]["containers"]
    return (
        [entry for entry in served["env"] if "LEASES" in entry["name"]],
        [entry for entry in served["volumeMounts"] if "leases" in entry["name"]],
        [entry for entry in item["spec"]["volumes"] if "leases" in entry["name"]],
    )


def test_a_shared_pod_gets_the_folder_of_its_node_for_writing():
    environment, mounts, volumes = lease_parts(inject(pod(SHARED), WITH_LEASES))
    assert [FOLDER] == environment
    assert [{"name": "kserve-has-leases", "mountPath": FOLDER["value"]}] == mounts
    [volume] = volumes
    assert {"path": "/run/node-leases", "type": "DirectoryOrCreate"} == volume["hostPath"]


@pytest.mark.parametrize(
    ("annotations", "settings"), [(EXCLUSIVE, WITH_LEASES), (SHARED, WebhookSettings())]
)
def test_an_exclusive_pod_and_one_of_nodes_without_leases_get_nothing(annotations, settings):
    assert ([], [], []) == lease_parts(inject(pod(annotations), settings))


def test_applied_twice_is_applied_once_and_an_older_pod_is_completed():
    once = inject(pod(SHARED), WITH_LEASES)
    assert once is inject(once, WITH_LEASES)
    before = inject(pod(SHARED), WebhookSettings())
    assert [FOLDER] == lease_parts(inject(before, WITH_LEASES))[0]
