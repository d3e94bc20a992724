"""kserve-has-webhook: defaults and checks InferenceServices, prepares their pods."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import signal
import ssl
import sys
from pathlib import Path

import yaml
from aiohttp import web

from kserve_has import contract
from kserve_has.config import load
from kserve_has.config.webhook import WebhookSettings
from kserve_has.errors import HasError, SettingsError
from kserve_has.kube import KubeClient

from .keeper import Keeper, MountedCertificates, OwnAuthority
from .metrics import WebhookMetrics
from .server import WebhookServer

_log = logging.getLogger("kserve-has-webhook")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        host, port = split_listen(options.listen)
        settings = read_settings(options.config)
        if options.mps_pipes is not None:
            settings = dataclasses.replace(settings, mps_pipes=options.mps_pipes)
        if options.leases is not None:
            settings = dataclasses.replace(settings, leases=options.leases)
        asyncio.run(_run(options, host, port, settings))
    except HasError as error:
        print(f"kserve-has-webhook: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"kserve-has-webhook: cannot listen on {options.listen}: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="kserve-has-webhook", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, help="default: the pod's ServiceAccount")
    parser.add_argument(
        "--listen",
        default=f"0.0.0.0:{contract.WEBHOOK_PORT}",
        metavar="ADDRESS:PORT",
        help="HTTPS: admission, /livez, /healthz, /metrics (default %(default)s)",
    )
    parser.add_argument(
        "--namespace", default=contract.NAMESPACE, help="of the Secret (default %(default)s)"
    )
    parser.add_argument("--config", type=Path, help="settings as YAML")
    parser.add_argument(
        "--mps-pipes",
        metavar="FOLDER",
        help="of the MPS daemon's sockets on the nodes; overrides the setting mps_pipes",
    )
    parser.add_argument(
        "--leases",
        metavar="FOLDER",
        help="of the lease files on the nodes; overrides the setting leases",
    )
    parser.add_argument(
        "--tls-dir",
        type=Path,
        help="serve tls.crt and tls.key of this folder, which somebody else keeps fresh and "
        "trusted, such as cert-manager (default: an authority of our own)",
    )
    return parser


def split_listen(text: str) -> tuple[str, int]:
    """Return address and port of ``"127.0.0.1:9443"``.

    Raises:
        SettingsError: it is something else.

    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise SettingsError(f"--listen is {text!r}; expected ADDRESS:PORT, such as 0.0.0.0:9443")
    return host.strip("[]"), int(port)


def read_settings(path: Path | None) -> WebhookSettings:
    """Return the settings of a YAML file, the defaults without one.

    Raises:
        SettingsError: the file cannot be read or has wrong settings.

    """
    if path is None:
        return WebhookSettings()
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if not isinstance(mapping, dict):
        raise SettingsError(f"{path}: expected a mapping of settings, found {mapping!r}")
    return load(WebhookSettings, mapping)


def served_names(namespace: str, host: str) -> tuple[str, ...]:
    """Return the names under which the API server may call us."""
    service = f"{contract.SERVICE_ACCOUNT_WEBHOOK}.{namespace}"
    names = [f"{service}.svc", f"{service}.svc.cluster.local", "localhost", "127.0.0.1"]
    if host not in ("0.0.0.0", "::", *names):
        names.append(host)
    return tuple(names)


async def _run(
    options: argparse.Namespace, host: str, port: int, settings: WebhookSettings
) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    metrics = WebhookMetrics()
    server = WebhookServer(settings, metrics)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    async with contextlib.AsyncExitStack() as stack:
        if options.tls_dir:
            refresh = MountedCertificates(options.tls_dir).refresh
        else:
            client = KubeClient(options.kubeconfig, user_agent="kserve-has-webhook")
            await stack.enter_async_context(client)
            names = served_names(options.namespace, host)
            refresh = OwnAuthority(client, options.namespace, names, settings).refresh
        keeper = Keeper(refresh, context, server, metrics, settings.check_interval_s)
        kept = asyncio.create_task(keeper.run())
        stack.callback(kept.cancel)
        if not await _either(keeper.loaded, stopped, kept):
            return
        runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=3.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, host, port, ssl_context=context).start()
        _log.info("serving on %s:%d", host, port)
        await _either(stopped, stopped, kept)


async def _either(event: asyncio.Event, stopped: asyncio.Event, kept: asyncio.Task[None]) -> bool:
    """Wait until one of the events is set or the keeper breaks; return whether the first is."""
    waits = {asyncio.create_task(e.wait()) for e in (event, stopped)}
    try:
        await asyncio.wait({*waits, kept}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if kept.done():
        kept.result()
    return event.is_set()


if __name__ == "__main__":
    sys.exit(main())
