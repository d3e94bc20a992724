"""What the tests of the emulated driver share: the build, the GPUs, the environment."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from quota_runtime.emulator.make_gpus import make_gpus

from .building import build_driver, compiler

Environment = dict[str, str]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the driver and NVML, and room for programs."""
    if compiler() is None:
        pytest.skip("no C compiler")
    return build_driver(tmp_path_factory.mktemp("emulator"))


@pytest.fixture(scope="session")
def built_sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the address and undefined-behaviour sanitizers."""
    if compiler() is None:
        pytest.skip("no C compiler")
    return build_driver(tmp_path_factory.mktemp("emulator-sanitized"), sanitize=True)


@pytest.fixture
def gpus(tmp_path: Path) -> list[str]:
    """UUIDs of two idle GPUs in ``tmp_path``."""
    return [str(gpu["uuid"]) for gpu in make_gpus(tmp_path, 2, "node-under-test")]


@pytest.fixture
def environment(tmp_path: Path, gpus: list[str], built: Path) -> Callable[..., Environment]:
    """Give the environment of a process on the GPUs."""

    def make(**more: str) -> Environment:
        inherited = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
        return (
            inherited
            | {
                "KSERVE_HAS_EMULATED_GPUS": str(tmp_path),
                "NVIDIA_VISIBLE_DEVICES": "all",
                "LD_LIBRARY_PATH": str(built),
                "ASAN_OPTIONS": "detect_leaks=0",  # contexts stay until exit, as in the driver
            }
            | more
        )

    return make
