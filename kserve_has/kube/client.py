"""A thin asynchronous REST client of the Kubernetes API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Self

import aiohttp

from ..errors import ClusterError
from .credentials import Credentials
from .objects import JsonObject
from .resources import Resource

PatchKind = Literal["merge", "json", "strategic", "apply"]
PATCH_TYPES: Final[Mapping[PatchKind, str]] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
PAGE_SIZE: Final = 500
REQUEST_TIMEOUT_S: Final = 30.0
# Bookmarks come about once a minute; a watch silent for longer has lost its connection.
WATCH_SILENCE_S: Final = 150.0


class ApiError(ClusterError):
    """The API server answered with an error.

    Attributes:
        status: HTTP status, 404 for example; 0 when no answer came at all.
        reason: the server's machine-readable reason, such as ``"NotFound"`` or ``"Conflict"``.
        message: the server's own words.

    """

    def __init__(self, status: int, reason: str, message: str, request: str) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        super().__init__(f"{request}: {status} {reason}: {message}")

    @property
    def retriable(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status in (0, 408, 409, 429) or self.status >= 500


def api_error(status: int, body: str, request: str) -> ApiError:
    """Return the error of a failed answer, from its ``Status`` object when it carries one."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {"message": body.strip()[:500]}
    return ApiError(status, answer.get("reason", ""), answer.get("message", ""), request)


class KubeClient:
    """Requests to one API server; use as ``async with KubeClient(path) as client``.

    Every method raises ApiError when the server refuses, cannot be reached or does not answer.
    """

    def __init__(self, kubeconfig: Path | None = None, *, user_agent: str = "kserve-has") -> None:
        self._credentials = Credentials(kubeconfig)
        self._user_agent = user_agent
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._credentials.ssl_context(), limit=64)
        self._http = aiohttp.ClientSession(
            base_url=self._credentials.server,
            connector=connector,
            headers={"User-Agent": self._user_agent, "Accept": "application/json"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; requests under way are broken off."""
        if self._http is not None:
            await self._http.close()

    async def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str = "",
    ) -> JsonObject:
        """Return one object."""
        return await self._json("GET", resource.path(namespace, name, subresource))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> tuple[list[JsonObject], str]:
        """Return all objects and the resourceVersion from which to watch on."""
        items: list[JsonObject] = []
        token = ""
        while True:
            query = _query(
                labelSelector=label_selector,
                fieldSelector=field_selector,
                limit=str(PAGE_SIZE),
                **{"continue": token},
            )
            page = await self._json("GET", resource.path(namespace), query=query)
            items.extend(page.get("items") or [])
            token = page["metadata"].get("continue", "")
            if not token:
                return items, str(page["metadata"]["resourceVersion"])

    async def create(
        self, resource: Resource, body: JsonObject, namespace: str | None = None
    ) -> JsonObject:
        """Create an object and return it as stored."""
        return await self._json("POST", resource.path(namespace), body=body)

    async def post(
        self,
        resource: Resource,
        name: str,
        subresource: str,
        body: JsonObject,
        namespace: str | None = None,
    ) -> JsonObject:
        """Create through a subresource, such as ``token`` of a ServiceAccount."""
        return await self._json("POST", resource.path(namespace, name, subresource), body=body)

    async def replace(
        self, resource: Resource, body: JsonObject, *, subresource: str = ""
    ) -> JsonObject:
        """Replace an object; its resourceVersion, when given, must still be current."""
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"], subresource)
        return await self._json("PUT", path, body=body)

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: JsonObject | Sequence[JsonObject],
        namespace: str | None = None,
        *,
        kind: PatchKind = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> JsonObject:
        """Patch an object; ``kind="apply"`` needs a field manager and may ``force`` conflicts."""
        query = _query(fieldManager=field_manager, force="true" if force else "")
        path = resource.path(namespace, name, subresource)
        return await self._json(
            "PATCH", path, body=body, query=query, content_type=PATCH_TYPES[kind]
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        grace_period_s: int | None = None,
        uid: str = "",
    ) -> JsonObject:
        """Delete an object, if ``uid`` is given only while it is still that very object."""
        options: JsonObject = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        if uid:
            options["preconditions"] = {"uid": uid}
        return await self._json("DELETE", resource.path(namespace, name), body=options)

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: int = 300,
    ) -> AsyncIterator[JsonObject]:
        """Yield watch events, bookmarks included, until the server ends the watch.

        Raises:
            ApiError: the watch was refused or broke; status 410 when the version has expired.

        """
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            timeoutSeconds=str(timeout_s),
            labelSelector=label_selector,
            fieldSelector=field_selector,
        )
        path = resource.path(namespace)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=WATCH_SILENCE_S)
        request = f"WATCH {path}"
        try:
            async with self._session.get(
                path, params=query, headers=self._credentials.headers(), timeout=timeout
            ) as response:
                if response.status != 200:
                    self._notice(response.status)
                    raise api_error(response.status, await response.text(), request)
                try:
                    async for line in _lines(response.content):
                        event: JsonObject = json.loads(line)
                        if event["type"] == "ERROR":
                            status = event["object"]
                            code = int(status.get("code", 500))
                            raise api_error(code, json.dumps(status), request)
                        yield event
                finally:
                    _abort(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", repr(error), request) from error

    async def _json(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> JsonObject:
        headers = self._credentials.headers()
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = content_type
        request = f"{method} {path}"
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                async with self._session.request(
                    method, path, params=query, data=data, headers=headers
                ) as response:
                    text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", repr(error), request) from error
        if response.status >= 400:
            self._notice(response.status)
            raise api_error(response.status, text, request)
        answer: JsonObject = json.loads(text)
        return answer

    def _notice(self, status: int) -> None:
        # A rotated token shows up as 401 before the minute is over.
        if status == 401:
            self._credentials.reread()

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise ClusterError("the client is used outside its `async with` block")
        return self._http


def _abort(response: aiohttp.ClientResponse) -> None:
    """Break a connection off that is still open: a farewell over TLS may outlast the loop."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


def _query(**values: str) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Split a stream at newlines; objects are larger than StreamReader's own line limit."""
    rest = bytearray()
    async for chunk in stream.iter_any():
        rest += chunk
        while (end := rest.find(b"\n")) >= 0:
            line = bytes(rest[:end])
            del rest[: end + 1]
            if line.strip():
                yield line
