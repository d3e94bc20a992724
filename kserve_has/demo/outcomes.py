"""Follow the files that generator processes write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..loadgen.plan import Outcome, parse_outcome


class Outcomes:
    """All outcomes of one service so far, in order of completion.

    Attributes:
        all: outcomes whose due time is relative to the measured start (negative in the lead-in).

    """

    def __init__(self, path: Path, lead_in_s: float) -> None:
        self._path = path
        self._lead_in_s = lead_in_s
        self._offset = 0
        self.all: list[Outcome] = []

    def read(self) -> None:
        """Take in what was written since the last call; half a line waits for its rest."""
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode().splitlines():
            outcome = parse_outcome(line)
            self.all.append(
                replace(
                    outcome,
                    due_s=outcome.due_s - self._lead_in_s,
                    sent_s=outcome.sent_s - self._lead_in_s,
                )
            )

    def recent(self, now_s: float, span_s: float) -> list[Outcome]:
        """Return outcomes due in the last ``span_s`` before ``now_s``."""
        found = []
        for outcome in reversed(self.all):
            # Completion is at most a time-out later than the due time; far older ones end it.
            if outcome.due_s < now_s - 3 * span_s:
                break
            if now_s - span_s <= outcome.due_s < now_s:
                found.append(outcome)
        return found
