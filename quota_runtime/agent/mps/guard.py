"""Heals what a fault under MPS breaks, and keeps a pod's end from becoming one."""

from __future__ import annotations

import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal

from kserve_has.config.agent import AgentSettings
from kserve_has.errors import AgentError

from ..processes import NodeProcesses
from . import answers
from .answers import Broken, Connected, Faulted, Left, LogReader
from .daemon import Daemon
from .tail import LogTail, last_lines

SERVER_LOG: Final = "server.log"
TERMINATE_PATIENCE_S: Final = 2.0
COMING_BACK_S: Final = 1.0

Outcome = Literal["ended", "reported", "unknown"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Victim:
    """A process whose CUDA context a fault has broken.

    Attributes:
        pid: of the process, on the host.
        pod_uid: its pod, None when it belongs to none that the agent keeps.
        outcome: what was done about it.
    """

    pid: int
    pod_uid: str | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A process that was asked to end, and when it no longer gets to choose."""

    pid: int
    pod_uid: str
    due_s: float


class Guard:
    """Watches one daemon; every step is short, whatever the daemon does.

    Attributes:
        daemon: the one that is watched.
        faults: fatal errors seen; a daemon or server that died under its clients is one.
        victims: processes found broken, by outcome.
        terminated: clients terminated before their pod was killed, by outcome.
        outside: pods that were at work beside MPS at the last full check.
    """

    def __init__(
        self,
        daemon: Daemon,
        settings: AgentSettings,
        processes: NodeProcesses | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.daemon = daemon
        self.faults = 0
        self.victims: Counter[str] = Counter()
        self.terminated: Counter[str] = Counter()
        self.outside: frozenset[str] = frozenset()
        self._settings = settings
        self._processes = processes or NodeProcesses()
        self._clock_s = clock_s
        self._reader = LogReader()
        self._tail = LogTail(daemon.control.logs / SERVER_LOG)
        self._clients: dict[int, int] = {}  # process -> process of its server
        self._servers: set[int] = set()  # seen alive
        self._condemned: list[_Sentence] = []
        self._process: int | None = None
        self._checked_s = float("-inf")

    async def step(
        self, pods: AbstractSet[str], busy: AbstractSet[str] = frozenset()
    ) -> list[Victim]:
        """Look once and return who was found broken.

        Args:
            pods: those the agent keeps under MPS.
            busy: those of them with a process that has launched something.
        """
        now_s = self._clock_s()
        broken = self._read_log() | self._orphans()
        if self._is_due(now_s - self._checked_s):
            broken |= await self._check(busy)
            self._checked_s = now_s
        self._execute(now_s)
        broken -= {sentence.pid for sentence in self._condemned}
        return [self._deal_with(pid, pods, now_s) for pid in sorted(broken)]

    async def terminate(self, pod_uid: str) -> None:
        """Take a pod's work off the GPU: its process may then be killed without harm to others."""
        control = self.daemon.control
        try:
            for client in answers.clients(await control.ask("ps", TERMINATE_PATIENCE_S)):
                if self._processes.pod_of(client.pid) != pod_uid:
                    continue
                command = f"terminate_client {client.server} {client.pid}"
                answer = await control.ask(command, TERMINATE_PATIENCE_S)
                done = answers.is_terminated(answer)
                self.terminated["done" if done else "failed"] += 1
                if not done:
                    log.warning("%s: %s", command, answer.strip())
        except AgentError as error:
            self.terminated["failed"] += 1
            log.warning("terminating the MPS clients of pod %s: %s", pod_uid, error)

    def _read_log(self) -> set[int]:
        broken: set[int] = set()
        for sign in self._reader.read(self._tail.read()):
            match sign:
                case Faulted():
                    self.faults += 1
                case Broken(pid):
                    broken.add(pid)
                case Connected(pid, server):
                    self._clients[pid] = server
                case Left(pid):
                    self._clients.pop(pid, None)
        return broken

    def _orphans(self) -> set[int]:
        """Return the clients of servers that have died; a server never ends before its clients."""
        present = {s for s in set(self._clients.values()) if self._processes.alive(s)}
        dead = self._servers - present
        orphans = {pid for pid, server in self._clients.items() if server in dead}
        self._servers = present
        if orphans:
            self.faults += 1
            for pid in orphans:
                del self._clients[pid]
        return orphans

    def _is_due(self, since_s: float) -> bool:
        if self._is_lost() or since_s >= self._settings.mps_status_s:
            return True
        # A daemon that comes back is seen without asking in vain all the time.
        is_back = not self.daemon.state.serving and self.daemon.is_running()
        return is_back and since_s >= COMING_BACK_S

    def _is_lost(self) -> bool:
        known = self._process
        return known is not None and not self._processes.alive(known)

    async def _check(self, busy: AbstractSet[str]) -> set[int]:
        """Return who is broken although no line of the log said so."""
        before, gone = self._process, self._is_lost()
        state = await self.daemon.check()
        self._process = self.daemon.control.process() if state.serving else None
        if self._process is not None and not self._processes.alive(self._process):
            self._process = None  # of another PID namespace
        if gone or (before is not None and not state.serving):
            # The servers end with their daemon, and no client survives its server.
            broken = set(self._clients)
            self.faults += bool(broken)
            self._clients, self.outside = {}, frozenset()
            return broken
        return await self._ask(busy) if state.serving else set()

    async def _ask(self, busy: AbstractSet[str]) -> set[int]:
        control, broken = self.daemon.control, set[int]()
        try:
            known = answers.clients(await control.ask("ps"))
            for server in {client.server for client in known}:
                status = await control.ask(f"get_server_status {server}")
                if status.strip() == answers.FAULT:
                    broken |= self._suspects([c for c in known if c.server == server])
        except AgentError as error:
            log.warning("asking the MPS daemon: %s", error)
            return set()
        self._clients = {client.pid: client.server for client in known}
        inside = {self._processes.pod_of(pid) for pid in self._clients} - {None}
        # Without the host's PID namespace no client can be told from another.
        self.outside = frozenset(busy - inside) if inside or not known else frozenset()
        return broken

    def _suspects(self, clients: Sequence[answers.Client]) -> set[int]:
        """Return which clients of a server in fault are broken: those of one GPU, not of others."""
        pids = {client.pid for client in clients}
        signs = LogReader().read(last_lines(self.daemon.control.logs / SERVER_LOG))
        told = {sign.pid for sign in signs if isinstance(sign, Broken)} & pids
        if told:
            return told
        if len({client.device for client in clients}) == 1:
            return pids
        log.warning("a fault under MPS, and its log does not say whom it broke: ending nobody")
        return set()

    def _deal_with(self, pid: int, pods: AbstractSet[str], now_s: float) -> Victim:
        pod_uid = self._processes.pod_of(pid)
        self._clients.pop(pid, None)
        outcome: Outcome = "unknown"
        if pod_uid is not None and pod_uid in pods:
            outcome = "reported"
            if self._settings.mps_victims == "end":
                self._processes.end(pid, pod_uid, signal.SIGTERM)
                due_s = now_s + self._settings.victim_grace_s
                self._condemned.append(_Sentence(pid, pod_uid, due_s))
                outcome = "ended"
        else:
            pod_uid = None
        self.victims[outcome] += 1
        return Victim(pid, pod_uid, outcome)

    def _execute(self, now_s: float) -> None:
        for sentence in [s for s in self._condemned if s.due_s <= now_s]:
            self._condemned.remove(sentence)
            self._processes.end(sentence.pid, sentence.pod_uid, signal.SIGKILL)
