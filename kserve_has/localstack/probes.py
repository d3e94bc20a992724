"""Ways to ask a process whether it is ready."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final

import aiohttp

from .layout import LOOPBACK
from .supervise import Probe

_TIMEOUT: Final = aiohttp.ClientTimeout(total=2)


def http_ok(url: str, authority: Path | None = None) -> Probe:
    """Return a probe that is True once ``url`` answers 200; https trusts ``authority`` only."""
    trusted = ssl.create_default_context(cafile=authority) if authority else None

    async def probe() -> bool:
        connector = aiohttp.TCPConnector(ssl=trusted) if trusted else None
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session,
                session.get(url) as response,
            ):
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    return probe


def listening(port: int) -> Probe:
    """Return a probe that is True once something accepts connections on a loopback port."""

    async def probe() -> bool:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    return probe


def exists(path: Path) -> Probe:
    """Return a probe that is True once a file is there."""

    async def probe() -> bool:
        return path.exists()

    return probe


def both(first: Probe, second: Probe) -> Probe:
    """Return a probe that is True once both others are."""

    async def probe() -> bool:
        return await first() and await second()

    return probe
