"""What a fault of one MPS client does to its neighbours, and what the control daemon says of it.

Every case starts a control daemon of its own, two clients that run short kernels, and a third one
that is ended in some way; then it looks who fails, what ``nvidia-cuda-mps-control`` answers, and
when a new client can start. Needs an NVIDIA driver of 555 or later with MPS, nothing else::

    python benchmarks/gpu/mps_faults.py --out mps_faults.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTROL = "nvidia-cuda-mps-control"
CHILD = Path(__file__).with_name("mps_faults_child.py")
PATIENCE_S = 20.0


class Daemon:
    """A control daemon with pipe and log folders of its own, and a watch on its servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe"),
            "CUDA_MPS_LOG_DIRECTORY": str(folder / "log"),
        }
        for name in ("pipe", "log"):
            (folder / name).mkdir()
        subprocess.run([CONTROL, "-d"], env=self.environment, check=True, timeout=PATIENCE_S)
        self.states: list[tuple[float, str]] = []
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._follow, daemon=True)

    def ask(self, command: str) -> dict[str, Any]:
        """Send one command on standard input and return all it answered."""
        began = time.monotonic()
        try:
            done = subprocess.run(
                [CONTROL],
                check=False,
                input=command + "\n",
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            return {"command": command, "timed_out_s": PATIENCE_S}
        return {
            "command": command,
            "status": done.returncode,
            "out": done.stdout,
            "err": done.stderr,
            "took_ms": round((time.monotonic() - began) * 1e3, 1),
        }

    def servers(self) -> list[int]:
        """Return the processes of the servers."""
        words = self.ask("get_server_list").get("out", "").split()
        return [int(word) for word in words if word.isdigit()]

    def watch(self) -> None:
        """Note every change of the servers' status from now on."""
        self._watch.start()

    def _follow(self) -> None:
        while not self._stop.wait(0.02):
            answers = [
                f"{s}:{self.ask(f'get_server_status {s}').get('out', '').strip()}"
                for s in self.servers()
            ]
            state = " ".join(answers) or "no server"
            if not self.states or self.states[-1][1] != state:
                self.states.append((time.monotonic(), state))

    def end(self) -> dict[str, Any]:
        """Stop watching, quit, and return what the logs said."""
        self._stop.set()
        if self._watch.is_alive():
            self._watch.join(PATIENCE_S)
        quitting = self.ask("quit -t 5")
        log = (self.folder / "log" / "server.log").read_text(errors="replace")
        return {"quit": quitting, "server.log": [li for li in log.splitlines() if _tells(li)][:24]}


def _tells(line: str) -> bool:
    """Whether a line of the server's log is about a fault; those of a list hold a number only."""
    words = ("fatal", "sticky", "torn down", "reset", "Refusing", "termination", "server context")
    return any(word in line for word in words) or line.rsplit("] ", 1)[-1].strip().isdigit()


class Client:
    """A CUDA process and the events it told."""

    def __init__(
        self, kind: str, environment: dict[str, str], prefix: tuple[str, ...] = ()
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, str(CHILD), kind],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            try:
                self.events.append(json.loads(line))
            except ValueError:
                self.events.append({"event": "output", "text": line})

    def wait_for(self, event: str, seconds: float = PATIENCE_S) -> dict[str, Any] | None:
        """Return the first such event, None when it does not come in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for found in self.events:
                if found["event"] == event:
                    return found
            time.sleep(0.005)
        return None

    def kill(self) -> None:
        """End the process at once and wait for it."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def leave(self) -> None:
        """Let the process end by itself; kill it if it does not."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.kill()


def attempt(daemon: Daemon) -> dict[str, Any]:
    """Return what a new client meets now."""
    began = time.monotonic()
    client = Client("once", daemon.environment)
    client.wait_for("done", 6)
    found = {"codes": [e.get("code") for e in client.events], "s": time.monotonic() - began}
    client.kill()
    return found


def snapshot(daemon: Daemon) -> list[dict[str, Any]]:
    """Return what the control daemon answers to every question."""
    questions = ["get_server_list", "ps", "get_device_client_list"]
    for server in daemon.servers():
        questions += [f"get_server_status {server}", f"get_client_list {server}"]
    return [daemon.ask(question) for question in questions]


def by_stray_write(daemon: Daemon) -> dict[str, Any]:
    """A client writes to an address that nobody owns."""
    client = Client("stray", daemon.environment)
    client.wait_for("failed")
    return {"culprit": client, "at": time.monotonic()}


def by_kill(daemon: Daemon) -> dict[str, Any]:
    """A client is killed in the middle of a kernel."""
    client = Client("long", daemon.environment)
    client.wait_for("started")
    time.sleep(1.0)
    at = time.monotonic()
    client.kill()
    return {"culprit": client, "at": at}


def by_terminated_kill(daemon: Daemon) -> dict[str, Any]:
    """A client in the middle of a kernel is terminated through the daemon, then killed."""
    client = Client("long", daemon.environment)
    client.wait_for("started")
    time.sleep(1.0)
    at = time.monotonic()
    answers = [
        daemon.ask(f"terminate_client {server} {client.process.pid}") for server in daemon.servers()
    ]
    failed = client.wait_for("failed", 2)
    client.kill()
    return {"culprit": client, "at": at, "terminate": answers, "terminated_client": failed}


def by_idle_kill(daemon: Daemon) -> dict[str, Any]:
    """A client without work in flight is killed."""
    client = Client("stray", daemon.environment)
    client.wait_for("started")
    client.process.send_signal(19)
    time.sleep(0.5)
    at = time.monotonic()
    client.kill()
    return {"culprit": client, "at": at}


def by_other_namespace(daemon: Daemon) -> dict[str, Any]:
    """A client in a PID namespace of its own: under which number is it known?"""
    client = Client("long", daemon.environment, ("unshare", "--pid", "--fork", "--mount-proc"))
    client.wait_for("started")
    time.sleep(0.5)
    known = snapshot(daemon)
    return {"culprit": client, "at": time.monotonic(), "in_namespace": known}


CASES: dict[str, Callable[[Daemon], dict[str, Any]]] = {
    "stray write": by_stray_write,
    "kill in mid-kernel": by_kill,
    "terminate_client, then kill in mid-kernel": by_terminated_kill,
    "kill while idle": by_idle_kill,
    "in a PID namespace of its own": by_other_namespace,
}


def measure(end: Callable[[Daemon], dict[str, Any]]) -> dict[str, Any]:
    """Run one case with a daemon of its own."""
    with tempfile.TemporaryDirectory() as name:
        daemon = Daemon(Path(name))
        found: dict[str, Any] = {"before": snapshot(daemon)}
        victims = [Client("victim", daemon.environment) for _ in range(2)]
        for victim in victims:
            victim.wait_for("started")
        daemon.watch()
        time.sleep(0.5)
        found["with_two"] = snapshot(daemon)
        ended = end(daemon)
        culprit, at = ended.pop("culprit"), ended.pop("at")
        failures = [victim.wait_for("failed", 3) for victim in victims]
        found |= ended
        found["victims_failed"] = [f and {**f, "after_s": f["at"] - at} for f in failures]
        found["after"] = snapshot(daemon)
        found["new_client_beside_victims"] = attempt(daemon)
        left_at = time.monotonic()
        culprit.leave()
        for victim in victims:
            victim.leave() if victim.wait_for("failed", 0.1) else victim.kill()
        found["new_client_after_victims"] = attempt(daemon)
        found["healed_s"] = time.monotonic() - left_at
        found["culprit"] = culprit.events
        found["states"] = [(t - at, state) for t, state in daemon.states]
        return found | daemon.end()


def main() -> None:
    """Measure every case and write all answers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    query = ["nvidia-smi", "--query-gpu=name,driver_version,compute_mode", "--format=csv,noheader"]
    about = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    results: dict[str, Any] = {"gpu": about, "date": time.strftime("%Y-%m-%d"), "cases": {}}
    for name, end in CASES.items():
        try:
            results["cases"][name] = measure(end)
        except (OSError, subprocess.SubprocessError) as error:
            results["cases"][name] = {"error": repr(error)}
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
