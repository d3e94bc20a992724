"""The webhook as the real API server and KServe's real controller meet it."""

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from kserve_has import contract
from kserve_has.config.webhook import WebhookSettings
from kserve_has.localstack import kubeconfig, layout
from kserve_has.localstack.stack import LocalStack
from webhook.pod import inject

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "manifests" / "samples"
NAMESPACE = "webhook-test"
ACCOUNT = f"system:serviceaccount:{contract.NAMESPACE}:{contract.SERVICE_ACCOUNT_WEBHOOK}"


class Webhooks:
    """Webhook processes under their own ServiceAccount, and kubectl beside them."""

    def __init__(self, stack: LocalStack, folder: Path) -> None:
        self.stack = stack
        token = stack.kubectl(
            "create", "token", contract.SERVICE_ACCOUNT_WEBHOOK, "-n", contract.NAMESPACE
        )
        authority = stack.folder / "certs" / "ca.crt"
        self.config = folder / "webhook.yaml"
        kubeconfig.write_token(self.config, layout.API_URL, authority, token.strip())
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        # At its highest level the stack runs the webhook itself.
        self._own = "webhook" not in stack.processes()
        if self._own:
            self.start()

    def start(self, port: int = contract.WEBHOOK_PORT) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "webhook", "--kubeconfig", str(self.config)]
        log = (self._folder / f"{port}.log").open("ab")
        process = subprocess.Popen(
            [*command, "--listen", f"127.0.0.1:{port}"], stdout=log, stderr=log
        )
        log.close()
        self._processes.append(process)
        return process

    def restart(self) -> None:
        """Let the serving webhook end in good order and come back."""
        if self._own:
            self.stop()
            self.start()
        else:
            self.stack.restart("webhook")
        eventually(healthy)

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        assert [0] * len(self._processes) == [p.wait(10) for p in self._processes]
        self._processes.clear()

    def kubectl(self, *arguments: str, stdin: object = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", *arguments],
            input=None if stdin is None else json.dumps(stdin),
            capture_output=True,
            text=True,
            env=self.stack.environment(),
            cwd=ROOT,
            check=False,
            timeout=60,
        )

    def get(self, *arguments: str) -> dict:
        return json.loads(self.stack.kubectl("get", *arguments, "-ojson"))

    def create(self, item: dict, *arguments: str) -> dict:
        answer = self.kubectl("create", "-ojson", *arguments, "-f-", stdin=item)
        assert 0 == answer.returncode, answer.stderr
        return json.loads(answer.stdout)

    def bundles(self) -> set[str]:
        found = set()
        for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
            for webhook in self.get(kind, "zz-kserve-has")["webhooks"]:
                found.add(webhook["clientConfig"].get("caBundle", ""))
        return found


def eventually(check, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return found


def healthy(port: int = contract.WEBHOOK_PORT, authority: Path | None = None) -> bool:
    trust = ["--cacert", str(authority)] if authority else ["--insecure"]
    url = f"https://127.0.0.1:{port}/healthz"
    answer = subprocess.run(
        ["curl", "--silent", "--fail", *trust, url], capture_output=True, check=False
    )
    return b"ok" == answer.stdout


@pytest.fixture(scope="module")
def webhooks(kserve: LocalStack, tmp_path_factory):
    kserve.kubectl("apply", "-k", str(ROOT / "manifests/overlays/local"))
    running = Webhooks(kserve, tmp_path_factory.mktemp("webhook"))
    eventually(healthy)
    for namespace in (NAMESPACE, "has-demo"):
        item = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        running.kubectl("create", "-f-", stdin=item)
    # The API server takes a moment to notice who is registered.
    eventually(lambda: opted_in("probe", running))
    yield running
    running.kubectl("delete", "namespace", NAMESPACE, "--timeout=30s")
    running.stop()


def opted_in(name: str, running: Webhooks) -> bool:
    item = service(name)
    answer = running.kubectl("create", "--dry-run=server", "-ojson", "-f-", stdin=item)
    assert 0 == answer.returncode, answer.stderr
    annotations = json.loads(answer.stdout)["metadata"]["annotations"]
    return "external" == annotations.get(contract.KSERVE_AUTOSCALER_CLASS)


def service(name: str, **annotations: str) -> dict:
    (item,) = yaml.safe_load_all((SAMPLES / "resnet50.yaml").read_text())
    item["metadata"] |= {"name": name, "namespace": NAMESPACE}
    item["metadata"]["annotations"] |= {f"kserve-has/{k}": v for k, v in annotations.items()}
    return item


def pod(**annotations: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "a-",
            "namespace": NAMESPACE,
            "labels": {contract.KSERVE_ISVC_LABEL: "a", "component": "predictor"},
            "annotations": annotations,
        },
        "spec": {
            "containers": [
                {
                    "name": contract.KSERVE_CONTAINER,
                    "image": "kserve-has/model-server:0.1.0",
                    "env": [{"name": "LD_PRELOAD", "value": "/usr/lib/other.so"}],
                    "resources": {"limits": {"nvidia.com/gpu": 1}},
                }
            ]
        },
    }


