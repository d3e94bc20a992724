"""A small HTTP server for ``/metrics``, ``/healthz`` and ``/readyz``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from kserve_has.errors import AgentError


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of ``"127.0.0.1:9401"``.

    Raises:
        ValueError: the text has another form.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{text!r} is not of the form HOST:PORT")
    return host.strip("[]"), int(port)


@asynccontextmanager
async def serving(
    listen: tuple[str, int],
    registry: CollectorRegistry,
    unhealthy: Callable[[], str],
    unready: Callable[[], str] | None = None,
) -> AsyncIterator[None]:
    """Serve while the context lasts; the callables return a reason, or nothing.

    ``unhealthy`` answers ``/healthz``, ``unready`` answers ``/readyz``; without it both are one.

    Raises:
        AgentError: the address cannot be listened on.
    """

    async def metrics(_: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=generate_latest(registry), headers=headers)

    def answer(ask: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(_: web.Request) -> web.Response:
            reason = ask()
            return web.Response(text=reason or "ok", status=503 if reason else 200)

        return handle

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", answer(unhealthy))
    app.router.add_get("/readyz", answer(unready or unhealthy))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, *listen).start()
        except OSError as error:
            raise AgentError(f"cannot listen on {listen[0]}:{listen[1]}: {error}") from error
        yield
    finally:
        await runner.cleanup()
