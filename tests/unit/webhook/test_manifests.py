"""The manifests name what the code names."""

import re
from pathlib import Path

import pytest
import yaml

from autoscaler.gateway import drain
from kserve_has import contract
from kserve_has.config import load
from kserve_has.config.agent import AgentSettings
from kserve_has.config.controller import ControllerSettings
from kserve_has.config.gateway import GatewaySettings
from kserve_has.config.webhook import WebhookSettings
from kserve_has.gpu import H200
from kserve_has.latency.table import load_table
from kserve_has.units import parse_bytes
from webhook import trust
from webhook.annotations import check_annotations
from webhook.inference_service import check_inference_service, default_inference_service

MANIFESTS = Path(__file__).parents[3] / "manifests"


def documents(path):
    return list(yaml.safe_load_all((MANIFESTS / path).read_text(encoding="utf-8")))


def by_kind(path, kind):
    return [d for d in documents(path) if d["kind"] == kind]


@pytest.mark.parametrize("name", ["mutating", "validating"])
def test_registrations_carry_the_name_that_the_webhook_patches(name):
    (registration,) = documents(f"base/registrations/{name}.yaml")
    assert trust.REGISTRATION_NAME == registration["metadata"]["name"]


def test_every_path_is_registered_for_the_cluster_and_on_loopback():
    expected = {
        contract.WEBHOOK_PATH_ISVC_MUTATE,
        contract.WEBHOOK_PATH_ISVC_VALIDATE,
        contract.WEBHOOK_PATH_POD_MUTATE,
    }
    in_cluster = {
        webhook["clientConfig"]["service"]["path"]
        for name in ("mutating", "validating")
        for webhook in documents(f"base/registrations/{name}.yaml")[0]["webhooks"]
    }
    on_loopback = {
        step["value"]["url"].removeprefix(f"https://127.0.0.1:{contract.WEBHOOK_PORT}")
        for name in ("mutating", "validating")
        for step in documents(f"overlays/local/{name}-on-loopback.yaml")[0]
    }
    assert (expected, expected) == (in_cluster, on_loopback)


@pytest.mark.parametrize("name", ["mutating", "validating"])
def test_registrations_allow_dry_runs_and_never_hold_up_what_they_do_not_concern(name):
    (registration,) = documents(f"base/registrations/{name}.yaml")
    for webhook in registration["webhooks"]:
        assert "None" == webhook["sideEffects"]
        assert webhook["matchConditions"]
        (namespaces,) = webhook["namespaceSelector"]["matchExpressions"]
        assert {"kserve", "kserve-has", "kube-system"} == set(namespaces["values"])


def test_the_webhook_may_touch_its_own_secret_and_registrations_and_no_other():
    (cluster,) = by_kind("base/rbac/webhook.yaml", "ClusterRole")
    (own,) = by_kind("base/rbac/webhook.yaml", "Role")
    assert [[trust.REGISTRATION_NAME]] == [rule["resourceNames"] for rule in cluster["rules"]]
    named = [rule for rule in own["rules"] if "resourceNames" in rule]
    assert [[trust.SECRET_NAME]] == [rule["resourceNames"] for rule in named]
    assert [["create"]] == [rule["verbs"] for rule in own["rules"] if rule not in named]


@pytest.mark.parametrize(
    ("part", "kind"),
    [("webhook", WebhookSettings), ("gateway", GatewaySettings), ("agent", AgentSettings)],
)
def test_packaged_settings_are_accepted(part, kind):
    (mapping,) = documents(f"base/common/settings/{part}.yaml")
    load(kind, mapping)


def test_profiles_are_mounted_where_the_install_page_says_and_need_not_be_there():
    (workload,) = by_kind("base/autoscaler/autoscaler.yaml", "Deployment")
    pod = workload["spec"]["template"]["spec"]
    (volume,) = [v["configMap"] for v in pod["volumes"] if v["name"] == "profiles"]
    assert volume["optional"]
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "profiles"]
    pages = MANIFESTS.parent / "docs/how-to"
    for name in ("install.md", "profile-a-model.md"):
        page = (pages / name).read_text(encoding="utf-8")
        assert f"latency_profiles: {mount['mountPath']}\n" in page
        assert volume["name"] in page


def test_the_install_page_names_the_models_that_the_packaged_table_knows():
    page = (MANIFESTS.parent / "docs/how-to/install.md").read_text(encoding="utf-8")
    listed = re.search(r"`kserve-has/served-model`: ([a-z0-9_,\s]+)\.", page)
    assert listed is not None
    names = re.split(r",\s+", listed[1])
    known = {(name, H200.product) for name in names}
    settings = ControllerSettings()
    table = load_table(dtype=settings.latency_dtype, mode=settings.latency_mode)
    assert set(table._curves) == known
    others = {("bf16", mode): load_table(dtype="bf16", mode=mode) for mode in ("eager", "graph")}
    for other in others.values():
        assert set(other._curves) == known - {("llama_512", H200.product)}


