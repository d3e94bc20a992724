"""The life of the MPS control daemon of a node: adopted, started, checked, ended."""

from __future__ import annotations

import logging
from typing import Literal

from kserve_has.errors import AgentError

from ..backend import MpsState
from ..processes import NodeProcesses
from . import answers
from .control import Control

Mode = Literal["adopt", "manage"]
log = logging.getLogger(__name__)


class Daemon:
    """Keeps track of one daemon; starts it when it is missing, if that is its task.

    An agent that ends leaves the daemon alone: with it, every client would fail at once.

    Attributes:
        control: how it is spoken to.
        state: what was found at the last check.
        starts: how often one was started here.
    """

    def __init__(self, control: Control, mode: Mode) -> None:
        self.control = control
        self.state = MpsState(why_not="not looked for yet")
        self.starts = 0
        self._mode = mode

    async def check(self) -> MpsState:
        """Look for the daemon, start it if need be, and return what there is now."""
        found = await self._look()
        if not found.serving and self._mode == "manage":
            found = await self._start(found)
        if found != self.state:
            words = "answers" if found.serving else f"is missing: {found.why_not}"
            log.info("the MPS daemon at %s %s", self.control.pipes, words)
        self.state = found
        return found

    def is_running(self) -> bool:
        """Whether the process that the daemon wrote down still runs; asks nobody."""
        process = self.control.process()
        return process is not None and NodeProcesses().alive(process)

    async def quit(self, patience_s: float) -> None:
        """End the daemon and every server; what still runs on the GPUs fails."""
        try:
            await self.control.quit(patience_s)
        except AgentError as error:
            log.warning("ending the MPS daemon: %s", error)
        self.state = MpsState(why_not="ended")

    async def _look(self) -> MpsState:
        try:
            text = await self.control.ask("get_default_active_thread_percentage")
        except AgentError as error:
            return MpsState(why_not=str(error))
        percentage = answers.percentage(text)
        return MpsState(True, 100.0 if percentage is None else percentage, "")

    async def _start(self, before: MpsState) -> MpsState:
        try:
            await self.control.start()
        except AgentError as error:
            return MpsState(why_not=f"{before.why_not}; starting one failed: {error}")
        self.starts += 1
        return await self._look()
