import json

import pynvml
import pytest

from kserve_has import contract
from kserve_has.config import load
from kserve_has.config.agent import AgentSettings
from kserve_has.errors import AgentError, SettingsError
from kserve_has.gpu import GpuGeometry
from quota_runtime.agent.backend import Backend, MpsState
from quota_runtime.agent.inventory import NodeGpu, annotation, discover, label

MPS = MpsState(serving=True)


class Memory:
    total = 80 * 10**9


@pytest.fixture
def nvml(monkeypatch):
    """An NVML with two GPUs whose answers tests may change."""
    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: "580.65.06",
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
        "nvmlDeviceGetName": lambda handle: "NVIDIA H200",
        "nvmlDeviceGetMemoryInfo": lambda handle: Memory,
        "nvmlDeviceGetCudaComputeCapability": lambda handle: (9, 0),
        "nvmlDeviceGetNumGpuCores": lambda handle: 114 * 128,
    }

    def put(**changes):
        for name, answer in {**answers, **changes}.items():
            monkeypatch.setattr(pynvml, name, answer)

    monkeypatch.delenv(contract.ENV_EMULATOR_DIR, raising=False)
    put()
    return put


def test_a_known_product_has_its_measured_split_and_the_memory_of_its_device(nvml):
    gpu = discover(MPS)["GPU-1"]
    assert GpuGeometry("NVIDIA H200", 132, 8, 80 * 10**9) == gpu.geometry
    assert "A" == gpu.backend.name


@pytest.mark.parametrize(
    ("capability", "cores", "sm_count", "group_size"),
    [((9, 0), 114 * 128, 114, 8), ((8, 0), 108 * 64, 108, 4), ((7, 5), 40 * 64, 40, 2)],
)
def test_an_unknown_product_is_described_by_its_cores(
    nvml, capability, cores, sm_count, group_size
):
    nvml(
        nvmlDeviceGetName=lambda _: b"NVIDIA Other",
        nvmlDeviceGetCudaComputeCapability=lambda _: capability,
        nvmlDeviceGetNumGpuCores=lambda _: cores,
    )
    geometry = discover()["GPU-0"].geometry
    assert ("NVIDIA Other", sm_count, group_size) == (
        geometry.product,
        geometry.sm_count,
        geometry.sm_group_size,
    )


def test_an_old_driver_cannot_change_partitions_live(nvml):
    nvml(nvmlSystemGetDriverVersion=lambda: "535.183.01")
    assert "C" == discover(MPS)["GPU-0"].backend.name


def test_without_a_daemon_the_pods_take_turns(nvml):
    assert "B" == discover()["GPU-0"].backend.name
    assert "B" == discover(MpsState(why_not="it died"))["GPU-0"].backend.name


def test_emulated_gpus_say_themselves_how_they_split(nvml, tmp_path, monkeypatch):
    entry = {"uuid": "GPU-0", "product": "p", "sm_count": 20, "sm_group_size": 2}
    (tmp_path / "gpus.json").write_text(json.dumps([entry | {"memory_bytes": 5}]))
    monkeypatch.setenv(contract.ENV_EMULATOR_DIR, str(tmp_path))
    gpus = discover()
    assert GpuGeometry("p", 20, 2, 5) == gpus["GPU-0"].geometry
    assert ("A", "B", "mixed") == (*(gpu.backend.name for gpu in gpus.values()), label(gpus))


def test_without_nvml_the_error_says_what_is_needed(nvml):
    def refuse():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    nvml(nvmlInit=refuse)
    with pytest.raises(AgentError, match=r"libnvidia-ml\.so\.1"):
        discover()


def test_the_annotation_lists_the_gpus_in_order_with_their_health():
    geometry = GpuGeometry("p", 20, 2, 5)
    gpus = {u: NodeGpu(u, geometry, Backend("A", "of a test")) for u in ("b", "a")}
    gpus["b"] = gpus["b"].as_unhealthy()
    found = json.loads(annotation(gpus))
    assert [("a", True), ("b", False)] == [(g["uuid"], g["healthy"]) for g in found]
    assert {
        "uuid",
        "product",
        "sm_count",
        "sm_group_size",
        "memory_bytes",
        "backend",
        "reason",
        "healthy",
    } == (found[0].keys())


def test_the_label_says_how_all_gpus_are_shared():
    gpus = {u: NodeGpu(u, GpuGeometry("p", 20, 2, 5), Backend("C", "old")) for u in "ab"}
    assert ("C", "none") == (label(gpus), label({}))


def test_settings_outside_what_was_promised_are_refused():
    with pytest.raises(SettingsError, match="ack_poll_ms"):
        load(AgentSettings, {"ack_poll_ms": 50.0})
