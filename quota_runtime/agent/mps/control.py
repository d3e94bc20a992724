"""Speaks to a node's MPS control daemon through NVIDIA's own command, in bounded time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from kserve_has.errors import AgentError

PROGRAM: Final = "nvidia-cuda-mps-control"
PIPE_VARIABLE: Final = "CUDA_MPS_PIPE_DIRECTORY"
LOG_VARIABLE: Final = "CUDA_MPS_LOG_DIRECTORY"
PATIENCE_S: Final = 5.0
# A percentage makes green contexts impossible; the daemon serves every GPU of the node.
_NEVER: Final = ("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "CUDA_VISIBLE_DEVICES")


class NoDaemonError(AgentError):
    """No MPS control daemon answers."""


class Control:
    """One daemon, named by its pipe and log folders.

    Attributes:
        pipes: folder of its sockets, which clients need too.
        logs: folder of its two logs.
    """

    def __init__(self, pipes: Path, logs: Path, program: str = PROGRAM) -> None:
        self.pipes = pipes
        self.logs = logs
        self._program = program

    async def ask(self, command: str, patience_s: float = PATIENCE_S) -> str:
        """Return the answer to one command.

        Raises:
            NoDaemonError: no daemon answers.
            AgentError: the program is missing, or silent for ``patience_s``.
        """
        status, text = await self._run((), command + "\n", patience_s)
        if status != 0:
            raise NoDaemonError(f"no MPS daemon answers at {self.pipes}: {text.strip()}")
        return text

    async def start(self) -> None:
        """Start a daemon in the background, for the users of all pods, without a percentage.

        Raises:
            AgentError: it cannot be started.
        """
        try:
            for folder in (self.pipes, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o755)
        except OSError as error:
            raise AgentError(f"the folders of the MPS daemon cannot be made: {error}") from error
        status, text = await self._run(("-d", "--multiuser-server"), "", PATIENCE_S)
        if status != 0:
            raise AgentError(f"{self._program} -d ended with {status}: {text.strip()}")

    async def quit(self, patience_s: float) -> None:
        """Let the daemon and its servers end, by force after ``patience_s``.

        Raises:
            AgentError: it does not answer.
        """
        await self.ask(f"quit -t {max(1, round(patience_s))}", patience_s + PATIENCE_S)

    def process(self) -> int | None:
        """Return the daemon's process as it wrote it down itself, None when it did not."""
        try:
            return int((self.pipes / f"{PROGRAM}.pid").read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            return None

    async def _run(
        self, arguments: tuple[str, ...], text: str, patience_s: float
    ) -> tuple[int, str]:
        environment = {name: value for name, value in os.environ.items() if name not in _NEVER}
        environment |= {PIPE_VARIABLE: str(self.pipes), LOG_VARIABLE: str(self.logs)}
        try:
            process = await asyncio.create_subprocess_exec(
                self._program,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # what ends the agent must not end the daemon
            )
        except OSError as error:
            raise AgentError(f"{self._program} cannot be run: {error}") from error
        try:
            async with asyncio.timeout(patience_s):
                answer, _ = await process.communicate(text.encode())
        except TimeoutError as error:
            raise AgentError(f"{self._program} was silent for {patience_s:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, answer.decode(errors="replace")
