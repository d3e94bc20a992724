"""One run on a running stack: apply, wait, load, watch, collect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from ..cli.fleet import Service
from ..config.demo import DemoSettings
from ..errors import StackError
from ..kube import KubeClient
from ..loadgen.plan import Outcome
from ..loadgen.trace import Trace
from ..localstack.progress import shown
from ..localstack.stack import LocalStack
from . import chaos, collect, measures
from .display import Display
from .disturb import MODEL_SERVER, Disturber
from .live import Frame, Recent, recent
from .loads import Generators, Load, model_in_url, plan_loads, plan_of
from .outcomes import Outcomes
from .timeline import Timeline
from .watcher import Watcher

START_DELAY_S = 3.0  # generators import their client meanwhile
MEMORY_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to run.

    Attributes:
        samples: folder of a kustomization with InferenceServices.
        source: rates to offer.
        source_name: what to call them.
        whole: the source is used from its start, unscaled (a file of the user's).
        seconds: measured part.
        chaos: kill parts in mid-run.

    """

    samples: Path
    source: Trace
    source_name: str
    whole: bool
    seconds: float
    chaos: bool


@dataclass(frozen=True, slots=True)
class Raw:
    """What a run left behind, before any figure is made of it."""

    loads: list[Load]
    outcomes: dict[str, list[Outcome]]
    timeline: Timeline
    aftermath: list[chaos.Aftermath]
    measured: dict[str, object]
    decisions: list[dict[str, object]]
    problems: list[str]


