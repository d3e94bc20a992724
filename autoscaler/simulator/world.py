"""The cluster in invented time: pods, GPUs, delays; applies plans and shows what can be seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush

import numpy as np

from kserve_has.allocation import Allocation

from ..observations import Meter, Owner
from ..policy.observation import Gpu, Observation, ReplicaPhase, Service, Traffic
from ..policy.plan import Action, Place, Plan, Resize, SetScale
from .lane import Lane, Server
from .physics import Physics
from .pod import Pod
from .scenario import Load, Scenario, Second
from .traces import arrival_times

_WINDOW_SAMPLES = 60


class Deployment:
    """One service with its pods, its requests and its counters."""

    def __init__(self, load: Load, lane: Lane, physics: Physics) -> None:
        self.load, self.lane, self.physics = load, lane, physics
        self.scale = 0
        self.pods: dict[str, Pod] = {}
        self.gone: list[Pod] = []
        self.made = self.scale_outs = self.scale_ins = self.resizes = self.cold_starts = 0
        self.seconds: list[Second] = []
        self.scraped = (0.0, 0, 0, 0, 0.0, 0)  # time, offered, late, failed, concurrency, answers


class World:
    """State of a run; time only moves through :meth:`advance`."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.settings = scenario.settings
        self.now = 0.0
        self._rng = np.random.default_rng([scenario.seed, 23])
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._seq = 0
        self.gpus = tuple(
            Gpu(f"GPU-{i:04d}", f"node-{i // 2}", scenario.geometry) for i in range(scenario.gpus)
        )
        self.deployments = {
            load.name: self._deployment(load, index) for index, load in enumerate(scenario.loads)
        }
        self._whole = scenario.geometry.sm_count * 100.0

    def _deployment(self, load: Load, index: int) -> Deployment:
        scenario, settings = self.scenario, self.settings
        seed = scenario.seed * 1009 + index
        physics = Physics(
            load.served_model, load.batch, seed, settings.truth_spread, points=load.points
        )
        lead = load.trace.cut(0.0, min(60.0, load.trace.end_s)).mean_rps()
        rng = np.random.default_rng([seed, 5])
        warm = np.sort(rng.random(rng.poisson(lead * scenario.warmup_s))) * scenario.warmup_s
        shifted = [t + scenario.warmup_s for t in arrival_times(load.trace, seed, scenario.seconds)]
        lane = Lane(
            [*warm.tolist(), *shifted],
            load.slo.latency_ms / 1000.0,
            physics,
            settings.queue_limit,
            settings.timeout_s,
            scenario.warmup_s,
        )
        return Deployment(load, lane, physics)

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Have something done at an instant."""
        self._seq += 1
        heappush(self._events, (when, self._seq, do))

    def advance(self, until: float) -> None:
        """Let everything happen up to ``until``."""
        while self._events and self._events[0][0] <= until:
            when, _, do = heappop(self._events)
            self._flow(when)
            do()
        self._flow(until)

    def _flow(self, until: float) -> None:
        for deployment in self.deployments.values():
            deployment.lane.advance(until)
        self.now = until

    def apply(self, plan: Plan) -> None:
        """Do what a plan says, in its order."""
        for action in plan.actions:
            self._do(action)

    def _do(self, action: Action) -> None:
        if isinstance(action, SetScale):
            self._set_scale(self.deployments[action.service], action)
        elif isinstance(action, Place | Resize):
            deployment = self.deployments[action.service]
            pod = deployment.pods.get(action.replica)
            if pod is None or pod.phase is ReplicaPhase.TERMINATING:
                return
            if isinstance(action, Place):
                self.place(deployment, pod, action.allocation, action.capacity_rps)
            elif pod.allocation is not None:
                deployment.resizes += 1
                self._give(deployment, pod, action.allocation, action.capacity_rps)

    def place(
        self,
        deployment: Deployment,
        pod: Pod,
        allocation: Allocation,
        rps: float,
        warm: bool = False,
    ) -> None:
        """Start a gated pod on its first piece; a warm one is ready at once."""
        pod.phase = ReplicaPhase.STARTING
        self._give(deployment, pod, allocation, rps)
        if warm:
            self._ready(deployment, pod)
            return
        deployment.cold_starts += 1
        self.at(self.now + self._start_time(), lambda: self._ready(deployment, pod))

    def _start_time(self) -> float:
        """Return one drawn cold start without the endpoint's delay, seconds."""
        s = self.settings
        stages = (s.schedule_s, s.container_s, s.import_s, s.context_s, s.weights_s, s.warmup_s)
        draws = np.exp(self._rng.standard_normal(len(stages)) * s.stage_spread)
        drawn = sum(stage * float(x) for stage, x in zip(stages, draws, strict=True))
        return drawn + s.probe_s * float(self._rng.random())

    def _ready(self, deployment: Deployment, pod: Pod) -> None:
        if deployment.pods.get(pod.name) is not pod or pod.phase is not ReplicaPhase.STARTING:
            return
        pod.phase = ReplicaPhase.READY
        self.at(self.now + self.settings.endpoint_delay_s, lambda: self._join(deployment, pod))

    def _join(self, deployment: Deployment, pod: Pod) -> None:
        if pod.phase is ReplicaPhase.READY:
            deployment.lane.join(pod.server, self.now)

    def _give(self, deployment: Deployment, pod: Pod, allocation: Allocation, rps: float) -> None:
        """Make a piece desired; it is in force after a delay, and both are paid until then."""
        first = pod.allocation is None
        pod.allocation, pod.in_force = allocation, False
        pod.epoch += 1
        epoch = pod.epoch
        self._bill(deployment, pod, max(pod.billed_area, allocation.area))

        def in_force() -> None:
            if pod.epoch == epoch and pod.phase is not ReplicaPhase.TERMINATING:
                pod.in_force = True
                pod.server.weight = max(rps, 1e-6)
                self._bill(deployment, pod, allocation.area)
                slow = self._slowdown(pod, allocation)
                deployment.lane.set_speed(
                    pod.server, allocation.sm_partition, allocation.quota_percent, slow, self.now
                )

        if first:
            in_force()
        else:
            delay = self.settings.resize_delay_s * math.exp(
                0.4 * float(self._rng.standard_normal())
            )
            self.at(self.now + delay, in_force)

    def _slowdown(self, pod: Pod, allocation: Allocation) -> float:
        """Return the factor by which neighbours on the same SM groups slow a replica."""
        load, shared = [0] * self.scenario.geometry.group_count, False
        for deployment in self.deployments.values():
            for other in deployment.pods.values():
                held = other.allocation
                if held is None or held.gpu_uuid != allocation.gpu_uuid:
                    continue
                both = held.sm_groups & allocation.sm_groups
                shared = shared or (other is not pod and both != 0)
                for group in range(len(load)):
                    if both >> group & 1:
                        load[group] += held.quota_percent
        crowd = max(1.0, max(load) / 100.0)
        return crowd * (1.0 + self.settings.sharing_cost if shared else 1.0)

    def _bill(self, deployment: Deployment, pod: Pod, area: int) -> None:
        share = deployment.load.memory_bytes / self.scenario.geometry.memory_bytes
        pod.bill(area, self.now, self._whole, share)

    def _set_scale(self, deployment: Deployment, action: SetScale) -> None:
        if action.replicas > deployment.scale:
            deployment.scale_outs += 1
        elif action.replicas < deployment.scale:
            deployment.scale_ins += 1
        deployment.scale = action.replicas
        live = [p for p in deployment.pods.values() if p.phase is not ReplicaPhase.TERMINATING]
        for _ in range(action.replicas - len(live)):
            self.create(deployment)
        surplus = len(live) - action.replicas
        if surplus > 0:
            order = {name: index for index, name in enumerate(action.victims)}
            live.sort(
                key=lambda p: (
                    order.get(p.name, len(order)),
                    p.phase is ReplicaPhase.READY,
                    -p.created_s,
                )
            )
            for pod in live[:surplus]:
                self._terminate(deployment, pod)

    def create(self, deployment: Deployment) -> Pod:
        """Return a new gated pod."""
        deployment.made += 1
        name = f"{deployment.load.name}-{deployment.made}"
        pod = Pod(name, Server(name, float(self._rng.random()) * 0.05), self.now)
        deployment.pods[name] = pod
        return pod

    def _terminate(self, deployment: Deployment, pod: Pod) -> None:
        was_ready = pod.phase is ReplicaPhase.READY
        pod.phase, pod.leaving_s = ReplicaPhase.TERMINATING, self.now
        deployment.lane.leave(pod.server)
        wait = self.settings.grace_s if was_ready else 0.2
        self.at(self.now + wait, lambda: self._try_end(deployment, pod))

    def _try_end(self, deployment: Deployment, pod: Pod) -> None:
        if pod.server.active and self.now - pod.leaving_s < 30.0:
            self.at(self.now + 0.25, lambda: self._try_end(deployment, pod))
            return
        deployment.lane.kill(pod.server)
        self._bill(deployment, pod, 0)
        deployment.pods.pop(pod.name, None)
        deployment.gone.append(pod)

    def kill(self, service: str, name: str) -> None:
        """Lose a pod at once; its ReplicaSet makes another."""
        deployment = self.deployments[service]
        pod = deployment.pods[name]
        pod.phase, pod.leaving_s = ReplicaPhase.TERMINATING, self.now - 60.0
        self._try_end(deployment, pod)
        self.create(deployment)

    def settle_bills(self) -> None:
        """Charge everything up to now."""
        for deployment in self.deployments.values():
            for pod in deployment.pods.values():
                self._bill(deployment, pod, pod.billed_area)

    def scrape(self) -> None:
        """Take the gateway's counters, unless this scrape is lost."""
        if float(self._rng.random()) < self.settings.lost_samples:
            return
        for deployment in self.deployments.values():
            self._scrape(deployment)

    def _scrape(self, deployment: Deployment) -> None:
        lane = deployment.lane
        then, offered, late, failed, concurrency, answers = deployment.scraped
        span = max(1e-9, self.now - then)
        latest = (self.now, lane.offered, lane.late, lane.failed, lane.concurrency_s)
        deployment.scraped = (*latest, len(lane.latencies))
        deployment.seconds.append(
            Second(
                self.now,
                (lane.offered - offered) / span,
                (lane.concurrency_s - concurrency) / span,
                self.now + self.settings.metric_delay_s,
                len(lane.latencies) - answers,
                lane.late - late,
                lane.failed - failed,
                lane.in_flight,
                *_recent_latencies(deployment),
            )
        )
        if len(deployment.seconds) > 700:
            del deployment.seconds[:100]

    def observe(self) -> Observation:
        """Return what the policy may see now."""
        services = tuple(self._service(d) for d in self.deployments.values())
        return Observation(self.now, services, self.gpus)

    def meters(self) -> dict[Owner, Meter]:
        """Return every replica's counters."""
        return {
            (name, pod.name): Meter(
                self.now, pod.epoch, (), pod.server.answered, 0.0, pod.server.metered_s
            )
            for name, deployment in self.deployments.items()
            for pod in deployment.pods.values()
        }

    def _service(self, deployment: Deployment) -> Service:
        load, now = deployment.load, self.now
        return Service(
            load.name,
            load.slo,
            load.served_model,
            load.batch,
            1,
            load.memory_bytes,
            load.min_replicas,
            load.max_replicas,
            load.min_sm or self.scenario.geometry.sm_group_size,
            load.max_sm or self.scenario.geometry.sm_count,
            load.priority,
            False,
            deployment.scale,
            tuple(pod.seen(now) for pod in deployment.pods.values()),
            self._traffic(deployment),
        )

    def _traffic(self, deployment: Deployment) -> Traffic:
        now, seconds = self.now, deployment.seconds
        end = len(seconds)
        while end and seconds[end - 1].visible_s > now:
            end -= 1
        if not end:
            return Traffic(math.inf)
        newest = seconds[end - 1]
        recent = seconds[max(0, end - 10) : end]
        answered = sum(s.answered for s in recent)
        bad = sum(s.late + s.failed for s in recent)
        whole = answered + sum(s.failed for s in recent)
        return Traffic(
            now - newest.at_s,
            tuple((now - s.at_s, s.rps) for s in seconds[max(0, end - _WINDOW_SAMPLES) : end]),
            float(newest.in_flight),
            newest.latency_ms,
            answered / len(recent),
            bad / whole if whole else 0.0,
            newest.median_ms,
        )


def _recent_latencies(deployment: Deployment) -> tuple[float | None, float | None]:
    """Return the objective's percentile and the median over about the last ten seconds, ms."""
    count = sum(second.answered for second in deployment.seconds[-9:])
    latencies = deployment.lane.latencies
    count += len(latencies) - deployment.scraped[5]
    if not count:
        return None, None
    recent = sorted(latencies[-count:])
    index = min(len(recent) - 1, int(deployment.load.slo.percentile / 100.0 * len(recent)))
    return recent[index] * 1000.0, recent[len(recent) // 2] * 1000.0
