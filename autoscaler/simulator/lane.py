"""One service's requests: bound to a replica on arrival, worked on one after the other.

The inner loop of the simulator: an arrival and a completion a request, nothing else.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

from .physics import NOISE_LENGTH, Physics

WINDOW_S = 0.05  # the quota window the runtime enforces


class Server:
    """The working part of one replica.

    Attributes:
        name: of the replica.
        weight: requests per second the gateway was told it serves.
        active: requests bound to it and not answered.
        answered: requests so far.
        metered_s: GPU time of those, as the quota runtime would meter it.
    """

    __slots__ = (
        "above",
        "active",
        "answered",
        "arrived",
        "below",
        "budget_s",
        "finish",
        "gpu_s",
        "median_s",
        "metered_s",
        "name",
        "phase_s",
        "queue",
        "quota",
        "started",
        "used_s",
        "version",
        "weight",
        "window",
    )

    def __init__(self, name: str, phase_s: float) -> None:
        self.name = name
        self.phase_s = phase_s
        self.weight = 1.0
        self.active = self.answered = 0
        self.metered_s = 0.0
        self.queue: deque[float] = deque()
        self.arrived = -1.0  # arrival of the request in work, negative when idle
        self.started = self.finish = self.gpu_s = 0.0
        self.version = 0
        self.quota = 1.0
        self.median_s = self.below = self.above = 0.0
        self.budget_s = WINDOW_S
        self.window = -1
        self.used_s = 0.0

    def end_of(self, start: float, gpu_s: float) -> float:
        """Return when GPU work started now ends, and book it in the quota windows."""
        if self.quota >= 1.0:
            return start + gpu_s
        window = math.floor((start - self.phase_s) / WINDOW_S)
        if window != self.window:
            self.window, self.used_s = window, 0.0
        now, left = start, self.budget_s - self.used_s
        edge = self.phase_s + (window + 1) * WINDOW_S
        while True:
            granted = min(left, edge - now)
            if gpu_s <= granted:
                self.used_s = self.budget_s - left + gpu_s
                return now + gpu_s
            gpu_s -= max(0.0, granted)
            now, left = edge, self.budget_s
            edge += WINDOW_S
            self.window += 1


class Lane:
    """One service's arrivals, replicas in rotation, and what the gateway counted.

    Attributes:
        latencies: of every answered request so far, seconds.
        late: answered later than the objective.
        failed: refused, timed out or lost with their replica.
        early_late, early_failed: those of them that arrived before what is counted begins.
        offered: arrived so far.
    """

    def __init__(
        self,
        arrivals: Sequence[float],
        slo_s: float,
        physics: Physics,
        queue_limit: int,
        timeout_s: float,
        counted_from: float = 0.0,
    ) -> None:
        self._counted_from = counted_from
        self._arrivals = [*arrivals, math.inf]
        self._slo_s, self._queue_limit, self._timeout_s = slo_s, queue_limit, timeout_s
        self._physics, self._noise = physics, physics.noise()
        self._heap: list[tuple[float, int, int, Server]] = []
        self._seq = 0
        self.waiting: deque[float] = deque()  # held in the gateway while no replica is there
        self.servers: list[Server] = []
        self.offered = self.late = self.failed = self.early_late = self.early_failed = 0
        self.latencies: list[float] = []
        self.in_flight = 0
        self.concurrency_s = 0.0  # integral of in-flight requests
        self._last = 0.0

    def advance(self, until: float) -> None:
        """Let requests arrive and finish up to ``until``."""
        arrivals, heap = self._arrivals, self._heap
        position = self.offered
        arrival = arrivals[position]
        in_flight, area, last = self.in_flight, self.concurrency_s, self._last
        while True:
            done = heap[0][0] if heap else math.inf
            if arrival <= done:
                if arrival > until:
                    break
                area += in_flight * (arrival - last)
                last = arrival
                position += 1
                in_flight += self._accept(arrival, arrival)
                arrival = arrivals[position]
            else:
                if done > until:
                    break
                _, _, version, server = heappop(heap)
                if version != server.version:
                    continue
                area += in_flight * (done - last)
                last = done
                in_flight -= 1 + self._complete(server, done)
        area += in_flight * (until - last)
        self.offered, self.in_flight = position, in_flight
        self.concurrency_s, self._last = area, until

    def _accept(self, arrival: float, now: float) -> int:
        """Bind a request to the least loaded replica; return 1, or 0 when it is refused."""
        servers = self.servers
        if not servers:
            self.waiting.append(arrival)
            return 1
        best = servers[0]
        if len(servers) > 1:
            load = (best.active + 1) / best.weight
            for server in servers:
                other = (server.active + 1) / server.weight
                if other < load:
                    best, load = server, other
        if best.active > self._queue_limit:
            self._fail(arrival)
            return 0
        best.active += 1
        if best.arrived < 0.0:
            self._start(best, arrival, now)
        else:
            best.queue.append(arrival)
        return 1

    def _start(self, server: Server, arrival: float, now: float) -> None:
        self._seq = seq = self._seq + 1
        z = self._noise[seq % NOISE_LENGTH]
        gpu_s = server.median_s * math.exp(z * (server.above if z > 0 else server.below))
        server.arrived, server.started, server.gpu_s = arrival, now, gpu_s
        server.finish = finish = server.end_of(now, gpu_s)
        heappush(self._heap, (finish, seq, server.version, server))

    def _complete(self, server: Server, now: float) -> int:
        """Count the answer, start the next; return how many waited too long and failed."""
        latency = now - server.arrived
        self.latencies.append(latency)
        if latency > self._slo_s:
            self.late += 1
            self.early_late += server.arrived < self._counted_from
        server.active -= 1
        server.answered += 1
        server.metered_s += server.gpu_s
        server.arrived = -1.0
        queue, expired = server.queue, 0
        while queue:
            arrival = queue.popleft()
            if now - arrival <= self._timeout_s:
                self._start(server, arrival, now)
                break
            server.active -= 1
            expired += 1
            self._fail(arrival)
        return expired

    def _fail(self, arrival: float) -> None:
        self.failed += 1
        self.early_failed += arrival < self._counted_from

    def set_speed(self, server: Server, sm: int, quota: int, slow: float, now: float) -> None:
        """Put another piece in force; the request in work goes on with what is left of it."""
        before = server.median_s
        median_ms, server.below, server.above = self._physics.law(sm)
        server.median_s = median_ms * slow / 1000.0
        server.quota = quota / 100.0
        server.budget_s = WINDOW_S * server.quota
        if server.arrived < 0.0 or before <= 0.0:
            return
        span = server.finish - server.started
        left = max(0.0, (server.finish - now) / span) if span > 0 else 0.0
        server.version += 1
        server.metered_s += server.gpu_s * (1.0 - left)
        server.gpu_s *= left * server.median_s / before
        server.started = now
        server.finish = server.end_of(now, server.gpu_s)
        self._seq += 1
        heappush(self._heap, (server.finish, self._seq, server.version, server))

    def join(self, server: Server, now: float) -> None:
        """Put a replica into rotation; requests without one go there first."""
        self.servers.append(server)
        waiting, self.waiting = self.waiting, deque()
        for arrival in waiting:
            if now - arrival > self._timeout_s:
                self._fail(arrival)
                self.in_flight -= 1
            elif not self._accept(arrival, now):
                self.in_flight -= 1

    def leave(self, server: Server) -> None:
        """Take a replica out of rotation; it finishes what is bound to it."""
        if server in self.servers:
            self.servers.remove(server)

    def give_up(self) -> None:
        """Count all that is in flight as failed."""
        for arrival in self.waiting:
            self._fail(arrival)
        for server in {entry[3] for entry in self._heap if entry[2] == entry[3].version}:
            self._lose(server)

    def _lose(self, server: Server) -> None:
        for arrival in server.queue:
            self._fail(arrival)
        if server.arrived >= 0.0:
            self._fail(server.arrived)

    def kill(self, server: Server) -> None:
        """Lose a replica with everything bound to it."""
        self.leave(server)
        self._lose(server)
        self.in_flight -= server.active
        server.version += 1
        server.active = 0
        server.arrived = -1.0
        server.queue.clear()
