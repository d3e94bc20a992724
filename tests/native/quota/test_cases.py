"""The C cases that run as one process of a pod on the emulated GPU, one test each."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from .building import HERE, build_program

SOURCES = ("case_partition.c", "case_graph.c", "case_memory.c")
CASES = [
    (source, case)
    for source in SOURCES
    for case in re.findall(r"CASE\((\w+)\)", (HERE / source).read_text())
]


@cache
def program(source: str, out: Path) -> Path:
    return build_program(out, source, driver=out)


@pytest.mark.parametrize(("source", "case"), CASES)
def test_in_a_pod(source, case, out, environment, pod):
    pod.set()
    within = environment | {"KSERVE_HAS_DIR": str(pod.folder)}
    command = [program(source, out), case]
    done = subprocess.run(
        command, env=within, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_every_case_in_the_sources_is_run():
    for source in SOURCES:
        written = re.findall(
            r"^static void (\w+)\(void\)$", (HERE / source).read_text(), re.MULTILINE
        )
        helpers = {"start_limited"}
        assert set(written) - helpers == {case for where, case in CASES if where == source}
