"""Asynchronous access to the Kubernetes API: one thin client, one informer.

``kubernetes`` loads the credentials (it knows kubeconfig files and in-cluster ServiceAccounts);
requests and watches run on ``aiohttp``. The generated client of ``kubernetes`` 35 and 36 is
synchronous: its watch holds one thread per resource for as long as it lasts, cannot be cancelled
while it waits, and after an expired resourceVersion (410) it raises and leaves the relist to its
caller. Our components watch several resources in one event loop and must stop at once on SIGTERM.
"""

from __future__ import annotations

from .client import ApiError, KubeClient
from .informer import Informer
from .objects import JsonObject, Key, annotations_of, key_of, labels_of, uid_of
from .resources import Resource

__all__ = [
    "ApiError",
    "Informer",
    "JsonObject",
    "Key",
    "KubeClient",
    "Resource",
    "annotations_of",
    "key_of",
    "labels_of",
    "uid_of",
]
