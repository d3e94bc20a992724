"""A pod's volumes, in kubelet's own layout under the node's root."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ...kube import ApiError, JsonObject, KubeClient
from ...kube.resources import CONFIG_MAPS, SECRETS, Resource
from .environment import ContainerConfigError, NodeRuntime, Reference, field_value

SERVICE_ACCOUNTS: Final = Resource("v1", "serviceaccounts")
_TMPFS_OPTIONS: Final = b"size=256m,mode=0777"
_MNT_DETACH: Final = 2
_libc = ctypes.CDLL(None, use_errno=True)


def pod_folder(root: Path, uid: str) -> Path:
    """Return the folder of one pod."""
    return root / "pods" / uid


class Volumes:
    """Makes, finds and removes the volumes of one pod."""

    def __init__(
        self, root: Path, client: KubeClient, pod: JsonObject, pod_ip: str, runtime: NodeRuntime
    ) -> None:
        self.folder = pod_folder(root, pod["metadata"]["uid"])
        self.paths: dict[str, Path] = {}
        self._client = client
        self._pod = pod
        self._namespace = pod["metadata"]["namespace"]
        self._pod_ip = pod_ip
        self._runtime = runtime
        self._mounted: list[Path] = []

    async def make(self, volumes: Mapping[str, JsonObject]) -> None:
        """Make all volumes that do not exist yet.

        Raises:
            ContainerConfigError: a kind is unknown, or a required source is missing.
            ApiError: the API server did not answer.
        """
        for name, volume in volumes.items():
            if name not in self.paths:
                self.paths[name] = await self._make(name, volume)

    def remove(self) -> None:
        """Remove the pod's folder with everything in it."""
        for path in self._mounted:
            _libc.umount2(os.fsencode(path), _MNT_DETACH)
        self._mounted.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def data(self, reference: Reference) -> dict[str, bytes] | None:
        """Return the keys of a ConfigMap or Secret of the pod's namespace, None without it."""
        kind, name = reference
        resource = CONFIG_MAPS if kind == "ConfigMap" else SECRETS
        try:
            item = await self._client.get(resource, name, self._namespace)
        except ApiError as error:
            if error.status in (403, 404):
                return None  # a node may read only what exists and its pods refer to
            raise
        plain = item.get("data") or {}
        if kind == "Secret":
            return {key: base64.b64decode(value) for key, value in plain.items()}
        binary = item.get("binaryData") or {}
        return {key: value.encode() for key, value in plain.items()} | {
            key: base64.b64decode(value) for key, value in binary.items()
        }

    async def _make(self, name: str, volume: JsonObject) -> Path:
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        if "emptyDir" in volume:
            return self._empty_dir(name, (volume["emptyDir"] or {}).get("medium", ""))
        for kind in ("configMap", "secret", "downwardAPI", "projected"):
            if kind in volume:
                folder = self._place(f"kubernetes.io~{kind.lower()}", name)
                files = await self._files(kind, volume[kind])
                for path, content in files.items():
                    _write(folder / path, content)
                return folder
        kinds = ", ".join(key for key in volume if key != "name")
        raise ContainerConfigError(f"volume {name!r}: {kinds} is not supported")

    def _place(self, plugin: str, name: str) -> Path:
        folder = self.folder / "volumes" / plugin / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _empty_dir(self, name: str, medium: str) -> Path:
        folder = self._place("kubernetes.io~empty-dir", name)
        # In memory, because shared counters mapped from a disk would be written back for ever.
        if medium == "Memory" and not os.path.ismount(folder):
            options = ctypes.c_char_p(_TMPFS_OPTIONS)
            if _libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", ctypes.c_ulong(0), options):
                return folder  # not allowed here: a plain folder does the same, slower
            self._mounted.append(folder)
        return folder

    async def _files(self, kind: str, source: JsonObject) -> dict[str, bytes]:
        if kind == "projected":
            files: dict[str, bytes] = {}
            for part in source.get("sources") or ():
                (inner,) = part
                files |= await self._files(inner, part[inner])
            return files
        if kind == "downwardAPI":
            return {item["path"]: self._downward(item) for item in source.get("items") or ()}
        if kind == "serviceAccountToken":
            return {source["path"]: await self._token(source)}
        if kind not in ("configMap", "secret"):
            raise ContainerConfigError(f"projected source {kind!r} is not supported")
        return await self._keyed("ConfigMap" if kind == "configMap" else "Secret", source)

    def _downward(self, item: JsonObject) -> bytes:
        if "fieldRef" not in item:
            raise ContainerConfigError(
                f"downward API file {item['path']!r}: only fieldRef is known"
            )
        path = item["fieldRef"]["fieldPath"]
        return field_value(self._pod, path, self._pod_ip, self._runtime).encode()

    async def _keyed(self, kind: str, source: JsonObject) -> dict[str, bytes]:
        name = source.get("name") or source.get("secretName", "")
        data = await self.data((kind, name))
        if data is None:
            if source.get("optional", False):
                return {}
            raise ContainerConfigError(f"{kind} {name!r} does not exist")
        items = source.get("items")
        if not items:
            return data
        return {item["path"]: data[item["key"]] for item in items if item["key"] in data}

    async def _token(self, source: JsonObject) -> bytes:
        metadata = self._pod["metadata"]
        request = {
            "spec": {
                "audiences": [source["audience"]] if source.get("audience") else [],
                # Long enough for any run: the stand-in does not rotate tokens.
                "expirationSeconds": 24 * 3600,
                "boundObjectRef": {
                    "kind": "Pod",
                    "apiVersion": "v1",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
            }
        }
        account = self._pod["spec"].get("serviceAccountName", "default")
        answer = await self._client.post(
            SERVICE_ACCOUNTS, account, "token", request, self._namespace
        )
        return str(answer["status"]["token"]).encode()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    path.write_bytes(content)
