"""`/metrics` and `/healthz` of the controller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from .metrics import Metrics

_GRACE_S: Final = 1.0


@asynccontextmanager
async def serving(
    listen: tuple[str, int], metrics: Metrics, healthy: Callable[[], bool]
) -> AsyncIterator[None]:
    """Answer on (host, port) for as long as the block lasts.

    Raises:
        OSError: the address is taken or not ours.

    """

    async def expose(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(_: web.Request) -> web.Response:
        if healthy():
            return web.Response(text="ok\n")
        return web.Response(status=503, text="the control loop has not gone round lately\n")

    application = web.Application()
    application.add_routes([web.get("/metrics", expose), web.get("/healthz", health)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_GRACE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, *listen).start()
        yield
    finally:
        await runner.cleanup()
