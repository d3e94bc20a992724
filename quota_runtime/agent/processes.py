"""Processes of the node and the pods they belong to; needs the host's PID namespace."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Final

# kubelet's cgroup drivers write pod3f1c_... or pod3f1c-..., both with the pod's uid.
_POD: Final = re.compile(
    r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})"
)


def pod_in(cgroup: str) -> str | None:
    """Return the uid of the pod that the content of ``/proc/PID/cgroup`` names."""
    match = _POD.search(cgroup)
    return match.group(1).replace("_", "-") if match else None


class NodeProcesses:
    """What ``/proc`` tells of the node's processes."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def pod_of(self, pid: int) -> str | None:
        """Return the uid of a process's pod, None when it is gone or belongs to none."""
        try:
            return pod_in((self._proc / str(pid) / "cgroup").read_text(encoding="utf-8"))
        except OSError:
            return None

    def alive(self, pid: int) -> bool:
        """Whether there is such a process, and not only what is left of a dead one."""
        try:
            stat = (self._proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        # After the name, which may hold blanks and brackets, comes one letter.
        return stat.rpartition(")")[2].split()[:1] not in (["Z"], ["X"])

    def end(self, pid: int, pod_uid: str, number: signal.Signals) -> bool:
        """Signal a process, if it still is one of that pod; return whether it was sent."""
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return False
        try:
            # After the handle was taken the number cannot come to mean another process.
            if self.pod_of(pid) != pod_uid:
                return False
            signal.pidfd_send_signal(handle, number)
        except OSError:
            return False
        finally:
            os.close(handle)
        return True
