"""``python -m kserve_has.localstack``: build the parts, or run a command with a stack around it.

::

    python -m kserve_has.localstack parts
    python -m kserve_has.localstack up --level kserve -- kubectl get inferenceservices -A
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from ..errors import HasError
from . import namespace, parts
from .assembly import LEVELS
from .progress import shown
from .stack import LocalStack, StackOptions

_PACKAGE: Final = "kserve_has.localstack"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    own, command = _split(arguments)
    options = _parser().parse_args(own)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.action == "parts":
            return _parts(drop=options.drop_go_caches)
        if namespace.inside():
            return _up(options, command)
        namespace.require()
        with shown("parts") as report:
            parts.ensure(report, native=options.level == "full")
        return namespace.run([sys.executable, "-m", _PACKAGE, *arguments])
    except HasError as error:
        print(f"kserve-has local stack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kserve_has.localstack", description="KServe on this machine, no cluster."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("parts", help="build everything the stack runs, once")
    build.add_argument(
        "--drop-go-caches", action="store_true", help="delete the Go caches when all is built"
    )
    up = actions.add_parser("up", help="run COMMAND (default: a shell) with a stack around it")
    up.add_argument("--level", choices=LEVELS, default="full")
    up.add_argument("--out", type=Path, help="folder of logs and data; default: a temporary one")
    return parser


def _parts(*, drop: bool) -> int:
    with shown("parts") as report:
        parts.ensure(report)
        caches = parts.cache_folder() / "go"
        size = parts.folder_size(caches)
        if drop:
            report("deleting the Go caches")
            parts.drop_go_caches()
    print(f"all parts are in {parts.cache_folder()}")
    if size and not drop:
        print(f"{size / 1e9:.1f} GB are Go caches in {caches}; --drop-go-caches deletes them")
    return 0


def _up(options: argparse.Namespace, command: list[str]) -> int:
    with contextlib.ExitStack() as stack:
        out = options.out or Path(stack.enter_context(_scratch()))
        with shown("local stack") as report:
            up = stack.enter_context(LocalStack.up(StackOptions(options.level, out, report=report)))
        return _run(command or [os.environ.get("SHELL", "/bin/sh")], up.environment())


def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="kserve-has-")


def _run(command: list[str], environment: dict[str, str]) -> int:
    try:
        child = subprocess.Popen(command, env=environment)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    try:
        code = child.wait()
    except BaseException:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise
    return code if code >= 0 else 128 - code


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
