"""Ways to ask a process whether it is ready."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import aiohttp

from .supervise import Probe

_TIMEOUT: Final = aiohttp.ClientTimeout(total=2)


def http_ok(url: str, authority: Path | None = None, *, verify: bool = True) -> Probe:
    """Return a probe that is True once ``url`` answers 200; https trusts ``authority`` only."""
    trusted = ssl.create_default_context(cafile=authority) if authority else verify

    async def probe() -> bool:
        connector = aiohttp.TCPConnector(ssl=trusted)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session,
                session.get(url) as response,
            ):
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    return probe


def exists(path: Path) -> Probe:
    """Return a probe that is True once a file is there."""

    async def probe() -> bool:
        return path.exists()

    return probe
