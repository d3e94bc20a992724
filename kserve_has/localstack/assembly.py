"""The order in which the stack comes up, and what each process waits for."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Final, Literal, get_args

import yaml

from .. import contract
from ..config.localstack import LocalStackSettings
from ..errors import StackError
from . import components, controlplane, kserve, kserve_release, layout, monitoring, probes
from .cluster import Cluster
from .goparts import GoParts
from .parts import NativeParts, native_parts
from .supervise import Command, Probe, Supervisor

Level = Literal["control-plane", "kserve", "full"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)

_OVERLAY: Final = "manifests/overlays/local"
# What a stack leaves behind in its folder; the next one there starts from nothing.
_OWN_FOLDERS: Final = [
    "certs",
    "kubeconfigs",
    "logs",
    "etcd",
    "kserve",
    "prometheus",
    "xds",
    "nodes",
]


class Assembly:
    """Starts the processes of a stack level by level; runs in one event loop."""

    def __init__(
        self,
        parts: GoParts,
        folder: Path,
        settings: LocalStackSettings,
        autoscaler: Mapping[str, object],
        report: Callable[[str], None],
    ) -> None:
        _clear(folder)
        self.identities = controlplane.make_identities(folder)
        self.supervisor = Supervisor(folder / "logs", settings)
        self.cluster = Cluster(parts.binary("kubectl"), self.identities.admin)
        self._parts = parts
        self._folder = folder
        self._settings = settings
        self._autoscaler = autoscaler
        self._report = report
        self._probes: dict[str, Probe] = {}
        self._reached = 0
        self._raising: asyncio.Task[object] | None = None

    async def raise_to(self, level: Level) -> None:
        """Start what a level has and does not run yet; return when all of it is ready.

        Raises:
            StackError: a process did not become ready or the API server refused an object.
        """
        self._raising = asyncio.current_task()
        steps = (self._control_plane, self._kserve, self._everything_else)
        for step in steps[self._reached : LEVELS.index(level) + 1]:
            await step()
            self._reached += 1

    async def stop(self) -> None:
        """End every process, also in the middle of a start."""
        if self._raising and not self._raising.done():
            self._raising.cancel()
            await asyncio.wait([self._raising])
        await self.supervisor.stop()

    async def wait_ready(self, name: str) -> None:
        """Wait until a process is ready.

        Raises:
            StackError: there is no such process, or it is not ready in time.
        """
        if name not in self._probes:
            raise StackError(f"no process {name!r}; there are {', '.join(sorted(self._probes))}")
        await self.supervisor.ready(name, self._probes[name])

    async def as_service_account(self, account: str, namespace: str = contract.NAMESPACE) -> Path:
        """Return a kubeconfig of a ServiceAccount."""
        token = await self.cluster.token(account, namespace)
        return self.identities.token(f"{namespace}-{account}", token)

    async def _control_plane(self) -> None:
        self._report("control plane: etcd, API server, controller-manager, scheduler")
        authority = self.identities.authority.pair.certificate
        etcd = controlplane.etcd(self._parts, self._folder / "etcd")
        await self._start(etcd, probes.http_ok(f"{controlplane.ETCD_URL}/health"))
        api = controlplane.api_server(self._parts, self.identities)
        await self._start(api, probes.http_ok(f"{layout.API_URL}/readyz", authority))
        health = f"https://{layout.LOOPBACK}:{{}}/healthz"
        manager = controlplane.controller_manager(self._parts, self.identities)
        scheduler = controlplane.scheduler(self._parts, self.identities)
        await _together(
            self._start(
                manager,
                probes.http_ok(health.format(layout.CONTROLLER_MANAGER_PORT), authority),
            ),
            self._start(scheduler, probes.http_ok(health.format(layout.SCHEDULER_PORT), authority)),
        )

    async def _kserve(self) -> None:
        self._report("KServe: CRDs, settings, webhooks, controller")
        early, late = kserve.objects(self._parts, self.identities.authority)
        await self.cluster.apply(early)
        await _until(self.cluster.established, self._settings.ready_timeout_s, "KServe's CRDs")
        config = await self.as_service_account(
            kserve_release.SERVICE_ACCOUNT, kserve_release.NAMESPACE
        )
        manager = kserve.manager(
            self._parts, config, self.identities.authority, self._folder / "kserve"
        )
        await self._start(manager, probes.http_ok(kserve.READY_URL))
        await self.cluster.apply(late)

    async def _everything_else(self) -> None:
        self._report("kserve-has: namespace, rights, webhook registrations")
        overlay = layout.repository() / _OVERLAY
        await self.cluster.kubectl("apply", "--kustomize", str(overlay))
        await self.cluster.apply(monitoring.objects())
        machines = self._machines(await asyncio.to_thread(native_parts))
        self._report("webhook, monitoring and gateway")
        await _together(self._webhook(), self._prometheus(machines), self._gateway())
        self._report(
            f"{len(machines)} nodes with {self._settings.gpus_per_node} emulated GPUs each"
        )
        await _together(*(self._node(machine) for machine in machines))
        self._report("autoscaler")
        await self._start_autoscaler()

    def _machines(self, native: NativeParts) -> list[components.Machine]:
        folder, count = self._folder / "nodes", self._settings.nodes
        return [
            components.machine(index, folder, native.driver, native.library)
            for index in range(count)
        ]

    async def _webhook(self) -> None:
        config = await self.as_service_account(contract.SERVICE_ACCOUNT_WEBHOOK)
        # Its certificate is its own; it is healthy once its registrations trust it.
        leases = components.leases_of(self._folder / "nodes")
        leases.mkdir(parents=True, exist_ok=True)
        await self._start(
            components.webhook(config, leases), probes.http_ok(components.WEBHOOK_URL, verify=False)
        )

    async def _prometheus(self, machines: list[components.Machine]) -> None:
        config = await self.as_service_account(monitoring.NAME, monitoring.NAMESPACE)
        content = monitoring.configuration(
            config, [machine.agent for machine in machines], self._settings.scrape_interval_s
        )
        server = monitoring.server(self._parts, self._folder / "prometheus", content)
        await self._start(server, probes.http_ok(monitoring.READY_URL))

    async def _gateway(self) -> None:
        xds = self._folder / "xds"
        xds.mkdir(parents=True, exist_ok=True)
        config = await self.as_service_account(contract.SERVICE_ACCOUNT_GATEWAY)
        await self._start(components.gateway(config, xds), probes.exists(components.bootstrap(xds)))
        await self._start(components.envoy(xds), probes.http_ok(components.ENVOY_URL))

    async def _node(self, machine: components.Machine) -> None:
        machine.root.mkdir(parents=True, exist_ok=True)
        await _run(components.make_gpus(machine, self._settings.gpus_per_node))
        user = f"system:node:{machine.name}"
        kubelet = self.identities.client(machine.name, user, "system:nodes")
        ready = self.cluster.node_ready(machine.name)
        await self._start(components.node(machine, kubelet), ready)
        agent = components.agent(
            machine, await self.as_service_account(contract.SERVICE_ACCOUNT_AGENT)
        )
        await self._start(agent, probes.http_ok(f"http://{machine.agent}/healthz"))

    async def _start_autoscaler(self) -> None:
        config = await self.as_service_account(contract.SERVICE_ACCOUNT_AUTOSCALER)
        settings = self._folder / "autoscaler.yaml"
        settings.write_text(yaml.safe_dump(dict(self._autoscaler)), encoding="utf-8")
        await self._start(
            components.autoscaler(config, settings), probes.http_ok(components.AUTOSCALER_URL)
        )

    async def _start(self, command: Command, probe: Probe) -> None:
        self._probes[command.name] = probe
        await self.supervisor.start(command)
        await self.supervisor.ready(command.name, probe)


def _clear(folder: Path) -> None:
    for name in _OWN_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)


async def _together(*work: Coroutine[None, None, None]) -> None:
    """Run all at once; when one fails the others are ended before its error goes on."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(command: tuple[str, ...]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise StackError(f"{' '.join(command)}: {output.decode(errors='replace').strip()}")


async def _until(probe: Probe, timeout_s: float, what: str) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not await probe():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise StackError(f"{what} were not ready within {timeout_s:g} s") from None
