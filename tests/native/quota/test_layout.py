"""The two files between agent and library: C and Python agree on every offset and constant."""

import ctypes
import subprocess

import pytest

from quota_runtime import layout, lease_file, region

from .building import RUNTIME, build_program

PAIRS = {
    "has_limits": layout.RawLimits,
    "has_usage_header": layout.RawUsageHeader,
    "has_usage_slot": layout.RawUsageSlot,
    "has_lease_slot": lease_file.RawLeaseSlot,
    "has_leases": lease_file.RawLeases,
}
CONSTANTS = {
    "HAS_ABI_VERSION": region.ABI_VERSION,
    "HAS_LIMITS_MAGIC": region.LIMITS_MAGIC,
    "HAS_USAGE_MAGIC": region.USAGE_MAGIC,
    "HAS_LEASES_MAGIC": lease_file.LEASES_MAGIC,
    "HAS_LIMITS_SIZE": region.LIMITS_SIZE,
    "HAS_LEASES_SIZE": lease_file.LEASES_SIZE,
    "HAS_LEASE_SLOTS": region.LEASE_SLOTS,
    "HAS_NEXT": layout.NEXT,
    "HAS_USAGE_SLOTS": region.USAGE_SLOTS,
    "HAS_FLAG_TIME": region.FLAG_TIME,
    "HAS_FLAG_SM": region.FLAG_SM,
    "HAS_FLAG_MEMORY": region.FLAG_MEMORY,
    "HAS_FLAG_QUIESCE": region.FLAG_QUIESCE,
    "HAS_FLAG_BURST": region.FLAG_BURST,
    "HAS_SLOT_LIVE": region.SLOT_LIVE,
}


@pytest.fixture(scope="session")
def said_by_c(out) -> dict[str, int]:
    lines = [f'printf("{name} %llu\\n", (unsigned long long){name});' for name in CONSTANTS]
    for struct, twin in PAIRS.items():
        lines.append(f'printf("{struct} %zu\\n", sizeof(struct {struct}));')
        for name, *_ in twin._fields_:
            member = f"((struct {struct} *)0)->{name}"
            lines.append(
                f'printf("{struct}.{name} %zu\\n", offsetof(struct {struct}, {name}) * 1000'
                f" + sizeof({member}));"
            )
    body = "\n    ".join(lines)
    source = out / "layout.c"
    header = RUNTIME / "include" / "has_abi.h"
    source.write_text(
        f'#include <stdio.h>\n#include "{header}"\nint main(void)\n{{\n    {body}\n}}\n'
    )
    program = build_program(out, str(source))
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    return {name: int(value) for name, value in map(str.split, done.stdout.splitlines())}


@pytest.mark.parametrize("struct", PAIRS)
def test_structures_have_the_same_members_at_the_same_places(struct, said_by_c):
    twin = PAIRS[struct]
    assert said_by_c[struct] == ctypes.sizeof(twin)
    for name, *_ in twin._fields_:
        field = getattr(twin, name)
        assert said_by_c[f"{struct}.{name}"] == field.offset * 1000 + field.size, name


@pytest.mark.parametrize("struct", PAIRS)
def test_no_member_of_the_header_is_missing_in_python(struct):
    """Members follow each other without a gap, so none can hide."""
    end = 0
    for name, *_ in PAIRS[struct]._fields_:
        field = getattr(PAIRS[struct], name)
        assert field.offset == end, name
        end += field.size
    assert end == ctypes.sizeof(PAIRS[struct])


def test_constants_are_the_same(said_by_c):
    assert {name: said_by_c[name] for name in CONSTANTS} == CONSTANTS