def test_a_refused_service_is_answered_with_what_the_pages_print(webhooks):
    answer = webhooks.kubectl("apply", "-f", "manifests/samples/refused.yaml")
    assert 1 == answer.returncode
    page = (ROOT / "docs/reference/annotations.md").read_text(encoding="utf-8")
    assert answer.stderr.strip() in page
    # The README leaves kubectl's own words before it out.
    told = answer.stderr[answer.stderr.index("admission webhook") :].strip()
    assert told in (ROOT / "README.md").read_text(encoding="utf-8")
    assert 8 == answer.stderr.count("\n  - ")
    assert 1 == webhooks.kubectl("get", "isvc", "-nhas-demo", "refused").returncode


def test_kserve_makes_gated_pods_with_the_sidecar_and_no_autoscaler(webhooks):
    # More memory than any GPU has: an autoscaler that runs already lets it wait.
    webhooks.create(service("real", **{"gpu-memory": "1Ti"}))
    label = f"{contract.KSERVE_ISVC_LABEL}=real"
    (made,) = eventually(lambda: webhooks.get("pods", f"-n{NAMESPACE}", f"-l{label}")["items"])
    spec = made["spec"]
    assert [{"name": contract.SCHEDULING_GATE}] == spec["schedulingGates"]
    assert contract.SIDECAR_CONTAINER in [c["name"] for c in spec["initContainers"]]
    assert contract.KSERVE_CONTAINER == spec["containers"][0]["name"]
    assert "true" == spec["nodeSelector"][contract.NODE_LABEL]
    assert "1" == made["metadata"]["annotations"][contract.INJECTED]
    scalers = webhooks.get("horizontalpodautoscalers", f"-n{NAMESPACE}")["items"]
    assert [] == scalers


def test_a_service_without_objective_gets_pods_without_anything_of_ours(webhooks):
    item = service("plain")
    item["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": "none"}
    webhooks.create(item)
    label = f"{contract.KSERVE_ISVC_LABEL}=plain"
    (made,) = eventually(lambda: webhooks.get("pods", f"-n{NAMESPACE}", f"-l{label}")["items"])
    assert "kserve-has/" not in json.dumps(made).replace("kserve-has/model-server", "")
    assert "initContainers" not in made["spec"]


def test_a_dry_run_shows_the_injection_and_leaves_nothing(webhooks):
    annotations = {contract.OBJECTIVE_LATENCY: "1s"}
    shown = webhooks.create({**pod(**annotations)}, "--dry-run=server")
    (served,) = shown["spec"]["containers"]
    env = {entry["name"]: entry for entry in served["env"]}
    library = f"{contract.QUOTA_DIR}/{contract.LIBRARY_FILE}"
    assert f"{library}:/usr/lib/other.so" == env["LD_PRELOAD"]["value"]
    assert {} == served["resources"]
    name = shown["metadata"]["name"]
    assert 1 == webhooks.kubectl("get", "pod", f"-n{NAMESPACE}", name).returncode


def test_a_pod_that_comes_back_from_the_api_server_is_not_patched_again(webhooks):
    shown = webhooks.create(pod(**{contract.OBJECTIVE_LATENCY: "1s"}), "--dry-run=server")
    assert shown == inject(shown, WebhookSettings())


