"""Carries out a plan, action by action; what rests on a failed action is left undone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from kserve_has.config.controller import ControllerSettings
from kserve_has.kube import ApiError, JsonObject, Resource
from kserve_has.kube.client import PatchKind
from kserve_has.kube.resources import DEPLOYMENTS, PODS

from ..policy.observation import ReplicaPhase
from ..policy.plan import Action, Hold, Place, Plan, Resize, SetScale
from ..targets import Target
from . import patches
from .observe import World, phase_of
from .report import Done, Outcome

log = logging.getLogger(__name__)
_LOST_RACE = (404, 409, 422)  # gone, changed, or a test of the patch did not hold


class Patcher(Protocol):
    """The one method of KubeClient that is needed here."""

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
        """Patch an object and return it as stored."""
        ...


class Applier:
    """Writes to the API server; ``may_write`` is asked before every single write."""

    def __init__(
        self,
        client: Patcher,
        settings: ControllerSettings,
        may_write: Callable[[], bool],
        written: Callable[[Resource, JsonObject], None],
    ) -> None:
        self._client = client
        self._settings = settings
        self._may_write = may_write
        self._written = written

    async def apply(self, plan: Plan, world: World) -> list[Done]:
        """Carry out a plan in order and say how each action ended. Raises nothing of its own.

        After a failure, whatever touches the same service or the same GPU is skipped: it may
        rest on room that was not made. Everything else goes on.
        """
        done: list[Done] = []
        tainted: set[str] = set()
        for action in plan.actions:
            touches = touched(action, world)
            if isinstance(action, Hold):
                done.append(Done(action, Outcome.HELD))
                continue
            if tainted & touches:
                one = Done(action, Outcome.SKIPPED)
            else:
                one = await self._one(action, world)
            if one.outcome is not Outcome.APPLIED:
                tainted |= touches
            done.append(one)
        return done

    async def _one(self, action: Resize | Place | SetScale, world: World) -> Done:
        try:
            if not self._may_write():
                return Done(action, Outcome.SKIPPED, "not leading")
            if isinstance(action, SetScale):
                return await self._scale(action, world)
            return await self._size(action, world)
        except ApiError as error:
            if error.status in _LOST_RACE:
                return Done(action, Outcome.LOST_RACE, str(error))
            log.warning("%s", error)
            return Done(action, Outcome.FAILED, str(error))

    async def _size(self, action: Resize | Place, world: World) -> Done:
        target = world.targets.get(action.service)
        pod = world.pods.get((target.namespace, action.replica)) if target else None
        if pod is None:
            return Done(action, Outcome.SKIPPED, "no such replica")
        if isinstance(action, Place):
            if phase_of(pod) is not ReplicaPhase.GATED:
                return Done(action, Outcome.LOST_RACE, "no longer gated")
            patch = patches.place(pod, action.node, action.allocation, action.capacity_rps)
        else:
            patch = patches.resize(pod, action.allocation, action.capacity_rps)
        await self._patch_pod(pod, patch)
        return Done(action, Outcome.APPLIED)

    async def _scale(self, action: SetScale, world: World) -> Done:
        target = world.targets.get(action.service)
        if target is None:
            return Done(action, Outcome.SKIPPED, "no such service")
        # Marks first: the ReplicaSet chooses its victims the moment it sees the new count.
        for pod in self._pods_of(action.service, target, world):
            victim = pod["metadata"]["name"] in action.victims
            patch = patches.deletion_cost(pod, victim)
            if patch is not None:
                await self._patch_pod(pod, patch)
        patch = patches.scale(_scale_of(action.service, world), action.replicas)
        await self._retried(
            lambda: self._client.patch(
                DEPLOYMENTS,
                target.deployment,
                patch,
                target.namespace,
                kind="json",
                subresource="scale",
            ),
            DEPLOYMENTS,
        )
        return Done(action, Outcome.APPLIED)

    def _pods_of(self, service: str, target: Target, world: World) -> Sequence[JsonObject]:
        names = [
            replica.name
            for found in world.observation.services
            if found.name == service
            for replica in found.replicas
        ]
        keys = [(target.namespace, name) for name in names]
        return [world.pods[key] for key in keys if key in world.pods]

    async def _patch_pod(self, pod: JsonObject, patch: patches.Patch) -> None:
        metadata = pod["metadata"]
        await self._retried(
            lambda: self._client.patch(
                PODS, metadata["name"], patch, metadata["namespace"], kind="json"
            ),
            PODS,
        )

    async def _retried(
        self, request: Callable[[], Awaitable[JsonObject]], resource: Resource
    ) -> None:
        deadline_s = self._settings.write_deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                await self._until_written(request, resource)
        except TimeoutError:
            raise ApiError(0, "Timeout", f"no answer within {deadline_s:g} s", "write") from None

    async def _until_written(
        self, request: Callable[[], Awaitable[JsonObject]], resource: Resource
    ) -> None:
        attempts = AsyncRetrying(
            stop=stop_after_attempt(self._settings.write_attempts),
            wait=wait_random_exponential(multiplier=0.05, max=0.5),
            retry=retry_if_exception(lambda e: isinstance(e, ApiError) and e.retriable),
            reraise=True,
        )
        async for attempt in attempts:
            with attempt:
                if not self._may_write():
                    raise ApiError(403, "NotLeading", "the lease ran out", "write")
                self._written(resource, await request())


def _scale_of(service: str, world: World) -> int:
    return next((s.scale for s in world.observation.services if s.name == service), 0)


def touched(action: Action, world: World) -> set[str]:
    """Return the names of what an action changes: its service and the GPUs concerned."""
    names = {action.service}
    if isinstance(action, Resize | Place):
        names.add(action.allocation.gpu_uuid)
    if isinstance(action, SetScale):
        victims = set(action.victims)
        names |= {
            replica.allocation.gpu_uuid
            for service in world.observation.services
            if service.name == action.service
            for replica in service.replicas
            if replica.name in victims and replica.allocation is not None
        }
    return names
