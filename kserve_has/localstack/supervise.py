"""Start processes, keep them running, know when they are ready, and end every one of them.

A process that ends by itself is started again after a back-off, as a Deployment would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..config.localstack import LocalStackSettings
from ..errors import StackError

Probe = Callable[[], Awaitable[bool]]

_POLL_S: Final = 0.1
_STEADY_S: Final = 10.0
_TAIL_LINES: Final = 15
_START_ATTEMPTS: Final = 4


@dataclass(frozen=True, slots=True)
class Command:
    """One process of the stack.

    Attributes:
        name: what it is called in logs and in :meth:`Supervisor.processes`.
        argv: program and arguments.
        env: variables on top of the supervisor's own environment.
        disposable: it has nothing to say goodbye to: killed at once, after all the others.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    disposable: bool = False


@dataclass(slots=True)
class _Running:
    command: Command
    process: asyncio.subprocess.Process
    keeper: asyncio.Task[None] | None = None
    starts: int = 1


class Supervisor:
    """Owns the stack's processes; each writes to ``<logs>/<name>.log``."""

    def __init__(self, logs: Path, settings: LocalStackSettings) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._settings = settings
        self._running: dict[str, _Running] = {}

    async def start(self, command: Command) -> None:
        """Start a process and keep it running.

        Raises:
            StackError: a process of that name runs already, or the program cannot be started.
        """
        if command.name in self._running:
            raise StackError(f"{command.name} was started already")
        running = _Running(command, await self._spawn(command))
        self._running[command.name] = running
        running.keeper = asyncio.create_task(self._keep(running))

    async def ready(self, name: str, probe: Probe) -> None:
        """Wait until ``probe`` answers True.

        Raises:
            StackError: the process keeps ending or the time ran out; the message shows its log.
        """
        running = self._entry(name)
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.ready_timeout_s
        starts = running.starts
        while not await probe():
            if running.starts - starts >= _START_ATTEMPTS - 1:
                raise StackError(f"{name} ended {_START_ATTEMPTS - 1} times; {self._tail(name)}")
            if clock() > deadline:
                waited = self._settings.ready_timeout_s
                raise StackError(f"{name} was not ready within {waited:g} s; {self._tail(name)}")
            await asyncio.sleep(_POLL_S)

    def processes(self) -> dict[str, int]:
        """Return the process id of everything that runs now, by name."""
        return {
            name: running.process.pid
            for name, running in self._running.items()
            if running.process.returncode is None
        }

    def starts(self, name: str) -> int:
        """Return how often a process was started.

        Raises:
            StackError: there is no process of that name.
        """
        return self._entry(name).starts

    async def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process and wait until the next one of its name is running.

        Raises:
            StackError: there is no process of that name, or it does not end.
        """
        running = self._entry(name)
        ended = running.process
        _signal_group(ended.pid, number)
        try:
            async with asyncio.timeout(self._settings.ready_timeout_s):
                while running.process is ended:
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise StackError(f"{name} did not end upon {number.name}") from None

    async def stop(self) -> None:
        """End everything: first what says goodbye to the API server, then the rest at once."""
        keepers = [running.keeper for running in self._running.values() if running.keeper]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for disposable, grace in ((False, self._settings.stop_grace_s), (True, 0.0)):
            wave = [r for r in self._running.values() if r.command.disposable is disposable]
            await asyncio.gather(*(_end(running.process, grace) for running in wave))
        self._running.clear()

    def _entry(self, name: str) -> _Running:
        if name not in self._running:
            known = ", ".join(sorted(self._running))
            raise StackError(f"no process {name!r} in this stack; there are {known}")
        return self._running[name]

    async def _spawn(self, command: Command) -> asyncio.subprocess.Process:
        with self._log_path(command.name).open("ab") as log:
            try:
                return await asyncio.create_subprocess_exec(
                    *command.argv,
                    env={**os.environ, **command.env},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # A group of its own: what a process started ends with it.
                    start_new_session=True,
                )
            except OSError as error:
                raise StackError(f"{command.name}: cannot start {command.argv[0]}: {error}") from (
                    error
                )

    async def _keep(self, running: _Running) -> None:
        clock = asyncio.get_running_loop().time
        delay = self._settings.restart_backoff_s
        while True:
            began = clock()
            status = await running.process.wait()
            if clock() - began > _STEADY_S:
                delay = self._settings.restart_backoff_s
            self._note(running.command.name, f"ended with status {status}, again in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(2 * delay, self._settings.restart_backoff_max_s)
            # A stop during the fork must not lose the new process.
            spawning = asyncio.create_task(self._spawn(running.command))
            try:
                running.process = await asyncio.shield(spawning)
            except asyncio.CancelledError:
                running.process = await spawning
                raise
            running.starts += 1

    def _log_path(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _note(self, name: str, message: str) -> None:
        with self._log_path(name).open("a") as log:
            log.write(f"--- local stack: {message}\n")

    def _tail(self, name: str) -> str:
        path = self._log_path(name)
        lines = path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"last lines of {path}:", *lines])


async def _end(process: asyncio.subprocess.Process, grace_s: float) -> None:
    if process.returncode is None and grace_s:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace_s)
    _signal_group(process.pid, signal.SIGKILL)
    await process.wait()


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)
