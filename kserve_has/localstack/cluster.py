"""What the stack asks of its own API server: apply objects, make tokens, look at states."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..errors import StackError
from ..kube import ApiError, JsonObject, KubeClient, Resource
from ..kube.resources import NODES
from .supervise import Probe

# Longer than any demonstration: nobody renews these tokens.
_TOKEN_S: Final = 24 * 3600
_SERVICE_ACCOUNTS: Final = Resource("v1", "serviceaccounts")
_CRDS: Final = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False)


class Cluster:
    """The API server as the stack's administrator sees it."""

    def __init__(self, kubectl: str, config: Path) -> None:
        self._kubectl = kubectl
        self._config = config

    async def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl and return what it printed.

        Raises:
            StackError: it failed; the message is kubectl's own.
        """
        process = await asyncio.create_subprocess_exec(
            self._kubectl,
            f"--kubeconfig={self._config}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await process.communicate(stdin.encode())
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise StackError(f"kubectl {' '.join(arguments)}: {errors.decode().strip()}")
        return output.decode()

    async def apply(self, objects: Iterable[JsonObject]) -> None:
        """Apply objects on the server's side: KServe's CRDs are too big for the other way.

        Raises:
            StackError: the server refused one.
        """
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        await self.kubectl(
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=local-stack",
            "--filename=-",
            stdin=json.dumps(items),
        )

    async def token(self, service_account: str, namespace: str) -> str:
        """Return a token of a ServiceAccount, from the TokenRequest API.

        Raises:
            ApiError: there is no such ServiceAccount.
        """
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": _TOKEN_S},
        }
        resource = Resource(_SERVICE_ACCOUNTS.api, f"serviceaccounts/{service_account}/token")
        async with KubeClient(self._config) as client:
            answer = await client.create(resource, request, namespace)
        return str(answer["status"]["token"])

    async def established(self) -> bool:
        """Tell whether the API server serves every CRD it knows."""
        async with KubeClient(self._config) as client:
            found, _ = await client.list(_CRDS)
        return all(_condition(crd, "Established") for crd in found)

    def node_ready(self, name: str) -> Probe:
        """Return a probe that is True once a node says it is ready."""

        async def probe() -> bool:
            try:
                async with KubeClient(self._config) as client:
                    return _condition(await client.get(NODES, name), "Ready")
            except ApiError:
                return False

        return probe


def _condition(item: JsonObject, kind: str) -> bool:
    # A new CRD's conditions are null.
    conditions = item.get("status", {}).get("conditions") or []
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)
