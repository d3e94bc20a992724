"""Of KServe's release only the needed objects are kept, and made local."""

import base64
import json

import yaml

from kserve_has.localstack.kserve_release import extract, localise, read, wanted


def thing(kind, name, **more):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **more}


WEBHOOK = thing(
    "MutatingWebhookConfiguration",
    "inferenceservice.serving.kserve.io",
    webhooks=[{"clientConfig": {"service": {"name": "kserve-webhook-server-service"}}}],
)
CONFIG = thing(
    "ConfigMap",
    "inferenceservice-config",
    data={
        "deploy": '{"defaultDeploymentMode": "Serverless"}',
        "ingress": '{"disableIngressCreation": false, "urlScheme": "http"}',
        "logger": "{}",
    },
)
CRD = thing(
    "CustomResourceDefinition",
    "inferenceservices.serving.kserve.io",
    spec={"group": "serving.kserve.io", "conversion": {"strategy": "Webhook"}},
)


def test_what_belongs_to_other_controllers_is_left_out():
    kept = [CRD, CONFIG, WEBHOOK, thing("Service", "kserve-webhook-server-service")]
    dropped = [
        thing("CustomResourceDefinition", "llminferenceservices.serving.kserve.io"),
        thing("Deployment", "kserve-controller-manager"),
        thing("Certificate", "serving-cert"),
        thing("Service", "kserve-controller-manager-service"),
        thing("ServiceAccount", "llmisvc-controller-manager"),
        thing("ValidatingWebhookConfiguration", "localmodelcache.serving.kserve.io"),
    ]
    assert all(wanted(one) for one in kept)
    assert not any(wanted(one) for one in dropped)


def test_extract_keeps_objects_as_they_are(tmp_path):
    release, target = tmp_path / "release.yaml", tmp_path / "kept.json"
    deployment = thing("Deployment", "kserve-controller-manager")
    release.write_text(yaml.safe_dump_all([CRD, None, deployment, CONFIG]))
    extract(release, target)
    assert [CRD, CONFIG] == read(target)


def test_descriptions_go_and_a_field_of_that_name_stays(tmp_path):
    release, target = tmp_path / "release.yaml", tmp_path / "kept.json"
    field = {"type": "string", "description": "words"}
    schema = {"description": "words", "properties": {"description": field}}
    release.write_text(yaml.safe_dump({**CRD, "spec": {"versions": [{"schema": schema}]}}))
    extract(release, target)
    (crd,) = read(target)
    kept = crd["spec"]["versions"][0]["schema"]
    assert {"properties": {"description": {"type": "string"}}} == kept


def test_webhooks_trust_the_stack_and_lead_to_loopback():
    service = thing("Service", "kserve-webhook-server-service", spec={"ports": []})
    webhook, local = localise([WEBHOOK, service], b"PEM", 9444)
    config = webhook["webhooks"][0]["clientConfig"]
    assert b"PEM" == base64.b64decode(config["caBundle"])
    assert 9444 == config["service"]["port"]
    assert {"type": "ExternalName", "externalName": "localhost"} == local["spec"]


def test_standard_mode_without_ingress_is_the_default():
    (config,) = localise([CONFIG], b"", 1)
    assert {"defaultDeploymentMode": "Standard"} == json.loads(config["data"]["deploy"])
    ingress = json.loads(config["data"]["ingress"])
    assert {
        "disableIngressCreation": True,
        "disableIstioVirtualHost": True,
        "urlScheme": "http",
    } == ingress
    assert "{}" == config["data"]["logger"]


def test_crds_lose_their_conversion_webhook_and_the_input_is_left_alone():
    (crd,) = localise([CRD], b"", 1)
    assert {"group": "serving.kserve.io"} == crd["spec"]
    assert "conversion" in CRD["spec"]
