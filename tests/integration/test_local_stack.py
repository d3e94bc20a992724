"""The local stack's control plane and KServe are the real ones and behave like it."""

import json
import subprocess
import sys
import time

import pytest

from kserve_has.errors import StackError
from kserve_has.localstack.cluster import Cluster
from kserve_has.localstack.stack import LocalStack

pytestmark = pytest.mark.stack

SERVICE = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {
        "name": "plain",
        "namespace": "default",
        "annotations": {"serving.kserve.io/autoscalerClass": "external"},
    },
    "spec": {
        "predictor": {
            "containers": [
                {"name": "kserve-container", "image": "kserve-has/model-server:0.1.0"},
            ]
        }
    },
}


def eventually(check, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return found


def test_the_api_server_is_the_pinned_release(control_plane: LocalStack):
    version = json.loads(control_plane.kubectl("version", "--output=json"))
    assert "v1.36.2" == version["serverVersion"]["gitVersion"]


def test_a_deployment_gets_its_pods_from_the_real_controllers(control_plane: LocalStack):
    control_plane.kubectl("create", "deployment", "web", "--image=none", "--replicas=2")
    try:
        pods = eventually(lambda: control_plane.kubectl("get", "pods", "-lapp=web", "-oname"))
        assert pods.startswith("pod/web-")
    finally:
        control_plane.kubectl("delete", "deployment", "web")


def test_a_node_may_not_touch_another_node(control_plane: LocalStack):
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "other"}}
    identities = control_plane._assembly.identities
    config = identities.client("node-a", "system:node:a", "system:nodes")
    cluster = Cluster(control_plane._parts.binary("kubectl"), config)
    with pytest.raises(StackError, match="is not allowed to modify node"):
        control_plane._call(cluster.kubectl("create", "-f-", stdin=json.dumps(node)))


def test_a_killed_process_comes_back(control_plane: LocalStack):
    before = control_plane.processes()["kube-scheduler"]
    control_plane.kill("kube-scheduler")
    control_plane.wait_ready("kube-scheduler")
    assert before != control_plane.processes()["kube-scheduler"]
    assert 2 == control_plane.starts("kube-scheduler")


def test_kserve_makes_a_deployment_in_standard_mode(kserve: LocalStack):
    kserve.kubectl("apply", "-f-", stdin=json.dumps(SERVICE))
    try:
        eventually(
            lambda: (
                "deployment.apps/plain-predictor"
                in kserve.kubectl("get", "deployments", "-oname", "-ndefault")
            )
        )
        assert "" == kserve.kubectl("get", "horizontalpodautoscalers", "-oname", "-ndefault")
    finally:
        kserve.kubectl("delete", "inferenceservice", "plain")


def test_kserve_refuses_what_its_webhook_refuses(kserve: LocalStack):
    bad = json.loads(json.dumps(SERVICE))
    bad["metadata"]["name"] = "1st-plain"  # a name for Kubernetes, not for KServe
    with pytest.raises(StackError, match=r"admission webhook .*kserve"):
        kserve.kubectl("apply", "-f-", stdin=json.dumps(bad))


def test_leaving_the_stack_leaves_no_process(tmp_path):
    script = (
        "import sys; from pathlib import Path;"
        "from kserve_has.localstack.stack import LocalStack, StackOptions;"
        "o = StackOptions(level='control-plane', out=Path(sys.argv[1]));"
        "s = LocalStack.up(o); up = s.__enter__(); pids = list(up.processes().values());"
        "s.__exit__(None, None, None); print(*pids)"
    )
    namespace = [sys.executable, "-m", "kserve_has.localstack.namespace", "--"]
    check = 'for p in $("$@"); do kill -0 $p 2>/dev/null && exit 9; done; exit 0'
    command = [*namespace, "bash", "-c", check, "-", sys.executable, "-c", script, str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert (0, "") == (answer.returncode, answer.stderr)
