"""Kubernetes Events on the pods of this node."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from kserve_has.kube import ApiError, JsonObject, KubeClient
from kserve_has.kube.resources import EVENTS

from .replica import Identity
from .trouble import Trouble

_QUEUE: Final = 256
_COMPONENT: Final = "kserve-has-agent"
_LONGEST_MESSAGE: Final = 1024  # of the API server

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """One Event to be written."""

    identity: Identity
    uid: str
    trouble: Trouble


class EventWriter:
    """Writes Events one after the other beside the loop; drops them when it is behind."""

    def __init__(self, client: KubeClient, node: str) -> None:
        self._client = client
        self._node = node
        self._queue: asyncio.Queue[Note] = asyncio.Queue(_QUEUE)

    def put(self, note: Note) -> None:
        """Hand in an Event; never waits, never fails."""
        log.warning("pod %s: %s: %s", note.identity.pod, note.trouble.kind, note.trouble.message)
        try:
            self._queue.put_nowait(note)
        except asyncio.QueueFull:
            log.warning("an Event on %s was dropped", note.identity.pod)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            note = await self._queue.get()
            try:
                body = event_body(note, self._node)
                await self._client.create(EVENTS, body, note.identity.namespace)
            except ApiError as error:
                log.warning("an Event on %s was not written: %s", note.identity.pod, error)


def event_body(note: Note, node: str) -> JsonObject:
    """Return the Event object."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    names = {"name": note.identity.pod, "namespace": note.identity.namespace}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            # A name of 253 characters is the longest there is.
            "name": f"{note.identity.pod[:230]}.{uuid4().hex[:16]}",
            "namespace": note.identity.namespace,
        },
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "uid": note.uid, **names},
        "type": "Warning",
        "reason": note.trouble.kind,
        "message": note.trouble.message[:_LONGEST_MESSAGE],
        "source": {"component": _COMPONENT, "host": node},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
