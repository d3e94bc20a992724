"""An API server in memory, for tests of what reads and writes objects.

It knows what the controller relies on and no more: resource versions, uids, conflicts, merge and
JSON patches with their tests, the scale subresource, lists and watches by label key. ``tests/integration`` runs the same checks on
this and on a real API server, so that the two cannot drift apart unnoticed.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import count
from typing import Any

from kserve_has.kube import ApiError, JsonObject, Resource
from kserve_has.kube.client import PatchKind

Key = tuple[str, str, str]  # (plural, namespace, name)


class FakeApi:
    """Objects by resource, namespace and name.

    Attributes:
        requests: what was asked, in order: (verb, plural, name).
        refuse: called before every write; an error it returns is raised instead of writing.

    """

    def __init__(self) -> None:
        self._objects: dict[Key, JsonObject] = {}
        self._uids = count(1)
        self._events: list[tuple[Key, JsonObject]] = []
        self._happened = asyncio.Condition()
        self.requests: list[tuple[str, str, str]] = []
        self.refuse: Callable[[str, str, str], ApiError | None] = lambda *_: None

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> JsonObject:
        """Return one object."""
        return copy.deepcopy(self._find(resource, name, namespace))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",  # noqa: ARG002 - the real one has it
    ) -> tuple[list[JsonObject], str]:
        """Return all objects with a label key, and where to watch on; fields are not looked at."""
        found = [
            copy.deepcopy(item)
            for key, item in self._objects.items()
            if _chosen(key, item, resource, namespace, label_selector)
        ]
        return found, str(len(self._events))

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",  # noqa: ARG002 - the real one has it
        timeout_s: int = 300,  # noqa: ARG002 - the real one has it
    ) -> AsyncIterator[JsonObject]:
        """Yield what happens to the chosen objects until cancelled."""
        seen = int(resource_version)
        while True:
            await self._more_than(seen)
            key, event = self._events[seen]
            seen += 1
            if _chosen(key, event["object"], resource, namespace, label_selector):
                yield copy.deepcopy(event)

    async def _more_than(self, events: int) -> None:
        await self.until(lambda: len(self._events) > events)

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Wait until something holds that writes may bring about; bound it by a timeout."""
        async with self._happened:
            await self._happened.wait_for(predicate)

    def peek(self, resource: Resource, name: str, namespace: str | None = None) -> JsonObject:
        """Return an object as it is stored; not to be changed."""
        return self._find(resource, name, namespace)

    async def create(
        self, resource: Resource, body: JsonObject, namespace: str | None = None
    ) -> JsonObject:
        """Create an object; it gets a uid and a resourceVersion."""
        name = body["metadata"]["name"]
        self._asked("create", resource, name)
        key = (resource.plural, namespace or "", name)
        if key in self._objects:
            raise ApiError(409, "AlreadyExists", f"{name} exists", f"POST {resource.plural}")
        stored = copy.deepcopy(body)
        stored["metadata"]["uid"] = f"uid-{next(self._uids)}"
        if namespace:
            stored["metadata"]["namespace"] = namespace
        return await self._store("ADDED", key, stored)

    async def replace(self, resource: Resource, body: JsonObject) -> JsonObject:
        """Replace an object whose resourceVersion must be current."""
        metadata = body["metadata"]
        self._asked("replace", resource, metadata["name"])
        present = self._find(resource, metadata["name"], metadata.get("namespace"))
        if metadata.get("resourceVersion") != present["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified", "PUT")
        key = (resource.plural, metadata.get("namespace") or "", metadata["name"])
        return await self._store("MODIFIED", key, copy.deepcopy(body))

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: JsonObject | Sequence[JsonObject],
        namespace: str | None = None,
        *,
        kind: PatchKind = "merge",
        subresource: str = "",
    ) -> JsonObject:
        """Patch an object, or through ``subresource="scale"`` its replica count."""
        self._asked("patch", resource, name)
        changed = copy.deepcopy(self._find(resource, name, namespace))
        if kind == "json":
            assert not isinstance(body, Mapping)
            for operation in body:
                _operate(changed, operation)
        else:
            assert isinstance(body, Mapping)
            _merge(changed, body)
        key = (resource.plural, namespace or "", name)
        stored = await self._store("MODIFIED", key, changed)
        if subresource != "scale":
            return stored
        return {"metadata": stored["metadata"], "spec": {"replicas": stored["spec"]["replicas"]}}

    def _asked(self, verb: str, resource: Resource, name: str) -> None:
        self.requests.append((verb, resource.plural, name))
        error = self.refuse(verb, resource.plural, name)
        if error is not None:
            raise error

    def _find(self, resource: Resource, name: str, namespace: str | None) -> JsonObject:
        found = self._objects.get((resource.plural, namespace or "", name))
        if found is None:
            raise ApiError(404, "NotFound", f"{name} not found", f"GET {resource.plural}")
        return found

    async def _store(self, kind: str, key: Key, item: JsonObject) -> JsonObject:
        item["metadata"]["resourceVersion"] = str(len(self._events) + 1)
        self._objects[key] = item
        self._events.append((key, {"type": kind, "object": item}))
        async with self._happened:
            self._happened.notify_all()
        return copy.deepcopy(item)


def _chosen(
    key: Key, item: JsonObject, resource: Resource, namespace: str | None, label: str
) -> bool:
    if key[0] != resource.plural or (namespace and key[1] != namespace):
        return False
    return not label or label in (item["metadata"].get("labels") or {})


def _merge(target: JsonObject, change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)


def _operate(document: JsonObject, operation: Mapping[str, Any]) -> None:
    path = operation["path"]
    *parents, last = [p.replace("~1", "/").replace("~0", "~") for p in path.split("/")[1:]]
    holder: Any = document
    for part in parents:
        holder = holder.get(part) if isinstance(holder, dict) else None
    absent = not isinstance(holder, dict) or (operation["op"] != "add" and last not in holder)
    if absent or (operation["op"] == "test" and holder[last] != operation["value"]):
        message = f"{operation['op']} of {path} does not hold"
        raise ApiError(422, "Invalid", message, "PATCH")
    if operation["op"] == "add":
        holder[last] = copy.deepcopy(operation["value"])
    elif operation["op"] == "remove":
        del holder[last]
