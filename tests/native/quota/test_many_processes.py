"""More processes than the usage file has slots come and go in one pod; nothing is left behind."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

from quota_runtime.region import USAGE_SLOTS

from .conftest import ENVIRONMENT
from .pod import HALF


def test_slots_and_memory_are_given_back(pod, library, recorder, launch_many):
    pod.set(groups=HALF)
    within = ENVIRONMENT | {
        "LD_LIBRARY_PATH": str(recorder),
        "LD_PRELOAD": str(library),
        "KSERVE_HAS_DIR": str(pod.folder),
    }

    def run(_: int) -> int:
        return subprocess.run([launch_many, "100"], env=within, timeout=60, check=False).returncode

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(run, range(USAGE_SLOTS + 16))) == {0}
    assert pod.usage().slots == ()
    assert pod.usage().memory_bytes == 0
