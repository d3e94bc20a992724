import asyncio

import pytest
from aiohttp.test_utils import unused_port

from kserve_has.errors import ClusterError
from kserve_has.kube import ApiError, KubeClient
from kserve_has.kube import client as client_module
from kserve_has.kube.resources import INFERENCE_SERVICES, NODES, PODS

from .conftest import item


def last(api):
    request, body = api.requests[-1]
    return request.method, request.path, body


@pytest.mark.parametrize(
    ("resource", "arguments", "path"),
    [
        (PODS, ("n", "p", "status"), "/api/v1/namespaces/n/pods/p/status"),
        (PODS, (None,), "/api/v1/pods"),
        (NODES, ("ignored", "a"), "/api/v1/nodes/a"),
        (
            INFERENCE_SERVICES,
            ("n",),
            "/apis/serving.kserve.io/v1beta1/namespaces/n/inferenceservices",
        ),
    ],
)
def test_paths_are_those_of_the_api(resource, arguments, path):
    assert path == resource.path(*arguments)


async def test_a_list_follows_all_its_pages(api, client):
    api.pages = [[item("a", 1)], [item("b", 2)]]
    items, version = await client.list(PODS, field_selector="spec.nodeName=x")
    assert (["a", "b"], "1") == ([i["metadata"]["name"] for i in items], version)
    request, _ = api.requests[0]
    assert "spec.nodeName=x" == request.query["fieldSelector"]
    assert ("Bearer secret", "tests") == (
        request.headers["Authorization"],
        request.headers["User-Agent"],
    )


async def test_a_patch_names_its_kind_manager_and_subresource(api, client):
    await client.patch(
        PODS,
        "p",
        {"a": 1},
        "n",
        kind="apply",
        subresource="status",
        field_manager="me",
        force=True,
    )
    request, body = api.requests[-1]
    assert ("PATCH", "/api/v1/namespaces/n/pods/p/status", {"a": 1}) == last(api)
    assert "application/apply-patch+yaml" == request.headers["Content-Type"]
    assert {"fieldManager": "me", "force": "true"} == dict(request.query)
    assert {"a": 1} == body


async def test_a_delete_may_be_bound_to_one_object_and_a_grace_period(api, client):
    await client.delete(PODS, "p", "n", grace_period_s=0, uid="u")
    method, _, body = last(api)
    assert ("DELETE", 0, {"uid": "u"}) == (
        method,
        body["gracePeriodSeconds"],
        body["preconditions"],
    )


async def test_objects_are_created_replaced_and_posted_where_they_belong(api, client):
    await client.create(PODS, {}, "n")
    assert ("POST", "/api/v1/namespaces/n/pods", {}) == last(api)
    await client.replace(PODS, item("p", 1), subresource="status")
    assert ("PUT", "/api/v1/namespaces/n/pods/p/status") == last(api)[:2]
    await client.post(PODS, "p", "binding", {}, "n")
    assert ("POST", "/api/v1/namespaces/n/pods/p/binding", {}) == last(api)


async def test_a_refusal_carries_the_servers_own_words(api, client):
    api.answers = [(409, {"reason": "Conflict", "message": "changed"})]
    with pytest.raises(ApiError, match="GET /api/v1/namespaces/n/pods/p: 409") as caught:
        await client.get(PODS, "p", "n")
    assert ("Conflict", "changed", True) == (
        caught.value.reason,
        caught.value.message,
        caught.value.retriable,
    )


async def test_an_answer_that_is_no_status_object_is_quoted(api, client):
    api.answers = [(503, "<html>away</html>")]
    with pytest.raises(ApiError, match="away"):
        await client.get(PODS, "p", "n")


@pytest.mark.parametrize(
    ("status", "retriable"), [(0, True), (403, False), (404, False), (429, True), (500, True)]
)
def test_only_what_may_pass_later_is_retriable(status, retriable):
    assert retriable == ApiError(status, "", "", "").retriable


async def test_an_expired_token_is_read_again(api, client, kubeconfig):
    kubeconfig("fresh")
    api.answers = [(401, {})]
    with pytest.raises(ApiError):
        await client.get(PODS, "p", "n")
    await client.list(PODS)
    assert "Bearer fresh" == api.requests[-1][0].headers["Authorization"]


async def test_an_unreachable_server_is_an_error_without_status(api, kubeconfig):
    api.url = f"http://127.0.0.1:{unused_port()}"
    async with KubeClient(kubeconfig()) as client:
        with pytest.raises(ApiError, match="Unreachable") as caught:
            await client.get(PODS, "p", "n")
    assert 0 == caught.value.status


async def test_a_watch_yields_events_of_any_size_and_raises_what_the_server_says(api, client):
    big = {**item("a", 5), "note": "x" * 300_000}
    api.events.put_nowait({"type": "ADDED", "object": big})
    api.events.put_nowait({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}})
    events = client.watch(PODS, resource_version="4")
    assert big == (await anext(events))["object"]
    with pytest.raises(ApiError) as caught:
        await anext(events)
    assert 410 == caught.value.status


async def test_a_watch_that_falls_silent_is_an_error(api, client, monkeypatch):
    monkeypatch.setattr(client_module, "WATCH_SILENCE_S", 0.05)
    with pytest.raises(ApiError, match="Unreachable"):
        async with asyncio.timeout(5):
            await anext(client.watch(PODS, resource_version="4"))


def test_missing_credentials_are_an_error_that_names_the_file(tmp_path):
    with pytest.raises(ClusterError, match=r"nowhere\.yaml"):
        KubeClient(tmp_path / "nowhere.yaml")


async def test_a_client_outside_its_block_says_so(kubeconfig):
    with pytest.raises(ClusterError, match="async with"):
        await KubeClient(kubeconfig()).get(PODS, "p", "n")
