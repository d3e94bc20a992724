"""A cache of one kind of object, kept current by list and watch."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal

from .client import ApiError, KubeClient
from .objects import JsonObject, Key, key_of
from .resources import Resource

EventType = Literal["ADDED", "MODIFIED", "DELETED"]
Callback = Callable[[EventType, JsonObject], Awaitable[None]]
FIRST_BACKOFF_S: Final = 0.2
LONGEST_BACKOFF_S: Final = 10.0
HASTY_S: Final = 1.0  # a server that ends watches sooner is not asked again at once
WATCH_TIMEOUT_S: Final = (300, 600)  # spread, so that many watchers do not renew together

log = logging.getLogger(__name__)


class Informer:
    """All objects of one resource under a selector, and word of every change.

    ``run`` lists, then watches with bookmarks; when a watch ends by itself it goes on from the
    last version seen, after a 410 or any other error it lists again with jittered back-off.
    A relist turns into the ADDED, MODIFIED and DELETED events that were missed.

    Attributes:
        objects: the cache by (namespace, name); its objects must not be changed.
        version: grows by one with every change of the cache.

    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        on_event: Callback | None = None,
    ) -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._labels = label_selector
        self._fields = field_selector
        self._on_event = on_event
        self._cache: dict[Key, JsonObject] = {}
        self._changed = asyncio.Condition()
        self._synced = asyncio.Event()
        self._heard_at = time.monotonic()
        self.objects: Mapping[Key, JsonObject] = MappingProxyType(self._cache)
        self.version = 0

    async def run(self) -> None:
        """Keep the cache current until cancelled."""
        backoff = FIRST_BACKOFF_S
        while True:
            began = math.inf
            try:
                resource_version = await self._relist()
                while True:
                    began = time.monotonic()
                    resource_version = await self._watch(resource_version)
                    backoff = FIRST_BACKOFF_S
                    if time.monotonic() - began < HASTY_S:
                        await asyncio.sleep(FIRST_BACKOFF_S)
            except ApiError as error:
                if self._heard_at > began:
                    backoff = FIRST_BACKOFF_S  # it worked until it was cut
                level = logging.INFO if error.status == 410 else logging.WARNING
                log.log(level, "%s: listing again in about %.1f s", error, backoff)
            await asyncio.sleep(backoff * random.uniform(0.5, 1.5))
            backoff = min(backoff * 2, LONGEST_BACKOFF_S)

    async def synced(self) -> None:
        """Wait until the first list is in the cache."""
        await self._synced.wait()

    async def changed(self, after: int) -> int:
        """Wait until ``version`` is above ``after`` and return it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.version > after)
            return self.version

    async def wait_for(self, predicate: Callable[[Mapping[Key, JsonObject]], bool]) -> None:
        """Wait until the cache satisfies a predicate; bound it with ``asyncio.timeout``."""
        async with self._changed:
            await self._changed.wait_for(lambda: predicate(self.objects))

    def last_event_age(self) -> float:
        """Seconds since the API server was last heard, bookmarks and lists included."""
        return time.monotonic() - self._heard_at

    async def _relist(self) -> str:
        items, resource_version = await self._client.list(
            self._resource,
            self._namespace,
            label_selector=self._labels,
            field_selector=self._fields,
        )
        self._heard_at = time.monotonic()
        listed = {key_of(item): item for item in items}
        for key in [key for key in self._cache if key not in listed]:
            await self._put("DELETED", self._cache[key])
        for key, item in listed.items():
            held = self._cache.get(key)
            if held is None:
                await self._put("ADDED", item)
            elif held["metadata"]["uid"] != item["metadata"]["uid"]:
                # Deleted and made again under the same name while nobody watched.
                await self._put("DELETED", held)
                await self._put("ADDED", item)
            elif held["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                await self._put("MODIFIED", item)
        self._synced.set()
        return resource_version

    async def _watch(self, resource_version: str) -> str:
        async for event in self._client.watch(
            self._resource,
            self._namespace,
            resource_version=resource_version,
            label_selector=self._labels,
            field_selector=self._fields,
            timeout_s=random.randint(*WATCH_TIMEOUT_S),
        ):
            self._heard_at = time.monotonic()
            item: JsonObject = event["object"]
            resource_version = str(item["metadata"]["resourceVersion"])
            if event["type"] != "BOOKMARK":
                await self._put(event["type"], item)
        return resource_version

    async def _put(self, kind: EventType, item: JsonObject) -> None:
        if kind == "DELETED":
            self._cache.pop(key_of(item), None)
        else:
            self._cache[key_of(item)] = item
        self.version += 1
        async with self._changed:
            self._changed.notify_all()
        if self._on_event is not None:
            await self._on_event(kind, item)
