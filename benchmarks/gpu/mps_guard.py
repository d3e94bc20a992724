"""How fast the node agent heals a fault under MPS, on a real GPU, and whether it prevents one.

Two clients run short kernels under a daemon that the agent's own code starts and watches; a third one
is killed in the middle of a kernel, or terminated first, or the daemon itself is killed::

    python benchmarks/gpu/mps_guard.py --out mps-guard.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mps_faults import Client

from kserve_has.config.agent import AgentSettings
from quota_runtime.agent.mps import answers
from quota_runtime.agent.mps.control import LOG_VARIABLE, PIPE_VARIABLE, Control
from quota_runtime.agent.mps.daemon import Daemon
from quota_runtime.agent.mps.guard import Guard
from quota_runtime.agent.processes import NodeProcesses

REPEATS = 5
PATIENCE_S = 15.0


class Pods(NodeProcesses):
    """Processes whose pod is known, as no kubelet makes cgroups here."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[int, str] = {}

    def pod_of(self, pid: int) -> str | None:
        """Return the pod a process was given to."""
        return self.of.get(pid) if self.alive(pid) else None


class Node:
    """A daemon, its guard, and clients as pods."""

    def __init__(self, folder: Path) -> None:
        control = Control(folder / "pipe", folder / "log")
        self.settings = AgentSettings()
        self.pods = Pods()
        self.guard = Guard(Daemon(control, "manage"), self.settings, self.pods)
        self.environment = {
            **os.environ,
            PIPE_VARIABLE: str(control.pipes),
            LOG_VARIABLE: str(control.logs),
        }
        self.seen: list[dict[str, Any]] = []

    def client(self, kind: str, pod: str) -> Client:
        """Start a client that is the process of a pod."""
        client = Client(kind, self.environment)
        self.pods.of[client.process.pid] = pod
        return client

    async def watch(self) -> None:
        """Step as the agent does, until cancelled."""
        while True:
            pods = frozenset(self.pods.of.values())
            for victim in await self.guard.step(pods):
                at = time.monotonic()
                self.seen.append({"at": at, "pod": victim.pod_uid, "outcome": victim.outcome})
            await asyncio.sleep(self.settings.mps_poll_ms / 1e3)

    async def until_new_client_runs(self) -> float | None:
        """Return when a new client has run a kernel under MPS, None when none does in time."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            client = Client("once", self.environment)
            await asyncio.to_thread(client.wait_for, "done", 2.0)
            done = [event for event in client.events if event["event"] == "done"]
            client.kill()
            if done and done[0]["code"] == 0 and self.guard.daemon.is_running():
                return float(done[0]["at"])
        return None


async def kill_in_kernel(_node: Node, culprit: Client) -> None:
    """Kill a client in the middle of its kernel."""
    await asyncio.to_thread(culprit.kill)


async def terminate_and_kill(node: Node, culprit: Client) -> None:
    """Do what the agent does before a pod is killed."""
    await node.guard.terminate("culprit")
    await asyncio.to_thread(culprit.kill)


async def kill_daemon(node: Node, _culprit: Client) -> None:
    """Kill the control daemon."""
    process = node.guard.daemon.control.process()
    if process is not None:
        os.kill(process, signal.SIGKILL)


async def kill_server(node: Node, _culprit: Client) -> None:
    """Kill the MPS server, not its control daemon."""
    for server in answers.servers(await node.guard.daemon.control.ask("get_server_list")):
        os.kill(server, signal.SIGKILL)


CASES = {
    "killed in the middle of a kernel": kill_in_kernel,
    "terminated, then killed": terminate_and_kill,
    "control daemon killed": kill_daemon,
    "MPS server killed": kill_server,
}


async def once(end: Any) -> dict[str, Any]:
    """Run one case on a daemon of its own."""
    with tempfile.TemporaryDirectory() as name:
        node = Node(Path(name))
        await node.guard.daemon.check()
        watching = asyncio.create_task(node.watch())
        victims = [node.client("victim", f"victim-{i}") for i in range(2)]
        culprit = node.client("long", "culprit")
        for client in (*victims, culprit):
            await asyncio.to_thread(client.wait_for, "started")
        await asyncio.sleep(1.0)
        at = time.monotonic()
        await end(node, culprit)
        acted = time.monotonic()
        runs = await node.until_new_client_runs()
        await asyncio.sleep(0.3)
        ended = [victim.process.poll() is not None for victim in victims]
        watching.cancel()
        for client in (*victims, culprit):
            client.kill()
        await node.guard.daemon.quit(2.0)
        return {
            "acting_ms": round((acted - at) * 1e3, 1),
            "victims_ended": ended,
            "seen_ms": [round((one["at"] - at) * 1e3) for one in node.seen],
            "outcomes": [one["outcome"] for one in node.seen],
            "new_client_ms": None if runs is None else round((runs - at) * 1e3),
            "faults": node.guard.faults,
            "terminated": dict(node.guard.terminated),
            "starts": node.guard.daemon.starts,
        }


def main() -> None:
    """Measure every case several times and write all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    results = {
        name: [asyncio.run(once(end)) for _ in range(REPEATS)] for name, end in CASES.items()
    }
    text = json.dumps({"date": time.strftime("%Y-%m-%d"), "cases": results}, indent=1)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
