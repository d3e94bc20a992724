"""``kserve-has-mps``: runs a node's MPS daemon, apart from the agent, so that both can restart.

Whoever ends this ends the daemon, and with it every client of the node fails at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from kserve_has import contract

from .control import Control
from .daemon import Daemon

LOGS = Path("/var/log/kserve-has-mps")


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a node's MPS daemon."""
    parser.add_argument(
        "--mps-pipes",
        type=Path,
        default=Path(contract.MPS_DIR),
        help="folder of the MPS daemon's sockets, which pods mount; default %(default)s",
    )
    parser.add_argument(
        "--mps-logs",
        type=Path,
        default=LOGS,
        help="folder of the MPS daemon's logs, default %(default)s",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep a daemon running until SIGTERM or SIGINT; return the exit status."""
    parser = argparse.ArgumentParser(prog="kserve-has-mps", description=__doc__)
    add_folders(parser)
    parser.add_argument(
        "--check-s", type=float, default=1.0, help="how often it is looked for, default %(default)s"
    )
    parser.add_argument(
        "--quit-s", type=float, default=5.0, help="patience at the end, default %(default)s"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    daemon = Daemon(Control(options.mps_pipes, options.mps_logs), "manage")
    asyncio.run(keep(daemon, options.check_s, options.quit_s))
    return 0


async def keep(daemon: Daemon, check_s: float, quit_s: float) -> None:
    """Start the daemon whenever it is missing; end it when told to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    while not stop.is_set():
        if not daemon.is_running():
            await daemon.check()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(check_s):
                await stop.wait()
    await daemon.quit(quit_s)


if __name__ == "__main__":
    sys.exit(main())
