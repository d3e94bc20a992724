"""NVML as the node agent uses it: nvidia-ml-py on the emulated library."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

ASK = """
import json, pynvml as n
n.nvmlInit()
handles = [n.nvmlDeviceGetHandleByIndex(i) for i in range(n.nvmlDeviceGetCount())]
print(json.dumps({
    "driver": n.nvmlSystemGetDriverVersion(),
    "uuids": [n.nvmlDeviceGetUUID(h) for h in handles],
    "names": [n.nvmlDeviceGetName(h) for h in handles],
    "total": [n.nvmlDeviceGetMemoryInfo(h).total for h in handles],
    "used": [n.nvmlDeviceGetMemoryInfo(h, n.nvmlMemory_v2).used for h in handles],
    "sms": [n.nvmlDeviceGetAttributes(h).multiprocessorCount for h in handles],
    "utilisation": [n.nvmlDeviceGetUtilizationRates(h).gpu for h in handles],
    "processes": [[p.usedGpuMemory for p in n.nvmlDeviceGetComputeRunningProcesses(h)]
                  for h in handles],
    "by_uuid": all(n.nvmlDeviceGetIndex(n.nvmlDeviceGetHandleByUUID(n.nvmlDeviceGetUUID(h))) == i
                   for i, h in enumerate(handles)),
}))
n.nvmlShutdown()
"""
USE = """
import sys
from kserve_has.modelserver.driver import Driver
driver = Driver()
driver.primary_context()
driver.allocate(1 << 30)
print("ready", flush=True)
sys.stdin.readline()
"""


def ask(environment: dict[str, str]) -> dict:
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_idle_gpus_are_described(environment: Callable[..., dict[str, str]], gpus):
    found = ask(environment())
    assert found["uuids"] == gpus
    assert found["names"] == ["NVIDIA H200"] * 2
    assert found["total"] == [141 * 10**9] * 2
    assert found["sms"] == [132] * 2
    assert found["used"] == [0, 0]
    assert found["processes"] == [[], []]
    assert found["by_uuid"]
    assert found["driver"].startswith("580.")


def test_a_process_and_its_memory_show_until_it_is_killed(environment, gpus):
    env = environment(NVIDIA_VISIBLE_DEVICES=gpus[1])
    user = subprocess.Popen(
        [sys.executable, "-c", USE], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert user.stdout.readline() == b"ready\n"
        found = ask(environment())
        assert found["used"] == [0, 1 << 30]
        assert found["processes"] == [[], [1 << 30]]
    finally:
        user.kill()
        user.communicate()
    found = ask(environment())
    assert found["used"] == [0, 0]
    assert found["processes"] == [[], []]


@pytest.mark.parametrize("visible", ["none", "void", ""])
def test_no_gpu_is_visible_when_none_is_named(environment, visible):
    assert ask(environment(NVIDIA_VISIBLE_DEVICES=visible))["uuids"] == []


def test_only_named_gpus_are_visible(environment, gpus):
    assert ask(environment(NVIDIA_VISIBLE_DEVICES=gpus[1]))["uuids"] == [gpus[1]]
    both = ask(environment(NVIDIA_VISIBLE_DEVICES=f"{gpus[0]},{gpus[1]}"))
    assert both["uuids"] == gpus
