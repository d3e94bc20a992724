"""``kserve-has-agent``: writes the limits of this node's pods and says what is in force."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry

from kserve_has import contract
from kserve_has.config import load
from kserve_has.config.agent import AgentSettings
from kserve_has.errors import HasError, SettingsError
from kserve_has.kube import KubeClient

from ..serving import parse_listen, serving
from .loop import AgentLoop
from .metrics import AgentMetrics
from .mps.__main__ import add_folders
from .mps.control import Control
from .mps.daemon import Daemon
from .mps.guard import Guard


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    status = 0
    try:
        asyncio.run(_run(options, _settings(options.config)))
    except* HasError as group:
        for error in group.exceptions:
            print(f"kserve-has-agent: {error}", file=sys.stderr)
        status = 1
    except* asyncio.CancelledError:
        pass
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kserve-has-agent", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, help="default: the pod's ServiceAccount")
    parser.add_argument("--node", required=True, help="name of the node this runs on")
    parser.add_argument(
        "--kubelet-root", type=Path, default=Path("/var/lib/kubelet"), help="default %(default)s"
    )
    parser.add_argument(
        "--listen",
        type=parse_listen,
        default=("0.0.0.0", contract.AGENT_PORT),
        metavar="HOST:PORT",
        help=f"of /metrics, /healthz and /readyz, default 0.0.0.0:{contract.AGENT_PORT}",
    )
    add_folders(parser)
    parser.add_argument(
        "--mps",
        choices=("off", "adopt", "manage"),
        default="off",
        help="off: pods take turns on whole GPUs; adopt: use the MPS daemon that somebody else "
        "runs; manage: start one where none answers. Default %(default)s",
    )
    parser.add_argument(
        "--leases",
        type=Path,
        metavar="DIR",
        help="of the lease files through which pods that share SMs take turns, on a tmpfs that pods "
        "have as well; default: none, pods keep to places in the quota window",
    )
    parser.add_argument("--config", type=Path, help="settings as YAML")
    return parser


def _guard(options: argparse.Namespace, settings: AgentSettings) -> Guard | None:
    if options.mps == "off":
        return None
    control = Control(options.mps_pipes, options.mps_logs)
    return Guard(Daemon(control, options.mps), settings)


def _settings(path: Path | None) -> AgentSettings:
    if path is None:
        return AgentSettings()
    mapping = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(mapping, dict):
        raise SettingsError(f"{path}: expected a mapping of settings, found {mapping!r}")
    return load(AgentSettings, mapping)


async def _run(options: argparse.Namespace, settings: AgentSettings) -> None:
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    registry = CollectorRegistry()
    async with KubeClient(options.kubeconfig, user_agent="kserve-has-agent") as client:
        guard = _guard(options, settings)
        root = options.kubelet_root.resolve()
        loop = AgentLoop(client, options.node, root, settings, guard=guard, leases=options.leases)
        AgentMetrics(loop.keeper, registry, guard)
        async with serving(options.listen, registry, loop.unhealthy, loop.unready):
            await loop.run()


if __name__ == "__main__":
    sys.exit(main())
