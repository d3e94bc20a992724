"""Probes: how results add up to a verdict (pure), and how one probe is made."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from .spec import Probe

RunCommand = Callable[[tuple[str, ...]], Awaitable[int]]
_HTTP_GOOD: Final = range(200, 400)


@dataclass
class Verdict:
    """Whether a probe holds, by its thresholds.

    Attributes:
        passed: None until either threshold has been reached.
    """

    probe: Probe
    passed: bool | None = None
    _last: bool | None = None
    _run: int = 0

    def add(self, good: bool) -> bool:
        """Count one result and return whether ``passed`` has changed."""
        self._run = self._run + 1 if good == self._last else 1
        self._last = good
        threshold = self.probe.success_threshold if good else self.probe.failure_threshold
        if self._run < threshold or self.passed == good:
            return False
        self.passed = good
        return True


async def check(probe: Probe, address: str, http: aiohttp.ClientSession, run: RunCommand) -> bool:
    """Make one probe and return whether it was good; a late answer is a bad one."""
    try:
        async with asyncio.timeout(probe.timeout_s):
            if probe.http_path is not None:
                return await _http(probe, address, http)
            if probe.command:
                return await run(probe.command) == 0
            return await _tcp(address, probe.port)
    except (TimeoutError, OSError, aiohttp.ClientError):
        return False


async def _http(probe: Probe, address: str, http: aiohttp.ClientSession) -> bool:
    url = f"{probe.scheme}://{address}:{probe.port}{probe.http_path}"
    async with http.get(url, headers=probe.headers, ssl=False, allow_redirects=False) as answer:
        return answer.status in _HTTP_GOOD


async def _tcp(address: str, port: int) -> bool:
    _, writer = await asyncio.open_connection(address, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
