"""A command in the namespace has the pod network to itself and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from kserve_has.localstack.namespace import why_unavailable

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(bool(why_unavailable()), reason="user namespaces are not allowed here"),
]
NAMESPACE = (sys.executable, "-m", "kserve_has.localstack.namespace", "--")


def run(*command):
    return subprocess.run(
        [*NAMESPACE, *command], capture_output=True, text=True, timeout=30, check=False
    )


def tagged(tag):
    """Return the ids of all processes whose command line carries a tag."""
    found = subprocess.run(["pgrep", "-f", tag], capture_output=True, text=True, check=False)
    return found.stdout.split()


def eventually(check):
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_every_pod_address_can_be_bound_and_reached():
    script = (
        "import socket; s = socket.create_server(('10.244.3.7', 8080));"
        "print(socket.create_connection(('10.244.3.7', 8080)).getpeername()[0])"
    )
    assert "10.244.3.7\n" == run(sys.executable, "-c", script).stdout


def test_nothing_outside_can_be_reached():
    script = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    assert "Network is unreachable" in run(sys.executable, "-c", script).stderr


def test_the_exit_status_is_the_command_s():
    assert 7 == run("sh", "-c", "exit 7").returncode
    assert 128 + signal.SIGKILL == run("sh", "-c", "kill -9 $$").returncode
    assert 127 == run("/no/such/command").returncode


def test_run_is_empty_and_processes_of_the_machine_are_not_seen():
    answer = run("sh", "-c", "ls -A /run; ls -d /proc/[0-9]* | wc -l")
    assert int(answer.stdout) < 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_everything_inside(number, tmp_path):
    tag = f"left-behind-{os.getpid()}-{number.name}"
    # The child ignores what a terminal would send; only the end of the namespace ends it.
    child = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.pause() # {tag}"
    script = f'"{sys.executable}" -c "{child}" & touch {tmp_path}/started; wait'
    outer = subprocess.Popen([*NAMESPACE, "sh", "-c", script])
    eventually((tmp_path / "started").exists)
    assert tagged(tag)
    outer.send_signal(number)
    outer.wait(timeout=10)
    eventually(lambda: not tagged(tag))
