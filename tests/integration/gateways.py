"""A real Envoy fed by the gateway's files, and servers behind it, for tests."""

import asyncio
import contextlib
import io
import shutil
import socket
import sys
import time
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from autoscaler.gateway.envoy_config import Backend, Endpoint, Route
from autoscaler.gateway.files import XdsFiles
from kserve_has import contract
from kserve_has.config.gateway import GatewaySettings

ENVOY = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
SETTINGS = GatewaySettings(listen_address="127.0.0.1")
HOST = "shop.default"
CLUSTER = "default/shop"


class Upstream:
    """A model server at its own loopback address that notes who asked what."""

    def __init__(
        self, address: str, service_s: float = 0.0, port: int = contract.KSERVE_HTTP_PORT
    ) -> None:
        self.address = address
        self.port = port
        self.service_s = service_s
        self.served = 0
        self.at_once = 0
        self.most_at_once = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> "Upstream":
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address, self.port)
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
            await request.read()
            await asyncio.sleep(self.service_s)
        finally:
            self.at_once -= 1
        return web.Response(text=self.address)


class Gateway:
    """A running Envoy and the files it reads."""

    def __init__(
        self, folder: Path, session: aiohttp.ClientSession, settings: GatewaySettings = SETTINGS
    ) -> None:
        self.files = XdsFiles(folder, settings)
        self.port, self.admin_port = free_port(), free_port()
        self._folder = folder
        self._session = session
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *options: str) -> None:
        bootstrap = self.files.write_bootstrap()
        document = yaml.safe_load(bootstrap.read_text())
        listener = document["static_resources"]["listeners"][0]
        listener["address"]["socket_address"]["port_value"] = self.port
        document["admin"]["address"]["socket_address"]["port_value"] = self.admin_port
        bootstrap.write_text(yaml.safe_dump(document))
        log = (self._folder / "envoy.log").open("ab")
        self._process = await asyncio.create_subprocess_exec(
            *(str(ENVOY), "-c", str(bootstrap), "--concurrency", "1", "--disable-hot-restart"),
            *options,
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

    async def terminate(self) -> None:
        assert self._process is not None
        self._process.terminate()
        await self._process.wait()

    async def upload(self, size: int, sent: bytes = b"") -> asyncio.StreamWriter:
        """Send the head of a request and a part of its body."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"POST /v1/models/shop:predict HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {size}"
        writer.write(head.encode() + b"\r\n\r\n" + sent)
        # Refused while it is sent: the connection is reset, which is an answer too.
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        return writer

    async def post(self, body: bytes) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.port}/v1/models/shop:predict"
        async with self._session.post(url, headers={"Host": HOST}, data=io.BytesIO(body)) as answer:
            return answer.status, await answer.text()

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
