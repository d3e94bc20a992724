"""What the tests of the quota library share: builds, a pod's folder, the environment."""

import os
from pathlib import Path

import pytest

from quota_runtime.emulator.make_gpus import make_gpus

from .building import build_emulator, build_library, build_recorder, compiler
from .pod import Pod

ENVIRONMENT = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is built once."""
    if compiler() is None:
        pytest.skip("no C compiler")
    return tmp_path_factory.mktemp("quota")


@pytest.fixture(scope="session")
def library(out: Path) -> Path:
    return build_library(out)


@pytest.fixture(scope="session")
def emulator(out: Path) -> Path:
    return build_emulator(out)


@pytest.fixture(scope="session")
def recorder(out: Path) -> Path:
    return build_recorder(out / "recorder")


@pytest.fixture
def gpu(tmp_path: Path) -> Path:
    """The file of one idle emulated GPU in ``tmp_path``."""
    [described] = make_gpus(tmp_path, 1, "quota-test")
    return tmp_path / f"{described['uuid']}.gpu"


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path / "pod")


@pytest.fixture
def environment(tmp_path: Path, library: Path, emulator: Path) -> dict[str, str]:
    """The environment of a process on the emulated GPU under the library, without a pod."""
    return ENVIRONMENT | {
        "KSERVE_HAS_EMULATED_GPUS": str(tmp_path),
        "NVIDIA_VISIBLE_DEVICES": "all",
        "LD_LIBRARY_PATH": str(emulator),
        "LD_PRELOAD": str(library),
    }
