"""The agent's loop on an API server in memory and in virtual time."""

import asyncio
import contextlib
import json
import logging
import time
import tracemalloc
from pathlib import Path

import pytest

from autoscaler.controller.fake_api import FakeApi
from kserve_has import contract
from kserve_has.config.agent import AgentSettings
from kserve_has.kube import ApiError
from kserve_has.kube.resources import EVENTS, NODES, PODS
from quota_runtime import region
from quota_runtime.agent.backend import Backend, MpsState
from quota_runtime.agent.inventory import NodeGpu
from quota_runtime.agent.loop import AgentLoop
from quota_runtime.agent.mps.guard import Victim

from .conftest import GPU, TOY, make_pod
from .virtual_time import run

NODE = "node-1"


class Api(FakeApi):
    """One that can be away."""

    def __init__(self):
        super().__init__()
        self.away = False
        self.back = asyncio.Event()
        self.attempts = 0
        self.refuse = lambda *_: self._gone() if self.away else None

    def _gone(self):
        self.attempts += 1
        return ApiError(0, "Unreachable", "connection refused", "any")

    def leave(self):
        self.away = True
        self.back.set()

    async def list(self, *arguments, **options):
        if self.away:
            raise self._gone()
        return await super().list(*arguments, **options)

    async def watch(self, *arguments, **options):
        self.back.clear()
        stream = super().watch(*arguments, **options)
        while True:
            event = asyncio.ensure_future(anext(stream))
            broken = asyncio.ensure_future(self.back.wait())
            await asyncio.wait({event, broken}, return_when=asyncio.FIRST_COMPLETED)
            if broken.done():
                event.cancel()
                raise self._gone()
            broken.cancel()
            yield event.result()

    async def put(self, root, name, **allocation):
        pod = make_pod(name, **allocation)
        created = await self.create(PODS, pod, "default")
        folder = contract.kubelet_volume_dir(str(root), created["metadata"]["uid"])
        Path(folder).mkdir(parents=True)
        return Path(folder)

    def in_force(self, name):
        notes = self.peek(PODS, f"pod-{name}", "default")["metadata"]["annotations"]
        return json.loads(notes.get(contract.IN_FORCE, "{}")).get("epoch")


class Guard:
    """One that says what it is told to."""

    def __init__(self):
        self.daemon = self
        self.state = MpsState(serving=True)
        self.outside = frozenset()
        self.found = []
        self.terminated = []
        self.seen = []

    async def check(self):
        return self.state

    async def step(self, pods, busy):
        self.seen.append((pods, busy))
        found, self.found = self.found, []
        return found

    async def terminate(self, uid):
        self.terminated.append((uid, time.time()))


@contextlib.asynccontextmanager
async def agent(api, root, look=lambda _: {GPU.uuid: GPU}, guard=None, **settings):
    with contextlib.suppress(ApiError):
        await api.create(NODES, {"metadata": {"name": NODE}})
    loop = AgentLoop(api, NODE, root, AgentSettings(**settings), look, guard)
    task = asyncio.create_task(loop.run())
    yield loop
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_the_node_says_how_its_gpus_are_shared_and_again_when_that_changes(tmp_path, monkeypatch):
    guard = Guard()

    def look(state):
        return {GPU.uuid: NodeGpu(GPU.uuid, TOY, Backend("A" if state.serving else "B", "why"))}

    async def main():
        api = Api()
        async with agent(api, tmp_path, look, guard):

            def backend():
                return (api.peek(NODES, NODE)["metadata"].get("labels") or {}).get(
                    contract.NODE_BACKEND
                )

            await api.until(lambda: backend() == "A")
            began = asyncio.get_running_loop().time()
            guard.state = MpsState(why_not="it died")
            # Noticed by what the guard does, long before the next look at the GPUs.
            original = guard.step

            async def changing(pods, busy):
                guard.state = MpsState(why_not="it died again")
                return await original(pods, busy)

            guard.step = changing
            await api.until(lambda: backend() == "B")
            assert asyncio.get_running_loop().time() - began < 1.0
            (gpu,) = json.loads(
                api.peek(NODES, NODE)["metadata"]["annotations"][contract.NODE_GPUS]
            )
            assert ("B", "why") == (gpu["backend"], gpu["reason"])

    run(main, monkeypatch)


def test_a_refused_allocation_becomes_an_event_once(tmp_path, monkeypatch):
    async def main():
        api = Api()
        async with agent(api, tmp_path):
            await api.put(tmp_path, "a", groups=0b0001, quota=60)
            await api.put(tmp_path, "b", groups=0b0001, quota=60)
            await asyncio.sleep(120)
        events = [
            name for verb, plural, name in api.requests if (verb, plural) == ("create", "events")
        ]
        assert 1 == len(events)
        event = api.peek(EVENTS, events[0], "default")
        assert "AllocationRefused" == event["reason"]
        assert "100 % of the time" in event["message"]

    run(main, monkeypatch)


def test_victims_of_a_fault_are_told_of_on_their_pods(tmp_path, monkeypatch, caplog):
    async def main():
        api, guard = Api(), Guard()
        async with agent(api, tmp_path, guard=guard):
            await api.put(tmp_path, "a")
            await api.until(lambda: api.in_force("a") == 1)
            uid = api.peek(PODS, "pod-a", "default")["metadata"]["uid"]
            guard.found = [
                Victim(11, uid, "ended"),
                Victim(12, None, "unknown"),
            ]
            await api.until(lambda: any(r[:2] == ("create", "events") for r in api.requests))
        (name,) = [r[2] for r in api.requests if r[:2] == ("create", "events")]
        event = api.peek(EVENTS, name, "default")
        assert ("MpsFault", "pod-a") == (event["reason"], event["involvedObject"]["name"])
        assert "it was ended" in event["message"]
        assert "process 12, which is not ours" in caplog.text
        assert frozenset({uid}) == guard.seen[-1][0]

    run(main, monkeypatch)


