"""Reads our own writes: the answer to a patch stands until the watch has caught up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kserve_has.kube import JsonObject, Key, key_of


class Overlay:
    """Objects as we left them, over a cache that may lag behind.

    Without it the next tick would decide on what was true before its own last action, and do
    it twice.
    """

    def __init__(self) -> None:
        self._written: dict[Key, JsonObject] = {}

    def put(self, item: JsonObject) -> None:
        """Remember what the API server answered to a write."""
        self._written[key_of(item)] = item

    def over(self, cache: Mapping[Key, JsonObject]) -> Sequence[JsonObject]:
        """Return the objects of ``cache``, newer answers of our own in their place."""
        for key in [key for key, item in self._written.items() if _caught_up(cache, key, item)]:
            del self._written[key]
        return [self._written.get(key, item) for key, item in cache.items()]


def _caught_up(cache: Mapping[Key, JsonObject], key: Key, written: JsonObject) -> bool:
    held = cache.get(key)
    if held is None or held["metadata"]["uid"] != written["metadata"]["uid"]:
        return True  # deleted, or made again
    # Kubernetes 1.35 promises that versions of one resource compare as numbers.
    return int(held["metadata"]["resourceVersion"]) >= int(written["metadata"]["resourceVersion"])
