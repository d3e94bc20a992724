"""Start processes, keep them running, know when they are ready, and end every one of them."""

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


@dataclass(frozen=True, slots=True)
class Command:
    """One process of the stack.

    Attributes:
        name: what it is called in logs and in :meth:`Supervisor.processes`.
        argv: program and arguments.
        env: variables on top of the supervisor's own environment.
        restart: start it again when it ends, with back-off. Such processes also stop first.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    restart: bool = False


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
        """Start a process.

        Raises:
            StackError: a process of that name runs already, or the program cannot be started.
        """
        if command.name in self._running:
            raise StackError(f"{command.name} was started already")
        running = _Running(command, await self._spawn(command))
        if command.restart:
            running.keeper = asyncio.create_task(self._keep(running))
        self._running[command.name] = running

    async def ready(self, name: str, probe: Probe) -> None:
        """Wait until ``probe`` answers True.

        Raises:
            StackError: the process ended or the time ran out; the message shows its last lines.
        """
        running = self._running[name]
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.ready_timeout_s
        while not await probe():
            if running.process.returncode is not None and not running.command.restart:
                raise StackError(
                    f"{name} ended with status {running.process.returncode}; {self._tail(name)}"
                )
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
        """Return how often a process was started."""
        return self._running[name].starts

    async def stop(self) -> None:
        """End everything: restarted components first, so that they can still reach the rest."""
        keepers = [r.keeper for r in self._running.values() if r.keeper]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for restarted in (True, False):
            wave = [r for r in self._running.values() if r.command.restart is restarted]
            await asyncio.gather(*(self._end(running.process) for running in wave))
        self._running.clear()

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
            running.process = await self._spawn(running.command)
            running.starts += 1

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            _signal_group(process.pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), self._settings.stop_grace_s)
        _signal_group(process.pid, signal.SIGKILL)
        await process.wait()

    def _log_path(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _note(self, name: str, message: str) -> None:
        with self._log_path(name).open("a") as log:
            log.write(f"--- local stack: {message}\n")

    def _tail(self, name: str) -> str:
        path = self._log_path(name)
        lines = path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"last lines of {path}:", *lines])


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)
