"""``python -m kserve_has.localstack.node``: stand in for the kubelet of one node."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from ...errors import HasError
from ...kube import KubeClient
from .addresses import PodAddresses
from .environment import NodeRuntime
from .node import Node
from .pod import NodeHost, base_environment


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(_run(options))
    except HasError as error:
        print(f"node {options.node}: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kserve_has.localstack.node", description=__doc__
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, help="as system:node:NAME")
    parser.add_argument("--node", required=True, help="name of the node")
    parser.add_argument("--root", type=Path, required=True, help="plays /var/lib/kubelet")
    parser.add_argument("--pod-cidr", required=True, help="10.244.1.0/24; .1 is the node itself")
    parser.add_argument("--emulated-gpus", default="", help="folder of the node's emulated GPUs")
    parser.add_argument("--driver-dir", default="", help="folder with the emulated libcuda.so.1")
    parser.add_argument("--library", default="", help="preload library that the sidecar carries")
    return parser


async def _run(options: argparse.Namespace) -> None:
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    addresses = PodAddresses(options.pod_cidr)
    runtime = NodeRuntime(
        node=options.node,
        host_ip=addresses.node,
        driver_dir=_absolute(options.driver_dir),
        emulated_gpus=_absolute(options.emulated_gpus),
        library=_absolute(options.library),
        base=base_environment(),
    )
    agent = f"kserve-has-node/{options.node}"
    async with (
        KubeClient(options.kubeconfig, user_agent=agent) as client,
        aiohttp.ClientSession() as http,
    ):
        host = NodeHost(client, http, options.root.resolve(), runtime)
        await Node(host, addresses).run()


def _absolute(path: str) -> str:
    return str(Path(path).resolve()) if path else ""


if __name__ == "__main__":
    sys.exit(main())
