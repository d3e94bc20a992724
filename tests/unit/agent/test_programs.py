"""The command lines of agent and MPS daemon."""

import asyncio
import os
import signal

import pytest

from kserve_has import contract
from kserve_has.config.agent import AgentSettings
from quota_runtime.agent import __main__ as agent
from quota_runtime.agent.mps import __main__ as program

from .mps_bench import MpsBench


def options(*arguments):
    return agent._parser().parse_args(["--node", "n", *arguments])


def test_without_a_word_on_mps_the_agent_looks_for_none():
    assert agent._guard(options(), AgentSettings()) is None


def test_agent_daemon_and_pods_meet_in_the_same_folders(tmp_path):
    guard = agent._guard(options("--mps=adopt"), AgentSettings())
    control = guard.daemon.control
    assert (contract.MPS_DIR, program.LOGS) == (str(control.pipes), control.logs)
    guard = agent._guard(
        options("--mps=manage", f"--mps-pipes={tmp_path}", f"--mps-logs={tmp_path}"),
        AgentSettings(),
    )
    assert (tmp_path, tmp_path) == (guard.daemon.control.pipes, guard.daemon.control.logs)


def test_a_foreign_mode_is_refused(capsys):
    with pytest.raises(SystemExit):
        options("--mps=maybe")
    assert "off" in capsys.readouterr().err


async def until(check):
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.005)


async def test_the_daemons_keeper_starts_it_again_and_ends_it_when_it_is_told_to_end(tmp_path):
    daemon = MpsBench(tmp_path).daemon
    kept = asyncio.create_task(program.keep(daemon, 0.01, 1.0))
    await until(lambda: daemon.starts == 1 and daemon.is_running())
    os.kill(daemon.control.process(), signal.SIGKILL)
    await until(lambda: daemon.starts == 2 and daemon.is_running())
    os.kill(os.getpid(), signal.SIGTERM)
    await kept
    assert not daemon.is_running()
