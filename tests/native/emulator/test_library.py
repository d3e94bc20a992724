"""What the two libraries export, and what make_gpus writes."""

import json
import re
import shutil
import subprocess

import pytest

from kserve_has.gpu import GpuGeometry
from quota_runtime.emulator.make_gpus import FILE_BYTES, gpu_uuid, main, make_gpus

from .building import EMULATOR


def exported(library) -> set[str]:
    if shutil.which("nm") is None:
        pytest.skip("no nm")
    done = subprocess.run(
        ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
    )
    return {line.split()[2] for line in done.stdout.splitlines()}


def test_the_driver_exports_exactly_the_list(built):
    text = "".join(path.read_text() for path in EMULATOR.glob("entries*.h"))
    text = text.replace("\\\n", " ")
    plain = set(re.findall(r"PLAIN\(\w+,\s+(\w+),\s+\d", text))
    pairs = re.findall(r"(?:STREAM|SYNC)\(\w+,\s+(\w+),\s+(\w+),\s+\d", text)
    expected = plain | {name for pair in pairs for name in pair}
    expected |= {"cuLaunchKernelEx_ptsz", "hasEmulatorAdvanceClock", "hasEmulatorGetClock"}
    assert len(expected) > 150
    assert exported(built / "libcuda.so.1") == expected


def test_nvml_exports_only_nvml(built):
    names = exported(built / "libnvidia-ml.so.1")
    assert names
    assert {name for name in names if not name.startswith("nvml")} == set()


def test_gpus_keep_their_uuids_and_nodes_have_others(tmp_path):
    first = [gpu["uuid"] for gpu in make_gpus(tmp_path / "a", 2, "gpu-node-0")]
    assert [gpu["uuid"] for gpu in make_gpus(tmp_path / "b", 2, "gpu-node-0")] == first
    assert len({*first, *(gpu_uuid("gpu-node-1", index) for index in range(2))}) == 4
    assert all(re.fullmatch(r"GPU-[0-9a-f-]{36}", uuid) for uuid in first)


def test_gpu_files_describe_their_geometry_and_take_no_room(tmp_path):
    small = GpuGeometry("Small", sm_count=16, sm_group_size=4, memory_bytes=10**9)
    [gpu] = make_gpus(tmp_path, 1, "n", small)
    assert json.loads((tmp_path / "gpus.json").read_text()) == [gpu]
    assert gpu["sm_group_size"] == 4
    found = (tmp_path / f"{gpu['uuid']}.gpu").stat()
    assert found.st_size == FILE_BYTES
    assert found.st_blocks * 512 < 1 << 20


def test_the_command_prints_the_uuids(tmp_path, capsys):
    assert main([str(tmp_path), "--count", "3", "--seed", "n"]) == 0
    assert capsys.readouterr().out.split() == [gpu_uuid("n", index) for index in range(3)]
