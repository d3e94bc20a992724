import io
import json
import ssl

import pytest
from aiohttp.test_utils import TestClient, TestServer

from kserve_has import contract
from kserve_has.config.webhook import WebhookSettings
from kserve_has.errors import ClusterError, SettingsError
from webhook.__main__ import read_settings, served_names, split_listen
from webhook.keeper import MountedCertificates
from webhook.metrics import WebhookMetrics
from webhook.server import MAX_BODY_BYTES, WebhookServer


@pytest.fixture
async def server():
    return WebhookServer(WebhookSettings(), WebhookMetrics())


@pytest.fixture
async def client(server):
    async with TestClient(TestServer(server.application())) as client:
        yield client


def review(**request):
    return json.dumps({"request": {"uid": "a", **request}})


async def test_a_pod_is_answered_in_the_reviews_own_words(client):
    pod = {
        "metadata": {"annotations": {contract.OBJECTIVE_LATENCY: "1s"}},
        "spec": {"containers": [{"name": "kserve-container"}]},
    }
    answer = await client.post("/mutate-pod", data=review(object=pod))
    body = await answer.json()
    assert 200 == answer.status
    assert "admission.k8s.io/v1" == body["apiVersion"]
    assert "a" == body["response"]["uid"]
    assert "JSONPatch" == body["response"]["patchType"]


@pytest.mark.parametrize(
    "path",
    [
        contract.WEBHOOK_PATH_ISVC_MUTATE,
        contract.WEBHOOK_PATH_ISVC_VALIDATE,
        contract.WEBHOOK_PATH_POD_MUTATE,
    ],
)
async def test_what_is_no_review_is_a_bad_request(client, path):
    answer = await client.post(path, data=b"{")
    assert 400 == answer.status


@pytest.mark.parametrize(
    ("size", "status"), [(MAX_BODY_BYTES - 1024, 200), (MAX_BODY_BYTES + 1, 413)]
)
async def test_the_largest_objects_are_reviewed_and_nothing_beyond(client, size, status):
    service = {"metadata": {"annotations": {"note": "x" * (size - 256)}}, "spec": {}}
    body = review(object=service).ljust(size)
    answer = await client.post("/validate-inferenceservice", data=io.BytesIO(body.encode()))
    assert status == answer.status


async def test_every_answer_is_counted_and_timed(client):
    service = {"metadata": {"annotations": {contract.BATCH: "0"}}, "spec": {"predictor": {}}}
    await client.post("/validate-inferenceservice", data=review(object=service))
    await client.post("/validate-inferenceservice", data=b"{")
    page = await (await client.get("/metrics")).text()
    name = 'webhook="validate-inferenceservice"'
    assert f'kserve_has_webhook_reviews_total{{outcome="refused",{name}}} 1.0' in page
    assert f'kserve_has_webhook_reviews_total{{outcome="failed",{name}}} 1.0' in page
    assert f"kserve_has_webhook_admission_seconds_count{{{name}}} 1.0" in page


async def test_a_review_without_its_object_fails_and_is_counted(client):
    answer = await client.post("/mutate-pod", data=review())
    assert 500 == answer.status
    page = await (await client.get("/metrics")).text()
    assert 'reviews_total{outcome="failed",webhook="mutate-pod"} 1.0' in page


async def test_health_waits_for_trust_and_life_does_not(server, client):
    assert 503 == (await client.get("/healthz")).status
    assert 200 == (await client.get("/livez")).status
    server.trusted = True
    assert 200 == (await client.get("/healthz")).status


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:9443", ("127.0.0.1", 9443)), ("[::]:1", ("::", 1))],
)
def test_an_address_to_listen_on_is_read(text, expected):
    assert expected == split_listen(text)


@pytest.mark.parametrize("text", ["9443", ":9443", "host:", "host:x", "host:65536"])
def test_a_malformed_address_is_told(text):
    with pytest.raises(SettingsError, match="expected ADDRESS:PORT"):
        split_listen(text)


def test_the_certificate_names_the_service_and_where_it_listens():
    names = served_names("ns", "10.1.2.3")
    assert "kserve-has-webhook.ns.svc" in names
    assert "10.1.2.3" in names
    assert "0.0.0.0" not in served_names("ns", "0.0.0.0")


def test_settings_come_from_a_file_or_are_the_defaults(tmp_path):
    assert WebhookSettings() == read_settings(None)
    file = tmp_path / "webhook.yaml"
    file.write_text("runtime_class: nvidia\n")
    assert "nvidia" == read_settings(file).runtime_class
    file.write_text("{}")
    assert WebhookSettings() == read_settings(file)


@pytest.mark.parametrize("content", ["- a", "a: [", "unknown: 1"])
def test_settings_that_cannot_be_read_are_told(tmp_path, content):
    file = tmp_path / "webhook.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError):
        read_settings(file)
    with pytest.raises(SettingsError):
        read_settings(tmp_path / "missing.yaml")


async def test_a_mounted_folder_without_certificates_is_told(tmp_path):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with pytest.raises(ClusterError, match=r"tls\.crt"):
        await MountedCertificates(tmp_path).refresh(context, WebhookMetrics())
