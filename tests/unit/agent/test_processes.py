import os
import signal
import subprocess
from pathlib import Path

import pytest

from quota_runtime.agent.processes import NodeProcesses, pod_in

UID = "3f1c8e0a-1b2c-4d5e-8f90-a1b2c3d4e5f6"


@pytest.mark.parametrize(
    "cgroup",
    [
        f"0::/kubepods/burstable/pod{UID}/0123abcd",
        f"0::/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-0123.scope",
        f"12:cpu:/kubepods/pod{UID}/x\n11:memory:/kubepods/pod{UID}/x\n",
    ],
)
def test_the_pod_is_read_from_the_cgroup_of_either_driver(cgroup):
    assert UID == pod_in(cgroup)


@pytest.mark.parametrize("cgroup", ["", "0::/system.slice/sshd.service", "0::/kubepods/podx/y"])
def test_other_processes_have_no_pod(cgroup):
    assert pod_in(cgroup) is None


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def proc_with(tmp_path, pid, uid):
    folder = tmp_path / str(pid)
    folder.mkdir()
    (folder / "cgroup").write_text(f"0::/kubepods/pod{uid}/c\n")
    return NodeProcesses(tmp_path)


def test_a_process_is_signalled_only_while_it_belongs_to_the_pod(tmp_path, sleeper):
    processes = proc_with(tmp_path, sleeper.pid, UID)
    other = UID.replace("3f", "00")
    assert not processes.end(sleeper.pid, other, signal.SIGTERM)
    assert sleeper.poll() is None
    assert processes.end(sleeper.pid, UID, signal.SIGTERM)
    assert -signal.SIGTERM == sleeper.wait(10)


def test_what_is_left_of_a_dead_process_does_not_live(sleeper):
    processes = NodeProcesses()
    assert processes.alive(sleeper.pid)
    sleeper.kill()
    # Nobody has waited for it yet: it has ended once it leaves this table.
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{sleeper.pid}").exists()
    assert not processes.alive(sleeper.pid)
    assert not processes.alive(2**22 + 1)


def test_a_process_that_is_gone_is_not_signalled(tmp_path, sleeper):
    processes = proc_with(tmp_path, sleeper.pid, UID)
    sleeper.kill()
    sleeper.wait()
    assert not processes.end(sleeper.pid, UID, signal.SIGTERM)
    assert processes.pod_of(2**22 + 1) is None
