"""The node agent under its own ServiceAccount: annotations in, limits and acknowledgements out."""

import asyncio
import contextlib
import json
import re
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from kserve_has import contract
from kserve_has.config.agent import AgentSettings
from kserve_has.gpu import H200
from kserve_has.kube import KubeClient
from kserve_has.kube.resources import NODES, PODS
from quota_runtime import region
from quota_runtime.agent.backend import Backend
from quota_runtime.agent.inventory import NodeGpu
from quota_runtime.agent.loop import AgentLoop
from quota_runtime.agent.metrics import AgentMetrics
from quota_runtime.serving import serving

from .nodes import NODE, TestNode, eventually

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
SPACE = "agent-test"
GPU = NodeGpu("GPU-under-test", H200, Backend("A", "of a test"))
AGENT = "10.244.99.1"


@pytest.fixture(scope="module")
def node(control_plane, tmp_path_factory):
    for part in ("common", "rbac"):
        control_plane.kubectl("apply", "-k", str(ROOT / "manifests/base" / part))
    held = TestNode(control_plane, tmp_path_factory.mktemp("agent-node"), SPACE)
    held.prepare()
    yield held
    held.remove()


@pytest.fixture
async def agent(node):
    async with running(node) as loop:
        yield loop


@contextlib.asynccontextmanager
async def running(node):
    """Run the agent with one made-up GPU until the context ends."""
    token = node.stack.kubectl(
        "create", "token", contract.SERVICE_ACCOUNT_AGENT, "-n", contract.NAMESPACE
    )
    config = node.stack._assembly.identities.token("agent-under-test", token.strip())
    registry = CollectorRegistry()
    async with KubeClient(config) as client:
        loop = AgentLoop(client, NODE, node.root, AgentSettings(), lambda _: {GPU.uuid: GPU})
        AgentMetrics(loop.keeper, registry)
        async with serving((AGENT, contract.AGENT_PORT), registry, loop.unhealthy):
            task = asyncio.create_task(loop.run())
            yield loop
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def allocation(groups, quota, epoch):
    return {
        contract.GPU_UUID: GPU.uuid,
        contract.SM_GROUPS: f"{groups:#06x}",
        contract.SM_PARTITION: str(H200.sm_of(groups)),
        contract.QUOTA: str(quota),
        contract.MEMORY_LIMIT: str(2**30),
        contract.EPOCH: str(epoch),
    }


def make_replica(node, name, groups=0x00FF, quota=40, delay_s=0.0, manners=()):
    """Create a pod as webhook and autoscaler leave it: sidecar, volume, allocation."""
    mount = [{"name": contract.QUOTA_VOLUME, "mountPath": contract.QUOTA_DIR}]
    follow = [sys.executable, str(Path(__file__).with_name("obedient.py")), str(delay_s), *manners]
    sidecar = {
        "name": contract.SIDECAR_CONTAINER,
        "command": ["kserve-has-sidecar"],
        "restartPolicy": "Always",
        "volumeMounts": mount,
        "startupProbe": {
            "httpGet": {"path": "/healthz", "port": contract.SIDECAR_PORT},
            "periodSeconds": 1,
            "failureThreshold": 60,
        },
    }
    node.run(
        name,
        {"name": "main", "command": follow, "volumeMounts": mount},
        init=[sidecar],
        annotations=allocation(groups, quota, epoch=1),
        volumes=[{"name": contract.QUOTA_VOLUME, "emptyDir": {"medium": "Memory"}}],
    )


def folder(node, name):
    uid = node.pod(name)["metadata"]["uid"]
    return Path(contract.kubelet_volume_dir(str(node.root), uid))


def in_force(node, name):
    return json.loads(node.pod(name)["metadata"]["annotations"].get(contract.IN_FORCE, "{}"))


async def acknowledged(node, name, epoch):
    await asyncio.to_thread(eventually, lambda: in_force(node, name).get("epoch") == epoch)
    return in_force(node, name)


async def following(node, name, epoch):
    def check():
        slots = region.read_usage(folder(node, name) / contract.USAGE_FILE).slots
        return slots and slots[0].epoch_in_force == epoch

    await asyncio.to_thread(eventually, check)


def annotate(node, name, values):
    pairs = [f"{key}={value}" for key, value in values.items()]
    node.stack.kubectl("annotate", "--overwrite", "pod", "-n", SPACE, name, *pairs)


async def test_the_node_shows_its_gpus(node, agent):
    def published():
        return node.get("node", NODE)["metadata"]["annotations"].get(contract.NODE_GPUS)

    (gpu,) = json.loads(await asyncio.to_thread(eventually, published))
    assert (GPU.uuid, 132, 8, True) == (
        gpu["uuid"],
        gpu["sm_count"],
        gpu["sm_group_size"],
        gpu["healthy"],
    )