def test_one_whole_gpu_is_accepted_with_a_warning(webhooks):
    item = service("habit")
    (served,) = item["spec"]["predictor"]["containers"]
    served["resources"]["limits"]["nvidia.com/gpu"] = "1"
    answer = webhooks.kubectl("create", "--dry-run=server", "-f-", stdin=item)
    assert 0 == answer.returncode
    assert "Warning: spec.predictor.containers[0].resources has nvidia.com/gpu" in answer.stderr


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kserve-has/batch", "many"),
        ("kserve-has/epoch", "7"),
        ("serving.kserve.io/autoscalerClass", "hpa"),
    ],
)
def test_a_wrong_change_of_a_running_service_is_refused(webhooks, key, value):
    name = f"changed-{abs(hash(key)) % 1000}"
    webhooks.create(service(name))
    change = ("annotate", "isvc", name, f"-n{NAMESPACE}", "--overwrite", f"{key}={value}")
    answer = webhooks.kubectl(*change)
    assert 1 == answer.returncode
    assert f"{key} is {value!r}" in answer.stderr


def test_our_annotations_on_a_predictor_alone_are_refused(webhooks):
    item = service("inner")
    item["spec"]["predictor"]["annotations"] = item["metadata"].pop("annotations")
    answer = webhooks.kubectl("create", "-f-", stdin=item)
    assert 1 == answer.returncode
    assert "spec.predictor.annotations has kserve-has/batch; write it in" in answer.stderr


def test_our_annotations_on_a_canary_alone_are_refused(webhooks):
    item = service("inner-canary")
    annotations = item["metadata"].pop("annotations")
    model = {"modelFormat": {"name": "onnx"}, "storageUri": "pvc://claim/model"}
    item["spec"]["predictor"] = {"model": model}
    canary = {"name": "next", "model": model, "annotations": annotations}
    item["spec"]["canary"] = [{"trafficPercent": 10, "predictor": canary}]
    answer = webhooks.kubectl("create", "--dry-run=server", "-f-", stdin=item)
    assert "spec.canary[0].predictor.annotations has kserve-has/batch" in answer.stderr


def test_a_timeout_and_a_transformer_that_cannot_work_are_refused(webhooks):
    item = service("misled")
    item["spec"]["predictor"]["timeout"] = -5
    item["spec"]["transformer"] = {"containers": [{"name": "kserve-container", "image": "x"}]}
    answer = webhooks.kubectl("create", "-f-", stdin=item)
    assert "spec.predictor.timeout is -5" in answer.stderr
    assert "spec.transformer would get no requests" in answer.stderr


def test_a_canary_is_checked_and_a_good_one_accepted(webhooks):
    item = service("canaried")
    model = {"modelFormat": {"name": "onnx"}, "storageUri": "pvc://claim/model"}
    item["spec"]["predictor"] = {"model": model}
    canary = {"name": "next", "model": {**model, "resources": {"limits": {"nvidia.com/gpu": 2}}}}
    item["spec"]["canary"] = [{"trafficPercent": 10, "predictor": canary}]
    answer = webhooks.kubectl("create", "--dry-run=server", "-f-", stdin=item)
    assert "spec.canary[0].predictor.model.resources has nvidia.com/gpu '2'" in answer.stderr
    del canary["model"]["resources"]
    answer = webhooks.kubectl("create", "--dry-run=server", "-f-", stdin=item)
    assert 0 == answer.returncode, answer.stderr


def test_what_was_stored_before_the_webhook_came_can_be_deleted(webhooks):
    webhooks.stack.kubectl("delete", "validatingwebhookconfiguration", "zz-kserve-has")
    try:
        wrong = service("old", batch="many")
        eventually(lambda: 0 == webhooks.kubectl("create", "-f-", stdin=wrong).returncode)
    finally:
        webhooks.stack.kubectl("apply", "-k", str(ROOT / "manifests/overlays/local"))
    # A registration made anew is trusted from the keeper's next look on.
    eventually(lambda: 1 == len(webhooks.bundles()), timeout_s=60)
    refused = ("annotate", "isvc", "old", f"-n{NAMESPACE}", "example.com/a=b", "--overwrite")
    eventually(lambda: "denied" in webhooks.kubectl(*refused, "--dry-run=server").stderr)
    answer = webhooks.kubectl("delete", "isvc", "old", f"-n{NAMESPACE}", "--timeout=30s")
    assert 0 == answer.returncode, answer.stderr


