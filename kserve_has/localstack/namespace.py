"""Run a command inside the local stack's own Linux namespaces.

``python -m kserve_has.localstack.namespace -- COMMAND …`` starts COMMAND with a network of its
own in which all of 10.244.0.0/16 is local, a process table of its own, and a fresh /run. No root
needed. When the command ends, or this process gets a signal or dies, everything inside is gone.

Three processes: the *outer* (this one, forwards signals), ``unshare``, and the *init* (process 1
inside: sets up the network, starts the command, reaps orphans). A pipe from outer to init carries
signals as bytes; its end of file means the outer is gone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Final

from ..errors import StackError
from .layout import POD_NETWORK_FIRST, POD_NETWORK_MASK

UNSHARE: Final = (
    "unshare",
    "--user",
    "--map-root-user",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount",
    "--mount-proc",
)
HOW_TO_ALLOW: Final = """\
The local stack needs an unprivileged user namespace and this machine refused one. To allow it:
  Ubuntu 24.04 and later:  sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0
  Debian 10 and older:     sudo sysctl kernel.unprivileged_userns_clone=1
  any:                     sudo sysctl user.max_user_namespaces=15000
  inside Docker:           docker run --security-opt seccomp=unconfined --cap-add SYS_ADMIN …
Or run the same command as root."""

_LAST_RESORT_S: Final = 30.0
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_SIOCSIFADDR, _SIOCSIFNETMASK = 0x8916, 0x891C
_IFF_UP = 0x1


def inside() -> bool:
    """Tell whether this process runs in a namespace in which the pod network is local."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((POD_NETWORK_FIRST, 0))
        except OSError:
            return False
    return True


def why_unavailable() -> str | None:
    """Return why a namespace cannot be made here and how to allow it, or None if it can."""
    if shutil.which("unshare") is None:
        return "the local stack needs the command unshare (package util-linux)"
    probe = subprocess.run(
        [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/run"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return None if probe.returncode == 0 else f"{probe.stderr.strip()}\n{HOW_TO_ALLOW}"


def require() -> None:
    """Make sure that namespaces can be made here.

    Raises:
        StackError: they cannot; the message says how to allow them.
    """
    problem = why_unavailable()
    if problem:
        raise StackError(problem)


def run(command: Sequence[str]) -> int:
    """Run ``command`` inside new namespaces and return its exit status (128 + n for signal n).

    Raises:
        StackError: namespaces cannot be made here; the message says how to allow them.
    """
    require()
    reader, writer = os.pipe()
    init = [sys.executable, "-m", __spec__.name, "--init", str(reader), "--", *command]
    # A session of its own: Ctrl-C reaches the outer only, which forwards it exactly once.
    child = subprocess.Popen([*UNSHARE, *init], pass_fds=(reader,), start_new_session=True)
    os.close(reader)

    def forward(number: int, _frame: FrameType | None) -> None:
        os.write(writer, bytes([number]))

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    try:
        return child.wait()
    finally:
        os.close(writer)


def _init(reader: int, command: Sequence[str]) -> int:
    """Be process 1: set up the namespace, run the command, reap orphans until it ends."""
    _raise_loopback()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        # This process has one thread, so running code between fork and exec is safe.
        child = subprocess.Popen(
            command,
            restore_signals=True,
            preexec_fn=_default_signals,  # noqa: PLW1509
        )
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    threading.Thread(target=_forward, args=(reader, child.pid), daemon=True).start()
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _forward(reader: int, child: int) -> None:
    """Pass on the first signal; a second one, the deadline or the outer's death ends all."""
    for first in (True, False):
        data = os.read(reader, 1)
        if not data or not first:
            break
        os.kill(child, data[0])
        deadline = threading.Timer(_LAST_RESORT_S, os._exit, args=(137,))
        deadline.daemon = True
        deadline.start()
    # When process 1 goes, the kernel kills every process of the namespace.
    os._exit(137)


def _raise_loopback() -> None:
    """Bring ``lo`` up and make the whole pod network local, without the ``ip`` command."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _request(control, _SIOCSIFADDR, "lo:1", _address(POD_NETWORK_FIRST))
        _request(control, _SIOCSIFNETMASK, "lo:1", _address(POD_NETWORK_MASK))
        flags = _request(control, _SIOCGIFFLAGS, "lo", b"")
        (current,) = struct.unpack_from("<H", flags, 16)
        _request(control, _SIOCSIFFLAGS, "lo", struct.pack("<H", current | _IFF_UP))


def _address(dotted: str) -> bytes:
    return struct.pack("<HH4s8x", socket.AF_INET, 0, socket.inet_aton(dotted))


def _request(control: socket.socket, code: int, interface: str, payload: bytes) -> bytes:
    return fcntl.ioctl(control, code, struct.pack("16s24s", interface.encode(), payload))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command after ``--`` inside the namespaces and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--init"]:
        return _init(int(arguments[1]), arguments[3:])
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    if not arguments or arguments[0].startswith("-"):
        print("usage: python -m kserve_has.localstack.namespace -- COMMAND …", file=sys.stderr)
        return 2
    try:
        return run(arguments)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
