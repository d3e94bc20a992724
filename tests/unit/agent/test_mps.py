"""The MPS daemon and its faults, on a stand-in that answers as the real one was seen to."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from kserve_has.config.agent import AgentSettings
from kserve_has.errors import AgentError
from quota_runtime.agent.mps import answers
from quota_runtime.agent.mps.control import Control, NoDaemonError
from quota_runtime.agent.mps.guard import Victim
from quota_runtime.agent.mps.tail import LogTail

from .mps_bench import MpsBench

PODS = frozenset({"pod-1", "pod-2"})


@pytest.fixture
async def mps(tmp_path):
    held = MpsBench(tmp_path)
    yield held
    await held.close()


async def test_a_missing_daemon_is_started_without_a_percentage_for_the_users_of_all_pods(
    mps, monkeypatch
):
    monkeypatch.setenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "50")
    state = await mps.daemon.check()
    assert (True, 100.0, 1) == (state.serving, state.percentage, mps.daemon.starts)
    process = mps.control.process()
    environment = Path(f"/proc/{process}/environ").read_bytes()
    assert b"CUDA_MPS_PIPE_DIRECTORY=" + os.fsencode(mps.control.pipes) in environment
    assert b"PERCENTAGE" not in environment
    started = json.loads((mps.control.pipes / "fake.json").read_text())
    assert ["-d", "--multiuser-server"] == started["options"]
    # Whatever is sent to the agent's group of processes does not reach it.
    assert started["leads"]


async def test_a_daemon_that_runs_is_adopted_and_survives_the_agent(mps):
    await mps.daemon.check()
    process = mps.control.process()
    mps.restart_agent()
    assert (await mps.daemon.check()).serving
    assert (0, process) == (mps.daemon.starts, mps.control.process())


async def test_an_agent_that_may_only_adopt_starts_nothing(tmp_path):
    mps = MpsBench(tmp_path, mode="adopt")
    state = await mps.daemon.check()
    assert not state.serving
    assert "Cannot find MPS control daemon process" in state.why_not
    assert not mps.daemon.is_running()


async def test_an_adopted_daemon_with_a_percentage_is_seen_as_such(mps):
    await mps.daemon.check()
    await mps.tell("percentage", 50)
    assert 50.0 == (await mps.daemon.check()).percentage


async def test_without_the_program_the_reason_names_it(tmp_path):
    mps = MpsBench(tmp_path)
    mps.control = Control(tmp_path / "pipe", tmp_path / "log", str(tmp_path / "nowhere"))
    mps.restart_agent()
    assert "nowhere cannot be run" in (await mps.daemon.check()).why_not


async def test_a_daemon_that_is_silent_is_not_waited_for_without_bound(tmp_path):
    silent = tmp_path / "silent"
    silent.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'import signal; signal.pause()'\n")
    silent.chmod(0o755)
    with pytest.raises(AgentError, match=r"silent for 0\.05 s"):
        await Control(tmp_path, tmp_path, str(silent)).ask("ps", 0.05)


async def test_quitting_ends_the_daemon(mps):
    await mps.daemon.check()
    assert mps.daemon.is_running()
    await mps.daemon.quit(1.0)
    assert not mps.daemon.is_running()
    with pytest.raises(NoDaemonError):
        await mps.control.ask("ps")


async def test_everybody_whom_a_fault_has_broken_is_ended_and_later_by_force(mps):
    await mps.step()
    await mps.connect(11, "pod-1")
    await mps.connect(12, "pod-2")
    await mps.connect(13, "foreign")
    assert [] == await mps.step(PODS)
    await mps.tell("fault", 7)
    found = await mps.step(PODS, after_s=0.1)
    assert [
        Victim(11, "pod-1", "ended"),
        Victim(12, "pod-2", "ended"),
        Victim(13, None, "unknown"),
    ] == found
    assert [(11, "SIGTERM"), (12, "SIGTERM")] == mps.processes.sent
    mps.processes.dead.add(11)
    await mps.step(PODS, after_s=0.5)
    assert 2 == len(mps.processes.sent)
    await mps.step(PODS, after_s=0.6)
    assert [(12, "SIGKILL")] == mps.processes.sent[2:]
    assert (1, {"ended": 2, "unknown": 1}) == (mps.guard.faults, dict(mps.guard.victims))


async def test_between_checks_the_daemon_is_not_asked_anything(mps):
    await mps.step()
    await mps.connect(11, "pod-1")
    await mps.step(PODS)
    program = mps.control._program
    mps.control._program = "/nonexistent"
    with (mps.control.logs / "server.log").open("a") as log:
        log.write("[2026-11-24 20:43:33.090 Server  1788] Server is handling a fatal GPU error.\n")
        log.write("[x Server  1788] The following client process have a sticky error set:\n")
        log.write("[x Server  1788] 11\n")
    assert [Victim(11, "pod-1", "ended")] == await mps.step(PODS, after_s=29.0)
    mps.control._program = program


async def test_a_fault_that_the_log_does_not_tell_is_found_by_asking(mps):
    await mps.step()
    await mps.connect(11, "pod-1")
    await mps.tell("fault", 7, "silent")
    assert [] == await mps.step(PODS, after_s=29.0)
    assert [Victim(11, "pod-1", "ended")] == await mps.step(PODS, after_s=1.1)


async def test_a_fault_from_before_the_agent_started_is_found_at_once(mps):
    await mps.step()
    await mps.connect(11, "pod-1")
    await mps.tell("fault", 7)
    mps.restart_agent()
    assert [Victim(11, "pod-1", "ended")] == await mps.step(PODS)
    # The log and the daemon may both say so: nobody is ended or told of twice.
    await mps.tell("fault", 7)
    assert [] == await mps.step(PODS, after_s=0.5)
    assert [(11, "SIGTERM")] == mps.processes.sent
    assert {"ended": 1} == dict(mps.guard.victims)


async def test_clients_on_another_gpu_are_not_touched(mps):
    await mps.step()
    await mps.connect(11, "pod-1", device="GPU-a")
    await mps.connect(12, "pod-2", device="GPU-b")
    await mps.tell("fault", 7, "GPU-a")
    assert [Victim(11, "pod-1", "ended")] == await mps.step(PODS)
    mps.restart_agent()
    assert [Victim(11, "pod-1", "ended")] == await mps.step(PODS)
    assert {(11, "SIGTERM")} == set(mps.processes.sent)


async def test_where_nothing_says_which_gpu_has_failed_nobody_is_ended(mps, caplog):
    await mps.step()
    await mps.connect(11, "pod-1", device="GPU-a")
    await mps.connect(12, "pod-2", device="GPU-b")
    await mps.tell("fault", 7, "silent")
    assert [] == await mps.step(PODS, after_s=31.0)
    assert "does not say whom it broke" in caplog.text


@pytest.mark.parametrize("dead_with_it", [(), (7,)], ids=["daemon first", "server and daemon"])
async def test_with_the_daemon_all_clients_are_lost_and_a_new_one_is_started(mps, dead_with_it):
    await mps.step()
    await mps.connect(11, "pod-1")
    await mps.connect(12, "pod-2")
    await mps.step(PODS)
    process = mps.control.process()
    os.kill(process, signal.SIGKILL)
    mps.processes.dead |= {process, *dead_with_it}
    found = await mps.step(PODS, after_s=0.1)
    assert [11, 12] == [victim.pid for victim in found]
    assert (1, 2, True) == (mps.guard.faults, mps.daemon.starts, mps.daemon.state.serving)
    assert [] == await mps.step(PODS, after_s=0.1)


async def test_a_server_that_dies_leaves_its_clients_broken_and_no_others(mps):
    await mps.step()
    await mps.connect(11, "pod-1", server=7)
    await mps.connect(12, "pod-2", server=8)
    await mps.step(PODS)
    mps.processes.dead.add(7)
    assert [Victim(11, "pod-1", "ended")] == await mps.step(PODS, after_s=0.1)
    assert 1 == mps.guard.faults
    assert [] == await mps.step(PODS, after_s=0.1)


async def test_a_server_that_was_never_seen_alive_is_of_another_namespace(mps):
    await mps.step()
    mps.processes.dead.add(7)
    await mps.connect(11, "pod-1", server=7)
    assert [] == await mps.step(PODS)
    assert [] == await mps.step(PODS, after_s=31.0)


async def test_a_daemon_that_somebody_starts_again_is_seen_within_a_second(mps):
    await mps.step()
    process = mps.control.process()
    mps.mode = "adopt"
    mps.restart_agent()
    await mps.step()
    os.kill(process, signal.SIGKILL)
    mps.processes.dead.add(process)
    await mps.step(after_s=0.1)
    assert not mps.daemon.state.serving
    await mps.step(after_s=2.0)
    assert not mps.daemon.state.serving
    await mps.control.start()
    await mps.step(after_s=0.1)
    assert mps.daemon.state.serving


async def test_victims_are_only_reported_where_that_is_wanted(tmp_path):
    mps = MpsBench(tmp_path, mps_victims="report")
    await mps.step()
    await mps.connect(11, "pod-1")
    await mps.tell("fault", 7)
    assert [Victim(11, "pod-1", "reported")] == await mps.step(PODS)
    assert [] == mps.processes.sent
    await mps.close()


async def test_a_client_that_left_before_the_daemon_was_lost_is_no_victim(mps):
    await mps.step()
    await mps.connect(11, "pod-1")
    await mps.connect(12, "pod-2")
    await mps.step(PODS)
    await mps.tell("leave", 7, 11)
    await mps.step(PODS)
    process = mps.control.process()
    os.kill(process, signal.SIGKILL)
    mps.processes.dead.add(process)
    assert [12] == [victim.pid for victim in await mps.step(PODS)]


async def test_the_clients_of_a_pod_that_ends_are_terminated_and_no_others(mps):
    await mps.step()
    await mps.connect(11, "pod-1")
    await mps.connect(12, "pod-2")
    await mps.connect(13, "pod-1")
    await mps.guard.terminate("pod-1")
    left = answers.clients(await mps.control.ask("ps"))
    assert [12] == [client.pid for client in left]
    assert {"done": 2} == dict(mps.guard.terminated)


async def test_a_termination_that_fails_is_counted(mps):
    await mps.guard.terminate("pod-1")
    assert {"failed": 1} == dict(mps.guard.terminated)


async def test_a_pod_at_work_beside_mps_is_noticed_at_the_next_check(mps):
    await mps.step()
    await mps.connect(11, "pod-1")
    await mps.step(PODS, PODS, after_s=31.0)
    assert frozenset({"pod-2"}) == mps.guard.outside


async def test_without_sight_of_the_hosts_processes_nobody_is_said_to_be_outside(mps):
    await mps.step()
    await mps.connect(11, None)
    await mps.step(PODS, PODS, after_s=31.0)
    assert frozenset() == mps.guard.outside
    await mps.tell("fault", 7)
    assert [Victim(11, None, "unknown")] == await mps.step(PODS)


def test_answers_are_read_as_the_command_writes_them():
    table = (
        "PID       ID        SERVER         DEVICE                    NAMESPACE      COMMAND\n"
        "514       1         517            GPU-ded50743-ffed-62c9    4026531836     /bin/a b c\n"
    )
    assert (answers.Client(514, 517, "GPU-ded50743-ffed-62c9"),) == answers.clients(table)
    assert () == answers.clients("Server not found\n")
    assert (517, 518) == answers.servers("517\n518\n")
    assert (100.0, None) == (answers.percentage("100.0\n"), answers.percentage("Unknown command"))
    assert answers.is_terminated("0\n")
    assert not answers.is_terminated("CUDA_ERROR_INVALID_VALUE\n")


def test_a_log_is_read_from_where_it_ended_and_anew_when_it_was_replaced(tmp_path):
    path = tmp_path / "server.log"
    path.write_text("old\n")
    tail = LogTail(path)
    assert [] == tail.read()
    with path.open("a") as log:
        log.write("one\ntw")
        log.flush()
        assert ["one"] == tail.read()
        log.write("o\n")
    assert ["two"] == tail.read()
    path.write_text("cut\n")
    assert ["cut"] == tail.read()
    path.unlink()
    assert [] == tail.read()
    path.write_text("a new file\n")
    assert ["a new file"] == tail.read()


def test_a_log_that_grows_without_end_of_line_is_held_in_bounded_memory(tmp_path):
    path = tmp_path / "server.log"
    path.write_bytes(b"")
    tail = LogTail(path)
    path.write_bytes(b"x" * 400_000)
    for _ in range(10):
        assert [] == tail.read()
    assert len(tail._rest) <= 1 << 16


def test_the_questions_add_little_to_the_daemons_log():
    # Five lines of about 60 bytes for each of three questions.
    per_day = 86_400 / AgentSettings().mps_status_s * 3 * 5 * 60
    assert per_day < 3 * 2**20
