"""The kinds of objects that kserve-has reads or writes, and their REST paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .. import contract


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object of the API server.

    Attributes:
        api: ``"v1"`` for the core group, else ``"group/version"``.
        plural: the name in URLs, such as ``"pods"``.
        namespaced: whether its objects live in namespaces.

    """

    api: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the URL path of a collection (no name), an object or its subresource."""
        root = f"/api/{self.api}" if "/" not in self.api else f"/apis/{self.api}"
        parts = [root]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        parts.extend(part for part in (name, subresource) if part)
        return "/".join(parts)


PODS: Final = Resource("v1", "pods")
NODES: Final = Resource("v1", "nodes", namespaced=False)
EVENTS: Final = Resource("v1", "events")
SERVICES: Final = Resource("v1", "services")
SECRETS: Final = Resource("v1", "secrets")
CONFIG_MAPS: Final = Resource("v1", "configmaps")
LEASES: Final = Resource("coordination.k8s.io/v1", "leases")
DEPLOYMENTS: Final = Resource("apps/v1", "deployments")
REPLICA_SETS: Final = Resource("apps/v1", "replicasets")
INFERENCE_SERVICES: Final = Resource(f"{contract.KSERVE_GROUP}/v1beta1", "inferenceservices")
MUTATING_WEBHOOKS: Final = Resource(
    "admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", namespaced=False
)
VALIDATING_WEBHOOKS: Final = Resource(
    "admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", namespaced=False
)
