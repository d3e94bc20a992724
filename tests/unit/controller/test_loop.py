import asyncio
import contextlib
import json
from dataclasses import replace

import pytest

from autoscaler.controller import loop
from autoscaler.controller.fake_api import FakeApi
from autoscaler.controller.lease import Leadership
from autoscaler.controller.loop import Controller
from autoscaler.controller.metrics import Metrics
from autoscaler.controller.observe import allocation_of
from autoscaler.policy.observation import Traffic
from kserve_has import contract
from kserve_has.config.controller import ControllerSettings
from kserve_has.config.policy import PolicySettings
from kserve_has.errors import ClusterError
from kserve_has.kube import ApiError
from kserve_has.kube.resources import DEPLOYMENTS, INFERENCE_SERVICES, NODES, PODS
from kserve_has.latency.table import load_table

SETTINGS = ControllerSettings(tick_s=0.02, prometheus_poll_s=0.1, lease_renew_s=0.1)
LABELS = {contract.KSERVE_ISVC_LABEL: "shop", "app": "isvc.shop-predictor"}


class Reader:
    """Traffic as the test wants it, in place of Prometheus."""

    def __init__(self):
        self.rps = 5.0
        self.broken = False

    async def poll(self, now):
        if self.broken:
            raise ClusterError("Prometheus did not answer")

    def traffic(self, name, slo, now):
        seconds = tuple((float(age), self.rps) for age in range(60, -1, -1))
        return Traffic(0.5, seconds, 1.0, 20.0, self.rps, 0.0)


