"""The native sidecar that brings the preload library and shows what is in force."""

from __future__ import annotations

from kserve_has import contract
from kserve_has.config.webhook import WebhookSettings
from kserve_has.kube import JsonObject


def sidecar_container(settings: WebhookSettings) -> JsonObject:
    """Return the init container that keeps running beside the model (native sidecar).

    kubelet starts the model only after the startup probe has succeeded: then the library lies in
    the volume and the limits of the node agent are in force. Fields that the API server would
    default are left out, so that a pod that comes back from it compares equal.
    """
    health = {"path": "/healthz", "port": contract.SIDECAR_PORT}
    return {
        "name": contract.SIDECAR_CONTAINER,
        "image": settings.sidecar_image,
        "command": ["kserve-has-sidecar"],
        "restartPolicy": "Always",
        "env": [{"name": contract.ENV_QUOTA_DIR, "value": contract.QUOTA_DIR}],
        "ports": [{"name": "has-metrics", "containerPort": contract.SIDECAR_PORT}],
        "volumeMounts": [{"name": contract.QUOTA_VOLUME, "mountPath": contract.QUOTA_DIR}],
        "startupProbe": {
            "httpGet": health,
            "periodSeconds": 1,
            "failureThreshold": settings.startup_timeout_s,
        },
        "resources": {
            "requests": {
                "cpu": settings.sidecar_cpu_request,
                "memory": settings.sidecar_memory_request,
            },
            "limits": {"memory": settings.sidecar_memory_limit},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
