import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from kserve_has.localstack import namespace

MARK = "KSERVE_HAS_TEST_RUN"


class DemoProcess:
    """``kserve-has demo`` in namespaces of its own, with its own home for temporary files."""

    def __init__(self, folder, *words):
        self.out = folder / "out"
        self.cwd, self.scratch = folder / "cwd", folder / "tmp"
        self.cwd.mkdir()
        self.scratch.mkdir()
        self.mark = uuid.uuid4().hex
        self.log = folder / "printed.txt"
        command = [sys.executable, "-P", "-m", "kserve_has.localstack.namespace", "--"]
        command += [sys.executable, "-P", "-m", "kserve_has.cli", "demo", "--no-live"]
        command += ["--out", str(self.out), *words]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.cwd,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(self.scratch), MARK: self.mark},
            )

    def printed(self):
        return self.log.read_text()

    def wait_for(self, text, seconds):
        deadline = time.monotonic() + seconds
        while text not in self.printed():
            assert self.process.poll() is None, self.printed()
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.2)

    def wait(self, seconds):
        return self.process.wait(seconds)

    def processes(self):
        """Return the command lines of processes that the run started and that still live."""
        mark = f"{MARK}={self.mark}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (folder / "environ").read_bytes().split(b"\0"):
                        found.append((folder / "cmdline").read_bytes().replace(b"\0", b" "))
        return found

    def left_behind(self):
        """Return everything outside of the results' folder that a run left."""
        mounts = Path("/proc/self/mounts").read_text()
        return [
            *self.processes(),
            *(line for line in mounts.splitlines() if str(self.out) in line),
            *self.cwd.rglob("*"),
            *self.scratch.rglob("*"),
        ]

    def summary(self):
        return json.loads((self.out / "summary.json").read_text())

    def end(self):
        if self.process.poll() is None:
            # The outer process's end takes the whole namespace with it.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Start demos; every one is gone at the end of the module."""
    if problem := namespace.why_unavailable():
        pytest.skip(problem)
    started = []

    def start(*words):
        started.append(DemoProcess(tmp_path_factory.mktemp("demo"), *words))
        return started[-1]

    yield start
    for one in started:
        one.end()
