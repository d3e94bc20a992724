"""Keeps the served certificate fresh and the API server's trust in it, for as long as we run."""

from __future__ import annotations

import asyncio
import datetime
import logging
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from kserve_has.config.webhook import WebhookSettings
from kserve_has.errors import ClusterError
from kserve_has.kube import KubeClient

from .certificates import Certificates, leaf_expiry
from .metrics import WebhookMetrics
from .server import WebhookServer
from .trust import hold_certificates, trust_authority

Refresh = Callable[[ssl.SSLContext, WebhookMetrics], Awaitable[bool]]

_IMPATIENT_S: Final = 0.5  # while pods wait for us
_log = logging.getLogger("kserve-has-webhook")


class OwnAuthority:
    """Certificates of our own making, kept in the Secret and written into the registrations."""

    def __init__(
        self, client: KubeClient, namespace: str, hosts: Sequence[str], settings: WebhookSettings
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._hosts = tuple(hosts)
        self._settings = settings

    async def refresh(self, context: ssl.SSLContext, metrics: WebhookMetrics) -> bool:
        """Renew what is due, make it trusted, then serve it; return whether we are trusted."""
        now = datetime.datetime.now(datetime.UTC)
        held = await hold_certificates(
            self._client, self._namespace, self._hosts, self._settings, now
        )
        # First trusted, then served: a leaf of a new authority must not come as a surprise.
        trusted = await trust_authority(self._client, held.authorities)
        _serve(context, held)
        metrics.certificate_expiry.set(leaf_expiry(held).timestamp())
        return trusted


class MountedCertificates:
    """Certificates that somebody else, such as cert-manager, keeps fresh in a mounted folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def refresh(self, context: ssl.SSLContext, metrics: WebhookMetrics) -> bool:
        """Serve what lies in the folder now; whoever mounts it also makes it trusted.

        Raises:
            ClusterError: the folder has no usable ``tls.crt`` and ``tls.key``.

        """
        leaf, key = self._folder / "tls.crt", self._folder / "tls.key"
        try:
            context.load_cert_chain(leaf, key)
            held = Certificates(b"", b"", leaf.read_bytes(), b"")
        except (OSError, ssl.SSLError) as error:
            raise ClusterError(f"{leaf} and {key} cannot be served: {error}") from error
        metrics.certificate_expiry.set(leaf_expiry(held).timestamp())
        return True


class Keeper:
    """Refreshes for ever.

    Attributes:
        loaded: set once there is a certificate to serve.

    """

    def __init__(
        self,
        refresh: Refresh,
        context: ssl.SSLContext,
        server: WebhookServer,
        metrics: WebhookMetrics,
        interval_s: float,
    ) -> None:
        self.loaded = asyncio.Event()
        self._refresh = refresh
        self._context = context
        self._server = server
        self._metrics = metrics
        self._interval_s = interval_s

    async def run(self) -> None:
        """Refresh, wait, again; a failure leaves everything as it is until the next turn."""
        while True:
            try:
                self._server.trusted = await self._refresh(self._context, self._metrics)
                self.loaded.set()
            except ClusterError as error:
                _log.warning("certificates could not be refreshed: %s", error)
            self._metrics.trusted.set(self._server.trusted)
            await asyncio.sleep(self._interval_s if self._server.trusted else _IMPATIENT_S)


def _serve(context: ssl.SSLContext, held: Certificates) -> None:
    # The ssl module loads from files only; these live for a moment in a folder only we can read.
    with tempfile.TemporaryDirectory(prefix="kserve-has-webhook-") as folder:
        leaf, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        leaf.write_bytes(held.leaf)
        key.write_bytes(held.leaf_key)
        context.load_cert_chain(leaf, key)
