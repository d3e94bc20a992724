"""The Kubernetes control plane: etcd, API server, controller-manager and scheduler."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import kubeconfig
from .certs import Authority, Pair, write_signing_keys
from .goparts import GoParts
from .layout import (
    API_PORT,
    API_URL,
    CONTROLLER_MANAGER_PORT,
    ETCD_PEER_PORT,
    ETCD_PORT,
    LOOPBACK,
    POD_NETWORK,
    SCHEDULER_PORT,
    SERVICE_NETWORK,
    SERVICE_NETWORK_FIRST,
)
from .supervise import Command

ETCD_URL: Final = f"http://{LOOPBACK}:{ETCD_PORT}"
_ETCD_PEER_URL: Final = f"http://{LOOPBACK}:{ETCD_PEER_PORT}"
_ISSUER: Final = "https://kubernetes.default.svc"


@dataclass(frozen=True, slots=True)
class Identities:
    """Certificates and kubeconfig files of one stack.

    Attributes:
        authority: signs everything; clients trust it.
        server: the API server's certificate.
        signing: key pair of ServiceAccount tokens.
        admin: kubeconfig of a member of system:masters.
        controller_manager: kubeconfig of system:kube-controller-manager.
        scheduler: kubeconfig of system:kube-scheduler.
        folder: where further kubeconfig files go.
    """

    authority: Authority
    server: Pair
    signing: Pair
    admin: Path
    controller_manager: Path
    scheduler: Path
    folder: Path

    def client(self, name: str, user: str, group: str = "") -> Path:
        """Return a kubeconfig whose client certificate is this user in at most one group."""
        return _client(self.authority, self.folder, name, user, group)

    def token(self, name: str, token: str) -> Path:
        """Return a kubeconfig that carries a ServiceAccount's token."""
        path = self.folder / f"{name}.yaml"
        return kubeconfig.write_token(path, API_URL, self.authority.pair.certificate, token)


def make_identities(folder: Path) -> Identities:
    """Make an authority and everything that it signs, below ``folder``."""
    authority = Authority(folder / "certs", datetime.datetime.now(datetime.UTC))
    hosts = (LOOPBACK, SERVICE_NETWORK_FIRST, "localhost", "kubernetes.default.svc")
    configs = folder / "kubeconfigs"
    system = "system:kube-"
    return Identities(
        authority=authority,
        server=authority.issue_server("kube-apiserver", hosts),
        signing=write_signing_keys(folder / "certs"),
        admin=_client(authority, configs, "admin", "admin", "system:masters"),
        controller_manager=_client(
            authority, configs, "kube-controller-manager", f"{system}controller-manager"
        ),
        scheduler=_client(authority, configs, "kube-scheduler", f"{system}scheduler"),
        folder=configs,
    )


def etcd(parts: GoParts, data: Path) -> Command:
    """Return etcd with a throw-away store."""
    return Command(
        "etcd",
        (
            parts.binary("etcd"),
            "--name=local",
            f"--data-dir={data}",
            f"--listen-client-urls={ETCD_URL}",
            f"--advertise-client-urls={ETCD_URL}",
            f"--listen-peer-urls={_ETCD_PEER_URL}",
            f"--initial-advertise-peer-urls={_ETCD_PEER_URL}",
            f"--initial-cluster=local={_ETCD_PEER_URL}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ),
        disposable=True,
    )


def api_server(parts: GoParts, identities: Identities) -> Command:
    """Return the API server, authorising nodes and everybody else as a real cluster does."""
    authority = identities.authority.pair
    return Command(
        "kube-apiserver",
        (
            parts.binary("kube-apiserver"),
            f"--etcd-servers={ETCD_URL}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            f"--secure-port={API_PORT}",
            # A loopback address is refused as endpoint of the Service "kubernetes".
            "--endpoint-reconciler-type=none",
            f"--cert-dir={identities.folder}",
            f"--tls-cert-file={identities.server.certificate}",
            f"--tls-private-key-file={identities.server.key}",
            f"--client-ca-file={authority.certificate}",
            f"--service-account-issuer={_ISSUER}",
            f"--service-account-key-file={identities.signing.certificate}",
            f"--service-account-signing-key-file={identities.signing.key}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--shutdown-delay-duration=0s",
            "--profiling=false",
        ),
        disposable=True,
    )


def controller_manager(parts: GoParts, identities: Identities) -> Command:
    """Return the controller-manager, each controller under its own ServiceAccount."""
    authority = identities.authority.pair
    return Command(
        "kube-controller-manager",
        (
            parts.binary("kube-controller-manager"),
            *_common(identities.controller_manager, CONTROLLER_MANAGER_PORT, identities),
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={identities.signing.key}",
            f"--root-ca-file={authority.certificate}",
            f"--cluster-signing-cert-file={authority.certificate}",
            f"--cluster-signing-key-file={authority.key}",
            f"--cluster-cidr={POD_NETWORK}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
        ),
        disposable=True,
    )


def scheduler(parts: GoParts, identities: Identities) -> Command:
    """Return the scheduler."""
    return Command(
        "kube-scheduler",
        (
            parts.binary("kube-scheduler"),
            *_common(identities.scheduler, SCHEDULER_PORT, identities),
        ),
        disposable=True,
    )


def _common(config: Path, port: int, identities: Identities) -> tuple[str, ...]:
    return (
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--client-ca-file={identities.authority.pair.certificate}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--cert-dir={identities.folder}",
        f"--tls-cert-file={identities.server.certificate}",
        f"--tls-private-key-file={identities.server.key}",
        "--leader-elect=false",
        "--profiling=false",
    )


def _client(authority: Authority, folder: Path, name: str, user: str, group: str = "") -> Path:
    identity = authority.issue_client(name, user, group)
    path = folder / f"{name}.yaml"
    return kubeconfig.write_client(path, API_URL, authority.pair.certificate, identity)
