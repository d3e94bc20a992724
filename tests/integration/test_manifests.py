"""The manifests as kubectl builds them and the real API server takes them."""

import asyncio
import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from kserve_has import contract
from kserve_has.kube import ApiError, JsonObject, KubeClient
from kserve_has.kube.resources import NODES, PODS, Resource
from kserve_has.localstack import kubeconfig, layout
from kserve_has.localstack.stack import LocalStack
from quota_runtime.agent.mps.__main__ import LOGS

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
OTHERS = "of its own node only"
HARMLESS = {"metadata": {"annotations": {contract.IN_FORCE: "{}"}}}


def asked(
    stack: LocalStack, *arguments: str, stdin: object = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["kubectl", *arguments],
        input=None if stdin is None else json.dumps(stdin),
        capture_output=True,
        text=True,
        env=stack.environment(),
        check=False,
        timeout=60,
    )


@pytest.fixture(scope="module", autouse=True)
def _accounts(kserve):
    for part in ("common", "rbac"):
        kserve.kubectl("apply", "-k", str(ROOT / "manifests/base" / part))


@pytest.mark.parametrize("folder", ["base", "overlays/local", "overlays/cluster", "samples"])
def test_manifests_build(kserve, folder):
    built = kserve.kubectl("kustomize", str(ROOT / "manifests" / folder))
    assert all(document["kind"] for document in yaml.safe_load_all(built))


def test_the_workloads_are_accepted_by_the_api_server(kserve):
    built = kserve.kubectl("kustomize", str(ROOT / "manifests/base"))
    # The registrations are there already, on loopback.
    items = [d for d in yaml.safe_load_all(built) if "WebhookConfiguration" not in d["kind"]]
    content = {"apiVersion": "v1", "kind": "List", "items": items}
    strictly = ("--dry-run=server", "--validate=strict")
    answer = asked(kserve, "apply", *strictly, "-f-", stdin=content)
    assert (0, "") == (answer.returncode, answer.stderr)
    assert 4 == answer.stdout.count("apps/kserve-has-")


def test_the_local_overlay_has_no_workloads(kserve):
    built = kserve.kubectl("kustomize", str(ROOT / "manifests/overlays/local"))
    kinds = {document["kind"] for document in yaml.safe_load_all(built)}
    assert not kinds & {"Deployment", "DaemonSet", "StatefulSet", "Pod", "Service"}


