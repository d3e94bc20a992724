"""What the generator process is told and what it writes down."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NO_CONNECTION: Final = 0  # the request broke off before an answer came
NO_ANSWER: Final = -1  # the time limit passed, or the run ended before the answer came
NOT_SENT: Final = -2  # too many requests were already outstanding


@dataclass(frozen=True, slots=True)
class Plan:
    """One service's load.

    Attributes:
        url: where every request is posted.
        host: its Host header, by which the gateway routes.
        body: the JSON text posted.
        due_s: when requests are due, seconds from the start, ascending.
        timeout_s: an answer later than this, from the time the request was due, never came.
        connections: TCP connections at most; requests beyond wait for one, and that counts.
        outstanding: requests without an answer at most; one beyond is recorded as NOT_SENT.

    """

    url: str
    host: str
    body: str
    due_s: tuple[float, ...]
    timeout_s: float = 10.0
    connections: int = 64
    outstanding: int = 2000

    def write(self, path: Path) -> None:
        """Write the plan as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    Attributes:
        due_s: when it was due, seconds from the start.
        sent_s: when it was handed to the client, NaN when it never was.
        latency_ms: from the time it was *due* to the last byte of the answer; infinity without one.
        status: HTTP status, or one of NO_CONNECTION, NO_ANSWER, NOT_SENT.

    """

    due_s: float
    sent_s: float
    latency_ms: float
    status: int

    @property
    def ok(self) -> bool:
        """Whether a good answer came."""
        return 200 <= self.status < 300

    def line(self) -> str:
        """Return it as a line of the outcome file."""
        return f"{self.due_s:.6f},{self.sent_s:.6f},{self.latency_ms:.3f},{self.status}\n"


def parse_outcome(line: str) -> Outcome:
    """Return the outcome of one line of the outcome file."""
    due, sent, latency, status = line.split(",")
    return Outcome(float(due), float(sent), float(latency), int(status))


def read_plan(path: Path) -> Plan:
    """Return a written plan."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return Plan(**{**values, "due_s": tuple(values["due_s"])})


def without_answer(due_s: float, sent_s: float, status: int) -> Outcome:
    """Return the outcome of a request that got no answer."""
    return Outcome(due_s, sent_s, math.inf, status)