class Run:
    """A run on a stack; call :meth:`go` once."""

    def __init__(self, stack: LocalStack, out: Path, settings: DemoSettings) -> None:
        self._stack = stack
        self._settings = settings
        self._generators = Generators(out / "load")
        self._memory: dict[str, int] = {}

    async def go(self, order: Order, display: Display) -> Raw:
        """Do the run.

        Raises:
            StackError: the samples were refused or did not become ready in time.
            TraceError: nothing would be offered.

        """
        async with AsyncExitStack() as cleanup:
            client = await cleanup.enter_async_context(KubeClient(self._stack.kubeconfig))
            watcher = Watcher(client, time.monotonic())
            await cleanup.enter_async_context(watcher.running())
            with shown("samples") as report:
                report("applying")
                await asyncio.to_thread(self._stack.kubectl, "apply", "-k", str(order.samples))
                named = await self._ready(watcher, report)
            loads = plan_loads(
                named, order.source, order.seconds, self._settings, whole=order.whole
            )
            cleanup.push_async_callback(self._generators.stop)
            return await self._measure(order, client, watcher, loads, display)

    async def _ready(
        self, watcher: Watcher, report: Callable[[str], None]
    ) -> list[tuple[Service, str]]:
        """Wait until every service answers through the gateway; return them with URL names."""
        deadline = time.monotonic() + self._settings.ready_timeout_s
        told: list[str] | None = None
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while True:
                services = watcher.services()
                named = [(s, model_in_url(watcher.isvc(s))) for s in services]
                waiting = [
                    s.name for s, model in named if not await self._answers(session, s, model)
                ]
                if named and not waiting:
                    return named
                if time.monotonic() > deadline:
                    raise StackError(_why_not_ready(watcher, waiting, self._settings))
                if waiting != told:
                    report(f"waiting for {', '.join(waiting) or 'them'}")
                    told = waiting
                await asyncio.sleep(1.0)

    async def _answers(self, session: aiohttp.ClientSession, service: Service, model: str) -> bool:
        if not service.ready:
            return False
        load = Load(service, model, Trace((0.0,), (1.0,), 1.0), 1.0, 1.0, 0.0, ())
        plan = plan_of(load, self._stack.gateway_url, self._settings)
        headers = {"Host": plan.host, "Content-Type": "application/json"}
        try:
            async with session.post(plan.url, data=plan.body, headers=headers) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def _measure(
        self,
        order: Order,
        client: KubeClient,
        watcher: Watcher,
        loads: list[Load],
        display: Display,
    ) -> Raw:
        settings = self._settings
        at_start = set(self._stack.processes())
        start_at = time.monotonic() + START_DELAY_S
        plans = {x.service: plan_of(x, self._stack.gateway_url, settings) for x in loads}
        await self._generators.start(plans, start_at)
        watcher.restart_clock(start_at + settings.lead_in_s)
        tails = {
            x.service.name: Outcomes(self._generators.outcomes(x.service), settings.lead_in_s)
            for x in loads
        }
        disturber = Disturber(self._stack, client, watcher)
        disturbing = (
            asyncio.create_task(disturber.run(order.seconds, lambda: _now(watcher)))
            if order.chaos
            else None
        )
        try:
            await self._watch(order, watcher, loads, tails, disturber, display)
            if disturbing is not None:
                await disturbing
        finally:
            if disturbing is not None:
                disturbing.cancel()
        for tail in tails.values():
            tail.read()
        outcomes = {name: tail.all for name, tail in tails.items()}
        urls = [url for part in collect.metrics_urls().values() for url in part]
        pages = disturber.pages + await measures.pages(urls)
        return Raw(
            loads=loads,
            outcomes=outcomes,
            timeline=watcher.timeline,
            aftermath=disturber.aftermath([x.service for x in loads], outcomes, order.seconds),
            measured=collect.measured(pages, watcher.timeline, loads, order.seconds, self._memory),
            decisions=[
                {
                    "at": d.at,
                    "service": d.service,
                    "reason": d.reason,
                    "message": d.message,
                    "count": d.count,
                }
                for d in watcher.decisions()
            ],
            problems=self._problems(at_start, loads, outcomes, order.seconds),
        )

    async def _watch(
        self,
        order: Order,
        watcher: Watcher,
        loads: list[Load],
        tails: dict[str, Outcomes],
        disturber: Disturber,
        display: Display,
    ) -> None:
        """Show frames until the run is over and every generator has ended."""
        memory_at = 0.0
        give_up_s = order.seconds + self._settings.request_timeout_s + 10
        with display:
            while (now := _now(watcher)) < order.seconds or self._generators.running():
                for tail in tails.values():
                    tail.read()
                shown = [self._recent(load, tails[load.service.name], now) for load in loads]
                notice = f"killed {disturber.kills[-1].process}" if disturber.kills else ""
                display.show(
                    Frame(
                        min(now, order.seconds),
                        order.seconds,
                        shown,
                        watcher.replicas(),
                        watcher.decisions(),
                        notice,
                    )
                )
                if now >= memory_at:
                    self._sample_memory()
                    memory_at = now + MEMORY_EVERY_S
                if now > give_up_s:
                    break
                await asyncio.sleep(self._settings.refresh_s)

    def _recent(self, load: Load, tail: Outcomes, now: float) -> Recent:
        span = self._settings.recent_s
        return recent(load.service, load.due_s, tail.recent(now, span), now, span)

    def _sample_memory(self) -> None:
        found = dict(self._stack.processes())
        for index, pid in enumerate(measures.find_processes(MODEL_SERVER)):
            found[f"model server {index}"] = pid
        for index, pid in enumerate(measures.find_processes("kserve-has-sidecar")):
            found[f"sidecar {index}"] = pid
        for name, pid in found.items():
            size = measures.resident_bytes(pid)
            self._memory[name] = max(size, self._memory.get(name, 0))

    def _problems(
        self,
        at_start: set[str],
        loads: list[Load],
        outcomes: dict[str, list[Outcome]],
        seconds: float,
    ) -> list[str]:
        problems = [f"the load generator of {name} failed" for name in self._generators.failed()]
        missing = sorted(at_start - set(self._stack.processes()))
        problems += [f"{name} does not run any more" for name in missing]
        return problems + silent(loads, outcomes, seconds)


def silent(
    loads: Iterable[Load], outcomes: Mapping[str, Iterable[Outcome]], seconds: float
) -> list[str]:
    """Return a sentence for each service that was offered requests and answered none well."""
    names = [load.service.name for load in loads if load.offers]
    return [
        f"{name} answered nothing"
        for name in names
        if not any(o.ok and 0 <= o.due_s < seconds for o in outcomes[name])
    ]


def _now(watcher: Watcher) -> float:
    return time.monotonic() - watcher.zero


def _why_not_ready(watcher: Watcher, waiting: list[str], settings: DemoSettings) -> str:
    replicas = ", ".join(f"{r.pod} {r.phase}" for r in watcher.replicas()) or "no pod"
    return (
        f"{', '.join(waiting) or 'the samples'} did not answer within "
        f"{settings.ready_timeout_s:g} s; replicas: {replicas}; see the logs below stack/"
    )
