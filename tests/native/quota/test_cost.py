"""What one launch costs in the library, counted in its own instructions by callgrind."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import ENVIRONMENT
from .pod import HALF

LAUNCHES = 20000  # so many that the start of the library does not count
# 100 ns on a core that does one instruction a cycle at 3 GHz; real cores do two to four.
BUDGET = 300


def own_instructions(report: Path) -> int:
    """Instructions in the library itself, not in what it calls."""
    command = ["callgrind_annotate", "--threshold=100", "--auto=no", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = re.findall(r"^ *([\d,]+) .*\[.*/libhas_quota\.so\]$", done.stdout, re.MULTILINE)
    assert lines
    return sum(int(line.replace(",", "")) for line in lines)


@pytest.fixture
def count(tmp_path, library, recorder, launch_many, pod):
    if shutil.which("callgrind_annotate") is None:
        pytest.skip("no valgrind")

    def each(within_pod: bool = True) -> float:
        report = tmp_path / "callgrind.out"
        environment = ENVIRONMENT | {"LD_LIBRARY_PATH": str(recorder), "LD_PRELOAD": str(library)}
        if within_pod:
            environment["KSERVE_HAS_DIR"] = str(pod.folder)
        tool = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={report}"]
        command = [*tool, str(launch_many), str(LAUNCHES)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return own_instructions(report) / LAUNCHES

    return each


@pytest.mark.parametrize(
    ("name", "limits"),
    [("no limit binds", {}), ("half the SMs", {"groups": HALF}), ("quota 99 %", {"quota": 990})],
)
def test_a_launch_costs_less_than_100_ns_of_instructions(name, limits, pod, count, capsys):
    pod.set(**limits)
    each = count()
    with capsys.disabled():
        print(f"\n{name}: {each:.0f} instructions a launch")
    assert 30 < each < BUDGET


def test_without_a_pod_a_launch_costs_next_to_nothing(count):
    assert count(within_pod=False) < 100


@pytest.mark.parametrize("quota", [1000, 990])
def test_the_driver_is_called_for_two_events_in_64_launches(
    quota, pod, library, recorder, launch_many
):
    pod.set(quota=quota)
    environment = ENVIRONMENT | {
        "LD_LIBRARY_PATH": str(recorder),
        "LD_PRELOAD": str(library),
        "KSERVE_HAS_DIR": str(pod.folder),
    }
    command = [str(launch_many), str(LAUNCHES)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    own = int(done.stdout) - LAUNCHES
    assert LAUNCHES * 2 / 64 - 10 < own < LAUNCHES * 0.04
