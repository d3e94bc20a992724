"""What the controller relies on, asked of the fake API and of a real API server alike."""

import asyncio
import json
import uuid

import pytest

from autoscaler.controller import patches
from autoscaler.controller.fake_api import FakeApi
from autoscaler.controller.lease import Leadership
from autoscaler.controller.observe import allocation_of, epoch_of
from kserve_has import contract
from kserve_has.allocation import Allocation
from kserve_has.config.controller import ControllerSettings
from kserve_has.kube import ApiError, KubeClient, Resource
from kserve_has.kube.resources import DEPLOYMENTS, LEASES, PODS

pytestmark = pytest.mark.stack

PIECE = Allocation("GPU-a", 0x000F, 32, 40, 4 * 2**30)
LARGER = Allocation("GPU-a", 0x00FF, 64, 70, 4 * 2**30)
CONTAINERS = [{"name": "kserve-container", "image": "none"}]


@pytest.fixture(params=["fake", "real"])
async def api(request):
    if request.param == "fake":
        yield FakeApi()
        return
    stack = request.getfixturevalue("control_plane")
    async with KubeClient(stack.kubeconfig) as client:
        yield client


@pytest.fixture
async def namespace(api):
    name = f"controller-{uuid.uuid4().hex[:8]}"
    if isinstance(api, FakeApi):
        return name
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await api.create(Resource("v1", "namespaces", namespaced=False), body)
    accounts = Resource("v1", "serviceaccounts")
    async with asyncio.timeout(20):
        while not any(
            account["metadata"]["name"] == "default"
            for account in (await api.list(accounts, name))[0]
        ):
            await asyncio.sleep(0.1)
    return name


async def gated_pod(api, namespace):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "annotations": {"kept": "yes"}},
        "spec": {
            "containers": CONTAINERS,
            "schedulingGates": [{"name": contract.SCHEDULING_GATE}],
        },
    }
    return await api.create(PODS, pod, namespace)


async def placed_pod(api, namespace):
    pod = await gated_pod(api, namespace)
    patch = patches.place(pod, "gpu-node-0", PIECE, 30.0)
    return pod, await api.patch(PODS, "p", patch, namespace, kind="json")


async def status_of(request):
    with pytest.raises(ApiError) as refused:
        await request
    return refused.value.status


async def test_a_placement_is_taken_in_one_patch(api, namespace):
    _, placed = await placed_pod(api, namespace)
    assert not placed["spec"].get("schedulingGates")
    assert allocation_of(placed["metadata"]["annotations"]) == PIECE
    assert placed["metadata"]["annotations"]["kept"] == "yes"
    assert "gpu-node-0" in json.dumps(placed["spec"]["affinity"])


async def test_a_second_placement_is_refused(api, namespace):
    pod, _ = await placed_pod(api, namespace)
    late = patches.place(pod, "gpu-node-1", LARGER, 30.0)
    assert await status_of(api.patch(PODS, "p", late, namespace, kind="json")) == 422


async def test_a_resize_is_taken_once(api, namespace):
    _, placed = await placed_pod(api, namespace)
    patch = patches.resize(placed, LARGER, 60.0)
    resized = await api.patch(PODS, "p", patch, namespace, kind="json")
    notes = resized["metadata"]["annotations"]
    assert (allocation_of(notes), epoch_of(notes)) == (LARGER, 2)
    assert await status_of(api.patch(PODS, "p", patch, namespace, kind="json")) == 422


async def test_every_write_counts_the_version_up(api, namespace):
    pod, placed = await placed_pod(api, namespace)
    before, after = (int(p["metadata"]["resourceVersion"]) for p in (pod, placed))
    assert before < after


async def test_a_pod_that_is_gone_is_not_found(api, namespace):
    patch = patches.resize(await gated_pod(api, namespace), PIECE, 1.0)
    assert await status_of(api.patch(PODS, "q", patch, namespace, kind="json")) == 404


async def test_the_scale_of_a_deployment_is_set_and_told_back(api, namespace):
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": CONTAINERS}}
    body = {
        "apiVersion": DEPLOYMENTS.api,
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }
    created = await api.create(DEPLOYMENTS, body, namespace)
    wanted = {"spec": {"replicas": 3}}
    scale = await api.patch(DEPLOYMENTS, "d", wanted, namespace, subresource="scale")
    assert scale["spec"]["replicas"] == 3
    assert scale["metadata"]["uid"] == created["metadata"]["uid"]
    assert (await api.get(DEPLOYMENTS, "d", namespace))["spec"]["replicas"] == 3


async def test_a_lease_goes_to_one_of_two_and_to_the_other_when_released(api, namespace):
    settings = ControllerSettings()
    first, second = (
        Leadership(api, name, settings, namespace=namespace) for name in ("first", "second")
    )
    assert [await first.attempt(), await second.attempt()] == [True, False]
    assert await first.attempt()
    await first.release()
    assert [await second.attempt(), await first.attempt()] == [True, False]


async def test_a_lease_written_by_two_goes_to_the_first(api, namespace):
    leader = Leadership(api, "first", ControllerSettings(), namespace=namespace)
    await leader.attempt()
    seen = await api.get(LEASES, contract.LEASE_NAME, namespace)
    await leader.attempt()
    assert await status_of(api.replace(LEASES, seen)) == 409
    again = {**seen, "metadata": {"name": contract.LEASE_NAME}}
    assert await status_of(api.create(LEASES, again, namespace)) == 409


async def test_a_killed_leader_is_followed_within_ten_seconds(api, namespace):
    settings = ControllerSettings()
    await Leadership(api, "killed", settings, namespace=namespace).attempt()
    follower = Leadership(api, "follower", settings, namespace=namespace)
    async with asyncio.timeout(10):
        while not await follower.attempt():
            await asyncio.sleep(settings.lease_renew_s)
    assert follower.held()
