import io

import pytest
from aiohttp.test_utils import TestClient, TestServer

from kserve_has.rapp.profiled import from_profiles
from kserve_has.rapp.server import LARGEST_BODY_BYTES, application

GPU = "NVIDIA H200"
GOOD = {"model": "tiny", "gpu": GPU, "batch": 4, "sm": 48, "quota": 50}


@pytest.fixture
def model(profile):
    return from_profiles([profile])


@pytest.fixture
async def client(model):
    async with TestClient(TestServer(application(model))) as opened:
        yield opened


async def ask(client, document):
    response = await client.post("/v1/predict", json=document)
    return response.status, await response.json()


async def test_many_configurations_are_answered_in_their_order(client, model):
    asked = [{**GOOD, "batch": b, "quota": q} for q in (100, 10, 40) for b in (1, 16)]
    status, answer = await ask(client, {"configurations": asked})
    assert 200 == status
    for question, got in zip(asked, answer["predictions"], strict=True):
        expected = model.predict("tiny", GPU, question["batch"], 48, question["quota"])
        assert pytest.approx((expected.mean_ms, expected.upper_ms)) == (
            got["mean_ms"],
            got["upper_ms"],
        )
        assert got["lower_ms"] <= got["mean_ms"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"model": "huge"}, "kserve-has profile --model huge", id="model"),
        pytest.param({"gpu": "NVIDIA A100"}, "not profiled on 'NVIDIA A100'", id="GPU"),
        pytest.param({"batch": 0}, "batch 0 must be at least 1", id="batch 0"),
        pytest.param({"batch": 1.5}, "batch 1.5 is not a whole number", id="half a batch"),
        pytest.param({"batch": True}, "batch True is not a whole number", id="a truth value"),
        pytest.param({"sm": 133}, "133 SMs are outside 1..132", id="partition"),
        pytest.param({"quota": 101}, "quota 101 is outside 1..100", id="quota"),
        pytest.param({"model": 7}, "model 7 is not a name", id="name"),
        pytest.param({"sms": 7}, "no such key 'sms'", id="unknown key"),
    ],
)
async def test_a_bad_configuration_is_refused_with_what_is_known(client, change, words):
    status, answer = await ask(client, {"configurations": [GOOD, {**GOOD, **change}]})
    assert 400 == status
    assert "predictions" not in answer
    (problem,) = answer["problems"]
    assert problem.startswith("configuration 1: ")
    assert words in problem
    assert [{"model": "tiny", "gpu": GPU, "sm_count": 132}] == answer["known"]


@pytest.mark.parametrize(
    "document",
    [{}, [], 3, {"configurations": []}, {"configurations": {}}, {"configurations": [3]}],
    ids=str,
)
async def test_another_shape_is_refused(client, document):
    status, answer = await ask(client, document)
    assert 400 == status
    assert "expected" in answer["problems"][0]


async def test_what_is_no_json_is_refused(client):
    response = await client.post("/v1/predict", data=b"{")
    assert 400 == response.status
    assert "no JSON" in (await response.json())["problems"][0]


async def test_requests_are_bounded(client):
    status, answer = await ask(client, {"configurations": [0] * 10_001})
    assert 400 == status
    assert "at most 10000" in answer["problems"][0]
    response = await client.post("/v1/predict", data=io.BytesIO(b" " * (LARGEST_BODY_BYTES + 1)))
    assert 413 == response.status


async def test_problems_are_listed_up_to_a_bound(client):
    status, answer = await ask(client, {"configurations": [{**GOOD, "batch": 0}] * 50})
    assert 400 == status
    assert 21 == len(answer["problems"])
    assert "and 30 more" == answer["problems"][-1]


async def test_models_and_health(client):
    models = await (await client.get("/v1/models")).json()
    assert "tiny" == models["models"][0]["model"]
    assert 200 == (await client.get("/healthz")).status