def test_a_pod_that_ends_is_quiesced_then_terminated_and_both_in_time(tmp_path, monkeypatch):
    async def main():
        api, guard = Api(), Guard()
        async with agent(api, tmp_path, guard=guard):
            folder = await api.put(tmp_path, "a")
            await api.until(lambda: api.in_force("a") == 1)
            killed_s = time.time() + 4
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(killed_s)) + "+00:00"
            killed_s = float(int(killed_s))
            body = {"metadata": {"deletionTimestamp": stamp}}
            await api.patch(PODS, "pod-a", body, "default")
            quiesced_s = None
            while not guard.terminated:
                await asyncio.sleep(0.001)
                limits = region.read_limits(folder / contract.LIMITS_FILE)
                if quiesced_s is None and limits.flags & region.FLAG_QUIESCE:
                    quiesced_s = time.time()
        settings = AgentSettings()
        assert killed_s - quiesced_s == pytest.approx(settings.quiesce_before_s, abs=0.01)
        (_, terminated_s) = guard.terminated[0]
        assert killed_s - terminated_s == pytest.approx(settings.terminate_before_s, abs=0.01)
        assert 1 == len(guard.terminated)

    run(main, monkeypatch)


def test_an_api_server_that_is_away_for_ten_minutes_disturbs_nothing(tmp_path, monkeypatch, caplog):
    async def main():
        api = Api()
        async with agent(api, tmp_path) as loop:
            folder = await api.put(tmp_path, "a", epoch=1)
            await api.until(lambda: api.in_force("a") == 1)
            before = (folder / contract.LIMITS_FILE).read_bytes()
            api.leave()
            tracemalloc.start()
            for _ in range(600):
                await asyncio.sleep(1)
                assert "" == loop.unhealthy()
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert "nothing heard from the API server" in loop.unready()
            assert before == (folder / contract.LIMITS_FILE).read_bytes()
            assert api.attempts < 200
            assert peak < 8 * 2**20
            assert len(caplog.records) < 300
            # What changed meanwhile is in force soon after it is back.
            await patched_while_away(api, epoch=2)
            api.away = False
            async with asyncio.timeout(20):
                await api.until(lambda: api.in_force("a") == 2)
            assert "" == loop.unready()

    caplog.set_level(logging.INFO)
    run(main, monkeypatch)


async def patched_while_away(api, epoch):
    api.away = False
    body = {"metadata": {"annotations": {contract.EPOCH: str(epoch), contract.QUOTA: "60"}}}
    await api.patch(PODS, "pod-a", body, "default")
    api.away = True


def test_acknowledgements_that_are_refused_are_sent_again_ever_more_rarely(tmp_path, monkeypatch):
    async def main():
        api = Api()
        async with agent(api, tmp_path) as loop:
            await api.put(tmp_path, "a", epoch=1)
            await api.until(lambda: api.in_force("a") == 1)
            api.refuse = lambda verb, plural, _: api._gone() if plural == "pods" else None
            event = {"metadata": {"annotations": {contract.EPOCH: "2", contract.QUOTA: "60"}}}
            api.refuse, held = (lambda *_: None), api.refuse
            await api.patch(PODS, "pod-a", event, "default")
            api.refuse = held
            await asyncio.sleep(600)
            assert 50 < api.attempts < 80
            api.refuse = lambda *_: None
            async with asyncio.timeout(11):
                await api.until(lambda: api.in_force("a") == 2)
            await asyncio.sleep(1)
            assert {} == loop._refused

    run(main, monkeypatch)


def test_a_pod_that_is_gone_is_not_acknowledged_for_ever(tmp_path, monkeypatch):
    async def main():
        api = Api()
        gone = ApiError(404, "NotFound", "no such pod", "PATCH")
        api.refuse = lambda verb, plural, _: gone if (verb, plural) == ("patch", "pods") else None
        async with agent(api, tmp_path) as loop:
            await api.put(tmp_path, "a", epoch=1)
            await asyncio.sleep(60)
            assert {} == loop._refused
            assert 1 == sum(request[:2] == ("patch", "pods") for request in api.requests)

    run(main, monkeypatch)


def test_fifty_pods_that_start_at_once_are_served_in_bounded_work(tmp_path, monkeypatch):
    big = NodeGpu(GPU.uuid, type(TOY)("toy", 36, 8, 10_000), Backend("A", "of a test"))

    async def main():
        api = Api()
        async with agent(api, tmp_path, lambda _: {big.uuid: big}):
            tracemalloc.start()
            began_s = time.process_time()
            # Two per cent each of the same groups: all fifty must get turns beside each other.
            for index in range(50):
                await api.put(tmp_path, f"p{index}", groups=0b0001, quota=2)
            await api.until(lambda: all(api.in_force(f"p{i}") == 1 for i in range(50)))
            cpu_s = time.process_time() - began_s
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        patches = [
            name for verb, plural, name in api.requests if (verb, plural) == ("patch", "pods")
        ]
        assert 50 == len(set(patches)) == len(patches)
        assert cpu_s < 10
        assert peak < 32 * 2**20
        turns = sorted(
            region.read_limits(path).phase_ns for path in tmp_path.rglob(contract.LIMITS_FILE)
        )
        assert 50 == len(set(turns))

    run(main, monkeypatch)
