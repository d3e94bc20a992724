"""The last step before a container's program: its own mounts, then exec.

Run as ``python -I -S launch.py SPEC.json``, by path, so that it starts in milliseconds and imports
nothing of ours. The spec holds ``argv``, ``env``, ``cwd`` and ``mounts`` (source, target,
read_only). The environment travels in the file: a preload library in this process's own
environment would be looked for before its volume is mounted.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any, Final

_CLONE_NEWNS: Final = 0x20000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_SLAVE = 1, 32, 4096, 16384, 1 << 19
_KEPT_FLAGS: Final = 2 | 4 | 8  # nosuid, nodev, noexec may not be dropped by a remount
_PR_SET_PDEATHSIG: Final = 1
_CANNOT_RUN, _NOT_FOUND = 126, 127

_libc = ctypes.CDLL(None, use_errno=True)


def main(path: str) -> int:
    """Become the container's program; return a shell's status when that is impossible."""
    with open(path, encoding="utf-8") as file:
        spec: dict[str, Any] = json.load(file)
    # A stand-in that is killed must not leave containers behind.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        if spec["mounts"]:
            _call("unshare", _libc.unshare(_CLONE_NEWNS))
            _mount("none", "/", _MS_REC | _MS_SLAVE)
        for mount in spec["mounts"]:
            bind(mount["source"], mount["target"], read_only=mount["read_only"])
        os.chdir(spec["cwd"] or "/")
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
    except FileNotFoundError as error:
        print(f"cannot start {spec['argv'][0]}: {error}", file=sys.stderr)
        return _NOT_FOUND
    except OSError as error:
        print(f"cannot start {spec['argv'][0]}: {error}", file=sys.stderr)
    return _CANNOT_RUN


def bind(source: str, target: str, *, read_only: bool) -> None:
    """Show ``source`` at ``target`` in this mount namespace, making the mount point if needed.

    Raises:
        OSError: the kernel refused, or the mount point cannot be made.
    """
    target = os.path.realpath(target)
    if not os.path.lexists(target):
        _make_room(target)
        if os.path.isdir(source):
            os.makedirs(target)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(source, target, _MS_BIND | _MS_REC)
    if read_only:
        kept = os.statvfs(target).f_flag & _KEPT_FLAGS
        _mount("none", target, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept)


def _make_room(target: str) -> None:
    """Cover the deepest existing folder above ``target`` by a copy made of mounts.

    Mount points appear in that copy, so nothing is ever created on the machine's own disk.
    """
    folder = os.path.dirname(target)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    if folder == "/":
        raise OSError(f"mount path {target}: its first folder must exist on this machine")
    holder = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    entries = [(entry.name, entry.is_dir()) for entry in os.scandir(folder)]
    _mount("tmpfs", folder, 0, "tmpfs")
    for name, is_folder in entries:
        place = os.path.join(folder, name)
        original = f"/proc/self/fd/{holder}/{name}"
        if os.path.islink(original):
            os.symlink(os.readlink(original), place)
            continue
        if is_folder:
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(original, place, _MS_BIND | _MS_REC)
    os.close(holder)


def _mount(source: str, target: str, flags: int, kind: str = "") -> None:
    result = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode() or None, ctypes.c_ulong(flags), None
    )
    _call(f"mount {source} at {target}", result)


def _call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
