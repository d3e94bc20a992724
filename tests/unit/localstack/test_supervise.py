"""Processes are kept running, are known to be ready, and all end."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from kserve_has.config.localstack import LocalStackSettings
from kserve_has.errors import StackError
from kserve_has.localstack.probes import exists
from kserve_has.localstack.supervise import Command, Supervisor

QUICK = LocalStackSettings(
    ready_timeout_s=5, stop_grace_s=5, restart_backoff_s=0.05, restart_backoff_max_s=0.1
)
# Writes its process id and, when asked to end, a farewell.
POLITE = """
import os, signal, sys
from pathlib import Path
out = Path(sys.argv[1])
def farewell(*_):
    out.with_suffix(".farewell").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, farewell)
out.write_text(str(os.getpid()))
signal.pause()
"""


def polite(out: Path, *, disposable: bool = False) -> Command:
    argv = (sys.executable, "-c", POLITE, str(out))
    return Command("polite", argv, disposable=disposable)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_process_that_is_killed_is_started_again(tmp_path):
    supervisor = Supervisor(tmp_path, QUICK)
    await supervisor.start(polite(tmp_path / "pid"))
    await supervisor.ready("polite", exists(tmp_path / "pid"))
    first = supervisor.processes()["polite"]
    await supervisor.signal("polite", signal.SIGKILL)
    assert first != supervisor.processes()["polite"]
    assert 2 == supervisor.starts("polite")
    assert "status -9, again in 0.05 s" in (tmp_path / "polite.log").read_text()
    await supervisor.stop()


async def test_a_stop_while_a_process_is_started_again_ends_the_new_one_too(tmp_path, monkeypatch):
    supervisor = Supervisor(tmp_path, QUICK)
    spawn, spawned = supervisor._spawn, []
    forked, go_on = asyncio.Event(), asyncio.Event()

    async def slow_spawn(command):
        spawned.append(await spawn(command))
        forked.set()
        await go_on.wait()
        return spawned[-1]

    await supervisor.start(Command("short", ("true",)))
    monkeypatch.setattr(supervisor, "_spawn", slow_spawn)
    await asyncio.wait_for(forked.wait(), 5)
    stopping = asyncio.create_task(supervisor.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert len(spawned) == 1
    assert spawned[0].returncode is not None


async def test_stop_lets_a_process_say_goodbye(tmp_path):
    supervisor = Supervisor(tmp_path, QUICK)
    await supervisor.start(polite(tmp_path / "pid"))
    await supervisor.ready("polite", exists(tmp_path / "pid"))
    pid = supervisor.processes()["polite"]
    await supervisor.stop()
    assert (tmp_path / "pid.farewell").exists()
    assert not alive(pid)
    assert {} == supervisor.processes()


async def test_stop_does_not_wait_for_disposable_processes(tmp_path):
    supervisor = Supervisor(tmp_path, QUICK)
    await supervisor.start(polite(tmp_path / "pid", disposable=True))
    await supervisor.ready("polite", exists(tmp_path / "pid"))
    await supervisor.stop()
    assert not (tmp_path / "pid.farewell").exists()


async def test_stop_ends_what_a_process_started(tmp_path, ended):
    script = f"sleep 60 & echo $! > {tmp_path}/child.new; mv {tmp_path}/child.new {tmp_path}/child"
    supervisor = Supervisor(tmp_path, QUICK)
    await supervisor.start(Command("parent", ("sh", "-c", f"{script}; wait")))
    await supervisor.ready("parent", exists(tmp_path / "child"))
    child = int((tmp_path / "child").read_text())
    await supervisor.stop()
    assert ended(child)


async def test_a_process_that_keeps_ending_is_reported_with_its_last_lines(tmp_path):
    supervisor = Supervisor(tmp_path, QUICK)
    await supervisor.start(Command("broken", ("sh", "-c", "echo cannot bind; exit 3")))
    with pytest.raises(StackError, match=r"broken ended \d times(.|\n)*cannot bind"):
        await supervisor.ready("broken", exists(tmp_path / "never"))
    await supervisor.stop()


async def test_a_process_that_is_never_ready_is_reported(tmp_path):
    settings = LocalStackSettings(ready_timeout_s=0.2)
    supervisor = Supervisor(tmp_path, settings)
    await supervisor.start(Command("slow", ("sleep", "60")))
    with pytest.raises(StackError, match=r"slow was not ready within 0\.2 s"):
        await supervisor.ready("slow", exists(tmp_path / "never"))
    await supervisor.stop()


async def test_a_missing_program_is_named(tmp_path):
    supervisor = Supervisor(tmp_path, QUICK)
    with pytest.raises(StackError, match="cannot start /no/such/program"):
        await supervisor.start(Command("absent", ("/no/such/program",)))


async def test_a_name_is_used_once(tmp_path):
    supervisor = Supervisor(tmp_path, QUICK)
    await supervisor.start(Command("one", ("sleep", "60")))
    with pytest.raises(StackError, match="one was started already"):
        await supervisor.start(Command("one", ("sleep", "60")))
    with pytest.raises(StackError, match="no process 'two' in this stack; there are one"):
        supervisor.starts("two")
    await supervisor.stop()
