"""Reading the parts that every Kubernetes object has."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]
Key = tuple[str, str]  # (namespace, name); the namespace is "" for cluster-wide objects


def key_of(item: JsonObject) -> Key:
    """Return the (namespace, name) of an object."""
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def uid_of(item: JsonObject) -> str:
    """Return the uid of an object."""
    return str(item["metadata"]["uid"])


def annotations_of(item: JsonObject) -> dict[str, str]:
    """Return the annotations of an object, empty when it has none."""
    return item["metadata"].get("annotations") or {}


def labels_of(item: JsonObject) -> dict[str, str]:
    """Return the labels of an object, empty when it has none."""
    return item["metadata"].get("labels") or {}
