"""The same C cases under the address, undefined-behaviour and thread sanitizers."""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quota_runtime.emulator.make_gpus import make_gpus
from quota_runtime.lease_file import LeaseFile

from .building import build_library, compiler
from .conftest import ENVIRONMENT
from .pod import GPU, Pod
from .test_cases import CASES, FAULTS, program

BUILDS = {
    "asan": (
        "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer",
        "libasan.so",
    ),
    # It does not know fences; the words that the one fence orders are atomic, so it may not.
    "tsan": ("-fsanitize=thread -O1 -Wno-tsan", "libtsan.so"),
}
SLOW = {"without_partitions_time_stands_in", "a_graph_on_more_sms_than_granted_pays_with_time"}
# The thread sanitizer cannot follow a fork of several threads.
FORKING = {case for _, case in CASES if re.search(r"fork|processes", case)}
RUN = {
    "asan": [c for c in CASES if c[1] not in SLOW],
    "tsan": [c for c in CASES if c[1] not in SLOW | FORKING],
}


def preloaded(name: str, out: Path) -> str | None:
    """What to preload for a sanitizer: its runtime and our library; None where there is none."""
    flags, runtime = BUILDS[name]
    asked = [compiler() or "cc", f"-print-file-name={runtime}"]
    found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return f"{found}:{build_library(out / name, flags)}" if os.path.isabs(found) else None


Found = dict[tuple[str, str], subprocess.CompletedProcess[str] | None]


@pytest.fixture(scope="session")
def found(tmp_path_factory, out, emulator) -> Found:
    """Every case under every sanitizer: mostly waiting, so side by side, each on a GPU of its own."""
    preloads = {name: preloaded(name, out) for name in BUILDS}
    programs = {source: program(source, out) for source, _ in CASES}

    def run(
        name: str, source: str, case: str, folder: Path
    ) -> subprocess.CompletedProcess[str] | None:
        pod = Pod(folder / "pod")
        pod.set()
        make_gpus(folder, 1, "quota-test")
        LeaseFile(folder, GPU).close()
        environment = (
            ENVIRONMENT
            | {
                "KSERVE_HAS_EMULATED_GPUS": str(folder),
                "NVIDIA_VISIBLE_DEVICES": "all",
                "LD_LIBRARY_PATH": str(emulator),
                "KSERVE_HAS_DIR": str(pod.folder),
                "KSERVE_HAS_LEASES": str(folder),
                "LD_PRELOAD": preloads[name] or "",
                "ASAN_OPTIONS": "detect_leaks=0",  # a process ends with its streams and events
                "TSAN_OPTIONS": "ignore_noninstrumented_modules=1",
            }
            | FAULTS.get(case, {})
        )
        command = [programs[source], case]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=90, check=False
        )

    wanted = [(name, *case) for name in BUILDS if preloads[name] for case in RUN[name]]
    folders = [tmp_path_factory.mktemp("sanitized") for _ in wanted]
    with ThreadPoolExecutor(3) as pool:
        done = pool.map(lambda pair: run(*pair[0], pair[1]), zip(wanted, folders, strict=True))
        return {(name, case): result for (name, _, case), result in zip(wanted, done, strict=True)}


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name in BUILDS for _, case in RUN[name]]
)
def test_nothing_is_found(name, case, found):
    result = found.get((name, case))
    if result is None:
        pytest.skip(f"this compiler has no runtime for {name}")
    assert result.returncode == 0, result.stderr
