"""`kserve-has-gateway`: writes Envoy's configuration; `envoy -c DIR/bootstrap.yaml` reads it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import yaml

from kserve_has.config import load
from kserve_has.config.gateway import GatewaySettings
from kserve_has.errors import HasError, SettingsError
from kserve_has.kube import KubeClient

from .feeder import feed
from .files import XdsFiles


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = _settings(options.config)
        asyncio.run(_run(options.kubeconfig, options.xds_dir, settings))
    except HasError as error:
        print(f"kserve-has-gateway: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kserve-has-gateway", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, help="default: the pod's ServiceAccount")
    parser.add_argument("--xds-dir", type=Path, required=True, help="folder that Envoy watches")
    parser.add_argument("--config", type=Path, help="settings as YAML")
    return parser


def _settings(path: Path | None) -> GatewaySettings:
    if path is None:
        return GatewaySettings()
    mapping = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(mapping, dict):
        raise SettingsError(f"{path}: expected a mapping of settings, found {mapping!r}")
    return load(GatewaySettings, mapping)


async def _run(kubeconfig: Path | None, folder: Path, settings: GatewaySettings) -> None:
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    files = XdsFiles(folder.resolve(), settings)
    if files.exists():
        # Envoy may go on from what is there; a first one waits until the cluster has been heard.
        files.write_bootstrap()
    async with KubeClient(kubeconfig, user_agent="kserve-has-gateway") as client:
        await feed(client, files, settings)


if __name__ == "__main__":
    sys.exit(main())
