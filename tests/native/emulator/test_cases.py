"""The C cases, one test each: engine and sharing as arithmetic, the driver on the virtual clock."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from .building import HERE, build_program

PURE = {"case_share.c": ("share.c",), "case_engine.c": ("engine.c", "share.c")}
ON_DRIVER = ("case_streams.c", "case_driver.c", "case_green.c")


def cases_of(source: str) -> list[str]:
    return re.findall(r"CASE\((\w+)\)", (HERE / source).read_text())


def listed(sources: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(source, case) for source in sources for case in cases_of(source)]


@cache
def pure_program(source: str, out: Path) -> Path:
    return build_program(source, out, parts=PURE[source], sanitize=True)


@cache
def driver_program(source: str, out: Path) -> Path:
    return build_program(source, out, driver=out, sanitize=True)


def run(program: Path, case: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [program, case], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("source", "case"), listed(tuple(PURE)))
def test_in_arithmetic(source, case, built, environment):
    run(pure_program(source, built), case, environment())


@pytest.mark.parametrize(("source", "case"), listed(ON_DRIVER))
def test_on_the_driver(source, case, built_sanitized, environment):
    program = driver_program(source, built_sanitized)
    with_clock = environment(HAS_EMULATOR_CLOCK="virtual", LD_LIBRARY_PATH=str(built_sanitized))
    run(program, case, with_clock)


def test_every_case_in_the_sources_is_run():
    for source in (*PURE, *ON_DRIVER):
        written = re.findall(
            r"^static void (\w+)\(void\)$", (HERE / source).read_text(), re.MULTILINE
        )
        assert set(written) == set(cases_of(source)), source
