"""`kserve-has-autoscaler`: keeps latency objectives with as little GPU as will do."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from kserve_has import contract
from kserve_has.config import load
from kserve_has.config.controller import ControllerSettings
from kserve_has.config.policy import PolicySettings
from kserve_has.errors import HasError, SettingsError
from kserve_has.kube import KubeClient
from kserve_has.latency import LatencyModel
from kserve_has.latency.table import load_table
from kserve_has.rapp.profiled import load_profiles

from .controller.lease import Leadership
from .controller.loop import Controller
from .controller.metrics import Metrics
from .controller.prometheus import TrafficReader
from .controller.server import serving

Settings = tuple[ControllerSettings, PolicySettings]


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = read_settings(options.config)
        asyncio.run(_run(options, settings))
    except asyncio.CancelledError:
        return 0
    except (HasError, OSError) as error:
        print(f"kserve-has-autoscaler: {error}", file=sys.stderr)
        return 1
    return 0


def read_settings(path: Path | None) -> Settings:
    """Return the settings of a YAML file with the sections ``controller`` and ``policy``.

    Raises:
        SettingsError: one message with everything that is wrong in either section.

    """
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path is not None else None
    sections = {} if content is None else content
    if not isinstance(sections, dict):
        raise SettingsError(f"{path}: expected a mapping, found {sections!r}")
    problems = [
        f"{key}: no such section; known are controller and policy"
        for key in sections
        if key not in ("controller", "policy")
    ]
    controller, policy = ControllerSettings(), PolicySettings()
    try:
        controller = load(ControllerSettings, sections.get("controller") or {})
    except SettingsError as error:
        problems.append(f"controller: {error}")
    try:
        policy = load(PolicySettings, sections.get("policy") or {})
    except SettingsError as error:
        problems.append(f"policy: {error}")
    if problems:
        raise SettingsError(f"{path}: {'; '.join(problems)}")
    return controller, policy


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kserve-has-autoscaler", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, help="default: the pod's ServiceAccount")
    parser.add_argument("--prometheus-url", required=True, help="such as http://127.0.0.1:9090")
    parser.add_argument(
        "--listen",
        type=_address,
        default=("0.0.0.0", contract.AUTOSCALER_PORT),
        help="host:port of /metrics and /healthz",
    )
    parser.add_argument("--namespace", default=contract.NAMESPACE, help="where the Lease lives")
    parser.add_argument("--config", type=Path, help="settings as YAML: controller, policy")
    parser.add_argument("--decision-log", type=Path, help="JSON lines; default: standard output")
    return parser


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not host:port")
    return host, int(port)


async def _run(options: argparse.Namespace, settings: Settings) -> None:
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    controller_settings = settings[0]
    latency = latency_model(controller_settings)
    metrics = Metrics()
    reader = TrafficReader(options.prometheus_url, controller_settings)
    identity = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    async with KubeClient(options.kubeconfig, user_agent="kserve-has-autoscaler") as client:
        leadership = Leadership(client, identity, controller_settings, namespace=options.namespace)
        controller = Controller(
            client, reader, leadership, metrics, latency, settings, _writer(options.decision_log)
        )
        try:
            async with (
                serving(options.listen, metrics, controller.healthy),
                asyncio.TaskGroup() as group,
            ):
                group.create_task(leadership.run())
                group.create_task(controller.run())
        finally:
            await leadership.release()


def latency_model(settings: ControllerSettings) -> LatencyModel:
    """Return what decisions rest on: profiles where the settings name a folder, else the table.

    Raises:
        LatencyModelError: the folder holds no profiles, or one that cannot be trusted.

    """
    if settings.latency_profiles:
        return load_profiles(Path(settings.latency_profiles))
    return load_table(dtype=settings.latency_dtype, mode=settings.latency_mode)


def _writer(path: Path | None) -> Callable[[str], None]:
    if path is None:
        return lambda line: print(line, flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened for each line: a few a second, and a log that was moved away is made anew.

    def append(line: str) -> None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    return append


if __name__ == "__main__":
    sys.exit(main())
