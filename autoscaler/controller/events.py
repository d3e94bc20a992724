"""Kubernetes Events on InferenceServices: why something was done, told rarely enough to read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from kserve_has import contract
from kserve_has.kube import ApiError, JsonObject, KubeClient
from kserve_has.kube.resources import EVENTS, INFERENCE_SERVICES

from ..policy.plan import Hold, Reason
from ..targets import Target
from .report import TROUBLES, Done, Outcome, kind_of, sentence

_QUEUE: Final = 256
_COMPONENT: Final = "kserve-has-autoscaler"

Key = tuple[str, str, str]  # service, kind of action, reason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """One Event to be written."""

    target: Target
    warning: bool
    reason: str
    message: str


class Aggregator:
    """Lets the first of a kind through and counts the rest until the interval is over.

    That nothing can be done is told only when it stays so for a while: every service is without
    figures when it is born.
    """

    def __init__(self, interval_s: float, patience_s: float) -> None:
        self._interval_s = interval_s
        self._patience_s = patience_s
        self._told: dict[Key, tuple[float, int]] = {}
        self._since: dict[Key, float] = {}

    def notes(
        self, done: Iterable[Done], targets: dict[str, Target], now_s: float
    ) -> Iterable[Note]:
        """Yield what is to be told of one tick; ``now_s`` is any steady clock."""
        telling = [one for one in done if _worth_telling(one) and one.action.service in targets]
        self._since = {key: self._since.get(key, now_s) for key in map(_key, telling)}
        for one in telling:
            target, reason = targets[one.action.service], one.action.because.reason
            key = _key(one)
            lasting = now_s - self._since[key] >= self._patience_s
            if isinstance(one.action, Hold) and not lasting:
                continue
            told_at, missed = self._told.get(key, (float("-inf"), 0))
            if now_s - told_at < self._interval_s:
                self._told[key] = (told_at, missed + 1)
                continue
            self._told[key] = (now_s, 0)
            more = f" (and {missed} like it before)" if missed else ""
            yield Note(target, reason in TROUBLES, str(reason), sentence(one.action) + more)

    def forget(self, services: Iterable[str]) -> None:
        """Drop what is remembered of services that are gone."""
        kept = set(services)
        self._told = {key: value for key, value in self._told.items() if key[0] in kept}


class EventWriter:
    """Writes Events one after the other beside the control loop; drops them when it is behind."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._queue: asyncio.Queue[tuple[Note, str]] = asyncio.Queue(_QUEUE)

    def put(self, note: Note, isvc_uid: str) -> None:
        """Hand in an Event; never waits, never fails."""
        try:
            self._queue.put_nowait((note, isvc_uid))
        except asyncio.QueueFull:
            log.warning("an Event was dropped: %s", note.message)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            note, uid = await self._queue.get()
            try:
                await self._client.create(EVENTS, event_body(note, uid), note.target.namespace)
            except ApiError as error:
                log.warning("an Event was not written: %s", error)


def event_body(note: Note, isvc_uid: str) -> JsonObject:
    """Return the Event object."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{note.target.isvc}.{uuid4().hex[:16]}",
            "namespace": note.target.namespace,
        },
        "involvedObject": {
            "apiVersion": INFERENCE_SERVICES.api,
            "kind": "InferenceService",
            "name": note.target.isvc,
            "namespace": note.target.namespace,
            "uid": isvc_uid,
        },
        "type": "Warning" if note.warning else "Normal",
        "reason": note.reason,
        "message": note.message[:1000],
        "source": {"component": _COMPONENT},
        "reportingComponent": _COMPONENT,
        "reportingInstance": contract.LEASE_NAME,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _key(one: Done) -> Key:
    return one.action.service, kind_of(one.action), str(one.action.because.reason)


def _worth_telling(one: Done) -> bool:
    if isinstance(one.action, Hold):
        return one.action.because.reason in TROUBLES - {Reason.AT_BOUND}
    return one.outcome is Outcome.APPLIED
