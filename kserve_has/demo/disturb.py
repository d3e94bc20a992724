"""Do the killing of a chaos run and look at what follows."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence

from ..cli.fleet import Service
from ..contract import predictor_name
from ..errors import HasError, StackError
from ..kube import KubeClient
from ..kube.resources import DEPLOYMENTS
from ..loadgen.plan import Outcome
from ..localstack.stack import LocalStack
from . import chaos, collect, measures
from .watcher import Watcher

MODEL_SERVER = "kserve-has-model-server"
LOOK_BEFORE_S = 0.5  # what followed a kill is looked at this long before the next one


class Disturber:
    """Kills one part after the other.

    Attributes:
        kills: what was killed so far.
        pages: metrics pages of killed processes, read just before.

    """

    def __init__(self, stack: LocalStack, client: KubeClient, watcher: Watcher) -> None:
        self._stack = stack
        self._client = client
        self._watcher = watcher
        self.kills: list[chaos.Kill] = []
        self.pages: list[str] = []
        self._states: list[tuple[int, int, int]] = []

    async def run(self, seconds: float, now: Callable[[], float]) -> None:
        """Kill by schedule; return when the last look was taken at the end of the run."""
        plan = chaos.schedule(seconds)
        ends = [at for at, _ in plan[1:]] + [seconds]
        for (at_s, part), until_s in zip(plan, ends, strict=True):
            await asyncio.sleep(max(0.0, at_s - now()))
            self.pages += await measures.pages(collect.metrics_urls().get(part, []))
            process = await self._kill(part)
            self.kills.append(chaos.Kill(round(now(), 3), part, process))
            await asyncio.sleep(max(0.0, until_s - LOOK_BEFORE_S - now()))
            self._states.append(await self._state())

    def aftermath(
        self, services: Sequence[Service], outcomes: Mapping[str, Sequence[Outcome]], seconds: float
    ) -> list[chaos.Aftermath]:
        """Return what followed each kill; ``outcomes`` is by service."""
        found = []
        ends = [kill.at_s for kill in self.kills[1:]] + [seconds]
        for kill, until_s, state in zip(self.kills, ends, self._states, strict=False):
            recovery, recovered = {}, True
            for service in services:
                took, good = chaos.recovery_s(
                    kill.at_s, until_s, outcomes[service.name], service.slo
                )
                recovery[service.name] = round(took, 3)
                recovered = recovered and good
            found.append(
                chaos.Aftermath(kill.at_s, kill.part, kill.process, recovery, recovered, *state)
            )
        return found

    async def _kill(self, part: str) -> str:
        if part == "pod":
            return self._kill_pod()
        name = self._agent() if part == "agent" else part
        # Returns when the part was started again, which must not hold up the run.
        await asyncio.to_thread(self._stack.kill, name)
        return name

    def _kill_pod(self) -> str:
        found = measures.find_processes(MODEL_SERVER)
        if not found:
            raise StackError("no model server runs that could be killed")
        # A dead process has no environment any more.
        name = measures.environment_of(found[0]).get("HOSTNAME", "")
        os.kill(found[0], signal.SIGKILL)
        return f"model server {name or found[0]}"

    def _agent(self) -> str:
        nodes = sorted(r.node for r in self._watcher.replicas() if r.phase == "ready")
        return f"agent-{nodes[0] if nodes else 'gpu-node-0'}"

    async def _state(self) -> tuple[int, int, int]:
        wanted = {}
        for service in self._watcher.services():
            try:
                name = predictor_name(service.url_name)
                found = await self._client.get(DEPLOYMENTS, name, service.namespace)
                wanted[service.name] = int(found["spec"].get("replicas", 1))
            except HasError:
                wanted[service.name] = 0
        replicas = self._watcher.replicas()
        lost, duplicate = chaos.replica_balance(wanted, replicas)
        return lost, duplicate, chaos.overcommitted_gpus(replicas)
