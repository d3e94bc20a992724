"""The stand-in as a whole: one runner per pod that is bound to the node."""

from __future__ import annotations

import asyncio
import logging

from ...kube import Informer, JsonObject, uid_of
from ...kube.informer import EventType
from ...kube.resources import PODS
from .addresses import PodAddresses
from .pod import NodeHost, PodRunner
from .register import keep_lease, register

log = logging.getLogger(__name__)


class Node:
    """Runs all pods of one node until cancelled, then ends their processes."""

    def __init__(self, host: NodeHost, addresses: PodAddresses) -> None:
        self._host = host
        self._addresses = addresses
        self._runners: dict[str, PodRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Register, keep the Lease, follow the pods."""
        name = self._host.runtime.node
        await register(self._host.client, name, self._addresses.node)
        informer = Informer(
            self._host.client,
            PODS,
            field_selector=f"spec.nodeName={name}",
            on_event=self._on_pod,
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(keep_lease(self._host.client, name))
                group.create_task(informer.run())
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _on_pod(self, kind: EventType, pod: JsonObject) -> None:
        uid = uid_of(pod)
        runner = self._runners.get(uid)
        if kind == "DELETED":
            if runner is not None:
                runner.forget()
        elif runner is not None:
            runner.update(pod)
        else:
            held = (pod.get("status") or {}).get("podIP", "")
            runner = PodRunner(pod, self._addresses.take(uid, held), self._host)
            self._runners[uid] = runner
            self._tasks[uid] = asyncio.create_task(self._follow(uid, runner))

    async def _follow(self, uid: str, runner: PodRunner) -> None:
        try:
            await runner.run()
        except Exception:
            # One pod that cannot be run must not take the others down.
            log.exception("pod %s failed inside the stand-in", runner.pod["metadata"]["name"])
        finally:
            self._addresses.free(uid)
            self._runners.pop(uid, None)
            self._tasks.pop(uid, None)
