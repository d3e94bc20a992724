"""One pod as kubelet runs it: a loop around the pure decisions of ``lifecycle``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import aiohttp

from ...kube import ApiError, JsonObject, KubeClient
from ...kube.resources import PODS
from . import lifecycle, probing
from .environment import (
    ContainerConfigError,
    NodeRuntime,
    Reference,
    command_line,
    container_environment,
    references,
)
from .lifecycle import Finish, Kill, PodState, Start, Stop
from .process import ContainerProcess
from .spec import ContainerSpec, Probe, parse_pod, program_of
from .status import ended, pod_status
from .volumes import Volumes

log = logging.getLogger(__name__)
RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class NodeHost:
    """What all pods of a node share."""

    client: KubeClient
    http: aiohttp.ClientSession
    root: Path
    runtime: NodeRuntime


class PodRunner:
    """Runs one pod from the moment it is bound to the node until it is gone."""

    def __init__(self, pod: JsonObject, pod_ip: str, host: NodeHost) -> None:
        self.pod = pod
        self.uid = str(pod["metadata"]["uid"])
        self.pod_ip = pod_ip
        self._host = host
        self._spec = parse_pod(pod)
        self._containers = {c.name: c for c in self._spec.containers}
        self._state = restored(pod)
        self._volumes = Volumes(host.root, host.client, pod, pod_ip, host.runtime)
        self._processes: dict[str, ContainerProcess] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._changed = asyncio.Event()
        self._status: JsonObject = {}
        self._is_published = False
        self._gone = False
        self.update(pod)

    def update(self, pod: JsonObject) -> None:
        """Take a newer version of the pod: annotations, and whether it must end."""
        self.pod = pod
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp") and self._state.stop_deadline is None:
            grace_s = metadata.get("deletionGracePeriodSeconds", self._spec.grace_s)
            self._state.stop_deadline = time.time() + float(grace_s)
        self._changed.set()

    def forget(self) -> None:
        """The API server has no such pod any more: end its processes at once."""
        self._gone = True
        self._state.stop_deadline = time.time()
        self._changed.set()

    async def run(self) -> None:
        """Run until the pod has been deleted; when cancelled, kill what runs."""
        try:
            while not await self._step():
                wake = lifecycle.next_wake(self._spec, self._state, time.time())
                timeout = None if wake is None else max(0.0, wake - time.time())
                if not self._is_published:
                    timeout = min(RETRY_S, timeout if timeout is not None else RETRY_S)
                # Not wait_for: before Python 3.12 it may swallow a cancellation.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await self._changed.wait()
        finally:
            await self._kill_all()
            self._volumes.remove()

    async def _step(self) -> bool:
        """Do what is due and publish; return whether the pod is over and deleted."""
        self._changed.clear()
        if ended(self.pod) and self._state.stop_deadline is None:
            self._is_published = True
            return False
        over = await self._act()
        if self._gone:
            if over:
                return True
            for process in self._processes.values():
                process.signal(signal.SIGKILL)
            return False
        try:
            await self._publish()
            if over and self.pod["metadata"].get("deletionTimestamp"):
                await self._delete()
                return True
        except ApiError as error:
            # 404 and 409: another pod has the name by now; the watch will say so.
            if error.status not in (404, 409):
                log.warning("pod %s: %s", self.pod["metadata"]["name"], error)
            self._is_published = False
        return False

    async def _act(self) -> bool:
        while True:
            actions = lifecycle.decide(self._spec, self._state, time.time())
            for action in actions:
                match action:
                    case Start(name):
                        await self._start(self._containers[name])
                    case Stop(name):
                        self._stop(name)
                    case Kill(name):
                        self._processes[name].signal(signal.SIGKILL)
                    case Finish():
                        return True
            # Only a start can make another action due at once.
            if not any(isinstance(action, Start) for action in actions):
                return False

    async def _start(self, container: ContainerSpec) -> None:
        held = self._state.of(container)
        try:
            process = await self._spawn(container)
        except (ContainerConfigError, ApiError, OSError) as error:
            reason = "CreateContainerConfigError"
            now = time.time()
            self._set(container.name, lifecycle.after_refusal(held, now, reason, str(error)))
            log.warning("container %s cannot start: %s", container.name, error)
            return
        self._processes[container.name] = process
        started = lifecycle.after_start(
            held, time.time(), has_startup_probe=container.startup is not None
        )
        if container.readiness is None and started.started:
            started = replace(started, ready=True)
        self._set(container.name, started)
        self._tasks[container.name] = [
            asyncio.create_task(self._reap(container.name, process)),
            *(
                asyncio.create_task(self._probe(container, kind, probe))
                for kind, probe in container.probes().items()
            ),
        ]

    async def _spawn(self, container: ContainerSpec) -> ContainerProcess:
        program = program_of(container)
        if program is None:
            raise ContainerConfigError(
                f"image {container.image!r} is not known here and the container names no command"
            )
        await self._volumes.make(self._spec.volumes)
        sources: dict[Reference, dict[str, str] | None] = {}
        for reference in references(container):
            data = await self._volumes.data(reference)
            sources[reference] = (
                None if data is None else {key: raw.decode() for key, raw in data.items()}
            )
        runtime = self._host.runtime
        env = container_environment(container, self.pod, self.pod_ip, runtime, sources)
        argv = command_line(program, container, env)
        return await ContainerProcess.start(
            self._volumes.folder, container, argv, env, self._volumes.paths
        )

    def _stop(self, name: str) -> None:
        container = self._containers[name]
        held = self._state.of(container)
        deadline = self._state.stop_deadline
        now = time.time()
        self._set(name, lifecycle.after_stop(held, now, self._spec.grace_s, deadline))
        self._tasks[name].append(asyncio.create_task(self._terminate(container)))

    async def _terminate(self, container: ContainerSpec) -> None:
        process = self._processes[container.name]
        if container.pre_stop_sleep_s:
            await asyncio.sleep(container.pre_stop_sleep_s)
        if container.pre_stop_command:
            await process.run_beside(container.pre_stop_command)
        process.signal(signal.SIGTERM)

    async def _reap(self, name: str, process: ContainerProcess) -> None:
        code = await process.wait()
        current = asyncio.current_task()
        for task in self._tasks.pop(name, []):
            if task is not current:
                task.cancel()
        self._processes.pop(name, None)
        held = self._state.of(self._containers[name])
        self._set(name, lifecycle.after_exit(held, time.time(), code))

    async def _probe(self, container: ContainerSpec, kind: str, probe: Probe) -> None:
        verdict = probing.Verdict(probe)
        process = self._processes[container.name]
        await asyncio.sleep(probe.initial_delay_s)
        while True:
            if kind == "startup" or self._state.of(container).started:
                good = await probing.check(probe, self.pod_ip, self._host.http, process.run_beside)
                if verdict.add(good):
                    self._take(container, kind, good)
                    if kind == "startup":
                        return
                await asyncio.sleep(probe.period_s)
            else:
                await asyncio.sleep(min(0.1, probe.period_s))

    def _take(self, container: ContainerSpec, kind: str, good: bool) -> None:
        held = self._state.of(container)
        if kind == "readiness":
            self._set(container.name, replace(held, ready=good and held.stop_sent_at is None))
        elif kind == "startup" and good:
            ready = container.readiness is None
            self._set(container.name, replace(held, started=True, ready=ready))
        elif not good and held.stop_sent_at is None:
            log.info("container %s failed its %s probe, restarting", container.name, kind)
            self._stop(container.name)

    def _set(self, name: str, held: lifecycle.ContainerState) -> None:
        self._state.containers[name] = held
        self._changed.set()

    async def _publish(self) -> None:
        earlier = self._status or self.pod.get("status") or {}
        host_ip = self._host.runtime.host_ip
        status = pod_status(
            self.pod, earlier, self._spec, self._state, (self.pod_ip, host_ip), time.time()
        )
        if status == self._status and self._is_published:
            return
        self._status = status
        self._is_published = False
        metadata = self.pod["metadata"]
        await self._host.client.patch(
            PODS,
            metadata["name"],
            # The uid keeps a successor of the same name from getting this status.
            {"metadata": {"uid": self.uid}, "status": status},
            metadata["namespace"],
            kind="strategic",
            subresource="status",
        )
        self._is_published = True

    async def _delete(self) -> None:
        metadata = self.pod["metadata"]
        try:
            await self._host.client.delete(
                PODS, metadata["name"], metadata["namespace"], grace_period_s=0, uid=self.uid
            )
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def _kill_all(self) -> None:
        tasks = [task for held in self._tasks.values() for task in held]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for process in self._processes.values():
            process.signal(signal.SIGKILL)
        for process in self._processes.values():
            await process.wait()


def restored(pod: JsonObject) -> PodState:
    """Return the state of a pod that a former stand-in may have run: restarts are kept."""
    state = PodState()
    status = pod.get("status") or {}
    for entry in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        ran = bool((entry.get("state") or {}).get("running")) or entry["restartCount"]
        if ran:
            end = lifecycle.Exit(137, 0.0, 0.0, reason="Error", message="the node restarted")
            state.containers[entry["name"]] = lifecycle.ContainerState(
                restarts=entry["restartCount"], last=end
            )
    return state


def base_environment() -> dict[str, str]:
    """Return what every container inherits: where programs are and how text is encoded."""
    keys = ("PATH", "LANG", "HOME", "VIRTUAL_ENV", "PYTHONPATH")
    kept = {key: os.environ[key] for key in keys if key in os.environ}
    return {"PYTHONUNBUFFERED": "1", **kept}
