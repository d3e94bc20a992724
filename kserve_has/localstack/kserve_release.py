"""Which objects of KServe's release the stack applies, and how they are made local. Pure."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from ..kube import JsonObject

NAMESPACE: Final = "kserve"
SERVICE: Final = "kserve-webhook-server-service"
SERVICE_ACCOUNT: Final = "kserve-controller-manager"
CONFIG: Final = "inferenceservice-config"

_CRD: Final = "CustomResourceDefinition"
_KINDS: Final = (
    _CRD,
    "ServiceAccount",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Service",
    "ClusterStorageContainer",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
)
# The other controllers of the release (LLM services, local models) are not run.
_PLURALS: Final = (
    "inferenceservices",
    "servingruntimes",
    "clusterservingruntimes",
    "clusterstoragecontainers",
    "inferencegraphs",
    "trainedmodels",
)
_OTHER_CONTROLLERS: Final = ("llm", "localmodel")


def extract(release: Path, target: Path) -> None:
    """Copy what the stack uses out of the release.

    As JSON, because YAML takes seconds to read, and without the CRDs' field descriptions: they
    are three quarters of the bytes and cost the API server seconds.
    """
    documents = yaml.load_all(release.read_text(encoding="utf-8"), Loader=_loader())
    kept = [_undescribed(document) for document in documents if document and wanted(document)]
    target.write_text(json.dumps(kept), encoding="utf-8")


def read(path: Path) -> list[JsonObject]:
    """Read what :func:`extract` wrote."""
    kept: list[JsonObject] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def wanted(document: JsonObject) -> bool:
    """Tell whether the stack applies this object of the release."""
    kind, name = document["kind"], document["metadata"]["name"]
    if kind == _CRD:
        return name in {f"{plural}.serving.kserve.io" for plural in _PLURALS}
    if kind == "Service":
        return bool(name == SERVICE)
    return kind in _KINDS and not any(other in name for other in _OTHER_CONTROLLERS)


def localise(documents: Iterable[JsonObject], authority: bytes, port: int) -> Iterator[JsonObject]:
    """Yield the objects as the local stack applies them.

    Args:
        documents: what :func:`read` returned; left unchanged.
        authority: PEM certificate that signed the manager's webhook certificate.
        port: where the manager's webhooks listen on loopback.
    """
    bundle = base64.b64encode(authority).decode()
    for original in documents:
        document = copy.deepcopy(original)
        if document["kind"].endswith("WebhookConfiguration"):
            for webhook in document["webhooks"]:
                webhook["clientConfig"]["caBundle"] = bundle
                webhook["clientConfig"]["service"]["port"] = port
        elif document["kind"] == "Service":
            # The webhooks insist on a Service; this one leads the API server to loopback.
            document["spec"] = {"type": "ExternalName", "externalName": "localhost"}
        elif document["kind"] == "ConfigMap" and document["metadata"]["name"] == CONFIG:
            _set_config(document["data"])
        elif document["kind"] == _CRD:
            # Conversion needs a webhook that the manager of this release does not serve here.
            document["spec"].pop("conversion", None)
        yield document


def _undescribed(node: object) -> object:
    if isinstance(node, list):
        return [_undescribed(item) for item in node]
    if not isinstance(node, dict):
        return node
    # A field that is called description has a schema, not a text.
    return {
        key: _undescribed(value)
        for key, value in node.items()
        if key != "description" or not isinstance(value, str)
    }


def _set_config(data: dict[str, str]) -> None:
    deploy = {**json.loads(data["deploy"]), "defaultDeploymentMode": "Standard"}
    ingress = {
        **json.loads(data["ingress"]),
        "disableIngressCreation": True,
        "disableIstioVirtualHost": True,
    }
    data["deploy"] = json.dumps(deploy)
    data["ingress"] = json.dumps(ingress)


def _loader() -> type[Any]:
    # The C parser reads the 7 MB of CRDs in 2 s instead of 20; wheels of PyYAML carry it.
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