def test_cert_manager_renews_the_certificate_under_an_authority_that_stays_trusted():
    found = documents("components/cert-manager/certificate.yaml")
    certificates = {d["metadata"]["name"]: d["spec"] for d in found if d["kind"] == "Certificate"}
    issuers = {d["metadata"]["name"]: d["spec"] for d in found if d["kind"] == "Issuer"}
    (step,) = documents("components/cert-manager/inject-authority.yaml")[0]
    (trusted,) = step["value"].values()
    authority = certificates.pop(trusted.removeprefix(f"{contract.NAMESPACE}/"))
    assert (True, "Never") == (authority["isCA"], authority["privateKey"]["rotationPolicy"])
    (leaf,) = certificates.values()
    signs = issuers[leaf["issuerRef"]["name"]]
    assert {"ca": {"secretName": authority["secretName"]}} == signs
    assert "isCA" not in leaf
    days = [int(spec["duration"].removesuffix("h")) / 24 for spec in (leaf, authority)]
    assert days[1] > 10 * days[0]
    (mounted,) = [
        step["value"]["secret"]["secretName"]
        for step in documents("components/cert-manager/mounted-certificate.yaml")[0]
        if "volumes" in step["path"]
    ]
    assert leaf["secretName"] == mounted


def test_accounts_may_do_what_their_code_does_and_no_more():
    def may(part):
        return {
            (resource, verb)
            for kind in ("ClusterRole", "Role")
            for role in by_kind(f"base/rbac/{part}.yaml", kind)
            for rule in role["rules"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    def watched(*resources):
        return {(resource, verb) for resource in resources for verb in ("list", "watch")}

    events = ("events", "create")
    assert may("agent") == {*watched("pods"), ("pods", "patch"), ("nodes", "patch"), events}
    assert may("gateway") == watched("pods", "inferenceservices")
    assert may("autoscaler") == {
        *watched("inferenceservices", "pods", "nodes", "deployments"),
        *(("pods", "patch"), ("deployments/scale", "patch"), events),
        *(("leases", verb) for verb in ("create", "get", "update")),
    }


def test_a_gateway_is_given_the_time_and_the_memory_that_it_counts_on():
    (workload,) = by_kind("base/gateway/gateway.yaml", "Deployment")
    pod = workload["spec"]["template"]["spec"]
    (envoy,) = pod["containers"]
    command = envoy["lifecycle"]["preStop"]["exec"]["command"]
    assert ["python", "-m", drain.__name__] == command
    assert drain.LONGEST_S + 5 < pod["terminationGracePeriodSeconds"]
    # Listeners stay open for longer than clients may be sent here.
    assert drain.LONGEST_S < float(envoy["args"][envoy["args"].index("--drain-time-s") + 1])
    heap = GatewaySettings().max_heap_bytes
    assert parse_bytes(envoy["resources"]["limits"]["memory"]) >= 1.5 * heap


@pytest.mark.parametrize("name", ["resnet50", "bert"])
def test_samples_are_accepted_without_a_warning(name):
    (service,) = documents(f"samples/{name}.yaml")
    verdict = check_inference_service(default_inference_service(service))
    assert ((), ()) == (verdict.problems, verdict.warnings)


def test_the_refused_sample_has_many_problems_and_all_of_them_are_ours():
    (service,) = documents("samples/refused.yaml")
    assert 8 == len(check_inference_service(service).problems)
    assert check_annotations(service["metadata"]["annotations"])


@pytest.mark.parametrize(
    ("part", "kind", "port"),
    [
        ("webhook", "Deployment", contract.WEBHOOK_PORT),
        ("autoscaler", "Deployment", contract.AUTOSCALER_PORT),
        ("gateway", "Deployment", contract.GATEWAY_PORT),
        ("agent", "DaemonSet", contract.AGENT_PORT),
    ],
)
def test_workloads_run_under_their_own_account_on_the_contracts_port(part, kind, port):
    (workload,) = by_kind(f"base/{part}/{part}.yaml", kind)
    pod = workload["spec"]["template"]["spec"]
    assert f"kserve-has-{part}" == pod["serviceAccountName"]
    (container,) = pod["containers"]
    assert port in {entry["containerPort"] for entry in container["ports"]}
    assert f"kserve-has/{part}:0.1.0" == container["image"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert ["ALL"] == security["capabilities"]["drop"]
