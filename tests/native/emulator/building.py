"""Build the emulated driver and the C test programs."""

import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
EMULATOR = HERE.parents[2] / "quota_runtime" / "emulator"
STRICT = ("-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror")
STRICT += ("-Wno-unused-function", "-pthread")  # what the cases share, not all of them use
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


def compiler() -> str | None:
    return shutil.which(os.environ.get("CC", "cc"))


def build_driver(out: Path, *, sanitize: bool = False) -> Path:
    """Return the folder of libcuda.so.1 and libnvidia-ml.so.1."""
    options = ["SANITIZE=address,undefined"] if sanitize else []
    command = ["make", "-s", "-j2", "-C", str(EMULATOR), f"OUT={out}", f"CC={compiler()}", *options]
    _run(command)
    return out


def build_program(
    source: str,
    out: Path,
    *,
    parts: tuple[str, ...] = (),
    driver: Path | None = None,
    sanitize: bool = False,
) -> Path:
    """Return a program made of a test source, parts of the emulator, and perhaps its driver."""
    program = out / source.removesuffix(".c")
    linked = [f"-L{driver}", f"-Wl,-rpath,{driver}", "-l:libcuda.so.1"] if driver else []
    sources = [str(HERE / source), *(str(EMULATOR / part) for part in parts)]
    flags = [*STRICT, *(SANITIZE if sanitize else ())]
    _run([compiler() or "cc", *flags, "-o", str(program), *sources, *linked, "-lm"])
    return program


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
