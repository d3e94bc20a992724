"""Show frames: a live view on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from .live import Frame, line, render


class Display:
    """Where a run's frames go.

    Args:
        console: where to write.
        live: whether to draw in place; else one line every ``plain_every_s``.
        plain_every_s: seconds between such lines.

    """

    def __init__(self, console: Console, *, live: bool, plain_every_s: float) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if live else None
        self._plain_every_s = plain_every_s
        self._next_s = float("-inf")

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, frame: Frame) -> None:
        """Show a frame."""
        if self._live is not None:
            self._live.update(render(frame), refresh=True)
        elif frame.now_s >= self._next_s:
            self._next_s = frame.now_s + self._plain_every_s
            self._console.print(line(frame), soft_wrap=True, highlight=False)
