"""The controller and the gateway on the whole stack, under the rights they are installed with."""

import asyncio
import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from autoscaler.controller.meters import counters_query, meters_of
from autoscaler.controller.observe import Objects, observe
from autoscaler.controller.prometheus import TrafficReader
from autoscaler.observations import look
from autoscaler.policy.observation import Traffic
from kserve_has import contract
from kserve_has.config.controller import ControllerSettings
from kserve_has.latency.table import load_table
from kserve_has.localstack.stack import LocalStack

pytestmark = [pytest.mark.stack, pytest.mark.slow]

SAMPLE = Path(__file__).parents[2] / "manifests" / "samples" / "resnet50.yaml"
NAMESPACE = "controller-stack"
NAME = "pictures"


def eventually(check, timeout_s):
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return found


def pods(stack: LocalStack):
    selector = f"-l{contract.KSERVE_ISVC_LABEL}={NAME}"
    text = stack.kubectl("get", "pods", "-n", NAMESPACE, selector, "-o", "json")
    return [p for p in json.loads(text)["items"] if "deletionTimestamp" not in p["metadata"]]


def ready_pods(stack: LocalStack):
    def is_ready(pod):
        conditions = pod.get("status", {}).get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    return [pod for pod in pods(stack) if is_ready(pod)]


def lease(stack: LocalStack):
    namespace = ("-n", contract.NAMESPACE)
    text = stack.kubectl("get", "lease", contract.LEASE_NAME, *namespace, "-o", "json")
    return json.loads(text)["spec"]


def status_through_gateway(stack: LocalStack):
    host = contract.gateway_host(NAME, NAMESPACE)
    url = f"{stack.gateway_url}/v2/models/{NAME}/ready"
    request = urllib.request.Request(url, headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def predict_until(stack: LocalStack, ended: threading.Event):
    url = f"{stack.gateway_url}/v1/models/{NAME}:predict"
    host = contract.gateway_host(NAME, NAMESPACE)
    headers = {"Host": host, "Content-Type": "application/json"}
    body = json.dumps({"instances": [[index] for index in range(8)]}).encode()
    while not ended.is_set():
        request = urllib.request.Request(url, data=body, headers=headers)
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request) as answer:
            answer.read()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def service(full_stack: LocalStack):
    """One replica of a service of our own, ready."""
    isvc = yaml.safe_load(SAMPLE.read_text())
    isvc["metadata"] |= {"name": NAME, "namespace": NAMESPACE}
    predictor = isvc["spec"]["predictor"]
    predictor["minReplicas"] = 1
    container = predictor["containers"][0]
    container["args"] = [NAME if arg == "resnet50" else arg for arg in container["args"]]
    container["args"][container["args"].index("--model") + 1] = "resnet50"
    container["readinessProbe"]["httpGet"]["path"] = f"/v2/models/{NAME}/ready"
    full_stack.kubectl("create", "namespace", NAMESPACE)
    full_stack.kubectl("apply", "-f", "-", stdin=json.dumps(isvc))
    eventually(lambda: ready_pods(full_stack), timeout_s=60)
    yield full_stack
    full_stack.kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=60s")


def test_a_replica_is_placed_with_a_piece_and_its_gate_lifted(service: LocalStack):
    (pod,) = ready_pods(service)
    notes = pod["metadata"]["annotations"]
    assert not pod["spec"].get("schedulingGates")
    assert notes[contract.GPU_UUID].startswith("GPU-")
    assert int(notes[contract.EPOCH]) >= 1
    assert pod["spec"]["nodeName"] in json.dumps(pod["spec"]["affinity"])


def test_a_ready_replica_is_reached_through_the_gateway(service: LocalStack):
    eventually(lambda: status_through_gateway(service) == 200, timeout_s=5)


def test_reasons_are_told_as_events_of_the_service(service: LocalStack):
    def told():
        about = f"involvedObject.name={NAME}"
        events = ("get", "events", "-n", NAMESPACE, f"--field-selector={about}", "-o", "json")
        items = json.loads(service.kubectl(*events))["items"]
        return {i["reason"] for i in items if i["reportingComponent"] == "kserve-has-autoscaler"}

    eventually(lambda: "NewReplica" in told(), timeout_s=5)


def test_a_killed_autoscaler_is_back_at_work_within_ten_seconds(service: LocalStack):
    former = lease(service)["holderIdentity"]
    killed = time.monotonic()
    service.kill("autoscaler")
    changed = json.dumps({"spec": {"predictor": {"minReplicas": 2}}})
    resource = ("inferenceservice", NAME, "-n", NAMESPACE)
    service.kubectl("patch", *resource, "--type=merge", "-p", changed)
    eventually(lambda: lease(service)["holderIdentity"] != former, timeout_s=15)
    assert time.monotonic() - killed < 10
    eventually(lambda: len(pods(service)) == 2, timeout_s=5)


def test_replicas_made_after_the_restart_become_ready_beside_the_former(service: LocalStack):
    found = eventually(lambda: len(ready_pods(service)) == 2 and ready_pods(service), 60)
    epochs = [int(pod["metadata"]["annotations"][contract.EPOCH]) for pod in found]
    assert all(epoch >= 1 for epoch in epochs)


def test_a_restarted_gateway_and_envoy_serve_on(service: LocalStack):
    service.kill("gateway")
    assert status_through_gateway(service) == 200
    service.kill("envoy")
    service.wait_ready("envoy")
    eventually(lambda: status_through_gateway(service) == 200, timeout_s=10)


async def test_what_a_request_takes_is_learnt_from_the_runtime_and_the_gateway(service: LocalStack):
    settings = ControllerSettings(observe_requests=20)
    reader = TrafficReader(service.prometheus_url, settings)

    def world():
        kinds = ("inferenceservices", "deployments", "pods", "nodes")
        found = (service.kubectl("get", kind, "-A", "-o", "json") for kind in kinds)
        objects = Objects(*(json.loads(text)["items"] for text in found))
        return observe(objects, lambda *_: Traffic(0.0), settings, 0.0, time.time())

    ended, found = threading.Event(), []
    load = threading.Thread(target=predict_until, args=(service, ended))
    load.start()
    try:
        marks, deadline = {}, time.monotonic() + 60
        while not found:
            assert time.monotonic() < deadline, "nothing clean was observed"
            await asyncio.sleep(3.0)
            now = time.time()
            rows = await reader.rows(counters_query())
            current = world()
            seen = look(marks, current.observation, meters_of(rows, current, now), settings)
            marks = seen.marks
            found += [one for one in seen.observed if one.batch == 8]
    finally:
        ended.set()
        load.join()
    one = found[0]
    measured = load_table().gpu_ms("resnet50", one.gpu_product, 8, one.sm)
    assert measured * 0.8 < one.gpu_ms < measured * 1.2


def test_no_right_is_missing(service: LocalStack):
    for name in ("autoscaler", "gateway"):
        log = (service.logs / f"{name}.log").read_text()
        assert " 403 " not in log
        assert "Traceback" not in log
