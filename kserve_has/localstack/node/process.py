"""One container as a local process: start, signal, run a command beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .environment import ContainerConfigError
from .spec import ContainerSpec

_LAUNCHER: Final = str(Path(__file__).with_name("launch.py"))


class ContainerProcess:
    """The process of a container, its log and its launch file.

    Attributes:
        process: the running process; its id is also its process group.
    """

    def __init__(self, process: asyncio.subprocess.Process, launch: Path) -> None:
        self.process = process
        self._launch = launch

    @classmethod
    async def start(
        cls,
        folder: Path,
        container: ContainerSpec,
        argv: Sequence[str],
        env: Mapping[str, str],
        volumes: Mapping[str, Path],
    ) -> ContainerProcess:
        """Start the program with its mounts; its output goes to ``<folder>/<container>.log``.

        Raises:
            ContainerConfigError: a mounted volume does not exist.
        """
        launch = folder / "containers" / f"{container.name}.json"
        launch.parent.mkdir(parents=True, exist_ok=True)
        spec = {
            "argv": list(argv),
            "env": dict(env),
            "cwd": container.working_dir,
            "mounts": _mounts(container, volumes),
        }
        _write_private(launch, spec)
        log = folder / f"{container.name}.log"
        return cls(await _spawn(launch, log), launch)

    async def run_beside(self, command: Sequence[str]) -> int:
        """Run a command with the container's mounts and environment; return its status."""
        spec = json.loads(self._launch.read_text(encoding="utf-8")) | {"argv": list(command)}
        beside = self._launch.with_suffix(".exec.json")
        _write_private(beside, spec)
        process = await _spawn(beside, Path(os.devnull))
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                _signal_group(process.pid, signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Signal the program; SIGKILL goes to everything it started."""
        if number == signal.SIGKILL:
            _signal_group(self.process.pid, number)
        else:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def wait(self) -> int:
        """Wait for the end and return the status, negative for a signal; children end too."""
        code = await self.process.wait()
        _signal_group(self.process.pid, signal.SIGKILL)
        return code


def _mounts(container: ContainerSpec, volumes: Mapping[str, Path]) -> list[dict[str, object]]:
    mounts: list[dict[str, object]] = []
    # Outer paths first, or they would hide inner ones.
    for mount in sorted(container.mounts, key=lambda mount: mount.path.count("/")):
        if mount.volume not in volumes:
            raise ContainerConfigError(f"volume {mount.volume!r} of {mount.path} does not exist")
        source = volumes[mount.volume]
        if mount.sub_path:
            source = source / mount.sub_path
            if not source.exists():
                source.mkdir(parents=True)
        mounts.append({"source": str(source), "target": mount.path, "read_only": mount.read_only})
    return mounts


def _write_private(path: Path, spec: Mapping[str, object]) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(spec), encoding="utf-8")


async def _spawn(launch: Path, log: Path) -> asyncio.subprocess.Process:
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            _LAUNCHER,
            str(launch),
            env={},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)
