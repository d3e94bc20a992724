"""Envoy's files on disk: replaced by rename, and only those whose content changed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from kserve_has.config.gateway import GatewaySettings

from . import envoy_config
from .envoy_config import Resource, Route


class XdsFiles:
    """The folder that Envoy watches; whatever a former process left there is taken over.

    Order matters: a cluster's endpoints exist before the cluster, and the cluster before the
    route that names it; they go the other way round.
    """

    def __init__(self, folder: Path, settings: GatewaySettings) -> None:
        self._folder = folder
        self._settings = settings
        (folder / "eds").mkdir(parents=True, exist_ok=True)

    def write(self, routes: Sequence[Route]) -> int:
        """Bring the folder in line with ``routes`` and return how many files changed."""
        folder = str(self._folder)
        backends = [backend for route in routes for backend in route.backends]
        names = {envoy_config.endpoint_file(b.name): b for b in backends}
        changed = sum(
            self._put(f"eds/{name}", envoy_config.endpoints(backend, self._settings))
            for name, backend in names.items()
        )
        # A route must not outlive its cluster, nor come before it: clusters that go stay until
        # the routes are written, which Envoy answers with 503 for the moment in between.
        changed += self._put("cds.json", envoy_config.clusters(routes, self._settings, folder))
        changed += self._put("rds.json", envoy_config.route_table(routes, self._settings))
        for path in (self._folder / "eds").iterdir():
            if path.name not in names:
                path.unlink()
                changed += 1
        return changed

    def write_bootstrap(self) -> Path:
        """Write ``bootstrap.yaml``, last, so that Envoy never starts without its other files."""
        path = self._folder / "bootstrap.yaml"
        document = envoy_config.bootstrap(self._settings, str(self._folder))
        _replace(path, yaml.safe_dump(document, sort_keys=False))
        return path

    def exists(self) -> bool:
        """Whether a former process has left routes here."""
        return (self._folder / "rds.json").exists()

    def _put(self, name: str, document: Resource) -> bool:
        path = self._folder / name
        text = json.dumps(document, indent=1, sort_keys=True)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        _replace(path, text)
        return True


def _replace(path: Path, text: str) -> None:
    # A dot file in the same folder: Envoy reads only the name it was given.
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
