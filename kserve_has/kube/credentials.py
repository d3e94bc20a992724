"""Where the API server is and how to prove who we are."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException

from ..errors import ClusterError

REREAD_S = 60.0  # bound ServiceAccount tokens are rotated by kubelet hours before they expire


class Credentials:
    """Server, TLS context and bearer token from a kubeconfig file or the pod's ServiceAccount.

    Raises:
        ClusterError: the file cannot be read, or we are in no cluster.

    """

    def __init__(self, kubeconfig: Path | None) -> None:
        self._kubeconfig = kubeconfig
        self._read_at = time.monotonic()
        self._configuration = self._load()
        self.server = str(self._configuration.host).rstrip("/")

    def _load(self) -> client.Configuration:
        configuration = client.Configuration()
        try:
            if self._kubeconfig is None:
                config.load_incluster_config(configuration)
            else:
                config.load_kube_config(str(self._kubeconfig), client_configuration=configuration)
        except (ConfigException, OSError) as error:
            where = self._kubeconfig or "the pod's ServiceAccount"
            raise ClusterError(f"no credentials from {where}: {error}") from error
        return configuration

    def ssl_context(self) -> ssl.SSLContext | bool:
        """Return the context that trusts the cluster's CA and shows our certificate, if any."""
        if not self.server.startswith("https"):
            return True
        context = ssl.create_default_context(cafile=self._configuration.ssl_ca_cert or None)
        if not self._configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._configuration.cert_file:
            context.load_cert_chain(self._configuration.cert_file, self._configuration.key_file)
        return context

    def headers(self) -> dict[str, str]:
        """Return the Authorization header; the token is read again every minute."""
        if time.monotonic() - self._read_at > REREAD_S:
            self.reread()
        keys = self._configuration.api_key
        token = keys.get("authorization") or keys.get("BearerToken")
        # The loaders disagree on "Bearer ", "bearer " and the bare token.
        return {"Authorization": f"Bearer {token.strip().rpartition(' ')[2]}"} if token else {}

    def reread(self) -> None:
        """Load the credentials again, keeping the old ones when that fails."""
        self._read_at = time.monotonic()
        try:
            self._configuration = self._load()
        except ClusterError:
            return