async def test_a_pod_is_ready_once_library_and_limits_are_there_and_can_be_resized(node, agent):
    make_replica(node, "resized")
    assert 1 == (await acknowledged(node, "resized", 1))["epoch"]
    address = (await asyncio.to_thread(node.wait_ready, "resized"))["status"]["podIP"]
    assert b"library" == (folder(node, "resized") / contract.LIBRARY_FILE).read_bytes()
    await following(node, "resized", 1)
    annotate(node, "resized", allocation(0x0FFF, 70, epoch=2))
    value = await acknowledged(node, "resized", 2)
    assert (70, "0x0fff") == (value["quota"], value["sm_groups"])
    limits = region.read_limits(folder(node, "resized") / contract.LIMITS_FILE)
    assert (2, 0x0FFF, 700) == (limits.epoch, limits.sm_groups, limits.quota_permille)
    agents = await asyncio.to_thread(scrape, AGENT, contract.AGENT_PORT)
    assert 'kserve_has_sm_partition{gpu_uuid="GPU-under-test",' in agents
    assert "kserve_has_agent_resize_seconds_count 1.0" in agents
    pods = await asyncio.to_thread(scrape, address, contract.SIDECAR_PORT)
    assert "kserve_has_quota_ratio 0.7" in pods
    assert "kserve_has_epoch 2.0" in pods
    node.delete("resized")
    assert "resized" not in await asyncio.to_thread(scrape, AGENT, contract.AGENT_PORT)


def scrape(address, port):
    with urllib.request.urlopen(f"http://{address}:{port}/metrics", timeout=5) as answer:
        return answer.read().decode()


async def test_a_change_is_in_force_within_tens_of_milliseconds(node, agent):
    make_replica(node, "quick")
    await asyncio.to_thread(node.wait_ready, "quick")
    await following(node, "quick", 1)
    delays_ms = []
    async with KubeClient(node.stack.kubeconfig) as client:
        for epoch in range(2, 22):
            wanted = {"metadata": {"annotations": allocation(0x00FF, 20 + epoch, epoch)}}
            written = time.time()
            await client.patch(PODS, "quick", wanted, SPACE)
            async with asyncio.timeout(5):
                while (value := await read_in_force(client, "quick"))["epoch"] != epoch:
                    await asyncio.sleep(0.005)
            at = datetime.fromisoformat(value["at"]).replace(tzinfo=UTC).timestamp()
            delays_ms.append((at - written) * 1e3)
    delays_ms.sort()
    print("annotation to in force, ms:", [f"{d:.1f}" for d in delays_ms])
    # Half of what a quota window lasts, though two cores run a whole control plane beside this.
    assert delays_ms[len(delays_ms) // 2] < 50
    node.delete("quick")


async def read_in_force(client, name):
    pod = await client.get(PODS, name, SPACE)
    return json.loads(pod["metadata"]["annotations"][contract.IN_FORCE])


async def test_groups_are_handed_on_when_their_holder_has_let_go(node, agent):
    make_replica(node, "giving", groups=0x0FFF, quota=100, delay_s=0.2)
    make_replica(node, "taking", groups=0xF000, quota=100)
    for name in ("giving", "taking"):
        await asyncio.to_thread(node.wait_ready, name)
        await following(node, name, 1)
    annotate(node, "taking", allocation(0xFFF0, 100, epoch=2))
    await asyncio.sleep(0.3)
    assert 1 == in_force(node, "taking")["epoch"]
    annotate(node, "giving", allocation(0x000F, 100, epoch=2))
    taking = await acknowledged(node, "taking", 2)
    giving = await acknowledged(node, "giving", 2)
    assert giving["at"] < taking["at"]
    for name in ("giving", "taking"):
        node.delete(name)


async def test_a_new_agent_takes_over_without_touching_anything(node):
    async with running(node):
        make_replica(node, "lasting")
        await asyncio.to_thread(node.wait_ready, "lasting")
        await acknowledged(node, "lasting", 1)
    await following(node, "lasting", 1)
    path = folder(node, "lasting") / contract.LIMITS_FILE
    before = path.read_bytes()
    annotated = in_force(node, "lasting")
    async with running(node):
        await asyncio.sleep(1.0)
        assert before == path.read_bytes()
        assert annotated == in_force(node, "lasting")
        annotate(node, "lasting", allocation(0x00FF, 55, epoch=2))
        await acknowledged(node, "lasting", 2)
        node.delete("lasting")


async def test_what_changed_while_no_agent_ran_is_applied_by_the_next(node):
    async with running(node):
        make_replica(node, "missed")
        await asyncio.to_thread(node.wait_ready, "missed")
    annotate(node, "missed", allocation(0x00FF, 66, epoch=2))
    async with running(node):
        value = await acknowledged(node, "missed", 2)
        assert 66 == value["quota"]
        node.delete("missed")


async def test_the_agent_may_write_nothing_beyond_its_part(node, agent):
    rules = node.stack.kubectl(
        "auth",
        "can-i",
        "--list",
        f"--as=system:serviceaccount:{contract.NAMESPACE}:{contract.SERVICE_ACCOUNT_AGENT}",
    )
    (pods,) = re.findall(r"^pods +.*\[(.*)\]$", rules, re.MULTILINE)
    assert {"list", "watch", "patch"} == set(pods.split())
    assert NODES.plural in rules
