"""What the tests of the quota library share: builds, a pod's folder, the environment."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from quota_runtime.emulator.make_gpus import make_gpus
from quota_runtime.lease_file import LeaseFile

from .building import (
    RUNTIME,
    build_emulator,
    build_library,
    build_program,
    build_recorder,
    compiler,
)
from .pod import GPU, Pod
from .workers import Start, Worker

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
def leases(tmp_path: Path) -> Path:
    """The folder with the lease file of the GPU that pods are on."""
    folder = tmp_path / "leases"
    folder.mkdir()
    LeaseFile(folder, GPU).close()
    return folder


@pytest.fixture
def environment(gpu: Path, library: Path, emulator: Path) -> dict[str, str]:
    """The environment of a process on the emulated GPU under the library, without a pod."""
    return ENVIRONMENT | {
        "KSERVE_HAS_EMULATED_GPUS": str(gpu.parent),
        "NVIDIA_VISIBLE_DEVICES": "all",
        "LD_LIBRARY_PATH": str(emulator),
        "LD_PRELOAD": str(library),
    }


@pytest.fixture(scope="session")
def worker_program(out: Path, emulator: Path) -> Path:
    source = RUNTIME / "emulator" / "gpu_list.c"
    return build_program(out, "worker.c", str(source), driver=emulator)


@pytest.fixture(scope="session")
def launch_many(out: Path) -> Path:
    return build_program(out, "launch_many.c")


@pytest.fixture
def start(worker_program: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start a worker in a pod and wait until the pod's limits are in force in it."""
    started: list[Worker] = []

    def begin(pod: Pod, **more: str) -> Worker:
        worker = subprocess.Popen(
            [worker_program],
            env=environment | {"KSERVE_HAS_DIR": str(pod.folder)} | more,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(worker)
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
        pod.wait_in_force()
        return worker

    yield begin
    for worker in started:
        if worker.returncode is None:
            worker.kill()
            worker.communicate()
