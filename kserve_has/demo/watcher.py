"""Follow the cluster during a run: services, replicas over time, decisions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..cli.fleet import Decision, Replica, Service, decisions_of, replica_of, service_of
from ..kube import Informer, JsonObject, KubeClient
from ..kube.informer import EventType
from ..kube.resources import EVENTS, INFERENCE_SERVICES, PODS
from .timeline import Timeline


class Watcher:
    """Keeps the cluster's state current; times are seconds since ``zero``.

    Attributes:
        zero: ``time.monotonic()`` of second 0; set it when the run begins.
        timeline: every change of every replica since the start of the watcher.

    """

    def __init__(self, client: KubeClient, zero: float) -> None:
        self.zero = zero
        self.timeline = Timeline()
        self._pods = Informer(client, PODS, on_event=self._pod)
        self._isvcs = Informer(client, INFERENCE_SERVICES)
        self._events = Informer(
            client, EVENTS, field_selector="involvedObject.kind=InferenceService"
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch inside the block."""
        informers = (self._pods, self._isvcs, self._events)
        tasks = [asyncio.create_task(informer.run()) for informer in informers]
        try:
            for informer in informers:
                await informer.synced()
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def restart_clock(self, zero: float) -> None:
        """Make ``zero`` second 0; what is there already is taken to be there since before."""
        self.zero = zero
        self.timeline = Timeline()
        for pod in self._pods.objects.values():
            replica = replica_of(pod)
            if replica is not None:
                self.timeline.note(time.monotonic() - zero, replica)

    def services(self) -> list[Service]:
        """Return the InferenceServices with an objective, by name."""
        found = [service for isvc in self._isvcs.objects.values() if (service := service_of(isvc))]
        return sorted(found, key=lambda service: service.name)

    def isvc(self, service: Service) -> JsonObject:
        """Return the object of a service."""
        return self._isvcs.objects[(service.namespace, service.url_name)]

    def replicas(self) -> list[Replica]:
        """Return the replicas there are now."""
        return [r for pod in self._pods.objects.values() if (r := replica_of(pod))]

    def decisions(self) -> list[Decision]:
        """Return the autoscaler's decisions so far, oldest first."""
        return decisions_of(self._events.objects.values())

    async def _pod(self, kind: EventType, pod: JsonObject) -> None:
        at_s = time.monotonic() - self.zero
        metadata = pod["metadata"]
        replica = replica_of(pod)
        if replica is not None:
            self.timeline.note(at_s, replica)
        if kind == "DELETED" or replica is None:
            self.timeline.gone(at_s, metadata["namespace"], metadata["name"])
