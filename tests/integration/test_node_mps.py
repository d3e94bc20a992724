"""A fault under MPS on a real API server: who is told, who is ended, and who runs again."""

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import pytest

from kserve_has import contract
from kserve_has.config.agent import AgentSettings
from kserve_has.kube import KubeClient
from quota_runtime import region
from quota_runtime.agent.backend import Facts, choose
from quota_runtime.agent.inventory import NodeGpu
from quota_runtime.agent.loop import AgentLoop
from quota_runtime.agent.mps.control import Control
from quota_runtime.agent.mps.daemon import Daemon
from quota_runtime.agent.mps.guard import Guard
from quota_runtime.agent.processes import NodeProcesses

from .nodes import NODE, TestNode, eventually
from .test_node_agent import GPU, acknowledged, folder, following, in_force, make_replica

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests/fake_mps_control.py"
SPACE = "mps-test"
SERVER = 4_000_000  # no process has this number


@pytest.fixture(scope="module")
def node(control_plane, tmp_path_factory):
    for part in ("common", "rbac"):
        control_plane.kubectl("apply", "-k", str(ROOT / "manifests/base" / part))
    held = TestNode(control_plane, tmp_path_factory.mktemp("mps-node"), SPACE)
    held.prepare()
    yield held
    held.remove()


class ByHostname(NodeProcesses):
    """The stand-in makes no cgroups; its processes know the name of their pod."""

    def __init__(self, node):
        super().__init__()
        self._node = node
        self.uids = {}

    def pod_of(self, pid):
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            for name, uid in self.uids.items():
                if f"HOSTNAME={name}".encode() in variables:
                    return uid
        return None


def as_shared_as(state):
    return {GPU.uuid: NodeGpu(GPU.uuid, GPU.geometry, choose(Facts("580.65.06", (9, 0), state)))}


@contextlib.asynccontextmanager
async def agent(node, folder_of_daemon):
    program = folder_of_daemon / "nvidia-cuda-mps-control"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {FAKE} "$@"\n')
    program.chmod(0o755)
    control = Control(folder_of_daemon / "pipe", folder_of_daemon / "log", str(program))
    daemon, processes = Daemon(control, "manage"), ByHostname(node)
    settings = AgentSettings(inventory_s=1.0)
    token = node.stack.kubectl(
        "create", "token", contract.SERVICE_ACCOUNT_AGENT, "-n", contract.NAMESPACE
    )
    config = node.stack._assembly.identities.token("agent-under-mps", token.strip())
    async with KubeClient(config) as client:
        guard = Guard(daemon, settings, processes)
        loop = AgentLoop(client, NODE, node.root, settings, as_shared_as, guard)
        task = asyncio.create_task(loop.run())
        yield guard
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    if daemon.is_running():
        await daemon.quit(1.0)


async def connect(node, guard, name):
    """Let the replica's process be a client of the daemon; return its number."""
    guard._processes.uids[name] = node.pod(name)["metadata"]["uid"]
    (slot,) = region.read_usage(folder(node, name) / contract.USAGE_FILE).slots
    await guard.daemon.control.ask(f"fake connect {SERVER} {slot.pid} GPU-under 4026531836")
    return slot.pid


def is_in_time(node, name, permille):
    limits = region.read_limits(folder(node, name) / contract.LIMITS_FILE)
    return (0, permille) == (limits.flags & region.FLAG_SM, limits.quota_permille)


def restarts(node, name):
    statuses = node.pod(name)["status"].get("containerStatuses", ())
    return [status["restartCount"] for status in statuses]


def backend_of(node):
    return node.get("node", NODE)["metadata"]["labels"].get(contract.NODE_BACKEND)


async def test_after_a_fault_every_client_is_started_again_in_its_pod(node, tmp_path):
    async with agent(node, tmp_path) as guard:
        for name, groups in (("left", 0x00FF), ("right", 0xFF00)):
            make_replica(node, name, groups=groups)
            await asyncio.to_thread(node.wait_ready, name)
            await following(node, name, 1)
        assert "A" == backend_of(node)
        assert "A" == (await acknowledged(node, "left", 1))["backend"]
        pids = [await connect(node, guard, name) for name in ("left", "right")]
        began = time.monotonic()
        await guard.daemon.control.ask(f"fake fault {SERVER}")
        for name in ("left", "right"):
            await asyncio.to_thread(eventually, lambda name=name: restarts(node, name) == [1])
        print(f"fault to both containers running again: {time.monotonic() - began:.2f} s")
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        events = await asyncio.to_thread(
            eventually,
            lambda: [
                event["involvedObject"]["name"]
                for event in node.get("events", "-n", SPACE)["items"]
                if event["reason"] == "MpsFault"
            ],
        )
        assert {"left", "right"} >= set(events)
        # The pods keep their pieces: nothing was asked of the autoscaler.
        assert 1 == in_force(node, "left")["epoch"]
        limits = region.read_limits(folder(node, "left") / contract.LIMITS_FILE)
        assert limits.flags & region.FLAG_SM
        # Without the daemon the node says so, and partitions become time.
        guard.daemon._mode = "adopt"
        await guard.daemon.control.quit(1.0)
        await asyncio.to_thread(eventually, lambda: backend_of(node) == "B")
        await asyncio.to_thread(eventually, lambda: is_in_time(node, "left", 194))
        for name in ("left", "right"):
            node.delete(name)


async def test_what_a_deleted_pod_runs_leaves_the_gpu_before_it_is_killed(node, tmp_path):
    async with agent(node, tmp_path) as guard:
        make_replica(node, "leaving", manners=["stubborn"])
        await asyncio.to_thread(node.wait_ready, "leaving")
        await following(node, "leaving", 1)
        pid = await connect(node, guard, "leaving")
        limits = folder(node, "leaving") / contract.LIMITS_FILE
        grace = ("--grace-period=3", "--wait=false")
        node.stack.kubectl("delete", "pod", "-n", SPACE, "leaving", *grace)
        found = None
        while not guard.terminated:
            assert Path(f"/proc/{pid}").exists(), "it was killed on the GPU"
            found = region.read_limits(limits) or found
            await asyncio.sleep(0.01)
        assert {"done": 1} == dict(guard.terminated)
        assert found.flags & region.FLAG_QUIESCE
        assert 0 == guard.faults
        await asyncio.to_thread(eventually, lambda: not Path(f"/proc/{pid}").exists())
