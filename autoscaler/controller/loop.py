"""The control loop: observe, decide, apply, five times a second, whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from kserve_has import contract
from kserve_has.config.controller import ControllerSettings
from kserve_has.config.policy import PolicySettings
from kserve_has.errors import HasError
from kserve_has.kube import Informer, JsonObject, KubeClient, Resource, uid_of
from kserve_has.kube.resources import DEPLOYMENTS, INFERENCE_SERVICES, NODES, PODS
from kserve_has.latency import LatencyModel

from ..policy.decide import decide
from ..policy.handover import handed_over
from ..policy.state import State
from .apply import Applier
from .events import Aggregator, EventWriter
from .feedback import Feedback
from .lease import Leadership
from .metrics import Metrics
from .observe import Objects, World, observe, recovered_state
from .overlay import Overlay
from .prometheus import TrafficReader
from .report import Done, log_entry, worth_logging

log = logging.getLogger(__name__)


class Controller:
    """One autoscaler process: watches always, writes while it leads."""

    def __init__(
        self,
        client: KubeClient,
        reader: TrafficReader,
        leadership: Leadership,
        metrics: Metrics,
        latency: LatencyModel,
        settings: tuple[ControllerSettings, PolicySettings],
        write_line: Callable[[str], None],
    ) -> None:
        self._settings, self._policy_settings = settings
        self._reader = reader
        self._leadership = leadership
        self._metrics = metrics
        self._feedback = Feedback(latency, reader, metrics.observations, self._settings)
        self._world: World | None = None
        self._write_line = write_line
        self._state: State | None = None
        of_kserve = contract.KSERVE_ISVC_LABEL
        self._isvcs = Informer(client, INFERENCE_SERVICES)
        self._deployments = Informer(client, DEPLOYMENTS, label_selector=of_kserve)
        self._pods = Informer(client, PODS, label_selector=of_kserve)
        self._nodes = Informer(client, NODES)
        self._own_pods, self._own_deployments = Overlay(), Overlay()
        self._applier = Applier(client, self._settings, leadership.held, self._written)
        self._aggregator = Aggregator(
            self._settings.event_interval_s, self._settings.event_patience_s
        )
        self._events = EventWriter(client)
        self._ticked_at = float("-inf")

    async def run(self) -> None:
        """Work until cancelled."""
        informers = (self._isvcs, self._deployments, self._pods, self._nodes)
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run())
            group.create_task(self._events.run())
            group.create_task(self._poll())
            group.create_task(self._look())
            # Half a picture looks like pods that vanished.
            for informer in informers:
                await informer.synced()
            while True:
                began = time.monotonic()
                await self._guarded_tick()
                self._metrics.tick_seconds.observe(time.monotonic() - began)
                await asyncio.sleep(max(0.0, self._settings.tick_s - (time.monotonic() - began)))

    def healthy(self) -> bool:
        """Whether the loop has gone round within the last ten ticks (at least 5 s)."""
        age = time.monotonic() - self._ticked_at
        return age < max(5.0, 10 * self._settings.tick_s)

    async def _guarded_tick(self) -> None:
        try:
            await self._tick()
        # A defect in one service's data must not end the control of all the others.
        except Exception:
            self._metrics.errors.labels("tick").inc()
            log.exception("this tick failed; the next one starts anew")
        finally:
            self._ticked_at = time.monotonic()

    async def _tick(self) -> None:
        world = self._observe()
        services = world.observation.services
        self._metrics.saw(service for service in services if service.name in world.targets)
        leading = self._leadership.held()
        self._metrics.leading.set(leading)
        if not leading:
            self._state = None  # what a former term remembered is out of date
            self._world = None
            self._feedback.end()
            return
        state = recovered_state(world) if self._state is None else self._state
        self._world = world
        state = self._taught(state, world)
        began = time.perf_counter()
        decision = decide(state, world.observation, self._policy_settings, self._feedback.model)
        spent_s = time.perf_counter() - began
        self._metrics.decision_seconds.observe(spent_s)
        self._state = decision.state
        done = await self._applier.apply(decision.plan, world)
        self._tell(done, world, spent_s)

    def _taught(self, state: State, world: World) -> State:
        """Return the state to decide on with what the latency model has learnt by now."""
        former = self._feedback.model
        try:
            if not self._feedback.step(world.observation.now_s):
                return state
            latest = self._feedback.model
            return handed_over(state, world.observation, self._policy_settings, former, latest)
        # What cannot be learnt must not keep anything from being decided.
        except Exception:
            self._metrics.errors.labels("observations").inc()
            log.exception("the latency model could not learn; this tick goes on without")
            return state

    def _observe(self) -> World:
        wall_s = time.time()
        objects = Objects(
            isvcs=list(self._isvcs.objects.values()),
            deployments=self._own_deployments.over(self._deployments.objects),
            pods=self._own_pods.over(self._pods.objects),
            nodes=list(self._nodes.objects.values()),
        )
        return observe(
            objects,
            lambda name, slo: self._reader.traffic(name, slo, wall_s),
            self._settings,
            time.monotonic(),
            wall_s,
        )

    def _tell(self, done: list[Done], world: World, spent_s: float) -> None:
        self._metrics.did(done)
        worth = [one for one in done if worth_logging(one)]
        if worth:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._write_line(json.dumps(log_entry(at, spent_s * 1e3, worth)))
        for note in self._aggregator.notes(done, world.targets, time.monotonic()):
            isvc = self._isvcs.objects.get((note.target.namespace, note.target.isvc))
            if isvc is not None:
                self._events.put(note, uid_of(isvc))
        self._aggregator.forget(world.targets)

    async def _poll(self) -> None:
        answered = True
        while True:
            try:
                await self._reader.poll(time.time())
                answered = True
            except HasError as error:
                self._metrics.errors.labels("prometheus").inc()
                # Said once, not once a second; the age of the newest sample tells the rest.
                log.log(logging.WARNING if answered else logging.DEBUG, "%s", error)
                answered = False
            await asyncio.sleep(self._settings.prometheus_poll_s)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._settings.observe_every_s)
            try:
                if self._world is not None:
                    await self._feedback.look(self._world, time.time())
            except HasError as error:
                self._metrics.errors.labels("observations").inc()
                log.debug("%s", error)
            # A defect here must not end the control of anything.
            except Exception:
                self._metrics.errors.labels("observations").inc()
                log.exception("this look at the counters failed; the next one starts anew")

    def _written(self, resource: Resource, answer: JsonObject) -> None:
        if resource is PODS:
            self._own_pods.put(answer)
            return
        # The answer is a Scale; what we keep is the Deployment as it is now.
        metadata = answer["metadata"]
        held = self._deployments.objects.get((metadata["namespace"], metadata["name"]))
        if held is not None:
            replicas = int(answer["spec"].get("replicas", 0))
            version = metadata["resourceVersion"]
            self._own_deployments.put(
                {
                    **held,
                    "metadata": {**held["metadata"], "resourceVersion": version},
                    "spec": {**held["spec"], "replicas": replicas},
                }
            )