class Running:
    """A controller at work on a fake API."""

    def __init__(self, make):
        self.make = make
        self.api = FakeApi()
        self.reader = Reader()
        self.metrics = Metrics()
        self.lines = []
        self._tasks = []

    async def cluster(self):
        node = {
            "metadata": {
                "name": "gpu-node-0",
                "annotations": {contract.NODE_GPUS: json.dumps([GPU])},
            },
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
        await self.api.create(NODES, node)
        await self.api.create(INFERENCE_SERVICES, self.make.isvc(), "default")
        deployment = self.make.deployment()
        deployment["metadata"]["labels"] = LABELS
        await self.api.create(DEPLOYMENTS, deployment, "default")

    async def gated(self, name):
        pod = self.make.pod(name, gated=True)
        pod["metadata"]["labels"] = LABELS
        await self.api.create(PODS, pod, "default")

    def start(self, name="a", settings=SETTINGS):
        leadership = Leadership(self.api, name, settings)
        controller = Controller(
            self.api,
            self.reader,
            leadership,
            self.metrics,
            load_table(),
            (settings, PolicySettings()),
            self.lines.append,
        )
        tasks = [asyncio.create_task(work) for work in (leadership.run(), controller.run())]
        self._tasks += tasks
        return leadership, tasks

    async def until(self, predicate):
        async with asyncio.timeout(5):
            await self.api.until(predicate)

    async def stop(self, tasks=None):
        for task in tasks or self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def allocation(self, name):
        return allocation_of(self.api.peek(PODS, name, "default")["metadata"]["annotations"])

    def value(self, name, **labels):
        return self.metrics.registry.get_sample_value(f"kserve_has_{name}", labels)


GPU = {
    "uuid": "GPU-a",
    "product": "NVIDIA H200",
    "sm_count": 132,
    "sm_group_size": 8,
    "memory_bytes": 141 * 10**9,
}


@pytest.fixture
async def running(make):
    running = Running(make)
    await running.cluster()
    yield running
    await running.stop()


async def test_a_gated_pod_gets_its_place_once(running):
    running.start()
    await running.gated("p")
    await running.until(lambda: running.allocation("p") is not None)
    await running.gated("q")
    await running.until(lambda: running.allocation("q") is not None)
    placed = [line for line in running.lines if '"place"' in line]
    assert len(placed) == 2
    assert running.value("leading") == 1


async def test_a_rise_of_traffic_is_answered_by_a_larger_piece(running):
    running.start()
    await running.gated("p")
    await running.until(lambda: running.allocation("p") is not None)
    small = running.allocation("p")
    running.reader.rps = 100.0
    await running.until(lambda: running.allocation("p").area > small.area)


async def test_a_tick_that_fails_is_counted_and_the_next_one_works(running, monkeypatch):
    healthy, failures = loop.decide, iter([ZeroDivisionError("a defect")] * 3)

    def decide(*arguments):
        for failure in failures:
            raise failure
        return healthy(*arguments)

    monkeypatch.setattr(loop, "decide", decide)
    running.start()
    await running.gated("p")
    await running.until(lambda: running.allocation("p") is not None)
    assert running.value("tick_errors_total", part="tick") == 3


async def test_a_silent_prometheus_stops_nothing(running):
    running.reader.broken = True
    running.start()
    await running.gated("p")
    await running.until(lambda: running.allocation("p") is not None)
    assert running.value("tick_errors_total", part="prometheus") >= 1


async def test_refused_writes_stop_nothing(running):
    left = [2]

    def refuse(_verb, plural, _name):
        if plural == "pods" and left[0]:
            left[0] -= 1
            return ApiError(403, "Forbidden", "not yet", "PATCH")
        return None

    await running.gated("p")
    running.api.refuse = refuse
    running.start()
    await running.until(lambda: running.allocation("p") is not None)
    assert running.value("actions_total", **FAILED_PLACE) == 2


FAILED_PLACE = {"kind": "place", "reason": "NewReplica", "outcome": "failed"}


async def test_of_two_controllers_one_acts_and_the_other_takes_over(running):
    leadership, tasks = running.start("first")
    await running.gated("p")
    await running.until(lambda: running.allocation("p") is not None)
    running.start("second")
    await running.gated("q")
    await running.until(lambda: running.allocation("q") is not None)
    await running.stop(tasks)
    await leadership.release()
    await running.gated("r")
    await running.until(lambda: running.allocation("r") is not None)
    assert sum('"place"' in line for line in running.lines) == 3


async def test_a_second_term_starts_from_the_pods_not_from_the_first_terms_memory(
    running, monkeypatch
):
    recovered = []
    honest = loop.recovered_state

    def recover(world):
        recovered.append(world)
        return honest(world)

    monkeypatch.setattr(loop, "recovered_state", recover)
    leadership, (term, _) = running.start()
    await running.gated("p")
    await running.until(lambda: running.allocation("p") is not None)
    assert len(recovered) == 1
    await running.stop([term])
    await leadership.release()
    async with asyncio.timeout(5):
        while running.value("leading"):
            await asyncio.sleep(SETTINGS.tick_s)
        await leadership.attempt()
        while len(recovered) < 2:
            await asyncio.sleep(SETTINGS.tick_s)


class Taught:
    """A latency model that has learnt something by the third tick."""

    def __init__(self, *_):
        self.model, self.latest = load_table(), load_table()
        self.steps = self.ends = self.looks = 0

    def step(self, now_s):
        self.steps += 1
        if self.steps != 3:
            return False
        self.model = self.latest
        return True

    def end(self):
        self.ends += 1

    async def look(self, world, now):
        self.looks += 1
        raise ClusterError("no") if self.looks < 3 else ZeroDivisionError("a defect")


async def test_decisions_follow_what_the_latency_model_has_learnt(running, monkeypatch):
    taught, asked, handed = Taught(), [], []
    decide, hand_over = loop.decide, loop.handed_over

    def deciding(state, seen, settings, latency):
        asked.append(latency)
        return decide(state, seen, settings, latency)

    def handing(state, seen, settings, former, latest):
        handed.append((former, latest))
        return hand_over(state, seen, settings, former, latest)

    monkeypatch.setattr(loop, "Feedback", lambda *_: taught)
    monkeypatch.setattr(loop, "decide", deciding)
    monkeypatch.setattr(loop, "handed_over", handing)
    running.start(settings=replace(SETTINGS, observe_every_s=0.02))
    await running.gated("p")
    async with asyncio.timeout(5):
        while len(asked) < 6 or taught.looks < 4:
            await asyncio.sleep(0.02)
    assert asked[1] is not taught.latest
    assert asked[2] is asked[3] is taught.latest
    assert handed == [(asked[1], taught.latest)]
    assert running.value("tick_errors_total", part="observations") >= 3
    assert running.value("tick_errors_total", part="tick") is None


async def test_a_model_that_cannot_learn_keeps_nothing_from_being_decided(running, monkeypatch):
    def fail(*_):
        raise RuntimeError("singular matrix")

    monkeypatch.setattr(Taught, "step", fail)
    monkeypatch.setattr("autoscaler.controller.loop.Feedback", Taught)
    running.start()
    await running.gated("p")
    await running.until(lambda: running.allocation("p") is not None)
    assert running.value("tick_errors_total", part="observations") > 0


async def test_who_does_not_lead_learns_nothing(running, monkeypatch):
    taught = Taught()
    monkeypatch.setattr(loop, "Feedback", lambda *_: taught)
    leadership, (term, _) = running.start(settings=replace(SETTINGS, observe_every_s=0.02))
    async with asyncio.timeout(5):
        while not running.value("leading"):
            await asyncio.sleep(0.02)
        await running.stop([term])
        await leadership.release()
        before = taught.ends
        while taught.ends == before:
            await asyncio.sleep(0.02)
        steps, looks = taught.steps, taught.looks
        while taught.ends < before + 5:
            await asyncio.sleep(0.02)
    assert (steps, looks) == (taught.steps, taught.looks)


async def test_the_reason_is_told_as_an_event(running):
    running.start()
    await running.gated("p")
    await running.until(
        lambda: any(request[:2] == ("create", "events") for request in running.api.requests)
    )
