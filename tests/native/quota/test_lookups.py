"""Routing: whatever way a program asks for a driver function, it gets the hook of that very one."""

import subprocess
from pathlib import Path

import pytest

from .building import build_program
from .test_entries import listed

OURS = "libhas_quota.so"


def plain(name: str) -> str:
    for end in ("_ptsz", "_ptds"):
        name = name.removesuffix(end)
    return name


@pytest.fixture(scope="session")
def program(out: Path) -> Path:
    names = sorted({base for name in listed() for base in (plain(name), plain(name)[:-3])})
    lines = "".join(f'"{name}",\n' for name in [*names, *listed()])
    (out / "names.h").write_text(f"static const char *const names[] = {{\n{lines}}};\n")
    return build_program(out, "lookups.c", flags=(f"-I{out}",))


@pytest.fixture
def look(program, environment):
    def run(way: str, *more: str, preload: bool = True) -> list[list[str]]:
        chosen = environment if preload else {**environment, "LD_PRELOAD": ""}
        command = [program, way, *more]
        done = subprocess.run(
            command, env=chosen, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return [line.split() for line in done.stdout.splitlines()]

    return run


def hooked(symbol: str) -> bool:
    return symbol in set(listed())


@pytest.mark.parametrize("deep", [(), ("deepbind",)])
@pytest.mark.parametrize("way", ["dlsym", "dlvsym"])
def test_a_lookup_by_name_gives_the_hook_of_that_name(way, deep, look):
    found = {name: (file, symbol) for name, _, file, symbol in look(way, *deep)}
    driver = {name: file for name, _, file, _ in look(way, *deep, preload=False)}
    for name in listed():
        if driver[name] != "none":
            assert found[name] == (OURS, name)
    for name in set(found) - set(listed()):
        assert found[name][0] == driver[name]
    if way == "dlsym":
        assert sum(file == OURS for file, _ in found.values()) > 90


def test_the_drivers_own_lookup_gives_the_hook_of_what_the_driver_chose(look):
    """For each name, CUDA version and default-stream flag: same function, ours instead."""
    bare = {(name, how): symbol for name, how, _, symbol in look("ask", preload=False)}
    found = {(name, how): (file, symbol) for name, how, file, symbol in look("ask")}
    assert set(found) == set(bare)
    assert len(bare) > 700
    for key, symbol in bare.items():
        if hooked(symbol):
            assert found[key] == (OURS, symbol), key
        else:
            assert found[key][0] != OURS, key


def test_other_symbols_and_errors_are_the_c_librarys(look):
    found = {(name, how): file for name, how, file, _ in look("others")}
    assert found["cuInit", "handle"] == "libcuda.so.1"
    assert found["malloc", "default"].startswith("libc.so")
    assert found["fopen", "next"].startswith("libc.so")
    assert found["fopen", "version"].startswith("libc.so")
    assert found["cuNothing", "handle"] == "none"


def test_a_program_linked_with_the_driver_calls_the_hooks(library, emulator, out):
    """Its calls are bound by name, and the library comes first."""
    source = out / "linked.c"
    source.write_text(
        "#include <dlfcn.h>\n#include <stdio.h>\nint cuLaunchKernel(void);\nint main(void)\n"
        "{\n    Dl_info i;\n    return !dladdr((void *)cuLaunchKernel, &i) || !puts(i.dli_fname);\n}\n"
    )
    program = build_program(out, str(source), driver=emulator)
    done = subprocess.run(
        [program], env={"LD_PRELOAD": str(library)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith(OURS)
