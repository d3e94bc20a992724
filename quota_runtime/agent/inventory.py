"""The GPUs of this node, through NVML."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pynvml

from kserve_has import contract
from kserve_has.errors import AgentError
from kserve_has.gpu import H200, GpuGeometry

from .backend import Backend, Facts, MpsState, choose

KNOWN: Final[Mapping[str, GpuGeometry]] = {H200.product: H200}
# CUDA cores per SM by compute capability; NVML counts cores, not SMs.
_CORES_PER_SM: Final = {(7, 0): 64, (7, 5): 64, (8, 0): 64}
_USUAL_CORES_PER_SM: Final = 128


@dataclass(frozen=True, slots=True)
class NodeGpu:
    """One GPU of this node.

    Attributes:
        backend: how it can be shared here, and why.
        healthy: NVML can still talk to it.
    """

    uuid: str
    geometry: GpuGeometry
    backend: Backend
    healthy: bool = True

    def as_unhealthy(self) -> NodeGpu:
        """Return the same GPU after NVML has lost it."""
        return replace(self, healthy=False)


def annotation(gpus: Mapping[str, NodeGpu]) -> str:
    """Return the value under which a node publishes its GPUs, in order of uuid."""
    return json.dumps(
        [
            {
                "uuid": gpu.uuid,
                "product": gpu.geometry.product,
                "sm_count": gpu.geometry.sm_count,
                "sm_group_size": gpu.geometry.sm_group_size,
                "memory_bytes": gpu.geometry.memory_bytes,
                "backend": gpu.backend.name,
                "reason": gpu.backend.reason,
                "healthy": gpu.healthy,
            }
            for _, gpu in sorted(gpus.items())
        ]
    )


def label(gpus: Mapping[str, NodeGpu]) -> str:
    """Return the value of the label that names the backend of a node's GPUs."""
    names = {gpu.backend.name for gpu in gpus.values()}
    return names.pop() if len(names) == 1 else "mixed" if names else "none"


def discover(mps: MpsState | None = None) -> dict[str, NodeGpu]:
    """Return the GPUs of this machine by uuid, as they can be shared with this MPS daemon.

    Raises:
        AgentError: NVML is missing or fails, or nothing is known about the SMs of a GPU.
    """
    declared = _declared(os.environ.get(contract.ENV_EMULATOR_DIR, ""))
    with _nvml():
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        found = {}
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(pynvml.nvmlDeviceGetUUID(handle))
            emulated = uuid in declared
            geometry = declared[uuid] if emulated else _geometry(handle)
            capability = (0, 0) if emulated else _capability(handle)
            backend = choose(Facts(driver, capability, mps or MpsState(), emulated))
            found[uuid] = NodeGpu(uuid, geometry, backend)
    return found


@contextmanager
def _nvml() -> Iterator[None]:
    try:
        pynvml.nvmlInit()
        try:
            yield
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise AgentError(
            f"NVML: {error}; the agent needs the driver's libnvidia-ml.so.1 on its library path"
        ) from error


def _declared(folder: str) -> dict[str, GpuGeometry]:
    """Return what the emulated GPUs of a folder say of themselves."""
    if not folder:
        return {}
    entries = json.loads((Path(folder) / "gpus.json").read_text(encoding="utf-8"))
    return {
        entry["uuid"]: GpuGeometry(
            entry["product"], entry["sm_count"], entry["sm_group_size"], entry["memory_bytes"]
        )
        for entry in entries
    }


def _geometry(handle: object) -> GpuGeometry:
    product = _text(pynvml.nvmlDeviceGetName(handle))
    memory_bytes = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    known = KNOWN.get(product)
    if known is not None:
        return GpuGeometry(product, known.sm_count, known.sm_group_size, memory_bytes)
    try:
        capability = _capability(handle)
        cores = int(pynvml.nvmlDeviceGetNumGpuCores(handle))
    except pynvml.NVMLError as error:
        raise AgentError(f"nothing is known about the SMs of a {product}: {error}") from error
    sm_count = cores // _CORES_PER_SM.get(capability, _USUAL_CORES_PER_SM)
    # Green contexts split by 8 SMs from Hopper on, by 4 on Ampere and Ada, by 2 before.
    group_size = 8 if capability >= (9, 0) else 4 if capability >= (8, 0) else 2
    return GpuGeometry(product, sm_count, group_size, memory_bytes)


def _capability(handle: object) -> tuple[int, int]:
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return int(major), int(minor)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
