"""What ``nvidia-cuda-mps-control`` answers and what the server writes in its log. Pure.

Commands and states: NVIDIA's MPS documentation, "Legacy MPS v2 Interface" and "Architecture". The
exact words are those of driver 580 (see ``docs/results/mps-faults.md``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

FAULT: Final = "FAULT"
_LINE: Final = re.compile(r"\[[^\]]*\bServer\s+(\d+)\]\s+(.*)")
_FAULT: Final = "Server is handling a fatal GPU error"
_BROKEN_LIST: Final = "have a sticky error set"
_CONNECTED: Final = re.compile(r"Status of client \{PID: (\d+), Context ID: \d+\} is ACTIVE")
_LEFT: Final = re.compile(r"Client process (\d+) disconnected")


@dataclass(frozen=True, slots=True)
class Client:
    """One row of ``ps``.

    Attributes:
        pid: as the daemon's PID namespace numbers it.
        server: process of the server it is connected to.
        device: first part of the GPU's uuid.
    """

    pid: int
    server: int
    device: str


@dataclass(frozen=True, slots=True)
class Faulted:
    """A server has begun to handle a fatal error."""

    server: int


@dataclass(frozen=True, slots=True)
class Broken:
    """A client can use its GPU no more; only a new process can."""

    pid: int


@dataclass(frozen=True, slots=True)
class Connected:
    """A client has a context on a server."""

    pid: int
    server: int


@dataclass(frozen=True, slots=True)
class Left:
    """A client is gone."""

    pid: int


Sign = Faulted | Broken | Connected | Left


def servers(text: str) -> tuple[int, ...]:
    """Return the processes that ``get_server_list`` lists."""
    return tuple(int(word) for word in text.split() if word.isdigit())


def clients(text: str) -> tuple[Client, ...]:
    """Return the rows of ``ps``; none for "Server not found"."""
    found = []
    for line in text.splitlines():
        words = line.split(maxsplit=5)
        if len(words) >= 5 and words[0].isdigit() and words[2].isdigit():
            found.append(Client(int(words[0]), int(words[2]), words[3]))
    return tuple(found)


def percentage(text: str) -> float | None:
    """Return the answer to ``get_default_active_thread_percentage``, None when it is no number."""
    try:
        return float(text.strip())
    except ValueError:
        return None


def is_terminated(text: str) -> bool:
    """Whether ``terminate_client`` succeeded: it answers with CUDA's error code alone."""
    return text.strip() == "0"


class LogReader:
    """Turns the lines of a server's log into signs, in whatever pieces they come."""

    def __init__(self) -> None:
        self._in_list = False

    def read(self, lines: Iterable[str]) -> list[Sign]:
        """Return what these lines say; lines of another form say nothing."""
        signs: list[Sign] = []
        for line in lines:
            match = _LINE.match(line)
            if match:
                signs += self._signs(int(match.group(1)), match.group(2).strip())
        return signs

    def _signs(self, server: int, words: str) -> list[Sign]:
        if self._in_list and words.isdigit():
            return [Broken(int(words))]
        self._in_list = _BROKEN_LIST in words
        if words.startswith(_FAULT):
            return [Faulted(server)]
        if connected := _CONNECTED.match(words):
            return [Connected(int(connected.group(1)), server)]
        if left := _LEFT.match(words):
            return [Left(int(left.group(1)))]
        return []
