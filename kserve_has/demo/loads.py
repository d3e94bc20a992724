"""Make each service's load and run one generator process for it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .. import contract
from ..cli.fleet import Service
from ..config.demo import DemoSettings
from ..errors import TraceError
from ..kube.objects import JsonObject
from ..loadgen.arrivals import arrivals
from ..loadgen.plan import Plan
from ..loadgen.trace import Trace

STOP_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Load:
    """One service's load.

    Attributes:
        trace: the rate offered, lead-in included, already scaled.
        factor: what the source's rates were multiplied by.
        speed: how many times faster than it was recorded the source is played.
        from_s: second of the source at which the measured part begins.
        due_s: due times relative to the measured start; negative in the lead-in.

    """

    service: Service
    model: str
    trace: Trace
    factor: float
    speed: float
    from_s: float
    due_s: tuple[float, ...]

    @property
    def offers(self) -> bool:
        """Whether anything is due after the lead-in."""
        return bool(self.due_s) and self.due_s[-1] >= 0


def plan_loads(
    services: Sequence[tuple[Service, str]],
    source: Trace,
    seconds: float,
    settings: DemoSettings,
    *,
    whole: bool,
) -> list[Load]:
    """Return one load per (service, model's name in URLs).

    Args:
        services: who gets a load, in order.
        source: the rates.
        seconds: length of the measured part.
        settings: speed, factors, lead-in and seed.
        whole: send every service the source from its start as it is (a file of the user's);
            otherwise each gets its own liveliest span, sped up and scaled by its model's factor.

    Raises:
        TraceError: no service would be offered anything in the measured part.

    """
    loads: list[Load] = []
    taken: list[tuple[float, float]] = []
    speed = 1.0 if whole else settings.speed
    source = source.hastened(speed)
    for index, (service, model) in enumerate(services):
        from_s = 0.0 if whole else source.liveliest_start(seconds, avoid=taken)
        taken.append((from_s, from_s + seconds))
        factor = 1.0 if whole else settings.factor(service.served_model)
        trace = source.cut(from_s, seconds).scaled(factor).led_in(settings.lead_in_s)
        due = arrivals(trace, process="poisson", seed=settings.seed + index)
        shifted = tuple(t - settings.lead_in_s for t in due)
        loads.append(Load(service, model, trace, factor, speed, from_s * speed, shifted))
    if not any(load.offers for load in loads):
        raise TraceError(
            f"nothing would be offered in the {seconds:g} s measured: the load's rates are too low"
        )
    return loads


def plan_of(load: Load, gateway_url: str, settings: DemoSettings) -> Plan:
    """Return what the generator process is told."""
    service = load.service
    body = json.dumps({"instances": [[index] for index in range(service.batch)]})
    return Plan(
        url=f"{gateway_url}/v1/models/{load.model}:predict",
        host=contract.gateway_host(service.url_name, service.namespace),
        body=body,
        due_s=tuple(t + settings.lead_in_s for t in load.due_s),
        timeout_s=settings.request_timeout_s,
        connections=settings.connections,
        outstanding=settings.outstanding,
    )


def model_in_url(isvc: JsonObject) -> str:
    """Return the model's name in URLs: ``--name`` or ``--model`` of its server, else the service's."""
    predictor = isvc["spec"].get("predictor") or {}
    containers = [*(predictor.get("containers") or []), predictor.get("model") or {}]
    for flag in ("--name", "--model_name", "--model"):
        for container in containers:
            words = [*(container.get("command") or []), *(container.get("args") or [])]
            for word, following in itertools.pairwise([*words, ""]):
                if word == flag and following:
                    return str(following)
                if word.startswith(flag + "="):
                    return str(word.split("=", 1)[1])
    return str(isvc["metadata"]["name"])


class Generators:
    """The generator processes of a run; each writes ``<service>.outcomes.csv``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def outcomes(self, service: Service) -> Path:
        """Return where a service's outcomes are written."""
        return self._folder / f"{service.name.replace('/', '.')}.outcomes.csv"

    async def start(self, plans: Mapping[Service, Plan], start_at: float) -> None:
        """Start one process per service; ``start_at`` is second 0 of every plan (monotonic)."""
        for service, plan in plans.items():
            path = self._folder / f"{service.name.replace('/', '.')}.plan.json"
            plan.write(path)
            self._processes[service.name] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "kserve_has.loadgen",
                str(path),
                str(self.outcomes(service)),
                repr(start_at),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is ours to pass on
            )

    def failed(self) -> list[str]:
        """Return the services whose generator ended with an error."""
        return [name for name, process in self._processes.items() if process.returncode]

    def running(self) -> bool:
        """Whether any generator still runs."""
        return any(process.returncode is None for process in self._processes.values())

    async def stop(self) -> None:
        """End what still runs."""
        for process in self._processes.values():
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
        for process in self._processes.values():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_S)
            if process.returncode is None:
                os.kill(process.pid, signal.SIGKILL)
                await process.wait()
