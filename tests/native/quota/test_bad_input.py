"""What a program under the library lives through: bad limits, no agent, no CUDA, the library twice.

In each case the program runs on, the last good limits stay, and one counter or one line says so.
"""

import contextlib
import mmap
import os
import shutil
import subprocess
import time
from collections.abc import Callable

import pytest

from quota_runtime.layout import RawLimits
from quota_runtime.region import LIMITS_SIZE, Usage

from .conftest import ENVIRONMENT
from .pod import GROUP_SMS, Pod
from .workers import shares

GOOD = 0.2

Change = Callable[[RawLimits], None]


def change(pod: Pod, what: Change, seq_step: int = 2) -> None:
    """Write into the block as a faulty agent would."""
    with (pod.folder / "limits").open("r+b") as file, mmap.mmap(file.fileno(), LIMITS_SIZE) as page:
        raw = RawLimits.from_buffer_copy(page)
        what(raw)
        raw.epoch += 1
        raw.seq += seq_step
        page[: len(bytes(raw))] = bytes(raw)


def fields(**values: object) -> Change:
    def apply(raw: RawLimits) -> None:
        for name, value in values.items():
            setattr(raw, name, value)

    return apply


def no_groups(raw: RawLimits) -> None:
    raw.sm_groups[0] = raw.sm_groups[1] = 0


def groups_beyond_the_maximum(raw: RawLimits) -> None:
    raw.sm_groups[0], raw.max_sm_groups[0] = 0xFF, 0x0F


BAD = {
    "another version": fields(abi_version=1, quota_permille=900),
    "another magic": fields(magic=1, quota_permille=900),
    "another size": fields(size=64, quota_permille=900),
    "quota 0": fields(quota_permille=0),
    "quota 101 %": fields(quota_permille=1010),
    "no groups": no_groups,
    "groups beyond the maximum": groups_beyond_the_maximum,
    "group size 0": fields(sm_group_size=0),
    "no window": fields(window_ns=0),
    "an endless window": fields(window_ns=1 << 62),
    "no GPU": fields(gpu_uuid=b""),
    "a lease slot that does not exist": fields(lease_slot=64, lease_slice_ns=1000000),
    "a lease in conflict with itself": fields(
        lease_slot=3, lease_conflicts=1 << 3, lease_slice_ns=1000000
    ),
    "a lease without a slice": fields(lease_slot=3, lease_slice_ns=0),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_block_changes_nothing_and_is_counted(name, pod, start):
    pod.set(quota=200)
    worker = start(pod)
    change(pod, BAD[name])
    [share] = shares([worker], "eager", 250)
    assert 0.02 < share < GOOD + 0.06
    assert pod.slot().faults >= 1
    _, said = worker.communicate(timeout=20)
    assert said.count("\n") == 1
    assert "last good limits kept" in said


@pytest.mark.parametrize("reads", [False, True], ids=["nobody reads", "the pipe is full"])
def test_what_cannot_be_said_neither_ends_the_program_nor_holds_it_up(
    reads, pod, environment, recorder, launch_many
):
    pod.set()
    change(pod, BAD["another version"])
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while reads:
            os.write(writing, b"?" * 4096)
    os.set_blocking(writing, True)
    if not reads:
        os.close(reading)
    folders = {"LD_LIBRARY_PATH": str(recorder), "KSERVE_HAS_DIR": str(pod.folder)}
    done = subprocess.run(
        [launch_many, "10"], env=environment | folders, stderr=writing, timeout=20, check=False
    )
    assert done.returncode == 0
    os.close(writing)
    if reads:
        os.close(reading)


def test_a_write_that_never_ends_keeps_the_last_limits_and_its_end_is_noticed(pod, start):
    pod.set(quota=200)
    worker = start(pod)
    change(pod, fields(quota_permille=900), seq_step=1)
    assert shares([worker], "eager", 400)[0] < GOOD + 0.05
    assert pod.slot().faults >= 1
    change(pod, fields(), seq_step=1)
    assert shares([worker], "eager", 600)[0] > 0.4


def test_a_writer_that_is_held_up_is_no_fault(pod, start):
    pod.set(quota=200)
    worker = start(pod)
    worker.stdin.write("eager 300\n")
    worker.stdin.flush()
    time.sleep(0.1)
    change(pod, fields(quota_permille=900), seq_step=1)
    time.sleep(0.03)
    change(pod, fields(), seq_step=1)
    assert worker.stdout.readline()
    assert pod.slot().quota_permille == 900
    assert pod.slot().faults == 0
    assert worker.communicate(timeout=20)[1] == ""


def test_a_block_that_was_never_good_limits_nothing(pod, start):
    pod.set(quota=200)
    change(pod, BAD["another version"])
    pod.wait_in_force = lambda: None
    worker = start(pod)
    assert shares([worker], "eager", 400)[0] > 0.4


def test_a_bitmap_of_other_groups_than_the_gpu_has_falls_back_to_time(pod, start):
    """Groups 14..20 of 16: two exist, 8 SMs and the last with 12, so 20 of 132 SMs of time."""
    pod.set(groups=0b1111111 << 14, most=(1 << 32) - 1)
    worker = start(pod)
    assert 0.05 < shares([worker], "eager", 800)[0] < 20 / 132 + 0.03
    assert GROUP_SMS == 8


def test_limits_that_come_late_take_effect(pod, start):
    pod.set(quota=200)
    (pod.folder / "limits").rename(pod.folder / "later")
    with pytest.raises(AssertionError):
        pod.wait_in_force(seconds=0.1)
    (pod.folder / "later").rename(pod.folder / "limits")
    assert shares([start(pod)], "eager", 500)[0] < GOOD + 0.05


@pytest.mark.parametrize("folder", ["missing", "", None])
def test_without_an_agent_the_program_runs_free(
    folder, environment, recorder, launch_many, tmp_path
):
    more = {} if folder is None else {"KSERVE_HAS_DIR": folder and str(tmp_path / folder)}
    within = environment | {"LD_LIBRARY_PATH": str(recorder)} | more
    command = [launch_many, "10"]
    done = subprocess.run(
        command, env=within, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_program_without_cuda_is_left_alone(environment, pod):
    pod.set(quota=200)
    within = environment | {"KSERVE_HAS_DIR": str(pod.folder)}
    done = subprocess.run(
        ["/bin/ls", "/"], env=within, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "proc" in done.stdout
    assert pod.usage() == Usage()


def test_a_program_on_a_machine_without_a_driver_gets_the_loaders_own_error(library, pod):
    pod.set()
    code = (
        "import ctypes\ntry:\n    ctypes.CDLL('libcuda.so.1')\nexcept OSError as e:\n    print(e)"
    )
    within = ENVIRONMENT | {"LD_PRELOAD": str(library), "KSERVE_HAS_DIR": str(pod.folder)}
    done = subprocess.run(
        ["python3", "-c", code], env=within, capture_output=True, text=True, check=False
    )
    if not done.stdout:
        pytest.skip("this machine has a driver")
    assert "libcuda.so.1" in done.stdout
    assert done.returncode == 0


def test_the_library_loaded_twice_limits_once(pod, start, library, tmp_path):
    copy = tmp_path / "copy" / library.name
    copy.parent.mkdir()
    shutil.copy(library, copy)
    pod.set(quota=200)
    pod.wait_in_force = lambda: None
    worker = start(pod, LD_PRELOAD=f"{library}:{copy}")
    [share] = shares([worker], "eager", 600)
    assert 0.1 < share < GOOD + 0.05
