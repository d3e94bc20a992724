"""``python -m kserve_has.localstack up`` runs a command with a stack around it."""

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


def command(out, *inside):
    up = ("kserve_has.localstack", "up", "--level", "control-plane", "--out", str(out))
    # As from a terminal: outside of every namespace of a stack.
    fresh = (sys.executable, "-m", "kserve_has.localstack.namespace", "--")
    return [*fresh, sys.executable, "-m", *up, "--", *inside]


def test_the_command_finds_the_cluster_and_gives_its_status(tmp_path):
    script = 'kubectl get namespaces -oname && test -n "$KSERVE_HAS_GATEWAY_URL" && exit 4'
    answer = subprocess.run(
        command(tmp_path, "sh", "-c", script),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert "namespace/kube-system" in answer.stdout
    assert 4 == answer.returncode
    logs = {path.name for path in (tmp_path / "stack" / "logs").iterdir()}
    expected = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    assert {f"{name}.log" for name in expected} == logs


@pytest.mark.parametrize("after_start", [False, True])
def test_ctrl_c_at_any_moment_ends_it_within_ten_seconds(tmp_path, after_start):
    marker = tmp_path / ("stack/started" if after_start else "stack/logs/etcd.log")
    process = subprocess.Popen(
        command(tmp_path, "sh", "-c", f"touch {tmp_path}/stack/started; sleep 300"),
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not marker.exists():
        assert time.monotonic() < deadline, "the stack did not start"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=10)
    assert process.returncode
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False)
    assert b"" == left.stdout
