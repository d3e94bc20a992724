"""Pods on the node stand-in, under the real API server, controllers and scheduler."""

import contextlib
import json
import os
import signal
import time
import urllib.request

import pytest

from kserve_has.errors import StackError

from .nodes import TestNode, eventually, processes, server

pytestmark = pytest.mark.stack

NAMESPACE = "node-test"


@pytest.fixture(scope="module")
def node(control_plane, tmp_path_factory):
    held = TestNode(control_plane, tmp_path_factory.mktemp("node"), NAMESPACE)
    held.prepare()
    yield held
    held.remove()


def fetch(address, port=8080):
    with urllib.request.urlopen(f"http://{address}:{port}/", timeout=2) as answer:
        return answer.status


def marked(name):
    return {"env": [{"name": "MARK", "value": name}]}


def test_a_pod_serves_on_its_own_address_and_is_ready(node):
    node.run("serves", server())
    status = node.wait_ready("serves")["status"]
    assert status["podIP"].startswith("10.244.99.")
    assert 200 == fetch(status["podIP"])
    assert ("Running", "10.244.99.1") == (status["phase"], status["hostIP"])
    times = {c["type"]: c["lastTransitionTime"] for c in status["conditions"]}
    assert {"Initialized", "ContainersReady", "Ready", "PodScheduled"} <= times.keys()
    node.delete("serves")


def test_a_killed_container_is_restarted_and_ready_again(node):
    node.run("killed", server(**marked("mark-killed")))
    node.wait_ready("killed")
    (pid,) = processes("MARK=mark-killed")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: 1 == node.pod("killed")["status"]["containerStatuses"][0]["restartCount"])
    node.wait_ready("killed")
    last = node.pod("killed")["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert 137 == last["exitCode"]
    assert [pid] != processes("MARK=mark-killed")
    node.delete("killed")


def test_a_deleted_pod_gets_sigterm_and_time_and_leaves_nothing(node):
    script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    node.run("polite", {"name": "main", "command": ["sh", "-c", script], **marked("mark-polite")})
    node.wait_ready("polite")
    eventually(lambda: "up" in node.output("polite"))
    folder = node.root / "pods" / node.pod("polite")["metadata"]["uid"]
    log = (folder / "main.log").open()
    node.delete("polite")
    assert "up\nbye\n" == log.read()
    log.close()
    assert [] == processes("MARK=mark-polite")
    eventually(lambda: not folder.exists())


def test_a_pod_that_ignores_sigterm_is_killed_when_its_grace_is_over(node):
    script = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    node.run("stubborn", {"name": "main", "command": ["sh", "-c", script], **marked("mark-stub")})
    eventually(lambda: "up" in node.output("stubborn"))
    began = time.monotonic()
    node.delete("stubborn")
    assert 1.5 < time.monotonic() - began < 6
    assert [] == processes("MARK=mark-stub")


def test_containers_start_in_order_and_a_sidecar_outlives_the_main_container(node):
    notes = [{"name": "notes", "mountPath": "/run/notes"}]
    say = "echo {0} >> /run/notes/all; "
    sidecar_trap = "trap 'cat /run/notes/all; exit 0' TERM; while :; do sleep 0.05; done"
    main_trap = (
        "trap 'echo main-ended >> /run/notes/all; exit 0' TERM; while :; do sleep 0.05; done"
    )
    node.run(
        "ordered",
        {
            "name": "main",
            "command": ["sh", "-c", say.format("main") + main_trap],
            "volumeMounts": notes,
        },
        init=[
            {
                "name": "first",
                "command": ["sh", "-c", "sleep 0.3; " + say.format("first")],
                "volumeMounts": notes,
            },
            {
                "name": "side",
                "restartPolicy": "Always",
                "command": ["sh", "-c", "sleep 0.5; " + say.format("side") + sidecar_trap],
                "startupProbe": {
                    "exec": {"command": ["grep", "side", "/run/notes/all"]},
                    "periodSeconds": 1,
                },
                "volumeMounts": notes,
            },
        ],
        volumes=[{"name": "notes", "emptyDir": {"medium": "Memory"}}],
    )
    uid = node.wait_ready("ordered")["metadata"]["uid"]
    log = (node.root / "pods" / uid / "side.log").open()
    node.delete("ordered")
    assert ["first", "side", "main", "main-ended"] == log.read().split()
    log.close()


def test_a_gated_pod_reaches_the_node_only_when_its_gate_is_lifted(node):
    gate = {"name": "kserve-has/placement"}
    node.run("gated", {"name": "main", "command": ["sleep", "60"]}, schedulingGates=[gate])
    uid = node.pod("gated")["metadata"]["uid"]
    time.sleep(0.5)
    assert not (node.root / "pods" / uid).exists()
    lift = json.dumps([{"op": "remove", "path": "/spec/schedulingGates/0"}])
    node.stack.kubectl("patch", "pod", "-n", NAMESPACE, "gated", "--type=json", "-p", lift)
    node.wait_ready("gated")
    node.delete("gated")


def test_a_container_sees_its_variables_files_and_token(node):
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": NAMESPACE},
        "data": {"colour": "green"},
    }
    node.stack.kubectl("create", "-f-", stdin=json.dumps(settings))
    node.stack.kubectl("create", "secret", "generic", "key", "-n", NAMESPACE, "--from-literal=a=b")
    script = (
        "echo $COLOUR/$SECRET/$NOTE/$IP/$(NAME); cat /mnt/settings/here/colour; "
        "ls /var/run/secrets/kubernetes.io/serviceaccount; "
        "touch /mnt/settings/here/x || echo read-only; exec sleep 60"
    )

    def field(name, path):
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    def keyed(name, kind, source, key):
        return {"name": name, "valueFrom": {kind: {"name": source, "key": key}}}

    node.run(
        "sees",
        {
            "name": "main",
            "command": ["sh", "-c", script],
            "env": [
                keyed("COLOUR", "configMapKeyRef", "settings", "colour"),
                keyed("SECRET", "secretKeyRef", "key", "a"),
                field("NOTE", "metadata.annotations['kserve-has/gpu-uuid']"),
                field("IP", "status.podIP"),
                field("NAME", "metadata.name"),
            ],
            "volumeMounts": [
                {"name": "settings", "mountPath": "/mnt/settings/here", "readOnly": True}
            ],
        },
        annotations={"kserve-has/gpu-uuid": "GPU-1"},
        volumes=[{"name": "settings", "configMap": {"name": "settings"}}],
    )
    address = node.wait_ready("sees")["status"]["podIP"]
    eventually(lambda: "read-only" in node.output("sees"))
    words = node.output("sees").split()
    assert f"green/b/GPU-1/{address}/sees" == words[0]
    assert ["greenca.crt", "namespace", "token"] == words[1:4]
    node.delete("sees")


