"""The end of a log that somebody else writes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_MOST_BYTES: Final = 1 << 16


class LogTail:
    """New whole lines of one file, from where it ended when this was made.

    A file that appears later is read from its start, as is one that was replaced or cut.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rest = b""
        self._file, self._at = _look(path)

    def read(self) -> list[str]:
        """Return the next lines, at most 64 KiB of them; none when there is no such file."""
        file, size = _look(self._path)
        if file is None:
            self._file, self._at, self._rest = None, 0, b""
            return []
        if file != self._file or size < self._at:
            self._file, self._at, self._rest = file, 0, b""
        if size == self._at:
            return []
        try:
            with self._path.open("rb") as log:
                log.seek(self._at)
                fresh = log.read(_MOST_BYTES)
        except OSError:
            return []
        self._at += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        self._rest = self._rest[-_MOST_BYTES:]
        return [line.decode(errors="replace") for line in lines]


def last_lines(path: Path) -> list[str]:
    """Return the lines in the last 64 KiB of a file, none when it cannot be read."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _MOST_BYTES))
            return log.read(_MOST_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return []


def _look(path: Path) -> tuple[int | None, int]:
    try:
        status = path.stat()
    except OSError:
        return None, 0
    return status.st_ino, status.st_size
