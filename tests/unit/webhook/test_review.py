import base64
import json

import pytest

from kserve_has import contract
from kserve_has.config.webhook import WebhookSettings
from webhook.review import (
    Answer,
    MalformedReview,
    mutate_inference_service,
    mutate_pod,
    read_request,
    respond,
    validate_inference_service,
)

SETTINGS = WebhookSettings()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"request": {}}', b'{"request": 1}'])
def test_what_is_no_review_is_refused_as_malformed(body):
    with pytest.raises(MalformedReview):
        read_request(body)


def test_the_request_of_a_review_is_read():
    assert {"uid": "a"} == read_request(b'{"request": {"uid": "a"}}')


def test_nothing_to_say_is_allowed_without_a_patch():
    response = respond("a", Answer())["response"]
    assert {"uid": "a", "allowed": True} == response


def test_a_patch_travels_as_base64():
    steps = ({"op": "add", "path": "/a", "value": 1},)
    response = respond("a", Answer(patch=steps))["response"]
    assert "JSONPatch" == response["patchType"]
    assert list(steps) == json.loads(base64.b64decode(response["patch"]))


def test_a_refusal_tells_every_problem_on_a_line_of_its_own():
    response = respond("a", Answer(problems=("one", "two"), warnings=("w",)))["response"]
    assert response["allowed"] is False
    assert "2 problems:\n  - one\n  - two" == response["status"]["message"]
    assert (422, "Invalid") == (response["status"]["code"], response["status"]["reason"])
    assert ["w"] == response["warnings"]
    single = respond("a", Answer(problems=("one",)))["response"]
    assert "1 problem:\n  - one" == single["status"]["message"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(), "allowed"),
        (Answer(patch=({},)), "patched"),
        (Answer(problems=("one",)), "refused"),
    ],
    ids=["allowed", "patched", "refused"],
)
def test_outcomes_are_counted_by_name(answer, outcome):
    assert outcome == answer.outcome


def test_an_opted_in_service_is_patched_and_a_wrong_one_refused():
    annotations = {contract.OBJECTIVE_LATENCY: "fast"}
    service = {"metadata": {"annotations": annotations}, "spec": {"predictor": {}}}
    patched = mutate_inference_service({"object": service}, SETTINGS)
    assert {"/metadata/annotations/serving.kserve.io~1autoscalerClass"} < {
        step["path"] for step in patched.patch
    }
    refused = validate_inference_service({"object": service, "oldObject": None}, SETTINGS)
    assert refused.problems


def test_an_update_is_compared_with_what_was_stored():
    annotations = {contract.OBJECTIVE_LATENCY: "fast"}
    stored = {"metadata": {"annotations": annotations}, "spec": {"predictor": {}}}
    answer = validate_inference_service({"object": stored, "oldObject": stored}, SETTINGS)
    assert () == answer.problems


def test_a_pod_is_patched_or_refused_with_reasons():
    metadata = {"annotations": {contract.OBJECTIVE_LATENCY: "1s"}}
    good = {"metadata": metadata, "spec": {"containers": [{"name": "kserve-container"}]}}
    assert "patched" == mutate_pod({"object": good}, SETTINGS).outcome
    bad = {"metadata": metadata, "spec": {"containers": [{"name": "main"}]}}
    assert "refused" == mutate_pod({"object": bad}, SETTINGS).outcome
