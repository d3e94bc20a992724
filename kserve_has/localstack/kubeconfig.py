"""Kubeconfig files: who a process is at the API server."""

from __future__ import annotations

from pathlib import Path

import yaml

from .certs import Pair


def write_client(path: Path, server: str, authority: Path, identity: Pair) -> Path:
    """Write a kubeconfig that authenticates with a client certificate; return ``path``."""
    user = {
        "client-certificate": str(identity.certificate),
        "client-key": str(identity.key),
    }
    return _write(path, server, authority, user)


def write_token(path: Path, server: str, authority: Path, token: str) -> Path:
    """Write a kubeconfig that authenticates with a ServiceAccount's token; return ``path``."""
    return _write(path, server, authority, {"token": token})


def _write(path: Path, server: str, authority: Path, user: dict[str, str]) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "clusters": [
            {
                "name": "local",
                "cluster": {"server": server, "certificate-authority": str(authority)},
            }
        ],
        "users": [{"name": "local", "user": user}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local"}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
