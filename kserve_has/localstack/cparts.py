"""The C libraries of the stack: the preload library and the emulated driver."""

from __future__ import annotations

import hashlib
import importlib.util
import shlex
import shutil
import subprocess
import sys
import tempfile
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
        OSError: the cache folder cannot be written.
    """
    root = repository()
    if not (root / part.folder / "Makefile").exists():
        raise StackError(f"{part.name}: {root / part.folder}/Makefile is missing")
    compiler = find_compiler()
    final = cache / "parts" / f"{part.name.replace(' ', '-')}-{part.key(root, compiler)}"
    if not _complete(part, final):
        final.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix="kserve-has-c-", dir=_without_spaces()) as building,
            tempfile.TemporaryDirectory(prefix="new-", dir=final.parent) as beside,
        ):
            made = _make(part, root, Path(building), compiler)
            whole = Path(beside) / "whole"
            shutil.copytree(made, whole)
            _put(part, whole, final)
    return final


def _complete(part: CPart, folder: Path) -> bool:
    return all((folder / name).exists() for name in part.files)


def _without_spaces() -> str:
    """Return a folder for temporary files that a makefile can name."""
    found = tempfile.gettempdir()
    return "/tmp" if " " in found else found


def _make(part: CPart, root: Path, building: Path, compiler: str) -> Path:
    out = building / "out"
    out.mkdir()
    if " " in str(root):
        (building / "checkout").symlink_to(root)
        root = building / "checkout"
    folder = root / part.folder
    answer = subprocess.run(
        ["make", "-C", str(folder), "-f", f"{folder}/Makefile", f"OUT={out}", f"CC={compiler}"],
        capture_output=True,
        text=True,
        check=False,
    )
    absent = [name for name in part.files if not (out / name).exists()]
    if answer.returncode or absent:
        output = (answer.stdout + answer.stderr).strip()[-2000:]
        raise StackError(f"{part.name}: make failed (missing: {absent}):\n{output}")
    return out


def _put(part: CPart, whole: Path, final: Path) -> None:
    """Rename a folder to its place, unless another build was first: processes may use its files."""
    if final.exists() and not _complete(part, final):
        shutil.rmtree(final, ignore_errors=True)
    try:
        whole.rename(final)
    except OSError:
        if not _complete(part, final):
            raise


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
        return shlex.join((sys.executable, "-m", "ziglang", "cc"))
    raise StackError("no C compiler: install gcc or clang, or run: pip install ziglang")
