"""A node with a stand-in MPS daemon, processes that are told what to be, and a hand-moved clock."""

import sys
from pathlib import Path

from kserve_has.config.agent import AgentSettings
from quota_runtime.agent.mps.control import Control
from quota_runtime.agent.mps.daemon import Daemon
from quota_runtime.agent.mps.guard import Guard

FAKE = Path(__file__).parents[2] / "fake_mps_control.py"


def fake_program(folder):
    """Return an executable that stands in for nvidia-cuda-mps-control."""
    path = folder / "nvidia-cuda-mps-control"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {FAKE} "$@"\n')
    path.chmod(0o755)
    return str(path)


class Processes:
    """Which process belongs to which pod, and what was sent to it."""

    def __init__(self):
        self.pods = {}
        self.dead = set()
        self.sent = []

    def pod_of(self, pid):
        return None if pid in self.dead else self.pods.get(pid)

    def alive(self, pid):
        return pid not in self.dead

    def end(self, pid, pod_uid, number):
        if self.pod_of(pid) != pod_uid:
            return False
        self.sent.append((pid, number.name))
        return True


class MpsBench:
    def __init__(self, folder, mode="manage", **settings):
        self.now_s = 1000.0
        self.processes = Processes()
        self.control = Control(folder / "pipe", folder / "log", fake_program(folder))
        self.settings = AgentSettings(**settings)
        self.mode = mode
        self.restart_agent()

    def restart_agent(self):
        self.daemon = Daemon(self.control, self.mode)
        self.guard = Guard(self.daemon, self.settings, self.processes, lambda: self.now_s)

    async def step(self, pods=frozenset(), busy=frozenset(), after_s=0.0):
        self.now_s += after_s
        return await self.guard.step(pods, busy)

    async def tell(self, *words):
        await self.control.ask("fake " + " ".join(map(str, words)))

    async def connect(self, pid, pod, server=7, device="GPU-a"):
        self.processes.pods[pid] = pod
        await self.tell("connect", server, pid, device, 4026531836)

    async def close(self):
        if self.daemon.is_running():
            await self.control.quit(1.0)
