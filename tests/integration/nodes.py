"""A node of its own for tests: the stand-in as a process, and kubectl beside it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from kserve_has.errors import StackError
from kserve_has.localstack.stack import LocalStack

NODE = "node-under-test"
ADDRESSES = "10.244.99.0/24"


def eventually(check, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


class TestNode:
    """One node stand-in and the pods that tests put on it."""

    __test__ = False

    def __init__(self, stack: LocalStack, folder: Path, namespace: str) -> None:
        self.stack = stack
        self.namespace = namespace
        self.root = folder / "kubelet"
        self.library = folder / "lib.so"
        self.library.write_bytes(b"library")
        identities = stack._assembly.identities
        self.config = identities.client(NODE, f"system:node:{NODE}", "system:nodes")
        self.log = folder / "node.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-P", "-m", "kserve_has.localstack.node"]
        options = ["--kubeconfig", str(self.config), "--node", NODE, "--root", str(self.root)]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *options, "--pod-cidr", ADDRESSES, "--library", str(self.library)],
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": path},
            )
        eventually(self.is_ready)

    def prepare(self) -> None:
        """Start, and make the namespace of the pods."""
        self.start()
        self.stack.kubectl("create", "namespace", self.namespace)
        accounts = ("get", "serviceaccounts", "-n", self.namespace)
        eventually(lambda: "default" in self.stack.kubectl(*accounts))

    def remove(self) -> None:
        """Take everything away again."""
        self.stack.kubectl("delete", "namespace", self.namespace, "--timeout=30s")
        self.stop()
        self.stack.kubectl("delete", "node", NODE)

    def is_ready(self) -> bool:
        try:
            conditions = self.get("node", NODE)["status"]["conditions"]
        except StackError:
            return False
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def stop(self, number=signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(20)
        self.process = None
        return status

    def get(self, *arguments: str) -> dict:
        text = self.stack.kubectl("get", *arguments, "-ojson")
        return json.loads(text)

    def pod(self, name: str) -> dict:
        return self.get("pod", "-n", self.namespace, name)

    def run(self, name: str, *containers: dict, init=(), annotations=None, **spec: object) -> None:
        """Create a pod that the real scheduler puts on this node."""
        item = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "annotations": annotations or {},
            },
            "spec": {
                "containers": [{"image": "none", **c} for c in containers],
                "initContainers": [{"image": "none", **c} for c in init],
                "nodeSelector": {"kubernetes.io/hostname": NODE},
                "tolerations": [{"key": "kserve-has/gpu-node", "operator": "Exists"}],
                "terminationGracePeriodSeconds": 2,
                **spec,
            },
        }
        self.stack.kubectl("create", "-f-", stdin=json.dumps(item))

    def delete(self, name: str) -> None:
        self.stack.kubectl("delete", "pod", "-n", self.namespace, name, "--timeout=20s")

    def is_true(self, name: str, condition: str) -> bool:
        found = self.pod(name)["status"].get("conditions", ())
        return any(c["type"] == condition and c["status"] == "True" for c in found)

    def wait_ready(self, name: str) -> dict:
        eventually(lambda: self.is_true(name, "Ready"))
        return self.pod(name)

    def output(self, name: str, container: str = "main") -> str:
        uid = self.pod(name)["metadata"]["uid"]
        path = self.root / "pods" / uid / f"{container}.log"
        return path.read_text() if path.exists() else ""


def server(port: int = 8080, **more: object) -> dict:
    """Return a container that serves HTTP on its pod's address."""
    python = "exec python3 -m http.server --bind $KSERVE_HAS_BIND_ADDRESS "
    return {
        "name": "main",
        "command": ["sh", "-c", f"{python}{port}"],
        "readinessProbe": {"httpGet": {"path": "/", "port": port}, "periodSeconds": 1},
        **more,
    }


def processes(marker: str) -> list[int]:
    """Return the processes of this namespace whose environment holds a marker."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found
