"""Prometheus: what it scrapes and under which rights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from .. import contract
from ..kube import JsonObject
from .goparts import GoParts
from .layout import LOOPBACK, PROMETHEUS_PORT, PROMETHEUS_URL
from .supervise import Command

NAME: Final = "prometheus"
NAMESPACE: Final = "monitoring"
READY_URL: Final = f"{PROMETHEUS_URL}/-/ready"

_RBAC: Final = "rbac.authorization.k8s.io"
_ISVC_LABEL: Final = "serving_kserve_io_inferenceservice"


def objects() -> list[JsonObject]:
    """Return the namespace and the ServiceAccount, which may look at pods and at nothing else."""
    role: JsonObject = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": NAME},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
    }
    binding: JsonObject = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
        },
        role,
        binding,
    ]


def configuration(kubeconfig: Path, agents: Sequence[str], interval_s: int) -> JsonObject:
    """Return Prometheus's configuration.

    Args:
        kubeconfig: how it reads pods.
        agents: addresses ``host:port`` of the node agents.
        interval_s: seconds between scrapes.
    """
    return {
        "global": {"scrape_interval": f"{interval_s}s", "scrape_timeout": f"{interval_s}s"},
        "scrape_configs": [
            _static("gateway", [contract.GATEWAY_ADMIN_PORT], "/stats/prometheus"),
            _static("autoscaler", [contract.AUTOSCALER_PORT]),
            # The webhook's certificate is its own.
            _static("webhook", [contract.WEBHOOK_PORT])
            | {"scheme": "https", "tls_config": {"insecure_skip_verify": True}},
            {"job_name": "agent", "static_configs": [{"targets": list(agents)}]},
            _sidecars(kubeconfig),
        ],
    }


def server(parts: GoParts, folder: Path, content: JsonObject) -> Command:
    """Write the configuration into ``folder`` and return the server, whose data lies beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return Command(
        NAME,
        (
            parts.binary(NAME),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=6h",
            f"--web.listen-address={LOOPBACK}:{PROMETHEUS_PORT}",
            "--log.level=warn",
        ),
        disposable=True,
    )


def _static(job: str, ports: Sequence[int], path: str = "/metrics") -> JsonObject:
    targets = [f"{LOOPBACK}:{port}" for port in ports]
    return {"job_name": job, "metrics_path": path, "static_configs": [{"targets": targets}]}


def _sidecars(kubeconfig: Path) -> JsonObject:
    pod = "__meta_kubernetes_pod"
    keep = [
        {"source_labels": [f"{pod}_labelpresent_{_ISVC_LABEL}"], "regex": "true", "action": "keep"},
        {"source_labels": [f"{pod}_phase"], "regex": "Running", "action": "keep"},
        {
            "source_labels": [f"{pod}_annotationpresent_kserve_has_injected"],
            "regex": "true",
            "action": "keep",
        },
    ]
    # A pod is one target, however many ports its containers declare.
    address = {
        "source_labels": [f"{pod}_ip"],
        "regex": "(.+)",
        "target_label": "__address__",
        "replacement": f"$1:{contract.SIDECAR_PORT}",
    }
    names = {
        "namespace": "__meta_kubernetes_namespace",
        "pod": f"{pod}_name",
        "node": f"{pod}_node_name",
    }
    rename = [
        {"source_labels": [source], "target_label": target} for target, source in names.items()
    ]
    labels = {"regex": f"{pod}_label_(.+)", "action": "labelmap"}
    return {
        "job_name": "sidecar",
        "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": str(kubeconfig)}],
        "relabel_configs": [*keep, address, *rename, labels],
    }
