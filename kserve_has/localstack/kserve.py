"""KServe's own controller in Standard mode, unmodified, with its webhooks on loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..kube import JsonObject
from . import kserve_release
from .certs import Authority
from .goparts import GoParts
from .layout import KSERVE_HEALTH_PORT, KSERVE_METRICS_PORT, KSERVE_WEBHOOK_PORT, LOOPBACK
from .supervise import Command

NAME: Final = "kserve-manager"
READY_URL: Final = f"http://{LOOPBACK}:{KSERVE_HEALTH_PORT}/readyz"


def objects(parts: GoParts, authority: Authority) -> tuple[list[JsonObject], list[JsonObject]]:
    """Return what to apply before the manager starts and what needs its webhooks."""
    release = kserve_release.read(parts.kserve_manifests)
    bundle = authority.pair.certificate.read_bytes()
    local = list(kserve_release.localise(release, bundle, KSERVE_WEBHOOK_PORT))
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": kserve_release.NAMESPACE},
    }
    return [namespace, *_kinds(local, custom=False)], list(_kinds(local, custom=True))


def manager(parts: GoParts, config: Path, authority: Authority, scratch: Path) -> Command:
    """Return the manager; it reads its webhook certificate from a fixed place below TMPDIR."""
    folder = scratch / "k8s-webhook-server" / "serving-certs"
    folder.mkdir(parents=True, exist_ok=True)
    service = f"{kserve_release.SERVICE}.{kserve_release.NAMESPACE}.svc"
    pair = authority.issue_server("kserve-webhook", (service, "localhost"))
    shutil.copyfile(pair.certificate, folder / "tls.crt")
    shutil.copyfile(pair.key, folder / "tls.key")
    return Command(
        NAME,
        (
            parts.binary(NAME),
            "-kubeconfig",
            str(config),
            "-health-probe-addr",
            f"{LOOPBACK}:{KSERVE_HEALTH_PORT}",
            "-metrics-addr",
            f"{LOOPBACK}:{KSERVE_METRICS_PORT}",
            "-webhook-port",
            str(KSERVE_WEBHOOK_PORT),
        ),
        env={"POD_NAMESPACE": kserve_release.NAMESPACE, "TMPDIR": str(scratch)},
        disposable=True,
    )


def _kinds(documents: Iterable[JsonObject], *, custom: bool) -> Iterable[JsonObject]:
    return (d for d in documents if (d["kind"] == "ClusterStorageContainer") is custom)