def test_a_service_taken_out_as_the_install_page_says_is_scaled_by_kserve(webhooks):
    webhooks.create(service("out", priority="200"))
    page = (ROOT / "docs/how-to/install.md").read_text(encoding="utf-8")
    command = page[page.index("kubectl -n NAMESPACE annotate") :].partition("```")[0]
    words = command.replace("\\\n", " ").replace("NAMESPACE", NAMESPACE).split()
    answer = webhooks.kubectl(*("out" if word == "NAME" else word for word in words[1:]))
    assert 0 == answer.returncode, answer.stderr
    left = webhooks.get("isvc", f"-n{NAMESPACE}", "out")["metadata"]["annotations"]
    assert [] == [key for key in left if key.startswith(contract.PREFIX)]
    scaler = ("get", "hpa", f"-n{NAMESPACE}", "out-predictor")
    eventually(lambda: 0 == webhooks.kubectl(*scaler).returncode)


def test_a_service_can_be_deleted_while_the_webhook_is_away(webhooks):
    webhooks.create(service("left"))
    held = ("isvc", f"-n{NAMESPACE}", "left")
    eventually(lambda: webhooks.get(*held)["metadata"].get("finalizers"))
    nobody = {
        "op": "replace",
        "path": "/webhooks/0/clientConfig/url",
        "value": "https://127.0.0.1:9/",
    }
    kinds = ("mutatingwebhookconfiguration", "validatingwebhookconfiguration")
    try:
        for kind in kinds:
            away = ("patch", kind, "zz-kserve-has", "--type=json", "-p", json.dumps([nobody]))
            webhooks.stack.kubectl(*away)
        touch = (
            "annotate",
            "isvc",
            "left",
            f"-n{NAMESPACE}",
            "example.com/a=b",
            "--dry-run=server",
        )
        eventually(lambda: "failed calling webhook" in webhooks.kubectl(*touch).stderr)
        answer = webhooks.kubectl("delete", "isvc", "left", f"-n{NAMESPACE}", "--timeout=20s")
        assert 0 == answer.returncode, answer.stderr
    finally:
        webhooks.stack.kubectl("apply", "-k", str(ROOT / "manifests/overlays/local"))
    eventually(lambda: opted_in("again", webhooks))


@pytest.mark.parametrize(
    ("verb", "what", "allowed"),
    [
        ("get", f"secret/kserve-has-webhook-tls -n {contract.NAMESPACE}", "yes"),
        ("get", f"secret/other -n {contract.NAMESPACE}", "no"),
        ("list", f"secrets -n {contract.NAMESPACE}", "no"),
        ("get", "secret/kserve-has-webhook-tls -n default", "no"),
        ("patch", "mutatingwebhookconfiguration/zz-kserve-has", "yes"),
        ("patch", "mutatingwebhookconfiguration/other", "no"),
        ("create", "mutatingwebhookconfigurations", "no"),
        ("patch", f"pods -n {NAMESPACE}", "no"),
        ("get", f"inferenceservices.serving.kserve.io -n {NAMESPACE}", "no"),
    ],
)
def test_the_webhook_may_do_what_it_needs_and_no_more(webhooks, verb, what, allowed):
    answer = webhooks.kubectl("auth", "can-i", verb, *what.split(), f"--as={ACCOUNT}")
    assert allowed == answer.stdout.strip()


def test_a_restart_keeps_the_authority_and_a_lost_one_is_put_back(webhooks):
    (before,) = webhooks.bundles()
    webhooks.restart()
    assert {before} == webhooks.bundles()
    lost = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
    webhooks.stack.kubectl(
        "patch",
        "validatingwebhookconfiguration",
        "zz-kserve-has",
        "--type=json",
        "-p",
        json.dumps(lost),
    )
    eventually(lambda: {before} == webhooks.bundles())


def test_two_that_start_at_once_share_one_authority(webhooks, tmp_path):
    webhooks.stop()
    webhooks.stack.kubectl("delete", "secret", "kserve-has-webhook-tls", f"-n{contract.NAMESPACE}")
    other = 9447
    webhooks.start()
    webhooks.start(other)
    eventually(lambda: healthy() and healthy(other))
    secret = webhooks.get("secret", "kserve-has-webhook-tls", f"-n{contract.NAMESPACE}")
    assert {secret["data"]["ca.crt"]} == webhooks.bundles()
    authority = tmp_path / "ca.crt"
    authority.write_bytes(base64.b64decode(secret["data"]["ca.crt"]))
    assert healthy(authority=authority)
    assert healthy(other, authority)
