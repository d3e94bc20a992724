"""The same C cases under the address, undefined-behaviour and thread sanitizers."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from .building import build_library, compiler
from .test_cases import CASES, program

BUILDS = {
    "asan": (
        "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer",
        "libasan.so",
    ),
    # It does not know fences; the words that the one fence orders are atomic, so it may not.
    "tsan": ("-fsanitize=thread -O1 -Wno-tsan", "libtsan.so"),
}
SLOW = {"without_partitions_time_stands_in", "a_graph_on_more_sms_than_granted_pays_with_time"}
FORKING = {case for _, case in CASES if re.search(r"fork|processes", case)}  # not with tsan


@pytest.fixture(scope="session", params=BUILDS)
def build(request, out) -> tuple[str, str]:
    """Name of the sanitizer and what to preload."""
    flags, runtime = BUILDS[request.param]
    asked = [compiler() or "cc", f"-print-file-name={runtime}"]
    found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    if not os.path.isabs(found):
        pytest.skip(f"no {runtime}")
    library = build_library(out / request.param, flags)
    return request.param, f"{found}:{library}"


@pytest.mark.parametrize(("source", "case"), [c for c in CASES if c[1] not in SLOW])
def test_nothing_is_found(build, source, case, out, environment, pod):
    name, preload = build
    if name == "tsan" and case in FORKING:
        pytest.skip("the thread sanitizer cannot follow a fork of several threads")
    pod.set()
    within = environment | {
        "KSERVE_HAS_DIR": str(pod.folder),
        "LD_PRELOAD": preload,
        "ASAN_OPTIONS": "detect_leaks=0",  # a process ends with its streams and events
        "TSAN_OPTIONS": "ignore_noninstrumented_modules=1",
    }
    command: list[str | Path] = [program(source, out), case]
    done = subprocess.run(
        command, env=within, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
