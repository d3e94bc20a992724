"""The agent's loop: pods in, limit blocks and acknowledgements out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

from kserve_has import contract
from kserve_has.config.agent import AgentSettings
from kserve_has.errors import AgentError
from kserve_has.kube import ApiError, Informer, JsonObject, KubeClient
from kserve_has.kube.informer import EventType
from kserve_has.kube.resources import NODES, PODS

from .inventory import NodeGpu, annotation, discover
from .keeper import Acknowledgement, Keeper, Now

log = logging.getLogger(__name__)
RETRY_S = 0.5
# Bookmarks come about once a minute.
SILENCE_S = 180.0


class AgentLoop:
    """Drives a keeper from the API server's watch until cancelled."""

    def __init__(
        self,
        client: KubeClient,
        node: str,
        root: Path,
        settings: AgentSettings,
        look: Callable[[], dict[str, NodeGpu]] = discover,
    ) -> None:
        self.keeper = Keeper(root, settings)
        self._client = client
        self._node = node
        self._settings = settings
        self._look = look
        self._changed = asyncio.Event()
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._complaints: dict[str, str] = {}
        self._stepped_at = time.monotonic()
        self._pods = Informer(
            client, PODS, field_selector=f"spec.nodeName={node}", on_event=self._notice
        )

    def unhealthy(self) -> str:
        """Return what is wrong with the agent, empty when nothing is."""
        if time.monotonic() - self._stepped_at > 10 * self._settings.accounting_s + 1:
            return "the loop stands still"
        if self._pods.last_event_age() > SILENCE_S:
            return f"nothing heard from the API server for {self._pods.last_event_age():.0f} s"
        return ""

    async def run(self) -> None:
        """Publish the node's GPUs, then keep its pods until cancelled.

        Raises:
            AgentError: NVML does not work.
        """
        self.keeper.gpus = self._look()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pods.run())
            group.create_task(self._publish())
            # Half a picture would look like pods that are gone.
            await self._pods.synced()
            group.create_task(self._keep())

    async def _notice(self, _kind: EventType, _pod: JsonObject) -> None:
        self._changed.set()

    async def _keep(self) -> None:
        while True:
            self._changed.clear()
            now = Now(time.monotonic_ns(), time.time())
            owed = self.keeper.step(self._pods.objects.values(), now)
            self._stepped_at = time.monotonic()
            for acknowledgement in owed:
                self._send(acknowledgement)
            self._report()
            # Not wait_for: before Python 3.12 it may swallow a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.keeper.next_step_s(now)):
                    await self._changed.wait()

    def _send(self, acknowledgement: Acknowledgement) -> None:
        if acknowledgement.uid not in self._sending:
            task = asyncio.create_task(self._acknowledge(acknowledgement))
            self._sending[acknowledgement.uid] = task

    async def _acknowledge(self, acknowledgement: Acknowledgement) -> None:
        identity = acknowledgement.identity
        metadata = {
            # The uid keeps a successor of the same name from getting this acknowledgement.
            "uid": acknowledgement.uid,
            "annotations": {contract.IN_FORCE: acknowledgement.value},
        }
        try:
            await self._client.patch(PODS, identity.pod, {"metadata": metadata}, identity.namespace)
            self.keeper.acknowledged(acknowledgement)
        except ApiError as error:
            if error.status in (404, 409, 422):
                self.keeper.acknowledged(acknowledgement)  # the pod is gone
            else:
                log.warning("acknowledging on %s: %s", identity.pod, error)
                await asyncio.sleep(RETRY_S)
        finally:
            self._sending.pop(acknowledgement.uid, None)
            self._changed.set()

    async def _publish(self) -> None:
        """Keep the Node's list of GPUs current."""
        published = ""
        while True:
            value = annotation(self.keeper.gpus)
            try:
                if value != published:
                    body = {"metadata": {"annotations": {contract.NODE_GPUS: value}}}
                    await self._client.patch(NODES, self._node, body)
                    published = value
            except ApiError as error:
                log.warning("publishing the GPUs: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            await asyncio.sleep(self._settings.inventory_s)
            self._refresh()

    def _refresh(self) -> None:
        """Look again; GPUs that NVML no longer answers for are kept, as not healthy."""
        try:
            found = self._look()
        except AgentError as error:
            log.warning("%s", error)
            found = {}
        self.keeper.gpus = {
            uuid: found.get(uuid, gpu.as_unhealthy())
            for uuid, gpu in {**self.keeper.gpus, **found}.items()
        }

    def _report(self) -> None:
        for uid, replica in self.keeper.replicas.items():
            if replica.complaint and self._complaints.get(uid) != replica.complaint:
                log.warning("pod %s: %s", replica.identity.pod, replica.complaint)
        self._complaints = {u: r.complaint for u, r in self.keeper.replicas.items()}