def built_with(kserve, tmp_path, component):
    manifests = Path("../" * len(tmp_path.parts)) / str(ROOT / "manifests").lstrip("/")
    content = {
        "resources": [str(manifests / "base")],
        "components": [str(manifests / "components" / component)],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return list(yaml.safe_load_all(kserve.kubectl("kustomize", str(tmp_path))))


def test_images_and_profiles_are_taken_from_an_overlay_as_the_install_page_says(kserve, tmp_path):
    manifests = Path("../" * len(tmp_path.parts)) / str(ROOT / "manifests").lstrip("/")
    (tmp_path / "a.profile.json").write_text("{}")
    content = {
        "resources": [str(manifests / "samples"), str(manifests / "base/autoscaler")],
        "images": [
            {"name": f"kserve-has/{name}", "newName": f"registry.example/kserve-has/{name}"}
            for name in ("model-server", "autoscaler")
        ],
        "configMapGenerator": [
            {
                "name": "kserve-has-profiles",
                "namespace": contract.NAMESPACE,
                "files": ["a.profile.json"],
            }
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content))
    built = list(yaml.safe_load_all(kserve.kubectl("kustomize", str(tmp_path))))
    services = [d for d in built if d["kind"] == "InferenceService"]
    images = {c["image"] for d in services for c in d["spec"]["predictor"]["containers"]}
    assert images == {"registry.example/kserve-has/model-server:0.1.0"}
    (profiles,) = [d["metadata"]["name"] for d in built if d["kind"] == "ConfigMap"]
    (deployment,) = [d for d in built if d["kind"] == "Deployment"]
    volumes = {v["name"]: v for v in deployment["spec"]["template"]["spec"]["volumes"]}
    assert volumes["profiles"]["configMap"]["name"] == profiles
    assert profiles.startswith("kserve-has-profiles-")


def test_the_mps_component_adds_a_daemon_and_tells_agent_and_webhook_of_it(kserve, tmp_path):
    built = built_with(kserve, tmp_path, "mps")
    items = [d for d in built if "WebhookConfiguration" not in d["kind"]]
    strictly = ("--dry-run=server", "--validate=strict")
    stdin = {"apiVersion": "v1", "kind": "List", "items": items}
    answer = asked(kserve, "apply", *strictly, "-f-", stdin=stdin)
    assert (0, "") == (answer.returncode, answer.stderr)
    pods = {
        d["metadata"]["name"]: d["spec"]["template"]["spec"]
        for d in items
        if "apps/" in d["apiVersion"]
    }
    (agent,) = pods["kserve-has-agent"]["containers"]
    (daemon,) = pods["kserve-has-mps"]["containers"]
    (webhook,) = pods["kserve-has-webhook"]["containers"]
    assert "--mps=adopt" in agent["args"]
    assert pods["kserve-has-agent"]["hostPID"]
    assert pods["kserve-has-mps"]["hostPID"]
    assert "--mps-pipes=/run/kserve-has-mps" in webhook["args"]
    for container in (agent, webhook):
        assert f"--leases={contract.LEASES_DIR}" in container["args"]
    writable = {m["mountPath"] for m in agent["volumeMounts"] if not m.get("readOnly")}
    assert contract.LEASES_DIR in writable
    for container in (agent, daemon):
        places = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
        assert (contract.MPS_DIR, str(LOGS)) == (places["pipes"], places["logs"])
        (drivers,) = [e for e in container["env"] if e["name"] == "NVIDIA_DRIVER_CAPABILITIES"]
        assert "compute,utility" == drivers["value"]


def test_cert_manager_takes_the_certificate_over(kserve, tmp_path):
    built = built_with(kserve, tmp_path, "cert-manager")
    injected = "cert-manager.io/inject-ca-from"
    marked = {d["kind"] for d in built if injected in (d["metadata"].get("annotations") or {})}
    assert {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} == marked
    (deployment,) = [
        d
        for d in built
        if (d["kind"], d["metadata"]["name"]) == ("Deployment", "kserve-has-webhook")
    ]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert "--tls-dir=/run/tls" in container["args"]


class Agents:
    """Two nodes, a pod on each, and what a stolen token of the first one's agent can do."""

    def __init__(self, stack: LocalStack, folder: Path) -> None:
        self._stack = stack
        self.nodes = ("policy-a", "policy-b")
        for name in self.nodes:
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": contract.NAMESPACE},
                "spec": {
                    "nodeName": name,
                    "serviceAccountName": contract.SERVICE_ACCOUNT_AGENT,
                    "containers": [{"name": "a", "image": "first"}],
                    "tolerations": [{"operator": "Exists"}],
                },
            }
            for item in (node, pod):
                answer = asked(stack, "apply", "-f-", stdin=item)
                assert answer.returncode == 0, answer.stderr
        bound = ("--bound-object-kind=Pod", f"--bound-object-name={self.nodes[0]}")
        account = (contract.SERVICE_ACCOUNT_AGENT, f"-n{contract.NAMESPACE}")
        token = stack.kubectl("create", "token", *account, *bound).strip()
        authority = stack.folder / "certs" / "ca.crt"
        self._config = folder / "agent.yaml"
        kubeconfig.write_token(self._config, layout.API_URL, authority, token)

    def patch(self, resource: Resource, name: str, change: JsonObject | list[JsonObject]) -> str:
        """Return why a change is refused, "" when it is made."""
        namespace = contract.NAMESPACE if resource.namespaced else None

        async def send() -> None:
            async with KubeClient(self._config) as client:
                kind = "json" if isinstance(change, list) else "merge"
                await client.patch(resource, name, change, namespace, kind=kind)

        try:
            asyncio.run(send())
        except ApiError as error:
            return str(error)
        return ""

    def remove(self) -> None:
        for kind in ("pod", "node"):
            what = (*self.nodes, f"-n{contract.NAMESPACE}", "--force", "--grace-period=0")
            asked(self._stack, "delete", kind, "--ignore-not-found", *what)


@pytest.fixture(scope="module")
def agents(kserve, tmp_path_factory):
    built = yaml.safe_load_all(kserve.kubectl("kustomize", str(ROOT / "manifests/base/agent")))
    items = [d for d in built if d["kind"].startswith("ValidatingAdmissionPolicy")]
    policies = {"apiVersion": "v1", "kind": "List", "items": items}
    held = Agents(kserve, tmp_path_factory.mktemp("agents"))
    answer = asked(kserve, "apply", "-f-", stdin=policies)
    assert answer.returncode == 0, answer.stderr
    try:
        # The API server takes a moment to follow a policy.
        deadline = time.monotonic() + 30
        while not all(OTHERS in held.patch(kind, "policy-b", HARMLESS) for kind in (PODS, NODES)):
            assert time.monotonic() < deadline, "the policies are not followed"
            time.sleep(0.2)
        yield held
    finally:
        # Agents of the stack hold tokens that name no node.
        asked(kserve, "delete", "--ignore-not-found", "-f-", stdin=policies)
        held.remove()


@pytest.mark.parametrize("kind", [PODS, NODES], ids=["pod", "node"])
def test_an_agent_annotates_what_is_of_its_own_node_and_nothing_else(agents, kind):
    assert agents.patch(kind, "policy-a", HARMLESS) == ""
    assert OTHERS in agents.patch(kind, "policy-b", HARMLESS)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (PODS, [{"op": "replace", "path": "/spec/containers/0/image", "value": "another"}]),
        (PODS, {"spec": {"activeDeadlineSeconds": 1}}),
        (PODS, {"metadata": {"finalizers": ["example.com/kept"]}}),
        (PODS, {"metadata": {"labels": {"app": "another"}}}),
        (NODES, {"spec": {"unschedulable": True}}),
        (NODES, {"metadata": {"finalizers": ["example.com/kept"]}}),
    ],
)
def test_an_agent_changes_no_spec_even_on_its_own_node(agents, kind, change):
    assert "an agent writes" in agents.patch(kind, "policy-a", change)


def test_an_agent_labels_its_own_node_with_the_backend(agents):
    change = {"metadata": {"labels": {contract.NODE_BACKEND: "B"}}}
    assert agents.patch(NODES, "policy-a", change) == ""
