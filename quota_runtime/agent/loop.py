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

from .backend import MpsState
from .events import EventWriter, Note
from .inventory import NodeGpu, annotation, discover, label
from .keeper import Acknowledgement, Keeper, Now
from .leases import LeaseFiles
from .mps.guard import Guard, Victim
from .trouble import MPS_FAULT, Teller, Trouble, troubles

log = logging.getLogger(__name__)
RETRY_S = 0.5
LONGEST_RETRY_S = 10.0
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
        look: Callable[[MpsState | None], dict[str, NodeGpu]] = discover,
        guard: Guard | None = None,
        leases: Path | None = None,
    ) -> None:
        self.keeper = Keeper(root, settings, lease_files=LeaseFiles(leases))
        self.guard = guard
        self._client = client
        self._node = node
        self._settings = settings
        self._look = look
        self._changed = asyncio.Event()
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._refused: dict[str, int] = {}
        self._events = EventWriter(client, node)
        self._teller = Teller(settings.event_interval_s)
        self._mps_changed = asyncio.Event()
        self._terminating: set[asyncio.Task[None]] = set()
        self._stepped_at: float | None = None
        self._pods = Informer(
            client, PODS, field_selector=f"spec.nodeName={node}", on_event=self._notice
        )

    def unhealthy(self) -> str:
        """Return why the agent should be started again, empty when it should not.

        An API server that is away is no reason: a restart would not bring it back.
        """
        stepped_at = self._stepped_at
        if stepped_at is not None and time.monotonic() - stepped_at > self._patience_s:
            return "the loop stands still"
        return ""

    def unready(self) -> str:
        """Return what the agent cannot do its work for lack of, empty when nothing."""
        if self._stepped_at is None:
            return "the pods of the node are not known yet"
        if self._pods.last_event_age() > SILENCE_S:
            return f"nothing heard from the API server for {self._pods.last_event_age():.0f} s"
        return self.unhealthy()

    @property
    def _patience_s(self) -> float:
        return 10 * self._settings.accounting_s + 1

    async def run(self) -> None:
        """Publish the node's GPUs, then keep its pods until cancelled.

        Raises:
            AgentError: NVML does not work.
        """
        if self.guard is not None:
            await self.guard.daemon.check()
        self.keeper.gpus = self._look(self._mps_state())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pods.run())
                group.create_task(self._publish())
                group.create_task(self._events.run())
                # Half a picture would look like pods that are gone.
                await self._pods.synced()
                group.create_task(self._keep())
                if self.guard is not None:
                    group.create_task(self._watch(self.guard))
        finally:
            # A request must not outlive the client it is made with.
            left = [*self._sending.values(), *self._terminating]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _mps_state(self) -> MpsState | None:
        return self.guard.daemon.state if self.guard is not None else None

    async def _watch(self, guard: Guard) -> None:
        while True:
            before = guard.daemon.state
            pods = self.keeper.under_mps()
            busy = {uid for uid in pods if self.keeper.replicas[uid].is_at_work()}
            for victim in await guard.step(pods, busy):
                self._tell_of(victim)
            if guard.daemon.state != before:
                self._mps_changed.set()
            await asyncio.sleep(self._settings.mps_poll_ms / 1e3)

    def _tell_of(self, victim: Victim) -> None:
        replica = self.keeper.replicas.get(victim.pod_uid or "")
        if replica is None or victim.pod_uid is None:
            log.warning("a fault under MPS broke process %d, which is not ours", victim.pid)
            return
        done = "it was ended" if victim.outcome == "ended" else "restart it"
        message = f"a fault under MPS has broken the CUDA context of its process; {done}"
        self._events.put(Note(replica.identity, victim.pod_uid, Trouble(MPS_FAULT, message)))

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
            self._terminate()
            self._report()
            # Not wait_for: before Python 3.12 it may swallow a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.keeper.next_step_s(now)):
                    await self._changed.wait()

    def _terminate(self) -> None:
        for uid in self.keeper.take_terminations():
            if self.guard is not None:
                task = asyncio.create_task(self.guard.terminate(uid))
                self._terminating.add(task)
                task.add_done_callback(self._terminating.discard)

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
            self._done(acknowledgement)
        except ApiError as error:
            if error.status in (404, 409, 422):
                self._done(acknowledgement)  # the pod is gone
            else:
                await self._wait_after(acknowledgement.uid, f"on {identity.pod}: {error}")
        finally:
            self._sending.pop(acknowledgement.uid, None)
            self._changed.set()

    def _done(self, acknowledgement: Acknowledgement) -> None:
        self.keeper.acknowledged(acknowledgement)
        self._refused.pop(acknowledgement.uid, None)

    async def _wait_after(self, uid: str, words: str) -> None:
        """Wait longer after each refusal, so that an API server that comes back finds peace."""
        times = self._refused[uid] = self._refused.get(uid, 0) + 1
        wait_s = min(LONGEST_RETRY_S, RETRY_S * 2 ** min(times - 1, 10))
        log.warning("acknowledging %s; again in %.1f s", words, wait_s)
        await asyncio.sleep(wait_s)

    async def _publish(self) -> None:
        """Keep the Node's list of GPUs current."""
        published: tuple[str, str] | None = None
        while True:
            value, backend = annotation(self.keeper.gpus), label(self.keeper.gpus)
            try:
                if (value, backend) != published:
                    metadata = {
                        "annotations": {contract.NODE_GPUS: value},
                        "labels": {contract.NODE_BACKEND: backend},
                    }
                    await self._client.patch(NODES, self._node, {"metadata": metadata})
                    published = (value, backend)
            except ApiError as error:
                log.warning("publishing the GPUs: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            self._mps_changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.inventory_s):
                    await self._mps_changed.wait()
            self._refresh()

    def _refresh(self) -> None:
        """Look again; GPUs that NVML no longer answers for are kept, as not healthy."""
        try:
            found = self._look(self._mps_state())
        except AgentError as error:
            log.warning("%s", error)
            found = {}
        self.keeper.gpus = {
            uuid: found.get(uuid, gpu.as_unhealthy())
            for uuid, gpu in {**self.keeper.gpus, **found}.items()
        }
        self._changed.set()

    def _report(self) -> None:
        outside = self.guard.outside if self.guard is not None else frozenset()
        highest = self._settings.ungated_warning_ratio
        found = {
            uid: troubles(replica.signs(outside_mps=uid in outside), highest)
            for uid, replica in self.keeper.replicas.items()
        }
        for uid, trouble in self._teller.news(found, time.monotonic()):
            self._events.put(Note(self.keeper.replicas[uid].identity, uid, trouble))
