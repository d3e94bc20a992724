"""Every entry of has_entries.def: exported, routed, passed on with every word, and doing its part.

The recording driver is made from the same list, so entries that no emulator has are tried too.
"""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .building import RUNTIME, build_library, build_program
from .conftest import ENVIRONMENT
from .pod import HALF, Pod

LIST = RUNTIME / "include" / "has_entries.def"


def listed() -> list[str]:
    """Names of all exported entries, in the order of the list."""
    names: list[str] = []
    for macro, name in re.findall(r"^([HPSD])\((\w+),", LIST.read_text(), re.MULTILINE):
        variant = {"H": [], "D": [f"{name}_ptds"]}.get(macro, [f"{name}_ptsz"])
        names += [name, *variant]
    return names


@pytest.fixture(scope="session")
def program(out: Path) -> Path:
    return build_program(out, "each_entry.c", "by_hand.c", "by_hand_memory.c")


@pytest.fixture(scope="session")
def mutable_library(out: Path) -> Path:
    """The library that leaves out the hooks named in HAS_TEST_DISABLE."""
    folder = out / "mutable"
    return build_library(folder, "-O1 -DHAS_DISABLED='getenv(\"HAS_TEST_DISABLE\")'")


Tried = dict[tuple[str, str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def tried(tmp_path_factory, recorder, program, library, mutable_library) -> Tried:
    """Every entry with its hook and without, and some more: mostly waiting, so side by side."""
    base = tmp_path_factory.mktemp("entries")

    def run(name: str, disabled: str) -> subprocess.CompletedProcess[str]:
        folder = base / f"{name}-{disabled}"
        Pod(folder).set(groups=HALF, memory=1 << 30 if name == "cuMemGetInfo_v2" else 1 << 62)
        environment = ENVIRONMENT | {
            "LD_LIBRARY_PATH": str(recorder),
            "LD_PRELOAD": str(mutable_library if disabled else library),
            "KSERVE_HAS_DIR": str(folder),
            "HAS_TEST_DISABLE": disabled,
        }
        return subprocess.run(
            [program, name],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    cases = [(name, disabled) for name in listed() for disabled in ("", name)]
    cases += [("cuLaunchKernel", "none"), ("cuLaunchKernel", "cuLaunch")]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(cases, pool.map(lambda case: run(*case), cases), strict=True))


def test_the_program_knows_the_same_list(program):
    done = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == listed()
    assert len(listed()) > 190


def test_the_library_exports_the_list_and_the_lookups_alone(library):
    command = ["nm", "-D", "--defined-only", library]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = {line.split()[2] for line in done.stdout.splitlines()}
    assert names == {*listed(), "dlsym", "dlvsym"}


@pytest.mark.parametrize("name", listed())
def test_each_entry_does_its_part(name, tried):
    assert tried[name, ""].returncode == 0, tried[name, ""].stderr


@pytest.mark.parametrize("name", listed())
def test_leaving_a_hook_out_is_noticed(name, tried):
    assert tried[name, name].returncode == 1, tried[name, name]


def test_the_build_that_leaves_hooks_out_is_otherwise_the_same(tried):
    assert tried["cuLaunchKernel", "none"].returncode == 0
    assert tried["cuLaunchKernel", "cuLaunch"].returncode == 0
