"""``python -m kserve_has.loadgen PLAN.json OUTCOMES.csv START``: one generator process.

START is the ``time.monotonic()`` of the plan's second 0; all processes of a machine share it.
SIGTERM ends it early with every remaining request on record.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TextIO

from .plan import Plan, read_plan
from .sender import send, writer

FLUSH_S: Final = 0.25


async def _run(plan: Plan, stream: TextIO, start_at: float) -> None:
    sending = asyncio.create_task(send(plan, start_at, writer(stream)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sending.cancel)
    flushing = asyncio.create_task(_flush(stream))
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    flushing.cancel()


async def _flush(stream: TextIO) -> None:
    while True:
        await asyncio.sleep(FLUSH_S)
        stream.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Send one plan."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    plan_path, outcomes_path, start = arguments
    plan = read_plan(Path(plan_path))
    gc.freeze()  # a collection pause would look like latency of the service
    with Path(outcomes_path).open("w", encoding="utf-8") as stream:
        asyncio.run(_run(plan, stream, float(start)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
