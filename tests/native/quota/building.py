"""Build the quota library, the recording driver and the C programs that run under them."""

import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
RUNTIME = HERE.parents[2] / "quota_runtime"
STRICT = ("-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread")
# Programs reach the hooks with words of any type, as x86-64 allows.
LOOSE = ("-Wno-cast-function-type", "-Wno-pointer-to-int-cast", "-Wno-unused-function")


def compiler() -> str | None:
    return shutil.which(os.environ.get("CC", "cc"))


def build_library(out: Path, extra: str = "") -> Path:
    """Return the preload library; ``extra`` are compiler flags."""
    command = ["make", "-s", "-C", str(RUNTIME), f"OUT={out}", f"CC={compiler()}"]
    run_build([*command, f"EXTRA={extra}"])
    return out / "libhas_quota.so"


def build_emulator(out: Path, sanitize: str = "") -> Path:
    """Return the folder of the emulated libcuda.so.1."""
    options = [f"SANITIZE={sanitize}"] if sanitize else []
    command = ["make", "-s", "-j2", "-C", str(RUNTIME / "emulator"), f"OUT={out}"]
    run_build([*command, f"CC={compiler()}", *options])
    return out


def build_recorder(out: Path) -> Path:
    """Return the folder of the recording libcuda.so.1."""
    out.mkdir(parents=True, exist_ok=True)
    flags = ("-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-soname,libcuda.so.1")
    run_build([_cc(), *STRICT, *flags, "-o", f"{out}/libcuda.so.1", f"{HERE}/recorder.c"])
    return out


def build_program(
    out: Path, *sources: str, driver: Path | None = None, flags: tuple[str, ...] = ()
) -> Path:
    """Return a program; linked with ``driver`` directly, or left to find it itself."""
    program = out / Path(sources[0]).stem
    linked = [f"-L{driver}", f"-Wl,-rpath,{driver}", "-l:libcuda.so.1"] if driver else []
    paths = [str(HERE / source) for source in sources]  # absolute ones stay
    run_build([_cc(), *STRICT, *LOOSE, *flags, "-o", str(program), *paths, *linked, "-ldl", "-lm"])
    return program


def _cc() -> str:
    return compiler() or "cc"


def run_build(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
