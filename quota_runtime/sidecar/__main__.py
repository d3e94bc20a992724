"""``kserve-has-sidecar``: installs the preload library and exposes this pod's limits and usage."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from kserve_has import contract
from kserve_has.errors import HasError

from ..serving import parse_listen, serving
from .state import PodMetrics, install

ENV_BIND_ADDRESS = "KSERVE_HAS_BIND_ADDRESS"  # a pod IP where pods share one network namespace
ENV_LIBRARY = "KSERVE_HAS_LIBRARY"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        install(options.library, options.dir)
        asyncio.run(_run(options))
    except HasError as error:
        print(f"kserve-has-sidecar: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kserve-has-sidecar", description=__doc__)
    parser.add_argument(
        "--library",
        type=Path,
        default=os.environ.get(ENV_LIBRARY, f"/usr/lib/{contract.LIBRARY_FILE}"),
        help="preload library to install, default %(default)s",
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=os.environ.get(contract.ENV_QUOTA_DIR, contract.QUOTA_DIR),
        help="the pod's quota volume, default %(default)s",
    )
    address = os.environ.get(ENV_BIND_ADDRESS, "0.0.0.0")
    parser.add_argument(
        "--listen",
        type=parse_listen,
        default=(address, contract.SIDECAR_PORT),
        metavar="HOST:PORT",
        help=f"of /metrics and /healthz, default {address}:{contract.SIDECAR_PORT}",
    )
    return parser


async def _run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    registry = CollectorRegistry()
    metrics = PodMetrics(options.dir, registry)
    async with serving(options.listen, registry, metrics.not_ready):
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