def test_a_pod_that_cannot_start_says_why(node):
    node.run("broken", {"name": "main", "env": []})
    waiting = eventually(
        lambda: (
            node.pod("broken")["status"]["containerStatuses"][0]["state"].get("waiting")
            if node.pod("broken")["status"].get("containerStatuses")
            else None
        )
    )
    assert "CreateContainerConfigError" == waiting["reason"]
    assert "image 'none' is not known" in waiting["message"]
    node.delete("broken")


def test_a_pod_that_has_done_its_work_succeeds(node):
    node.run("done", {"name": "main", "command": ["true"]}, restartPolicy="Never")
    eventually(lambda: "Succeeded" == node.pod("done")["status"]["phase"])
    node.delete("done")


def test_a_removed_deployment_gives_its_addresses_back(node):
    for name in ("one", "two"):
        node.run(name, {"name": "main", "command": ["sleep", "60"]})
    pods = [node.wait_ready(name) for name in ("one", "two")]
    first, second = (pod["status"]["podIP"] for pod in pods)
    assert first != second
    folders = [node.root / "pods" / pod["metadata"]["uid"] for pod in pods]
    assert all(folder.is_dir() for folder in folders)
    for name in ("one", "two"):
        node.delete(name)
    eventually(lambda: not any(folder.exists() for folder in folders))


def test_a_stopped_node_leaves_no_process_and_a_started_one_runs_its_pods_again(node):
    node.run("again", server(**marked("mark-again")))
    address = node.wait_ready("again")["status"]["podIP"]
    assert 0 == node.stop()
    assert [] == processes("MARK=mark-again")
    node.start()
    eventually(lambda: processes("MARK=mark-again"))
    eventually(lambda: node.is_true("again", "Ready") and answers(address))
    assert 1 == node.pod("again")["status"]["containerStatuses"][0]["restartCount"]
    node.delete("again")


def answers(address):
    with contextlib.suppress(OSError):
        return 200 == fetch(address)
    return False


def test_a_killed_node_takes_its_containers_with_it(node):
    node.run("orphan", {"name": "main", "command": ["sleep", "60"], **marked("mark-orphan")})
    node.wait_ready("orphan")
    node.stop(signal.SIGKILL)
    eventually(lambda: [] == processes("MARK=mark-orphan"))
    node.start()
    node.delete("orphan")
    with pytest.raises(StackError):
        node.pod("orphan")
