"""The C libraries of the stack: the preload library and the emulated driver."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import StackError
from .layout import repository

_SOURCES: Final = (".c", ".h", ".def", ".map")


@dataclass(frozen=True, slots=True)
class CPart:
    """One ``make`` target.

    Attributes:
        name: what the messages call it.
        folder: where its Makefile is, relative to the checkout.
        reads: folders whose sources it is made from.
        files: what it makes.
    """

    name: str
    folder: str
    reads: tuple[str, ...]
    files: tuple[str, ...]

    def key(self, root: Path, compiler: str) -> str:
        """Return what the libraries depend on, as 16 hex digits."""
        digest = hashlib.sha256(compiler.encode())
        paths = [root / self.folder / "Makefile"]
        for folder in self.reads:
            found = (root / folder).rglob("*")
            paths += [path for path in found if path.suffix in _SOURCES]
        for path in sorted(paths):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()[:16]


RUNTIME: Final = CPart(
    "quota library",
    "quota_runtime",
    ("quota_runtime/src", "quota_runtime/include"),
    ("libhas_quota.so",),
)
EMULATOR: Final = CPart(
    "emulated driver",
    "quota_runtime/emulator",
    ("quota_runtime/emulator", "quota_runtime/include"),
    ("libcuda.so.1", "libnvidia-ml.so.1"),
)


def build(part: CPart, cache: Path) -> Path:
    """Return the folder of a part's libraries, built if its sources changed.

    Raises:
        StackError: no compiler or no sources are there, or the compiler failed.
    """
    root = repository()
    if not (root / part.folder / "Makefile").exists():
        raise StackError(f"{part.name}: {root / part.folder}/Makefile is missing")
    compiler = find_compiler()
    final = cache / "parts" / f"{part.name.replace(' ', '-')}-{part.key(root, compiler)}"
    if all((final / name).exists() for name in part.files):
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    building = Path(f"{final}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    answer = subprocess.run(
        ["make", "-C", str(root / part.folder), f"OUT={building}", f"CC={compiler}"],
        capture_output=True,
        text=True,
        check=False,
    )
    absent = [name for name in part.files if not (building / name).exists()]
    if answer.returncode or absent:
        output = (answer.stdout + answer.stderr).strip()[-2000:]
        raise StackError(f"{part.name}: make failed (missing: {absent}):\n{output}")
    shutil.rmtree(final, ignore_errors=True)
    building.rename(final)
    return final


def find_compiler() -> str:
    """Return the command of a C compiler: the machine's ``cc``, else the wheel ``ziglang``'s.

    Raises:
        StackError: neither is there.
    """
    if shutil.which("make") is None:
        raise StackError("the C libraries need make (package make)")
    if shutil.which("cc"):
        return "cc"
    if importlib.util.find_spec("ziglang"):
        return f"{sys.executable} -m ziglang cc"
    raise StackError("no C compiler: install gcc or clang, or run: pip install ziglang")
