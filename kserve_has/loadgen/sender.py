"""Send a plan's requests when they are due and write down what became of every one."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import TextIO

import aiohttp

from .plan import NO_ANSWER, NO_CONNECTION, NOT_SENT, Outcome, Plan, without_answer

Record = Callable[[Outcome], None]


async def send(plan: Plan, start_at: float, record: Record) -> None:
    """Send every request of a plan; return when each is recorded.

    Args:
        plan: what to send.
        start_at: ``time.monotonic()`` that is second 0 of the plan.
        record: called once for each request of the plan, in order of completion.

    """
    connector = aiohttp.TCPConnector(limit=plan.connections)
    headers = {"Host": plan.host, "Content-Type": "application/json"}
    outstanding: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None),
    ) as session:
        try:
            await _offer(plan, start_at, record, session, outstanding)
            await asyncio.gather(*outstanding)
        finally:
            for task in outstanding:
                task.cancel()
            await asyncio.gather(*outstanding, return_exceptions=True)


async def _offer(
    plan: Plan,
    start_at: float,
    record: Record,
    session: aiohttp.ClientSession,
    outstanding: set[asyncio.Task[None]],
) -> None:
    body = plan.body.encode()
    for index, due in enumerate(plan.due_s):
        delay = start_at + due - time.monotonic()
        try:
            # Also when late: answers must be read even while catching up.
            await asyncio.sleep(max(0.0, delay))
        except asyncio.CancelledError:
            for unsent in plan.due_s[index:]:
                record(without_answer(unsent, math.nan, NOT_SENT))
            raise
        if len(outstanding) >= plan.outstanding:
            record(without_answer(due, math.nan, NOT_SENT))
            continue
        task = asyncio.create_task(_one(plan, body, due, start_at, record, session))
        outstanding.add(task)
        task.add_done_callback(outstanding.discard)


async def _one(
    plan: Plan,
    body: bytes,
    due: float,
    start_at: float,
    record: Record,
    session: aiohttp.ClientSession,
) -> None:
    sent = time.monotonic() - start_at
    outcome = without_answer(due, sent, NO_ANSWER)
    try:
        async with asyncio.timeout(max(0.0, due + plan.timeout_s - sent)):
            async with session.post(plan.url, data=body) as response:
                await response.read()
        latency_ms = (time.monotonic() - start_at - due) * 1000
        outcome = Outcome(due, sent, latency_ms, response.status)
    except TimeoutError:
        pass  # recorded as NO_ANSWER
    except (aiohttp.ClientError, OSError):
        outcome = without_answer(due, sent, NO_CONNECTION)
    finally:
        record(outcome)


def writer(stream: TextIO) -> Record:
    """Return a recorder that writes lines; the caller flushes."""
    return lambda outcome: _write(stream, outcome)


def _write(stream: TextIO, outcome: Outcome) -> None:
    stream.write(outcome.line())
